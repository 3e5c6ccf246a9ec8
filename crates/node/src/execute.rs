//! Runs one command on partitions this node is primary of: lock, check, run, log, unlock.
//!
//! The order of checks is what the guarantees rest on. Under the locks: this node is the primary, in the reign the
//! command was routed under, and no hand-over is under way. Before running: the lease holds. After running: the
//! clock is read again and the lease checked against it (read the value, then the clock, then the lease), so that a
//! process that was paused in the middle never answers with a value that was overwritten elsewhere meanwhile.

use crate::frame::Route;
use crate::partition::{Cell, State};
use crate::shared::Shared;
use crate::target::Target;
use commands::{Access, Args, Command, Gather, ReadCtx, Run, WriteCtx};
use parking_lot::MutexGuard;
use protocol::Reply;
use smallvec::SmallVec;
use stdx::{Mono, PartitionId, Wall};
use store::Garbage;

/// Why a command was not run. Nothing has happened; it may be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// This node is not the primary under that reign; the routes are out of date.
    Stale,
    /// The map of this node is older than the one the command was routed by.
    Behind,
    /// No lease, or a hand-over is under way: soon.
    NotNow,
}

/// What running a command has led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Executed {
    /// Commits the reply has to wait for: the target was registered with so many partitions.
    pub(crate) gates: u32,
    /// The lease ran out while the command ran: its reply must not be given. A read may be repeated, a write may or
    /// may not survive.
    pub(crate) lease_lost: bool,
    /// Whether the command changed anything.
    pub(crate) wrote: bool,
}

/// The things every execution needs.
pub(crate) struct Executor<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) cells: &'a [Cell],
    pub(crate) db: u8,
    pub(crate) touch: bool,
    pub(crate) now: Mono,
    pub(crate) wall: Wall,
    /// Who waits for the commit.
    pub(crate) target: Target,
    /// Partitions that have something to send; the caller hands them to their workers.
    pub(crate) pump: &'a mut Vec<PartitionId>,
    /// Hits and misses of reads.
    pub(crate) lookups: &'a mut (u64, u64),
}

/// A locked partition.
pub(crate) type Guard<'a> = (PartitionId, MutexGuard<'a, State>);
/// The commands of a transaction; gives back database and name of every key they name.
type TogetherFn<'f, 'a> = dyn FnMut(&mut Executor<'a>, &mut [Guard<'_>]) -> Vec<(u8, Vec<u8>)> + 'f;
type Guards<'a> = SmallVec<[Guard<'a>; 1]>;

impl<'a> Executor<'a> {
    /// Runs a `Read` or `Write` on the partitions of its keys. `routes` are sorted by partition, without doubles.
    pub(crate) fn keys(
        &mut self,
        command: &Command,
        run: &Run,
        args: Args<'_>,
        routes: &[Route],
        reply: &mut Reply<'_>,
    ) -> Result<Executed, Refusal> {
        let mut guards = self.lock(routes)?;
        self.check_lease()?;
        let partitions = u16::try_from(self.cells.len()).expect("at most 16384 partitions");
        match &mut guards[..] {
            [(id, state)] => {
                let mut one = [access(*id, state)];
                self.run(run, partitions, &mut one, args, reply);
            }
            several => {
                let mut all: Vec<Access<'_>> =
                    several.iter_mut().map(|(id, state)| access(*id, state)).collect();
                self.run(run, partitions, &mut all, args, reply);
            }
        }
        let keys = command.key_positions(args).filter_map(|index| args.get(index));
        Ok(self.conclude(guards, keys))
    }

    /// Runs one partition's part of a command over partitions.
    pub(crate) fn partition(
        &mut self,
        local: commands::table::PartitionFn,
        args: Args<'_>,
        route: Route,
        gather: &mut Gather,
    ) -> Result<Executed, Refusal> {
        let mut guards = self.lock(&[route])?;
        self.check_lease()?;
        let partitions = u16::try_from(self.cells.len()).expect("at most 16384 partitions");
        for (id, state) in &mut guards {
            let mut one = [access(*id, state)];
            let mut context = WriteCtx::new(self.db, self.wall, partitions, &mut one);
            local(&mut context, args, gather);
        }
        Ok(self.conclude_all(guards))
    }

    /// Whether each of several partitions could run a command now, for one that locks them one after the other and
    /// cannot be taken back once begun.
    pub(crate) fn check(&self, routes: &[Route]) -> Result<(), Refusal> {
        self.check_lease()?;
        routes.iter().try_for_each(|route| self.lock(&[*route]).map(drop))
    }

