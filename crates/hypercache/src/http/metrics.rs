//! `GET /metrics`: the node's numbers in Prometheus's text format 0.0.4.
//!
//! Every series has the label `node`. Counters restart from zero with the process and after `CONFIG RESETSTAT`;
//! histograms of durations are of execution on this node's workers, without the wait for replicas.

mod text;

use super::Server;
use super::figures::{CommandFigures, Figures, GossipFigures, RaftFigures};
use super::respond::{self, Body};
use hyper::Response;
use std::sync::atomic::Ordering;
use text::{Kind, Text};

/// The commands that had series of their own before there were series of all commands.
const OPERATIONS: [&str; 3] = ["set", "get", "del"];
/// Bounds of duration histograms are powers of two of nanoseconds, of which the smallest (about a microsecond)...
const BOUND_LOG2_MIN: u32 = 10;
/// ... and the largest (about a second). The node's finer buckets fall into them without remainder.
const BOUND_LOG2_MAX: u32 = 30;
const NANOS: f64 = 1e9;

/// The response.
pub(crate) fn response(server: &Server) -> Response<Body> {
    let mut text = Text::new(&server.node_name);
    let figures = server.backend.figures();
    write_overview(&mut text, server, &figures);
    write_traffic(&mut text, &figures);
    write_operations(&mut text, &figures.commands);
    write_commands(&mut text, &figures.commands);
    write_cluster(&mut text, &figures);
    write_syncs(&mut text, &figures);
    write_raft(&mut text, &server.admin.raft_figures());
    write_gossip(&mut text, &server.admin.gossip_figures());
    write_http(&mut text, server);
    write_process(&mut text, &figures);
    respond::fresh("text/plain; version=0.0.4; charset=utf-8", text.finish())
}

fn write_overview(text: &mut Text, server: &Server, figures: &Figures) {
    let (memory, stats) = (&figures.info.memory, &figures.info.stats);
    let reads = stats.keyspace_hits + stats.keyspace_misses;
    let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let gauge = Kind::Gauge;
    text.one("hypercache_up", gauge, "1: this node answers.", 1);
    text.one("hypercache_items_total", gauge, "Keys whose primary is this node.", figures.items);
    text.one(
        "hypercache_memory_bytes",
        gauge,
        "Bytes of keys, values and tables on this node.",
        memory.dataset,
    );
    text.one("hypercache_memory_max_bytes", gauge, "Limit of these bytes; 0: none.", memory.maxmemory);
    let pressure = ratio(memory.dataset, memory.maxmemory);
    text.real(
        "hypercache_memory_pressure",
        gauge,
        "Share of the memory limit in use; 0 without a limit.",
        pressure,
    );
    text.one("hypercache_hits_total", Kind::Counter, "Reads that found their key.", stats.keyspace_hits);
    text.one(
        "hypercache_misses_total",
        Kind::Counter,
        "Reads that did not find their key.",
        stats.keyspace_misses,
    );
    text.real(
        "hypercache_hit_rate",
        gauge,
        "Share of reads that found their key.",
        ratio(stats.keyspace_hits, reads),
    );
    text.one(
        "hypercache_evictions_total",
        Kind::Counter,
        "Keys removed for want of memory.",
        stats.evicted_keys,
    );
    text.one(
        "hypercache_expired_total",
        Kind::Counter,
        "Keys removed at their deadline.",
        stats.expired_keys,
    );
    text.one("hypercache_errors_total", Kind::Counter, "Error replies.", stats.error_replies);
    let healthy = u64::from(server.admin.is_healthy());
    text.one("hypercache_cluster_healthy", gauge, "1: this node knows a quorum of the cluster.", healthy);
    let size = server.admin.cluster_size() as u64;
    text.one("hypercache_cluster_size", gauge, "Members that answer.", size);
    let ready = u64::from(server.admin.is_ready());
    text.one("hypercache_ready", gauge, "1: clients may be sent to this node.", ready);
}

