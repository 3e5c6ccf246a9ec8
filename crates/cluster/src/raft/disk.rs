//! What the Raft group needs from a disk: an append-only list of records, durable on return, and a way to replace it.
//!
//! The implementation frames records (length, checksum), syncs them, and cuts a torn tail; it does not know what they
//! mean. What they mean is decided in `journal`. The same directory holds the node's id: an empty directory means a
//! new [`NodeId`](stdx::NodeId), because a voter that has forgotten its vote may vote twice, and a release build of the
//! Raft library accepts it silently. The journal therefore begins with the id and refuses to start under another.

use std::io;
use std::sync::{Mutex, PoisonError};

/// Durable storage of the Raft log, vote and snapshot.
pub trait LogDisk: Send + Sync + 'static {
    /// Every record, in the order written. A torn last record is dropped; damage anywhere else is an error.
    fn load(&self) -> io::Result<Vec<Vec<u8>>>;

    /// Adds records after the last one. They are on stable storage when this returns. After an error nothing is known
    /// about them, and nothing more may be written.
    fn append(&self, records: &[Vec<u8>]) -> io::Result<()>;

    /// Replaces everything by `records`, atomically: after a crash either the old or the new ones are there
    /// (temporary file, sync, rename, sync of the directory).
    fn replace(&self, records: &[Vec<u8>]) -> io::Result<()>;
}

/// A disk in memory: survives a restart of the group, not of the process.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    records: Mutex<Vec<Vec<u8>>>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    fn with<R>(&self, act: impl FnOnce(&mut Vec<Vec<u8>>) -> R) -> R {
        act(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogDisk for MemoryDisk {
    fn load(&self) -> io::Result<Vec<Vec<u8>>> {
        Ok(self.with(|held| held.clone()))
    }

    fn append(&self, records: &[Vec<u8>]) -> io::Result<()> {
        self.with(|held| held.extend_from_slice(records));
        Ok(())
    }

    fn replace(&self, records: &[Vec<u8>]) -> io::Result<()> {
        self.with(|held| *held = records.to_vec());
        Ok(())
    }
}
