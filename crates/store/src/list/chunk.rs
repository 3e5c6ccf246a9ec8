//! A chunk: a run of entries in one allocation, open at both ends.
//!
//! ```text
//!          start                          length        capacity
//! +- - - - +-------+-------+-- ... --+-------+ - - - - - - +
//! |  room  | entry | entry |         | entry |    room     |
//! +- - - - +-------+-------+-- ... --+-------+ - - - - - - +
//! ```
//! A push or pop moves nothing as long as its end has room; when it has none, what the chunk has to spare is moved
//! there at once. Everything else moves at most one chunk.

use super::entry;
use super::segment::Totals;
use crate::listpack;
use crate::memory::{allocation_bytes, slice_bytes};

/// Most bytes of entries in a chunk with more than one: few enough to be moved or walked in a microsecond, and so many that the
/// chunk's own parts are a hundredth of them.
pub(super) const CHUNK_BYTES_MAX: usize = 4096;
/// A chunk grows by doubling from here.
const CAPACITY_MIN: usize = 1024;

/// A run of entries. One that is in a list has at least one.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Up to `start` zeros, then the entries.
    bytes: Vec<u8>,
    start: u32,
    count: u32,
    /// What its elements would take in a listpack.
    listpack_bytes: u32,
}

impl Chunk {
    /// A chunk of one element.
    pub(super) fn of(element: &[u8]) -> Chunk {
        let mut chunk = Chunk::default();
        chunk.push_back(element);
        chunk
    }

    #[inline]
    pub(super) fn entries(&self) -> &[u8] {
        &self.bytes[self.start as usize..]
    }

