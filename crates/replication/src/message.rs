//! What a primary and a follower of one partition say to each other.

use effect::Record;
use stdx::{Epoch, Seq};

/// One message about one partition; the link's frame says which partition.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Primary: where are you? My log ends at `last`.
    Attach {
        /// Reign of the sender.
        reign: Epoch,
        /// End of the primary's log.
        last: Seq,
    },
    /// Primary: consecutive records of the log.
    Records {
        /// Reign of the sender.
        reign: Epoch,
        /// Counter up to which every required peer has acknowledged.
        committed: u64,
        /// The records, oldest first.
        records: Vec<Record>,
    },
    /// Primary: drop what you hold; a copy follows that is complete as of `at` plus the records after it.
    SyncBegin {
        /// Reign of the sender.
        reign: Epoch,
        /// Last record not sent live.
        at: Seq,
    },
    /// Primary: a piece of the store as effects.
    Chunk {
        /// Reign of the sender.
        reign: Epoch,
        /// Encoded effects.
        effects: Vec<u8>,
        /// Whether this is the last piece.
        done: bool,
    },
    /// Follower: my copy ends at `last`; `usable` says whether it is a whole one.
    Position {
        /// Reign of the sender.
        reign: Epoch,
        /// End of what the follower has applied.
        last: Seq,
        /// False while a sync is unfinished.
        usable: bool,
    },
    /// Follower: applied everything up to `counter`.
    Ack {
        /// Reign of the sender.
        reign: Epoch,
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
    },
}
