//! CLIENT: what a connection says and asks about itself, and what an operator does to connections of this node.
//!
//! LIST, INFO and KILL, which look at many connections, are in [`list`]. Server-assisted caching is not built yet:
//! TRACKING can only be turned off, and the commands around it answer what Redis answers while it is off.

pub mod list;

use crate::args::Args;
use crate::host::{Pause, Unblock};
use crate::server::rows::{
    ADMIN, EMPTY, HELP_SUMMARY, LOADING_STALE, NONDETERMINISTIC, NOT_AN_INTEGER, SESSION, SYNTAX_ERROR,
    reply_help, subcommand_syntax_error,
};
use crate::session::{ReplyMode, SessionCtx};
use crate::table::{Categories, Command, Group, Run};
use protocol::Reply;
use std::time::Duration;

/// Error for a client name that `CLIENT LIST` could not print.
pub(crate) const INVALID_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

const NOT_TRACKING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
     or OPTOUT mode enabled";
const TRACKING_UNSUPPORTED: &str = "ERR CLIENT TRACKING ON is not supported by this server";

const BASE: Command =
    Command { group: Group::Connection, categories: Categories::CONNECTION, flags: SESSION, ..EMPTY };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "client",
    arity: -2,
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    summary: "A container for client connection commands.",
    subcommands: SUBCOMMANDS,
    group: Group::Connection,
    ..EMPTY
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "client|caching",
        arity: 3,
        since: "6.0.0",
        summary: "Instructs the server whether to track the keys in the next request.",
        run: Run::Session(|_, _, reply| reply.error(NOT_TRACKING)),
        ..BASE
    },
    Command {
        name: "client|getname",
        arity: 2,
        since: "2.6.9",
        summary: "Returns the name of the connection.",
        run: Run::Session(getname),
        ..BASE
    },
    Command {
        name: "client|getredir",
        arity: 2,
        since: "6.0.0",
        summary: "Returns the client ID to which the connection's tracking notifications are redirected.",
        run: Run::Session(|_, _, reply| reply.integer(-1)),
        ..BASE
    },
    Command {
        name: "client|help",
        arity: 2,
        flags: LOADING_STALE,
        since: "5.0.0",
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "CLIENT", HELP)),
        ..BASE
    },
    Command {
        name: "client|id",
        arity: 2,
        since: "5.0.0",
        summary: "Returns the unique client ID of the connection.",
        run: Run::Session(|ctx, _, reply| reply.integer(ctx.session.id as i64)),
        ..BASE
    },
    Command {
        name: "client|info",
        arity: 2,
        since: "6.2.0",
        summary: "Returns information about the connection.",
        tips: NONDETERMINISTIC,
        run: Run::Session(list::info),
        ..BASE
    },
    Command {
        name: "client|kill",
        arity: -3,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Terminates open connections.",
        run: Run::Session(list::kill),
        ..BASE
    },
    Command {
        name: "client|list",
        arity: -2,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Lists open connections.",
        tips: NONDETERMINISTIC,
        run: Run::Session(list::list),
        ..BASE
    },
    Command {
        name: "client|no-evict",
        arity: 3,
        flags: ADMIN,
        since: "7.0.0",
        summary: "Sets the client eviction mode of the connection.",
        run: Run::Session(no_evict),
        ..BASE
    },
    Command {
        name: "client|no-touch",
        arity: 3,
        since: "7.2.0",
        summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
        run: Run::Session(no_touch),
        ..BASE
    },
    Command {
        name: "client|pause",
        arity: -3,
        flags: ADMIN,
        since: "2.9.50",
        summary: "Suspends commands processing.",
        run: Run::Session(pause),
        ..BASE
    },
    Command {
        name: "client|reply",
        arity: 3,
        since: "3.2.0",
        summary: "Instructs the server whether to reply to commands.",
        run: Run::Session(reply_mode),
        ..BASE
    },
    Command {
        name: "client|setinfo",
        arity: 4,
        since: "7.2.0",
        summary: "Sets information specific to the client or connection.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: Run::Session(setinfo),
        ..BASE
    },
    Command {
        name: "client|setname",
        arity: 3,
        since: "2.6.9",
        summary: "Sets the connection name.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: Run::Session(setname),
        ..BASE
    },
    Command {
        name: "client|tracking",
        arity: -3,
        since: "6.0.0",
        complexity: "O(1). Some options may introduce additional complexity.",
        summary: "Controls server-assisted client-side caching for the connection.",
        run: Run::Session(tracking),
        ..BASE
    },
    Command {
        name: "client|trackinginfo",
        arity: 2,
        since: "6.2.0",
        summary: "Returns information about server-assisted client-side caching for the connection.",
        run: Run::Session(trackinginfo),
        ..BASE
    },
    Command {
        name: "client|unblock",
        arity: -3,
        flags: ADMIN,
        since: "5.0.0",
        complexity: "O(log N) where N is the number of client connections",
        summary: "Unblocks a client blocked by a blocking command from a different connection.",
        run: Run::Session(unblock),
        ..BASE
    },
    Command {
        name: "client|unpause",
        arity: 2,
        flags: ADMIN,
        since: "6.2.0",
        complexity: "O(N) Where N is the number of paused clients",
        summary: "Resumes processing commands from paused clients.",
        run: Run::Session(unpause),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "    * ID <client-id>",
    "      Kill connections by client id.",
    "    * MAXAGE <maxage>",
    "      Kill connections older than the specified age.",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control server assisted client side caching.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
];

