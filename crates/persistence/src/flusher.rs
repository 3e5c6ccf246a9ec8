//! The end of the log that has the files: one thread writes and syncs while workers go on appending; where nobody waits for
//! a sync, another thread may run it while the first goes on writing ([`BackgroundSync`]).
//!
//! Group commit: whatever was appended while one sync ran goes out with the next write and is made durable by the next
//! sync, however many workers wait for it. Every write begins with a mark that says how far the segment was durable when it
//! was written. So after a crash it is known of every damaged byte whether a crash may explain it (it was never known to be
//! durable: the tail is cut) or not (it is refused as damage).
//!
//! Any error of writing, and above all of syncing, fails the log for ever: the system may have thrown the pages away and
//! marked them clean, so a second sync that succeeds proves nothing.

use crate::disk::{AppendFile, Disk, SyncFile};
use crate::error::{Failure, IoError};
use crate::frame::{FRAME_HEADER_BYTES, Header, Kind, Seed};
use crate::log::{Position, Shared};
use crate::names;
use crate::segment::{self, Ending};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use stdx::Mono;

/// When the log is synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncPolicy {
    /// After every write; a reply waits until its record is durable.
    Always,
    /// Once a second; a crash of the machine loses about that much.
    EverySecond,
    /// Never, except when a segment or a snapshot ends: the system writes when it likes.
    Never,
}

/// How long [`SyncPolicy::EverySecond`] leaves written bytes unsynced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The files of the log. Owned by one thread.
pub struct Flusher {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    log_id: u64,
    segment_bytes_max: u64,
    file: Box<dyn AppendFile>,
    syncing: Arc<Syncing>,
    /// A sync was handed out by [`Flusher::turn`] and has not come back.
    is_syncing: bool,
    number: u64,
    /// How the segment would end if it ended now.
    ending: Ending,
    /// Bytes of the segment that are durable, and up to where a mark on the disk says so.
    synced: u64,
    marked: u64,
    /// Positions of what is written and of what is durable.
    written: Position,
    durable: Position,
    last_sync: Mono,
    spare: Vec<u8>,
}

/// The syncs of one segment, one at a time. An error of the file's pages is reported to one sync only, so the one that meets it
/// fails the log before the next may begin.
struct Syncing {
    shared: Arc<Shared>,
    number: u64,
    file: Mutex<Box<dyn SyncFile>>,
}

impl Syncing {
    fn new(shared: &Arc<Shared>, number: u64, file: &dyn AppendFile) -> Arc<Syncing> {
        Arc::new(Syncing { shared: Arc::clone(shared), number, file: Mutex::new(file.to_sync()) })
    }

    fn sync(&self) -> Result<(), Failure> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.check()?;
        let name = names::segment(self.number);
        file.sync().map_err(|error| self.shared.fail(IoError::of("syncing", &name)(error)))
    }
}

/// A sync of what was written by some moment, to be run by another thread than the one that writes.
pub struct BackgroundSync {
    syncing: Arc<Syncing>,
    length: u64,
    written: Position,
}

impl BackgroundSync {
    /// Runs it. The outcome is for [`Flusher::synced`].
    ///
    /// # Errors
    /// The log has failed, now or before.
    pub fn run(self) -> Result<Synced, Failure> {
        self.syncing.sync()?;
        Ok(Synced(self))
    }
}

/// A [`BackgroundSync`] that has succeeded.
pub struct Synced(BackgroundSync);

/// Creates segment `number` behind one that ended like `before`: durable, name and header, before anything is in it.
pub(crate) fn create_segment(
    disk: &dyn Disk,
    (seed, log_id): (Seed, u64),
    number: u64,
    before: Ending,
) -> Result<(Box<dyn AppendFile>, Ending), IoError> {
    let name = names::segment(number);
    let header = segment::encode(seed, log_id, number, before);
    let mut file = disk.create(&name).map_err(IoError::of("creating", &name))?;
    file.append(&header).map_err(IoError::of("writing", &name))?;
    file.sync().map_err(IoError::of("syncing", &name))?;
    disk.sync_directory().map_err(IoError::of("syncing", ""))?;
    Ok((file, Ending::default().after(&header)))
}

