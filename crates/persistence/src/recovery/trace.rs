//! What the frames of one partition amount to: from where it can be recovered, or why it cannot.

use crate::error::Damage;
use crate::frame::{Header, Kind};
use crate::log::decode_mark;
use crate::names;
use crate::snapshot::Snapshot;
use crate::track::{Hold, Track};
use std::collections::BTreeMap;
use stdx::PartitionId;

/// A frame's place in the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Something a partition can be built from; the frames of the partition from `from` on follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    /// The snapshot to begin with; `None` if the frame at `from` itself begins the partition.
    pub(crate) snapshot: Option<u64>,
    pub(crate) from: Place,
}

/// What a partition could be built from if it were not for damage behind it.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) sources: Vec<Source>,
    /// Where the damage is: what follows cannot be continued from the sources.
    pub(crate) until: Place,
}

/// One partition, as far as the log has been read.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) track: Track,
    /// Oldest first; the newest is tried first.
    pub(crate) sources: Vec<Source>,
    /// Why sources before this place do not count.
    pub(crate) damage: Option<Damage>,
    /// The newest sources that do not count, for whoever wants what there was before the damage.
    pub(crate) cut: Option<Cut>,
}

/// All partitions.
#[derive(Debug)]
pub(crate) struct Traces {
    pub(crate) partitions: BTreeMap<PartitionId, Trace>,
    /// Where a partition stands that has not been seen.
    unseen: Track,
    /// Highest number of a snapshot that any mark names.
    pub(crate) marked: u64,
}

impl Traces {
    /// Reading begins where the log does, or in the middle of it.
    pub(crate) fn new(from_the_beginning: bool) -> Traces {
        let unseen = if from_the_beginning { Track::default() } else { Track::UNKNOWN };
        Traces { partitions: BTreeMap::new(), unseen, marked: 0 }
    }

    pub(crate) fn trace(&mut self, partition: PartitionId) -> &mut Trace {
        let track = self.unseen;
        let new = move || Trace { track, sources: Vec::new(), damage: None, cut: None };
        self.partitions.entry(partition).or_insert_with(new)
    }

    /// Takes a sound frame of a log. Returns what is wrong if it cannot stand where it stands.
    pub(crate) fn frame(
        &mut self,
        snapshots: &[Snapshot],
        from: Place,
        header: &Header,
        payload: &[u8],
    ) -> Result<(), String> {
        if header.kind == Kind::Durable {
            return Ok(());
        }
        let trace = self.trace(header.partition);
        let before = trace.track.last;
        if let Err(what) = trace.track.admit(header.kind, header.seq) {
            trace.track = Track { hold: Hold::Unknown, last: Some(header.seq) };
            let last = before.map_or("unknown".to_owned(), |last| format!("{}:{}", last.epoch, last.counter));
            let found = format!("{:?} {}:{}", header.kind, header.seq.epoch, header.seq.counter);
            return Err(format!("{what}: {found} after {last}"));
        }
        match header.kind {
            Kind::Emptied | Kind::CopyBegun => trace.begin(Some(Source { snapshot: None, from })),
            Kind::Dropped => trace.begin(None),
            Kind::SnapshotMark => {
                let (number, whole) = decode_mark(payload).ok_or("not the mark of a snapshot")?;
                trace.mark(snapshots, number, whole, (header, from))?;
                self.marked = self.marked.max(number);
            }
            _ => {}
        }
        Ok(())
    }

    /// The payload of a frame is damaged: `damage` concerns its partition.
    pub(crate) fn damaged_payload(&mut self, header: &Header, damage: &Damage) {
        let trace = self.trace(header.partition);
        // The order goes on behind it, if it did before.
        if trace.track.admit(header.kind, header.seq).is_err() {
            trace.track = Track { hold: Hold::Unknown, last: Some(header.seq) };
        }
        // A mark has no data. Without it, its snapshot is no source, and that is all.
        if header.kind != Kind::SnapshotMark {
            trace.void(damage);
        }
    }

    /// Nobody knows what stood here: any partition may have lost something, unless it begins anew afterwards.
    pub(crate) fn damaged(&mut self, damage: &Damage) {
        self.unseen = Track::UNKNOWN;
        for trace in self.partitions.values_mut() {
            trace.track = Track::UNKNOWN;
            trace.void(damage);
        }
    }
}

impl Trace {
    /// The partition begins anew, or is no longer held: what came before does not matter, damaged or not.
    fn begin(&mut self, source: Option<Source>) {
        (self.damage, self.cut) = (None, None);
        self.sources.clear();
        self.sources.extend(source);
    }

    /// Nothing before this place can be continued.
    pub(crate) fn void(&mut self, damage: &Damage) {
        let sources = std::mem::take(&mut self.sources);
        let segment = names::segment_number(&damage.file).filter(|_| !sources.is_empty());
        if let Some(segment) = segment {
            self.cut = Some(Cut { sources, until: Place { segment, offset: damage.offset } });
        }
        self.damage = Some(damage.clone());
    }

    fn mark(
        &mut self,
        snapshots: &[Snapshot],
        number: u64,
        whole: bool,
        (header, from): (&Header, Place),
    ) -> Result<(), String> {
        let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.number == number) else {
            return Ok(());
        };
        let Some(extent) = snapshot.find(header.partition) else {
            return Err(format!("marked for snapshot {number}, which does not have the partition"));
        };
        if extent.seq != header.seq {
            return Err(format!("snapshot {number} has the partition as of another sequence"));
        }
        if self.track.hold == Hold::Unknown {
            self.track.hold = if whole { Hold::Whole } else { Hold::Copying };
        }
        self.damage = None;
        self.sources.push(Source { snapshot: Some(number), from });
        Ok(())
    }
}
