//! One sub-filter: an item's two buckets, and the search for room when both are full.
//!
//! ```text
//! hash (64 bits) --- mod buckets ----------------------------> first bucket
//!   |
//!   +-- upper 32 bits * (2^bits - 1) = 32.32 fixed point ----> fingerprint = 1 + integer part, fraction bits appended
//!                                                                  |            in later, wider sub-filters
//!                                          turn = mix64(integer part) --> second = (turn - first) mod buckets
//! ```
//! `(turn - x) mod buckets` is its own inverse for any number of buckets, so either bucket of a fingerprint gives the
//! other, and nothing asks for a power of two.
//!
//! When both buckets are full, room is searched in breadth: the alternates of all fingerprints in the two buckets, then
//! theirs, until a bucket has a free slot; only then is the chain of fingerprints moved, from its free end. So a search
//! that finds nothing has changed nothing, the chain is the shortest there is, and no random choice is needed: equal
//! operations give equal bytes. A random walk with its state kept in the filter would do the same, but needs undoing and
//! moves more.

use super::buckets::{Buckets, SLOTS};
use stdx::hash::mix64;

/// Buckets whose alternates one search may ask for; with their own alternates it looks into up to four times as many.
///
/// Part of the format: where a fingerprint ends up depends on it.
pub const SEARCH_MAX: usize = 256;

/// What is known of an item before the sub-filter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    hash: u64,
    /// The fingerprint less one, as a fixed-point number with 32 bits of fraction.
    scaled: u64,
    turn: u64,
}

impl Probe {
    /// The probe of a hash in a filter whose first sub-filter has fingerprints of `base_bits` bits.
    #[inline]
    pub(super) fn new(hash: u64, base_bits: u32) -> Probe {
        let scaled = (hash >> 32) * ((1 << base_bits) - 1);
        Probe { hash, scaled, turn: mix64((scaled >> 32) + 1) }
    }
}

/// Where an item may stand in one sub-filter, and what stands for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    buckets: [u32; 2],
    fingerprint: u32,
}

/// One array of buckets, with how to reduce a hash to one of them.
#[derive(Clone, Debug)]
pub(crate) struct SubFilter {
    cells: Buckets,
    buckets: u32,
    /// `floor((2^64 - 1) / buckets)`: a remainder by multiplication (Barrett).
    reciprocal: u64,
    /// How many bits wider a fingerprint is than in the first sub-filter.
    extra_bits: u32,
    items: u64,
}

/// A bucket in the search for room: reached by moving the fingerprint in `slot` of the bucket of step `from`.
#[derive(Clone, Copy)]
struct Step {
    bucket: u32,
    from: u16,
    slot: u8,
}

/// `from` of the item's own two buckets.
const ROOT: u16 = u16::MAX;
const _: () = assert!(SEARCH_MAX < ROOT as usize);

impl SubFilter {
    /// An empty sub-filter; fingerprints have `base_bits + extra_bits` bits.
    pub(super) fn new(buckets: u32, base_bits: u32, extra_bits: u32) -> SubFilter {
        SubFilter::over(Buckets::new(buckets, base_bits + extra_bits), buckets, extra_bits, 0)
    }

    fn over(cells: Buckets, buckets: u32, extra_bits: u32, items: u64) -> SubFilter {
        SubFilter { cells, buckets, reciprocal: u64::MAX / u64::from(buckets), extra_bits, items }
    }

    /// A sub-filter with the content that [`SubFilter::data`] gave; `data` has as many bytes as that would have. `None`
    /// if it holds what no insert can have written.
    pub(super) fn from_data(data: &[u8], buckets: u32, base_bits: u32, extra_bits: u32) -> Option<SubFilter> {
        let cells = Buckets::from_data(data, base_bits + extra_bits);
        let mut items = 0;
        for bucket in 0..buckets {
            for fingerprint in cells.lanes(bucket).into_iter().filter(|&fingerprint| fingerprint != 0) {
                if fingerprint >> extra_bits == 0 {
                    return None;
                }
                items += 1;
            }
        }
        // An odd number of half bytes leaves one at the end.
        let odd = !(u64::from(buckets) * u64::from(cells.bits())).is_multiple_of(2);
        if odd && data.last().is_some_and(|last| last >> 4 != 0) {
            return None;
        }
        Some(SubFilter::over(cells, buckets, extra_bits, items))
    }

