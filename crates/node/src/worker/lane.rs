//! The fast lane: a run of brief commands shares what each would otherwise pay for alone.
//!
//! Nearly all that a cache is asked for is one key in constant time. Such commands of one connection, one after the
//! other, are run under one look at the session, the lock, the clock and the statistics. The rule that guards every
//! answer holds for the run as a whole: read the values, then the clock, then the lease; only then do the replies
//! become visible. If the lease is lost, none of them does.
//!
//! The lane never waits for anything and refuses nothing by itself: what is unusual (a partition that is elsewhere or
//! moving, a transaction, a paused or subscribed client) ends the run, and the command takes the ordinary way.

use super::ahead::{Ahead, FEW_WORDS, Words};
use super::{IN_DOUBT, TRY_AGAIN, Worker};
use crate::cells::{Cells, Wandering};
use crate::connection::{Connection, RepliesToCome};
use crate::execute::access;
use crate::partition::Role;
use crate::routing::Routing;
use crate::spot::Spot;
use crate::stats::Counter;
use crate::target::{Delivery, Key, Owner, Target};
use commands::session::ReplyMode;
use commands::{Args, Command, Placed, ReadCtx, Run, WriteCtx};
use protocol::{Reply, Version};
use smallvec::SmallVec;
use std::ops::Range;
use stdx::{Mono, PartitionId, Wall};
use store::Garbage;

/// A longer command or reply is the last of its run, so that the clock tells how long it took.
const BRIEF_BYTES_MAX: usize = 16 * 1024;
/// Whoever wants to see commands that are faster than this wants each of them timed.
const TIMED_RUN_US: i64 = 1_000;

/// One reply of a run.
pub(super) struct Answer {
    /// Where it ends in the output.
    end: usize,
    /// Commits it waits for.
    gates: u32,
    wrote: bool,
}

