//! XCLAIM and XAUTOCLAIM: a consumer takes over what is pending for others.

use super::pending::idle_of;
use super::{ROW, change, group_of, ids, reply_entry, reply_id};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::{Delivery, Items, StreamChange, StreamId};
use protocol::Reply;
use stdx::Wall;
use store::{Group, Stream};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "xclaim",
        arity: -6,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "5.0.0",
        complexity: "O(log N) with N being the number of messages in the PEL of the consumer group.",
        summary: "Changes, or acquires, ownership of a message in a consumer group, as if the message was \
            delivered a consumer group member.",
        tips: &["nondeterministic_output"],
        run: Run::Write(xclaim),
        ..ROW
    },
    Command {
        name: "xautoclaim",
        arity: -6,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "6.2.0",
        complexity: "O(1) if COUNT is small.",
        summary: "Changes, or acquires, ownership of messages in a consumer group, as if the messages were \
            delivered to as consumer group member.",
        tips: &["nondeterministic_output"],
        run: Run::Write(xautoclaim),
        ..ROW
    },
];

/// Entries that XAUTOCLAIM claims at most without a COUNT.
const COUNT_DEFAULT: i64 = 100;
/// Pending entries that XAUTOCLAIM looks at for each that it may claim.
const ATTEMPTS_FACTOR: u64 = 10;
/// Greatest COUNT of XAUTOCLAIM: Redis has an array of so many ids.
const COUNT_MAX: i64 = i64::MAX / 16;

/// Entries that are claimed, and those that no longer exist.
#[derive(Default)]
struct Claim {
    claimed: Vec<Delivery>,
    gone: Vec<StreamId>,
}

impl Claim {
    /// Makes it so: the consumer has seen the group, and what it claimed is pending for it.
    fn apply(
        &self,
        ctx: &mut WriteCtx<'_>,
        key: &[u8],
        (group, consumer): (&[u8], &[u8]),
        active: Option<Wall>,
    ) {
        let now = ctx.now;
        if !self.gone.is_empty() {
            change(ctx, key, StreamChange::RemovePending { group, ids: Items::new(&self.gone) });
        }
        let active = if self.claimed.is_empty() { active } else { Some(now) };
        change(ctx, key, StreamChange::PutConsumer { group, consumer, seen: now, active });
        if !self.claimed.is_empty() {
            let deliveries = Items::new(&self.claimed);
            change(ctx, key, StreamChange::PutPending { group, consumer, deliveries });
        }
    }
}

/// The options of XCLAIM.
struct Options {
    ids: Vec<StreamId>,
    idle_min: i64,
    /// When the entries count as delivered.
    at: Wall,
    count: Option<u64>,
    forces: bool,
    only_ids: bool,
    last: StreamId,
}

impl Options {
    fn parse(args: Args<'_>, now: Wall) -> Outcome<Options> {
        let idle_min = idle_min(args, "Invalid min-idle-time argument for XCLAIM")?;
        let ids: Vec<StreamId> = args.tail(5).iter().map_while(|word| ids::exact(word).ok()).collect();
        let (mut at, mut count, mut last) = (None, None, StreamId::MIN);
        let (mut forces, mut only_ids) = (false, false);
        let mut words = args.tail(5 + ids.len()).iter().copied();
        let number = |word, error| protocol::parse_i64(word).ok_or(CommandError::Other(error));
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"force") {
                forces = true;
                continue;
            } else if word.eq_ignore_ascii_case(b"justid") {
                only_ids = true;
                continue;
            }
            let value = words.next().ok_or_else(|| unrecognized(word))?;
            if word.eq_ignore_ascii_case(b"idle") {
                let idle = number(value, "Invalid IDLE option argument for XCLAIM")?;
                at = Some(now.0.cast_signed().wrapping_sub(idle));
            } else if word.eq_ignore_ascii_case(b"time") {
                at = Some(number(value, "Invalid TIME option argument for XCLAIM")?);
            } else if word.eq_ignore_ascii_case(b"retrycount") {
                let times = number(value, "Invalid RETRYCOUNT option argument for XCLAIM")?;
                count = u64::try_from(times).ok();
            } else if word.eq_ignore_ascii_case(b"lastid") {
                last = ids::exact(value)?;
            } else {
                return Err(unrecognized(word));
            }
        }
        // What cannot be, a client's clock may have computed: then it is now.
        let at = at.and_then(|at| u64::try_from(at).ok()).filter(|at| *at <= now.0).map_or(now, Wall);
        Ok(Options { ids, idle_min, at, count, forces, only_ids, last })
    }
}

fn unrecognized(word: &[u8]) -> CommandError {
    CommandError::Echo(format!("Unrecognized XCLAIM option '{}'", String::from_utf8_lossy(word)))
}

/// Milliseconds that an entry has to have been idle.
fn idle_min(args: Args<'_>, error: &'static str) -> Outcome<i64> {
    protocol::parse_i64(args.at(4)).map(|idle| idle.max(0)).ok_or(CommandError::Other(error))
}

