//! The fast lane: a run of brief commands shares what each would otherwise pay for alone.
//!
//! Nearly all that a cache is asked for is one key in constant time. Such commands of one connection, one after the
//! other, are run under one look at the session, the lock, the clock and the statistics. The rule that guards every
//! answer holds for the run as a whole: read the values, then the clock, then the lease; only then do the replies
//! become visible. If the lease is lost, none of them does.
//!
//! A command whose key is on another node is sent on within the run: its reply takes its place when it comes.
//!
//! The lane never waits for anything and refuses nothing by itself: what is unusual (a partition that is moving or has no
//! primary, a transaction, a paused or subscribed client) ends the run, and the command takes the ordinary way.

use super::ahead::{Ahead, COMMANDS_MAX, FEW_WORDS, Step, Words};
use super::away::Away;
use super::{IN_DOUBT, TRY_AGAIN, Worker};
use crate::cells::{Cells, Wandering};
use crate::connection::{Connection, RepliesToCome};
use crate::execute::access;
use crate::partition::State;
use crate::routing::Routing;
use crate::spot::Spot;
use crate::stats::Counter;
use crate::target::{Delivery, Key, Owner, Target, wakes};
use commands::express::{self, Client, Express};
use commands::session::ReplyMode;
use commands::{Args, Command, Placed, ReadCtx, Run, WriteCtx};
use protocol::{Reply, Version};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::atomic::Ordering;
use stdx::{Epoch, Mono, PartitionId, Wall};
use store::Garbage;

/// A longer command or reply is the last of its run, so that the clock tells how long it took.
pub(super) const BRIEF_BYTES_MAX: usize = 16 * 1024;
/// Whoever wants to see commands that are faster than this wants each of them timed.
const TIMED_RUN_US: i64 = 1_000;

/// The replies of a run: of most nothing needs to be known but that they are there.
#[derive(Default)]
pub(super) struct Replies {
    len: usize,
    /// By bits, those of commands that wrote.
    wrote: u64,
    /// By bits, those that wait for a commit.
    gated: u64,
    /// By bits, those of commands that were sent to another node.
    away: u64,
    /// Where the first one that waits begins, and each ends from that one on.
    edges: Vec<usize>,
}

const _: () = assert!(COMMANDS_MAX <= u64::BITS as usize, "a run has a bit for each of its commands");

impl Replies {
    fn clear(&mut self) {
        (self.len, self.wrote, self.gated, self.away) = (0, 0, 0, 0);
        self.edges.clear();
    }

    /// One more, from `start` to `end` of the output.
    #[inline(always)]
    fn push(&mut self, (start, end): (usize, usize), Closed { waits, wrote, away }: Closed) {
        self.wrote |= u64::from(wrote) << self.len;
        self.gated |= u64::from(waits) << self.len;
        self.away |= u64::from(away) << self.len;
        self.len += 1;
        if self.gated | self.away != 0 {
            self.note(start, end);
        }
    }

    fn note(&mut self, start: usize, end: usize) {
        if self.edges.is_empty() {
            self.edges.push(start);
        }
        self.edges.push(end);
    }

    /// Whether the commands, one after the other, wrote, whether their replies wait, and whether they are elsewhere.
    fn iter(&self) -> impl Iterator<Item = Closed> + use<> {
        let (wrote, gated, away) = (self.wrote, self.gated, self.away);
        let is_in = |bits: u64, at: usize| bits >> at & 1 == 1;
        (0..self.len).map(move |at| Closed {
            waits: is_in(gated, at),
            wrote: is_in(wrote, at),
            away: is_in(away, at),
        })
    }
}

/// What came of a command.
#[derive(Clone, Copy)]
pub(super) struct Closed {
    /// Its reply waits for a commit.
    pub(super) waits: bool,
    pub(super) wrote: bool,
    /// It was sent to another node.
    pub(super) away: bool,
}

/// What the commands of a run have in common.
pub(super) struct Lane<'w> {
    pub(super) cells: &'w Cells,
    pub(super) lock: Wandering<'w>,
    pub(super) client: Client,
    pub(super) version: Version,
    pub(super) lookups: (u64, u64),
    pub(super) closing: Closing<'w>,
}

