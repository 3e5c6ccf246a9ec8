//! A node in memory: the owned, tagged, thin pointer that a slot of a segment is.
//!
//! ```text
//! slot:  | tag (16) | address (48) |
//!
//!         0          4       5            6              8
//! packed: +----------+-------+------------+--------------+ - - - - - +=====+=======+- - - +
//!         | access   | flags | key length | value length | deadline  | key | value | rest |
//!         |   4      |   1   |     1      |      2       |     8     |     |       |      |
//!         +----------+-------+------------+--------------+ - - - - - +=====+=======+- - - +
//! large:  the same header, then the fields of `Large`
//! ```
//! A packed node's block is as large as the allocator would make it anyway ([`allocation_bytes`]): a value that stays
//! within the size is overwritten in place, and the layout can be told from the lengths when the block is freed. An
//! integer's value is its 8 bytes. The upper half of the flags is the kind of a collection, or zero: a small one is packed like
//! a string, its value in the form of its kind. What is long lies in a [`Large`], of which an address is all that a slot holds, too.
//!
//! The one module of this crate, next to `prefetch`, with `unsafe`: everything that reads or writes through the
//! pointer is here, behind methods that cannot be misused; of an [`Alias`] alone the owner has to be named that keeps
//! it right. Run by Miri with all tests of the crate.
#![allow(unsafe_code)]

use crate::access::Access;
use crate::collection::Collection;
use crate::filter::Filter;
use crate::memory::allocation_bytes;
use crate::prefetch::prefetch_address;
use effect::Kind;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};
use stdx::Wall;

/// Most bytes of a packed node's key and value together.
pub(crate) const PACKED_BYTES_MAX: usize = 4096;
/// Longest key of a packed node.
pub(crate) const PACKED_KEY_BYTES_MAX: usize = u8::MAX as usize;

/// The node has a deadline; as a number, the bytes that it takes.
const EXPIRES: u8 = DEADLINE_BYTES as u8;
const LARGE: u8 = 1;
/// The value is an integer.
pub(crate) const INTEGER: u8 = 2;
/// The value was changed in place.
pub(crate) const RAW: u8 = 4;
/// Where the kind of a collection begins.
const KIND_SHIFT: u32 = 4;
const KIND_MASK: u8 = 0xf0;
/// All that says how the value is to be read.
const SHAPE: u8 = INTEGER | RAW | KIND_MASK;

const HEADER_BYTES: usize = size_of::<Header>();
const DEADLINE_BYTES: usize = 8;
/// Blocks are asked for without alignment, which nothing in here needs: an allocator that pads for it takes a larger size.
const NODE_ALIGN: usize = 1;
const TAG_SHIFT: u32 = 48;
const ADDRESS_MASK: usize = (1 << TAG_SHIFT) - 1;
const LINE_BYTES: usize = 64;
/// Slots that [`Node::tagged`] compares at once: as many as a cache line has.
pub(crate) const WINDOW_SLOTS: usize = 8;

const _: () = assert!(size_of::<usize>() == 8, "a tag needs the upper bits of an address");
const _: () = assert!(size_of::<Option<Node>>() == 8, "a slot of a segment is one word");
const _: () = assert!(PACKED_BYTES_MAX <= u16::MAX as usize, "the length of a value takes two bytes");
const _: () = assert!(HEADER_BYTES == 8);
const _: () = assert!(size_of::<[Option<Node>; WINDOW_SLOTS]>() == 4 * 16, "four registers hold a window");

/// One key and what belongs to it, owned; and the tag of its slot, which is the table's to use.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Node(NonNull<u8>);

/// A second pointer to a node, which does not own it: the place of a sorted set's element in its order.
///
/// A node's block stays where it is while the table moves the slot that owns it, so that the alias stays right until the
/// node is dropped. That it is not read afterwards is the promise of the one type that holds both, `SortedSet`: an alias
/// is added after its node and taken away before it, and neither leaves the set. The block of its nodes is never exchanged
/// either: their value is always a score's 8 bytes, overwritten in place, and they have no deadline.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Alias(NonNull<u8>);

#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    access: u32,
    flags: u8,
    key_len: u8,
    value_len: u16,
}

