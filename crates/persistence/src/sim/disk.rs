//! The simulated disk: files in memory, a journal of all that was done, and errors where a test wants them.

use super::image::Inodes;
use crate::disk::{AppendFile, Disk, ReadFile, SyncFile};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One thing that was done to a disk, successfully or in part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Create {
        name: String,
        inode: usize,
    },
    Append {
        inode: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        inode: usize,
        length: usize,
    },
    SyncFile {
        inode: usize,
    },
    /// A sync that failed: what was not durable then never becomes so, whatever later syncs say.
    LoseFile {
        inode: usize,
    },
    Rename {
        from: String,
        to: String,
        inode: usize,
    },
    Remove {
        name: String,
    },
    SyncDirectory,
    LoseDirectory,
}

/// An error to be made up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which operation that changes or syncs something fails, counted from 0 over the life of the disk.
    pub at: usize,
    /// With what.
    pub kind: io::ErrorKind,
}

/// A directory in memory. Clones are the same directory.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    inodes: Inodes,
    journal: Vec<Op>,
    /// Operations tried, failed ones included.
    tried: usize,
    fault: Option<Fault>,
    syncs: usize,
}

impl State {
    /// Does `op`, unless it is the one to fail; then `instead` is done.
    fn step(&mut self, op: Op, instead: Option<Op>) -> io::Result<()> {
        let at = self.tried;
        self.tried += 1;
        let fault = self.fault.filter(|fault| fault.at == at);
        let done = if fault.is_some() { instead } else { Some(op) };
        if let Some(op) = done {
            self.syncs += usize::from(matches!(op, Op::SyncFile { .. } | Op::SyncDirectory));
            self.inodes.apply(&op);
            self.journal.push(op);
        }
        fault.map_or(Ok(()), |fault| Err(io::Error::from(fault.kind)))
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.inodes.find(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl SimDisk {
    /// A disk in that state.
    pub(super) fn of(inodes: Inodes) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(State { inodes, ..State::default() })) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one operation fail.
    pub fn fail(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// Operations so far that changed or synced something, failed ones included.
    pub fn operations(&self) -> usize {
        self.state().tried
    }

    /// Syncs that succeeded.
    pub fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// Entries in the journal: the points of [`super::Replay`].
    pub fn journal_length(&self) -> usize {
        self.state().journal.len()
    }

    /// Another disk in the same state, with a journal of its own.
    pub fn copy(&self) -> SimDisk {
        SimDisk::of(self.inodes())
    }

    pub(super) fn inodes(&self) -> Inodes {
        self.state().inodes.clone()
    }

    pub(super) fn journal(&self) -> Vec<Op> {
        self.state().journal.clone()
    }

    /// The files as a process sees them now.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.state().inodes.files()
    }

    /// A disk with these files, all durable.
    pub fn with_files(files: &[(String, Vec<u8>)]) -> SimDisk {
        let mut inodes = Inodes::default();
        for (inode, (name, bytes)) in files.iter().enumerate() {
            inodes.apply(&Op::Create { name: name.clone(), inode });
            inodes.apply(&Op::Append { inode, bytes: bytes.clone() });
            inodes.apply(&Op::SyncFile { inode });
        }
        inodes.apply(&Op::SyncDirectory);
        SimDisk::of(inodes)
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.state();
        if state.inodes.find(name).is_some() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let inode = state.inodes.next_inode();
        state.step(Op::Create { name: name.to_owned(), inode }, None)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>> {
        let inode = self.state().inode(name)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn sync_file(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(name)?;
        state.step(Op::SyncFile { inode }, Some(Op::LoseFile { inode }))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(name)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        state.step(Op::Truncate { inode, length }, None)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(from)?;
        state.step(Op::Rename { from: from.to_owned(), to: to.to_owned(), inode }, None)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.inode(name)?;
        state.step(Op::Remove { name: name.to_owned() }, None)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().inodes.files().into_iter().map(|(name, _)| name).collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state().step(Op::SyncDirectory, Some(Op::LoseDirectory))
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl AppendFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A disk that is full takes what still fits.
        let (fits, _) = bytes.split_at(bytes.len() / 2);
        let inode = self.inode;
        let partly = Op::Append { inode, bytes: fits.to_vec() };
        self.disk.state().step(Op::Append { inode, bytes: bytes.to_vec() }, Some(partly))
    }

    fn sync(&mut self) -> io::Result<()> {
        SyncFile::sync(self)
    }

    fn to_sync(&self) -> Box<dyn SyncFile> {
        Box::new(SimFile { disk: self.disk.clone(), inode: self.inode })
    }
}

impl SyncFile for SimFile {
    fn sync(&self) -> io::Result<()> {
        let inode = self.inode;
        self.disk.state().step(Op::SyncFile { inode }, Some(Op::LoseFile { inode }))
    }
}

impl ReadFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes.contents(self.inode).len() as u64)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        let contents = state.inodes.contents(self.inode);
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = contents.get(start..).and_then(|rest| rest.get(..out.len()));
        let found = found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(found);
        Ok(())
    }
}
