//! GET and the commands that read a string and then change the key's life.

use super::{ROW, Unit, holds, reply_string};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, answer_integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Effect;
use protocol::Reply;
use store::EntryRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the string value of a key.",
        run: Run::Read(get),
        ..ROW
    },
    Command {
        name: "getdel",
        arity: 2,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns the string value of a key after deleting the key.",
        run: Run::Write(getdel),
        ..ROW
    },
    Command {
        name: "delifeq",
        arity: 3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RM.with(KeyFlags::DELETE))]),
        since: "9.0.0",
        complexity: "O(1)",
        summary: "Delete key if value matches string.",
        run: Run::Write(delifeq),
        ..ROW
    },
    Command {
        name: "getex",
        arity: -2,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))
            .noted("RW and UPDATE because it changes the TTL")]),
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns the string value of a key after setting its expiration time.",
        run: Run::Write(getex),
        ..ROW
    },
];

pub(crate) fn get(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply_entry(reply, ctx.get(args.at(1)));
}

/// The reply of GET.
#[inline]
pub(crate) fn reply_entry(reply: &mut Reply<'_>, entry: Option<EntryRef<'_>>) {
    let outcome = reply_string(reply, entry);
    answer(reply, outcome);
}

fn getdel(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let entry = ctx.get(args.at(1));
    let found = entry.is_some();
    let outcome = reply_string(reply, entry);
    if found && outcome.is_ok() {
        ctx.remove(args.at(1));
    }
    answer(reply, outcome);
}

fn delifeq(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, delete_if_equal(ctx, args.at(1), args.at(2)).map(i64::from));
}

fn delete_if_equal(ctx: &mut WriteCtx<'_>, key: &[u8], expected: &[u8]) -> Outcome<bool> {
    let Some(entry) = ctx.get(key) else { return Ok(false) };
    let equal = holds(&entry, expected)?;
    if equal {
        ctx.remove(key);
    }
    Ok(equal)
}

/// What GETEX does to the deadline.
#[derive(Clone, Copy)]
enum Change<'a> {
    Keep,
    Persist,
    Deadline(Unit, &'a [u8]),
}

impl<'a> Change<'a> {
    fn parse(args: Args<'a>) -> Outcome<Change<'a>> {
        let mut change = Change::Keep;
        let mut words = args.tail(2).iter();
        while let Some(word) = words.next() {
            change = match (Unit::from_option(word), change) {
                (None, Change::Keep | Change::Persist) if word.eq_ignore_ascii_case(b"persist") => {
                    Change::Persist
                }
                (Some(unit), Change::Keep) => {
                    Change::Deadline(unit, words.next().ok_or(CommandError::Syntax)?)
                }
                // The same option again: the last counts.
                (Some(unit), Change::Deadline(earlier, _)) if unit == earlier => {
                    Change::Deadline(unit, words.next().ok_or(CommandError::Syntax)?)
                }
                _ => return Err(CommandError::Syntax),
            };
        }
        Ok(change)
    }
}

fn getex(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = Change::parse(args).and_then(|change| get_and_expire(ctx, args.at(1), change, reply));
    answer(reply, outcome);
}

fn get_and_expire(
    ctx: &mut WriteCtx<'_>,
    key: &[u8],
    change: Change<'_>,
    reply: &mut Reply<'_>,
) -> Outcome<()> {
    let (db, now) = (ctx.db, ctx.now);
    let Some(entry) = ctx.get(key) else {
        reply.null();
        return Ok(());
    };
    super::string_of(&entry)?;
    let at = match change {
        Change::Keep => None,
        Change::Persist => entry.expire_at().map(|_| None),
        Change::Deadline(unit, amount) => Some(Some(unit.deadline(amount, now, "getex")?)),
    };
    reply_string(reply, Some(entry))?;
    match at {
        None => {}
        Some(Some(deadline)) if deadline <= now => ctx.remove(key),
        Some(at) => ctx.emit(Effect::ExpireAt { db, key, at }),
    }
    Ok(())
}
