//! ZRANGE with all its forms, those of their own name included, and ZRANGESTORE.

use super::bounds::{Selection, limited};
use super::{ROW, reply_scored, sorted_set_of};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::{ElementsBuilder, Kind};
use protocol::Reply;
use store::{SortedSetEntries, SortedSetRef};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "zrange",
        since: "1.2.0",
        complexity: BY_RANK_COST,
        summary: "Returns members in a sorted set within a range of indexes.",
        run: Run::Read(zrange),
        ..RANGE
    },
    Command {
        name: "zrevrange",
        since: "1.2.0",
        complexity: BY_RANK_COST,
        summary: "Returns members in a sorted set within a range of indexes in reverse order.",
        run: Run::Read(zrevrange),
        ..RANGE
    },
    Command {
        name: "zrangebyscore",
        since: "1.0.5",
        summary: "Returns members in a sorted set within a range of scores.",
        run: Run::Read(zrangebyscore),
        ..RANGE
    },
    Command {
        name: "zrevrangebyscore",
        since: "2.2.0",
        summary: "Returns members in a sorted set within a range of scores in reverse order.",
        run: Run::Read(zrevrangebyscore),
        ..RANGE
    },
    Command {
        name: "zrangebylex",
        since: "2.8.9",
        summary: "Returns members in a sorted set within a lexicographical range.",
        run: Run::Read(zrangebylex),
        ..RANGE
    },
    Command {
        name: "zrevrangebylex",
        since: "2.8.9",
        summary: "Returns members in a sorted set within a lexicographical range in reverse order.",
        run: Run::Read(zrevrangebylex),
        ..RANGE
    },
    Command {
        name: "zrangestore",
        arity: -5,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
            KeySpec::at(2, KeyFlags::RO.with(KeyFlags::ACCESS)),
        ]),
        since: "6.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.",
        summary: "Stores a range of members from sorted set in a key.",
        run: Run::Write(zrangestore),
        ..ROW
    },
];

const RANGE: Command = Command {
    arity: -4,
    flags: Flags::READONLY,
    keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
    ..ROW
};
const BY_RANK_COST: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.";

/// What a range is given by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What the name of a command says already; its options cannot say it again.
#[derive(Clone, Copy, Default)]
struct Fixed {
    by: Option<By>,
    reverse: Option<bool>,
    store: bool,
}

const NO_LIMIT: (i64, i64) = (0, -1);

struct Request<'a> {
    selection: Selection<'a>,
    reverse: bool,
    limit: (i64, i64),
    with_scores: bool,
}

impl<'a> Request<'a> {
    /// Reads the words behind the key: both ends, then options (Redis's `zrangeGenericCommand`).
    fn parse(words: &'a [&'a [u8]], fixed: Fixed) -> Outcome<Request<'a>> {
        let [first, last, options @ ..] = words else { return Err(CommandError::Syntax) };
        let Fixed { mut by, mut reverse, store } = fixed;
        let (mut limit, mut with_scores) = (NO_LIMIT, false);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if !store && is("withscores") {
                with_scores = true;
            } else if is("limit") && options.len() >= 2 {
                let mut number = || options.next().map_or(Err(CommandError::Syntax), |word| integer(word));
                limit = (number()?, number()?);
            } else if reverse.is_none() && is("rev") {
                reverse = Some(true);
            } else if by.is_none() && is("bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && is("byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if limit.1 != NO_LIMIT.1 && by == By::Rank {
            return Err(CommandError::Other(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::Other(
                "syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (min, max) = if reverse && by != By::Rank { (last, first) } else { (first, last) };
        let selection = match by {
            By::Rank => Selection::ranks(min, max)?,
            By::Score => Selection::scores(min, max)?,
            By::Lex => Selection::members(min, max)?,
        };
        // Ranks have no limit: one of (n, -1) is let through and has no effect.
        let limit = if by == By::Rank { NO_LIMIT } else { limit };
        Ok(Request { selection, reverse, limit, with_scores })
    }

    /// What is asked for, in ascending order.
    fn entries<'s>(&self, set: SortedSetRef<'s>) -> SortedSetEntries<'s> {
        let ranks = self.selection.resolve(set, self.reverse);
        set.range(limited(ranks, self.limit, self.reverse, set.len()))
    }
}

fn zrange(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show(ctx, args, Fixed::default(), reply);
    answer(reply, outcome);
}

fn zrevrange(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    show_fixed(ctx, args, (By::Rank, true), reply);
}

fn zrangebyscore(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    show_fixed(ctx, args, (By::Score, false), reply);
}

fn zrevrangebyscore(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    show_fixed(ctx, args, (By::Score, true), reply);
}

fn zrangebylex(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    show_fixed(ctx, args, (By::Lex, false), reply);
}

fn zrevrangebylex(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    show_fixed(ctx, args, (By::Lex, true), reply);
}

fn show_fixed(ctx: &mut ReadCtx<'_>, args: Args<'_>, (by, reverse): (By, bool), reply: &mut Reply<'_>) {
    let fixed = Fixed { by: Some(by), reverse: Some(reverse), store: false };
    let outcome = show(ctx, args, fixed, reply);
    answer(reply, outcome);
}

fn show(ctx: &mut ReadCtx<'_>, args: Args<'_>, fixed: Fixed, reply: &mut Reply<'_>) -> Outcome<()> {
    let request = Request::parse(args.tail(2), fixed)?;
    let Some(set) = sorted_set_of(ctx.get(args.at(1)))? else {
        reply.array(0);
        return Ok(());
    };
    let entries = request.entries(set);
    if request.reverse {
        reply_scored(reply, entries.rev(), request.with_scores);
    } else {
        reply_scored(reply, entries, request.with_scores);
    }
    Ok(())
}

fn zrangestore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, store(ctx, args));
}

fn store(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let request = Request::parse(args.tail(3), Fixed { store: true, ..Fixed::default() })?;
    let mut elements = ElementsBuilder::new();
    let mut count = 0;
    if let Some(set) = sorted_set_of(ctx.get(args.at(2)))? {
        for (score, member) in request.entries(set) {
            elements.push(&score.to_le_bytes());
            elements.push(member);
            count += 1;
        }
    }
    ctx.store_collection(args.at(1), Kind::SortedSet, elements.elements());
    Ok(count)
}
