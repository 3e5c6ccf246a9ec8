//! Opens the log behind what was recovered: the only step of recovery that changes the directory.
//!
//! In this order, so that a crash between any two steps loses nothing: what recovery has read is made durable, since it was
//! perhaps only in memory when the process before ended; the torn tail is cut; what nothing needs is removed; a new segment
//! begins. An old segment is never appended to.

use super::Plan;
use crate::disk::Disk;
use crate::error::{AppendError, Failure, IoError, RecoveryError};
use crate::flusher::{Flusher, create_segment};
use crate::frame::Seed;
use crate::log::{Appender, Shared};
use crate::manifest::{Manifest, WriteError};
use crate::names;
use crate::segment::Ending;
use crate::snapshot::Snapshots;
use crate::snapshot::remove_unneeded;
use crate::track::Track;
use std::collections::BTreeMap;
use std::sync::Arc;
use stdx::PartitionId;

/// How a log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Bytes after which a segment is ended. One write may exceed it.
    pub segment_bytes_max: u64,
    /// Snapshots that are kept, with the log that belongs to them: 1 to 4. An older one helps if the newest is damaged.
    pub snapshots_kept: usize,
    /// Whether chunks of snapshots are compressed.
    pub compress: bool,
    /// The id of the log if there is none yet: random, so that files of two logs are never taken for each other's.
    pub new_log_id: u64,
}

/// A log that is open.
pub struct Log {
    /// For the workers.
    pub appender: Appender,
    /// For the thread that writes.
    pub flusher: Flusher,
    /// For the thread that takes snapshots.
    pub snapshots: Snapshots,
}

impl Plan {
    /// Opens the log behind what was recovered. `lost` are partitions that the caller does not take over although the plan
    /// has them; they and those that the plan refuses are noted as dropped, so that the next recovery does not find them again.
    ///
    /// # Errors
    /// If the disk refuses. The directory is as recoverable as before then, by a new plan.
    pub fn begin(&self, lost: &[PartitionId], options: Options) -> Result<Log, RecoveryError> {
        let disk = &self.disk;
        let manifest = match &self.manifest {
            Some(manifest) => manifest.clone(),
            None => first_manifest(&**disk, options.new_log_id)?,
        };
        let before = self.repair(&manifest)?;
        let number = self.scan.unused.or(self.scan.segments.last().map(|last| last.number + 1));
        let number = number.unwrap_or(manifest.first_segment);
        let seed = Seed::of_log(manifest.log_id);
        let (file, ending) = create_segment(&**disk, (seed, manifest.log_id), number, before)?;
        let shared = Shared::new(seed, number, &self.tracks());
        let appender = Appender { shared: Arc::clone(&shared) };
        for partition in self.refused.keys().chain(lost) {
            match appender.dropped(*partition) {
                // Named twice, or not held by the log: then it has nothing to drop.
                Ok(_) | Err(AppendError::OutOfOrder { .. } | AppendError::TooLong) => {}
                Err(AppendError::Failed(Failure(why))) => unreachable!("nothing was written yet: {why}"),
            }
        }
        let sizes = (manifest.log_id, options.segment_bytes_max);
        let flusher = Flusher::new(Arc::clone(disk), shared, sizes, (number, file, ending));
        let settings = (options.snapshots_kept, options.compress);
        let next = self.highest_snapshot + 1;
        let snapshots = Snapshots::new(Arc::clone(disk), appender.clone(), manifest, next, settings);
        Ok(Log { appender, flusher, snapshots })
    }

    /// Makes the directory what the plan says it is; how the last segment ends.
    fn repair(&self, manifest: &Manifest) -> Result<Ending, IoError> {
        let disk = &*self.disk;
        let last = self.scan.segments.last();
        if let Some(last) = last {
            let name = names::segment(last.number);
            let cut = self.scan.tail.as_ref().filter(|tail| tail.file == name);
            if let Some(tail) = cut {
                disk.truncate(&name, tail.offset).map_err(IoError::of("cutting", &name))?;
            }
            disk.sync_file(&name).map_err(IoError::of("syncing", &name))?;
        }
        // The manifest that was read may not be durable yet; nothing may be removed by it before.
        disk.sync_directory().map_err(IoError::of("syncing", ""))?;
        remove_unneeded(disk, manifest);
        if let Some(unused) = self.scan.unused {
            let name = names::segment(unused);
            disk.remove(&name).map_err(IoError::of("removing", &name))?;
        }
        Ok(last.map_or_else(Ending::default, |last| last.ending))
    }

    /// Where partitions stand in the log that goes on.
    fn tracks(&self) -> BTreeMap<PartitionId, Track> {
        let held = self.sources.keys().chain(self.refused.keys());
        let traces = &self.scan.traces.partitions;
        held.filter_map(|partition| Some((*partition, traces.get(partition)?.track))).collect()
    }
}

fn first_manifest(disk: &dyn Disk, log_id: u64) -> Result<Manifest, IoError> {
    let manifest = Manifest::new(log_id);
    match manifest.write(disk) {
        Ok(()) => Ok(manifest),
        Err(WriteError::Refused(error) | WriteError::Unknown(error)) => Err(error),
    }
}
