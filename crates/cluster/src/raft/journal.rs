//! The Raft log, vote and snapshot: a mirror in memory of a list of records on disk.
//!
//! Every change is a [`Record`] that is durable before the mirror shows it, and recovery is replaying the records into
//! an empty mirror: one function, [`Mirror::apply`], does both. The group's whole state is small (the map plus a
//! thousand commands), so it is all kept in memory, and compaction writes the mirror out anew.
//!
//! The committed index is not worth a sync of its own; it rides along with the next write. After a restart the map may
//! therefore lag a little until the leader is heard: nothing is served by it before a lease that names its version.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{Entry, LogId, OptionalSend, RaftLogReader, SnapshotMeta, StorageError, StorageIOError, Vote};
use serde::{Deserialize, Serialize};

use super::disk::LogDisk;
use super::types::{RaftNode, StartError, TypeConfig};
use crate::map::ClusterMap;

/// Bytes written since the last compaction that cause the next; compaction after a snapshot usually comes first.
const COMPACT_BYTES: usize = 4 * 1024 * 1024;

/// A snapshot as it is kept: the map after `meta.last_log_id`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredSnapshot {
    pub(super) meta: SnapshotMeta<u64, RaftNode>,
    pub(super) map: ClusterMap,
}

/// One record on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// Whose log this is: always the first.
    Node(u64),
    /// The vote.
    Vote(Vote<u64>),
    /// A log entry, following the one before it.
    Entry(Entry<TypeConfig>),
    /// Entries from this index on are void.
    Truncate(u64),
    /// Entries up to this one are dropped, being part of a snapshot.
    Purge(LogId<u64>),
    /// Everything up to this entry is committed.
    Committed(LogId<u64>),
    /// A snapshot; replaces the one before it.
    Snapshot(Box<StoredSnapshot>),
}

/// What the records amount to.
#[derive(Default)]
struct Mirror {
    node: Option<u64>,
    vote: Option<Vote<u64>>,
    entries: BTreeMap<u64, Entry<TypeConfig>>,
    purged: Option<LogId<u64>>,
    committed: Option<LogId<u64>>,
    snapshot: Option<StoredSnapshot>,
    /// Committed index that is not on disk yet.
    committed_unwritten: Option<LogId<u64>>,
    /// Bytes appended since the last compaction.
    appended: usize,
}

impl Mirror {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Node(node) => self.node = Some(node),
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Entry(entry) => {
                self.entries.insert(entry.log_id.index, entry);
            }
            Record::Truncate(from) => {
                self.entries.split_off(&from);
            }
            Record::Purge(log_id) => {
                self.entries = self.entries.split_off(&(log_id.index + 1));
                self.purged = Some(log_id);
            }
            Record::Committed(log_id) => self.committed = Some(log_id),
            Record::Snapshot(snapshot) => self.snapshot = Some(*snapshot),
        }
    }

    /// The fewest records that amount to the same.
    fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::with_capacity(self.entries.len() + 5);
        records.extend(self.node.map(Record::Node));
        records.extend(self.vote.map(Record::Vote));
        records.extend(self.purged.map(Record::Purge));
        records.extend(self.snapshot.clone().map(|snapshot| Record::Snapshot(Box::new(snapshot))));
        records.extend(self.entries.values().cloned().map(Record::Entry));
        records.extend(self.committed.map(Record::Committed));
        records
    }
}

/// The journal: shared by the log, its readers and the state machine.
pub(super) struct Journal {
    disk: Arc<dyn LogDisk>,
    mirror: Mutex<Mirror>,
    /// Held for the whole of a write, so that writes reach disk and mirror in the same order.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Journal {
    /// Replays the disk. A disk that is empty becomes `node`'s.
    pub(super) fn open(disk: Arc<dyn LogDisk>, node: u64) -> Result<Arc<Journal>, StartError> {
        let mut mirror = Mirror::default();
        for (index, bytes) in disk.load().map_err(StartError::Disk)?.iter().enumerate() {
            let record = serde_json::from_slice(bytes).map_err(|error| {
                let reason = format!("record {index} of the raft log is unreadable: {error}");
                StartError::Disk(io::Error::new(io::ErrorKind::InvalidData, reason))
            })?;
            mirror.apply(record);
        }
        match mirror.node {
            Some(found) if found != node => {
                let (found, expected) = (stdx::NodeId(found), stdx::NodeId(node));
                return Err(StartError::ForeignDisk { found, expected });
            }
            Some(_) => {}
            None => {
                let record = Record::Node(node);
                disk.append(&[encode(&record)]).map_err(StartError::Disk)?;
                mirror.apply(record);
            }
        }
        Ok(Arc::new(Journal { disk, mirror: Mutex::new(mirror), writing: Arc::default() }))
    }

    /// The current snapshot.
    pub(super) fn snapshot(&self) -> Option<StoredSnapshot> {
        self.lock().snapshot.clone()
    }

    /// Makes `snapshot` the current one, durably.
    pub(super) async fn save_snapshot(self: &Arc<Self>, snapshot: StoredSnapshot) -> io::Result<()> {
        self.write(vec![Record::Snapshot(Box::new(snapshot))], false).await
    }

