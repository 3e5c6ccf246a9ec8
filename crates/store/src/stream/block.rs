//! A block: up to a hundred entries that follow one another, in one allocation.
//!
//! ```text
//! | varint count, fields of the first entry | entry | entry | ...
//!
//! entry:  varint bytes of all that follows
//!         varint milliseconds minus those of the block's first id
//!         varint sequence, minus that of the first id if the milliseconds are the same
//!         varint pairs; 0: as many as the first entry had, of the same fields
//!         each value, behind its field unless the fields are the same
//! ```
//! Fields and values are bytes behind a varint length. The first id is the key of the block in its stream and stays when the
//! entry that had it is gone, as do the fields. A removed entry's bytes are moved over, at most a few thousand.
//!
//! Redis calls a block a node; where a new one begins shows in how much an approximate trim leaves, so it begins where
//! one of Redis would, by what the entries would take in a listpack.

use super::entry::StreamEntry;
use crate::listpack::{FRAME_BYTES, element_bytes, integer_bytes};
use crate::memory::{allocation_bytes, slice_bytes};
use crate::varint::{push_bytes, push_varint, split_bytes, split_varint, varint_len};
use effect::{Elements, StreamId};

/// Most entries of a block, those that were removed included (`stream-node-max-entries`).
const ENTRIES_MAX: u32 = 100;
/// Most bytes of a block as a listpack, unless one entry has more (`stream-node-max-bytes`).
const LISTPACK_BYTES_MAX: usize = 4096;
/// A block grows by doubling from here to there.
const CAPACITY_MIN: usize = 256;
const CAPACITY_MAX: usize = 4096;

/// Entries that follow one another. One that is in a stream has at least one.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    /// Where the entries begin.
    head_len: u32,
    count: u32,
    /// How many were added, those that were removed included.
    added: u32,
    listpack_bytes: u32,
}

impl Block {
    /// A block that is to begin with this entry.
    pub(super) fn of(id: StreamId, fields: Elements<'_>) -> Block {
        let mut bytes = Vec::new();
        push_varint(&mut bytes, fields.len() / 2);
        fields.pairs().for_each(|(field, _)| push_bytes(&mut bytes, field));
        let names: usize = fields.pairs().map(|(field, _)| element_bytes(field)).sum();
        // The counts of entries and of those that were removed, that of the fields, and an end.
        let numbers = 3 * integer_bytes(0) + integer_bytes((fields.len() / 2) as i64);
        let (head_len, listpack_bytes) = (bytes.len() as u32, (FRAME_BYTES + numbers + names) as u32);
        let mut block = Block { bytes, head_len, count: 0, added: 0, listpack_bytes };
        block.push(id, id, fields);
        block
    }

    /// Whether another entry of these fields may join it.
    pub(super) fn has_room(&self, fields: Elements<'_>) -> bool {
        let bytes = self.listpack_bytes as usize + fields.content_bytes();
        self.added < ENTRIES_MAX && bytes < LISTPACK_BYTES_MAX
    }

    /// Appends an entry, whose id is greater than all others.
    pub(super) fn push(&mut self, first: StreamId, id: StreamId, fields: Elements<'_>) {
        let is_alike = self.has_fields(fields);
        let encoded = Encoded::new(first, id, fields, is_alike);
        let needed = self.bytes.len() + varint_len(encoded.len) + encoded.len;
        if needed > self.bytes.capacity() {
            let capacity = allocation_bytes((needed * 2).clamp(CAPACITY_MIN, CAPACITY_MAX).max(needed));
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        encoded.push_to(&mut self.bytes);
        self.count += 1;
        self.added += 1;
        self.listpack_bytes += listpack_bytes(first, id, fields, is_alike) as u32;
    }

    /// Adds an entry in its place, unless it is there.
    pub(super) fn insert(&mut self, first: StreamId, id: StreamId, fields: Elements<'_>) -> bool {
        let mut entries = self.entries(first);
        let mut at = self.head_len as usize;
        while let Some(entry) = entries.next()
            && entry.id() <= id
        {
            if entry.id() == id {
                return false;
            }
            at = self.bytes.len() - entries.rest.len();
        }
        let mut bytes = Vec::new();
        Encoded::new(first, id, fields, self.has_fields(fields)).push_to(&mut bytes);
        self.bytes.splice(at..at, bytes);
        self.count += 1;
        true
    }

    /// Removes an entry, if it is there.
    pub(super) fn remove(&mut self, first: StreamId, id: StreamId) -> bool {
        let mut entries = self.entries(first);
        let mut start = self.bytes.len() - entries.rest.len();
        while let Some(entry) = entries.next() {
            let end = self.bytes.len() - entries.rest.len();
            if entry.id() == id {
                self.bytes.drain(start..end);
                self.count -= 1;
                return true;
            }
            start = end;
        }
        false
    }

    /// Removes all entries up to this id; how many there were.
    pub(super) fn remove_through(&mut self, first: StreamId, id: StreamId) -> usize {
        let mut entries = self.entries(first);
        let (mut removed, mut end) = (0, self.head_len as usize);
        while let Some(entry) = entries.next()
            && entry.id() <= id
        {
            removed += 1;
            end = self.bytes.len() - entries.rest.len();
        }
        self.bytes.drain(self.head_len as usize..end);
        self.count -= removed;
        removed as usize
    }

    /// Gives back the room that it has to spare: nothing is appended any more.
    pub(super) fn close(&mut self) {
        self.bytes.shrink_to(allocation_bytes(self.bytes.len()));
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// What it takes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        slice_bytes::<u8>(self.bytes.capacity())
    }

    /// The entries in order.
    pub(super) fn entries(&self, first: StreamId) -> Entries<'_> {
        let (head, rest) = self.bytes.split_at(self.head_len as usize);
        let (names_count, names) = split_varint(head).unwrap_or((0, &[]));
        Entries { first, names_count, names, rest }
    }

