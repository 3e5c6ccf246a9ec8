//! What a node keeps on its disk: an append-only log of everything that changes, and snapshots that replace it.
//!
//! ```text
//! start:   directory --Plan--> loaders --> partitions          clients are told LOADING
//! running: partitions --LogJournal--> buffer --aof-writer--> log        (a sync releases replies: appendfsync always)
//!          partitions --copy, piece by piece--> aof-saver --> snapshot  (by request, by `save`, by the log's growth)
//! ```
//!
//! The files are the `persistence` crate's, and so is what may be done with them after a crash. Here are the threads, the
//! directives, and what the cluster is told. Decided in docs/design/0009 (files) and 0008 (journal and cluster).

pub(crate) mod extract;
mod journal;
mod load;
mod saver;
mod state;

use commands::host::SaveError;
use commands::info::{LoadingInfo, LogInfo, PersistenceInfo};
use node::Shared;
use parking_lot::Mutex;
use persistence::{Options, Plan, Progress, RealDisk, RecoveryError, SyncPolicy};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use stdx::random::entropy_u64;
use stdx::{Epoch, PartitionId, Wall};

use crate::config::{Config, Directives, Fsync};
use journal::LogJournal;
use saver::Saver;

/// A segment of the log that is longer is ended.
const SEGMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Snapshots kept: an older one would need the log since then.
const SNAPSHOTS_KEPT: usize = 1;

/// Places of damage that are logged one by one.
const DAMAGE_LOGGED_MAX: usize = 16;

type AnyError = Box<dyn Error + Send + Sync>;

/// Called once, with the reason, when nothing can be kept any more.
pub(crate) type OnFailure = Box<dyn Fn(&str) + Send + Sync>;

/// What to do about a damaged directory.
fn advice(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "`hypercache check {dir}` shows all damage, and `hypercache check {dir} --extract FILE` saves what is sound"
    )
}

fn unreadable(dir: &Path, error: &RecoveryError) -> String {
    match error {
        RecoveryError::Damage(damage) => format!("{}: {damage}. {}", dir.display(), advice(dir)),
        RecoveryError::Io(error) => format!("{}: {error}", dir.display()),
    }
}

/// The persistence of one process.
pub struct Persistence {
    dir: PathBuf,
    policy: SyncPolicy,
    compress: bool,
    threads: usize,
    shared: Arc<Shared>,
    directives: Arc<Directives>,
    progress: Arc<Progress>,
    loading_since: Mutex<Option<Wall>>,
    keys_loaded: AtomicU64,
    running: OnceLock<Running>,
    on_failure: OnceLock<OnFailure>,
}

