//! Eviction: which key goes when memory is short.
//!
//! An [`Evictor`] belongs to a node, not to a partition: a cache may have fewer keys than a node has partitions times a
//! few, and what is worth keeping is decided over all of them. Partitions that *watch* its [`Pulse`] tell it what came
//! and went, through an inbox; reads tell it nothing, but leave a note in the entry: the tick of a clock that goes by uses,
//! and how often it was used, in the byte beside the seconds of the last use. When memory is short the evictor is asked
//! for a [`Token`] at a time, looks at a few entries through [`Entries`], and names the one to be removed. The removal is
//! an effect like any other, and the caller's to apply.
//!
//! ```text
//!   Partition --notes--> Pulse --inbox--> Evictor --Token--> the caller: Effect::Remove { cause: Evicted }
//!       ^ tick, uses (in entries) --------- Entries ---^
//! ```
//! - [`queues`](self): `lru`, `s3fifo` and `adaptive`, which follows whichever of the two is better at the time by
//!   simulating both on a sample of the keys.
//! - `gdsf`: a heap of priorities by size and uses. `lfu` and `random` draw keys from the tables, `ttl` asks the index of
//!   deadlines.
//!
//! A tracked key takes eight bytes of queue and about three of ghost; policies that draw take nothing. Without
//! a policy nothing is kept and nothing is told. One eviction looks at 32 keys at most. What is left out: admission (a
//! write is never refused in favour of older keys, because Redis's clients expect to read what they wrote), and the sizes
//! of values under any rule but `gdsf`. Why, and what was measured: `docs/design/0007-eviction.md`.

mod chunks;
mod dead;
mod drawn;
mod entries;
mod evictor;
mod ghost;
#[cfg(test)]
mod model;
mod policy;
mod pulse;
mod queues;
mod removed;
mod ring;
mod shadow;
mod sized;
mod token;

pub use entries::{Entries, Facts, Group, Partitions};
pub use evictor::Evictor;
pub use policy::{Policy, Rule, Scope};
pub use pulse::Pulse;
pub use token::Token;

pub(crate) use pulse::Note;
