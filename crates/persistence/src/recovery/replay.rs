//! Gives the partitions of a plan to sinks.

use super::trace::{Place, Source};
use super::{Plan, Recoverable};
use crate::error::{Damage, IoError, RecoveryError};
use crate::frame::{Header, Kind, Seed};
use crate::names;
use crate::reader::{FrameReader, Item};
use crate::segment::SEGMENT_HEADER_BYTES;
use crate::snapshot::SnapshotFrame;
use std::collections::BTreeMap;
use stdx::{PartitionId, Seq};

/// Frames of the log that a sink is told of ahead of their turn.
const FRAMES_AHEAD: usize = 16;

/// Takes what is recovered. Calls for one partition come in order; those for several are mixed.
pub trait RecoverySink {
    /// The partition begins: it is empty as of `seq`, whatever was said of it before. `state` is the caller's own.
    fn reset(&mut self, partition: PartitionId, seq: Seq, state: &[u8]);

    /// Effects of a copy of the partition, from a snapshot or from a copy that stands in the log; `seq` is that of the newest
    /// record in or before it. False if they cannot be applied.
    fn snapshot_chunk(&mut self, partition: PartitionId, seq: Seq, effects: &[u8]) -> bool;

    /// One record. False if it cannot be applied.
    fn record(&mut self, partition: PartitionId, seq: Seq, effects: &[u8]) -> bool;

    /// The caller's state of the partition is this from here on.
    fn state(&mut self, partition: PartitionId, state: &[u8]);

    /// A record that will most likely come soon: a hint to bring what it is about closer. Neither is it known to be sound
    /// nor to be wanted.
    fn soon(&mut self, _partition: PartitionId, _effects: &[u8]) {}
}

/// Looks ahead of a reader and tells the sink what comes.
#[derive(Default)]
struct Scout {
    /// Where to look next, and by how many frames that is ahead.
    at: u64,
    lead: usize,
}

impl Scout {
    /// The frame at the reader's place is about to be read.
    fn advance(&mut self, frames: &FrameReader, share: Share, sink: &mut dyn RecoverySink) {
        if self.at <= frames.offset() {
            *self = Scout { at: frames.offset(), lead: 0 };
        }
        self.lead = self.lead.saturating_sub(1);
        while self.lead < FRAMES_AHEAD
            && let Some((header, payload)) = frames.glance(self.at)
        {
            if header.kind == Kind::Effects && share.has(header.partition) {
                sink.soon(header.partition, payload);
            }
            self.at += header.frame_bytes();
            self.lead += 1;
        }
    }
}

/// Which partitions a thread recovers: those whose number leaves the remainder `index` when divided by `of`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// From 0 on.
    pub index: u16,
    /// Threads there are; 0 is taken for 1.
    pub of: u16,
}

impl Share {
    /// All partitions.
    pub const ALL: Share = Share { index: 0, of: 1 };

    fn has(self, partition: PartitionId) -> bool {
        partition.0 % self.of.max(1) == self.index
    }
}

/// What became of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Which one, its last sequence, and whether it is whole.
    pub partition: Recoverable,
    /// Records that were given to the sink.
    pub records: u64,
    /// Records from the damage on, which were not given; the damaged one is among them if its header is sound.
    pub left_out: u64,
    /// What was found only now; what the sink has of the partition is void then.
    pub damage: Option<Damage>,
}

/// A partition while it is replayed.
#[derive(Default)]
struct Active {
    from: Place,
    /// Where nothing follows any more, if that is before the end of the log.
    until: Option<Place>,
    /// Behind the frame at `from`, which is a mark.
    is_marked: bool,
    records: u64,
    left_out: u64,
    damage: Option<Damage>,
}

impl Active {
    /// Whether the frame at `place` is not to be given. Notes what is missed by it.
    fn passes_over(&mut self, place: Place, kind: Kind) -> bool {
        if place < self.from {
            return true;
        }
        let behind = self.damage.is_some() || self.until.is_some_and(|until| until <= place);
        self.left_out += u64::from(behind && kind == Kind::Effects);
        behind
    }
}

impl Plan {
    /// Recovers the partitions of `share` into `sink`. Changes nothing in the directory.
    ///
    /// A partition is built from its newest snapshot. If that is damaged and an older one is kept, the sink is reset and the
    /// older one is taken.
    ///
    /// # Errors
    /// If the disk cannot be read. Damage is told partition by partition.
    pub fn replay(&self, share: Share, sink: &mut dyn RecoverySink) -> Result<Vec<Recovered>, RecoveryError> {
        let mut active = BTreeMap::new();
        for (partition, sources) in self.sources.iter().filter(|(partition, _)| share.has(**partition)) {
            active.insert(*partition, self.start(*partition, sources, sink)?);
        }
        self.replay_log(share, &mut active, sink)?;
        let recovered = active.into_iter().filter_map(|(partition, active)| {
            let Active { records, left_out, damage, .. } = active;
            Some(Recovered { partition: self.recoverable(partition)?, records, left_out, damage })
        });
        Ok(recovered.collect())
    }

