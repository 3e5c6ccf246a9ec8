//! CLUSTER: the cluster map in the forms that smart clients load.
//!
//! Any node serves any key, but a client that asks gets the owners and can go there at once; these commands therefore
//! always answer, whatever INFO says of `cluster_enabled`. Redis knows nodes that are a master or a replica; here a
//! node may be primary of some slots and replica of others. SLOTS and SHARDS say so range by range; NODES, whose
//! format cannot, shows every node as a master with the slots it is primary of.

mod rows;

use crate::args::Args;
use crate::host::{ClusterNode, ClusterView, NodeHealth, SlotRange};
use crate::server::rows::NOT_AN_INTEGER;
use crate::session::SessionCtx;
use protocol::Reply;
pub use rows::COMMANDS;
use std::collections::BTreeSet;
use std::net::IpAddr;
use stdx::Slot;
use stdx::crc16::SLOTS;

/// Most keys that GETKEYSINSLOT returns in one call.
pub const KEYS_IN_SLOT_MAX: usize = 1_000_000;

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
    let mut line = member_line(view, index, node, None);
    for (first, last) in primary_slots(view, index) {
        line.push_str(&if first == last { format!(" {first}") } else { format!(" {first}-{last}") });
    }
    line
}

/// A member as a master, or as a replica of another; without slots.
fn member_line(view: &ClusterView, index: usize, node: &ClusterNode, master: Option<&ClusterNode>) -> String {
    let mut flags = String::new();
    if index == view.myself {
        flags.push_str("myself,");
    }
    flags.push_str(if master.is_some() { "slave" } else { "master" });
    flags.push_str(match node.health {
        NodeHealth::Up => "",
        NodeHealth::Suspect => ",fail?",
        NodeHealth::Down => ",fail",
        NodeHealth::Joining => ",handshake",
    });
    let link = if node.health == NodeHealth::Down { "disconnected" } else { "connected" };
    let hostname = hostname(node).map(|name| format!(",{name}")).unwrap_or_default();
    let master = master.map_or("-", |master| &master.id);
    let ClusterNode { id, host, port, bus_port, ping_sent, pong_received, epoch, .. } = node;
    let (ping, pong) = (ping_sent.0, pong_received.0);
    format!("{id} {host}:{port}@{bus_port}{hostname} {flags} {master} {ping} {pong} {epoch} {link}")
}

/// Index of the member with the id in the third word, or the error.
fn member(view: &ClusterView, args: Args<'_>) -> Result<usize, String> {
    let id = args.at(2);
    view.nodes
        .iter()
        .position(|node| node.id.as_bytes() == id)
        .ok_or_else(|| format!("ERR Unknown node {}", String::from_utf8_lossy(id)))
}

/// `CLUSTER REPLICAS id`: lines as of NODES of the members that have copies of slots which this one is primary of.
fn replicas(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let view = ctx.host.cluster_view();
    let primary = match member(&view, args) {
        Ok(primary) => primary,
        Err(error) => return reply.error(&error),
    };
    let owned = view.ranges.iter().filter(|range| range.primary == primary);
    let replicas: BTreeSet<usize> = owned.flat_map(|range| range.replicas.iter().copied()).collect();
    let lines: Vec<String> = replicas
        .into_iter()
        .filter_map(|index| Some(member_line(&view, index, view.nodes.get(index)?, view.nodes.get(primary))))
        .collect();
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.bulk(line.as_bytes()));
}

/// `CLUSTER COUNT-FAILURE-REPORTS id`: gossip tells whether a member is suspected, not how many suspect it.
fn count_failure_reports(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let view = ctx.host.cluster_view();
    match member(&view, args) {
        Ok(index) => reply.integer(i64::from(matches!(
            view.nodes.get(index).map(|node| node.health),
            Some(NodeHealth::Suspect | NodeHealth::Down)
        ))),
        Err(error) => reply.error(&error),
    }
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
