//! Commands that set and delete fields.

use super::{ROW, hash_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::distinct::distinct;
use crate::error::{CommandError, Outcome, answer, answer_integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Kind;
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "hset",
        arity: -4,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "2.0.0",
        complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.",
        summary: "Creates or modifies the value of a field in a hash.",
        run: Run::Write(hset),
        ..ROW
    },
    Command {
        name: "hmset",
        arity: -4,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "2.0.0",
        complexity: "O(N) where N is the number of fields being set.",
        summary: "Sets the values of multiple fields.",
        run: Run::Write(hmset),
        ..ROW
    },
    Command {
        name: "hsetnx",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::INSERT))]),
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Sets the value of a field in a hash only when the field doesn't exist.",
        run: Run::Write(hsetnx),
        ..ROW
    },
    Command {
        name: "hdel",
        arity: -3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "2.0.0",
        complexity: "O(N) where N is the number of fields to be removed.",
        summary: "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.",
        run: Run::Write(hdel),
        ..ROW
    },
];

fn hset(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, set_fields(ctx, args, "hset"));
}

fn hmset(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = set_fields(ctx, args, "hmset").map(|_| reply.ok());
    answer(reply, outcome);
}

/// Sets all fields; how many of them are new.
fn set_fields(ctx: &mut WriteCtx<'_>, args: Args<'_>, command: &'static str) -> Outcome<i64> {
    let (key, pairs) = (args.at(1), args.tail(2));
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Arity(command));
    }
    let hash = hash_of(ctx.get(key))?;
    let is_new = |field: &[u8]| hash.is_none_or(|hash| hash.get(field).is_none());
    let created = distinct(pairs.iter().step_by(2).copied().filter(|field| is_new(field))).len();
    ctx.put_elements(key, Kind::Hash, pairs);
    Ok(created as i64)
}

fn hsetnx(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, set_new_field(ctx, args).map(i64::from));
}

fn set_new_field(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<bool> {
    let (key, field) = (args.at(1), args.at(2));
    if hash_of(ctx.get(key))?.is_some_and(|hash| hash.get(field).is_some()) {
        return Ok(false);
    }
    ctx.put_elements(key, Kind::Hash, args.tail(2));
    Ok(true)
}

fn hdel(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, delete_fields(ctx, args));
}

fn delete_fields(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let key = args.at(1);
    let Some(hash) = hash_of(ctx.get(key))? else { return Ok(0) };
    let fields = args.tail(2).iter().copied().filter(|field| hash.get(field).is_some());
    let (fields, len) = (distinct(fields), hash.len());
    if !fields.is_empty() {
        ctx.drop_elements(key, Kind::Hash, &fields, len);
    }
    Ok(fields.len() as i64)
}