/// What it takes to close a command.
pub(super) struct Closing<'w> {
    pub(super) pump: &'w mut Vec<PartitionId>,
    pub(super) now: Mono,
    pub(super) wait_for_in_sync: bool,
    /// Who waits for the next commit, if the reply needs one: the slot is that of the reply that comes next.
    pub(super) target: Target,
    pub(super) to_come: RepliesToCome,
    pub(super) garbage: SmallVec<[Garbage; 1]>,
    pub(super) wall: Wall,
    /// Clients who wait for data and may find some now.
    pub(super) woken: Vec<Target>,
}

impl Worker {
    /// Runs the first of `steps` that may go together, and says how many.
    pub(super) fn run_lane(
        &mut self,
        key: Key,
        connection: &mut Connection,
        ahead: &Ahead,
        input: &[u8],
        steps: Range<usize>,
    ) -> usize {
        let fits = |step: &Step| step.brief && !ahead.spots(step).is_empty();
        if !ahead.step(steps.start).is_some_and(fits) || !self.is_lane_open(connection) {
            return 0;
        }
        let direct = connection.is_direct();
        let mut out = if direct { std::mem::take(&mut connection.output) } else { Vec::new() };
        let base = out.len();
        let to_come = connection.replies_to_come();
        let started = self.now;
        let mut replies = std::mem::take(&mut self.replies);
        replies.clear();
        self.run_brief(key, connection, ahead, (input, steps.clone()), (&mut out, &mut replies));
        let ran = replies.len;
        if ran > 0 && !self.shared.may_serve(self.now) {
            self.withhold(key, to_come, base, &mut out, &mut replies);
        }
        publish(connection, direct, out, &replies, self.routing.version().0);
        self.replies = replies;
        if ran > 0 {
            self.account_run(connection, ahead, input, steps.start + ran - 1, started);
        }
        ran
    }

    /// Runs brief commands as long as nothing is unusual, then reads the clock.
    fn run_brief(
        &mut self,
        key: Key,
        connection: &Connection,
        ahead: &Ahead,
        (input, steps): (&[u8], Range<usize>),
        (out, replies): (&mut Vec<u8>, &mut Replies),
    ) {
        let stats = self.shared.stats.of(self.index);
        let mut tally = Tally::new(stats);
        let target = self.target(Owner::Connection(key), connection.next_slot());
        let mut away = Away {
            routing: &self.routing,
            peers: &self.peers,
            links: &mut self.links,
            forwards: &mut self.forwards,
            flush: &mut self.flush,
            deadline: self.now + self.shared.config.forward_timeout,
            known: SmallVec::new(),
            sent: 0,
        };
        let mut lane = Lane {
            cells: &self.cells,
            lock: Wandering::default(),
            client: Client { db: connection.session.db, touch: !connection.session.no_touch, now: self.wall },
            version: connection.session.version,
            lookups: (0, 0),
            closing: Closing {
                target,
                to_come: connection.replies_to_come(),
                pump: &mut self.pump,
                now: self.now,
                wait_for_in_sync: self.shared.config.wait_for_in_sync,
                garbage: SmallVec::new(),
                wall: self.wall,
                woken: Vec::new(),
            },
        };
        for step in ahead.several(steps).iter().take_while(|step| step.brief) {
            let start = out.len();
            let closed = match ahead.spots(step) {
                [spot] if !spot.here => lane.send_on(&mut away, ahead, step, spot, input),
                _ => lane.step(&self.routing, ahead, step, input, out),
            };
            let Some(closed) = closed else { break };
            replies.push((start, out.len()), closed);
            let failed = step.express == Express::No && out.get(start) == Some(&b'-');
            if failed {
                stats.error(out.get(start + 1..).unwrap_or_default());
            }
            tally.add(step.command, failed);
            if step.span.len().max(out.len() - start) > BRIEF_BYTES_MAX {
                break;
            }
        }
        let Lane { closing, lookups, lock, .. } = lane;
        drop(lock);
        closing.garbage.into_iter().for_each(|garbage| self.shared.free(garbage));
        self.deliveries.extend(closing.woken.into_iter().map(wakes));
        if away.sent > 0 {
            stats.add(Counter::Forwarded, away.sent);
        }
        if replies.len > 0 {
            let started = std::mem::replace(&mut self.now, self.shared.clock.mono());
            tally.close(self.now.0 - started.0, lookups);
            stats.add(Counter::Commands, replies.len as u64);
        }
    }

