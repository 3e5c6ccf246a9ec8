//! A scalable Bloom filter: which items are surely absent, in a few bits each, without deletion.
//!
//! An item sets some bits of an array (Bloom, "Space/Time Trade-offs in Hash Coding with Allowable Errors", 1970); it
//! is there if all of them are set. A filter that has taken as many items as it was made for gets another array
//! (Almeida, Baquero, Preguiça, Hutchison: "Scalable Bloom Filters", 2007), as RedisBloom's does:
//!
//! ```text
//! BloomFilter -> SubFilter 0 (capacity c)        half the wanted rate of false positives, if it may grow
//!             -> SubFilter 1 (capacity c * e)    e is the expansion; half the rate of the one before
//!             -> SubFilter 2 (capacity c * e^2)  ...
//! ```
//! The rates add up to the wanted one however often the filter grows. Only the newest sub-filter takes items, so every
//! older one is exactly full.
//!
//! Sizes are computed in integers from a fixed-point number of bits an item, which is part of the filter: a logarithm is
//! taken once, where a filter is made, since libraries differ in the last bit of one. All that comes later is a function
//! of the operations alone, so equal operations give equal bytes on every node.
//!
//! The places of an item's bits are an arithmetic progression from one hash of 64 bits (Kirsch, Mitzenmacher: "Less
//! Hashing, Same Performance", 2006), each reduced to the array by a multiplication rather than a division.
//!
//! Left out: arrays of a power of two (RedisBloom's older kind), counting bits.

mod codec;
mod config;
#[cfg(test)]
mod tests;

pub use codec::BloomDecodeError;
pub(crate) use codec::FORMAT;
pub use config::{BloomConfig, BloomConfigError, CAPACITY_MAX, EXPANSION_MAX};

use crate::memory::allocation_bytes;
use config::Shape;
use std::fmt;
use stdx::hash::{hash64, mix64};

/// Seed of the hash of items. The same on every node and for ever.
pub const HASH_SEED: u64 = 0x626c_6f6f_6d2d_2d31;

/// Sub-filters of one filter. Each has one bit place more an item than the one before, so that filters with an expansion
/// of 1 get slow long before.
pub const SUB_FILTERS_MAX: usize = 1_024;

/// Bytes of one encoded filter: it travels as a value, and no value is longer.
pub const ENCODED_BYTES_MAX: usize = stdx::limits::BULK_BYTES_MAX;

/// A set of items that may say yes to an absent item and never says no to a present one.
#[derive(Clone, Debug)]
pub struct BloomFilter {
    config: BloomConfig,
    /// At least one, oldest first.
    sub_filters: Vec<SubFilter>,
    items: u64,
    /// Of all sub-filters.
    capacity: u64,
}

/// The filter has taken what it was made for and must not grow; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BloomFull;

impl fmt::Display for BloomFull {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the filter is full")
    }
}

impl std::error::Error for BloomFull {}

/// One array of bits.
#[derive(Clone, Debug)]
struct SubFilter {
    bits: Box<[u8]>,
    shape: Shape,
}

impl BloomFilter {
    /// An empty filter. Allocates [`BloomConfig::memory_bytes`].
    pub fn new(config: BloomConfig) -> BloomFilter {
        let first = SubFilter::new(config.first());
        let capacity = first.shape.capacity;
        BloomFilter { config, sub_filters: vec![first], items: 0, capacity }
    }

    /// What the filter was made from.
    pub fn config(&self) -> BloomConfig {
        self.config
    }

    /// The hash of an item. Its places follow from that alone: an effect carries it instead of the item.
    #[inline]
    pub fn hash(item: &[u8]) -> u64 {
        hash64(HASH_SEED, item)
    }

    /// Adds `item` unless the filter says that it is there; true if it was added.
    ///
    /// # Errors
    /// When the filter is full and must not grow any more; it is unchanged then.
    pub fn insert(&mut self, item: &[u8]) -> Result<bool, BloomFull> {
        self.insert_hash(Self::hash(item))
    }

    /// [`BloomFilter::insert`], given the item's hash.
    ///
    /// # Errors
    /// As [`BloomFilter::insert`].
    pub fn insert_hash(&mut self, hash: u64) -> Result<bool, BloomFull> {
        if self.contains_hash(hash) {
            return Ok(false);
        }
        if self.items >= self.capacity {
            let shape = self.next_shape().ok_or(BloomFull)?;
            self.capacity += shape.capacity;
            self.sub_filters.push(SubFilter::new(shape));
        }
        if let Some(newest) = self.sub_filters.last_mut() {
            newest.set(hash);
        }
        self.items += 1;
        Ok(true)
    }

    /// False only if `item` is not there.
    #[inline]
    pub fn contains(&self, item: &[u8]) -> bool {
        self.contains_hash(Self::hash(item))
    }

    /// Items that were added.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// How many adds have made it what it is: each that changes the filter raises this by one.
    pub fn revision(&self) -> u64 {
        self.items
    }

    /// Items that its sub-filters were made for.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Sub-filters; 1 if the filter never grew.
    pub fn sub_filters(&self) -> usize {
        self.sub_filters.len()
    }

    /// Bytes that the filter takes on the heap.
    pub fn memory_bytes(&self) -> usize {
        let content: usize = self.sub_filters.iter().map(|part| allocation_bytes(part.bits.len())).sum();
        content + allocation_bytes(self.sub_filters.capacity() * size_of::<SubFilter>())
    }

    fn contains_hash(&self, hash: u64) -> bool {
        self.sub_filters.iter().rev().any(|sub_filter| sub_filter.contains(hash))
    }

    /// The sub-filter to grow by, if the filter may grow.
    fn next_shape(&self) -> Option<Shape> {
        let newest = self.sub_filters.last()?;
        if self.sub_filters.len() == SUB_FILTERS_MAX {
            return None;
        }
        let shape = self.config.after(newest.shape)?;
        (self.encoded_len() + shape.bytes <= ENCODED_BYTES_MAX).then_some(shape)
    }
}

impl SubFilter {
    fn new(shape: Shape) -> SubFilter {
        SubFilter { bits: vec![0; shape.bytes].into_boxed_slice(), shape }
    }

    #[inline]
    fn contains(&self, hash: u64) -> bool {
        self.places(hash).all(|(byte, mask)| self.bits[byte] & mask != 0)
    }

    fn set(&mut self, hash: u64) {
        for (byte, mask) in self.places(hash) {
            self.bits[byte] |= mask;
        }
    }

    /// Byte and mask of every bit of an item.
    #[inline]
    fn places(&self, hash: u64) -> impl Iterator<Item = (usize, u8)> + use<> {
        let bits = self.bits.len() as u64 * 8;
        // Odd, or a progression would not go all the way round.
        let step = mix64(hash) | 1;
        (0..u64::from(self.shape.hashes)).map(move |number| {
            let point = hash.wrapping_add(step.wrapping_mul(number));
            // The upper half of the product: below `bits`, and as evenly spread as the point.
            let bit = (u128::from(point) * u128::from(bits)) >> 64;
            ((bit >> 3) as usize, 1 << (bit & 7))
        })
    }
}
