//! A table: extendible hashing over segments.
//!
//! The first bits of a mark choose a segment through the directory; a full segment is split in two by its next bit, so
//! growth never touches more than one segment (and, when the directory doubles, four bytes per segment). Segments are
//! not merged again: sparse ones give their slots back, and an empty table is dropped as a whole.
//!
//! A *position* is a place in the order of marks, 0 to [`POSITIONS`]. It names the same place through every growth and
//! split, because a node's mark never changes: that is the cursor of SCAN and of snapshots.

use crate::locator::Locator;
use crate::memory::slice_bytes;
use crate::node::Node;
use crate::segment::{MARK_BITS, SEGMENT_SLOTS_MAX, Segment, TAG_BITS, mark_of};
use stdx::Random;

/// One past the last position.
pub(crate) const POSITIONS: u64 = 1 << MARK_BITS;
/// Most bits of the directory: a mark's other bits are the tag. Beyond fifty million keys of one database in one
/// partition, segments grow instead.
const DEPTH_MAX: u32 = MARK_BITS - TAG_BITS;
/// A split that leaves less than this share on one side does not help: the marks are not random there.
const SPLIT_SHARE: usize = 16;
/// Up to this depth it is made all the same: keys that arrive in the order of their marks, as those of a snapshot do, would else
/// crowd together at the lower end of ever larger segments. A directory of that depth takes 16 KiB.
const LOPSIDED_DEPTH_MAX: u32 = 12;
/// Tries to meet a node by chance before walking.
const RANDOM_TRIES_MAX: usize = 100;
/// Homes walked in search of a node that is accepted.
const RANDOM_WALK_MAX: usize = 16 * 1024;

/// All nodes of one database.
#[derive(Debug)]
pub(crate) struct Table {
    depth: u32,
    directory: Vec<u32>,
    segments: Vec<Segment>,
    len: u64,
    segment_bytes: usize,
}

