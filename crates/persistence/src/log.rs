//! The end of the log that workers append to.
//!
//! Appending copies a frame into a buffer in memory under a short lock; nothing here waits for the disk. The flusher swaps
//! the buffer for an empty one and writes it while the next fills ([`crate::Flusher`]). A position counts the bytes ever
//! appended; a commit gate compares the position of its record with [`Appender::written`] or [`Appender::durable`].
//!
//! The lock also guards a small table with the place of every partition in the log, for three ends: a frame that
//! recovery would refuse is refused here, while the mistake can still be found; frames that are about "the record before"
//! need not be told which that was; and a snapshot can prove that it covers all that is held.

use crate::error::{AppendError, Failure};
use crate::fields::Fields;
use crate::frame::{FRAME_HEADER_BYTES, Header, Kind, Seed};
use crate::track::{Hold, Track};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use stdx::{PartitionId, Seq};

/// Bytes that may wait for the flusher before [`Appender::is_congested`] says so. Whoever then still appends is not refused,
/// because the change has happened in memory already; workers stop taking commands instead.
pub const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room that an empty buffer keeps.
const RETAINED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes appended to the log by this process, up to and including some frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(pub u64);

/// What appenders, the flusher and snapshots of one log have in common.
pub(crate) struct Shared {
    pub(crate) seed: Seed,
    buffer: Mutex<Buffer>,
    /// Number of the segment that is written to.
    pub(crate) segment: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    failure: OnceLock<Failure>,
}

/// Frames that wait for the flusher.
pub(crate) struct Buffer {
    /// Begins with room for the flusher's mark, so that mark and frames are one write.
    bytes: Vec<u8>,
    end: Position,
    places: Vec<Place>,
}

/// A partition in the log.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    track: Track,
    /// Where it was last emptied, its copy begun, or dropped: nothing before matters once this is durable.
    voided: Position,
    /// Number of the newest snapshot it was marked for; 0 for none.
    mark: u64,
}

impl Shared {
    /// A log at its beginning, in which partitions stand as in `tracks`.
    pub(crate) fn new(seed: Seed, segment: u64, tracks: &BTreeMap<PartitionId, Track>) -> Arc<Shared> {
        let mut buffer = Buffer { bytes: empty_bytes(), end: Position(0), places: Vec::new() };
        for (partition, track) in tracks {
            buffer.place(*partition).track = *track;
        }
        Arc::new(Shared {
            seed,
            buffer: Mutex::new(buffer),
            segment: AtomicU64::new(segment),
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            failure: OnceLock::new(),
        })
    }

    /// The buffer, unless the log has failed.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, Buffer>, Failure> {
        let buffer = self.buffer.lock();
        let buffer = buffer.map_err(|_| self.fail("a thread panicked while it appended"))?;
        self.check()?;
        Ok(buffer)
    }

    /// Whether the log still works.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Fails the log for ever; returns the first reason there was.
    pub(crate) fn fail(&self, why: impl ToString) -> Failure {
        self.failure.get_or_init(|| Failure(why.to_string().into())).clone()
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.get().cloned()
    }

    /// Exchanges the buffer for `spare`, which is emptied; the frames and the position of the last. The frames begin with
    /// room for a frame without payload.
    pub(crate) fn take(&self, spare: &mut Vec<u8>) -> Result<Position, Failure> {
        let mut buffer = self.lock()?;
        spare.clear();
        spare.shrink_to(RETAINED_BYTES_MAX);
        spare.resize(FRAME_HEADER_BYTES, 0);
        std::mem::swap(&mut buffer.bytes, spare);
        Ok(buffer.end)
    }

    pub(crate) fn set_written(&self, position: Position) {
        self.written.store(position.0, Ordering::Release);
    }

    pub(crate) fn set_durable(&self, position: Position) {
        self.durable.store(position.0, Ordering::Release);
    }

    pub(crate) fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }
}

