//! Commands that read single members, count or walk.

use super::bounds::Selection;
use super::{ROW, sorted_set_of};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer};
use crate::generic::scan::{parse_cursor, parse_options, reply_scan};
use crate::glob;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::{Reply, format_double, format_long_double};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "zcard",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Returns the number of members in a sorted set.",
        run: Run::Read(zcard),
        ..ROW
    },
    Command {
        name: "zscore",
        arity: 3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: READ_KEY,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Returns the score of a member in a sorted set.",
        run: Run::Read(zscore),
        ..ROW
    },
    Command {
        name: "zmscore",
        arity: -3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: READ_KEY,
        since: "6.2.0",
        complexity: "O(N) where N is the number of members being requested.",
        summary: "Returns the score of one or more members in a sorted set.",
        run: Run::Read(zmscore),
        ..ROW
    },
    Command {
        name: "zrank",
        arity: -3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: READ_KEY,
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns the index of a member in a sorted set ordered by ascending scores.",
        run: Run::Read(zrank),
        ..ROW
    },
    Command {
        name: "zrevrank",
        arity: -3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: READ_KEY,
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns the index of a member in a sorted set ordered by descending scores.",
        run: Run::Read(zrevrank),
        ..ROW
    },
    Command {
        name: "zcount",
        arity: 4,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: READ_KEY,
        since: "2.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns the count of members in a sorted set that have scores within a range.",
        run: Run::Read(zcount),
        ..ROW
    },
    Command {
        name: "zlexcount",
        arity: 4,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: READ_KEY,
        since: "2.8.9",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns the number of members in a sorted set within a lexicographical range.",
        run: Run::Read(zlexcount),
        ..ROW
    },
    Command {
        name: "zscan",
        arity: -3,
        flags: Flags::READONLY,
        keys: READ_KEY,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
        summary: "Iterates over members and scores of a sorted set.",
        tips: &["nondeterministic_output"],
        run: Run::Read(zscan),
        ..ROW
    },
];

/// One key, of which the reply tells.
const READ_KEY: Keys = Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]);

fn zcard(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = sorted_set_of(ctx.get(args.at(1))).map(|set| set.map_or(0, |set| set.len()) as i64);
    answer_integer(reply, outcome);
}

fn zscore(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = sorted_set_of(ctx.get(args.at(1)))
        .map(|set| reply_score(reply, set.and_then(|set| set.score(args.at(2)))));
    answer(reply, outcome);
}

fn zmscore(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = sorted_set_of(ctx.get(args.at(1))).map(|set| {
        let members = args.tail(2);
        reply.array(members.len());
        for member in members {
            reply_score(reply, set.and_then(|set| set.score(member)));
        }
    });
    answer(reply, outcome);
}

fn reply_score(reply: &mut Reply<'_>, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

fn zrank(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = rank(ctx, args, "zrank", reply);
    answer(reply, outcome);
}

fn zrevrank(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = rank(ctx, args, "zrevrank", reply);
    answer(reply, outcome);
}

fn rank(ctx: &mut ReadCtx<'_>, args: Args<'_>, command: &'static str, reply: &mut Reply<'_>) -> Outcome<()> {
    if args.len() > 4 {
        return Err(CommandError::Arity(command));
    }
    let with_score = args.is(3, "WITHSCORE");
    if args.len() == 4 && !with_score {
        return Err(CommandError::Syntax);
    }
    let set = sorted_set_of(ctx.get(args.at(1)))?;
    let found = set.and_then(|set| {
        let (rank, score) = set.rank(args.at(2))?;
        Some((if command == "zrevrank" { set.len() - 1 - rank } else { rank }, score))
    });
    match found {
        None if with_score => reply.null_array(),
        None => reply.null(),
        Some((rank, score)) => {
            if with_score {
                reply.array(2);
            }
            reply.integer(rank as i64);
            if with_score {
                reply.double(score);
            }
        }
    }
    Ok(())
}

fn zcount(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = Selection::scores(args.at(2), args.at(3));
    answer_integer(reply, outcome.and_then(|selection| count(ctx, args.at(1), selection)));
}

fn zlexcount(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = Selection::members(args.at(2), args.at(3));
    answer_integer(reply, outcome.and_then(|selection| count(ctx, args.at(1), selection)));
}

fn count(ctx: &mut ReadCtx<'_>, key: &[u8], selection: Selection<'_>) -> Outcome<i64> {
    let set = sorted_set_of(ctx.get(key))?;
    Ok(set.map_or(0, |set| selection.resolve(set, false).len()) as i64)
}

fn zscan(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = scan(ctx, args, reply);
    answer(reply, outcome);
}

fn scan(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let cursor = parse_cursor(args.at(2))?;
    let Some(set) = sorted_set_of(ctx.get(args.at(1)))? else {
        reply_scan(0, &[], reply);
        return Ok(());
    };
    let request = parse_options(cursor, args.tail(3), false)?;
    // Redis writes the scores of a skip list in another way than anywhere else (`scanCallback`).
    let write = if set.encoding() == "skiplist" { format_long_double } else { format_double };
    let mut found = Vec::new();
    let next = set.scan(cursor, request.count, &mut |score, member| {
        if request.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, member)) {
            let mut text = Vec::new();
            write(score, &mut text);
            found.extend([member.to_vec(), text]);
        }
    });
    reply_scan(next, &found, reply);
    Ok(())
}