    /// The packed buckets.
    pub(super) fn data(&self) -> &[u8] {
        self.cells.data()
    }

    pub(super) fn buckets(&self) -> u32 {
        self.buckets
    }

    pub(super) fn items(&self) -> u64 {
        self.items
    }

    pub(super) fn extra_bits(&self) -> u32 {
        self.extra_bits
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.cells.memory_bytes()
    }

    /// The share of slots in use.
    pub(super) fn load(&self) -> f64 {
        self.items as f64 / (u64::from(self.buckets) * SLOTS as u64) as f64
    }

    /// Where an item may stand here.
    #[inline]
    pub(super) fn place(&self, probe: Probe) -> Place {
        let first = self.reduce(probe.hash);
        let fraction = 32 - self.extra_bits;
        let fingerprint = ((probe.scaled >> fraction) as u32).wrapping_add(1 << self.extra_bits);
        Place { buckets: [first, self.reflect(probe.turn, first)], fingerprint }
    }

    #[inline]
    pub(super) fn prefetch(&self, place: Place) {
        self.cells.prefetch(place.buckets[0]);
        self.cells.prefetch(place.buckets[1]);
    }

    #[inline]
    pub(super) fn contains(&self, place: Place) -> bool {
        self.cells.either_has(place.buckets, place.fingerprint)
    }

    /// How many copies of the fingerprint stand in its two buckets.
    pub(super) fn count(&self, place: Place) -> u64 {
        let [first, second] = place.buckets;
        let copies = |bucket| {
            self.cells.lanes(bucket).iter().filter(|&&lane| lane == place.fingerprint).count() as u64
        };
        if first == second { copies(first) } else { copies(first) + copies(second) }
    }

    /// Removes one copy; false if there is none.
    pub(super) fn remove(&mut self, place: Place) -> bool {
        for bucket in place.buckets {
            if let Some(slot) = self.cells.find(bucket, place.fingerprint) {
                self.cells.set(bucket, slot, 0);
                self.items -= 1;
                return true;
            }
        }
        false
    }

    /// Adds a copy if one of its two buckets has room; false, and no change, if not.
    pub(super) fn insert_free(&mut self, place: Place) -> bool {
        for bucket in place.buckets {
            if let Some(slot) = self.cells.find(bucket, 0) {
                self.fill(bucket, slot, place.fingerprint);
                return true;
            }
        }
        false
    }

    /// Adds a copy whose two buckets are full by moving others; false, and no change, if no room is in reach.
    pub(super) fn insert_evicting(&mut self, place: Place) -> bool {
        let mut steps = [Step { bucket: 0, from: ROOT, slot: 0 }; SEARCH_MAX];
        let (mut head, mut tail) = (0, 0);
        let distinct = if place.buckets[0] == place.buckets[1] { 1 } else { 2 };
        for &bucket in &place.buckets[..distinct] {
            steps[tail].bucket = bucket;
            tail += 1;
        }
        while head < tail {
            let from = steps[head].bucket;
            let alternates = self.cells.lanes(from).map(|fingerprint| self.alternate(from, fingerprint));
            alternates.iter().for_each(|&bucket| self.cells.prefetch(bucket));
            for (slot, bucket) in alternates.into_iter().enumerate() {
                let step = Step { bucket, from: head as u16, slot: slot as u8 };
                if let Some(free) = self.cells.find(bucket, 0) {
                    self.shift_along(&steps, step, free, place.fingerprint);
                    return true;
                }
                if tail < SEARCH_MAX {
                    steps[tail] = step;
                    tail += 1;
                }
            }
            head += 1;
        }
        false
    }

