//! What a command may ask of the node it runs on, and the plain data the answers are made of.
//!
//! One object-safe trait, so that handlers need no type parameter and tests can give a small honest double. It is
//! kept narrow: a method returns facts, the handlers do all parsing, matching and rendering. Whatever spans nodes
//! (`PUBLISH`, `PUBSUB CHANNELS`) is asked of each node by itself and merged by the dispatcher.

use crate::acl::{AclLog, Refused, Users};
use crate::info::{CommandStats, InfoData};
use crate::session::{Buffers, ChannelKind};
use protocol::Version;
use std::sync::Arc;
use stdx::{Mono, Slot, Wall};

/// The node, as seen by commands.
pub trait Host {
    /// The wall clock.
    fn wall(&self) -> Wall;
    /// The monotonic clock.
    fn mono(&self) -> Mono;

    /// The users as they are now.
    fn users(&self) -> Arc<Users>;
    /// Whether new users and selectors may use all channels (`acl-pubsub-default`).
    fn all_channels_by_default(&self) -> bool;
    /// The file of users (`aclfile`), if there is one.
    fn users_file(&self) -> Option<String>;
    /// Reads that file; the error is the system's.
    fn read_users(&self) -> Result<Vec<u8>, String>;
    /// Replaces the content of that file, all of it or nothing; a failure is logged.
    fn save_users(&mut self, text: &[u8]) -> Result<(), String>;
    /// Notes a failed authentication: counted, and kept for `ACL LOG`.
    fn refused(&mut self, refused: Refused);
    /// Lends the log of what was refused.
    fn acl_log(&mut self, with: &mut dyn FnMut(&mut AclLog));

    /// Every directive as (name, value), in the order of the directive table.
    fn config(&self) -> Vec<(String, String)>;
    /// Changes all directives or none. Names are lowercase and known to be distinct.
    fn config_set(&mut self, pairs: &[(&str, &[u8])]) -> Result<(), ConfigError>;
    /// Writes the live configuration back to the file it came from; the text of a failure follows `ERR `.
    fn config_rewrite(&mut self) -> Result<(), String>;
    /// Sets the counters of `INFO` back to zero (`CONFIG RESETSTAT`).
    fn reset_statistics(&mut self);

    /// The facts of `INFO`, except statistics by command.
    fn info(&self) -> InfoData;
    /// Statistics of every command that was called, or refused, at least once.
    fn command_stats(&self) -> Vec<CommandStats>;
    /// Number of error replies by prefix (`ERR`, `WRONGTYPE`), sorted by prefix.
    fn error_stats(&self) -> Vec<(String, u64)>;

    /// The connections of this node. The caller's own may be missing or out of date: handlers put in its session.
    fn clients(&self) -> Vec<ClientInfo>;
    /// Closes a connection other than the caller's; false if there is none of this id.
    fn kill_client(&mut self, id: u64) -> bool;
    /// Holds commands of all clients until `until`, or until [`Host::unpause_clients`]. A pause in force is only
    /// ever made longer and stricter.
    fn pause_clients(&mut self, until: Mono, what: Pause);
    /// Ends a pause.
    fn unpause_clients(&mut self);
    /// Ends a client's blocking command; false if the client is not there or not blocked.
    fn unblock_client(&mut self, id: u64, how: Unblock) -> bool;

