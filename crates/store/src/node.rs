//! A node: one key with its value, deadline and access clock, packed when small and in parts when large.
//!
//! Packed nodes are copied when they change their size, which is cheap because they are small. Large ones never are:
//! a new deadline or an APPEND must not copy megabytes. A node is large from the bytes of key and value, not from the
//! history; a large one replaced by a small one is garbage for the caller to hand on.

use crate::access::Access;
use crate::memory::allocation_bytes;
use crate::packed::{PACKED_BYTES_MAX, Packed, fits};
use crate::prefetch::prefetch;
use crate::value::{INTEGER_CHARS_MAX, StringRef};
use stdx::Wall;

/// Room beyond the need that a growing large value gets at most, as Redis's `SDS_MAX_PREALLOC`.
const GROWTH_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(size_of::<Node>() == 16, "a slot of a segment is two words");

/// One key and what belongs to it. The default is an unused slot.
#[derive(Debug)]
pub(crate) enum Node {
    Packed(Packed),
    Large(Box<Large>),
}

/// Key or value are long.
#[derive(Debug)]
pub(crate) struct Large {
    key: Box<[u8]>,
    value: Vec<u8>,
    expire_at: Option<Wall>,
    access: Access,
    raw: bool,
}

impl Default for Node {
    fn default() -> Node {
        Node::Packed(Packed::default())
    }
}

impl Node {
    pub(crate) fn new(key: &[u8], value: StringRef<'_>, expire_at: Option<Wall>, access: Access) -> Node {
        if fits(key, value) {
            return Node::Packed(Packed::new(key, value, expire_at, access));
        }
        let value = value.as_bytes(&mut [0; INTEGER_CHARS_MAX]).to_vec();
        Node::Large(Box::new(Large { key: key.into(), value, expire_at, access, raw: false }))
    }

    /// Brings header, key and the start of the value closer.
    pub(crate) fn prefetch(&self) {
        match self {
            Node::Packed(packed) => packed.prefetch(),
            Node::Large(large) => prefetch(&**large),
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Node::Packed(packed) => packed.key(),
            Node::Large(large) => &large.key,
        }
    }

    pub(crate) fn value(&self) -> StringRef<'_> {
        match self {
            Node::Packed(packed) => packed.value(),
            Node::Large(large) if large.raw => StringRef::raw(&large.value),
            Node::Large(large) => StringRef::of(&large.value),
        }
    }

    pub(crate) fn expire_at(&self) -> Option<Wall> {
        match self {
            Node::Packed(packed) => packed.expire_at(),
            Node::Large(large) => large.expire_at,
        }
    }

    pub(crate) fn access(&self) -> Access {
        match self {
            Node::Packed(packed) => packed.access(),
            Node::Large(large) => large.access,
        }
    }

    pub(crate) fn set_access(&mut self, access: Access) {
        match self {
            Node::Packed(packed) => packed.set_access(access),
            Node::Large(large) => large.access = access,
        }
    }

    /// Replaces value and deadline; gives back the former node if its memory could not be used again.
    pub(crate) fn set(&mut self, value: StringRef<'_>, expire_at: Option<Wall>) -> Option<Node> {
        if let Node::Packed(packed) = self
            && packed.overwrite(value, expire_at)
        {
            return None;
        }
        let new = Node::new(self.key(), value, expire_at, self.access());
        Some(std::mem::replace(self, new))
    }

    pub(crate) fn set_expire_at(&mut self, at: Option<Wall>) {
        match self {
            Node::Large(large) => large.expire_at = at,
            Node::Packed(packed) => {
                if !packed.overwrite_deadline(at) {
                    *packed = Packed::new(packed.key(), packed.value(), at, packed.access());
                }
            }
        }
    }

    /// Writes `part` at `offset` of the value, which grows with zeros as far as needed.
    pub(crate) fn splice(&mut self, offset: usize, part: &[u8]) {
        let end =
            offset.checked_add(part.len()).expect("the decoder and the commands bound the end of a splice");
        match self {
            Node::Large(large) => large.splice(offset, end, part),
            Node::Packed(packed) => {
                if packed.overwrite_part(offset, part) {
                    return;
                }
                let scratch = &mut [0; INTEGER_CHARS_MAX];
                let old = packed.value().as_bytes(scratch);
                // Zeroed memory comes from the system untouched: a far offset costs nothing until it is used.
                let mut value = vec![0; end.max(old.len())];
                value[..old.len()].copy_from_slice(old);
                value[offset..end].copy_from_slice(part);
                *self = Node::with_raw(packed.key(), value, packed.expire_at(), packed.access());
            }
        }
    }

    /// Whether freeing it may take long enough to be done elsewhere.
    pub(crate) fn is_large(&self) -> bool {
        matches!(self, Node::Large(_))
    }

    /// What its allocations take.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Node::Packed(packed) => packed.bytes(),
            Node::Large(large) => {
                allocation_bytes(size_of::<Large>())
                    + allocation_bytes(large.key.len())
                    + allocation_bytes(large.value.capacity())
            }
        }
    }

    fn with_raw(key: &[u8], value: Vec<u8>, expire_at: Option<Wall>, access: Access) -> Node {
        if key.len().saturating_add(value.len()) <= PACKED_BYTES_MAX {
            return Node::Packed(Packed::new(key, StringRef::raw(&value), expire_at, access));
        }
        Node::Large(Box::new(Large { key: key.into(), value, expire_at, access, raw: true }))
    }
}

