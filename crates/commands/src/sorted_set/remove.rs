//! Commands that remove: members by name, by range, or from either end.

use super::bounds::Selection;
use super::{ROW, reply_element, sorted_set_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::distinct::distinct;
use crate::error::{CommandError, Outcome, answer, answer_integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Kind;
use protocol::{Reply, Version};
use std::ops::Range;
use store::SortedSetRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "zrem",
        arity: -3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "1.2.0",
        complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.",
        summary: "Removes one or more members from a sorted set. Deletes the sorted set if all members were removed.",
        run: Run::Write(zrem),
        ..ROW
    },
    Command {
        name: "zremrangebyrank",
        since: "2.0.0",
        summary: "Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members were removed.",
        run: Run::Write(zremrangebyrank),
        ..REMOVE_RANGE
    },
    Command {
        name: "zremrangebyscore",
        since: "1.2.0",
        summary: "Removes members in a sorted set within a range of scores. Deletes the sorted set if all members were removed.",
        run: Run::Write(zremrangebyscore),
        ..REMOVE_RANGE
    },
    Command {
        name: "zremrangebylex",
        since: "2.8.9",
        summary: "Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all members were removed.",
        run: Run::Write(zremrangebylex),
        ..REMOVE_RANGE
    },
    Command {
        name: "zpopmin",
        summary: "Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped.",
        run: Run::Write(zpopmin),
        ..POP
    },
    Command {
        name: "zpopmax",
        summary: "Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped.",
        run: Run::Write(zpopmax),
        ..POP
    },
    Command {
        name: "zmpop",
        arity: -4,
        flags: Flags::WRITE.with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::counted(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. Deletes the sorted set if the last member was popped.",
        run: Run::Write(zmpop),
        ..ROW
    },
];

const REMOVE_RANGE: Command = Command {
    arity: 4,
    flags: Flags::WRITE,
    keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
    ..ROW
};
const POP: Command = Command {
    arity: -2,
    flags: Flags::WRITE.with(Flags::FAST),
    keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
    since: "5.0.0",
    complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
    ..ROW
};

fn zrem(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, remove(ctx, args));
}

fn remove(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let key = args.at(1);
    let Some(set) = sorted_set_of(ctx.get(key))? else { return Ok(0) };
    let members = distinct(args.tail(2).iter().copied().filter(|member| set.score(member).is_some()));
    let len = set.len();
    if !members.is_empty() {
        ctx.drop_elements(key, Kind::SortedSet, &members, len);
    }
    Ok(members.len() as i64)
}

fn zremrangebyrank(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = Selection::ranks(args.at(2), args.at(3));
    answer_integer(reply, outcome.and_then(|selection| remove_range(ctx, args.at(1), selection)));
}

fn zremrangebyscore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = Selection::scores(args.at(2), args.at(3));
    answer_integer(reply, outcome.and_then(|selection| remove_range(ctx, args.at(1), selection)));
}

fn zremrangebylex(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = Selection::members(args.at(2), args.at(3));
    answer_integer(reply, outcome.and_then(|selection| remove_range(ctx, args.at(1), selection)));
}

fn remove_range(ctx: &mut WriteCtx<'_>, key: &[u8], selection: Selection<'_>) -> Outcome<i64> {
    let Some(set) = sorted_set_of(ctx.get(key))? else { return Ok(0) };
    let (ranks, len) = (selection.resolve(set, false), set.len());
    if ranks.len() == len {
        // Nothing is left: the members need not be named.
        ctx.remove(key);
        return Ok(len as i64);
    }
    let members: Vec<Vec<u8>> = set.range(ranks).map(|(_, member)| member.to_vec()).collect();
    drop_members(ctx, key, &members, len);
    Ok(members.len() as i64)
}

fn drop_members(ctx: &mut WriteCtx<'_>, key: &[u8], members: &[Vec<u8>], len: usize) {
    if !members.is_empty() {
        let words: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
        ctx.drop_elements(key, Kind::SortedSet, &words, len);
    }
}

/// Which end elements are taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Lowest,
    Highest,
}

impl End {
    /// The ranks of so many elements at this end.
    fn ranks(self, set: SortedSetRef<'_>, count: usize) -> Range<usize> {
        let len = set.len();
        let count = count.min(len);
        match self {
            End::Lowest => 0..count,
            End::Highest => len - count..len,
        }
    }
}