impl Table {
    pub(crate) fn new() -> Table {
        let segment = Segment::new(0);
        let segment_bytes = segment.bytes();
        Table { depth: 0, directory: vec![0], segments: vec![segment], len: 0, segment_bytes }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Memory of the table without what its nodes point to.
    pub(crate) fn bytes(&self) -> usize {
        self.segment_bytes
            + slice_bytes::<u32>(self.directory.capacity())
            + slice_bytes::<Segment>(self.segments.capacity())
    }

    /// Whether it ever grew beyond one segment: then freeing it is work.
    pub(crate) fn is_big(&self) -> bool {
        self.segments.len() > 1
    }

    #[inline]
    pub(crate) fn find(&self, at: Locator, key: &[u8]) -> Option<&Node> {
        let (index, slot) = self.place(at, key)?;
        self.segments[index].node(slot)
    }

    #[inline(always)]
    pub(crate) fn find_mut(&mut self, at: Locator, key: &[u8]) -> Option<&mut Node> {
        let (index, slot) = self.place(at, key)?;
        self.segments[index].node_mut(slot)
    }

    /// The segment and the slot of a key: those guessed, if the key stands there.
    #[inline(always)]
    fn place(&self, at: Locator, key: &[u8]) -> Option<(usize, usize)> {
        let (index, slot) = at.guess();
        let guessed = self.segments.get(index).and_then(|segment| segment.node_if_any(slot));
        if guessed.is_some_and(|node| node.has_key(key)) {
            return Some((index, slot));
        }
        self.search(at.mark(), key)
    }

    #[inline(never)]
    fn search(&self, mark: u32, key: &[u8]) -> Option<(usize, usize)> {
        let index = self.index(mark);
        Some((index, self.segments[index].find(mark, key)?))
    }

    /// Adds a node whose key is not here yet. `mark_of_key` makes the mark of another node's key anew, for a split.
    pub(crate) fn insert(&mut self, mark: u32, node: Node, mark_of_key: impl Fn(&[u8]) -> u32) {
        loop {
            let index = self.index(mark);
            if self.segments[index].has_room() {
                self.len += 1;
                if self.segments[index].insert(mark, node) {
                    self.segment_bytes -= self.segments[index].bytes();
                    self.segments[index].grow();
                    self.segment_bytes += self.segments[index].bytes();
                }
                return;
            }
            self.segment_bytes -= self.segments[index].bytes();
            if self.segments[index].slots() >= SEGMENT_SLOTS_MAX && self.is_worth_splitting(index) {
                self.split(mark, &mark_of_key);
            } else {
                self.segments[index].grow();
            }
            self.segment_bytes += self.segments[index].bytes();
        }
    }

    pub(crate) fn remove(&mut self, mark: u32, key: &[u8]) -> Option<Node> {
        let index = self.index(mark);
        let segment = &mut self.segments[index];
        let slot = segment.find(mark, key)?;
        self.segment_bytes -= segment.bytes();
        let node = segment.remove(slot);
        segment.shrink_if_sparse();
        self.segment_bytes += segment.bytes();
        self.len -= 1;
        node
    }

    /// The nodes of the home that `position` falls into, and the position after that home.
    pub(crate) fn home_at(&self, position: u64) -> (impl Iterator<Item = &Node>, u64) {
        debug_assert!(position < POSITIONS);
        let mark = position as u32;
        let segment = self.segment(mark);
        let home = segment.home_of(mark);
        let range = POSITIONS >> segment.depth();
        let start = position & !(range - 1);
        // All of an empty segment is one step.
        let next = if segment.len() == 0 { range } else { segment.first_of_home(home + 1) };
        (segment.at_home(home), start + next)
    }

    /// The nodes whose mark may be this one, by the bits of it that the table keeps: one, as a rule.
    pub(crate) fn with_tag_of(&self, mark: u32) -> impl Iterator<Item = &Node> {
        self.segment(mark).with_tag_of(mark)
    }

    /// A node whose mark may be this one and which is accepted.
    pub(crate) fn find_where(&mut self, mark: u32, accept: impl Fn(&Node) -> bool) -> Option<&mut Node> {
        let index = self.index(mark);
        let slot = self.segments[index].find_where(mark, accept)?;
        self.segments[index].node_mut(slot)
    }

    /// A node that is accepted, each about equally likely; `None` if none is met in bounded time.
    pub(crate) fn random(&self, random: &mut Random, accept: impl Fn(&Node) -> bool) -> Option<&Node> {
        // A place in the order of marks finds a segment as likely as it has nodes; any slot of it does then.
        for _ in 0..RANDOM_TRIES_MAX {
            let segment = self.segment(random.next_u64() as u32);
            let tries = if segment.len() == 0 { 0 } else { RANDOM_TRIES_MAX };
            let slot = (0..tries).find_map(|_| segment.node(random.below(segment.slots() as u64) as usize));
            if let Some(node) = slot.filter(|node| accept(node)) {
                return Some(node);
            }
        }
        let mut position = random.below(POSITIONS);
        for _ in 0..RANDOM_WALK_MAX {
            let (mut nodes, next) = self.home_at(position);
            if let Some(node) = nodes.find(|node| accept(node)) {
                return Some(node);
            }
            position = next % POSITIONS;
        }
        None
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.segments.iter().flat_map(Segment::iter)
    }

    /// Brings the place of a key closer, and says where that is.
    #[inline(always)]
    pub(crate) fn prefetch_home(&self, hash: u64) -> Locator {
        let mark = mark_of(hash);
        let index = self.number(mark);
        Locator::guessed(hash, index, self.segments[index as usize].prefetch_home(mark))
    }

    /// Brings the node closer whose place was brought closer before, and says where it stands.
    #[inline(always)]
    pub(crate) fn prefetch_node(&self, at: Locator) -> Locator {
        let (index, home) = at.guess();
        let segment = self.segments.get(index);
        match segment.and_then(|segment| segment.prefetch_from(home, at.mark())) {
            Some(slot) => at.moved_to(slot),
            // A look-up would first look at the node at home, which is another one and far away.
            None => at.hash().into(),
        }
    }

    /// The segment that a mark belongs to.
    #[inline]
    pub(crate) fn segment(&self, mark: u32) -> &Segment {
        &self.segments[self.index(mark)]
    }

    #[inline]
    fn index(&self, mark: u32) -> usize {
        self.number(mark) as usize
    }

    #[inline]
    fn number(&self, mark: u32) -> u32 {
        self.directory[(u64::from(mark) >> (MARK_BITS - self.depth)) as usize]
    }

    fn is_worth_splitting(&self, index: usize) -> bool {
        let segment = &self.segments[index];
        let is_even = || {
            let upper = segment.upper_len();
            upper.min(segment.len() - upper) * SPLIT_SHARE >= segment.len()
        };
        segment.depth() < LOPSIDED_DEPTH_MAX || segment.depth() < DEPTH_MAX && is_even()
    }

    /// Splits the segment that `mark` belongs to; its own bytes are the caller's to count.
    fn split(&mut self, mark: u32, mark_of_key: impl Fn(&[u8]) -> u32) {
        let index = self.index(mark);
        let depth = self.segments[index].depth();
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&segment| [segment, segment]).collect();
            self.depth += 1;
        }
        let upper = self.segments[index].split(mark_of_key);
        self.segment_bytes += upper.bytes();
        let upper_index = u32::try_from(self.segments.len()).expect("there are fewer segments than marks");
        // The directory is in the order of prefixes, so a segment's entries are neighbours: the second half of them
        // is the new segment's.
        let entries = 1usize << (self.depth - depth);
        let first = (u64::from(mark) >> (MARK_BITS - depth)) as usize * entries;
        self.directory[first + entries / 2..first + entries].fill(upper_index);
        self.segments.push(upper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::value::StringRef;
    use stdx::hash::hash64;

    fn node(key: &[u8]) -> Node {
        Node::new(key, StringRef::of(b"1"), None, Access::new(0))
    }

    fn key(i: u32) -> [u8; 4] {
        i.to_le_bytes()
    }

    fn at(i: u32) -> Locator {
        Locator::from(hash64(3, &key(i)))
    }

    fn mark(i: u32) -> u32 {
        mark_of_key(&key(i))
    }

    fn mark_of_key(key: &[u8]) -> u32 {
        mark_of(hash64(3, key))
    }

    fn filled(count: u32) -> Table {
        let mut table = Table::new();
        (0..count).for_each(|i| table.insert(mark(i), node(&key(i)), mark_of_key));
        table
    }

    fn recount_bytes(table: &Table) -> usize {
        table.segments.iter().map(Segment::bytes).sum()
    }

    #[test]
    fn nodes_survive_splits() {
        let mut table = filled(1_000);
        assert!(table.is_big());
        assert!((0..1_000).all(|i| table.find_mut(at(i), &key(i)).is_some()));
        assert!((0..1_000).all(|i| table.remove(mark(i), &key(i)).is_some()));
        assert_eq!((table.len(), table.iter().count()), (0, 0));
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn grows_by_splits_and_counts_its_memory() {
        let mut table = filled(50_000);
        assert!(table.segments.len() > 50 && table.depth >= 6);
        assert!(table.segments.iter().all(|segment| segment.slots() <= SEGMENT_SLOTS_MAX));
        assert!((0..50_000).all(|i| table.find(at(i), &key(i)).is_some()));
        assert!(table.find(at(50_000), &key(50_000)).is_none());
        assert_eq!((table.len(), table.iter().count()), (50_000, 50_000));
        assert_eq!(table.segment_bytes, recount_bytes(&table));
        let slots: usize = table.segments.iter().map(Segment::slots).sum();
        assert!((50_000.0 / slots as f64) > 0.7, "{slots} slots");
        let full_bytes = table.bytes();
        assert!((0..50_000).all(|i| table.remove(mark(i), &key(i)).is_some()));
        assert_eq!((table.len(), table.iter().count()), (0, 0));
        assert_eq!(table.segment_bytes, recount_bytes(&table));
        assert!(table.bytes() * 10 < full_bytes);
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn warming_up_finds_nearly_every_key_and_misleads_about_none() {
        let warm = |table: &Table, i: u32| table.prefetch_node(table.prefetch_home(hash64(3, &key(i))));
        let mut table = filled(20_000);
        let seen = |i: &u32| {
            let (index, slot) = warm(&table, *i).guess();
            let node = table.segments.get(index).and_then(|segment| segment.node_if_any(slot));
            node.is_some_and(|node| node.has_key(&key(*i)))
        };
        let count = (0..20_000).filter(seen).count();
        assert!(count > 19_800, "{count}");
        let warmed: Vec<Locator> = (0..20_000).map(|i| warm(&table, i)).collect();
        (20_000..40_000).for_each(|i| table.insert(mark(i), node(&key(i)), mark_of_key));
        assert!((0..20_000).step_by(2).all(|i| table.remove(mark(i), &key(i)).is_some()));
        for (i, at) in (0..).zip(warmed) {
            let found = table.find(at, &key(i)).map(Node::key);
            assert_eq!(found, (i % 2 == 1).then_some(&key(i)[..]));
        }
        assert!(table.find(warm(&table, 40_000), &key(40_000)).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn a_walk_by_position_meets_every_node_once() {
        let table = filled(20_000);
        let (mut position, mut met) = (0, 0);
        while position < POSITIONS {
            let (nodes, next) = table.home_at(position);
            met += nodes.count();
            assert!(next > position);
            position = next;
        }
        assert_eq!(met, 20_000);
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn keys_in_the_order_of_their_marks_do_not_crowd() {
        let mut keys: Vec<u32> = (0..50_000).collect();
        keys.sort_by_key(|&i| mark(i));
        let mut table = Table::new();
        keys.iter().for_each(|&i| table.insert(mark(i), node(&key(i)), mark_of_key));
        assert!(table.segments.iter().all(|segment| segment.slots() <= SEGMENT_SLOTS_MAX));
        assert!(table.directory.len() <= 256, "{}", table.directory.len());
        let random = filled(50_000);
        assert_eq!(table.segment_bytes, recount_bytes(&table));
        assert!(table.bytes() * 4 < random.bytes() * 5, "{} {}", table.bytes(), random.bytes());
        assert!(keys.iter().all(|&i| table.find(at(i), &key(i)).is_some()));
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn colliding_marks_do_not_blow_up_the_directory() {
        // The lower half of the keys is made to collide in all bits.
        let mark = |i: u32| if i < 5_000 { 0x1234_5678 } else { mark(i) };
        let mark_of_key = |key: &[u8]| mark(u32::from_le_bytes(*key.first_chunk().expect("four bytes")));
        let mut table = Table::new();
        (0..5_000).for_each(|i| table.insert(mark(i), node(&key(i)), mark_of_key));
        assert!(table.directory.len() <= 1 << LOPSIDED_DEPTH_MAX);
        assert_eq!(table.with_tag_of(0x1234_5678).count(), 5_000);
        (5_000..10_000).for_each(|i| table.insert(mark(i), node(&key(i)), mark_of_key));
        assert!(table.directory.len() <= 1 << LOPSIDED_DEPTH_MAX, "{}", table.directory.len());
        assert!(
            (0..10_000)
                .all(|i| table.find(Locator::from(u64::from(mark(i)) << MARK_BITS), &key(i)).is_some())
        );
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn random_nodes_are_about_uniform() {
        let table = filled(3_000);
        let mut random = Random::seeded(9);
        let mut met = vec![0u32; 3_000];
        for _ in 0..300_000 {
            let node = table.random(&mut random, |_| true).expect("the table is not empty");
            met[u32::from_le_bytes(node.key().try_into().expect("four bytes")) as usize] += 1;
        }
        // 100 expected of each.
        assert!(met.iter().all(|&n| (30..260).contains(&n)), "{:?} {:?}", met.iter().min(), met.iter().max());
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn random_finds_the_last_node_of_a_sparse_table() {
        let mut table = filled(50_000);
        (1..50_000).for_each(|i| assert!(table.remove(mark(i), &key(i)).is_some()));
        let mut random = Random::seeded(1);
        assert!(
            (0..100).all(|_| table.random(&mut random, |_| true).is_some_and(|node| node.key() == key(0)))
        );
        assert!(table.random(&mut random, |_| false).is_none());
    }
}
