//! What log and snapshots say of a partition besides its data: which cluster it is of, and which life of it this is.
//!
//! ```text
//! +---------+------------+------------+------------+
//! | 1 (u8)  | cluster u64| count  u16 | born   u64 |    little-endian
//! +---------+------------+------------+------------+
//! ```

use stdx::Epoch;

const FORMAT: u8 = 1;
const BYTES: usize = 1 + 8 + 2 + 8;

/// Kept with every partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartitionState {
    /// The cluster.
    pub(crate) cluster_id: u64,
    /// How many partitions it has.
    pub(crate) partitions: u16,
    /// The epoch in which the partition had begun empty.
    pub(crate) born: Epoch,
}

impl PartitionState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.cluster_id.to_le_bytes());
        bytes.extend_from_slice(&self.partitions.to_le_bytes());
        bytes.extend_from_slice(&self.born.0.to_le_bytes());
        bytes
    }

    /// `None` if it was written by a version that knew other formats.
    pub(crate) fn decode(bytes: &[u8]) -> Option<PartitionState> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let (&[format], rest) = bytes.split_first_chunk::<1>()?;
        let (cluster_id, rest) = rest.split_first_chunk::<8>()?;
        let (partitions, rest) = rest.split_first_chunk::<2>()?;
        let born = rest.first_chunk::<8>()?;
        (format == FORMAT).then_some(PartitionState {
            cluster_id: u64::from_le_bytes(*cluster_id),
            partitions: u16::from_le_bytes(*partitions),
            born: Epoch(u64::from_le_bytes(*born)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_what_it_does_not_know() {
        let state = PartitionState { cluster_id: 7 << 40, partitions: 256, born: Epoch(3) };
        let mut bytes = state.encode();
        assert_eq!(PartitionState::decode(&bytes), Some(state));
        assert_eq!(PartitionState::decode(&bytes[1..]), None);
        bytes[0] = 2;
        assert_eq!(PartitionState::decode(&bytes), None);
    }
}