fn write_traffic(text: &mut Text, figures: &Figures) {
    let (clients, stats) = (&figures.info.clients, &figures.info.stats);
    let counter = Kind::Counter;
    text.one("hypercache_connections", Kind::Gauge, "RESP connections open now.", clients.connected);
    text.one("hypercache_connections_max", Kind::Gauge, "Limit of RESP connections.", clients.maxclients);
    text.one(
        "hypercache_connections_total",
        counter,
        "RESP connections accepted.",
        stats.connections_received,
    );
    text.one(
        "hypercache_connections_rejected_total",
        counter,
        "RESP connections refused at the limit.",
        stats.rejected_connections,
    );
    text.one("hypercache_input_bytes_total", counter, "Bytes read from RESP clients.", stats.net_input_bytes);
    text.one(
        "hypercache_output_bytes_total",
        counter,
        "Bytes written to RESP clients.",
        stats.net_output_bytes,
    );
    text.one(
        "hypercache_link_input_bytes_total",
        counter,
        "Bytes read from other nodes.",
        stats.net_repl_input_bytes,
    );
    text.one(
        "hypercache_link_output_bytes_total",
        counter,
        "Bytes written to other nodes.",
        stats.net_repl_output_bytes,
    );
    text.one("hypercache_commands_processed_total", counter, "Commands executed.", stats.commands_processed);
    let own = &figures.info.hypercache;
    text.one(
        "hypercache_forwarded_total",
        counter,
        "Commands sent on to another node.",
        own.forwarded_commands,
    );
    text.one(
        "hypercache_held_back_total",
        counter,
        "Commands held back for want of a lease, a primary or a finished hand-over.",
        figures.held_back,
    );
    text.one(
        "hypercache_indoubt_total",
        counter,
        "Writes answered INDOUBT: executed but unconfirmed.",
        figures.in_doubt,
    );
    text.one(
        "hypercache_replies_waiting",
        Kind::Gauge,
        "Replies that wait for replicas now.",
        own.replies_waiting,
    );
    text.one(
        "hypercache_auth_denied_total",
        counter,
        "Wrong passwords over RESP.",
        stats.acl_access_denied_auth,
    );
}

fn write_operations(text: &mut Text, commands: &[CommandFigures]) {
    let none = CommandFigures::default();
    for operation in OPERATIONS {
        let figures = commands.iter().find(|command| command.name == operation).unwrap_or(&none);
        let help = format!("{} commands executed.", operation.to_uppercase());
        text.one(&format!("hypercache_operations_total_{operation}"), Kind::Counter, &help, figures.calls);
        let name = format!("hypercache_operation_duration_seconds_{operation}");
        text.family(
            &name,
            Kind::Histogram,
            &format!("Time to execute a {} command.", operation.to_uppercase()),
        );
        write_histogram(text, &name, &[], figures);
    }
}

/// Name, help, and where the value of a command is.
type Series = (&'static str, &'static str, fn(&CommandFigures) -> u64);

fn write_commands(text: &mut Text, commands: &[CommandFigures]) {
    let series: [Series; 3] = [
        ("hypercache_commands_total", "Commands executed, by command.", |command| command.calls),
        ("hypercache_commands_failed_total", "Commands answered with an error, by command.", |command| {
            command.failed
        }),
        ("hypercache_commands_rejected_total", "Commands refused before they ran, by command.", |command| {
            command.rejected
        }),
    ];
    for (name, help, value) in series {
        text.family(name, Kind::Counter, help);
        for command in commands {
            text.sample(name, &[("cmd", &command.name)], value(command));
        }
    }
    let name = "hypercache_command_duration_seconds";
    text.family(name, Kind::Histogram, "Time to execute a command, by command.");
    for command in commands {
        write_histogram(text, name, &[("cmd", &command.name)], command);
    }
}

fn write_histogram(text: &mut Text, name: &str, labels: &[(&str, &str)], command: &CommandFigures) {
    let bucket = format!("{name}_bucket");
    for log2 in BOUND_LOG2_MIN..=BOUND_LOG2_MAX {
        let bound_ns = 1u64 << log2;
        let below = command.buckets.iter().take_while(|(bound, _)| *bound <= bound_ns);
        let le = (bound_ns as f64 / NANOS).to_string();
        let labels: Vec<_> = labels.iter().copied().chain([("le", &*le)]).collect();
        text.sample(&bucket, &labels, below.map(|(_, count)| count).sum());
    }
    // Counts come from other threads, one by one: the total is that of the buckets, so that they agree.
    let total = command.buckets.iter().map(|(_, count)| count).sum();
    let labels_inf: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
    text.sample(&bucket, &labels_inf, total);
    text.sample_real(&format!("{name}_sum"), labels, command.nanos as f64 / NANOS);
    text.sample(&format!("{name}_count"), labels, total);
}

fn write_cluster(text: &mut Text, figures: &Figures) {
    let own = &figures.info.hypercache;
    let roles = [
        ("primary", own.partitions_primary),
        ("replica", own.partitions_replica),
        ("learner", own.partitions_learner),
    ];
    text.family("hypercache_partitions", Kind::Gauge, "Partitions on this node, by its role.");
    for (role, count) in roles {
        text.sample("hypercache_partitions", &[("role", role)], count);
    }
    text.one("hypercache_partitions_total", Kind::Gauge, "Partitions of the cluster.", own.partitions);
    text.one(
        "hypercache_map_epoch",
        Kind::Gauge,
        "Version of the cluster map that this node routes by.",
        own.epoch,
    );
    text.one(
        "hypercache_lease_held",
        Kind::Gauge,
        "1: this node may serve what it is primary of.",
        u64::from(own.lease_held),
    );
    text.real(
        "hypercache_lease_remaining_seconds",
        Kind::Gauge,
        "Time left of the lease.",
        own.lease_remaining_ms as f64 / 1e3,
    );
    text.one(
        "hypercache_full_syncs_total",
        Kind::Counter,
        "Partitions copied whole to a peer.",
        figures.full_syncs,
    );
    text.family(
        "hypercache_replication_lag_records",
        Kind::Gauge,
        "Most records a peer is behind in any one partition.",
    );
    for lag in &figures.lags {
        text.sample("hypercache_replication_lag_records", &[("peer", &lag.peer)], lag.records);
    }
    text.family(
        "hypercache_replication_catching_up",
        Kind::Gauge,
        "Partitions of which a peer is still getting a snapshot.",
    );
    for lag in &figures.lags {
        text.sample("hypercache_replication_catching_up", &[("peer", &lag.peer)], lag.not_streaming);
    }
}

