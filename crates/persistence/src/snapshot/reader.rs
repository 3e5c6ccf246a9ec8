//! Reads a snapshot: its table first, then any partition by itself.

use super::format::{Extent, SNAPSHOT_HEADER_BYTES, Table, encode_header};
use crate::disk::{Disk, ReadFile};
use crate::error::{Damage, IoError, RecoveryError};
use crate::fields::Fields;
use crate::frame::{FRAME_HEADER_BYTES, Kind, Seed};
use crate::manifest::Entry;
use crate::names;
use crate::reader::{FrameReader, Item};
use stdx::PartitionId;

/// How many times longer than an LZ4 block its contents can be.
const LZ4_RATIO_MAX: usize = 256;

/// A snapshot whose table is sound.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) number: u64,
    pub(crate) table: Table,
    seed: Seed,
}

/// What a partition's stretch of a snapshot says, in order.
pub(crate) enum SnapshotFrame<'a> {
    /// The caller's state.
    Begun(&'a [u8]),
    /// Effects.
    Chunk(&'a [u8]),
}

impl Snapshot {
    /// Reads header and table of a snapshot that the manifest names.
    pub(crate) fn open(disk: &dyn Disk, log_id: u64, entry: Entry) -> Result<Snapshot, RecoveryError> {
        let Entry { number, first_segment } = entry;
        let name = names::snapshot(number);
        let seed = Seed::of_snapshot(log_id, number);
        let damage = |offset, what: &str| {
            RecoveryError::Damage(Damage {
                file: name.clone(),
                offset,
                partition: None,
                what: what.to_owned(),
            })
        };
        let file = match disk.open(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damage(0, "missing, but the manifest names it"));
            }
            opened => opened.map_err(IoError::of("opening", &name))?,
        };
        let length = file.length().map_err(IoError::of("reading", &name))?;
        let least = (SNAPSHOT_HEADER_BYTES + 2 * FRAME_HEADER_BYTES) as u64;
        if length < least {
            return Err(damage(length, "cut short"));
        }
        let mut header = [0; SNAPSHOT_HEADER_BYTES];
        file.read_exact_at(0, &mut header).map_err(IoError::of("reading", &name))?;
        if encode_header(seed, log_id, number, first_segment) != header {
            return Err(damage(0, "the header is not what the manifest promises of it"));
        }
        match read_table(file, seed, length).map_err(IoError::of("reading", &name))? {
            Ok(table) => Ok(Snapshot { number, table, seed }),
            Err((offset, what)) => Err(damage(offset, what)),
        }
    }

    /// A snapshot whose table cannot be read, with the partitions that its sound frames make.
    pub(crate) fn rebuilt(disk: &dyn Disk, log_id: u64, number: u64) -> Result<Snapshot, IoError> {
        let name = names::snapshot(number);
        let seed = Seed::of_snapshot(log_id, number);
        let file = disk.open(&name).map_err(IoError::of("opening", &name))?;
        let length = file.length().map_err(IoError::of("reading", &name))?;
        let mut frames = FrameReader::new(file, seed, SNAPSHOT_HEADER_BYTES as u64, length);
        let mut table = Table::default();
        let mut begun: Option<Extent> = None;
        while let Some(item) = frames.next().map_err(IoError::of("reading", &name))? {
            match item {
                Item::Frame { offset, header, .. } if header.kind == Kind::PartitionBegun => {
                    let (partition, seq) = (header.partition, header.seq);
                    begun = Some(Extent { partition, seq, start: offset, end: offset });
                }
                Item::Frame { offset, header, .. } if header.kind == Kind::PartitionEnded => {
                    let end = offset + header.frame_bytes();
                    let whole = begun.take().filter(|begun| begun.partition == header.partition);
                    table.0.extend(whole.map(|begun| Extent { end, ..begun }));
                }
                // Damage between beginning and end is found when the partition is read.
                _ => {}
            }
        }
        Ok(Snapshot { number, table, seed })
    }

    /// Gives what the snapshot says of the partition to `take`, which returns false to stop; the bytes read. `Err` of the
    /// inner result is damage, after which what was given is void.
    pub(crate) fn read(
        &self,
        disk: &dyn Disk,
        extent: &Extent,
        take: &mut dyn FnMut(SnapshotFrame<'_>) -> bool,
    ) -> Result<Result<(), Damage>, IoError> {
        let name = names::snapshot(self.number);
        let file = disk.open(&name).map_err(IoError::of("opening", &name))?;
        let mut frames = FrameReader::new(file, self.seed, extent.start, extent.end);
        let mut progress = Progress::default();
        let mut scratch = Vec::new();
        loop {
            let offset = frames.offset();
            let found = match frames.next().map_err(IoError::of("reading", &name))? {
                None if progress.ended => return Ok(Ok(())),
                None => Err("the end of the partition is missing"),
                Some(Item::Unsound(unsound)) => Err(unsound.what),
                Some(Item::Frame { header, .. }) if header.partition != extent.partition => {
                    Err("a frame of another partition")
                }
                Some(Item::Frame { header, payload, .. }) => {
                    let expected = (extent.seq, header.seq);
                    progress.step(header.kind, expected, payload, &mut scratch).and_then(|frame| {
                        let taken = frame.is_none_or(&mut *take);
                        if taken { Ok(()) } else { Err("the effects cannot be applied") }
                    })
                }
            };
            if let Err(what) = found {
                let (partition, what) = (Some(extent.partition), what.to_owned());
                return Ok(Err(Damage { file: name, offset, partition, what }));
            }
        }
    }

    /// Where `partition` is, if it is there.
    pub(crate) fn find(&self, partition: PartitionId) -> Option<&Extent> {
        self.table.find(partition)
    }
}

