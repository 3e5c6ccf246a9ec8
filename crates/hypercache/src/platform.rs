//! The process around the node: directives, secrets and facts about memory and processor time.

use crate::config::Directives;
use crate::control::Control;
use crate::io::Backend;
use crate::persist::Persistence;
use crate::users_file;
use cluster::UserUpdate;
use commands::acl::Users;
use commands::host::{ConfigError, NodeHealth, SaveError, ShutdownMode};
use commands::info::InfoData;
use node::{Limits, Platform, UsersAnswer, UsersOutcome};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use stdx::NodeId;
use store::Garbage;
use tokio::sync::watch;

/// Facts that the control plane adds to INFO, and its opinion of members.
pub trait ClusterFacts: Send + Sync {
    /// Raft and gossip fields of INFO.
    fn complete_info(&self, info: &mut InfoData);
    /// What gossip thinks of a member.
    fn health(&self, node: NodeId) -> NodeHealth;
    /// Proposes a change of users.
    fn change_users(&self, update: UserUpdate, answer: UsersAnswer);
}

impl ClusterFacts for Control {
    fn complete_info(&self, info: &mut InfoData) {
        let raft = self.raft_status();
        info.hypercache.raft_term = raft.term;
        info.hypercache.raft_leader = self.status().leader.unwrap_or_default();
    }

    fn health(&self, node: NodeId) -> NodeHealth {
        Control::health(self, node)
    }

    fn change_users(&self, update: UserUpdate, answer: UsersAnswer) {
        Control::change_users(self, update, answer);
    }
}

/// Addresses in force after binding.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// RESP.
    pub resp: u16,
    /// HTTP.
    pub http: u16,
    /// Gossip.
    pub gossip: u16,
}

/// The platform of a server process.
pub struct ServerPlatform {
    directives: Arc<Directives>,
    first_users: Users,
    users_file: Option<PathBuf>,
    config_file: String,
    ports: Ports,
    bind: String,
    run_id: String,
    shutdown: watch::Sender<bool>,
    facts: OnceLock<Box<dyn ClusterFacts>>,
    io_backend: OnceLock<Backend>,
    persistence: OnceLock<Arc<Persistence>>,
    allocator: Allocator,
    memory_peak: AtomicU64,
    memory_at_start: u64,
    /// To the thread that frees what is slow to free.
    discarded: mpsc::Sender<Garbage>,
}

/// Starts the thread that frees large values, so that no client waits for it. It ends with the process.
fn garbage_thread() -> mpsc::Sender<Garbage> {
    let (sender, receiver) = mpsc::channel::<Garbage>();
    let freeing =
        std::thread::Builder::new().name("garbage".into()).spawn(move || receiver.iter().for_each(drop));
    if let Err(error) = freeing {
        tracing::warn!(%error, "no thread to free large values: clients will wait for that");
    }
    sender
}

/// What the process allocates with.
#[derive(Clone, Copy, Debug)]
pub struct Allocator {
    /// Its name, for INFO.
    pub name: &'static str,
    /// Bytes that it has handed out, as size classes.
    pub held_bytes: fn() -> u64,
}

impl ServerPlatform {
    /// The platform of a process that listens on `ports`; a shutdown is announced on `shutdown`.
    pub fn new(
        config: &crate::config::Config,
        ports: Ports,
        shutdown: watch::Sender<bool>,
        allocator: Allocator,
    ) -> Result<ServerPlatform, String> {
        let mut id = [0; 20];
        stdx::random::entropy(&mut id);
        let users_file = config.directives.aclfile();
        let first_users = users_file::first_users(&config.directives, users_file.as_deref())?;
        if config.is_exposed() && !config.allow_insecure_bind && first_users.default_user().is_open() {
            let bind = config.bind;
            return Err(format!(
                "bind {bind} is open to other machines but the default user needs no password: give it one, or \
                 allow-insecure-bind yes"
            ));
        }
        Ok(ServerPlatform {
            first_users,
            users_file,
            directives: Arc::clone(&config.directives),
            config_file: config
                .config_file
                .as_ref()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            ports,
            bind: config.bind.to_string(),
            run_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            shutdown,
            facts: OnceLock::new(),
            io_backend: OnceLock::new(),
            persistence: OnceLock::new(),
            memory_peak: AtomicU64::new(0),
            memory_at_start: (allocator.held_bytes)(),
            discarded: garbage_thread(),
            allocator,
        })
    }

