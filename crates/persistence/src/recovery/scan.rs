//! Reads all needed segments once, verifies every frame, and finds out what can be recovered.
//!
//! Where a damaged byte may be explained by a crash the log ends, and what comes behind is cut. Such bytes can only be in the
//! last segment, behind the place up to which a mark says that it was durable; every other damage is a finding.

use super::trace::{Place, Traces};
use super::{Progress, Tail};
use crate::disk::{Disk, ReadFile};
use crate::error::{Damage, IoError, RecoveryError};
use crate::frame::{Kind, Seed};
use crate::manifest::Manifest;
use crate::names;
use crate::reader::{FrameReader, Item};
use crate::segment::{self, Ending, SEGMENT_HEADER_BYTES};
use crate::snapshot::Snapshot;

/// Bytes read at once for the checksum of a damaged segment.
const BLOCK_BYTES: u64 = 256 * 1024;
/// Most findings that are kept; each concerns at least one frame.
const DAMAGE_MAX: usize = 10_000;

/// A segment that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// How it ends, a torn tail cut.
    pub(crate) ending: Ending,
}

/// What reading the log found.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) segments: Vec<Segment>,
    pub(crate) traces: Traces,
    pub(crate) damage: Vec<Damage>,
    pub(crate) tail: Option<Tail>,
    /// A last segment in which there is nothing yet, to be made anew.
    pub(crate) unused: Option<u64>,
}

/// A segment before its frames are read.
struct Candidate {
    number: u64,
    length: u64,
    /// How the one before ended, or what is wrong with the header.
    before: Result<Ending, &'static str>,
}

pub(super) fn scan(
    disk: &dyn Disk,
    manifest: &Manifest,
    snapshots: &[Snapshot],
    names: &[String],
    progress: &Progress,
) -> Result<Scan, RecoveryError> {
    let mut scan = Scan {
        segments: Vec::new(),
        traces: Traces::new(manifest.first_segment == 1),
        damage: Vec::new(),
        tail: None,
        unused: None,
    };
    let seed = Seed::of_log(manifest.log_id);
    let mut candidates = candidates(disk, seed, manifest, names)?;
    progress.expect(candidates.iter().map(|candidate| candidate.length).sum());
    let needed = |number| manifest.snapshots.iter().any(|entry| entry.first_segment == number);
    let unused = candidates.pop_if(|last| {
        // The first segment of a snapshot stays, even if empty: there must be no moment in which it is missing.
        last.length <= SEGMENT_HEADER_BYTES as u64 && (last.before.is_err() || !needed(last.number))
    });
    scan.unused = unused.as_ref().map(|unused| unused.number);
    let mut expected = manifest.first_segment;
    for (index, candidate) in candidates.iter().enumerate() {
        scan.check_order(candidate, expected);
        expected = candidate.number + 1;
        // A header cut short was being written when the process ended: nothing follows from it.
        let after = candidates.get(index + 1).or(unused.as_ref().filter(|unused| unused.before.is_ok()));
        let mut reading = Reading { disk, seed, snapshots, scan: &mut scan, progress };
        reading.segment(candidate, after)?;
    }
    match unused {
        // The header is durable before anything is appended, so nothing is lost with this segment.
        Some(unused) if unused.number == expected => {
            if unused.before.is_err() && scan.tail.is_none() {
                let file = names::segment(unused.number);
                scan.tail = Some(Tail { file, offset: 0, bytes: unused.length, frames_behind: 0 });
            }
        }
        // A log that ended before its first segment was there.
        None if candidates.is_empty() && *manifest == Manifest::new(manifest.log_id) => {}
        None if !candidates.is_empty() => {}
        _ => scan.damage_to_all(&names::segment(expected), 0, "missing, but it is needed"),
    }
    Ok(scan)
}

/// The segments that the manifest needs, with their headers.
fn candidates(
    disk: &dyn Disk,
    seed: Seed,
    manifest: &Manifest,
    names: &[String],
) -> Result<Vec<Candidate>, IoError> {
    let numbers = names.iter().filter_map(|name| names::segment_number(name));
    let mut numbers: Vec<u64> = numbers.filter(|number| *number >= manifest.first_segment).collect();
    numbers.sort_unstable();
    let mut candidates = Vec::with_capacity(numbers.len());
    for number in numbers {
        let name = names::segment(number);
        let (file, length) = open(disk, &name)?;
        let mut header = vec![0; SEGMENT_HEADER_BYTES.min(usize::try_from(length).unwrap_or(usize::MAX))];
        file.read_exact_at(0, &mut header).map_err(IoError::of("reading", &name))?;
        let before = segment::decode(seed, manifest.log_id, number, &header);
        candidates.push(Candidate { number, length, before });
    }
    Ok(candidates)
}

fn open(disk: &dyn Disk, name: &str) -> Result<(Box<dyn ReadFile>, u64), IoError> {
    let file = disk.open(name).map_err(IoError::of("opening", name))?;
    let length = file.length().map_err(IoError::of("reading", name))?;
    Ok((file, length))
}

