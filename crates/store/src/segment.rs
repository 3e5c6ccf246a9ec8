//! A segment: an open-addressing table of bounded size that keeps nodes near the order of their hashes.
//!
//! A *mark* is the upper half of a key's hash (never zero, which says that a slot is unused). The bits below the
//! segment's prefix, taken as a fraction of the segment, give the home slot: a higher mark never has a lower home.
//! Collisions go to the next free slot, and removal closes the gap, so every node stands between its home and the
//! next unused slot. That is what lets SCAN walk in hash order without any state, through growth and splits alike.
//!
//! Marks stand apart from nodes: a look-up probes a line or two of marks before it touches a node.

use crate::memory::allocation_bytes;
use crate::node::Node;
use crate::prefetch::prefetch;

/// Slots of a segment before it is split: bounds the work of one split or growth.
pub(crate) const SEGMENT_SLOTS_MAX: usize = 1024;
const SEGMENT_SLOTS_MIN: usize = 8;
/// Memory of one slot.
pub(crate) const SLOT_BYTES: usize = size_of::<u32>() + size_of::<Node>();

const UNUSED: u32 = 0;

/// The mark of a hash.
pub(crate) fn mark_of(hash: u64) -> u32 {
    ((hash >> 32) as u32).max(1)
}

/// Nodes whose marks share the first `depth` bits.
#[derive(Debug)]
pub(crate) struct Segment {
    depth: u32,
    len: usize,
    marks: Box<[u32]>,
    nodes: Box<[Node]>,
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
        self.len
    }

    pub(crate) fn slots(&self) -> usize {
        self.marks.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        allocation_bytes(size_of_val(&self.marks[..])) + allocation_bytes(size_of_val(&self.nodes[..]))
    }

    /// Whether one more node keeps the load at four fifths: beyond, probing gets long.
    pub(crate) fn has_room(&self) -> bool {
        (self.len + 1) * 5 <= self.slots() * 4
    }

    pub(crate) fn find(&self, mark: u32, key: &[u8]) -> Option<usize> {
        let mut slot = self.home(mark);
        loop {
            match self.marks[slot] {
                UNUSED => return None,
                here if here == mark && self.nodes[slot].key() == key => return Some(slot),
                _ => slot = self.after(slot),
            }
        }
    }

    /// Brings the home of a mark closer: where [`Segment::find`] will begin.
    pub(crate) fn prefetch_home(&self, mark: u32) {
        let home = self.home(mark);
        prefetch(&self.marks[home]);
        prefetch(&self.nodes[home]);
    }

    /// Brings the node closer that `find` will most likely end at.
    pub(crate) fn prefetch_node(&self, mark: u32) {
        let mut slot = self.home(mark);
        while self.marks[slot] != UNUSED {
            if self.marks[slot] == mark {
                return self.nodes[slot].prefetch();
            }
            slot = self.after(slot);
        }
    }

    /// The node in `slot`, if one is there.
    pub(crate) fn node(&self, slot: usize) -> Option<&Node> {
        (self.marks[slot] != UNUSED).then(|| &self.nodes[slot])
    }

    pub(crate) fn node_mut(&mut self, slot: usize) -> &mut Node {
        &mut self.nodes[slot]
    }

    /// Adds a node whose key is not here yet. The caller has made room.
    pub(crate) fn insert(&mut self, mark: u32, node: Node) {
        debug_assert!(self.len < self.slots());
        let mut slot = self.home(mark);
        while self.marks[slot] != UNUSED {
            slot = self.after(slot);
        }
        self.marks[slot] = mark;
        self.nodes[slot] = node;
        self.len += 1;
    }

    /// Takes the node out of `slot` and moves back those behind it that the gap would hide.
    pub(crate) fn remove(&mut self, slot: usize) -> Node {
        let removed = std::mem::take(&mut self.nodes[slot]);
        self.len -= 1;
        let mut gap = slot;
        let mut next = self.after(gap);
        while self.marks[next] != UNUSED {
            if self.distance(self.home(self.marks[next]), next) >= self.distance(gap, next) {
                self.marks[gap] = self.marks[next];
                self.nodes.swap(gap, next);
                gap = next;
            }
            next = self.after(next);
        }
        self.marks[gap] = UNUSED;
        removed
    }

    /// Moves all nodes into half as many slots again.
    pub(crate) fn grow(&mut self) {
        let mut slots = self.slots() + self.slots() / 2;
        if self.slots() < SEGMENT_SLOTS_MAX {
            slots = slots.min(SEGMENT_SLOTS_MAX);
        }
        self.rebuild(slots);
    }

    /// Gives slots back if hardly any is used.
    pub(crate) fn shrink_if_sparse(&mut self) {
        if self.slots() > 2 * SEGMENT_SLOTS_MIN && self.len * 8 < self.slots() {
            self.rebuild(slots_for(self.len));
        }
    }

    /// How many nodes have the bit after the shared prefix set: those that a split would move.
    pub(crate) fn upper_len(&self) -> usize {
        self.marks.iter().filter(|&&mark| mark != UNUSED && is_upper(mark, self.depth)).count()
    }

    /// Keeps the nodes whose next bit is zero and gives the others to a new segment.
    pub(crate) fn split(&mut self) -> Segment {
        let upper_len = self.upper_len();
        let mut upper = Segment::with_slots(self.depth + 1, slots_for(upper_len));
        let mut lower = Segment::with_slots(self.depth + 1, slots_for(self.len - upper_len));
        for (&mark, node) in self.marks.iter().zip(&mut self.nodes).filter(|(mark, _)| **mark != UNUSED) {
            let half = if is_upper(mark, self.depth) { &mut upper } else { &mut lower };
            half.insert(mark, std::mem::take(node));
        }
        *self = lower;
        upper
    }

    /// The home slot of a mark or a position within this segment's range.
    pub(crate) fn home(&self, mark: u32) -> usize {
        let fraction = u64::from(mark << self.depth);
        ((fraction * self.marks.len() as u64) >> 32) as usize
    }

    /// The lowest mark whose home is `home`, less the shared prefix; for the slot after the last, all marks.
    pub(crate) fn first_of_home(&self, home: usize) -> u64 {
        let fraction = ((home as u64) << 32).div_ceil(self.marks.len() as u64);
        fraction.div_ceil(1 << self.depth)
    }

    /// The nodes whose home is `home`.
    pub(crate) fn at_home(&self, home: usize) -> impl Iterator<Item = &Node> {
        self.cluster(home)
            .filter(move |&slot| self.home(self.marks[slot]) == home)
            .map(|slot| &self.nodes[slot])
    }

    /// The nodes with this mark: one, if marks do not collide.
    pub(crate) fn with_mark(&self, mark: u32) -> impl Iterator<Item = &Node> {
        self.cluster(self.home(mark))
            .filter(move |&slot| self.marks[slot] == mark)
            .map(|slot| &self.nodes[slot])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.marks.iter().zip(&self.nodes).filter(|(mark, _)| **mark != UNUSED).map(|(_, node)| node)
    }

    /// Used slots from `start` to the next unused one.
    fn cluster(&self, start: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(start), |&slot| Some(self.after(slot)))
            .take_while(|&slot| self.marks[slot] != UNUSED)
    }

    fn with_slots(depth: u32, slots: usize) -> Segment {
        let nodes = std::iter::repeat_with(Node::default).take(slots).collect();
        Segment { depth, len: 0, marks: vec![UNUSED; slots].into_boxed_slice(), nodes }
    }

    fn rebuild(&mut self, slots: usize) {
        let mut rebuilt = Segment::with_slots(self.depth, slots);
        for (&mark, node) in self.marks.iter().zip(&mut self.nodes).filter(|(mark, _)| **mark != UNUSED) {
            rebuilt.insert(mark, std::mem::take(node));
        }
        *self = rebuilt;
    }

    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.marks.len() { 0 } else { slot + 1 }
    }

    /// Steps from one slot forward to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.marks.len() - from }
    }
}

