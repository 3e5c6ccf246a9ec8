//! Whole clusters of control planes in one process: real sockets, disks and Raft groups, a data plane without data.
//!
//! Every node has a runtime of its own, and is killed by dropping that: its sockets close and nobody is told.

use super::*;
use cluster::map::{PartitionChange, PartitionOp};
use cluster::planner::wanted_hand_overs;
use cluster::{Applied, ClusterMap};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::TcpStream;
use std::path::Path;
use stdx::Mono;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedSender;

/// A data plane that replicates nothing in no time.
struct Idle {
    me: NodeId,
    clock: Clock,
    state: Mutex<IdleState>,
}

#[derive(Default)]
struct IdleState {
    map: Arc<ClusterMap>,
    until: Mono,
    outstanding: bool,
    announced: usize,
}

impl Plane for Idle {
    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    fn apply_map(&self, map: Arc<ClusterMap>) {
        self.state.lock().map = map;
    }

    fn extend_lease(&self, until: Mono) {
        self.state.lock().until = until;
    }

    fn revoke_lease(&self) {
        self.state.lock().until = Mono::default();
    }

    fn may_serve(&self, now: Mono) -> bool {
        let state = self.state.lock();
        now < state.until || state.map.is_sole_member(self.me)
    }

    fn announce(&self, channel: &[u8], message: &[u8]) {
        assert_eq!(channel, EVENTS_CHANNEL.as_bytes());
        assert!(message.starts_with(b"{\"time_ms\":"));
        self.state.lock().announced += 1;
    }

    fn next_changes(&self, _now: Mono) -> Vec<PartitionChange> {
        let mut state = self.state.lock();
        if state.outstanding {
            return Vec::new();
        }
        let mut changes: Vec<PartitionChange> = Vec::new();
        for (partition, assignment) in state.map.iter().filter(|(_, a)| a.primary == Some(self.me)) {
            if let Some(learner) = assignment.learners.first() {
                let op = PartitionOp::Promote(*learner);
                changes.push(PartitionChange { partition, expected: assignment.epoch, op });
            }
        }
        for (partition, expected, to) in wanted_hand_overs(&state.map, self.me) {
            if !changes.iter().any(|change| change.partition == partition) {
                changes.push(PartitionChange { partition, expected, op: PartitionOp::HandOver { to } });
            }
        }
        state.outstanding = !changes.is_empty();
        changes
    }

    fn resolved(&self, _result: Result<Applied, ()>) {
        self.state.lock().outstanding = false;
    }

    fn sample(&self) -> Sample {
        Sample { keys: self.me.0 % 1_000, ..Sample::default() }
    }
}

/// Takes data links and keeps them.
#[derive(Default)]
struct Kept(Mutex<Vec<(usize, TcpStream, LinkPeer)>>);

impl DataLinks for Kept {
    fn workers(&self) -> usize {
        2
    }

    fn adopt(&self, worker: usize, stream: TcpStream, peer: LinkPeer, _early: Vec<u8>) {
        self.0.lock().push((worker, stream, peer));
    }
}

struct Node {
    name: String,
    runtime: Option<Runtime>,
    control: Control,
    plane: Arc<Idle>,
    data: Arc<Kept>,
    links: UnboundedSender<LinkRequest>,
    exit: Arc<Notify>,
    addresses: Addresses,
}

/// Where a node lives across its restarts.
struct Home {
    dir: TempDir,
    join: Option<SocketAddr>,
    at: Option<Addresses>,
    secret: &'static str,
}

fn home(join: Option<SocketAddr>) -> Home {
    Home { dir: tempfile::tempdir().expect("a directory"), join, at: None, secret: "hush" }
}

fn config(name: &str, home: &Home) -> Config {
    let dir = home.dir.path().to_str().expect("a plain path");
    let join = home.join.map(|seed| seed.to_string());
    let mut flags =
        vec![("node-id", name), ("dir", dir), ("cluster-secret", home.secret), ("partitions", "64")];
    flags.extend(join.as_deref().map(|seed| ("join", seed)));
    Config::with(&flags).expect("a good configuration")
}

