//! MEMORY, except USAGE of a key, which reads the key and so stands with the generic commands.

use super::info::ratio;
use super::rows::{ALL_SHARDS_SPECIAL, EMPTY, HELP_SUMMARY, LOADING_STALE, reply_help};
use crate::args::Args;
use crate::session::SessionCtx;
use crate::table::{Command, Run};
use protocol::Reply;

/// Below this much memory in use Redis's doctor refuses to diagnose.
const DOCTOR_BYTES_MIN: u64 = 5 * 1_024 * 1_024;

const TOO_SMALL: &str = "Hi Sam, this instance is empty or is using very little memory, my issues detector can't be \
     used in these conditions. Please, leave for your mission on Earth and fill it with some data. The new Sam and I \
     will be back to our programming as soon as I finished rebooting.\n";
const NO_ISSUES: &str = "Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs \
     on this base.\n";
const ISSUES: &str = "Sam, I detected a few issues in this Redis instance memory implants:\n\n";
const PEAK_ISSUE: &str = " * Peak memory: In the past this instance used more than 150% the memory that is \
     currently using. The allocator is normally not able to release memory after a peak, so you can expect to see a \
     big fragmentation ratio, however this is actually harmless and is only due to the memory peak, and if the Redis \
     instance Resident Set Size (RSS) is currently bigger than expected, the memory will be used as soon as you fill \
     the Redis instance with more data. If the memory peak was only occasional and you want to try to reclaim memory, \
     please try the MEMORY PURGE command, otherwise the only other option is to shutdown and restart the \
     instance.\n\n";
const FRAGMENTATION_ISSUE: &str = " * High total RSS: This instance has a memory fragmentation and RSS overhead \
     greater than 1.4 (this means that the Resident Set Size of the Redis process is much larger than the sum of the \
     logical allocations Redis performed). This problem is usually due either to a large peak memory (check if there \
     is a peak memory entry above in the report) or may result from a workload that causes the allocator to fragment \
     memory a lot.\n\n";
const ISSUES_END: &str = "I'm here to keep you safe, Sam. I want to help you.\n";

/// The container's row.
pub(super) const MEMORY: Command = Command {
    name: "memory",
    arity: -2,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for memory diagnostics commands.",
    subcommands: SUBCOMMANDS,
    ..EMPTY
};

const BASE: Command = Command { arity: 2, since: "4.0.0", ..EMPTY };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "memory|doctor",
        summary: "Outputs a memory problems report.",
        tips: ALL_SHARDS_SPECIAL,
        run: Run::Session(doctor),
        ..BASE
    },
    Command {
        name: "memory|help",
        flags: LOADING_STALE,
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "MEMORY", HELP)),
        ..BASE
    },
    Command {
        name: "memory|malloc-stats",
        complexity: "Depends on how much memory is allocated, could be slow",
        summary: "Returns the allocator statistics.",
        tips: ALL_SHARDS_SPECIAL,
        run: Run::Session(malloc_stats),
        ..BASE
    },
    Command {
        name: "memory|purge",
        complexity: "Depends on how much memory is allocated, could be slow",
        summary: "Asks the allocator to release memory.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: Run::Session(purge),
        ..BASE
    },
    Command {
        name: "memory|stats",
        summary: "Returns details about memory usage.",
        tips: ALL_SHARDS_SPECIAL,
        run: Run::Session(stats),
        ..BASE
    },
    crate::generic::MEMORY_USAGE,
];

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

fn doctor(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let memory = ctx.host.info().memory;
    let mut text = String::new();
    if memory.used < DOCTOR_BYTES_MIN {
        text.push_str(TOO_SMALL);
    } else {
        let peak = ratio(memory.peak, memory.used) > 1.5;
        let fragmented = ratio(memory.rss, memory.used) > 1.4;
        if peak || fragmented {
            text.push_str(ISSUES);
            text.push_str(if peak { PEAK_ISSUE } else { "" });
            text.push_str(if fragmented { FRAGMENTATION_ISSUE } else { "" });
            text.push_str(ISSUES_END);
        } else {
            text.push_str(NO_ISSUES);
        }
    }
    reply.verbatim("txt", text.as_bytes());
}

fn malloc_stats(_: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    reply.bulk(b"Stats not supported for the current allocator");
}

fn purge(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    ctx.host.purge_memory();
    reply.ok();
}

/// `MEMORY STATS`: integers, and ratios as doubles, in Redis's order. Redis's map per database and the ratios between
/// its allocator's layers are left out: there is nothing here that they could measure.
fn stats(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let data = ctx.host.info();
    let memory = &data.memory;
    let keys: u64 = data.keyspace.iter().map(|db| db.keys).sum();
    let peak = memory.peak.max(memory.used);
    let overhead = memory.used.saturating_sub(memory.dataset);
    let grown = memory.used.saturating_sub(memory.startup);
    let integers = [
        ("peak.allocated", peak),
        ("total.allocated", memory.used),
        ("startup.allocated", memory.startup),
        ("replication.backlog", memory.replication_log),
        ("clients.slaves", 0),
        ("clients.normal", memory.clients),
        ("cluster.links", 0),
        ("aof.buffer", memory.aof_buffer),
        ("lua.caches", 0),
        ("functions.caches", 0),
        ("overhead.total", overhead),
        ("keys.count", keys),
        ("keys.bytes-per-key", grown.checked_div(keys).unwrap_or(0)),
        ("dataset.bytes", memory.dataset),
    ];
    let percents = [
        ("dataset.percentage", ratio(memory.dataset, grown).min(1.0) * 100.0),
        ("peak.percentage", ratio(memory.used, peak) * 100.0),
    ];
    let allocator = [
        ("allocator.allocated", memory.used),
        ("allocator.active", memory.rss),
        ("allocator.resident", memory.rss),
    ];
    reply.map(integers.len() + percents.len() + allocator.len() + 2);
    let integer = |reply: &mut Reply<'_>, (name, value): (&str, u64)| {
        reply.bulk(name.as_bytes());
        reply.integer(value as i64);
    };
    integers.into_iter().for_each(|pair| integer(reply, pair));
    for (name, value) in percents {
        reply.bulk(name.as_bytes());
        reply.double(value);
    }
    allocator.into_iter().for_each(|pair| integer(reply, pair));
    reply.bulk(b"fragmentation");
    reply.double(ratio(memory.rss, memory.used));
    reply.bulk(b"fragmentation.bytes");
    reply.integer(memory.rss as i64 - memory.used as i64);
}