/// What there is once everything is loaded.
struct Running {
    journal: Arc<LogJournal>,
    saver: Arc<Saver>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Persistence {
    /// The persistence that `config` asks for; `None` if it asks for none.
    pub fn new(config: &Config, shared: &Arc<Shared>) -> Option<Arc<Persistence>> {
        config.appendonly.then(|| {
            Arc::new(Persistence {
                dir: config.dir.join(&config.appenddirname),
                policy: match config.appendfsync {
                    Fsync::Always => SyncPolicy::Always,
                    Fsync::EverySecond => SyncPolicy::EverySecond,
                    Fsync::No => SyncPolicy::Never,
                },
                compress: config.directives.rdbcompression(),
                threads: config.io_threads,
                shared: Arc::clone(shared),
                directives: Arc::clone(&config.directives),
                progress: Arc::default(),
                loading_since: Mutex::new(None),
                keys_loaded: AtomicU64::new(0),
                running: OnceLock::new(),
                on_failure: OnceLock::new(),
            })
        })
    }

    /// Loads what the directory holds into the partitions, then keeps everything that changes. To be called before the node
    /// joins its cluster; clients are refused with LOADING meanwhile. The partitions that are whole, each with the epoch
    /// in which its life began.
    ///
    /// # Errors
    /// If the directory cannot be used, or if it is damaged and the node `is_alone`, so that no replica can help.
    pub fn start(self: &Arc<Self>, is_alone: bool) -> Result<Vec<(PartitionId, Epoch)>, AnyError> {
        *self.loading_since.lock() = Some(self.shared.clock().wall());
        self.shared.set_loading(true);
        std::fs::create_dir_all(&self.dir).map_err(|error| format!("{}: {error}", self.dir.display()))?;
        let disk = RealDisk::open(&self.dir).map_err(|error| format!("{}: {error}", self.dir.display()))?;
        let plan = Plan::read(Arc::new(disk), Arc::clone(&self.progress))
            .map_err(|error| unreadable(&self.dir, &error))?;
        if let Some(tail) = plan.tail() {
            tracing::warn!(
                file = tail.file,
                at = tail.offset,
                bytes = tail.bytes,
                "the log's torn end is cut"
            );
        }
        for damage in plan.damage().iter().take(DAMAGE_LOGGED_MAX) {
            tracing::error!(%damage, "`hypercache check {}` shows all damage", self.dir.display());
        }
        let loaded = load::load(&plan, &self.shared, &self.dir, (self.threads, is_alone))?;
        self.keys_loaded.store(self.shared.keys_held(), Ordering::Relaxed);
        let options = Options {
            segment_bytes_max: SEGMENT_BYTES_MAX,
            snapshots_kept: SNAPSHOTS_KEPT,
            compress: self.compress,
            new_log_id: entropy_u64(),
        };
        let log = plan.begin(&loaded.lost, options).map_err(|error| error.to_string())?;
        self.run(log, loaded.effect_bytes)?;
        *self.loading_since.lock() = None;
        self.shared.set_loading(false);
        Ok(loaded.whole)
    }

    /// Bytes loaded so far, and how many there are.
    pub(crate) fn loaded_bytes(&self) -> (u64, u64) {
        self.progress.bytes()
    }

    /// Starts the threads that write and save.
    fn run(self: &Arc<Self>, log: persistence::Log, base_bytes: u64) -> Result<(), AnyError> {
        let persistence::Log { appender, flusher, snapshots } = log;
        let journal = Arc::new(LogJournal::new(appender, self.policy));
        let flusher = Arc::new(Mutex::new(flusher));
        let saver = Arc::new(Saver::new(
            Arc::clone(&self.shared),
            Arc::clone(&journal),
            Arc::clone(&flusher),
            Arc::clone(&self.directives),
            base_bytes,
        ));
        self.shared.set_journal(Arc::clone(&journal) as Arc<dyn node::Journal>);
        let writer = {
            let (persistence, journal, flusher) =
                (Arc::clone(self), Arc::clone(&journal), Arc::clone(&flusher));
            std::thread::Builder::new().name("aof-writer".into()).spawn(move || {
                if let Err(failure) = journal.write(&flusher, &persistence.shared) {
                    persistence.fail(&failure);
                }
            })?
        };
        let saving = {
            let saver = Arc::clone(&saver);
            std::thread::Builder::new().name("aof-saver".into()).spawn(move || saver.run(snapshots))?
        };
        let threads = Mutex::new(vec![saving, writer]);
        if self.running.set(Running { journal, saver, threads }).is_err() {
            return Err("persistence was started twice".into());
        }
        Ok(())
    }

    /// Says whom to tell when nothing can be kept any more.
    pub(crate) fn on_failure(&self, tell: OnFailure) {
        if self.on_failure.set(tell).is_err() {
            tracing::error!("a second listener to failures of the log");
        }
        if let Some(failure) = self.failure() {
            self.fail(&failure);
        }
    }

    /// Why nothing can be kept any more.
    pub fn failure(&self) -> Option<String> {
        self.running.get()?.journal.failure()
    }

    fn fail(&self, reason: &str) {
        tracing::error!("{reason}: this node serves no more until it is restarted");
        self.shared.fence();
        if let Some(tell) = self.on_failure.get() {
            tell(reason);
        }
    }

    /// Saves all data, in the background unless `wait` is set.
    pub(crate) fn save(&self, wait: bool) -> Result<(), SaveError> {
        match self.running.get() {
            Some(running) => running.saver.request(wait),
            None => Err(SaveError::Failed("the data is still being loaded".to_owned())),
        }
    }

    /// Writes and syncs everything and ends the threads. Nothing may change any more.
    pub fn stop(&self) {
        let Some(running) = self.running.get() else { return };
        running.saver.stop();
        running.journal.stop();
        for thread in std::mem::take(&mut *running.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("a thread of the append-only log panicked");
            }
        }
    }

    /// What INFO tells.
    pub(crate) fn complete_info(&self, info: &mut PersistenceInfo) {
        info.loading = self.loading_since.lock().map(|started| {
            let (loaded_bytes, total_bytes) = self.progress.bytes();
            LoadingInfo { started, total_bytes, loaded_bytes }
        });
        info.keys_loaded = self.keys_loaded.load(Ordering::Relaxed);
        let Some(running) = self.running.get() else { return };
        (info.saving, info.last_save) = running.saver.info();
        let (bytes, base_bytes) = running.saver.log_bytes();
        info.log = Some(LogInfo {
            bytes,
            base_bytes,
            buffered_bytes: running.journal.appender().waiting_bytes().unwrap_or(0) as u64,
            failure: self.failure(),
        });
    }
}
