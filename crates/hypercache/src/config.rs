//! Configuration: from one table of directives to a typed [`Config`], with every mistake explained where it was made.
//!
//! Sources, each over the one before: the table's defaults, a TOML file, `HYPERCACHE_*` variables, flags. Loading
//! reads all of them to the end, so that a user mends all mistakes in one round, and happens before any port opens.
//! What may change while the server runs is not a field of [`Config`] but asked of [`Directives`].

mod document;
mod glob;
mod limits;
mod live;
mod relations;
mod save_points;
mod source;
mod table;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use document::{markdown, toml_document};
pub use limits::{BufferLimit, BufferLimits};
pub use live::Directives;
pub use save_points::{SavePoint, SavePoints};
pub use source::{Mistake, Place, Settings};
pub use table::{DIRECTIVES, Directive, Section};
pub use value::{HostPort, Kind, NAME_LEN_MAX, Refusal, Secret, Value};

use table::index_of;

/// Number of databases that SELECT can choose; the directive `databases` is fixed to it.
pub const DATABASES: u16 = 16;

/// Most threads that `io-threads auto` starts.
const IO_THREADS_AUTO_MAX: usize = 4;

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// Once every in-sync replica has it.
    Insync,
    /// At once.
    Primary,
}

/// When the log is synced to the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fsync {
    /// Before a write is acknowledged.
    Always,
    /// Once a second.
    EverySecond,
    /// When the system likes.
    No,
}

/// How the threads that serve RESP connections wait for the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoBackend {
    /// The first of the others that works here.
    Auto,
    /// io_uring, or an error.
    Uring,
    /// epoll.
    Epoll,
}

/// What a server needs to start. Fields are named as their directives, durations without the unit.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this node, never empty.
    pub node_id: String,
    /// Directory of this node's files.
    pub dir: PathBuf,
    /// Threads that run commands, at least 1.
    pub io_threads: usize,
    /// How they wait for the network.
    pub io_backend: IoBackend,
    /// Address that all ports listen on.
    pub bind: IpAddr,
    /// RESP port; 0 for any free one.
    pub port: u16,
    /// HTTP port; 0 for any free one.
    pub http_port: u16,
    /// Gossip port; 0 for any free one.
    pub gossip_port: u16,
    /// Address that others are told, if one was given; see [`Config::advertised_address`].
    pub advertise_address: Option<IpAddr>,
    /// Whether listening beyond loopback without secrets was allowed by name.
    pub allow_insecure_bind: bool,
    /// Members of the cluster to join.
    pub join: Vec<HostPort>,
    /// What the nodes of a cluster share; empty is none.
    pub cluster_secret: Secret,
    /// Number of partitions, a power of two.
    pub partitions: u16,
    /// Copies of every partition.
    pub replication_factor: u8,
    /// When a write is acknowledged.
    pub acks: Acks,
    /// Failure domain; empty is none.
    pub zone: String,
    /// Share of the partitions.
    pub weight: u32,
    /// Longest a forwarded request may take.
    pub forward_timeout: Duration,
    /// Length of a primary's lease.
    pub lease: Duration,
    /// How often a lease is renewed.
    pub lease_renew: Duration,
    /// Wait beyond the end of a lease.
    pub failover_margin: Duration,
    /// Heartbeat of the Raft leader.
    pub raft_heartbeat: Duration,
    /// Shortest silence before an election.
    pub raft_election_min: Duration,
    /// Longest silence before an election.
    pub raft_election_max: Duration,
    /// How often membership news is passed on.
    pub gossip_interval: Duration,
    /// How often a member is probed.
    pub gossip_probe_interval: Duration,
    /// How long a direct probe may take.
    pub gossip_probe_timeout: Duration,
    /// How long a member stays suspect.
    pub gossip_suspicion: Duration,
    /// Largest HTTP body, in bytes.
    pub http_max_body: usize,
    /// Whether writes go to the append-only log.
    pub appendonly: bool,
    /// When that is synced.
    pub appendfsync: Fsync,
    /// Directory of log and snapshots, within `dir`.
    pub appenddirname: String,
    /// The file that was read, for INFO.
    pub config_file: Option<PathBuf>,
    /// Every directive as text, and the live ones.
    pub directives: Arc<Directives>,
}

