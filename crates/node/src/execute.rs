//! Runs one command on partitions this node is primary of: lock, check, run, log, unlock.
//!
//! The order of checks is what the guarantees rest on. Under the locks: this node is the primary, in the reign the
//! command was routed under, and no hand-over is under way. Before running: the lease holds. After running: the
//! clock is read again and the lease checked against it (read the value, then the clock, then the lease), so that a
//! process that was paused in the middle never answers with a value that was overwritten elsewhere meanwhile.

use crate::blocked::Client;
use crate::cells::{Cells, Held, Locked};
use crate::frame::Route;
use crate::partition::State;
use crate::pubsub::Outgoing;
use crate::shared::Shared;
use crate::spot::Spot;
use crate::target::Target;
use commands::events::{Event, events_of};
use commands::table::Blocking;
use commands::{Access, Args, Command, Gather, Placed, ReadCtx, Run, WriteCtx};
use protocol::Reply;
use scripting::Engine;
use smallvec::SmallVec;
use std::sync::atomic::Ordering;
use stdx::{Mono, PartitionId, Wall};
use store::Garbage;
use store::eviction::Policy;

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
#[derive(Debug, Default)]
pub(crate) struct Executed {
    /// Commits the reply has to wait for: the target was registered with so many partitions.
    pub(crate) gates: u32,
    /// The lease ran out while the command ran: its reply must not be given. A read may be repeated, a write may or
    /// may not survive.
    pub(crate) lease_lost: bool,
    /// Whether the command changed anything.
    pub(crate) wrote: bool,
    /// What it left to be freed.
    garbage: SmallVec<[Garbage; 1]>,
}

/// The things every execution needs.
pub(crate) struct Executor<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) cells: &'a Cells,
    pub(crate) db: u8,
    pub(crate) touch: bool,
    pub(crate) policy: Policy,
    pub(crate) now: Mono,
    pub(crate) wall: Wall,
    /// Whether a command that may wait for data and finds none says so: where it must not wait.
    pub(crate) answers_nothing: bool,
    /// Who waits for the commit.
    pub(crate) target: Target,
    /// Partitions that have something to send; the caller hands them to their workers.
    pub(crate) pump: &'a mut Vec<PartitionId>,
    /// Whether anybody wants to know what happens to keys, and what has.
    pub(crate) notes_events: bool,
    pub(crate) events: &'a mut Vec<Event>,
    /// What runs scripts, made when it is first needed.
    pub(crate) engine: &'a mut Option<Box<Engine>>,
    /// Messages for subscribers here.
    pub(crate) outgoing: &'a mut Vec<Outgoing>,
    /// Clients who wait for data and may find some now.
    pub(crate) woken: &'a mut Vec<Target>,
    /// Hits and misses of reads.
    pub(crate) lookups: &'a mut (u64, u64),
}

/// The commands of a transaction; gives back database and name of every key they name, without a name for all of a database.
type TogetherFn<'f, 'a> = dyn FnMut(&mut Executor<'a>, &mut [Held<'_>]) -> Vec<(u8, Option<Vec<u8>>)> + 'f;

