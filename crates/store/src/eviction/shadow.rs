//! Small simulations of LRU and S3-FIFO on a sample of the keys, to know which of them would serve better.
//!
//! A cache of n keys sees of one in r keys what a cache of n / r keys would (Waldspurger et al., SHARDS, FAST 2015). Both
//! simulations are told the same: reads, and what was set. They hold keys alone, a thousand at most.

use crate::eviction::removed::ByHash;
use std::collections::VecDeque;

/// Keys of a shadow, at least half of it, unless the cache has fewer.
const KEYS_MAX: u64 = 2_048;
/// A queue is cleaned when it is so many times as long as it should be.
const STALE_TIMES: usize = 2;
/// Share of the small queue, and of the keys remembered, in tenths.
const SMALL_TENTHS: usize = 1;
const GHOST_TENTHS: usize = 9;
/// Hits that the other rule must have had more to be followed: about what a change costs, because keys that were kept by
/// one rule are not those that the other would have kept. A share of the keys of the cache, and so many besides, lest
/// chance rules a small one.
const CHANGE_SHARE: f64 = 0.35;
const CHANGE_HITS: f64 = 120.0;
/// Advantage per read that does not count: less is noise.
const NOISE: f64 = 0.001;
/// Every change makes the next one cost twice as much, up to so many times; every so many reads per key without one, half
/// as much.
const RELUCTANCE_MAX: f64 = 16.0;
const CALM_READS: f64 = 64.0;
/// A change costs so much of that for the first reads per key after the first eviction: nothing speaks for the rule that is
/// followed at first, while one that has been followed for long was not worse so far.
const RELUCTANCE_FIRST: f64 = 0.4;
const FIRST_READS: f64 = 16.0;

/// Both simulations, and what they say.
#[derive(Debug)]
pub(crate) struct Shadows {
    keys_max: usize,
    /// No bit of this is set in the hash of a key that is followed.
    mask: u64,
    recency: Recency,
    fifo: Fifo,
    /// Whether LRU is the rule to be followed.
    by_recency: bool,
    /// Hits that the other rule has had more of, since it was last no better (a CUSUM test).
    evidence: f64,
    reluctance: f64,
    /// Reads since the last change, of the rule or of the reluctance.
    calm_reads: f64,
}

impl Default for Shadows {
    fn default() -> Shadows {
        Shadows {
            keys_max: 0,
            mask: 0,
            recency: Recency::default(),
            fifo: Fifo::default(),
            by_recency: false,
            evidence: 0.0,
            reluctance: RELUCTANCE_FIRST,
            calm_reads: 0.0,
        }
    }
}

/// How many keys of how many to sample, as a power of two, for a cache of so many keys.
pub(crate) fn shift_for(keys: u64) -> u32 {
    (keys / KEYS_MAX + 1).next_power_of_two().trailing_zeros()
}

impl Shadows {
    /// Holds so many keys from now on, those of whose bits none is in `mask`.
    pub(crate) fn set_keys_max(&mut self, keys_max: u64, mask: u64) {
        self.keys_max = usize::try_from(keys_max).unwrap_or(usize::MAX);
        if self.mask != mask {
            self.mask = mask;
            self.recency.at.retain(|key, _| key & mask == 0);
            self.fifo.keys.retain(|key, _| key & mask == 0);
        }
    }

    /// A read; `exists` if the cache has the key.
    pub(crate) fn read(&mut self, key: u64, exists: bool) {
        let (recency, fifo) = (self.recency.read(key), self.fifo.read(key));
        self.weigh(f64::from(fifo) - f64::from(recency));
        // What the cache has nobody will set: the shadow that missed it would never get it.
        if exists {
            self.write(key);
        }
    }

    pub(crate) fn write(&mut self, key: u64) {
        self.recency.write(key, self.keys_max);
        self.fifo.write(key, self.keys_max);
    }

    pub(crate) fn remove(&mut self, key: u64) {
        self.recency.at.remove(&key);
        self.fifo.keys.remove(&key);
    }

    /// Whether LRU is to be followed.
    pub(crate) fn prefer_recency(&self) -> bool {
        self.by_recency
    }

