//! Pushes and pops: the commands on the ends of one list.

use super::{End, Found, ROW, list_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;
use store::ListRef;

const PUSH: Command = Command {
    arity: -3,
    flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
    keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::INSERT))]),
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called \
        with multiple arguments.",
    ..ROW
};

const POP: Command = Command {
    arity: -2,
    flags: Flags::WRITE.with(Flags::FAST),
    keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements returned",
    ..ROW
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "lpush",
        since: "1.0.0",
        summary: "Prepends one or more elements to a list. Creates the key if it doesn't exist.",
        run: Run::Write(lpush),
        ..PUSH
    },
    Command {
        name: "rpush",
        since: "1.0.0",
        summary: "Appends one or more elements to a list. Creates the key if it doesn't exist.",
        run: Run::Write(rpush),
        ..PUSH
    },
    Command {
        name: "lpushx",
        since: "2.2.0",
        summary: "Prepends one or more elements to a list only when the list exists.",
        run: Run::Write(lpushx),
        ..PUSH
    },
    Command {
        name: "rpushx",
        since: "2.2.0",
        summary: "Appends an element to a list only when the list exists.",
        run: Run::Write(rpushx),
        ..PUSH
    },
    Command {
        name: "lpop",
        summary: "Returns the first elements in a list after removing it. Deletes the list if the last \
            element was popped.",
        run: Run::Write(lpop),
        ..POP
    },
    Command {
        name: "rpop",
        summary: "Returns and removes the last elements of a list. Deletes the list if the last element \
            was popped.",
        run: Run::Write(rpop),
        ..POP
    },
    Command {
        name: "lmpop",
        arity: -4,
        flags: Flags::WRITE.with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::counted(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Returns multiple elements from a list after removing them. Deletes the list if the last \
            element was popped.",
        run: Run::Write(lmpop),
        ..ROW
    },
];

fn lpush(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, push(ctx, args, End::Left, true));
}

fn rpush(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, push(ctx, args, End::Right, true));
}

fn lpushx(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, push(ctx, args, End::Left, false));
}

fn rpushx(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, push(ctx, args, End::Right, false));
}

fn push(ctx: &mut WriteCtx<'_>, args: Args<'_>, end: End, makes: bool) -> Outcome<i64> {
    let key = args.at(1);
    let found = list_of(ctx.get(key))?.map(|list| Found::of(&list));
    if found.is_none() && !makes {
        return Ok(0);
    }
    let mut found = found.unwrap_or_default();
    found.push(ctx, key, end, args.tail(2));
    Ok(found.len as i64)
}

fn lpop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop(ctx, args, (End::Left, "lpop"), reply);
    answer(reply, outcome);
}

fn rpop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop(ctx, args, (End::Right, "rpop"), reply);
    answer(reply, outcome);
}

fn pop(
    ctx: &mut WriteCtx<'_>,
    args: Args<'_>,
    (end, name): (End, &'static str),
    reply: &mut Reply<'_>,
) -> Outcome<()> {
    let key = args.at(1);
    let count = match args.tail(2) {
        [] => None,
        [count] => Some(count_of(count)?),
        _ => return Err(CommandError::Arity(name)),
    };
    let Some(list) = list_of(ctx.get(key))? else {
        match count {
            None => reply.null(),
            Some(_) => reply.null_array(),
        }
        return Ok(());
    };
    let mut found = Found::of(&list);
    let count = match count {
        None => {
            reply_popped(&list, end, 1, reply);
            1
        }
        Some(count) => {
            let count = count.min(found.len);
            reply.array(count);
            reply_popped(&list, end, count, reply);
            count
        }
    };
    if count > 0 {
        found.pop(ctx, key, end, count);
    }
    Ok(())
}

/// How many elements to pop, as Redis's `getPositiveLongFromObjectOrReply` wants it.
fn count_of(word: &[u8]) -> Outcome<usize> {
    let count = protocol::parse_i64(word).and_then(|count| usize::try_from(count).ok());
    count.ok_or(CommandError::Other("value is out of range, must be positive"))
}

/// Writes so many elements of an end, the outermost first.
pub(super) fn reply_popped(list: &ListRef<'_>, end: End, count: usize, reply: &mut Reply<'_>) {
    match end {
        End::Left => list.iter().take(count).for_each(|element| reply.bulk(element)),
        End::Right => list.iter_back_from(usize::MAX).take(count).for_each(|element| reply.bulk(element)),
    }
}

fn lmpop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop_first(ctx, args.tail(1), reply).map(|popped| {
        if !popped {
            reply.null_array();
        }
    });
    answer(reply, outcome);
}

/// Pops from the first list that there is, by the words `numkeys key ... LEFT|RIGHT [COUNT count]`; false if there is none, and
/// nothing is written.
pub(super) fn pop_first(ctx: &mut WriteCtx<'_>, words: &[&[u8]], reply: &mut Reply<'_>) -> Outcome<bool> {
    let PopFirst { keys, end, count } = PopFirst::parse(words)?;
    for key in keys {
        let Some(list) = list_of(ctx.get(key))? else { continue };
        let (mut found, count) = (Found::of(&list), count.min(list.len()));
        reply.array(2);
        reply.bulk(key);
        reply.array(count);
        reply_popped(&list, end, count, reply);
        found.pop(ctx, key, end, count);
        return Ok(true);
    }
    Ok(false)
}

/// `numkeys key ... LEFT|RIGHT [COUNT count]`
pub(super) struct PopFirst<'a> {
    pub(super) keys: &'a [&'a [u8]],
    end: End,
    count: usize,
}

impl<'a> PopFirst<'a> {
    /// Reads the words behind the name, or behind the timeout.
    pub(super) fn parse(words: &'a [&'a [u8]]) -> Outcome<PopFirst<'a>> {
        let positive = |word: &[u8], error| {
            integer(word)
                .ok()
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| *number > 0)
                .ok_or(error)
        };
        let [keys_count, words @ ..] = words else { return Err(CommandError::Syntax) };
        let keys_count = positive(keys_count, CommandError::Other("numkeys should be greater than 0"))?;
        let (keys, options) = words.split_at_checked(keys_count).ok_or(CommandError::Syntax)?;
        let [end, options @ ..] = options else { return Err(CommandError::Syntax) };
        let end = End::parse(end)?;
        let count = match options {
            [] => 1,
            [name, count, rest @ ..] if name.eq_ignore_ascii_case(b"count") => {
                let count = positive(count, CommandError::Other("count should be greater than 0"))?;
                if !rest.is_empty() {
                    return Err(CommandError::Syntax);
                }
                count
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(PopFirst { keys, end, count })
    }
}
