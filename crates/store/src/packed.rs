//! A small node in one allocation: header, deadline if it has one, key, value.
//!
//! ```text
//!  0        4   5       6            8
//! +--------+---+-------+------------+ - - - - - +=====+=======+
//! | used at|use| flags | key length | deadline  | key | value |
//! |   4    | 1 |   1   |     2      |     8     |     |       |
//! +--------+---+-------+------------+ - - - - - +=====+=======+
//! ```
//! An integer's value is its 8 bytes. The empty allocation is no node at all: an unused slot of a segment.

use crate::access::Access;
use crate::memory::allocation_bytes;
use crate::prefetch::prefetch_start;
use crate::value::{Repr, StringRef};
use stdx::Wall;

/// Most bytes of key and value together: what is longer is a large node.
pub(crate) const PACKED_BYTES_MAX: usize = 4096;

const HEADER_BYTES: usize = 8;
const DEADLINE_BYTES: usize = 8;

const EXPIRES: u8 = 1;
const INTEGER: u8 = 2;
const RAW: u8 = 4;

const _: () = assert!(PACKED_BYTES_MAX <= u16::MAX as usize, "the length of a key takes two bytes");

/// Key, value and all about them.
#[derive(Default, Debug)]
pub(crate) struct Packed(Box<[u8]>);

impl Packed {
    pub(crate) fn new(key: &[u8], value: StringRef<'_>, expire_at: Option<Wall>, access: Access) -> Packed {
        debug_assert!(fits(key, value));
        let deadline_bytes = if expire_at.is_some() { DEADLINE_BYTES } else { 0 };
        let total = HEADER_BYTES + deadline_bytes + key.len() + stored_bytes(value);
        let mut bytes = Vec::with_capacity(total);
        bytes.extend_from_slice(&access.seconds.to_le_bytes());
        bytes.push(access.frequency);
        bytes.push(value_flags(value) | if expire_at.is_some() { EXPIRES } else { 0 });
        bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        if let Some(at) = expire_at {
            bytes.extend_from_slice(&at.0.to_le_bytes());
        }
        bytes.extend_from_slice(key);
        match value.0 {
            Repr::Integer(integer) => bytes.extend_from_slice(&integer.to_le_bytes()),
            Repr::Bytes { bytes: value, .. } => bytes.extend_from_slice(value),
        }
        debug_assert_eq!(bytes.len(), total);
        Packed(bytes.into_boxed_slice())
    }

    /// Brings header, key and the start of the value closer.
    pub(crate) fn prefetch(&self) {
        prefetch_start(&self.0);
    }

    pub(crate) fn key(&self) -> &[u8] {
        let start = self.key_start();
        &self.0[start..start + self.key_len()]
    }

    pub(crate) fn value(&self) -> StringRef<'_> {
        let bytes = &self.0[self.value_start()..];
        let flags = self.flags();
        if flags & INTEGER != 0 {
            let integer = bytes.first_chunk().expect("an integer's value is 8 bytes");
            return StringRef(Repr::Integer(i64::from_le_bytes(*integer)));
        }
        StringRef(Repr::Bytes { bytes, raw: flags & RAW != 0 })
    }

    pub(crate) fn expire_at(&self) -> Option<Wall> {
        if self.flags() & EXPIRES == 0 {
            return None;
        }
        let deadline = self.0[HEADER_BYTES..].first_chunk().expect("the flag says that a deadline is here");
        Some(Wall(u64::from_le_bytes(*deadline)))
    }

    pub(crate) fn access(&self) -> Access {
        let seconds = self.0.first_chunk().expect("a node has a header");
        Access { seconds: u32::from_le_bytes(*seconds), frequency: self.0[4] }
    }

    pub(crate) fn set_access(&mut self, access: Access) {
        self.0[..4].copy_from_slice(&access.seconds.to_le_bytes());
        self.0[4] = access.frequency;
    }

    /// Overwrites value and deadline in place; `false`, and nothing is changed, if they need another size.
    pub(crate) fn overwrite(&mut self, value: StringRef<'_>, expire_at: Option<Wall>) -> bool {
        let start = self.value_start();
        if self.expire_at().is_some() != expire_at.is_some() || start + stored_bytes(value) != self.0.len() {
            return false;
        }
        self.0[5] = (self.0[5] & EXPIRES) | value_flags(value);
        self.overwrite_deadline(expire_at);
        match value.0 {
            Repr::Integer(integer) => self.0[start..].copy_from_slice(&integer.to_le_bytes()),
            Repr::Bytes { bytes, .. } => self.0[start..].copy_from_slice(bytes),
        }
        true
    }

    /// Overwrites the deadline in place; `false`, and nothing is changed, if there is no room or too much for it.
    pub(crate) fn overwrite_deadline(&mut self, expire_at: Option<Wall>) -> bool {
        match (self.expire_at(), expire_at) {
            (None, None) => true,
            (Some(_), Some(at)) => {
                self.0[HEADER_BYTES..HEADER_BYTES + DEADLINE_BYTES].copy_from_slice(&at.0.to_le_bytes());
                true
            }
            _ => false,
        }
    }

    /// Overwrites a part of the value in place; `false`, and nothing is changed, if the part is not within it.
    pub(crate) fn overwrite_part(&mut self, offset: usize, part: &[u8]) -> bool {
        let start = self.value_start();
        let end = offset.checked_add(part.len());
        if self.flags() & INTEGER != 0 || end.is_none_or(|end| end > self.0.len() - start) {
            return false;
        }
        self.0[5] |= RAW;
        self.0[start + offset..][..part.len()].copy_from_slice(part);
        true
    }

    /// What the allocation takes.
    pub(crate) fn bytes(&self) -> usize {
        allocation_bytes(self.0.len())
    }

    fn flags(&self) -> u8 {
        self.0[5]
    }

    fn key_len(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[6], self.0[7]]))
    }

    fn key_start(&self) -> usize {
        HEADER_BYTES + if self.flags() & EXPIRES != 0 { DEADLINE_BYTES } else { 0 }
    }

    fn value_start(&self) -> usize {
        self.key_start() + self.key_len()
    }
}

/// Whether key and value are small enough.
pub(crate) fn fits(key: &[u8], value: StringRef<'_>) -> bool {
    key.len().saturating_add(stored_bytes(value)) <= PACKED_BYTES_MAX
}

fn stored_bytes(value: StringRef<'_>) -> usize {
    match value.0 {
        Repr::Integer(_) => size_of::<i64>(),
        Repr::Bytes { bytes, .. } => bytes.len(),
    }
}

fn value_flags(value: StringRef<'_>) -> u8 {
    match value.0 {
        Repr::Integer(_) => INTEGER,
        Repr::Bytes { raw, .. } => {
            if raw {
                RAW
            } else {
                0
            }
        }
    }
}
