//! CONFIG: the directives of the running node.
//!
//! The host owns the table of directives, their types and what may change while running; matching of patterns and
//! the shape of errors are here.

use crate::args::Args;
use crate::glob;
use crate::host::ConfigError;
use crate::server::rows::{
    ADMIN, ALL_NODES_SUCCEED, EMPTY, HELP_SUMMARY, LOADING_STALE, SYNTAX_ERROR, reply_help,
};
use crate::session::SessionCtx;
use crate::table::{Command, Run};
use protocol::Reply;
use std::collections::BTreeSet;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "config",
    arity: -2,
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for server configuration commands.",
    subcommands: SUBCOMMANDS,
    ..EMPTY
}];

const BASE: Command = Command { arity: 2, flags: ADMIN, since: "2.0.0", ..EMPTY };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "config|get",
        arity: -3,
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Returns the effective values of configuration parameters.",
        run: Run::Session(get),
        ..BASE
    },
    Command {
        name: "config|help",
        flags: LOADING_STALE,
        since: "5.0.0",
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "CONFIG", HELP)),
        ..BASE
    },
    Command {
        name: "config|resetstat",
        summary: "Resets the server's statistics.",
        tips: ALL_NODES_SUCCEED,
        run: Run::Session(resetstat),
        ..BASE
    },
    Command {
        name: "config|rewrite",
        since: "2.8.0",
        summary: "Persists the effective configuration to file.",
        tips: ALL_NODES_SUCCEED,
        run: Run::Session(rewrite),
        ..BASE
    },
    Command {
        name: "config|set",
        arity: -4,
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Sets configuration parameters in-flight.",
        tips: ALL_NODES_SUCCEED,
        run: Run::Session(set),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];

/// `CONFIG GET pattern [pattern ...]`: each directive once; a plain name is repeated as the client wrote it.
fn get(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let mut found: Vec<(Vec<u8>, String)> = Vec::new();
    for (name, value) in ctx.host.config() {
        for pattern in args.tail(2) {
            if pattern.eq_ignore_ascii_case(name.as_bytes()) {
                found.push((pattern.to_vec(), value));
                break;
            }
            if glob::matches_ignoring_case(pattern, name.as_bytes()) {
                found.push((name.into_bytes(), value));
                break;
            }
        }
    }
    reply.map(found.len());
    for (name, value) in &found {
        reply.bulk(name);
        reply.bulk(value.as_bytes());
    }
}

/// `CONFIG SET directive value [directive value ...]`: all or none.
fn set(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if !args.len().is_multiple_of(2) {
        return reply.error(SYNTAX_ERROR);
    }
    let mut seen = BTreeSet::new();
    let mut pairs = Vec::with_capacity(args.len() / 2 - 1);
    for pair in args.tail(2).chunks_exact(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
        if !seen.insert(name.clone()) {
            let written = String::from_utf8_lossy(pair[0]);
            return reply.error(&failed(&written, "duplicate parameter"));
        }
        pairs.push((name, pair[1]));
    }
    let pairs: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    match ctx.host.config_set(&pairs) {
        Ok(()) => reply.ok(),
        Err(ConfigError::Unknown { name }) => {
            reply.error(&format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"));
        }
        Err(ConfigError::Refused { name, reason }) => reply.error(&failed(&name, &reason)),
    }
}

fn failed(name: &str, reason: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
}

fn resetstat(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    ctx.host.reset_statistics();
    reply.ok();
}

fn rewrite(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    match ctx.host.config_rewrite() {
        Ok(()) => reply.ok(),
        Err(reason) => reply.error(&format!("ERR {reason}")),
    }
}