/// Whether a name can stand in `CLIENT LIST`, where blanks separate fields.
pub(crate) fn valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn getname(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    if ctx.session.name.is_empty() { reply.null() } else { reply.bulk(&ctx.session.name) }
}

fn setname(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if !valid_name(args.at(2)) {
        return reply.error(INVALID_NAME);
    }
    ctx.session.name = args.at(2).to_vec();
    reply.ok();
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER value`.
fn setinfo(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let option = String::from_utf8_lossy(args.at(2));
    let attribute = if args.is(2, "lib-name") {
        &mut ctx.session.lib_name
    } else if args.is(2, "lib-ver") {
        &mut ctx.session.lib_ver
    } else {
        return reply.error(&format!("ERR Unrecognized option '{option}'"));
    };
    if !valid_name(args.at(3)) {
        return reply.error(&format!("ERR {option} cannot contain spaces, newlines or special characters."));
    }
    *attribute = args.at(3).to_vec();
    reply.ok();
}

/// The value of an `ON|OFF` word.
fn on_off(args: Args<'_>, index: usize) -> Option<bool> {
    if args.is(index, "on") {
        Some(true)
    } else if args.is(index, "off") {
        Some(false)
    } else {
        None
    }
}

fn no_evict(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let Some(on) = on_off(args, 2) else { return reply.error(SYNTAX_ERROR) };
    ctx.session.no_evict = on;
    reply.ok();
}

fn no_touch(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let Some(on) = on_off(args, 2) else { return reply.error(SYNTAX_ERROR) };
    ctx.session.no_touch = on;
    reply.ok();
}

/// `CLIENT REPLY ON|OFF|SKIP`. Only ON is answered.
fn reply_mode(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.is(2, "on") {
        ctx.session.reply_mode = ReplyMode::On;
        reply.ok();
    } else if args.is(2, "off") {
        ctx.session.reply_mode = ReplyMode::Off;
    } else if args.is(2, "skip") {
        if ctx.session.reply_mode != ReplyMode::Off {
            ctx.session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        reply.error(SYNTAX_ERROR);
    }
}

/// `CLIENT PAUSE timeout [WRITE|ALL]`, the timeout in milliseconds.
fn pause(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let what = match args.len() {
        3 => Pause::All,
        4 if args.is(3, "write") => Pause::Write,
        4 if args.is(3, "all") => Pause::All,
        4 => return reply.error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
        _ => return reply.error(&subcommand_syntax_error("CLIENT", args.at(1))),
    };
    let timeout = match protocol::parse_i64(args.at(2)).map(u64::try_from) {
        Some(Ok(milliseconds)) => Duration::from_millis(milliseconds),
        Some(Err(_)) => return reply.error("ERR timeout is negative"),
        None => return reply.error("ERR timeout is not an integer or out of range"),
    };
    let until = ctx.host.mono() + timeout;
    ctx.host.pause_clients(until, what);
    reply.ok();
}

fn unpause(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    ctx.host.unpause_clients();
    reply.ok();
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`.
fn unblock(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let how = match args.len() {
        3 => Unblock::Timeout,
        4 if args.is(3, "timeout") => Unblock::Timeout,
        4 if args.is(3, "error") => Unblock::Error,
        4 => return reply.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        _ => return reply.error(&subcommand_syntax_error("CLIENT", args.at(1))),
    };
    let Some(id) = protocol::parse_i64(args.at(2)) else { return reply.error(NOT_AN_INTEGER) };
    let unblocked = u64::try_from(id).is_ok_and(|id| ctx.host.unblock_client(id, how));
    reply.integer(i64::from(unblocked));
}

/// `CLIENT TRACKING ON|OFF ...`: it is off, and can only be turned off.
fn tracking(_: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    match on_off(args, 2) {
        Some(false) => reply.ok(),
        Some(true) => reply.error(TRACKING_UNSUPPORTED),
        None => reply.error(SYNTAX_ERROR),
    }
}

fn trackinginfo(_: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
}
