//! Streams: entries by rising ids, and groups of consumers who share them.
//!
//! ```text
//! Stream -> blocks by first id -> up to a hundred entries each, in the order of their ids
//!        -> groups by name     -> pending entries by id, consumers by name -> ids of what is pending for them
//! ```
//! A stream has no packed form: its parts are small from the start, and trees of blocks grow without stalls. It changes by
//! [`StreamChange`]s, each of which may come once more over a stream that has seen it already: an entry is appended if
//! the stream is not past its id, and all else says what is.
//!
//! What is left out: the radix tree that Redis has, of which XINFO shows the numbers; here it shows those of the blocks.

mod block;
mod entry;
mod group;
mod range;
#[cfg(test)]
mod tests;
mod trim;
mod whole;

use crate::garbage::Remains;
use block::Block;
use effect::{Elements, StreamChange, StreamId};
pub use entry::StreamEntry;
pub use group::{Consumer, Group, Pending};
pub use range::{StreamRange, StreamRangeBack};
use std::collections::BTreeMap;
pub use trim::{Trim, Trimmed};

/// More blocks than these are parted from the tree at once when they go, instead of one by one.
const SINGLE_BLOCKS_MAX: usize = 64;
/// Bytes of names' allocations beyond their own: two counts of references.
const SHARED_NAME_BYTES: usize = 16;

/// A stream, to read.
#[derive(Debug)]
pub struct Stream {
    blocks: BTreeMap<StreamId, Block>,
    len: u64,
    /// The last entry that is there.
    newest: Option<StreamId>,
    /// Everything that was ever appended is not greater.
    last: StreamId,
    /// Greatest id that was deleted.
    deleted: StreamId,
    /// How many entries were ever appended.
    added: u64,
    groups: BTreeMap<Box<[u8]>, Group>,
    /// What the blocks take on the heap.
    block_bytes: usize,
    /// What the groups and consumers take, without what is pending.
    group_bytes: usize,
    /// Entries that are pending, in all groups.
    pending: usize,
}

/// Parts of a stream that are no longer in it.
#[derive(Debug)]
pub(crate) enum StreamParts {
    Blocks(BTreeMap<StreamId, Block>),
    Group(Group),
}

/// The stream of a key that is about to have one.
pub(crate) static EMPTY: Stream = Stream::new();

impl Stream {
    pub(crate) const fn new() -> Stream {
        Stream {
            blocks: BTreeMap::new(),
            len: 0,
            newest: None,
            last: StreamId::MIN,
            deleted: StreamId::MIN,
            added: 0,
            groups: BTreeMap::new(),
            block_bytes: 0,
            group_bytes: 0,
            pending: 0,
        }
    }

    /// How many entries there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The last id: the next entry's is greater.
    pub fn last_id(&self) -> StreamId {
        self.last
    }

    /// Id of the first entry that is there.
    pub fn oldest_id(&self) -> Option<StreamId> {
        let (first, block) = self.blocks.first_key_value()?;
        block.entries(*first).next().map(|entry| entry.id())
    }

    /// Id of the last entry that is there.
    pub fn newest_id(&self) -> Option<StreamId> {
        self.newest
    }

    /// Greatest id among the entries that were deleted; the least id if none was.
    pub fn max_deleted_id(&self) -> StreamId {
        self.deleted
    }

    /// How many entries were ever appended.
    pub fn entries_added(&self) -> u64 {
        self.added
    }

    /// In how many blocks the entries are.
    pub fn blocks_len(&self) -> usize {
        self.blocks.len()
    }

