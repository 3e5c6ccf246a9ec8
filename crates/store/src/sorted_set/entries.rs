//! What a reader sees of a sorted set, in either form.

use super::order::Order;
use super::packed::{self, Places};
use super::{SortedSet, compare_scores};
use crate::raw::Alias;
use std::ops::{Bound, Range};
use stdx::Random;

/// Elements by which a walk asks for nodes ahead of reading them.
const AHEAD: usize = 8;

/// A sorted set. Elements are pairs of score and member; the *rank* of one is the number of elements before it.
#[derive(Clone, Copy, Debug)]
pub struct SortedSetRef<'a>(Form<'a>);

#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    Packed(&'a [u8]),
    Large(&'a SortedSet),
}

impl<'a> SortedSetRef<'a> {
    /// A packed one.
    pub(crate) fn packed(packed: &'a [u8]) -> SortedSetRef<'a> {
        SortedSetRef(Form::Packed(packed))
    }

    /// A large one.
    pub(crate) fn large(set: &'a SortedSet) -> SortedSetRef<'a> {
        SortedSetRef(Form::Large(set))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self.0 {
            Form::Packed(packed) => packed::walk(packed).count(),
            Form::Large(set) => set.members.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// OBJECT ENCODING as Redis answers it: `listpack` or `skiplist`.
    pub fn encoding(&self) -> &'static str {
        match self.0 {
            Form::Packed(_) => "listpack",
            Form::Large(_) => "skiplist",
        }
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.0 {
            Form::Packed(packed) => {
                packed::walk(packed).find(|(_, here)| *here == member).map(|(score, _)| score)
            }
            Form::Large(set) => set.score(member),
        }
    }

    /// The rank of a member, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.0 {
            Form::Packed(packed) => {
                let mut ranked = packed::walk(packed).enumerate();
                ranked.find(|(_, (_, here))| *here == member).map(|(rank, (score, _))| (rank, score))
            }
            Form::Large(set) => {
                let score = set.score(member)?;
                let before = |here, alias: &Alias| {
                    compare_scores(here, score).then_with(|| alias.node().key().cmp(member)).is_lt()
                };
                Some((set.order.partition_point(before), score))
            }
        }
    }

    /// The first rank whose score is not below the bound; the number of elements if there is none.
    pub fn first_by_score(&self, bound: Bound<f64>) -> usize {
        let is_below = |score: f64| match bound {
            Bound::Included(least) => compare_scores(score, least).is_lt(),
            Bound::Excluded(below) => compare_scores(score, below).is_le(),
            Bound::Unbounded => false,
        };
        match self.0 {
            Form::Packed(packed) => packed::walk(packed).take_while(|(score, _)| is_below(*score)).count(),
            Form::Large(set) => set.order.partition_point(|score, _| is_below(score)),
        }
    }

    /// The first rank whose member is not below the bound, of a set in which all scores are equal.
    pub fn first_by_member(&self, bound: Bound<&[u8]>) -> usize {
        let is_below = |member: &[u8]| match bound {
            Bound::Included(least) => member < least,
            Bound::Excluded(below) => member <= below,
            Bound::Unbounded => false,
        };
        match self.0 {
            Form::Packed(packed) => packed::walk(packed).take_while(|(_, member)| is_below(member)).count(),
            Form::Large(set) => set.order.partition_point(|_, alias| is_below(alias.node().key())),
        }
    }

    /// All elements in order.
    pub fn iter(&self) -> SortedSetEntries<'a> {
        self.range(0..usize::MAX)
    }

    /// The elements of these ranks, as far as there are such, in order; from the last one backwards in reverse.
    pub fn range(&self, ranks: Range<usize>) -> SortedSetEntries<'a> {
        let end = ranks.end.min(self.len());
        let source = match self.0 {
            Form::Packed(packed) => Source::Packed(packed, Places::new(packed)),
            Form::Large(set) => Source::Large { order: &set.order, front: &[], back: &[] },
        };
        SortedSetEntries { source, ranks: ranks.start.min(end)..end }
    }

    /// Visits elements from a cursor on, about `count` of them, in no order; the next cursor, 0 after the last. An element
    /// that is here from the first step to the last is met; a packed set is met as a whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(f64, &[u8])) -> u64 {
        match self.0 {
            Form::Packed(packed) => {
                packed::walk(packed).for_each(|(score, member)| visit(score, member));
                0
            }
            Form::Large(set) => {
                set.members.scan(cursor, count, &mut |member, score| visit(super::score_from(score), member))
            }
        }
    }

    /// An element by chance, all equally likely.
    pub fn random(&self, random: &mut Random) -> Option<(f64, &'a [u8])> {
        let rank = random.below(self.len() as u64) as usize;
        match self.0 {
            Form::Packed(packed) => packed::walk(packed).nth(rank),
            Form::Large(_) => self.range(rank..rank + 1).next(),
        }
    }
}

/// Elements in order, from either end.
#[derive(Clone, Debug)]
pub struct SortedSetEntries<'a> {
    source: Source<'a>,
    /// Those that are left.
    ranks: Range<usize>,
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a walk is on the stack, and hardly ever moved")]
enum Source<'a> {
    Packed(&'a [u8], Places),
    /// What is left of the leaves that either end has come to.
    Large {
        order: &'a Order,
        front: &'a [Alias],
        back: &'a [Alias],
    },
}

impl<'a> Iterator for SortedSetEntries<'a> {
    type Item = (f64, &'a [u8]);

    fn next(&mut self) -> Option<(f64, &'a [u8])> {
        let rank = self.ranks.next()?;
        match &mut self.source {
            Source::Packed(packed, places) => places.entry(packed, rank),
            Source::Large { order, front, .. } => {
                if front.is_empty() {
                    let (leaf, place) = order.leaf_at(rank);
                    *front = leaf.get(place..).unwrap_or_default();
                }
                if let Some(ahead) = front.get(AHEAD) {
                    ahead.node().prefetch();
                }
                let (alias, rest) = front.split_first()?;
                *front = rest;
                Some(entry(alias))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranks.size_hint()
    }
}

impl<'a> DoubleEndedIterator for SortedSetEntries<'a> {
    fn next_back(&mut self) -> Option<(f64, &'a [u8])> {
        let rank = self.ranks.next_back()?;
        match &mut self.source {
            Source::Packed(packed, places) => places.entry(packed, rank),
            Source::Large { order, back, .. } => {
                if back.is_empty() {
                    let (leaf, place) = order.leaf_at(rank);
                    *back = leaf.get(..=place).unwrap_or_default();
                }
                if let Some(ahead) = back.len().checked_sub(1 + AHEAD).and_then(|place| back.get(place)) {
                    ahead.node().prefetch();
                }
                let (alias, rest) = back.split_last()?;
                *back = rest;
                Some(entry(alias))
            }
        }
    }
}

impl ExactSizeIterator for SortedSetEntries<'_> {}

fn entry(alias: &Alias) -> (f64, &[u8]) {
    let node = alias.node();
    (super::score_of(node), node.key())
}
