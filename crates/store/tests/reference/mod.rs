//! LRU and S3-FIFO as in the books, by keys alone and without any saving: what the evictor is compared with.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// A cache of keys.
pub(crate) trait Reference {
    /// Asks for a key, which is there afterwards; whether it was before.
    fn request(&mut self, key: u64) -> bool;
}

/// Exact LRU.
pub(crate) struct Lru {
    objects: usize,
    now: u64,
    used_at: HashMap<u64, u64>,
    by_time: BTreeMap<u64, u64>,
}

impl Lru {
    pub(crate) fn new(objects: u64) -> Lru {
        Lru { objects: objects as usize, now: 0, used_at: HashMap::new(), by_time: BTreeMap::new() }
    }
}

impl Reference for Lru {
    fn request(&mut self, key: u64) -> bool {
        self.now += 1;
        let before = self.used_at.insert(key, self.now);
        self.by_time.insert(self.now, key);
        if let Some(before) = before {
            self.by_time.remove(&before);
        } else if self.used_at.len() > self.objects {
            let (_, oldest) = self.by_time.pop_first().expect("there are keys");
            self.used_at.remove(&oldest);
        }
        before.is_some()
    }
}

/// S3-FIFO (Yang et al., SOSP 2023, algorithm 1), with the main queue filled first as in libCacheSim.
pub(crate) struct S3Fifo {
    objects: usize,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    uses: HashMap<u64, u8>,
    ghost: VecDeque<u64>,
    in_ghost: HashSet<u64>,
    has_evicted: bool,
}

impl S3Fifo {
    pub(crate) fn new(objects: u64) -> S3Fifo {
        S3Fifo {
            objects: objects as usize,
            small: VecDeque::new(),
            main: VecDeque::new(),
            uses: HashMap::new(),
            ghost: VecDeque::new(),
            in_ghost: HashSet::new(),
            has_evicted: false,
        }
    }

    fn evict(&mut self) {
        self.has_evicted = true;
        if self.small.len() * 10 > self.objects || self.main.is_empty() {
            let key = self.small.pop_front().expect("one of both has keys");
            if self.uses[&key] > 1 {
                self.uses.insert(key, 0);
                self.main.push_back(key);
                return;
            }
            self.uses.remove(&key);
            self.ghost.push_back(key);
            self.in_ghost.insert(key);
            if self.ghost.len() > self.objects * 9 / 10 {
                let oldest = self.ghost.pop_front().expect("one was pushed");
                self.in_ghost.remove(&oldest);
            }
        } else {
            let key = self.main.pop_front().expect("looked at above");
            match self.uses[&key] {
                0 => drop(self.uses.remove(&key)),
                uses => {
                    self.uses.insert(key, uses - 1);
                    self.main.push_back(key);
                }
            }
        }
    }
}

impl Reference for S3Fifo {
    fn request(&mut self, key: u64) -> bool {
        if let Some(uses) = self.uses.get_mut(&key) {
            *uses = (*uses + 1).min(3);
            return true;
        }
        let was_here = self.in_ghost.remove(&key);
        while self.uses.len() >= self.objects {
            self.evict();
        }
        self.uses.insert(key, 0);
        let first_fill = !self.has_evicted && self.small.len() * 10 >= self.objects;
        let queue = if was_here || first_fill { &mut self.main } else { &mut self.small };
        queue.push_back(key);
        false
    }
}
