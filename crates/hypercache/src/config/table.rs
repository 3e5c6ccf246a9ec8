//! The one table of directives: every name, kind, default, unit and doc string that HyperCache can be configured by.
//!
//! The TOML file, the environment, the command line's flags, CONFIG GET/SET, `hypercache config show` and
//! `docs/configuration.md` are all derived from these rows, so that none of them can disagree. Adding a directive
//! is one row here, plus a field of [`Config`](super::Config) or a getter of [`Directives`](super::Directives) for
//! whoever reads it; [`index_of`] makes a misspelt name a compile-time error there.

use super::value::Kind;

/// Where a directive belongs; the order in which the documentation shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// Who the node is and where it keeps its files.
    Node,
    /// Addresses, ports and who may connect.
    Network,
    /// How data is spread and made safe over nodes.
    Cluster,
    /// Timings of leases, Raft and gossip: change them together or not at all.
    Timing,
    /// Limits per client and per request.
    Clients,
    /// Memory.
    Memory,
    /// What is kept on disk.
    Persistence,
    /// Logs and diagnostics.
    Diagnostics,
    /// Names that Redis tools read or set, whose feature is not in this version.
    Compatibility,
}

impl Section {
    /// Every section, in the order of the documentation.
    pub const ALL: [Section; 9] = [
        Section::Node,
        Section::Network,
        Section::Cluster,
        Section::Timing,
        Section::Clients,
        Section::Memory,
        Section::Persistence,
        Section::Diagnostics,
        Section::Compatibility,
    ];

