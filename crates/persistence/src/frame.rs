//! A frame: what the log and the snapshots are made of. Drawn in `docs/formats/append-only-log.md`.
//!
//! The header has a checksum of its own beside that of the payload. So when payload is damaged it is known whose it was and
//! where the next frame begins, and one partition is refused instead of all of them. Checksums begin from a seed
//! that names the log (or the snapshot): a frame that strays here from another file is no frame.

use crate::fields::Fields;
use stdx::{Epoch, PartitionId, Seq};

/// Bytes before the payload.
pub const FRAME_HEADER_BYTES: usize = 32;
/// The first checksum covers the header from here on.
const COVERED_FROM: usize = 4;

/// What a frame says. The numbers are the format; none is ever used again for something else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Log: effects of one write; the counter is one above the one before it in the partition.
    Effects = 1,
    /// Log: the partition is held and empty as of the sequence; what came before is void. Payload: the caller's state.
    Emptied = 2,
    /// Log: what came before is void; a copy as of the sequence follows in pieces. Payload: the caller's state.
    CopyBegun = 3,
    /// Log: a piece of the copy, effects.
    CopyChunk = 4,
    /// Log: the copy is whole.
    CopyEnded = 5,
    /// Log: the partition is no longer held; what came before is void.
    Dropped = 6,
    /// Log: the caller's state of the partition (its reign, for instance) from here on.
    State = 7,
    /// Log: a snapshot has the partition as it is here. Payload: the snapshot's number, and whether the copy was whole.
    SnapshotMark = 8,
    /// Log: the segment was durable up to the offset that stands in place of the counter when this was written.
    Durable = 9,
    /// Snapshot: a partition begins. Payload: the caller's state.
    PartitionBegun = 32,
    /// Snapshot: effects of the partition.
    Chunk = 33,
    /// Snapshot: effects of the partition, compressed: length when decompressed (4), then an LZ4 block.
    ChunkLz4 = 34,
    /// Snapshot: the partition ends; its chunks are in place of the counter.
    PartitionEnded = 35,
    /// Snapshot: where each partition is.
    Table = 36,
    /// Snapshot: the last frame; the offset of the table is in place of the counter.
    Footer = 37,
}

impl Kind {
    /// The kind of that number.
    pub(crate) fn of(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::Effects,
            2 => Kind::Emptied,
            3 => Kind::CopyBegun,
            4 => Kind::CopyChunk,
            5 => Kind::CopyEnded,
            6 => Kind::Dropped,
            7 => Kind::State,
            8 => Kind::SnapshotMark,
            9 => Kind::Durable,
            32 => Kind::PartitionBegun,
            33 => Kind::Chunk,
            34 => Kind::ChunkLz4,
            35 => Kind::PartitionEnded,
            36 => Kind::Table,
            37 => Kind::Footer,
            _ => return None,
        })
    }
}

/// What the checksums of one log or one snapshot begin from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seed(u32);

impl Seed {
    /// Of all segments of the log `log_id`.
    pub(crate) fn of_log(log_id: u64) -> Seed {
        Seed(crc32c::crc32c(&log_id.to_le_bytes()))
    }

    /// Of snapshot `number` of the log `log_id`.
    pub(crate) fn of_snapshot(log_id: u64, number: u64) -> Seed {
        Seed(crc32c::crc32c_append(Seed::of_log(log_id).0, &number.to_le_bytes()))
    }

    pub(crate) fn sum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) partition: PartitionId,
    pub(crate) seq: Seq,
    /// Bytes of payload.
    pub(crate) length: u32,
    pub(crate) payload_sum: u32,
}

impl Header {
    /// The header of a frame with that payload; `None` if it has 4 GiB or more.
    pub(crate) fn new(
        seed: Seed,
        kind: Kind,
        partition: PartitionId,
        seq: Seq,
        payload: &[u8],
    ) -> Option<Header> {
        let length = u32::try_from(payload.len()).ok()?;
        Some(Header { kind, partition, seq, length, payload_sum: seed.sum(payload) })
    }

