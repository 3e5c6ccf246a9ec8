//! Strings as counters. The effect of an increment is the resulting string, so that a replica never computes.

use super::{INTEGER_TEXT_BYTES_MAX, ROW, string_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::{FloatError, Reply};
use std::io::Write;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "incr",
        arity: 2,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key \
            doesn't exist.",
        run: Run::Write(incr),
        ..ROW
    },
    Command {
        name: "decr",
        arity: 2,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Decrements the integer value of a key by one. Uses 0 as initial value if the key \
            doesn't exist.",
        run: Run::Write(decr),
        ..ROW
    },
    Command {
        name: "incrby",
        arity: 3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key \
            doesn't exist.",
        run: Run::Write(incrby),
        ..ROW
    },
    Command {
        name: "decrby",
        arity: 3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Decrements a number from the integer value of a key. Uses 0 as initial value if the \
            key doesn't exist.",
        run: Run::Write(decrby),
        ..ROW
    },
    Command {
        name: "incrbyfloat",
        arity: 3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Increment the floating point value of a key by a number. Uses 0 as initial value if \
            the key doesn't exist.",
        run: Run::Write(incrbyfloat),
        ..ROW
    },
];

fn incr(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, add(ctx, args.at(1), 1));
}

fn decr(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, add(ctx, args.at(1), -1));
}

fn incrby(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = integer(args.at(2)).and_then(|by| add(ctx, args.at(1), by));
    answer_integer(reply, outcome);
}

fn decrby(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = integer(args.at(2))
        .and_then(|by| by.checked_neg().ok_or(CommandError::Other("decrement would overflow")))
        .and_then(|by| add(ctx, args.at(1), by));
    answer_integer(reply, outcome);
}

/// Adds `by` to the integer at `key` (0 if missing); the deadline stays.
fn add(ctx: &mut WriteCtx<'_>, key: &[u8], by: i64) -> Outcome<i64> {
    let (value, expire_at) = match ctx.get(key) {
        None => (0, None),
        Some(entry) => {
            let string = string_of(&entry)?;
            let value = match string.as_integer() {
                Some(value) => value,
                // A spliced string may read as a number without being stored as one.
                None => integer(string.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]))?,
            };
            (value, entry.expire_at())
        }
    };
    let sum = value.checked_add(by).ok_or(CommandError::Other("increment or decrement would overflow"))?;
    let mut text = [0; INTEGER_TEXT_BYTES_MAX];
    let mut rest = &mut text[..];
    write!(rest, "{sum}").expect("an i64 has at most 20 characters");
    let length = INTEGER_TEXT_BYTES_MAX - rest.len();
    ctx.set_string(key, &text[..length], expire_at);
    Ok(sum)
}

fn incrbyfloat(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = add_float(ctx, args.at(1), args.at(2)).map(|sum| reply.bulk(&sum));
    answer(reply, outcome);
}

fn add_float(ctx: &mut WriteCtx<'_>, key: &[u8], by: &[u8]) -> Outcome<Vec<u8>> {
    let mut sum = Vec::new();
    let (added, expire_at) = match ctx.get(key) {
        None => (protocol::add_floats(b"0", by, &mut sum), None),
        Some(entry) => {
            let string = string_of(&entry)?;
            let mut text = [0; INTEGER_TEXT_BYTES_MAX];
            (protocol::add_floats(string.as_bytes(&mut text), by, &mut sum), entry.expire_at())
        }
    };
    added.map_err(|error| match error {
        FloatError::NotFloat => CommandError::NotFloat,
        FloatError::NotFinite => CommandError::Other("increment would produce NaN or Infinity"),
    })?;
    ctx.set_string(key, &sum, expire_at);
    Ok(sum)
}
