//! Sorted sets: members with a score each, in the order of scores and then of the members' bytes.
//!
//! A small one is packed ([`packed`]): its elements one after the other in order, read by walking. A large one keeps
//! every element once, as one of [`Members`] whose bytes are its score, and its order apart from that, as a tree of pointers to those nodes ([`order`]). Looking a member up is a hash table's two cache lines;
//! what asks for ranks or ranges goes through the tree, whose inner nodes know how many elements are below them.
//!
//! An element takes its node (8 bytes, member and score, rounded up to the allocator's size), about ten bytes of slots
//! and about as many of the order. Redis's skip list has about 40 bytes of pointers and spans besides member, score and the
//! entry of its dictionary. No step touches more than a segment of the table and two leaves of the tree per level.
//!
//! There is one zero: a negative one is kept as the positive, as in Redis's listpacks. Commands let no NaN in; should one
//! come by a damaged record, it has a place in the order all the same, because an order that depends on the way would
//! lose elements.

mod entries;
mod order;
mod packed;
#[cfg(test)]
mod tests;

use crate::garbage::Remains;
use crate::members::Members;
use crate::node::Node;
use std::cmp::Ordering;

pub use entries::{SortedSetEntries, SortedSetRef};
use order::Order;
pub(crate) use packed::{drop_packed, put_packed};

/// The large form.
#[derive(Debug)]
pub(crate) struct SortedSet {
    /// The members, each with the 8 bytes of its score.
    members: Members,
    /// Aliases of all their nodes, and of no others.
    order: Order,
}

impl SortedSet {
    /// The elements of a packed set in the large form.
    pub(crate) fn from_packed(packed: &[u8], hash_seed: u64) -> SortedSet {
        let mut set = SortedSet { members: Members::new(hash_seed), order: Order::new() };
        packed::walk(packed).for_each(|(score, member)| set.put(score, member));
        set
    }

    /// Gives a member its score; adds it if it is not here yet.
    pub(crate) fn put(&mut self, score: f64, member: &[u8]) {
        let score = unsigned_zero(score);
        let bytes = score.to_le_bytes();
        let Some(node) = self.members.node_mut(member) else {
            let alias = self.members.add(member, &bytes);
            return self.order.insert(alias);
        };
        let former = score_of(node);
        if former.to_bits() == score.to_bits() {
            return;
        }
        let alias = self.order.remove(former, member);
        node.stored_mut().copy_from_slice(&bytes);
        self.order.insert(alias);
    }

    /// Takes a member out, if it is here. What that leaves behind and is not small goes to `remains`.
    pub(crate) fn drop(&mut self, member: &[u8], remains: &mut Vec<Remains>) {
        let Some(score) = self.score(member) else { return };
        self.order.remove(score, member);
        self.members.drop(member, remains);
    }

    /// What its allocations take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.members.memory_bytes() + self.order.bytes()
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.get(member).map(score_from)
    }
}

/// An element: score and member.
type Entry<'a> = (f64, &'a [u8]);

/// The score that an element's node has for its value.
#[inline]
fn score_of(node: &Node) -> f64 {
    score_from(node.stored())
}

#[inline]
fn score_from(bytes: &[u8]) -> f64 {
    f64::from_le_bytes(*bytes.first_chunk().expect("an element's value is the 8 bytes of a score"))
}

#[inline]
fn unsigned_zero(score: f64) -> f64 {
    if score == 0.0 { 0.0 } else { score }
}

/// The order of scores: that of numbers, with the zeros equal; whatever is none comes before or after all of them.
#[inline]
fn compare_scores(a: f64, b: f64) -> Ordering {
    unsigned_zero(a).total_cmp(&unsigned_zero(b))
}

/// The order of elements.
#[inline]
fn compare(a: Entry<'_>, b: Entry<'_>) -> Ordering {
    compare_scores(a.0, b.0).then_with(|| a.1.cmp(b.1))
}
