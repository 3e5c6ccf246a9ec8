//! SORT and SORT_RO: the elements of a list, a set or a sorted set in order, or what keys named after them hold.
//!
//! Which keys BY and GET name follows from the elements, so no row can declare them. Where the partitions of all of them are at
//! hand (one partition in all, or a hash tag that leads there) they are simply looked up; otherwise whoever runs the command
//! fetches them first ([`derived_keys`]), and where that cannot be, in a transaction, the answer is that of a Redis Cluster.

mod pattern;
mod request;
mod rows;

use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer};
use effect::{ElementsBuilder, Kind};
use pattern::Pattern;
use protocol::Reply;
use request::Request;
pub(crate) use rows::COMMANDS;
use std::cmp::Ordering;
use store::{EntryRef, ValueRef};

/// Most bytes of a number that is a weight: no number of so many digits means more than its first ones.
const WEIGHT_BYTES_MAX: usize = 5_000;
const NOT_NUMBERS: CommandError = CommandError::Other("One or more scores can't be converted into double");

/// Looks up what a pattern names of an element.
type Look<'l> = &'l mut dyn FnMut(Pattern<'_>, &[u8]) -> Option<Vec<u8>>;

fn sort(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = Request::parse(args, true, &|pattern| ctx.holds(pattern.slot())).and_then(|mut request| {
        let elements = elements_of(ctx.get(args.at(1)), &mut request)?;
        let look = &mut |pattern: Pattern<'_>, element: &[u8]| {
            let key = pattern.key(element)?;
            pattern.value(ctx.get(&key))
        };
        let sorted = sorted(elements, &request, look)?;
        let Some(key) = request.store else {
            show(&sorted, &request, look, reply);
            return Ok(());
        };
        let mut stored = ElementsBuilder::new();
        // A list begins with its revision.
        stored.push(&0u64.to_le_bytes());
        each_value(&sorted, &request, look, &mut |value| stored.push(value.unwrap_or_default()));
        store(ctx, key, &stored, reply);
        Ok(())
    });
    answer(reply, outcome);
}

fn sort_ro(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome =
        Request::parse(args, false, &|pattern| ctx.holds(pattern.slot())).and_then(|mut request| {
            let elements = elements_of(ctx.get(args.at(1)), &mut request)?;
            let look = &mut |pattern: Pattern<'_>, element: &[u8]| {
                let key = pattern.key(element)?;
                pattern.value(ctx.get(&key))
            };
            let sorted = sorted(elements, &request, look)?;
            show(&sorted, &request, look, reply);
            Ok(())
        });
    answer(reply, outcome);
}

/// Stores the list, and answers with its length; without elements the key is gone.
fn store(ctx: &mut WriteCtx<'_>, key: &[u8], stored: &ElementsBuilder, reply: &mut Reply<'_>) {
    let elements = stored.elements();
    let count = elements.len() - 1;
    let elements = if count == 0 { effect::Elements::words(&[]) } else { elements };
    ctx.store_collection(key, Kind::List, elements);
    reply.integer(count as i64);
}

/// Whether the words of SORT or SORT_RO ask for keys that nobody can tell from them, and not all in the slot of its own key.
pub fn derives_keys(args: Args<'_>) -> bool {
    let own = args.get(1).map(stdx::crc16::slot_of);
    let elsewhere = |pattern: Pattern<'_>| pattern.makes_keys() && pattern.slot() != own;
    // Words that are wrong are refused as such where nothing is missing.
    Request::parse(args, true, &|_| true).map_or(true, |request| request.patterns().any(elsewhere))
}