impl Large {
    fn splice(&mut self, offset: usize, end: usize, part: &[u8]) {
        if end > self.value.capacity() {
            self.value.reserve_exact(end + end.min(GROWTH_BYTES_MAX) - self.value.len());
        }
        if end > self.value.len() {
            // The bytes of `part` are written once, the gap before them is zeroed.
            self.value.resize(offset.max(self.value.len()), 0);
            let overlap = self.value.len() - offset;
            self.value[offset..].copy_from_slice(&part[..overlap]);
            self.value.extend_from_slice(&part[overlap..]);
        } else {
            self.value[offset..end].copy_from_slice(part);
        }
        self.raw = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: Access = Access { seconds: 77, frequency: 9 };

    #[track_caller]
    fn check(node: &Node, key: &[u8], value: &[u8], expire_at: Option<Wall>) {
        assert_eq!(node.key(), key);
        assert_eq!(node.value().as_bytes(&mut [0; 20]), value);
        assert_eq!((node.expire_at(), node.access()), (expire_at, ACCESS));
        assert_eq!(node.is_large(), node.value().0.stored() + key.len() > PACKED_BYTES_MAX);
    }

    impl crate::value::Repr<'_> {
        fn stored(&self) -> usize {
            match self {
                crate::value::Repr::Integer(_) => 8,
                crate::value::Repr::Bytes { bytes, .. } => bytes.len(),
            }
        }
    }

    /// Every way from one size, kind and deadline to another.
    #[test]
    fn set_reaches_every_form_from_every_form() {
        let (large, small) = (vec![b'v'; 5_000], vec![b'w'; 30]);
        let values: [&[u8]; 6] = [b"", b"12", b"-9", b"abcdefgh", &small, &large];
        for key in [&b""[..], b"key", &[b'k'; 3_000]] {
            for from in values {
                for to in values {
                    for (at, then) in [
                        (None, None),
                        (None, Some(Wall(1))),
                        (Some(Wall(2)), None),
                        (Some(Wall(3)), Some(Wall(4))),
                    ] {
                        let mut node = Node::new(key, StringRef::of(from), at, ACCESS);
                        check(&node, key, from, at);
                        node.set_expire_at(then);
                        check(&node, key, from, then);
                        let former = node.set(StringRef::of(to), at);
                        check(&node, key, to, at);
                        assert!(former.is_some() || !node.is_large());
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_key_keeps_a_number_recognisable() {
        let node = Node::new(&[b'k'; 5_000], StringRef::of(b"17"), None, ACCESS);
        assert!(node.is_large());
        assert_eq!((node.value().encoding(), node.value().as_integer()), ("int", Some(17)));
    }

    #[test]
    fn a_splice_is_remembered_by_the_encoding() {
        let mut node = Node::new(b"k", StringRef::of(b"1x"), None, ACCESS);
        assert_eq!((node.value().encoding(), node.value().as_integer()), ("embstr", None));
        node.splice(1, b"7");
        assert_eq!((node.value().encoding(), node.value().as_integer()), ("raw", Some(17)));
        assert!(node.set(StringRef::of(b"xy"), None).is_none(), "same size, same place");
        assert_eq!(node.value().encoding(), "embstr");
    }

    #[test]
    fn splice_crosses_forms() {
        let mut node = Node::new(b"k", StringRef::of(b"12"), Some(Wall(5)), ACCESS);
        node.splice(2, b"3");
        check(&node, b"k", b"123", Some(Wall(5)));
        assert_eq!((node.value().encoding(), node.value().as_integer()), ("raw", Some(123)));
        node.splice(0, b"9");
        check(&node, b"k", b"923", Some(Wall(5)));
        node.splice(5, b"x");
        check(&node, b"k", b"923\0\0x", Some(Wall(5)));
        node.splice(5_000, b"end");
        let mut expected = vec![0; 5_003];
        expected[..6].copy_from_slice(b"923\0\0x");
        expected[5_000..].copy_from_slice(b"end");
        check(&node, b"k", &expected, Some(Wall(5)));
        for (offset, part) in
            [(5_002, &b"overlap"[..]), (0, b"front"), (6_000, b"gap"), (6_003, b"append"), (1, b"")]
        {
            node.splice(offset, part);
            expected.resize(expected.len().max(offset + part.len()), 0);
            expected[offset..offset + part.len()].copy_from_slice(part);
            check(&node, b"k", &expected, Some(Wall(5)));
        }
    }
}
