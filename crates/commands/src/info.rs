//! The facts of `INFO` as typed data, so that the command, the metrics endpoint and the dashboard read one source.
//!
//! Only what differs from node to node or moment to moment is here. Fields that Redis prints and that have one value
//! in a server without them (forks, Lua, AOF rewriting) are written by the renderer, see `server::info`.

use std::time::Duration;
use stdx::Wall;

/// Redis version whose behaviour is reported.
pub const REDIS_VERSION: &str = "7.2.4";
/// HyperCache's own version.
pub const HYPERCACHE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// All sections.
#[derive(Clone, Debug, Default)]
pub struct InfoData {
    /// `# Server`
    pub server: ServerInfo,
    /// `# Clients`
    pub clients: ClientsInfo,
    /// `# Memory`
    pub memory: MemoryInfo,
    /// `# Persistence`
    pub persistence: PersistenceInfo,
    /// `# Stats`
    pub stats: StatsInfo,
    /// `# Replication`
    pub replication: ReplicationInfo,
    /// `# CPU`
    pub cpu: CpuInfo,
    /// `# Keyspace`: databases with at least one key.
    pub keyspace: Vec<KeyspaceInfo>,
    /// `# HyperCache`
    pub hypercache: HyperCacheInfo,
}

/// The process.
#[derive(Clone, Debug, Default)]
pub struct ServerInfo {
    /// `Linux 6.8.0 x86_64`
    pub os: String,
    /// Process number.
    pub process_id: u32,
    /// Forty hex digits, new at every start.
    pub run_id: String,
    /// RESP port.
    pub tcp_port: u16,
    /// Since the start.
    pub uptime: Duration,
    /// Background ticks per second.
    pub hz: u32,
    /// Path of the binary.
    pub executable: String,
    /// Path of the configuration file, empty without one.
    pub config_file: String,
    /// What the event loop is made of (`epoll`).
    pub multiplexing_api: String,
    /// More than one io thread runs.
    pub io_threads_active: bool,
    /// Name of the allocator.
    pub mem_allocator: String,
    /// Now.
    pub now: Wall,
    /// Revision the binary was built from; empty when unknown.
    pub build_id: String,
    /// Addresses listened on.
    pub listeners: Vec<String>,
}

/// What is kept on disk.
#[derive(Clone, Debug, Default)]
pub struct PersistenceInfo {
    /// Data is being loaded: clients should wait.
    pub loading: Option<LoadingInfo>,
    /// The append-only file, if there is one.
    pub log: Option<LogInfo>,
    /// Saves of all data.
    pub saving: SavingInfo,
    /// When all data was last saved by this process.
    pub last_save: Option<Wall>,
    /// Keys found at the start.
    pub keys_loaded: u64,
}

/// A load under way.
#[derive(Clone, Debug, Default)]
pub struct LoadingInfo {
    /// When it began.
    pub started: Wall,
    /// Bytes to read.
    pub total_bytes: u64,
    /// Bytes read.
    pub loaded_bytes: u64,
}

/// The append-only file.
#[derive(Clone, Debug, Default)]
pub struct LogInfo {
    /// Bytes in its segments.
    pub bytes: u64,
    /// Bytes after the last save.
    pub base_bytes: u64,
    /// Bytes not yet given to the disk.
    pub buffered_bytes: u64,
    /// Why it is of no use any more.
    pub failure: Option<String>,
}

/// Saves of all data.
#[derive(Clone, Debug, Default)]
pub struct SavingInfo {
    /// How long the one under way has taken so far.
    pub since: Option<Duration>,
    /// Partitions that it saves.
    pub partitions: u64,
    /// Partitions that it has saved.
    pub partitions_done: u64,
    /// How long the last one took.
    pub took: Option<Duration>,
    /// Whether the last one failed.
    pub failed: bool,
    /// How many succeeded since the start.
    pub saves: u64,
    /// Records written since the last one.
    pub changes: u64,
}