/// Parts of a node whose key or value is long.
#[repr(C)]
pub(crate) struct Large {
    header: Header,
    pub(crate) key: Box<[u8]>,
    pub(crate) value: LargeValue,
    pub(crate) expire_at: Option<Wall>,
}

/// What a large node holds. A filter is large however little it takes; a collection may be packed into the bytes.
#[derive(Debug)]
pub(crate) enum LargeValue {
    Bytes(Vec<u8>),
    Filter(Box<Filter>),
    Collection(Box<Collection>),
}

/// The flags of a collection of this kind.
pub(crate) const fn shape_of(kind: Kind) -> u8 {
    (kind as u8) << KIND_SHIFT
}

const _: () =
    assert!(size_of::<LargeValue>() == size_of::<Vec<u8>>(), "a large string pays nothing for others");

const fn is_send_and_sync<T: Send + Sync>() {}
const _: () = is_send_and_sync::<Large>();

// SAFETY: a node owns its block alone, and what lies in it is plain bytes, or a `Large`, which is `Send` and `Sync`.
unsafe impl Send for Node {}
// SAFETY: as above; nothing changes behind a shared reference.
unsafe impl Sync for Node {}

// SAFETY: an alias gives no more than a shared reference to a node, which is `Sync`.
unsafe impl Send for Alias {}
// SAFETY: as above.
unsafe impl Sync for Alias {}

impl Alias {
    /// The node, which is still owned by its table (see the type).
    #[inline]
    pub(crate) fn node(&self) -> &Node {
        // SAFETY: both types are transparent over the same pointer, copied with its provenance from a node that is alive
        // as long as its set keeps the alias. The set is borrowed as long as this reference is, so that none of its nodes
        // is borrowed mutably or dropped meanwhile.
        unsafe { NonNull::from(&self.0).cast::<Node>().as_ref() }
    }
}

impl Large {
    /// The bytes of a string or of what is packed; others have none.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.value {
            LargeValue::Bytes(bytes) => bytes,
            LargeValue::Filter(_) | LargeValue::Collection(_) => &[],
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.value {
            LargeValue::Bytes(bytes) => bytes,
            LargeValue::Filter(_) | LargeValue::Collection(_) => &mut [],
        }
    }
}

impl Node {
    /// A packed node. `kind` is [`INTEGER`], [`RAW`], [`shape_of`] a collection or 0; key and value are within the maxima.
    pub(crate) fn packed(
        key: &[u8],
        kind: u8,
        value: &[u8],
        expire_at: Option<Wall>,
        access: Access,
    ) -> Node {
        let header = Header {
            access: access.bits(),
            flags: kind & SHAPE | if expire_at.is_some() { EXPIRES } else { 0 },
            key_len: u8::try_from(key.len()).expect("the caller makes a long key a large node"),
            value_len: u16::try_from(value.len()).expect("the caller makes a long value a large node"),
        };
        let layout = header.layout();
        // SAFETY: the layout is not empty, it has a header at least.
        let block = unsafe { alloc(layout) };
        let Some(block) = NonNull::new(block) else { handle_alloc_error(layout) };
        let node = Node::untagged(block);
        // SAFETY: the block is new and as long as the lengths in the header ask for; deadline,
        // key and value come one after the other behind it. The sources cannot lie in it.
        unsafe {
            block.cast::<Header>().write_unaligned(header);
            if let Some(at) = expire_at {
                block.add(HEADER_BYTES).cast::<u64>().write_unaligned(at.0);
            }
            ptr::copy_nonoverlapping(key.as_ptr(), block.add(header.key_start()).as_ptr(), key.len());
            ptr::copy_nonoverlapping(value.as_ptr(), block.add(header.value_start()).as_ptr(), value.len());
        }
        node
    }

    /// A large node.
    pub(crate) fn large(
        key: &[u8],
        kind: u8,
        value: LargeValue,
        expire_at: Option<Wall>,
        access: Access,
    ) -> Node {
        let header = Header { access: access.bits(), flags: LARGE | kind & SHAPE, key_len: 0, value_len: 0 };
        let large = Box::new(Large { header, key: key.into(), value, expire_at });
        Node::untagged(NonNull::from(Box::leak(large)).cast())
    }

    /// A second pointer to the same block, for a set that owns both.
    #[inline]
    pub(crate) fn alias(&self) -> Alias {
        Alias(self.0)
    }

