//! The order of a large sorted set: a B+ tree of pointers to the elements, which knows ranks.
//!
//! Leaves hold aliases of the table's nodes and nothing else, 8 bytes for an element. An inner node holds for each of its
//! children how many elements are below it and which is the first of them, with a copy of that one's score: most steps
//! down are decided without a look at any element. All leaves are at the same depth.
//!
//! Lists are as large as the allocator would make them anyway, and grow and shrink with what they hold, so that a leaf
//! split in two takes hardly more memory than before. What is added at either end splits a leaf where it leaves three
//! quarters full: scores that rise, as those of a log do, fill leaf after leaf. A list with less than a quarter joins a
//! neighbour or takes from it.

use super::{compare_scores, score_of};
use crate::memory::{filling_len, slice_bytes};
use crate::raw::Alias;
use std::cmp::Ordering;

/// Elements of a leaf.
const LEAF_MAX: usize = if cfg!(miri) { 8 } else { 128 };
/// Children of an inner node. Few: what adds their counts up for a rank walks over half of them.
const CHILDREN_MAX: usize = if cfg!(miri) { 8 } else { 32 };

/// Elements of a leaf that are asked for at once.
const ASKED_MAX: usize = if cfg!(miri) { 3 } else { 12 };

const _: () = assert!(LEAF_MAX >= 4, "no leaf but the root is empty");
const _: () =
    assert!(CHILDREN_MAX >= 8, "every inner node has two children at least: a sparse one has a neighbour");

/// Aliases of elements in their order.
#[derive(Debug)]
pub(super) struct Order {
    root: Branch,
    bytes: usize,
}

/// What the lists of one tree take.
type Bytes = usize;

#[derive(Debug)]
enum Branch {
    Leaf(Vec<Alias>),
    Inner(Vec<Child>),
}

/// A branch that is not empty.
#[derive(Debug)]
struct Child {
    /// Elements below.
    len: usize,
    /// The first of them, and its score.
    first: Alias,
    score: f64,
    branch: Branch,
}

impl Order {
    pub(super) fn new() -> Order {
        Order { root: Branch::Leaf(Vec::new()), bytes: 0 }
    }

    /// What its allocations take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an element that is not here yet.
    pub(super) fn insert(&mut self, alias: Alias) {
        let Some(upper) = self.root.insert(alias, &mut self.bytes) else { return };
        let lower = std::mem::replace(&mut self.root, Branch::Leaf(Vec::new()));
        let mut children = with_room(2, &mut self.bytes);
        children.extend([Child::of(lower), Child::of(upper)]);
        self.root = Branch::Inner(children);
    }

    /// Takes an element out, by the score that it still has.
    ///
    /// # Panics
    /// If it is not here: its node must not be freed then.
    pub(super) fn remove(&mut self, score: f64, member: &[u8]) -> Alias {
        let alias = self.root.remove(score, member, &mut self.bytes);
        if let Branch::Inner(children) = &mut self.root
            && children.len() == 1
            && let Some(child) = children.pop()
        {
            give_up(children, &mut self.bytes);
            self.root = child.branch;
        }
        alias
    }

    /// How many elements stand before the first for which `is_before` is false, given its score as well. It is true for
    /// those before that one and for none behind it.
    pub(super) fn partition_point(&self, is_before: impl Fn(f64, &Alias) -> bool) -> usize {
        let (mut branch, mut rank) = (&self.root, 0);
        loop {
            match branch {
                Branch::Leaf(leaf) => {
                    return rank + search(leaf, |alias| is_before(score_of(alias.node()), alias));
                }
                Branch::Inner(children) => {
                    let behind = children.partition_point(|child| is_before(child.score, &child.first));
                    let Some((child, before)) =
                        children.get(..behind).and_then(|children| children.split_last())
                    else {
                        return rank;
                    };
                    rank += before.iter().map(|child| child.len).sum::<usize>();
                    branch = &child.branch;
                }
            }
        }
    }

    /// The leaf with the element of a rank, and its place there; nothing beyond the last.
    pub(super) fn leaf_at(&self, rank: usize) -> (&[Alias], usize) {
        let (mut branch, mut rest) = (&self.root, rank);
        loop {
            match branch {
                Branch::Leaf(leaf) => return (leaf, rest),
                Branch::Inner(children) => {
                    let child = children.iter().find(|child| {
                        let is_below = rest < child.len;
                        rest -= if is_below { 0 } else { child.len };
                        is_below
                    });
                    let Some(child) = child else { return (&[], 0) };
                    branch = &child.branch;
                }
            }
        }
    }
}

