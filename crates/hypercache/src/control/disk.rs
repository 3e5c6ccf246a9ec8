//! The node's directory: who this node is, that it runs once, and where its Raft log lives.
//!
//! ```text
//! lock             held by the running process; holds its process number
//! node.json        id, name and last incarnation; replaced whole at every start
//! raft.log         the Raft log, see `log`
//! gossip.snapshot  addresses of live members, for a restart that finds its seeds gone
//! ```
//!
//! An empty directory is a new node with a new id: a Raft voter that has lost its log must never answer under its old
//! id. For the same reason a directory with a log but without `node.json` is refused instead of given a new id. The
//! incarnation grows with every start and is on disk before anybody hears of it.

mod log;
mod replace;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use stdx::random::entropy_u64;
use stdx::{Clock, NodeId};

use super::hex;
pub use log::RaftLog;
pub(super) use replace::replace;

const LOCK: &str = "lock";
const NODE: &str = "node.json";
const RAFT_LOG: &str = "raft.log";
const GOSSIP_SNAPSHOT: &str = "gossip.snapshot";
const FORMAT: u32 = 1;
/// Longest `node.json` and `gossip.snapshot` that are read.
const SMALL_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// An opened directory; the lock is held until it is dropped.
#[derive(Debug)]
pub struct Disk {
    /// This node's id.
    pub node_id: NodeId,
    /// The number of this start: greater than that of any before it.
    pub incarnation: u64,
    /// Whether the directory held no node before.
    pub is_new: bool,
    dir: PathBuf,
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum DiskError {
    /// The system refused.
    Io {
        /// What was tried.
        action: String,
        /// What it said.
        error: io::Error,
    },
    /// Another process uses it.
    InUse {
        /// The directory.
        dir: PathBuf,
        /// That process's number, if it wrote it down.
        process: Option<u32>,
    },
    /// A file is not what it should be.
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskError::Io { action, error } => write!(f, "{action}: {error}"),
            DiskError::InUse { dir, process: Some(process) } => {
                write!(f, "directory {} is in use by process {process}", dir.display())
            }
            DiskError::InUse { dir, process: None } => {
                write!(f, "directory {} is in use by another process", dir.display())
            }
            DiskError::Damaged { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for DiskError {}

/// The contents of `node.json`.
#[derive(Serialize, Deserialize)]
struct NodeFile {
    format: u32,
    node: String,
    name: String,
    incarnation: u64,
}

/// Opens `dir` for the node called `name`, making it if need be, and counts this start.
pub fn open(dir: &Path, name: &str, clock: &Clock) -> Result<Disk, DiskError> {
    let failed = |action: &str| {
        let action = format!("{action} {}", dir.display());
        move |error| DiskError::Io { action, error }
    };
    std::fs::create_dir_all(dir).map_err(failed("making directory"))?;
    let lock = lock(dir)?;
    let path = dir.join(NODE);
    let known = read_node(&path)?;
    let has_log = std::fs::metadata(dir.join(RAFT_LOG)).is_ok_and(|log| log.len() > 0);
    if known.is_none() && has_log {
        let reason =
            format!("missing, but {RAFT_LOG} is there: this node's identity is lost. Use an empty directory");
        return Err(DiskError::Damaged { path, reason });
    }
    let node_id = known.as_ref().map_or_else(new_id, |(node, _)| *node);
    let last = known.as_ref().map_or(0, |(_, incarnation)| *incarnation);
    let incarnation = clock.wall().0.max(last.saturating_add(1));
    let file = NodeFile { format: FORMAT, node: hex::node(node_id), name: name.to_owned(), incarnation };
    let mut text = serde_json::to_vec_pretty(&file).expect("a node file is plain data");
    text.push(b'\n');
    replace(dir, NODE, &text).map_err(failed("writing node.json in"))?;
    Ok(Disk { node_id, incarnation, is_new: known.is_none(), dir: dir.to_owned(), _lock: lock })
}

impl Disk {
    /// The Raft log in this directory.
    pub fn raft_log(&self) -> RaftLog {
        RaftLog::new(self.dir.join(RAFT_LOG))
    }

    /// The membership snapshot of the last run, if there is a readable one.
    pub fn gossip_snapshot(&self) -> Option<Vec<u8>> {
        let path = self.dir.join(GOSSIP_SNAPSHOT);
        match read_small(&path) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the membership snapshot cannot be read");
                None
            }
        }
    }

    /// Writes a new membership snapshot. Blocks.
    pub(super) fn save_gossip_snapshot(dir: &Path, bytes: &[u8]) -> io::Result<()> {
        replace(dir, GOSSIP_SNAPSHOT, bytes)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn new_id() -> NodeId {
    // Zero means "unknown" in gossip.
    NodeId(std::iter::repeat_with(entropy_u64).find(|id| *id != 0).expect("an endless sequence"))
}

fn lock(dir: &Path) -> Result<File, DiskError> {
    let path = dir.join(LOCK);
    let failed = |error| DiskError::Io { action: format!("opening {}", path.display()), error };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // The number only helps people; without it the message is still right.
            let read = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
            let process = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(DiskError::InUse { dir: dir.to_owned(), process });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn read_node(path: &Path) -> Result<Option<(NodeId, u64)>, DiskError> {
    let failed = |error| DiskError::Io { action: format!("reading {}", path.display()), error };
    let Some(text) = read_small(path).map_err(failed)? else { return Ok(None) };
    let damaged = |reason: String| DiskError::Damaged { path: path.to_owned(), reason };
    let file: NodeFile = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if file.format != FORMAT {
        return Err(damaged(format!("written in format {}, this version knows {FORMAT}", file.format)));
    }
    match hex::parse_number(&file.node) {
        Some(id) if id != 0 => Ok(Some((NodeId(id), file.incarnation))),
        _ => Err(damaged(format!("{:?} is not a node id", file.node))),
    }
}

fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Wall;

    #[test]
    fn a_node_keeps_its_id_and_grows_its_incarnation() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Clock::manual(Wall(5_000));
        let first = open(dir.path(), "a", &clock).expect("an empty directory");
        assert!(first.is_new && first.node_id != NodeId(0));
        assert_eq!(first.incarnation, 5_000);
        let id = first.node_id;
        drop(first);
        // The clock stands still, and later goes back: the incarnation grows all the same.
        let second = open(dir.path(), "b", &clock).expect("the same node");
        assert_eq!((second.node_id, second.incarnation, second.is_new), (id, 5_001, false));
        drop(second);
        let third = open(dir.path(), "b", &Clock::manual(Wall(1))).expect("the same node");
        assert_eq!((third.node_id, third.incarnation), (id, 5_002));
        let other = tempfile::tempdir().expect("a directory");
        assert_ne!(open(other.path(), "a", &clock).expect("an empty directory").node_id, id);
    }

    #[test]
    fn two_processes_cannot_share_a_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Clock::system();
        let _held = open(dir.path(), "a", &clock).expect("an empty directory");
        let refused = open(dir.path(), "a", &clock).expect_err("it is in use").to_string();
        assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
    }

    #[test]
    fn a_lost_or_damaged_identity_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Clock::system();
        drop(open(dir.path(), "a", &clock).expect("an empty directory"));
        std::fs::write(dir.path().join(NODE), b"{\"format\":1").expect("written");
        assert!(matches!(open(dir.path(), "a", &clock), Err(DiskError::Damaged { .. })));
        std::fs::remove_file(dir.path().join(NODE)).expect("removed");
        std::fs::write(dir.path().join(RAFT_LOG), b"x").expect("written");
        let refused = open(dir.path(), "a", &clock).expect_err("the id is lost").to_string();
        assert!(refused.contains("identity is lost"), "{refused}");
    }
}