    /// Whether this connection's next commands may run as in the common case: nothing is special about it, and nothing
    /// wants to see each command by itself.
    fn is_lane_open(&mut self, connection: &Connection) -> bool {
        let session = &connection.session;
        let slow_us = self.limits.slowlog_slower_than_us;
        session.authenticated
            && session.user.is_unrestricted()
            && session.users_seen == self.shared.users.generation()
            && connection.transaction.is_none()
            && matches!(session.reply_mode, ReplyMode::On)
            && !session.restricted_by_subscription()
            && !(0..TIMED_RUN_US).contains(&slow_us)
            && !self.shared.is_paused.load(Ordering::Acquire)
            && !self.shared.is_loading.load(Ordering::Acquire)
            && !self.shared.is_monitored.load(Ordering::Acquire)
            && !self.wanted_events().is_on()
            && !self.is_out_of_memory()
            && self.shared.may_serve(self.now)
    }

    /// The lease ran out while the commands ran: what was read may be overwritten elsewhere by now, and what was written
    /// may or may not survive.
    fn withhold(
        &mut self,
        key: Key,
        mut places: RepliesToCome,
        base: usize,
        out: &mut Vec<u8>,
        replies: &mut Replies,
    ) {
        out.truncate(base);
        replies.edges.clear();
        for closed in replies.iter() {
            let slot = places.gated();
            places.answered(closed.waits || closed.away);
            let start = out.len();
            if !closed.away {
                out.extend_from_slice(if closed.wrote { IN_DOUBT } else { TRY_AGAIN });
            }
            if closed.waits || closed.away || !replies.edges.is_empty() {
                replies.note(start, out.len());
            }
            if closed.waits {
                let target = self.target(Owner::Connection(key), slot);
                self.deliveries.push_back((target, Delivery::Unconfirmed { wrote: closed.wrote }));
            }
        }
    }

    /// Session, slow log and latency events of a run whose last command was the step `last`.
    fn account_run(
        &mut self,
        connection: &mut Connection,
        ahead: &Ahead,
        input: &[u8],
        last: usize,
        started: Mono,
    ) {
        let Some(command) = ahead.step(last).and_then(|step| step.command) else { return };
        connection.session.last_command = command.name;
        connection.session.last_interaction = self.now;
        connection.session.asking = false;
        if self.is_slow(self.now.0 - started.0) {
            let mut words = Words::new();
            ahead.words(last, input, &mut words);
            self.log_if_slow(connection, command, Args::new(&words), self.now.0 - started.0);
        }
    }
}

