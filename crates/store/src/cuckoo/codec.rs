//! A filter as bytes and back: docs/formats/cuckoo.md.
//!
//! All that gives the size of the rest stands in front, so a reader knows from the first piece how much is to come, and
//! every length is compared with the input before anything is allocated. No checksum: what carries the bytes has one.

use super::buckets::Buckets;
use super::config::{BUCKETS_MAX, CuckooConfig, FINGERPRINT_BITS_MAX, FINGERPRINT_BITS_MIN};
use super::sub_filter::SubFilter;
use super::{CuckooFilter, SUB_FILTERS_MAX, extra_bits};
use std::fmt;

const FORMAT: u8 = 1;

/// Why bytes are not a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CuckooDecodeError {
    /// A format that this version does not know.
    Format(u8),
    /// The bytes end before the filter does.
    Truncated,
    /// Bytes follow after the end of the filter.
    Trailing,
    /// A field that no filter has.
    Invalid(&'static str),
}

impl fmt::Display for CuckooDecodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CuckooDecodeError::Format(format) => write!(out, "unknown filter format {format}"),
            CuckooDecodeError::Truncated => out.write_str("the filter is cut short"),
            CuckooDecodeError::Trailing => out.write_str("bytes after the end of the filter"),
            CuckooDecodeError::Invalid(field) => write!(out, "no filter has this {field}"),
        }
    }
}

impl std::error::Error for CuckooDecodeError {}

impl CuckooFilter {
    /// Bytes that [`CuckooFilter::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        self.header().len() + self.sub_filters.iter().map(|part| part.data().len()).sum::<usize>()
    }

    /// Appends the filter. Filters that saw the same operations give the same bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_range(0, usize::MAX, out);
    }

    /// Appends up to `len` bytes of the encoded filter from `offset` on; nothing beyond its end.
    ///
    /// The pieces make one filter only if it did not change between them.
    pub fn encode_range(&self, offset: usize, len: usize, out: &mut Vec<u8>) {
        let end = offset.saturating_add(len).min(self.encoded_len());
        out.reserve(end.saturating_sub(offset));
        let header = self.header();
        let parts = std::iter::once(header.as_slice()).chain(self.sub_filters.iter().map(SubFilter::data));
        let mut begin = 0;
        for part in parts {
            let (from, to) = (offset.max(begin), end.min(begin + part.len()));
            if from < to {
                out.extend_from_slice(&part[from - begin..to - begin]);
            }
            begin += part.len();
        }
    }

    /// Reads a filter from exactly these bytes.
    ///
    /// # Errors
    /// When the bytes are no filter. Damage that leaves a filter is not noticed: the carrier has the checksum.
    pub fn decode(bytes: &[u8]) -> Result<CuckooFilter, CuckooDecodeError> {
        let (header, mut rest) = Header::read(bytes)?;
        let base_bits = header.config.fingerprint_bits;
        let data_len = |index: usize, buckets: u32| {
            Buckets::data_bytes(buckets, base_bits + extra_bits(base_bits, index))
        };
        let needed: usize =
            header.buckets.iter().enumerate().map(|(index, &buckets)| data_len(index, buckets)).sum();
        if rest.len() != needed {
            let short = rest.len() < needed;
            return Err(if short { CuckooDecodeError::Truncated } else { CuckooDecodeError::Trailing });
        }
        let mut sub_filters = Vec::with_capacity(header.buckets.len());
        for (index, &buckets) in header.buckets.iter().enumerate() {
            let data = take(&mut rest, data_len(index, buckets))?;
            let part = SubFilter::from_data(data, buckets, base_bits, extra_bits(base_bits, index))
                .ok_or(CuckooDecodeError::Invalid("fingerprint"))?;
            sub_filters.push(part);
        }
        Ok(CuckooFilter { config: header.config, sub_filters, deleted: header.deleted })
    }

    fn header(&self) -> Vec<u8> {
        let mut out = vec![FORMAT, self.config.fingerprint_bits as u8, self.sub_filters.len() as u8];
        out.extend_from_slice(&self.config.expansion.to_le_bytes());
        out.extend_from_slice(&self.deleted.to_le_bytes());
        for part in &self.sub_filters {
            out.extend_from_slice(&part.buckets().to_le_bytes());
        }
        out
    }
}

/// All before the packed buckets.
struct Header {
    config: CuckooConfig,
    deleted: u64,
    /// Of each sub-filter; their sum is at most [`BUCKETS_MAX`].
    buckets: Vec<u32>,
}

impl Header {
    fn read(mut bytes: &[u8]) -> Result<(Header, &[u8]), CuckooDecodeError> {
        let input = &mut bytes;
        let [format] = array(input)?;
        if format != FORMAT {
            return Err(CuckooDecodeError::Format(format));
        }
        let [bits, sub_filters] = array(input)?.map(u32::from);
        if !(FINGERPRINT_BITS_MIN..=FINGERPRINT_BITS_MAX).contains(&bits) {
            return Err(CuckooDecodeError::Invalid("width of fingerprints"));
        }
        let sub_filters = sub_filters as usize;
        if !(1..=SUB_FILTERS_MAX).contains(&sub_filters) {
            return Err(CuckooDecodeError::Invalid("number of sub-filters"));
        }
        let expansion = u16::from_le_bytes(array(input)?);
        let deleted = u64::from_le_bytes(array(input)?);
        let mut buckets: Vec<u32> = Vec::with_capacity(sub_filters);
        let mut total = 0u64;
        for _ in 0..sub_filters {
            let count = u32::from_le_bytes(array(input)?);
            let follows = match buckets.last() {
                None => count > 0,
                Some(&before) => {
                    expansion > 0
                        && (count == before || u64::from(count) == u64::from(before) * u64::from(expansion))
                }
            };
            total += u64::from(count);
            if !follows || total > u64::from(BUCKETS_MAX) {
                return Err(CuckooDecodeError::Invalid("number of buckets"));
            }
            buckets.push(count);
        }
        let first = buckets.first().copied().ok_or(CuckooDecodeError::Truncated)?;
        let config = CuckooConfig { buckets: first, fingerprint_bits: bits, expansion };
        Ok((Header { config, deleted, buckets }, bytes))
    }
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], CuckooDecodeError> {
    let (taken, rest) = input.split_at_checked(len).ok_or(CuckooDecodeError::Truncated)?;
    *input = rest;
    Ok(taken)
}

fn array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], CuckooDecodeError> {
    let (taken, rest) = input.split_first_chunk().ok_or(CuckooDecodeError::Truncated)?;
    *input = rest;
    Ok(*taken)
}
