//! A cache of real partitions with an evictor, driven by requests: GET, and SET on a miss.
#![allow(dead_code, reason = "tests and benches use different parts")]

use effect::{Cause, Effect};
use std::sync::Arc;
use stdx::hash::mix64;
use stdx::{PartitionId, Wall};
use store::Partition;
use store::eviction::{Evictor, Group, Partitions, Policy, Token};

pub(crate) const START: Wall = Wall(1_700_000_000_000);
/// Seed of the partitions' hashes unless another is asked for.
pub(crate) const HASH_SEED: u64 = 77;

/// One request of a trace.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) time_seconds: u32,
    pub(crate) key: u64,
    pub(crate) bytes: u32,
    pub(crate) ttl_seconds: u32,
}

/// What the limit counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Objects,
    Bytes,
}

pub(crate) struct Cache {
    pub(crate) partitions: Held,
    pub(crate) evictor: Evictor,
    pub(crate) used: u64,
    pub(crate) limit: u64,
    pub(crate) evicted: u64,
    unit: Unit,
    now: Wall,
    value: Vec<u8>,
}

pub(crate) struct Held(pub(crate) Vec<Partition>);

impl Partitions for Held {
    fn len(&self) -> u16 {
        self.0.len() as u16
    }

    fn with<R>(&mut self, id: PartitionId, f: impl FnOnce(&mut Partition) -> R) -> Option<R> {
        self.0.get_mut(usize::from(id.0)).map(f)
    }
}

impl Cache {
    pub(crate) fn new(policy: Policy, partitions: u16, unit: Unit, limit: u64) -> Cache {
        Cache::seeded(policy, partitions, unit, limit, HASH_SEED)
    }

    /// One whose samples are others.
    pub(crate) fn seeded(policy: Policy, partitions: u16, unit: Unit, limit: u64, seed: u64) -> Cache {
        let evictor = Evictor::new(policy, 5);
        let mut partitions: Vec<Partition> = (0..partitions).map(|_| Partition::new(seed)).collect();
        for (id, partition) in partitions.iter_mut().enumerate() {
            partition.watch(Some((Arc::clone(evictor.pulse()), PartitionId(id as u16))));
        }
        let partitions = Held(partitions);
        Cache { partitions, evictor, used: 0, limit, evicted: 0, unit, now: START, value: Vec::new() }
    }

    /// Whether it was a hit.
    pub(crate) fn request(&mut self, request: &Request) -> bool {
        let now = Wall(START.0 + u64::from(request.time_seconds) * 1_000);
        if now > self.now {
            self.now = now;
            self.expire();
        }
        let is_hit = self.get(request.key);
        if !is_hit {
            let expires = u64::from(request.ttl_seconds) * 1_000;
            let expire_at = (expires > 0).then_some(Wall(now.0 + expires));
            self.set(request.key, request.bytes, expire_at);
        }
        is_hit
    }

    pub(crate) fn get(&mut self, id: u64) -> bool {
        let (key, hash, at) = self.place(id);
        self.partitions.0[at].get(0, &key, hash, self.now).is_some()
    }

    pub(crate) fn set(&mut self, id: u64, bytes: u32, expire_at: Option<Wall>) {
        if u64::from(bytes) > self.limit && self.unit == Unit::Bytes {
            return;
        }
        let (key, hash, at) = self.place(id);
        self.used -= self.weight(at, &key, hash);
        let len = if self.unit == Unit::Bytes { bytes as usize } else { 1 };
        self.value.resize(self.value.len().max(len), b'v');
        let effect = Effect::SetString { db: 0, key: &key, value: &self.value[..len], expire_at };
        self.partitions.0[at].apply(&effect, hash, self.now);
        self.used += self.weight(at, &key, hash);
        drop(self.partitions.0[at].take_garbage());
        self.shrink();
    }

    pub(crate) fn remove(&mut self, id: u64) {
        let (key, hash, at) = self.place(id);
        self.remove_key(at, &key, hash, Cause::Deleted);
    }

    /// Evicts until the limit is kept.
    pub(crate) fn shrink(&mut self) {
        while self.used > self.limit {
            let Some(token) = self.evictor.victim(&mut Group::new(&mut self.partitions, self.now)) else {
                break;
            };
            self.evict(token);
        }
    }

    pub(crate) fn evict(&mut self, token: Token) {
        let at = usize::from(token.partition().0);
        let (key, hash) = self.partitions.0[at].key_of(token).expect("a victim is there");
        let key = key.to_vec();
        self.remove_key(at, &key, hash, Cause::Evicted);
        self.evicted += 1;
    }

    pub(crate) fn keys(&self) -> u64 {
        self.partitions.0.iter().map(Partition::len_all).sum()
    }

    fn expire(&mut self) {
        for at in 0..self.partitions.0.len() {
            if self.partitions.0[at].next_deadline().is_none_or(|deadline| deadline > self.now) {
                continue;
            }
            let mut due = Vec::new();
            self.partitions.0[at]
                .expired(self.now, usize::MAX, &mut |_, key, hash| due.push((key.to_vec(), hash)));
            due.iter().for_each(|(key, hash)| self.remove_key(at, key, *hash, Cause::Expired));
        }
    }

    fn remove_key(&mut self, at: usize, key: &[u8], hash: u64, cause: Cause) {
        self.used -= self.weight(at, key, hash);
        self.partitions.0[at].apply(&Effect::Remove { db: 0, key, cause }, hash, self.now);
        drop(self.partitions.0[at].take_garbage());
    }

    /// What a key counts for; 0 if it is not there.
    fn weight(&self, at: usize, key: &[u8], hash: u64) -> u64 {
        let entry = self.partitions.0[at].peek(0, key, hash, Wall(0));
        entry.map_or(0, |entry| match (self.unit, entry.value()) {
            (Unit::Bytes, store::ValueRef::String(value)) => value.len() as u64,
            _ => 1,
        })
    }

    fn place(&self, id: u64) -> ([u8; 8], u64, usize) {
        let key = mix64(id).to_le_bytes();
        let hash = self.partitions.0[0].hash(&key);
        // As by slots: another hash than that of the table.
        (key, hash, (mix64(!id) % self.partitions.0.len() as u64) as usize)
    }
}
