//! Syncing a follower by what differs: the primary's side.
//!
//! A copy is walked in one order on both sides (see [`crate::Applier::order`]), cut into *spans* of a few keys. The primary asks
//! about the next few dozen spans, with a digest of each; the follower says which of them it does not hold in just
//! that form, and gets those anew. One question is under way at a time.
//!
//! Why this is right although records are written and applied all the time: question, records and pieces travel on
//! one ordered stream. When the follower compares, it has applied exactly the records that the primary had written when it
//! made the digests. A span that is equal then is equal, and stays so by the records that follow. A span that differs
//! holds anything (records may have been applied to keys that should not be there), until it is emptied and filled with what
//! the primary had when it captured the piece, after all records before it. So a key that was removed cannot come back:
//! either its span is replaced, or it was equal without it. Places not asked about yet may hold anything too.
//!
//! It follows that what the follower held before need not be a state that there ever was. A sync that broke off is
//! simply done again, and finds most spans equal.
//!
//! Left out: a second level of coarser digests. Sums of spans of sixteen keys take 1.5 bytes a key.

use crate::ChunkSource;
use std::collections::VecDeque;
use stdx::Epoch;
use stdx::hash::mix64;

/// Where a walk ends.
const END: u64 = u64::MAX;

/// From one place in the order up to another, which is not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its first place.
    pub from: u64,
    /// The place behind it.
    pub to: u64,
}

/// What a primary holds in a span that begins where the one before ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanDigest {
    /// The place behind it.
    pub to: u64,
    /// Equal for two copies if their content is.
    pub digest: [u64; 2],
}

/// Makes the digests of one sync unlike those of any other: a collision, should there ever be one, does not last.
pub(crate) fn salt(reign: Epoch, stream: u64) -> u64 {
    mix64(reign.0 ^ mix64(stream))
}

/// A sync that compares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Difference {
    /// How far the follower has compared.
    reached: u64,
    /// The question under way: where each span ends, and the bytes in it.
    asked: Vec<(u64, u64)>,
    /// Spans to be sent anew.
    differing: VecDeque<Span>,
}

/// What is to be sent next.
pub(crate) enum Next {
    /// Nothing: an answer is awaited.
    Wait,
    /// A question.
    Ask { from: u64, spans: Vec<SpanDigest> },
    /// A piece of what differs.
    Replace { span: Span, effects: Vec<u8> },
    /// That this was all.
    End,
}

impl Difference {
    /// What comes next; it counts as sent.
    pub(crate) fn next(&mut self, source: &mut dyn ChunkSource, salt: u64) -> Next {
        if let Some(span) = self.differing.front_mut() {
            let (effects, to) = source.piece_of(*span);
            let sent = Span { from: span.from, to };
            if to < span.to {
                span.from = to;
            } else {
                self.differing.pop_front();
            }
            return Next::Replace { span: sent, effects };
        }
        if !self.asked.is_empty() {
            return Next::Wait;
        }
        if self.reached == END {
            return Next::End;
        }
        let (mut spans, from) = (Vec::new(), self.reached);
        for (span, bytes) in source.digests(from, salt) {
            spans.push(span);
            self.asked.push((span.to, bytes));
        }
        Next::Ask { from, spans }
    }

    /// Takes an answer: the bytes that need not be sent. `None` if it does not answer the question, or there is none.
    pub(crate) fn answered(&mut self, reached: u64, spans: &[Span]) -> Option<u64> {
        let end = self.asked.last()?.0;
        let mut at = self.reached;
        for span in spans {
            if span.from < at || span.to <= span.from {
                return None;
            }
            at = span.to;
        }
        if reached <= self.reached || reached > end || at > reached {
            return None;
        }
        let (mut from, mut spared) = (self.reached, 0);
        for (to, bytes) in self.asked.drain(..) {
            let touched = spans.iter().any(|span| span.from < to && from < span.to);
            spared += if to <= reached && !touched { bytes } else { 0 };
            from = to;
        }
        self.reached = reached;
        self.differing.extend(spans);
        Some(spared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spans of ten places up to 40; a piece has at most three places.
    struct Places;

    impl ChunkSource for Places {
        fn chunk(&mut self, _: Option<(u8, u64)>) -> (Vec<u8>, Option<(u8, u64)>) {
            unreachable!("a copy that is compared is not sent whole")
        }

        fn order(&self) -> u64 {
            1
        }

        fn digests(&mut self, from: u64, _: u64) -> Vec<(SpanDigest, u64)> {
            let to = |to| if to >= 40 { END } else { to };
            [from + 10, from + 20].map(|end| (SpanDigest { to: to(end), digest: [0; 2] }, 100)).into()
        }

        fn piece_of(&mut self, span: Span) -> (Vec<u8>, u64) {
            (vec![1], span.to.min(span.from + 3))
        }
    }

    fn span(from: u64, to: u64) -> Span {
        Span { from, to }
    }

    fn ask(difference: &mut Difference) -> u64 {
        let Next::Ask { from, .. } = difference.next(&mut Places, 0) else { panic!("a question is due") };
        assert!(matches!(difference.next(&mut Places, 0), Next::Wait));
        from
    }

    #[test]
    fn what_differs_is_sent_before_the_next_question() {
        let mut difference = Difference::default();
        assert_eq!(ask(&mut difference), 0);
        assert_eq!(difference.answered(20, &[span(10, 14)]), Some(100));
        for expected in [span(10, 13), span(13, 14)] {
            let next = difference.next(&mut Places, 0);
            assert!(matches!(next, Next::Replace { span, .. } if span == expected));
        }
        assert_eq!(ask(&mut difference), 20);
        assert_eq!(difference.answered(25, &[]), Some(0), "part of a span is not known to be equal");
        assert_eq!(ask(&mut difference), 25);
        assert_eq!(difference.answered(END, &[]), Some(200));
        assert!(matches!(difference.next(&mut Places, 0), Next::End));
    }

    #[test]
    fn an_answer_that_fits_no_question_is_refused() {
        let mut difference = Difference::default();
        assert_eq!(difference.answered(10, &[]), None, "nothing was asked");
        ask(&mut difference);
        let wrong: [(u64, &[Span]); 6] = [
            (0, &[]),
            (21, &[]),
            (20, &[span(5, 5)]),
            (20, &[span(5, 21)]),
            (10, &[span(5, 11)]),
            (20, &[span(5, 9), span(8, 12)]),
        ];
        for (reached, spans) in wrong {
            assert_eq!(difference.answered(reached, spans), None, "{reached} {spans:?}");
        }
        assert_eq!(difference.answered(20, &[span(0, 20)]), Some(0));
        assert_eq!(difference.answered(20, &[]), None, "it was answered");
    }
}
