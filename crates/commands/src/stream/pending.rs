//! What is pending in a group: XACK and XPENDING.

use super::{ROW, change, group_of, ids, reply_id, stream_of};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::{Items, StreamChange, StreamId};
use protocol::Reply;
use stdx::Wall;
use store::{Group, Pending};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "xack",
        arity: -4,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "5.0.0",
        complexity: "O(1) for each message ID processed.",
        summary: "Returns the number of messages that were successfully acknowledged by the consumer group \
            member of a stream.",
        run: Run::Write(xack),
        ..ROW
    },
    Command {
        name: "xpending",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "5.0.0",
        complexity: "O(N) with N being the number of elements returned, so asking for a small fixed number of \
            entries per call is O(1). O(M), where M is the total number of entries scanned when used with the \
            IDLE filter. When the command returns just the summary and the list of consumers is small, it runs \
            in O(1) time; otherwise, an additional O(N) time for iterating every consumer.",
        summary: "Returns the information and entries from a stream consumer group's pending entries list.",
        tips: &["nondeterministic_output"],
        run: Run::Read(xpending),
        ..ROW
    },
];

fn xack(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, acknowledge(ctx, args));
}

fn acknowledge(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (key, name) = (args.at(1), args.at(2));
    let Some(group) = stream_of(ctx.get(key))?.and_then(|stream| stream.group(name)) else { return Ok(0) };
    let ids: Outcome<Vec<StreamId>> = args.tail(3).iter().map(|word| ids::exact(word)).collect();
    let mut ids = ids?;
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| group.pending(*id).is_some());
    if !ids.is_empty() {
        change(ctx, key, StreamChange::RemovePending { group: name, ids: Items::new(&ids) });
    }
    Ok(ids.len() as i64)
}

fn xpending(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_pending(ctx, args, reply);
    answer(reply, outcome);
}

/// Which pending entries XPENDING is to list.
struct Filter<'a> {
    idle_min: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    /// Reads `[IDLE min-idle-time] start end count [consumer]`.
    fn parse(args: Args<'a>) -> Outcome<Filter<'a>> {
        let (mut words, mut idle_min) = (args.tail(3), 0);
        if let [word, idle, rest @ ..] = words
            && word.eq_ignore_ascii_case(b"idle")
        {
            idle_min = integer(idle)?;
            words = rest;
        }
        let [start, end, count, consumer @ ..] = words else { return Err(CommandError::Syntax) };
        let count = integer(count)?.max(0) as usize;
        let (start, end) = (ids::interval_start(start)?, ids::interval_end(end)?);
        Ok(Filter { idle_min, start, end, count, consumer: consumer.first().copied() })
    }
}

fn reply_pending(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let filter = match args.len() {
        3 => None,
        6..=9 => Some(Filter::parse(args)?),
        _ => return Err(CommandError::Syntax),
    };
    let (now, key, name) = (ctx.now, args.at(1), args.at(2));
    let (_, group) = group_of(ctx.get(key), (key, name))?;
    match filter {
        None => reply_summary(group, reply),
        Some(filter) => reply_list(group, &filter, now, reply),
    }
    Ok(())
}

fn reply_summary(group: &Group, reply: &mut Reply<'_>) {
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let mut pending = group.pending_range(StreamId::MIN..=StreamId::MAX).map(|(id, _)| id);
    let Some(first) = pending.next() else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    reply_id(reply, first);
    reply_id(reply, pending.next_back().unwrap_or(first));
    let (begin, mut len) = (reply.array_begin(), 0);
    for (name, consumer) in group.consumers().filter(|(_, consumer)| consumer.pending_len() > 0) {
        reply.array(2);
        reply.bulk(name);
        reply.bulk_integer(consumer.pending_len() as i64);
        len += 1;
    }
    reply.array_end(begin, len);
}

fn reply_list(group: &Group, filter: &Filter<'_>, now: Wall, reply: &mut Reply<'_>) {
    let range = filter.start..=filter.end;
    let (begin, mut len) = (reply.array_begin(), 0);
    let mut list = |(id, pending): (StreamId, &Pending)| {
        let idle = idle_of(pending, now);
        if filter.idle_min == 0 || idle >= filter.idle_min {
            reply.array(4);
            reply_id(reply, id);
            reply.bulk(pending.consumer());
            reply.integer(idle.max(0));
            reply.integer(pending.count().cast_signed());
            len += 1;
        }
        len < filter.count
    };
    // Both walks end with the last that is wanted.
    match filter.consumer {
        _ if filter.count == 0 => {}
        None => _ = group.pending_range(range).all(list),
        Some(name) => {
            let ids =
                group.consumer(name).into_iter().flat_map(|consumer| consumer.pending_range(range.clone()));
            _ = ids.filter_map(|id| Some((id, group.pending(id)?))).all(&mut list);
        }
    }
    reply.array_end(begin, len);
}

/// Milliseconds since the last delivery.
pub(super) fn idle_of(pending: &Pending, now: Wall) -> i64 {
    now.0.cast_signed().wrapping_sub(pending.at().0.cast_signed())
}
