//! Small groups over a transport in memory, in real time.

use super::*;
use crate::map::MemberState;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use stdx::{Clock, Mono};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(10);

/// Which nodes run, and which are cut off from all others.
#[derive(Default)]
struct Hub {
    running: Mutex<HashMap<u64, RaftHandle>>,
    cut: Mutex<BTreeSet<u64>>,
}

impl Hub {
    fn cut(&self, node: u64) {
        self.cut.lock().expect("no test panics holding it").insert(node);
    }

    fn is_cut(&self, node: u64) -> bool {
        self.cut.lock().expect("no test panics holding it").contains(&node)
    }
}

/// One node's way to the others.
struct Wire {
    hub: Arc<Hub>,
    me: u64,
}

impl RaftTransport for Wire {
    async fn call(&self, to: u64, _node: &RaftNode, request: Vec<u8>) -> io::Result<Vec<u8>> {
        if self.hub.is_cut(self.me) || self.hub.is_cut(to) {
            // A cut link swallows; it does not say so.
            std::future::pending::<()>().await;
        }
        let there = self.hub.running.lock().expect("no test panics holding it").get(&to).cloned();
        let there = there.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        let answer = there.serve(&request).await;
        if self.hub.is_cut(self.me) || self.hub.is_cut(to) {
            std::future::pending::<()>().await;
        }
        Ok(answer)
    }
}

fn member(id: u64) -> Member {
    let address = SocketAddr::from(([127, 0, 0, 1], 8_000 + id as u16));
    Member {
        node: NodeId(id),
        incarnation: 1,
        name: format!("node-{id}"),
        zone: None,
        weight: 1,
        resp: address,
        http: address,
        gossip: address,
        state: MemberState::Up,
        recovered: Vec::new(),
    }
}

async fn start_with(hub: &Arc<Hub>, id: u64, disk: &Arc<MemoryDisk>, entries: u64) -> RaftHandle {
    let config = RaftConfig {
        propose_timeout: Duration::from_secs(1),
        snapshot_entries: entries,
        ..RaftConfig::new(NodeId(id), Clock::system())
    };
    let wire = Arc::new(Wire { hub: Arc::clone(hub), me: id });
    let disk: Arc<dyn LogDisk> = disk.clone();
    let handle = RaftHandle::start(config, disk, wire).await.expect("starts");
    hub.running.lock().expect("no test panics holding it").insert(id, handle.clone());
    handle
}

async fn start(hub: &Arc<Hub>, id: u64, disk: &Arc<MemoryDisk>) -> RaftHandle {
    start_with(hub, id, disk, 1_000).await
}

async fn stop(hub: &Hub, id: u64) {
    let handle = hub.running.lock().expect("no test panics holding it").remove(&id);
    handle.expect("it runs").shutdown().await;
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "still not so: {what}");
}

/// The one node of `group` that leads and has been confirmed.
async fn leader_of(group: &[RaftHandle]) -> RaftHandle {
    let mut found = None;
    until("somebody leads", || {
        found = group.iter().find(|handle| handle.leadership().is_some()).cloned();
        std::future::ready(found.is_some())
    })
    .await;
    found.expect("found above")
}

/// Takes steps until these are the voters and there is nothing left to do.
async fn reconcile(group: &[RaftHandle], down: &[u64], expect: &[u64]) {
    until("the voters are settled", || async {
        let leader = leader_of(group).await;
        let down_for = |node: NodeId| down.contains(&node.0).then_some(Duration::from_secs(60));
        leader.reconcile_voters(down_for).await == Ok(VoterStep::None) && voters(&leader) == expect
    })
    .await;
}

