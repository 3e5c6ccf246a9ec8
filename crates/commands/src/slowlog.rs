//! SLOWLOG: the commands of this node that took longest.

use crate::args::Args;
use crate::server::rows::{
    ALL_NODES_SUCCEED, EMPTY, HELP_SUMMARY, LOADING_STALE, reply_help, subcommand_syntax_error,
};
use crate::session::SessionCtx;
use crate::table::{Command, Flags, Run};
use protocol::Reply;

/// Entries that GET returns when no count is given.
const COUNT_DEFAULT: usize = 10;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "slowlog",
    arity: -2,
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    summary: "A container for slow log commands.",
    subcommands: SUBCOMMANDS,
    ..EMPTY
}];

const BASE: Command = Command { arity: 2, flags: LOADING_STALE.with(Flags::ADMIN), since: "2.2.12", ..EMPTY };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "slowlog|get",
        arity: -2,
        complexity: "O(N) where N is the number of entries returned",
        summary: "Returns the slow log's entries.",
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
        run: Run::Session(get),
        ..BASE
    },
    Command {
        name: "slowlog|help",
        flags: LOADING_STALE,
        since: "6.2.0",
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "SLOWLOG", HELP)),
        ..BASE
    },
    Command {
        name: "slowlog|len",
        summary: "Returns the number of entries in the slow log.",
        tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        run: Run::Session(|ctx, _, reply| reply.integer(ctx.host.slowlog_len() as i64)),
        ..BASE
    },
    Command {
        name: "slowlog|reset",
        complexity: "O(N) where N is the number of entries in the slowlog",
        summary: "Clears all entries from the slow log.",
        tips: ALL_NODES_SUCCEED,
        run: Run::Session(reset),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];

/// `SLOWLOG GET [count]`.
fn get(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() > 3 {
        return reply.error(&subcommand_syntax_error("SLOWLOG", args.at(1)));
    }
    let count = match args.get(2).map(protocol::parse_i64) {
        None => COUNT_DEFAULT,
        Some(Some(-1)) => usize::MAX,
        Some(Some(count)) if count >= 0 => usize::try_from(count).unwrap_or(usize::MAX),
        Some(_) => return reply.error("ERR count should be greater than or equal to -1"),
    };
    let entries = ctx.host.slowlog(count);
    reply.array(entries.len());
    for entry in &entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer((entry.at.0 / 1_000) as i64);
        reply.integer(entry.duration_us as i64);
        reply.array(entry.arguments.len());
        for argument in &entry.arguments {
            reply.bulk(argument);
        }
        reply.bulk(entry.addr.as_bytes());
        reply.bulk(&entry.name);
    }
}

fn reset(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    ctx.host.slowlog_reset();
    reply.ok();
}
