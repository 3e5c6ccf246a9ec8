//! Small sorted sets: the elements one after the other, in order.
//!
//! ```text
//! 0               1        1 + length  9 + length
//! +---------------+========+-----------+ - - -
//! | member length | member | score     | the next element
//! |     1         |        |   8       |
//! +---------------+========+-----------+ - - -
//! ```
//! The length is a varint, and of one byte because members are short. The limits are the defaults of Redis's
//! `zset-max-listpack-entries` and `zset-max-listpack-value`, so that both call the same sets a listpack. Everything is
//! found by walking, of a few kilobytes at most.

use super::{Entry, compare, unsigned_zero};
use std::ops::Range;

/// Most elements of a packed set.
pub(super) const ENTRIES_MAX: usize = 128;
/// Longest member of a packed set.
pub(super) const MEMBER_BYTES_MAX: usize = 64;
const SCORE_BYTES: usize = 8;
const ENTRY_BYTES_MAX: usize = 1 + MEMBER_BYTES_MAX + SCORE_BYTES;

const _: () = assert!(MEMBER_BYTES_MAX < 128, "a varint of one byte");

/// Gives a member its score; `false`, and nothing is changed, if the set does not fit the packed form any more.
pub(crate) fn put_packed(packed: &mut Vec<u8>, score: f64, member: &[u8]) -> bool {
    if member.len() > MEMBER_BYTES_MAX {
        return false;
    }
    let score = unsigned_zero(score);
    if let Some((former, range)) = find(packed, member) {
        if former.to_bits() == score.to_bits() {
            return true;
        }
        packed.drain(range);
    } else if walk(packed).count() >= ENTRIES_MAX {
        return false;
    }
    let mut place = 0;
    for entry in walk(packed) {
        if compare(entry, (score, member)).is_gt() {
            break;
        }
        place += entry_bytes(entry.1);
    }
    let mut entry = [0; ENTRY_BYTES_MAX];
    entry[0] = member.len() as u8;
    entry[1..=member.len()].copy_from_slice(member);
    entry[1 + member.len()..entry_bytes(member)].copy_from_slice(&score.to_le_bytes());
    packed.splice(place..place, entry[..entry_bytes(member)].iter().copied());
    true
}

/// Takes a member out; nothing happens if it is not here.
pub(crate) fn drop_packed(packed: &mut Vec<u8>, member: &[u8]) {
    if let Some((_, range)) = find(packed, member) {
        packed.drain(range);
    }
}

/// The elements in order.
pub(super) fn walk(packed: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = packed;
    std::iter::from_fn(move || {
        let (entry, behind) = first(rest)?;
        rest = behind;
        Some(entry)
    })
}

/// Where each element begins: any can be read then, from either end.
#[derive(Clone, Debug)]
pub(super) struct Places {
    offsets: [u16; ENTRIES_MAX],
}

const _: () = assert!(ENTRIES_MAX * ENTRY_BYTES_MAX <= u16::MAX as usize);

impl Places {
    pub(super) fn new(packed: &[u8]) -> Places {
        let mut places = Places { offsets: [0; ENTRIES_MAX] };
        let mut offset = 0;
        for (place, (_, member)) in places.offsets.iter_mut().zip(walk(packed)) {
            *place = offset as u16;
            offset += entry_bytes(member);
        }
        places
    }

    /// The element of a rank that the set has.
    pub(super) fn entry<'a>(&self, packed: &'a [u8], rank: usize) -> Option<Entry<'a>> {
        let offset = *self.offsets.get(rank)?;
        first(packed.get(usize::from(offset)..)?).map(|(entry, _)| entry)
    }
}

/// The score of a member and the bytes of the element.
fn find(packed: &[u8], member: &[u8]) -> Option<(f64, Range<usize>)> {
    let mut start = 0;
    for (score, here) in walk(packed) {
        let end = start + entry_bytes(here);
        if here == member {
            return Some((score, start..end));
        }
        start = end;
    }
    None
}

/// The first element, and the bytes behind it.
fn first(packed: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (&len, rest) = packed.split_first()?;
    let (member, rest) = rest.split_at_checked(usize::from(len))?;
    let (score, rest) = rest.split_first_chunk::<SCORE_BYTES>()?;
    Some(((f64::from_le_bytes(*score), member), rest))
}

fn entry_bytes(member: &[u8]) -> usize {
    1 + member.len() + SCORE_BYTES
}
