//! A seeded network in memory, with latency, loss, partitions and a virtual clock.
//!
//! Nodes run the production driver. Everything random comes from one seed, time moves from one happening to the
//! next, and nothing depends on the order of a hash table, so a seed names a whole history.

use cluster::gossip::{Config, Event, Gossip, Identity, MemberState, Nonces, Outputs};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use stdx::{Mono, NodeId, Random, Wall};

/// Datagrams that the system keeps for a process that does not read.
const SOCKET_QUEUE_MAX: usize = 200;
const START: Mono = Mono(1_000_000_000);
const WALL_START_MS: u64 = 1_800_000_000_000;

pub(crate) struct Node {
    pub(crate) gossip: Gossip,
    pub(crate) events: Vec<(Mono, Event)>,
    alive: bool,
    paused: bool,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
}

#[derive(Debug)]
struct Packet {
    from: SocketAddr,
    to: u64,
    bytes: Vec<u8>,
}

pub(crate) struct Network {
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) now: Mono,
    pub(crate) loss: f64,
    /// Nodes of different groups do not reach each other.
    pub(crate) groups: BTreeMap<u64, u8>,
    random: Random,
    packets: BTreeMap<(Mono, u64), Packet>,
    sent: u64,
}

pub(crate) fn address(node: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(7_000 + node).expect("a small node id")))
}

impl Network {
    pub(crate) fn new(seed: u64) -> Network {
        Network {
            nodes: BTreeMap::new(),
            now: START,
            loss: 0.0,
            groups: BTreeMap::new(),
            random: Random::seeded(seed),
            packets: BTreeMap::new(),
            sent: 0,
        }
    }

    /// A cluster of nodes 1 to `count`, all joining through node 1 and given time to find each other.
    pub(crate) fn converged(seed: u64, count: u64) -> Network {
        let mut network = Network::new(seed);
        for node in 1..=count {
            network.start(node, 1, Some(b"secret"));
            network.join(node, 1);
        }
        network.run(Duration::from_secs(3));
        network.expect_full_view();
        network
    }

    /// Starts a process of `node`; a former one is gone.
    pub(crate) fn start(&mut self, node: u64, incarnation: u64, secret: Option<&[u8]>) {
        let ports = address(node);
        let identity = Identity::new(NodeId(node), incarnation, format!("node-{node}"), ports, ports, ports);
        let mut config = Config::new(identity, secret.map(<[u8]>::to_vec), self.random.next_u64());
        config.nonces = Nonces::Seeded;
        let gossip = Gossip::new(config, self.now).expect("a good configuration");
        let fresh = Node { gossip, events: Vec::new(), alive: true, paused: false, waiting: VecDeque::new() };
        self.nodes.insert(node, fresh);
    }

    pub(crate) fn node(&mut self, node: u64) -> &mut Node {
        self.nodes.get_mut(&node).expect("a node that was started")
    }

    pub(crate) fn join(&mut self, node: u64, seed: u64) {
        let now = self.now;
        assert!(self.node(node).gossip.join(address(seed), now));
    }

    pub(crate) fn kill(&mut self, node: u64) {
        self.node(node).alive = false;
    }

    pub(crate) fn pause(&mut self, node: u64) {
        self.node(node).paused = true;
    }

    /// Lets a paused node go on: it first reads what its socket kept.
    pub(crate) fn resume(&mut self, node: u64) {
        self.node(node).paused = false;
        while let Some((from, bytes)) = self.node(node).waiting.pop_front() {
            self.deliver(Packet { from, to: node, bytes });
        }
    }

    pub(crate) fn leave(&mut self, node: u64) {
        let (now, wall) = (self.now, self.wall());
        let mut out = Outputs::default();
        self.node(node).gossip.leave(now, wall, &mut out);
        self.carry(node, out);
    }

