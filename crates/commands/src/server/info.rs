//! INFO: the facts of a node as the text that clients, exporters and dashboards parse.
//!
//! The order of sections and the names of fields are Redis 7.2's. Fields of mechanisms that do not exist here (forks,
//! Lua memory, defragmentation) are printed with the value Redis has when they are idle, because readers such as
//! redis_exporter take their absence for an error. What only HyperCache has stands in a section of its own.

use crate::args::Args;
use crate::host::Host;
use crate::info::{CommandStats, HYPERCACHE_VERSION, InfoData, REDIS_VERSION};
use crate::session::SessionCtx;
use protocol::Reply;
use std::fmt::Display;
use std::time::Duration;

/// A section of INFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Modules,
    CommandStats,
    ErrorStats,
    LatencyStats,
    Cluster,
    Keyspace,
    HyperCache,
}

/// Name in the command, heading, and whether it is printed without being asked for.
const SECTIONS: &[(Section, &str, &str, bool)] = &[
    (Section::Server, "server", "Server", true),
    (Section::Clients, "clients", "Clients", true),
    (Section::Memory, "memory", "Memory", true),
    (Section::Persistence, "persistence", "Persistence", true),
    (Section::Stats, "stats", "Stats", true),
    (Section::Replication, "replication", "Replication", true),
    (Section::Cpu, "cpu", "CPU", true),
    (Section::Modules, "modules", "Modules", true),
    (Section::CommandStats, "commandstats", "Commandstats", false),
    (Section::ErrorStats, "errorstats", "Errorstats", true),
    (Section::LatencyStats, "latencystats", "Latencystats", false),
    (Section::Cluster, "cluster", "Cluster", true),
    (Section::Keyspace, "keyspace", "Keyspace", true),
    (Section::HyperCache, "hypercache", "HyperCache", true),
];

/// `INFO [section [section ...]]`.
pub(super) fn info(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let text = render(ctx.host, args.tail(1));
    reply.verbatim("txt", text.as_bytes());
}

/// The text of the sections named; all default sections if none is. Unknown names are ignored, as in Redis.
pub fn render(host: &dyn Host, names: &[&[u8]]) -> String {
    let named = |wanted: &str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted.as_bytes()));
    let default = names.is_empty() || named("default");
    let every = named("all") || named("everything");
    let mut out = Text::default();
    let data = host.info();
    for (section, name, heading, is_default) in SECTIONS {
        if every || (default && *is_default) || named(name) {
            out.heading(heading);
            write_section(&mut out, *section, host, &data);
        }
    }
    out.0
}

/// When the process started, in seconds since the Unix epoch.
pub(crate) fn started_unix_seconds(data: &InfoData) -> u64 {
    (data.server.now.0 / 1_000).saturating_sub(data.server.uptime.as_secs())
}

/// Bytes as Redis's `bytesToHuman`: `1.50M`.
pub fn human_bytes(bytes: u64) -> String {
    let units = ["K", "M", "G", "T", "P"];
    if bytes < 1_024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < units.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.2}{}", units[unit])
}

/// The text so far: headings, `name:value` lines, line ends as on the wire.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    fn heading(&mut self, heading: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        self.0.push_str(&format!("# {heading}\r\n"));
    }

    pub(super) fn field(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("{name}:{value}\r\n"));
    }

    /// Fields that are 0 as long as what they count does not exist.
    pub(super) fn zeros(&mut self, names: &[&str]) {
        for name in names {
            self.field(name, 0);
        }
    }

    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human_bytes(bytes));
    }
}

fn write_section(out: &mut Text, section: Section, host: &dyn Host, data: &InfoData) {
    match section {
        Section::Server => server(out, host, data),
        Section::Clients => clients(out, data),
        Section::Memory => memory(out, data),
        Section::Persistence => super::persistence::section(out, data),
        Section::Stats => stats(out, data),
        Section::Replication => replication(out, data),
        Section::Cpu => cpu(out, data),
        // There are no modules.
        Section::Modules => {}
        Section::CommandStats => host.command_stats().iter().for_each(|stats| command_stats(out, stats)),
        Section::ErrorStats => {
            for (prefix, count) in host.error_stats() {
                out.field(&format!("errorstat_{prefix}"), format_args!("count={count}"));
            }
        }
        Section::LatencyStats => host.command_stats().iter().for_each(|stats| latency_stats(out, stats)),
        Section::Cluster => out.field("cluster_enabled", u8::from(host.cluster_enabled())),
        Section::Keyspace => {
            for db in &data.keyspace {
                let (keys, expires, ttl) = (db.keys, db.expires, db.avg_ttl_ms);
                out.field(
                    &format!("db{}", db.db),
                    format_args!("keys={keys},expires={expires},avg_ttl={ttl}"),
                );
            }
        }
        Section::HyperCache => hypercache(out, data),
    }
}

