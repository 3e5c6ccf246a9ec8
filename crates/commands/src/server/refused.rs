//! Commands of Redis whose work is done in another way here: they are known, and their error says what to do instead.
//!
//! A client or an operator that sends one learns more from that than from an unknown command. Owners and copies follow from the
//! members of the cluster, so nothing that names a master or a replica has a meaning.

use super::rows::{ADMIN, EMPTY, HELP_SUMMARY, LOADING_STALE, reply_help};
use crate::table::{Command, Flags, Run};

const CONFIGURES: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::STALE);
const SYNCS: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::NO_ASYNC_LOADING).with(Flags::NO_MULTI);
const LOADS: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::NO_ASYNC_LOADING);

const NO_DEBUG: &str = "ERR DEBUG command not allowed. This server has none of Redis's debugging commands; see INFO, \
    MEMORY, LATENCY and SLOWLOG instead.";
const NO_FAILOVER: &str = "ERR FAILOVER is not supported: a node hands its partitions over to others when it is told \
    to leave, see 'hypercache cluster leave'.";
const NO_SYNC: &str = "ERR Redis's replication protocol is not supported: nodes that join the cluster copy what they \
    have to hold, see the directive 'join'.";
const NO_REPLICAOF: &str = "ERR REPLICAOF is not supported: nodes that join the cluster hold copies of each other's \
    partitions, see the directives 'join' and 'replication-factor'.";
const NO_MODULES: &str = "ERR MODULE command not allowed. This server loads no modules.";

/// The rows.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "debug",
        arity: -2,
        flags: ADMIN,
        since: "1.0.0",
        complexity: "Depends on subcommand.",
        summary: "A container for debugging commands.",
        run: Run::Session(|_, _, reply| reply.error(NO_DEBUG)),
        ..EMPTY
    },
    Command {
        name: "failover",
        arity: -1,
        flags: CONFIGURES,
        since: "6.2.0",
        summary: "Starts a coordinated failover from a server to one of its replicas.",
        run: Run::Session(|_, _, reply| reply.error(NO_FAILOVER)),
        ..EMPTY
    },
    Command {
        name: "psync",
        arity: -3,
        flags: SYNCS,
        since: "2.8.0",
        summary: "An internal command used in replication.",
        run: Run::Session(|_, _, reply| reply.error(NO_SYNC)),
        ..EMPTY
    },
    Command {
        name: "replconf",
        arity: -1,
        flags: ADMIN.with(Flags::ALLOW_BUSY),
        since: "3.0.0",
        summary: "An internal command for configuring the replication stream.",
        run: Run::Session(|_, _, reply| reply.error(NO_SYNC)),
        ..EMPTY
    },
    Command {
        name: "replicaof",
        arity: 3,
        flags: CONFIGURES.with(Flags::NO_ASYNC_LOADING),
        since: "5.0.0",
        summary: "Configures a server as replica of another, or promotes it to a master.",
        run: Run::Session(|_, _, reply| reply.error(NO_REPLICAOF)),
        ..EMPTY
    },
    Command {
        name: "slaveof",
        arity: 3,
        flags: CONFIGURES.with(Flags::NO_ASYNC_LOADING),
        since: "1.0.0",
        summary: "Sets a Redis server as a replica of another, or promotes it to being a master.",
        run: Run::Session(|_, _, reply| reply.error(NO_REPLICAOF)),
        ..EMPTY
    },
    Command {
        name: "sync",
        arity: 1,
        flags: SYNCS,
        since: "1.0.0",
        summary: "An internal command used in replication.",
        run: Run::Session(|_, _, reply| reply.error(NO_SYNC)),
        ..EMPTY
    },
    Command {
        name: "module",
        arity: -2,
        since: "4.0.0",
        complexity: "Depends on subcommand.",
        summary: "A container for module commands.",
        subcommands: MODULE,
        ..EMPTY
    },
];

const MODULE: &[Command] = &[
    Command {
        name: "module|help",
        arity: 2,
        flags: LOADING_STALE,
        since: "5.0.0",
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "MODULE", HELP)),
        ..EMPTY
    },
    Command {
        name: "module|list",
        arity: 2,
        flags: Flags::ADMIN.with(Flags::NOSCRIPT),
        since: "4.0.0",
        complexity: "O(N) where N is the number of loaded modules.",
        summary: "Returns all loaded modules.",
        tips: &["nondeterministic_output_order"],
        run: Run::Session(|_, _, reply| reply.array(0)),
        ..EMPTY
    },
    Command {
        name: "module|load",
        arity: -3,
        flags: LOADS,
        since: "4.0.0",
        summary: "Loads a module.",
        run: Run::Session(|_, _, reply| reply.error(NO_MODULES)),
        ..EMPTY
    },
    Command {
        name: "module|loadex",
        arity: -3,
        flags: LOADS,
        since: "7.0.0",
        summary: "Loads a module using extended parameters.",
        run: Run::Session(|_, _, reply| reply.error(NO_MODULES)),
        ..EMPTY
    },
    Command {
        name: "module|unload",
        arity: 3,
        flags: LOADS,
        since: "4.0.0",
        summary: "Unloads a module.",
        run: Run::Session(|_, _, reply| reply.error(NO_MODULES)),
        ..EMPTY
    },
];

const HELP: &[&str] = &[
    "LIST",
    "    Return a list of loaded modules.",
    "LOAD <path> [<arg> ...]",
    "    Load a module library from <path>, passing to it any optional arguments.",
    "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
    "    Load a module library from <path>, while passing it module configurations and optional arguments.",
    "UNLOAD <name>",
    "    Unload a module.",
];
