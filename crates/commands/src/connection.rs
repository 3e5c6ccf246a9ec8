//! The connection family: HELLO, AUTH, PING, ECHO, SELECT, QUIT, RESET, and the cluster client's READONLY, READWRITE
//! and ASKING. CLIENT has a file of its own.
//!
//! READONLY, READWRITE and ASKING are accepted whether or not redirects are on: a smart client sends them to any
//! node that answers CLUSTER SLOTS.

use crate::acl::{DEFAULT_USER, LogContext, Reason, Refused};
use crate::args::Args;
use crate::client::{INVALID_NAME, list, valid_name};
use crate::info::REDIS_VERSION;
use crate::server::rows::{EMPTY, LOADING_STALE_FAST, NOT_AN_INTEGER, OPEN, SYNTAX_ERROR};
use crate::session::{ChannelKind, ReplyMode, SessionCtx};
use crate::table::{Categories, Command, Flags, Group, Run};
use protocol::{Reply, Version};
use std::sync::Arc;
use stdx::limits::DATABASES;

/// Reply to everything but the handshake before authentication.
pub const NOAUTH: &str = "NOAUTH Authentication required.";
/// Reply to a wrong name or password.
pub const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. \
     Are you sure your configuration is correct?";
const HELLO_NOAUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
     <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version \
     at the same time";