/// The payload of a mark: the snapshot's number, and whether the partition's copy was whole.
fn encode_mark(snapshot: u64, whole: bool) -> [u8; 9] {
    let mut payload = [u8::from(whole); 9];
    payload[..8].copy_from_slice(&snapshot.to_le_bytes());
    payload
}

/// What the payload of a mark says; `None` if it is not one.
pub(crate) fn decode_mark(payload: &[u8]) -> Option<(u64, bool)> {
    let mut fields = Fields(payload);
    let mark = (fields.u64()?, fields.u8()? != 0);
    fields.0.is_empty().then_some(mark)
}

fn empty_bytes() -> Vec<u8> {
    vec![0; FRAME_HEADER_BYTES]
}

impl Buffer {
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    fn place(&mut self, partition: PartitionId) -> &mut Place {
        let index = usize::from(partition.0);
        if index >= self.places.len() {
            self.places.resize(index + 1, Place::default());
        }
        self.places.get_mut(index).expect("it was made long enough")
    }

    /// Takes a frame; `encoded` is its header.
    fn push(
        &mut self,
        header: &Header,
        encoded: &[u8; FRAME_HEADER_BYTES],
        payload: &[u8],
    ) -> Result<Position, AppendError> {
        let out_of_order = |what| AppendError::OutOfOrder { partition: header.partition, what };
        let end = Position(self.end.0 + header.frame_bytes());
        let place = self.place(header.partition);
        place.track.admit(header.kind, header.seq).map_err(out_of_order)?;
        if matches!(header.kind, Kind::Emptied | Kind::CopyBegun | Kind::Dropped) {
            place.voided = end;
        }
        self.bytes.reserve(FRAME_HEADER_BYTES + payload.len());
        self.bytes.extend_from_slice(encoded);
        self.bytes.extend_from_slice(payload);
        self.end = end;
        Ok(end)
    }

    /// Whether `snapshot`, begun at `since`, has all that is held, or what of it began since: up to where the log has to be
    /// durable for that to hold after a crash, or a partition that is missing.
    pub(crate) fn coverage(&self, snapshot: u64, since: Position) -> Result<Position, PartitionId> {
        let mut durable = Position(0);
        for (index, place) in (0..).zip(&self.places) {
            if place.mark == snapshot {
                continue;
            }
            if place.track.hold != Hold::Nothing && place.voided <= since {
                return Err(PartitionId(index));
            }
            // Without this frame recovery would look for what was before.
            durable = durable.max(place.voided);
        }
        Ok(durable)
    }
}

/// Appends to the log; a clone appends to the same. Cheap to clone, and used by any number of threads.
///
/// The caller must append the frames of one partition in their order (under the partition's lock, say).
#[derive(Clone)]
pub struct Appender {
    pub(crate) shared: Arc<Shared>,
}

