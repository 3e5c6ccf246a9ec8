//! What a node asks for keys to evict.

use crate::eviction::dead::Dead;
use crate::eviction::drawn::Drawn;
use crate::eviction::entries::Entries;
use crate::eviction::policy::{Policy, Rule, Scope};
use crate::eviction::pulse::{Note, Pulse};
use crate::eviction::queues::Queues;
use crate::eviction::sized::Sized;
use crate::eviction::token::Token;
use std::sync::Arc;
use stdx::Random;

/// Removals for each step of a sweep, once there are more dead tokens than one in sixteen.
const REMOVALS_PER_SWEEP: u32 = 4;
const DEAD_SHARE: u64 = 16;
const DEAD_MIN: u64 = 64;
/// Notes for which room is kept.
const NOTES_KEPT: usize = 1_024;
/// Steps of the sweep after a flush, per note.
const SWEEPS_PER_NOTE: u32 = 2;

/// Chooses keys to evict, by one policy, among the partitions that watch its pulse.
///
/// All work is bounded: per note, and per key evicted.
#[derive(Debug)]
pub struct Evictor {
    policy: Policy,
    pulse: Arc<Pulse>,
    order: Order,
    dead: Dead,
    random: Random,
    notes: Vec<Note>,
    removals: u32,
    /// Tokens that are to be looked at, because databases were flushed.
    flushed: u64,
}

/// The state of a rule.
#[derive(Debug)]
enum Order {
    None,
    Soonest,
    Queues(Box<Queues>),
    Sized(Sized),
    Any(Drawn),
    LeastFrequent(Drawn),
}