    /// Counts a read for the choice: 1 if S3-FIFO alone had the key, -1 if LRU alone did.
    fn weigh(&mut self, gain: f64) {
        // Until something is evicted both hold the same.
        if !self.fifo.has_evicted {
            return;
        }
        let gain_of_other = if self.by_recency { gain } else { -gain };
        self.evidence = (self.evidence + gain_of_other - NOISE).max(0.0);
        self.calm_reads += 1.0;
        let calm = if self.reluctance < 1.0 { FIRST_READS } else { CALM_READS };
        let keys = self.recency.at.len() as f64;
        if self.evidence > self.reluctance * (CHANGE_SHARE * keys + CHANGE_HITS) {
            self.by_recency = !self.by_recency;
            self.reluctance = (self.reluctance * 2.0).min(RELUCTANCE_MAX);
            (self.evidence, self.calm_reads) = (0.0, 0.0);
        } else if self.calm_reads > calm * keys {
            self.reluctance = (self.reluctance / 2.0).max(1.0);
            self.calm_reads = 0.0;
        }
    }

    /// Keys of both simulations.
    #[cfg(test)]
    pub(crate) fn lens(&self) -> (usize, usize) {
        (self.recency.at.len(), self.fifo.keys.len())
    }

    pub(crate) fn bytes(&self) -> usize {
        let queues = self.recency.queue.capacity()
            + self.fifo.small.capacity()
            + self.fifo.main.capacity()
            + self.fifo.ghost_queue.capacity();
        let maps = self.recency.at.capacity() + self.fifo.keys.capacity() + self.fifo.ghost.capacity();
        queues * size_of::<(u64, u64)>() + maps * 32
    }
}

/// LRU: a queue of all uses, of which the last of a key counts.
#[derive(Debug, Default)]
struct Recency {
    at: ByHash<u64>,
    queue: VecDeque<(u64, u64)>,
    now: u64,
}

impl Recency {
    fn read(&mut self, key: u64) -> bool {
        let is_hit = self.at.contains_key(&key);
        if is_hit {
            self.touch(key);
        }
        is_hit
    }

    fn write(&mut self, key: u64, keys_max: usize) {
        self.touch(key);
        while self.at.len() > keys_max {
            let Some((key, at)) = self.queue.pop_front() else { break };
            if self.at.get(&key) == Some(&at) {
                self.at.remove(&key);
            }
        }
        if self.queue.len() > STALE_TIMES * self.at.len() + 64 {
            let at = &self.at;
            self.queue.retain(|(key, time)| at.get(key) == Some(time));
        }
    }

    fn touch(&mut self, key: u64) {
        self.now += 1;
        self.at.insert(key, self.now);
        self.queue.push_back((key, self.now));
    }
}

/// S3-FIFO.
#[derive(Debug, Default)]
struct Fifo {
    keys: ByHash<Held>,
    small: VecDeque<(u64, u64)>,
    main: VecDeque<(u64, u64)>,
    ghost: ByHash<u64>,
    ghost_queue: VecDeque<(u64, u64)>,
    now: u64,
    has_evicted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    at: u64,
    uses: u8,
}

impl Fifo {
    fn read(&mut self, key: u64) -> bool {
        let held = self.keys.get_mut(&key);
        held.map(|held| held.uses = (held.uses + 1).min(3)).is_some()
    }

    fn write(&mut self, key: u64, keys_max: usize) {
        if self.keys.contains_key(&key) {
            return;
        }
        while self.keys.len() >= keys_max.max(1) && self.evict(keys_max) {}
        self.now += 1;
        self.keys.insert(key, Held { at: self.now, uses: 0 });
        let queue = if self.ghost.remove(&key).is_some() { &mut self.main } else { &mut self.small };
        queue.push_back((key, self.now));
        // As the cache itself does: until something is evicted, all but the newest are in the main queue.
        if !self.has_evicted && self.small.len() * 10 > self.keys.len() * SMALL_TENTHS {
            self.main.extend(self.small.pop_front());
        }
    }