    /// Gives what is sound of the refused partitions to `sink`: each from its newest beginning up to the damage, so what was
    /// removed or replaced behind that is there again. Changes nothing in the directory. Partitions of which there is nothing
    /// before the damage are not among the answers.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn salvage(&self, sink: &mut dyn RecoverySink) -> Result<Vec<Recovered>, RecoveryError> {
        let mut active = BTreeMap::new();
        for partition in self.refused.keys() {
            let trace = self.scan.traces.partitions.get(partition);
            let Some(cut) = trace.and_then(|trace| trace.cut.as_ref()) else { continue };
            let started = self.start(*partition, &cut.sources, sink)?;
            active.insert(*partition, Active { until: Some(cut.until), ..started });
        }
        self.replay_log(Share::ALL, &mut active, sink)?;
        let salvaged = active.into_iter().filter_map(|(partition, active)| {
            let Active { records, left_out, damage, .. } = active;
            let damage = damage.or_else(|| self.refused.get(&partition).cloned());
            let whole = Recoverable { whole: false, ..self.recoverable(partition)? };
            Some(Recovered { partition: whole, records, left_out, damage })
        });
        Ok(salvaged.collect())
    }

    /// Gives the frames behind those that the partitions begin with.
    fn replay_log(
        &self,
        share: Share,
        active: &mut BTreeMap<PartitionId, Active>,
        sink: &mut dyn RecoverySink,
    ) -> Result<(), RecoveryError> {
        let first = active.values().filter(|active| active.damage.is_none()).map(|active| active.from).min();
        for segment in &self.scan.segments {
            if first.is_some_and(|first| segment.number >= first.segment) {
                self.replay_segment((segment.number, segment.ending.length), share, active, sink)?;
            }
            self.progress.add(segment.ending.length / u64::from(share.of.max(1)));
        }
        Ok(())
    }

    /// Builds a partition from the newest of its snapshots that is sound.
    fn start(
        &self,
        partition: PartitionId,
        sources: &[Source],
        sink: &mut dyn RecoverySink,
    ) -> Result<Active, IoError> {
        let mut started = Active::default();
        for source in sources.iter().rev() {
            started.from = source.from;
            started.is_marked = source.snapshot.is_some();
            let snapshot =
                source.snapshot.and_then(|number| self.snapshots.iter().find(|found| found.number == number));
            let Some(snapshot) = snapshot else {
                started.damage = None;
                return Ok(started);
            };
            let Some(extent) = snapshot.find(partition) else { continue };
            let seq = extent.seq;
            let mut take = |frame: SnapshotFrame<'_>| match frame {
                SnapshotFrame::Begun(state) => {
                    sink.reset(partition, seq, state);
                    true
                }
                SnapshotFrame::Chunk(effects) => sink.snapshot_chunk(partition, seq, effects),
            };
            let result = snapshot.read(&*self.disk, extent, &mut take)?;
            self.progress.add(extent.end - extent.start);
            started.damage = result.err();
            if started.damage.is_none() {
                return Ok(started);
            }
        }
        Ok(started)
    }

    fn replay_segment(
        &self,
        (number, end): (u64, u64),
        share: Share,
        active: &mut BTreeMap<PartitionId, Active>,
        sink: &mut dyn RecoverySink,
    ) -> Result<(), RecoveryError> {
        let name = names::segment(number);
        let seed = Seed::of_log(self.manifest.as_ref().map_or(0, |manifest| manifest.log_id));
        let file = self.disk.open(&name).map_err(IoError::of("opening", &name))?;
        let mut frames = FrameReader::new(file, seed, SEGMENT_HEADER_BYTES as u64, end);
        let mut scout = Scout::default();
        loop {
            scout.advance(&frames, share, sink);
            let place = Place { segment: number, offset: frames.offset() };
            let unwanted = |header: &Header| match active.get_mut(&header.partition) {
                Some(active) => active.passes_over(place, header.kind),
                None => true,
            };
            if frames.skip_if(unwanted).map_err(IoError::of("reading", &name))? {
                continue;
            }
            match frames.next().map_err(IoError::of("reading", &name))? {
                None => return Ok(()),
                Some(Item::Frame { header, payload, .. }) => {
                    if let Some(active) = active.get_mut(&header.partition) {
                        give(place, &name, &header, payload, active, sink);
                    }
                }
                Some(Item::Unsound(unsound)) => {
                    // What the plan knows concerns nobody who is recovered here, unless it is older than what is replayed.
                    let known = |known: &Damage| known.offset == unsound.offset && known.file == name;
                    if self.damage.iter().any(known) {
                        continue;
                    }
                    let concerned = unsound.header.map(|header| header.partition);
                    for (partition, active) in active.iter_mut() {
                        if concerned.is_none_or(|concerned| concerned == *partition) {
                            active.damage =
                                Some(found(&name, unsound.offset, *partition, "it was sound a moment ago"));
                        }
                    }
                }
            }
        }
    }
}

fn found(name: &str, offset: u64, partition: PartitionId, what: &str) -> Damage {
    Damage { file: name.to_owned(), offset, partition: Some(partition), what: what.to_owned() }
}

/// Gives one frame of a partition to the sink.
fn give(
    place: Place,
    name: &str,
    header: &Header,
    payload: &[u8],
    active: &mut Active,
    sink: &mut dyn RecoverySink,
) {
    let Header { partition, seq, .. } = *header;
    let taken = match header.kind {
        Kind::Emptied | Kind::CopyBegun => {
            sink.reset(partition, seq, payload);
            true
        }
        Kind::Effects => {
            active.records += 1;
            sink.record(partition, seq, payload)
        }
        Kind::CopyChunk => sink.snapshot_chunk(partition, seq, payload),
        Kind::State => {
            sink.state(partition, payload);
            true
        }
        // The plan has followed these already.
        _ => true,
    };
    debug_assert!(!active.is_marked || !matches!(header.kind, Kind::Emptied | Kind::CopyBegun));
    if !taken {
        active.damage = Some(found(name, place.offset, partition, "the effects cannot be applied"));
    }
}
