//! The types of the Raft group's interface: configuration, errors, status.

use std::fmt;
use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stdx::{Clock, Mono, NodeId};

use crate::map::{Applied, MapCommand, Member};

openraft::declare_raft_types!(
    /// What the Raft library is instantiated with.
    pub TypeConfig:
        D = MapCommand,
        R = Applied,
        NodeId = u64,
        Node = RaftNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// Where a member of the Raft group is reached; kept in its membership, so that a node can find the others before it
/// has the map.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftNode {
    /// Where Raft requests are sent.
    pub http: SocketAddr,
    /// Name shown to people.
    pub name: String,
}

impl Default for RaftNode {
    fn default() -> RaftNode {
        RaftNode { http: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), name: String::new() }
    }
}

impl From<&Member> for RaftNode {
    fn from(member: &Member) -> RaftNode {
        RaftNode { http: member.http, name: member.name.clone() }
    }
}

/// How a Raft group member runs.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This node's id, kept beside its log. An empty directory means a new id.
    pub node: NodeId,
    /// Interval of the leader's heartbeats; also the longest a single append may take.
    pub heartbeat: Duration,
    /// Shortest silence after which a voter stands for election.
    pub election_min: Duration,
    /// Longest such silence.
    pub election_max: Duration,
    /// Longest wait for a proposal.
    pub propose_timeout: Duration,
    /// Log entries between snapshots.
    pub snapshot_entries: u64,
    /// How long a voter may be down before another node takes its place.
    pub voter_replace_after: Duration,
    /// The clock that leadership is reported by.
    pub clock: Clock,
}

impl RaftConfig {
    /// The usual timing: a new leader within about half a second.
    pub fn new(node: NodeId, clock: Clock) -> RaftConfig {
        RaftConfig {
            node,
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
            propose_timeout: Duration::from_millis(2_000),
            snapshot_entries: 1_000,
            voter_replace_after: Duration::from_secs(30),
            clock,
        }
    }
}

/// Why the group could not be started or created.
#[derive(Debug)]
pub enum StartError {
    /// The disk failed, or holds what cannot be understood.
    Disk(std::io::Error),
    /// The disk belongs to another node.
    ForeignDisk {
        /// The id found on the disk.
        found: NodeId,
        /// This node's id.
        expected: NodeId,
    },
    /// The timing is contradictory.
    Config(String),
    /// The Raft library stopped.
    Raft(String),
    /// This node is part of a cluster already.
    AlreadyMember,
    /// The first proposals did not go through.
    Propose(ProposeError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Disk(error) => write!(f, "raft log: {error}"),
            StartError::ForeignDisk { found, expected } => {
                write!(f, "raft log belongs to node {found}, this is node {expected}")
            }
            StartError::Config(reason) => write!(f, "raft configuration: {reason}"),
            StartError::Raft(reason) => write!(f, "raft: {reason}"),
            StartError::AlreadyMember => f.write_str("this node is part of a cluster already"),
            StartError::Propose(error) => write!(f, "creating the cluster: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why a proposal has no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProposeError {
    /// Not executed: this node does not lead.
    NotLeader {
        /// Who does, as far as this node knows.
        leader: Option<(NodeId, RaftNode)>,
    },
    /// Not executed: another change of the group's membership is under way. Worth another try.
    Busy,
    /// In doubt: no answer in time. It may still be committed; every command is safe to propose again.
    Timeout,
    /// The group has stopped on this node, for this reason.
    Stopped(String),
}

impl fmt::Display for ProposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProposeError::NotLeader { leader: Some((node, at)) } => {
                write!(f, "not the leader; that is {} (node {node})", at.name)
            }
            ProposeError::NotLeader { leader: None } => f.write_str("no leader is known"),
            ProposeError::Busy => f.write_str("another membership change is under way"),
            ProposeError::Timeout => f.write_str("no quorum answered in time"),
            ProposeError::Stopped(reason) => write!(f, "raft has stopped: {reason}"),
        }
    }
}

impl std::error::Error for ProposeError {}

/// A leadership that may be acted upon: everything committed before it has been applied here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// The Raft term.
    pub term: u64,
    /// A moment after this node was elected: when it noticed that it had applied the first entry of its term.
    pub since: Mono,
    /// A quorum has acknowledged this leadership at this moment or later.
    pub quorum_acked: Mono,
}

impl Leadership {
    /// How long ago a quorum surely still followed.
    pub fn quorum_acked_ago(&self, now: Mono) -> Duration {
        now.since(self.quorum_acked)
    }
}

/// What a node is to the Raft group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RaftState {
    /// Receives the log without voting, or is not part of the group yet.
    Learner,
    /// Votes and follows.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads, or thinks so.
    Leader,
    /// Has stopped.
    Shutdown,
}

/// A summary for people and metrics.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftStatus {
    /// This node's part.
    pub state: RaftState,
    /// Current term.
    pub term: u64,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Index of the last log entry here.
    pub last_log: u64,
    /// Index of the last entry applied here.
    pub applied: u64,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who only receives the log.
    pub learners: Vec<NodeId>,
    /// Why the group has stopped on this node, if it has.
    pub fault: Option<String>,
}
