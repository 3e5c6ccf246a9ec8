//! Partitions: keys, values, expiry; applies effects.
//!
//! A [`Partition`] is one partition's share of the data: up to 16 databases, each a table of nodes and an index of
//! deadlines. [`Partition::apply`] is the only thing that changes keys and values, so replaying the effects of a
//! partition elsewhere gives the same content. Must not know protocol, disk or cluster.
//!
//! ```text
//! Partition -> Database -> Table (extendible hashing) -> Segment (open addressing) -> Node (key, value, deadline)
//!                       -> Deadlines (ordered)
//! ```
//! Nothing here stops the world: a table grows by splitting one segment of at most about a thousand slots, deadlines
//! are found in order, and what is big is handed out to be freed elsewhere ([`Garbage`]). The layout is private: a
//! packed one can take its place behind the same interface.

mod access;
pub mod cuckoo;
mod database;
mod deadlines;
mod entry;
mod memory;
mod node;
mod packed;
mod partition;
mod prefetch;
mod segment;
mod snapshot;
mod table;
mod value;

pub use entry::EntryRef;
pub use partition::{Garbage, Partition};
pub use value::{StringRef, ValueRef};
