//! The Raft state machine: applies committed commands to the map and publishes every new version.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{
    Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError,
    StorageIOError, StoredMembership,
};
use tokio::sync::watch;

use super::journal::{Journal, StoredSnapshot};
use super::types::{RaftNode, TypeConfig};
use crate::map::{Applied, ClusterMap};

/// The map as far as it has been applied.
pub(super) struct Machine {
    journal: Arc<Journal>,
    map: ClusterMap,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, RaftNode>,
    publish: watch::Sender<Arc<ClusterMap>>,
}

impl Machine {
    /// The machine as of the journal's snapshot, and where it publishes.
    pub(super) fn new(journal: Arc<Journal>) -> (Machine, watch::Receiver<Arc<ClusterMap>>) {
        let (map, applied, membership) = match journal.snapshot() {
            Some(StoredSnapshot { meta, map }) => (map, meta.last_log_id, meta.last_membership),
            None => Default::default(),
        };
        let (publish, published) = watch::channel(Arc::new(map.clone()));
        (Machine { journal, map, applied, membership, publish }, published)
    }

    fn publish(&self) {
        self.publish.send_replace(Arc::new(self.map.clone()));
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, RaftNode>), StorageError<u64>> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let before = self.map.version;
        let mut answers = Vec::new();
        for entry in entries {
            self.applied = Some(entry.log_id);
            answers.push(match entry.payload {
                EntryPayload::Normal(command) => self.map.apply(&command),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Applied { version: self.map.version, ..Applied::default() }
                }
                EntryPayload::Blank => Applied { version: self.map.version, ..Applied::default() },
            });
        }
        if self.map.version != before {
            self.publish();
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let index = self.applied.map_or(0, |log_id| log_id.index);
        let term = self.applied.map_or(0, |log_id| log_id.leader_id.term);
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: format!("{term}-{index}"),
        };
        Builder {
            journal: Arc::clone(&self.journal),
            snapshot: StoredSnapshot { meta, map: self.map.clone() },
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, RaftNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        let map: ClusterMap = serde_json::from_slice(snapshot.get_ref())
            .map_err(|error| StorageIOError::read_snapshot(Some(meta.signature()), &error))?;
        let stored = StoredSnapshot { meta: meta.clone(), map };
        let saved = self.journal.save_snapshot(stored.clone()).await;
        saved.map_err(|error| StorageIOError::write_snapshot(Some(meta.signature()), &error))?;
        self.map = stored.map;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError<u64>> {
        Ok(self.journal.snapshot().map(|snapshot| encode(&snapshot)))
    }
}

/// A snapshot in the making: the map as it was when it was asked for.
pub(super) struct Builder {
    journal: Arc<Journal>,
    snapshot: StoredSnapshot,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError<u64>> {
        let signature = self.snapshot.meta.signature();
        let saved = self.journal.save_snapshot(self.snapshot.clone()).await;
        saved.map_err(|error| StorageIOError::write_snapshot(Some(signature), &error))?;
        Ok(encode(&self.snapshot))
    }
}

fn encode(snapshot: &StoredSnapshot) -> Snapshot<TypeConfig> {
    let bytes = serde_json::to_vec(&snapshot.map).expect("the map has integer keys and finite numbers only");
    Snapshot { meta: snapshot.meta.clone(), snapshot: Box::new(Cursor::new(bytes)) }
}
