//! The Raft log's file: frames that are either whole or cut off.
//!
//! ```text
//! "HCRAFT" 0 1 | frame | frame | ...
//! frame   = length u32 | CRC32C of length and payload u32 | payload     (little endian)
//! payload = (length u32 | record) ...
//! ```
//!
//! One call of `append` is one frame, synced before the next begins. So a crash can harm only the last frame, which
//! nobody was told of: it is cut at the next start. A bad frame with a good one somewhere behind it is damage, and the
//! node refuses to start: a vote forgotten silently could be given twice.

use cluster::raft::LogDisk;
use parking_lot::Mutex;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::replace;

const MAGIC: &[u8; 8] = b"HCRAFT\0\x01";
const FRAME_HEADER_BYTES: usize = 8;
/// Payload of a frame when the whole log is rewritten.
const REWRITE_FRAME_BYTES: usize = 1024 * 1024;
/// Longest log that is read: far above what compaction leaves.
const LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The log, closed until [`LogDisk::load`].
#[derive(Debug)]
pub struct RaftLog {
    path: PathBuf,
    /// The open file, or why nothing may be written.
    file: Mutex<Result<File, &'static str>>,
}

impl RaftLog {
    pub(super) fn new(path: PathBuf) -> RaftLog {
        RaftLog { path, file: Mutex::new(Err("the raft log has not been loaded")) }
    }

