//! Entries between two ids, in either direction, from block to block.

use super::block::{Block, Entries};
use super::{Stream, StreamEntry};
use effect::StreamId;
use std::collections::btree_map;

/// Entries from one id to another, both included.
#[derive(Clone, Debug)]
pub struct StreamRange<'a> {
    blocks: btree_map::Range<'a, StreamId, Block>,
    entries: Option<Entries<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> StreamRange<'a> {
    pub(super) fn new(stream: &'a Stream, start: StreamId, end: StreamId) -> StreamRange<'a> {
        // The block that begins before the range may reach into it.
        let from = stream.blocks.range(..=start).next_back().map_or(start, |(first, _)| *first);
        let blocks =
            if start <= end { stream.blocks.range(from..=end) } else { stream.blocks.range(end..end) };
        StreamRange { blocks, entries: None, start, end }
    }
}

impl<'a> Iterator for StreamRange<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        loop {
            while let Some(entry) = self.entries.as_mut().and_then(Iterator::next) {
                if entry.id() > self.end {
                    self.entries = None;
                    return None;
                }
                if entry.id() >= self.start {
                    return Some(entry);
                }
            }
            let (first, block) = self.blocks.next()?;
            self.entries = Some(block.entries(*first));
        }
    }
}

/// Entries from one id down to another, both included.
#[derive(Clone, Debug)]
pub struct StreamRangeBack<'a> {
    blocks: btree_map::Range<'a, StreamId, Block>,
    /// What is left of the present block: blocks are read from their beginning only.
    entries: Vec<StreamEntry<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> StreamRangeBack<'a> {
    pub(super) fn new(stream: &'a Stream, start: StreamId, end: StreamId) -> StreamRangeBack<'a> {
        let StreamRange { blocks, .. } = StreamRange::new(stream, start, end);
        StreamRangeBack { blocks, entries: Vec::new(), start, end }
    }
}

impl<'a> Iterator for StreamRangeBack<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        loop {
            while let Some(entry) = self.entries.pop() {
                if entry.id() < self.start {
                    self.entries.clear();
                    break;
                }
                if entry.id() <= self.end {
                    return Some(entry);
                }
            }
            let (first, block) = self.blocks.next_back()?;
            self.entries.extend(block.entries(*first));
        }
    }
}