impl Lane<'_> {
    /// Runs one command; `None` if it cannot run in the lane now, and nothing has happened.
    #[inline(always)]
    fn step(
        &mut self,
        routing: &Routing,
        ahead: &Ahead,
        step: &Step,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Closed> {
        match step.express {
            Express::No => {
                let (Some(command), [spot]) = (step.command, ahead.spots(step)) else { return None };
                let mut room = [&[][..]; FEW_WORDS];
                let args = Args::new(ahead.few_words(step, input, &mut room)?);
                let reign = routing.own_reign(spot.partition)?;
                return self.by_context(command, args, (spot, reign), out);
            }
            Express::GetMany => return self.get_many(routing, ahead, step, input, out),
            Express::Get | Express::Set => {}
        }
        let (key, spot) = ahead.key(step, input)?;
        let reign = routing.own_reign(spot.partition)?;
        self.express(step.express, (key, || ahead.value(step, input)), (spot, reign), out)
    }

    /// Runs GET or SET on the key of `spot`, whose partition must be this node's under `reign`. SET asks for its value.
    #[inline(always)]
    pub(super) fn express<'a>(
        &mut self,
        express: Express,
        (key, value): (&[u8], impl FnOnce() -> Option<&'a [u8]>),
        (spot, reign): (&Spot, Epoch),
        out: &mut Vec<u8>,
    ) -> Option<Closed> {
        let state = self.lock.go(self.cells, spot.partition).filter(|state| state.serves(reign))?;
        let mut reply = Reply::new(out, self.version);
        if express == Express::Get {
            let hit = express::get(&mut state.store, self.client, key, spot.locator, &mut reply);
            self.lookups.0 += u64::from(hit);
            self.lookups.1 += u64::from(!hit);
        } else {
            let value = value()?;
            let access = &mut access(spot.partition, state, false);
            express::set(access, self.client, (key, value), spot.locator, &mut reply);
        }
        Some(self.closing.conclude(state, self.client.db, spot))
    }

    /// MGET of keys that are all here, under one lock, with nothing uncommitted among them.
    fn get_many(
        &mut self,
        routing: &Routing,
        ahead: &Ahead,
        step: &Step,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Closed> {
        let (spots, states) = (ahead.spots(step), self.lock.all(self.cells)?);
        let is_ready = |spot: &Spot| {
            let state = states.get(usize::from(spot.partition.0))?;
            (state.serves(routing.own_reign(spot.partition)?) && state.is_settled()).then_some(())
        };
        spots.iter().try_for_each(is_ready)?;
        let (words, source) = ahead.parsed(step, input)?;
        let mut reply = Reply::new(out, self.version);
        reply.array(spots.len());
        let mut hits = 0;
        for (index, spot) in spots.iter().enumerate() {
            let key = words.get(source, index + 1).expect("the words of a step stay where they are");
            let store = &mut states[usize::from(spot.partition.0)].store;
            let hit = express::get_one_of_many(store, self.client, key, spot.locator, &mut reply);
            hits += u64::from(hit);
        }
        self.lookups.0 += hits;
        self.lookups.1 += spots.len() as u64 - hits;
        self.closing.to_come.answered(false);
        Some(Closed { waits: false, wrote: false, away: false })
    }

    /// The same of any brief command.
    pub(super) fn by_context(
        &mut self,
        command: &Command,
        args: Args<'_>,
        (spot, reign): (&Spot, Epoch),
        out: &mut Vec<u8>,
    ) -> Option<Closed> {
        let state = self.lock.go(self.cells, spot.partition).filter(|state| state.serves(reign))?;
        let mut access = [access(spot.partition, state, false)];
        let placed = [Placed { key: args.at(1), locator: spot.locator, access: 0 }];
        let mut reply = Reply::new(out, self.version);
        let (partitions, Client { db, touch, now }) = (self.cells.len(), self.client);
        match command.run {
            Run::Read(read) => {
                let mut context = ReadCtx::new(db, now, partitions, &mut access);
                context.touch = touch;
                context.place(&placed);
                read(&mut context, args, &mut reply);
                let (hits, misses) = context.lookups();
                self.lookups.0 += hits;
                self.lookups.1 += misses;
            }
            Run::Write(write) => {
                let mut context = WriteCtx::new(db, now, partitions, &mut access);
                context.touch = touch;
                context.place(&placed);
                write(&mut context, args, &mut reply);
            }
            _ => unreachable!("brief commands read or write"),
        }
        Some(self.closing.conclude(state, db, spot))
    }

    /// Sends a command on one key to the node that has it.
    #[inline(always)]
    fn send_on(
        &mut self,
        away: &mut Away<'_>,
        ahead: &Ahead,
        step: &Step,
        spot: &Spot,
        input: &[u8],
    ) -> Option<Closed> {
        let mut room = [&[][..]; FEW_WORDS];
        let words = ahead.few_words(step, input, &mut room)?;
        let target = Target { slot: self.closing.to_come.gated(), ..self.closing.target };
        away.send((self.client.db, self.version, self.client.touch), spot.partition, words, target)?;
        self.closing.to_come.answered(true);
        Some(Closed { waits: false, wrote: false, away: true })
    }
}

impl Closing<'_> {
    /// Logs what was written and registers the reply if it has to wait for a commit.
    #[inline(always)]
    fn conclude(&mut self, state: &mut State, db: u8, spot: &Spot) -> Closed {
        let wrote = state.conclude(self.now);
        if wrote.is_some() {
            self.tidy(state, spot);
        }
        let mut waits = false;
        if self.wait_for_in_sync {
            // What was written last comes after everything that was seen.
            let counter = wrote.unwrap_or_else(|| state.dirty_counter(db, spot.locator.hash()));
            waits = counter > 0 && self.waits_for(state, counter, wrote.is_some());
        }
        self.to_come.answered(waits);
        Closed { waits, wrote: wrote.is_some(), away: false }
    }

    #[inline(always)]
    fn tidy(&mut self, state: &mut State, spot: &Spot) {
        if state.store.has_garbage() {
            self.garbage.push(state.store.take_garbage());
        }
        if !state.blocked.is_empty() {
            state.blocked.wake(&state.store, self.wall, &mut self.woken);
        }
        if state.has_peers() && !std::mem::replace(&mut state.pump_queued, true) {
            self.pump.push(spot.partition);
        }
    }

    fn waits_for(&mut self, state: &mut State, counter: u64, wrote: bool) -> bool {
        self.target.slot = self.to_come.gated();
        state.wait_for(counter, self.target, wrote)
    }
}