    /// The entries from one id to another, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> StreamRange<'_> {
        StreamRange::new(self, start, end)
    }

    /// The same, the last first.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> StreamRangeBack<'_> {
        StreamRangeBack::new(self, start, end)
    }

    /// The entry of this id.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        self.range(id, id).next()
    }

    /// The groups with their names, in the order of these.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// The group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// What it takes on the heap, as near as trees tell.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.block_bytes
            + self.blocks.len() * share_of::<StreamId, Block>()
            + self.group_bytes
            + self.pending * PENDING_BYTES
    }

    /// Makes a change. What that leaves behind and is not small goes to `remains`.
    pub(crate) fn change(&mut self, change: StreamChange<'_>, remains: &mut Vec<Remains>) {
        match change {
            StreamChange::Append { id, fields } => self.append(id, fields),
            StreamChange::Delete { ids } => ids.iter().for_each(|id| self.delete(id)),
            StreamChange::Trim { through } => self.trim(through, remains),
            StreamChange::SetId { last, added, deleted } => {
                (self.last, self.added, self.deleted) = (last, added, deleted);
            }
            StreamChange::PutGroup { group, last, read } => self.put_group(group, last, read),
            StreamChange::RemoveGroup { group } => self.remove_group(group, remains),
            _ => self.change_group(change),
        }
    }

    fn append(&mut self, id: StreamId, fields: Elements<'_>) {
        if id <= self.last {
            return;
        }
        self.last = id;
        self.added += 1;
        if self.newest.is_none_or(|newest| newest < id) {
            self.store(id, fields);
        } else {
            self.insert(id, fields);
        }
    }

    /// Stores an entry before others, unless it is there: only a replay of what came after the last id was set back brings
    /// one, over a state that has some of it.
    fn insert(&mut self, id: StreamId, fields: Elements<'_>) {
        let Some((&first, block)) = self.blocks.range_mut(..=id).next_back() else {
            let block = Block::of(id, fields);
            self.block_bytes += block.heap_bytes();
            self.blocks.insert(id, block);
            self.len += 1;
            return;
        };
        self.block_bytes -= block.heap_bytes();
        self.len += u64::from(block.insert(first, id, fields));
        self.block_bytes += block.heap_bytes();
    }

    /// Stores an entry behind all others.
    fn store(&mut self, id: StreamId, fields: Elements<'_>) {
        self.len += 1;
        self.newest = Some(id);
        if let Some(mut last) = self.blocks.last_entry() {
            let (first, block) = (*last.key(), last.get_mut());
            self.block_bytes -= block.heap_bytes();
            let has_room = block.has_room(fields);
            if has_room {
                block.push(first, id, fields);
            } else {
                block.close();
            }
            self.block_bytes += block.heap_bytes();
            if has_room {
                return;
            }
        }
        let block = Block::of(id, fields);
        self.block_bytes += block.heap_bytes();
        self.blocks.insert(id, block);
    }

    fn delete(&mut self, id: StreamId) {
        self.deleted = self.deleted.max(id);
        let Some((&first, block)) = self.blocks.range_mut(..=id).next_back() else { return };
        if !block.remove(first, id) {
            return;
        }
        self.len -= 1;
        if block.count() == 0 {
            self.block_bytes -= block.heap_bytes();
            self.blocks.remove(&first);
        }
        if self.newest == Some(id) {
            self.newest = self.find_newest();
        }
    }

    fn trim(&mut self, through: StreamId, remains: &mut Vec<Remains>) {
        let whole: Vec<StreamId> = self.blocks_through(through).take(SINGLE_BLOCKS_MAX + 1).collect();
        if whole.len() > SINGLE_BLOCKS_MAX {
            remains.extend(self.part(through).map(Remains::StreamParts));
        } else {
            for first in whole {
                let Some(block) = self.blocks.remove(&first) else { continue };
                self.len -= block.count() as u64;
                self.block_bytes -= block.heap_bytes();
            }
        }
        if let Some(mut first) = self.blocks.first_entry()
            && *first.key() <= through
        {
            let key = *first.key();
            self.len -= first.get_mut().remove_through(key, through) as u64;
            if first.get().count() == 0 {
                self.block_bytes -= first.remove().heap_bytes();
            }
        }
        if self.newest.is_some_and(|newest| newest <= through) {
            self.newest = self.find_newest();
        }
    }

    /// First ids of the blocks that have nothing behind this id, but perhaps for the last of them.
    fn blocks_through(&self, through: StreamId) -> impl Iterator<Item = StreamId> {
        let mut blocks = self.blocks.keys().copied().peekable();
        std::iter::from_fn(move || {
            let first = blocks.next()?;
            blocks.peek().is_some_and(|next| *next <= through).then_some(first)
        })
    }

    /// Parts all blocks from the tree that have nothing behind this id, but perhaps for the last of them.
    fn part(&mut self, through: StreamId) -> Option<StreamParts> {
        let (&last, _) = self.blocks.range(..=through).next_back()?;
        let kept = self.blocks.split_off(&last);
        let blocks = std::mem::replace(&mut self.blocks, kept);
        for block in blocks.values() {
            self.len -= block.count() as u64;
            self.block_bytes -= block.heap_bytes();
        }
        Some(StreamParts::Blocks(blocks))
    }

    fn find_newest(&self) -> Option<StreamId> {
        let (first, block) = self.blocks.last_key_value()?;
        block.entries(*first).last().map(|entry| entry.id())
    }

    fn put_group(&mut self, name: &[u8], last: StreamId, read: Option<u64>) {
        match self.groups.get_mut(name) {
            Some(group) => group.set(last, read),
            None => {
                self.group_bytes += share_of::<Box<[u8]>, Group>() + name.len();
                self.groups.insert(name.into(), Group::new(last, read));
            }
        }
    }

    fn remove_group(&mut self, name: &[u8], remains: &mut Vec<Remains>) {
        let Some(group) = self.groups.remove(name) else { return };
        let consumer_bytes: usize = group.consumers().map(|(name, _)| bytes_of_consumer(name)).sum();
        self.group_bytes -= share_of::<Box<[u8]>, Group>() + name.len() + consumer_bytes;
        self.pending -= group.pending_len();
        if group.pending_len() > SINGLE_BLOCKS_MAX {
            remains.push(Remains::StreamParts(StreamParts::Group(group)));
        }
    }

    /// Changes a group that is there.
    fn change_group(&mut self, change: StreamChange<'_>) {
        let name = match change {
            StreamChange::PutConsumer { group, .. }
            | StreamChange::RemoveConsumer { group, .. }
            | StreamChange::PutPending { group, .. }
            | StreamChange::RemovePending { group, .. } => group,
            _ => return,
        };
        let Some(group) = self.groups.get_mut(name) else { return };
        match change {
            StreamChange::PutConsumer { consumer, seen, active, .. } => {
                let is_new = group.put_consumer(consumer, seen, active);
                self.group_bytes += if is_new { bytes_of_consumer(consumer) } else { 0 };
            }
            StreamChange::RemoveConsumer { consumer, .. } => {
                if let Some(pending) = group.remove_consumer(consumer) {
                    self.pending -= pending;
                    self.group_bytes -= bytes_of_consumer(consumer);
                }
            }
            StreamChange::PutPending { consumer, deliveries, .. } => {
                for delivery in deliveries.iter() {
                    if group.consumer(consumer).is_none() && group.put_consumer(consumer, delivery.at, None) {
                        self.group_bytes += bytes_of_consumer(consumer);
                    }
                    self.pending += usize::from(group.put_pending(consumer, delivery));
                }
            }
            StreamChange::RemovePending { ids, .. } => {
                self.pending -= ids.iter().filter(|id| group.remove_pending(*id)).count();
            }
            _ => {}
        }
    }
}

impl StreamParts {
    /// Roughly how many allocations there are.
    pub(crate) fn allocations(&self) -> usize {
        match self {
            StreamParts::Blocks(blocks) => blocks.len(),
            StreamParts::Group(group) => group.pending_len(),
        }
    }

    /// What dropping it frees.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            StreamParts::Blocks(blocks) => {
                let bytes: usize = blocks.values().map(Block::heap_bytes).sum();
                bytes + blocks.len() * share_of::<StreamId, Block>()
            }
            StreamParts::Group(group) => {
                let consumers: usize = group.consumers().map(|(name, _)| bytes_of_consumer(name)).sum();
                consumers + group.pending_len() * PENDING_BYTES
            }
        }
    }
}

/// What a pending entry takes in both its orders.
const PENDING_BYTES: usize = share_of::<StreamId, Pending>() + share_of::<StreamId, ()>();

fn bytes_of_consumer(name: &[u8]) -> usize {
    share_of::<Box<[u8]>, Consumer>() + name.len() + SHARED_NAME_BYTES
}

/// What an entry of a tree takes on average: nodes of the tree are two thirds full.
const fn share_of<K, V>() -> usize {
    size_of::<(K, V)>() * 3 / 2
}
