//! What comes of several sorted sets and sets.
//!
//! The order in which the scores of one member are added up is Redis's (the smallest input first), since sums of floating-point
//! numbers depend on it. What is no number, infinity less infinity or times zero, counts as zero.

use crate::error::{CommandError, Outcome};
use std::cmp::Ordering;
use std::collections::HashMap;
use store::{EntryRef, SetRef, SortedSetRef, ValueRef};

/// Score of the members of a set.
const SET_SCORE: f64 = 1.0;

/// What is made of the inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What is made of the scores of one member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    pub(super) fn parse(word: &[u8]) -> Option<Aggregate> {
        let all = [("sum", Aggregate::Sum), ("min", Aggregate::Min), ("max", Aggregate::Max)];
        all.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, how)| how)
    }

    fn of(self, score: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => number(score + other),
            Aggregate::Min if other < score => other,
            Aggregate::Max if other > score => other,
            Aggregate::Min | Aggregate::Max => score,
        }
    }
}

/// Zero instead of what is no number.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One input with its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'e> {
    members: Members<'e>,
    weight: f64,
}

#[derive(Clone, Copy, Debug)]
enum Members<'e> {
    None,
    Set(SetRef<'e>),
    Sorted(SortedSetRef<'e>),
}

impl<'e> Input<'e> {
    /// What an entry holds, or WRONGTYPE; nothing for no entry.
    pub(super) fn of(entry: Option<EntryRef<'e>>, weight: f64) -> Outcome<Input<'e>> {
        let members = match entry.map(|entry| entry.value()) {
            None => Members::None,
            Some(ValueRef::Set(set)) => Members::Set(set),
            Some(ValueRef::SortedSet(set)) => Members::Sorted(set),
            Some(_) => return Err(CommandError::WrongType),
        };
        Ok(Input { members, weight })
    }

    fn len(&self) -> usize {
        match self.members {
            Members::None => 0,
            Members::Set(set) => set.len(),
            Members::Sorted(set) => set.len(),
        }
    }

    /// The weighted score of a member; it may be no number.
    fn score(&self, member: &[u8]) -> Option<f64> {
        let score = match self.members {
            Members::None => None,
            Members::Set(set) => set.contains(member).then_some(SET_SCORE),
            Members::Sorted(set) => set.score(member),
        };
        score.map(|score| score * self.weight)
    }

    /// Visits members with their weighted scores until `visit` says that it has enough.
    fn visit(&self, visit: &mut dyn FnMut(f64, &[u8]) -> bool) {
        match self.members {
            Members::None => {}
            Members::Set(set) => {
                set.try_for_each(&mut |member| visit(number(SET_SCORE * self.weight), member));
            }
            Members::Sorted(set) => {
                set.iter().all(|(score, member)| visit(number(score * self.weight), member));
            }
        }
    }
}

/// The members that come of the inputs with their scores, in order.
pub(super) fn combine(
    mut inputs: Vec<Input<'_>>,
    operation: Operation,
    aggregate: Aggregate,
) -> Vec<(f64, Vec<u8>)> {
    if operation != Operation::Difference {
        inputs.sort_by_key(Input::len);
    }
    let mut elements = Vec::new();
    match operation {
        Operation::Union => {
            let mut scores: HashMap<Vec<u8>, f64> = HashMap::new();
            for input in &inputs {
                input.visit(&mut |score, member| {
                    match scores.get_mut(member) {
                        Some(sum) => *sum = aggregate.of(*sum, score),
                        None => {
                            scores.insert(member.to_vec(), score);
                        }
                    }
                    true
                });
            }
            elements.extend(scores.into_iter().map(|(member, score)| (score, member)));
        }
        Operation::Intersection => intersect(&inputs, aggregate, &mut |score, member| {
            elements.push((score, member.to_vec()));
            true
        }),
        Operation::Difference => {
            let Some((first, others)) = inputs.split_first() else { return elements };
            first.visit(&mut |score, member| {
                if others.iter().all(|other| other.score(member).is_none()) {
                    elements.push((score, member.to_vec()));
                }
                true
            });
        }
    }
    elements.sort_by(|(a, a_member), (b, b_member)| {
        a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(|| a_member.cmp(b_member))
    });
    elements
}

/// How many members all inputs have; at most `limit` unless that is 0.
pub(super) fn count_intersection(mut inputs: Vec<Input<'_>>, limit: u64) -> u64 {
    inputs.sort_by_key(Input::len);
    let mut count = 0;
    intersect(&inputs, Aggregate::Sum, &mut |_, _| {
        count += 1;
        count != limit
    });
    count
}

fn intersect(inputs: &[Input<'_>], aggregate: Aggregate, visit: &mut dyn FnMut(f64, &[u8]) -> bool) {
    let Some((least, others)) = inputs.split_first() else { return };
    least.visit(&mut |score, member| {
        let all = others.iter().try_fold(score, |sum, other| Some(aggregate.of(sum, other.score(member)?)));
        all.is_none_or(|score| visit(score, member))
    });
}