    fn evict(&mut self, keys_max: usize) -> bool {
        self.has_evicted = true;
        if self.main.is_empty() || self.small.len() * 10 > keys_max * SMALL_TENTHS {
            let Some((key, at)) = self.small.pop_front() else { return false };
            let Some(held) = self.keys.get_mut(&key).filter(|held| held.at == at) else { return true };
            if held.uses > 1 {
                held.uses = 0;
                self.main.push_back((key, at));
            } else {
                self.keys.remove(&key);
                self.remember(key, keys_max);
            }
        } else {
            let Some((key, at)) = self.main.pop_front() else { return false };
            let Some(held) = self.keys.get_mut(&key).filter(|held| held.at == at) else { return true };
            if held.uses > 0 {
                held.uses -= 1;
                self.main.push_back((key, at));
            } else {
                self.keys.remove(&key);
            }
        }
        true
    }

    fn remember(&mut self, key: u64, keys_max: usize) {
        self.ghost.insert(key, self.now);
        self.ghost_queue.push_back((key, self.now));
        while self.ghost_queue.len() > keys_max / 10 * GHOST_TENTHS + 8 {
            let Some((key, at)) = self.ghost_queue.pop_front() else { break };
            if self.ghost.get(&key) == Some(&at) {
                self.ghost.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::hash::mix64;

    /// Asks for a key as from a cache that never has it.
    fn ask(shadows: &mut Shadows, key: u64) {
        shadows.read(mix64(key), false);
        shadows.write(mix64(key));
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn the_better_rule_is_followed_and_followed_again() {
        let mut shadows = Shadows::default();
        shadows.set_keys_max(200, 0);
        assert!(!shadows.prefer_recency());
        // Every key twice, thirty others in between: the small queue is too small for that.
        (0..20_000u64).for_each(|at| [at + 30, at].into_iter().for_each(|key| ask(&mut shadows, key)));
        assert!(shadows.prefer_recency());
        // A hundred keys thrice and again thrice, with two hundred in between that never come back.
        for round in 1_000..1_200u64 {
            (0..300).for_each(|at| ask(&mut shadows, at / 3));
            (0..200).for_each(|at| ask(&mut shadows, round << 20 | at));
        }
        assert!(!shadows.prefer_recency());
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn what_was_only_assumed_is_given_up_sooner() {
        // Every key twice, thirty others in between, until LRU is followed.
        let reads = |shadows: &mut Shadows| {
            let asked = |at: &u64| {
                [at + 30, *at].into_iter().for_each(|key| ask(shadows, key));
                shadows.prefer_recency()
            };
            (1_000..60_000u64).find(asked).expect("LRU is better") - 1_000
        };
        let filled = || {
            let mut shadows = Shadows::default();
            shadows.set_keys_max(200, 0);
            (0..400).for_each(|at| ask(&mut shadows, at << 20));
            shadows
        };
        let at_first = reads(&mut filled());
        let mut settled = filled();
        // Both keep what is asked for all the time.
        (0..=(FIRST_READS as u64 + 1) * 200).for_each(|at| ask(&mut settled, (at % 10) << 20));
        let later = reads(&mut settled);
        assert!(at_first * 2 < later, "{at_first} and {later} pairs");
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn shadows_stay_small() {
        let mut shadows = Shadows::default();
        shadows.set_keys_max(500, 0);
        (0..50_000).for_each(|at| ask(&mut shadows, at * 7 % 3_000));
        assert_eq!(shadows.lens(), (500, 500));
        assert!(shadows.bytes() < 200_000, "{}", shadows.bytes());
        shadows.set_keys_max(250, 1);
        assert!(shadows.recency.at.len() < 300 && shadows.fifo.keys.len() < 300);
        (0..500).for_each(|key| shadows.remove(mix64(key)));
        for keys in [0, 1_000, 10_000, 10_000_000] {
            let sampled = keys >> shift_for(keys);
            assert!(
                sampled <= KEYS_MAX && (keys < KEYS_MAX || sampled >= KEYS_MAX / 2 - 1),
                "{keys}: {sampled}"
            );
        }
    }
}
