//! What can go wrong, one type for each family: the disk, the log that has failed for ever, appending, snapshots, recovery,
//! and damage, which is a finding rather than an error of the system.

use std::fmt;
use std::io;
use std::sync::Arc;
use stdx::PartitionId;

use crate::log::Position;

/// The disk refused something.
#[derive(Debug)]
pub struct IoError {
    /// What was tried: "reading", "syncing".
    pub action: &'static str,
    /// The file's name; empty for the directory.
    pub file: String,
    /// What the system said.
    pub error: io::Error,
}

impl IoError {
    /// For `map_err`: what was tried with which file.
    pub(crate) fn of(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> IoError {
        let file = file.to_owned();
        move |error| IoError { action, file, error }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = if self.file.is_empty() { "the directory" } else { &self.file };
        write!(f, "{} {file}: {}", self.action, self.error)
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The log has failed for ever: nothing more is written or acknowledged, because what is on the disk is unknown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure(pub(crate) Arc<str>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the append-only log has failed: {}", self.0)
    }
}

impl std::error::Error for Failure {}

/// Why a record was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// The log has failed for ever.
    Failed(Failure),
    /// The record does not follow what the log holds of its partition: a mistake of the caller.
    OutOfOrder {
        /// The record's partition.
        partition: PartitionId,
        /// Which rule it breaks.
        what: &'static str,
    },
    /// A record has at most 4 GiB - 1 bytes.
    TooLong,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Failed(failure) => failure.fmt(f),
            AppendError::OutOfOrder { partition, what } => write!(f, "partition {partition}: {what}"),
            AppendError::TooLong => f.write_str("a record of 4 GiB or more"),
        }
    }
}

impl std::error::Error for AppendError {}

impl From<Failure> for AppendError {
    fn from(failure: Failure) -> AppendError {
        AppendError::Failed(failure)
    }
}

/// Why a snapshot was not written. Unless it says `Failed`, the log goes on and another snapshot may be begun.
#[derive(Debug)]
pub enum SnapshotError {
    /// The log has failed for ever, perhaps by a sync of this snapshot.
    Failed(Failure),
    /// The disk refused to write the snapshot.
    Io(IoError),
    /// The log did not take the mark that ties a partition to the snapshot.
    Mark(AppendError),
    /// The log is not durable up to this position yet, so what the snapshot relies on might be lost. Try again when it is.
    NotDurable(Position),
    /// This partition is held, but neither in the snapshot nor begun since the snapshot was.
    Uncovered(PartitionId),
    /// A call out of order: a mistake of the caller.
    Misuse(&'static str),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Failed(failure) => failure.fmt(f),
            SnapshotError::Io(error) => write!(f, "the snapshot was given up: {error}"),
            SnapshotError::Mark(error) => write!(f, "the snapshot was given up: {error}"),
            SnapshotError::NotDurable(position) => write!(f, "the log is not durable up to {}", position.0),
            SnapshotError::Uncovered(partition) => write!(f, "partition {partition} is not in the snapshot"),
            SnapshotError::Misuse(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl From<Failure> for SnapshotError {
    fn from(failure: Failure) -> SnapshotError {
        SnapshotError::Failed(failure)
    }
}

impl From<IoError> for SnapshotError {
    fn from(error: IoError) -> SnapshotError {
        SnapshotError::Io(error)
    }
}

/// Bytes that are not what was written, and what that concerns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Bytes into the file at which it was noticed.
    pub offset: u64,
    /// The one partition whose data it concerns; `None` if that cannot be told, so that it may be any.
    pub partition: Option<PartitionId>,
    /// What is wrong, and what should be there.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at offset {}: {}", self.file, self.offset, self.what)?;
        match self.partition {
            Some(partition) => write!(f, " (partition {partition})"),
            None => f.write_str(" (any partition)"),
        }
    }
}

impl std::error::Error for Damage {}

/// Why nothing can be recovered.
#[derive(Debug)]
pub enum RecoveryError {
    /// The disk refused.
    Io(IoError),
    /// What everything else hangs on is damaged or missing.
    Damage(Damage),
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryError::Io(error) => error.fmt(f),
            RecoveryError::Damage(damage) => damage.fmt(f),
        }
    }
}

impl std::error::Error for RecoveryError {}

impl From<IoError> for RecoveryError {
    fn from(error: IoError) -> RecoveryError {
        RecoveryError::Io(error)
    }
}

impl From<Damage> for RecoveryError {
    fn from(damage: Damage) -> RecoveryError {
        RecoveryError::Damage(damage)
    }
}
