//! SET and the commands that are a SET with fixed options.

use super::{ROW, Unit, holds, reply_string};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;
use stdx::Wall;
use store::EntryRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "set",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(
            1,
            KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE).with(KeyFlags::VARIABLE_FLAGS),
        )
        .noted("RW and ACCESS due to the optional `GET` argument")]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't \
            exist.",
        run: Run::Write(set),
        ..ROW
    },
    Command {
        name: "setnx",
        arity: 3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::OW.with(KeyFlags::INSERT))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Set the string value of a key only when the key doesn't exist.",
        run: Run::Write(setnx),
        ..ROW
    },
    Command {
        name: "setex",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(1, KeyFlags::OW.with(KeyFlags::UPDATE))]),
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
        run: Run::Write(setex),
        ..ROW
    },
    Command {
        name: "psetex",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(1, KeyFlags::OW.with(KeyFlags::UPDATE))]),
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Sets both string value and expiration time in milliseconds of a key. The key is \
            created if it doesn't exist.",
        run: Run::Write(psetex),
        ..ROW
    },
    Command {
        name: "getset",
        arity: 3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the previous string value of a key after setting it to a new value.",
        run: Run::Write(getset),
        ..ROW
    },
];

/// What a SET with options makes sure of before it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Condition<'a> {
    /// Nothing.
    #[default]
    None,
    /// That there is no such key (NX).
    Absent,
    /// That there is (XX).
    Present,
    /// That the key holds this string (IFEQ, of Valkey 8.1).
    Equal(&'a [u8]),
}

impl Condition<'_> {
    fn is_met(self, entry: Option<&EntryRef<'_>>) -> Outcome<bool> {
        match (self, entry) {
            (Condition::None, _) => Ok(true),
            (Condition::Absent, entry) => Ok(entry.is_none()),
            (Condition::Present, entry) => Ok(entry.is_some()),
            (Condition::Equal(_), None) => Ok(false),
            (Condition::Equal(expected), Some(entry)) => holds(entry, expected),
        }
    }
}

/// The options of SET.
#[derive(Default)]
struct Options<'a> {
    condition: Condition<'a>,
    get: bool,
    keep_deadline: bool,
    deadline: Option<(Unit, &'a [u8])>,
}

impl<'a> Options<'a> {
    /// Reads the words after the value. An option may be repeated, the last counts; one that contradicts an
    /// earlier one is a syntax error (Redis's `parseExtendedStringArgumentsOrReply`).
    fn parse(args: Args<'a>) -> Outcome<Options<'a>> {
        let mut options = Options::default();
        let mut words = args.tail(3).iter();
        while let Some(word) = words.next() {
            let condition = options.condition;
            if word.eq_ignore_ascii_case(b"nx") && matches!(condition, Condition::None | Condition::Absent) {
                options.condition = Condition::Absent;
            } else if word.eq_ignore_ascii_case(b"xx")
                && matches!(condition, Condition::None | Condition::Present)
            {
                options.condition = Condition::Present;
            } else if word.eq_ignore_ascii_case(b"ifeq") && condition == Condition::None {
                options.condition = Condition::Equal(words.next().ok_or(CommandError::Syntax)?);
            } else if word.eq_ignore_ascii_case(b"get") {
                options.get = true;
            } else if word.eq_ignore_ascii_case(b"keepttl") && options.deadline.is_none() {
                options.keep_deadline = true;
            } else {
                let unit = Unit::from_option(word).ok_or(CommandError::Syntax)?;
                let amount = words.next().ok_or(CommandError::Syntax)?;
                let another = options.deadline.is_some_and(|(earlier, _)| earlier != unit);
                if options.keep_deadline || another {
                    return Err(CommandError::Syntax);
                }
                options.deadline = Some((unit, amount));
            }
        }
        Ok(options)
    }
}

pub(crate) fn set(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() == 3 {
        ctx.set_string(args.at(1), args.at(2), None);
        reply.ok();
        return;
    }
    let outcome = Options::parse(args).and_then(|options| set_with(ctx, args, &options, reply));
    answer(reply, outcome);
}

fn set_with(
    ctx: &mut WriteCtx<'_>,
    args: Args<'_>,
    options: &Options<'_>,
    reply: &mut Reply<'_>,
) -> Outcome<()> {
    let (key, value) = (args.at(1), args.at(2));
    let mut expire_at = match options.deadline {
        Some((unit, amount)) => Some(unit.deadline(amount, ctx.now, "set")?),
        None => None,
    };
    let looks = options.get || options.condition != Condition::None || options.keep_deadline;
    if looks {
        let entry = ctx.get(key);
        let is_met = options.condition.is_met(entry.as_ref())?;
        if options.keep_deadline {
            expire_at = entry.as_ref().and_then(|entry| entry.expire_at());
        }
        if options.get {
            reply_string(reply, entry)?;
        }
        if !is_met {
            if !options.get {
                reply.null();
            }
            return Ok(());
        }
    }
    ctx.set_string(key, value, expire_at);
    if !options.get {
        reply.ok();
    }
    Ok(())
}

fn setnx(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let free = ctx.get(args.at(1)).is_none();
    if free {
        ctx.set_string(args.at(1), args.at(2), None);
    }
    reply.integer(i64::from(free));
}

fn setex(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    set_until(ctx, args, Unit::Seconds.deadline(args.at(2), ctx.now, "setex"), reply);
}

fn psetex(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    set_until(ctx, args, Unit::Milliseconds.deadline(args.at(2), ctx.now, "psetex"), reply);
}

fn set_until(ctx: &mut WriteCtx<'_>, args: Args<'_>, deadline: Outcome<Wall>, reply: &mut Reply<'_>) {
    let outcome = deadline.map(|at| {
        ctx.set_string(args.at(1), args.at(3), Some(at));
        reply.ok();
    });
    answer(reply, outcome);
}

fn getset(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_string(reply, ctx.get(args.at(1)));
    if outcome.is_ok() {
        ctx.set_string(args.at(1), args.at(2), None);
    }
    answer(reply, outcome);
}
