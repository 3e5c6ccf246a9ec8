//! What all workers share beside partitions: which events are wanted, where garbage goes, whether memory is full.

use crate::shared::Shared;
use commands::events::Events;
use std::sync::atomic::Ordering;
use store::Garbage;

impl Shared {
    /// Which keyspace events are published.
    #[inline]
    pub(crate) fn events(&self) -> Events {
        Events::from_bits(self.events.load(Ordering::Relaxed))
    }

    /// Takes over what the configuration says about them.
    pub(crate) fn refresh_events(&self) {
        self.events.store(self.platform.limits().events.bits(), Ordering::Relaxed);
    }

    /// Whether more memory is in use than there may be.
    pub(crate) fn is_full(&self) -> bool {
        let limit = self.platform.limits().memory_bytes_max;
        limit > 0 && self.memory_used() > limit
    }

    /// Frees what changes have left behind, here if that is quick. No lock must be held.
    pub(crate) fn free(&self, garbage: Garbage) {
        if garbage.is_slow_to_free() {
            self.platform.discard(garbage);
        }
    }
}
