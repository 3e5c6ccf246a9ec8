//! What a primary and a follower of one partition say to each other.

use crate::difference::{Span, SpanDigest};
use crate::records::Records;
use std::borrow::Cow;
use stdx::{Epoch, Seq};

/// One message about one partition; the link's frame says which partition. Records and chunks are borrowed from the log
/// or the frame that holds them.
///
/// An Attach opens a stream with a number that its primary never used before in its reign. Everything after it, both
/// ways, carries that number, and whatever carries another is ignored: a link that is replaced may still deliver what
/// was sent on it, at either end, after its successor has delivered newer messages.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// Primary: where are you? My log ends at `last`.
    Attach {
        /// Reign of the sender.
        reign: Epoch,
        /// Stream it belongs to.
        stream: u64,
        /// End of the primary's log.
        last: Seq,
    },
    /// Primary: consecutive records of the log.
    Records {
        /// Reign of the sender.
        reign: Epoch,
        /// Stream it belongs to.
        stream: u64,
        /// Counter up to which every required peer has acknowledged.
        committed: u64,
        /// The records, oldest first.
        records: Records<'a>,
    },
    /// Primary: drop what you hold, or `keep` it to be compared and corrected; a copy follows that is complete as of `at`
    /// plus the records after it.
    SyncBegin {
        /// Reign of the sender.
        reign: Epoch,
        /// Stream it belongs to.
        stream: u64,
        /// Last record not sent live.
        at: Seq,
        /// Whether spans are compared before they are sent.
        keep: bool,
    },
    /// Primary: this is what I hold after the last record that I sent, from `from` on. Where do you differ?
    Compare {
        /// Reign of the sender.
        reign: Epoch,
        /// Stream it belongs to.
        stream: u64,
        /// Where the first span begins.
        from: u64,
        /// Spans that follow each other.
        spans: Vec<SpanDigest>,
    },
    /// Primary: a piece of the store as effects.
    Chunk {
        /// Reign of the sender.
        reign: Epoch,
        /// Stream it belongs to.
        stream: u64,
        /// Where everything is to be removed first.
        replaces: Option<Span>,
        /// Encoded effects.
        effects: Cow<'a, [u8]>,
        /// Whether this is the last piece.
        done: bool,
    },
    /// Follower: my copy ends at `last`; `usable` says whether it is a whole one, `order` how its keys are ordered.
    Position {
        /// Reign of the sender.
        reign: Epoch,
        /// Stream it belongs to.
        stream: u64,
        /// End of what the follower has applied.
        last: Seq,
        /// False while a sync is unfinished.
        usable: bool,
        /// As [`crate::Applier::order`]: 0 if there is nothing to compare.
        order: u64,
    },
    /// Follower: the answer to a Compare.
    Differing {
        /// Reign of the sender.
        reign: Epoch,
        /// Stream it belongs to.
        stream: u64,
        /// How far was compared.
        reached: u64,
        /// Where the copies differ, in order.
        spans: Vec<Span>,
    },
    /// Follower: applied everything up to `counter`.
    Ack {
        /// Reign of the sender.
        reign: Epoch,
        /// Stream it belongs to.
        stream: u64,
        /// Counter of the last record applied.
        counter: u64,
        /// Chunks this answers.
        chunks: u32,
    },
    /// Follower: your reign is over; mine is this.
    Fenced {
        /// Reign of the sender.
        reign: Epoch,
    },
    /// Follower: I have not seen your reign yet; mine is this.
    Behind {
        /// Reign of the sender.
        reign: Epoch,
        /// Stream it belongs to.
        stream: u64,
    },
}

impl Message<'_> {
    /// Reign and stream of a message that a primary sends; `None` for an answer.
    pub fn sent_by_primary(&self) -> Option<(Epoch, u64)> {
        match self {
            Message::Attach { reign, stream, .. }
            | Message::Records { reign, stream, .. }
            | Message::SyncBegin { reign, stream, .. }
            | Message::Compare { reign, stream, .. }
            | Message::Chunk { reign, stream, .. } => Some((*reign, *stream)),
            Message::Position { .. }
            | Message::Differing { .. }
            | Message::Ack { .. }
            | Message::Fenced { .. }
            | Message::Behind { .. } => None,
        }
    }
    /// The same message, independent of what it was borrowed from.
    pub fn into_owned(self) -> Message<'static> {
        match self {
            Message::Records { reign, stream, committed, records } => {
                Message::Records { reign, stream, committed, records: records.into_owned() }
            }
            Message::Chunk { reign, stream, replaces, effects, done } => {
                Message::Chunk { reign, stream, replaces, effects: Cow::Owned(effects.into_owned()), done }
            }
            Message::Attach { reign, stream, last } => Message::Attach { reign, stream, last },
            Message::SyncBegin { reign, stream, at, keep } => Message::SyncBegin { reign, stream, at, keep },
            Message::Compare { reign, stream, from, spans } => {
                Message::Compare { reign, stream, from, spans }
            }
            Message::Position { reign, stream, last, usable, order } => {
                Message::Position { reign, stream, last, usable, order }
            }
            Message::Differing { reign, stream, reached, spans } => {
                Message::Differing { reign, stream, reached, spans }
            }
            Message::Ack { reign, stream, counter, chunks } => {
                Message::Ack { reign, stream, counter, chunks }
            }
            Message::Fenced { reign } => Message::Fenced { reign },
            Message::Behind { reign, stream } => Message::Behind { reign, stream },
        }
    }
}
