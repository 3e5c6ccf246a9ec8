//! What a range of a sorted set is asked for by: ranks, scores or members; and which ranks that comes to.

use crate::error::{CommandError, Outcome, integer};
use std::ops::{Bound, Range};
use store::SortedSetRef;

/// A selection of elements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Selection<'a> {
    /// First and last; negative ones are counted from the end.
    Ranks(i64, i64),
    /// Least and greatest score.
    Scores(ScoreBound, ScoreBound),
    /// Least and greatest member.
    Members(MemberBound<'a>, MemberBound<'a>),
}

/// An end of a range of scores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoreBound {
    score: f64,
    is_excluded: bool,
}

/// An end of a range of members.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MemberBound<'a> {
    /// `-`: before all members.
    Least,
    /// `+`: behind all members.
    Greatest,
    Included(&'a [u8]),
    Excluded(&'a [u8]),
}

impl<'a> Selection<'a> {
    /// Ranks as the words write them.
    pub(crate) fn ranks(first: &[u8], last: &[u8]) -> Outcome<Selection<'a>> {
        Ok(Selection::Ranks(integer(first)?, integer(last)?))
    }

    /// Scores as the words write them.
    pub(crate) fn scores(min: &[u8], max: &[u8]) -> Outcome<Selection<'a>> {
        let bounds = ScoreBound::parse(min).zip(ScoreBound::parse(max));
        let (min, max) = bounds.ok_or(CommandError::Other("min or max is not a float"))?;
        Ok(Selection::Scores(min, max))
    }

    /// Members as the words write them.
    pub(crate) fn members(min: &'a [u8], max: &'a [u8]) -> Outcome<Selection<'a>> {
        let bounds = MemberBound::parse(min).zip(MemberBound::parse(max));
        let (min, max) = bounds.ok_or(CommandError::Other("min or max not valid string range item"))?;
        Ok(Selection::Members(min, max))
    }

    /// The ranks of the elements that are selected. `reverse`: ranks are counted from the last element.
    pub(crate) fn resolve(self, set: SortedSetRef<'_>, reverse: bool) -> Range<usize> {
        match self {
            Selection::Ranks(first, last) => {
                let len = set.len();
                let window = window(first, last, len);
                if reverse { len - window.end..len - window.start } else { window }
            }
            Selection::Scores(min, max) => {
                let start = set.first_by_score(if min.is_excluded {
                    Bound::Excluded(min.score)
                } else {
                    Bound::Included(min.score)
                });
                let end = set.first_by_score(if max.is_excluded {
                    Bound::Included(max.score)
                } else {
                    Bound::Excluded(max.score)
                });
                start..end.max(start)
            }
            Selection::Members(min, max) => {
                let start = match min {
                    MemberBound::Least => 0,
                    MemberBound::Greatest => set.len(),
                    MemberBound::Included(member) => set.first_by_member(Bound::Included(member)),
                    MemberBound::Excluded(member) => set.first_by_member(Bound::Excluded(member)),
                };
                let end = match max {
                    MemberBound::Least => 0,
                    MemberBound::Greatest => set.len(),
                    MemberBound::Included(member) => set.first_by_member(Bound::Excluded(member)),
                    MemberBound::Excluded(member) => set.first_by_member(Bound::Included(member)),
                };
                start..end.max(start)
            }
        }
    }
}

impl ScoreBound {
    /// As `zslParseRange` reads it. That is `strtod`: blanks before the number and no number at all are let through,
    /// what is too large is infinite, and what stands behind a NUL is not there.
    fn parse(word: &[u8]) -> Option<ScoreBound> {
        let (is_excluded, text) = match word {
            [b'(', text @ ..] => (true, text),
            text => (false, text),
        };
        // A C string ends at its first NUL.
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let score = if text.is_empty() {
            0.0
        } else {
            let blanks = [b' ', b'\t', b'\n', b'\x0b', b'\x0c', b'\r'];
            let start = text.iter().position(|byte| !blanks.contains(byte)).unwrap_or(text.len());
            let text = &text[start..];
            protocol::parse_f64(text).or_else(|| std::str::from_utf8(text).ok()?.parse().ok())?
        };
        (!f64::is_nan(score)).then_some(ScoreBound { score, is_excluded })
    }
}