    /// A header without payload, about no partition: `number` stands in place of the counter.
    pub(crate) fn bare(seed: Seed, kind: Kind, number: u64) -> Header {
        let seq = Seq { epoch: Epoch(0), counter: number };
        Header { kind, partition: PartitionId(0), seq, length: 0, payload_sum: seed.sum(&[]) }
    }

    pub(crate) fn encode(&self, seed: Seed) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[4..8].copy_from_slice(&self.payload_sum.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12] = self.kind as u8;
        bytes[14..16].copy_from_slice(&self.partition.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seq.epoch.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.seq.counter.to_le_bytes());
        let sum = seed.sum(&bytes[COVERED_FROM..]);
        bytes[..COVERED_FROM].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The header at the front of `bytes`; `None` if there is none that is sound.
    pub(crate) fn decode(seed: Seed, bytes: &[u8]) -> Option<Header> {
        let (header, _) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let (sum, covered) = header.split_first_chunk()?;
        (seed.sum(covered) == u32::from_le_bytes(*sum)).then(|| Header::glance(header))?
    }

    /// What the front of `bytes` looks like, its checksum unseen: good for a guess.
    pub(crate) fn glance(bytes: &[u8]) -> Option<Header> {
        let (header, _) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let mut fields = Fields(header);
        fields.u32()?;
        let (payload_sum, length) = (fields.u32()?, fields.u32()?);
        let (kind, zero) = (Kind::of(fields.u8()?)?, fields.u8()?);
        let partition = PartitionId(fields.u16()?);
        let seq = Seq { epoch: Epoch(fields.u64()?), counter: fields.u64()? };
        (zero == 0).then_some(Header { kind, partition, seq, length, payload_sum })
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.length)
    }
}

/// Appends a whole frame to `out`; false if the payload has 4 GiB or more.
pub(crate) fn put_frame(
    out: &mut Vec<u8>,
    seed: Seed,
    kind: Kind,
    (partition, seq): (PartitionId, Seq),
    payload: &[u8],
) -> bool {
    let Some(header) = Header::new(seed, kind, partition, seq, payload) else { return false };
    out.extend_from_slice(&header.encode(seed));
    out.extend_from_slice(payload);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: Seed = Seed(7);

    #[test]
    fn kinds_are_what_they_are_numbered() {
        let known = (0..=u8::MAX).filter_map(Kind::of);
        assert!(known.clone().all(|kind| Kind::of(kind as u8) == Some(kind)));
        assert_eq!(known.count(), 15);
    }

    /// The example of `docs/formats/append-only-log.md`.
    #[test]
    fn bytes_are_as_documented() {
        let seed = Seed::of_log(0xfeed);
        let seq = Seq { epoch: Epoch(3), counter: 300 };
        let mut bytes = Vec::new();
        assert!(put_frame(&mut bytes, seed, Kind::Effects, (PartitionId(7), seq), b"\x09\0"));
        let sums = [0x3f, 0xdb, 0x12, 0x16, 0x35, 0x28, 0x86, 0xf9];
        let rest = b"\x02\0\0\0\x01\0\x07\0\x03\0\0\0\0\0\0\0\x2c\x01\0\0\0\0\0\0\x09\0";
        assert_eq!(bytes, [&sums[..], rest].concat());
    }

    proptest! {
        #[test]
        fn headers_round_trip_and_any_flip_is_seen(
            partition: u16, epoch: u64, counter: u64, payload: Vec<u8>, bit in 0usize..256,
        ) {
            let seq = Seq { epoch: Epoch(epoch), counter };
            let header = Header::new(SEED, Kind::State, PartitionId(partition), seq, &payload)
                .expect("short");
            let mut bytes = header.encode(SEED);
            prop_assert_eq!(Header::decode(SEED, &bytes), Some(header));
            prop_assert_eq!(Header::decode(Seed(8), &bytes), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Header::decode(SEED, &bytes), None);
        }
    }
}
