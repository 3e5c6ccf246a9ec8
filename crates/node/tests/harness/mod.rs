//! A cluster in one process, driven step by step by a seed.
//!
//! Everything below the sockets is the real thing: [`node::Worker`], [`node::Shared`], [`node::Coordinator`], the map,
//! the planner and the leases of `cluster`. The harness plays the rest: the bytes between nodes ([`net`]), the Raft
//! group and its leader ([`control`]) and the clients ([`client`]). All nodes read one clock, which stands still until a
//! step moves it. What is left out: threads (a step runs one worker to the end of its turn) and clocks that differ.

mod book;
pub(crate) mod client;
mod control;
mod net;
mod platform;

use cluster::map::{ClusterMap, MapCommand, Member, MemberState, UserUpdate};
use cluster::planner;
use node::{Coordinator, Limits, NodeConfig, Shared, UsersAnswer, Worker};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stdx::{Clock, Mono, NodeId, PartitionId, Random, Wall};
use store::eviction::Policy;

/// Longest a test waits, in the cluster's own time, for what has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a cluster is made of.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    pub(crate) workers: usize,
    pub(crate) partitions: u16,
    pub(crate) copies: u8,
    pub(crate) seed: u64,
    pub(crate) forward_timeout: Duration,
    /// Nodes have journals, and after [`Cluster::restart`] what is in them.
    pub(crate) keeps: bool,
    /// The number of a node, its `maxmemory` and its policy; the others have no limit.
    pub(crate) limited: Option<(usize, u64, Policy)>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            nodes: 3,
            workers: 2,
            partitions: 16,
            copies: 2,
            seed: 1,
            forward_timeout: Duration::from_secs(2),
            keeps: false,
            limited: None,
        }
    }
}

/// One node: what a process would hold.
pub(crate) struct Node {
    pub(crate) shared: Arc<Shared>,
    /// Its journal, if there is one.
    pub(crate) book: Option<Arc<book::Book>>,
    pub(crate) workers: Vec<Worker>,
    coordinator: Coordinator,
    lease: control::LeaseState,
    /// Changes of users that its clients ask for.
    proposals: Arc<Mutex<Vec<(UserUpdate, UsersAnswer)>>>,
    /// Maps on their way from the Raft group.
    maps: control::Inbox<Arc<ClusterMap>>,
    /// The process is stopped: it runs nothing and reads nothing.
    pub(crate) paused: bool,
    /// It cannot talk to the Raft group.
    pub(crate) isolated: bool,
}

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) setup: Setup,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    /// Longest time between two rounds.
    pub(crate) round_max: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<client::Client>,
    pub(crate) net: net::Net,
    pub(crate) control: control::Control,
}

/// The member that node number `index` (from 0) registers as.
pub(crate) fn member(index: usize) -> Member {
    let address = |port: usize| format!("127.0.0.1:{}", port + index).parse().expect("a literal address");
    Member {
        node: id(index),
        incarnation: 1,
        name: format!("node-{}", index + 1),
        zone: None,
        weight: 1,
        resp: address(6300),
        http: address(8300),
        gossip: address(7300),
        state: MemberState::Up,
        recovered: Vec::new(),
    }
}

/// The id of node number `index`.
pub(crate) fn id(index: usize) -> NodeId {
    NodeId(index as u64 + 1)
}

/// The number of the node with this id.
pub(crate) fn index_of(node: NodeId) -> usize {
    node.0 as usize - 1
}

impl Cluster {
    /// Nodes that are members, own nothing, and know nothing of it yet.
    pub(crate) fn empty(setup: Setup) -> Cluster {
        let clock = Clock::manual(Wall(1_700_000_000_000));
        let book = || setup.keeps.then(Arc::default);
        let nodes = (0..setup.nodes).map(|index| new_node(&setup, &clock, index, book())).collect();
        let mut cluster = Cluster {
            control: control::Control::new(clock.mono()),
            net: net::Net::new(setup.nodes),
            random: Random::seeded(setup.seed),
            round_max: Duration::from_micros(220),
            clients: Vec::new(),
            clock,
            nodes,
            setup,
        };
        let (partitions, copies) = (setup.partitions, setup.copies);
        cluster.commit(&MapCommand::Bootstrap { cluster_id: 1, partitions, replication_factor: copies });
        for index in 0..setup.nodes {
            cluster.commit(&MapCommand::Register { member: member(index) });
        }
        cluster
    }

    /// A cluster in which every partition is where the ring wants it, on every node's map.
    pub(crate) fn settled(setup: Setup) -> Cluster {
        let mut cluster = Cluster::empty(setup);
        cluster.control.plans = true;
        cluster.control.coordinates = true;
        cluster.until_settled();
        cluster.control.plans = false;
        cluster.control.coordinates = false;
        cluster
    }

    pub(crate) fn now(&self) -> Mono {
        self.clock.mono()
    }

    /// Runs until the map is what the ring wants, every node that runs knows it, and every replica is up to date.
    pub(crate) fn until_settled(&mut self) {
        self.until("the cluster settles", |cluster| {
            planner::is_settled(&cluster.control.map)
                && cluster.nodes.iter().all(|node| {
                    node.paused
                        || node.shared.map().version == cluster.control.map.version
                            && node.shared.lease().holds(cluster.now())
                            && node.shared.replication_lag().values().all(|lag| *lag == (0, 0))
                })
        });
    }

