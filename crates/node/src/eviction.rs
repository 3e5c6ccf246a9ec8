//! Eviction on a node: the evictor chooses among the keys that this node is primary of, and removals are effects.
//!
//! Replicas never evict by themselves: they hear of removals as of any other change (rule 10 of the design). A node counts
//! all that it holds against its limit, copies of others' partitions too, and makes room among what it may change.

use crate::cells::Cells;
use crate::partition::{Role, State};
use crate::shared::Shared;
use commands::events::Event;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stdx::{Mono, PartitionId, Wall};
use store::Partition;
use store::eviction::{Evictor, Group, Partitions, Policy, Token};

/// Keys evicted at most before a command may go on, even if there is still too little room: the next command goes on with it.
const EVICTIONS_MAX: usize = 256;

/// The node's evictor.
pub(crate) struct Eviction {
    evictor: Mutex<Evictor>,
    /// Whether the policy evicts at all.
    is_on: AtomicBool,
}

/// How making room went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// There is room, or as much was made as one command may wait for.
    Enough,
    /// There is none to be made.
    None,
}

/// What came of trying to evict a key.
enum Attempt {
    /// It is gone; the partition, if it has something to send now.
    Evicted(Option<PartitionId>),
    /// It could not be, here and now; another may.
    NotThisOne,
    /// There is none that may.
    NothingLeft,
}

impl Eviction {
    pub(crate) fn new() -> Eviction {
        Eviction { evictor: Mutex::new(Evictor::new(Policy::NoEviction, 0)), is_on: AtomicBool::new(false) }
    }
}

/// The partitions of a node in which keys may be evicted.
struct Evictable<'a>(&'a Cells);

impl Partitions for Evictable<'_> {
    fn len(&self) -> u16 {
        self.0.len()
    }

    fn with<R>(&mut self, id: PartitionId, f: impl FnOnce(&mut Partition) -> R) -> Option<R> {
        // Also one that is being handed over: the evictor would take its keys for gone if it did not see them.
        let mut state = self.0.get(id)?.state.lock();
        state.watched.then(|| f(&mut state.store))
    }
}

impl State {
    fn may_evict(&self) -> bool {
        !self.handing_over && matches!(self.role, Role::Primary(_))
    }

    /// Removes the key of a token; false if it cannot be removed here and now.
    fn evict(&mut self, token: Token, wall: Wall, now: Mono, events: Option<&mut Vec<Event>>) -> bool {
        if !self.may_evict() {
            return false;
        }
        let Some((key, hash)) = self.store.key_of(token) else { return false };
        let key = key.to_vec();
        let effect = effect::Effect::Remove { db: token.db(), key: &key, cause: effect::Cause::Evicted };
        self.store.apply(&effect, hash, wall);
        if self.is_logged() {
            self.record.push(&effect);
        }
        self.touched.push((token.db(), hash));
        self.conclude(now);
        if let Some(events) = events {
            events.push(Event::evicted(token.db(), &key));
        }
        true
    }

    /// Tells the evictor of this partition's keys, or no longer does, by its role.
    fn tell(&mut self, id: PartitionId, evictor: &Evictor, is_on: bool) {
        let watched = is_on && matches!(self.role, Role::Primary(_));
        if watched || self.watched {
            self.store.watch(watched.then(|| (Arc::clone(evictor.pulse()), id)));
        }
        self.watched = watched;
    }
}

impl Shared {
    /// The policy in force.
    pub fn eviction_policy(&self) -> Policy {
        self.eviction.evictor.lock().policy()
    }

    /// Evicts by `policy` from now on. Takes time in proportion to the keys if it is another than before.
    pub(crate) fn set_eviction_policy(&self, policy: Policy) {
        let mut evictor = self.eviction.evictor.lock();
        if evictor.policy() == policy {
            return;
        }
        *evictor = Evictor::new(policy, self.clock.mono().0);
        let is_on = policy != Policy::NoEviction;
        self.eviction.is_on.store(is_on, Ordering::Release);
        for cell in self.cells().iter() {
            cell.state.lock().tell(cell.id, &evictor, is_on);
            // What was told takes memory until it is taken in.
            evictor.digest();
        }
    }

    /// A partition may have become one whose keys may be evicted, or ceased to be.
    pub(crate) fn watch_by_role(&self, id: PartitionId) {
        let evictor = self.eviction.evictor.lock();
        let is_on = self.eviction.is_on.load(Ordering::Acquire);
        if let Some(cell) = self.cells().get(id) {
            let mut state = cell.state.lock();
            if state.watched != (is_on && matches!(state.role, Role::Primary(_))) {
                state.tell(id, &evictor, is_on);
            }
        }
    }

    /// Lets the evictor take in what partitions told it, if nobody else is at it.
    pub(crate) fn digest_evictions(&self) {
        if self.eviction.is_on.load(Ordering::Acquire)
            && let Some(mut evictor) = self.eviction.evictor.try_lock()
        {
            evictor.digest();
        }
    }

    /// Memory that counts against `maxmemory`: all that the process has allocated since its start.
    pub(crate) fn memory_used(&self) -> u64 {
        self.platform.memory_used().unwrap_or_else(|| self.data_bytes())
    }

    /// Evicts keys until no more than `limit` bytes are in use. `evicted` is called after each, without any lock, with the
    /// partition if it has something to send now.
    pub(crate) fn make_room(
        &self,
        limit: u64,
        now: Mono,
        evicted: &mut dyn FnMut(Option<PartitionId>),
    ) -> Room {
        if !self.eviction.is_on.load(Ordering::Acquire) || !self.may_serve(now) {
            return if self.memory_used() > limit { Room::None } else { Room::Enough };
        }
        for _ in 0..EVICTIONS_MAX {
            if self.memory_used() <= limit {
                return Room::Enough;
            }
            match self.evict_one(now) {
                Attempt::Evicted(pump) => evicted(pump),
                Attempt::NotThisOne => {}
                Attempt::NothingLeft => return Room::None,
            }
        }
        Room::Enough
    }

    fn evict_one(&self, now: Mono) -> Attempt {
        let (cells, wall) = (self.cells(), self.clock.wall());
        let mut evictor = self.eviction.evictor.lock();
        let victim = evictor.victim(&mut Group::new(&mut Evictable(&cells), wall));
        let Some((victim, cell)) = victim.and_then(|victim| Some((victim, cells.get(victim.partition())?)))
        else {
            // Policies that keep tokens may have to look at more of them than one call does.
            return if evictor.is_empty() { Attempt::NothingLeft } else { Attempt::NotThisOne };
        };
        let mut state = cell.state.lock();
        let mut events = self.evicted_events.lock();
        let notes = self.events().is_on().then_some(&mut *events);
        if !state.evict(victim, wall, now, notes) {
            drop((state, events));
            evictor.give_back(victim);
            return Attempt::NotThisOne;
        }
        let queue = state.has_peers() && !std::mem::replace(&mut state.pump_queued, true);
        let garbage = state.store.take_garbage();
        // What is large is freed where no lock is held.
        drop((state, evictor, events));
        self.free(garbage);
        Attempt::Evicted(queue.then_some(cell.id))
    }
}
