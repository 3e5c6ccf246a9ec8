//! The command table and its handlers.
//!
//! One const table ([`table`]) of rows, each a description and a function; the families' files hold row and
//! function side by side. A row's [`table::Run`] decides what its function may touch ([`context`]), so that a
//! reading command cannot write, and a writing command cannot forget to log, replicate or announce what it did:
//! all it can do is emit an effect. Adding a command is one row, one function and one golden script. Must not know
//! connections or disk.

pub mod acl;
pub mod across;
pub mod args;
pub mod bitmap;
mod blocking;
pub mod client;
pub mod cluster_commands;
pub mod config_commands;
pub mod connection;
pub mod context;
mod distinct;
pub mod docs;
pub mod error;
pub mod events;
pub mod express;
pub mod filter;
pub mod flags;
pub mod gather;
pub mod generic;
pub mod geo;
pub mod glob;
pub mod hash;
pub mod host;
pub mod hyperloglog;
pub mod info;
pub mod latency;
pub mod list;
pub mod lookup;
pub mod pubsub;
mod sample;
pub mod scripting;
pub mod server;
pub mod session;
pub mod set;
pub mod slowlog;
pub mod sorted_set;
pub mod stream;
pub mod string;
pub mod table;
pub mod transaction;

pub use args::Args;
pub use context::{Access, Placed, ReadCtx, WriteCtx};
pub use express::Express;
pub use gather::Gather;
pub use table::{Command, FindError, Flags, Merge, Run, find, find_row};
