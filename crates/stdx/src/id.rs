//! Distinct types for the numbers that must never be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// CRC16(key or its {hash tag}) mod 16384.
    Slot(u16)
}
id! {
    /// A contiguous range of slots: the unit of locking, replication, migration and placement.
    PartitionId(u16)
}
id! {
    /// A node's stable number: random, made at its first start and kept in its directory. Also its Raft id.
    NodeId(u64)
}
id! {
    /// The epoch of a partition: raised by every change of its owners.
    Epoch(u64)
}
id! {
    /// The version of the whole cluster map: raised by every committed change.
    MapVersion(u64)
}

/// The place of an effect record in its partition's log: the epoch it was written in, and a counter that never
/// goes back within a partition. Ordered by epoch first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Seq {
    /// Epoch of the primary that wrote the record.
    pub epoch: Epoch,
    /// Records written in the partition up to and including this one.
    pub counter: u64,
}

impl PartitionId {
    /// The partition that holds `slot` when the cluster has `partitions` of them (a power of two, at most 16384).
    #[inline]
    pub fn of_slot(slot: Slot, partitions: u16) -> PartitionId {
        debug_assert!(partitions.is_power_of_two() && partitions <= crate::crc16::SLOTS);
        // Both are powers of two: a shift, where a division would cost as much as a look-up.
        PartitionId(slot.0 >> (crate::crc16::SLOTS.trailing_zeros() - partitions.trailing_zeros()))
    }

    /// The partition that holds `key`.
    #[inline]
    pub fn of_key(key: &[u8], partitions: u16) -> PartitionId {
        PartitionId::of_slot(crate::crc16::slot_of(key), partitions)
    }

    /// First and last slot of this partition.
    #[inline]
    pub fn slots(self, partitions: u16) -> (Slot, Slot) {
        let width = crate::crc16::SLOTS / partitions;
        (Slot(self.0 * width), Slot(self.0 * width + (width - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_cover_all_slots() {
        for partitions in [1u16, 2, 256, 16_384] {
            for slot in [0u16, 1, 63, 64, 8_191, 16_383] {
                let partition = PartitionId::of_slot(Slot(slot), partitions);
                let (first, last) = partition.slots(partitions);
                assert!(first.0 <= slot && slot <= last.0, "{partitions} {slot}");
            }
        }
    }
}
