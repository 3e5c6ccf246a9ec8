//! What an evictor and the partitions it evicts from share: the clock of recency, and an inbox.
//!
//! Redis's clock of recency ticks once a second, so that a cache which turns over faster cannot tell what was used from
//! what was not. This one ticks by uses: so and so many of them are a tick, and the evictor chooses how many, so that the
//! whole of the cache spans a few dozen ticks. A read costs a few instructions: it counts itself in its partition and
//! notes the present tick in the entry. Only what is sampled, new or gone is told to the evictor, through the inbox.

use crate::access::{Counting, Moment};
use crate::eviction::policy::{Policy, Rule, Scope};
use crate::eviction::token::{TICKS, Token};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use stdx::PartitionId;

/// Counts are brought together by so many parts of a tick.
const SPILLS_PER_TICK: u32 = 256;
/// No key is sampled.
const SAMPLE_NONE: u64 = u64::MAX;

/// Something that happened to a key which the evictor has to know of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// It is there, and takes so many bytes (0 if nobody asks).
    Inserted(Token, u32),
    /// It is gone, or out of scope.
    Removed(Token),
    /// It was overwritten, and is sampled.
    Written(Token),
    /// It was asked for, and is sampled; whether it was there.
    Read(Token, bool),
    /// All keys of the token's partition and database are gone.
    Flushed(Token),
}

/// Shared by an evictor and its partitions: [`Partition::watch`](crate::Partition::watch) takes it.
#[derive(Debug)]
pub struct Pulse {
    policy: Policy,
    tick: AtomicU32,
    tick_max: AtomicU32,
    uses_per_tick: AtomicU32,
    sample_mask: AtomicU64,
    told: Told,
}

/// What is written often, away from what is read often.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Told {
    uses: AtomicU32,
    inbox: Mutex<Vec<Note>>,
}

impl Pulse {
    pub(crate) fn new(policy: Policy) -> Pulse {
        let samples = matches!(policy, Policy::Evict(_, Rule::Adaptive));
        Pulse {
            policy,
            tick: AtomicU32::new(0),
            tick_max: AtomicU32::new(TICKS - 2),
            uses_per_tick: AtomicU32::new(1),
            sample_mask: AtomicU64::new(if samples { 0 } else { SAMPLE_NONE }),
            told: Told::default(),
        }
    }

    /// Which keys the evictor has tokens of, if any.
    #[inline]
    pub(crate) fn tracked(&self) -> Option<Scope> {
        match self.policy {
            Policy::Evict(scope, Rule::Lru | Rule::S3Fifo | Rule::Gdsf | Rule::Adaptive) => Some(scope),
            Policy::Evict(Scope::Volatile, Rule::Lfu | Rule::Random) => Some(Scope::Volatile),
            Policy::NoEviction | Policy::Evict(..) => None,
        }
    }

    #[inline]
    pub(crate) fn moment(&self, seconds: u32) -> Moment {
        let counting = match self.policy {
            Policy::Evict(_, Rule::Lru | Rule::S3Fifo | Rule::Adaptive) => {
                Counting::Ticks((self.tick.load(Relaxed) % TICKS) as u8)
            }
            Policy::Evict(_, Rule::Gdsf) => Counting::Linear,
            Policy::NoEviction | Policy::Evict(..) => Counting::Logarithmic,
        };
        Moment { seconds, counting }
    }

    /// Whether the shadow caches follow the key of this hash.
    #[inline]
    pub(crate) fn is_sampled(&self, hash: u64) -> bool {
        self.is_sampled_token(Token::new(PartitionId(0), 0, hash))
    }

    /// The same of a key's token.
    #[inline]
    pub(crate) fn is_sampled_token(&self, token: Token) -> bool {
        token.hash_bits() & self.sample_mask.load(Relaxed) == 0
    }

    /// One in 2^`shift` keys is sampled from now on.
    pub(crate) fn sample(&self, shift: u32) {
        self.sample_mask.store((1 << shift) - 1, Relaxed);
    }

    pub(crate) fn tick(&self) -> u32 {
        self.tick.load(Relaxed)
    }

    pub(crate) fn uses_per_tick(&self) -> u32 {
        self.uses_per_tick.load(Relaxed)
    }

    pub(crate) fn set_uses_per_tick(&self, uses: u32) {
        self.uses_per_tick.store(uses.max(1), Relaxed);
    }

    /// The clock stands at this tick until the evictor has caught up.
    pub(crate) fn set_tick_max(&self, tick: u32) {
        self.tick_max.store(tick, Relaxed);
    }

    /// How many uses a partition counts by itself before it tells them.
    #[inline]
    pub(crate) fn spill(&self) -> u32 {
        self.uses_per_tick.load(Relaxed) / SPILLS_PER_TICK + 1
    }

    /// Counts uses. Two threads at once may tick once too often or too seldom, which does no harm.
    pub(crate) fn count(&self, uses: u32) {
        let counted = self.told.uses.fetch_add(uses, Relaxed).wrapping_add(uses);
        let per_tick = self.uses_per_tick.load(Relaxed);
        if counted >= per_tick {
            self.told.uses.store(counted % per_tick, Relaxed);
            let tick = self.tick.load(Relaxed).wrapping_add(counted / per_tick);
            let ahead = self.tick_max.load(Relaxed).wrapping_sub(tick);
            self.tick.store(if ahead < TICKS { tick } else { self.tick_max.load(Relaxed) }, Relaxed);
        }
    }

    pub(crate) fn note(&self, note: Note) {
        self.inbox().push(note);
    }

    /// Exchanges what was noted for an empty list.
    pub(crate) fn take_notes(&self, empty: &mut Vec<Note>) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut *self.inbox(), empty);
    }

    fn inbox(&self) -> MutexGuard<'_, Vec<Note>> {
        // What is pushed is whole, whatever happened to the thread that pushed it.
        self.told.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_by_uses_up_to_the_limit() {
        let pulse = Pulse::new(Policy::Evict(Scope::All, Rule::Lru));
        pulse.set_uses_per_tick(10);
        (0..25).for_each(|_| pulse.count(1));
        assert_eq!(pulse.tick(), 2);
        pulse.count(1_000_000);
        assert_eq!(pulse.tick(), TICKS - 2);
        pulse.count(1_000_000);
        assert_eq!(pulse.tick(), TICKS - 2, "nobody caught up");
        pulse.set_tick_max(TICKS + 30);
        (0..100).for_each(|_| pulse.count(1));
        assert_eq!(pulse.tick(), TICKS + 8);
        assert!(matches!(pulse.moment(0).counting, Counting::Ticks(8)));
    }

    #[test]
    fn samples_by_hash() {
        let pulse = Pulse::new(Policy::default());
        let sampled =
            |pulse: &Pulse| (0..1_000u64).filter(|i| pulse.is_sampled(stdx::hash::mix64(*i))).count();
        assert_eq!(sampled(&pulse), 0);
        pulse.sample(0);
        assert_eq!(sampled(&pulse), 1_000);
        pulse.sample(3);
        assert!((90..160).contains(&sampled(&pulse)));
    }
}