fn server(out: &mut Text, host: &dyn Host, data: &InfoData) {
    let server = &data.server;
    let uptime = server.uptime.as_secs();
    out.field("redis_version", REDIS_VERSION);
    out.field("hypercache_version", HYPERCACHE_VERSION);
    out.field("redis_git_sha1", "00000000");
    out.field("redis_git_dirty", 0);
    out.field("redis_build_id", &server.build_id);
    out.field("redis_mode", if host.cluster_enabled() { "cluster" } else { "standalone" });
    out.field("os", &server.os);
    out.field("arch_bits", usize::BITS);
    out.field("monotonic_clock", "POSIX clock_gettime");
    out.field("multiplexing_api", &server.multiplexing_api);
    out.field("process_id", server.process_id);
    out.field("process_supervised", "no");
    out.field("run_id", &server.run_id);
    out.field("tcp_port", server.tcp_port);
    out.field("server_time_usec", server.now.0 * 1_000);
    out.field("uptime_in_seconds", uptime);
    out.field("uptime_in_days", uptime / 86_400);
    out.field("hz", server.hz);
    out.field("configured_hz", server.hz);
    // Redis's LRU clock: seconds in 24 bits.
    out.field("lru_clock", (server.now.0 / 1_000) & 0xff_ffff);
    out.field("executable", &server.executable);
    out.field("config_file", &server.config_file);
    out.field("io_threads_active", u8::from(server.io_threads_active));
    for (number, address) in server.listeners.iter().enumerate() {
        out.field(&format!("listener{number}"), format_args!("name=tcp,{address}"));
    }
}

fn clients(out: &mut Text, data: &InfoData) {
    let clients = &data.clients;
    out.field("connected_clients", clients.connected);
    out.field("cluster_connections", data.hypercache.nodes.saturating_sub(1));
    out.field("maxclients", clients.maxclients);
    out.field("client_recent_max_input_buffer", clients.input_buffer_max);
    out.field("client_recent_max_output_buffer", clients.output_buffer_max);
    out.field("blocked_clients", clients.blocked);
    out.field("tracking_clients", 0);
    out.field("pubsub_clients", clients.pubsub);
    out.field("watching_clients", clients.watching);
    out.field("clients_in_timeout_table", 0);
    out.field("total_watched_keys", clients.watched_keys);
    out.field("total_blocking_keys", clients.blocking_keys);
    out.field("total_blocking_keys_on_nokey", 0);
}

/// `part` of `whole` in percent, 0 of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// `part / whole`, 0 of nothing.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    percent(part, whole) / 100.0
}

