//! Making Bloom filters and adding items.

use super::{ADDING, ADDS, Adding, BLOOM_ROW, NOT_FOUND, add, check_free, create, filter_of, is_there};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer};
use crate::table::{Command, Run};
use protocol::Reply;
use store::bloom::{BloomConfig, EXPANSION_MAX};
use store::{Added, Filter, FilterKind};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "bf.reserve",
        arity: -4,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(1)",
        summary: "Creates a new Bloom Filter",
        run: Run::Write(reserve),
        ..BLOOM_ROW
    },
    Command {
        name: "bf.add",
        arity: 3,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(k), where k is the number of hash functions used by the last sub-filter",
        summary: "Adds an item to a Bloom Filter",
        run: Run::Write(add_one),
        ..BLOOM_ROW
    },
    Command {
        name: "bf.madd",
        arity: -3,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(k * n), where k is the number of hash functions and n is the number of items",
        summary: "Adds one or more items to a Bloom Filter. A filter will be created if it does not exist",
        run: Run::Write(add_many),
        ..BLOOM_ROW
    },
    Command {
        name: "bf.insert",
        arity: -4,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(k * n), where k is the number of hash functions and n is the number of items",
        summary: "Adds one or more items to a Bloom Filter. A filter will be created if it does not exist",
        run: Run::Write(insert),
        ..BLOOM_ROW
    },
];

/// Words of BF.RESERVE at most.
const RESERVE_WORDS_MAX: usize = 7;
const NO_FILTER: CommandError = CommandError::Other("could not create filter");
const BAD_ARGUMENT: CommandError = CommandError::Bare("Bad argument received");

/// How a filter is made: RedisBloom's defaults, unless options say otherwise.
struct Making {
    capacity: i64,
    rate: f64,
    expansion: i64,
    /// A full filter refuses items, whatever the expansion.
    is_fixed: bool,
}

impl Default for Making {
    fn default() -> Making {
        Making { capacity: 100, rate: 0.01, expansion: 2, is_fixed: false }
    }
}

impl Making {
    /// What the empty filter begins with.
    fn header(&self) -> Outcome<Vec<u8>> {
        let expansion = if self.is_fixed { 0 } else { self.expansion };
        let (Ok(capacity), Ok(expansion)) = (u64::try_from(self.capacity), u16::try_from(expansion)) else {
            return Err(NO_FILTER);
        };
        let config = BloomConfig::new(capacity, self.rate, expansion).map_err(|_| NO_FILTER)?;
        Ok(config.header())
    }
}

fn reserve(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reserve_filter(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn reserve_filter(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    if args.len() > RESERVE_WORDS_MAX {
        return Err(CommandError::Arity("bf.reserve"));
    }
    let rate = protocol::parse_f64(args.at(2)).ok_or(CommandError::Other("bad error rate"))?;
    if !is_rate(rate) {
        return Err(CommandError::Other("(0 < error rate range < 1) "));
    }
    let capacity = protocol::parse_i64(args.at(3)).ok_or(CommandError::Other("bad capacity"))?;
    if capacity <= 0 {
        return Err(CommandError::Other("(capacity should be larger than 0)"));
    }
    let mut making = Making { capacity, rate, ..Making::default() };
    // Words that are no option are passed over, as RedisBloom does.
    let find = |name: &str| (4..args.len()).find(|&index| args.is(index, name));
    making.is_fixed = find("NONSCALING").is_some();
    if let Some(index) = find("EXPANSION") {
        let word = args.get(index + 1).ok_or(CommandError::Other("no expansion"))?;
        if making.is_fixed {
            return Err(CommandError::Bare("Nonscaling filters cannot expand"));
        }
        let expansion = protocol::parse_i64(word).filter(|times| (0..=EXPANSION_MAX.into()).contains(times));
        making.expansion = expansion.ok_or(CommandError::Other("bad expansion"))?;
    }
    check_free(ctx, args.at(1), FilterKind::Bloom)?;
    create(ctx, args.at(1), &making.header()?);
    Ok(())
}

fn is_rate(rate: f64) -> bool {
    rate > 0.0 && rate < 1.0
}

fn add_one(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let key = args.at(1);
    let added = add_items(ctx, key, args.tail(2), Some(&Making::default()));
    let outcome = added.and_then(|added| match added.first() {
        Some(Added::Full) => Err(full(ctx, key)),
        first => Ok(first == Some(&Added::New)),
    });
    let outcome = outcome.map(|is_new| reply.boolean(is_new));
    answer(reply, outcome);
}

fn add_many(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let key = args.at(1);
    let outcome = add_items(ctx, key, args.tail(2), Some(&Making::default()));
    let outcome = outcome.map(|added| reply_each(ctx, key, &added, reply));
    answer(reply, outcome);
}

fn insert(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let key = args.at(1);
    let outcome = Insert::parse(args).and_then(|Insert { making, may_create, items }| {
        add_items(ctx, key, items, may_create.then_some(&making))
    });
    let outcome = outcome.map(|added| reply_each(ctx, key, &added, reply));
    answer(reply, outcome);
}

/// The words of BF.INSERT.
struct Insert<'a> {
    making: Making,
    may_create: bool,
    items: &'a [&'a [u8]],
}

