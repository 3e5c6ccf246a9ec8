//! A filter as bytes and back: docs/formats/cuckoo.md.
//!
//! All that gives the size of the rest stands in front, so a reader knows from the first piece how much is to come, and
//! every length is compared with the input before anything is allocated. No checksum: what carries the bytes has one.

use super::buckets::Buckets;
use super::config::{BUCKETS_MAX, CuckooConfig, FINGERPRINT_BITS_MAX, FINGERPRINT_BITS_MIN};
use super::sub_filter::SubFilter;
use super::{CuckooFilter, ENCODED_BYTES_MAX, SUB_FILTERS_MAX, extra_bits};
use std::fmt;

/// First byte of every encoded cuckoo filter.
pub(crate) const FORMAT: u8 = 1;
/// Bytes that give a sub-filter's number of buckets.
const COUNT_BYTES: usize = size_of::<u32>();
/// Most deletes that a filter has seen: so many that none ever has, and few enough to count on from.
const DELETED_MAX: u64 = 1 << 60;

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
        let needed = header.data_len();
        if rest.len() != needed {
            let short = rest.len() < needed;
            return Err(if short { CuckooDecodeError::Truncated } else { CuckooDecodeError::Trailing });
        }
        let mut sub_filters = Vec::with_capacity(header.buckets.len());
        for (extra_bits, buckets) in header.sub_filters() {
            let data = take(&mut rest, Buckets::data_bytes(buckets, base_bits + extra_bits))?;
            let part = SubFilter::from_data(data, buckets, base_bits, extra_bits)
                .ok_or(CuckooDecodeError::Invalid("fingerprint"))?;
            sub_filters.push(part);
        }
        Ok(CuckooFilter { config: header.config, sub_filters, deleted: header.deleted })
    }

    /// The empty filter with this header.
    ///
    /// # Errors
    /// When the bytes are not exactly the header of an empty filter.
    pub(crate) fn decode_empty(bytes: &[u8]) -> Result<CuckooFilter, CuckooDecodeError> {
        let (header, rest) = Header::read(bytes)?;
        if !rest.is_empty() {
            return Err(CuckooDecodeError::Trailing);
        }
        if header.buckets.len() > 1 || header.deleted > 0 {
            return Err(CuckooDecodeError::Invalid("number of sub-filters"));
        }
        Ok(CuckooFilter::new(header.config))
    }

    /// Bytes of the header that an encoded filter begins with, and of the whole.
    ///
    /// # Errors
    /// When the bytes do not begin with a header.
    pub(crate) fn encoded_lens(bytes: &[u8]) -> Result<(usize, usize), CuckooDecodeError> {
        let (header, rest) = Header::read(bytes)?;
        let header_len = bytes.len() - rest.len();
        Ok((header_len, header_len + header.data_len()))
    }

    /// What precedes the packed buckets of the encoded filter.
    pub(crate) fn header(&self) -> Vec<u8> {
        header(self.config, self.deleted, self.sub_filters.iter().map(SubFilter::buckets))
    }
}

impl CuckooConfig {
    /// The header of an empty filter of this kind: what makes it anywhere. `None` if it would be too large.
    pub fn header(&self) -> Option<Vec<u8>> {
        let header = header(*self, 0, std::iter::once(self.buckets));
        (header.len() + self.memory_bytes() <= ENCODED_BYTES_MAX).then_some(header)
    }
}

/// Bytes that a sub-filter adds to an encoded filter.
pub(super) fn encoded_len_of_one(buckets: u32, bits: u32) -> usize {
    COUNT_BYTES + Buckets::data_bytes(buckets, bits)
}

fn header(config: CuckooConfig, deleted: u64, buckets: impl ExactSizeIterator<Item = u32>) -> Vec<u8> {
    let mut out = vec![FORMAT, config.fingerprint_bits as u8, buckets.len() as u8];
    out.extend_from_slice(&config.expansion.to_le_bytes());
    out.extend_from_slice(&deleted.to_le_bytes());
    buckets.for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    out
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
        let whole_len = bytes.len();
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
        if deleted > DELETED_MAX {
            return Err(CuckooDecodeError::Invalid("number of deletes"));
        }
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
        let header = Header { config, deleted, buckets };
        if whole_len - bytes.len() + header.data_len() > ENCODED_BYTES_MAX {
            return Err(CuckooDecodeError::Invalid("number of buckets"));
        }
        Ok((header, bytes))
    }

    /// Of each sub-filter: how many bits wider than the first, and its buckets.
    fn sub_filters(&self) -> impl Iterator<Item = (u32, u32)> {
        let base_bits = self.config.fingerprint_bits;
        self.buckets.iter().enumerate().map(move |(index, &buckets)| (extra_bits(base_bits, index), buckets))
    }

    /// Bytes of all packed buckets.
    fn data_len(&self) -> usize {
        let base_bits = self.config.fingerprint_bits;
        self.sub_filters().map(|(extra, buckets)| Buckets::data_bytes(buckets, base_bits + extra)).sum()
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