    /// Moves the fingerprints of a chain one step each, from the free slot at its end to the item's own bucket.
    ///
    /// The search is in breadth, so the chain is a shortest one and meets no bucket twice: no move disturbs another.
    fn shift_along(&mut self, steps: &[Step; SEARCH_MAX], last: Step, free: usize, fingerprint: u32) {
        let (mut step, mut free) = (last, free);
        while step.from != ROOT {
            let before = steps[usize::from(step.from)];
            let slot = usize::from(step.slot);
            let moved = self.cells.lanes(before.bucket)[slot];
            self.cells.set(step.bucket, free, moved);
            (step, free) = (before, slot);
        }
        self.fill(step.bucket, free, fingerprint);
    }

    fn fill(&mut self, bucket: u32, slot: usize, fingerprint: u32) {
        self.cells.set(bucket, slot, fingerprint);
        self.items += 1;
    }

    /// The other bucket of a fingerprint that stands in `bucket`. Only the bits that the first sub-filter has too decide.
    #[inline]
    fn alternate(&self, bucket: u32, fingerprint: u32) -> u32 {
        self.reflect(mix64(u64::from(fingerprint >> self.extra_bits)), bucket)
    }

    /// `(turn - bucket) mod buckets`.
    #[inline]
    fn reflect(&self, turn: u64, bucket: u32) -> u32 {
        let turn = self.reduce(turn);
        if turn >= bucket { turn - bucket } else { turn + (self.buckets - bucket) }
    }

    /// `value mod buckets`.
    #[inline]
    fn reduce(&self, value: u64) -> u32 {
        // The estimate of the quotient is right or one too small: value * (1/buckets - reciprocal/2^64) < 1.
        let quotient = ((u128::from(value) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = value - quotient * u64::from(self.buckets);
        let rest = if rest >= u64::from(self.buckets) { rest - u64::from(self.buckets) } else { rest };
        rest as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    #[test]
    fn remainders_are_exact_and_alternates_are_involutions() {
        let mut random = Random::seeded(3);
        for buckets in [1, 2, 3, 5, 7, 64, 1_000, 65_537, 999_983] {
            let filter = SubFilter::new(buckets, 8, 0);
            for round in 0..2_000u64 {
                let value = match round {
                    0 => 0,
                    1 => u64::MAX,
                    2 => u64::from(buckets),
                    3 => u64::from(buckets) - 1,
                    _ => random.next_u64() >> random.below(64),
                };
                assert_eq!(u64::from(filter.reduce(value)), value % u64::from(buckets));
                let (bucket, fingerprint) = (filter.reduce(value), 1 + random.below(255) as u32);
                let other = filter.alternate(bucket, fingerprint);
                assert!(other < buckets);
                assert_eq!(filter.alternate(other, fingerprint), bucket);
            }
        }
    }

    #[test]
    fn a_wider_sub_filter_refines_a_narrower_one() {
        let mut random = Random::seeded(4);
        for (base_bits, extra_bits) in [(4, 1), (8, 3), (13, 19), (31, 1), (32, 0)] {
            let (narrow, wide) =
                (SubFilter::new(21, base_bits, 0), SubFilter::new(63, base_bits, extra_bits));
            for _ in 0..2_000 {
                let probe = Probe::new(random.next_u64(), base_bits);
                let (place, refined) = (narrow.place(probe), wide.place(probe));
                assert_ne!(place.fingerprint, 0);
                assert_eq!(refined.fingerprint >> extra_bits, place.fingerprint);
                assert_eq!(refined.buckets.map(|bucket| bucket % 21), place.buckets);
                assert_eq!(wide.alternate(refined.buckets[0], refined.fingerprint), refined.buckets[1]);
            }
        }
    }
}
