//! The header of a segment: which log it belongs to, its number, and how the segment before it ended.
//!
//! Number, length and checksum of the one before chain the segments: none can be missing, exchanged or cut unnoticed,
//! except at the end of the last.

use crate::fields::Fields;
use crate::frame::Seed;

/// Bytes before the first frame.
pub const SEGMENT_HEADER_BYTES: usize = 40;
/// Names the format and, in the last byte, its version.
const MAGIC: &[u8; 8] = b"HCAOF\0\0\x01";
const VERSION_AT: usize = 7;

/// How a segment ends: what the next one repeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ending {
    /// Bytes of the whole file.
    pub(crate) length: u64,
    /// CRC32C of the whole file.
    pub(crate) sum: u32,
}

impl Ending {
    /// The ending after `bytes` more.
    pub(crate) fn after(self, bytes: &[u8]) -> Ending {
        Ending { length: self.length + bytes.len() as u64, sum: crc32c::crc32c_append(self.sum, bytes) }
    }
}

/// The header of segment `number`, which follows one that ended like `before`.
pub(crate) fn encode(seed: Seed, log_id: u64, number: u64, before: Ending) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(log_id.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(before.length.to_le_bytes());
    bytes.extend(before.sum.to_le_bytes());
    bytes.extend(seed.sum(&bytes).to_le_bytes());
    bytes
}

/// The ending of the segment before, from the header of segment `number`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn decode(seed: Seed, log_id: u64, number: u64, bytes: &[u8]) -> Result<Ending, &'static str> {
    let short = "the header of the segment is cut short";
    let (header, _) = bytes.split_first_chunk::<SEGMENT_HEADER_BYTES>().ok_or(short)?;
    let mut fields = Fields(header);
    let magic = fields.bytes::<8>().ok_or(short)?;
    let found = (fields.u64().ok_or(short)?, fields.u64().ok_or(short)?);
    let before = Ending { length: fields.u64().ok_or(short)?, sum: fields.u32().ok_or(short)? };
    let covered = header.split_last_chunk::<4>().map_or(&header[..], |(covered, _)| covered);
    if magic.get(..VERSION_AT) != MAGIC.get(..VERSION_AT) {
        return Err("this is not a segment");
    }
    if fields.u32() != Some(seed.sum(covered)) {
        return Err("the header of the segment does not match its checksum");
    }
    if magic != *MAGIC {
        return Err("the segment is of a version that this program does not know");
    }
    if found != (log_id, number) {
        return Err("this is a segment of another log or another number");
    }
    Ok(before)
}