/// Opens the directory; that of a killed node is free a moment later.
fn open(dir: &Path, name: &str, clock: &Clock) -> Disk {
    for _ in 0..200 {
        match disk::open(dir, name, clock) {
            Err(DiskError::InUse { .. }) => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened.expect("a good directory"),
        }
    }
    panic!("the directory stays in use");
}

fn start(name: &str, home: &mut Home) -> Node {
    let clock = Clock::system();
    let disk = open(home.dir.path(), name, &clock);
    let config = config(name, home);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let gossip_socket = UdpSocket::bind(home.at.map_or(any, |at| at.gossip)).expect("free");
    let plane = Arc::new(Idle { me: disk.node_id, clock, state: Mutex::default() });
    let (data, exit) = (Arc::new(Kept::default()), Arc::new(Notify::new()));
    let (links, link_requests) = mpsc::unbounded_channel();
    let (control, addresses) = runtime.block_on(async {
        let listener = TcpListener::bind(home.at.map_or(any, |at| at.http)).await.expect("free");
        let http = listener.local_addr().expect("bound");
        let gossip = gossip_socket.local_addr().expect("bound");
        let addresses = Addresses { resp: http, http, gossip };
        let start = StartConfig {
            recovered: Vec::new(),
            config: &config,
            disk,
            gossip_socket,
            addresses,
            data: Arc::clone(&data) as Arc<dyn DataLinks>,
            link_requests,
            exit: Arc::clone(&exit),
        };
        let control = Control::start_on(start, Arc::clone(&plane) as Arc<dyn Plane>).await.expect("started");
        tokio::spawn(serve(listener, control.clone()));
        (control, addresses)
    });
    home.at = Some(addresses);
    Node { name: name.to_owned(), runtime: Some(runtime), control, plane, data, links, exit, addresses }
}