    /// The tag of its slot.
    #[inline]
    pub(crate) fn tag(&self) -> u16 {
        (self.0.addr().get() >> TAG_SHIFT) as u16
    }

    /// Which slots of a window have a node with this tag, as bits; of the tag 0 unused ones seem to have one as well.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline(always)]
    pub(crate) fn tagged(window: &[Option<Node>; WINDOW_SLOTS], tag: u16) -> u32 {
        use std::arch::x86_64::{
            __m128, __m128i, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi16, _mm_loadu_ps,
            _mm_movemask_ps, _mm_set1_epi16, _mm_shuffle_ps,
        };
        const PAIRS: usize = WINDOW_SLOTS / 2;
        let pairs = window.as_ptr().cast::<[f32; 4]>();
        // SAFETY: SSE2 is part of every x86-64. A slot is eight initialised bytes, also an unused one, which is the word zero
        // (see the layout of `Option<NonNull>`), so that a window is as many bytes as are read here, four times sixteen.
        let pair = |at: usize| -> __m128 { unsafe { _mm_loadu_ps(pairs.add(at % PAIRS).cast()) } };
        // SAFETY: registers only. Of four slots the upper halves, which end in the tags, are compared by words of two bytes; what
        // the tag's word came to is the sign of its half.
        unsafe {
            let tags = _mm_set1_epi16(tag.cast_signed());
            let upper = |low: usize| -> __m128i {
                _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(pair(low), pair(low + 1)))
            };
            let found =
                |low: usize| -> i32 { _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi16(upper(low), tags))) };
            (found(0) | found(2) << 4).cast_unsigned()
        }
    }

    /// Which slots of a window have a node with this tag, as bits; of the tag 0 unused ones seem to have one as well.
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    #[inline(always)]
    pub(crate) fn tagged(window: &[Option<Node>; WINDOW_SLOTS], tag: u16) -> u32 {
        Node::tagged_one_by_one(window, tag)
    }

    /// The same for any processor.
    #[cfg(any(test, miri, not(target_arch = "x86_64")))]
    fn tagged_one_by_one(window: &[Option<Node>; WINDOW_SLOTS], tag: u16) -> u32 {
        window.iter().enumerate().fold(0, |found, (place, slot)| {
            // No node is the word zero: see the layout of `Option<NonNull>`.
            let word = slot.as_ref().map_or(0, |node| node.0.addr().get());
            found | u32::from(word >> TAG_SHIFT == usize::from(tag)) << place
        })
    }

    pub(crate) fn set_tag(&mut self, tag: u16) {
        self.0 = self.block().map_addr(|address| address | usize::from(tag) << TAG_SHIFT);
    }

    /// Brings header, key and the start of the value closer.
    #[inline]
    pub(crate) fn prefetch(&self) {
        let block = self.block().as_ptr();
        prefetch_address(block);
        // The line after it as well: a value of usual size ends there, and one that does not costs no more than a hint.
        prefetch_address(block.wrapping_add(LINE_BYTES));
    }

    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        self.header().flags & LARGE != 0
    }

    /// The parts, if it is large.
    #[inline]
    pub(crate) fn as_large(&self) -> Option<&Large> {
        // SAFETY: the flag says that the block is a `Large`, boxed by `Node::large` and owned by this node.
        self.is_large().then(|| unsafe { self.block().cast().as_ref() })
    }

    pub(crate) fn as_large_mut(&mut self) -> Option<&mut Large> {
        // SAFETY: as in `as_large`; the node is borrowed mutably.
        self.is_large().then(|| unsafe { self.block().cast().as_mut() })
    }

    /// [`INTEGER`] or [`RAW`], [`shape_of`] a collection, or 0.
    #[inline]
    pub(crate) fn kind(&self) -> u8 {
        self.header().flags & SHAPE
    }

    /// The kind of collection that it holds, if any.
    #[inline]
    pub(crate) fn collection_kind(&self) -> Option<Kind> {
        Kind::from_number(self.header().flags >> KIND_SHIFT)
    }

    /// Notes that a part of the value was overwritten.
    pub(crate) fn set_raw(&mut self) {
        let header = self.header();
        self.set_header(Header { flags: header.flags | RAW, ..header });
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        let header = self.header();
        if header.flags & LARGE != 0 {
            return self.as_large().map_or(&[], |large| &large.key);
        }
        // SAFETY: a packed node's key was written there when the node was made, and moves only with the flags.
        unsafe { self.bytes_at(header.key_start(), header.key_len.into()) }
    }

    /// The value as it is stored: an integer's is 8 bytes.
    #[inline]
    pub(crate) fn stored(&self) -> &[u8] {
        let header = self.header();
        if header.flags & LARGE != 0 {
            return self.as_large().map_or(&[], Large::bytes);
        }
        // SAFETY: a packed node's value was written there, as many bytes as the header says.
        unsafe { self.bytes_at(header.value_start(), header.value_len.into()) }
    }

    /// The value of a packed node that is a string and kept as its bytes: most are.
    #[inline(always)]
    pub(crate) fn plain(&self) -> Option<&[u8]> {
        let header = self.header();
        // SAFETY: a packed node's value was written there, as many bytes as the header says.
        let value = || unsafe { self.bytes_at(header.value_start(), header.value_len.into()) };
        (header.flags & (LARGE | INTEGER | KIND_MASK) == 0).then(value)
    }

    /// The value as it is stored, to be overwritten in parts.
    pub(crate) fn stored_mut(&mut self) -> &mut [u8] {
        let header = self.header();
        if header.flags & LARGE != 0 {
            return self.as_large_mut().map_or(&mut [], Large::bytes_mut);
        }
        // SAFETY: as in `stored`; the node is borrowed mutably.
        unsafe {
            let start = self.block().add(header.value_start());
            std::slice::from_raw_parts_mut(start.as_ptr(), header.value_len.into())
        }
    }

    #[inline]
    pub(crate) fn expire_at(&self) -> Option<Wall> {
        let flags = self.header().flags;
        if flags & (EXPIRES | LARGE) == 0 {
            return None;
        }
        if flags & LARGE != 0 {
            return self.as_large().and_then(|large| large.expire_at);
        }
        // SAFETY: the flag says that a deadline lies behind the header.
        Some(Wall(unsafe { self.block().add(HEADER_BYTES).cast::<u64>().read_unaligned() }))
    }

    #[inline]
    pub(crate) fn access(&self) -> Access {
        Access::from_bits(self.header().access)
    }

    /// Writes only what changes: a line that was merely read need not go back to memory.
    #[inline]
    pub(crate) fn set_access(&mut self, access: Access) {
        let header = self.header();
        if header.access != access.bits() {
            self.set_header(Header { access: access.bits(), ..header });
        }
    }

    /// Overwrites value and deadline of a packed node in place; `false`, and nothing is changed, if it is large or its
    /// block would have another size then.
    pub(crate) fn overwrite(&mut self, kind: u8, value: &[u8], expire_at: Option<Wall>) -> bool {
        let former = self.header();
        let Ok(value_len) = u16::try_from(value.len()) else { return false };
        let expires = if expire_at.is_some() { EXPIRES } else { 0 };
        let header = Header { flags: kind & SHAPE | expires, value_len, ..former };
        if former.flags & LARGE != 0 || header.layout() != former.layout() {
            return false;
        }
        let block = self.block();
        // SAFETY: the block is as long as the new header asks for, too. The key is moved before the deadline or the
        // value is written over its former place; the value does not lie in this node, which is borrowed mutably.
        unsafe {
            if header.key_start() != former.key_start() {
                let key_len = usize::from(header.key_len);
                ptr::copy(
                    block.add(former.key_start()).as_ptr(),
                    block.add(header.key_start()).as_ptr(),
                    key_len,
                );
            }
            if let Some(at) = expire_at {
                block.add(HEADER_BYTES).cast::<u64>().write_unaligned(at.0);
            }
            ptr::copy_nonoverlapping(value.as_ptr(), block.add(header.value_start()).as_ptr(), value.len());
        }
        self.set_header(header);
        true
    }

    /// Overwrites the deadline in place; `false`, and nothing is changed, if there is no room or too much for it.
    pub(crate) fn overwrite_deadline(&mut self, expire_at: Option<Wall>) -> bool {
        if let Some(large) = self.as_large_mut() {
            large.expire_at = expire_at;
            return true;
        }
        let former = self.header();
        let expires = if expire_at.is_some() { EXPIRES } else { 0 };
        let header = Header { flags: former.flags & !EXPIRES | expires, ..former };
        if header.layout() != former.layout() {
            return false;
        }
        let block = self.block();
        // SAFETY: the block is as long as the new header asks for, too; key and value lie next to each other and are
        // moved before the deadline is written over their former place.
        unsafe {
            if header.key_start() != former.key_start() {
                let len = usize::from(header.key_len) + usize::from(header.value_len);
                ptr::copy(
                    block.add(former.key_start()).as_ptr(),
                    block.add(header.key_start()).as_ptr(),
                    len,
                );
            }
            if let Some(at) = expire_at {
                block.add(HEADER_BYTES).cast::<u64>().write_unaligned(at.0);
            }
        }
        self.set_header(header);
        true
    }

    /// What its allocations take.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        match self.as_large() {
            None => self.header().layout().size(),
            Some(large) => {
                allocation_bytes(size_of::<Large>())
                    + allocation_bytes(large.key.len())
                    + match &large.value {
                        LargeValue::Bytes(bytes) => allocation_bytes(bytes.capacity()),
                        LargeValue::Filter(filter) => {
                            allocation_bytes(size_of::<Filter>()) + filter.memory_bytes()
                        }
                        LargeValue::Collection(collection) => {
                            allocation_bytes(size_of::<Collection>()) + collection.memory_bytes()
                        }
                    }
            }
        }
    }

    fn untagged(block: NonNull<u8>) -> Node {
        assert!(
            block.addr().get() & !ADDRESS_MASK == 0,
            "addresses of this system do not leave room for a tag"
        );
        Node(block)
    }

    #[inline]
    fn block(&self) -> NonNull<u8> {
        // SAFETY: the address that `untagged` got was not null and is within the mask.
        unsafe { NonNull::new_unchecked(self.0.as_ptr().map_addr(|address| address & ADDRESS_MASK)) }
    }

    #[inline]
    fn header(&self) -> Header {
        // SAFETY: every block begins with a header, packed or large.
        unsafe { self.block().cast::<Header>().read_unaligned() }
    }

    #[inline]
    fn set_header(&mut self, header: Header) {
        // SAFETY: as in `header`; the node is borrowed mutably.
        unsafe { self.block().cast::<Header>().write_unaligned(header) }
    }

    /// # Safety
    /// These bytes of the block are written.
    #[inline]
    unsafe fn bytes_at(&self, start: usize, len: usize) -> &[u8] {
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts(self.block().add(start).as_ptr(), len) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let header = self.header();
        // SAFETY: the block was made by `large` from a box, or by `packed` with the layout that the header tells, for
        // `overwrite` never changes that; nothing uses the node after its drop.
        unsafe {
            if header.flags & LARGE != 0 {
                drop(Box::from_raw(self.block().cast::<Large>().as_ptr()));
            } else {
                dealloc(self.block().as_ptr(), header.layout());
            }
        }
    }
}

