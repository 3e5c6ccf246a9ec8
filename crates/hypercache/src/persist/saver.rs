//! Saves: snapshots of all partitions, written at a bounded rate while commands run, by request and when they are due.

use commands::host::SaveError;
use commands::info::SavingInfo;
use node::{NoCopy, Shared};
use parking_lot::{Condvar, Mutex};
use persistence::{Failure, Flusher, SnapshotError, SnapshotSummary, SnapshotWriter, Snapshots};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use stdx::{Clock, Mono, PartitionId, Wall};

use super::journal::LogJournal;
use crate::config::Directives;

/// How often it is looked whether a save is due.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
/// How long a save waits for a partition that is being synced from its primary.
const PARTITION_PATIENCE: Duration = Duration::from_secs(30);
/// Pause between tries on such a partition, and after a save that failed.
const PARTITION_PAUSE: Duration = Duration::from_millis(50);
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// Writes snapshots on a thread of its own.
pub(crate) struct Saver {
    shared: Arc<Shared>,
    journal: Arc<LogJournal>,
    flusher: Arc<Mutex<Flusher>>,
    directives: Arc<Directives>,
    desk: Mutex<Desk>,
    changed: Condvar,
    partitions_done: AtomicU64,
}

/// What is asked for, and what became of it.
#[derive(Default)]
struct Desk {
    requested: bool,
    stopping: bool,
    /// When the save under way began.
    running: Option<Mono>,
    /// Saves that ended, well or not.
    ended: u64,
    saves: u64,
    failure: Option<String>,
    took: Option<Duration>,
    saved_at: Option<(Mono, Wall)>,
    /// When a save was last begun.
    begun_at: Option<Mono>,
    /// Records given to the log when the last save began.
    records: u64,
    /// Bytes of effects in the last snapshot, and of the log when it began.
    base_bytes: u64,
    log_bytes: u64,
}

