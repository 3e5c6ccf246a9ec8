//! The list family, one file per concern, and what its files share: the type check, the ends, and how a list is changed.
//!
//! Every change is a splice: elements at an index in place of others. A handler finds the list out first ([`Found`]) and
//! then emits splices that follow one another in its revisions.

pub mod blocking;
pub mod ends;
pub mod inner;
pub mod read;
pub mod transfer;

use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome};
use crate::table::{Categories, Command, Group};
use effect::{Effect, Elements};
use store::{EntryRef, ListRef, ValueRef};

/// What every row of the family has in common.
pub(crate) const ROW: Command =
    Command { categories: Categories::LIST, group: Group::List, ..Command::BLANK };

/// The list that an entry holds, or WRONGTYPE; `None` for no entry.
pub(crate) fn list_of<'e>(entry: Option<EntryRef<'e>>) -> Outcome<Option<ListRef<'e>>> {
    match entry.map(|entry| entry.value()) {
        None => Ok(None),
        Some(ValueRef::List(list)) => Ok(Some(list)),
        Some(_) => Err(CommandError::WrongType),
    }
}

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Left,
    Right,
}

impl End {
    /// The end that the word names, as Redis's `getListPositionFromObjectOrReply` wants it.
    fn parse(word: &[u8]) -> Outcome<End> {
        match word {
            word if word.eq_ignore_ascii_case(b"left") => Ok(End::Left),
            word if word.eq_ignore_ascii_case(b"right") => Ok(End::Right),
            _ => Err(CommandError::Syntax),
        }
    }

    /// Index of the outermost of `count` elements among `len`, counted from the left.
    fn start(self, count: usize, len: usize) -> usize {
        if self == End::Left { 0 } else { len - count }
    }
}

/// The range of an inclusive pair of indices, negative ones counted from the end, among `len`.
fn range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let from_end = |index: i64| if index < 0 { index.saturating_add(len as i64) } else { index };
    let start = from_end(start).max(0);
    // From beyond the left end, this is -1 or less.
    let end = from_end(end).saturating_add(1).clamp(0, len as i64);
    if start >= end { 0..0 } else { start as usize..end as usize }
}

/// The place of an index, negative ones counted from the end, among `len`; `None` if it is out of range.
fn place(index: i64, len: usize) -> Option<usize> {
    let place = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(place).ok().filter(|place| *place < len)
}

/// What a command has found out about a list that it is about to change.
#[derive(Clone, Copy, Default, Debug)]
struct Found {
    len: usize,
    /// How many splices it has seen.
    revision: u64,
}

impl Found {
    fn of(list: &ListRef<'_>) -> Found {
        Found { len: list.len(), revision: list.revision() }
    }

    /// Puts these elements in the place of `removed` others from `index` on; without any left the key is gone.
    fn splice(
        &mut self,
        ctx: &mut WriteCtx<'_>,
        key: &[u8],
        (index, removed): (usize, usize),
        words: &[&[u8]],
    ) {
        if self.revision == 0 {
            ctx.bury_expired(key);
        }
        let (db, revision, elements) = (ctx.db, self.revision, Elements::words(words));
        self.len = self.len - removed + words.len();
        self.revision += 1;
        if self.len == 0 {
            return ctx.remove(key);
        }
        let (index, removed) = (index as u64, removed as u64);
        ctx.emit(Effect::SpliceList { db, key, revision, index, removed, elements });
    }

    /// Pushes these elements one after another.
    fn push(&mut self, ctx: &mut WriteCtx<'_>, key: &[u8], end: End, words: &[&[u8]]) {
        match (end, words) {
            (End::Left, [_, _, ..]) => {
                let reversed: Vec<&[u8]> = words.iter().rev().copied().collect();
                self.splice(ctx, key, (0, 0), &reversed);
            }
            _ => self.splice(ctx, key, (end.start(0, self.len), 0), words),
        }
    }

    /// Removes so many elements at an end.
    fn pop(&mut self, ctx: &mut WriteCtx<'_>, key: &[u8], end: End, count: usize) {
        self.splice(ctx, key, (end.start(count, self.len), count), &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_as_redis_resolves_them() {
        assert_eq!(range(0, -1, 5), 0..5);
        assert_eq!(range(-3, -2, 5), 2..4);
        assert_eq!(range(-100, 100, 5), 0..5);
        assert_eq!(range(3, 1, 5), 0..0);
        assert_eq!(range(5, 9, 5), 0..0);
        assert_eq!(range(0, -6, 5), 0..0);
        assert_eq!(range(-100, -90, 5), 0..0);
        assert_eq!(range(i64::MIN, i64::MAX, 5), 0..5);
        assert_eq!(range(i64::MIN, i64::MIN, 5), 0..0);
        assert_eq!(range(i64::MAX, i64::MAX, 5), 0..0);
    }
}
