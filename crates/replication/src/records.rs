//! Consecutive records as bytes, as they stand in the log and on the wire: for each one its sequence (epoch, counter), the
//! length of its effects, all little-endian and of fixed width, and the effects.
//!
//! Links are TCP and authenticated, so there is no checksum; records in a file have one.

use crate::CodecError;
use std::borrow::Cow;
use stdx::{Epoch, Seq};

/// Bytes in front of the effects of a record.
pub(crate) const RECORD_HEADER_BYTES: usize = 8 + 8 + 4;

/// Encoded records of which every length is known to fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records<'a> {
    bytes: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    /// Bytes that were encoded here.
    pub(crate) fn encoded(bytes: &'a [u8]) -> Records<'a> {
        Records { bytes: Cow::Borrowed(bytes) }
    }

    /// Bytes that came from elsewhere.
    pub(crate) fn checked(bytes: &'a [u8]) -> Result<Records<'a>, CodecError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, _, rest) = split_record(rest).ok_or(CodecError)?;
        }
        Ok(Records::encoded(bytes))
    }

    /// Appends a record.
    pub fn push(&mut self, seq: Seq, effects: &[u8]) {
        put_record(self.bytes.to_mut(), seq, effects);
    }

    /// Sequence and effects of each, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Seq, &[u8])> {
        let mut rest: &[u8] = &self.bytes;
        std::iter::from_fn(move || {
            let (seq, effects, after) = split_record(rest)?;
            rest = after;
            Some((seq, effects))
        })
    }

    /// Bytes of all, their headers included.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The same, independent of where they were borrowed from.
    pub fn into_owned(self) -> Records<'static> {
        Records { bytes: Cow::Owned(self.bytes.into_owned()) }
    }

    /// As they travel.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Appends one record to `out`.
pub(crate) fn put_record(out: &mut Vec<u8>, seq: Seq, effects: &[u8]) {
    let len = u32::try_from(effects.len()).expect("a record holds far less than 4 GiB");
    let mut header = [0; RECORD_HEADER_BYTES];
    let (epoch, rest) = header.split_at_mut(8);
    let (counter, length) = rest.split_at_mut(8);
    epoch.copy_from_slice(&seq.epoch.0.to_le_bytes());
    counter.copy_from_slice(&seq.counter.to_le_bytes());
    length.copy_from_slice(&len.to_le_bytes());
    out.reserve(RECORD_HEADER_BYTES + effects.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(effects);
}

/// The first record and what comes behind it; `None` at the end, or if it is cut short.
fn split_record(bytes: &[u8]) -> Option<(Seq, &[u8], &[u8])> {
    let (epoch, rest) = bytes.split_first_chunk()?;
    let (counter, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (effects, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let seq = Seq { epoch: Epoch(u64::from_le_bytes(*epoch)), counter: u64::from_le_bytes(*counter) };
    Some((seq, effects, rest))
}
