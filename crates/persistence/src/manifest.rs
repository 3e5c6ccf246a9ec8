//! The manifest: which snapshots count, and from which segment on the log is needed.
//!
//! Replacing it is the one step that commits a snapshot. It is text, so that a person can read it, with a checksum in its
//! last line; only the very text that is written is accepted.

use crate::disk::{Disk, read_small};
use crate::error::{Damage, IoError, RecoveryError};
use crate::names::{MANIFEST, MANIFEST_NEW};
use std::fmt::Write;
use std::io;

const FIRST_LINE: &str = "hypercache manifest 1";
/// Most snapshots that a manifest names.
pub const SNAPSHOTS_KEPT_MAX: usize = 4;
/// Longest manifest that is read.
const BYTES_MAX: u64 = 4 * 1024;

/// What the manifest says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    pub(crate) log_id: u64,
    /// Oldest segment that is needed: of the oldest snapshot, or 1.
    pub(crate) first_segment: u64,
    /// Newest first.
    pub(crate) snapshots: Vec<Entry>,
}

/// A snapshot that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    /// The marks of its partitions, and all that follows them, are in this segment and those after it.
    pub(crate) first_segment: u64,
}

impl Manifest {
    /// Of a log that has just begun.
    pub(crate) fn new(log_id: u64) -> Manifest {
        Manifest { log_id, first_segment: 1, snapshots: Vec::new() }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text =
            format!("{FIRST_LINE}\nlog {:016x}\nfirst-segment {}\n", self.log_id, self.first_segment);
        for Entry { number, first_segment } in &self.snapshots {
            let written = writeln!(text, "snapshot {number} first-segment {first_segment}");
            written.expect("a string takes everything");
        }
        let written = writeln!(text, "crc32c {:08x}", crc32c::crc32c(text.as_bytes()));
        written.expect("a string takes everything");
        text.into_bytes()
    }

    /// The manifest that was encoded as `bytes`; `None` if none was.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Manifest> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        let mut manifest = Manifest::new(0);
        lines.next().filter(|line| *line == FIRST_LINE)?;
        manifest.log_id = u64::from_str_radix(lines.next()?.strip_prefix("log ")?, 16).ok()?;
        manifest.first_segment = lines.next()?.strip_prefix("first-segment ")?.parse().ok()?;
        for line in lines {
            let Some(rest) = line.strip_prefix("snapshot ") else { break };
            let (number, first_segment) = rest.split_once(" first-segment ")?;
            let entry = Entry { number: number.parse().ok()?, first_segment: first_segment.parse().ok()? };
            manifest.snapshots.push(entry);
        }
        // Written anew it must be the same: that includes the checksum, and that nothing follows.
        (manifest.encode() == bytes).then_some(manifest)
    }

    /// The manifest of the directory; `None` if there is none.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Manifest>, RecoveryError> {
        let damage = |what: &str| {
            RecoveryError::Damage(Damage {
                file: MANIFEST.to_owned(),
                offset: 0,
                partition: None,
                what: what.to_owned(),
            })
        };
        match read_small(disk, MANIFEST, BYTES_MAX) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => match Manifest::decode(&bytes) {
                Some(manifest) => Ok(Some(manifest)),
                None => Err(damage("not a manifest of version 1 with a right checksum")),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(damage("too large for a manifest"))
            }
            Err(error) => Err(IoError::of("reading", MANIFEST)(error).into()),
        }
    }

    /// Replaces the manifest durably: temporary file, sync, rename, sync of the directory.
    ///
    /// # Errors
    /// What the disk says, and whether the old manifest counts for certain.
    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), WriteError> {
        let refused = |action| move |error| WriteError::Refused(IoError::of(action, MANIFEST_NEW)(error));
        match disk.remove(MANIFEST_NEW) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(refused("removing")(error));
            }
            _ => {}
        }
        let mut file = disk.create(MANIFEST_NEW).map_err(refused("creating"))?;
        file.append(&self.encode()).map_err(refused("writing"))?;
        file.sync().map_err(|error| WriteError::Unknown(IoError::of("syncing", MANIFEST_NEW)(error)))?;
        disk.rename(MANIFEST_NEW, MANIFEST)
            .map_err(|error| WriteError::Unknown(IoError::of("renaming", MANIFEST_NEW)(error)))?;
        disk.sync_directory().map_err(|error| WriteError::Unknown(IoError::of("syncing", "")(error)))
    }
}

/// Why a manifest was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The old one counts.
    Refused(IoError),
    /// A sync or the rename failed: nobody knows which one counts, or what else is lost.
    Unknown(IoError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        let entry = |number, first_segment| Entry { number, first_segment };
        Manifest { log_id: 0xfeed, first_segment: 9, snapshots: vec![entry(7, 12), entry(6, 9)] }
    }

    /// The example of `docs/formats/snapshot.md`.
    #[test]
    fn text_is_as_documented() {
        let text = "hypercache manifest 1\nlog 000000000000feed\nfirst-segment 9\n\
                    snapshot 7 first-segment 12\nsnapshot 6 first-segment 9\ncrc32c 569d26a3\n";
        assert_eq!(String::from_utf8(example().encode()), Ok(text.to_owned()));
    }

    #[test]
    fn any_flip_and_any_cut_is_noticed() {
        for manifest in [example(), Manifest::new(1)] {
            let mut bytes = manifest.encode();
            assert_eq!(Manifest::decode(&bytes), Some(manifest));
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Manifest::decode(&bytes), None, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            for end in 0..bytes.len() {
                assert_eq!(Manifest::decode(&bytes[..end]), None, "cut at {end}");
            }
        }
    }
}
