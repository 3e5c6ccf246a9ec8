//! Buckets of four fingerprints, packed bit by bit into bytes.
//!
//! A bucket is read as one little-endian word that holds its four lanes, and all four are compared at once. Four lanes
//! of `bits` bits begin on a half byte at worst, so that up to 16 bits a bucket lies within one 64-bit load and up to
//! 32 bits within one 128-bit load. A lane of zero is empty.

use crate::memory::allocation_bytes;
use crate::prefetch::prefetch;

/// Fingerprints of a bucket.
pub const SLOTS: usize = 4;

/// Up to here a bucket and its half byte of shift fit a 64-bit load.
const NARROW_BITS_MAX: u32 = 16;

/// Bytes after the last bucket, so that the widest load of the last bucket ends inside.
const PADDING_BYTES: usize = 16;

/// A fixed number of buckets of fingerprints of a fixed width.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    bytes: Box<[u8]>,
    bits: u32,
    /// The lowest bit of every lane, and the highest: what finds a lane of zero without a loop.
    low: u128,
    high: u128,
}

impl Buckets {
    /// `count` empty buckets of fingerprints of `bits` bits.
    pub(super) fn new(count: u32, bits: u32) -> Buckets {
        Buckets::over(vec![0; Buckets::data_bytes(count, bits) + PADDING_BYTES], bits)
    }

    /// Buckets with the content that [`Buckets::data`] gave; `data` has [`Buckets::data_bytes`] bytes.
    pub(super) fn from_data(data: &[u8], bits: u32) -> Buckets {
        let mut bytes = Vec::with_capacity(data.len() + PADDING_BYTES);
        bytes.extend_from_slice(data);
        bytes.resize(data.len() + PADDING_BYTES, 0);
        Buckets::over(bytes, bits)
    }

    fn over(bytes: Vec<u8>, bits: u32) -> Buckets {
        let low = (0..SLOTS as u32).fold(0u128, |lanes, slot| lanes | 1 << (slot * bits));
        Buckets { bytes: bytes.into_boxed_slice(), bits, low, high: low << (bits - 1) }
    }

    /// Bytes that `count` buckets of fingerprints of `bits` bits take when written out.
    pub(super) fn data_bytes(count: u32, bits: u32) -> usize {
        // Four lanes of so many bits are so many half bytes.
        (count as usize * bits as usize).div_ceil(2)
    }

