//! What a reader sees of a list: elements by index, and runs of them in either direction.

use super::chunk::Chunk;
use super::packed::{self, PACKED_ENTRIES_MAX};
use super::segment::Segment;
use super::{List, entry};
use crate::varint::split_bytes;
use std::collections::vec_deque;
use std::iter::FusedIterator;

/// A list.
#[derive(Clone, Copy, Debug)]
pub struct ListRef<'a>(Form<'a>);

#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    Packed(&'a [u8]),
    Large(&'a List),
}

impl<'a> ListRef<'a> {
    /// Over the bytes of the packed form.
    pub(crate) fn packed(packed: &'a [u8]) -> ListRef<'a> {
        ListRef(Form::Packed(packed))
    }

    /// Over the large form.
    pub(crate) fn large(list: &'a List) -> ListRef<'a> {
        ListRef(Form::Large(list))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self.0 {
            Form::Packed(packed) => packed::skip(packed::entries(packed), usize::MAX).1,
            Form::Large(list) => list.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`, counted from the left.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.iter_from(index).next()
    }

    /// The elements from left to right.
    pub fn iter(&self) -> Iter<'a> {
        self.iter_from(0)
    }

    /// The elements from `index` to the right end.
    pub fn iter_from(&self, index: usize) -> Iter<'a> {
        match self.0 {
            Form::Packed(packed) => {
                let entries = packed::entries(packed);
                let (start, _) = packed::skip(entries, index);
                Iter(Forward::Packed(&entries[start..]))
            }
            Form::Large(list) => list.iter_from(index),
        }
    }

    /// The elements from `index` to the left end, that at `index` first; from the last if there are fewer.
    pub fn iter_back_from(&self, index: usize) -> IterBack<'a> {
        match self.0 {
            Form::Packed(packed) => IterBack(Backward::Packed(Ends::new(packed::entries(packed), index))),
            Form::Large(list) => list.iter_back_from(index),
        }
    }

    /// OBJECT ENCODING as Redis answers it: `listpack` or `quicklist`.
    pub fn encoding(&self) -> &'static str {
        match self.0 {
            Form::Packed(_) => "listpack",
            Form::Large(list) => list.encoding(),
        }
    }

    /// How many splices the list has seen: what its next [`effect::Effect::SpliceList`] has to say.
    pub fn revision(&self) -> u64 {
        match self.0 {
            Form::Packed(packed) => packed::packed_revision(packed),
            Form::Large(list) => list.revision(),
        }
    }
}

/// Elements from left to right.
#[derive(Clone, Debug)]
pub struct Iter<'a>(pub(super) Forward<'a>);

#[derive(Clone, Debug)]
pub(super) enum Forward<'a> {
    Packed(&'a [u8]),
    Large {
        /// What is left of the present chunk.
        rest: &'a [u8],
        /// What is left of the present segment.
        chunks: vec_deque::Iter<'a, Chunk>,
        segments: vec_deque::Iter<'a, Segment>,
    },
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            Forward::Packed(rest) => {
                let (element, behind) = split_bytes(rest)?;
                *rest = behind;
                Some(element)
            }
            Forward::Large { rest, chunks, segments } => loop {
                if let Some((element, behind)) = entry::first(rest) {
                    *rest = behind;
                    return Some(element);
                }
                match chunks.next() {
                    Some(chunk) => *rest = chunk.entries(),
                    None => *chunks = segments.next()?.chunks().iter(),
                }
            },
        }
    }
}

impl FusedIterator for Iter<'_> {}

/// Elements from right to left.
#[derive(Clone, Debug)]
pub struct IterBack<'a>(pub(super) Backward<'a>);

#[derive(Clone, Debug)]
pub(super) enum Backward<'a> {
    Packed(Ends<'a>),
    Large {
        /// What is left of the present chunk.
        rest: &'a [u8],
        /// What is left of the present segment.
        chunks: vec_deque::Iter<'a, Chunk>,
        segments: vec_deque::Iter<'a, Segment>,
    },
}

impl<'a> Iterator for IterBack<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            Backward::Packed(ends) => ends.next(),
            Backward::Large { rest, chunks, segments } => loop {
                if let Some((element, before)) = entry::last(rest) {
                    *rest = before;
                    return Some(element);
                }
                match chunks.next_back() {
                    Some(chunk) => *rest = chunk.entries(),
                    None => *chunks = segments.next_back()?.chunks().iter(),
                }
            },
        }
    }
}

impl FusedIterator for IterBack<'_> {}

/// The packed form read backwards: where the entries begin has been found on the way to the last.
#[derive(Clone, Debug)]
pub(super) struct Ends<'a> {
    entries: &'a [u8],
    starts: [u16; PACKED_ENTRIES_MAX],
    left: usize,
}

impl<'a> Ends<'a> {
    fn new(entries: &'a [u8], index: usize) -> Ends<'a> {
        let (mut starts, mut left, mut rest) = ([0; PACKED_ENTRIES_MAX], 0, entries);
        while left <= index
            && let Some(start) = starts.get_mut(left)
            && let Some((_, behind)) = split_bytes(rest)
        {
            *start = (entries.len() - rest.len()) as u16;
            left += 1;
            rest = behind;
        }
        Ends { entries, starts, left }
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let start = usize::from(self.starts[self.left]);
        split_bytes(&self.entries[start..]).map(|(element, _)| element)
    }
}
