//! A cuckoo filter: which items are surely absent, in a few bits each, with deletion.
//!
//! An item is a fingerprint of 4 to 32 bits in one of two buckets of four (Fan, Andersen, Kaminsky, Mitzenmacher:
//! "Cuckoo Filter: Practically Better Than Bloom", 2014). The fingerprint's width follows from the wanted rate of false
//! positives; the number of buckets follows from the capacity and is no power of two, so a filter is as large as it
//! has to be: 13.7 bits an item for one false positive in a thousand.
//!
//! ```text
//! CuckooFilter -> SubFilter 0 (buckets, bits)            -> Buckets (packed fingerprints)
//!              -> SubFilter 1 (buckets * e, bits + 1)    the filter was full once: e is the expansion
//!              -> SubFilter 2 (buckets * e * e, bits + 2)
//! ```
//! Growing. A full filter gets one more sub-filter, as RedisBloom's does, and an item may then stand in any of them.
//! Each is a bit wider than the one before, so that all together give at most twice the rate of the first. The bucket
//! count of each is a multiple of the one before, and its fingerprint begins with the bits of the one before: **items
//! that cannot be told apart in a sub-filter cannot be told apart in any older one.** Deleting looks into the newest
//! first. If it then removes a fingerprint that stood for another item, that item has the same place in every older
//! sub-filter, so the copy that is left in one of them now stands for it: no delete of an item that was inserted ever
//! makes another one vanish. With unrelated sub-filters it would.
//!
//! Everything is a function of the operations alone: no clock, no randomness, and one hash seed for all nodes. So equal
//! operations give equal bytes, and a replica may repeat the operations. The price: a client who knows the seed can
//! choose items that collide, which costs at most the growth to [`SUB_FILTERS_MAX`].
//!
//! Deleting what was never inserted may remove another item's fingerprint, in this as in every cuckoo filter.
//!
//! Left out: semi-sorted buckets (one bit less an item, slower), moving items into older sub-filters after deletes.

mod buckets;
mod codec;
mod config;
mod sub_filter;
#[cfg(test)]
mod tests;

pub use codec::CuckooDecodeError;
pub(crate) use codec::FORMAT;
pub use config::{BUCKETS_MAX, CuckooConfig, CuckooConfigError, FINGERPRINT_BITS_MAX, FINGERPRINT_BITS_MIN};

pub use buckets::SLOTS as BUCKET_SLOTS;
pub use sub_filter::SEARCH_MAX;

use buckets::SLOTS;
use std::fmt;
use stdx::hash::hash64;
use sub_filter::Probe;
pub(crate) use sub_filter::SubFilter;

/// Seed of the hash of items. The same on every node and for ever: an item has to be found where another node or an
/// earlier version put it.
pub const HASH_SEED: u64 = 0x6375_636b_6f6f_2d31;

/// Sub-filters of one filter (RedisBloom's limit).
pub const SUB_FILTERS_MAX: usize = 32;

/// Bytes of one encoded filter: it travels as a value, and no value is longer.
pub const ENCODED_BYTES_MAX: usize = stdx::limits::BULK_BYTES_MAX;

/// A full sub-filter is at least so full; one that refuses an item before is full of copies of that item, and
/// a larger one would hold no more of them.
const EXPANSION_LOAD_MIN: f64 = 0.5;

/// An empty sub-filter goes once the others are at most so full, and not before, lest it come back at once.
const SHRINK_LOAD_MAX: f64 = 0.875;

/// Items of a batch whose buckets are asked for together; about what a core can have under way.
const BATCH_ITEMS: usize = 16;

/// A set of items that may say yes to an absent item and never says no to a present one.
#[derive(Clone, Debug)]
pub struct CuckooFilter {
    config: CuckooConfig,
    /// At least one, oldest first.
    sub_filters: Vec<SubFilter>,
    deleted: u64,
}

/// The filter has no room and must not grow; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CuckooFull;

impl fmt::Display for CuckooFull {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the filter is full")
    }
}

impl std::error::Error for CuckooFull {}

/// What a filter holds and takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CuckooStats {
    /// Copies of items that are in the filter.
    pub items: u64,
    /// Deletes that found their item, since the filter was made.
    pub deleted: u64,
    /// Buckets of all sub-filters.
    pub buckets: u64,
    /// Slots of all sub-filters.
    pub slots: u64,
    /// Sub-filters; 1 if the filter never grew.
    pub sub_filters: usize,
    /// Bytes, as [`CuckooFilter::memory_bytes`].
    pub memory_bytes: usize,
    /// The rate of false positives to expect with what is in the filter now.
    pub false_positive_rate: f64,
}