    /// Messages of this name now go to the session too.
    fn subscribe(&mut self, session: u64, kind: ChannelKind, name: &[u8]);
    /// Undoes [`Host::subscribe`].
    fn unsubscribe(&mut self, session: u64, kind: ChannelKind, name: &[u8]);
    /// Delivers a message to the subscribers on this node (`Channel`: to channels and matching patterns; `Shard`: to
    /// shard channels); how many received it.
    fn publish(&mut self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> u64;
    /// Names of this kind with at least one subscriber on this node.
    fn subscribed_names(&self, kind: ChannelKind) -> Vec<Vec<u8>>;
    /// Subscribers of one name on this node.
    fn subscriber_count(&self, kind: ChannelKind, name: &[u8]) -> u64;

    /// Remembers a script; its digest, or the error reply if it does not compile.
    fn script_load(&mut self, body: &[u8]) -> Result<String, String>;
    /// Whether a script of this digest is remembered.
    fn script_exists(&self, digest: &[u8]) -> bool;
    /// Forgets all scripts.
    fn script_flush(&mut self);
    /// Ends the script that runs; the error reply if there is none.
    fn script_kill(&mut self) -> Result<(), String>;

    /// The newest `count` slow commands, newest first.
    fn slowlog(&self, count: usize) -> Vec<SlowlogEntry>;
    /// Entries in the slow log.
    fn slowlog_len(&self) -> usize;
    /// Empties the slow log.
    fn slowlog_reset(&mut self);
    /// Latency events by name with their samples, oldest first.
    fn latency_events(&self) -> Vec<LatencyEvent>;
    /// Forgets one event, or all of them; how many were forgotten.
    fn latency_reset(&mut self, event: Option<&[u8]>) -> usize;

    /// Whether clients are redirected as by a Redis Cluster instead of being served by any node.
    fn cluster_enabled(&self) -> bool;
    /// The cluster as this node knows it.
    fn cluster_view(&self) -> ClusterView;
    /// Keys of database 0 that this node holds in a slot.
    fn count_keys_in_slot(&self, slot: Slot) -> u64;
    /// At most `count` of those keys.
    fn keys_in_slot(&self, slot: Slot, count: usize) -> Vec<Vec<u8>>;

    /// Saves all that this node holds to disk: `SAVE` waits for it, `BGSAVE` and `BGREWRITEAOF` do not.
    fn save(&mut self, wait: bool) -> Result<(), SaveError>;
    /// Begins to stop the process. An error's text follows `ERR `.
    fn shutdown(&mut self, mode: ShutdownMode) -> Result<(), String>;
    /// Takes back a shutdown that has not happened yet; false if there is none.
    fn abort_shutdown(&mut self) -> bool;
    /// Gives memory that the allocator keeps back to the system (`MEMORY PURGE`).
    fn purge_memory(&mut self);
}

/// Why a `CONFIG SET` changed nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// No directive of this name.
    Unknown {
        /// As the client wrote it.
        name: String,
    },
    /// A directive that cannot be changed while running, or a value that is refused.
    Refused {
        /// The directive.
        name: String,
        /// Why, as Redis words it (`can't set immutable config`, `argument must be between 1 and 16`).
        reason: String,
    },
}

/// What `CLIENT PAUSE` holds back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pause {
    /// Commands that may write.
    Write,
    /// Every command.
    All,
}

/// How `CLIENT UNBLOCK` ends a blocking command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unblock {
    /// As if its timeout had passed.
    Timeout,
    /// With an `UNBLOCKED` error.
    Error,
}

/// Why nothing was saved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SaveError {
    /// A save is under way already.
    InProgress,
    /// It failed, or this node cannot save.
    Failed(String),
}

/// How to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShutdownMode {
    /// Do not wait for replicas to have everything (`NOW`).
    pub now: bool,
    /// Stop even if saving fails (`FORCE`).
    pub force: bool,
    /// `Some(true)` after `SAVE`, `Some(false)` after `NOSAVE`, otherwise as configured.
    pub save: Option<bool>,
}

/// The classes of clients that `CLIENT LIST TYPE` and `CLIENT KILL TYPE` know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientKind {
    /// An ordinary connection.
    Normal,
    /// Subscribed to at least one channel or pattern.
    Pubsub,
}

/// The letters of `flags=` in `CLIENT LIST`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClientFlags {
    /// `b`
    pub blocked: bool,
    /// `c`
    pub closing: bool,
    /// `O`
    pub monitoring: bool,
    /// `e`
    pub no_evict: bool,
    /// `T`
    pub no_touch: bool,
    /// `P`
    pub pubsub: bool,
    /// `r`
    pub readonly: bool,
    /// `x`
    pub transaction: bool,
}