/// Statistics of a run, kept until it is over.
pub(super) struct Tally<'s> {
    stats: &'s crate::stats::Stats,
    /// The command that ran last, how often in a row, and how many of these failed.
    last: (Option<&'static Command>, u64, u64),
    /// Those before: which, how often, how many of them failed.
    runs: SmallVec<[(&'static Command, u64, u64); 4]>,
}

impl<'s> Tally<'s> {
    pub(super) fn new(stats: &'s crate::stats::Stats) -> Tally<'s> {
        Tally { stats, last: (None, 0, 0), runs: SmallVec::new() }
    }

    /// One more command ran.
    #[inline(always)]
    pub(super) fn add(&mut self, command: Option<&'static Command>, failed: bool) {
        if command.map(std::ptr::from_ref) != self.last.0.map(std::ptr::from_ref) {
            self.turn_to(command);
        }
        self.last.1 += 1;
        self.last.2 += u64::from(failed);
    }

    /// Another command than before comes next, or none.
    fn turn_to(&mut self, next: Option<&'static Command>) {
        let (last, count, failed) = std::mem::replace(&mut self.last, (next, 0, 0));
        let Some(last) = last else { return };
        match self.runs.iter_mut().find(|(other, ..)| std::ptr::eq(*other, last)) {
            Some((_, sum, failures)) => (*sum, *failures) = (*sum + count, *failures + failed),
            None => self.runs.push((last, count, failed)),
        }
    }

    /// Every command of a run is said to have taken the same time: the clock was read once.
    pub(super) fn close(mut self, nanos: u64, (hits, misses): (u64, u64)) {
        self.turn_to(None);
        let commands: u64 = self.runs.iter().map(|(_, count, _)| count).sum();
        let each = nanos / commands.max(1);
        for (command, count, failed) in &self.runs {
            self.stats.ran(command.index(), *count, each, *failed);
        }
        if hits > 0 {
            self.stats.add(Counter::Hits, hits);
        }
        if misses > 0 {
            self.stats.add(Counter::Misses, misses);
        }
    }
}

/// Hands the replies of a run, all that `out` has beyond the connection's output if that is `direct`, to the connection.
/// Commands were sent on under the map of `version`.
fn publish(connection: &mut Connection, direct: bool, mut out: Vec<u8>, replies: &Replies, version: u64) {
    let first_open = (replies.gated | replies.away).trailing_zeros() as usize;
    if direct && first_open >= replies.len {
        connection.output = out;
        return;
    }
    // What comes before the first reply that waits belongs together: it is ready, or stands behind what is not.
    let open_at = replies.edges.first().copied().unwrap_or(out.len());
    if !direct && open_at > 0 {
        connection.reply(out.get(..open_at).unwrap_or_default());
    }
    let open = replies.iter().skip(first_open);
    for (closed, (&start, &end)) in open.zip(replies.edges.iter().zip(replies.edges.iter().skip(1))) {
        let reply = out.get(start..end).unwrap_or_default();
        if closed.away {
            if connection.in_flight == 0 {
                connection.in_flight_version = version;
            }
            connection.await_reply(false, false);
        } else if closed.waits {
            connection.gate(reply, 1);
        } else {
            connection.reply(reply);
        }
    }
    if direct {
        out.truncate(open_at);
        connection.output = out;
    }
}
