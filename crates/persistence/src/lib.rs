//! Durability of effect records: an append-only log in segments, snapshots, and recovery from both.
//!
//! A node writes one log for all its partitions. A record is opaque bytes with a partition and a sequence; the log adds frames that
//! say what becomes of a partition as a whole (emptied, copied anew, dropped), so that recovery never brings back
//! what was void. A snapshot holds partitions as of a mark in the log, and with it everything before can be removed.
//!
//! ```text
//! workers --append--> buffer --Flusher::write--> aof-N.log --Flusher::sync--> durable position --> commit gate
//!                        ^
//! snapshot thread --mark-+--SnapshotWriter--> snapshot-N.snap --Snapshots::commit--> manifest, old files go
//!
//! start: Plan::read --> Plan::replay (threads) --> Plan::begin --> Log { appender, flusher, snapshots }
//! ```
//!
//! The crate starts no thread and reads no clock. All it does to a disk goes through [`Disk`], so that tests can look at each
//! state in which a crash may leave the directory. What it relies on is said there; what a crash, a bit flip and a failing
//! disk may do to it is tested by enumeration (`tests/`, and `sim` with the feature `test-support`).
//!
//! Rules that hold everywhere: a torn tail is cut, any other damage is refused with its file, its offset and, if it can be
//! told, its one partition; a failed sync is never repeated, the log has failed for ever then; a file is removed
//! only after a durable manifest does without it. Formats: `docs/formats/append-only-log.md`, `docs/formats/snapshot.md`.
//!
//! Must not know: values, keys, commands, what effects or the caller's states mean, threads, clocks.

mod check;
mod disk;
mod error;
mod fields;
mod flusher;
mod frame;
mod log;
mod manifest;
mod names;
mod reader;
mod recovery;
mod segment;
#[cfg(any(test, feature = "test-support"))]
pub mod sim;
mod snapshot;
mod track;

pub use check::{Entry, FileReport, Report, check, extract};
pub use disk::{AppendFile, Disk, ReadFile, RealDisk, SyncFile};
pub use error::{AppendError, Damage, Failure, IoError, RecoveryError, SnapshotError};
pub use flusher::{BackgroundSync, Flusher, SyncPolicy, Synced, Turn};
pub use frame::{FRAME_HEADER_BYTES, Kind};
pub use log::{Appender, BUFFER_BYTES_MAX, Position};
pub use manifest::SNAPSHOTS_KEPT_MAX;
pub use recovery::{Log, Options, Plan, Progress, Recoverable, Recovered, RecoverySink, Share, Tail};
pub use segment::SEGMENT_HEADER_BYTES;
pub use snapshot::{SnapshotSummary, SnapshotWriter, Snapshots};
