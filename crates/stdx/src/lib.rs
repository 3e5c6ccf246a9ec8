//! What the standard library does not have: ids, clock, randomness, hashing and limits.
//!
//! Must not know any product concept beyond the ids that every crate shares. Time and randomness enter the
//! whole system here, so that the same code runs in production, under test and in the simulator.

pub mod allocator;
pub mod clock;
pub mod crc16;
pub mod hash;
pub mod id;
pub mod key;
pub mod limits;
pub mod random;

mod carryless;

pub use clock::{Clock, Mono, Wall};
pub use id::{Epoch, MapVersion, NodeId, PartitionId, Seq, Slot};
pub use random::Random;