const BASE: Command = Command { group: Group::Connection, categories: Categories::CONNECTION, ..EMPTY };
const CLUSTER_BASE: Command =
    Command { group: Group::Cluster, since: "3.0.0", flags: LOADING_STALE_FAST, ..BASE };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "hello",
        arity: -1,
        flags: OPEN,
        since: "6.0.0",
        summary: "Handshakes with the Redis server.",
        run: Run::Session(hello),
        ..BASE
    },
    Command {
        name: "auth",
        arity: -2,
        flags: OPEN,
        since: "1.0.0",
        complexity: "O(N) where N is the number of passwords defined for the user",
        summary: "Authenticates the connection.",
        run: Run::Session(auth),
        ..BASE
    },
    Command {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        since: "1.0.0",
        summary: "Returns the server's liveliness response.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: Run::Session(ping),
        ..BASE
    },
    Command {
        name: "echo",
        arity: 2,
        flags: LOADING_STALE_FAST,
        since: "1.0.0",
        summary: "Returns the given string.",
        run: Run::Session(|_, args, reply| reply.bulk(args.at(1))),
        ..BASE
    },
    Command {
        name: "select",
        arity: 2,
        flags: LOADING_STALE_FAST,
        since: "1.0.0",
        summary: "Changes the selected database.",
        run: Run::Session(select),
        ..BASE
    },
    Command {
        name: "quit",
        arity: -1,
        flags: OPEN,
        since: "1.0.0",
        summary: "Closes the connection.",
        run: Run::Session(quit),
        ..BASE
    },
    Command {
        name: "reset",
        arity: 1,
        flags: OPEN,
        since: "6.2.0",
        summary: "Resets the connection.",
        run: Run::Session(reset),
        ..BASE
    },
    Command {
        name: "readonly",
        summary: "Enables read-only queries for a connection to a Redis Cluster replica node.",
        run: Run::Session(readonly),
        ..CLUSTER_BASE
    },
    Command {
        name: "readwrite",
        summary: "Enables read-write queries for a connection to a Redis Cluster replica node.",
        run: Run::Session(readwrite),
        ..CLUSTER_BASE
    },
    Command {
        name: "asking",
        flags: Flags::FAST,
        summary: "Signals that a cluster client is following an -ASK redirect.",
        run: Run::Session(asking),
        ..CLUSTER_BASE
    },
];

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`. Nothing changes unless everything is right,
/// except that a good AUTH stays good when the version's reply is refused for another reason, as in Redis.
fn hello(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let mut version = None;
    if let Some(word) = args.get(1) {
        let Some(number) = protocol::parse_i64(word) else {
            return reply.error("ERR Protocol version is not an integer or out of range");
        };
        version = Version::from_number(number);
        if version.is_none() {
            return reply.error("NOPROTO unsupported protocol version");
        }
    }
    let (mut credentials, mut name, mut at) = (None, None, 2);
    while at < args.len() {
        let more = args.len() - 1 - at;
        if args.is(at, "AUTH") && more >= 2 {
            credentials = Some((args.at(at + 1), args.at(at + 2)));
            at += 3;
        } else if args.is(at, "SETNAME") && more >= 1 {
            let wanted = args.at(at + 1);
            if !valid_name(wanted) {
                return reply.error(INVALID_NAME);
            }
            name = Some(wanted);
            at += 2;
        } else {
            let option = String::from_utf8_lossy(args.at(at)).into_owned();
            return reply.error(&format!("ERR Syntax error in HELLO option '{option}'"));
        }
    }
    if let Some((user, password)) = credentials
        && !authenticate(ctx, args, (user, password))
    {
        return reply.error(WRONGPASS);
    }
    if !ctx.session.authenticated && !ctx.host.users().default_user().is_open() {
        return reply.error(HELLO_NOAUTH);
    }
    if let Some(name) = name {
        ctx.session.name = name.to_vec();
    }
    if let Some(version) = version {
        ctx.session.version = version;
    }
    // The reply is already in the version that was asked for.
    hello_reply(ctx, &mut Reply::new(reply.buffer(), ctx.session.version));
}

fn hello_reply(ctx: &SessionCtx<'_>, reply: &mut Reply<'_>) {
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(ctx.session.version.number());
    reply.bulk(b"id");
    reply.integer(ctx.session.id as i64);
    reply.bulk(b"mode");
    reply.bulk(if ctx.host.cluster_enabled() { b"cluster" } else { b"standalone" });
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}

/// `AUTH [username] password`.
fn auth(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let (user, password) = match args.len() {
        2 if ctx.host.users().default_user().needs_no_password() => return reply.error(NO_PASSWORD_SET),
        2 => (DEFAULT_USER, args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return reply.error(SYNTAX_ERROR),
    };
    if authenticate(ctx, args, (user, password)) { reply.ok() } else { reply.error(WRONGPASS) }
}

fn authenticate(ctx: &mut SessionCtx<'_>, args: Args<'_>, (name, password): (&[u8], &[u8])) -> bool {
    if let Some(user) = ctx.host.users().authenticate(name, password) {
        (ctx.session.user, ctx.session.authenticated) = (user, true);
        return true;
    }
    let context = if ctx.session.in_multi { LogContext::Multi } else { LogContext::Toplevel };
    let client = list::line(&ctx.session.describe(ctx.host.mono())).trim_end().to_owned();
    let (object, user) = (args.name().to_vec(), name.to_vec());
    ctx.host.refused(Refused { reason: Reason::Auth, object, user, context, client });
    false
}

/// `PING [message]`. A subscribed RESP2 client gets the form of a message.
fn ping(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() > 2 {
        return reply.error("ERR wrong number of arguments for 'ping' command");
    }
    if ctx.session.restricted_by_subscription() {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(args.get(1).unwrap_or_default());
    } else if let Some(message) = args.get(1) {
        reply.bulk(message);
    } else {
        reply.pong();
    }
}

/// `SELECT index`.
fn select(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let Some(index) = protocol::parse_i64(args.at(1)) else { return reply.error(NOT_AN_INTEGER) };
    if i32::try_from(index).is_err() {
        return reply.error("ERR value is out of range, value must between -2147483648 and 2147483647");
    }
    match u8::try_from(index) {
        Ok(db) if db < DATABASES => {
            ctx.session.db = db;
            reply.ok();
        }
        _ => reply.error("ERR DB index is out of range"),
    }
}

fn quit(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    ctx.session.close_after_reply = true;
    reply.ok();
}

/// `RESET`: as `clearClientConnectionState` of Redis 7.2. The library's name and version stay, since they still
/// describe what is at the other end.
fn reset(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    unsubscribe_all(ctx);
    let session = &mut *ctx.session;
    session.db = 0;
    session.version = Version::Resp2;
    session.user = Arc::clone(ctx.host.users().default_user());
    session.authenticated = session.user.is_open();
    session.in_multi = false;
    session.multi_len = 0;
    session.watching = 0;
    session.name.clear();
    session.asking = false;
    session.readonly = false;
    session.monitoring = false;
    session.reply_mode = ReplyMode::On;
    session.no_touch = false;
    session.no_evict = false;
    reply.simple("RESET");
}

/// Ends every subscription of a session without telling the client: for RESET and for a connection that closes.
pub fn unsubscribe_all(ctx: &mut SessionCtx<'_>) {
    let session = &mut *ctx.session;
    for kind in [ChannelKind::Channel, ChannelKind::Shard, ChannelKind::Pattern] {
        for name in session.subscriptions.take(kind) {
            ctx.host.unsubscribe(session.id, kind, &name);
        }
    }
}

fn readonly(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    ctx.session.readonly = true;
    reply.ok();
}

fn readwrite(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    ctx.session.readonly = false;
    reply.ok();
}

fn asking(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    ctx.session.asking = true;
    reply.ok();
}
