//! LATENCY: distributions of every command's latency, and spikes of what `latency-monitor-threshold` watches.

mod graph;

use crate::args::Args;
use crate::host::LatencyEvent;
use crate::info::CommandStats;
use crate::server::rows::{
    ADMIN, ALL_NODES_SPECIAL, ALL_NODES_SUCCEED, EMPTY, HELP_SUMMARY, LOADING_STALE, reply_help,
};
use crate::session::SessionCtx;
use crate::table::{Command, Run};
use protocol::Reply;

const DISABLED: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You \
     may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep \
     space mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n";
const NO_SPIKES: &str = "Dave, no latency spike was observed during the lifetime of this Redis instance, not in the \
     slightest bit. I honestly think you ought to sit down calmly, take a stress pill, and think things over.\n";
const SPIKES: &str = "Dave, I have observed latency spikes in this Redis instance. You don't mind talking about it, \
     do you Dave?\n\n";
const NO_ADVICE: &str = "\nWhile there are latency events logged, I'm not able to suggest any easy fix. Please use \
     the Redis community to get some help, providing this report in your help request.\n";

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "latency",
    arity: -2,
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    summary: "A container for latency diagnostics commands.",
    subcommands: SUBCOMMANDS,
    ..EMPTY
}];

const BASE: Command = Command { arity: 2, flags: ADMIN, since: "2.8.13", tips: ALL_NODES_SPECIAL, ..EMPTY };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "latency|doctor",
        summary: "Returns a human-readable latency analysis report.",
        run: Run::Session(doctor),
        ..BASE
    },
    Command {
        name: "latency|graph",
        arity: 3,
        summary: "Returns a latency graph for an event.",
        run: Run::Session(graph),
        ..BASE
    },
    Command {
        name: "latency|help",
        flags: LOADING_STALE,
        summary: HELP_SUMMARY,
        tips: &[],
        run: Run::Session(|_, _, reply| reply_help(reply, "LATENCY", HELP)),
        ..BASE
    },
    Command {
        name: "latency|histogram",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands with latency information being retrieved.",
        summary: "Returns the cumulative distribution of latencies of a subset or all commands.",
        run: Run::Session(histogram),
        ..BASE
    },
    Command {
        name: "latency|history",
        arity: 3,
        summary: "Returns timestamp-latency samples for an event.",
        run: Run::Session(history),
        ..BASE
    },
    Command {
        name: "latency|latest",
        summary: "Returns the latest latency samples for all events.",
        run: Run::Session(latest),
        ..BASE
    },
    Command {
        name: "latency|reset",
        arity: -2,
        summary: "Resets the latency data for one or more events.",
        tips: ALL_NODES_SUCCEED,
        run: Run::Session(reset),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
    "    If no commands are specified then all histograms are replied.",
];

fn event(ctx: &SessionCtx<'_>, name: &[u8]) -> Option<LatencyEvent> {
    ctx.host.latency_events().into_iter().find(|event| event.name.as_bytes() == name)
}

/// `LATENCY HISTOGRAM [command ...]`: commands that never ran are left out; a container stands for its subcommands.
fn histogram(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let all = ctx.host.command_stats();
    let ran = all.iter().filter(|stats| stats.calls > 0);
    let chosen: Vec<&CommandStats> = if args.len() == 2 {
        ran.collect()
    } else {
        args.tail(2)
            .iter()
            .flat_map(|name| {
                let container = format!("{}|", String::from_utf8_lossy(name).to_ascii_lowercase());
                ran.clone().filter(move |stats| {
                    name.eq_ignore_ascii_case(stats.name.as_bytes()) || stats.name.starts_with(&container)
                })
            })
            .collect()
    };
    reply.map(chosen.len());
    for stats in chosen {
        reply.bulk(stats.name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(stats.calls as i64);
        reply.bulk(b"histogram_usec");
        reply.map(stats.histogram.len());
        for (bound_us, calls) in &stats.histogram {
            reply.integer(*bound_us as i64);
            reply.integer(*calls as i64);
        }
    }
}

/// `LATENCY HISTORY event`: (Unix seconds, milliseconds), oldest first.
fn history(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let samples = event(ctx, args.at(2)).map(|event| event.samples).unwrap_or_default();
    reply.array(samples.len());
    for (at, ms) in samples {
        reply.array(2);
        reply.integer((at.0 / 1_000) as i64);
        reply.integer(ms as i64);
    }
}

/// `LATENCY LATEST`: name, time of the last spike, its milliseconds, the worst milliseconds.
fn latest(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let events = ctx.host.latency_events();
    let with_samples: Vec<_> =
        events.iter().filter_map(|event| Some((event, event.samples.last()?))).collect();
    reply.array(with_samples.len());
    for (event, (at, ms)) in with_samples {
        reply.array(4);
        reply.bulk(event.name.as_bytes());
        reply.integer((at.0 / 1_000) as i64);
        reply.integer(*ms as i64);
        reply.integer(event.max_ms as i64);
    }
}

/// `LATENCY RESET [event ...]`: how many were forgotten.
fn reset(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let forgotten = match args.tail(2) {
        [] => ctx.host.latency_reset(None),
        names => names.iter().map(|name| ctx.host.latency_reset(Some(name))).sum(),
    };
    reply.integer(forgotten as i64);
}

/// `LATENCY GRAPH event`.
fn graph(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    match event(ctx, args.at(2)).filter(|event| !event.samples.is_empty()) {
        Some(event) => reply.verbatim("txt", graph::render(&event, ctx.host.wall()).as_bytes()),
        None => {
            let name = String::from_utf8_lossy(args.at(2)).into_owned();
            reply.error(&format!("ERR No samples available for event '{name}'"));
        }
    }
}

/// `LATENCY DOCTOR`: the figures of Redis's report, without its guesses at causes.
fn doctor(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let mut events = ctx.host.latency_events();
    events.retain(|event| !event.samples.is_empty());
    let mut text = String::new();
    if events.is_empty() {
        let directives = ctx.host.config();
        let disabled =
            directives.iter().any(|(name, value)| name == "latency-monitor-threshold" && value == "0");
        text.push_str(if disabled { DISABLED } else { NO_SPIKES });
    } else {
        text.push_str(SPIKES);
        for (number, event) in events.iter().enumerate() {
            text.push_str(&format!("{}. {}", number + 1, spikes(event)));
        }
        text.push_str(NO_ADVICE);
    }
    reply.verbatim("txt", text.as_bytes());
}

/// One event of the doctor's report: count, mean, mean deviation, and the time between spikes.
fn spikes(event: &LatencyEvent) -> String {
    let count = event.samples.len() as u64;
    let mean = event.samples.iter().map(|(_, ms)| ms).sum::<u64>() / count.max(1);
    let deviation = event.samples.iter().map(|(_, ms)| ms.abs_diff(mean)).sum::<u64>() / count.max(1);
    let span_ms = match (event.samples.first(), event.samples.last()) {
        (Some((first, _)), Some((last, _))) => last.0.saturating_sub(first.0),
        _ => 0,
    };
    let period_s = span_ms as f64 / 1_000.0 / count.max(1) as f64;
    format!(
        "{}: {count} latency spikes (average {mean}ms, mean deviation {deviation}ms, period {period_s:.2} sec). \
         Worst all time event {}ms.\n",
        event.name, event.max_ms
    )
}