async fn serve(listener: TcpListener, control: Control) {
    while let Ok((stream, _)) = listener.accept().await {
        let control = control.clone();
        let service = service_fn(move |request| {
            let control = control.clone();
            async move { Ok::<_, Infallible>(control.accept_link::<hyper::body::Incoming>(request).await) }
        });
        let builder = hyper::server::conn::http1::Builder::new();
        tokio::spawn(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    }
}

impl Node {
    /// Ends the node as `kill -9` would.
    fn kill(mut self) -> Arc<Idle> {
        self.runtime.take().expect("it runs").shutdown_background();
        Arc::clone(&self.plane)
    }

    fn state_of(&self, name: &str) -> Option<&'static str> {
        self.control
            .status()
            .members
            .into_iter()
            .find(|member| member.name == name)
            .map(|member| member.state)
    }

    fn block_on<R>(&self, future: impl Future<Output = R>) -> R {
        self.runtime.as_ref().expect("it runs").block_on(future)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for `condition`; returns how long it took.
#[track_caller]
fn wait_for(what: &str, limit_ms: u64, mut condition: impl FnMut() -> bool) -> u64 {
    let clock = Clock::system();
    let started = clock.mono();
    loop {
        let waited = clock.mono().since(started).as_millis() as u64;
        if condition() {
            return waited;
        }
        assert!(waited < limit_ms, "{what}: not within {limit_ms} ms");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Three nodes that are all up, settled, and vote.
fn cluster_of_three() -> (Vec<Home>, Vec<Node>) {
    let mut homes = vec![home(None)];
    let mut nodes = vec![start("n1", &mut homes[0])];
    for name in ["n2", "n3"] {
        let mut home = home(Some(nodes[0].addresses.gossip));
        nodes.push(start(name, &mut home));
        homes.push(home);
    }
    let took = wait_for("three members, balanced", 10_000, || nodes.iter().all(|node| is_formed(node, 3)));
    eprintln!("formed in {took} ms");
    // Voters are counted as soon as they are proposed; the event is raised once they are agreed upon.
    wait_for("three voters", 10_000, || {
        let agreed = |node: &Node| {
            let events = node.control.recent_events();
            events
                .iter()
                .any(|event| event.text.starts_with("voters are") && event.text.matches(", ").count() == 2)
        };
        nodes.iter().any(agreed)
    });
    (homes, nodes)
}

fn is_formed(node: &Node, members: usize) -> bool {
    let status = node.control.status();
    status.settled && status.members.len() == members && node.control.is_ready()
}

/// The leader's and a follower's place in `nodes`.
fn roles(nodes: &[Node]) -> (usize, usize) {
    let mut leader = None;
    wait_for("a leader", 5_000, || {
        leader = nodes[0].control.status().leader;
        leader.is_some()
    });
    let place = nodes.iter().position(|node| Some(&node.name) == leader.as_ref()).expect("one of them");
    (place, (place + 1) % nodes.len())
}

#[test]
fn a_cluster_forms_and_shows_itself() {
    let (_homes, nodes) = cluster_of_three();
    let status = nodes[1].control.status();
    assert_eq!((status.partitions, status.replication_factor, status.under_replicated), (64, 2, 0));
    let primaries: Vec<usize> = status.members.iter().map(|member| member.primaries).collect();
    assert!(
        primaries.iter().sum::<usize>() == 64 && primaries.iter().all(|n| (21..=22).contains(n)),
        "{primaries:?}"
    );
    let json = serde_json::to_value(&status).expect("plain data");
    assert_eq!((&json["node"], &json["members"][0]["state"]), (&"n2".into(), &"up".into()));
    assert_eq!(nodes[2].control.ring().len(), 64);
    assert_eq!(nodes[2].control.cluster_size(), 3);
    let keys = nodes[2].plane.me.0 % 1_000;
    wait_for("everybody's numbers", 5_000, || {
        let stats = nodes[0].control.node_stats();
        stats.len() == 3 && stats["n3"].keys == keys
    });
    let events = nodes[0].control.recent_events();
    assert!(events.iter().any(|event| event.text.starts_with("n3 has joined at")), "{events:?}");
    assert!(nodes[0].plane.state.lock().announced >= events.len());

    // A data link, asked for by a worker.
    let to = nodes[1].plane.me;
    let incarnation = nodes[1].control.core.me.incarnation;
    let wanted = WantedLink { node: to, incarnation, http: nodes[1].addresses.http };
    for _ in 0..3 {
        nodes[0].links.send(LinkRequest { worker: 1, wanted }).expect("open");
    }
    wait_for("both ends of a link", 2_000, || {
        !nodes[0].data.0.lock().is_empty() && !nodes[1].data.0.lock().is_empty()
    });
    let (near, far) = (nodes[0].data.0.lock(), nodes[1].data.0.lock());
    assert_eq!((near[0].0, near[0].2), (1, LinkPeer { node: to, incarnation, outbound: true }));
    assert_eq!((far[0].0, far[0].2.node, far[0].2.outbound), (1, nodes[0].plane.me, false));
    assert_eq!(near.len(), 1, "asked three times, dialed once");
}

/// Kills one node of three and waits for its fail-over and return; returns how long the fail-over took.
fn kill_and_restart(pick: impl Fn((usize, usize)) -> usize, limit_ms: u64) {
    let (mut homes, mut nodes) = cluster_of_three();
    let place = pick(roles(&nodes));
    let (mut lost, victim) = (homes.remove(place), nodes.remove(place));
    let name = victim.name.clone();
    let dead = victim.kill();
    let took = wait_for("the failure is committed", limit_ms, || {
        nodes.iter().all(|node| node.state_of(&name) == Some("down"))
    });
    eprintln!("{name} failed over in {took} ms");
    assert!(!dead.may_serve(dead.clock.mono()), "nobody takes over while the dead may still serve");
    assert!(nodes[0].control.ring().iter().all(|entry| entry.primary.as_ref() != Some(&name)));
    wait_for("both copies on the survivors", 5_000, || {
        let status = nodes[0].control.status();
        status.settled && status.under_replicated == 0
    });
    let before =
        nodes[0].control.status().members.iter().find(|m| m.name == name).expect("remembered").incarnation;
    nodes.push(start(&name, &mut lost));
    let took = wait_for("it is back", 5_000, || nodes.iter().all(|node| is_formed(node, 3)));
    eprintln!("{name} back and balanced in {took} ms");
    let after =
        nodes[0].control.status().members.iter().find(|m| m.name == name).expect("a member").incarnation;
    assert!(after > before);
}

#[test]
fn a_killed_follower_is_failed_over_and_comes_back() {
    kill_and_restart(|(_, follower)| follower, 2_500);
}

#[test]
fn a_killed_leader_is_failed_over_and_comes_back() {
    kill_and_restart(|(leader, _)| leader, 5_000);
}

#[test]
fn the_whole_cluster_comes_back_from_its_disks() {
    let (mut homes, nodes) = cluster_of_three();
    let before = nodes[0].control.status();
    nodes.into_iter().for_each(|node| drop(node.kill()));
    let names = ["n1", "n2", "n3"];
    let nodes: Vec<Node> = names.iter().zip(&mut homes).map(|(name, home)| start(name, home)).collect();
    let took = wait_for("three members again", 10_000, || nodes.iter().all(|node| is_formed(node, 3)));
    eprintln!("restarted as a whole in {took} ms");
    let after = nodes[0].control.status();
    assert_eq!(after.cluster_id, before.cluster_id);
    assert!(after.epoch > before.epoch);
}

#[test]
fn a_node_leaves_and_the_rest_is_whole() {
    let (_homes, mut nodes) = cluster_of_three();
    let (leader, follower) = roles(&nodes);
    for place in [follower, leader] {
        let node = &nodes[place];
        node.block_on(node.control.leave()).expect("accepted");
        node.block_on(async { tokio::time::timeout(Duration::from_secs(20), node.exit.notified()).await })
            .expect("it may exit");
        let name = node.name.clone();
        let others: Vec<&Node> = nodes.iter().filter(|other| other.name != name).collect();
        let took = wait_for("it is no longer a member", 5_000, || {
            others
                .iter()
                .filter(|other| other.control.is_ready())
                .any(|other| other.state_of(&name).is_none())
        });
        eprintln!("{name} forgotten {took} ms after its exit");
        if place == follower {
            let rest = |node: &&Node| node.name != name;
            wait_for("two members, whole", 5_000, || {
                nodes.iter().filter(rest).all(|node| is_formed(node, 2))
            });
        }
    }
    let last = (0..3).find(|place| ![follower, leader].contains(place)).expect("the one that stays");
    let last = nodes.swap_remove(last);
    wait_for("it serves alone", 5_000, || is_formed(&last, 1));
    let refused = last.block_on(last.control.leave()).expect_err("the last one cannot leave");
    assert!(refused.contains("only member"), "{refused}");
}

#[test]
fn a_clean_stop_needs_no_wait_and_a_stopped_node_can_be_forgotten() {
    let (_homes, mut nodes) = cluster_of_three();
    let (_, follower) = roles(&nodes);
    let stopped = nodes.remove(follower);
    let refused = nodes[0].block_on(nodes[0].control.forget(&stopped.name)).expect_err("it is alive");
    assert!(refused.contains("alive"), "{refused}");
    stopped.block_on(stopped.control.shutdown());
    let took =
        wait_for("it is down", 300, || nodes.iter().all(|node| node.state_of(&stopped.name) == Some("down")));
    eprintln!("stopped node down {took} ms after its shutdown");
    nodes[0].block_on(nodes[0].control.forget(&stopped.name)).expect("it is down");
    wait_for("forgotten", 2_000, || nodes.iter().all(|node| node.state_of(&stopped.name).is_none()));
    assert!(nodes[0].block_on(nodes[0].control.forget("nobody")).is_err());
}

#[test]
fn a_stranger_does_not_join_and_says_why() {
    let mut first = home(None);
    let node = start("n1", &mut first);
    wait_for("a cluster of one", 5_000, || is_formed(&node, 1));
    let mut strange = Home { secret: "other", ..home(Some(node.addresses.gossip)) };
    let stranger = start("n2", &mut strange);
    let seed = node.addresses.gossip.to_string();
    wait_for("a warning that names the seed", 6_000, || {
        let events = stranger.control.recent_events();
        events.iter().any(|event| event.level == "warn" && event.text.contains(&format!("seed {seed}")))
    });
    assert_eq!(node.control.cluster_size(), 1);
    assert!(!stranger.control.is_ready() && !stranger.control.is_healthy());
    assert!(node.control.gossip_stats().rejected_auth > 0);
}