/// One line of `CLIENT LIST`.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// Number of the connection.
    pub id: u64,
    /// The peer, `host:port`.
    pub addr: String,
    /// Our end, `host:port`.
    pub laddr: String,
    /// File descriptor, -1 if none.
    pub fd: i32,
    /// `CLIENT SETNAME`.
    pub name: Vec<u8>,
    /// Seconds since it connected.
    pub age_seconds: u64,
    /// Seconds since its last command.
    pub idle_seconds: u64,
    /// Its class.
    pub kind: ClientKind,
    /// Its flags.
    pub flags: ClientFlags,
    /// Selected database.
    pub db: u8,
    /// Channels subscribed to.
    pub channels: usize,
    /// Patterns subscribed to.
    pub patterns: usize,
    /// Shard channels subscribed to.
    pub shard_channels: usize,
    /// Commands queued in a transaction, if there is one.
    pub multi_len: Option<usize>,
    /// Its buffers.
    pub buffers: Buffers,
    /// Full name of the last command; empty if none.
    pub command: &'static str,
    /// Its user.
    pub user: String,
    /// Its protocol version.
    pub version: Version,
    /// `CLIENT SETINFO LIB-NAME`.
    pub lib_name: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`.
    pub lib_ver: Vec<u8>,
}

/// One command that took longer than `slowlog-log-slower-than`.
#[derive(Clone, Debug)]
pub struct SlowlogEntry {
    /// Running number.
    pub id: u64,
    /// When it ran.
    pub at: Wall,
    /// How long, in microseconds.
    pub duration_us: u64,
    /// Its arguments; long ones and many of them are cut by the node with Redis's remarks.
    pub arguments: Vec<Vec<u8>>,
    /// Address of the client.
    pub addr: String,
    /// Name of the client.
    pub name: Vec<u8>,
}

/// Samples of one latency event (`latency-monitor-threshold`).
#[derive(Clone, Debug)]
pub struct LatencyEvent {
    /// `command`, `fork`, ...
    pub name: String,
    /// (when, milliseconds), oldest first.
    pub samples: Vec<(Wall, u64)>,
    /// The longest ever seen, in milliseconds.
    pub max_ms: u64,
}

/// The cluster map and the members' addresses, as far as clients can use them.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// Every member, the same order on every node.
    pub nodes: Vec<ClusterNode>,
    /// Index of this node in `nodes`.
    pub myself: usize,
    /// Owners by slot range, ascending and without overlap; neighbours need not be merged. A slot in no range has no
    /// primary now.
    pub ranges: Vec<SlotRange>,
    /// Version of the map.
    pub epoch: u64,
    /// Whether this node believes that requests can be served (quorum and lease).
    pub ok: bool,
    /// Messages of the control plane sent and received since the start.
    pub messages_sent: u64,
    /// See `messages_sent`.
    pub messages_received: u64,
}

/// One member.
#[derive(Clone, Debug, Default)]
pub struct ClusterNode {
    /// Forty lowercase hex digits, stable over restarts.
    pub id: String,
    /// Its name in configuration and logs.
    pub name: String,
    /// Where clients reach it.
    pub host: String,
    /// RESP port.
    pub port: u16,
    /// Gossip port (Redis's bus port).
    pub bus_port: u16,
    /// HTTP port.
    pub http_port: u16,
    /// What gossip thinks of it.
    pub health: NodeHealth,
    /// Its incarnation or the highest epoch of a partition it owns: Redis's config epoch.
    pub epoch: u64,
    /// Records it has written or applied: the replication offset `CLUSTER SHARDS` prints.
    pub replication_offset: u64,
    /// When a probe was last sent to it, 0 if none is under way.
    pub ping_sent: Wall,
    /// When it last answered.
    pub pong_received: Wall,
}

/// Health of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NodeHealth {
    /// Answers.
    #[default]
    Up,
    /// Suspected (`fail?`).
    Suspect,
    /// Declared dead (`fail`).
    Down,
    /// Not yet in the map (`handshake`).
    Joining,
}

/// Slots with the same owners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotRange {
    /// First slot.
    pub first: Slot,
    /// Last slot.
    pub last: Slot,
    /// Index of the primary in [`ClusterView::nodes`].
    pub primary: usize,
    /// Indices of the in-sync replicas.
    pub replicas: Vec<usize>,
}
