//! Stretches of a partition: comparing two copies of it piece by piece, and replacing the pieces that differ.
//!
//! A *place* is a point in the order in which snapshots walk: the database above, the position (the mark of a key's hash)
//! in the lower 32 bits; 0 is the start. Copies that hash keys under one seed have every key at the same place, whatever
//! their tables look like, so a stretch between two places holds the same keys in all of them. Its digest says so, without
//! any of them being sent.
//!
//! Nothing is kept for this: a digest is made by walking, and writes know nothing of it.

use crate::Partition;
use crate::node::Node;
use crate::segment::{MARK_BITS, mark_of};
use crate::snapshot::{entry_digest, with_effect};
use crate::table::POSITIONS;
use effect::{Cause, Effect, RecordBuilder};
use stdx::Wall;
use stdx::hash::mix64;
use stdx::limits::DATABASES;

/// The place behind everything.
pub const PLACE_END: u64 = u64::MAX;

/// What is between two places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Where it ends: the first place that is not in it.
    pub to: u64,
    /// The sums of two digests of each key with its value, its kind and its deadline.
    pub digest: [u64; 2],
    /// Keys.
    pub keys: usize,
    /// Bytes of these keys and their values.
    pub bytes: usize,
}

impl Partition {
    /// A number that two partitions share only if keys have the same places in both. Never 0.
    pub fn order(&self) -> u64 {
        mix64(self.hash_seed() ^ POSITIONS) | 1
    }

    /// What is from place `from` on, expired keys included: as far as `to`, or less far if there are `keys_max` keys or
    /// `bytes_max` bytes before; but at least one home slot, which usually has one key.
    ///
    /// Digests of two partitions may be compared if they have one [`Partition::order`] and were asked for with one `salt`.
    /// Since the order is secret, nobody can choose keys or values whose digests collide.
    pub fn stretch(&self, from: u64, to: u64, (keys_max, bytes_max): (usize, usize), salt: u64) -> Stretch {
        let first = mix64(self.hash_seed() ^ mix64(salt));
        let seeds = [first, mix64(first)];
        let mut stretch = Stretch { to: from, digest: [0; 2], keys: 0, bytes: 0 };
        while let Some((db, nodes, next)) = self.home_between(stretch.to, to) {
            for node in nodes {
                with_effect(db, node, &mut |effect| {
                    for (sum, seed) in stretch.digest.iter_mut().zip(seeds) {
                        *sum = sum.wrapping_add(entry_digest(seed, &effect));
                    }
                    stretch.bytes += content_bytes(&effect);
                });
                stretch.keys += 1;
            }
            stretch.to = next;
            if stretch.keys >= keys_max || stretch.bytes >= bytes_max {
                return stretch;
            }
        }
        Stretch { to, ..stretch }
    }

    /// Pushes what is from place `from` on, expired keys included, as effects: as far as `to`, or less far if they take
    /// `bytes_max` or more before; where it ended.
    pub fn snapshot_stretch(&self, from: u64, to: u64, bytes_max: usize, out: &mut RecordBuilder) -> u64 {
        let bytes_before = out.bytes().len();
        let mut at = from;
        while let Some((db, nodes, next)) = self.home_between(at, to) {
            nodes.for_each(|node| with_effect(db, node, &mut |effect| out.push(&effect)));
            at = next;
            if out.bytes().len() - bytes_before >= bytes_max.max(1) {
                return at;
            }
        }
        to
    }

    /// Removes every key from place `from` up to `to`. Takes time in proportion to their number.
    pub fn clear_stretch(&mut self, from: u64, to: u64, now: Wall) {
        let mut keys: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut at = from;
        while let Some((db, nodes, next)) = self.home_between(at, to) {
            keys.extend(nodes.map(|node| (db, node.key().to_vec())));
            at = next;
        }
        for (db, key) in &keys {
            let hash = self.hash(key);
            self.apply(&Effect::Remove { db: *db, key, cause: Cause::Deleted }, hash, now);
        }
    }

