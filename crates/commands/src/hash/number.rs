//! Commands that add to a number in a field.

use super::{ROW, hash_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Kind;
use protocol::{FloatError, Reply};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "hincrby",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field doesn't exist.",
        run: Run::Write(hincrby),
        ..ROW
    },
    Command {
        name: "hincrbyfloat",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist.",
        run: Run::Write(hincrbyfloat),
        ..ROW
    },
];

fn hincrby(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, add(ctx, args));
}

fn add(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (key, field, by) = (args.at(1), args.at(2), integer(args.at(3))?);
    let value = match hash_of(ctx.get(key))?.and_then(|hash| hash.get(field)) {
        None => 0,
        Some(value) => {
            protocol::parse_i64(value).ok_or(CommandError::Other("hash value is not an integer"))?
        }
    };
    let sum = value.checked_add(by).ok_or(CommandError::Other("increment or decrement would overflow"))?;
    ctx.put_elements(key, Kind::Hash, &[field, sum.to_string().as_bytes()]);
    Ok(sum)
}

fn hincrbyfloat(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = add_float(ctx, args).map(|sum| reply.bulk(&sum));
    answer(reply, outcome);
}

fn add_float(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<Vec<u8>> {
    let (key, field, by) = (args.at(1), args.at(2), args.at(3));
    let mut sum = Vec::new();
    protocol::add_floats(b"0", by, &mut sum).map_err(|error| match error {
        FloatError::NotFloat => CommandError::NotFloat,
        FloatError::NotFinite => CommandError::Other("value is NaN or Infinity"),
    })?;
    if let Some(value) = hash_of(ctx.get(key))?.and_then(|hash| hash.get(field)) {
        sum.clear();
        protocol::add_floats(value, by, &mut sum).map_err(|error| match error {
            FloatError::NotFloat => CommandError::Other("hash value is not a float"),
            FloatError::NotFinite => CommandError::Other("increment would produce NaN or Infinity"),
        })?;
    }
    ctx.put_elements(key, Kind::Hash, &[field, &sum]);
    Ok(sum)
}