impl Scan {
    fn note(&mut self, damage: Damage) {
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(damage);
        }
    }

    fn damage_to_all(&mut self, file: &str, offset: u64, what: &str) {
        let damage = Damage { file: file.to_owned(), offset, partition: None, what: what.to_owned() };
        self.traces.damaged(&damage);
        self.note(damage);
    }

    /// Every segment from the first needed one on is there, and its header is sound.
    fn check_order(&mut self, candidate: &Candidate, expected: u64) {
        if candidate.number != expected {
            self.damage_to_all(&names::segment(expected), 0, "missing, but there are later segments");
        }
        if let Err(what) = candidate.before {
            self.damage_to_all(&names::segment(candidate.number), 0, what);
        }
    }
}

/// Reads segments into a scan.
struct Reading<'a> {
    disk: &'a dyn Disk,
    seed: Seed,
    snapshots: &'a [Snapshot],
    scan: &'a mut Scan,
    progress: &'a Progress,
}

impl Reading<'_> {
    /// Reads one segment; `after` is the next one, whose header says how this one ended.
    fn segment(&mut self, candidate: &Candidate, after: Option<&Candidate>) -> Result<(), RecoveryError> {
        let name = names::segment(candidate.number);
        let found = self.scan.damage.len();
        let cut_short = candidate.length < SEGMENT_HEADER_BYTES as u64;
        let end = match after {
            None if !cut_short => self.find_end(&name, candidate.length)?,
            _ => candidate.length,
        };
        let sound = if cut_short { None } else { Some(self.frames(candidate.number, &name, end)?) };
        let undamaged = candidate.before.is_ok() && self.scan.damage.len() == found;
        let ending = match sound.filter(|_| undamaged) {
            Some(ending) => ending,
            None => self.raw_ending(&name, end)?,
        };
        self.progress.add(candidate.length);
        let promised = after.filter(|after| after.number == candidate.number + 1);
        if let Some(&Candidate { before: Ok(promised), .. }) = promised
            && promised != ending
            && undamaged
        {
            let what = format!(
                "{} bytes with checksum {:08x}, but the next segment says {} and {:08x}",
                ending.length, ending.sum, promised.length, promised.sum
            );
            self.scan.damage_to_all(&name, ending.length.min(promised.length), &what);
        }
        self.scan.segments.push(Segment { number: candidate.number, ending });
        Ok(())
    }

    /// Where the last segment ends: at the first unsound place that a crash explains, or with the file.
    fn find_end(&mut self, name: &str, length: u64) -> Result<u64, IoError> {
        let mut frames = self.reader(name, length)?;
        let (mut claimed, mut unsound) = (0, Vec::new());
        let mut sound_behind = 0;
        loop {
            match frames.next().map_err(IoError::of("reading", name))? {
                None => break,
                Some(Item::Frame { offset, header, .. }) => {
                    if header.kind == Kind::Durable && header.seq.counter <= offset {
                        claimed = claimed.max(header.seq.counter);
                    }
                    sound_behind += 1;
                }
                Some(Item::Unsound(place)) => unsound.push((place.offset, sound_behind)),
            }
        }
        let Some((offset, before)) = unsound.into_iter().find(|(offset, _)| *offset >= claimed) else {
            return Ok(length);
        };
        let tail = Tail {
            file: name.to_owned(),
            offset,
            bytes: length - offset,
            frames_behind: sound_behind - before,
        };
        self.scan.tail = Some(tail);
        Ok(offset)
    }

    /// Follows the frames of a segment; how it ends, if all are sound.
    fn frames(&mut self, number: u64, name: &str, end: u64) -> Result<Ending, IoError> {
        let (file, _) = open(self.disk, name)?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(0, &mut header).map_err(IoError::of("reading", name))?;
        let mut ending = Ending::default().after(&header);
        let mut frames = self.reader(name, end)?;
        while let Some(item) = frames.next().map_err(IoError::of("reading", name))? {
            match item {
                Item::Frame { offset, header, payload, bytes } => {
                    ending = ending.after(bytes);
                    let from = Place { segment: number, offset };
                    let taken = self.scan.traces.frame(self.snapshots, from, &header, payload);
                    if let Err(what) = taken {
                        let partition = Some(header.partition);
                        let damage = Damage { file: name.to_owned(), offset, partition, what };
                        self.scan.traces.trace(header.partition).void(&damage);
                        self.scan.note(damage);
                    }
                }
                Item::Unsound(place) => match place.header {
                    None => self.scan.damage_to_all(name, place.offset, place.what),
                    Some(header) => {
                        let partition = Some(header.partition);
                        let (file, what) = (name.to_owned(), place.what.to_owned());
                        let damage = Damage { file, offset: place.offset, partition, what };
                        self.scan.traces.damaged_payload(&header, &damage);
                        self.scan.note(damage);
                    }
                },
            }
        }
        Ok(ending)
    }

    fn reader(&self, name: &str, end: u64) -> Result<FrameReader, IoError> {
        let (file, _) = open(self.disk, name)?;
        Ok(FrameReader::new(file, self.seed, SEGMENT_HEADER_BYTES as u64, end))
    }

    /// Length and checksum of the bytes as they are.
    fn raw_ending(&self, name: &str, end: u64) -> Result<Ending, IoError> {
        let (file, _) = open(self.disk, name)?;
        let mut ending = Ending::default();
        while ending.length < end {
            let wanted = BLOCK_BYTES.min(end - ending.length);
            let mut block = vec![0; usize::try_from(wanted).unwrap_or_default()];
            file.read_exact_at(ending.length, &mut block).map_err(IoError::of("reading", name))?;
            ending = ending.after(&block);
        }
        Ok(ending)
    }
}
