//! Making cuckoo filters, adding and deleting items.

use super::{ADDING, ADDS, Adding, CUCKOO_ROW, FilterChange, NOT_FOUND};
use super::{add, check_free, create, filter_of, is_there};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::{Reply, Version};
use store::cuckoo::{CuckooConfig, SUB_FILTERS_MAX};
use store::{Added, Filter, FilterKind};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "cf.reserve",
        arity: -3,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(1)",
        summary: "Creates a new Cuckoo Filter",
        run: Run::Write(reserve),
        ..CUCKOO_ROW
    },
    Command {
        name: "cf.add",
        arity: 3,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(k + i), where k is the number of sub-filters and i is maxIterations",
        summary: "Adds an item to a Cuckoo Filter",
        run: Run::Write(add_one),
        ..CUCKOO_ROW
    },
    Command {
        name: "cf.addnx",
        arity: 3,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(k + i), where k is the number of sub-filters and i is maxIterations",
        summary: "Adds an item to a Cuckoo Filter if the item did not exist previously.",
        run: Run::Write(add_one_absent),
        ..CUCKOO_ROW
    },
    Command {
        name: "cf.insert",
        arity: -4,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(n * (k + i)), where n is the number of items, k is the number of sub-filters and i is \
            maxIterations",
        summary: "Adds one or more items to a Cuckoo Filter. A filter will be created if it does not exist",
        run: Run::Write(insert),
        ..CUCKOO_ROW
    },
    Command {
        name: "cf.insertnx",
        arity: -4,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(n * (k + i)), where n is the number of items, k is the number of sub-filters and i is \
            maxIterations",
        summary: "Adds one or more items to a Cuckoo Filter if the items did not exist previously. A filter \
            will be created if it does not exist",
        run: Run::Write(insert_absent),
        ..CUCKOO_ROW
    },
    Command {
        name: "cf.del",
        arity: 3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
        complexity: "O(k), where k is the number of sub-filters",
        summary: "Deletes an item from a Cuckoo Filter",
        run: Run::Write(delete),
        ..CUCKOO_ROW
    },
];

/// What a filter is made for if nothing is said (RedisBloom's defaults).
const CAPACITY_DEFAULT: i64 = 1_024;
const BUCKET_SIZE_DEFAULT: i64 = 2;
const EXPANSION_DEFAULT: i64 = 1;
/// Limits of the options of CF.RESERVE, as its documentation has them.
const BUCKET_SIZE_MAX: i64 = 255;
const ITERATIONS_MAX: i64 = 65_535;
const EXPANSION_MAX: i64 = 32_768;

const BAD_CAPACITY: CommandError = CommandError::Bare("Bad capacity");
const SMALL_CAPACITY: CommandError = CommandError::Bare("Capacity must be at least (BucketSize * 2)");
const FILTER_FULL: CommandError = CommandError::Bare("Filter is full");
const EXPANSIONS_REACHED: CommandError = CommandError::Bare("Maximum expansions reached");

fn reserve(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reserve_filter(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn reserve_filter(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    // Options come in pairs.
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Arity("cf.reserve"));
    }
    let capacity = protocol::parse_i64(args.at(2)).ok_or(BAD_CAPACITY)?;
    // Of no effect here: a search for room is bounded otherwise.
    option(
        args,
        "MAXITERATIONS",
        1..=ITERATIONS_MAX,
        "Couldn't parse MAXITERATIONS",
        "MAXITERATIONS: value must be an integer between 1 and 65535, inclusive.",
    )?;
    let bucket_size = option(
        args,
        "BUCKETSIZE",
        1..=BUCKET_SIZE_MAX,
        "Couldn't parse BUCKETSIZE",
        "BUCKETSIZE: value must be an integer between 1 and 255, inclusive.",
    )?;
    let expansion = option(
        args,
        "EXPANSION",
        0..=EXPANSION_MAX,
        "Couldn't parse EXPANSION",
        "EXPANSION: value must be an integer between 0 and 32768, inclusive.",
    )?;
    let bucket_size = bucket_size.unwrap_or(BUCKET_SIZE_DEFAULT);
    if bucket_size * 2 > capacity {
        return Err(SMALL_CAPACITY);
    }
    let header = header(capacity, bucket_size, expansion.unwrap_or(EXPANSION_DEFAULT));
    check_free(ctx, args.at(1), FilterKind::Cuckoo)?;
    let header = header.ok_or(CommandError::Bare("Couldn't create Cuckoo Filter"))?;
    create(ctx, args.at(1), &header);
    Ok(())
}

/// The number after the option `name`, if it is there; other words are passed over, as RedisBloom does.
fn option(
    args: Args<'_>,
    name: &str,
    range: std::ops::RangeInclusive<i64>,
    no_number: &'static str,
    out_of_range: &'static str,
) -> Outcome<Option<i64>> {
    let Some(index) = (3..args.len()).step_by(2).find(|&index| args.is(index, name)) else { return Ok(None) };
    let word = args.get(index + 1).unwrap_or_default();
    let value = protocol::parse_i64(word).ok_or(CommandError::Bare(no_number))?;
    if range.contains(&value) { Ok(Some(value)) } else { Err(CommandError::Bare(out_of_range)) }
}

