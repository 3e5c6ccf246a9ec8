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
//! are found in order, and what is big is handed out to be freed elsewhere ([`Garbage`]).
//!
//! Which keys go when memory is short is for an evictor over many partitions to say ([`eviction`]).
//!
//! A key takes its block (a header of 8 bytes, key, value and the deadline if it has one, rounded up to the allocator's
//! size), about ten bytes of slots and, with a deadline, about five of the index. A look-up of a key whose partition is
//! warm meets two cache lines, slot and node, and both can be asked for ahead ([`Partition::prefetch_place`],
//! [`Partition::prefetch_entry`]).

mod access;
pub mod bloom;
mod collection;
pub mod cuckoo;
mod database;
mod deadlines;
mod entry;
pub mod eviction;
mod filter;
mod filter_totals;
mod garbage;
mod hash;
mod list;
mod listpack;
mod locator;
mod members;
mod memory;
mod node;
mod packed;
mod partition;
mod prefetch;
mod raw;
mod segment;
mod set;
mod snapshot;
mod sorted_set;
mod stream;
mod stretch;
mod table;
mod value;
mod varint;
mod watch;

pub use entry::EntryRef;
pub use filter::{Added, Filter, FilterKind, FilterMut, Loading, NoFilter};
pub use filter_totals::{FilterFigures, FilterTotals};
pub use garbage::Garbage;
pub use hash::HashRef;
pub use list::{Iter as ListIter, IterBack as ListIterBack, ListRef};
pub use locator::Locator;
pub use partition::Partition;
pub use set::SetRef;
pub use sorted_set::{SortedSetEntries, SortedSetRef};
pub use stream::{
    Consumer, Group, Pending, Stream, StreamEntry, StreamRange, StreamRangeBack, Trim, Trimmed,
};
pub use stretch::{PLACE_END, Stretch};
pub use value::{StringRef, ValueRef};
