//! SCRIPT: the scripts that a node remembers by their digests.

use super::ROW;
use crate::args::Args;
use crate::host::Host;
use crate::server::rows::reply_help;
use crate::session::SessionCtx;
use crate::table::{Command, Flags, Merge, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "script",
    arity: -2,
    since: "2.6.0",
    complexity: "Depends on subcommand.",
    summary: "A container for Lua scripts management commands.",
    subcommands: SUBCOMMANDS,
    run: Run::Container,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "script|help",
        arity: 2,
        flags: Flags::LOADING.with(Flags::STALE),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns helpful text about the different subcommands.",
        run: Run::Session(help),
        ..ROW
    },
    Command {
        name: "script|flush",
        arity: -2,
        flags: Flags::NOSCRIPT,
        since: "2.6.0",
        complexity: "O(N) with N being the number of scripts in cache",
        summary: "Removes all server-side Lua scripts from the script cache.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: Run::Nodes { local: flush, merge: Merge::Ok },
        ..ROW
    },
    Command {
        name: "script|load",
        arity: 3,
        flags: Flags::NOSCRIPT.with(Flags::STALE),
        since: "2.6.0",
        complexity: "O(N) with N being the length in bytes of the script body.",
        summary: "Loads a server-side Lua script to the script cache.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: Run::Nodes { local: load, merge: Merge::AnyOne },
        ..ROW
    },
    Command {
        name: "script|debug",
        arity: 3,
        flags: Flags::NOSCRIPT,
        since: "3.2.0",
        complexity: "O(1)",
        summary: "Sets the debug mode of server-side Lua scripts.",
        run: Run::Session(debug),
        ..ROW
    },
    Command {
        name: "script|exists",
        arity: -3,
        flags: Flags::NOSCRIPT,
        since: "2.6.0",
        complexity: "O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).",
        summary: "Determines whether server-side Lua scripts exist in the script cache.",
        tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
        run: Run::Session(exists),
        ..ROW
    },
    Command {
        name: "script|kill",
        arity: 2,
        flags: Flags::NOSCRIPT.with(Flags::ALLOW_BUSY),
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Terminates a server-side Lua script during execution.",
        tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
        run: Run::Nodes { local: kill, merge: Merge::AnyOne },
        ..ROW
    },
];

fn load(host: &mut dyn Host, args: Args<'_>, reply: &mut Reply<'_>) {
    match host.script_load(args.at(2)) {
        Ok(digest) => reply.bulk(digest.as_bytes()),
        Err(error) => reply.error(&error),
    }
}

fn exists(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.array(args.len() - 2);
    for digest in args.tail(2) {
        reply.integer(i64::from(ctx.host.script_exists(digest)));
    }
}

fn flush(host: &mut dyn Host, args: Args<'_>, reply: &mut Reply<'_>) {
    match args.tail(2) {
        [] => {}
        [mode] if mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async") => {}
        _ => return reply.error("ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
    }
    host.script_flush();
    reply.ok();
}

fn kill(host: &mut dyn Host, _: Args<'_>, reply: &mut Reply<'_>) {
    match host.script_kill() {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(&error),
    }
}

fn debug(_: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    reply.error("ERR there is no debugger of scripts here");
}

const HELP: &[&str] = &[
    "DEBUG (YES|SYNC|NO)",
    "    Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
];

fn help(_: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    reply_help(reply, "SCRIPT", HELP);
}
