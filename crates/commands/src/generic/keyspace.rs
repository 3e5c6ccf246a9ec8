//! Commands over every key of a database: they run in each partition and gather.

use super::ROW;
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::CommandError;
use crate::gather::Gather;
use crate::glob;
use crate::table::{Categories, Command, Flags, Group, Merge, Run};
use effect::{Effect, RecordBuilder};
use stdx::limits;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY,
        categories: Categories::KEYSPACE.with(Categories::DANGEROUS),
        since: "1.0.0",
        complexity: "O(N) with N being the number of keys in the database, under the assumption that \
            the key names in the database and the given pattern have limited length.",
        summary: "Returns all key names that match a pattern.",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        run: Run::Partitions { local: keys, merge: Merge::Concat, validate: accept_any },
        ..ROW
    },
    Command {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns a random key name from the database.",
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        run: Run::Partitions { local: randomkey, merge: Merge::AnyOne, validate: accept_any },
        ..ROW
    },
    Command {
        name: "dbsize",
        arity: 1,
        flags: Flags::READONLY.with(Flags::FAST),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the number of keys in the database.",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        run: Run::Partitions { local: dbsize, merge: Merge::Sum, validate: accept_any },
        ..ROW
    },
    Command {
        name: "flushdb",
        arity: -1,
        flags: Flags::WRITE,
        categories: Categories::KEYSPACE.with(Categories::DANGEROUS),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys in the selected database",
        summary: "Remove all keys from the current database.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: Run::Partitions { local: flushdb, merge: Merge::Ok, validate: flush_arguments },
        ..ROW
    },
    Command {
        name: "flushall",
        arity: -1,
        flags: Flags::WRITE,
        categories: Categories::KEYSPACE.with(Categories::DANGEROUS),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Removes all keys from all databases.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: Run::Partitions { local: flushall, merge: Merge::Ok, validate: flush_arguments },
        ..ROW
    },
    Command {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.with(Flags::FAST),
        categories: Categories::KEYSPACE.with(Categories::DANGEROUS),
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        summary: "Swaps two Redis databases.",
        run: Run::Partitions { local: swapdb, merge: Merge::Ok, validate: swap_arguments },
        ..ROW
    },
];

/// Entries that one call of the store's scan looks at.
const SCAN_COUNT: usize = 1_024;
/// Most bytes of effects that SWAPDB has in one partition: they travel as one record.
const SWAP_BYTES_MAX: usize = limits::BULK_BYTES_MAX;
const SWAP_TOO_LARGE: &str = "ERR a partition holds more than SWAPDB can swap in one step; what is in other partitions \
    may be swapped";

fn accept_any(_args: Args<'_>) -> Result<(), String> {
    Ok(())
}

/// FLUSHDB and FLUSHALL take one word, SYNC or ASYNC; both run alike, since flushed tables are dropped outside the
/// partition's lock.
fn flush_arguments(args: Args<'_>) -> Result<(), String> {
    let known = args.len() == 1 || (args.len() == 2 && (args.is(1, "sync") || args.is(1, "async")));
    if known { Ok(()) } else { Err(CommandError::Syntax.to_string()) }
}

fn keys(ctx: &mut WriteCtx<'_>, args: Args<'_>, gather: &mut Gather) {
    let (db, now, pattern) = (ctx.db, ctx.now, args.at(1));
    let all = pattern == b"*";
    let mut cursor = 0;
    // The partition is locked: nothing splits in between, so no key is visited twice.
    loop {
        cursor = ctx.only().scan(db, cursor, SCAN_COUNT, now, &mut |key, _| {
            if all || glob::matches(pattern, key) {
                gather.items.push(key.to_vec());
            }
        });
        if cursor == 0 {
            return;
        }
    }
}

fn randomkey(ctx: &mut WriteCtx<'_>, _args: Args<'_>, gather: &mut Gather) {
    let store = ctx.only();
    let weight = i64::try_from(store.len(ctx.db)).unwrap_or(i64::MAX);
    if let Some(key) = store.random_key(ctx.db, &mut gather.random, ctx.now) {
        let key = key.to_vec();
        gather.absorb(Merge::AnyOne, weight, vec![key]);
    }
}

fn dbsize(ctx: &mut WriteCtx<'_>, _args: Args<'_>, gather: &mut Gather) {
    let keys = i64::try_from(ctx.only().len(ctx.db)).unwrap_or(i64::MAX);
    gather.absorb(Merge::Sum, keys, Vec::new());
}

fn flushdb(ctx: &mut WriteCtx<'_>, _args: Args<'_>, _gather: &mut Gather) {
    flush(ctx, ctx.db);
}

fn flushall(ctx: &mut WriteCtx<'_>, _args: Args<'_>, _gather: &mut Gather) {
    for db in 0..limits::DATABASES {
        flush(ctx, db);
    }
}

fn flush(ctx: &mut WriteCtx<'_>, db: u8) {
    if ctx.only().len(db) > 0 {
        ctx.emit(Effect::Flush { db });
    }
}

/// The databases of SWAPDB, read as Redis reads them.
fn swapped(args: Args<'_>) -> Result<(u8, u8), String> {
    let number = |at: usize, error: &str| {
        let number = protocol::parse_i64(args.at(at)).and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| error.to_owned())
    };
    let first = number(1, "ERR invalid first DB index")?;
    let second = number(2, "ERR invalid second DB index")?;
    let database = |number: i32| {
        let number = u8::try_from(number).ok().filter(|number| *number < limits::DATABASES);
        number.ok_or_else(|| CommandError::DatabaseRange.to_string())
    };
    Ok((database(first)?, database(second)?))
}

fn swap_arguments(args: Args<'_>) -> Result<(), String> {
    swapped(args).map(|_| ())
}

/// Both databases are flushed, and then get each other's keys, one by one. An effect that swaps them would be short, but no
/// copy of the partition that is under way meanwhile would come out right: it proceeds by databases and positions, and what
/// went past it from one side to the other would be missing, or be there twice.
fn swapdb(ctx: &mut WriteCtx<'_>, args: Args<'_>, gather: &mut Gather) {
    let Ok((first, second)) = swapped(args) else { return };
    if first == second {
        return;
    }
    let mut record = RecordBuilder::new();
    for (from, to) in [(first, second), (second, first)] {
        let mut cursor = 0;
        loop {
            cursor = ctx.only().scan(from, cursor, SCAN_COUNT, ctx.now, &mut |_, entry| {
                entry.with_effect(to, &mut |effect| record.push(&effect));
            });
            if cursor == 0 {
                break;
            }
            if record.bytes().len() > SWAP_BYTES_MAX {
                gather.refusal = Some(SWAP_TOO_LARGE);
                return;
            }
        }
    }
    flush(ctx, first);
    flush(ctx, second);
    for effect in effect::decode(record.bytes()).flatten() {
        ctx.emit(effect);
    }
}
