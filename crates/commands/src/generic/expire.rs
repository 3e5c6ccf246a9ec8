//! Commands that set or drop the deadline of a key. Whatever the unit of the command, the effect carries the
//! absolute deadline; one that has passed already removes the key.

use super::ROW;
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer_integer, integer};
use crate::string::{Unit, signed};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Effect;
use protocol::Reply;
use stdx::Wall;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "expire",
        arity: -3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key in seconds.",
        run: Run::Write(expire),
        ..ROW
    },
    Command {
        name: "pexpire",
        arity: -3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key in milliseconds.",
        run: Run::Write(pexpire),
        ..ROW
    },
    Command {
        name: "expireat",
        arity: -3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key to a Unix timestamp.",
        run: Run::Write(expireat),
        ..ROW
    },
    Command {
        name: "pexpireat",
        arity: -3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        run: Run::Write(pexpireat),
        ..ROW
    },
    Command {
        name: "persist",
        arity: 2,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Removes the expiration time of a key.",
        run: Run::Write(persist),
        ..ROW
    },
];

/// When the deadline is changed at all, judged by the one that is there.
#[derive(Clone, Copy, Default)]
struct Conditions {
    none_yet: bool,
    one_already: bool,
    later: bool,
    earlier: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Outcome<Conditions> {
        let mut conditions = Conditions::default();
        for word in args.tail(3) {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => conditions.none_yet = true,
                b"xx" => conditions.one_already = true,
                b"gt" => conditions.later = true,
                b"lt" => conditions.earlier = true,
                _ => {
                    let word = String::from_utf8_lossy(word).replace(['\r', '\n'], " ");
                    return Err(CommandError::Echo(format!("Unsupported option {word}")));
                }
            }
        }
        let Conditions { none_yet, one_already, later, earlier } = conditions;
        if none_yet && (one_already || later || earlier) {
            return Err(CommandError::Other(
                "NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if later && earlier {
            return Err(CommandError::Other("GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// Whether `deadline` may replace `current`; no deadline counts as one infinitely late.
    fn allow(self, current: Option<Wall>, deadline: i64) -> bool {
        let current = current.map(signed);
        let refused = (self.none_yet && current.is_some())
            || (self.one_already && current.is_none())
            || (self.later && current.is_none_or(|current| deadline <= current))
            || (self.earlier && current.is_some_and(|current| deadline >= current));
        !refused
    }
}

fn expire(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, set_deadline(ctx, args, Unit::Seconds, "expire"));
}

fn pexpire(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, set_deadline(ctx, args, Unit::Milliseconds, "pexpire"));
}

fn expireat(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, set_deadline(ctx, args, Unit::UnixSeconds, "expireat"));
}

fn pexpireat(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, set_deadline(ctx, args, Unit::UnixMilliseconds, "pexpireat"));
}

/// Unlike SET's, these deadlines may be negative: that is a way to remove a key.
fn deadline_of(word: &[u8], unit: Unit, now: Wall, command: &'static str) -> Outcome<i64> {
    let amount = integer(word)?;
    let milliseconds = match unit {
        Unit::Seconds | Unit::UnixSeconds => amount.checked_mul(1_000),
        Unit::Milliseconds | Unit::UnixMilliseconds => Some(amount),
    };
    let deadline = milliseconds.and_then(|milliseconds| match unit {
        Unit::Seconds | Unit::Milliseconds => milliseconds.checked_add(signed(now)),
        Unit::UnixSeconds | Unit::UnixMilliseconds => Some(milliseconds),
    });
    deadline.ok_or(CommandError::InvalidExpire(command))
}

fn set_deadline(ctx: &mut WriteCtx<'_>, args: Args<'_>, unit: Unit, command: &'static str) -> Outcome<i64> {
    let conditions = Conditions::parse(args)?;
    let (db, now, key) = (ctx.db, ctx.now, args.at(1));
    let deadline = deadline_of(args.at(2), unit, now, command)?;
    let Some(entry) = ctx.get(key) else { return Ok(0) };
    if !conditions.allow(entry.expire_at(), deadline) {
        return Ok(0);
    }
    match u64::try_from(deadline).map(Wall) {
        Ok(at) if at > now => ctx.emit(Effect::ExpireAt { db, key, at: Some(at) }),
        _ => ctx.remove(key),
    }
    Ok(1)
}

fn persist(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let (db, key) = (ctx.db, args.at(1));
    let had_deadline = ctx.get(key).is_some_and(|entry| entry.expire_at().is_some());
    if had_deadline {
        ctx.emit(Effect::ExpireAt { db, key, at: None });
    }
    reply.integer(i64::from(had_deadline));
}