fn write_syncs(text: &mut Text, figures: &Figures) {
    let syncs = &figures.info.replication.syncs;
    let name = "hypercache_partition_syncs_total";
    text.family(name, Kind::Counter, "Partitions brought up to date on a peer, by what that took.");
    for (by, count) in
        [("backlog", syncs.by_backlog), ("difference", syncs.by_difference), ("whole", syncs.whole)]
    {
        text.sample(name, &[("by", by)], count);
    }
    text.one(
        "hypercache_partition_sync_sent_bytes_total",
        Kind::Counter,
        "Bytes sent to peers for comparing and copying partitions, live records apart.",
        syncs.bytes_sent,
    );
    text.one(
        "hypercache_partition_sync_spared_bytes_total",
        Kind::Counter,
        "Bytes of keys and values that a peer was found to hold already.",
        syncs.bytes_spared,
    );
}

fn write_raft(text: &mut Text, raft: &RaftFigures) {
    text.one("hypercache_raft_term", Kind::Gauge, "Term of the Raft group.", raft.term);
    text.one("hypercache_raft_is_leader", Kind::Gauge, "1: this node leads.", u64::from(raft.is_leader));
    text.one("hypercache_raft_last_log_index", Kind::Gauge, "Last entry in this node's log.", raft.last_log);
    text.one("hypercache_raft_applied_index", Kind::Gauge, "Last entry applied on this node.", raft.applied);
    text.one("hypercache_raft_voters", Kind::Gauge, "Voters of the group.", raft.voters);
}

fn write_gossip(text: &mut Text, gossip: &GossipFigures) {
    text.family("hypercache_gossip_members", Kind::Gauge, "Members as gossip sees them from here, by state.");
    text.sample("hypercache_gossip_members", &[("state", "alive")], gossip.alive);
    text.sample("hypercache_gossip_members", &[("state", "suspect")], gossip.suspected);
    text.family("hypercache_gossip_datagrams_total", Kind::Counter, "Gossip datagrams.");
    for (direction, count) in [
        ("sent", gossip.datagrams_sent),
        ("received", gossip.datagrams_received),
        ("refused", gossip.datagrams_refused),
    ] {
        text.sample("hypercache_gossip_datagrams_total", &[("direction", direction)], count);
    }
}

fn write_http(text: &mut Text, server: &Server) {
    let counts = &server.counts;
    let open = counts.open.load(Ordering::Relaxed);
    text.one("hypercache_http_connections", Kind::Gauge, "HTTP connections open now.", open);
    let accepted = counts.accepted.load(Ordering::Relaxed);
    text.one("hypercache_http_connections_total", Kind::Counter, "HTTP connections accepted.", accepted);
    let refused = counts.refused.load(Ordering::Relaxed);
    text.one(
        "hypercache_http_connections_rejected_total",
        Kind::Counter,
        "HTTP connections refused at the limit.",
        refused,
    );
    text.family("hypercache_http_responses_total", Kind::Counter, "HTTP responses, by class of status.");
    for (class, count) in counts.responses.iter().enumerate().skip(1) {
        text.sample(
            "hypercache_http_responses_total",
            &[("code", &format!("{class}xx"))],
            count.load(Ordering::Relaxed),
        );
    }
    let streams = (super::STREAMS_MAX - server.streams.available_permits()) as u64;
    text.one("hypercache_http_event_streams", Kind::Gauge, "Event streams open now.", streams);
}

fn write_process(text: &mut Text, figures: &Figures) {
    let info = &figures.info;
    text.one(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Resident memory of the process.",
        info.memory.rss,
    );
    text.family("hypercache_cpu_seconds_total", Kind::Counter, "Processor time of the process, by mode.");
    for (mode, time) in [("user", info.cpu.user), ("system", info.cpu.system)] {
        text.sample_real("hypercache_cpu_seconds_total", &[("mode", mode)], time.as_secs_f64());
    }
    let cpu = (info.cpu.user + info.cpu.system).as_secs_f64();
    text.real("process_cpu_seconds_total", Kind::Counter, "Processor time of the process.", cpu);
    let uptime = info.server.uptime.as_secs_f64();
    text.real("hypercache_uptime_seconds", Kind::Gauge, "Time since the start.", uptime);
    text.family("hypercache_build_info", Kind::Gauge, "1, with the version as a label.");
    text.sample("hypercache_build_info", &[("version", commands::info::HYPERCACHE_VERSION)], 1);
}