/// The keys that BY and GET make of the elements of what SORT sorts.
pub fn derived_keys(args: Args<'_>, source: Option<EntryRef<'_>>) -> Vec<Vec<u8>> {
    let Ok(mut request) = Request::parse(args, true, &|_| true) else { return Vec::new() };
    let Ok(elements) = elements_of(source, &mut request) else { return Vec::new() };
    let mut keys: Vec<Vec<u8>> = request
        .patterns()
        .flat_map(|pattern| elements.iter().filter_map(move |element| pattern.key(element)))
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// The elements, in their own order where that is the one that is asked for.
fn elements_of(entry: Option<EntryRef<'_>>, request: &mut Request<'_>) -> Outcome<Vec<Vec<u8>>> {
    let mut elements = Vec::new();
    match entry.map(|entry| entry.value()) {
        None => {}
        Some(ValueRef::List(list)) => elements.extend(list.iter().map(<[u8]>::to_vec)),
        Some(ValueRef::Set(set)) => {
            request.order_set();
            set.for_each(&mut |member| elements.push(member.to_vec()));
            return Ok(elements);
        }
        Some(ValueRef::SortedSet(set)) => elements.extend(set.iter().map(|(_, member)| member.to_vec())),
        Some(_) => return Err(CommandError::WrongType),
    }
    // Sets have no order that could be turned round.
    if request.keeps_order() && request.descending {
        elements.reverse();
    }
    Ok(elements)
}

/// What an element is compared by.
enum Weight {
    /// It does not matter, or is the element itself.
    None,
    Number(f64),
    Text(Option<Vec<u8>>),
}

/// The elements in the order that is asked for, as many of them as are.
fn sorted(mut elements: Vec<Vec<u8>>, request: &Request<'_>, look: Look<'_>) -> Outcome<Vec<Vec<u8>>> {
    let range = request.range(elements.len());
    if request.keeps_order() {
        elements.truncate(range.end);
        return Ok(elements.split_off(range.start));
    }
    let mut weighted = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = weigh(&element, request, look)?;
        weighted.push((weight, element));
    }
    weighted.sort_by(|a, b| {
        let order = compare(a, b);
        if request.descending { order.reverse() } else { order }
    });
    weighted.truncate(range.end);
    Ok(weighted.drain(range.start..).map(|(_, element)| element).collect())
}

fn weigh(element: &[u8], request: &Request<'_>, look: Look<'_>) -> Outcome<Weight> {
    let value = match request.by {
        Some(pattern) => look(pattern, element),
        None if request.alpha => return Ok(Weight::None),
        None => Some(element.to_vec()),
    };
    if request.alpha {
        return Ok(Weight::Text(value));
    }
    // What names nothing weighs nothing.
    let Some(value) = value else { return Ok(Weight::Number(0.0)) };
    number(&value).map(Weight::Number).ok_or(NOT_NUMBERS)
}

/// As strtod(3) reads it, to the end; nothing at all is zero.
fn number(text: &[u8]) -> Option<f64> {
    // C strings end at their first NUL.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let text = &text[text.iter().position(|byte| !blank(byte))?..];
    if text.len() > WEIGHT_BYTES_MAX {
        return None;
    }
    protocol::parse_f64(text)
}

fn compare(a: &(Weight, Vec<u8>), b: &(Weight, Vec<u8>)) -> Ordering {
    match (&a.0, &b.0) {
        (Weight::Number(one), Weight::Number(other)) => {
            one.partial_cmp(other).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(&b.1))
        }
        (Weight::Text(one), Weight::Text(other)) => one.cmp(other),
        _ => a.1.cmp(&b.1),
    }
}

fn show(sorted: &[Vec<u8>], request: &Request<'_>, look: Look<'_>, reply: &mut Reply<'_>) {
    reply.array(sorted.len() * request.gets.len().max(1));
    each_value(sorted, request, look, &mut |value| match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    });
}

/// Visits what each element is shown by: itself, or what GET names.
fn each_value(
    sorted: &[Vec<u8>],
    request: &Request<'_>,
    look: Look<'_>,
    visit: &mut dyn FnMut(Option<&[u8]>),
) {
    for element in sorted {
        if request.gets.is_empty() {
            visit(Some(element));
        }
        for pattern in &request.gets {
            match pattern {
                Pattern::Element => visit(Some(element)),
                pattern => visit(look(*pattern, element).as_deref()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_strtod_does() {
        for (text, value) in [
            (&b"10"[..], Some(10.0)),
            (b"", Some(0.0)),
            (b" \t3.5", Some(3.5)),
            (b"0x10", Some(16.0)),
            (b"-inf", Some(f64::NEG_INFINITY)),
            (b"1\0x", Some(1.0)),
            (b" ", None),
            (b"1 ", None),
            (b"nan", None),
            (b"1e999", None),
            (b"ten", None),
        ] {
            assert_eq!(number(text), value, "{}", text.escape_ascii());
        }
    }
}