impl Branch {
    /// Adds an element; what was split off to make room for it.
    fn insert(&mut self, alias: Alias, bytes: &mut Bytes) -> Option<Branch> {
        let node = alias.node();
        let (score, member) = (score_of(node), node.key());
        match self {
            Branch::Leaf(leaf) => {
                let place = search(leaf, |here| compare_alias(here, score, member).is_lt());
                insert_into(leaf, place, alias, LEAF_MAX, bytes).map(Branch::Leaf)
            }
            Branch::Inner(children) => {
                let place = child_of(children, score, member);
                let child = &mut children[place];
                let upper = child.branch.insert(alias, bytes);
                child.len += 1;
                if upper.is_none() {
                    child.set_first();
                    return None;
                }
                child.recount();
                let upper = Child::of(upper?);
                insert_into(children, place + 1, upper, CHILDREN_MAX, bytes).map(Branch::Inner)
            }
        }
    }

    fn remove(&mut self, score: f64, member: &[u8], bytes: &mut Bytes) -> Alias {
        match self {
            Branch::Leaf(leaf) => {
                let place = leaf.binary_search_by(|here| compare_alias(here, score, member));
                let alias =
                    leaf.remove(place.expect("every element of the table has its place in the order"));
                shrink(leaf, bytes);
                alias
            }
            Branch::Inner(children) => {
                let place = child_of(children, score, member);
                let child = &mut children[place];
                let alias = child.branch.remove(score, member, bytes);
                child.len -= 1;
                if child.branch.is_sparse() {
                    relieve(children, place, bytes);
                } else {
                    child.set_first();
                }
                alias
            }
        }
    }

    /// Whether it has less than a quarter of what it may have.
    fn is_sparse(&self) -> bool {
        match self {
            Branch::Leaf(leaf) => leaf.len() < LEAF_MAX / 4,
            Branch::Inner(children) => children.len() < CHILDREN_MAX / 4,
        }
    }
}

impl Child {
    fn of(branch: Branch) -> Child {
        let (len, first) = match &branch {
            Branch::Leaf(leaf) => (leaf.len(), leaf.first()),
            Branch::Inner(children) => {
                let len = children.iter().map(|child| child.len).sum();
                (len, children.first().map(|child| &child.first))
            }
        };
        let first = *first.expect("only the root may be empty, and it is no child");
        Child { len, first, score: score_of(first.node()), branch }
    }

    /// Says again what is below, after that was split, joined or levelled.
    fn recount(&mut self) {
        let branch = std::mem::replace(&mut self.branch, Branch::Leaf(Vec::new()));
        *self = Child::of(branch);
    }

    /// Says again which element is the first.
    fn set_first(&mut self) {
        match &self.branch {
            Branch::Leaf(leaf) => {
                let first = *leaf.first().expect("a leaf that lost its last element was relieved");
                (self.first, self.score) = (first, score_of(first.node()));
            }
            Branch::Inner(children) => {
                let first = children.first().expect("an inner node has two children at least");
                (self.first, self.score) = (first.first, first.score);
            }
        }
    }
}

/// How many elements of a leaf stand before the first for which `is_before` is false, as [`slice::partition_point`].
///
/// Hardly any of them is in a cache, and halving would wait for one after the other. Those that may be looked at next are asked
/// for together instead, so that a leaf costs about two waits.
fn search(leaf: &[Alias], is_before: impl Fn(&Alias) -> bool) -> usize {
    let (mut start, mut end) = (0, leaf.len());
    while end - start > ASKED_MAX {
        let step = (end - start).div_ceil(ASKED_MAX);
        let places = || (start + step..end).step_by(step);
        places().for_each(|place| leaf[place].node().prefetch());
        let (mut low, mut high) = (0, places().len());
        while low < high {
            let middle = low.midpoint(high);
            if is_before(&leaf[start + step * (middle + 1)]) { low = middle + 1 } else { high = middle }
        }
        let from = start;
        if low > 0 {
            start = from + step * low + 1;
        }
        end = end.min(from + step * (low + 1));
    }
    leaf[start..end].iter().for_each(|alias| alias.node().prefetch());
    start + leaf[start..end].partition_point(is_before)
}

/// The order of an element in a leaf and another one.
#[inline]
fn compare_alias(alias: &Alias, score: f64, member: &[u8]) -> Ordering {
    let node = alias.node();
    compare_scores(score_of(node), score).then_with(|| node.key().cmp(member))
}

/// The child that an element belongs to: the last that begins with it or before it, or the first.
#[inline]
fn child_of(children: &[Child], score: f64, member: &[u8]) -> usize {
    let behind = children.partition_point(|child| {
        compare_scores(child.score, score).then_with(|| child.first.node().key().cmp(member)).is_le()
    });
    behind.saturating_sub(1)
}

/// Joins a sparse child with a neighbour, or levels the two if together they are more than three quarters of one.
fn relieve(children: &mut Vec<Child>, place: usize, bytes: &mut Bytes) {
    let lower = place.saturating_sub(1);
    let Some([first, second]) = children.get_mut(lower..).and_then(|pair| pair.first_chunk_mut::<2>()) else {
        return;
    };
    let is_joined = match (&mut first.branch, &mut second.branch) {
        (Branch::Leaf(first), Branch::Leaf(second)) => join_or_level(first, second, LEAF_MAX, bytes),
        (Branch::Inner(first), Branch::Inner(second)) => join_or_level(first, second, CHILDREN_MAX, bytes),
        _ => unreachable!("all leaves are at the same depth"),
    };
    first.recount();
    if is_joined {
        children.remove(lower + 1);
        shrink(children, bytes);
    } else {
        second.recount();
    }
}