fn xclaim(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = claim(ctx, args, reply);
    answer(reply, outcome);
}

fn claim(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (now, key, name, consumer) = (ctx.now, args.at(1), args.at(2), args.at(3));
    let (stream, group) = group_of(ctx.get(key), (key, name))?;
    let options = Options::parse(args, now)?;
    let (last, read) = (group.last_id(), group.entries_read());
    let active = group.consumer(consumer).and_then(store::Consumer::active);
    let claim = claim_each(stream, group, &options, now, reply);
    if options.last > last {
        change(ctx, key, StreamChange::PutGroup { group: name, last: options.last, read });
    }
    claim.apply(ctx, key, (name, consumer), active);
    Ok(())
}

/// What comes of claiming each of the ids, which is written as well.
fn claim_each(stream: &Stream, group: &Group, options: &Options, now: Wall, reply: &mut Reply<'_>) -> Claim {
    let mut claim = Claim::default();
    let (begin, mut len) = (reply.array_begin(), 0);
    for id in &options.ids {
        let (pending, is_gone) = (group.pending(*id), claim.gone.contains(id));
        let Some(entry) = stream.get(*id) else {
            if pending.is_some() && !is_gone {
                claim.gone.push(*id);
            }
            continue;
        };
        // An id that is given twice was claimed a moment ago.
        let earlier = claim.claimed.iter().rposition(|delivery| delivery.id == *id);
        let (idle, former_count) = match (earlier, pending) {
            (Some(place), _) => {
                let former = claim.claimed[place];
                (Some(now.0.cast_signed() - former.at.0.cast_signed()), former.count)
            }
            (None, Some(pending)) => (Some(idle_of(pending, now)), pending.count()),
            (None, None) if options.forces => (None, 1),
            (None, None) => continue,
        };
        if options.idle_min > 0 && idle.is_some_and(|idle| idle < options.idle_min) {
            continue;
        }
        let count = options.count.unwrap_or(former_count + u64::from(!options.only_ids));
        let delivery = Delivery { id: *id, at: options.at, count };
        match earlier {
            Some(place) => claim.claimed[place] = delivery,
            None => claim.claimed.push(delivery),
        }
        if options.only_ids {
            reply_id(reply, *id);
        } else {
            reply_entry(reply, &entry);
        }
        len += 1;
    }
    reply.array_end(begin, len);
    claim
}

fn xautoclaim(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = claim_next(ctx, args, reply);
    answer(reply, outcome);
}

fn claim_next(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (now, key, name, consumer) = (ctx.now, args.at(1), args.at(2), args.at(3));
    let idle_min = idle_min(args, "Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = ids::interval_start(args.at(5))?;
    let (mut count, mut only_ids) = (COUNT_DEFAULT, false);
    let mut words = args.tail(6).iter().peekable();
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"count") && words.peek().is_some() {
            let number = words.next().and_then(|word| protocol::parse_i64(word));
            count = number
                .filter(|count| (1..=COUNT_MAX).contains(count))
                .ok_or(CommandError::Other("COUNT must be > 0"))?;
        } else if word.eq_ignore_ascii_case(b"justid") {
            only_ids = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let (stream, group) = group_of(ctx.get(key), (key, name))?;
    let active = group.consumer(consumer).and_then(store::Consumer::active);
    let (claim, next) = claim_some(stream, group, start, (count.unsigned_abs(), idle_min, only_ids), now);
    reply.array(3);
    reply_id(reply, next);
    reply.array(claim.claimed.len());
    for delivery in &claim.claimed {
        match stream.get(delivery.id) {
            Some(entry) if !only_ids => reply_entry(reply, &entry),
            _ => reply_id(reply, delivery.id),
        }
    }
    reply.array(claim.gone.len());
    claim.gone.iter().for_each(|id| reply_id(reply, *id));
    claim.apply(ctx, key, (name, consumer), active);
    Ok(())
}

/// Claims pending entries from an id on, as many as are wanted and have been idle for long enough; also where to go on.
fn claim_some(
    stream: &Stream,
    group: &Group,
    start: StreamId,
    (count, idle_min, only_ids): (u64, i64, bool),
    now: Wall,
) -> (Claim, StreamId) {
    let (mut claim, mut left) = (Claim::default(), count);
    let mut attempts = count.saturating_mul(ATTEMPTS_FACTOR);
    let mut pending = group.pending_range(start..=StreamId::MAX);
    while attempts > 0
        && left > 0
        && let Some((id, pending)) = pending.next()
    {
        attempts -= 1;
        if stream.get(id).is_none() {
            claim.gone.push(id);
        } else if idle_min > 0 && idle_of(pending, now) < idle_min {
            continue;
        } else {
            let count = pending.count() + u64::from(!only_ids);
            claim.claimed.push(Delivery { id, at: now, count });
        }
        left -= 1;
    }
    let next = pending.next().map_or(StreamId::MIN, |(id, _)| id);
    (claim, next)
}
