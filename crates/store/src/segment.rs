//! A segment: an open-addressing table of bounded size that keeps nodes in the order of their homes.
//!
//! A *mark* is the upper half of a key's hash. The nodes of a segment share the first `depth` bits of it; the 16 bits
//! after them are a node's *tag*, kept in the slot beside the node's address. The tag, taken as a fraction, gives the
//! home slot: a higher tag never has a lower home. A node stands at its home or behind it, after all nodes of lower
//! homes and before all of higher ones, with no unused slot in between (linear probing, kept in order as by Robin Hood
//! hashing). That is what lets SCAN walk in hash order without any state, through growth and splits alike.
//!
//! Since homes follow from tags alone, nothing but a split looks at a node other than the one asked for: a look-up
//! passes over the others (of a thousand nodes one percent share a tag with another) and stops at the first that
//! stands nearer to its home, and removal and growth move slots. A split needs one more bit of every hash, and hashes
//! the keys again, with the nodes brought closer ahead of that.

use crate::memory::{filling_len, slice_bytes};
use crate::node::Node;
use crate::prefetch::prefetch_address;
use crate::raw::WINDOW_SLOTS;

/// Slots of a segment before it is split: bounds the work of one split or growth. So many words are a size of which nine fill
/// a page of the allocator; of a thousand and twenty-four, an eighth of the page would lie idle.
pub(crate) const SEGMENT_SLOTS_MAX: usize = 896;
const SEGMENT_SLOTS_MIN: usize = 8;
/// How many slots a segment may have; above, as many as the allocator has sizes. Few sizes, because the segments of a table grow at
/// about the same time, and what they leave behind is of use only to those that come to the same size.
const SIZES: [usize; 9] = [SEGMENT_SLOTS_MIN, 16, 32, 64, 128, 256, 448, 640, SEGMENT_SLOTS_MAX];
/// Memory of one slot.
pub(crate) const SLOT_BYTES: usize = size_of::<Option<Node>>();
/// Slots by which a split and a walk ask for nodes ahead of reading them.
const SLOTS_AHEAD: usize = 16;
/// Steps from its home that a node stands in one of ten thousand cases, if homes are random and the segment is full. More say
/// that nodes arrive in the order of their marks: so many come to one end that only a larger segment holds them apart.
const CROWD_STEPS: usize = 32;
/// Windows from a node's home on in which it most likely stands: at the highest load every tenth node stands beyond the first.
const WINDOWS_MAX: usize = 2;

const _: () = assert!(SEGMENT_SLOTS_MIN >= WINDOW_SLOTS, "every segment has a window");

pub(crate) const MARK_BITS: u32 = 32;
pub(crate) const TAG_BITS: u32 = 16;

/// The mark of a hash.
#[inline]
pub(crate) fn mark_of(hash: u64) -> u32 {
    (hash >> MARK_BITS) as u32
}

/// Nodes whose marks share the first `depth` bits.
#[derive(Debug)]
pub(crate) struct Segment {
    slots: Box<[Option<Node>]>,
    len: u32,
    depth: u32,
}

impl Segment {
    pub(crate) fn new(depth: u32) -> Segment {
        Segment::with_slots(depth, SEGMENT_SLOTS_MIN)
    }

