//! What to go by when the manifest is damaged: the files themselves. Good enough to read what is left, not to go on from, because what
//! the manifest had given up (an old snapshot, a segment that is not removed yet) cannot be told from what it needs.

use crate::check::log_id;
use crate::disk::Disk;
use crate::error::{IoError, RecoveryError};
use crate::manifest::{Entry, Manifest, SNAPSHOTS_KEPT_MAX};
use crate::names;
use crate::snapshot::{Snapshot, first_segment};

/// The manifest that would name all segments and the newest snapshots that are whole; `None` if there are no segments.
pub(super) fn manifest(disk: &dyn Disk, names: &[String]) -> Result<Option<Manifest>, IoError> {
    let segments = names.iter().filter_map(|name| names::segment_number(name));
    let Some(first) = segments.min() else { return Ok(None) };
    let mut manifest = Manifest { first_segment: first, ..Manifest::new(log_id(disk, names)?) };
    let mut numbers: Vec<_> = names.iter().filter_map(|name| names::snapshot_number(name)).collect();
    numbers.sort_unstable();
    for number in numbers.into_iter().rev() {
        let Some(first_segment) = first_segment(disk, number)? else { continue };
        let entry = Entry { number, first_segment };
        match Snapshot::open(disk, manifest.log_id, entry) {
            Ok(_) if manifest.snapshots.len() < SNAPSHOTS_KEPT_MAX => manifest.snapshots.push(entry),
            Err(RecoveryError::Io(error)) => return Err(error),
            _ => {}
        }
    }
    Ok(Some(manifest))
}
