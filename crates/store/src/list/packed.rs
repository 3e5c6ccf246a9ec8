//! The packed form of a short list: bytes that stand in the node's own block.
//!
//! ```text
//!  0          8
//! +----------+---------------+=========+---------------+=========+
//! | revision | varint length | element | varint length | element | ...
//! |    8     |
//! +----------+---------------+=========+---------------+=========+
//! ```
//! No bytes at all are an empty list of revision 0. There is no way from the right end but through the whole, which is
//! why it is short.

use crate::varint::{push_bytes, split_bytes, varint_len, write_varint};
use effect::Elements;

/// Most bytes of a packed list. What is longer pays for the parts of the large form with a small share of its own.
pub(super) const PACKED_BYTES_MAX: usize = 512;
/// Most elements of a packed list.
pub(super) const PACKED_ENTRIES_MAX: usize = 64;
const REVISION_BYTES: usize = 8;

/// Replaces `removed` elements from `index` on by these; false, and nothing is changed, if it does not fit the packed
/// form then. What is not there is not removed.
pub(crate) fn splice_packed(
    packed: &mut Vec<u8>,
    index: usize,
    removed: usize,
    elements: Elements<'_>,
) -> bool {
    let (revision, old) = (packed_revision(packed), packed.len().max(REVISION_BYTES));
    let entries = entries(packed);
    let (start, skipped) = skip(entries, index);
    let (cut, cut_count) = skip(&entries[start..], removed);
    let (_, kept) = skip(&entries[start + cut..], usize::MAX);
    let added: usize = elements.iter().map(|element| varint_len(element.len()) + element.len()).sum();
    let len = old - cut + added;
    if len > PACKED_BYTES_MAX || skipped + kept + elements.len() > PACKED_ENTRIES_MAX {
        return false;
    }
    debug_assert!(cut_count <= removed);
    let start = REVISION_BYTES + start;
    packed.resize(old.max(len), 0);
    packed.copy_within(start + cut..old, start + added);
    packed.truncate(len);
    packed[..REVISION_BYTES].copy_from_slice(&(revision + 1).to_le_bytes());
    let mut at = start;
    for element in elements.iter() {
        at += write_varint(&mut packed[at..], element.len());
        packed[at..at + element.len()].copy_from_slice(element);
        at += element.len();
    }
    true
}

/// Fills an empty packed list with all that a list has, its revision first; false, and nothing is changed, if it does not
/// fit.
pub(crate) fn put_whole_packed(packed: &mut Vec<u8>, whole: Elements<'_>) -> bool {
    let mut elements = whole.iter();
    let revision = elements.next().map_or(0, packed_revision);
    let len: usize = elements.clone().map(|element| varint_len(element.len()) + element.len()).sum();
    if REVISION_BYTES + len > PACKED_BYTES_MAX || whole.len() > 1 + PACKED_ENTRIES_MAX {
        return false;
    }
    packed.clear();
    packed.extend_from_slice(&revision.to_le_bytes());
    for element in elements {
        push_bytes(packed, element);
    }
    true
}

/// How many splices the list has seen.
pub(crate) fn packed_revision(packed: &[u8]) -> u64 {
    packed.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The entries, without the revision before them.
#[inline]
pub(super) fn entries(packed: &[u8]) -> &[u8] {
    packed.get(REVISION_BYTES..).unwrap_or_default()
}

/// Passes over `count` entries or all that there are: how many bytes and how many entries.
#[inline]
pub(super) fn skip(entries: &[u8], count: usize) -> (usize, usize) {
    let (mut rest, mut passed) = (entries, 0);
    while passed < count
        && let Some((_, behind)) = split_bytes(rest)
    {
        rest = behind;
        passed += 1;
    }
    (entries.len() - rest.len(), passed)
}