    /// Runs `read` on one partition (SCAN).
    pub(crate) fn read_partition(
        &mut self,
        route: Route,
        read: &mut dyn FnMut(&mut ReadCtx<'_>),
    ) -> Result<Executed, Refusal> {
        let mut guards = self.lock(&[route])?;
        self.check_lease()?;
        let partitions = u16::try_from(self.cells.len()).expect("at most 16384 partitions");
        for (id, state) in &mut guards {
            let mut one = [access(*id, state)];
            read(&mut ReadCtx::new(self.db, self.wall, partitions, &mut one));
        }
        Ok(self.conclude_all(guards))
    }

    /// Runs several commands as one: a transaction. `body` runs each of them by [`Executor::run`].
    pub(crate) fn together(
        &mut self,
        routes: &[Route],
        body: &mut TogetherFn<'_, 'a>,
    ) -> Result<Executed, Refusal> {
        let mut guards = self.lock(routes)?;
        self.check_lease()?;
        let db = self.db;
        let keys = body(self, &mut guards);
        self.db = db;
        Ok(self.close(guards, |state| {
            keys.iter().map(|(db, key)| state.dirty_counter(*db, key)).max().unwrap_or(0)
        }))
    }

    /// Runs one `Read` or `Write` over locked partitions.
    pub(crate) fn run<'g>(
        &mut self,
        run: &Run,
        partitions: u16,
        accesses: &'g mut [Access<'g>],
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) {
        match run {
            Run::Read(read) => {
                let mut context = ReadCtx::new(self.db, self.wall, partitions, accesses);
                context.touch = self.touch;
                read(&mut context, args, reply);
                let (hits, misses) = context.lookups();
                self.lookups.0 += hits;
                self.lookups.1 += misses;
            }
            Run::Write(write) => {
                let mut context = WriteCtx::new(self.db, self.wall, partitions, accesses);
                context.touch = self.touch;
                write(&mut context, args, reply);
            }
            Run::Fanout { local, .. } => self.run(local, partitions, accesses, args, reply),
            _ => unreachable!("the dispatcher sends only keyed commands here"),
        }
    }

    fn lock(&self, routes: &[Route]) -> Result<Guards<'a>, Refusal> {
        let cells: &'a [Cell] = self.cells;
        let mut guards: Guards<'a> = SmallVec::new();
        for route in routes {
            let cell = cells.get(usize::from(route.partition.0)).ok_or(Refusal::Behind)?;
            let state = cell.state.lock();
            if state.reign < route.reign {
                return Err(Refusal::Behind);
            }
            if state.reign > route.reign || !matches!(state.role, crate::partition::Role::Primary(_)) {
                return Err(Refusal::Stale);
            }
            if state.handing_over {
                return Err(Refusal::NotNow);
            }
            guards.push((route.partition, state));
        }
        Ok(guards)
    }

    fn check_lease(&self) -> Result<(), Refusal> {
        if self.shared.may_serve(self.now) { Ok(()) } else { Err(Refusal::NotNow) }
    }

    fn conclude<'k>(&mut self, guards: Guards<'_>, keys: impl Iterator<Item = &'k [u8]> + Clone) -> Executed {
        let db = self.db;
        self.close(guards, |state| keys.clone().map(|key| state.dirty_counter(db, key)).max().unwrap_or(0))
    }

    /// As `conclude`, for a command that has seen every key.
    fn conclude_all(&mut self, guards: Guards<'_>) -> Executed {
        let db = self.db;
        self.close(guards, |state| state.dirty_counter_of_all(db))
    }

    /// Logs what was written, registers the reply with every partition whose commits it has to wait for (`seen` names
    /// the counter of what it read), unlocks, and looks at the lease.
    fn close(&mut self, mut guards: Guards<'_>, seen: impl Fn(&State) -> u64) -> Executed {
        let mut executed = Executed::default();
        let mut counters: SmallVec<[u64; 2]> = SmallVec::new();
        let mut garbage: SmallVec<[Garbage; 2]> = SmallVec::new();
        for (id, state) in &mut guards {
            let seen = seen(state);
            let wrote = state.conclude(self.now);
            if wrote.is_some() {
                executed.wrote = true;
                if state.has_peers() && !std::mem::replace(&mut state.pump_queued, true) {
                    self.pump.push(*id);
                }
            }
            counters.push(wrote.unwrap_or(0).max(seen));
            garbage.push(state.store.take_garbage());
        }
        if self.shared.config.wait_for_in_sync {
            for ((_, state), counter) in guards.iter_mut().zip(counters) {
                let waits = counter > 0 && state.wait_for(counter, self.target, executed.wrote);
                executed.gates += u32::from(waits);
            }
        }
        drop(guards);
        let after = self.shared.clock.mono();
        executed.lease_lost = !self.shared.may_serve(after);
        self.now = after;
        executed
    }
}

fn access<'s>(id: PartitionId, state: &'s mut MutexGuard<'_, State>) -> Access<'s> {
    let log = state.has_peers();
    let State { store, record, touched, .. } = &mut **state;
    Access { id, store, record, touched, log }
}