/// A configuration that may be used, and what is worth a word to the user all the same.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// To be logged at start.
    pub warnings: Vec<String>,
}

/// The result of `hypercache config check`.
#[derive(Clone, Debug)]
pub struct Checked {
    /// How many directives the file sets.
    pub directives: usize,
    /// Every mistake, in the order of the file.
    pub mistakes: Vec<Mistake>,
}

/// Loads the configuration from flags (name and value), environment and the file that either of them names.
pub fn load(
    flags: &[(String, String)],
    environment: &BTreeMap<String, String>,
) -> Result<Loaded, Vec<Mistake>> {
    // The file is named by a source that takes precedence over it, so those are read once only to find it.
    let mut finder = Settings::default();
    let mut mistakes = Vec::new();
    finder.apply_environment(environment, &mut mistakes);
    finder.apply_flags(flags, &mut mistakes);
    mistakes.clear();

    let mut settings = Settings::default();
    if let Some(path) = finder.config_file() {
        settings.apply_file(&path, &mut mistakes);
    }
    let mut warnings = settings.apply_environment(environment, &mut mistakes);
    settings.apply_flags(flags, &mut mistakes);
    mistakes.extend(relations::contradictions(&settings));
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let config = Config::from_settings(settings);
    if config.is_exposed() && config.cluster_secret.is_empty() {
        warnings.push(format!(
            "bind {} is open to other machines and cluster-secret is empty: anyone who reaches port {} may join",
            config.bind, config.gossip_port
        ));
    }
    Ok(Loaded { config, warnings })
}

/// Checks the file at `path` alone, over the defaults.
pub fn check_file(path: &Path) -> Checked {
    let mut settings = Settings::default();
    let mut mistakes = Vec::new();
    let directives = settings.apply_file(path, &mut mistakes);
    finish_check(&settings, directives, mistakes)
}

/// Checks TOML `text` alone, over the defaults, as if it came from `path`.
pub fn check_text(path: &Path, text: &str) -> Checked {
    let mut settings = Settings::default();
    let mut mistakes = Vec::new();
    let directives = settings.apply_toml(path, text, &mut mistakes);
    finish_check(&settings, directives, mistakes)
}

fn finish_check(settings: &Settings, directives: usize, mut mistakes: Vec<Mistake>) -> Checked {
    mistakes.extend(relations::contradictions(settings));
    mistakes.sort_by_key(|mistake| match mistake.place {
        Place::File { line, column, .. } => (line, column),
        _ => (usize::MAX, 0),
    });
    Checked { directives, mistakes }
}

/// The `HYPERCACHE_*` variables of this process; a value that is not UTF-8 is reported as a mistake.
pub fn process_environment() -> Result<BTreeMap<String, String>, Vec<Mistake>> {
    let mut variables = BTreeMap::new();
    let mut mistakes = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("HYPERCACHE_")) else { continue };
        match value.into_string() {
            Ok(value) => {
                variables.insert(name.to_string(), value);
            }
            Err(_) => mistakes.push(Mistake {
                place: Place::Environment(name.to_string()),
                text: "the value is not UTF-8".to_string(),
            }),
        }
    }
    if mistakes.is_empty() { Ok(variables) } else { Err(mistakes) }
}

impl Config {
    /// The configuration of a server without file, environment or flags, with `flags` over it; for tests and embedding.
    pub fn with(flags: &[(&str, &str)]) -> Result<Config, Vec<Mistake>> {
        let flags: Vec<_> = flags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        load(&flags, &BTreeMap::new()).map(|loaded| loaded.config)
    }

    /// Whether the ports can be reached from other machines.
    pub fn is_exposed(&self) -> bool {
        relations::is_exposed(self.bind)
    }

