//! The pub/sub family.
//!
//! Subscribing touches the session and its node; publishing runs on every node, each of which delivers to its own
//! subscribers and answers how many received the message, and the sum is the reply. The questions of PUBSUB are
//! asked of every node likewise, so that any node answers for the whole cluster. Confirmations and messages are
//! pushes: in RESP2 the same words as an array.

use crate::args::Args;
use crate::glob;
use crate::host::Host;
use crate::server::rows::{EMPTY, HELP_SUMMARY, LOADING_STALE, SESSION, reply_help};
use crate::session::{ChannelKind, SessionCtx};
use crate::table::{Command, Flags, Group, KeyFlags, KeySpec, Keys, Merge, Run};
use protocol::Reply;

/// Most names a connection may be subscribed to, all kinds together.
pub const SUBSCRIPTIONS_MAX: usize = 1_000_000;

const BASE: Command = Command { group: Group::PubSub, flags: SESSION.with(Flags::PUBSUB), ..EMPTY };
const PUBLISH_BASE: Command =
    Command { arity: 3, flags: LOADING_STALE.with(Flags::FAST).with(Flags::PUBSUB), ..BASE };
const QUESTION: Command = Command { flags: LOADING_STALE.with(Flags::PUBSUB), since: "2.8.0", ..BASE };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "subscribe",
        arity: -2,
        since: "2.0.0",
        complexity: "O(N) where N is the number of channels to subscribe to.",
        summary: "Listens for messages published to channels.",
        run: Run::Session(|ctx, args, reply| subscribe(ctx, ChannelKind::Channel, args, reply)),
        ..BASE
    },
    Command {
        name: "unsubscribe",
        arity: -1,
        since: "2.0.0",
        complexity: "O(N) where N is the number of channels to unsubscribe.",
        summary: "Stops listening to messages posted to channels.",
        run: Run::Session(|ctx, args, reply| unsubscribe(ctx, ChannelKind::Channel, args, reply)),
        ..BASE
    },
    Command {
        name: "psubscribe",
        arity: -2,
        since: "2.0.0",
        complexity: "O(N) where N is the number of patterns to subscribe to.",
        summary: "Listens for messages published to channels that match one or more patterns.",
        run: Run::Session(|ctx, args, reply| subscribe(ctx, ChannelKind::Pattern, args, reply)),
        ..BASE
    },
    Command {
        name: "punsubscribe",
        arity: -1,
        since: "2.0.0",
        complexity: "O(N) where N is the number of patterns to unsubscribe.",
        summary: "Stops listening to messages published to channels that match one or more patterns.",
        run: Run::Session(|ctx, args, reply| unsubscribe(ctx, ChannelKind::Pattern, args, reply)),
        ..BASE
    },
    Command {
        name: "ssubscribe",
        arity: -2,
        keys: Keys(&[KeySpec::from(1, 1, KeyFlags::NOT_KEY)]),
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels to subscribe to.",
        summary: "Listens for messages published to shard channels.",
        run: Run::Session(|ctx, args, reply| subscribe(ctx, ChannelKind::Shard, args, reply)),
        ..BASE
    },
    Command {
        name: "sunsubscribe",
        arity: -1,
        keys: Keys(&[KeySpec::from(1, 1, KeyFlags::NOT_KEY)]),
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels to unsubscribe.",
        summary: "Stops listening to messages posted to shard channels.",
        run: Run::Session(|ctx, args, reply| unsubscribe(ctx, ChannelKind::Shard, args, reply)),
        ..BASE
    },
    Command {
        name: "publish",
        since: "2.0.0",
        complexity: "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the \
                     total number of subscribed patterns (by any client).",
        summary: "Posts a message to a channel.",
        run: Run::Nodes { local: publish, merge: Merge::Sum },
        ..PUBLISH_BASE
    },
    Command {
        name: "spublish",
        keys: Keys(&[KeySpec::at(1, KeyFlags::NOT_KEY)]),
        since: "7.0.0",
        complexity: "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        summary: "Post a message to a shard channel",
        run: Run::Nodes { local: spublish, merge: Merge::Sum },
        ..PUBLISH_BASE
    },
    Command {
        name: "pubsub",
        arity: -2,
        flags: Flags::NONE,
        since: "2.8.0",
        complexity: "Depends on subcommand.",
        summary: "A container for Pub/Sub commands.",
        subcommands: SUBCOMMANDS,
        ..BASE
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "pubsub|channels",
        arity: -2,
        complexity: "O(N) where N is the number of active channels, and assuming constant time pattern matching \
                     (relatively short channels and patterns)",
        summary: "Returns the active channels.",
        run: Run::Nodes { local: channels, merge: Merge::Union },
        ..QUESTION
    },
    Command {
        name: "pubsub|help",
        arity: 2,
        flags: LOADING_STALE,
        since: "6.2.0",
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "PUBSUB", HELP)),
        ..QUESTION
    },
    Command {
        name: "pubsub|numpat",
        arity: 2,
        summary: "Returns a count of unique pattern subscriptions.",
        run: Run::Nodes { local: numpat, merge: Merge::Sum },
        ..QUESTION
    },
    Command {
        name: "pubsub|numsub",
        arity: -2,
        complexity: "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
        summary: "Returns a count of subscribers to channels.",
        run: Run::Nodes { local: numsub, merge: Merge::SumPairs },
        ..QUESTION
    },
    Command {
        name: "pubsub|shardchannels",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of active shard channels, and assuming constant time pattern \
                     matching (relatively short shard channels).",
        summary: "Returns the active shard channels.",
        run: Run::Nodes { local: shard_channels, merge: Merge::Union },
        ..QUESTION
    },
    Command {
        name: "pubsub|shardnumsub",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
        summary: "Returns the count of subscribers of shard channels.",
        run: Run::Nodes { local: shard_numsub, merge: Merge::SumPairs },
        ..QUESTION
    },
];

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
];