fn zpopmin(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop(ctx, args, End::Lowest, reply);
    answer(reply, outcome);
}

fn zpopmax(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop(ctx, args, End::Highest, reply);
    answer(reply, outcome);
}

fn pop(ctx: &mut WriteCtx<'_>, args: Args<'_>, end: End, reply: &mut Reply<'_>) -> Outcome<()> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = match args.get(2) {
        None => 1,
        Some(word) => at_least(0, word, "value is out of range, must be positive")?,
    };
    let nested = args.len() == 3 && reply.version() == Version::Resp3;
    let (popped, len) = match sorted_set_of(ctx.get(args.at(1)))? {
        None => (Vec::new(), 0),
        Some(set) => (popped(set, end, count), set.len()),
    };
    reply.array(if nested { popped.len() } else { popped.len() * 2 });
    take(ctx, args.at(1), popped, len, nested, reply);
    Ok(())
}

/// Elements at one end, the outermost first.
pub(super) fn popped(set: SortedSetRef<'_>, end: End, count: usize) -> Vec<(f64, Vec<u8>)> {
    let elements = set.range(end.ranks(set, count)).map(|(score, member)| (score, member.to_vec()));
    match end {
        End::Lowest => elements.collect(),
        End::Highest => elements.rev().collect(),
    }
}

/// Removes these elements out of `len` and writes each of them.
pub(super) fn take(
    ctx: &mut WriteCtx<'_>,
    key: &[u8],
    popped: Vec<(f64, Vec<u8>)>,
    len: usize,
    nested: bool,
    reply: &mut Reply<'_>,
) {
    for (score, member) in &popped {
        reply_element(reply, (*score, member), true, nested);
    }
    let members: Vec<Vec<u8>> = popped.into_iter().map(|(_, member)| member).collect();
    drop_members(ctx, key, &members, len);
}

fn zmpop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop_from_first(ctx, args.tail(1), reply).map(|popped| {
        if !popped {
            reply.null_array();
        }
    });
    answer(reply, outcome);
}

/// Pops from the first sorted set that there is, by the words `numkeys key ... MIN|MAX [COUNT count]`; false if there is none, and
/// nothing is written.
pub(super) fn pop_from_first(
    ctx: &mut WriteCtx<'_>,
    words: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Outcome<bool> {
    let PopFirst { keys, end, count } = PopFirst::parse(words)?;
    for key in keys {
        let Some(set) = sorted_set_of(ctx.get(key))? else { continue };
        let (popped, len) = (popped(set, end, count), set.len());
        reply.array(2);
        reply.bulk(key);
        reply.array(popped.len());
        take(ctx, key, popped, len, true, reply);
        return Ok(true);
    }
    Ok(false)
}

/// `numkeys key ... MIN|MAX [COUNT count]`
pub(super) struct PopFirst<'a> {
    pub(super) keys: &'a [&'a [u8]],
    end: End,
    count: usize,
}

impl<'a> PopFirst<'a> {
    /// Reads the words behind the name, or behind the timeout.
    pub(super) fn parse(words: &'a [&'a [u8]]) -> Outcome<PopFirst<'a>> {
        let (keys_count, words) = words.split_first().ok_or(CommandError::Syntax)?;
        let keys_count = at_least(1, keys_count, "numkeys should be greater than 0")?;
        let (keys, options) = words.split_at_checked(keys_count).ok_or(CommandError::Syntax)?;
        let (end, options) = match options.split_first() {
            Some((word, options)) if word.eq_ignore_ascii_case(b"min") => (End::Lowest, options),
            Some((word, options)) if word.eq_ignore_ascii_case(b"max") => (End::Highest, options),
            _ => return Err(CommandError::Syntax),
        };
        let count = match options {
            [] => 1,
            [option, count, rest @ ..] if option.eq_ignore_ascii_case(b"count") => {
                let count = at_least(1, count, "count should be greater than 0")?;
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

/// A number that is not below `least`; otherwise this error, whatever the word is.
fn at_least(least: usize, word: &[u8], error: &'static str) -> Outcome<usize> {
    let number = protocol::parse_i64(word).and_then(|number| usize::try_from(number).ok());
    number.filter(|number| *number >= least).ok_or(CommandError::Other(error))
}