impl Flusher {
    /// Writes to the new segment `number`, which is `file` and ends like `ending`.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        (log_id, segment_bytes_max): (u64, u64),
        (number, file, ending): (u64, Box<dyn AppendFile>, Ending),
    ) -> Flusher {
        Flusher {
            syncing: Syncing::new(&shared, number, &*file),
            is_syncing: false,
            disk,
            shared,
            log_id,
            segment_bytes_max,
            file,
            number,
            ending,
            synced: ending.length,
            marked: ending.length,
            written: Position(0),
            durable: Position(0),
            last_sync: Mono::default(),
            spare: Vec::new(),
        }
    }

    /// Hands everything appended so far to the system; the position of the last of it. Begins another segment first if
    /// this one is full.
    ///
    /// # Errors
    /// The log has failed, now or before.
    pub fn write(&mut self) -> Result<Position, Failure> {
        if self.ending.length >= self.segment_bytes_max {
            self.rotate()?;
        }
        let mut bytes = std::mem::take(&mut self.spare);
        let end = self.shared.take(&mut bytes)?;
        if end > self.written {
            let mark = Header::bare(self.shared.seed, Kind::Durable, self.synced).encode(self.shared.seed);
            if let Some(room) = bytes.first_chunk_mut::<FRAME_HEADER_BYTES>() {
                *room = mark;
            }
            self.append(&bytes)?;
            self.marked = self.synced;
            self.written = end;
            self.shared.set_written(end);
        }
        self.spare = bytes;
        Ok(end)
    }

    /// Makes everything written durable; the position of the last of it. One sync, or none if nothing was written since.
    ///
    /// # Errors
    /// The log has failed, now or before.
    pub fn sync(&mut self) -> Result<Position, Failure> {
        self.shared.check()?;
        if self.synced < self.ending.length {
            self.syncing.sync()?;
            self.synced = self.ending.length;
        }
        if self.durable < self.written {
            self.durable = self.written;
            self.shared.set_durable(self.durable);
        }
        Ok(self.durable)
    }

    /// Writes down how far the segment is durable, if the disk does not say so yet: for a moment without work. From then on
    /// damage before that place is known for what it is.
    ///
    /// # Errors
    /// The log has failed, now or before.
    pub fn mark(&mut self) -> Result<(), Failure> {
        self.shared.check()?;
        if self.marked < self.synced {
            let seed = self.shared.seed;
            let mark = Header::bare(seed, Kind::Durable, self.synced).encode(seed);
            self.append(&mark)?;
            self.marked = self.synced;
        }
        Ok(())
    }

    /// Takes note of a sync that another thread has run: what it covers is durable.
    ///
    /// # Errors
    /// The log has failed since.
    pub fn synced(&mut self, Synced(sync): Synced) -> Result<(), Failure> {
        self.shared.check()?;
        self.is_syncing = false;
        // A segment that has ended since was synced when it ended.
        if sync.syncing.number == self.number {
            self.synced = self.synced.max(sync.length);
        }
        if self.durable < sync.written {
            self.durable = sync.written;
            self.shared.set_durable(self.durable);
        }
        Ok(())
    }

    /// One round of the flusher's thread: writes what is there and syncs if `policy` asks for it by now: itself where replies
    /// wait for it, else by what it hands out, one at a time. When there was nothing to do it leaves a mark.
    ///
    /// # Errors
    /// The log has failed, now or before.
    pub fn turn(&mut self, policy: SyncPolicy, now: Mono) -> Result<Turn, Failure> {
        let before = (self.written, self.durable);
        self.write()?;
        let mut sync = None;
        match policy {
            SyncPolicy::Always if self.durable < self.written => {
                self.sync()?;
            }
            SyncPolicy::EverySecond if now.since(self.last_sync) >= SYNC_INTERVAL => {
                sync = self.begin_sync();
                if sync.is_some() {
                    self.last_sync = now;
                }
            }
            _ => {}
        }
        let idle = (self.written, self.durable) == before;
        if idle {
            self.mark()?;
        }
        Ok(Turn { written: self.written, durable: self.durable, idle, sync })
    }

    /// A sync of all that is written, to be run by another thread and reported by [`Flusher::synced`]; none if one is under way
    /// or there is nothing to sync.
    pub fn begin_sync(&mut self) -> Option<BackgroundSync> {
        if self.is_syncing || self.durable == self.written {
            return None;
        }
        self.is_syncing = true;
        let syncing = Arc::clone(&self.syncing);
        Some(BackgroundSync { syncing, length: self.ending.length, written: self.written })
    }

    /// Ends the segment and begins another: everything written is durable afterwards. Done before a snapshot, it lets the
    /// snapshot free everything before.
    ///
    /// # Errors
    /// The log has failed, now or before.
    pub fn rotate(&mut self) -> Result<(), Failure> {
        self.sync()?;
        let number = self.number + 1;
        let ids = (self.shared.seed, self.log_id);
        let (file, ending) =
            create_segment(&*self.disk, ids, number, self.ending).map_err(|error| self.shared.fail(error))?;
        self.syncing = Syncing::new(&self.shared, number, &*file);
        (self.number, self.file, self.ending) = (number, file, ending);
        (self.synced, self.marked) = (ending.length, ending.length);
        self.shared.segment.store(number, Ordering::Release);
        Ok(())
    }

    /// Writes and syncs all, and says in the file that it is complete: from then on any damage to it is noticed.
    ///
    /// # Errors
    /// The log has failed, now or before.
    pub fn close(mut self) -> Result<Position, Failure> {
        self.write()?;
        let end = self.sync()?;
        self.mark()?;
        self.sync()?;
        Ok(end)
    }

    /// Number of the segment that is written to, and its bytes.
    pub fn segment(&self) -> (u64, u64) {
        (self.number, self.ending.length)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let appended = self.file.append(bytes);
        appended.map_err(|error| self.failed("writing", error))?;
        self.ending = self.ending.after(bytes);
        Ok(())
    }

    fn failed(&self, action: &'static str, error: std::io::Error) -> Failure {
        self.shared.fail(IoError::of(action, &names::segment(self.number))(error))
    }
}

/// What a round of the flusher did.
pub struct Turn {
    /// Everything up to here was handed to the system.
    pub written: Position,
    /// Everything up to here is durable.
    pub durable: Position,
    /// Neither moved: the thread may sleep until there is something.
    pub idle: bool,
    /// A sync that is due, to be run by another thread and reported by [`Flusher::synced`].
    pub sync: Option<BackgroundSync>,
}
