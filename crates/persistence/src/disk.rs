//! What this crate asks of a disk: one flat directory of files that are appended to, synced, renamed and removed.
//!
//! Nothing else in the crate touches the system, so a test can put a simulated disk underneath and look at every state in
//! which a crash may leave it. What is promised:
//!
//! - Appended bytes are durable once a `sync` of the file that began after the append has returned without error.
//! - A name (created, renamed or removed) is durable once a `sync_directory` that began afterwards has returned.
//! - Before that anything may be lost, in part and in any order.
//!
//! A failed sync is never repeated by this crate: what the system did with the pages is unknown.

mod real;

pub use real::RealDisk;
use std::io;

/// A directory of files. Methods may be called from several threads.
pub trait Disk: Send + Sync {
    /// Creates `name`, which must not exist, and opens it for appending.
    ///
    /// # Errors
    /// As the system says; `AlreadyExists` if it is there.
    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>>;

    /// Opens `name` for reading.
    ///
    /// # Errors
    /// As the system says; `NotFound` if it is not there.
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>>;

    /// Makes all that was ever written to `name` durable, by whichever process.
    ///
    /// # Errors
    /// As the system says.
    fn sync_file(&self, name: &str) -> io::Result<()>;

    /// Cuts `name` to `length` bytes; durable after [`Disk::sync_file`].
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&self, name: &str, length: u64) -> io::Result<()>;

    /// Gives `from` the name `to`, replacing what had it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes `name`.
    ///
    /// # Errors
    /// As the system says; `NotFound` if it is not there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, sorted.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes all creations, renames and removals so far durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_directory(&self) -> io::Result<()>;
}

/// A file that grows at its end.
pub trait AppendFile: Send {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// As the system says; any part of `bytes` may have been appended then.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// As the system says; nothing is known about what was appended since the last sync then.
    fn sync(&mut self) -> io::Result<()>;

    /// The same file, to be synced while another thread appends.
    fn to_sync(&self) -> Box<dyn SyncFile>;
}

/// A file that another thread appends to.
pub trait SyncFile: Send + Sync {
    /// Makes all durable that was appended before this call.
    ///
    /// # Errors
    /// As the system says; nothing is known about what was appended since the last sync then.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is read at any place.
pub trait ReadFile: Send {
    /// Bytes in the file.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// As the system says; `UnexpectedEof` if the file ends before `out` is full.
    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

/// Reads the whole of a small file; `None` if it is not there.
///
/// # Errors
/// As the system says; `InvalidData` if it has more than `bytes_max` bytes.
pub(crate) fn read_small(disk: &dyn Disk, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let length = file.length()?;
    if length > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than it can be"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(0, &mut bytes)?;
    Ok(Some(bytes))
}
