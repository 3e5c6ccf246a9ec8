//! Fingerprints of keys that were evicted not long ago.
//!
//! Two bytes a key: twelve bits of a hash and four of age, in buckets of eight. Age counts in *epochs* of a twelfth of
//! the capacity, so that a key is remembered for between eleven and twelve twelfths of it. A fingerprint may be another
//! key's once in five hundred times, which only lets that key pass for one that was here before.

use crate::memory::slice_bytes;
use stdx::hash::mix64;

const BUCKET_SLOTS: usize = 8;
const AGE_BITS: u32 = 4;
const AGES: u64 = 1 << AGE_BITS;
/// Epochs for which a key is remembered; what is older is cleared before its age comes round again.
const EPOCHS: u64 = 12;
/// Slots for each key to be remembered, in quarters: with fewer, buckets overflow.
const SLOTS_PER_KEY_QUARTERS: usize = 5;
const KEYS_MIN: u64 = 16;

/// Which keys were evicted lately, by hashes.
#[derive(Debug, Default)]
pub(crate) struct Ghost {
    buckets: Vec<[u16; BUCKET_SLOTS]>,
    keys_max: u64,
    epoch: u64,
    in_epoch: u64,
    clear_at: usize,
}

impl Ghost {
    pub(crate) fn bytes(&self) -> usize {
        slice_bytes::<[u16; BUCKET_SLOTS]>(self.buckets.capacity())
    }

    /// Remembers about so many keys from now on. A change of size by much forgets all.
    pub(crate) fn set_keys_max(&mut self, keys_max: u64) {
        self.keys_max = keys_max.max(KEYS_MIN);
        let slots = self.keys_max as usize * SLOTS_PER_KEY_QUARTERS / 4;
        let buckets = slots.div_ceil(BUCKET_SLOTS);
        if buckets > self.buckets.len() || buckets * 3 < self.buckets.len() {
            // A quarter more than needed, lest every small change asks for another table.
            self.buckets = vec![[0; BUCKET_SLOTS]; buckets + buckets / 4];
            self.clear_at = 0;
        }
    }

    /// Remembers a key.
    pub(crate) fn insert(&mut self, key: u64) {
        if self.buckets.is_empty() {
            return;
        }
        self.in_epoch += 1;
        if self.in_epoch * EPOCHS >= self.keys_max {
            self.in_epoch = 0;
            self.epoch += 1;
        }
        self.clear_next();
        let epoch = self.epoch;
        let (bucket, fingerprint) = self.place(key);
        let bucket = &mut self.buckets[bucket];
        let age_or_unused = |slot: u16| if slot == 0 { AGES } else { age(slot, epoch) };
        let oldest = (0..BUCKET_SLOTS).max_by_key(|&slot| age_or_unused(bucket[slot]));
        bucket[oldest.expect("a bucket has slots")] = fingerprint << AGE_BITS | (epoch % AGES) as u16;
    }

    /// Whether a key is remembered; it is not any more afterwards.
    pub(crate) fn take(&mut self, key: u64) -> bool {
        if self.buckets.is_empty() {
            return false;
        }
        let epoch = self.epoch;
        let (bucket, fingerprint) = self.place(key);
        let is_it = |slot: &&mut u16| **slot >> AGE_BITS == fingerprint && age(**slot, epoch) < EPOCHS;
        self.buckets[bucket].iter_mut().find(is_it).is_some_and(|slot| std::mem::take(slot) != 0)
    }

    /// Clears what is too old in the next bucket. All of them have their turn within the epochs that are left before an
    /// age comes round, since there are no more buckets than a third of the keys.
    fn clear_next(&mut self) {
        let epoch = self.epoch;
        self.clear_at = (self.clear_at + 1) % self.buckets.len();
        for slot in &mut self.buckets[self.clear_at] {
            if *slot != 0 && age(*slot, epoch) >= EPOCHS {
                *slot = 0;
            }
        }
    }

    fn place(&self, key: u64) -> (usize, u16) {
        let hash = mix64(key);
        let bucket = ((hash >> 32) * self.buckets.len() as u64) >> 32;
        // No fingerprint is zero: that is an unused slot.
        (bucket as usize, (hash as u16 >> AGE_BITS).max(1))
    }
}

fn age(slot: u16, epoch: u64) -> u64 {
    epoch.wrapping_sub(u64::from(slot)) % AGES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore)]
    fn remembers_as_many_as_it_should() {
        let mut ghost = Ghost::default();
        ghost.insert(1);
        assert!(!ghost.take(1));
        for keys_max in [100u64, 1_000, 30_000] {
            ghost.set_keys_max(keys_max);
            (0..10 * keys_max).for_each(|key| ghost.insert(key));
            let young = 10 * keys_max - keys_max * 9 / 10..10 * keys_max;
            let old = 7 * keys_max..8 * keys_max;
            let never = 20 * keys_max..30 * keys_max;
            let found = |keys: std::ops::Range<u64>, ghost: &mut Ghost| {
                let len = keys.end - keys.start;
                keys.filter(|&key| ghost.take(key)).count() as f64 / len as f64
            };
            let shares = [never, old, young.clone()].map(|keys| found(keys, &mut ghost));
            assert!(shares[0] < 0.01 && shares[1] < 0.02 && shares[2] > 0.95, "{keys_max}: {shares:?}");
            assert!(found(young, &mut ghost) < 0.02, "taken");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn two_to_four_bytes_a_key() {
        let mut ghost = Ghost::default();
        ghost.set_keys_max(100_000);
        assert!(ghost.bytes() < 400_000, "{}", ghost.bytes());
        ghost.set_keys_max(100);
        assert!(ghost.bytes() < 1_000, "{}", ghost.bytes());
    }
}
