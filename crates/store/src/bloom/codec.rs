//! A filter as bytes and back: docs/formats/bloom.md.
//!
//! All that gives the size of the rest stands in front, so a reader knows from the first piece how much is to come, and
//! every length is compared with the input before anything is allocated. No checksum: what carries the bytes has one.

use super::config::{BloomConfig, Shape};
use super::{BloomFilter, ENCODED_BYTES_MAX, SUB_FILTERS_MAX, SubFilter};
use std::fmt;

/// First byte of every encoded Bloom filter.
pub(crate) const FORMAT: u8 = 0x41;
/// Bytes before the first array.
pub(super) const HEADER_BYTES: usize = 25;

/// Why bytes are not a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BloomDecodeError {
    /// A format that this version does not know.
    Format(u8),
    /// The bytes end before the filter does.
    Truncated,
    /// Bytes follow after the end of the filter.
    Trailing,
    /// A field that no filter has.
    Invalid(&'static str),
}

impl fmt::Display for BloomDecodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BloomDecodeError::Format(format) => write!(out, "unknown filter format {format}"),
            BloomDecodeError::Truncated => out.write_str("the filter is cut short"),
            BloomDecodeError::Trailing => out.write_str("bytes after the end of the filter"),
            BloomDecodeError::Invalid(field) => write!(out, "no filter has this {field}"),
        }
    }
}

impl std::error::Error for BloomDecodeError {}

impl BloomConfig {
    /// The header of an empty filter of this kind: what makes it anywhere.
    pub fn header(&self) -> Vec<u8> {
        header(*self, 1, 0)
    }
}

impl BloomFilter {
    /// Bytes that [`BloomFilter::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        HEADER_BYTES + self.sub_filters.iter().map(|part| part.bits.len()).sum::<usize>()
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
        let parts = std::iter::once(header.as_slice()).chain(self.sub_filters.iter().map(|part| &*part.bits));
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
    pub fn decode(bytes: &[u8]) -> Result<BloomFilter, BloomDecodeError> {
        let (header, mut rest) = Header::read(bytes)?;
        let needed = header.data_len();
        if rest.len() != needed {
            let short = rest.len() < needed;
            return Err(if short { BloomDecodeError::Truncated } else { BloomDecodeError::Trailing });
        }
        let mut sub_filters = Vec::with_capacity(header.shapes.len());
        let mut capacity = 0;
        for shape in header.shapes {
            let (bits, after) = rest.split_at_checked(shape.bytes).ok_or(BloomDecodeError::Truncated)?;
            rest = after;
            capacity += shape.capacity;
            sub_filters.push(SubFilter { bits: bits.into(), shape });
        }
        Ok(BloomFilter { config: header.config, sub_filters, items: header.items, capacity })
    }

    /// The empty filter with this header.
    ///
    /// # Errors
    /// When the bytes are not exactly the header of an empty filter.
    pub(crate) fn decode_empty(bytes: &[u8]) -> Result<BloomFilter, BloomDecodeError> {
        let (header, rest) = Header::read(bytes)?;
        if !rest.is_empty() {
            return Err(BloomDecodeError::Trailing);
        }
        if header.shapes.len() > 1 || header.items > 0 {
            return Err(BloomDecodeError::Invalid("number of items"));
        }
        Ok(BloomFilter::new(header.config))
    }

    /// Bytes of the header that an encoded filter begins with, and of the whole.
    ///
    /// # Errors
    /// When the bytes do not begin with a header.
    pub(crate) fn encoded_lens(bytes: &[u8]) -> Result<(usize, usize), BloomDecodeError> {
        let (header, _) = Header::read(bytes)?;
        Ok((HEADER_BYTES, HEADER_BYTES + header.data_len()))
    }

    /// What precedes the arrays of the encoded filter.
    pub(crate) fn header(&self) -> Vec<u8> {
        header(self.config, self.sub_filters.len(), self.items)
    }
}

fn header(config: BloomConfig, sub_filters: usize, items: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.push(FORMAT);
    out.extend_from_slice(&config.expansion.to_le_bytes());
    out.extend_from_slice(&config.bits_per_item.to_le_bytes());
    out.extend_from_slice(&config.capacity.to_le_bytes());
    out.extend_from_slice(&(sub_filters as u16).to_le_bytes());
    out.extend_from_slice(&items.to_le_bytes());
    out
}

/// All before the arrays.
struct Header {
    config: BloomConfig,
    items: u64,
    /// Of each sub-filter; together they fit into an encoded filter.
    shapes: Vec<Shape>,
}

impl Header {
    fn read(mut bytes: &[u8]) -> Result<(Header, &[u8]), BloomDecodeError> {
        let input = &mut bytes;
        let [format] = array(input)?;
        if format != FORMAT {
            return Err(BloomDecodeError::Format(format));
        }
        let expansion = u16::from_le_bytes(array(input)?);
        let bits_per_item = u32::from_le_bytes(array(input)?);
        let capacity = u64::from_le_bytes(array(input)?);
        let sub_filters = usize::from(u16::from_le_bytes(array(input)?));
        let items = u64::from_le_bytes(array(input)?);
        let config = BloomConfig::from_parts(capacity, bits_per_item, expansion)
            .ok_or(BloomDecodeError::Invalid("size"))?;
        if !(1..=SUB_FILTERS_MAX).contains(&sub_filters) {
            return Err(BloomDecodeError::Invalid("number of sub-filters"));
        }
        let shapes = shapes(config, sub_filters).ok_or(BloomDecodeError::Invalid("number of sub-filters"))?;
        // All but the newest are full, and the newest has an item unless it is the only one.
        let capacity: u64 = shapes.iter().map(|shape| shape.capacity).sum();
        let older = capacity - shapes.last().map_or(0, |newest| newest.capacity);
        if items > capacity || items < older || (sub_filters > 1 && items == older) {
            return Err(BloomDecodeError::Invalid("number of items"));
        }
        Ok((Header { config, items, shapes }, bytes))
    }

    /// Bytes of all arrays.
    fn data_len(&self) -> usize {
        self.shapes.iter().map(|shape| shape.bytes).sum()
    }
}

/// The shapes of so many sub-filters; `None` if they do not fit into an encoded filter.
fn shapes(config: BloomConfig, sub_filters: usize) -> Option<Vec<Shape>> {
    let mut shape = config.first();
    let mut shapes = vec![shape];
    let mut encoded_len = HEADER_BYTES + shape.bytes;
    while shapes.len() < sub_filters {
        shape = config.after(shape)?;
        encoded_len += shape.bytes;
        if encoded_len > ENCODED_BYTES_MAX {
            return None;
        }
        shapes.push(shape);
    }
    Some(shapes)
}

fn array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], BloomDecodeError> {
    let (taken, rest) = input.split_first_chunk().ok_or(BloomDecodeError::Truncated)?;
    *input = rest;
    Ok(*taken)
}
