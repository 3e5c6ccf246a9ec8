//! The lease rule, step by step and then over random histories of two leaders and two nodes.

use super::*;
use crate::map::{MapCommand, Member, PartitionChange, PartitionOp};
use std::net::SocketAddr;
use stdx::{Epoch, PartitionId, Random};

const LEASE: Duration = Duration::from_millis(1_000);
const MARGIN: Duration = Duration::from_millis(150);
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const PARTITION: PartitionId = PartitionId(0);

fn ms(at: u64) -> Mono {
    Mono(at * 1_000_000)
}

fn member(node: NodeId) -> Member {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    Member {
        node,
        incarnation: 1,
        name: "n".into(),
        zone: None,
        weight: 1,
        resp: address,
        http: address,
        gossip: address,
        state: MemberState::Up,
        recovered: Vec::new(),
    }
}

/// A is primary of the only partition, B in sync.
fn map() -> ClusterMap {
    let mut map = ClusterMap::default();
    map.apply(&MapCommand::Bootstrap { cluster_id: 1, partitions: 1, replication_factor: 2 });
    map.apply(&MapCommand::Register { member: member(A) });
    map.apply(&MapCommand::Register { member: member(B) });
    let ops = [PartitionOp::Assign { primary: A }, PartitionOp::AddLearner(B), PartitionOp::Promote(B)];
    for (expected, op) in (1..).map(Epoch).zip(ops) {
        map.apply(&MapCommand::Changes(vec![PartitionChange { partition: PARTITION, expected, op }]));
    }
    assert_eq!(map.assignments[0].in_sync, [A, B]);
    map
}

#[test]
fn grants_end_a_lease_after_the_quorum_spoke() {
    let map = map();
    let mut granter = LeaseGranter::new(ms(5_000), LEASE, MARGIN);
    let grant = granter.renew(A, 1, ms(6_000), ms(5_900), &map).expect("a member with a quorum");
    assert_eq!((grant.duration, grant.map_version), (Duration::from_millis(900), map.version));
    assert_eq!(granter.renew(A, 1, ms(6_900), ms(5_900), &map), Err(LeaseRefusal::NoQuorum));
    assert_eq!(granter.renew(A, 2, ms(6_000), ms(6_000), &map), Err(LeaseRefusal::StaleIncarnation));
    assert_eq!(granter.renew(NodeId(9), 1, ms(6_000), ms(6_000), &map), Err(LeaseRefusal::Unknown));
    // Without being condemned a node may get another grant, so it is never safe.
    assert!(!granter.safe_to_fail_over(A, ms(60_000)));
    granter.condemn(A);
    assert_eq!(granter.renew(A, 1, ms(6_000), ms(6_000), &map), Err(LeaseRefusal::Down));
    assert!(!granter.safe_to_fail_over(A, ms(7_049)));
    assert!(granter.safe_to_fail_over(A, ms(7_050)));
    granter.pardon(A);
    assert!(granter.renew(A, 1, ms(6_000), ms(6_000), &map).is_ok());
}

#[test]
fn a_new_leader_waits_for_grants_it_never_saw() {
    let map = map();
    let mut granter = LeaseGranter::new(ms(5_000), LEASE, MARGIN);
    granter.condemn(A);
    assert!(!granter.safe_to_fail_over(A, ms(6_149)));
    assert!(granter.safe_to_fail_over(A, ms(6_150)));
    assert_eq!(granter.overdue(&map, ms(5_999), LEASE), []);
    granter.renew(B, 1, ms(5_900), ms(5_900), &map).expect("granted");
    assert_eq!(granter.overdue(&map, ms(6_000), LEASE), [A]);
    assert_eq!(granter.overdue(&map, ms(6_900), LEASE), [A, B]);
    let mut after = map.clone();
    after.apply(&MapCommand::NodeDown { node: A, incarnation: 1 });
    assert_eq!(granter.overdue(&after, ms(6_900), LEASE), [B]);
}

#[test]
fn the_holder_counts_from_sending_and_waits_for_the_map() {
    let mut holder = LeaseHolder::new();
    let grant = |ms: u64, version: u64| Grant {
        duration: Duration::from_millis(ms),
        map_version: MapVersion(version),
    };
    assert!(!holder.granted(1, grant(1_000, 1)), "an answer to nothing");
    holder.sent(1, ms(100));
    holder.sent(2, ms(350));
    assert!(holder.granted(2, grant(1_000, 5)));
    assert_eq!(holder.valid_until(MapVersion(4)), None);
    assert_eq!(holder.valid_until(MapVersion(5)), Some(ms(1_350)));
    // An older answer arriving late neither shortens nor hides the newer one.
    assert!(holder.granted(1, grant(1_000, 4)));
    assert!(!holder.granted(1, grant(9_000, 4)), "each request counts once");
    assert_eq!(holder.valid_until(MapVersion(4)), Some(ms(1_100)));
    assert_eq!(holder.valid_until(MapVersion(6)), Some(ms(1_350)));
    assert!(holder.is_valid(MapVersion(5), ms(1_349)) && !holder.is_valid(MapVersion(5), ms(1_350)));
    for id in 10..200 {
        holder.sent(id, ms(id * 10));
        holder.granted(id, grant(1_000, id));
    }
    assert!(holder.grants.len() <= GRANTS_MAX);
    assert_eq!(holder.valid_until(MapVersion(500)), Some(ms(2_990)));
    holder.clear();
    assert!(!holder.is_valid(MapVersion(500), ms(0)));
}

