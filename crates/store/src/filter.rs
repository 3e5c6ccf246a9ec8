//! A value that is a filter: one of the two kinds, or one whose pieces are still being loaded.
//!
//! Reading is the kinds' own business; what is alike is here: how a filter travels, and how it changes. A filter is
//! changed by hashes of items, in the order of its *revision*, the number of changes that made it. An effect names the
//! revision from which its hashes count, so a change that has been made already is not made again, whatever a snapshot
//! and the tail of a log have in common.
//!
//! The first byte tells the kinds apart: below `40` cuckoo filters, from there on Bloom filters.

use crate::bloom::{self, BloomFilter};
use crate::cuckoo::{self, CuckooFilter};
use crate::garbage::Remains;
use crate::memory::allocation_bytes;
use effect::Hashes;
use std::fmt;

/// A filter as a value.
#[derive(Debug)]
pub enum Filter {
    /// A cuckoo filter (CF commands).
    Cuckoo(CuckooFilter),
    /// A Bloom filter (BF commands).
    Bloom(BloomFilter),
    /// A filter that is not whole yet (LOADCHUNK).
    Loading(Loading),
}

/// The beginning of an encoded filter, its header at least.
#[derive(Debug)]
pub struct Loading {
    bytes: Vec<u8>,
    header_len: usize,
    /// Bytes of the whole filter, as its header says.
    whole_len: usize,
}

/// A filter to be changed, and what changes leave behind.
#[derive(Debug)]
pub struct FilterMut<'a> {
    pub(crate) filter: &'a mut Filter,
    pub(crate) remains: &'a mut Vec<Remains>,
}

/// Which commands a filter belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilterKind {
    /// CF commands.
    Cuckoo,
    /// BF commands.
    Bloom,
}

/// What adding one item came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Added {
    /// It was added.
    New,
    /// It was there already, and that mattered.
    Present,
    /// There is no room for it; nothing was changed.
    Full,
}

/// These bytes are no filter, or no part of this one; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoFilter;

impl fmt::Display for NoFilter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not the bytes of a filter")
    }
}

impl std::error::Error for NoFilter {}

impl FilterKind {
    /// The name of the type as TYPE answers it: that of RedisBloom's type.
    pub fn type_name(self) -> &'static str {
        match self {
            FilterKind::Cuckoo => "MBbloomCF",
            FilterKind::Bloom => "MBbloom--",
        }
    }

    /// The hash by which an item is changed in a filter of this kind.
    pub fn hash(self, item: &[u8]) -> u64 {
        match self {
            FilterKind::Cuckoo => CuckooFilter::hash(item),
            FilterKind::Bloom => BloomFilter::hash(item),
        }
    }

    /// The kind of an encoded filter; `None` if there is not even a first byte of one.
    pub fn of_encoded(bytes: &[u8]) -> Option<FilterKind> {
        match *bytes.first()? {
            cuckoo::FORMAT => Some(FilterKind::Cuckoo),
            bloom::FORMAT => Some(FilterKind::Bloom),
            _ => None,
        }
    }
}

impl Filter {
    /// Reads an encoded filter; of the beginning of one, if the header is whole, comes one that is being loaded.
    ///
    /// # Errors
    /// When the bytes are neither.
    pub fn decode(bytes: &[u8]) -> Result<Filter, NoFilter> {
        let kind = FilterKind::of_encoded(bytes).ok_or(NoFilter)?;
        let (header_len, whole_len) = encoded_lens(kind, bytes)?;
        if bytes.len() < whole_len {
            return Ok(Filter::Loading(Loading { bytes: bytes.to_vec(), header_len, whole_len }));
        }
        Filter::decode_whole(kind, bytes)
    }

    /// The empty filter with this header.
    ///
    /// # Errors
    /// When the bytes are not exactly the header of an empty filter.
    pub fn decode_empty(header: &[u8]) -> Result<Filter, NoFilter> {
        match FilterKind::of_encoded(header).ok_or(NoFilter)? {
            FilterKind::Cuckoo => {
                CuckooFilter::decode_empty(header).map(Filter::Cuckoo).map_err(|_| NoFilter)
            }
            FilterKind::Bloom => BloomFilter::decode_empty(header).map(Filter::Bloom).map_err(|_| NoFilter),
        }
    }

    fn decode_whole(kind: FilterKind, bytes: &[u8]) -> Result<Filter, NoFilter> {
        match kind {
            FilterKind::Cuckoo => CuckooFilter::decode(bytes).map(Filter::Cuckoo).map_err(|_| NoFilter),
            FilterKind::Bloom => BloomFilter::decode(bytes).map(Filter::Bloom).map_err(|_| NoFilter),
        }
    }

    /// Which commands it belongs to.
    pub fn kind(&self) -> FilterKind {
        match self {
            Filter::Cuckoo(_) => FilterKind::Cuckoo,
            Filter::Bloom(_) => FilterKind::Bloom,
            Filter::Loading(loading) => loading.kind(),
        }
    }

    /// What precedes the content when it is encoded; with [`Filter::encode_range`] from its length on, all of it.
    pub fn header(&self) -> Vec<u8> {
        match self {
            Filter::Cuckoo(filter) => filter.header(),
            Filter::Bloom(filter) => filter.header(),
            Filter::Loading(loading) => loading.bytes[..loading.header_len].to_vec(),
        }
    }

