//! ZADD and ZINCRBY; and how members get their scores, for GEOADD as well.
//!
//! The effect has the scores that came of it: only of members that are new or whose score has changed.

use super::{ROW, Scored, put_scored, sorted_set_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "zadd",
        arity: -4,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "1.2.0",
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist.",
        run: Run::Write(zadd),
        ..ROW
    },
    Command {
        name: "zincrby",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "1.2.0",
        complexity: "O(log(N)) where N is the number of elements in the sorted set.",
        summary: "Increments the score of a member in a sorted set.",
        run: Run::Write(zincrby),
        ..ROW
    },
];

/// When a score is set at all.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Conditions {
    /// NX: of new members only.
    pub(crate) only_new: bool,
    /// XX: of members that are there only.
    pub(crate) only_existing: bool,
    /// GT: of a member that is there, only to a greater one.
    pub(crate) only_greater: bool,
    /// LT: of a member that is there, only to a lesser one.
    pub(crate) only_less: bool,
}

impl Conditions {
    /// Whether a member may get this score, given the one that it has.
    fn allow(self, current: Option<f64>, score: f64) -> bool {
        match current {
            None => !self.only_existing,
            Some(current) => {
                !(self.only_new
                    || self.only_less && score >= current
                    || self.only_greater && score <= current)
            }
        }
    }
}

/// What came of scores that were to be set.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Added {
    new: i64,
    changed: i64,
}

impl Added {
    /// The number in the reply: of new members, with CH also of changed ones.
    pub(crate) fn count(self, with_changed: bool) -> i64 {
        if with_changed { self.new + self.changed } else { self.new }
    }
}

/// The words of ZADD and ZINCRBY.
struct Request<'a> {
    conditions: Conditions,
    with_changed: bool,
    increments: bool,
    elements: Vec<Scored<'a>>,
}

impl<'a> Request<'a> {
    fn parse(args: Args<'a>, increments: bool) -> Outcome<Request<'a>> {
        let mut request = Request {
            conditions: Conditions::default(),
            with_changed: false,
            increments,
            elements: Vec::new(),
        };
        let mut words = args.tail(2);
        while let Some((word, rest)) = words.split_first() {
            if !request.take_option(word) {
                break;
            }
            words = rest;
        }
        if words.is_empty() || !words.len().is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        let Conditions { only_new, only_existing, only_greater, only_less } = request.conditions;
        if only_new && only_existing {
            return Err(CommandError::Other("XX and NX options at the same time are not compatible"));
        }
        if only_new && (only_greater || only_less) || only_greater && only_less {
            return Err(CommandError::Other("GT, LT, and/or NX options at the same time are not compatible"));
        }
        if request.increments && words.len() > 2 {
            return Err(CommandError::Other("INCR option supports a single increment-element pair"));
        }
        for pair in words.chunks_exact(2) {
            let score = protocol::parse_f64(pair[0]).ok_or(CommandError::NotFloat)?;
            request.elements.push((score, pair[1]));
        }
        Ok(request)
    }

    /// False if the word is none: scores begin there.
    fn take_option(&mut self, word: &[u8]) -> bool {
        let options = [
            ("nx", &mut self.conditions.only_new),
            ("xx", &mut self.conditions.only_existing),
            ("gt", &mut self.conditions.only_greater),
            ("lt", &mut self.conditions.only_less),
            ("ch", &mut self.with_changed),
            ("incr", &mut self.increments),
        ];
        let option = options.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        option.map(|(_, set)| *set = true).is_some()
    }
}

fn zadd(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = run(ctx, args, false, reply);
    answer(reply, outcome);
}

fn zincrby(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = run(ctx, args, true, reply);
    answer(reply, outcome);
}

fn run(ctx: &mut WriteCtx<'_>, args: Args<'_>, increments: bool, reply: &mut Reply<'_>) -> Outcome<()> {
    let request = Request::parse(args, increments)?;
    let key = args.at(1);
    if let (true, &[element]) = (request.increments, &request.elements[..]) {
        match increment(ctx, key, element, request.conditions)? {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
        return Ok(());
    }
    let added = add(ctx, key, &request.elements, request.conditions)?;
    reply.integer(added.count(request.with_changed));
    Ok(())
}

/// Adds to the score of one member, 0 if it is new; the score that comes of it, or `None` if the conditions forbid it.
fn increment(
    ctx: &mut WriteCtx<'_>,
    key: &[u8],
    (by, member): Scored<'_>,
    conditions: Conditions,
) -> Outcome<Option<f64>> {
    let current = sorted_set_of(ctx.get(key))?.and_then(|set| set.score(member));
    if current.is_some() && conditions.only_new {
        return Ok(None);
    }
    let score = current.map_or(by, |current| current + by);
    if score.is_nan() {
        return Err(CommandError::Other("resulting score is not a number (NaN)"));
    }
    if !conditions.allow(current, score) {
        return Ok(None);
    }
    if current != Some(score) {
        put_scored(ctx, key, &[(score, member)]);
    }
    Ok(Some(score))
}

/// Sets the scores of members, one after the other: a member that comes twice has the first score when the second is set.
pub(crate) fn add(
    ctx: &mut WriteCtx<'_>,
    key: &[u8],
    elements: &[Scored<'_>],
    conditions: Conditions,
) -> Outcome<Added> {
    let set = sorted_set_of(ctx.get(key))?;
    let mut added = Added::default();
    let mut changes: Vec<Scored<'_>> = Vec::with_capacity(elements.len());
    // Where a member stands among the changes; one element needs no looking up.
    let mut places: HashMap<&[u8], usize> =
        HashMap::with_capacity(if elements.len() > 1 { elements.len() } else { 0 });
    for &(score, member) in elements {
        let place = (elements.len() > 1).then(|| places.entry(member));
        let changed = match &place {
            Some(Entry::Occupied(place)) => Some(*place.get()),
            _ => None,
        };
        let current = match changed {
            Some(place) => Some(changes[place].0),
            None => set.and_then(|set| set.score(member)),
        };
        if current == Some(score) || !conditions.allow(current, score) {
            continue;
        }
        *(if current.is_none() { &mut added.new } else { &mut added.changed }) += 1;
        match (changed, place) {
            (Some(place), _) => changes[place].0 = score,
            (None, place) => {
                if let Some(Entry::Vacant(place)) = place {
                    place.insert(changes.len());
                }
                changes.push((score, member));
            }
        }
    }
    if !changes.is_empty() {
        put_scored(ctx, key, &changes);
    }
    Ok(added)
}
