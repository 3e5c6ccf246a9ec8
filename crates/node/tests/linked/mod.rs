//! Several nodes of one worker each, linked in memory and settled from the start: for tests and benches of what nodes do
//! together while nothing fails.

use super::platform;
use cluster::map::{ClusterMap, MapCommand, Member, MemberState, PartitionChange, PartitionOp};
use cluster::planner::{PlanLimits, is_settled, plan};
use node::{Flush, Key, LinkPeer, NodeConfig, Shared, Worker};
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, Mono, NodeId};

/// The nodes and the links between them.
pub(crate) struct Linked {
    pub(crate) workers: Vec<Worker>,
    shared: Vec<Arc<Shared>>,
    /// For each node, its ends of links: what it calls them, and where the other end is.
    ends: Vec<Vec<(Key, (usize, Key))>>,
    /// Bytes under way, by node and its end.
    arriving: Vec<Vec<(Key, Vec<u8>)>>,
    /// Buffers to be used again, as the event loops do.
    room: Vec<Vec<u8>>,
    flush: Vec<Flush>,
}

impl Linked {
    /// So many nodes with so many copies of everything.
    pub(crate) fn new(clock: Clock, nodes: usize, copies: u8) -> Linked {
        let map = Arc::new(settled_map(nodes, copies));
        let shared = |index: usize| {
            let shared =
                Shared::new(config(index), clock.clone(), Arc::new(platform::TestPlatform::default()), 7);
            shared.lease().extend(Mono(u64::MAX));
            shared.apply_map(Arc::clone(&map));
            shared
        };
        let shared: Vec<Arc<Shared>> = (0..nodes).map(shared).collect();
        let mut linked = Linked {
            workers: shared.iter().map(|shared| Worker::new(0, Arc::clone(shared))).collect(),
            shared,
            ends: vec![Vec::new(); nodes],
            arriving: vec![Vec::new(); nodes],
            room: Vec::new(),
            flush: Vec::new(),
        };
        for from in 0..nodes {
            for to in (0..nodes).filter(|to| *to != from) {
                linked.link(from, to);
            }
        }
        for node in 0..nodes {
            linked.workers[node].receive_mail();
        }
        linked.until_quiet();
        linked
    }

    fn link(&mut self, from: usize, to: usize) {
        let peer = |node, outbound| LinkPeer { node: id(node), incarnation: 1, outbound };
        let near = self.workers[from].link_opened(peer(to, true)).expect("a member");
        let far = self.workers[to].link_opened(peer(from, false)).expect("a member");
        self.ends[from].push((near, (to, far)));
        self.ends[to].push((far, (from, near)));
    }

    /// One turn of one node: takes what has arrived on its links, runs `clients`, and sends what that led to. True if anything
    /// was sent to other nodes.
    pub(crate) fn turn(&mut self, node: usize, clients: impl FnOnce(&mut Worker)) -> bool {
        let worker = &mut self.workers[node];
        worker.begin_turn();
        for (link, mut bytes) in self.arriving[node].drain(..) {
            worker.link_input(link).expect("open").extend_from_slice(&bytes);
            worker.process_link(link);
            bytes.clear();
            self.room.push(bytes);
        }
        clients(worker);
        worker.end_turn();
        worker.take_flush(&mut self.flush);
        let mut sent = false;
        for flush in self.flush.drain(..) {
            let Flush::Link(key) = flush else { continue };
            let Some(output) = worker.link_output(key) else { continue };
            let output = std::mem::replace(output, self.room.pop().unwrap_or_default());
            let end = self.ends[node].iter().find(|(near, _)| *near == key);
            if let (Some((_, (to, far))), false) = (end, output.is_empty()) {
                self.arriving[*to].push((*far, output));
                sent = true;
            }
        }
        sent
    }

    /// Keys that all nodes hold, copies included.
    #[allow(dead_code, reason = "benches have no use for it")]
    pub(crate) fn keys_held(&self) -> u64 {
        self.shared.iter().map(|shared| shared.keys_held()).sum()
    }

    /// Turns of all nodes until nothing is under way.
    pub(crate) fn until_quiet(&mut self) {
        loop {
            let mut sent = false;
            for node in 0..self.workers.len() {
                sent |= self.turn(node, |_| ());
            }
            if !sent {
                return;
            }
        }
    }
}

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

fn config(node: usize) -> NodeConfig {
    NodeConfig {
        node: id(node),
        name: format!("node-{}", node + 1),
        workers: 1,
        wait_for_in_sync: true,
        forward_timeout: Duration::from_secs(60),
        resp_port: 6379,
    }
}

/// A map in which every partition is where the ring wants it; nothing has been written, so any copy is a whole one.
fn settled_map(nodes: usize, copies: u8) -> ClusterMap {
    let mut map = ClusterMap::default();
    map.apply(&MapCommand::Bootstrap { cluster_id: 1, partitions: 256, replication_factor: copies });
    for node in 0..nodes {
        map.apply(&MapCommand::Register { member: member(node) });
    }
    while !is_settled(&map) {
        let mut changes = plan(&map, PlanLimits::default());
        let learning = map.iter().filter_map(|(partition, assignment)| {
            let learner = *assignment.learners.first()?;
            Some(PartitionChange { partition, expected: assignment.epoch, op: PartitionOp::Promote(learner) })
        });
        changes.extend(learning);
        map.apply(&MapCommand::Changes(changes));
    }
    map
}

fn member(node: usize) -> Member {
    let address = |port: u16| ([127, 0, 0, 1], port + node as u16).into();
    Member {
        node: id(node),
        incarnation: 1,
        name: format!("node-{}", node + 1),
        zone: None,
        weight: 1,
        resp: address(6300),
        http: address(8300),
        gossip: address(7300),
        state: MemberState::Up,
        recovered: Vec::new(),
    }
}