impl Header {
    #[inline]
    fn key_start(self) -> usize {
        HEADER_BYTES + usize::from(self.flags & EXPIRES)
    }

    #[inline]
    fn value_start(self) -> usize {
        self.key_start() + usize::from(self.key_len)
    }

    #[inline]
    fn layout(self) -> Layout {
        let bytes = allocation_bytes(self.value_start() + usize::from(self.value_len));
        Layout::from_size_align(bytes, NODE_ALIGN).expect("lengths of two bytes are far from the limit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    #[test]
    fn a_window_is_compared_as_slot_by_slot() {
        let mut random = Random::seeded(8);
        for _ in 0..if cfg!(miri) { 20 } else { 5_000 } {
            // Few tags, the extremes and those next to them among them, so that most windows have several of one.
            let tags = [0, 1, 0x7fff, 0x8000, 0xfffe, u16::MAX, random.next_u64() as u16];
            let window: [Option<Node>; WINDOW_SLOTS] = std::array::from_fn(|_| {
                let mut node = Node::packed(b"key", 0, b"value", None, Access::new(0));
                node.set_tag(tags[random.below(tags.len() as u64) as usize]);
                (random.below(4) > 0).then_some(node)
            });
            for tag in tags {
                assert_eq!(Node::tagged(&window, tag), Node::tagged_one_by_one(&window, tag));
            }
        }
    }
}