fn memory(out: &mut Text, data: &InfoData) {
    let memory = &data.memory;
    let peak = memory.peak.max(memory.used);
    out.bytes("used_memory", memory.used);
    out.bytes("used_memory_rss", memory.rss);
    out.bytes("used_memory_peak", peak);
    out.field("used_memory_peak_perc", format_args!("{:.2}%", percent(memory.used, peak)));
    out.field("used_memory_overhead", memory.used.saturating_sub(memory.dataset));
    out.field("used_memory_startup", memory.startup);
    out.field("used_memory_dataset", memory.dataset);
    let grown = memory.used.saturating_sub(memory.startup);
    out.field("used_memory_dataset_perc", format_args!("{:.2}%", percent(memory.dataset, grown).min(100.0)));
    out.field("allocator_allocated", memory.used);
    out.field("allocator_active", memory.rss);
    out.field("allocator_resident", memory.rss);
    out.bytes("total_system_memory", memory.total_system);
    out.bytes("used_memory_lua", 0);
    out.zeros(&["used_memory_vm_eval", "used_memory_scripts_eval", "number_of_cached_scripts"]);
    out.zeros(&["number_of_functions", "number_of_libraries", "used_memory_vm_functions"]);
    out.bytes("used_memory_vm_total", 0);
    out.field("used_memory_functions", 0);
    out.bytes("used_memory_scripts", 0);
    out.bytes("maxmemory", memory.maxmemory);
    out.field("maxmemory_policy", &memory.maxmemory_policy);
    out.field("allocator_frag_ratio", "1.00");
    out.field("allocator_frag_bytes", 0);
    out.field("allocator_rss_ratio", "1.00");
    out.field("allocator_rss_bytes", 0);
    out.field("rss_overhead_ratio", "1.00");
    out.field("rss_overhead_bytes", 0);
    out.field("mem_fragmentation_ratio", format_args!("{:.2}", ratio(memory.rss, memory.used)));
    out.field("mem_fragmentation_bytes", memory.rss as i64 - memory.used as i64);
    out.field("mem_not_counted_for_evict", 0);
    out.field("mem_replication_backlog", memory.replication_log);
    out.field("mem_total_replication_buffers", memory.replication_log);
    out.field("mem_clients_slaves", 0);
    out.field("mem_clients_normal", memory.clients);
    out.field("mem_cluster_links", 0);
    out.field("mem_aof_buffer", memory.aof_buffer);
    out.field("mem_allocator", &data.server.mem_allocator);
    out.field("active_defrag_running", 0);
    out.field("lazyfree_pending_objects", memory.lazyfree_pending);
    out.field("lazyfreed_objects", 0);
}

