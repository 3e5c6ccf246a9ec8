//! Random work on a log, with a book of what was appended and what was acknowledged at every point of the disk's journal.

use super::SimDisk;
use super::model::{Held, Model, encode_chunk};
use crate::error::SnapshotError;
use crate::recovery::{Log, Options, Plan, Progress};
use crate::snapshot::SnapshotWriter;
use crate::{Failure, Position, SyncPolicy, Synced};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, Epoch, PartitionId, Random, Seq, Wall};

/// Partitions that the work is about.
const PARTITIONS: u64 = 5;
/// Small segments, so that there are many.
const SEGMENT_BYTES_MAX: u64 = 1_500;
/// Items in a chunk of a snapshot.
const CHUNK_ITEMS: usize = 8;

/// A log being worked on, and the book.
pub struct Work {
    /// The disk.
    pub disk: SimDisk,
    /// The log; `None` once it was closed.
    pub log: Option<Log>,
    /// What the log should hold.
    pub model: Model,
    /// `digests[n]` stands for the model after `n` appends.
    pub digests: Vec<u64>,
    /// Where each append ends.
    ends: Vec<Position>,
    /// By length of the journal: appends done, and appends acknowledged, from there on.
    book: Vec<(usize, usize, usize)>,
    /// Length of the disk's journal when the log was open.
    pub began: usize,
    /// Appends that a mark on the disk protects.
    pub marked: usize,
    /// Snapshots that were committed.
    pub snapshots: usize,
    random: Random,
    snapshot: Option<Writing>,
    clock: Clock,
    /// A sync that another thread has run, and has not reported.
    synced: Option<Synced>,
}

/// A snapshot under way.
struct Writing {
    writer: SnapshotWriter,
    done: BTreeSet<PartitionId>,
    chunks: VecDeque<Vec<u8>>,
    is_open: bool,
}