    /// Bits of the mark that all nodes here share.
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        slice_bytes::<Option<Node>>(self.slots())
    }

    /// Whether one more node keeps the load at seven eighths: beyond, probing gets long.
    pub(crate) fn has_room(&self) -> bool {
        (self.len() + 1) * 8 <= self.slots() * 7
    }

    #[inline]
    pub(crate) fn find(&self, mark: u32, key: &[u8]) -> Option<usize> {
        let tag = self.tag(mark);
        let mut slot = self.home(tag);
        let mut steps = 0;
        loop {
            let node = self.slots[slot].as_ref()?;
            let here = node.tag();
            if here == tag {
                if node.has_key(key) {
                    return Some(slot);
                }
            } else if self.displacement(here, slot) < steps {
                return None;
            }
            slot = self.after(slot);
            steps += 1;
        }
    }

    /// Brings the home of a mark closer: where [`Segment::find`] will begin.
    #[inline(always)]
    pub(crate) fn prefetch_home(&self, mark: u32) -> usize {
        let home = self.home(self.tag(mark));
        let first = std::ptr::from_ref(&self.slots[home]);
        prefetch_address(first.cast());
        // The window begins in one line and ends in the next, as a rule.
        prefetch_address(first.wrapping_add(WINDOW_SLOTS - 1).cast());
        home
    }

    /// Brings the node closer that `find` will most likely end at, and says where it stands.
    ///
    /// All of a window are compared at once: how far a node stands from its home is a coin's toss, on which a loop that
    /// leaves early would guess wrong for every other key.
    #[inline]
    pub(crate) fn prefetch_node(&self, mark: u32) -> Option<usize> {
        self.prefetch_from(self.home(self.tag(mark)), mark)
    }

    /// The same, given the home.
    #[inline(always)]
    pub(crate) fn prefetch_from(&self, home: usize, mark: u32) -> Option<usize> {
        let tag = self.tag(mark);
        // The last window is a whole one too. Hardly any node stands further from its home; the look-up itself walks
        // all the way, and around the end.
        let mut start = home.min(self.slots.len() - WINDOW_SLOTS);
        for _ in 0..WINDOWS_MAX {
            let window = self.slots.get(start..)?.first_chunk::<WINDOW_SLOTS>()?;
            let found = Node::tagged(window, tag);
            if found != 0 {
                let slot = start + found.trailing_zeros() as usize;
                self.node_if_any(slot)?.prefetch();
                return Some(slot);
            }
            start += WINDOW_SLOTS;
        }
        None
    }

    /// The node in `slot`, if one is there.
    #[inline]
    pub(crate) fn node(&self, slot: usize) -> Option<&Node> {
        self.slots[slot].as_ref()
    }

    /// The same of a slot that there may not be.
    #[inline]
    pub(crate) fn node_if_any(&self, slot: usize) -> Option<&Node> {
        self.slots.get(slot)?.as_ref()
    }

    #[inline]
    pub(crate) fn node_mut(&mut self, slot: usize) -> Option<&mut Node> {
        self.slots[slot].as_mut()
    }

    /// Adds a node whose key is not here yet. The caller has made room. Whether nodes crowd together here: time to grow.
    pub(crate) fn insert(&mut self, mark: u32, mut node: Node) -> bool {
        debug_assert!(self.len() < self.slots());
        node.set_tag(self.tag(mark));
        self.insert_tagged(node) > CROWD_STEPS && self.slots() < SEGMENT_SLOTS_MAX
    }

    /// Takes the node out of `slot` and moves back those behind it that are not at home.
    pub(crate) fn remove(&mut self, slot: usize) -> Option<Node> {
        let removed = self.slots[slot].take()?;
        self.len -= 1;
        let mut gap = slot;
        let mut next = self.after(gap);
        while let Some(node) = &self.slots[next]
            && self.displacement(node.tag(), next) > 0
        {
            self.slots.swap(gap, next);
            gap = next;
            next = self.after(next);
        }
        Some(removed)
    }

    /// Moves all nodes into the next larger size.
    pub(crate) fn grow(&mut self) {
        self.rebuild(slots_from(self.slots() + 1));
    }

    /// Gives slots back if hardly any is used.
    pub(crate) fn shrink_if_sparse(&mut self) {
        if self.slots() > 2 * SEGMENT_SLOTS_MIN && self.len() * 8 < self.slots() {
            self.rebuild(slots_for(self.len()));
        }
    }

    /// How many nodes have the bit after the shared prefix set: those that a split would move.
    pub(crate) fn upper_len(&self) -> usize {
        self.iter().filter(|node| is_upper(node.tag())).count()
    }

    /// Keeps the nodes whose next bit is zero and gives the others to a new segment. `mark_of_key` makes a mark anew.
    pub(crate) fn split(&mut self, mark_of_key: impl Fn(&[u8]) -> u32) -> Segment {
        let upper_len = self.upper_len();
        let mut upper = Segment::with_slots(self.depth + 1, slots_for(upper_len));
        let mut lower = Segment::with_slots(self.depth + 1, slots_for(self.len() - upper_len));
        for slot in 0..self.slots() {
            if let Some(Some(ahead)) = self.slots.get(slot + SLOTS_AHEAD) {
                ahead.prefetch();
            }
            if let Some(node) = self.slots[slot].take() {
                let mark = mark_of_key(node.key());
                let half = if is_upper(node.tag()) { &mut upper } else { &mut lower };
                half.insert(mark, node);
            }
        }
        *self = lower;
        upper
    }

    /// The home slot of a mark or a position within this segment's range.
    pub(crate) fn home_of(&self, mark: u32) -> usize {
        self.home(self.tag(mark))
    }

    /// The lowest mark whose home is `home`, less the shared prefix; for the slot after the last, all marks.
    pub(crate) fn first_of_home(&self, home: usize) -> u64 {
        let tag = ((home as u64) << TAG_BITS).div_ceil(self.slots() as u64);
        tag << (MARK_BITS - TAG_BITS - self.depth)
    }

    /// The nodes whose home is `home`. Brings one closer that a walk from home to home comes to soon.
    pub(crate) fn at_home(&self, home: usize) -> impl Iterator<Item = &Node> {
        if let Some(Some(ahead)) = self.slots.get(home + SLOTS_AHEAD) {
            ahead.prefetch();
        }
        self.probe(home).filter(move |node| self.home(node.tag()) == home)
    }

    /// The nodes whose tag is that of this mark: one, as a rule.
    #[inline]
    pub(crate) fn with_tag_of(&self, mark: u32) -> impl Iterator<Item = &Node> {
        let tag = self.tag(mark);
        self.probe(self.home(tag)).filter(move |node| node.tag() == tag)
    }

    /// The slot of a node whose tag is that of this mark and which is accepted.
    pub(crate) fn find_where(&self, mark: u32, accept: impl Fn(&Node) -> bool) -> Option<usize> {
        let tag = self.tag(mark);
        let home = self.home(tag);
        let steps = self.probe(home).position(|node| node.tag() == tag && accept(node))?;
        Some((home + steps) % self.slots())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.slots.iter().flatten()
    }

    /// The nodes among which those of a home are: from there to an unused slot or a node of a higher home.
    #[inline]
    fn probe(&self, home: usize) -> impl Iterator<Item = &Node> {
        let mut slot = home;
        let mut steps = 0;
        std::iter::from_fn(move || {
            let node = self.slots[slot].as_ref()?;
            if self.displacement(node.tag(), slot) < steps {
                return None;
            }
            slot = self.after(slot);
            steps += 1;
            Some(node)
        })
    }

    fn with_slots(depth: u32, slots: usize) -> Segment {
        Segment { slots: std::iter::repeat_with(|| None).take(slots).collect(), len: 0, depth }
    }

    fn rebuild(&mut self, slots: usize) {
        let mut rebuilt = Segment::with_slots(self.depth, slots);
        self.slots.iter_mut().filter_map(Option::take).for_each(|node| {
            rebuilt.insert_tagged(node);
        });
        *self = rebuilt;
    }

    /// Puts a node behind all of its home and before those of higher homes, which move on by one slot. Steps from its home.
    fn insert_tagged(&mut self, node: Node) -> usize {
        let mut slot = self.home(node.tag());
        let mut steps = 0;
        while let Some(here) = &self.slots[slot]
            && self.displacement(here.tag(), slot) >= steps
        {
            slot = self.after(slot);
            steps += 1;
        }
        let mut displaced = self.slots[slot].replace(node);
        while displaced.is_some() {
            slot = self.after(slot);
            std::mem::swap(&mut self.slots[slot], &mut displaced);
        }
        self.len += 1;
        steps
    }

    #[inline]
    fn tag(&self, mark: u32) -> u16 {
        ((mark << self.depth) >> (MARK_BITS - TAG_BITS)) as u16
    }

    #[inline]
    fn home(&self, tag: u16) -> usize {
        (usize::from(tag) * self.slots.len()) >> TAG_BITS
    }

    /// Steps from the home of a tag to the slot that it stands in.
    #[inline]
    fn displacement(&self, tag: u16, slot: usize) -> usize {
        let home = self.home(tag);
        if slot >= home { slot - home } else { slot + self.slots.len() - home }
    }

    #[inline]
    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }
}