/// Whether a subscribed RESP2 client may run a command: it could not tell another reply from a message.
pub fn allowed_while_subscribed(command: &Command) -> bool {
    matches!(
        command.name,
        "ping"
            | "subscribe"
            | "ssubscribe"
            | "psubscribe"
            | "unsubscribe"
            | "sunsubscribe"
            | "punsubscribe"
            | "quit"
            | "reset"
    )
}

/// The error when it may not; `name` is the command's full name.
pub fn refused_while_subscribed(name: &str) -> String {
    format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
         this context"
    )
}

/// Writes a message to a subscriber of its channel.
pub fn message(reply: &mut Reply<'_>, channel: &[u8], payload: &[u8]) {
    reply.push(3);
    reply.bulk(b"message");
    reply.bulk(channel);
    reply.bulk(payload);
}

/// Writes a message to a subscriber of a pattern that its channel matches.
pub fn pmessage(reply: &mut Reply<'_>, pattern: &[u8], channel: &[u8], payload: &[u8]) {
    reply.push(4);
    reply.bulk(b"pmessage");
    reply.bulk(pattern);
    reply.bulk(channel);
    reply.bulk(payload);
}

/// Writes a message to a subscriber of its shard channel.
pub fn smessage(reply: &mut Reply<'_>, channel: &[u8], payload: &[u8]) {
    reply.push(3);
    reply.bulk(b"smessage");
    reply.bulk(channel);
    reply.bulk(payload);
}

/// Confirms one subscription or its end; also what the node sends when a subscription is ended for the client.
pub fn confirmation(reply: &mut Reply<'_>, word: &str, name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(word.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(count as i64);
}

/// `(P|S)SUBSCRIBE name [name ...]`: one confirmation per name.
fn subscribe(ctx: &mut SessionCtx<'_>, kind: ChannelKind, args: Args<'_>, reply: &mut Reply<'_>) {
    let session = &mut *ctx.session;
    if session.subscriptions.total() + args.len() > SUBSCRIPTIONS_MAX {
        return reply.error("ERR too many subscriptions");
    }
    let word = match kind {
        ChannelKind::Channel => "subscribe",
        ChannelKind::Pattern => "psubscribe",
        ChannelKind::Shard => "ssubscribe",
    };
    for name in args.tail(1) {
        if session.subscriptions.insert(kind, name) {
            ctx.host.subscribe(session.id, kind, name);
        }
        confirmation(reply, word, Some(name), session.subscriptions.confirmed_count(kind));
    }
}

/// `(P|S)UNSUBSCRIBE [name ...]`: without names, from all; one confirmation per name, and one without a name if
/// there was nothing to end.
fn unsubscribe(ctx: &mut SessionCtx<'_>, kind: ChannelKind, args: Args<'_>, reply: &mut Reply<'_>) {
    let session = &mut *ctx.session;
    let word = match kind {
        ChannelKind::Channel => "unsubscribe",
        ChannelKind::Pattern => "punsubscribe",
        ChannelKind::Shard => "sunsubscribe",
    };
    if args.len() == 1 && session.subscriptions.names(kind).is_empty() {
        return confirmation(reply, word, None, session.subscriptions.confirmed_count(kind));
    }
    let every: Vec<Vec<u8>> = match args.len() {
        1 => session.subscriptions.names(kind).iter().cloned().collect(),
        _ => args.tail(1).iter().map(|name| name.to_vec()).collect(),
    };
    for name in &every {
        if session.subscriptions.remove(kind, name) {
            ctx.host.unsubscribe(session.id, kind, name);
        }
        confirmation(reply, word, Some(name), session.subscriptions.confirmed_count(kind));
    }
}

fn publish(host: &mut dyn Host, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.integer(host.publish(ChannelKind::Channel, args.at(1), args.at(2)) as i64);
}

fn spublish(host: &mut dyn Host, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.integer(host.publish(ChannelKind::Shard, args.at(1), args.at(2)) as i64);
}

fn channels(host: &mut dyn Host, args: Args<'_>, reply: &mut Reply<'_>) {
    names(host, ChannelKind::Channel, args, reply);
}

fn shard_channels(host: &mut dyn Host, args: Args<'_>, reply: &mut Reply<'_>) {
    names(host, ChannelKind::Shard, args, reply);
}

fn names(host: &dyn Host, kind: ChannelKind, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() > 3 {
        let error = crate::server::rows::subcommand_syntax_error("PUBSUB", args.at(1));
        return reply.error(&error);
    }
    let mut names = host.subscribed_names(kind);
    if let Some(pattern) = args.get(2) {
        names.retain(|name| glob::matches(pattern, name));
    }
    names.sort_unstable();
    reply.array(names.len());
    for name in &names {
        reply.bulk(name);
    }
}

/// Patterns by node; one that two nodes have is counted twice, as Redis Cluster leaves it to the client.
fn numpat(host: &mut dyn Host, _: Args<'_>, reply: &mut Reply<'_>) {
    reply.integer(host.subscribed_names(ChannelKind::Pattern).len() as i64);
}

fn numsub(host: &mut dyn Host, args: Args<'_>, reply: &mut Reply<'_>) {
    counts(host, ChannelKind::Channel, args, reply);
}

fn shard_numsub(host: &mut dyn Host, args: Args<'_>, reply: &mut Reply<'_>) {
    counts(host, ChannelKind::Shard, args, reply);
}

fn counts(host: &dyn Host, kind: ChannelKind, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.array((args.len() - 2) * 2);
    for name in args.tail(2) {
        reply.bulk(name);
        reply.integer(host.subscriber_count(kind, name) as i64);
    }
}