/// Nodes 1 to `count`, the first of which creates the cluster and admits the others.
async fn group(hub: &Arc<Hub>, count: u64) -> (Vec<RaftHandle>, Vec<Arc<MemoryDisk>>) {
    let disks: Vec<Arc<MemoryDisk>> = (0..count).map(|_| Arc::new(MemoryDisk::new())).collect();
    let mut handles = Vec::new();
    for (id, disk) in (1..).zip(&disks) {
        let handle = start(hub, id, disk).await;
        assert!(!handle.is_initialized().await.expect("runs"));
        handles.push(handle);
    }
    let created = handles[0].bootstrap(77, 8, 2, member(1)).await.expect("creates a cluster");
    assert_eq!(created.refused, None);
    for id in 2..=count {
        let admitted = handles[0].admit(member(id)).await.expect("the creator leads");
        assert_eq!(admitted.refused, None);
    }
    reconcile(&handles, &[], if count < 3 { &[1] } else { &[1, 2, 3] }).await;
    (handles, disks)
}

fn voters(handle: &RaftHandle) -> Vec<u64> {
    handle.status().voters.iter().map(|node| node.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_becomes_three_and_all_have_the_map() {
    let hub = Arc::new(Hub::default());
    let (handles, _disks) = group(&hub, 3).await;
    let leader = leader_of(&handles).await;
    let applied = leader.propose(MapCommand::Leave { node: NodeId(2) }).await.expect("commits");
    for handle in &handles {
        let mut watch = handle.watch();
        let reached = watch.wait_for(|map| map.version >= applied.version);
        let map = timeout(PATIENCE, reached).await.expect("in time").expect("runs").clone();
        assert_eq!(map.members[&NodeId(2)].state, MemberState::Leaving);
        assert_eq!((map.cluster_id, map.partitions), (77, 8));
        map.check().expect("sound");
    }
    let other = handles.iter().find(|handle| !handle.is_leader()).expect("two do not lead");
    let refused = other.propose(MapCommand::Leave { node: NodeId(3) }).await;
    let known = leader.leader();
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: known.clone() }));
    assert_eq!(known.map(|(_, node)| node.name), Some("node-1".into()));
    assert!(other.leadership().is_none());
    let again = handles[0].bootstrap(78, 8, 2, member(1)).await;
    assert!(matches!(again, Err(StartError::AlreadyMember)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_follows_a_dead_one() {
    let hub = Arc::new(Hub::default());
    let (handles, _disks) = group(&hub, 3).await;
    let old = leader_of(&handles).await.config.node.0;
    let clock = Clock::system();
    let killed = clock.mono();
    stop(&hub, old).await;
    let rest: Vec<RaftHandle> = handles.into_iter().filter(|handle| handle.config.node.0 != old).collect();
    let leader = leader_of(&rest).await;
    let took = clock.mono().since(killed);
    eprintln!("a new leader after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let command = MapCommand::NodeDown { node: NodeId(old), incarnation: 1 };
    assert_eq!(leader.propose(command).await.expect("two of three are a quorum").refused, None);
    assert!(!leader.map().is_alive(NodeId(old)));
    // Nobody can take the dead voter's place, so it keeps it.
    reconcile(&rest, &[old], &[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_survives_a_restart_of_all() {
    let hub = Arc::new(Hub::default());
    let (handles, disks) = group(&hub, 3).await;
    let before = leader_of(&handles).await;
    let applied = before.propose(MapCommand::Leave { node: NodeId(3) }).await.expect("commits");
    let (term, log) = (before.term(), before.status().last_log);
    for id in 1..=3 {
        stop(&hub, id).await;
    }
    let mut again = Vec::new();
    for (id, disk) in (1..).zip(&disks) {
        again.push(start(&hub, id, disk).await);
    }
    for handle in &again {
        assert!(handle.is_initialized().await.expect("runs"));
        assert_eq!(voters(handle), [1, 2, 3]);
    }
    let leader = leader_of(&again).await;
    assert!(leader.term() >= term && leader.status().last_log >= log);
    assert_eq!(leader.map().version, applied.version);
    assert_eq!(leader.map().members[&NodeId(3)].state, MemberState::Leaving);
    let foreign: Arc<dyn LogDisk> = disks[0].clone();
    let wire = Arc::new(Wire { hub: Arc::clone(&hub), me: 9 });
    let refused = RaftHandle::start(RaftConfig::new(NodeId(9), Clock::system()), foreign, wire).await;
    assert!(matches!(refused, Err(StartError::ForeignDisk { found: NodeId(1), .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_knows_how_long() {
    let hub = Arc::new(Hub::default());
    let (handles, _disks) = group(&hub, 3).await;
    let old = leader_of(&handles).await;
    let id = old.config.node.0;
    let clock = old.config.clock.clone();
    let now = || clock.mono();
    let fresh = old.leadership().expect("it leads");
    assert!(fresh.quorum_acked >= fresh.since && fresh.quorum_acked_ago(now()) < Duration::from_millis(800));
    hub.cut(id);
    let cut: Mono = now();
    let stuck = old.propose(MapCommand::Leave { node: NodeId(1) }).await;
    assert_eq!(stuck, Err(ProposeError::Timeout));
    // It may think it leads for ever; its last acknowledgement gives it away.
    if let Some(leadership) = old.leadership() {
        assert!(leadership.quorum_acked <= cut);
        assert!(leadership.quorum_acked_ago(now()) >= Duration::from_millis(900));
    }
    let rest: Vec<RaftHandle> = handles.iter().filter(|handle| handle.config.node.0 != id).cloned().collect();
    let leader = leader_of(&rest).await;
    let new = leader.leadership().expect("confirmed");
    assert!(new.term > fresh.term);
    leader.propose(MapCommand::Leave { node: NodeId(2) }).await.expect("two of three are a quorum");
    hub.cut.lock().expect("no test panics holding it").clear();
    until("the old leader follows", || {
        let state = old.map().members[&NodeId(2)].state;
        std::future::ready(state == MemberState::Leaving && old.leadership().is_none())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_leaves_and_is_forgotten() {
    let hub = Arc::new(Hub::default());
    let (handles, _disks) = group(&hub, 4).await;
    let leaver = leader_of(&handles).await;
    let id = leaver.config.node;
    leaver.propose(MapCommand::Leave { node: id }).await.expect("commits");
    let rest: Vec<RaftHandle> = handles.iter().filter(|handle| handle.config.node != id).cloned().collect();
    let step = leaver.reconcile_voters(|_| None).await.expect("still leads");
    assert!(
        matches!(&step, VoterStep::Voters(chosen) if !chosen.contains(&id) && chosen.len() == 3),
        "{step:?}"
    );
    let more = leaver.reconcile_voters(|_| None).await;
    assert!(matches!(more, Err(ProposeError::NotLeader { .. })), "it changes nothing any more: {more:?}");
    let leader = leader_of(&rest).await;
    assert_ne!(leader.config.node, id);
    until("the leaver stopped leading", || std::future::ready(leaver.leadership().is_none())).await;
    // It is taken in again as a learner, so that it sees when it holds nothing any more.
    let step = leader.reconcile_voters(|_| None).await;
    assert_eq!(step, Ok(VoterStep::Nodes(vec![id])));
    let applied = leader.propose(MapCommand::Leave { node: NodeId(4) }).await.expect("commits");
    let mut watch = leaver.watch();
    let seen = timeout(PATIENCE, watch.wait_for(|map| map.version >= applied.version)).await;
    assert!(seen.expect("in time").is_ok());
    leader.propose(MapCommand::Forget { node: id }).await.expect("commits");
    // Three members of which one is leaving: one voter.
    until("the forgotten one is gone", || async {
        let leader = leader_of(&rest).await;
        let step = leader.reconcile_voters(|_| None).await;
        step == Ok(VoterStep::None) && voters(&leader).len() == 1
    })
    .await;
    let status = leader_of(&rest).await.status();
    assert!(!status.voters.contains(&id) && !status.learners.contains(&id), "{status:?}");
    assert!(handles.iter().all(|handle| handle.status().fault.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_node_is_brought_up_by_a_snapshot() {
    let hub = Arc::new(Hub::default());
    let disks: Vec<Arc<MemoryDisk>> = (0..2).map(|_| Arc::new(MemoryDisk::new())).collect();
    let first = start_with(&hub, 1, &disks[0], 20).await;
    first.bootstrap(5, 16, 1, member(1)).await.expect("creates a cluster");
    for incarnation in 2..150 {
        let returned = Member { incarnation, ..member(1) };
        first.admit(returned).await.expect("a sole voter commits at once");
    }
    until("the log is cut", || std::future::ready(disks[0].load().expect("memory").len() < 60)).await;
    let second = start_with(&hub, 2, &disks[1], 20).await;
    let applied = first.admit(member(2)).await.expect("commits");
    let mut watch = second.watch();
    let seen = timeout(PATIENCE, watch.wait_for(|map| map.version >= applied.version)).await;
    assert_eq!(*seen.expect("in time").expect("runs").clone(), *first.map());
    assert_eq!(first.status().learners, [NodeId(2)]);
    stop(&hub, 1).await;
    stop(&hub, 2).await;
    let again = start_with(&hub, 1, &disks[0], 20).await;
    leader_of(std::slice::from_ref(&again)).await;
    assert_eq!(again.map().members[&NodeId(1)].incarnation, 149);
    assert_eq!(again.status().fault, None);
}

/// A disk that fails on demand.
struct FailingDisk(MemoryDisk, std::sync::atomic::AtomicBool);

impl LogDisk for FailingDisk {
    fn load(&self) -> io::Result<Vec<Vec<u8>>> {
        self.0.load()
    }
    fn append(&self, records: &[Vec<u8>]) -> io::Result<()> {
        if self.1.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::Error::other("no space left on this disk"));
        }
        self.0.append(records)
    }
    fn replace(&self, records: &[Vec<u8>]) -> io::Result<()> {
        self.0.replace(records)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_disk_stops_the_node_and_says_why() {
    let hub = Arc::new(Hub::default());
    let disk = Arc::new(FailingDisk(MemoryDisk::new(), false.into()));
    let wire = Arc::new(Wire { hub: Arc::clone(&hub), me: 1 });
    let held: Arc<dyn LogDisk> = disk.clone();
    let handle =
        RaftHandle::start(RaftConfig::new(NodeId(1), Clock::system()), held, wire).await.expect("starts");
    handle.bootstrap(5, 16, 1, member(1)).await.expect("creates a cluster");
    disk.1.store(true, std::sync::atomic::Ordering::Relaxed);
    let refused = handle.propose(MapCommand::Leave { node: NodeId(1) }).await;
    assert!(matches!(refused, Err(ProposeError::Stopped(_))), "{refused:?}");
    let reason = timeout(PATIENCE, handle.stopped()).await.expect("it has stopped");
    assert!(reason.contains("no space left"), "{reason}");
    assert!(handle.leadership().is_none());
}

#[tokio::test]
async fn requests_are_refused_if_malformed_or_misdirected() {
    let hub = Arc::new(Hub::default());
    let handle = start(&hub, 1, &Arc::new(MemoryDisk::new())).await;
    for request in [&b"{"[..], b"", b"[]", br#"{"to":2,"call":{"Vote":{"vote":{"leader_id":{"term":9,"node_id":2},"committed":false},"last_log_id":null}}}"#] {
        let answer = handle.serve(request).await;
        assert!(String::from_utf8_lossy(&answer).contains("Refused"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(handle.term(), 0, "a misdirected vote changed nothing");
    let timing =
        RaftConfig { heartbeat: Duration::from_secs(1), ..RaftConfig::new(NodeId(2), Clock::system()) };
    let wire = Arc::new(Wire { hub, me: 2 });
    let refused = RaftHandle::start(timing, Arc::new(MemoryDisk::new()), wire).await;
    assert!(matches!(refused, Err(StartError::Config(_))));
}