/// The first segment of the log that a snapshot's header names; `None` if the file is too short to have one.
pub(crate) fn first_segment(disk: &dyn Disk, number: u64) -> Result<Option<u64>, IoError> {
    let name = names::snapshot(number);
    let file = disk.open(&name).map_err(IoError::of("opening", &name))?;
    let mut header = [0; SNAPSHOT_HEADER_BYTES];
    if file.length().map_err(IoError::of("reading", &name))? < header.len() as u64 {
        return Ok(None);
    }
    file.read_exact_at(0, &mut header).map_err(IoError::of("reading", &name))?;
    let mut fields = Fields(&header);
    // The magic, the log and the number stand before it.
    Ok((0..3).try_for_each(|_| fields.u64().map(drop)).and_then(|()| fields.u64()))
}

/// How far a partition was read.
#[derive(Default)]
struct Progress {
    begun: bool,
    chunks: u64,
    ended: bool,
}

impl Progress {
    fn step<'a>(
        &mut self,
        kind: Kind,
        (expected, found): (stdx::Seq, stdx::Seq),
        payload: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<Option<SnapshotFrame<'a>>, &'static str> {
        match kind {
            Kind::PartitionBegun if !self.begun && expected == found => {
                self.begun = true;
                Ok(Some(SnapshotFrame::Begun(payload)))
            }
            Kind::Chunk | Kind::ChunkLz4 if self.begun && !self.ended && expected == found => {
                self.chunks += 1;
                let plain = kind == Kind::Chunk;
                let effects = if plain { payload } else { decompressed(payload, scratch)? };
                Ok(Some(SnapshotFrame::Chunk(effects)))
            }
            Kind::PartitionEnded if self.begun && !self.ended && found.counter == self.chunks => {
                self.ended = true;
                Ok(None)
            }
            _ => Err("a frame that does not belong here"),
        }
    }
}

fn decompressed<'a>(payload: &[u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], &'static str> {
    let bad = "a compressed chunk that cannot be decompressed";
    let mut fields = Fields(payload);
    let length = fields.u32().ok_or(bad)? as usize;
    // An LZ4 block grows by less than that: memory follows the input.
    if length / LZ4_RATIO_MAX > payload.len() {
        return Err(bad);
    }
    scratch.clear();
    scratch.resize(length, 0);
    let written = lz4_flex::block::decompress_into(fields.0, scratch).map_err(|_| bad)?;
    if written == length { Ok(scratch) } else { Err(bad) }
}

/// The table, by way of the footer; or where it is damaged and how.
type FoundTable = Result<Table, (u64, &'static str)>;

fn read_table(file: Box<dyn ReadFile>, seed: Seed, length: u64) -> std::io::Result<FoundTable> {
    let footer_at = length - FRAME_HEADER_BYTES as u64;
    let mut bytes = [0; FRAME_HEADER_BYTES];
    file.read_exact_at(footer_at, &mut bytes)?;
    let footer = crate::frame::Header::decode(seed, &bytes).filter(|footer| footer.kind == Kind::Footer);
    let Some(footer) = footer else { return Ok(Err((footer_at, "there is no footer"))) };
    let table_at = footer.seq.counter;
    if !(SNAPSHOT_HEADER_BYTES as u64..footer_at).contains(&table_at) {
        return Ok(Err((footer_at, "the footer names a table outside of the file")));
    }
    let mut frames = FrameReader::new(file, seed, table_at, footer_at);
    let table = match frames.next()? {
        Some(Item::Frame { header, payload, .. }) if header.kind == Kind::Table => {
            Table::decode(payload, table_at).filter(|table| table.0.len() as u64 == header.seq.counter)
        }
        _ => None,
    };
    let complete = frames.offset() == footer_at;
    Ok(table.filter(|_| complete).ok_or((table_at, "the table of partitions is not sound")))
}
