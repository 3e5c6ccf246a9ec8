//! Where a node's effects are kept across its restarts, as the partitions see it.
//!
//! Every change of a partition goes to the journal under the partition's lock, so the journal has them in their order. What
//! a restart finds of a partition is what came since it was last emptied or copied. A node without a journal keeps nothing.

use crate::partition::State;
use crate::shared::Shared;
use crate::target::{Key, Mail};
use parking_lot::Mutex;
use replication::Message;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use stdx::{Epoch, PartitionId, Seq};

/// Takes what has to be kept. Calls are brief and never wait for a disk.
pub trait Journal: Send + Sync {
    /// The partitions are those of this cluster, which has so many: called first.
    fn cluster(&self, cluster_id: u64, partitions: u16);
    /// The partition begins empty after `at`, in the life that began in `born`; what the journal has of it is void.
    fn emptied(&self, partition: PartitionId, born: Epoch, at: Seq);
    /// A copy of the partition as it was after `at` comes in pieces; what the journal has of it is void. Until
    /// [`Journal::copy_ended`] there is no whole copy. Records after `at` come in between.
    fn copy_begun(&self, partition: PartitionId, born: Epoch, at: Seq);
    /// A piece of the copy: effects.
    fn copy_piece(&self, partition: PartitionId, effects: &[u8]);
    /// The copy is whole.
    fn copy_ended(&self, partition: PartitionId);
    /// This node holds the partition no longer; what the journal has of it is void.
    fn dropped(&self, partition: PartitionId);
    /// A record that was written or applied. The position behind it, for [`Shared::journal_is_durable`].
    fn record(&self, partition: PartitionId, seq: Seq, effects: &[u8]) -> u64;
    /// The position behind all that was given so far.
    fn position(&self) -> u64;
    /// Whether nobody may be told of a record before it is durable (`appendfsync always`).
    fn confirms(&self) -> bool;
}

/// An answer to a primary that may leave once the journal is durable up to a position.
pub(crate) struct HeldAnswer {
    pub(crate) position: u64,
    pub(crate) worker: usize,
    pub(crate) link: Key,
    pub(crate) partition: PartitionId,
    pub(crate) answer: Message<'static>,
}

/// A partition's line to the journal.
pub(crate) struct Kept {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) partition: PartitionId,
    /// Bytes of records that its primary keeps for followers that come back after a restart.
    pub(crate) backlog_bytes: usize,
    awaiting: Arc<Awaiting>,
}

/// Partitions that await something from the disk: those to be told when it is durable.
#[derive(Default)]
pub(crate) struct Awaiting(Mutex<Vec<PartitionId>>);

/// Those bytes of all partitions together, like Redis's `repl-backlog-size`. Only a node with a journal
/// and with others in its cluster keeps any: its records are encoded anyway.
const BACKLOG_BYTES_ALL: usize = 8 * 1024 * 1024;

impl Kept {
    /// The line of one of so many partitions.
    pub(crate) fn new(
        journal: &Arc<dyn Journal>,
        awaiting: &Arc<Awaiting>,
        partition: PartitionId,
        partitions: u16,
    ) -> Kept {
        let backlog_bytes = BACKLOG_BYTES_ALL / usize::from(partitions).max(1);
        let (journal, awaiting) = (Arc::clone(journal), Arc::clone(awaiting));
        Kept { journal, partition, backlog_bytes, awaiting }
    }

    /// The partition awaits something, and did not before.
    pub(crate) fn awaits(&self) {
        self.awaiting.0.lock().push(self.partition);
    }
}

/// A copy that is being made. It is taken piece by piece while commands run; what they write meanwhile goes between the
/// pieces, so that all of it, applied in order, is the partition as it was at the end.
#[derive(Default)]
pub(crate) struct Copying {
    pub(crate) written: Vec<u8>,
}

/// Why there is no copy of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoCopy {
    /// This node holds nothing of it.
    NotHeld,
    /// It is being synced from its primary, or changed roles meanwhile: worth another try.
    NotNow,
}

impl Shared {
    /// Gives everything that changes from now on to `journal`. To be called before the first map is applied.
    pub fn set_journal(&self, journal: Arc<dyn Journal>) {
        let cells = self.cells();
        if cells.len() > 0 {
            journal.cluster(self.cluster_of_cells(), cells.len());
        }
        for cell in cells.iter() {
            cell.state.lock().kept = Some(Kept::new(&journal, &self.awaiting, cell.id, cells.len()));
        }
        *self.journal.write() = Some(journal);
    }

    /// The journal is durable up to `position`: whoever waits for that goes on.
    pub fn journal_is_durable(&self, position: u64) {
        let mut released = Vec::new();
        let awaiting = std::mem::take(&mut *self.awaiting.0.lock());
        let cells = self.cells();
        for cell in awaiting.into_iter().filter_map(|partition| cells.get(partition)) {
            cell.state.lock().durable(position, &mut released);
        }
        self.release(released);
        self.durable_up_to.fetch_max(position, Ordering::AcqRel);
        let mut held = self.held_answers.lock();
        let ready = held.partition_point(|held| held.position <= position);
        let ready: Vec<HeldAnswer> = held.drain(..ready).collect();
        drop(held);
        for HeldAnswer { worker, link, partition, answer, .. } in ready {
            self.post(worker, Mail::Answer { link, partition, answer });
        }
    }

