//! A segment: up to 256 chunks in order, about a megabyte of entries, and what they come to.
//!
//! Chunks stand in segments for the sake of lists of millions of elements: a place is found by the counts of segments,
//! then of chunks, and neither a new chunk in the middle nor the growth of a deque ever moves more than a few tens of
//! kilobytes.

use super::chunk::{CHUNK_BYTES_MAX, Chunk};
use crate::memory::slice_bytes;
use std::collections::VecDeque;
use std::ops::{AddAssign, SubAssign};

/// Most chunks of a segment.
pub(super) const SEGMENT_CHUNKS_MAX: usize = if cfg!(any(test, miri)) { 8 } else { 256 };
/// Chunks that have not more than so many bytes together become one: a quarter below the maximum, so that the next insert does
/// not part them again.
const MERGED_BYTES_MAX: usize = CHUNK_BYTES_MAX / 4 * 3;

/// What some part of a list comes to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Totals {
    /// Elements.
    pub(super) count: usize,
    /// What its allocations take.
    pub(super) heap_bytes: usize,
    /// What its elements would take in a listpack.
    pub(super) listpack_bytes: usize,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.count += other.count;
        self.heap_bytes += other.heap_bytes;
        self.listpack_bytes += other.listpack_bytes;
    }
}

impl SubAssign for Totals {
    fn sub_assign(&mut self, other: Totals) {
        self.count -= other.count;
        self.heap_bytes -= other.heap_bytes;
        self.listpack_bytes -= other.listpack_bytes;
    }
}

/// Chunks in order. One that is in a list has at least one.
#[derive(Debug, Default)]
pub(super) struct Segment {
    chunks: VecDeque<Chunk>,
    totals: Totals,
}

impl Segment {
    /// What the chunks and the segment's own part come to.
    pub(super) fn totals(&self) -> Totals {
        let heap_bytes = self.totals.heap_bytes + slice_bytes::<Chunk>(self.chunks.capacity());
        Totals { heap_bytes, ..self.totals }
    }

    pub(super) fn count(&self) -> usize {
        self.totals.count
    }

    pub(super) fn chunks(&self) -> &VecDeque<Chunk> {
        &self.chunks
    }

    /// Appends an element; false, and nothing is changed, if that takes another segment.
    pub(super) fn push_back(&mut self, element: &[u8]) -> bool {
        let last = self.chunks.len().wrapping_sub(1);
        if self.has_room(last, element) {
            self.change(last, |chunk| chunk.push_back(element));
        } else if self.chunks.len() < SEGMENT_CHUNKS_MAX {
            self.change(last, Chunk::settle);
            self.add(self.chunks.len(), Chunk::of(element));
        } else {
            self.change(last, Chunk::settle);
            return false;
        }
        true
    }

    /// Prepends an element; false, and nothing is changed, if that takes another segment.
    pub(super) fn push_front(&mut self, element: &[u8]) -> bool {
        if self.has_room(0, element) {
            self.change(0, |chunk| chunk.push_front(element));
        } else if self.chunks.len() < SEGMENT_CHUNKS_MAX {
            self.change(0, Chunk::settle);
            self.add(0, Chunk::of(element));
        } else {
            self.change(0, Chunk::settle);
            return false;
        }
        true
    }

    /// Which chunk has the element at `index`, and where; the end of the last chunk for the segment's own end. Walks
    /// from the nearer end.
    pub(super) fn locate(&self, index: usize) -> (usize, usize) {
        if index <= self.count() / 2 {
            let mut before = 0;
            for (place, chunk) in self.chunks.iter().enumerate() {
                if index < before + chunk.count() {
                    return (place, index - before);
                }
                before += chunk.count();
            }
        }
        let mut before = self.count();
        for (place, chunk) in self.chunks.iter().enumerate().rev() {
            before -= chunk.count();
            if index >= before {
                return (place, index - before);
            }
        }
        (0, 0)
    }

    /// Makes `element` the one at `index`; the segment may have two chunks too many then.
    pub(super) fn insert(&mut self, index: usize, element: &[u8]) {
        let (mut place, mut within) = self.locate(index);
        if !self.has_room(place, element) {
            place = self.part(place, within);
            within = 0;
            if place > 0 && self.has_room(place - 1, element) {
                place -= 1;
                within = self.chunks[place].count();
            } else if !self.has_room(place, element) {
                self.add(place, Chunk::default());
            }
        }
        self.change(place, |chunk| chunk.insert(within, element));
    }

