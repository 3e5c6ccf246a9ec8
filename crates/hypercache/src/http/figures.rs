//! The numbers that `/metrics` and `/api/filter/stats` write, as plain data: whoever knows them fills them in.

use commands::info::{InfoData, SyncInfo};
use store::FilterTotals;

/// Numbers of the node.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// What INFO says: memory, connections, counters, processor time, partitions, lease.
    pub info: InfoData,
    /// Keys in all databases whose primary is this node.
    pub items: u64,
    /// Commands held back for a while: no lease, no primary, a hand-over.
    pub held_back: u64,
    /// Writes answered INDOUBT.
    pub in_doubt: u64,
    /// Partitions copied whole to a peer.
    pub full_syncs: u64,
    /// Commands that ran at least once.
    pub commands: Vec<CommandFigures>,
    /// Peers that replicate from this node.
    pub lags: Vec<Lag>,
}

/// Numbers of filters and digests.
#[derive(Clone, Copy, Debug, Default)]
pub struct FilterFigures {
    /// Filters whose primary is this node.
    pub held: FilterTotals,
    /// How peers of this node came to be up to date.
    pub syncs: SyncInfo,
}

/// Numbers of one command.
#[derive(Clone, Debug, Default)]
pub struct CommandFigures {
    /// Name, in lower case.
    pub name: String,
    /// Times it ran.
    pub calls: u64,
    /// Nanoseconds it took in all.
    pub nanos: u64,
    /// Times it answered with an error.
    pub failed: u64,
    /// Times it was refused before it ran.
    pub rejected: u64,
    /// (upper bound in nanoseconds, calls in this bucket), by bound; empty buckets may be left out.
    pub buckets: Vec<(u64, u64)>,
}

/// How far a peer is behind.
#[derive(Clone, Debug, Default)]
pub struct Lag {
    /// The peer's name.
    pub peer: String,
    /// Most records it is behind in any one partition.
    pub records: u64,
    /// Partitions of which it is still getting a snapshot.
    pub not_streaming: u64,
}

/// State of the Raft group as this node sees it.
#[derive(Clone, Debug, Default)]
pub struct RaftFigures {
    /// Term.
    pub term: u64,
    /// Whether this node leads.
    pub is_leader: bool,
    /// Index of the last entry in the log.
    pub last_log: u64,
    /// Index of the last entry applied to the map.
    pub applied: u64,
    /// Voters.
    pub voters: u64,
}

/// State of gossip as this node sees it.
#[derive(Clone, Debug, Default)]
pub struct GossipFigures {
    /// Members that answer, this node included.
    pub alive: u64,
    /// Members that are suspected.
    pub suspected: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams refused: damaged, forged, replayed.
    pub datagrams_refused: u64,
}
