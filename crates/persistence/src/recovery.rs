//! Recovery: what a directory holds, given back partition by partition.
//!
//! It has three steps, so that nothing is handed out that is not known to be sound, and nothing is changed before all is known:
//!
//! 1. [`Plan::read`] reads manifest, tables of snapshots and the whole log once, checks every frame and every sequence, and
//!    decides for each partition from where it can be recovered, or why it cannot. It changes nothing.
//! 2. [`Plan::replay`] gives a share of the partitions to a sink. Threads call it at the same time, each with a share of its own: a
//!    thread reads its partitions' stretches of the snapshot, then all of the log, passing over the frames of the others, whose
//!    payloads it neither verifies nor touches. It changes nothing either.
//! 3. [`Plan::begin`] repairs what a crash left, and opens the log behind what was recovered.
//!
//! A crash in any of them leaves a directory from which the same is recovered again.
//!
//! The log is read once for the plan and once by each thread. The alternative, an index of the frames of each partition, takes
//! memory for every record; a reader that hands frames out to threads copies each. The log is bounded by the snapshots and
//! was read just before, so the repetition comes from the page cache.

mod begin;
mod lenient;
mod replay;
mod scan;
#[cfg(test)]
mod tests;
mod trace;

pub use begin::{Log, Options};
pub use replay::{Recovered, RecoverySink, Share};

use crate::disk::Disk;
use crate::error::{Damage, IoError, RecoveryError};
use crate::manifest::Manifest;
use crate::names;
use crate::snapshot::Snapshot;
use crate::track::Hold;
use scan::Scan;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use stdx::{PartitionId, Seq};
use trace::Source;

/// How far a recovery is, in bytes; read by another thread than those that recover.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Bytes done, and bytes to be done in all as far as known.
    pub fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The torn end of the log: nobody was ever told that these bytes are durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tail {
    /// The file's name.
    pub file: String,
    /// Bytes that stay.
    pub offset: u64,
    /// Bytes that are cut.
    pub bytes: u64,
    /// Sound frames among them: written, never known to be durable, and behind something that was lost.
    pub frames_behind: u64,
}

/// A partition that can be recovered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recoverable {
    /// Which one.
    pub partition: PartitionId,
    /// Sequence of its newest record.
    pub last: Seq,
    /// False if a copy of it had not arrived completely.
    pub whole: bool,
}

/// What a directory holds, and what can be recovered of it.
pub struct Plan {
    disk: Arc<dyn Disk>,
    progress: Arc<Progress>,
    /// `None` for a directory without a log.
    manifest: Option<Manifest>,
    snapshots: Vec<Snapshot>,
    scan: Scan,
    sources: BTreeMap<PartitionId, Vec<Source>>,
    refused: BTreeMap<PartitionId, Damage>,
    damage: Vec<Damage>,
    highest_snapshot: u64,
}