    /// The heading in the documentation.
    pub const fn title(self) -> &'static str {
        match self {
            Section::Node => "Node",
            Section::Network => "Network and access",
            Section::Cluster => "Cluster",
            Section::Timing => "Timings of the cluster",
            Section::Clients => "Clients and requests",
            Section::Memory => "Memory",
            Section::Persistence => "Persistence",
            Section::Diagnostics => "Logs and diagnostics",
            Section::Compatibility => "Redis names whose feature is not in this version",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// The name, in kebab case: the TOML key, the flag, the name CONFIG GET knows.
    pub name: &'static str,
    /// What values are accepted.
    pub kind: Kind,
    /// The default, as a user would write it.
    pub default: &'static str,
    /// The unit of a bare number; empty where there is none.
    pub unit: &'static str,
    /// Whether CONFIG SET may change it while the server runs.
    pub live: bool,
    /// Whether Redis has a directive of this name.
    pub redis: bool,
    /// Whether a configuration file may set it (all but `config` itself).
    pub in_file: bool,
    /// The chapter of the documentation.
    pub section: Section,
    /// What it does, in sentences.
    pub doc: &'static str,
}

impl Directive {
    const fn new(
        section: Section,
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Directive {
        Directive { name, kind, default, unit: "", live: false, redis: false, in_file: true, section, doc }
    }

    const fn unit(mut self, unit: &'static str) -> Directive {
        self.unit = unit;
        self
    }

    const fn live(mut self) -> Directive {
        self.live = true;
        self
    }

    const fn redis(mut self) -> Directive {
        self.redis = true;
        self
    }

    const fn not_in_file(mut self) -> Directive {
        self.in_file = false;
        self
    }

    /// The environment variable of this directive.
    pub fn environment(&self) -> String {
        format!("HYPERCACHE_{}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// Position of `name` in [`DIRECTIVES`]; meant for `const { index_of("port") }`.
///
/// # Panics
/// If there is no such directive; in a const block that is a compile-time error.
pub(super) const fn index_of(name: &str) -> usize {
    let mut index = 0;
    while index < DIRECTIVES.len() {
        if same(DIRECTIVES[index].name.as_bytes(), name.as_bytes()) {
            return index;
        }
        index += 1;
    }
    panic!("no such directive")
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// Finds a directive by name, ignoring case as Redis does.
pub(super) fn find(name: &str) -> Option<usize> {
    DIRECTIVES.iter().position(|directive| directive.name.eq_ignore_ascii_case(name))
}

/// The directive whose name is most like `name`, if one is near enough to be what was meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let allowed = (name.len() / 4).clamp(1, 3);
    DIRECTIVES
        .iter()
        .map(|directive| (strsim::osa_distance(directive.name, &name), directive.name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

const NO_TLS: &str = "TLS comes with a later release";

const DAY_MS: i64 = 86_400_000;
const MIN_MS: i64 = 60_000;
const I32_MAX: i64 = i32::MAX as i64;
const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;

use Section::{Clients, Cluster, Compatibility, Diagnostics, Memory, Network, Node, Persistence, Timing};

/// Names of `store::eviction::Policy`, which a test compares.
pub(super) const POLICIES: &[&str] = &[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-s3fifo",
    "allkeys-gdsf",
    "allkeys-adaptive",
    "volatile-s3fifo",
    "volatile-gdsf",
    "volatile-adaptive",
];

/// The table.
#[rustfmt::skip]
pub const DIRECTIVES: &[Directive] = &[
    Directive::new(Node, "config", Kind::Path, "",
        "TOML file to read directives from. Environment and flags take precedence over it.").not_in_file(),
    Directive::new(Node, "node-id", Kind::Name, "",
        "Name of this node, unique in its cluster and the same after a restart. Empty means host name, dash, port."),
    Directive::new(Node, "dir", Kind::Path, "hypercache-data",
        "Directory for the files of this node: its identity, its Raft vote and log. No two nodes may share one.").redis(),
    Directive::new(Node, "io-threads", Kind::Threads { max: 64 }, "auto",
        "Threads that serve RESP connections and run commands. `auto` is the number of cores, at most 4.").redis(),
    Directive::new(Node, "io-backend", Kind::Enum(&["auto", "uring", "epoll"]), "auto",
        "How those threads wait for the network: `uring` is io_uring (Linux 6.0 and later, unless a container forbids \
         it), `epoll` works everywhere, `auto` takes the first that works."),
    Directive::new(Node, "databases", Kind::Fixed { accepted: &["16"], why: "the number of databases is fixed at 16" }, "16",
        "Number of databases that SELECT can choose. Fixed at 16.").redis(),

    Directive::new(Network, "bind", Kind::Address, "127.0.0.1",
        "Address that all three ports listen on. Anything but a loopback address needs requirepass, and cluster-secret \
         if the node joins others.").redis(),
    Directive::new(Network, "port", Kind::Port, "6379",
        "TCP port for Redis clients (RESP2 and RESP3). 0 takes any free port.").redis(),
    Directive::new(Network, "http-port", Kind::Port, "8080",
        "TCP port for the HTTP API, the dashboard, metrics and the links between nodes. 0 takes any free port."),
    Directive::new(Network, "gossip-port", Kind::Port, "7946",
        "UDP port for membership gossip. 0 takes any free port."),
    Directive::new(Network, "advertise-address", Kind::AddressOrNone, "",
        "Address that other nodes and redirected clients are told to use. Empty means the address of bind or, when \
         that is 0.0.0.0 or ::, the address of the interface that leads out."),
    Directive::new(Network, "requirepass", Kind::Secret, "",
        "Password of the default user, for Redis clients (AUTH) and for HTTP (Authorization: Bearer). Empty means none.").live().redis(),
    Directive::new(Network, "user", Kind::Secret, "",
        "Users that the node begins with, each as `NAME RULE ...` of ACL SETUSER: an array in the file, lines elsewhere. Not together with \
         aclfile. CONFIG GET never shows it."),
    Directive::new(Network, "aclfile", Kind::Path, "",
        "File of users that the node begins with, in Redis's format; ACL LOAD reads it again and ACL SAVE writes it. What was changed \
         by ACL SETUSER or DELUSER is kept by the cluster and comes over it.").redis(),
    Directive::new(Network, "acl-pubsub-default", Kind::Enum(&["allchannels", "resetchannels"]), "resetchannels",
        "Which channels a new user may use before a rule says so.").live().redis(),
    Directive::new(Network, "acllog-max-len", Kind::Number { min: 0, max: 1_000_000 }, "128",
        "Most entries of ACL LOG.").live().redis(),
    Directive::new(Network, "protected-mode", Kind::Bool, "yes",
        "Whether connections from other machines are refused while there is no password.").live().redis(),
    Directive::new(Network, "allow-insecure-bind", Kind::Bool, "no",
        "Override, by name, of the refusal to listen beyond loopback without requirepass or cluster-secret."),
    Directive::new(Network, "tcp-keepalive", Kind::Number { min: 0, max: I32_MAX }, "300",
        "Seconds between keep-alive probes on idle client connections. 0 sends none.").unit("seconds").live().redis(),

    Directive::new(Cluster, "join", Kind::HostPorts, "",
        "HOST:GOSSIP_PORT of any member of the cluster to join; repeatable, and a DNS name may have several addresses. \
         Empty means that this node starts a cluster, or returns to the one it was in."),
    Directive::new(Cluster, "cluster-secret", Kind::Secret, "",
        "Secret that nodes of one cluster share: it encrypts gossip and authenticates links. CONFIG GET never shows it."),
    Directive::new(Cluster, "partitions", Kind::Number { min: 1, max: 16_384 }, "256",
        "Number of partitions of the key space, a power of two. Decided when a cluster is created; later nodes must agree."),
    Directive::new(Cluster, "replication-factor", Kind::Number { min: 1, max: 7 }, "2",
        "Copies of every partition, the primary's included. A cluster with fewer nodes keeps as many as it has nodes."),
    Directive::new(Cluster, "acks", Kind::Enum(&["insync", "primary"]), "insync",
        "When a write is acknowledged: `insync` once every in-sync replica has it, `primary` at once, which may lose the \
         last writes when a node fails."),
    Directive::new(Cluster, "zone", Kind::Name, "",
        "Failure domain of this node. Copies of a partition are kept in different zones where there are several."),
    Directive::new(Cluster, "weight", Kind::Number { min: 1, max: 1_000 }, "100",
        "Share of the partitions this node takes relative to the weights of the others."),
    Directive::new(Cluster, "forward-timeout-ms", Kind::Number { min: 10, max: MIN_MS * 10 }, "5000",
        "How long a request forwarded to its primary may take before it is reported as in doubt.").unit("milliseconds"),

    Directive::new(Timing, "lease-ms", Kind::Number { min: 50, max: MIN_MS }, "1000",
        "How long a primary may serve on one lease from the Raft leader.").unit("milliseconds"),
    Directive::new(Timing, "lease-renew-ms", Kind::Number { min: 10, max: MIN_MS }, "250",
        "How often a lease is renewed; at most a third of lease-ms.").unit("milliseconds"),
    Directive::new(Timing, "failover-margin-ms", Kind::Number { min: 1, max: MIN_MS }, "150",
        "What the leader waits beyond the end of a lease before another node may be primary: covers clock drift.").unit("milliseconds"),
    Directive::new(Timing, "raft-heartbeat-ms", Kind::Number { min: 5, max: MIN_MS }, "50",
        "How often the Raft leader is heard; less than half of raft-election-min-ms.").unit("milliseconds"),
    Directive::new(Timing, "raft-election-min-ms", Kind::Number { min: 10, max: MIN_MS }, "150",
        "Shortest silence of the leader after which a voter stands for election.").unit("milliseconds"),
    Directive::new(Timing, "raft-election-max-ms", Kind::Number { min: 10, max: MIN_MS }, "300",
        "Longest such silence; voters choose at random between the two.").unit("milliseconds"),
    Directive::new(Timing, "gossip-interval-ms", Kind::Number { min: 5, max: MIN_MS }, "50",
        "How often membership news is passed on.").unit("milliseconds"),
    Directive::new(Timing, "gossip-probe-interval-ms", Kind::Number { min: 20, max: MIN_MS }, "200",
        "How often a random member is probed.").unit("milliseconds"),
    Directive::new(Timing, "gossip-probe-timeout-ms", Kind::Number { min: 5, max: MIN_MS }, "70",
        "How long a direct probe may take before others are asked to probe; less than half of gossip-probe-interval-ms.").unit("milliseconds"),
    Directive::new(Timing, "gossip-suspicion-ms", Kind::Number { min: 50, max: MIN_MS }, "800",
        "How long a member stays suspect before gossip calls it down; at least gossip-probe-interval-ms.").unit("milliseconds"),

    Directive::new(Clients, "maxclients", Kind::Number { min: 1, max: 1_000_000 }, "10000",
        "Most Redis client connections at one time.").live().redis(),
    Directive::new(Clients, "timeout", Kind::Number { min: 0, max: I32_MAX }, "0",
        "Seconds after which an idle client is disconnected. 0 means never.").unit("seconds").live().redis(),
    Directive::new(Clients, "proto-max-bulk-len", Kind::Bytes { min: MB, max: 4 * GB }, "512mb",
        "Largest single argument of a command.").unit("bytes").live().redis(),
    Directive::new(Clients, "client-query-buffer-limit", Kind::Bytes { min: MB, max: 16 * GB }, "1gb",
        "Most bytes of requests that one client may have waiting in the server.").unit("bytes").live().redis(),
    Directive::new(Clients, "client-output-buffer-limit", Kind::BufferLimits, "normal 0 0 0 pubsub 32mb 8mb 60",
        "Per class of client (normal, replica, pubsub): hard limit, soft limit and the seconds a client may stay above the \
         soft limit, before it is disconnected. 0 means no limit. Classes that are not named keep their value.").live().redis(),
    Directive::new(Clients, "http-max-body", Kind::Bytes { min: 1024, max: GB }, "64mb",
        "Largest body of an HTTP request.").unit("bytes"),

    Directive::new(Memory, "maxmemory", Kind::Memory, "0",
        "Memory that this node may take beyond what it starts with: data, copies for other nodes, buffers of clients. At the limit keys are \
         evicted or writes refused, see `maxmemory-policy`. A share such as `75%` is of the container's limit, or of the machine's \
         memory. 0 means no limit.").unit("bytes").live().redis(),
    Directive::new(Memory, "maxmemory-policy", Kind::Enum(POLICIES), "noeviction",
        "What happens at maxmemory: writes are refused (`noeviction`), or keys go, all of them being candidates or only those with a \
         time to live (`volatile-`), by the policies of Redis and three more: `s3fifo`, `gdsf` (large and seldom used first) and \
         `adaptive` (whichever of LRU and S3-FIFO is better at the time).").live().redis(),
    Directive::new(Memory, "maxmemory-samples", Kind::Number { min: 1, max: 64 }, "5",
        "Keys that Redis's eviction samples. Kept for tools: here nothing depends on it.").live().redis(),

    Directive::new(Persistence, "appendonly", Kind::Bool, "no",
        "Whether every write goes to the append-only log, from which a restarted node has its data back.").redis(),
    Directive::new(Persistence, "appendfsync", Kind::Enum(&["always", "everysec", "no"]), "everysec",
        "When the log is synced to the disk: before a write is acknowledged (all writes that arrive meanwhile share one sync), once a \
         second, or when the system likes. What a crash of the machine can lose follows from it; a crash of the process loses \
         only what was written in the last moment, or nothing with `always`.").redis(),
    Directive::new(Persistence, "appenddirname", Kind::Name, "appendonlydir",
        "Directory of the log and of snapshots, within `dir`.").redis(),
    Directive::new(Persistence, "save", Kind::SavePoints, "",
        "When all data is saved to a snapshot: pairs of seconds since the last save and records written since. Empty means never; \
         SAVE and BGSAVE work all the same.").live().redis(),
    Directive::new(Persistence, "auto-aof-rewrite-percentage", Kind::Number { min: 0, max: 1_000_000 }, "100",
        "A snapshot replaces the log once it has grown by this share of the data saved last. 0 means never.").unit("percent").live().redis(),
    Directive::new(Persistence, "auto-aof-rewrite-min-size", Kind::Bytes { min: 0, max: u64::MAX / 2 }, "64mb",
        "Size below which the log is not replaced by itself.").unit("bytes").live().redis(),
    Directive::new(Persistence, "rdbcompression", Kind::Bool, "yes",
        "Whether snapshots are compressed (LZ4).").live().redis(),
    Directive::new(Persistence, "save-bytes-per-second", Kind::Bytes { min: MB, max: u64::MAX / 2 }, "256mb",
        "How fast a background save reads data at most.").unit("bytes per second").live(),

    Directive::new(Diagnostics, "loglevel", Kind::Enum(&["debug", "verbose", "notice", "warning"]), "notice",
        "How much is logged to standard error.").live().redis(),
    Directive::new(Diagnostics, "slowlog-log-slower-than", Kind::Number { min: -1, max: DAY_MS * 1_000 }, "10000",
        "Commands that take longer are kept in the slow log. 0 keeps all, -1 none.").unit("microseconds").live().redis(),
    Directive::new(Diagnostics, "slowlog-max-len", Kind::Number { min: 0, max: 1_000_000 }, "128",
        "Most entries in the slow log.").live().redis(),
    Directive::new(Diagnostics, "latency-monitor-threshold", Kind::Number { min: 0, max: DAY_MS }, "0",
        "Events that take at least this long are kept for LATENCY. 0 means none.").unit("milliseconds").live().redis(),
    Directive::new(Diagnostics, "hz", Kind::Number { min: 1, max: 500 }, "10",
        "How often per second background work such as expiry runs.").live().redis(),

    Directive::new(Compatibility, "notify-keyspace-events", Kind::Events, "",
        "Which keyspace events are published, by Redis's letters; empty: none. CONFIG SET tells all nodes that are there.").live().redis(),
    Directive::new(Compatibility, "tls-port", Kind::Fixed { accepted: &["0"], why: NO_TLS }, "0",
        "TCP port for TLS. Only 0 in this version.").redis(),
];