impl Work {
    /// Recovers what is on `disk` and opens the log behind it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn start(disk: &SimDisk, seed: u64) -> Result<Work, crate::RecoveryError> {
        let plan = Plan::read(Arc::new(disk.clone()), Arc::new(Progress::default()))?;
        let (model, damaged) = Model::recover(&plan, 1)?;
        assert_eq!((plan.damage(), damaged.len()), (&[][..], 0), "work begins on sound disks");
        let mut random = Random::seeded(seed);
        let options = Options {
            segment_bytes_max: SEGMENT_BYTES_MAX,
            snapshots_kept: 1 + random.below(2) as usize,
            compress: random.chance(0.5),
            new_log_id: random.next_u64(),
        };
        let log = plan.begin(&[], options)?;
        let digests = vec![model.digest()];
        Ok(Work {
            disk: disk.clone(),
            log: Some(log),
            model,
            digests,
            ends: Vec::new(),
            book: vec![(0, 0, 0)],
            began: disk.journal_length(),
            marked: 0,
            snapshots: 0,
            random,
            snapshot: None,
            clock: Clock::manual(Wall(0)),
            synced: None,
        })
    }

    /// Does `steps` random steps.
    ///
    /// # Errors
    /// Once the log has failed.
    pub fn run(&mut self, steps: usize) -> Result<(), Failure> {
        for _ in 0..steps {
            let result = self.step();
            self.note();
            result?;
        }
        Ok(())
    }

    /// Closes the log in order.
    ///
    /// # Errors
    /// Once the log has failed.
    pub fn close(&mut self) -> Result<(), Failure> {
        let Some(log) = self.log.take() else { return Ok(()) };
        log.flusher.close()?;
        (self.marked, self.snapshot) = (self.ends.len(), None);
        self.book.push((self.disk.journal_length(), self.ends.len(), self.ends.len()));
        Ok(())
    }

    /// Makes everything appended durable, and leaves no mark of it.
    ///
    /// # Errors
    /// Once the log has failed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.write()?;
        self.flusher()?.sync()?;
        self.note();
        Ok(())
    }

    /// Appends acknowledged and done when the journal had `length` entries.
    pub fn at(&self, length: usize) -> (usize, usize) {
        let acknowledged = self.book.partition_point(|(noted, _, _)| *noted <= length);
        let acknowledged = acknowledged.checked_sub(1).and_then(|index| self.book.get(index));
        // What was appended since the last note may be on the disk already.
        let done = self.book.iter().find(|(noted, _, _)| *noted >= length).or(self.book.last());
        (acknowledged.map_or(0, |(_, _, acked)| *acked), done.map_or(0, |(_, done, _)| *done))
    }

    /// Appends acknowledged by now.
    pub fn acknowledged(&self) -> usize {
        self.book.last().map_or(0, |(_, _, acknowledged)| *acknowledged)
    }

    fn note(&mut self) {
        let durable = self.log.as_ref().map_or(Position(u64::MAX), |log| log.appender.durable());
        let acknowledged = self.ends.partition_point(|end| *end <= durable);
        self.book.push((self.disk.journal_length(), self.ends.len(), acknowledged));
    }

    fn step(&mut self) -> Result<(), Failure> {
        match self.random.below(100) {
            0..=59 => self.append(),
            60..=69 => self.write(),
            70..=78 => {
                self.write()?;
                self.flusher()?.sync().map(|_| ())
            }
            79 => self.flusher()?.sync().map(|_| ()),
            80..=82 => self.background_sync(),
            83..=84 => {
                self.flusher()?.rotate()?;
                Ok(())
            }
            85..=86 => {
                self.marked = self.acknowledged();
                self.flusher()?.mark()
            }
            _ => self.snapshot_step(),
        }
    }

    /// A sync beside the writer: run in one step, reported in a later one.
    fn background_sync(&mut self) -> Result<(), Failure> {
        if let Some(synced) = self.synced.take() {
            return self.flusher()?.synced(synced);
        }
        self.clock.advance(Duration::from_secs(2));
        let now = self.clock.mono();
        let (before, acknowledged) = (self.disk.journal_length(), self.acknowledged());
        let turn = self.flusher()?.turn(SyncPolicy::EverySecond, now)?;
        if self.disk.journal_length() > before {
            self.marked = acknowledged;
        }
        self.synced = turn.sync.map(|sync| sync.run()).transpose()?;
        Ok(())
    }

    fn flusher(&mut self) -> Result<&mut crate::Flusher, Failure> {
        let log = self.log.as_mut().ok_or(Failure("closed".into()))?;
        Ok(&mut log.flusher)
    }

    fn write(&mut self) -> Result<(), Failure> {
        // Whatever is written carries a mark of what was durable then.
        let (before, acknowledged) = (self.disk.journal_length(), self.acknowledged());
        self.flusher()?.write()?;
        if self.disk.journal_length() > before {
            self.marked = acknowledged;
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), Failure> {
        let partition = PartitionId(self.random.below(PARTITIONS) as u16);
        let Some(appender) = self.log.as_ref().map(|log| log.appender.clone()) else { return Ok(()) };
        let bytes = self.bytes();
        let epoch = Epoch(1 + self.random.below(4));
        let choice = self.random.below(20);
        let begin = Seq { epoch, counter: self.random.below(50) };
        let end = match self.model.partitions.get_mut(&partition) {
            Some(held) if choice < 14 => {
                let epoch = held.last.epoch.max(epoch);
                held.last = Seq { epoch, counter: held.last.counter + 1 };
                held.push(&bytes);
                appender.append(partition, held.last, &bytes)
            }
            Some(held) if choice < 16 => {
                held.state = bytes;
                appender.state(partition, &held.state)
            }
            Some(held) if choice < 18 && !held.whole => {
                held.push(&bytes);
                appender.copy_chunk(partition, &encode_chunk(&[bytes]))
            }
            Some(held) if !held.whole => {
                held.whole = true;
                appender.copy_ended(partition)
            }
            Some(_) if choice < 17 => {
                self.model.partitions.remove(&partition);
                appender.dropped(partition)
            }
            _ if choice < 12 => {
                self.model.partitions.insert(partition, Held::new(begin, true, &bytes));
                appender.emptied(partition, begin, &bytes)
            }
            _ => {
                self.model.partitions.insert(partition, Held::new(begin, false, &bytes));
                appender.copy_begun(partition, begin, &bytes)
            }
        };
        match end {
            Ok(end) => {
                self.ends.push(end);
                self.digests.push(self.model.digest());
                Ok(())
            }
            Err(crate::AppendError::Failed(failure)) => Err(failure),
            Err(mistake) => panic!("the work keeps the rules: {mistake}"),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let most = if self.random.chance(0.05) { 1_200 } else { 60 };
        let mut bytes = vec![b'x'; self.random.below(most) as usize];
        let random_part = bytes.len() / 2;
        if let Some(part) = bytes.get_mut(..random_part) {
            self.random.fill(part);
        }
        bytes
    }

    fn snapshot_step(&mut self) -> Result<(), Failure> {
        let result = match self.snapshot.take() {
            None => self.begin_snapshot(),
            Some(writing) => self.continue_snapshot(writing),
        };
        match result {
            Ok(()) | Err(SnapshotError::Io(_) | SnapshotError::NotDurable(_)) => Ok(()),
            Err(
                SnapshotError::Failed(failure) | SnapshotError::Mark(crate::AppendError::Failed(failure)),
            ) => Err(failure),
            Err(mistake) => panic!("the work keeps the rules: {mistake}"),
        }
    }

    fn begin_snapshot(&mut self) -> Result<(), SnapshotError> {
        if self.random.chance(0.5) {
            self.flusher()?.rotate()?;
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        let writer = log.snapshots.begin()?;
        let (done, chunks) = (BTreeSet::new(), VecDeque::new());
        self.snapshot = Some(Writing { writer, done, chunks, is_open: false });
        Ok(())
    }

    fn continue_snapshot(&mut self, mut writing: Writing) -> Result<(), SnapshotError> {
        if let Some(chunk) = writing.chunks.pop_front() {
            writing.writer.chunk(&chunk)?;
        } else if writing.is_open {
            writing.writer.end_partition()?;
            writing.is_open = false;
        } else {
            let next = self.model.partitions.iter().find(|(partition, _)| !writing.done.contains(partition));
            let Some((&partition, held)) = next else { return self.commit(writing) };
            let seq = writing.writer.begin_partition(partition, &held.state)?;
            assert_eq!(seq, held.last, "the log knows where the partition stands");
            writing.chunks = held.items.chunks(CHUNK_ITEMS).map(encode_chunk).collect();
            writing.done.insert(partition);
            writing.is_open = true;
        }
        if self.random.chance(0.97) {
            self.snapshot = Some(writing);
        }
        Ok(())
    }

    fn commit(&mut self, mut writing: Writing) -> Result<(), SnapshotError> {
        if self.random.chance(0.6) {
            self.write()?;
            self.flusher()?.sync()?;
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        let committed = log.snapshots.commit(&mut writing.writer);
        if let Err(SnapshotError::NotDurable(_)) = committed {
            self.snapshot = Some(writing);
            return Ok(());
        }
        assert_eq!(committed?.partitions, writing.done.len());
        self.snapshots += 1;
        Ok(())
    }
}