impl<'a> MemberBound<'a> {
    /// As `zslParseLexRangeItem` reads it.
    fn parse(word: &'a [u8]) -> Option<MemberBound<'a>> {
        match word {
            [b'-'] => Some(MemberBound::Least),
            [b'+'] => Some(MemberBound::Greatest),
            [b'[', member @ ..] => Some(MemberBound::Included(member)),
            [b'(', member @ ..] => Some(MemberBound::Excluded(member)),
            _ => None,
        }
    }
}

/// The places from first to last out of `len`; negative ones are counted from the end.
fn window(first: i64, last: i64, len: usize) -> Range<usize> {
    let signed_len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_start = |place: i64| if place < 0 { place + signed_len } else { place };
    let (first, last) = (from_start(first).max(0), from_start(last).min(signed_len - 1));
    if first > last {
        return 0..0;
    }
    let place = |place: i64| usize::try_from(place).unwrap_or(len);
    place(first)..place(last) + 1
}

/// LIMIT: what is left of the ranks from `offset` on, at most `count` if that is not negative. `reverse`: counted from the
/// end. An offset beyond all of the set selects nothing.
pub(crate) fn limited(
    ranks: Range<usize>,
    (offset, count): (i64, i64),
    reverse: bool,
    len: usize,
) -> Range<usize> {
    let Ok(offset) = usize::try_from(offset) else { return 0..0 };
    if offset > 0 && offset >= len || offset >= ranks.len() {
        return 0..0;
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(ranks.len() - offset);
    if reverse {
        let end = ranks.end - offset;
        end - count..end
    } else {
        let start = ranks.start + offset;
        start..start + count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_limits() {
        assert_eq!(window(0, -1, 5), 0..5);
        assert_eq!(window(-2, 9, 5), 3..5);
        assert_eq!(window(-9, -5, 5), 0..1);
        assert_eq!(
            (window(3, 2, 5), window(5, 9, 5), window(0, -6, 5), window(0, 0, 0)),
            (0..0, 0..0, 0..0, 0..0)
        );
        assert_eq!(window(i64::MIN, i64::MAX, 5), 0..5);
        assert_eq!(limited(2..8, (1, 2), false, 10), 3..5);
        assert_eq!(limited(2..8, (1, 2), true, 10), 5..7);
        assert_eq!(limited(2..8, (4, -1), true, 10), 2..4);
        assert_eq!(limited(2..8, (4, i64::MAX), false, 10), 6..8);
        for nothing in [(-1, 2), (6, 1), (i64::MAX, 1), (2, 0)] {
            assert!(limited(2..8, nothing, false, 10).is_empty());
        }
    }

    #[test]
    fn bounds_are_read_as_redis_reads_them() {
        let score = |word: &[u8]| ScoreBound::parse(word).map(|bound| (bound.score, bound.is_excluded));
        assert_eq!(score(b"1.5"), Some((1.5, false)));
        assert_eq!(score(b"(-inf"), Some((f64::NEG_INFINITY, true)));
        assert_eq!(
            (score(b"("), score(b""), score(b"( 7")),
            (Some((0.0, true)), Some((0.0, false)), Some((7.0, true)))
        );
        assert_eq!(score(b"1e999"), Some((f64::INFINITY, false)));
        assert_eq!((score(b"\0"), score(b"2\0x")), (Some((0.0, false)), Some((2.0, false))));
        assert_eq!((score(b"0x10"), score(b"(0x1p4")), (Some((16.0, false)), Some((16.0, true))));
        for wrong in [&b"[1"[..], b"nan", b"1 ", b" ", b"((1", b"x"] {
            assert_eq!(score(wrong), None);
        }
        for wrong in [&b""[..], b"a", b"+a", b"--"] {
            assert!(MemberBound::parse(wrong).is_none());
        }
        assert!(matches!(MemberBound::parse(b"("), Some(MemberBound::Excluded(b""))));
    }
}