    fn lock(&self) -> MutexGuard<'_, Mirror> {
        // Nothing below panics while it holds the lock half-way through a change.
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes on a thread that may block. The write finishes, and keeps its place in the order, even if the caller is
    /// dropped meanwhile.
    async fn write(self: &Arc<Self>, records: Vec<Record>, compacts: bool) -> io::Result<()> {
        let turn = Arc::clone(&self.writing).lock_owned().await;
        let journal = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let written = journal.write_now(records, compacts);
            drop(turn);
            written
        });
        task.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn write_now(&self, mut records: Vec<Record>, compacts: bool) -> io::Result<()> {
        if let Some(committed) = self.lock().committed_unwritten.take() {
            records.push(Record::Committed(committed));
        }
        let encoded: Vec<Vec<u8>> = records.iter().map(encode).collect();
        let bytes: usize = encoded.iter().map(Vec::len).sum();
        let is_grown = self.lock().appended + bytes > COMPACT_BYTES;
        if compacts || is_grown {
            let whole: Vec<Vec<u8>> = {
                let mut mirror = self.lock();
                records.into_iter().for_each(|record| mirror.apply(record));
                mirror.appended = 0;
                mirror.records().iter().map(encode).collect()
            };
            return self.disk.replace(&whole);
        }
        self.disk.append(&encoded)?;
        let mut mirror = self.lock();
        records.into_iter().for_each(|record| mirror.apply(record));
        mirror.appended += bytes;
        Ok(())
    }
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have string keys and finite numbers only")
}

impl RaftLogReader<TypeConfig> for Arc<Journal> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError<u64>> {
        Ok(self.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<TypeConfig> for Arc<Journal> {
    type LogReader = Arc<Journal>;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<u64>> {
        let mirror = self.lock();
        let last = mirror.entries.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: mirror.purged, last_log_id: last.or(mirror.purged) })
    }

    async fn get_log_reader(&mut self) -> Arc<Journal> {
        Arc::clone(self)
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let written = self.write(vec![Record::Vote(*vote)], false).await;
        written.map_err(|error| StorageIOError::write_vote(&error).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.lock().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), StorageError<u64>> {
        self.lock().committed_unwritten = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, StorageError<u64>> {
        Ok(self.lock().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(Record::Entry).collect();
        let written = self.write(records, false).await;
        let answer = match &written {
            Ok(()) => Ok(()),
            Err(error) => Err(StorageIOError::write_logs(error).into()),
        };
        callback.log_io_completed(written);
        answer
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let written = self.write(vec![Record::Truncate(log_id.index)], false).await;
        written.map_err(|error| StorageIOError::write_logs(&error).into())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let written = self.write(vec![Record::Purge(log_id)], true).await;
        written.map_err(|error| StorageIOError::write_logs(&error).into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::MemoryDisk;
    use super::*;
    use crate::map::MapCommand;
    use openraft::{CommittedLeaderId, EntryPayload};

    fn entry(index: u64) -> Entry<TypeConfig> {
        let log_id = LogId::new(CommittedLeaderId::new(3, 1), index);
        let command = MapCommand::Leave { node: stdx::NodeId(index) };
        Entry { log_id, payload: EntryPayload::Normal(command) }
    }

    async fn indexes(journal: &mut Arc<Journal>) -> Vec<u64> {
        let entries = journal.try_get_log_entries(..).await.expect("memory");
        entries.iter().map(|entry| entry.log_id.index).collect()
    }

    #[tokio::test]
    async fn what_is_written_is_there_after_a_restart() {
        let disk = Arc::new(MemoryDisk::new());
        let mut journal = Journal::open(disk.clone(), 7).expect("an empty disk");
        journal.save_vote(&Vote::new(3, 1)).await.expect("written");
        journal.write((1..=9).map(|i| Record::Entry(entry(i))).collect(), false).await.expect("written");
        journal.save_committed(Some(entry(5).log_id)).await.expect("remembered");
        journal.truncate(entry(8).log_id).await.expect("written");
        assert_eq!(disk.load().expect("memory").len(), 1 + 1 + 9 + 2);
        journal.purge(entry(3).log_id).await.expect("written");
        assert_eq!(disk.load().expect("memory").len(), 1 + 1 + 1 + 4 + 1, "purging compacts");
        journal.write(vec![Record::Entry(entry(8))], false).await.expect("written");

        let mut again = Journal::open(disk.clone(), 7).expect("the same node");
        assert_eq!(indexes(&mut again).await, [4, 5, 6, 7, 8]);
        assert_eq!(again.read_vote().await.expect("memory"), Some(Vote::new(3, 1)));
        assert_eq!(again.read_committed().await.expect("memory"), Some(entry(5).log_id));
        let state = again.get_log_state().await.expect("memory");
        assert_eq!(
            (state.last_purged_log_id, state.last_log_id),
            (Some(entry(3).log_id), Some(entry(8).log_id))
        );
        assert!(matches!(Journal::open(disk.clone(), 8), Err(StartError::ForeignDisk { .. })));
        disk.append(&[b"{".to_vec()]).expect("memory");
        assert!(matches!(Journal::open(disk, 7), Err(StartError::Disk(_))));
    }

    #[tokio::test]
    async fn many_small_writes_are_compacted() {
        let disk = Arc::new(MemoryDisk::new());
        let mut journal = Journal::open(disk.clone(), 7).expect("an empty disk");
        journal.lock().appended = COMPACT_BYTES - 100;
        for term in 0..10 {
            journal.save_vote(&Vote::new(term, 1)).await.expect("written");
        }
        assert!(disk.load().expect("memory").len() < 1 + 10);
        let mut again = Journal::open(disk, 7).expect("the same node");
        assert_eq!(again.read_vote().await.expect("memory"), Some(Vote::new(9, 1)));
    }
}