    /// Bytes of its entries.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start as usize
    }

    /// How many elements it has.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            count: self.count(),
            heap_bytes: slice_bytes::<u8>(self.bytes.capacity()),
            listpack_bytes: self.listpack_bytes as usize,
        }
    }

    /// Whether an element of this length may join it. One whose entry exceeds the maximum is always alone.
    #[inline]
    pub(super) fn has_room(&self, element_len: usize) -> bool {
        self.len() + entry::entry_len(element_len) <= CHUNK_BYTES_MAX || self.count == 0
    }

    pub(super) fn push_back(&mut self, element: &[u8]) {
        self.write(self.len(), self.len(), element);
    }

    pub(super) fn push_front(&mut self, element: &[u8]) {
        self.write(0, 0, element);
    }

    /// Makes `element` the one at `index`.
    pub(super) fn insert(&mut self, index: usize, element: &[u8]) {
        let at = self.offset_of(index);
        self.write(at, at, element);
    }

    /// Makes `element` the one at `index` in place of that which is; false, and nothing is changed, if it takes a chunk
    /// of its own.
    pub(super) fn replace(&mut self, index: usize, element: &[u8]) -> bool {
        let start = self.offset_of(index);
        let Some((former, behind)) = entry::first(&self.entries()[start..]) else { return false };
        let (listpack_bytes, end) = (listpack::element_bytes(former), self.len() - behind.len());
        if self.len() - (end - start) + entry::entry_len(element.len()) > CHUNK_BYTES_MAX {
            return false;
        }
        self.count -= 1;
        self.listpack_bytes -= listpack_bytes as u32;
        self.write(start, end, element);
        self.shrink();
        true
    }

    /// Removes `count` elements from `index` on, which it has.
    pub(super) fn remove(&mut self, index: usize, count: usize) {
        let start = self.offset_of(index);
        let (mut rest, mut listpack_bytes) = (&self.entries()[start..], 0);
        for _ in 0..count {
            let (element, behind) = entry::first(rest).expect("a chunk has as many entries as it counts");
            listpack_bytes += listpack::element_bytes(element);
            rest = behind;
        }
        let end = self.len() - rest.len();
        self.open(start, end, 0);
        self.count -= count as u32;
        self.listpack_bytes -= listpack_bytes as u32;
        self.shrink();
    }

    /// Moves the elements from `index` on into a chunk of their own.
    pub(super) fn split_off(&mut self, index: usize) -> Chunk {
        let mut behind = Chunk::default();
        behind.append_entries(&self.entries()[self.offset_of(index)..]);
        self.remove(index, behind.count());
        behind
    }

    /// Appends the elements of `other`.
    pub(super) fn append(&mut self, other: &Chunk) {
        self.append_entries(other.entries());
    }

    /// Gives back room that is more than a quarter of what it holds: it is no longer at an end of its list.
    pub(super) fn settle(&mut self) {
        let capacity = allocation_bytes(self.len());
        if self.bytes.capacity().saturating_sub(capacity) > self.len() / 4 {
            self.move_to(capacity, false);
        }
    }

    /// Where the entry at `index` begins among the entries, walked to from the nearer end; their end for an index as
    /// large as the count.
    pub(super) fn offset_of(&self, index: usize) -> usize {
        const COUNTED: &str = "a chunk has as many entries as it counts";
        let mut rest = self.entries();
        if index <= self.count() / 2 {
            (0..index).for_each(|_| rest = entry::first(rest).expect(COUNTED).1);
            return self.len() - rest.len();
        }
        (index..self.count()).for_each(|_| rest = entry::last(rest).expect(COUNTED).1);
        rest.len()
    }

    /// Gives back half of its room or more when three quarters of it lie idle.
    fn shrink(&mut self) {
        if self.bytes.capacity() > CAPACITY_MIN && self.len() * 4 < self.bytes.capacity() {
            self.move_to(allocation_bytes((self.len() * 2).max(CAPACITY_MIN)), false);
        }
    }

    fn append_entries(&mut self, entries: &[u8]) {
        let mut rest = entries;
        while let Some((element, behind)) = entry::first(rest) {
            self.count += 1;
            self.listpack_bytes += listpack::element_bytes(element) as u32;
            rest = behind;
        }
        self.open(self.len(), self.len(), entries.len()).copy_from_slice(entries);
    }

    /// Writes an entry in place of the bytes from `start` to `end`.
    fn write(&mut self, start: usize, end: usize, element: &[u8]) {
        entry::write(self.open(start, end, entry::entry_len(element.len())), element);
        self.count += 1;
        self.listpack_bytes += listpack::element_bytes(element) as u32;
    }

    /// Makes the entries' bytes from `start` to `end` so many, to be written.
    fn open(&mut self, start: usize, end: usize, len: usize) -> &mut [u8] {
        let needed = self.len() - (end - start) + len;
        if start == 0 && self.len() > 0 {
            if len > self.start as usize + end {
                self.move_to(self.capacity_for(needed), true);
            }
            let at = self.start as usize + end - len;
            self.start = at as u32;
            return &mut self.bytes[at..at + len];
        }
        if self.start as usize + needed > self.bytes.capacity() {
            self.move_to(self.capacity_for(needed), false);
        }
        let (first, old) = (self.start as usize, self.bytes.len());
        self.bytes.resize(old.max(first + needed), 0);
        self.bytes.copy_within(first + end..old, first + start + len);
        self.bytes.truncate(first + needed);
        &mut self.bytes[first + start..first + start + len]
    }

    /// The capacity that it has, if that is enough, or a larger one.
    fn capacity_for(&self, needed: usize) -> usize {
        if needed <= self.bytes.capacity() {
            return self.bytes.capacity();
        }
        allocation_bytes((needed * 2).clamp(CAPACITY_MIN, CHUNK_BYTES_MAX).max(needed))
    }

    /// Moves the entries to the front, or all room there, in an allocation of this size.
    fn move_to(&mut self, capacity: usize, room_at_front: bool) {
        let (len, start) = (self.len(), self.start as usize);
        let new_start = if room_at_front { capacity - len } else { 0 };
        if capacity == self.bytes.capacity() {
            self.bytes.resize(start.max(new_start) + len, 0);
            self.bytes.copy_within(start..start + len, new_start);
            self.bytes.truncate(new_start + len);
        } else {
            let mut bytes = Vec::with_capacity(capacity);
            bytes.resize(new_start, 0);
            bytes.extend_from_slice(self.entries());
            self.bytes = bytes;
        }
        self.start = new_start as u32;
    }
}
