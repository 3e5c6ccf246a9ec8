//! A node: one key with its value, deadline and access clock, packed when small and in parts when large.
//!
//! Packed nodes are copied when their block changes its size, which is cheap because they are small. Large ones never
//! are: a new deadline or an APPEND must not copy megabytes. A node is large from the bytes of key and value, not from
//! the history; a large one replaced by a small one is garbage for the caller to hand on. How either lies in memory is
//! drawn in `raw`.

use crate::access::Access;
use crate::collection::{Collection, packed_ref};
use crate::filter::Filter;
pub(crate) use crate::raw::Node;
use crate::raw::{INTEGER, Large, LargeValue, PACKED_BYTES_MAX, PACKED_KEY_BYTES_MAX, RAW, shape_of};
use crate::value::{INTEGER_CHARS_MAX, Repr, StringRef, ValueRef};
use effect::Kind;
use stdx::Wall;

/// Room beyond the need that a growing large value gets at most, as Redis's `SDS_MAX_PREALLOC`.
const GROWTH_BYTES_MAX: usize = 1024 * 1024;

impl Node {
    pub(crate) fn new(key: &[u8], value: StringRef<'_>, expire_at: Option<Wall>, access: Access) -> Node {
        let stored = Stored::of(value);
        if fits(key.len(), stored.bytes().len()) {
            return Node::packed(key, stored.kind(), stored.bytes(), expire_at, access);
        }
        let value = value.as_bytes(&mut [0; INTEGER_CHARS_MAX]).to_vec();
        Node::large(key, 0, LargeValue::Bytes(value), expire_at, access)
    }

    /// A node that holds a filter.
    pub(crate) fn of_filter(key: &[u8], filter: Filter, expire_at: Option<Wall>, access: Access) -> Node {
        Node::large(key, 0, LargeValue::Filter(Box::new(filter)), expire_at, access)
    }

    /// A node that holds a packed collection.
    pub(crate) fn of_packed(
        key: &[u8],
        kind: Kind,
        packed: &[u8],
        expire_at: Option<Wall>,
        access: Access,
    ) -> Node {
        if fits(key.len(), packed.len()) {
            return Node::packed(key, shape_of(kind), packed, expire_at, access);
        }
        Node::large(key, shape_of(kind), LargeValue::Bytes(packed.to_vec()), expire_at, access)
    }

    /// A node that holds a large collection.
    pub(crate) fn of_collection(
        key: &[u8],
        collection: Collection,
        expire_at: Option<Wall>,
        access: Access,
    ) -> Node {
        let shape = shape_of(collection.kind());
        Node::large(key, shape, LargeValue::Collection(Box::new(collection)), expire_at, access)
    }

    /// A node of a member or a field, whose value are these very bytes.
    pub(crate) fn of_member(key: &[u8], value: &[u8]) -> Node {
        let access = Access::from_bits(0);
        if fits(key.len(), value.len()) {
            return Node::packed(key, RAW, value, None, access);
        }
        Node::large(key, RAW, LargeValue::Bytes(value.to_vec()), None, access)
    }

    /// Whether this is its key: lengths first, short keys word by word without a call.
    #[inline]
    pub(crate) fn has_key(&self, key: &[u8]) -> bool {
        equal(self.key(), key)
    }