    /// The packed content, without padding.
    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - PADDING_BYTES]
    }

    /// Width of a fingerprint.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        allocation_bytes(self.bytes.len())
    }

    /// Asks for the cache lines of a bucket.
    #[inline]
    pub(super) fn prefetch(&self, bucket: u32) {
        let (offset, _) = self.position(bucket);
        prefetch(&self.bytes[offset]);
    }

    /// Whether one of the two buckets holds `fingerprint`. Both are loaded at once: their cache misses overlap.
    #[inline]
    pub(super) fn either_has(&self, buckets: [u32; 2], fingerprint: u32) -> bool {
        if self.bits > NARROW_BITS_MAX {
            let flags = |bucket| self.equal_lanes(self.word(bucket), fingerprint);
            return flags(buckets[0]) | flags(buckets[1]) != 0;
        }
        let (low, high) = (self.low as u64, self.high as u64);
        let pattern = low * u64::from(fingerprint);
        let flags = |bucket| {
            let different = self.narrow_word(bucket) ^ pattern;
            different.wrapping_sub(low) & !different & high
        };
        flags(buckets[0]) | flags(buckets[1]) != 0
    }

    /// The first slot of `bucket` that holds `fingerprint`; with 0 the first free one.
    #[inline]
    pub(super) fn find(&self, bucket: u32, fingerprint: u32) -> Option<usize> {
        let flags = self.equal_lanes(self.word(bucket), fingerprint);
        // The lowest flag is right; one above it may come from the borrow of the subtraction.
        (flags != 0).then(|| (flags.trailing_zeros() / self.bits) as usize)
    }

    /// The four fingerprints of a bucket.
    #[inline]
    pub(super) fn lanes(&self, bucket: u32) -> [u32; SLOTS] {
        let (word, mask) = (self.word(bucket), (1u128 << self.bits) - 1);
        std::array::from_fn(|slot| ((word >> (slot as u32 * self.bits)) & mask) as u32)
    }

    /// Replaces the fingerprint in a slot.
    #[inline]
    pub(super) fn set(&mut self, bucket: u32, slot: usize, fingerprint: u32) {
        let (offset, shift) = self.position(bucket);
        let shift = shift + slot as u32 * self.bits;
        let lane = ((1u128 << self.bits) - 1) << shift;
        let word = (self.load(offset) & !lane) | (u128::from(fingerprint) << shift);
        self.bytes[offset..offset + 16].copy_from_slice(&word.to_le_bytes());
    }

    /// The byte in which a bucket begins, and by how many bits into it.
    #[inline]
    fn position(&self, bucket: u32) -> (usize, u32) {
        let half_bytes = bucket as usize * self.bits as usize;
        (half_bytes / 2, (half_bytes % 2) as u32 * 4)
    }

    #[inline]
    fn load(&self, offset: usize) -> u128 {
        let bytes = self.bytes[offset..offset + 16].try_into().expect("a slice of sixteen bytes");
        u128::from_le_bytes(bytes)
    }

    /// The lanes of a bucket; what is above them belongs to its neighbours.
    #[inline]
    fn word(&self, bucket: u32) -> u128 {
        let (offset, shift) = self.position(bucket);
        self.load(offset) >> shift
    }

    /// As [`Buckets::word`], for fingerprints of at most [`NARROW_BITS_MAX`] bits.
    #[inline]
    fn narrow_word(&self, bucket: u32) -> u64 {
        let (offset, shift) = self.position(bucket);
        let bytes = self.bytes[offset..offset + 8].try_into().expect("a slice of eight bytes");
        u64::from_le_bytes(bytes) >> shift
    }

    /// The highest bit of every lane that equals `fingerprint`, and perhaps of lanes above such a one; zero if none
    /// does. Neighbours' bits above the lanes cannot reach down into them.
    #[inline]
    fn equal_lanes(&self, word: u128, fingerprint: u32) -> u128 {
        let different = word ^ (self.low * u128::from(fingerprint));
        different.wrapping_sub(self.low) & !different & self.high
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    #[test]
    fn every_width_keeps_what_is_set_beside_what_is_there() {
        for bits in 4..=32 {
            let (count, mut random) = (37, Random::seeded(u64::from(bits)));
            let mut buckets = Buckets::new(count, bits);
            let mut model = vec![[0u32; SLOTS]; count as usize];
            for _ in 0..2_000 {
                let (bucket, slot) = (random.below(u64::from(count)) as u32, random.below(4) as usize);
                // Few values, so that equal lanes, zeros and all ones meet.
                let all_ones = u32::MAX >> (32 - bits);
                let fingerprint = [0, 1, all_ones, all_ones - 1][random.below(4) as usize];
                buckets.set(bucket, slot, fingerprint);
                model[bucket as usize][slot] = fingerprint;
                let other = random.below(u64::from(count)) as u32;
                for wanted in [0, 1, all_ones, 2] {
                    let place = |bucket: u32| model[bucket as usize].iter().position(|&lane| lane == wanted);
                    assert_eq!(buckets.find(bucket, wanted), place(bucket), "{bits} bits");
                    let either = place(bucket).or(place(other)).is_some();
                    assert_eq!(buckets.either_has([bucket, other], wanted), either, "{bits} bits");
                }
            }
            let lanes =
                |buckets: &Buckets| (0..count).map(|bucket| buckets.lanes(bucket)).collect::<Vec<_>>();
            assert_eq!(lanes(&buckets), model);
            assert_eq!(lanes(&Buckets::from_data(buckets.data(), bits)), model);
            assert_eq!(buckets.data().len(), Buckets::data_bytes(count, bits));
        }
    }
}