    /// Keeps an answer until the journal is durable up to its position.
    pub(crate) fn hold_answer(&self, answer: HeldAnswer) {
        let mut held = self.held_answers.lock();
        if held.is_empty() && self.durable_up_to.load(Ordering::Acquire) >= answer.position {
            drop(held);
            let HeldAnswer { worker, link, partition, answer, .. } = answer;
            return self.post(worker, Mail::Answer { link, partition, answer });
        }
        // Workers may come here in another order than that of their positions.
        let at = held.partition_point(|other| other.position <= answer.position);
        held.insert(at, answer);
    }

    /// Before the first map: makes the partitions of a cluster, so that what was kept of them can be restored.
    pub fn restore_cluster(&self, cluster_id: u64, partitions: u16) {
        self.make_cells(cluster_id, partitions);
    }

    /// Before the first map: applies effects that were kept of a partition; false if they are corrupt.
    pub fn restore(&self, partition: PartitionId, effects: &[u8]) -> bool {
        let cells = self.cells();
        let Some(cell) = cells.get(partition) else { return false };
        let mut state = cell.state.lock();
        let applied = state.apply_all(effects, self.clock.wall());
        let garbage = state.store.take_garbage();
        drop(state);
        self.free(garbage);
        applied
    }

    /// Before the first map: effects of a partition will be restored soon. Brings the place of the first key closer.
    pub fn restore_soon(&self, partition: PartitionId, effects: &[u8]) {
        let cells = self.cells();
        if let Some(cell) = cells.get(partition)
            && let Some(Ok(effect)) = effect::decode(effects).next()
            && let Some(key) = effect.key()
        {
            let state = cell.state.lock();
            state.store.prefetch_place(effect.db(), state.store.hash(key));
        }
    }

    /// Before the first map: forgets what was restored of a partition.
    pub fn restore_nothing(&self, partition: PartitionId) {
        if let Some(cell) = self.cells().get(partition) {
            let mut state = cell.state.lock();
            state.store.clear();
            let garbage = state.store.take_garbage();
            drop(state);
            self.free(garbage);
        }
    }

    /// Before the first map: the partition is restored as it was after `at`, in the life that began in `born`.
    pub fn restored(&self, partition: PartitionId, born: Epoch, at: Seq) {
        if let Some(cell) = self.cells().get(partition) {
            cell.state.lock().restored(born, at);
        }
    }

    /// A copy of a partition, made while it is served: pieces of effects that make it when applied in their order. Holds the
    /// partition's lock for one piece at a time and calls `between` without it after each, for a pause. `at_end` is called
    /// under the lock in the moment as of which the copy has the partition, with the epoch in which its life began.
    ///
    /// # Errors
    /// When this node has no whole copy itself, or loses it meanwhile.
    pub fn copy_partition(
        &self,
        partition: PartitionId,
        mut between: impl FnMut(usize),
        at_end: impl FnOnce(Epoch),
    ) -> Result<Vec<Vec<u8>>, NoCopy> {
        let cells = self.cells();
        let cell = cells.get(partition).ok_or(NoCopy::NotHeld)?;
        let mut pieces = Vec::new();
        let mut cursor = None;
        cell.state.lock().begin_copy()?;
        loop {
            let mut state = cell.state.lock();
            let before = pieces.len();
            let next = state.copy_on(cursor, &mut pieces).ok_or(NoCopy::NotNow)?;
            if next.is_none() {
                at_end(state.end_copy());
                return Ok(pieces);
            }
            drop(state);
            cursor = next;
            between(pieces[before..].iter().map(Vec::len).sum());
        }
    }
}

impl State {
    /// Starts to note what is written, for a copy.
    fn begin_copy(&mut self) -> Result<(), NoCopy> {
        match self.is_whole() {
            None => Err(NoCopy::NotHeld),
            Some(false) => Err(NoCopy::NotNow),
            Some(true) => {
                self.copying = Some(Copying::default());
                Ok(())
            }
        }
    }

    /// Adds what was written since the piece before, and the next piece. `None` if the copy was given up; else where the
    /// next piece starts, if there is one.
    fn copy_on(&mut self, cursor: Option<(u8, u64)>, pieces: &mut Vec<Vec<u8>>) -> Option<Option<(u8, u64)>> {
        let written = std::mem::take(&mut self.copying.as_mut()?.written);
        let (piece, next) = self.piece(cursor);
        pieces.extend([written, piece].into_iter().filter(|bytes| !bytes.is_empty()));
        Some(next)
    }

    /// The copy is complete: the life it belongs to.
    fn end_copy(&mut self) -> Epoch {
        self.copying = None;
        self.born()
    }
}
