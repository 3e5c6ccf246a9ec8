//! Lists: the packed form of short ones, the large form, and what a reader sees of either.
//!
//! ```text
//! List -> Segment -> Chunk -> entry
//! deque   deque of   4 KiB,   length, element, length
//!         256        open at both ends
//! ```
//! The large form is a deque in three layers, each of which knows how many elements the one below has. A push or pop
//! at either end works on one chunk and moves nothing but now and then the bytes of a chunk; a place in the middle is
//! found from the nearer end by the counts, of segments first, so that ten million elements are some hundred steps.
//! Nothing grows by more than a segment at a time: what a deque may have to move is the 64 bytes of each segment, for
//! a gigabyte of elements a thousand of them, and the 40 bytes of each chunk of one segment. Chunks that removals have
//! left small are merged with a neighbour, as are segments.
//!
//! Everything that changes a list is a splice: some elements at an index are replaced by others. The number of splices
//! that a list has seen is its revision, by which a replay tells those that it has from those that it lacks.
//!
//! Redis calls a list `listpack` or `quicklist`, which depends on what its elements take in a listpack, and between the
//! two limits on which it was last; the large form keeps count of that.

mod chunk;
mod entry;
mod packed;
mod reader;
mod segment;
#[cfg(test)]
mod tests;

use crate::garbage::Remains;
use crate::listpack;
use crate::memory::slice_bytes;
use chunk::Chunk;
use effect::Elements;
pub(crate) use packed::{packed_revision, put_whole_packed, splice_packed};
use reader::{Backward, Forward};
pub use reader::{Iter, IterBack, ListRef};
use segment::{SEGMENT_CHUNKS_MAX, Segment, Totals};
use std::collections::VecDeque;

/// A listpack that would have more bytes becomes a quicklist (`list-max-listpack-size -2`).
const LISTPACK_BYTES_MAX: usize = 8192;
/// A quicklist that has shrunk to so many bytes becomes a listpack again (t_list.c: `listTypeTryConvertQuicklist`).
const SHRUNK_BYTES_MAX: usize = LISTPACK_BYTES_MAX / 2;
/// What takes not more is freed at once.
const DROPPED_BYTES_MAX: usize = 64 * 1024;

/// The large form of a list.
#[derive(Debug, Default)]
pub(crate) struct List {
    segments: VecDeque<Segment>,
    totals: Totals,
    revision: u64,
    is_quicklist: bool,
}

/// Parts of a list that are no longer in it.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    segments: Vec<Segment>,
    chunks: Vec<Chunk>,
}

impl List {
    /// The list that the packed form holds.
    pub(crate) fn from_packed(packed: &[u8]) -> List {
        let mut list = List { revision: packed_revision(packed), ..List::default() };
        ListRef::packed(packed).iter().for_each(|element| list.push_back(element));
        list
    }

    /// Fills the empty list with all that a list has, its revision first.
    pub(crate) fn put_whole(&mut self, whole: Elements<'_>) {
        let mut elements = whole.iter();
        self.revision = elements.next().map_or(0, packed_revision);
        elements.for_each(|element| self.push_back(element));
        self.is_quicklist = self.listpack_bytes() > LISTPACK_BYTES_MAX;
    }

    /// Replaces `removed` elements from `index` on by these. What is not there is not removed, and an index beyond the
    /// end is the end. Parts of the list that go and may take long to free are left in `remains`.
    pub(crate) fn splice(
        &mut self,
        index: usize,
        removed: usize,
        elements: Elements<'_>,
        remains: &mut Vec<Remains>,
    ) {
        let index = index.min(self.len());
        let removed = removed.min(self.len() - index);
        self.revision += 1;
        self.note_growth(elements);
        match elements.iter().next() {
            Some(element) if removed == 1 && elements.len() == 1 => self.set(index, element, remains),
            _ => {
                self.remove(index, removed, remains);
                self.insert_each(index, elements);
            }
        }
        if removed > 0 && self.listpack_bytes() <= SHRUNK_BYTES_MAX {
            self.is_quicklist = false;
        }
    }