    #[inline(always)]
    pub(crate) fn value(&self) -> ValueRef<'_> {
        if let Some(large) = self.as_large() {
            return self.large_value(large);
        }
        let bytes = self.stored();
        let kind = self.kind();
        if kind > INTEGER | RAW {
            return self.packed_collection();
        }
        if kind & INTEGER != 0 {
            let integer = bytes.first_chunk().expect("an integer's value is 8 bytes");
            return ValueRef::String(StringRef(Repr::Integer(i64::from_le_bytes(*integer))));
        }
        ValueRef::String(StringRef(Repr::Bytes { bytes, raw: kind & RAW != 0 }))
    }

    fn large_value<'n>(&'n self, large: &'n Large) -> ValueRef<'n> {
        match &large.value {
            LargeValue::Filter(filter) => ValueRef::Filter(filter),
            LargeValue::Collection(collection) => collection.value(),
            LargeValue::Bytes(_) if self.collection_kind().is_some() => self.packed_collection(),
            LargeValue::Bytes(bytes) if self.kind() & RAW != 0 => ValueRef::String(StringRef::raw(bytes)),
            LargeValue::Bytes(bytes) => ValueRef::String(StringRef::of(bytes)),
        }
    }

    /// A collection whose elements are packed.
    #[inline(never)]
    fn packed_collection(&self) -> ValueRef<'_> {
        let kind = self.collection_kind().expect("the caller has seen that the node holds a collection");
        packed_ref(kind, self.stored())
    }

    /// The large collection, if it holds one, to be changed.
    pub(crate) fn collection_mut(&mut self) -> Option<&mut Collection> {
        match &mut self.as_large_mut()?.value {
            LargeValue::Collection(collection) => Some(collection),
            LargeValue::Bytes(_) | LargeValue::Filter(_) => None,
        }
    }

    /// Replaces the packed collection that it holds, deadline and access clock stay.
    pub(crate) fn set_packed(&mut self, packed: Vec<u8>) {
        let kind = self.kind();
        if let Some(large) = self.as_large_mut()
            && !fits(large.key.len(), packed.len())
        {
            large.value = LargeValue::Bytes(packed);
            return;
        }
        let expire_at = self.expire_at();
        if fits(self.key().len(), packed.len()) && self.overwrite(kind, &packed, expire_at) {
            return;
        }
        let kind = self.collection_kind().expect("the caller has seen that the node holds a collection");
        self.replace(Node::of_packed(self.key(), kind, &packed, expire_at, self.access()));
    }

    /// Replaces the packed collection that it holds by a large one, deadline and access clock stay.
    pub(crate) fn set_collection(&mut self, collection: Collection) {
        self.replace(Node::of_collection(self.key(), collection, self.expire_at(), self.access()));
    }

    /// Replaces the value of a member or a field; gives back the former node if its memory could not be used again.
    pub(crate) fn set_member_value(&mut self, value: &[u8]) -> Option<Node> {
        if fits(self.key().len(), value.len()) && self.overwrite(RAW, value, None) {
            return None;
        }
        let new = Node::of_member(self.key(), value);
        Some(self.replace(new))
    }

    /// The filter, if it holds one, to be changed.
    pub(crate) fn filter_mut(&mut self) -> Option<&mut Filter> {
        match &mut self.as_large_mut()?.value {
            LargeValue::Filter(filter) => Some(filter),
            LargeValue::Bytes(_) | LargeValue::Collection(_) => None,
        }
    }

    /// Replaces value and deadline; gives back the former node if its memory could not be used again. Without one,
    /// the node takes as much memory as before.
    pub(crate) fn set(&mut self, value: StringRef<'_>, expire_at: Option<Wall>) -> Option<Node> {
        let stored = Stored::of(value);
        if fits(self.key().len(), stored.bytes().len())
            && self.overwrite(stored.kind(), stored.bytes(), expire_at)
        {
            return None;
        }
        let new = Node::new(self.key(), value, expire_at, self.access());
        Some(self.replace(new))
    }

    pub(crate) fn set_expire_at(&mut self, at: Option<Wall>) {
        if !self.overwrite_deadline(at) {
            let new = Node::packed(self.key(), self.kind(), self.stored(), at, self.access());
            self.replace(new);
        }
    }

    /// Writes `part` at `offset` of the value, which grows with zeros as far as needed. What is no string stays as it is.
    pub(crate) fn splice(&mut self, offset: usize, part: &[u8]) {
        if self.collection_kind().is_some() {
            return;
        }
        let end =
            offset.checked_add(part.len()).expect("the decoder and the commands bound the end of a splice");
        if let Some(large) = self.as_large_mut() {
            large.splice(offset, end, part);
            return self.set_raw();
        }
        if self.kind() & INTEGER == 0 && end <= self.stored().len() {
            self.stored_mut()[offset..end].copy_from_slice(part);
            return self.set_raw();
        }
        let scratch = &mut [0; INTEGER_CHARS_MAX];
        let ValueRef::String(old) = self.value() else { return };
        let old = old.as_bytes(scratch);
        // Zeroed memory comes from the system untouched: a far offset costs nothing until it is used.
        let mut value = vec![0; end.max(old.len())];
        value[..old.len()].copy_from_slice(old);
        value[offset..end].copy_from_slice(part);
        if fits(self.key().len(), value.len()) {
            self.set(StringRef::raw(&value), self.expire_at());
        } else {
            let value = LargeValue::Bytes(value);
            self.replace(Node::large(self.key(), RAW, value, self.expire_at(), self.access()));
        }
    }

    /// Takes the place, and the tag, of this node.
    pub(crate) fn replace(&mut self, mut new: Node) -> Node {
        new.set_tag(self.tag());
        std::mem::replace(self, new)
    }
}

impl Large {
    fn splice(&mut self, offset: usize, end: usize, part: &[u8]) {
        let LargeValue::Bytes(value) = &mut self.value else { return };
        if end > value.capacity() {
            value.reserve_exact(end + end.min(GROWTH_BYTES_MAX) - value.len());
        }
        if end > value.len() {
            // The bytes of `part` are written once, the gap before them is zeroed.
            value.resize(offset.max(value.len()), 0);
            let overlap = value.len() - offset;
            value[offset..].copy_from_slice(&part[..overlap]);
            value.extend_from_slice(&part[overlap..]);
        } else {
            value[offset..end].copy_from_slice(part);
        }
    }
}

/// A value's bytes as a packed node stores them.
enum Stored<'a> {
    Integer([u8; 8]),
    Bytes(&'a [u8], u8),
}

