//! Looks a directory over without changing it: what each file holds, what is damaged, what could be recovered; and reads out
//! every sound frame, for the day on which recovery refuses.

use crate::disk::Disk;
use crate::error::{Damage, IoError, RecoveryError};
use crate::fields::Fields;
use crate::frame::{Kind, Seed};
use crate::manifest::Manifest;
use crate::names;
use crate::reader::{FrameReader, Item};
use crate::recovery::{Plan, Progress, Recoverable, Tail};
use crate::segment::{self, SEGMENT_HEADER_BYTES};
use crate::snapshot::SNAPSHOT_HEADER_BYTES;
use std::collections::BTreeMap;
use std::sync::Arc;
use stdx::{PartitionId, Seq};

/// What one file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// False for what a crash left and recovery does not look at: it is removed when a log begins.
    pub needed: bool,
    /// Sound frames by kind.
    pub frames: BTreeMap<Kind, u64>,
    /// Places that are not sound. At the end of the last segment they may be the torn tail.
    pub unsound: Vec<Damage>,
}

/// What a directory holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Segments and snapshots, by name.
    pub files: Vec<FileReport>,
    /// Partitions that can be recovered. Chunks of snapshots are among [`FileReport::unsound`].
    pub partitions: Vec<Recoverable>,
    /// Partitions that would be refused, and why.
    pub refused: BTreeMap<PartitionId, Damage>,
    /// What recovery takes for damage, as opposed to a torn tail.
    pub damage: Vec<Damage>,
    /// The torn end of the log.
    pub tail: Option<Tail>,
}

impl Report {
    /// Whether recovery would lose nothing that was ever durable.
    pub fn is_sound(&self) -> bool {
        let torn = |damage: &Damage| {
            self.tail.as_ref().is_some_and(|tail| tail.file == damage.file && tail.offset <= damage.offset)
        };
        let needed = self.files.iter().filter(|file| file.needed);
        self.damage.is_empty() && needed.flat_map(|file| &file.unsound).all(torn)
    }
}

/// One sound frame that was read out.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes into the file.
    pub offset: u64,
    /// What the frame says.
    pub kind: Kind,
    /// About which partition, where it is about one.
    pub partition: PartitionId,
    /// As of which sequence.
    pub seq: Seq,
    /// Effects, the caller's state, or what else belongs to the kind.
    pub payload: &'a [u8],
}

/// Looks the directory over. Changes nothing.
///
/// # Errors
/// If the disk cannot be read. Damage is in the report.
pub fn check(disk: &Arc<dyn Disk>) -> Result<Report, IoError> {
    let mut report = Report { files: walk(&**disk, &mut |_| {})?, ..Report::default() };
    match Plan::read(Arc::clone(disk), Arc::new(Progress::default())) {
        Ok(plan) => {
            report.partitions = plan.partitions().collect();
            report.refused = plan.refused().clone();
            report.damage = plan.damage().to_vec();
            report.tail = plan.tail().cloned();
            report.files.iter_mut().for_each(|file| file.needed = plan.needs(&file.name));
        }
        Err(RecoveryError::Damage(damage)) => report.damage.push(damage),
        Err(RecoveryError::Io(error)) => return Err(error),
    }
    Ok(report)
}

/// Gives every sound frame of every segment and snapshot to `take`, file by file. Changes nothing.
///
/// # Errors
/// If the disk cannot be read.
pub fn extract(disk: &dyn Disk, take: &mut dyn FnMut(Entry<'_>)) -> Result<(), IoError> {
    walk(disk, take).map(|_| ())
}

fn walk(disk: &dyn Disk, take: &mut dyn FnMut(Entry<'_>)) -> Result<Vec<FileReport>, IoError> {
    let names = disk.list().map_err(IoError::of("reading", ""))?;
    let log_id = log_id(disk, &names)?;
    let mut reports = Vec::new();
    for name in &names {
        let (seed, start) = match (names::segment_number(name), names::snapshot_number(name)) {
            (Some(_), _) => (Seed::of_log(log_id), SEGMENT_HEADER_BYTES),
            (_, Some(number)) => (Seed::of_snapshot(log_id, number), SNAPSHOT_HEADER_BYTES),
            _ => continue,
        };
        reports.push(walk_file(disk, name, seed, start as u64, take)?);
    }
    Ok(reports)
}

fn walk_file(
    disk: &dyn Disk,
    name: &str,
    seed: Seed,
    start: u64,
    take: &mut dyn FnMut(Entry<'_>),
) -> Result<FileReport, IoError> {
    let file = disk.open(name).map_err(IoError::of("opening", name))?;
    let bytes = file.length().map_err(IoError::of("reading", name))?;
    let mut report = FileReport {
        name: name.to_owned(),
        bytes,
        needed: true,
        frames: BTreeMap::new(),
        unsound: Vec::new(),
    };
    let mut frames = FrameReader::new(file, seed, start, bytes);
    while let Some(item) = frames.next().map_err(IoError::of("reading", name))? {
        match item {
            Item::Frame { offset, header, payload, .. } => {
                *report.frames.entry(header.kind).or_default() += 1;
                let (kind, partition, seq) = (header.kind, header.partition, header.seq);
                take(Entry { file: name, offset, kind, partition, seq, payload });
            }
            Item::Unsound(place) => report.unsound.push(Damage {
                file: name.to_owned(),
                offset: place.offset,
                partition: place.header.map(|header| header.partition),
                what: place.what.to_owned(),
            }),
        }
    }
    Ok(report)
}

/// The log's id by the manifest, or by any segment whose header is sound; 0 if nothing says it.
pub(crate) fn log_id(disk: &dyn Disk, names: &[String]) -> Result<u64, IoError> {
    if let Ok(Some(manifest)) = Manifest::read(disk) {
        return Ok(manifest.log_id);
    }
    for name in names {
        let Some(number) = names::segment_number(name) else { continue };
        let file = disk.open(name).map_err(IoError::of("opening", name))?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        if file.length().map_err(IoError::of("reading", name))? < header.len() as u64 {
            continue;
        }
        file.read_exact_at(0, &mut header).map_err(IoError::of("reading", name))?;
        let mut fields = Fields(&header);
        // The magic stands before the id.
        let id = fields.u64().and_then(|_| fields.u64()).unwrap_or_default();
        if segment::decode(Seed::of_log(id), id, number, &header).is_ok() {
            return Ok(id);
        }
    }
    Ok(0)
}
