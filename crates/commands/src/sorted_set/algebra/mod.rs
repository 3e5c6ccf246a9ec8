//! Unions, intersections and differences of sorted sets and sets, shown, counted or stored.
//!
//! The members of a set have the score 1. All keys must be at one primary.

mod combine;
mod rows;

use super::reply_scored;
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use combine::{Aggregate, Input, Operation, combine, count_intersection};
use effect::{ElementsBuilder, Kind};
use protocol::Reply;
pub(crate) use rows::COMMANDS;
use store::EntryRef;

/// Which options an operation has.
#[derive(Clone, Copy)]
struct Form {
    operation: Operation,
    stores: bool,
    counts: bool,
}

const fn shown(operation: Operation) -> Form {
    Form { operation, stores: false, counts: false }
}

const fn stored(operation: Operation) -> Form {
    Form { operation, stores: true, counts: false }
}

/// The words behind the keys.
struct Options {
    /// Of each key.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// 0: none.
    limit: u64,
}

impl Options {
    fn parse(words: &[&[u8]], keys: usize, form: Form) -> Outcome<Options> {
        let mut options =
            Options { weights: vec![1.0; keys], aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let weighs = form.operation != Operation::Difference && !form.counts;
        let mut rest = words;
        while let Some((option, words)) = rest.split_first() {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            rest = match words {
                _ if weighs && words.len() >= keys && is("weights") => {
                    let (weights, words) = words.split_at(keys);
                    for (weight, word) in options.weights.iter_mut().zip(weights) {
                        let number = protocol::parse_f64(word);
                        *weight = number.ok_or(CommandError::Other("weight value is not a float"))?;
                    }
                    words
                }
                [how, words @ ..] if weighs && is("aggregate") => {
                    options.aggregate = Aggregate::parse(how).ok_or(CommandError::Syntax)?;
                    words
                }
                _ if !form.stores && !form.counts && is("withscores") => {
                    options.with_scores = true;
                    words
                }
                [limit, words @ ..] if form.counts && is("limit") => {
                    let limit = protocol::parse_i64(limit).and_then(|limit| u64::try_from(limit).ok());
                    options.limit = limit.ok_or(CommandError::Other("LIMIT can't be negative"))?;
                    words
                }
                _ => return Err(CommandError::Syntax),
            };
        }
        Ok(options)
    }
}

/// Some of the words of a command.
type Words<'a> = &'a [&'a [u8]];

/// The keys that the word at `count_at` counts, behind it, and the words behind them.
fn keys_of<'a>(args: Args<'a>, count_at: usize, command: &str) -> Outcome<(Words<'a>, Words<'a>)> {
    let count = integer(args.at(count_at))?;
    if count < 1 {
        return Err(CommandError::Echo(format!("at least 1 input key is needed for '{command}' command")));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    args.tail(count_at + 1).split_at_checked(count).ok_or(CommandError::Syntax)
}

/// What the keys hold; the caller has seen that none of them holds anything else.
fn inputs<'e>(
    keys: &[&[u8]],
    options: &Options,
    look: impl Fn(&[u8]) -> Option<EntryRef<'e>>,
) -> Vec<Input<'e>> {
    let weighted = keys.iter().zip(&options.weights);
    weighted.filter_map(|(key, weight)| Input::of(look(key), *weight).ok()).collect()
}

fn zunion(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show(ctx, args, ("zunion", shown(Operation::Union)), reply);
    answer(reply, outcome);
}

fn zinter(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show(ctx, args, ("zinter", shown(Operation::Intersection)), reply);
    answer(reply, outcome);
}

fn zdiff(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show(ctx, args, ("zdiff", shown(Operation::Difference)), reply);
    answer(reply, outcome);
}

fn show(
    ctx: &mut ReadCtx<'_>,
    args: Args<'_>,
    (command, form): (&str, Form),
    reply: &mut Reply<'_>,
) -> Outcome<()> {
    let (keys, words) = keys_of(args, 1, command)?;
    for key in keys {
        Input::of(ctx.get(key), 1.0)?;
    }
    let options = Options::parse(words, keys.len(), form)?;
    let elements = combine(inputs(keys, &options, |key| ctx.peek(key)), form.operation, options.aggregate);
    let elements = elements.iter().map(|(score, member)| (*score, &member[..]));
    reply_scored(reply, elements, options.with_scores);
    Ok(())
}

fn zintercard(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, count(ctx, args));
}

fn count(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (keys, words) = keys_of(args, 1, "zintercard")?;
    for key in keys {
        Input::of(ctx.get(key), 1.0)?;
    }
    let form = Form { counts: true, ..shown(Operation::Intersection) };
    let options = Options::parse(words, keys.len(), form)?;
    Ok(count_intersection(inputs(keys, &options, |key| ctx.peek(key)), options.limit) as i64)
}

fn zunionstore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, store(ctx, args, "zunionstore", stored(Operation::Union)));
}

fn zinterstore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, store(ctx, args, "zinterstore", stored(Operation::Intersection)));
}

fn zdiffstore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, store(ctx, args, "zdiffstore", stored(Operation::Difference)));
}

fn store(ctx: &mut WriteCtx<'_>, args: Args<'_>, command: &str, form: Form) -> Outcome<i64> {
    let (keys, words) = keys_of(args, 2, command)?;
    for key in keys {
        Input::of(ctx.get(key), 1.0)?;
    }
    let options = Options::parse(words, keys.len(), form)?;
    let elements = combine(inputs(keys, &options, |key| ctx.peek(key)), form.operation, options.aggregate);
    let mut stored = ElementsBuilder::new();
    for (score, member) in &elements {
        stored.push(&score.to_le_bytes());
        stored.push(member);
    }
    ctx.store_collection(args.at(1), Kind::SortedSet, stored.elements());
    Ok(elements.len() as i64)
}
