//! What a reader sees of a key.

use crate::access::seconds_of;
use crate::deadlines::TICKET_BYTES;
use crate::node::Node;
use crate::segment::SLOT_BYTES;
use crate::snapshot::with_effect;
use crate::value::ValueRef;
use effect::Effect;
use stdx::Wall;

/// A key's value and what is known about the key, borrowed from the partition.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    node: &'a Node,
    now: Wall,
}

impl<'a> EntryRef<'a> {
    #[inline]
    pub(crate) fn new(node: &'a Node, now: Wall) -> EntryRef<'a> {
        EntryRef { node, now }
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> ValueRef<'a> {
        self.node.value()
    }

    /// The bytes of a short string that is kept as such: the usual case of [`EntryRef::value`], told from all others by one
    /// look.
    #[inline(always)]
    pub fn plain(&self) -> Option<&'a [u8]> {
        self.node.plain()
    }

    /// When the key expires, if ever.
    #[inline]
    pub fn expire_at(&self) -> Option<Wall> {
        self.node.expire_at()
    }

    /// Visits the effect that sets the key, in this database.
    pub fn with_effect(&self, db: u8, visit: &mut dyn FnMut(Effect<'_>)) {
        with_effect(db, self.node, visit);
    }

    /// Whole seconds since the key was last read or written.
    pub fn idle_seconds(&self, now: Wall) -> u64 {
        u64::from(self.node.access().idle_seconds(seconds_of(now)))
    }

    /// Logarithmic frequency of use as OBJECT FREQ answers it, as of the time of the look-up.
    pub fn frequency(&self) -> u8 {
        self.node.access().frequency(seconds_of(self.now))
    }

    /// Memory that the key takes: its allocations, its slot of the table and its place in the index of deadlines.
    pub fn memory_bytes(&self) -> u64 {
        let ticket_bytes = if self.node.expire_at().is_some() { TICKET_BYTES } else { 0 };
        (self.node.bytes() + SLOT_BYTES + ticket_bytes) as u64
    }
}

/// Whether a key with this deadline is hidden and due for removal: from the millisecond of the deadline on.
#[inline]
pub(crate) fn is_expired(expire_at: Option<Wall>, now: Wall) -> bool {
    expire_at.is_some_and(|at| at <= now)
}
