//! CLUSTER: the cluster map in the forms that smart clients load.
//!
//! Any node serves any key, but a client that asks gets the owners and can go there at once; these commands therefore
//! always answer, whatever INFO says of `cluster_enabled`. Redis knows nodes that are a master or a replica; here a
//! node may be primary of some slots and replica of others. SLOTS and SHARDS say so range by range; NODES, whose
//! format cannot, shows every node as a master with the slots it is primary of.

use crate::args::Args;
use crate::host::{ClusterNode, ClusterView, NodeHealth, SlotRange};
use crate::server::rows::{EMPTY, HELP_SUMMARY, LOADING_STALE, NONDETERMINISTIC, NOT_AN_INTEGER, reply_help};
use crate::session::SessionCtx;
use crate::table::{Command, Flags, Group, Run};
use protocol::Reply;
use std::collections::BTreeSet;
use std::net::IpAddr;
use stdx::Slot;
use stdx::crc16::{SLOTS, slot_of};

/// Most keys that GETKEYSINSLOT returns in one call.
pub const KEYS_IN_SLOT_MAX: usize = 1_000_000;

const BASE: Command =
    Command { arity: 2, flags: Flags::STALE, group: Group::Cluster, since: "3.0.0", ..EMPTY };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "cluster",
    arity: -2,
    flags: Flags::NONE,
    complexity: "Depends on subcommand.",
    summary: "A container for Redis Cluster commands.",
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "cluster|countkeysinslot",
        arity: 3,
        summary: "Returns the number of keys in a hash slot.",
        run: Run::Session(count_keys_in_slot),
        ..BASE
    },
    Command {
        name: "cluster|getkeysinslot",
        arity: 4,
        complexity: "O(N) where N is the number of requested keys",
        summary: "Returns the key names in a hash slot.",
        tips: NONDETERMINISTIC,
        run: Run::Session(get_keys_in_slot),
        ..BASE
    },
    Command {
        name: "cluster|help",
        flags: LOADING_STALE,
        since: "5.0.0",
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "CLUSTER", HELP)),
        ..BASE
    },
    Command {
        name: "cluster|info",
        summary: "Returns information about the state of a node.",
        tips: NONDETERMINISTIC,
        run: Run::Session(info),
        ..BASE
    },
    Command {
        name: "cluster|keyslot",
        arity: 3,
        complexity: "O(N) where N is the number of bytes in the key",
        summary: "Returns the hash slot for a key.",
        run: Run::Session(|_, args, reply| reply.integer(i64::from(slot_of(args.at(2)).0))),
        ..BASE
    },
    Command { name: "cluster|myid", summary: "Returns the ID of a node.", run: Run::Session(my_id), ..BASE },
    Command {
        name: "cluster|myshardid",
        since: "7.2.0",
        summary: "Returns the shard ID of a node.",
        tips: NONDETERMINISTIC,
        // Every node is a master towards clients, so its shard is named after itself.
        run: Run::Session(my_id),
        ..BASE
    },
    Command {
        name: "cluster|nodes",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Returns the cluster configuration for a node.",
        tips: NONDETERMINISTIC,
        run: Run::Session(nodes),
        ..BASE
    },
    Command {
        name: "cluster|shards",
        since: "7.0.0",
        complexity: "O(N) where N is the total number of cluster nodes",
        summary: "Returns the mapping of cluster slots to shards.",
        tips: NONDETERMINISTIC,
        run: Run::Session(shards),
        ..BASE
    },
    Command {
        name: "cluster|slots",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Returns the mapping of cluster slots to nodes.",
        tips: NONDETERMINISTIC,
        run: Run::Session(slots),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MYID",
    "    Return the node id.",
    "MYSHARDID",
    "    Return the node's shard id.",
    "NODES",
    "    Return cluster configuration seen by node. Output format:",
    "    <id> <ip:port@bus-port[,hostname]> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "SLOTS",
    "    Return information about slots range mappings. Each range is made of:",
    "    start, end, master and replicas IP addresses, ports and ids",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
];

/// Ranges with neighbours of equal owners merged; a range of an unknown node is left out, since nothing can be said.
fn merged(view: &ClusterView) -> Vec<SlotRange> {
    let mut merged: Vec<SlotRange> = Vec::new();
    for range in view.ranges.iter().filter(|range| range.primary < view.nodes.len()) {
        match merged.last_mut() {
            Some(last)
                if last.last.0 + 1 == range.first.0
                    && last.primary == range.primary
                    && last.replicas == range.replicas =>
            {
                last.last = range.last;
            }
            _ => merged.push(range.clone()),
        }
    }
    merged
}

