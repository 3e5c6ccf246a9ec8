//! The sorted set family: scores, ranks and ranges, removal, chance, algebra, and what its files share.

pub mod add;
pub mod algebra;
pub mod blocking;
pub(crate) mod bounds;
pub mod random;
pub mod range;
pub mod read;
pub mod remove;

use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome};
use crate::table::{Categories, Command, Group};
use effect::Kind;
use protocol::{Reply, Version};
use store::{EntryRef, SortedSetRef, ValueRef};

/// What every row of the family has in common.
pub(crate) const ROW: Command =
    Command { categories: Categories::SORTED_SET, group: Group::SortedSet, ..Command::BLANK };

/// Score and member.
pub(crate) type Scored<'a> = (f64, &'a [u8]);

/// The sorted set that an entry holds, or WRONGTYPE; `None` for no entry.
pub(crate) fn sorted_set_of<'e>(entry: Option<EntryRef<'e>>) -> Outcome<Option<SortedSetRef<'e>>> {
    match entry.map(|entry| entry.value()) {
        None => Ok(None),
        Some(ValueRef::SortedSet(set)) => Ok(Some(set)),
        Some(_) => Err(CommandError::WrongType),
    }
}

/// Writes members, with their scores if asked for: in RESP2 one after the other, in RESP3 as pairs.
pub(crate) fn reply_scored<'e>(
    reply: &mut Reply<'_>,
    elements: impl ExactSizeIterator<Item = Scored<'e>>,
    with_scores: bool,
) {
    let nested = with_scores && reply.version() == Version::Resp3;
    reply.array(if with_scores && !nested { elements.len() * 2 } else { elements.len() });
    for element in elements {
        reply_element(reply, element, with_scores, nested);
    }
}

/// Writes one element of a reply.
pub(crate) fn reply_element(reply: &mut Reply<'_>, element: Scored<'_>, with_score: bool, nested: bool) {
    let (score, member) = element;
    if nested {
        reply.array(2);
    }
    reply.bulk(member);
    if with_score {
        reply.double(score);
    }
}

/// Gives these members their scores.
pub(crate) fn put_scored(ctx: &mut WriteCtx<'_>, key: &[u8], elements: &[Scored<'_>]) {
    let scores: Vec<[u8; 8]> = elements.iter().map(|(score, _)| score.to_le_bytes()).collect();
    let pairs = scores.iter().zip(elements);
    let words: Vec<&[u8]> = pairs.flat_map(|(score, (_, member))| [&score[..], member]).collect();
    ctx.put_elements(key, Kind::SortedSet, &words);
}