/// Whether the bit after the first `depth` is set.
fn is_upper(mark: u32, depth: u32) -> bool {
    mark >> (31 - depth) & 1 == 1
}

/// Slots that give `len` nodes a load of three fifths.
fn slots_for(len: usize) -> usize {
    (len * 5 / 3).max(SEGMENT_SLOTS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::value::StringRef;
    use stdx::Random;

    fn node(key: u64) -> Node {
        Node::new(&key.to_le_bytes(), StringRef::of(b"v"), None, Access::new(0))
    }

    /// Every node is found, stands where its home reaches it, and the counts agree.
    #[track_caller]
    fn check(segment: &Segment, keys: &[(u32, u64)]) {
        assert_eq!(segment.len(), keys.len());
        assert_eq!(segment.iter().count(), keys.len());
        for (mark, key) in keys {
            let slot = segment.find(*mark, &key.to_le_bytes()).expect("it was inserted");
            assert_eq!(segment.node(slot).expect("found").key(), key.to_le_bytes());
            assert_eq!(segment.with_mark(*mark).filter(|node| node.key() == key.to_le_bytes()).count(), 1);
        }
        let by_home: usize = (0..segment.slots()).map(|home| segment.at_home(home).count()).sum();
        assert_eq!(by_home, keys.len());
    }

    #[test]
    fn nodes_stay_reachable_through_growth_removal_and_split() {
        for seed in 0..20 {
            let mut random = Random::seeded(seed);
            let mut segment = Segment::new(0);
            let mut keys: Vec<(u32, u64)> = Vec::new();
            // Few distinct marks near both ends make long clusters that wrap around.
            let crowded = seed % 2 == 0;
            for step in 0..600 {
                if random.below(3) > 0 {
                    let mark = random.next_u64() as u32;
                    let mark = if crowded { mark | 0xffff_fff0 } else { mark.max(1) };
                    if !segment.has_room() {
                        segment.grow();
                    }
                    segment.insert(mark, node(step));
                    keys.push((mark, step));
                } else if !keys.is_empty() {
                    let (mark, key) = keys.swap_remove(random.below(keys.len() as u64) as usize);
                    let slot = segment.find(mark, &key.to_le_bytes()).expect("it was inserted");
                    assert_eq!(segment.remove(slot).key(), key.to_le_bytes());
                    segment.shrink_if_sparse();
                }
            }
            check(&segment, &keys);
            let upper = segment.split();
            let (high, low): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(mark, _)| mark >> 31 == 1);
            check(&segment, &low);
            check(&upper, &high);
        }
    }

    #[test]
    fn homes_follow_the_order_of_marks() {
        for (depth, slots) in [(0, 8), (0, 13), (3, 1024), (22, 1024), (22, 3000)] {
            let segment = Segment::with_slots(depth, slots);
            let marks = 1u64 << (32 - depth);
            for home in 0..slots {
                let (first, next) = (segment.first_of_home(home), segment.first_of_home(home + 1));
                assert!(first <= next && next <= marks);
                if first < next {
                    assert_eq!(segment.home(first as u32), home);
                    assert_eq!(segment.home((next - 1) as u32), home);
                }
            }
            assert_eq!((segment.first_of_home(0), segment.first_of_home(slots)), (0, marks));
        }
    }
}