/// What an empty filter begins with; `None` if it would be larger than a value may be.
///
/// RedisBloom's fingerprints have eight bits, so that its rate of false positives grows with the size of its buckets: two in
/// 255 for each place. Ours get the bits that this rate needs.
fn header(capacity: i64, bucket_size: i64, expansion: i64) -> Option<Vec<u8>> {
    let rate = (2.0 * bucket_size as f64 / 255.0).min(0.5);
    let config = CuckooConfig::new(u64::try_from(capacity).ok()?, rate).ok()?;
    // RedisBloom rounds it up to a power of two.
    let expansion = match expansion {
        0 => 0,
        times => u16::try_from(times).ok()?.checked_next_power_of_two()?,
    };
    config.with_expansion(expansion).header()
}

fn add_one(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = add_item(ctx, args, false).map(|is_new| reply.boolean(is_new));
    answer(reply, outcome);
}

fn add_one_absent(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = add_item(ctx, args, true).map(|is_new| reply.boolean(is_new));
    answer(reply, outcome);
}

fn add_item(ctx: &mut WriteCtx<'_>, args: Args<'_>, only_absent: bool) -> Outcome<bool> {
    let key = args.at(1);
    match *add_items(ctx, key, args.tail(2), Some(CAPACITY_DEFAULT), only_absent)? {
        [Added::New] => Ok(true),
        [Added::Present] => Ok(false),
        _ => Err(if is_fully_grown(ctx, key) { EXPANSIONS_REACHED } else { FILTER_FULL }),
    }
}

/// Whether the filter has as many sub-filters as one may have.
fn is_fully_grown(ctx: &WriteCtx<'_>, key: &[u8]) -> bool {
    let entry = ctx.peek(key);
    let filter = entry.and_then(|entry| filter_of(&entry, FilterKind::Cuckoo).ok());
    matches!(filter, Some(Filter::Cuckoo(filter)) if filter.stats().sub_filters >= SUB_FILTERS_MAX)
}

/// Adds items to a filter that is made with `capacity` if there is none and it may be made.
fn add_items(
    ctx: &mut WriteCtx<'_>,
    key: &[u8],
    items: &[&[u8]],
    capacity: Option<i64>,
    only_absent: bool,
) -> Outcome<Vec<Added>> {
    if !is_there(ctx, key, FilterKind::Cuckoo)? {
        let header = header(capacity.ok_or(NOT_FOUND)?, BUCKET_SIZE_DEFAULT, EXPANSION_DEFAULT)
            .ok_or(CommandError::Bare("Could not create filter"))?;
        create(ctx, key, &header);
    }
    let how = Adding { kind: FilterKind::Cuckoo, only_absent, stop_when_full: false };
    Ok(add(ctx, key, items, how))
}

fn insert(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = insert_items(ctx, args, "cf.insert", false);
    let outcome = outcome.map(|added| reply_each(&added, reply, reply.version() == Version::Resp3));
    answer(reply, outcome);
}

fn insert_absent(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = insert_items(ctx, args, "cf.insertnx", true);
    let outcome = outcome.map(|added| reply_each(&added, reply, false));
    answer(reply, outcome);
}

/// One answer for each item. CF.INSERTNX has three of them, which booleans cannot tell apart.
fn reply_each(added: &[Added], reply: &mut Reply<'_>, as_booleans: bool) {
    reply.array(added.len());
    for added in added {
        match added {
            _ if as_booleans => reply.boolean(*added == Added::New),
            Added::New => reply.integer(1),
            Added::Present => reply.integer(0),
            Added::Full => reply.integer(-1),
        }
    }
}

fn insert_items(
    ctx: &mut WriteCtx<'_>,
    args: Args<'_>,
    command: &'static str,
    only_absent: bool,
) -> Outcome<Vec<Added>> {
    let (mut capacity, mut may_create, mut index) = (CAPACITY_DEFAULT, true, 2);
    while !args.is(index, "ITEMS") {
        if args.is(index, "NOCREATE") {
            may_create = false;
            index += 1;
        } else if args.is(index, "CAPACITY") {
            let word = args.get(index + 1).ok_or(CommandError::Arity(command))?;
            capacity = protocol::parse_i64(word).ok_or(BAD_CAPACITY)?;
            if capacity < 2 * BUCKET_SIZE_DEFAULT {
                return Err(SMALL_CAPACITY);
            }
            index += 2;
        } else if index < args.len() {
            return Err(CommandError::Bare("Unknown argument received"));
        } else {
            return Err(CommandError::Arity(command));
        }
    }
    let items = args.tail(index + 1);
    if items.is_empty() {
        return Err(CommandError::Arity(command));
    }
    add_items(ctx, args.at(1), items, may_create.then_some(capacity), only_absent)
}

fn delete(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = delete_item(ctx, args.at(1), args.at(2)).map(|deleted| reply.boolean(deleted));
    answer(reply, outcome);
}

fn delete_item(ctx: &mut WriteCtx<'_>, key: &[u8], item: &[u8]) -> Outcome<bool> {
    let not_found = CommandError::Bare("Not found");
    match is_there(ctx, key, FilterKind::Cuckoo) {
        Ok(true) => {}
        Ok(false) | Err(CommandError::WrongType) => return Err(not_found),
        Err(error) => return Err(error),
    }
    let hash = FilterKind::Cuckoo.hash(item);
    let deleted = ctx.change_filter(key, |filter| {
        let revision = filter.filter().revision();
        match filter.delete(hash) {
            true => (true, FilterChange::Deleted { revision, hash: hash.to_le_bytes() }),
            false => (false, FilterChange::Nothing),
        }
    });
    deleted.ok_or(not_found)
}