impl Appender {
    /// Appends a write of a partition that is held: its sequence and its encoded effects. Copies them and returns at once.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn append(&self, partition: PartitionId, seq: Seq, effects: &[u8]) -> Result<Position, AppendError> {
        self.push(Kind::Effects, partition, seq, effects)
    }

    /// From here on the partition is held, empty as of `seq`, and whole; whatever the log has of it is void. `state` is what
    /// the caller wants to be told about the partition by recovery: opaque here.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn emptied(&self, partition: PartitionId, seq: Seq, state: &[u8]) -> Result<Position, AppendError> {
        self.push(Kind::Emptied, partition, seq, state)
    }

    /// A copy of the partition as of `seq` begins to arrive; whatever the log has of it is void. Until
    /// [`Appender::copy_ended`] recovery says that the partition is not whole. Records after `seq` may come in between.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn copy_begun(
        &self,
        partition: PartitionId,
        seq: Seq,
        state: &[u8],
    ) -> Result<Position, AppendError> {
        self.push(Kind::CopyBegun, partition, seq, state)
    }

    /// A piece of the copy.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn copy_chunk(&self, partition: PartitionId, effects: &[u8]) -> Result<Position, AppendError> {
        self.push_at_last(Kind::CopyChunk, partition, effects)
    }

    /// The copy is whole.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn copy_ended(&self, partition: PartitionId) -> Result<Position, AppendError> {
        self.push_at_last(Kind::CopyEnded, partition, &[])
    }

    /// The partition is no longer held; whatever the log has of it is void.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn dropped(&self, partition: PartitionId) -> Result<Position, AppendError> {
        self.push_at_last(Kind::Dropped, partition, &[])
    }

    /// Replaces what recovery will tell about the partition: its reign has changed, for instance.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn state(&self, partition: PartitionId, state: &[u8]) -> Result<Position, AppendError> {
        self.push_at_last(Kind::State, partition, state)
    }

    /// The position of everything appended so far.
    ///
    /// # Errors
    /// If the log has failed.
    pub fn appended(&self) -> Result<Position, Failure> {
        Ok(self.shared.lock()?.end)
    }

    /// Everything up to here was handed to the system: it survives the process, but not the machine.
    pub fn written(&self) -> Position {
        Position(self.shared.written.load(Ordering::Acquire))
    }

    /// Everything up to here is durable. Once the log has failed this never moves again.
    pub fn durable(&self) -> Position {
        self.shared.durable()
    }

    /// Why the log has failed, if it has.
    pub fn failure(&self) -> Option<Failure> {
        self.shared.failure()
    }

    /// Bytes that wait for the flusher.
    ///
    /// # Errors
    /// If the log has failed.
    pub fn waiting_bytes(&self) -> Result<usize, Failure> {
        Ok(self.shared.lock()?.bytes.len() - FRAME_HEADER_BYTES)
    }

    /// Whether more than [`BUFFER_BYTES_MAX`] wait for the flusher: take no more commands until it has caught up.
    ///
    /// # Errors
    /// If the log has failed.
    pub fn is_congested(&self) -> Result<bool, Failure> {
        Ok(self.waiting_bytes()? > BUFFER_BYTES_MAX)
    }

    /// Marks the partition for a snapshot: the position of the mark, and the partition's newest sequence.
    pub(crate) fn mark(&self, partition: PartitionId, snapshot: u64) -> Result<(Position, Seq), AppendError> {
        let seed = self.shared.seed;
        let mut buffer = self.shared.lock()?;
        let track = buffer.place(partition).track;
        let (seq, whole) = (track.last.unwrap_or_default(), track.hold == Hold::Whole);
        let payload = encode_mark(snapshot, whole);
        let header = Header::new(seed, Kind::SnapshotMark, partition, seq, &payload);
        let header = header.ok_or(AppendError::TooLong)?;
        let position = buffer.push(&header, &header.encode(seed), &payload)?;
        buffer.place(partition).mark = snapshot;
        Ok((position, seq))
    }

    fn push(
        &self,
        kind: Kind,
        partition: PartitionId,
        seq: Seq,
        payload: &[u8],
    ) -> Result<Position, AppendError> {
        let seed = self.shared.seed;
        // Checksums are taken before the lock.
        let header = Header::new(seed, kind, partition, seq, payload).ok_or(AppendError::TooLong)?;
        let encoded = header.encode(seed);
        self.shared.lock()?.push(&header, &encoded, payload)
    }

    /// A frame about the record before it.
    fn push_at_last(
        &self,
        kind: Kind,
        partition: PartitionId,
        payload: &[u8],
    ) -> Result<Position, AppendError> {
        let seed = self.shared.seed;
        let mut header =
            Header::new(seed, kind, partition, Seq::default(), payload).ok_or(AppendError::TooLong)?;
        let mut buffer = self.shared.lock()?;
        header.seq = buffer.place(partition).track.last.unwrap_or_default();
        buffer.push(&header, &header.encode(seed), payload)
    }
}