    /// Runs for `span` of virtual time.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    /// Runs until `done` holds, at most for `limit`; says how long it took.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Network) -> bool) -> Duration {
        let (start, end) = (self.now, self.now + limit);
        while !done(self) {
            assert!(self.step(end), "not reached within {limit:?}");
        }
        self.now.since(start)
    }

    /// The next happening up to `end`; false once there is none.
    fn step(&mut self, end: Mono) -> bool {
        let packet_at = self.packets.first_key_value().map(|((at, _), _)| *at);
        let tick_at = self
            .nodes
            .iter()
            .filter(|(_, node)| node.alive && !node.paused)
            .filter_map(|(id, node)| node.gossip.next_deadline().map(|at| (at, *id)))
            .min();
        let next = packet_at.into_iter().chain(tick_at.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|at| *at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        // At the same instant the socket is read before the timers, as the driver asks for.
        if packet_at.is_some_and(|at| at <= next) {
            let (_, packet) = self.packets.pop_first().expect("the first packet was just seen");
            self.deliver(packet);
        } else if let Some((_, node)) = tick_at {
            let (now, wall) = (self.now, self.wall());
            let mut out = Outputs::default();
            self.node(node).gossip.tick(now, wall, &mut out);
            self.carry(node, out);
        }
        true
    }

    fn deliver(&mut self, packet: Packet) {
        let (now, wall) = (self.now, self.wall());
        let Some(node) = self.nodes.get_mut(&packet.to).filter(|node| node.alive) else { return };
        if node.paused {
            if node.waiting.len() < SOCKET_QUEUE_MAX {
                node.waiting.push_back((packet.from, packet.bytes));
            }
            return;
        }
        let mut out = Outputs::default();
        // Refusals are part of some tests, which look at the counters.
        let _ = node.gossip.receive(packet.from, &packet.bytes, now, wall, &mut out);
        self.carry(packet.to, out);
    }

    fn carry(&mut self, from: u64, out: Outputs) {
        let now = self.now;
        let events = out.events.into_iter().map(|event| (now, event));
        self.node(from).events.extend(events);
        for (to, bytes) in out.datagrams {
            let to = u64::from(to.port()) - 7_000;
            let latency_us = 200 + self.random.below(1_800);
            let lost = self.random.chance(self.loss) || self.groups.get(&from) != self.groups.get(&to);
            if !lost {
                self.sent += 1;
                let at = now + Duration::from_micros(latency_us);
                self.packets.insert((at, self.sent), Packet { from: address(from), to, bytes });
            }
        }
    }

    fn wall(&self) -> Wall {
        Wall(WALL_START_MS + self.now.as_millis())
    }

    /// Live members as `node` sees them, itself included.
    pub(crate) fn view(&self, node: u64) -> Vec<u64> {
        let gossip = &self.nodes[&node].gossip;
        let live = gossip
            .members()
            .filter(|(_, state)| matches!(state, MemberState::Alive | MemberState::Suspect))
            .map(|(identity, _)| identity.node.0);
        let mut view: Vec<u64> = live.chain([node]).collect();
        view.sort_unstable();
        view
    }

    pub(crate) fn running(&self) -> Vec<u64> {
        self.nodes.iter().filter(|(_, node)| node.alive).map(|(id, _)| *id).collect()
    }

    pub(crate) fn has_full_view(&self) -> bool {
        let running = self.running();
        running.iter().all(|&node| self.view(node) == running)
    }

    pub(crate) fn expect_full_view(&self) {
        let running = self.running();
        for &node in &running {
            assert_eq!(self.view(node), running, "as seen by {node}");
        }
    }

    /// Forgets the events so far.
    pub(crate) fn clear_events(&mut self) {
        for node in self.nodes.values_mut() {
            node.events.clear();
        }
    }

    /// What happened at `node`, in short words, in order.
    pub(crate) fn events(&self, node: u64) -> Vec<String> {
        self.nodes[&node].events.iter().map(|(_, event)| word(event)).collect()
    }

    /// Every event of every node with its time.
    pub(crate) fn trace(&self) -> Vec<String> {
        let mut trace: Vec<(Mono, u64, usize, String)> = Vec::new();
        for (id, node) in &self.nodes {
            let events = node.events.iter().enumerate();
            trace.extend(events.map(|(place, (at, event))| (*at, *id, place, format!("{event:?}"))));
        }
        trace.sort();
        trace.into_iter().map(|(at, node, _, event)| format!("{} {node} {event}", at.0)).collect()
    }
}

fn word(event: &Event) -> String {
    match event {
        Event::Up(identity) => format!("up {}", identity.node),
        Event::Down(identity) => format!("down {}", identity.node),
        Event::Left(identity) => format!("left {}", identity.node),
        Event::Renamed { new, .. } => format!("renamed {}", new.node),
        Event::SelfDown(_) => "self down".into(),
        Event::User { from, name, payload, .. } => {
            format!("{name} from {from}: {}", String::from_utf8_lossy(payload))
        }
    }
}