    /// Puts `element` in the place of the one at `index`; false, and nothing is changed, if that takes another chunk.
    pub(super) fn replace(&mut self, index: usize, element: &[u8]) -> bool {
        let (place, within) = self.locate(index);
        // What is long and alone in its chunk may take long to free.
        let is_small = self.chunks.get(place).is_some_and(|chunk| chunk.len() <= CHUNK_BYTES_MAX);
        is_small && self.change(place, |chunk| chunk.replace(within, element)) == Some(true)
    }

    /// Removes up to `count` elements from `index` on; how many there were. Chunks that go as a whole are left in
    /// `dropped`.
    pub(super) fn remove(&mut self, index: usize, count: usize, dropped: &mut Vec<Chunk>) -> usize {
        let count = count.min(self.count() - index);
        let (mut place, mut within) = self.locate(index);
        let mut left = count;
        if within > 0 && left > 0 {
            let part = left.min(self.chunks[place].count() - within);
            self.change(place, |chunk| chunk.remove(within, part));
            left -= part;
            place += 1;
        }
        let mut whole = 0;
        while let Some(chunk) = self.chunks.get(place + whole)
            && chunk.count() <= left
            && left > 0
        {
            left -= chunk.count();
            self.totals -= chunk.totals();
            whole += 1;
        }
        dropped.extend(self.chunks.drain(place..place + whole));
        if left > 0 {
            within = 0;
            self.change(place, |chunk| chunk.remove(within, left));
        }
        give_back_room(&mut self.chunks);
        count
    }

    /// Merges what the last change at `index` has made small with a neighbour.
    pub(super) fn merge_around(&mut self, index: usize) {
        let (place, _) = self.locate(index);
        self.merge(place);
        if place > 0 {
            self.merge(place - 1);
        }
    }

    /// Appends the chunks of `other`.
    pub(super) fn append(&mut self, mut other: Segment) {
        self.totals += other.totals;
        self.chunks.append(&mut other.chunks);
    }

    /// Moves the second half into a segment of its own, if there are too many chunks.
    pub(super) fn split(&mut self) -> Option<Segment> {
        if self.chunks.len() <= SEGMENT_CHUNKS_MAX {
            return None;
        }
        let mut behind =
            Segment { chunks: self.chunks.split_off(self.chunks.len() / 2), ..Segment::default() };
        behind.chunks.iter().for_each(|chunk| behind.totals += chunk.totals());
        self.totals -= behind.totals;
        Some(behind)
    }

    fn has_room(&self, place: usize, element: &[u8]) -> bool {
        self.chunks.get(place).is_some_and(|chunk| chunk.has_room(element.len()))
    }

    /// Parts a chunk in two before an element, unless that is its first or its end; which one follows the gap.
    fn part(&mut self, place: usize, within: usize) -> usize {
        if within == 0 {
            return place;
        }
        let behind = self.change(place, |chunk| chunk.split_off(within));
        if let Some(behind) = behind.filter(|behind| behind.count() > 0) {
            self.add(place + 1, behind);
        }
        place + 1
    }

    /// Merges the chunk at `place` with the next, if both are small.
    fn merge(&mut self, place: usize) {
        let (Some(chunk), Some(next)) = (self.chunks.get(place), self.chunks.get(place + 1)) else { return };
        if chunk.len() + next.len() > MERGED_BYTES_MAX {
            return;
        }
        if let Some(next) = self.chunks.remove(place + 1) {
            self.totals -= next.totals();
            self.change(place, |chunk| chunk.append(&next));
        }
    }

    fn add(&mut self, place: usize, chunk: Chunk) {
        self.totals += chunk.totals();
        insert_into(&mut self.chunks, place, chunk);
    }

    /// Changes the chunk at `place`, if there is one, and the totals by what it comes to.
    fn change<T>(&mut self, place: usize, change: impl FnOnce(&mut Chunk) -> T) -> Option<T> {
        let chunk = self.chunks.get_mut(place)?;
        self.totals -= chunk.totals();
        let outcome = change(chunk);
        self.totals += chunk.totals();
        Some(outcome)
    }
}

/// Inserts a part; the first takes no room for others, because most lists never have a second.
pub(super) fn insert_into<T>(parts: &mut VecDeque<T>, place: usize, part: T) {
    if parts.capacity() == 0 {
        parts.reserve_exact(1);
    }
    parts.insert(place, part);
}

/// Gives back half of the room or more when three quarters of it lie idle.
pub(super) fn give_back_room<T>(parts: &mut VecDeque<T>) {
    if parts.len() * 4 < parts.capacity() {
        parts.shrink_to(parts.len() * 2);
    }
}