impl<'a> Executor<'a> {
    /// Runs a `Read` or `Write` on the partitions of its keys. `routes` are sorted by partition, without doubles;
    /// `spots` may say where the keys are.
    pub(crate) fn keys(
        &mut self,
        command: &Command,
        run: &Run,
        (args, spots): (Args<'_>, &[Spot]),
        routes: &[Route],
        reply: &mut Reply<'_>,
    ) -> Result<Executed, Refusal> {
        let mut locked = self.lock(routes)?;
        let mut states = locked.states(routes);
        self.admit(routes, &states)?;
        let keys = command.key_positions(args).filter_map(|index| args.get(index));
        let placed = place(routes, spots, keys.clone());
        match &mut states[..] {
            [(id, state)] => {
                let mut one = [access(*id, state, self.notes_events)];
                self.run((command, run), &mut one, &placed, args, reply);
            }
            several => {
                let mut all: Vec<Access<'_>> =
                    several.iter_mut().map(|(id, state)| access(*id, state, self.notes_events)).collect();
                self.run((command, run), &mut all, &placed, args, reply);
            }
        }
        let db = self.db;
        let executed = self.close(&mut states, |state| match command.derives_keys() {
            true => state.dirty_counter_of_all(db),
            false => {
                keys.clone().map(|key| state.dirty_counter(db, state.store.hash(key))).max().unwrap_or(0)
            }
        });
        drop(states);
        Ok(self.finish(locked, executed))
    }

    /// Runs one partition's part of a command over partitions.
    pub(crate) fn partition(
        &mut self,
        local: commands::table::PartitionFn,
        args: Args<'_>,
        route: Route,
        gather: &mut Gather,
    ) -> Result<Executed, Refusal> {
        self.one(route, |db, wall, partitions, access| {
            local(&mut WriteCtx::new(db, wall, partitions, &mut [access]), args, gather);
        })
    }

    /// Has `client` wait for the keys of a command, unless it might find something now: then true.
    pub(crate) fn await_data(
        &mut self,
        command: &Command,
        blocking: &Blocking,
        args: Args<'_>,
        routes: &[Route],
        client: Client,
    ) -> Result<bool, Refusal> {
        let mut locked = self.lock(routes)?;
        let mut states = locked.states(routes);
        self.admit(routes, &states)?;
        let mut accesses: Vec<Access<'_>> =
            states.iter_mut().map(|(id, state)| access(*id, state, self.notes_events)).collect();
        let mut context = ReadCtx::new(self.db, self.wall, self.cells.len(), &mut accesses);
        context.touch = false;
        if (blocking.ready)(&mut context, args) {
            return Ok(true);
        }
        self.each_key(command, args, &mut states, |state, place, key| state.blocked.add(place, key, client));
        self.shared.has_blocked.store(true, Ordering::Relaxed);
        Ok(false)
    }

    /// Undoes [`Executor::await_data`].
    pub(crate) fn cancel_await(
        &mut self,
        command: &Command,
        args: Args<'_>,
        routes: &[Route],
        target: Target,
    ) -> Result<(), Refusal> {
        let mut locked = self.lock(routes)?;
        let mut states = locked.states(routes);
        self.each_key(command, args, &mut states, |state, place, _| state.blocked.remove(place, target));
        Ok(())
    }

    fn each_key(
        &self,
        command: &Command,
        args: Args<'_>,
        states: &mut [Held<'_>],
        mut visit: impl FnMut(&mut State, (u8, u64), &[u8]),
    ) {
        for key in command.awaited().key_positions(args).filter_map(|index| args.get(index)) {
            let id = PartitionId::of_key(key, self.cells.len());
            if let Some((_, state)) = states.iter_mut().find(|(held, _)| *held == id) {
                let hash = state.store.hash(key);
                visit(state, (self.db, hash), key);
            }
        }
    }

    /// Whether each of several partitions could run a command now, for one that locks them one after the other and
    /// cannot be taken back once begun.
    pub(crate) fn check(&self, routes: &[Route]) -> Result<(), Refusal> {
        routes.iter().try_for_each(|route| {
            let mut locked = self.lock(&[*route])?;
            self.admit(&[*route], &locked.states(&[*route]))
        })
    }

    /// Runs `read` on one partition (SCAN).
    pub(crate) fn read_partition(
        &mut self,
        route: Route,
        read: &mut dyn FnMut(&mut ReadCtx<'_>),
    ) -> Result<Executed, Refusal> {
        self.one(route, |db, wall, partitions, access| {
            read(&mut ReadCtx::new(db, wall, partitions, &mut [access]));
        })
    }

    fn one(
        &mut self,
        route: Route,
        run: impl FnOnce(u8, Wall, u16, Access<'_>),
    ) -> Result<Executed, Refusal> {
        let mut locked = self.lock(&[route])?;
        let mut states = locked.states(&[route]);
        self.admit(&[route], &states)?;
        let (db, wall, partitions) = (self.db, self.wall, self.cells.len());
        if let [(id, state)] = &mut states[..] {
            run(db, wall, partitions, access(*id, state, self.notes_events));
        }
        let executed = self.close(&mut states, |state| state.dirty_counter_of_all(db));
        drop(states);
        Ok(self.finish(locked, executed))
    }

    /// Runs several commands as one: a transaction. `body` runs each of them by [`Executor::run`].
    pub(crate) fn together(
        &mut self,
        routes: &[Route],
        body: &mut TogetherFn<'_, 'a>,
    ) -> Result<Executed, Refusal> {
        let mut locked = self.lock(routes)?;
        let mut states = locked.states(routes);
        self.admit(routes, &states)?;
        let db = self.db;
        let keys = body(self, &mut states);
        self.db = db;
        let executed = self.close(&mut states, |state| {
            let counters = keys.iter().map(|(db, key)| match key {
                Some(key) => state.dirty_counter(*db, state.store.hash(key)),
                None => state.dirty_counter_of_all(*db),
            });
            counters.max().unwrap_or(0)
        });
        drop(states);
        Ok(self.finish(locked, executed))
    }

    /// Runs one `Read` or `Write` over locked partitions.
    pub(crate) fn run<'g>(
        &mut self,
        (command, run): (&Command, &Run),
        accesses: &'g mut [Access<'g>],
        placed: &'g [Placed<'g>],
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) {
        match run {
            Run::Read(read) => {
                let mut context = ReadCtx::new(self.db, self.wall, self.cells.len(), accesses);
                context.touch = self.touch;
                context.policy = self.policy;
                context.place(placed);
                read(&mut context, args, reply);
                let (hits, misses) = context.lookups();
                self.lookups.0 += hits;
                self.lookups.1 += misses;
            }
            Run::Write(write) => {
                let mut context = WriteCtx::new(self.db, self.wall, self.cells.len(), accesses);
                context.touch = self.touch;
                context.place(placed);
                if self.notes_events {
                    context.noting_effects(
                        |context| write(context, args, reply),
                        |effects| {
                            events_of(command, args, effects, self.events);
                        },
                    );
                } else {
                    write(&mut context, args, reply);
                }
            }
            Run::Script(_) => {
                self.run_script(command, args, accesses, reply);
            }
            Run::Fanout { local, .. } => self.run((command, local), accesses, placed, args, reply),
            Run::Blocking(blocking) => {
                // Who does not wait is told of wrong arguments all the same.
                if self.answers_nothing
                    && let Err(text) = (blocking.wait)(args)
                {
                    return reply.error(&text);
                }
                let before = reply.len();
                self.run((command, &blocking.attempt), accesses, placed, args, reply);
                if reply.len() == before && self.answers_nothing {
                    (blocking.nothing)(reply, false);
                }
            }
            _ => unreachable!("the dispatcher sends only keyed commands here"),
        }
    }

    pub(crate) fn lock(&self, routes: &[Route]) -> Result<Locked<'a>, Refusal> {
        let cells: &'a Cells = self.cells;
        cells.lock(routes).ok_or(Refusal::Behind)
    }