impl Evictor {
    /// An evictor that no partition watches yet. `seed` is for what the policy draws at random.
    pub fn new(policy: Policy, seed: u64) -> Evictor {
        let order = match policy {
            Policy::NoEviction => Order::None,
            Policy::Evict(_, rule @ (Rule::Lru | Rule::S3Fifo | Rule::Adaptive)) => {
                Order::Queues(Box::new(Queues::new(rule)))
            }
            Policy::Evict(_, Rule::Gdsf) => Order::Sized(Sized::default()),
            Policy::Evict(scope, Rule::Lfu) => Order::LeastFrequent(Drawn::new(scope)),
            Policy::Evict(scope, Rule::Random) => Order::Any(Drawn::new(scope)),
            // Without a deadline there is no order of them, whatever the name.
            Policy::Evict(Scope::All | Scope::Volatile, Rule::Ttl) => Order::Soonest,
        };
        Evictor {
            policy,
            pulse: Arc::new(Pulse::new(policy)),
            order,
            dead: Dead::default(),
            random: Random::seeded(seed),
            notes: Vec::new(),
            removals: 0,
            flushed: 0,
        }
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// What partitions have to watch.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Takes in what partitions have noted since. Call it now and then also while nothing is evicted, once per turn of
    /// an event loop for example: notes take memory.
    pub fn digest(&mut self) {
        let mut notes = std::mem::take(&mut self.notes);
        self.pulse.take_notes(&mut notes);
        for note in notes.drain(..) {
            self.take(note);
        }
        notes.shrink_to(NOTES_KEPT);
        self.notes = notes;
    }

    /// The key to be removed next, which the caller does, or says so by [`Evictor::give_back`]. `None` if there is none to
    /// be had now: under `volatile-` perhaps none at all, and after many removals perhaps at the next call.
    pub fn victim(&mut self, entries: &mut impl Entries) -> Option<Token> {
        self.digest();
        let (dead, random) = (&mut self.dead, &mut self.random);
        let victim = match &mut self.order {
            Order::None => None,
            Order::Soonest => entries.soonest(random),
            Order::Queues(queues) => queues.victim(entries, dead, &self.pulse),
            Order::Sized(sized) => sized.victim(entries, dead),
            Order::Any(drawn) => drawn.any(entries, dead, random),
            Order::LeastFrequent(drawn) => drawn.least_frequent(entries, dead, random),
        }?;
        if self.has_token_left_out() {
            self.dead.give_out(victim);
        }
        Some(victim)
    }

    /// The victim was not removed: it is one among all again.
    pub fn give_back(&mut self, victim: Token) {
        if self.has_token_left_out() && self.dead.give_back(victim) {
            // By size it is worth most now, lest it is the next victim again.
            self.take(Note::Inserted(victim, 0));
        }
    }

    /// Tokens held: one for each key that may be evicted, and those of removed keys that were not met yet. 0 for policies
    /// that hold none.
    pub fn len(&self) -> u64 {
        match &self.order {
            Order::None | Order::Soonest => 0,
            Order::Queues(queues) => queues.len(),
            Order::Sized(sized) => sized.len(),
            Order::Any(drawn) | Order::LeastFrequent(drawn) => drawn.len(),
        }
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of removed keys that were not met yet.
    pub fn dead_len(&self) -> u64 {
        self.dead.len()
    }

    /// Memory that it takes, as an allocator would count it.
    pub fn memory_bytes(&self) -> u64 {
        let order = match &self.order {
            Order::None | Order::Soonest => 0,
            Order::Queues(queues) => queues.bytes(),
            Order::Sized(sized) => sized.bytes(),
            Order::Any(drawn) | Order::LeastFrequent(drawn) => drawn.bytes(),
        };
        (order + self.dead.bytes() + self.notes.capacity() * size_of::<Note>()) as u64
    }

    /// Whether `adaptive` follows LRU at present; `lru` always does.
    pub fn follows_recency(&self) -> bool {
        matches!(&self.order, Order::Queues(queues) if queues.is_by_recency())
    }

    /// Whether the token of a victim has left its queue.
    fn has_token_left_out(&self) -> bool {
        match &self.order {
            Order::None | Order::Soonest | Order::LeastFrequent(_) => false,
            Order::Queues(_) | Order::Sized(_) => true,
            Order::Any(drawn) => drawn.has_list(),
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Inserted(token, bytes) => self.insert(self.dead.current(token), bytes),
            Note::Removed(token) => self.remove(token),
            Note::Flushed(token) => {
                self.dead.flush(token);
                self.flushed = self.len();
            }
            Note::Written(token) => {
                if let Order::Queues(queues) = &mut self.order {
                    queues.written(token, &self.pulse);
                }
            }
            Note::Read(token, exists) => {
                if let Order::Queues(queues) = &mut self.order {
                    queues.read(token, exists, &self.pulse);
                }
            }
        }
        for _ in 0..SWEEPS_PER_NOTE {
            if self.flushed > 0 {
                let swept = self.sweep();
                self.flushed = self.flushed.saturating_sub(swept).min(self.len());
            }
        }
    }

    fn insert(&mut self, token: Token, bytes: u32) {
        match &mut self.order {
            Order::None | Order::Soonest => {}
            Order::Queues(queues) => queues.insert(token, &self.pulse),
            Order::Sized(sized) => sized.insert(token, u64::from(bytes)),
            Order::Any(drawn) | Order::LeastFrequent(drawn) => drawn.insert(token),
        }
    }

    fn remove(&mut self, token: Token) {
        if !self.dead.remove(token) {
            return;
        }
        if let Order::Queues(queues) = &mut self.order
            && self.pulse.is_sampled_token(token)
        {
            queues.removed(token);
        }
        self.removals += 1;
        if self.removals >= REMOVALS_PER_SWEEP && self.dead.len() > DEAD_MIN.max(self.len() / DEAD_SHARE) {
            self.removals = 0;
            self.sweep();
        }
    }

    fn sweep(&mut self) -> u64 {
        let dead = &mut self.dead;
        let looked = match &mut self.order {
            Order::None | Order::Soonest => 0,
            Order::Queues(queues) => queues.sweep(dead),
            Order::Sized(sized) => sized.sweep(dead),
            Order::Any(drawn) | Order::LeastFrequent(drawn) => drawn.sweep(dead),
        };
        looked as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evictors_may_be_shared_among_threads() {
        fn is_send<T: Send>() {}
        fn is_sync<T: Sync>() {}
        is_send::<Evictor>();
        is_sync::<Pulse>();
    }

    #[test]
    fn without_tokens_nothing_is_held() {
        for name in ["noeviction", "allkeys-lfu", "allkeys-random", "volatile-ttl"] {
            let mut evictor = Evictor::new(Policy::parse(name).expect("a policy"), 1);
            evictor.digest();
            assert_eq!((evictor.len(), evictor.is_empty(), evictor.dead_len()), (0, true, 0));
            assert!(evictor.pulse().tracked().is_none() && !evictor.follows_recency());
            assert!(evictor.memory_bytes() < 10_000, "{}", evictor.memory_bytes());
        }
    }
}