/// Connections.
#[derive(Clone, Debug, Default)]
pub struct ClientsInfo {
    /// Open now.
    pub connected: u64,
    /// Limit.
    pub maxclients: u64,
    /// Largest request buffer.
    pub input_buffer_max: u64,
    /// Largest reply buffer.
    pub output_buffer_max: u64,
    /// Waiting in a blocking command.
    pub blocked: u64,
    /// Watching at least one key.
    pub watching: u64,
    /// Subscribed to something.
    pub pubsub: u64,
    /// Keys watched by all clients.
    pub watched_keys: u64,
    /// Keys with a client blocked on them.
    pub blocking_keys: u64,
}

/// Bytes.
#[derive(Clone, Debug, Default)]
pub struct MemoryInfo {
    /// Counted by us, data and overhead.
    pub used: u64,
    /// Highest `used`.
    pub peak: u64,
    /// Resident set of the process.
    pub rss: u64,
    /// `used` right after the start.
    pub startup: u64,
    /// Keys, values and their tables.
    pub dataset: u64,
    /// Buffers of clients.
    pub clients: u64,
    /// Replication logs kept for replicas.
    pub replication_log: u64,
    /// Append-only file buffers.
    pub aof_buffer: u64,
    /// The machine's memory.
    pub total_system: u64,
    /// Limit, 0 for none.
    pub maxmemory: u64,
    /// What happens at the limit.
    pub maxmemory_policy: String,
    /// Values waiting to be freed in the background.
    pub lazyfree_pending: u64,
}

/// Counters since the start or `CONFIG RESETSTAT`.
#[derive(Clone, Debug, Default)]
pub struct StatsInfo {
    /// Connections accepted.
    pub connections_received: u64,
    /// Commands executed.
    pub commands_processed: u64,
    /// Commands per second, lately.
    pub ops_per_sec: u64,
    /// Bytes read from clients.
    pub net_input_bytes: u64,
    /// Bytes written to clients.
    pub net_output_bytes: u64,
    /// Bytes received from other nodes.
    pub net_repl_input_bytes: u64,
    /// Bytes sent to other nodes.
    pub net_repl_output_bytes: u64,
    /// Bytes read from clients per second, lately.
    pub input_bytes_per_sec: f64,
    /// Bytes written to clients per second, lately.
    pub output_bytes_per_sec: f64,
    /// Connections refused at `maxclients`.
    pub rejected_connections: u64,
    /// Replicas that needed everything.
    pub sync_full: u64,
    /// Replicas that needed the tail only.
    pub sync_partial_ok: u64,
    /// Replicas that asked for a tail we no longer had.
    pub sync_partial_err: u64,
    /// Keys whose deadline passed.
    pub expired_keys: u64,
    /// Keys evicted.
    pub evicted_keys: u64,
    /// Clients closed to free memory.
    pub evicted_clients: u64,
    /// Reads that found their key.
    pub keyspace_hits: u64,
    /// Reads that did not.
    pub keyspace_misses: u64,
    /// Channels with subscribers.
    pub pubsub_channels: u64,
    /// Patterns with subscribers.
    pub pubsub_patterns: u64,
    /// Shard channels with subscribers.
    pub pubsub_shard_channels: u64,
    /// Attempts to authenticate that were refused.
    pub acl_access_denied_auth: u64,
    /// Commands that were refused to their users.
    pub acl_access_denied_cmd: u64,
    /// Commands that were refused because of a key.
    pub acl_access_denied_key: u64,
    /// Commands that were refused because of a channel.
    pub acl_access_denied_channel: u64,
    /// Error replies.
    pub error_replies: u64,
    /// Read events of the event loop.
    pub reads_processed: u64,
    /// Write events of the event loop.
    pub writes_processed: u64,
    /// Clients disconnected for a reply buffer beyond its limit.
    pub output_buffer_limit_disconnections: u64,
}

