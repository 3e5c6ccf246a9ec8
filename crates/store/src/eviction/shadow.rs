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
/// Reads that the verdict is about, in sizes of the shadow.
const MEMORY_SIZES: f64 = 4.0;
/// Hits per read by which the other must have been better lately to be chosen.
const MARGIN: f64 = 0.004;

/// Both simulations, and what they say.
#[derive(Debug, Default)]
pub(crate) struct Shadows {
    keys_max: usize,
    recency: Recency,
    fifo: Fifo,
    /// Hits of S3-FIFO less those of LRU, those of long ago counted less.
    advantage: f64,
    /// The reads that is about, weighted alike.
    reads: f64,
}

/// How many keys of how many to sample, as a power of two, for a cache of so many keys.
pub(crate) fn shift_for(keys: u64) -> u32 {
    (keys / KEYS_MAX + 1).next_power_of_two().trailing_zeros()
}

impl Shadows {
    pub(crate) fn set_keys_max(&mut self, keys_max: u64) {
        self.keys_max = keys_max as usize;
    }

    /// A read; `exists` if the cache has the key.
    pub(crate) fn read(&mut self, key: u64, exists: bool) {
        let (recency, fifo) = (self.recency.read(key), self.fifo.read(key));
        let kept = 1.0 - 1.0 / (MEMORY_SIZES * self.keys_max.max(16) as f64);
        self.advantage = self.advantage * kept + f64::from(fifo) - f64::from(recency);
        self.reads = self.reads * kept + 1.0;
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

    /// Whether LRU is to be followed, if it `is` now.
    pub(crate) fn prefer_recency(&self, is: bool) -> bool {
        let advantage = self.advantage / (MEMORY_SIZES * self.keys_max.max(16) as f64);
        if is { advantage < MARGIN } else { advantage < -MARGIN }
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
        while self.ghost_queue.len() * 10 > keys_max * GHOST_TENTHS {
            let Some((key, at)) = self.ghost_queue.pop_front() else { break };
            if self.ghost.get(&key) == Some(&at) {
                self.ghost.remove(&key);
            }
        }
    }
}
