//! XINFO: what streams, groups and consumers are.

use super::group::no_such_group;
use super::{ROW, lag, reply_entries, reply_entry, reply_id, stream_of, subcommand_syntax};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer, integer};
use crate::session::SessionCtx;
use crate::table::{Categories, Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::StreamId;
use protocol::Reply;
use stdx::Wall;
use store::{Consumer, Group, Stream};

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "xinfo",
    arity: -2,
    categories: Categories::NONE,
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for stream introspection commands.",
    subcommands: SUBCOMMANDS,
    run: Run::Container,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "xinfo|consumers",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns a list of the consumers in a consumer group.",
        tips: &["nondeterministic_output"],
        run: Run::Read(consumers),
        ..ROW
    },
    Command {
        name: "xinfo|groups",
        arity: 3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns a list of the consumer groups of a stream.",
        run: Run::Read(groups),
        ..ROW
    },
    Command {
        name: "xinfo|help",
        arity: 2,
        flags: Flags::LOADING.with(Flags::STALE),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns helpful text about the different subcommands.",
        run: Run::Session(help),
        ..ROW
    },
    Command {
        name: "xinfo|stream",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns information about a stream.",
        run: Run::Read(stream),
        ..ROW
    },
];

/// Entries and pending entries that FULL shows without a COUNT.
const COUNT_DEFAULT: usize = 10;

/// The stream that a key has to hold.
fn existing<'c>(ctx: &'c mut ReadCtx<'_>, key: &[u8]) -> Outcome<&'c Stream> {
    stream_of(ctx.get(key))?.ok_or(CommandError::NoSuchKey)
}

fn consumers(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_consumers(ctx, args, reply);
    answer(reply, outcome);
}

fn reply_consumers(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (now, key, name) = (ctx.now, args.at(2), args.at(3));
    let group = existing(ctx, key)?.group(name).ok_or_else(|| no_such_group(key, name))?;
    reply.array(group.consumers_len());
    for (name, consumer) in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(name);
        field(reply, "pending", consumer.pending_len() as u64);
        reply.bulk(b"idle");
        reply.integer(since(consumer.seen(), now).max(0));
        reply.bulk(b"inactive");
        reply.integer(consumer.active().map_or(-1, |active| since(active, now)));
    }
    Ok(())
}

fn since(at: Wall, now: Wall) -> i64 {
    now.0.cast_signed().wrapping_sub(at.0.cast_signed())
}

fn groups(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = existing(ctx, args.at(2)).map(|stream| {
        reply.array(stream.groups().len());
        for (name, group) in stream.groups() {
            reply.map(6);
            reply.bulk(b"name");
            reply.bulk(name);
            field(reply, "consumers", group.consumers_len() as u64);
            field(reply, "pending", group.pending_len() as u64);
            reply_progress(reply, stream, group);
        }
    });
    answer(reply, outcome);
}

/// Writes how far a group is.
fn reply_progress(reply: &mut Reply<'_>, stream: &Stream, group: &Group) {
    reply.bulk(b"last-delivered-id");
    reply_id(reply, group.last_id());
    for (name, number) in
        [("entries-read", group.entries_read().map(u64::cast_signed)), ("lag", lag::lag(stream, group))]
    {
        reply.bulk(name.as_bytes());
        match number {
            None => reply.null(),
            Some(number) => reply.integer(number),
        }
    }
}

fn stream(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_stream(ctx, args, reply);
    answer(reply, outcome);
}

fn reply_stream(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let stream = existing(ctx, args.at(2))?;
    let syntax = || subcommand_syntax("XINFO", args.at(1));
    let count = match args.tail(3) {
        [] => {
            reply_short(reply, stream);
            return Ok(());
        }
        [full] if full.eq_ignore_ascii_case(b"full") => COUNT_DEFAULT,
        [full, word, count] if full.eq_ignore_ascii_case(b"full") && word.eq_ignore_ascii_case(b"count") => {
            match usize::try_from(integer(count)?) {
                Ok(0) => usize::MAX,
                count => count.unwrap_or(COUNT_DEFAULT),
            }
        }
        _ => return Err(syntax()),
    };
    reply_full(reply, stream, count);
    Ok(())
}

