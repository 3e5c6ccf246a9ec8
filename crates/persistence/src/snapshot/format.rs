//! The fixed parts of a snapshot: its header, and the table at its end.

use crate::fields::Fields;
use crate::frame::Seed;
use stdx::{Epoch, PartitionId, Seq};

/// Bytes before the first frame.
pub(crate) const SNAPSHOT_HEADER_BYTES: usize = 36;
/// Names the format and, in the last byte, its version.
const MAGIC: &[u8; 8] = b"HCSNAP\0\x01";
/// Bytes of one partition in the table.
const ENTRY_BYTES: usize = 34;

/// The header of snapshot `number`, whose marks are in `first_segment` and after it.
pub(crate) fn encode_header(seed: Seed, log_id: u64, number: u64, first_segment: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SNAPSHOT_HEADER_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(log_id.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(first_segment.to_le_bytes());
    bytes.extend(seed.sum(&bytes).to_le_bytes());
    bytes
}

/// Where a partition is in a snapshot, and as of which sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) partition: PartitionId,
    pub(crate) seq: Seq,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The partitions of a snapshot in the order in which they stand there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Table(pub(crate) Vec<Extent>);

impl Table {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY_BYTES);
        for extent in &self.0 {
            bytes.extend(extent.partition.0.to_le_bytes());
            bytes.extend(extent.seq.epoch.0.to_le_bytes());
            bytes.extend(extent.seq.counter.to_le_bytes());
            bytes.extend(extent.start.to_le_bytes());
            bytes.extend(extent.end.to_le_bytes());
        }
        bytes
    }

    /// The table of a snapshot whose partitions fill it from the header up to `end`; `None` if they do not, or one of them is
    /// there twice.
    pub(crate) fn decode(bytes: &[u8], end: u64) -> Option<Table> {
        let mut fields = Fields(bytes);
        let mut extents = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
        let mut at = SNAPSHOT_HEADER_BYTES as u64;
        while !fields.0.is_empty() {
            let partition = PartitionId(fields.u16()?);
            let seq = Seq { epoch: Epoch(fields.u64()?), counter: fields.u64()? };
            let (start, end) = (fields.u64()?, fields.u64()?);
            if start != at || end <= start {
                return None;
            }
            at = end;
            extents.push(Extent { partition, seq, start, end });
        }
        let mut partitions: Vec<_> = extents.iter().map(|extent| extent.partition).collect();
        partitions.sort();
        partitions.dedup();
        (at == end && partitions.len() == extents.len()).then_some(Table(extents))
    }

    /// Where `partition` is.
    pub(crate) fn find(&self, partition: PartitionId) -> Option<&Extent> {
        self.0.iter().find(|extent| extent.partition == partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_without_gaps_and_repetitions() {
        let start = SNAPSHOT_HEADER_BYTES as u64;
        let seq = Seq { epoch: Epoch(2), counter: 3 };
        let extent = |partition, start, end| Extent { partition: PartitionId(partition), seq, start, end };
        let decoded = |extents: &[Extent]| Table::decode(&Table(extents.to_vec()).encode(), start + 20);
        let good = [extent(4, start, start + 5), extent(2, start + 5, start + 20)];
        assert_eq!(decoded(&good), Some(Table(good.to_vec())));
        assert_eq!(decoded(&good[..1]), None, "ends too early");
        assert_eq!(decoded(&[extent(4, start + 1, start + 20)]), None, "a gap");
        assert_eq!(decoded(&[extent(2, start, start + 5), good[1]]), None, "twice");
        assert_eq!(Table::decode(&good.map(|extent| Table(vec![extent]).encode()).concat()[1..], 0), None);
        assert_eq!(Table::decode(&[], start), Some(Table::default()));
    }
}
