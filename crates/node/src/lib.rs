//! A whole node without I/O: dispatch, commit gate, forwarding, events, coordinator.
//!
//! ```text
//!   driver (threads, sockets)                       control plane (gossip, Raft)
//!        |  bytes                                        |  maps, leases
//!        v                                               v
//!   Worker --- connection --- dispatch --- here? --> Shared: partitions, routing, lease
//!        |                       |                       ^
//!        |                       +--- there? --> Link ---|--> another node's Worker
//!        +--- commit gate <--- acknowledgements of replicas and of the Journal
//! ```
//!
//! A [`Worker`] is driven by one thread at a time and shares the partitions with the others through [`Shared`].
//! Must not know sockets, files or threads: the `hypercache` crate brings those, and so does the simulator.

mod blocked;
mod call;
mod cells;
mod connection;
mod coordinator;
mod copy;
mod eviction;
mod execute;
mod frame;
mod host;
mod journal;
mod lease;
mod partition;
mod platform;
mod pubsub;
mod routing;
mod script;
mod shared;
mod spot;
pub mod stats;
mod target;
mod upkeep;
mod users;
mod words;
mod worker;

pub use call::Call;
pub use coordinator::Coordinator;
pub use journal::{Journal, NoCopy};
pub use lease::Lease;
pub use platform::{Limits, Platform};
pub use shared::{NodeConfig, Place, Shared, Waker};
pub use target::Key;
pub use users::{UsersAnswer, UsersOutcome};
pub use words::Words;
pub use worker::connections::MAX_CLIENTS_REACHED;
pub use worker::{Flush, LinkPeer, WantedLink, Worker};