    /// Sets what the control plane knows, once it runs.
    pub fn set_facts(&self, facts: Box<dyn ClusterFacts>) {
        if self.facts.set(facts).is_err() {
            tracing::error!("the facts of the cluster were set twice");
        }
    }

    /// Sets what keeps data on disk, if anything does.
    pub fn set_persistence(&self, persistence: Arc<Persistence>) {
        if self.persistence.set(persistence).is_err() {
            tracing::error!("persistence was set twice");
        }
    }

    /// Sets what the io threads wait with, once they run.
    pub fn set_io_backend(&self, backend: Backend) {
        if self.io_backend.set(backend).is_err() {
            tracing::error!("the io backend was set twice");
        }
    }
}

impl Platform for ServerPlatform {
    fn config(&self) -> Vec<(String, String)> {
        self.directives.get(["*"]).into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn config_set(&self, pairs: &[(&str, &[u8])]) -> Result<(), ConfigError> {
        for (name, value) in pairs {
            if self.directives.get([*name]).is_empty() {
                return Err(ConfigError::Unknown { name: (*name).to_owned() });
            }
            if std::str::from_utf8(value).is_err() {
                let reason = "argument must be text".to_owned();
                return Err(ConfigError::Refused { name: (*name).to_owned(), reason });
            }
        }
        let texts: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(name, value)| (*name, std::str::from_utf8(value).unwrap_or_default()))
            .collect();
        self.directives.set_all(&texts).map_err(|text| refusal(pairs, &text))
    }

    fn config_rewrite(&self) -> Result<(), String> {
        Err("The server is running without a config file".to_owned())
    }

    fn first_users(&self) -> Users {
        self.first_users.clone()
    }

    fn all_channels_by_default(&self) -> bool {
        self.directives.acl_pubsub_default() == "allchannels"
    }

    fn users_file(&self) -> Option<String> {
        self.users_file.as_ref().map(|path| path.display().to_string())
    }

    fn read_users(&self) -> Result<Vec<u8>, String> {
        let path = self.users_file.as_ref().ok_or("there is no file")?;
        std::fs::read(path).map_err(|error| error.to_string())
    }

    fn save_users(&self, text: &[u8]) -> Result<(), String> {
        let path = self.users_file.as_ref().ok_or("there is no file")?;
        users_file::save(path, text).map_err(|error| {
            tracing::error!(path = %path.display(), %error, "ACL SAVE");
            error.to_string()
        })
    }

    fn propose_users(&self, update: UserUpdate, answer: UsersAnswer) {
        match self.facts.get() {
            Some(facts) => facts.change_users(update, answer),
            None => answer(UsersOutcome::Failed("this node is starting".to_owned())),
        }
    }