/// What the commands of a run have in common.
struct Lane<'w> {
    cells: &'w Cells,
    routing: &'w Routing,
    lock: Wandering<'w>,
    pump: &'w mut Vec<PartitionId>,
    db: u8,
    touch: bool,
    version: Version,
    now: Mono,
    wall: Wall,
    wait_for_in_sync: bool,
    /// Who waits for the next commit, if the reply needs one.
    target: Target,
    garbage: SmallVec<[Garbage; 1]>,
    lookups: (u64, u64),
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
        let brief = ahead.step(steps.start).is_some_and(|step| step.brief);
        if !brief || !self.is_lane_open(connection) {
            return 0;
        }
        let direct = connection.is_direct();
        let mut out = if direct { std::mem::take(&mut connection.output) } else { Vec::new() };
        let base = out.len();
        let to_come = connection.replies_to_come();
        let started = self.now;
        let mut answers = std::mem::take(&mut self.answers);
        answers.clear();
        self.run_brief(key, connection, ahead, (input, steps.clone()), (&mut out, &mut answers));
        let ran = answers.len();
        if ran == 0 {
            if direct {
                connection.output = out;
            }
            self.answers = answers;
            return 0;
        }
        if !self.shared.may_serve(self.now) {
            self.withhold(key, to_come, base, &mut out, &mut answers);
        }
        publish(connection, direct, base, out, &answers);
        self.answers = answers;
        self.account_run(connection, ahead, input, steps.start + ran - 1, started);
        ran
    }

    /// Runs brief commands as long as nothing is unusual, then reads the clock.
    fn run_brief(
        &mut self,
        key: Key,
        connection: &Connection,
        ahead: &Ahead,
        (input, steps): (&[u8], Range<usize>),
        (out, answers): (&mut Vec<u8>, &mut Vec<Answer>),
    ) {
        let mut places = connection.replies_to_come();
        let stats = self.shared.stats.of(self.index);
        let mut tally = Tally { stats, runs: SmallVec::new() };
        let mut lane = Lane {
            target: self.target(Owner::Connection(key), connection.next_slot()),
            cells: &self.cells,
            routing: &self.routing,
            lock: Wandering::default(),
            pump: &mut self.pump,
            db: connection.session.db,
            touch: !connection.session.no_touch,
            version: connection.session.version,
            now: self.now,
            wall: self.wall,
            wait_for_in_sync: self.shared.config.wait_for_in_sync,
            garbage: SmallVec::new(),
            lookups: (0, 0),
        };
        for index in steps {
            let Some(step) = ahead.step(index).filter(|step| step.brief) else { break };
            let (Some(command), [spot]) = (step.command, ahead.spots(step)) else { break };
            let mut room = [&[][..]; FEW_WORDS];
            let Some(words) = ahead.few_words(index, input, &mut room) else { break };
            let start = out.len();
            lane.target.slot = places.gated();
            let Some((gates, wrote)) = lane.step(command, Args::new(words), spot, out) else { break };
            places.answered(gates > 0);
            tally.count(command, out.get(start..).unwrap_or_default());
            answers.push(Answer { end: out.len(), gates, wrote });
            if step.span.len() > BRIEF_BYTES_MAX || out.len() - start > BRIEF_BYTES_MAX {
                break;
            }
        }
        let Lane { garbage, lookups, lock, .. } = lane;
        drop(lock);
        drop(garbage);
        if !answers.is_empty() {
            let started = std::mem::replace(&mut self.now, self.shared.clock.mono());
            tally.close(self.now.0 - started.0, lookups);
        }
    }

    /// Whether this connection's next commands may run as in the common case: nothing is special about it, and nothing
    /// wants to see each command by itself.
    fn is_lane_open(&self, connection: &Connection) -> bool {
        let session = &connection.session;
        let slow_us = self.limits.slowlog_slower_than_us;
        session.authenticated
            && connection.transaction.is_none()
            && matches!(session.reply_mode, ReplyMode::On)
            && !session.restricted_by_subscription()
            && !(0..TIMED_RUN_US).contains(&slow_us)
            && !self.shared.is_paused.load(std::sync::atomic::Ordering::Acquire)
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
        answers: &mut [Answer],
    ) {
        out.truncate(base);
        for answer in answers {
            let slot = places.gated();
            places.answered(answer.gates > 0);
            out.extend_from_slice(if answer.wrote { IN_DOUBT } else { TRY_AGAIN });
            answer.end = out.len();
            if answer.gates > 0 {
                let target = self.target(Owner::Connection(key), slot);
                self.deliveries.push_back((target, Delivery::Unconfirmed { wrote: answer.wrote }));
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
    #[inline]
    fn step(
        &mut self,
        command: &Command,
        args: Args<'_>,
        spot: &Spot,
        out: &mut Vec<u8>,
    ) -> Option<(u32, bool)> {
        let reign = self.routing.own_reign(spot.partition)?;
        let state = self.lock.go(self.cells, spot.partition)?;
        if state.reign != reign || state.handing_over || !matches!(state.role, Role::Primary(_)) {
            return None;
        }
        let mut access = [access(spot.partition, state)];
        let placed = [Placed { key: args.at(1), hash: spot.hash, access: 0 }];
        let mut reply = Reply::new(out, self.version);
        let partitions = self.cells.len();
        match command.run {
            Run::Read(read) => {
                let mut context = ReadCtx::new(self.db, self.wall, partitions, &mut access);
                context.touch = self.touch;
                context.place(&placed);
                read(&mut context, args, &mut reply);
                let (hits, misses) = context.lookups();
                self.lookups.0 += hits;
                self.lookups.1 += misses;
            }
            Run::Write(write) => {
                let mut context = WriteCtx::new(self.db, self.wall, partitions, &mut access);
                context.touch = self.touch;
                context.place(&placed);
                write(&mut context, args, &mut reply);
            }
            _ => unreachable!("brief commands read or write"),
        }
        self.conclude(spot, args)
    }

    /// Logs what was written and registers the reply if it has to wait for a commit.
    #[inline]
    fn conclude(&mut self, spot: &Spot, args: Args<'_>) -> Option<(u32, bool)> {
        let state = self.lock.go(self.cells, spot.partition)?;
        let wrote = state.conclude(self.now);
        if wrote.is_some() {
            let garbage = state.store.take_garbage();
            if !garbage.is_empty() {
                self.garbage.push(garbage);
            }
            if state.has_peers() && !std::mem::replace(&mut state.pump_queued, true) {
                self.pump.push(spot.partition);
            }
        }
        if !self.wait_for_in_sync {
            return Some((0, wrote.is_some()));
        }
        // What was written last comes after everything that was seen.
        let counter = wrote.unwrap_or_else(|| state.dirty_counter(self.db, args.at(1)));
        let waits = counter > 0 && state.wait_for(counter, self.target, wrote.is_some());
        Some((u32::from(waits), wrote.is_some()))
    }
}

/// Statistics of a run, kept until it is over.
struct Tally<'s> {
    stats: &'s crate::stats::Stats,
    /// Commands that ran one after the other: which, how often, how many of them failed.
    runs: SmallVec<[(&'static Command, u64, u64); 8]>,
}

impl Tally<'_> {
    #[inline]
    fn count(&mut self, command: &'static Command, reply: &[u8]) {
        let failed = u64::from(reply.first() == Some(&b'-'));
        if failed > 0 {
            self.stats.error(&reply[1..]);
        }
        match self.runs.last_mut() {
            Some((last, count, failures)) if std::ptr::eq(*last, command) => {
                *count += 1;
                *failures += failed;
            }
            _ => self.runs.push((command, 1, failed)),
        }
    }

    /// Every command of a run is said to have taken the same time: the clock was read once.
    fn close(&self, nanos: u64, (hits, misses): (u64, u64)) {
        let commands: u64 = self.runs.iter().map(|(_, count, _)| count).sum();
        let each = nanos / commands.max(1);
        for (command, count, failed) in &self.runs {
            self.stats.ran(command.index(), *count, each, *failed);
        }
        self.stats.add(Counter::Commands, commands);
        if hits > 0 {
            self.stats.add(Counter::Hits, hits);
        }
        if misses > 0 {
            self.stats.add(Counter::Misses, misses);
        }
    }
}

/// Hands the replies of a run, from `base` on in `out`, to the connection.
fn publish(connection: &mut Connection, direct: bool, base: usize, mut out: Vec<u8>, answers: &[Answer]) {
    if direct && answers.iter().all(|answer| answer.gates == 0) {
        connection.output = out;
        return;
    }
    let first_gated = answers.iter().position(|answer| answer.gates > 0);
    // What comes before the first reply that waits may stay in the output.
    let ready = if direct { first_gated.unwrap_or(answers.len()) } else { 0 };
    let kept = answers.get(..ready).and_then(<[Answer]>::last).map_or(base, |answer| answer.end);
    let mut start = kept;
    for answer in &answers[ready..] {
        let reply = &out[start..answer.end];
        match answer.gates {
            0 => connection.reply(reply),
            gates => connection.gate(reply, gates),
        }
        start = answer.end;
    }
    if direct {
        out.truncate(kept);
        connection.output = out;
    }
}