    /// How many splices the list has seen.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.totals.count
    }

    /// What its allocations take, without the list itself.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.totals.heap_bytes + slice_bytes::<Segment>(self.segments.capacity())
    }

    fn encoding(&self) -> &'static str {
        if self.is_quicklist { "quicklist" } else { "listpack" }
    }

    /// The elements from `index` on.
    fn iter_from(&self, index: usize) -> Iter<'_> {
        if index >= self.len() {
            return ListRef::packed(&[]).iter();
        }
        let (place, within) = self.locate(index);
        let segment = &self.segments[place];
        let (chunk, within) = segment.locate(within);
        let entries = segment.chunks()[chunk].entries();
        Iter(Forward::Large {
            rest: &entries[segment.chunks()[chunk].offset_of(within)..],
            chunks: segment.chunks().range(chunk + 1..),
            segments: self.segments.range(place + 1..),
        })
    }

    /// The elements from `index` to the left end.
    fn iter_back_from(&self, index: usize) -> IterBack<'_> {
        let index = index.min(self.len().saturating_sub(1));
        let (place, within) = self.locate(index);
        let Some(segment) = self.segments.get(place) else { return ListRef::packed(&[]).iter_back_from(0) };
        let (chunk, within) = segment.locate(within);
        let entries = segment.chunks()[chunk].entries();
        IterBack(Backward::Large {
            rest: &entries[..segment.chunks()[chunk].offset_of(within + 1)],
            chunks: segment.chunks().range(..chunk),
            segments: self.segments.range(..place),
        })
    }

    /// Bytes that the list would take as a listpack.
    fn listpack_bytes(&self) -> usize {
        listpack::FRAME_BYTES + self.totals.listpack_bytes
    }

    /// As `listTypeTryConvertListpack` has it: the bytes of the elements to come, without their headers, are added to
    /// what is there before anything is removed.
    fn note_growth(&mut self, elements: Elements<'_>) {
        if !self.is_quicklist && !elements.is_empty() {
            let added: usize = elements.iter().map(<[u8]>::len).sum();
            self.is_quicklist = self.listpack_bytes() + added > LISTPACK_BYTES_MAX;
        }
    }

    fn insert_each(&mut self, index: usize, elements: Elements<'_>) {
        if index == self.len() {
            elements.iter().for_each(|element| self.push_back(element));
        } else if index == 0 {
            let elements: Vec<_> = elements.iter().collect();
            elements.iter().rev().for_each(|element| self.push_front(element));
        } else {
            elements.iter().enumerate().for_each(|(at, element)| self.insert(index + at, element));
        }
    }

    fn push_back(&mut self, element: &[u8]) {
        let last = self.segments.len().wrapping_sub(1);
        if self.change(last, |segment| segment.push_back(element)) != Some(true) {
            self.add(self.segments.len(), Segment::default());
            self.change(last.wrapping_add(1), |segment| segment.push_back(element));
        }
    }

    fn push_front(&mut self, element: &[u8]) {
        if self.change(0, |segment| segment.push_front(element)) != Some(true) {
            self.add(0, Segment::default());
            self.change(0, |segment| segment.push_front(element));
        }
    }

    fn insert(&mut self, index: usize, element: &[u8]) {
        let (place, within) = self.locate(index);
        let grown = self.change(place, |segment| {
            segment.insert(within, element);
            segment.split()
        });
        if let Some(behind) = grown.flatten() {
            self.add(place + 1, behind);
        }
    }

    fn set(&mut self, index: usize, element: &[u8], remains: &mut Vec<Remains>) {
        let (place, within) = self.locate(index);
        if self.change(place, |segment| segment.replace(within, element)) != Some(true) {
            self.remove(index, 1, remains);
            self.insert_each(index, Elements::words(&[element]));
        }
    }

    /// Removes elements that are there.
    fn remove(&mut self, index: usize, count: usize, remains: &mut Vec<Remains>) {
        if count == 0 {
            return;
        }
        let (mut left, mut dropped) = (count, Dropped::default());
        let (mut place, within) = self.locate(index);
        if within > 0 && left > 0 {
            left -= self.remove_in(place, within, left, &mut dropped.chunks);
            place += 1;
        }
        let mut whole = 0;
        while let Some(segment) = self.segments.get(place + whole)
            && segment.count() <= left
            && left > 0
        {
            left -= segment.count();
            self.totals -= segment.totals();
            whole += 1;
        }
        dropped.segments.extend(self.segments.drain(place..place + whole));
        if left > 0 {
            self.remove_in(place, 0, left, &mut dropped.chunks);
        }
        if index > 0 && index < self.len() {
            self.merge_around(index);
        }
        segment::give_back_room(&mut self.segments);
        if dropped.memory_bytes() > DROPPED_BYTES_MAX {
            remains.push(Remains::ListParts(dropped));
        }
    }

    fn remove_in(&mut self, place: usize, index: usize, count: usize, dropped: &mut Vec<Chunk>) -> usize {
        self.change(place, |segment| segment.remove(index, count, dropped)).unwrap_or(0)
    }

    /// Merges chunks and segments that a removal at `index` has left small, so that a list that loses elements all over
    /// does not end as many nearly empty parts.
    fn merge_around(&mut self, index: usize) {
        let (place, within) = self.locate(index);
        self.change(place, |segment| segment.merge_around(within));
        for place in [place, place.wrapping_sub(1)] {
            let (Some(segment), Some(next)) =
                (self.segments.get(place), self.segments.get(place.wrapping_add(1)))
            else {
                continue;
            };
            if segment.chunks().len() + next.chunks().len() <= SEGMENT_CHUNKS_MAX / 2
                && let Some(next) = self.segments.remove(place + 1)
            {
                self.totals -= next.totals();
                self.change(place, |segment| segment.append(next));
            }
        }
    }

    /// Which segment has the element at `index`, and where; the end of the last segment for the list's own end. Walks
    /// from the nearer end.
    fn locate(&self, index: usize) -> (usize, usize) {
        if index <= self.len() / 2 {
            let mut before = 0;
            for (place, segment) in self.segments.iter().enumerate() {
                if index < before + segment.count() {
                    return (place, index - before);
                }
                before += segment.count();
            }
        }
        let mut before = self.len();
        for (place, segment) in self.segments.iter().enumerate().rev() {
            before -= segment.count();
            if index >= before {
                return (place, index - before);
            }
        }
        (0, 0)
    }

    fn add(&mut self, place: usize, segment: Segment) {
        self.totals += segment.totals();
        segment::insert_into(&mut self.segments, place, segment);
    }

    /// Changes the segment at `place`, if there is one, and the totals by what it comes to.
    fn change<T>(&mut self, place: usize, change: impl FnOnce(&mut Segment) -> T) -> Option<T> {
        let segment = self.segments.get_mut(place)?;
        self.totals -= segment.totals();
        let outcome = change(segment);
        self.totals += segment.totals();
        Some(outcome)
    }
}

impl Dropped {
    /// What dropping it frees.
    pub(crate) fn memory_bytes(&self) -> usize {
        let segments: usize = self.segments.iter().map(|segment| segment.totals().heap_bytes).sum();
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.totals().heap_bytes).sum();
        segments
            + chunks
            + slice_bytes::<Segment>(self.segments.capacity())
            + slice_bytes::<Chunk>(self.chunks.capacity())
    }
}