/// Inserts into a list of at most `max`; what was split off to make room.
fn insert_into<T>(list: &mut Vec<T>, place: usize, item: T, max: usize, bytes: &mut Bytes) -> Option<Vec<T>> {
    if list.len() < max {
        grow(list, list.len() + 1, bytes);
        list.insert(place, item);
        return None;
    }
    let cut = match place {
        0 => max / 4,
        _ if place == max => max - max / 4,
        _ => max / 2,
    };
    let mut upper = split_off(list, cut, bytes);
    let (half, place) = if place <= cut { (list, place) } else { (&mut upper, place - cut) };
    grow(half, half.len() + 1, bytes);
    half.insert(place, item);
    Some(upper)
}

/// Moves everything into the first of two neighbours, and says so, or half of it to each.
fn join_or_level<T>(first: &mut Vec<T>, second: &mut Vec<T>, max: usize, bytes: &mut Bytes) -> bool {
    let len = first.len() + second.len();
    if len <= max - max / 4 {
        grow(first, len, bytes);
        first.append(second);
        give_up(second, bytes);
        return true;
    }
    let half = len / 2;
    if first.len() < half {
        let moved = half - first.len();
        grow(first, half, bytes);
        first.extend(second.drain(..moved));
        shrink(second, bytes);
    } else {
        let mut moved = split_off(first, half, bytes);
        grow(second, len - half, bytes);
        second.splice(..0, moved.drain(..));
        give_up(&mut moved, bytes);
    }
    false
}

fn split_off<T>(list: &mut Vec<T>, cut: usize, bytes: &mut Bytes) -> Vec<T> {
    let mut upper = with_room(list.len() - cut, bytes);
    upper.extend(list.drain(cut..));
    fit(list, bytes);
    upper
}

fn with_room<T>(len: usize, bytes: &mut Bytes) -> Vec<T> {
    let list = Vec::with_capacity(filling_len::<T>(len));
    *bytes += slice_bytes::<T>(list.capacity());
    list
}

/// Makes room for `len` items.
fn grow<T>(list: &mut Vec<T>, len: usize, bytes: &mut Bytes) {
    if list.capacity() < len {
        *bytes -= slice_bytes::<T>(list.capacity());
        list.reserve_exact(filling_len::<T>(len) - list.len());
        *bytes += slice_bytes::<T>(list.capacity());
    }
}

/// Gives room back of which less than three quarters are in use.
fn shrink<T>(list: &mut Vec<T>, bytes: &mut Bytes) {
    if list.len() * 4 < list.capacity() * 3 {
        fit(list, bytes);
    }
}

/// Gives back what is not in use, as far as the allocator has smaller sizes.
fn fit<T>(list: &mut Vec<T>, bytes: &mut Bytes) {
    *bytes -= slice_bytes::<T>(list.capacity());
    list.shrink_to(filling_len::<T>(list.len()));
    *bytes += slice_bytes::<T>(list.capacity());
}

/// Gives all room back.
fn give_up<T>(list: &mut Vec<T>, bytes: &mut Bytes) {
    *bytes -= slice_bytes::<T>(list.capacity());
    *list = Vec::new();
}

#[cfg(test)]
impl Order {
    /// Asserts what holds of every tree; the depth.
    pub(super) fn check(&self) -> usize {
        let mut bytes = 0;
        let depth = self.root.check(true, &mut bytes);
        assert_eq!(bytes, self.bytes, "all allocations are counted");
        depth
    }
}

#[cfg(test)]
impl Branch {
    fn check(&self, is_root: bool, bytes: &mut Bytes) -> usize {
        assert!(is_root || !self.is_sparse());
        match self {
            Branch::Leaf(leaf) => {
                assert!(leaf.len() <= LEAF_MAX);
                *bytes += slice_bytes::<Alias>(leaf.capacity());
                0
            }
            Branch::Inner(children) => {
                assert!((2..=CHILDREN_MAX).contains(&children.len()));
                *bytes += slice_bytes::<Child>(children.capacity());
                let depths: Vec<usize> = children.iter().map(|child| child.check(bytes)).collect();
                assert!(depths.iter().all(|depth| *depth == depths[0]));
                depths[0] + 1
            }
        }
    }
}

#[cfg(test)]
impl Child {
    fn check(&self, bytes: &mut Bytes) -> usize {
        let (len, first) = match &self.branch {
            Branch::Leaf(leaf) => (leaf.len(), leaf[0]),
            Branch::Inner(children) => (children.iter().map(|child| child.len).sum(), children[0].first),
        };
        assert_eq!((self.len, self.first.node().key()), (len, first.node().key()));
        assert_eq!(compare_scores(self.score, score_of(self.first.node())), Ordering::Equal);
        self.branch.check(false, bytes)
    }
}
