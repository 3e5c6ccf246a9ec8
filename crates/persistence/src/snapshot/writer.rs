//! Writes one snapshot, partition by partition, chunk by chunk.

use super::format::{Extent, SNAPSHOT_HEADER_BYTES, Table, encode_header};
use crate::disk::{AppendFile, Disk};
use crate::error::{IoError, SnapshotError};
use crate::frame::{Header, Kind, Seed, put_frame};
use crate::log::{Appender, Position};
use crate::names;
use stdx::{Epoch, PartitionId, Seq};

/// Bytes gathered before they are handed to the disk.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes handed to the disk before they are synced. Gigabytes of them, synced at the end, would keep the log's own syncs waiting.
const SYNC_BYTES: u64 = 8 * 1024 * 1024;
/// Shorter chunks are not worth compressing.
const COMPRESS_BYTES_MIN: usize = 128;
/// Most partitions of a snapshot.
const PARTITIONS_MAX: usize = 1 << 16;

/// A snapshot being written. Dropped without [`super::Snapshots::commit`] it counts for nothing, and its file goes
/// when the next one is begun.
pub struct SnapshotWriter {
    appender: Appender,
    seed: Seed,
    pub(super) number: u64,
    pub(super) first_segment: u64,
    /// The log's end when the snapshot was begun.
    pub(super) since: Position,
    name: String,
    file: Box<dyn AppendFile>,
    compress: bool,
    pending: Vec<u8>,
    /// Bytes of the file that are with the disk already.
    handed: u64,
    /// Bytes of it that are durable.
    synced: u64,
    table: Table,
    open: Option<Open>,
    /// The last mark of this snapshot in the log.
    marked: Position,
    raw_bytes: u64,
    finished: bool,
}

/// The partition being written.
#[derive(Clone, Copy)]
struct Open {
    partition: PartitionId,
    seq: Seq,
    start: u64,
    chunks: u64,
}

impl SnapshotWriter {
    /// Begins the file.
    pub(super) fn create(
        disk: &dyn Disk,
        appender: Appender,
        (log_id, number, first_segment): (u64, u64, u64),
        since: Position,
        compress: bool,
    ) -> Result<SnapshotWriter, IoError> {
        let name = names::snapshot(number);
        let file = disk.create(&name).map_err(IoError::of("creating", &name))?;
        let seed = Seed::of_snapshot(log_id, number);
        Ok(SnapshotWriter {
            appender,
            seed,
            number,
            first_segment,
            since,
            name,
            file,
            compress,
            pending: encode_header(seed, log_id, number, first_segment),
            handed: 0,
            synced: 0,
            table: Table::default(),
            open: None,
            marked: Position(0),
            raw_bytes: 0,
            finished: false,
        })
    }

    /// Begins a partition that is held: marks this very moment in the log and says as of which sequence the snapshot has
    /// the partition. To be called under the partition's lock; the chunks may follow at any pace, as long as they are the
    /// partition as of that sequence, or later than that if applying the records after it once more does no harm. `state` is
    /// what recovery is to tell about the partition.
    ///
    /// # Errors
    /// [`SnapshotError`]; the snapshot is to be dropped then.
    pub fn begin_partition(&mut self, partition: PartitionId, state: &[u8]) -> Result<Seq, SnapshotError> {
        if self.open.is_some() {
            return Err(SnapshotError::Misuse("a partition of the snapshot has not been ended"));
        }
        if self.finished {
            return Err(SnapshotError::Misuse("the snapshot has been committed or given up"));
        }
        if self.table.find(partition).is_some() || self.table.0.len() >= PARTITIONS_MAX {
            return Err(SnapshotError::Misuse("the snapshot has this partition already"));
        }
        let (position, seq) = self.appender.mark(partition, self.number).map_err(SnapshotError::Mark)?;
        self.marked = position;
        self.open = Some(Open { partition, seq, start: self.end(), chunks: 0 });
        self.put(Kind::PartitionBegun, (partition, seq), state)?;
        Ok(seq)
    }