impl Saver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        journal: Arc<LogJournal>,
        flusher: Arc<Mutex<Flusher>>,
        directives: Arc<Directives>,
        base_bytes: u64,
    ) -> Saver {
        Saver {
            shared,
            journal,
            flusher,
            directives,
            desk: Mutex::new(Desk { base_bytes, ..Desk::default() }),
            changed: Condvar::new(),
            partitions_done: AtomicU64::new(0),
        }
    }

    /// Asks for a save, and with `wait` for its outcome.
    pub(crate) fn request(&self, wait: bool) -> Result<(), SaveError> {
        let mut desk = self.desk.lock();
        if desk.requested || desk.running.is_some() {
            return Err(SaveError::InProgress);
        }
        desk.requested = true;
        let before = desk.ended;
        self.changed.notify_all();
        while wait && desk.ended == before && !desk.stopping {
            self.changed.wait(&mut desk);
        }
        match &desk.failure {
            Some(failure) if wait => Err(SaveError::Failed(failure.clone())),
            _ => Ok(()),
        }
    }

    /// Ends [`Saver::run`]; a save under way is given up.
    pub(crate) fn stop(&self) {
        self.desk.lock().stopping = true;
        self.changed.notify_all();
    }

    /// What INFO tells, and when the last save was.
    pub(crate) fn info(&self) -> (SavingInfo, Option<Wall>) {
        let desk = self.desk.lock();
        let info = SavingInfo {
            since: desk.running.map(|began| self.now().since(began)),
            partitions: if desk.running.is_some() { u64::from(self.shared.map().partitions) } else { 0 },
            partitions_done: self.partitions_done.load(Ordering::Relaxed),
            took: desk.took,
            failed: desk.failure.is_some(),
            saves: desk.saves,
            changes: self.journal.records() - desk.records,
        };
        (info, desk.saved_at.map(|(_, wall)| wall))
    }

    /// Bytes of log since the last save, and of what was saved then.
    pub(crate) fn log_bytes(&self) -> (u64, u64) {
        let desk = self.desk.lock();
        (self.journal.position_bytes().saturating_sub(desk.log_bytes), desk.base_bytes)
    }

    /// Saves when asked and when due, until [`Saver::stop`]; on a thread of its own.
    pub(crate) fn run(&self, mut snapshots: Snapshots) {
        let started = self.now();
        loop {
            let mut desk = self.desk.lock();
            if !desk.requested && !desk.stopping {
                self.changed.wait_for(&mut desk, LOOK_PERIOD);
            }
            if desk.stopping {
                // Whoever waits for a save waits in vain.
                self.changed.notify_all();
                return;
            }
            if !desk.requested && !self.is_due(&desk, started) {
                continue;
            }
            desk.requested = true;
            let now = self.now();
            (desk.running, desk.begun_at) = (Some(now), Some(now));
            drop(desk);
            let (records, bytes) = (self.journal.records(), self.journal.position_bytes());
            let outcome = self.save(&mut snapshots);
            self.ended(outcome, records, bytes);
        }
    }

    fn now(&self) -> Mono {
        self.shared.clock().mono()
    }

    fn is_due(&self, desk: &Desk, started: Mono) -> bool {
        let now = self.now();
        let since = now.since(desk.saved_at.map_or(started, |(at, _)| at));
        if desk.failure.is_some() && desk.begun_at.is_some_and(|at| now.since(at) < FAILURE_PAUSE) {
            return false;
        }
        let changes = self.journal.records() - desk.records;
        let grown = self.journal.position_bytes() - desk.log_bytes;
        let percentage = self.directives.auto_aof_rewrite_percentage();
        let is_large = percentage > 0
            && grown >= self.directives.auto_aof_rewrite_min_size()
            && u128::from(grown) * 100 >= u128::from(desk.base_bytes) * u128::from(percentage);
        is_large || self.directives.save().is_due(since, changes)
    }

    fn ended(&self, outcome: Result<SnapshotSummary, String>, records: u64, bytes: u64) {
        let mut desk = self.desk.lock();
        let took = desk.running.take().map(|began| self.now().since(began));
        desk.requested = false;
        desk.ended += 1;
        desk.took = took;
        match outcome {
            Ok(summary) => {
                desk.saves += 1;
                desk.failure = None;
                (desk.records, desk.log_bytes, desk.base_bytes) = (records, bytes, summary.effect_bytes);
                tracing::info!(
                    snapshot = summary.number,
                    bytes = summary.file_bytes,
                    partitions = summary.partitions,
                    seconds = took.unwrap_or_default().as_secs_f64(),
                    "saved"
                );
            }
            Err(failure) => {
                if desk.stopping {
                    tracing::info!(%failure, "saving ended");
                } else {
                    tracing::error!(%failure, "saving failed");
                }
                desk.failure = Some(failure);
            }
        }
        desk.saved_at = match desk.failure {
            None => Some((self.now(), self.shared.clock().wall())),
            Some(_) => desk.saved_at,
        };
        self.changed.notify_all();
    }

    /// One snapshot. Only what concerns the log as a whole fails it for ever; that is the writer's to report.
    fn save(&self, snapshots: &mut Snapshots) -> Result<SnapshotSummary, String> {
        let text = |error: SnapshotError| error.to_string();
        self.sync()?;
        self.flusher.lock().rotate().map_err(|failure| failure.to_string())?;
        let mut writer = snapshots.begin().map_err(text)?;
        self.partitions_done.store(0, Ordering::Relaxed);
        let mut pace = Pace::new(Arc::clone(&self.directives), self.shared.clock().clone());
        for partition in (0..self.shared.map().partitions).map(PartitionId) {
            if self.desk.lock().stopping {
                return Err("given up, because the server stops".to_owned());
            }
            self.save_partition(partition, &mut writer, &mut pace)?;
            self.partitions_done.fetch_add(1, Ordering::Relaxed);
        }
        // The marks have to be on the disk before the manifest relies on them.
        self.sync()?;
        let mut flusher = self.flusher.lock();
        flusher.write().and_then(|_| flusher.sync()).map_err(|failure| failure.to_string())?;
        drop(flusher);
        snapshots.commit(&mut writer).map_err(text)
    }

    /// Syncs most of the log while its writer goes on, so that a sync which holds the writer up has little to do.
    fn sync(&self) -> Result<(), String> {
        let text = |failure: Failure| failure.to_string();
        let sync = self.flusher.lock().begin_sync();
        let Some(sync) = sync else { return Ok(()) };
        let synced = sync.run().map_err(text)?;
        self.flusher.lock().synced(synced).map_err(text)
    }

    fn save_partition(
        &self,
        partition: PartitionId,
        writer: &mut SnapshotWriter,
        pace: &mut Pace,
    ) -> Result<(), String> {
        let began = self.now();
        loop {
            let mut begun = Ok(());
            let at_end = |born| {
                let state = self.journal.state(born);
                begun = writer.begin_partition(partition, &state).map(drop);
            };
            let copy = self.shared.copy_partition(partition, |bytes| pace.after(bytes), at_end);
            match copy {
                Ok(pieces) => {
                    begun.map_err(|error| error.to_string())?;
                    for piece in pieces {
                        writer.chunk(&piece).map_err(|error| error.to_string())?;
                    }
                    return writer.end_partition().map_err(|error| error.to_string());
                }
                Err(NoCopy::NotHeld) => return Ok(()),
                Err(NoCopy::NotNow) if self.now().since(began) < PARTITION_PATIENCE => {
                    std::thread::sleep(PARTITION_PAUSE);
                }
                Err(NoCopy::NotNow) => {
                    return Err(format!("partition {partition} has been syncing for {PARTITION_PATIENCE:?}"));
                }
            }
        }
    }
}

/// Keeps a save from reading faster than `save-bytes-per-second`.
struct Pace {
    directives: Arc<Directives>,
    clock: Clock,
    began: Mono,
    bytes: u64,
}

impl Pace {
    fn new(directives: Arc<Directives>, clock: Clock) -> Pace {
        let began = clock.mono();
        Pace { directives, clock, began, bytes: 0 }
    }

    /// Waits until so many more bytes may have been read.
    fn after(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let rate = self.directives.save_bytes_per_second() as f64;
        let due = Duration::from_secs_f64(self.bytes as f64 / rate);
        std::thread::sleep(due.saturating_sub(self.clock.mono().since(self.began)));
    }
}