impl CuckooFilter {
    /// An empty filter. Allocates [`CuckooConfig::memory_bytes`].
    pub fn new(config: CuckooConfig) -> CuckooFilter {
        let first = SubFilter::new(config.buckets, config.fingerprint_bits, 0);
        CuckooFilter { config, sub_filters: vec![first], deleted: 0 }
    }

    /// What the filter was made from.
    pub fn config(&self) -> CuckooConfig {
        self.config
    }

    /// The hash of an item. Where it stands follows from that alone: an effect carries it instead of the item.
    #[inline]
    pub fn hash(item: &[u8]) -> u64 {
        hash64(HASH_SEED, item)
    }

    /// Adds one copy of `item`, also if there are copies already.
    ///
    /// # Errors
    /// When there is no room and the filter must not grow any more; it is unchanged then.
    pub fn insert(&mut self, item: &[u8]) -> Result<(), CuckooFull> {
        self.insert_hash(Self::hash(item))
    }

    /// [`CuckooFilter::insert`], given the item's hash.
    ///
    /// # Errors
    /// As [`CuckooFilter::insert`].
    pub fn insert_hash(&mut self, hash: u64) -> Result<(), CuckooFull> {
        self.insert_probe(self.probe(hash))
    }

    /// Adds `item` unless the filter says that it is there; true if it was added.
    ///
    /// # Errors
    /// As [`CuckooFilter::insert`].
    pub fn insert_absent(&mut self, item: &[u8]) -> Result<bool, CuckooFull> {
        self.insert_absent_hash(Self::hash(item))
    }

    /// [`CuckooFilter::insert_absent`], given the item's hash.
    ///
    /// # Errors
    /// As [`CuckooFilter::insert`].
    pub fn insert_absent_hash(&mut self, hash: u64) -> Result<bool, CuckooFull> {
        let probe = self.probe(hash);
        if self.contains_probe(probe) {
            return Ok(false);
        }
        self.insert_probe(probe).map(|()| true)
    }

    /// False only if `item` is not there.
    #[inline]
    pub fn contains(&self, item: &[u8]) -> bool {
        self.contains_probe(self.probe(Self::hash(item)))
    }