/// The replicas of a range that a client could use.
fn live_replicas<'v>(view: &'v ClusterView, range: &SlotRange) -> Vec<&'v ClusterNode> {
    let replicas = range.replicas.iter().filter_map(|index| view.nodes.get(*index));
    replicas.filter(|node| node.health != NodeHealth::Down).collect()
}

/// `CLUSTER SLOTS`: [first, last, primary, replica ...]; a node is [host, port, id, {}].
fn slots(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let view = ctx.host.cluster_view();
    let ranges = merged(&view);
    reply.array(ranges.len());
    for range in &ranges {
        let replicas = live_replicas(&view, range);
        reply.array(3 + replicas.len());
        reply.integer(i64::from(range.first.0));
        reply.integer(i64::from(range.last.0));
        for node in std::iter::once(&view.nodes[range.primary]).chain(replicas) {
            reply.array(4);
            reply.bulk(node.host.as_bytes());
            reply.integer(i64::from(node.port));
            reply.bulk(node.id.as_bytes());
            reply.map(0);
        }
    }
}

/// Slots with one primary and one set of replicas.
struct Shard {
    primary: usize,
    replicas: Vec<usize>,
    slots: Vec<(Slot, Slot)>,
}

/// Shards in the order of their first slot, then, without slots, the members that own none.
fn shards_of(view: &ClusterView) -> Vec<Shard> {
    let mut shards: Vec<Shard> = Vec::new();
    for range in merged(view) {
        let mut replicas: Vec<usize> =
            range.replicas.iter().copied().filter(|index| *index < view.nodes.len()).collect();
        replicas.sort_unstable();
        let slots = (range.first, range.last);
        let same = |shard: &&mut Shard| shard.primary == range.primary && shard.replicas == replicas;
        match shards.iter_mut().find(same) {
            Some(shard) => shard.slots.push(slots),
            None => shards.push(Shard { primary: range.primary, replicas, slots: vec![slots] }),
        }
    }
    let owners: BTreeSet<usize> =
        shards.iter().flat_map(|shard| shard.replicas.iter().copied().chain([shard.primary])).collect();
    let idle = (0..view.nodes.len()).filter(|index| !owners.contains(index));
    shards.extend(idle.map(|primary| Shard { primary, replicas: Vec::new(), slots: Vec::new() }));
    shards
}

/// `CLUSTER SHARDS`.
fn shards(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let view = ctx.host.cluster_view();
    let shards = shards_of(&view);
    reply.array(shards.len());
    for shard in &shards {
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(shard.slots.len() * 2);
        for (first, last) in &shard.slots {
            reply.integer(i64::from(first.0));
            reply.integer(i64::from(last.0));
        }
        reply.bulk(b"nodes");
        reply.array(1 + shard.replicas.len());
        write_shard_node(reply, &view.nodes[shard.primary], "master");
        for replica in &shard.replicas {
            write_shard_node(reply, &view.nodes[*replica], "replica");
        }
    }
}

fn write_shard_node(reply: &mut Reply<'_>, node: &ClusterNode, role: &str) {
    let hostname = hostname(node);
    reply.map(7 + usize::from(hostname.is_some()));
    reply.bulk(b"id");
    reply.bulk(node.id.as_bytes());
    reply.bulk(b"port");
    reply.integer(i64::from(node.port));
    reply.bulk(b"ip");
    reply.bulk(node.host.as_bytes());
    reply.bulk(b"endpoint");
    reply.bulk(node.host.as_bytes());
    if let Some(hostname) = hostname {
        reply.bulk(b"hostname");
        reply.bulk(hostname.as_bytes());
    }
    reply.bulk(b"role");
    reply.bulk(role.as_bytes());
    reply.bulk(b"replication-offset");
    reply.integer(node.replication_offset as i64);
    reply.bulk(b"health");
    reply.bulk(match node.health {
        NodeHealth::Up | NodeHealth::Suspect => b"online",
        NodeHealth::Down => b"fail",
        NodeHealth::Joining => b"loading",
    });
}

/// The node's host if it is a name rather than an address.
fn hostname(node: &ClusterNode) -> Option<&str> {
    node.host.parse::<IpAddr>().is_err().then_some(node.host.as_str())
}

/// `CLUSTER NODES`: a line per member.
fn nodes(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let view = ctx.host.cluster_view();
    let mut text = String::new();
    for (index, node) in view.nodes.iter().enumerate() {
        text.push_str(&node_line(&view, index, node));
        text.push('\n');
    }
    reply.verbatim("txt", text.as_bytes());
}

