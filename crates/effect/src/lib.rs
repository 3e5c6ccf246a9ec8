//! Effects: the deterministic outcome of a write, and their batch codec.
//!
//! An effect says what a key *is* after a write (absolute deadlines, final bytes), never how to compute it; of a filter it
//! says which items were added or deleted, and after how many changes, because where they end up follows from that; of a
//! collection, which elements it has from now on or no longer. The
//! primary's store, the replicas, the log and the events all consume the same effects; that is why a write command's only
//! way to change anything is to emit one. Must not know the store.
//!
//! One atomic write makes one [`Record`]: its effects, encoded as they were emitted, and its [`stdx::Seq`].
//! Consecutive records of one partition travel and rest as a batch under one checksum. The bytes are drawn in
//! `docs/formats/effects.md`.

mod batch;
mod codec;
mod corrupt;
mod effect;
mod elements;
mod items;
mod record;
mod stream;
mod stream_codec;
mod varint;

pub use batch::{BATCH_HEADER_BYTES, Batch, Records, batch_length, decode_batch, encode_batch};
pub use codec::{Decoder, decode};
pub use corrupt::Corrupt;
pub use effect::{Cause, Effect, Hashes};
pub use elements::{ElementIter, Elements, ElementsBuilder, Kind};
pub use items::Items;
pub use record::{Record, RecordBuilder};
pub use stream::{Delivery, StreamChange, StreamId};
