//! Primary and follower state machines of one partition. Must not know commands or sockets.
//!
//! # The protocol
//!
//! A partition has one primary per *reign*: the epoch at which its present primary took over. Changes of the
//! in-sync set raise the partition's epoch but not its reign, so they do not disturb running streams. Every
//! message carries the reign: a lower one is refused as [`Message::Fenced`], a higher one as
//! [`Message::Behind`] until the receiver's map has caught up.
//!
//! ```text
//! primary                                   follower
//!   |-- Attach{last} -------------------------> |   where are you?
//!   | <----------------- Position{last, usable} |
//!   |                                           |
//!   |-- usable, and a prefix of my log --> stream Records from there
//!   |-- otherwise ------> SyncBegin, then Chunks of the store mixed with live Records, in capture order
//!   | <------------------------------- Ack{counter}
//!
//!       where the follower holds something, SyncBegin{keep}, and again and again, mixed with live Records:
//!   |-- Compare{digests of the next spans} ---> |
//!   | <-------------- Differing{spans, reached} |
//!   |-- Chunk{replaces: span}, ... -----------> |   at the end an empty Chunk
//! ```
//!
//! Each Attach opens a new numbered stream, and both ends ignore messages of any other, so that what a broken link
//! still delivers late does no harm. A follower that finds a hole or corruption complains once, with an unasked
//! Position, and ignores the rest of the stream.
//!
//! Chunks and live records travel on one ordered stream, each captured under the partition's lock after every
//! earlier record was sent. A record that touches a key whose chunk has not come yet may leave a partial value
//! behind; the chunk, captured later, replaces it whole. A removal of such a key is simply true when its chunk
//! is captured. So no tombstones are needed, and a sync never stops the writers.
//!
//! The same holds for a follower that keeps what it has, whatever that is: see `difference`.
//!
//! A record is *committed* once every required peer has acknowledged it. Required are the peers of the committed
//! in-sync set, and a learner from the moment its promotion is prepared. The promotion is proposed once everything
//! written by that moment is committed: whenever it takes effect, the learner has all that was ever acknowledged.
//!
//! A new primary does not know how far its predecessor had committed. It keeps the records that may be unconfirmed,
//! counts them as such, and its peers, whose copies are a prefix of its own or a little ahead, confirm or diverge.
//!
//! # Left out
//!
//! Which records a diverged follower (one whose log is not a prefix of the primary's) has that the primary has not:
//! its copy is compared and corrected as any other.

mod codec;
mod difference;
mod follower;
mod log;
mod message;
mod primary;
mod records;

pub use codec::{CodecError, decode, encode};
pub use difference::{Span, SpanDigest};
pub use follower::{Applier, Follower, Stage as FollowerStage};
pub use log::Log;
pub use message::Message;
pub use primary::{ChunkSource, Peer, Primary, Stage, Syncs};
pub use records::Records;

/// Most bytes of records a partition keeps for peers that lag behind; a peer further back syncs anew.
pub const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// About how many bytes of effects one sync chunk carries.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks a primary sends to one peer before it waits for an acknowledgement.
pub const CHUNKS_IN_FLIGHT_MAX: u32 = 2;
/// Most bytes of records in one message.
pub const RECORDS_BYTES_MAX: usize = 1024 * 1024;