    /// Bytes that [`Filter::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        match self {
            Filter::Cuckoo(filter) => filter.encoded_len(),
            Filter::Bloom(filter) => filter.encoded_len(),
            Filter::Loading(loading) => loading.bytes.len(),
        }
    }

    /// Appends the filter, as far as it is there.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_range(0, usize::MAX, out);
    }

    /// Appends up to `len` bytes of the encoded filter from `offset` on; nothing beyond its end.
    pub fn encode_range(&self, offset: usize, len: usize, out: &mut Vec<u8>) {
        match self {
            Filter::Cuckoo(filter) => filter.encode_range(offset, len, out),
            Filter::Bloom(filter) => filter.encode_range(offset, len, out),
            Filter::Loading(Loading { bytes, .. }) => {
                let end = offset.saturating_add(len).min(bytes.len());
                out.extend_from_slice(bytes.get(offset..end).unwrap_or_default());
            }
        }
    }

    /// How many changes made it; 0 while it is being loaded.
    pub fn revision(&self) -> u64 {
        match self {
            Filter::Cuckoo(filter) => filter.revision(),
            Filter::Bloom(filter) => filter.revision(),
            Filter::Loading(_) => 0,
        }
    }

    /// Bytes that it takes on the heap.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Filter::Cuckoo(filter) => filter.memory_bytes(),
            Filter::Bloom(filter) => filter.memory_bytes(),
            Filter::Loading(loading) => allocation_bytes(loading.bytes.capacity()),
        }
    }
}

impl FilterMut<'_> {
    /// The filter as it is now.
    pub fn filter(&self) -> &Filter {
        self.filter
    }

    /// Adds the item with this hash: to a cuckoo filter one more copy, unless `only_absent` and it is there; to a Bloom
    /// filter never a second time.
    pub fn add(&mut self, hash: u64, only_absent: bool) -> Added {
        let added = match self.filter {
            Filter::Cuckoo(filter) if only_absent => filter.insert_absent_hash(hash).ok(),
            Filter::Cuckoo(filter) => filter.insert_hash(hash).ok().map(|()| true),
            Filter::Bloom(filter) => filter.insert_hash(hash).ok(),
            Filter::Loading(_) => None,
        };
        match added {
            Some(true) => Added::New,
            Some(false) => Added::Present,
            None => Added::Full,
        }
    }

    /// Removes one copy of the item with this hash; false if there is none, or the filter has no deletion.
    pub fn delete(&mut self, hash: u64) -> bool {
        match self.filter {
            Filter::Cuckoo(filter) => {
                let mut emptied = Vec::new();
                let deleted = filter.delete_hash(hash, &mut emptied);
                self.remains.extend(emptied.into_iter().map(Remains::SubFilter));
                deleted
            }
            Filter::Bloom(_) | Filter::Loading(_) => false,
        }
    }

    /// Appends a piece to a filter that is being loaded; the last one makes it whole.
    ///
    /// # Errors
    /// When there is nothing to load, the piece does not follow at `offset`, there is more of it than is missing, or
    /// what is whole with it is no filter.
    pub fn load(&mut self, offset: u64, piece: &[u8]) -> Result<(), NoFilter> {
        let Filter::Loading(loading) = self.filter else { return Err(NoFilter) };
        let former_len = loading.bytes.len();
        if offset != former_len as u64 || piece.len() > loading.whole_len - former_len {
            return Err(NoFilter);
        }
        loading.bytes.extend_from_slice(piece);
        if loading.bytes.len() < loading.whole_len {
            return Ok(());
        }
        match Filter::decode_whole(loading.kind(), &loading.bytes) {
            Ok(whole) => {
                self.remains.push(Remains::Pieces(std::mem::take(&mut loading.bytes)));
                *self.filter = whole;
                Ok(())
            }
            Err(error) => {
                loading.bytes.truncate(former_len);
                Err(error)
            }
        }
    }

    /// The adds of an effect: those after `revision` that have not been made yet.
    pub(crate) fn add_from(&mut self, revision: u64, hashes: Hashes<'_>) {
        for hash in self.not_made(revision, hashes) {
            self.add(hash, false);
        }
    }

    /// The deletes of an effect, likewise.
    pub(crate) fn delete_from(&mut self, revision: u64, hashes: Hashes<'_>) {
        for hash in self.not_made(revision, hashes) {
            self.delete(hash);
        }
    }

    /// Of changes that began at `revision`, each of which raised it by one, those that are to come; none if some before
    /// them are missing.
    fn not_made<'h>(&self, revision: u64, hashes: Hashes<'h>) -> impl Iterator<Item = u64> + use<'h> {
        let made = self.filter.revision().checked_sub(revision).unwrap_or(u64::MAX);
        hashes.iter().skip(usize::try_from(made).unwrap_or(usize::MAX))
    }
}

impl Loading {
    /// Which commands the filter will belong to.
    pub fn kind(&self) -> FilterKind {
        FilterKind::of_encoded(&self.bytes).expect("a header was read from these bytes")
    }

    /// Bytes that are there.
    pub fn loaded_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the header.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Bytes that the whole filter has.
    pub fn whole_len(&self) -> usize {
        self.whole_len
    }
}

/// Bytes of the header that an encoded filter begins with, and of the whole.
fn encoded_lens(kind: FilterKind, bytes: &[u8]) -> Result<(usize, usize), NoFilter> {
    match kind {
        FilterKind::Cuckoo => CuckooFilter::encoded_lens(bytes).map_err(|_| NoFilter),
        FilterKind::Bloom => BloomFilter::encoded_lens(bytes).map_err(|_| NoFilter),
    }
}