    fn limits(&self) -> Limits {
        let (directives, size) =
            (&self.directives, |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX));
        let buffers = directives.client_output_buffer_limit();
        Limits {
            clients_max: size(directives.maxclients()),
            slowlog_slower_than_us: directives.slowlog_log_slower_than(),
            slowlog_len_max: size(directives.slowlog_max_len()),
            latency_threshold_ms: directives.latency_monitor_threshold(),
            bulk_bytes_max: size(directives.proto_max_bulk_len()),
            query_bytes_max: size(directives.client_query_buffer_limit()),
            output_bytes_max_normal: size(buffers.normal.hard_bytes),
            output_bytes_max_pubsub: size(buffers.pubsub.hard_bytes),
            memory_bytes_max: directives.maxmemory(),
            eviction: directives.maxmemory_policy(),
            idle_seconds_max: directives.timeout(),
            acl_log_len_max: size(directives.acllog_max_len()),
            events: directives.notify_keyspace_events(),
        }
    }

    fn memory_used(&self) -> Option<u64> {
        Some((self.allocator.held_bytes)().saturating_sub(self.memory_at_start))
    }

    fn complete_info(&self, info: &mut InfoData) {
        let server = &mut info.server;
        let uname = rustix::system::uname();
        server.os = format!(
            "{} {} {}",
            uname.sysname().to_string_lossy(),
            uname.release().to_string_lossy(),
            uname.machine().to_string_lossy()
        );
        server.process_id = std::process::id();
        server.run_id.clone_from(&self.run_id);
        server.tcp_port = self.ports.resp;
        server.hz = u32::try_from(self.directives.hz()).unwrap_or(u32::MAX);
        server.executable =
            std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
        server.config_file.clone_from(&self.config_file);
        server.multiplexing_api = self.io_backend.get().map_or("", |backend| backend.name()).to_owned();
        server.mem_allocator = self.allocator.name.to_owned();
        server.listeners = vec![format!("name=tcp,bind={},port={}", self.bind, self.ports.resp)];
        let rss = resident_bytes();
        let memory = &mut info.memory;
        memory.rss = rss;
        memory.startup = self.memory_at_start;
        memory.used = (self.allocator.held_bytes)();
        memory.peak = self.memory_peak.fetch_max(memory.used, Ordering::Relaxed).max(memory.used);
        memory.total_system = system_memory_bytes();
        memory.maxmemory = self.directives.maxmemory();
        memory.maxmemory_policy = self.directives.maxmemory_policy().name().to_owned();
        (info.cpu.user, info.cpu.system) = processor_time();
        info.replication.replid.clone_from(&self.run_id);
        info.hypercache.http_port = self.ports.http;
        info.hypercache.gossip_port = self.ports.gossip;
        if let Some(facts) = self.facts.get() {
            facts.complete_info(info);
        }
        if let Some(persistence) = self.persistence.get() {
            persistence.complete_info(&mut info.persistence);
        }
    }

    fn health(&self, node: NodeId) -> NodeHealth {
        self.facts.get().map_or(NodeHealth::Up, |facts| facts.health(node))
    }

    fn save(&self, wait: bool) -> Result<(), SaveError> {
        match self.persistence.get() {
            Some(persistence) => persistence.save(wait),
            None => Err(SaveError::Failed(
                "this node keeps nothing on disk: it was started with appendonly no".to_owned(),
            )),
        }
    }

    fn shutdown(&self, mode: ShutdownMode) -> Result<(), String> {
        if mode.save == Some(true)
            && let Err(SaveError::Failed(reason)) = self.save(true)
            && !mode.force
        {
            tracing::error!(%reason, "SHUTDOWN SAVE is refused");
            return Err("Errors trying to SHUTDOWN. Check logs.".to_owned());
        }
        self.shutdown.send_replace(true);
        Ok(())
    }

    fn abort_shutdown(&self) -> bool {
        // A shutdown takes effect at once; there is never one to take back.
        false
    }

    fn discard(&self, garbage: Garbage) {
        // Without the thread, which cannot be unless the process is about to end, it is freed here.
        if let Err(returned) = self.discarded.send(garbage) {
            drop(returned);
        }
    }

    fn purge_memory(&self) {
        // The allocator in use gives memory back by itself and offers no safe call to hasten it.
    }
}

/// Which directive a refusal of CONFIG SET is about, and why.
fn refusal(pairs: &[(&str, &[u8])], text: &str) -> ConfigError {
    let named = pairs.iter().find(|(name, _)| text.contains(&format!("'{name}'")));
    let name = named.or(pairs.first()).map_or("", |(name, _)| *name).to_owned();
    let reason = text.rsplit_once("') - ").map_or(text, |(_, reason)| reason).to_owned();
    ConfigError::Refused { name, reason }
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// What this process may use: the limit of its control group (version 2, or 1) if it has one, else the machine's memory.
pub fn memory_limit_bytes() -> u64 {
    let limit = |path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let paths = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = paths.into_iter().filter_map(limit);
    limits.chain([system_memory_bytes()]).min().unwrap_or(0)
}

fn system_memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    // Field types differ between C libraries.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    let bytes = info.totalram as u64 * u64::from(info.mem_unit);
    bytes
}

/// User and system time of this process.
pub fn processor_time() -> (Duration, Duration) {
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |index: usize| -> u64 {
        fields.split_whitespace().nth(index).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
    };
    let time = |ticks: u64| Duration::from_millis(ticks * 1_000 / ticks_per_second);
    (time(ticks(11)), time(ticks(12)))
}
