//! What a node asks of the process around it: configuration, secrets, process facts.
//!
//! The node has no files, sockets or threads. The `hypercache` crate implements this trait with the directive table
//! and the operating system; the simulator and tests give a small one of their own.

use crate::users::UsersAnswer;
use cluster::map::UserUpdate;
use commands::acl::Users;
use commands::events::Events;
use commands::host::{ConfigError, NodeHealth, SaveError, ShutdownMode};
use commands::info::InfoData;
use stdx::NodeId;
use store::Garbage;
use store::eviction::Policy;

/// The surroundings of a node.
pub trait Platform: Send + Sync {
    /// Every directive as (name, value).
    fn config(&self) -> Vec<(String, String)>;
    /// Changes all directives or none.
    fn config_set(&self, pairs: &[(&str, &[u8])]) -> Result<(), ConfigError>;
    /// Writes the configuration back to its file.
    fn config_rewrite(&self) -> Result<(), String>;
    /// The users of this node's configuration, which it begins with.
    fn first_users(&self) -> Users {
        Users::default()
    }
    /// Whether new users and selectors may use all channels (`acl-pubsub-default`).
    fn all_channels_by_default(&self) -> bool {
        false
    }
    /// The file of users (`aclfile`), if there is one.
    fn users_file(&self) -> Option<String> {
        None
    }
    /// Reads that file; the error is the system's.
    fn read_users(&self) -> Result<Vec<u8>, String> {
        Err("there is no file".to_owned())
    }
    /// Replaces the content of that file, all of it or nothing.
    fn save_users(&self, _text: &[u8]) -> Result<(), String> {
        Err("there is no file".to_owned())
    }
    /// Proposes a change of users to the cluster. Must not block.
    fn propose_users(&self, update: UserUpdate, answer: UsersAnswer);
    /// The limits in force now.
    fn limits(&self) -> Limits;
    /// Bytes allocated beyond what the process began with; `None` if it does not count them.
    fn memory_used(&self) -> Option<u64> {
        None
    }
    /// Adds what only the process knows: its memory, processor time, ports, Raft and gossip state.
    fn complete_info(&self, info: &mut InfoData);
    /// What gossip thinks of a member.
    fn health(&self, node: NodeId) -> NodeHealth;
    /// Saves all data to disk, in the background unless `wait` is set.
    fn save(&self, wait: bool) -> Result<(), SaveError>;
    /// Begins to stop the process.
    fn shutdown(&self, mode: ShutdownMode) -> Result<(), String>;
    /// Takes a shutdown back; false if none is under way.
    fn abort_shutdown(&self) -> bool;
    /// Frees what is slow to free; elsewhere, if there is another thread for it.
    fn discard(&self, garbage: Garbage) {
        drop(garbage);
    }
    /// Gives free memory back to the system.
    fn purge_memory(&self);
}

/// Limits that may change while the server runs; read once a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most client connections.
    pub clients_max: usize,
    /// Commands slower than this many microseconds are logged; negative: none.
    pub slowlog_slower_than_us: i64,
    /// Entries of the slow log.
    pub slowlog_len_max: usize,
    /// Commands slower than this many milliseconds are latency events; 0: none.
    pub latency_threshold_ms: u64,
    /// Longest bulk string of a request, in bytes.
    pub bulk_bytes_max: usize,
    /// Most unparsed request bytes of one client.
    pub query_bytes_max: usize,
    /// Most unsent reply bytes of a normal client; 0: no limit.
    pub output_bytes_max_normal: usize,
    /// Most unsent bytes of a subscriber; 0: no limit.
    pub output_bytes_max_pubsub: usize,
    /// Most bytes in use; 0: no limit.
    pub memory_bytes_max: u64,
    /// What happens there.
    pub eviction: Policy,
    /// Idle clients are closed after so many seconds; 0: never.
    pub idle_seconds_max: u64,
    /// Entries of the log of what was refused.
    pub acl_log_len_max: usize,
    /// Which keyspace events are published.
    pub events: Events,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            clients_max: 10_000,
            slowlog_slower_than_us: 10_000,
            slowlog_len_max: 128,
            latency_threshold_ms: 0,
            bulk_bytes_max: stdx::limits::BULK_BYTES_MAX,
            query_bytes_max: 1024 * 1024 * 1024,
            output_bytes_max_normal: 0,
            output_bytes_max_pubsub: 32 * 1024 * 1024,
            memory_bytes_max: 0,
            eviction: Policy::NoEviction,
            idle_seconds_max: 0,
            acl_log_len_max: 128,
            events: Events::NONE,
        }
    }
}