    /// Appends for each of `items` whether it is there. The cache misses of up to 16 items overlap, whatever the caller
    /// does with the answers.
    pub fn contains_each<'a>(&self, items: impl IntoIterator<Item = &'a [u8]>, found: &mut Vec<bool>) {
        let mut items = items.into_iter();
        loop {
            let mut probes = [Probe::default(); BATCH_ITEMS];
            let mut taken = 0;
            for (probe, item) in probes.iter_mut().zip(&mut items) {
                *probe = self.probe(Self::hash(item));
                taken += 1;
            }
            let mut present = [false; BATCH_ITEMS];
            for sub_filter in self.sub_filters.iter().rev() {
                let places = probes.map(|probe| sub_filter.place(probe));
                places[..taken].iter().for_each(|&place| sub_filter.prefetch(place));
                for (present, &place) in present.iter_mut().zip(&places[..taken]) {
                    *present |= sub_filter.contains(place);
                }
            }
            found.extend_from_slice(&present[..taken]);
            if taken < BATCH_ITEMS {
                return;
            }
        }
    }

    /// How many copies of `item` there are: never too few, seldom too many.
    pub fn count(&self, item: &[u8]) -> u64 {
        let probe = self.probe(Self::hash(item));
        self.sub_filters.iter().map(|sub_filter| sub_filter.count(sub_filter.place(probe))).sum()
    }

    /// Removes one copy of `item`; false if there is none.
    ///
    /// Only an item that was inserted may be removed: see the module's text.
    pub fn delete(&mut self, item: &[u8]) -> bool {
        self.delete_hash(Self::hash(item), &mut Vec::new())
    }

    /// [`CuckooFilter::delete`], given the item's hash. Sub-filters that go are left in `remains`, to be freed where
    /// there is time.
    pub(crate) fn delete_hash(&mut self, hash: u64, remains: &mut Vec<SubFilter>) -> bool {
        let probe = self.probe(hash);
        let removed = self.sub_filters.iter_mut().rev().any(|sub_filter| {
            let place = sub_filter.place(probe);
            sub_filter.remove(place)
        });
        if removed {
            self.deleted += 1;
            self.shrink(remains);
        }
        removed
    }

    /// Copies of items that are in the filter.
    pub fn items(&self) -> u64 {
        self.sub_filters.iter().map(SubFilter::items).sum()
    }

    /// Slots of all sub-filters.
    pub fn slots(&self) -> u64 {
        self.buckets() * SLOTS as u64
    }

    /// How many inserts and deletes have made it what it is: each that changes the filter raises this by one.
    pub fn revision(&self) -> u64 {
        // An insert adds an item; a delete takes one and is counted.
        self.items() + 2 * self.deleted
    }

    /// Bytes that the filter takes on the heap.
    pub fn memory_bytes(&self) -> usize {
        let content: usize = self.sub_filters.iter().map(SubFilter::memory_bytes).sum();
        content + crate::memory::allocation_bytes(self.sub_filters.capacity() * size_of::<SubFilter>())
    }

    /// Figures for INFO replies.
    pub fn stats(&self) -> CuckooStats {
        let buckets: u64 = self.buckets();
        let base_rate = config::rate(self.config.fingerprint_bits, 1.0);
        let rate = |part: &SubFilter| base_rate * part.load() / (1u64 << part.extra_bits()) as f64;
        CuckooStats {
            items: self.items(),
            deleted: self.deleted,
            buckets,
            slots: self.slots(),
            sub_filters: self.sub_filters.len(),
            memory_bytes: self.memory_bytes(),
            false_positive_rate: self.sub_filters.iter().map(rate).sum(),
        }
    }

    #[inline]
    fn probe(&self, hash: u64) -> Probe {
        Probe::new(hash, self.config.fingerprint_bits)
    }

    #[inline]
    fn contains_probe(&self, probe: Probe) -> bool {
        self.sub_filters.iter().rev().any(|sub_filter| sub_filter.contains(sub_filter.place(probe)))
    }

    fn insert_probe(&mut self, probe: Probe) -> Result<(), CuckooFull> {
        for sub_filter in self.sub_filters.iter_mut().rev() {
            let place = sub_filter.place(probe);
            if sub_filter.insert_free(place) {
                return Ok(());
            }
        }
        // Only in the newest: a search in a sub-filter that was full once ends in vain too often.
        if let Some(newest) = self.sub_filters.last_mut() {
            let place = newest.place(probe);
            if newest.insert_evicting(place) {
                return Ok(());
            }
        }
        let mut grown = self.next_sub_filter().ok_or(CuckooFull)?;
        let place = grown.place(probe);
        let inserted = grown.insert_free(place);
        debug_assert!(inserted, "an empty sub-filter has room");
        self.sub_filters.push(grown);
        Ok(())
    }

    /// The sub-filter to grow by, if the filter may grow.
    fn next_sub_filter(&self) -> Option<SubFilter> {
        let newest = self.sub_filters.last()?;
        if self.config.expansion == 0 || self.sub_filters.len() == SUB_FILTERS_MAX {
            return None;
        }
        let factor = if newest.load() < EXPANSION_LOAD_MIN { 1 } else { u32::from(self.config.expansion) };
        let buckets = newest.buckets().checked_mul(factor)?;
        if self.buckets() + u64::from(buckets) > u64::from(BUCKETS_MAX) {
            return None;
        }
        let base_bits = self.config.fingerprint_bits;
        let extra_bits = extra_bits(base_bits, self.sub_filters.len());
        let grown_len = self.encoded_len() + codec::encoded_len_of_one(buckets, base_bits + extra_bits);
        (grown_len <= ENCODED_BYTES_MAX).then(|| SubFilter::new(buckets, base_bits, extra_bits))
    }

    /// Gives up the newest sub-filters if they are empty and the others have room to spare.
    fn shrink(&mut self, remains: &mut Vec<SubFilter>) {
        while let [others @ .., newest] = self.sub_filters.as_slice()
            && newest.items() == 0
            && !others.is_empty()
            && others.iter().all(|other| other.load() <= SHRINK_LOAD_MAX)
        {
            remains.extend(self.sub_filters.pop());
        }
    }

    fn buckets(&self) -> u64 {
        self.sub_filters.iter().map(|sub_filter| u64::from(sub_filter.buckets())).sum()
    }
}

/// How many bits wider the fingerprints of sub-filter `index` are than those of the first.
fn extra_bits(base_bits: u32, index: usize) -> u32 {
    (index as u32).min(FINGERPRINT_BITS_MAX - base_bits)
}