    /// Steps until `done`, at most [`PATIENCE`].
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Cluster) -> bool) {
        let deadline = self.now() + PATIENCE;
        while !done(self) {
            assert!(self.now() < deadline, "{what}: did not happen (seed {})", self.setup.seed);
            self.round();
        }
    }

    /// A node's process ends and starts again, with what is in its journal.
    pub(crate) fn restart(&mut self, index: usize) {
        let now = self.now();
        self.net.vanish(index, now, &mut self.random);
        self.clients.iter_mut().for_each(|client| client.lose(index));
        let book = self.nodes[index].book.take();
        self.nodes[index] = new_node(&self.setup, &self.clock, index, book);
        self.send_map(index);
    }

    /// Runs for a while.
    pub(crate) fn run(&mut self, time: Duration) {
        let deadline = self.now() + time;
        while self.now() < deadline {
            self.round();
        }
    }

    /// Moves the clock a little, delivers what is due, and runs some workers in random order.
    pub(crate) fn round(&mut self) {
        self.clock
            .advance(Duration::from_nanos(20_000 + self.random.below(self.round_max.as_nanos() as u64)));
        self.control_round();
        for _ in 0..self.setup.nodes * self.setup.workers {
            let node = self.random.below(self.setup.nodes as u64) as usize;
            let worker = self.random.below(self.setup.workers as u64) as usize;
            if !self.nodes[node].paused {
                self.run_worker(node, worker);
            }
        }
    }

    /// One turn of one worker.
    pub(crate) fn run_worker(&mut self, node: usize, worker: usize) {
        let now = self.clock.mono();
        self.open_links(node, worker);
        let running = &mut self.nodes[node].workers[worker];
        running.begin_turn();
        self.net.arrive(running, (node, worker), now, &mut self.random);
        for client in self.clients.iter_mut().filter(|client| client.is_at(node, worker)) {
            client.write_to(running, &mut self.random);
        }
        running.end_turn();
        running.receive_mail();
        if now >= running.next_tick() {
            running.tick();
        }
        let mut flushes = Vec::new();
        running.take_flush(&mut flushes);
        for flush in flushes {
            match flush {
                node::Flush::Link(key) => {
                    self.net.leave(running, (node, worker), key, now, &mut self.random);
                }
                node::Flush::Connection(key) => {
                    let mine = |client: &&mut client::Client| client.is_at(node, worker) && client.key == key;
                    if let Some(client) = self.clients.iter_mut().find(mine) {
                        client.read_from(running);
                    }
                }
            }
        }
    }

    fn open_links(&mut self, node: usize, worker: usize) {
        let now = self.clock.mono();
        for wanted in self.nodes[node].workers[worker].wanted_links() {
            self.net.dial((node, worker), index_of(wanted.node), wanted.incarnation, now, &mut self.random);
        }
        for (to, incarnation) in self.net.answered((node, worker), now) {
            if self.nodes[to].paused {
                continue;
            }
            let at = self.random.below(self.setup.workers as u64) as usize;
            let outbound = node::LinkPeer { node: id(to), incarnation, outbound: true };
            let inbound = node::LinkPeer { node: id(node), incarnation: 1, outbound: false };
            let Some(mine) = self.nodes[node].workers[worker].link_opened(outbound) else { continue };
            let theirs = self.nodes[to].workers[at].link_opened(inbound).expect("inbound links are taken");
            self.net.join(((node, worker), mine), ((to, at), theirs));
        }
    }

    /// Who executes commands of `key`, by the committed map.
    pub(crate) fn primary_of(&self, key: &str) -> usize {
        let primary = self.control.map.primary_of(self.partition_of(key)).expect("assigned");
        index_of(primary)
    }

    /// The partition of `key`.
    pub(crate) fn partition_of(&self, key: &str) -> PartitionId {
        PartitionId::of_key(key.as_bytes(), self.setup.partitions)
    }

    /// In-sync members of the partition of `key` apart from its primary.
    pub(crate) fn replicas_of(&self, key: &str) -> Vec<usize> {
        let assignment = self.control.map.assignment(self.partition_of(key)).expect("exists");
        assignment.replicas().map(index_of).collect()
    }

    /// A key whose primary is `node`.
    pub(crate) fn key_on(&self, node: usize, name: &str) -> String {
        let mut keys = (0..).map(|number| format!("{name}{number}"));
        keys.find(|key| self.primary_of(key) == node).expect("every node is primary of something")
    }
}

fn new_node(setup: &Setup, clock: &Clock, index: usize, book: Option<Arc<book::Book>>) -> Node {
    let config = NodeConfig {
        node: id(index),
        name: format!("node-{}", index + 1),
        workers: setup.workers,
        wait_for_in_sync: true,
        forward_timeout: setup.forward_timeout,
        resp_port: 6379,
    };
    let limits = match setup.limited {
        Some((limited, memory_bytes_max, eviction)) if limited == index => {
            Limits { memory_bytes_max, eviction, ..Limits::default() }
        }
        _ => Limits::default(),
    };
    let proposals = Arc::default();
    let platform = platform::TestPlatform {
        limits,
        proposals: Arc::clone(&proposals),
        ..platform::TestPlatform::default()
    };
    let shared = Shared::new(config, clock.clone(), Arc::new(platform), 7);
    if let Some(book) = &book {
        book.restore(&shared, setup.partitions);
        shared.set_journal(Arc::clone(book) as Arc<dyn node::Journal>);
    }
    Node {
        book,
        workers: (0..setup.workers).map(|worker| Worker::new(worker, Arc::clone(&shared))).collect(),
        proposals,
        coordinator: Coordinator::new(Arc::clone(&shared)),
        lease: control::LeaseState::default(),
        maps: control::Inbox::default(),
        paused: false,
        isolated: false,
        shared,
    }
}