fn node_line(view: &ClusterView, index: usize, node: &ClusterNode) -> String {
    let mut flags = String::new();
    if index == view.myself {
        flags.push_str("myself,");
    }
    flags.push_str("master");
    flags.push_str(match node.health {
        NodeHealth::Up => "",
        NodeHealth::Suspect => ",fail?",
        NodeHealth::Down => ",fail",
        NodeHealth::Joining => ",handshake",
    });
    let link = if node.health == NodeHealth::Down { "disconnected" } else { "connected" };
    let hostname = hostname(node).map(|name| format!(",{name}")).unwrap_or_default();
    let mut line = format!(
        "{} {}:{}@{}{hostname} {flags} - {} {} {} {link}",
        node.id, node.host, node.port, node.bus_port, node.ping_sent.0, node.pong_received.0, node.epoch
    );
    for (first, last) in primary_slots(view, index) {
        line.push_str(&if first == last { format!(" {first}") } else { format!(" {first}-{last}") });
    }
    line
}

/// The slots a node is primary of, merged whoever the replicas are.
fn primary_slots(view: &ClusterView, index: usize) -> Vec<(u16, u16)> {
    let mut slots: Vec<(u16, u16)> = Vec::new();
    for range in view.ranges.iter().filter(|range| range.primary == index) {
        match slots.last_mut() {
            Some((_, last)) if *last + 1 == range.first.0 => *last = range.last.0,
            _ => slots.push((range.first.0, range.last.0)),
        }
    }
    slots
}

/// `CLUSTER INFO`.
fn info(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let view = ctx.host.cluster_view();
    let slots_where = |wanted: &dyn Fn(NodeHealth) -> bool| -> u32 {
        let known = view
            .ranges
            .iter()
            .filter(|range| view.nodes.get(range.primary).is_some_and(|node| wanted(node.health)));
        known.map(|range| u32::from(range.last.0) - u32::from(range.first.0) + 1).sum()
    };
    let primaries: BTreeSet<usize> = view.ranges.iter().map(|range| range.primary).collect();
    let fields: [(&str, u64); 11] = [
        ("cluster_slots_assigned", u64::from(slots_where(&|_| true))),
        (
            "cluster_slots_ok",
            u64::from(slots_where(&|health| matches!(health, NodeHealth::Up | NodeHealth::Joining))),
        ),
        ("cluster_slots_pfail", u64::from(slots_where(&|health| health == NodeHealth::Suspect))),
        ("cluster_slots_fail", u64::from(slots_where(&|health| health == NodeHealth::Down))),
        ("cluster_known_nodes", view.nodes.len() as u64),
        ("cluster_size", primaries.len() as u64),
        ("cluster_current_epoch", view.epoch),
        ("cluster_my_epoch", view.nodes.get(view.myself).map_or(0, |node| node.epoch)),
        ("cluster_stats_messages_sent", view.messages_sent),
        ("cluster_stats_messages_received", view.messages_received),
        ("total_cluster_links_buffer_limit_exceeded", 0),
    ];
    let mut text = format!("cluster_state:{}\r\n", if view.ok { "ok" } else { "fail" });
    for (name, value) in fields {
        text.push_str(&format!("{name}:{value}\r\n"));
    }
    reply.verbatim("txt", text.as_bytes());
}

fn my_id(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let view = ctx.host.cluster_view();
    match view.nodes.get(view.myself) {
        Some(node) => reply.bulk(node.id.as_bytes()),
        None => reply.error("CLUSTERDOWN this node is not a member of the cluster yet"),
    }
}

fn slot(number: i64) -> Option<Slot> {
    u16::try_from(number).ok().filter(|slot| *slot < SLOTS).map(Slot)
}

/// `CLUSTER COUNTKEYSINSLOT slot`: keys that this node holds.
fn count_keys_in_slot(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let Some(number) = protocol::parse_i64(args.at(2)) else { return reply.error(NOT_AN_INTEGER) };
    match slot(number) {
        Some(slot) => reply.integer(ctx.host.count_keys_in_slot(slot) as i64),
        None => reply.error("ERR Invalid slot"),
    }
}

/// `CLUSTER GETKEYSINSLOT slot count`.
fn get_keys_in_slot(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let (Some(number), Some(count)) = (protocol::parse_i64(args.at(2)), protocol::parse_i64(args.at(3)))
    else {
        return reply.error(NOT_AN_INTEGER);
    };
    let (Some(slot), Ok(count)) = (slot(number), usize::try_from(count)) else {
        return reply.error("ERR Invalid slot or number of keys");
    };
    let keys = ctx.host.keys_in_slot(slot, count.min(KEYS_IN_SLOT_MAX));
    reply.array(keys.len());
    for key in &keys {
        reply.bulk(key);
    }
}
