//! A snapshot: one file with the effects that build every partition, each as of a sequence.
//!
//! It is written piece by piece at the caller's pace, and ends with a table of where each partition is, so that threads can
//! recover their partitions without reading the others'. What ties a partition to the log is a mark: a frame in
//! the log, appended in the moment as of which the snapshot has the partition. Recovery applies what follows the mark.
//! Sequences alone could not say that: a partition can be emptied, copied anew or dropped without one.
//!
//! The file becomes part of anything only by the manifest that names it ([`Snapshots::commit`]). Drawn in
//! `docs/formats/snapshot.md`.

mod format;
mod manager;
mod reader;
mod writer;

pub(crate) use format::SNAPSHOT_HEADER_BYTES;
pub(crate) use manager::remove_unneeded;
pub use manager::{SnapshotSummary, Snapshots};
pub(crate) use reader::{Snapshot, SnapshotFrame, first_segment};
pub use writer::SnapshotWriter;