    /// Whether the partitions of `routes`, now locked, may run a command: right reign, primary, nothing under way, a lease.
    pub(crate) fn admit(&self, routes: &[Route], states: &[Held<'_>]) -> Result<(), Refusal> {
        if states.len() != routes.len() {
            return Err(Refusal::Behind);
        }
        for (route, (_, state)) in routes.iter().zip(states) {
            if state.reign < route.reign {
                return Err(Refusal::Behind);
            }
            if state.reign > route.reign || !matches!(state.role, crate::partition::Role::Primary(_)) {
                return Err(Refusal::Stale);
            }
            if state.handing_over {
                return Err(Refusal::NotNow);
            }
        }
        if self.shared.may_serve(self.now) { Ok(()) } else { Err(Refusal::NotNow) }
    }

    /// Logs what was written and registers the reply with every partition whose commits it has to wait for; `seen` names
    /// the counter of what it read.
    pub(crate) fn close(&mut self, states: &mut [Held<'_>], seen: impl Fn(&State) -> u64) -> Executed {
        let mut executed = Executed::default();
        let mut counters: SmallVec<[u64; 2]> = SmallVec::new();
        for (id, state) in states.iter_mut() {
            let wrote = state.conclude(self.now);
            if wrote.is_some() {
                executed.wrote = true;
                if state.has_peers() && !std::mem::replace(&mut state.pump_queued, true) {
                    self.pump.push(*id);
                }
                let garbage = state.store.take_garbage();
                if !garbage.is_empty() {
                    executed.garbage.push(garbage);
                }
                if !state.blocked.is_empty() {
                    state.blocked.wake(&state.store, self.wall, self.woken);
                }
            }
            // What was written last comes after everything that was seen.
            counters.push(wrote.unwrap_or_else(|| if state.is_settled() { 0 } else { seen(state) }));
        }
        if self.shared.config.wait_for_in_sync {
            for ((_, state), counter) in states.iter_mut().zip(counters) {
                let waits = counter > 0 && state.wait_for(counter, self.target, executed.wrote);
                executed.gates += u32::from(waits);
            }
        }
        executed
    }

    /// Unlocks and looks at the lease.
    pub(crate) fn finish(&mut self, locked: Locked<'_>, mut executed: Executed) -> Executed {
        drop(locked);
        executed.garbage.drain(..).for_each(|garbage| self.shared.free(garbage));
        let after = self.shared.clock.mono();
        executed.lease_lost = !self.shared.may_serve(after);
        self.now = after;
        executed
    }
}

/// What is known of the keys: `spots` are theirs, in their order, or nothing is.
fn place<'k>(
    routes: &[Route],
    spots: &[Spot],
    keys: impl Iterator<Item = &'k [u8]>,
) -> SmallVec<[Placed<'k>; 4]> {
    let place = |(key, spot): (&'k [u8], &Spot)| {
        let access = routes.binary_search_by_key(&spot.partition, |route| route.partition).ok()?;
        Some(Placed { key, locator: spot.locator, access })
    };
    keys.zip(spots).map_while(place).collect()
}

/// `encodes`: somebody wants the effects even if no replica and no disk does.
pub(crate) fn access<'s>(id: PartitionId, state: &'s mut State, encodes: bool) -> Access<'s> {
    let log = encodes || state.is_logged();
    let State { store, record, touched, .. } = state;
    Access { id, store, record, touched, log }
}