impl Plan {
    /// Reads the directory. Changes nothing.
    ///
    /// # Errors
    /// If the disk cannot be read, or the manifest is damaged or missing while other files are there. Damage to anything else
    /// is no error: see [`Plan::damage`] and [`Plan::refused`].
    pub fn read(disk: Arc<dyn Disk>, progress: Arc<Progress>) -> Result<Plan, RecoveryError> {
        let names = disk.list().map_err(IoError::of("reading", ""))?;
        let manifest = Manifest::read(&*disk)?;
        let ours =
            |name: &&String| names::segment_number(name).is_some() || names::snapshot_number(name).is_some();
        if manifest.is_none()
            && let Some(stray) = names.iter().find(ours)
        {
            let what = format!("missing, but {stray} is there");
            let file = names::MANIFEST.to_owned();
            return Err(Damage { file, offset: 0, partition: None, what }.into());
        }
        let (mut snapshots, mut damage) = (Vec::new(), Vec::new());
        for entry in manifest.iter().flat_map(|manifest| &manifest.snapshots) {
            let log_id = manifest.as_ref().map_or(0, |manifest| manifest.log_id);
            match Snapshot::open(&*disk, log_id, *entry) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(RecoveryError::Damage(found)) => damage.push(found),
                Err(error) => return Err(error),
            }
        }
        Plan::of(disk, progress, (&names, manifest, snapshots, damage))
    }

    /// As [`Plan::read`], for whoever wants what is left and will not begin a log behind it: a manifest that is damaged or missing is
    /// made from the other files, and the table of a snapshot from its frames.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn read_leniently(disk: Arc<dyn Disk>, progress: Arc<Progress>) -> Result<Plan, RecoveryError> {
        let names = disk.list().map_err(IoError::of("reading", ""))?;
        let (manifest, mut damage) = match Manifest::read(&*disk) {
            Ok(Some(manifest)) => (Some(manifest), Vec::new()),
            Ok(None) => (lenient::manifest(&*disk, &names)?, Vec::new()),
            Err(RecoveryError::Damage(found)) => (lenient::manifest(&*disk, &names)?, vec![found]),
            Err(error) => return Err(error),
        };
        let mut snapshots = Vec::new();
        for entry in manifest.iter().flat_map(|manifest| &manifest.snapshots) {
            let log_id = manifest.as_ref().map_or(0, |manifest| manifest.log_id);
            match Snapshot::open(&*disk, log_id, *entry) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(RecoveryError::Damage(found)) => {
                    damage.push(found);
                    let readable = names.contains(&names::snapshot(entry.number));
                    snapshots.extend(
                        readable.then(|| Snapshot::rebuilt(&*disk, log_id, entry.number)).transpose()?,
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Plan::of(disk, progress, (&names, manifest, snapshots, damage))
    }

    /// Reads the log, and decides.
    fn of(
        disk: Arc<dyn Disk>,
        progress: Arc<Progress>,
        (names, manifest, snapshots, mut damage): (&[String], Option<Manifest>, Vec<Snapshot>, Vec<Damage>),
    ) -> Result<Plan, RecoveryError> {
        let or_empty = manifest.clone().unwrap_or(Manifest::new(0));
        let scan = scan::scan(&*disk, &or_empty, &snapshots, names, &progress)?;
        damage.extend(scan.damage.iter().cloned());
        let files = names.iter().filter_map(|name| names::snapshot_number(name));
        let named = or_empty.snapshots.iter().map(|entry| entry.number);
        let highest_snapshot = files.chain(named).max().unwrap_or(0).max(scan.traces.marked);
        let (sources, refused) = (BTreeMap::new(), BTreeMap::new());
        let mut plan =
            Plan { disk, progress, manifest, snapshots, scan, sources, refused, damage, highest_snapshot };
        plan.decide();
        plan.progress.expect(plan.bytes_to_replay());
        Ok(plan)
    }

    /// Decides for every partition from where it is recovered, or that it is refused.
    fn decide(&mut self) {
        // A partition of the newest snapshot of which the log knows nothing has lost its mark.
        if let Some(newest) = self.snapshots.first() {
            for extent in &newest.table.0 {
                self.scan.traces.trace(extent.partition);
            }
        }
        for (partition, trace) in &self.scan.traces.partitions {
            if trace.track.hold == Hold::Nothing {
                continue;
            }
            if !trace.sources.is_empty() {
                self.sources.insert(*partition, trace.sources.clone());
                continue;
            }
            let damage = trace.damage.clone().or_else(|| self.damage.first().cloned());
            let damage = damage.unwrap_or_else(|| Damage {
                file: names::MANIFEST.to_owned(),
                offset: 0,
                partition: Some(*partition),
                what: "neither snapshot nor log have the beginning of the partition".to_owned(),
            });
            self.refused.insert(*partition, damage);
        }
        for (partition, damage) in &self.refused {
            if !self.damage.contains(damage) {
                self.damage.push(Damage { partition: Some(*partition), ..damage.clone() });
            }
        }
    }

    fn bytes_to_replay(&self) -> u64 {
        let log: u64 = self.scan.segments.iter().map(|segment| segment.ending.length).sum();
        let extents = self.snapshots.first().map(|snapshot| snapshot.table.0.iter());
        let snapshot: u64 = extents.into_iter().flatten().map(|extent| extent.end - extent.start).sum();
        if self.sources.is_empty() { 0 } else { log + snapshot }
    }

    /// Whether there is no log in the directory yet.
    pub fn is_new(&self) -> bool {
        self.manifest.is_none()
    }

    /// The partitions that can be recovered, ordered. The others are not held, or refused.
    pub fn partitions(&self) -> impl Iterator<Item = Recoverable> {
        self.sources.keys().filter_map(|partition| self.recoverable(*partition))
    }

    fn recoverable(&self, partition: PartitionId) -> Option<Recoverable> {
        let track = self.scan.traces.partitions.get(&partition)?.track;
        let whole = track.hold == Hold::Whole;
        Some(Recoverable { partition, last: track.last.unwrap_or_default(), whole })
    }

    /// The partitions that were held and cannot be recovered, each with what is in the way.
    pub fn refused(&self) -> &BTreeMap<PartitionId, Damage> {
        &self.refused
    }

    /// All damage, also where it harms nobody because its partitions begin anew behind it. If one of these is about any
    /// partition, a partition that nothing else in the log mentions may have been lost with it.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// The torn end of the log, if it has one.
    pub fn tail(&self) -> Option<&Tail> {
        self.scan.tail.as_ref()
    }

    /// Whether a file of this name takes part in the recovery, or would if it were not damaged.
    pub(crate) fn needs(&self, name: &str) -> bool {
        let Some(manifest) = &self.manifest else { return false };
        let named = |number| manifest.snapshots.iter().any(|entry| entry.number == number);
        names::segment_number(name).is_some_and(|number| number >= manifest.first_segment)
            || names::snapshot_number(name).is_some_and(named)
    }

    /// Numbers of the snapshots that can be used, newest first.
    pub fn snapshots(&self) -> impl Iterator<Item = u64> {
        self.snapshots.iter().map(|snapshot| snapshot.number)
    }
}