/// A message in flight: a request to a leader or a grant to a node.
enum Message {
    Request { leader: usize, node: usize, id: u64 },
    Answer { node: usize, id: u64, grant: Grant },
    Map { node: usize, map: ClusterMap },
}

struct Node {
    id: NodeId,
    holder: LeaseHolder,
    map: ClusterMap,
}

/// One random history in steps of 10 ms: leader 0 is cut off from the quorum at a random moment and keeps granting in
/// good faith, leader 1 takes over, fails A over to B, and A may register again later. Returns whether B came to serve, or the
/// moment at which both served.
fn history(seed: u64, waits: bool) -> Result<bool, u64> {
    let mut random = Random::seeded(seed);
    let deposed = 500 + random.below(1_500);
    let elected = deposed + random.below(400);
    // Whether A itself keeps its link to the deposed leader, the new one, or both.
    let reaches = [random.chance(0.8), random.chance(0.3)];
    let returns = random.chance(0.5).then(|| elected + 2_500 + random.below(1_000));
    let mut granters =
        [LeaseGranter::new(ms(0), LEASE, MARGIN), LeaseGranter::new(ms(elected), LEASE, MARGIN)];
    let mut maps = [map(), map()];
    let mut nodes = [A, B].map(|id| Node { id, holder: LeaseHolder::new(), map: map() });
    let mut flying: Vec<(u64, Message)> = Vec::new();
    let (mut next, mut b_served) = (0, false);
    for now in (0..6_000).step_by(10) {
        // Each node renews now and then, with a clock of its own origin.
        for (index, node) in nodes.iter_mut().enumerate() {
            if random.chance(0.08) {
                for (leader, reaches) in reaches.iter().enumerate() {
                    let is_linked = index == 1 || *reaches;
                    let is_there = leader == 0 || now >= elected;
                    let has_returned = leader == 1 && returns.is_some_and(|at| now >= at);
                    if is_there && (is_linked || has_returned) {
                        next += 1;
                        node.holder.sent(next, ms(now + 77 * index as u64));
                        flying.push((
                            now + random.below(600),
                            Message::Request { leader, node: index, id: next },
                        ));
                    }
                }
            }
        }
        let (due, later): (Vec<_>, Vec<_>) = flying.into_iter().partition(|(at, _)| *at <= now);
        flying = later;
        for (_, message) in due {
            match message {
                Message::Request { leader, node, id } => {
                    // The deposed leader's last acknowledged heartbeat was sent before it was deposed.
                    let heard = if leader == 0 { now.min(deposed) } else { now };
                    let acked = heard.saturating_sub(random.below(60));
                    let asking = nodes[node].id;
                    if let Ok(grant) = granters[leader].renew(asking, 1, ms(now), ms(acked), &maps[leader]) {
                        flying.push((now + random.below(600), Message::Answer { node, id, grant }));
                    }
                }
                Message::Answer { node, id, grant } => {
                    nodes[node].holder.granted(id, grant);
                }
                Message::Map { node, map } => {
                    if map.version > nodes[node].map.version {
                        nodes[node].map = map;
                    }
                }
            }
        }
        // The new leader gives A up, and B learns of the map some time later.
        if now >= elected + 100 && maps[1].is_alive(A) && returns.is_none_or(|at| now < at) {
            granters[1].condemn(A);
            if !waits || granters[1].safe_to_fail_over(A, ms(now)) {
                maps[1].apply(&MapCommand::NodeDown { node: A, incarnation: 1 });
                flying.push((now + random.below(100), Message::Map { node: 1, map: maps[1].clone() }));
            }
        }
        if returns.is_some_and(|at| now >= at) && !maps[1].is_alive(A) {
            maps[1].apply(&MapCommand::Register { member: member(A) });
            granters[1].pardon(A);
            flying.push((now + random.below(2_000), Message::Map { node: 0, map: maps[1].clone() }));
            flying.push((now + random.below(2_000), Message::Map { node: 1, map: maps[1].clone() }));
        }
        let serves = |index: usize| {
            let Node { id, holder, map } = &nodes[index];
            map.primary_of(PARTITION) == Some(*id)
                && holder.is_valid(map.version, ms(now + 77 * index as u64))
        };
        if serves(0) && serves(1) {
            return Err(now);
        }
        b_served |= serves(1);
    }
    Ok(b_served)
}

#[test]
fn two_nodes_never_serve_one_partition() {
    let mut taken_over = 0;
    for seed in 0..2_000 {
        match history(seed, true) {
            Ok(b_served) => taken_over += u32::from(b_served),
            Err(at) => panic!("seed {seed}: both serve at {at} ms"),
        }
    }
    assert!(taken_over > 1_000, "the histories must reach a fail-over: {taken_over}");
    let caught = (0..200).filter(|seed| history(*seed, false).is_err()).count();
    assert!(caught > 20, "a leader that does not wait must be caught: {caught}");
}