/// Writes a number with its name.
fn field(reply: &mut Reply<'_>, name: &str, number: u64) {
    reply.bulk(name.as_bytes());
    reply.integer(number.cast_signed());
}

/// Writes what both forms begin with. The numbers of a radix tree are those that one of blocks would have.
fn reply_head(reply: &mut Reply<'_>, stream: &Stream) {
    let blocks = stream.blocks_len() as u64;
    for (name, number) in
        [("length", stream.len()), ("radix-tree-keys", blocks), ("radix-tree-nodes", blocks + 1)]
    {
        field(reply, name, number);
    }
    for (name, id) in
        [("last-generated-id", stream.last_id()), ("max-deleted-entry-id", stream.max_deleted_id())]
    {
        reply.bulk(name.as_bytes());
        reply_id(reply, id);
    }
    field(reply, "entries-added", stream.entries_added());
    reply.bulk(b"recorded-first-entry-id");
    reply_id(reply, stream.oldest_id().unwrap_or_default());
}

fn reply_short(reply: &mut Reply<'_>, stream: &Stream) {
    reply.map(10);
    reply_head(reply, stream);
    field(reply, "groups", stream.groups().len() as u64);
    let first = stream.range(StreamId::MIN, StreamId::MAX).next();
    let last = stream.range_back(StreamId::MIN, StreamId::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", last)] {
        reply.bulk(name.as_bytes());
        match entry {
            None => reply.null(),
            Some(entry) => reply_entry(reply, &entry),
        }
    }
}

fn reply_full(reply: &mut Reply<'_>, stream: &Stream, count: usize) {
    reply.map(9);
    reply_head(reply, stream);
    reply.bulk(b"entries");
    reply_entries(reply, stream.range(StreamId::MIN, StreamId::MAX), count);
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        reply_progress(reply, stream, group);
        field(reply, "pel-count", group.pending_len() as u64);
        reply.bulk(b"pending");
        let (begin, mut len) = (reply.array_begin(), 0);
        for (id, pending) in group.pending_range(StreamId::MIN..=StreamId::MAX).take(count) {
            reply.array(4);
            reply_id(reply, id);
            reply.bulk(pending.consumer());
            reply.integer(pending.at().0.cast_signed());
            reply.integer(pending.count().cast_signed());
            len += 1;
        }
        reply.array_end(begin, len);
        reply.bulk(b"consumers");
        reply.array(group.consumers_len());
        group.consumers().for_each(|(name, consumer)| reply_consumer(reply, group, (name, consumer), count));
    }
}

fn reply_consumer(reply: &mut Reply<'_>, group: &Group, (name, consumer): (&[u8], &Consumer), count: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(name);
    field(reply, "seen-time", consumer.seen().0);
    reply.bulk(b"active-time");
    reply.integer(consumer.active().map_or(-1, |at| at.0.cast_signed()));
    field(reply, "pel-count", consumer.pending_len() as u64);
    reply.bulk(b"pending");
    let (begin, mut len) = (reply.array_begin(), 0);
    let ids = consumer.pending_range(StreamId::MIN..=StreamId::MAX);
    for (id, pending) in ids.filter_map(|id| Some((id, group.pending(id)?))).take(count) {
        reply.array(3);
        reply_id(reply, id);
        reply.integer(pending.at().0.cast_signed());
        reply.integer(pending.count().cast_signed());
        len += 1;
    }
    reply.array_end(begin, len);
}

const HELP: &[&str] = &[
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
    "HELP",
    "    Print this help.",
];

fn help(_ctx: &mut SessionCtx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) {
    reply.array(HELP.len());
    HELP.iter().for_each(|line| reply.simple(line));
}
