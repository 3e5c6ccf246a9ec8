//! Begins and commits snapshots, and removes what is no longer needed.

use super::writer::SnapshotWriter;
use crate::disk::Disk;
use crate::error::{IoError, SnapshotError};
use crate::log::Appender;
use crate::manifest::{Entry, Manifest, SNAPSHOTS_KEPT_MAX, WriteError};
use crate::names;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The snapshots of one log. Owned by one thread; one snapshot is written at a time.
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    appender: Appender,
    manifest: Manifest,
    /// Number of the next one: no number is ever used twice, whether its snapshot was committed or not.
    next: u64,
    kept: usize,
    compress: bool,
}

/// A committed snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotSummary {
    /// Its number.
    pub number: u64,
    /// Partitions in it.
    pub partitions: usize,
    /// Bytes of effects in it.
    pub effect_bytes: u64,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Files that were removed because nothing needs them any more.
    pub removed: usize,
}

impl Snapshots {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        appender: Appender,
        manifest: Manifest,
        next: u64,
        (kept, compress): (usize, bool),
    ) -> Snapshots {
        let kept = kept.clamp(1, SNAPSHOTS_KEPT_MAX);
        Snapshots { disk, appender, manifest, next, kept, compress }
    }

    /// Begins a snapshot. It frees the segments before the one that is written to now, so rotate the log first.
    ///
    /// # Errors
    /// The log has failed, or the disk refuses; another one may be begun then.
    pub fn begin(&mut self) -> Result<SnapshotWriter, SnapshotError> {
        self.appender.shared.check()?;
        // What was given up before may take much room.
        self.remove_unneeded();
        let number = self.next;
        self.next += 1;
        // In this order: whatever is appended from `since` on goes to this segment or a later one.
        let first_segment = self.appender.shared.segment.load(Ordering::Acquire);
        let since = self.appender.shared.lock()?.end();
        let numbers = (self.manifest.log_id, number, first_segment);
        let appender = self.appender.clone();
        Ok(SnapshotWriter::create(&*self.disk, appender, numbers, since, self.compress)?)
    }

    /// Commits a snapshot: makes the file durable, then the manifest that names it, then removes snapshots and segments
    /// that nothing needs any more. Blocks for the disk.
    ///
    /// # Errors
    /// `NotDurable` while the log is not durable up to that position: try again when it is. `Uncovered` if a partition is held and
    /// neither in the snapshot nor begun since. After any other error the snapshot is to be dropped; a failed sync fails the log.
    pub fn commit(&mut self, writer: &mut SnapshotWriter) -> Result<SnapshotSummary, SnapshotError> {
        let shared = Arc::clone(&self.appender.shared);
        if writer.number + 1 != self.next {
            return Err(SnapshotError::Misuse("another snapshot was begun after this one"));
        }
        let coverage = shared.lock()?.coverage(writer.number, writer.since);
        let needed = coverage.map_err(SnapshotError::Uncovered)?.max(writer.marked());
        if shared.durable() < needed {
            return Err(SnapshotError::NotDurable(needed));
        }
        writer.finish()?;
        self.disk.sync_directory().map_err(|error| shared.fail(IoError::of("syncing", "")(error)))?;
        let mut manifest = self.manifest.clone();
        let entry = Entry { number: writer.number, first_segment: writer.first_segment };
        manifest.snapshots.insert(0, entry);
        manifest.snapshots.truncate(self.kept);
        let oldest = manifest.snapshots.iter().map(|entry| entry.first_segment).min();
        manifest.first_segment = oldest.unwrap_or(manifest.first_segment);
        manifest.write(&*self.disk).map_err(|error| match error {
            WriteError::Refused(error) => SnapshotError::Io(error),
            WriteError::Unknown(error) => SnapshotError::Failed(shared.fail(error)),
        })?;
        self.manifest = manifest;
        let (effect_bytes, file_bytes) = writer.bytes();
        let removed = self.remove_unneeded();
        let (number, partitions) = (writer.number, writer.partitions());
        Ok(SnapshotSummary { number, partitions, effect_bytes, file_bytes, removed })
    }

    /// Removes what the manifest does not need, as far as the disk lets it; how many files that were.
    fn remove_unneeded(&self) -> usize {
        remove_unneeded(&*self.disk, &self.manifest)
    }
}

/// Removes the files that `manifest`, which is durable, does not need. What cannot be removed is tried again at the next
/// occasion; a removal that a crash undoes is repeated by recovery.
pub(crate) fn remove_unneeded(disk: &dyn Disk, manifest: &Manifest) -> usize {
    let Ok(names) = disk.list() else { return 0 };
    let unneeded = |name: &&String| match (names::segment_number(name), names::snapshot_number(name)) {
        (Some(segment), _) => segment < manifest.first_segment,
        (_, Some(snapshot)) => manifest.snapshots.iter().all(|entry| entry.number != snapshot),
        _ => *name == names::MANIFEST_NEW,
    };
    names.iter().filter(unneeded).filter(|name| disk.remove(name).is_ok()).count()
}