    /// The keys of the first home that is not before place `at`, as far as they are between `at` and `to`, with their
    /// database and the place behind them; `None` if there is no home before `to`.
    fn home_between(&self, at: u64, to: u64) -> Option<(u8, impl Iterator<Item = &Node>, u64)> {
        let mut at = at;
        let (db, database) = loop {
            let db = u8::try_from(at >> MARK_BITS).ok().filter(|db| *db < DATABASES && at < to)?;
            match self.database(db) {
                Some(database) => break (db, database),
                None => at = place(db + 1, 0),
            }
        };
        let (nodes, next) = database.table().home_at(at % POSITIONS);
        let next = place(db, next).min(to);
        // A home may begin before `at`, and end behind `to`: tables of other sizes have other homes.
        let within =
            move |node: &&Node| (at..to).contains(&place(db, u64::from(mark_of(self.hash(node.key())))));
        Some((db, nodes.filter(within), next))
    }
}

fn place(db: u8, position: u64) -> u64 {
    (u64::from(db) << MARK_BITS) + position
}

fn content_bytes(effect: &Effect<'_>) -> usize {
    match *effect {
        Effect::SetString { key, value, .. } => key.len() + value.len(),
        Effect::SetFilter { key, filter, .. } => key.len() + filter.len(),
        Effect::SetCollection { key, elements, .. } => key.len() + elements.content_bytes(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bloom::BloomConfig;
    use std::collections::BTreeMap;
    use stdx::Random;

    const NOW: Wall = Wall(1_000);
    const UNLIMITED: (usize, usize) = (usize::MAX, usize::MAX);

    fn apply(partition: &mut Partition, effect: &Effect<'_>) {
        let hash = effect.key().map_or(0, |key| partition.hash(key));
        assert!(partition.apply(effect, hash, NOW));
    }

    fn set(partition: &mut Partition, db: u8, key: &str, value: &str, expire_at: Option<Wall>) {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        apply(partition, &Effect::SetString { db, key, value, expire_at });
    }

    fn filled(keys: u32) -> Partition {
        let mut partition = Partition::new(5);
        for number in 0..keys {
            set(&mut partition, (number % 3) as u8 * 7, &format!("key:{number}"), "value", None);
        }
        partition
    }

    fn whole(partition: &Partition) -> Stretch {
        partition.stretch(0, PLACE_END, UNLIMITED, 1)
    }

    #[test]
    fn stretches_cut_anywhere_add_up_to_the_whole() {
        let mut random = Random::seeded(3);
        let partition = filled(if cfg!(miri) { 60 } else { 3_000 });
        let all = whole(&partition);
        for _ in 0..20 {
            // Ends that have nothing to do with homes, as those of another table.
            let mut at = 0;
            let (mut digest, mut keys, mut bytes) = ([0u64; 2], 0, 0);
            while at < PLACE_END {
                let to = if random.chance(0.01) { PLACE_END } else { at + 1 + random.below(POSITIONS / 8) };
                let limits = (1 + random.below(40) as usize, 1 + random.below(2_000) as usize);
                let stretch = partition.stretch(at, to, limits, 1);
                assert!(stretch.to > at && stretch.to <= to);
                digest = [0, 1].map(|sum: usize| digest[sum].wrapping_add(stretch.digest[sum]));
                (keys, bytes) = (keys + stretch.keys, bytes + stretch.bytes);
                at = stretch.to;
            }
            assert_eq!((digest, keys, bytes), (all.digest, all.keys, all.bytes));
        }
    }

    #[test]
    fn everything_an_effect_says_is_in_the_digest() {
        let base = filled(10);
        let filter = |capacity| BloomConfig::new(capacity, 0.1, 2).expect("in range").header();
        let mut seen = vec![whole(&base).digest, base.stretch(0, PLACE_END, UNLIMITED, 2).digest];
        let mut check = |change: &dyn Fn(&mut Partition)| {
            let mut partition = filled(10);
            change(&mut partition);
            let digest = whole(&partition).digest;
            assert!(!seen.contains(&digest));
            seen.push(digest);
        };
        check(&|partition| set(partition, 0, "key:0", "other", None));
        check(&|partition| set(partition, 0, "key:0", "value", Some(Wall(9))));
        check(&|partition| set(partition, 0, "key:0", "value", Some(Wall(10))));
        check(&|partition| set(partition, 0, "new", "value", None));
        check(&|partition| set(partition, 1, "new", "value", None));
        check(&|partition| {
            apply(partition, &Effect::Remove { db: 0, key: b"key:0", cause: Cause::Deleted });
        });
        for capacity in [100, 200] {
            check(&|partition| {
                let header = filter(capacity);
                apply(partition, &Effect::CreateFilter { db: 0, key: b"f", header: &header });
            });
        }
        check(&|partition| {
            apply(partition, &Effect::CreateFilter { db: 0, key: b"f", header: &filter(100) });
            let hashes = [7u64.to_le_bytes()];
            let hashes = effect::Hashes::new(&hashes);
            apply(partition, &Effect::AddToFilter { db: 0, key: b"f", revision: 0, hashes });
        });
        check(&|partition| {
            // The bytes of the filter, as a string.
            let mut other = Partition::new(5);
            apply(&mut other, &Effect::CreateFilter { db: 0, key: b"f", header: &filter(100) });
            other.for_each(&mut |effect| {
                if let Effect::SetFilter { filter, .. } = effect {
                    let value = filter;
                    apply(partition, &Effect::SetString { db: 0, key: b"f", value, expire_at: None });
                }
            });
        });
    }

    /// Two random partitions: whatever differs is found by stretches of the one, and replacing it makes the other equal.
    #[test]
    fn replacing_the_stretches_that_differ_makes_partitions_equal() {
        let (rounds, keys): (u64, u64) = if cfg!(miri) { (1, 40) } else { (60, 800) };
        for seed in 0..rounds {
            let mut random = Random::seeded(seed);
            let (mut one, mut other) = (Partition::new(5), Partition::new(5));
            let mut model: BTreeMap<(u8, String), String> = BTreeMap::new();
            let share = [0.0, 0.02, 0.5, 1.0][random.below(4) as usize];
            // Tables of very different sizes, and now and then an empty one.
            let count = [0, keys / 20, keys][random.below(3) as usize];
            for number in 0..count {
                let (db, key) = (random.below(16) as u8, format!("key:{number}"));
                set(&mut one, db, &key, "value", None);
                model.insert((db, key.clone()), "value".to_owned());
                match random.below(3) {
                    _ if !random.chance(share) => set(&mut other, db, &key, "value", None),
                    0 => set(&mut other, db, &key, "value", Some(Wall(random.below(9)))),
                    1 => set(&mut other, db, &key, "stale", None),
                    _ => {}
                }
            }
            for number in 0..(keys as f64 * share) as u64 {
                set(&mut other, random.below(16) as u8, &format!("gone:{number}"), "value", None);
            }
            let mut at = 0;
            let mut replaced = 0;
            while at < PLACE_END {
                let stretch = one.stretch(at, PLACE_END, (5, usize::MAX), seed);
                let here = other.stretch(at, stretch.to, UNLIMITED, seed);
                assert_eq!(here.to, stretch.to);
                if here.digest != stretch.digest {
                    other.clear_stretch(at, stretch.to, NOW);
                    let mut record = RecordBuilder::new();
                    assert_eq!(one.snapshot_stretch(at, stretch.to, usize::MAX, &mut record), stretch.to);
                    for effect in effect::decode(record.bytes()) {
                        apply(&mut other, &effect.expect("it was just encoded"));
                    }
                    replaced += 1;
                }
                at = stretch.to;
            }
            assert_eq!(one.digest(), other.digest(), "seed {seed}");
            assert_eq!(model.len() as u64, (0..DATABASES).map(|db| other.len(db)).sum::<u64>());
            assert!(share > 0.0 || replaced == 0);
        }
    }

    #[test]
    fn the_order_is_that_of_the_seed() {
        assert_eq!(Partition::new(5).order(), filled(10).order());
        assert_ne!(Partition::new(5).order(), Partition::new(6).order());
    }
}