/// What Redis calls replication. Our nodes are primaries of some partitions and replicas of others; towards clients
/// each is a `master`.
#[derive(Clone, Debug, Default)]
pub struct ReplicationInfo {
    /// Forty hex digits: the history this node continues.
    pub replid: String,
    /// Bytes or records written in all partitions this node is primary of.
    pub offset: u64,
    /// Nodes that replicate at least one of them.
    pub replicas: Vec<ReplicaInfo>,
    /// How replicas that had fallen behind came to be up to date.
    pub syncs: SyncInfo,
}

/// Syncs of partitions to peers, since the start or `CONFIG RESETSTAT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncInfo {
    /// Those that needed only records of the backlog.
    pub by_backlog: u64,
    /// Those for which copies were compared.
    pub by_difference: u64,
    /// Those for which the whole partition was sent.
    pub whole: u64,
    /// Bytes sent for comparing and copying, live records apart.
    pub bytes_sent: u64,
    /// Bytes of keys and values that were found to be equal and not sent.
    pub bytes_spared: u64,
}

/// One `slaveN` line.
#[derive(Clone, Debug, Default)]
pub struct ReplicaInfo {
    /// Host.
    pub host: String,
    /// RESP port.
    pub port: u16,
    /// In sync for all partitions it replicates.
    pub online: bool,
    /// What it confirmed.
    pub offset: u64,
    /// Seconds since it last confirmed something.
    pub lag_seconds: u64,
}

/// Processor time.
#[derive(Clone, Debug, Default)]
pub struct CpuInfo {
    /// Of the process in the kernel.
    pub system: Duration,
    /// Of the process in user space.
    pub user: Duration,
}

/// One `dbN` line.
#[derive(Clone, Debug, Default)]
pub struct KeyspaceInfo {
    /// Database.
    pub db: u8,
    /// Keys.
    pub keys: u64,
    /// Keys with a deadline.
    pub expires: u64,
    /// Mean time to live of those, in milliseconds; 0 if unknown.
    pub avg_ttl_ms: u64,
}

/// What only HyperCache has.
#[derive(Clone, Debug, Default)]
pub struct HyperCacheInfo {
    /// The node's number.
    pub node_id: u64,
    /// The node's name.
    pub node_name: String,
    /// HTTP port.
    pub http_port: u16,
    /// Gossip port.
    pub gossip_port: u16,
    /// Version of the cluster map.
    pub epoch: u64,
    /// Members of the cluster.
    pub nodes: u64,
    /// Members that answer.
    pub nodes_up: u64,
    /// Partitions of the cluster.
    pub partitions: u64,
    /// Partitions this node is primary of.
    pub partitions_primary: u64,
    /// Partitions this node is an in-sync replica of.
    pub partitions_replica: u64,
    /// Partitions this node is catching up on.
    pub partitions_learner: u64,
    /// Copies wanted of every partition.
    pub replication_factor: u64,
    /// `insync` or `primary`.
    pub acks: String,
    /// Holds its lease: it may serve as a primary.
    pub lease_held: bool,
    /// Time left of it.
    pub lease_remaining_ms: u64,
    /// Name of the Raft leader, empty if unknown.
    pub raft_leader: String,
    /// Raft term.
    pub raft_term: u64,
    /// Commands sent on to another node.
    pub forwarded_commands: u64,
    /// Replies that wait for their commit now.
    pub replies_waiting: u64,
}

/// Statistics of one command.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    /// Full name (`get`, `client|list`).
    pub name: &'static str,
    /// Times it ran.
    pub calls: u64,
    /// Time it took in all, in microseconds.
    pub usec: u64,
    /// Refused before it ran.
    pub rejected_calls: u64,
    /// Ran and answered with an error.
    pub failed_calls: u64,
    /// 50th, 99th and 99.9th percentile in microseconds.
    pub percentiles_us: [f64; 3],
    /// (upper bound in microseconds, calls that took at most so long), bounds ascending by powers of two, only
    /// bounds at which the count grows.
    pub histogram: Vec<(u64, u64)>,
}
