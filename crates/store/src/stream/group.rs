//! A consumer group: what was delivered last, who consumes, and what is pending for whom.
//!
//! A pending entry stands in two orders, that of its group and that of its consumer, each by id.

use effect::{Delivery, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use stdx::Wall;

/// A group of a stream, to read.
#[derive(Debug)]
pub struct Group {
    last: StreamId,
    read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    consumers: BTreeMap<Arc<[u8]>, Consumer>,
}

/// An entry that was delivered and not acknowledged yet.
#[derive(Debug)]
pub struct Pending {
    consumer: Arc<[u8]>,
    at: Wall,
    count: u64,
}

/// A consumer of a group, to read.
#[derive(Debug)]
pub struct Consumer {
    seen: Wall,
    active: Option<Wall>,
    pending: BTreeSet<StreamId>,
}

impl Group {
    pub(super) fn new(last: StreamId, read: Option<u64>) -> Group {
        Group { last, read, pending: BTreeMap::new(), consumers: BTreeMap::new() }
    }

    /// The last id that was delivered.
    pub fn last_id(&self) -> StreamId {
        self.last
    }

    /// How many entries were read, if that is known.
    pub fn entries_read(&self) -> Option<u64> {
        self.read
    }

    /// How many entries are pending.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The pending entry of this id.
    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// Pending entries in order.
    pub fn pending_range(
        &self,
        range: RangeInclusive<StreamId>,
    ) -> impl DoubleEndedIterator<Item = (StreamId, &Pending)> {
        let range = if range.is_empty() { None } else { Some(self.pending.range(range)) };
        range.into_iter().flatten().map(|(id, pending)| (*id, pending))
    }

    /// How many consumers there are.
    pub fn consumers_len(&self) -> usize {
        self.consumers.len()
    }

    /// The consumers with their names, in the order of these.
    pub fn consumers(&self) -> impl Iterator<Item = (&[u8], &Consumer)> {
        self.consumers.iter().map(|(name, consumer)| (&**name, consumer))
    }

    /// The consumer of this name.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(name)
    }

    pub(super) fn set(&mut self, last: StreamId, read: Option<u64>) {
        (self.last, self.read) = (last, read);
    }

    /// Sets the times of a consumer; whether it is new.
    pub(super) fn put_consumer(&mut self, name: &[u8], seen: Wall, active: Option<Wall>) -> bool {
        if let Some(consumer) = self.consumers.get_mut(name) {
            (consumer.seen, consumer.active) = (seen, active);
            return false;
        }
        self.consumers.insert(name.into(), Consumer { seen, active, pending: BTreeSet::new() });
        true
    }

    /// Removes a consumer with all that is pending for it; how many entries that were, or `None` if there is none.
    pub(super) fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        consumer.pending.iter().for_each(|id| drop(self.pending.remove(id)));
        Some(consumer.pending.len())
    }

    /// Makes an entry pending for a consumer that is there, whoever had it; whether it was not pending before.
    pub(super) fn put_pending(&mut self, name: &[u8], delivery: Delivery) -> bool {
        let Some((name, _)) = self.consumers.get_key_value(name) else { return false };
        let Delivery { id, at, count } = delivery;
        let pending = Pending { consumer: Arc::clone(name), at, count };
        let former = self.pending.insert(id, pending);
        if let Some(former) = &former
            && let Some(consumer) = self.consumers.get_mut(&former.consumer)
        {
            consumer.pending.remove(&id);
        }
        if let Some(pending) = self.pending.get(&id)
            && let Some(consumer) = self.consumers.get_mut(&pending.consumer)
        {
            consumer.pending.insert(id);
        }
        former.is_none()
    }

    /// Makes an entry pending no longer; whether it was.
    pub(super) fn remove_pending(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        if let Some(consumer) = self.consumers.get_mut(&pending.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }
}

impl Pending {
    /// Name of the consumer that has it.
    pub fn consumer(&self) -> &[u8] {
        &self.consumer
    }

    /// When it was delivered last.
    pub fn at(&self) -> Wall {
        self.at
    }

    /// How often it was delivered.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Consumer {
    /// When it was seen last.
    pub fn seen(&self) -> Wall {
        self.seen
    }

    /// When something was delivered to it last, if ever.
    pub fn active(&self) -> Option<Wall> {
        self.active
    }

    /// How many entries are pending for it.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Ids of the entries that are pending for it, in order.
    pub fn pending_range(&self, range: RangeInclusive<StreamId>) -> impl Iterator<Item = StreamId> {
        let range = if range.is_empty() { None } else { Some(self.pending.range(range)) };
        range.into_iter().flatten().copied()
    }
}
