//! A batch: consecutive records of one partition under one CRC32C. Drawn in `docs/formats/effects.md`.
//!
//! The checksum covers everything after itself, the length included, so that no single flipped bit goes unnoticed.
//! Decoding checks the checksum and the frame of every record before it hands out the first; records are then read
//! without copying. What is left out: a limit of the length, which is for the one who reads frames from a stream
//! to set before it allocates.

use crate::varint::{Reader, write_bytes, write_varint};
use crate::{Corrupt, Record};
use stdx::{Epoch, PartitionId, Seq};

/// Bytes before the body: checksum (4) and length of the body (8), both little-endian.
pub const BATCH_HEADER_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;

/// Version of the body's layout, its first byte.
const FORMAT: u8 = 1;

/// Appends a batch of `records`, whose sequences must rise, to `out`.
///
/// # Panics
/// If the sequence of a record does not come after that of the one before: such a log is already broken.
pub fn encode_batch<'r>(
    out: &mut Vec<u8>,
    partition: PartitionId,
    records: impl Iterator<Item = &'r Record>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
    out.push(FORMAT);
    write_varint(out, u64::from(partition.0));
    let mut before = None;
    for record in records {
        let base: Seq = before.unwrap_or_default();
        assert!(before.is_none_or(|before| follows(before, record.seq)), "{:?} after {before:?}", record.seq);
        write_varint(out, record.seq.epoch.0 - base.epoch.0);
        write_varint(out, record.seq.counter - base.counter);
        write_bytes(out, &record.effects);
        before = Some(record.seq);
    }
    let body_bytes = (out.len() - start - BATCH_HEADER_BYTES) as u64;
    let (_, frame) = out.split_at_mut(start);
    let (checksum, covered) = frame.split_at_mut(CHECKSUM_BYTES);
    covered[..8].copy_from_slice(&body_bytes.to_le_bytes());
    checksum.copy_from_slice(&crc32c::crc32c(covered).to_le_bytes());
}

/// Length of the whole batch that begins with `prefix`; `None` if the header is not complete yet. The length is not
/// verified before [`decode_batch`]: bound it before allocating.
pub fn batch_length(prefix: &[u8]) -> Option<u64> {
    let header = prefix.first_chunk::<BATCH_HEADER_BYTES>()?;
    let length = header.last_chunk::<8>()?;
    Some(u64::from_le_bytes(*length).saturating_add(BATCH_HEADER_BYTES as u64))
}

/// Verifies a whole batch and the frames of its records; what the effects say is for [`crate::decode`] to verify.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch<'_>, Corrupt> {
    let whole = Reader::new(bytes);
    if batch_length(bytes) != Some(bytes.len() as u64) {
        return Err(whole.corrupt("length does not match"));
    }
    let (checksum, covered) =
        bytes.split_first_chunk::<CHECKSUM_BYTES>().ok_or(whole.corrupt("cut short"))?;
    if crc32c::crc32c(covered) != u32::from_le_bytes(*checksum) {
        return Err(whole.corrupt("checksum does not match"));
    }
    let mut reader = Reader::new(bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default());
    if reader.byte()? != FORMAT {
        return Err(reader.corrupt("unknown format of a batch"));
    }
    let partition = u16::try_from(reader.varint()?).map_err(|_| reader.corrupt("no such partition"))?;
    let records = Records { reader, before: None };
    let mut check = records.clone();
    let mut count = 0;
    while let Some(record) = check.read() {
        record?;
        count += 1;
    }
    Ok(Batch { partition: PartitionId(partition), records, count })
}

/// A verified batch.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// The partition whose records these are.
    pub partition: PartitionId,
    records: Records<'a>,
    count: usize,
}

impl<'a> Batch<'a> {
    /// The records in order: sequence and encoded effects.
    pub fn records(&self) -> Records<'a> {
        self.records.clone()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Records of a verified batch.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
    before: Option<Seq>,
}