fn stats(out: &mut Text, data: &InfoData) {
    let stats = &data.stats;
    out.field("total_connections_received", stats.connections_received);
    out.field("total_commands_processed", stats.commands_processed);
    out.field("instantaneous_ops_per_sec", stats.ops_per_sec);
    out.field("total_net_input_bytes", stats.net_input_bytes);
    out.field("total_net_output_bytes", stats.net_output_bytes);
    out.field("total_net_repl_input_bytes", stats.net_repl_input_bytes);
    out.field("total_net_repl_output_bytes", stats.net_repl_output_bytes);
    out.field("instantaneous_input_kbps", format_args!("{:.2}", stats.input_bytes_per_sec / 1_024.0));
    out.field("instantaneous_output_kbps", format_args!("{:.2}", stats.output_bytes_per_sec / 1_024.0));
    out.field("instantaneous_input_repl_kbps", "0.00");
    out.field("instantaneous_output_repl_kbps", "0.00");
    out.field("rejected_connections", stats.rejected_connections);
    out.field("sync_full", stats.sync_full);
    out.field("sync_partial_ok", stats.sync_partial_ok);
    out.field("sync_partial_err", stats.sync_partial_err);
    out.field("expired_keys", stats.expired_keys);
    out.field("expired_stale_perc", "0.00");
    out.zeros(&["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds"]);
    out.field("evicted_keys", stats.evicted_keys);
    out.field("evicted_clients", stats.evicted_clients);
    out.zeros(&["total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
    out.field("keyspace_hits", stats.keyspace_hits);
    out.field("keyspace_misses", stats.keyspace_misses);
    out.field("pubsub_channels", stats.pubsub_channels);
    out.field("pubsub_patterns", stats.pubsub_patterns);
    out.field("pubsubshard_channels", stats.pubsub_shard_channels);
    out.zeros(&["latest_fork_usec", "total_forks", "migrate_cached_sockets", "slave_expires_tracked_keys"]);
    out.zeros(&["active_defrag_hits", "active_defrag_misses", "active_defrag_key_hits"]);
    out.zeros(&["active_defrag_key_misses", "total_active_defrag_time", "current_active_defrag_time"]);
    out.zeros(&["tracking_total_keys", "tracking_total_items", "tracking_total_prefixes"]);
    out.field("unexpected_error_replies", 0);
    out.field("total_error_replies", stats.error_replies);
    out.field("dump_payload_sanitizations", 0);
    out.field("total_reads_processed", stats.reads_processed);
    out.field("total_writes_processed", stats.writes_processed);
    out.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    out.zeros(&["reply_buffer_shrinks", "reply_buffer_expands", "eventloop_cycles"]);
    out.field("client_query_buffer_limit_disconnections", 0);
    out.field("client_output_buffer_limit_disconnections", stats.output_buffer_limit_disconnections);
    out.field("acl_access_denied_auth", stats.acl_access_denied_auth);
    out.field("acl_access_denied_cmd", stats.acl_access_denied_cmd);
    out.field("acl_access_denied_key", stats.acl_access_denied_key);
    out.field("acl_access_denied_channel", stats.acl_access_denied_channel);
}

fn replication(out: &mut Text, data: &InfoData) {
    let replication = &data.replication;
    out.field("role", "master");
    out.field("connected_slaves", replication.replicas.len());
    for (number, replica) in replication.replicas.iter().enumerate() {
        out.field(
            &format!("slave{number}"),
            format_args!(
                "ip={},port={},state={},offset={},lag={}",
                replica.host,
                replica.port,
                if replica.online { "online" } else { "wait_bgsave" },
                replica.offset,
                replica.lag_seconds
            ),
        );
    }
    out.field("master_failover_state", "no-failover");
    out.field("master_replid", &replication.replid);
    out.field("master_replid2", "0".repeat(40));
    out.field("master_repl_offset", replication.offset);
    out.field("second_repl_offset", -1);
    out.field("repl_backlog_active", u8::from(data.memory.replication_log > 0));
    out.field("repl_backlog_size", data.memory.replication_log);
    out.zeros(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
    let syncs = &replication.syncs;
    out.field("partition_syncs_by_backlog", syncs.by_backlog);
    out.field("partition_syncs_by_difference", syncs.by_difference);
    out.field("partition_syncs_whole", syncs.whole);
    out.field("partition_sync_bytes_sent", syncs.bytes_sent);
    out.field("partition_sync_bytes_spared", syncs.bytes_spared);
}

fn cpu(out: &mut Text, data: &InfoData) {
    let seconds = |time: Duration| format!("{}.{:06}", time.as_secs(), time.subsec_micros());
    out.field("used_cpu_sys", seconds(data.cpu.system));
    out.field("used_cpu_user", seconds(data.cpu.user));
    out.field("used_cpu_sys_children", seconds(Duration::ZERO));
    out.field("used_cpu_user_children", seconds(Duration::ZERO));
    out.field("used_cpu_sys_main_thread", seconds(data.cpu.system));
    out.field("used_cpu_user_main_thread", seconds(data.cpu.user));
}

fn command_stats(out: &mut Text, stats: &CommandStats) {
    let per_call = if stats.calls == 0 { 0.0 } else { stats.usec as f64 / stats.calls as f64 };
    out.field(
        &format!("cmdstat_{}", stats.name),
        format_args!(
            "calls={},usec={},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
            stats.calls, stats.usec, stats.rejected_calls, stats.failed_calls
        ),
    );
}

fn latency_stats(out: &mut Text, stats: &CommandStats) {
    if stats.calls > 0 {
        let [p50, p99, p999] = stats.percentiles_us;
        out.field(
            &format!("latency_percentiles_usec_{}", stats.name),
            format_args!("p50={p50:.3},p99={p99:.3},p99.9={p999:.3}"),
        );
    }
}

fn hypercache(out: &mut Text, data: &InfoData) {
    let node = &data.hypercache;
    out.field("node_id", node.node_id);
    out.field("node_name", &node.node_name);
    out.field("http_port", node.http_port);
    out.field("gossip_port", node.gossip_port);
    out.field("cluster_epoch", node.epoch);
    out.field("cluster_nodes", node.nodes);
    out.field("cluster_nodes_up", node.nodes_up);
    out.field("partitions", node.partitions);
    out.field("partitions_primary", node.partitions_primary);
    out.field("partitions_replica", node.partitions_replica);
    out.field("partitions_learner", node.partitions_learner);
    out.field("replication_factor", node.replication_factor);
    out.field("acks", &node.acks);
    out.field("lease", if node.lease_held { "held" } else { "none" });
    out.field("lease_remaining_ms", node.lease_remaining_ms);
    out.field("raft_leader", &node.raft_leader);
    out.field("raft_term", node.raft_term);
    out.field("forwarded_commands", node.forwarded_commands);
    out.field("replies_waiting", node.replies_waiting);
}
