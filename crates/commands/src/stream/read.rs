//! XREAD and XREADGROUP: entries of several streams, from where the reader or its group is.

use super::{ROW, change, group_of, ids, lag, reply_entries, reply_entry, reply_id, stream_of};
use crate::args::Args;
use crate::blocking::{null_array, wait};
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, integer};
use crate::table::{BY_NOW, Blocking, Command, Flags, KeyFlags, KeySpec, Keys, Run, Wait};
use effect::{Delivery, Items, StreamChange, StreamId};
use protocol::{Reply, Version};
use stdx::Wall;
use store::{Consumer, Group, Stream};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "xread",
        arity: -4,
        flags: Flags::READONLY.with(Flags::BLOCKING).with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::halved(1, "STREAMS", KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "5.0.0",
        complexity: "For each stream mentioned: O(N) with N being the number of elements being returned, it \
            means that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is used, XADD will \
            pay O(M) time in order to serve the M clients blocked on the stream getting new data.",
        summary: "Returns messages from multiple streams with IDs greater than the ones requested. Blocks until \
            a message is available otherwise.",
        run: Run::Blocking(&XREAD),
        ..ROW
    },
    Command {
        name: "xreadgroup",
        arity: -7,
        flags: Flags::WRITE.with(Flags::BLOCKING).with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::halved(4, "STREAMS", KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "5.0.0",
        complexity: "For each stream mentioned: O(M) with M being the number of elements returned. If M is \
            constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the \
            other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients \
            blocked on the stream getting new data.",
        summary: "Returns new or historical messages from a stream for a consumer in a group. Blocks until a \
            message is available otherwise.",
        run: Run::Blocking(&XREADGROUP),
        ..ROW
    },
];

const XREAD: Blocking = Blocking {
    attempt: Run::Read(xread),
    wait: |args| wait_of(args, false),
    ready: xread_ready,
    nothing: null_array,
    on_some: Some(on_some_streams),
    by_now: Some(newest),
    takes: false,
};

/// Whoever waits is woken by every change: an entry that one has taken may be followed by others.
const XREADGROUP: Blocking = Blocking {
    attempt: Run::Write(xreadgroup),
    wait: |args| wait_of(args, true),
    ready: xreadgroup_ready,
    by_now: None,
    ..XREAD
};

/// The words of both.
struct Request<'a> {
    count: usize,
    /// Milliseconds, if it may wait.
    block: Option<u64>,
    no_ack: bool,
    group: &'a [u8],
    consumer: &'a [u8],
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
}

