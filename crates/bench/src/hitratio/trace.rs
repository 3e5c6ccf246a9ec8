//! Traces: zstd, inside records of 20 bytes without a header, `u32 time_s | u64 key | u32 size | u32 ttl_s`, little-endian.
//!
//! Times to live are left out: the simulators that we are held against ignored them.

use crate::Result;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const RECORD_BYTES: usize = 20;

/// One request of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Request {
    /// Numbered by first appearance.
    pub(super) key: u64,
    /// Bytes of its value; 1 where the source has no sizes.
    pub(super) bytes: u32,
}

/// All requests of a trace.
///
/// # Errors
/// When the file is missing or damaged.
pub(super) fn read(path: &Path) -> Result<Vec<Request>> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(BufReader::new(file))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes)?;
    Ok(requests(&bytes))
}

fn requests(bytes: &[u8]) -> Vec<Request> {
    let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
    records.iter().filter_map(request).collect()
}

fn request(record: &[u8; RECORD_BYTES]) -> Option<Request> {
    let key = u64::from_le_bytes(*record.get(4..)?.first_chunk()?);
    let bytes = u32::from_le_bytes(*record.get(12..)?.first_chunk()?);
    Some(Request { key, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_little_endian() {
        let mut bytes = 7u32.to_le_bytes().to_vec();
        bytes.extend(0x0102_0304_0506u64.to_le_bytes());
        bytes.extend(99u32.to_le_bytes());
        bytes.extend(60u32.to_le_bytes());
        assert_eq!(requests(&bytes), [Request { key: 0x0102_0304_0506, bytes: 99 }]);
    }
}
