//! The options of SORT, read in the order in which Redis reads them.

use super::pattern::Pattern;
use crate::args::Args;
use crate::error::{CommandError, Outcome, integer};
use std::ops::Range;

const BY_DENIED: CommandError = CommandError::Other(
    "BY option of SORT denied in cluster mode when keys formed by the pattern may be in different slots.",
);
const GET_DENIED: CommandError = CommandError::Other(
    "GET option of SORT denied in cluster mode when keys formed by the pattern may be in different slots.",
);

/// What a SORT asks for.
#[derive(Default, Debug)]
pub(super) struct Request<'a> {
    pub(super) descending: bool,
    pub(super) alpha: bool,
    pub(super) by: Option<Pattern<'a>>,
    /// BY has a pattern without `*`.
    unsorted: bool,
    pub(super) gets: Vec<Pattern<'a>>,
    pub(super) store: Option<&'a [u8]>,
    /// How many are passed over, and how many are wanted at most; negative: all.
    limit: Option<(i64, i64)>,
}

impl<'a> Request<'a> {
    /// `holds` says whether all keys of a pattern are at hand.
    pub(super) fn parse(
        args: Args<'a>,
        may_store: bool,
        holds: &dyn Fn(Pattern<'a>) -> bool,
    ) -> Outcome<Request<'a>> {
        let mut request = Request::default();
        let mut at = 2;
        while at < args.len() {
            let left = args.len() - at - 1;
            if args.is(at, "asc") {
                request.descending = false;
            } else if args.is(at, "desc") {
                request.descending = true;
            } else if args.is(at, "alpha") {
                request.alpha = true;
            } else if args.is(at, "limit") && left >= 2 {
                request.limit = Some((integer(args.at(at + 1))?, integer(args.at(at + 2))?));
                at += 2;
            } else if may_store && args.is(at, "store") && left >= 1 {
                request.store = Some(args.at(at + 1));
                at += 1;
            } else if args.is(at, "by") && left >= 1 {
                at += 1;
                request.order_by(args.at(at), holds)?;
            } else if args.is(at, "get") && left >= 1 {
                at += 1;
                let pattern = Pattern::parse(args.at(at));
                if pattern.makes_keys() && !holds(pattern) {
                    return Err(GET_DENIED);
                }
                request.gets.push(pattern);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        Ok(request)
    }

    fn order_by(&mut self, word: &'a [u8], holds: &dyn Fn(Pattern<'a>) -> bool) -> Outcome<()> {
        let pattern = Pattern::parse(word);
        if pattern.makes_keys() && !holds(pattern) {
            return Err(BY_DENIED);
        }
        // One without `*` keeps its effect whatever comes behind it, as in Redis.
        self.unsorted |= !pattern.makes_keys();
        self.by = pattern.makes_keys().then_some(pattern);
        Ok(())
    }

    /// Every pattern.
    pub(super) fn patterns(&self) -> impl Iterator<Item = Pattern<'a>> {
        self.by.into_iter().filter(|_| !self.unsorted).chain(self.gets.iter().copied())
    }

    /// Whether the elements stay in the order they have.
    pub(super) fn keeps_order(&self) -> bool {
        self.unsorted
    }

    /// A set of which a list is to be made gets an order after all, so that it is the same list wherever it is made.
    pub(super) fn order_set(&mut self) {
        if self.unsorted && self.store.is_some() {
            (self.unsorted, self.alpha, self.by) = (false, true, None);
        }
    }

    /// The places of what is wanted among `len` elements.
    pub(super) fn range(&self, len: usize) -> Range<usize> {
        let (skipped, wanted) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(skipped.max(0)).map_or(len, |skipped| skipped.min(len));
        let end = usize::try_from(wanted).map_or(len, |wanted| start.saturating_add(wanted).min(len));
        start..end
    }
}
