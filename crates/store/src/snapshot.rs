//! The content of a partition as effects, in order of positions: for learners, and for comparing partitions.
//!
//! A snapshot is taken in chunks, between which the partition goes on changing. The learner gets chunks and records in
//! the order in which they happened here, and applies both alike. A key behind the cursor is kept right by the
//! records; a key ahead of it may be wrong or partial at the learner (a splice of a value not sent yet) until its chunk
//! sets the whole of it, and a key removed before its chunk is in neither. What is left out: the access clock, which
//! is a node's own.

use crate::Partition;
use crate::node::Node;
use crate::table::POSITIONS;
use crate::value::{INTEGER_CHARS_MAX, ValueRef};
use effect::{Effect, Elements, Kind, RecordBuilder};
use stdx::Wall;
use stdx::hash::{hash64, mix64};
use stdx::limits::DATABASES;

/// Seed of content digests: the same everywhere, unlike that of look-ups.
const DIGEST_SEED: u64 = 0x6879_7065_7263_6163;
/// Makes another seed for filters: one whose bytes are those of a string differs from it.
const FILTER: u64 = 0x0e10_1c11_1711_4c52;
/// Makes other seeds for collections.
const COLLECTION: u64 = 0x5e17_0f3a_9c44_d2b6;

impl Partition {
    /// Every key as the effect that sets it, in no particular order.
    pub fn for_each(&self, visit: &mut dyn FnMut(Effect<'_>)) {
        for db in 0..DATABASES {
            let nodes = self.database(db).into_iter().flat_map(|database| database.table().iter());
            nodes.for_each(|node| with_effect(db, node, visit));
        }
    }

    /// Pushes the keys from (`db`, `cursor`) on, expired ones included, until they take `bytes_max` or more; `None` if
    /// these were the last, or where to go on. Begin with (0, 0). A chunk exceeds `bytes_max` by at most the keys of
    /// one home slot, usually one.
    pub fn snapshot_chunk(
        &self,
        db: u8,
        cursor: u64,
        bytes_max: usize,
        out: &mut RecordBuilder,
    ) -> Option<(u8, u64)> {
        let bytes_before = out.bytes().len();
        let mut position = cursor;
        for db in db..DATABASES {
            let Some(database) = self.database(db) else {
                position = 0;
                continue;
            };
            while position < POSITIONS {
                let (nodes, next) = database.table().home_at(position);
                nodes.for_each(|node| with_effect(db, node, &mut |effect| out.push(&effect)));
                position = next;
                if out.bytes().len() - bytes_before >= bytes_max.max(1) {
                    return Some(if position < POSITIONS { (db, position) } else { (db + 1, 0) });
                }
            }
            position = 0;
        }
        None
    }

    /// A digest of the whole content (keys, values, deadlines), independent of order, hash seed and layout: equal
    /// partitions have equal digests. Takes time in proportion to the content.
    pub fn digest(&self) -> u64 {
        let mut sum = 0u64;
        self.for_each(&mut |effect| sum = sum.wrapping_add(entry_digest(DIGEST_SEED, &effect)));
        sum
    }
}

/// Digest of a key with everything that the effect which sets it says: database, kind, value, deadline.
pub(crate) fn entry_digest(seed: u64, effect: &Effect<'_>) -> u64 {
    let (seed, db, key, value, expire_at) = match *effect {
        Effect::SetString { db, key, value, expire_at } => (seed, db, key, value, expire_at),
        Effect::SetFilter { db, key, filter, expire_at } => (seed ^ FILTER, db, key, filter, expire_at),
        Effect::SetCollection { db, key, kind, elements, expire_at } => {
            let digest = elements_digest(mix64(seed ^ COLLECTION ^ kind as u64), kind, elements);
            return keyed_digest(seed, db, key, expire_at, digest);
        }
        _ => return 0,
    };
    let key_digest = hash64(seed ^ u64::from(db), key);
    mix64(hash64(key_digest, value) ^ deadline_digest(expire_at))
}

fn keyed_digest(seed: u64, db: u8, key: &[u8], expire_at: Option<Wall>, content: u64) -> u64 {
    let key_digest = hash64(seed ^ u64::from(db), key);
    mix64(mix64(key_digest ^ content) ^ deadline_digest(expire_at))
}

fn deadline_digest(expire_at: Option<Wall>) -> u64 {
    expire_at.map_or(0, |at| mix64(at.0.wrapping_add(1)))
}

/// Digest of what a collection holds: the order of hashes and sets is their layout's and does not count.
fn elements_digest(seed: u64, kind: Kind, elements: Elements<'_>) -> u64 {
    match kind {
        Kind::Set => elements.iter().fold(0, |sum, member| sum.wrapping_add(mix64(hash64(seed, member)))),
        Kind::Hash | Kind::SortedSet => elements
            .pairs()
            .fold(0, |sum, (first, second)| sum.wrapping_add(mix64(hash64(hash64(seed, first), second)))),
        Kind::List | Kind::Stream => {
            elements.iter().fold(seed, |digest, element| mix64(hash64(digest, element)))
        }
    }
}

/// Visits the effect that sets this key.
pub(crate) fn with_effect(db: u8, node: &Node, visit: &mut dyn FnMut(Effect<'_>)) {
    let (key, expire_at) = (node.key(), node.expire_at());
    match node.value() {
        ValueRef::String(value) => {
            let scratch = &mut [0; INTEGER_CHARS_MAX];
            visit(Effect::SetString { db, key, value: value.as_bytes(scratch), expire_at });
        }
        ValueRef::Filter(filter) => {
            let mut encoded = Vec::new();
            filter.encode(&mut encoded);
            visit(Effect::SetFilter { db, key, filter: &encoded, expire_at });
        }
        collection => {
            if let Some((kind, elements)) = collection.elements() {
                visit(Effect::SetCollection { db, key, kind, elements: elements.elements(), expire_at });
            }
        }
    }
}