    /// Adds effects of the partition. Hands them to the disk now and then, and syncs them every 8 MiB.
    ///
    /// # Errors
    /// [`SnapshotError`]; the snapshot is to be dropped then.
    pub fn chunk(&mut self, effects: &[u8]) -> Result<(), SnapshotError> {
        let Some(open) = &mut self.open else {
            return Err(SnapshotError::Misuse("no partition of the snapshot has begun"));
        };
        open.chunks += 1;
        let place = (open.partition, open.seq);
        self.raw_bytes += effects.len() as u64;
        match self.compress.then(|| compressed(effects)).flatten() {
            Some(payload) => self.put(Kind::ChunkLz4, place, &payload),
            None => self.put(Kind::Chunk, place, effects),
        }
    }

    /// Ends the partition.
    ///
    /// # Errors
    /// [`SnapshotError`]; the snapshot is to be dropped then.
    pub fn end_partition(&mut self) -> Result<(), SnapshotError> {
        let Some(open) = self.open.take() else {
            return Err(SnapshotError::Misuse("no partition of the snapshot has begun"));
        };
        let count = Seq { epoch: Epoch(0), counter: open.chunks };
        self.put(Kind::PartitionEnded, (open.partition, count), &[])?;
        let end = self.end();
        self.table.0.push(Extent { partition: open.partition, seq: open.seq, start: open.start, end });
        Ok(())
    }

    /// This snapshot's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of effects so far, and what they take in the file.
    pub fn bytes(&self) -> (u64, u64) {
        (self.raw_bytes, self.end())
    }

    /// The last mark of this snapshot in the log, which has to be durable before the snapshot can be committed.
    pub fn marked(&self) -> Position {
        self.marked
    }

    /// Partitions that are complete.
    pub(super) fn partitions(&self) -> usize {
        self.table.0.len()
    }

    /// Writes table and footer and syncs the file.
    pub(super) fn finish(&mut self) -> Result<(), SnapshotError> {
        if self.open.is_some() {
            return Err(SnapshotError::Misuse("a partition of the snapshot has not been ended"));
        }
        if std::mem::replace(&mut self.finished, true) {
            return Err(SnapshotError::Misuse("the snapshot has been committed or given up"));
        }
        let at = self.end();
        let table = self.table.encode();
        let count = Seq { epoch: Epoch(0), counter: self.table.0.len() as u64 };
        self.put(Kind::Table, (PartitionId(0), count), &table)?;
        self.pending.extend(Header::bare(self.seed, Kind::Footer, at).encode(self.seed));
        self.hand_over()?;
        self.sync()
    }

    fn end(&self) -> u64 {
        self.handed + self.pending.len() as u64
    }

    fn put(&mut self, kind: Kind, place: (PartitionId, Seq), payload: &[u8]) -> Result<(), SnapshotError> {
        debug_assert!(self.end() >= SNAPSHOT_HEADER_BYTES as u64, "the header comes first");
        self.appender.shared.check()?;
        if !put_frame(&mut self.pending, self.seed, kind, place, payload) {
            return Err(SnapshotError::Misuse("a chunk of 4 GiB or more"));
        }
        if self.pending.len() < WRITE_BYTES {
            return Ok(());
        }
        self.hand_over()?;
        if self.handed - self.synced >= SYNC_BYTES { self.sync() } else { Ok(()) }
    }

    /// An error of a sync is fatal: the disk is not to be trusted any more.
    fn sync(&mut self) -> Result<(), SnapshotError> {
        let synced = self.file.sync().map_err(IoError::of("syncing", &self.name));
        synced.map_err(|error| self.appender.shared.fail(error))?;
        self.synced = self.handed;
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), SnapshotError> {
        self.file.append(&self.pending).map_err(IoError::of("writing", &self.name))?;
        self.handed = self.end();
        self.pending.clear();
        self.pending.shrink_to(2 * WRITE_BYTES);
        Ok(())
    }
}

/// The payload of a compressed chunk, if compression takes off an eighth or more.
fn compressed(effects: &[u8]) -> Option<Vec<u8>> {
    if effects.len() < COMPRESS_BYTES_MIN {
        return None;
    }
    let length = u32::try_from(effects.len()).ok()?;
    let mut payload = vec![0; 4 + lz4_flex::block::get_maximum_output_size(effects.len())];
    let (prefix, block) = payload.split_first_chunk_mut::<4>()?;
    *prefix = length.to_le_bytes();
    let taken = lz4_flex::block::compress_into(effects, block).ok()?;
    payload.truncate(4 + taken);
    (payload.len() <= effects.len() - effects.len() / 8).then_some(payload)
}