impl<'a> Request<'a> {
    fn parse(args: Args<'a>, of_group: bool) -> Outcome<Request<'a>> {
        let (mut count, mut block, mut no_ack, mut group) = (0, None, false, None);
        let mut streams = None;
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let more = args.len() - at - 1;
            if word.eq_ignore_ascii_case(b"block") && more > 0 {
                block = Some(milliseconds(args.at(at + 1))?);
                at += 1;
            } else if word.eq_ignore_ascii_case(b"count") && more > 0 {
                count = integer(args.at(at + 1))?.max(0);
                at += 1;
            } else if word.eq_ignore_ascii_case(b"streams") && more > 0 {
                streams = Some(args.tail(at + 1));
                break;
            } else if word.eq_ignore_ascii_case(b"group") && more > 1 {
                only_of_group("GROUP", of_group)?;
                group = Some((args.at(at + 1), args.at(at + 2)));
                at += 2;
            } else if word.eq_ignore_ascii_case(b"noack") {
                only_of_group("NOACK", of_group)?;
                no_ack = true;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        let streams = streams.ok_or(CommandError::Syntax)?;
        if streams.len() % 2 == 1 {
            let (name, symbol) = if of_group { ("xreadgroup", '>') } else { ("xread", '$') };
            return Err(CommandError::Echo(format!(
                "Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
            )));
        }
        if of_group && group.is_none() {
            return Err(CommandError::Other("Missing GROUP option for XREADGROUP"));
        }
        let (group, consumer) = group.unwrap_or_default();
        let (keys, ids) = streams.split_at(streams.len() / 2);
        let count = if count == 0 { usize::MAX } else { count as usize };
        Ok(Request { count, block, no_ack, group, consumer, keys, ids })
    }

    /// Keys with their ids.
    fn streams(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.keys.iter().copied().zip(self.ids.iter().copied())
    }
}

fn only_of_group(option: &str, of_group: bool) -> Outcome<()> {
    if of_group {
        return Ok(());
    }
    Err(CommandError::Echo(format!(
        "The {option} option is only supported by XREADGROUP. You called XREAD instead."
    )))
}

/// The argument of BLOCK (timeout.c: `getTimeoutFromObjectOrReply`).
fn milliseconds(word: &[u8]) -> Outcome<u64> {
    let number = protocol::parse_i64(word);
    let number = number.ok_or(CommandError::Other("timeout is not an integer or out of range"))?;
    u64::try_from(number).map_err(|_| CommandError::Other("timeout is negative"))
}

fn wait_of(args: Args<'_>, of_group: bool) -> Result<Wait, String> {
    let request = Request::parse(args, of_group).map_err(|error| error.to_string())?;
    // All ids at once: who waits reads the streams one after the other.
    if !of_group && request.block.is_some() {
        request
            .ids
            .iter()
            .try_for_each(|id| start_of(None, id).map(drop))
            .map_err(|error| error.to_string())?;
    }
    Ok(request.block.map_or(Wait::No, wait))
}

/// The same on some of the streams.
fn on_some_streams(args: Args<'_>, positions: &[usize]) -> Vec<Vec<u8>> {
    let Some(streams) = args.iter().position(|word| word.eq_ignore_ascii_case(b"streams")) else {
        return Vec::new();
    };
    let half = (args.len() - streams - 1) / 2;
    let keys = positions.iter().map(|at| args.at(*at));
    let ids = positions.iter().map(|at| args.at(*at + half));
    args.iter().take(streams + 1).chain(keys).chain(ids).map(<[u8]>::to_vec).collect()
}

/// Streams with their entries as they are written: what has none is left out, and without any there is no reply.
struct Streams {
    before: usize,
    begin: protocol::Mark,
    len: usize,
}

impl Streams {
    fn begin(reply: &mut Reply<'_>) -> Streams {
        let before = reply.len();
        Streams { before, begin: reply.array_begin(), len: 0 }
    }

    /// One more stream; its entries follow.
    fn next(&mut self, reply: &mut Reply<'_>, key: &[u8]) {
        self.len += 1;
        if reply.version() == Version::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
    }

    fn end(self, reply: &mut Reply<'_>) {
        match (self.len, reply.version()) {
            (0, _) => reply.truncate(self.before),
            (len, Version::Resp2) => reply.array_end(self.begin, len),
            (len, Version::Resp3) => reply.map_end(self.begin, len),
        }
    }
}

fn xread(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = read(ctx, args, reply);
    answer(reply, outcome);
}

fn read(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let request = Request::parse(args, false)?;
    let after: Outcome<Vec<StreamId>> =
        request.streams().map(|(key, id)| start_of(stream_of(ctx.peek(key))?, id)).collect();
    let after = after?;
    let mut streams = Streams::begin(reply);
    for (key, after) in request.keys.iter().zip(after) {
        let Some(stream) = stream_of(ctx.get(key))? else { continue };
        if let (Some(newest), Some(start)) = (stream.newest_id(), after.next())
            && newest >= start
        {
            streams.next(reply, key);
            reply_entries(reply, stream.range(start, StreamId::MAX), request.count);
        }
    }
    streams.end(reply);
    Ok(())
}

/// The id after which XREAD is to read.
fn start_of(stream: Option<&Stream>, id: &[u8]) -> Outcome<StreamId> {
    match id {
        BY_NOW => Ok(stream.map_or(StreamId::MIN, Stream::last_id)),
        b">" => Err(CommandError::Other(
            "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        id => ids::exact(id),
    }
}

/// The id that `$` stands for, of the only stream.
fn newest(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let newest = Request::parse(args, false).and_then(|request| {
        let key = request.keys.first().copied().unwrap_or_default();
        start_of(stream_of(ctx.peek(key))?, BY_NOW)
    });
    let outcome = newest.map(|id| reply_id(reply, id));
    answer(reply, outcome);
}

fn xread_ready(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> bool {
    let Ok(request) = Request::parse(args, false) else { return true };
    request.streams().any(|(key, id)| {
        let Ok(stream) = stream_of(ctx.peek(key)) else { return true };
        let newest = stream.and_then(Stream::newest_id);
        start_of(stream, id).map_or(true, |after| newest.is_some_and(|newest| newest > after))
    })
}

/// Where XREADGROUP is to read in one stream.
enum From {
    /// What was not delivered to the group yet.
    New,
    /// What is pending for the consumer after this id.
    Pending(StreamId),
}

impl From {
    fn parse(id: &[u8]) -> Outcome<From> {
        match id {
            b">" => Ok(From::New),
            b"$" => Err(CommandError::Other(
                "The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
                return an empty result set.",
            )),
            // The greatest id is what stands for new entries in Redis.
            id => ids::exact(id).map(|id| if id == StreamId::MAX { From::New } else { From::Pending(id) }),
        }
    }
}

fn xreadgroup(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = read_group(ctx, args, reply);
    answer(reply, outcome);
}

fn read_group(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (request, now) = (Request::parse(args, true)?, ctx.now);
    let mut from = Vec::with_capacity(request.keys.len());
    for (key, id) in request.streams() {
        group_of(ctx.peek(key), (key, request.group)).map_err(|error| match error {
            CommandError::NoGroup(text) => {
                CommandError::NoGroup(format!("{text} in XREADGROUP with GROUP option"))
            }
            other => other,
        })?;
        from.push(From::parse(id)?);
    }
    let mut streams = Streams::begin(reply);
    for (key, from) in request.keys.iter().zip(from) {
        let (stream, group) = group_of(ctx.get(key), (key, request.group))?;
        let is_new = group.last_id().next().zip(stream.newest_id());
        let read = match from {
            From::Pending(after) => {
                streams.next(reply, key);
                Some(redeliver((stream, group), &request, after, now, reply))
            }
            From::New => match is_new {
                Some((start, newest)) if newest >= start => {
                    streams.next(reply, key);
                    Some(deliver((stream, group), &request, start, now, reply))
                }
                _ => None,
            },
        };
        let consumer = group.consumer(request.consumer);
        let (is_known, active) = (consumer.is_some(), consumer.and_then(Consumer::active));
        match read {
            Some(read) => read.apply(ctx, key, &request, active),
            // Whoever waits looks again and again: what changes nothing must not wake others who wait.
            None if is_known && request.block.is_some() => {}
            None => Read::default().apply(ctx, key, &request, active),
        }
    }
    streams.end(reply);
    Ok(())
}

/// What a read has changed.
#[derive(Default)]
struct Read {
    /// The last id that the group was given, and how many entries it has read then.
    progress: Option<(StreamId, Option<u64>)>,
    deliveries: Vec<Delivery>,
    is_active: bool,
}

impl Read {
    fn apply(&self, ctx: &mut WriteCtx<'_>, key: &[u8], request: &Request<'_>, active: Option<Wall>) {
        let (now, group, consumer) = (ctx.now, request.group, request.consumer);
        if let Some((last, read)) = self.progress {
            change(ctx, key, StreamChange::PutGroup { group, last, read });
        }
        let active = if self.is_active { Some(now) } else { active };
        change(ctx, key, StreamChange::PutConsumer { group, consumer, seen: now, active });
        if !self.deliveries.is_empty() {
            let deliveries = Items::new(&self.deliveries);
            change(ctx, key, StreamChange::PutPending { group, consumer, deliveries });
        }
    }
}

/// Writes entries that the group was not given yet.
fn deliver(
    (stream, group): (&Stream, &Group),
    request: &Request<'_>,
    start: StreamId,
    now: Wall,
    reply: &mut Reply<'_>,
) -> Read {
    let (mut read, mut delivered) = (group.entries_read(), Read::default());
    let mut last = group.last_id();
    let entries = stream.range(start, StreamId::MAX).inspect(|entry| {
        last = entry.id();
        read = lag::read_through(stream, read, last);
        if !request.no_ack {
            delivered.deliveries.push(Delivery { id: last, at: now, count: 1 });
        }
    });
    reply_entries(reply, entries, request.count);
    delivered.progress = Some((last, read));
    delivered.is_active = !request.no_ack;
    delivered
}

/// Writes entries that are pending for the consumer, each delivered once more; of those that were deleted the ids.
fn redeliver(
    (stream, group): (&Stream, &Group),
    request: &Request<'_>,
    after: StreamId,
    now: Wall,
    reply: &mut Reply<'_>,
) -> Read {
    let mut read = Read::default();
    let start = after.next().unwrap_or(StreamId::MAX);
    let ids = group.consumer(request.consumer).into_iter();
    let ids = ids.flat_map(|consumer| consumer.pending_range(start..=StreamId::MAX)).take(request.count);
    let (begin, mut len) = (reply.array_begin(), 0);
    for (id, pending) in ids.filter_map(|id| Some((id, group.pending(id)?))) {
        len += 1;
        if let Some(entry) = stream.get(id) {
            reply_entry(reply, &entry);
            read.deliveries.push(Delivery { id, at: now, count: pending.count() + 1 });
        } else {
            reply.array(2);
            reply_id(reply, id);
            reply.null_array();
        }
    }
    reply.array_end(begin, len);
    read
}

fn xreadgroup_ready(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> bool {
    let Ok(request) = Request::parse(args, true) else { return true };
    request.streams().any(|(key, id)| {
        match (From::parse(id), group_of(ctx.peek(key), (key, request.group))) {
            (Ok(From::New), Ok((stream, group))) => {
                stream.newest_id().is_some_and(|newest| newest > group.last_id())
            }
            _ => true,
        }
    })
}