    /// The address that other nodes and clients are told: advertise-address, else bind, else, if bind is unspecified,
    /// the address of the interface that leads out, else loopback.
    pub fn advertised_address(&self) -> IpAddr {
        if let Some(address) = self.advertise_address {
            return address;
        }
        if !self.bind.is_unspecified() {
            return self.bind;
        }
        outward_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    fn from_settings(settings: Settings) -> Config {
        let number = |index| settings.number(index);
        let millis = |index| Duration::from_millis(number(index).unsigned_abs());
        let port = |index| u16::try_from(number(index)).expect("the table's range of a port is that of u16");
        let name = |index| match settings.value(index) {
            Value::Name(name) => name.clone(),
            other => unreachable!("not a name: {other:?}"),
        };
        let address = |index| match settings.value(index) {
            Value::Address(address) => *address,
            other => unreachable!("not an address: {other:?}"),
        };
        let resp_port = port(const { index_of("port") });
        Config {
            node_id: Some(name(const { index_of("node-id") }))
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| default_node_id(resp_port)),
            dir: match settings.value(const { index_of("dir") }) {
                Value::Path(path) => path.clone(),
                other => unreachable!("dir is {other:?}"),
            },
            io_threads: io_threads(&settings),
            io_backend: match settings.value(const { index_of("io-backend") }) {
                Value::Word("uring") => IoBackend::Uring,
                Value::Word("epoll") => IoBackend::Epoll,
                _ => IoBackend::Auto,
            },
            bind: address(const { index_of("bind") }).expect("the kind of bind has no empty value"),
            port: resp_port,
            http_port: port(const { index_of("http-port") }),
            gossip_port: port(const { index_of("gossip-port") }),
            advertise_address: address(const { index_of("advertise-address") }),
            allow_insecure_bind: settings.value(const { index_of("allow-insecure-bind") })
                == &Value::Bool(true),
            join: match settings.value(const { index_of("join") }) {
                Value::HostPorts(seeds) => seeds.clone(),
                other => unreachable!("join is {other:?}"),
            },
            cluster_secret: settings.secret(const { index_of("cluster-secret") }).clone(),
            partitions: u16::try_from(number(const { index_of("partitions") })).expect("at most 16384"),
            replication_factor: u8::try_from(number(const { index_of("replication-factor") }))
                .expect("at most 7"),
            acks: match settings.value(const { index_of("acks") }) {
                Value::Word("primary") => Acks::Primary,
                _ => Acks::Insync,
            },
            zone: name(const { index_of("zone") }),
            weight: u32::try_from(number(const { index_of("weight") })).expect("at most 1000"),
            forward_timeout: millis(const { index_of("forward-timeout-ms") }),
            lease: millis(const { index_of("lease-ms") }),
            lease_renew: millis(const { index_of("lease-renew-ms") }),
            failover_margin: millis(const { index_of("failover-margin-ms") }),
            raft_heartbeat: millis(const { index_of("raft-heartbeat-ms") }),
            raft_election_min: millis(const { index_of("raft-election-min-ms") }),
            raft_election_max: millis(const { index_of("raft-election-max-ms") }),
            gossip_interval: millis(const { index_of("gossip-interval-ms") }),
            gossip_probe_interval: millis(const { index_of("gossip-probe-interval-ms") }),
            gossip_probe_timeout: millis(const { index_of("gossip-probe-timeout-ms") }),
            gossip_suspicion: millis(const { index_of("gossip-suspicion-ms") }),
            http_max_body: usize::try_from(settings.value(const { index_of("http-max-body") }).bits())
                .expect("at most 1gb"),
            appendonly: settings.value(const { index_of("appendonly") }) == &Value::Bool(true),
            appendfsync: appendfsync(&settings),
            appenddirname: name(const { index_of("appenddirname") }),
            config_file: settings.config_file(),
            directives: Arc::new(Directives::new(settings)),
        }
    }
}

fn appendfsync(settings: &Settings) -> Fsync {
    match settings.value(const { index_of("appendfsync") }) {
        Value::Word("always") => Fsync::Always,
        Value::Word("no") => Fsync::No,
        _ => Fsync::EverySecond,
    }
}

fn io_threads(settings: &Settings) -> usize {
    match settings.value(const { index_of("io-threads") }) {
        Value::Threads(Some(threads)) => usize::try_from(*threads).expect("the table's range is 1 to 64"),
        _ => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(IO_THREADS_AUTO_MAX)),
    }
}

/// Host name, dash, port: unique on a network, and the same after a restart unless the port is "any".
fn default_node_id(port: u16) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(48).collect();
    let host = if host.is_empty() { "node".to_string() } else { host };
    let suffix = if port == 0 { std::process::id() } else { u32::from(port) };
    format!("{host}-{suffix}")
}

/// The address of the interface that the default route takes. Connecting a UDP socket sends nothing; the target is a
/// documentation address (RFC 5737).
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_unspecified())
}