impl<'a> Stored<'a> {
    #[inline]
    fn of(value: StringRef<'a>) -> Stored<'a> {
        match value.0 {
            Repr::Integer(integer) => Stored::Integer(integer.to_le_bytes()),
            Repr::Bytes { bytes, raw } => Stored::Bytes(bytes, if raw { RAW } else { 0 }),
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Stored::Integer(bytes) => bytes,
            Stored::Bytes(bytes, _) => bytes,
        }
    }

    #[inline]
    fn kind(&self) -> u8 {
        match self {
            Stored::Integer(_) => INTEGER,
            Stored::Bytes(_, kind) => *kind,
        }
    }
}

/// Whether key and value are small enough to be packed.
#[inline]
fn fits(key_len: usize, value_len: usize) -> bool {
    key_len <= PACKED_KEY_BYTES_MAX && key_len.saturating_add(value_len) <= PACKED_BYTES_MAX
}

/// Equality of byte strings, most of them of 8 to 32 bytes: the words overlap in the middle.
#[inline]
fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if let (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) =
        (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>())
    {
        let ends = word(a_first) ^ word(b_first) | word(a_last) ^ word(b_last);
        return ends == 0 && (a.len() <= 16 || a[8..a.len() - 8] == b[8..b.len() - 8]);
    }
    a == b
}

#[inline]
fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bloom::BloomConfig;

    const SECONDS: u32 = 77;
    const TAG: u16 = 0xfedc;

    fn string(node: &Node) -> StringRef<'_> {
        match node.value() {
            ValueRef::String(string) => string,
            other => panic!("not a string: {other:?}"),
        }
    }

    #[track_caller]
    fn check(node: &Node, key: &[u8], value: &[u8], expire_at: Option<Wall>) {
        assert_eq!(node.key(), key);
        assert_eq!(string(node).as_bytes(&mut [0; 20]), value);
        assert_eq!((node.expire_at(), node.access()), (expire_at, Access::new(SECONDS)));
        assert_eq!(node.is_large(), !fits(key.len(), Stored::of(string(node)).bytes().len()));
        assert_eq!(node.tag(), TAG, "whatever happens to the node, its slot stays the same");
    }

    fn tagged(mut node: Node) -> Node {
        node.set_tag(TAG);
        node
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
                        let mut node = tagged(Node::new(key, StringRef::of(from), at, Access::new(SECONDS)));
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
        let node = Node::new(&[b'k'; 5_000], StringRef::of(b"17"), None, Access::new(SECONDS));
        assert!(node.is_large());
        assert_eq!((string(&node).encoding(), string(&node).as_integer()), ("int", Some(17)));
    }

    #[test]
    fn a_splice_is_remembered_by_the_encoding() {
        let mut node = tagged(Node::new(b"k", StringRef::of(b"1x"), None, Access::new(SECONDS)));
        assert_eq!((string(&node).encoding(), string(&node).as_integer()), ("embstr", None));
        node.splice(1, b"7");
        assert_eq!((string(&node).encoding(), string(&node).as_integer()), ("raw", Some(17)));
        assert!(node.set(StringRef::of(b"xy"), None).is_none(), "same size, same place");
        assert_eq!(string(&node).encoding(), "embstr");
    }

    #[test]
    fn splice_crosses_forms() {
        let mut node = tagged(Node::new(b"k", StringRef::of(b"12"), Some(Wall(5)), Access::new(SECONDS)));
        node.splice(2, b"3");
        check(&node, b"k", b"123", Some(Wall(5)));
        assert_eq!((string(&node).encoding(), string(&node).as_integer()), ("raw", Some(123)));
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

    fn set_filter(node: &mut Node, filter: Filter, expire_at: Option<Wall>) -> Node {
        node.replace(Node::of_filter(node.key(), filter, expire_at, node.access()))
    }

    /// What a pointer to a filter goes through: made over every form, changed, given a deadline, replaced by every form.
    #[test]
    fn a_filter_takes_the_place_of_every_form_and_gives_it_back() {
        let filter = |capacity| Filter::decode_empty(&BloomConfig::new(capacity, 0.1, 2).unwrap().header());
        let large = vec![b'v'; 5_000];
        for key in [&b""[..], b"key", &[b'k'; 3_000]] {
            for value in [&b""[..], b"12", b"abcdefgh", &large] {
                let mut node =
                    tagged(Node::new(key, StringRef::of(value), Some(Wall(3)), Access::new(SECONDS)));
                let string_bytes = node.bytes();
                let former = set_filter(&mut node, filter(100).unwrap(), Some(Wall(4)));
                assert_eq!(
                    (former.bytes(), node.key(), node.expire_at()),
                    (string_bytes, key, Some(Wall(4)))
                );
                assert!(node.is_large() && matches!(node.value(), ValueRef::Filter(_)));
                let bytes = node.bytes();
                let former = set_filter(&mut node, filter(1_000).unwrap(), None);
                assert!(
                    former.bytes() == bytes && node.bytes() > bytes,
                    "the larger filter is accounted for"
                );
                node.splice(2, b"no string");
                node.set_expire_at(Some(Wall(5)));
                assert!(matches!(node.value(), ValueRef::Filter(_)) && node.filter_mut().is_some());
                assert!(node.stored().is_empty() && node.stored_mut().is_empty());
                let former =
                    node.set(StringRef::of(value), None).expect("a filter's memory is not used again");
                assert!(former.is_large() && former.bytes() > 1_000);
                check(&node, key, value, None);
                assert!(node.filter_mut().is_none());
            }
        }
    }
}