/// Whether the first bit after the shared prefix is set.
fn is_upper(tag: u16) -> bool {
    tag >> (TAG_BITS - 1) == 1
}

/// Slots that give `len` nodes a load of about three quarters; of seven eighths where a segment that is split holds them.
fn slots_for(len: usize) -> usize {
    let wanted = (len * 5 / 4).max(SEGMENT_SLOTS_MIN);
    let fit = len * 8 <= SEGMENT_SLOTS_MAX * 7;
    slots_from(if fit { wanted.min(SEGMENT_SLOTS_MAX) } else { wanted })
}

/// The least number of slots, from this one on, that a segment has.
fn slots_from(slots: usize) -> usize {
    match SIZES.into_iter().find(|&size| size >= slots) {
        Some(size) => size,
        None => filling_len::<Option<Node>>(slots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::value::StringRef;
    use stdx::Random;

    /// A key that says its mark, as a hash would give it.
    fn key(mark: u32, number: u32) -> [u8; 8] {
        let [a, b, c, d] = mark.to_le_bytes();
        let [e, f, g, h] = number.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    fn mark_of_key(key: &[u8]) -> u32 {
        u32::from_le_bytes(*key.first_chunk().expect("eight bytes"))
    }

    fn node(key: &[u8]) -> Node {
        Node::new(key, StringRef::of(b"v"), None, Access::new(0))
    }

    /// Every node is found, stands where its home reaches it and in the order of homes, and the counts agree.
    #[track_caller]
    fn check(segment: &Segment, keys: &[[u8; 8]]) {
        assert_eq!(segment.len(), keys.len());
        assert_eq!(segment.iter().count(), keys.len());
        for key in keys {
            let mark = mark_of_key(key);
            let slot = segment.find(mark, key).expect("it was inserted");
            assert_eq!(segment.node(slot).expect("found").key(), key);
            assert_eq!(segment.with_tag_of(mark).filter(|node| node.key() == key).count(), 1);
            assert_eq!(segment.find(mark, b"no such key"), None);
        }
        for slot in 0..segment.slots() {
            let after = segment.after(slot);
            let of = |slot: usize| segment.node(slot).map(|node| segment.displacement(node.tag(), slot));
            if let Some(displacement) = of(after).filter(|&displacement| displacement > 0) {
                assert!(of(slot).is_some_and(|former| displacement <= former + 1), "out of order at {slot}");
            }
        }
        let by_home: usize = (0..segment.slots()).map(|home| segment.at_home(home).count()).sum();
        assert_eq!(by_home, keys.len());
    }

    #[test]
    fn nodes_stay_reachable_through_growth_removal_and_split() {
        let (seeds, steps) = if cfg!(miri) { (2, 200) } else { (20, 600) };
        for seed in 0..seeds {
            let mut random = Random::seeded(seed);
            let mut segment = Segment::new(0);
            let mut keys: Vec<[u8; 8]> = Vec::new();
            // Few distinct marks near both ends make long clusters that wrap around.
            let crowded = seed % 2 == 0;
            for step in 0..steps {
                if random.below(3) > 0 {
                    let mark = random.next_u64() as u32;
                    let mark = if crowded { mark | 0xfffc_0000 } else { mark };
                    if !segment.has_room() {
                        segment.grow();
                    }
                    let key = key(mark, step);
                    segment.insert(mark, node(&key));
                    keys.push(key);
                } else if !keys.is_empty() {
                    let key = keys.swap_remove(random.below(keys.len() as u64) as usize);
                    let slot = segment.find(mark_of_key(&key), &key).expect("it was inserted");
                    assert_eq!(segment.remove(slot).expect("found").key(), key);
                    segment.shrink_if_sparse();
                }
            }
            check(&segment, &keys);
            let upper = segment.split(mark_of_key);
            let (high, low): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| mark_of_key(key) >> 31 == 1);
            check(&segment, &low);
            check(&upper, &high);
        }
    }

    #[test]
    fn homes_follow_the_order_of_marks() {
        for (depth, slots) in [(0, 8), (0, 13), (3, 896), (16, 896), (16, 3000), (5, 100_000)] {
            let segment = Segment::with_slots(depth, slots);
            let marks = 1u64 << (MARK_BITS - depth);
            let homes = if cfg!(miri) { slots.min(20) } else { slots };
            for home in 0..homes {
                let (first, next) = (segment.first_of_home(home), segment.first_of_home(home + 1));
                assert!(first <= next && next <= marks);
                if first < next {
                    assert_eq!(segment.home_of(first as u32), home);
                    assert_eq!(segment.home_of((next - 1) as u32), home);
                }
            }
            assert_eq!((segment.first_of_home(0), segment.first_of_home(slots)), (0, marks));
        }
    }

    #[test]
    fn slots_fill_blocks_of_the_allocator() {
        let mut segment = Segment::new(0);
        while segment.slots() < SEGMENT_SLOTS_MAX {
            segment.grow();
            assert_eq!(segment.bytes(), segment.slots() * SLOT_BYTES);
        }
        assert_eq!(segment.slots(), SEGMENT_SLOTS_MAX);
    }
}