    /// Whether these are the fields of its first entry.
    fn has_fields(&self, fields: Elements<'_>) -> bool {
        let Some((count, mut names)) = split_varint(&self.bytes) else { return false };
        count == fields.len() / 2
            && fields.pairs().all(|(field, _)| match split_bytes(names) {
                Some((name, rest)) => {
                    names = rest;
                    name == field
                }
                None => false,
            })
    }
}

/// An entry about to be written.
struct Encoded<'a> {
    numbers: [usize; 3],
    fields: Elements<'a>,
    is_alike: bool,
    len: usize,
}

impl<'a> Encoded<'a> {
    fn new(first: StreamId, id: StreamId, fields: Elements<'a>, is_alike: bool) -> Encoded<'a> {
        let ms = id.ms - first.ms;
        let seq = if ms == 0 { id.seq - first.seq } else { id.seq };
        let numbers = [ms as usize, seq as usize, if is_alike { 0 } else { fields.len() / 2 }];
        let mut encoded = Encoded { numbers, fields, is_alike, len: 0 };
        encoded.len = numbers.into_iter().map(varint_len).sum::<usize>()
            + encoded.strings().map(|string| varint_len(string.len()) + string.len()).sum::<usize>();
        encoded
    }

    /// The fields with their values, or the values alone.
    fn strings(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let skipped = usize::from(self.is_alike);
        self.fields.iter().take(self.fields.len() / 2 * 2).skip(skipped).step_by(1 + skipped)
    }

    fn push_to(&self, out: &mut Vec<u8>) {
        push_varint(out, self.len);
        self.numbers.into_iter().for_each(|number| push_varint(out, number));
        self.strings().for_each(|string| push_bytes(out, string));
    }
}

/// What an entry takes in a listpack (t_stream.c: `streamAppendItem`).
fn listpack_bytes(first: StreamId, id: StreamId, fields: Elements<'_>, is_alike: bool) -> usize {
    let pairs = fields.len() / 2;
    let (ms, seq) = (id.ms.wrapping_sub(first.ms), id.seq.wrapping_sub(first.seq));
    let values: usize = fields.pairs().map(|(_, value)| element_bytes(value)).sum();
    let (names, pieces) = if is_alike {
        (0, 3 + pairs)
    } else {
        let names: usize = fields.pairs().map(|(field, _)| element_bytes(field)).sum();
        (integer_bytes(pairs as i64) + names, 4 + 2 * pairs)
    };
    let numbers = [0, ms.cast_signed(), seq.cast_signed(), pieces as i64];
    names + values + numbers.into_iter().map(integer_bytes).sum::<usize>()
}

/// Walks over the entries of a block.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    first: StreamId,
    names_count: usize,
    names: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        let (entry, rest) = split_bytes(self.rest)?;
        self.rest = rest;
        let (ms, entry) = split_varint(entry)?;
        let (seq, entry) = split_varint(entry)?;
        let (pairs, values) = split_varint(entry)?;
        let first_seq = if ms == 0 { self.first.seq } else { 0 };
        let id = StreamId { ms: self.first.ms + ms as u64, seq: first_seq + seq as u64 };
        Some(match pairs {
            0 => StreamEntry::new(id, self.names_count, Some(self.names), values),
            pairs => StreamEntry::new(id, pairs, None, values),
        })
    }
}