impl<'a> Insert<'a> {
    fn parse(args: Args<'a>) -> Outcome<Insert<'a>> {
        let arity = CommandError::Arity("bf.insert");
        let (mut making, mut may_create, mut index) = (Making::default(), true, 2);
        while !args.is(index, "ITEMS") {
            let value = args.get(index + 1).ok_or(arity.clone());
            index += 1;
            if args.is(index - 1, "NOCREATE") {
                may_create = false;
            } else if args.is(index - 1, "NONSCALING") {
                making.is_fixed = true;
            } else if args.is(index - 1, "ERROR") {
                making.rate = protocol::parse_f64(value?).ok_or(CommandError::Bare("Bad error rate"))?;
                index += 1;
            } else if args.is(index - 1, "EXPANSION") {
                making.expansion = protocol::parse_i64(value?).ok_or(CommandError::Bare("Bad expansion"))?;
                index += 1;
            } else if args.is(index - 1, "CAPACITY") {
                making.capacity = protocol::parse_i64(value?).ok_or(CommandError::Bare("Bad capacity"))?;
                index += 1;
            } else if index <= args.len() {
                return Err(CommandError::Bare("Unknown argument received"));
            } else {
                return Err(arity);
            }
        }
        let items = args.tail(index + 1);
        if items.is_empty() {
            return Err(arity);
        }
        let in_range = (1..=i64::from(EXPANSION_MAX)).contains(&making.expansion);
        if !in_range || !is_rate(making.rate) || making.capacity < 1 {
            return Err(BAD_ARGUMENT);
        }
        Ok(Insert { making, may_create, items })
    }
}

/// Adds items, up to the first for which there is no room, to a filter that is made if there is none and it may be made.
fn add_items(
    ctx: &mut WriteCtx<'_>,
    key: &[u8],
    items: &[&[u8]],
    making: Option<&Making>,
) -> Outcome<Vec<Added>> {
    if !is_there(ctx, key, FilterKind::Bloom)? {
        let header = making.ok_or(NOT_FOUND)?.header()?;
        create(ctx, key, &header);
    }
    Ok(add(ctx, key, items, Adding { kind: FilterKind::Bloom, only_absent: true, stop_when_full: true }))
}

/// One answer for each item; the last is an error if there was no room for it.
fn reply_each(ctx: &WriteCtx<'_>, key: &[u8], added: &[Added], reply: &mut Reply<'_>) {
    reply.array(added.len());
    for added in added {
        match added {
            Added::New => reply.boolean(true),
            Added::Present => reply.boolean(false),
            Added::Full => reply.error(&full(ctx, key).to_string()),
        }
    }
}

/// Why there is no room: the filter must not grow, or has reached a limit.
fn full(ctx: &WriteCtx<'_>, key: &[u8]) -> CommandError {
    let entry = ctx.peek(key);
    match entry.and_then(|entry| filter_of(&entry, FilterKind::Bloom).ok()) {
        Some(Filter::Bloom(filter)) if filter.config().expansion() == 0 => {
            CommandError::Other("non scaling filter is full")
        }
        _ => CommandError::Other("problem inserting into filter"),
    }
}
