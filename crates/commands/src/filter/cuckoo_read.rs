//! Looking into cuckoo filters.

use super::{CUCKOO_ROW, READING, any, existing};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{Outcome, answer};
use crate::table::{Command, Run};
use protocol::Reply;
use store::cuckoo::{self, CuckooFilter};
use store::{Filter, FilterKind};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "cf.exists",
        arity: 3,
        flags: READING,
        complexity: "O(k), where k is the number of sub-filters",
        summary: "Checks whether an item exists in a Cuckoo Filter",
        run: Run::Read(exists),
        ..CUCKOO_ROW
    },
    Command {
        name: "cf.mexists",
        arity: -3,
        flags: READING,
        complexity: "O(k * n), where k is the number of sub-filters and n is the number of items",
        summary: "Checks whether one or more items exist in a Cuckoo Filter",
        run: Run::Read(mexists),
        ..CUCKOO_ROW
    },
    Command {
        name: "cf.count",
        arity: 3,
        flags: READING,
        complexity: "O(k), where k is the number of sub-filters",
        summary: "Return the number of times an item might be in a Cuckoo Filter",
        run: Run::Read(count),
        ..CUCKOO_ROW
    },
    Command {
        name: "cf.info",
        arity: 2,
        flags: READING,
        complexity: "O(1)",
        summary: "Returns information about a Cuckoo Filter",
        run: Run::Read(info),
        ..CUCKOO_ROW
    },
];

/// The filter that `key` holds, if it is one and whole.
fn whole<'c>(ctx: &'c mut ReadCtx<'_>, key: &[u8]) -> Option<&'c CuckooFilter> {
    match any(ctx, key, FilterKind::Cuckoo)? {
        Filter::Cuckoo(filter) => Some(filter),
        _ => None,
    }
}

fn exists(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.boolean(whole(ctx, args.at(1)).is_some_and(|filter| filter.contains(args.at(2))));
}

fn mexists(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let items = args.tail(2);
    let mut found = Vec::with_capacity(items.len());
    if let Some(filter) = whole(ctx, args.at(1)) {
        filter.contains_each(items.iter().copied(), &mut found);
    }
    found.resize(items.len(), false);
    reply.array(items.len());
    found.into_iter().for_each(|found| reply.boolean(found));
}

fn count(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let copies = whole(ctx, args.at(1)).map_or(0, |filter| filter.count(args.at(2)));
    reply.integer(i64::try_from(copies).unwrap_or(i64::MAX));
}

fn info(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = describe(ctx, args.at(1), reply);
    answer(reply, outcome);
}

fn describe(ctx: &mut ReadCtx<'_>, key: &[u8], reply: &mut Reply<'_>) -> Outcome<()> {
    let Filter::Cuckoo(filter) = existing(ctx, key, FilterKind::Cuckoo)? else { return Ok(()) };
    let (stats, config) = (filter.stats(), filter.config());
    let lines = [
        ("Size", (size_of::<Filter>() + stats.memory_bytes) as u64),
        ("Number of buckets", u64::from(config.buckets())),
        ("Number of filters", stats.sub_filters as u64),
        ("Number of items inserted", stats.items),
        ("Number of items deleted", stats.deleted),
        ("Bucket size", cuckoo::BUCKET_SLOTS as u64),
        ("Expansion rate", u64::from(config.expansion())),
        ("Max iterations", cuckoo::SEARCH_MAX as u64),
    ];
    reply.map(lines.len());
    for (name, value) in lines {
        reply.simple(name);
        reply.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }
    Ok(())
}