    fn damage(&self, offset: usize, reason: &str) -> io::Error {
        let text = format!("{} is damaged at offset {offset}: {reason}", self.path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    }

    fn directory(&self) -> &Path {
        self.path.parent().expect("the log was named inside a directory")
    }

    /// Runs one write. After a failed one nothing is known about the file, so nothing more is written.
    fn guarded(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let mut file = self.file.lock();
        let open = file.as_mut().map_err(|reason| io::Error::other(*reason))?;
        let result = write(open);
        if result.is_err() {
            *file = Err("an earlier write of the raft log failed");
        }
        result
    }

    fn begin(&self, file: &mut File) -> io::Result<()> {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(MAGIC)?;
        file.sync_all()?;
        File::open(self.directory())?.sync_all()
    }
}

impl LogDisk for RaftLog {
    fn load(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        if file.metadata()?.len() > LOG_BYTES_MAX {
            return Err(self.damage(0, "it is larger than any log can be"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut records = Vec::new();
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(&bytes) {
            self.begin(&mut file)?;
        } else if !bytes.starts_with(MAGIC) {
            return Err(self.damage(0, "this is not a raft log"));
        } else {
            let end = self.read_frames(&bytes, &mut records)?;
            if end < bytes.len() {
                let cut = bytes.len() - end;
                tracing::warn!(path = %self.path.display(), offset = end, bytes = cut, "torn end of the raft log cut");
                file.set_len(end as u64)?;
                file.sync_all()?;
            }
            file.seek(SeekFrom::Start(end as u64))?;
        }
        *self.file.lock() = Ok(file);
        Ok(records)
    }

    fn append(&self, records: &[Vec<u8>]) -> io::Result<()> {
        let bytes = frame(records)?;
        self.guarded(|file| {
            file.write_all(&bytes)?;
            file.sync_data()
        })
    }

    fn replace(&self, records: &[Vec<u8>]) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        let mut rest = records;
        while !rest.is_empty() {
            let mut size = 0;
            let fits = rest.iter().take_while(|record| {
                size += record.len();
                size <= REWRITE_FRAME_BYTES
            });
            let (group, behind) = rest.split_at(fits.count().max(1));
            bytes.extend(frame(group)?);
            rest = behind;
        }
        let name = self.path.file_name().and_then(|name| name.to_str()).expect("the log has a plain name");
        self.guarded(|file| {
            replace(self.directory(), name, &bytes)?;
            *file = OpenOptions::new().read(true).append(true).open(&self.path)?;
            Ok(())
        })
    }
}

impl RaftLog {
    /// Collects the records of all good frames; returns where they end.
    fn read_frames(&self, bytes: &[u8], records: &mut Vec<Vec<u8>>) -> io::Result<usize> {
        let mut offset = MAGIC.len();
        while offset < bytes.len() {
            let Some((payload, end)) = frame_at(bytes, offset) else {
                let later = (offset + 1..bytes.len()).find(|later| frame_at(bytes, *later).is_some());
                return match later {
                    None => Ok(offset),
                    Some(later) => Err(self.damage(offset, &format!("a good record follows at {later}"))),
                };
            };
            split_records(payload, records).ok_or_else(|| self.damage(offset, "records overlap"))?;
            offset = end;
        }
        Ok(offset)
    }
}

fn frame(records: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "a raft record is too long for the log");
    let payload_len: usize = records.iter().map(|record| 4 + record.len()).sum();
    let length = u32::try_from(payload_len).map_err(too_long)?.to_le_bytes();
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + payload_len);
    bytes.extend(length);
    bytes.extend([0; 4]);
    for record in records {
        bytes.extend(u32::try_from(record.len()).map_err(too_long)?.to_le_bytes());
        bytes.extend(record);
    }
    let sum = checksum(length, &bytes[FRAME_HEADER_BYTES..]);
    bytes[4..FRAME_HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

/// The payload of the good frame at `offset`, and where it ends. A frame has at least one record.
fn frame_at(bytes: &[u8], offset: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(offset..)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let payload_len = u32::from_le_bytes(*length) as usize;
    let payload = rest.get(..payload_len).filter(|payload| payload.len() >= 4)?;
    let is_good = checksum(*length, payload) == u32::from_le_bytes(*sum);
    is_good.then_some((payload, offset + FRAME_HEADER_BYTES + payload_len))
}

fn split_records(mut payload: &[u8], records: &mut Vec<Vec<u8>>) -> Option<()> {
    while !payload.is_empty() {
        let (length, rest) = payload.split_first_chunk::<4>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        records.push(record.to_vec());
        payload = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    /// A log holding three frames: `a`, then `bb` and `ccc`, then `dddd`; and the offsets at which they begin.
    fn written(dir: &Path) -> (PathBuf, [usize; 3]) {
        let path = dir.join("raft.log");
        let log = RaftLog::new(path.clone());
        assert!(log.append(&records(&["x"])).is_err(), "not loaded");
        assert!(log.load().expect("a new file").is_empty());
        let mut offsets = [0; 3];
        for (offset, group) in offsets.iter_mut().zip([&["a"][..], &["bb", "ccc"], &["dddd"]]) {
            *offset = std::fs::metadata(&path).expect("it is there").len() as usize;
            log.append(&records(group)).expect("written");
        }
        (path, offsets)
    }

    fn load(path: &Path) -> io::Result<Vec<Vec<u8>>> {
        RaftLog::new(path.to_owned()).load()
    }

    #[test]
    fn what_was_appended_is_loaded() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, _) = written(dir.path());
        let log = RaftLog::new(path.clone());
        assert_eq!(log.load().expect("whole"), records(&["a", "bb", "ccc", "dddd"]));
        log.append(&records(&["e"])).expect("written");
        log.replace(&records(&["f", "g"])).expect("written");
        log.append(&records(&["h"])).expect("written");
        assert_eq!(load(&path).expect("whole"), records(&["f", "g", "h"]));
        let large = vec![vec![1; REWRITE_FRAME_BYTES]; 3];
        log.replace(&large).expect("written");
        assert_eq!(load(&path).expect("whole"), large);
    }

    #[test]
    fn a_torn_tail_is_cut_wherever_it_was_torn() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, offsets) = written(dir.path());
        let whole = std::fs::read(&path).expect("it is there");
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).expect("written");
            let expect = match end {
                _ if end < offsets[1] => &[][..],
                _ if end < offsets[2] => &["a"],
                _ => &["a", "bb", "ccc"],
            };
            let log = RaftLog::new(path.clone());
            assert_eq!(log.load().expect("torn, not damaged"), records(expect), "cut at {end}");
            log.append(&records(&["next"])).expect("written");
            let next = [expect, &["next"]].concat();
            assert_eq!(load(&path).expect("whole again"), records(&next), "cut at {end}");
        }
        // A tail whose length reached the disk before its contents.
        let mut zeros = whole[..offsets[2]].to_vec();
        zeros.resize(whole.len() + 4096, 0);
        std::fs::write(&path, &zeros).expect("written");
        assert_eq!(load(&path).expect("torn, not damaged"), records(&["a", "bb", "ccc"]));
    }

    #[test]
    fn damage_before_the_tail_is_refused_by_name_and_offset() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, offsets) = written(dir.path());
        let whole = std::fs::read(&path).expect("it is there");
        for position in 0..offsets[2] {
            for bit in [1, 128] {
                let mut damaged = whole.clone();
                damaged[position] ^= bit;
                std::fs::write(&path, &damaged).expect("written");
                let error = load(&path).expect_err("damaged").to_string();
                let at = offsets.iter().rev().find(|offset| position >= **offset).copied().unwrap_or(0);
                assert!(
                    error.contains(&format!("raft.log is damaged at offset {at}:")),
                    "{position}: {error}"
                );
                assert_eq!(std::fs::read(&path).expect("it is there"), damaged, "left as it was");
            }
        }
    }

    #[test]
    fn nothing_is_written_after_a_failed_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, _) = written(dir.path());
        let log = RaftLog::new(path.clone());
        log.load().expect("whole");
        // Read-only handle: the next write fails.
        *log.file.lock() = File::open(&path).map_err(|_| "not reached");
        assert!(log.append(&records(&["x"])).is_err());
        let again = log.append(&records(&["y"])).expect_err("given up").to_string();
        assert!(again.contains("earlier write"), "{again}");
    }
}
