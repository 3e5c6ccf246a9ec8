//! The node's journal: what partitions give goes to the append-only log, and a thread of its own writes that.

use node::{Journal, Shared};
use parking_lot::Mutex;
use persistence::{AppendError, Appender, BUFFER_BYTES_MAX, BackgroundSync, Flusher, Position, SyncPolicy};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::Thread;
use std::time::Duration;
use stdx::{Epoch, PartitionId, Seq};

use super::state::PartitionState;

/// How long written bytes wait in memory at most, unless every write is awaited: what a crash of the process may lose.
const WRITE_PERIOD: Duration = Duration::from_millis(5);
/// How often the writer looks around when there is nothing to write.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// How long a thread waits between looks when the disk does not keep up.
const CONGESTION_PERIOD: Duration = Duration::from_micros(200);

/// Hands the node's effects to the log.
pub(crate) struct LogJournal {
    appender: Appender,
    policy: SyncPolicy,
    /// The cluster and its number of partitions.
    cluster: Mutex<(u64, u16)>,
    /// Records given so far.
    records: AtomicU64,
    /// The thread that writes, and whether it sleeps until it is called.
    writer: OnceLock<Thread>,
    writer_sleeps: AtomicBool,
    stopping: AtomicBool,
    /// The first frame that the log has refused, and why.
    refused: OnceLock<String>,
}

impl LogJournal {
    pub(crate) fn new(appender: Appender, policy: SyncPolicy) -> LogJournal {
        LogJournal {
            appender,
            policy,
            cluster: Mutex::new((0, 0)),
            records: AtomicU64::new(0),
            writer: OnceLock::new(),
            writer_sleeps: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            refused: OnceLock::new(),
        }
    }

    pub(crate) fn appender(&self) -> &Appender {
        &self.appender
    }

    /// Why nothing can be kept any more.
    pub(crate) fn failure(&self) -> Option<String> {
        let failed = self.appender.failure().map(|failure| failure.to_string());
        failed.or_else(|| self.refused.get().cloned())
    }

    /// Records given since the start.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Bytes given to the log since the start.
    pub(crate) fn position_bytes(&self) -> u64 {
        self.appender.appended().map_or(0, |position| position.0)
    }

    /// What recovery is to be told of a partition.
    pub(crate) fn state(&self, born: Epoch) -> Vec<u8> {
        let (cluster_id, partitions) = *self.cluster.lock();
        PartitionState { cluster_id, partitions, born }.encode()
    }

