//! A directory of the file system, held by one process at a time.

use super::{AppendFile, Disk, ReadFile, SyncFile};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Held by the running process. The system releases it however the process ends.
const LOCK: &str = "aof.lock";

/// A directory of the file system.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
    /// The directory itself, for syncing it; kept open, so that an error of its pages cannot go to somebody else.
    handle: File,
    /// The lock; `None` for a disk that is only read.
    lock: Option<File>,
}

impl RealDisk {
    /// Opens `dir`, making it if need be, and locks it for this process until the disk is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if another process (or another disk of this one) holds it; else as the system says.
    pub fn open(dir: &Path) -> io::Result<RealDisk> {
        make_durably(dir)?;
        let lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("directory {} is in use by another process", dir.display());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(RealDisk { dir: dir.to_owned(), handle: File::open(dir)?, lock: Some(lock) })
    }

    /// Opens `dir` to look at it: without the lock, and every write is refused. A log that grows meanwhile ends anywhere.
    ///
    /// # Errors
    /// As the system says.
    pub fn open_to_read(dir: &Path) -> io::Result<RealDisk> {
        Ok(RealDisk { dir: dir.to_owned(), handle: File::open(dir)?, lock: None })
    }

    /// The path of `name` for a change.
    fn path_to_write(&self, name: &str) -> io::Result<PathBuf> {
        if self.lock.is_none() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "opened only to read"));
        }
        Ok(self.dir.join(name))
    }
}

/// Makes `dir` and what is missing above it, each durable in its parent.
fn make_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_durably(parent)?;
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    File::open(parent)?.sync_all()
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        let path = self.path_to_write(name)?;
        Ok(Box::new(RealFile(Arc::new(OpenOptions::new().append(true).create_new(true).open(path)?))))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(RealFile(Arc::new(File::open(self.dir.join(name))?))))
    }

    fn sync_file(&self, name: &str) -> io::Result<()> {
        OpenOptions::new().append(true).open(self.path_to_write(name)?)?.sync_all()
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path_to_write(name)?)?.set_len(length)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path_to_write(from)?, self.path_to_write(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path_to_write(name)?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            // A name that is no text is none of ours.
            if let (true, Some(name)) = (entry.file_type()?.is_file(), entry.file_name().to_str()) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.path_to_write("")?;
        self.handle.sync_all()
    }
}

/// One open file, however many hold it: an error of its pages is reported once, to whoever syncs first.
struct RealFile(Arc<File>);

impl AppendFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.0).write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        SyncFile::sync(self)
    }

    fn to_sync(&self) -> Box<dyn SyncFile> {
        Box::new(RealFile(Arc::clone(&self.0)))
    }
}

impl SyncFile for RealFile {
    fn sync(&self) -> io::Result<()> {
        // The length is part of the data: fdatasync(2) writes the metadata without which it could not be read.
        self.0.sync_data()
    }
}

impl ReadFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("a/b");
        let held = RealDisk::open(&inner).expect("it is made");
        let refused = RealDisk::open(&inner).expect_err("it is held");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let reader = RealDisk::open_to_read(&inner).expect("looking is allowed");
        assert!(reader.create("x").is_err() && reader.sync_directory().is_err());
        drop(held);
        assert!(RealDisk::open(&inner).is_ok());
    }

    #[test]
    fn files_do_what_the_trait_says() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = RealDisk::open(dir.path()).expect("a directory");
        let mut file = disk.create("a").expect("new");
        file.append(b"hello ").and_then(|()| file.append(b"world")).and_then(|()| file.sync()).expect("room");
        assert_eq!(disk.create("a").err().map(|error| error.kind()), Some(io::ErrorKind::AlreadyExists));
        let mut out = [0; 5];
        let read = disk.open("a").expect("there");
        read.read_exact_at(6, &mut out).expect("inside");
        assert_eq!((&out, read.length().expect("open")), (b"world", 11));
        assert!(read.read_exact_at(7, &mut out).is_err(), "beyond the end");
        disk.truncate("a", 5).and_then(|()| disk.sync_file("a")).expect("there");
        disk.rename("a", "b").and_then(|()| disk.sync_directory()).expect("there");
        assert_eq!(disk.list().expect("readable"), ["aof.lock", "b"]);
        disk.remove("b").expect("there");
        assert_eq!(disk.open("b").err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }
}
