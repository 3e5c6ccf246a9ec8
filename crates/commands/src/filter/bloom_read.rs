//! Looking into Bloom filters.

use super::{BLOOM_ROW, NOT_FOUND, READING, any, existing};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer};
use crate::table::{Command, Run};
use protocol::Reply;
use store::bloom::BloomFilter;
use store::{Filter, FilterKind};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "bf.exists",
        arity: 3,
        flags: READING,
        complexity: "O(k), where k is the number of hash functions used by the last sub-filter",
        summary: "Checks whether an item exists in a Bloom Filter",
        run: Run::Read(exists),
        ..BLOOM_ROW
    },
    Command {
        name: "bf.mexists",
        arity: -3,
        flags: READING,
        complexity: "O(k * n), where k is the number of hash functions and n is the number of items",
        summary: "Checks whether one or more items exist in a Bloom Filter",
        run: Run::Read(mexists),
        ..BLOOM_ROW
    },
    Command {
        name: "bf.card",
        arity: 2,
        flags: READING,
        since: "2.4.4",
        complexity: "O(1)",
        summary: "Returns the cardinality of a Bloom filter",
        run: Run::Read(card),
        ..BLOOM_ROW
    },
    Command {
        name: "bf.info",
        arity: -2,
        flags: READING,
        complexity: "O(1)",
        summary: "Returns information about a Bloom Filter",
        run: Run::Read(info),
        ..BLOOM_ROW
    },
];

/// The filter that `key` holds, if it is one and whole.
fn whole<'c>(ctx: &'c mut ReadCtx<'_>, key: &[u8]) -> Option<&'c BloomFilter> {
    match any(ctx, key, FilterKind::Bloom)? {
        Filter::Bloom(filter) => Some(filter),
        _ => None,
    }
}

fn exists(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.boolean(whole(ctx, args.at(1)).is_some_and(|filter| filter.contains(args.at(2))));
}

fn mexists(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let (filter, items) = (whole(ctx, args.at(1)), args.tail(2));
    reply.array(items.len());
    for item in items {
        reply.boolean(filter.is_some_and(|filter| filter.contains(item)));
    }
}

fn card(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = match existing(ctx, args.at(1), FilterKind::Bloom) {
        Ok(filter) => Ok(signed(filter.revision())),
        Err(error) if error == NOT_FOUND => Ok(0),
        Err(error) => Err(error),
    };
    answer_integer(reply, outcome);
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn info(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = describe(ctx, args, reply);
    answer(reply, outcome);
}

/// The lines of BF.INFO: option, name.
const LINES: [(&str, &str); 5] = [
    ("CAPACITY", "Capacity"),
    ("SIZE", "Size"),
    ("FILTERS", "Number of filters"),
    ("ITEMS", "Number of items inserted"),
    ("EXPANSION", "Expansion rate"),
];

fn describe(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    if args.len() > 3 {
        return Err(CommandError::Arity("bf.info"));
    }
    let Filter::Bloom(filter) = existing(ctx, args.at(1), FilterKind::Bloom)? else { return Ok(()) };
    let expansion = filter.config().expansion();
    let values = [
        Some(filter.capacity()),
        Some((size_of::<Filter>() + filter.memory_bytes()) as u64),
        Some(filter.sub_filters() as u64),
        Some(filter.items()),
        (expansion > 0).then_some(u64::from(expansion)),
    ];
    let value = |reply: &mut Reply<'_>, value: Option<u64>| match value {
        Some(value) => reply.integer(signed(value)),
        None => reply.null(),
    };
    if args.len() == 2 {
        reply.map(LINES.len());
        for ((_, name), number) in LINES.iter().zip(values) {
            reply.simple(name);
            value(reply, number);
        }
        return Ok(());
    }
    let asked = LINES.iter().zip(values).find(|((option, _), _)| args.is(2, option));
    let ((_, name), number) = asked.ok_or(CommandError::Bare("Invalid information value"))?;
    // RedisBloom's one value is an array in RESP2, without its name.
    match reply.version() {
        protocol::Version::Resp2 => reply.array(1),
        protocol::Version::Resp3 => {
            reply.map(1);
            reply.simple(name);
        }
    }
    value(reply, number);
    Ok(())
}