    /// Ends [`LogJournal::write`] once everything is written and synced.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.call_writer();
    }

    fn call_writer(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Writes and syncs what comes, until [`LogJournal::stop`]; on a thread of its own.
    ///
    /// # Errors
    /// When the log has failed: nothing that was not durable by then ever will be. Or when it has refused a frame: what it
    /// holds is not what was acknowledged.
    pub(crate) fn write(&self, flusher: &Mutex<Flusher>, shared: &Shared) -> Result<(), String> {
        self.writer.get_or_init(std::thread::current);
        std::thread::scope(|scope| {
            let (to_sync, syncs) = mpsc::channel();
            if self.policy == SyncPolicy::EverySecond {
                let syncer = std::thread::Builder::new().name("aof-sync".into());
                syncer
                    .spawn_scoped(scope, || self.sync(flusher, syncs))
                    .map_err(|error| format!("a thread for the append-only log: {error}"))?;
            }
            self.write_all(flusher, shared, &to_sync)
        })
    }

    /// Runs syncs beside the writer, which a slow disk would otherwise keep from writing.
    fn sync(&self, flusher: &Mutex<Flusher>, syncs: mpsc::Receiver<BackgroundSync>) {
        for sync in syncs {
            let synced = sync.run().and_then(|synced| flusher.lock().synced(synced));
            // The writer tells how far the log is durable; if it has failed, it meets that at its next turn, and reports it.
            drop(synced);
            self.call_writer();
        }
    }

    fn write_all(
        &self,
        flusher: &Mutex<Flusher>,
        shared: &Shared,
        to_sync: &mpsc::Sender<BackgroundSync>,
    ) -> Result<(), String> {
        let text = |failure: persistence::Failure| failure.to_string();
        let mut told = Position(0);
        loop {
            let stopping = self.stopping.load(Ordering::SeqCst);
            if let Some(refused) = self.refused.get() {
                return Err(refused.clone());
            }
            let turn = flusher.lock().turn(self.policy, shared.clock().mono()).map_err(text)?;
            if let Some(sync) = turn.sync {
                to_sync.send(sync).map_err(|_| "the thread that syncs the append-only log has ended")?;
            }
            if turn.durable > told {
                told = turn.durable;
                shared.journal_is_durable(told.0);
            }
            if turn.idle {
                if stopping {
                    return flusher.lock().sync().map(drop).map_err(text);
                }
                self.sleep(turn.written);
            } else if !self.confirms() {
                std::thread::park_timeout(WRITE_PERIOD);
            }
        }
    }

    /// Sleeps until there is something to write. Whoever appends calls the thread if it sleeps.
    fn sleep(&self, written: Position) {
        self.writer_sleeps.store(true, Ordering::SeqCst);
        let more = self.appender.appended().is_ok_and(|appended| appended > written);
        if !more && !self.stopping.load(Ordering::SeqCst) {
            // Also looks again by itself: syncs may be due.
            std::thread::park_timeout(LOOK_PERIOD);
        }
        self.writer_sleeps.store(false, Ordering::SeqCst);
    }

    /// Something was appended up to `position`: the writer is called, and if it is far behind, this thread waits for it.
    fn appended(&self, position: Position) {
        if self.writer_sleeps.load(Ordering::Relaxed) && self.writer_sleeps.swap(false, Ordering::SeqCst) {
            self.call_writer();
        }
        while position.0.saturating_sub(self.appender.written().0) > BUFFER_BYTES_MAX as u64
            && self.appender.failure().is_none()
        {
            std::thread::sleep(CONGESTION_PERIOD);
        }
    }

    /// A frame that the log refused is a mistake of this program, or the log has failed, which the writer reports.
    fn noted(&self, partition: PartitionId, outcome: Result<Position, AppendError>) -> u64 {
        match outcome {
            Ok(position) => {
                self.appended(position);
                position.0
            }
            Err(AppendError::Failed(_)) => u64::MAX,
            Err(error) => {
                debug_assert!(false, "{partition}: {error}");
                self.refused.get_or_init(|| format!("the append-only log refuses a frame: {error}"));
                u64::MAX
            }
        }
    }
}

impl Journal for LogJournal {
    fn cluster(&self, cluster_id: u64, partitions: u16) {
        *self.cluster.lock() = (cluster_id, partitions);
    }

    fn emptied(&self, partition: PartitionId, born: Epoch, at: Seq) {
        self.noted(partition, self.appender.emptied(partition, at, &self.state(born)));
    }

    fn copy_begun(&self, partition: PartitionId, born: Epoch, at: Seq) {
        self.noted(partition, self.appender.copy_begun(partition, at, &self.state(born)));
    }

    fn copy_piece(&self, partition: PartitionId, effects: &[u8]) {
        self.noted(partition, self.appender.copy_chunk(partition, effects));
    }

    fn copy_ended(&self, partition: PartitionId) {
        self.noted(partition, self.appender.copy_ended(partition));
    }

    fn dropped(&self, partition: PartitionId) {
        self.noted(partition, self.appender.dropped(partition));
    }

    fn record(&self, partition: PartitionId, seq: Seq, effects: &[u8]) -> u64 {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.noted(partition, self.appender.append(partition, seq, effects))
    }

    fn position(&self) -> u64 {
        self.appender.appended().map_or(u64::MAX, |position| position.0)
    }

    fn confirms(&self) -> bool {
        self.policy == SyncPolicy::Always
    }
}