impl<'a> Records<'a> {
    fn read(&mut self) -> Option<Result<(Seq, &'a [u8]), Corrupt>> {
        if self.reader.is_empty() { None } else { Some(self.read_one()) }
    }

    fn read_one(&mut self) -> Result<(Seq, &'a [u8]), Corrupt> {
        let base = self.before.unwrap_or_default();
        let epoch = base.epoch.0.checked_add(self.reader.varint()?);
        let counter = base.counter.checked_add(self.reader.varint()?);
        let (Some(epoch), Some(counter)) = (epoch, counter) else {
            return Err(self.reader.corrupt("sequence out of range"));
        };
        let seq = Seq { epoch: Epoch(epoch), counter };
        if self.before.is_some_and(|before| !follows(before, seq)) {
            return Err(self.reader.corrupt("sequence does not rise"));
        }
        let effects = self.reader.bytes()?;
        self.before = Some(seq);
        Ok((seq, effects))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (Seq, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map(|record| record.expect("decode_batch read every record before"))
    }
}

/// Neither epoch nor counter ever goes back within a partition, and the counter rises with every record.
fn follows(before: Seq, seq: Seq) -> bool {
    seq.epoch >= before.epoch && seq.counter > before.counter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(epoch: u64, counter: u64) -> Seq {
        Seq { epoch: Epoch(epoch), counter }
    }

    /// The example of `docs/formats/effects.md`.
    #[test]
    fn bytes_are_as_documented() {
        let records = [Record::new(seq(3, 300), b"\x09\0"), Record::new(seq(4, 301), b"\x04\0\x01k")];
        let mut out = b"before".to_vec();
        encode_batch(&mut out, PartitionId(7), records.iter());
        let body = b"\x01\x07\x03\xac\x02\x02\x09\0\x01\x01\x04\x04\0\x01k";
        let covered = [&15u64.to_le_bytes()[..], body].concat();
        let expected = [&b"before"[..], &crc32c::crc32c(&covered).to_le_bytes(), &covered].concat();
        assert_eq!(out, expected);
        let batch = decode_batch(&out[6..]).expect("just encoded");
        assert_eq!((batch.partition, batch.len(), batch.is_empty()), (PartitionId(7), 2, false));
        assert_eq!(
            batch.records().collect::<Vec<_>>(),
            [(seq(3, 300), &b"\x09\0"[..]), (seq(4, 301), &b"\x04\0\x01k"[..])]
        );
    }

    /// A sealed frame around any body: damage that a checksum cannot see.
    fn seal(body: &[u8]) -> Vec<u8> {
        let covered = [&(body.len() as u64).to_le_bytes()[..], body].concat();
        [&crc32c::crc32c(&covered).to_le_bytes()[..], &covered].concat()
    }

    #[track_caller]
    fn check_corrupt(bytes: &[u8], what: &str) {
        assert_eq!(decode_batch(bytes).expect_err("corrupt").what, what);
    }

    #[test]
    fn damage_is_refused() {
        check_corrupt(b"", "length does not match");
        check_corrupt(&seal(b"\x01\0")[..13], "length does not match");
        check_corrupt(&seal(b""), "cut short");
        check_corrupt(&seal(b"\x02\0"), "unknown format of a batch");
        check_corrupt(&seal(b"\x01\x80\x80\x04"), "no such partition");
        check_corrupt(&seal(b"\x01\0\x01\x01\0\0\0\0"), "sequence does not rise");
        check_corrupt(&seal(b"\x01\0\x01\x01\x05"), "cut short");
        let mut flipped = seal(b"\x01\0");
        flipped[0] ^= 1;
        check_corrupt(&flipped, "checksum does not match");
        assert!(decode_batch(&seal(b"\x01\0")).expect("no records").is_empty());
    }

    #[test]
    #[should_panic(expected = "after")]
    fn records_must_rise() {
        let records = [Record::new(seq(3, 5), b""), Record::new(seq(3, 5), b"")];
        encode_batch(&mut Vec::new(), PartitionId(0), records.iter());
    }
}
