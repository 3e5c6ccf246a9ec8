//! Convergence of the planner: whatever happens to the members, following the plan leads to the ring's placement.

use super::*;
use crate::map::{ChangeOutcome, MapCommand, Member};
use std::net::SocketAddr;
use stdx::Random;

const ROUNDS_MAX: usize = 400;

fn member(id: u64, incarnation: u64) -> Member {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    Member {
        node: NodeId(id),
        incarnation,
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

fn cluster(members: std::ops::RangeInclusive<u64>, partitions: u16, copies: u8) -> ClusterMap {
    let mut map = ClusterMap::default();
    map.apply(&MapCommand::Bootstrap { cluster_id: 7, partitions, replication_factor: copies });
    for id in members {
        map.apply(&MapCommand::Register { member: member(id, 1) });
    }
    map
}

fn propose(map: &mut ClusterMap, changes: Vec<PartitionChange>) -> usize {
    let applied = map.apply(&MapCommand::Changes(changes));
    map.check().expect("the plan keeps the map sound");
    for outcome in &applied.outcomes {
        assert!(matches!(outcome, ChangeOutcome::Applied { .. }), "the plan was refused: {outcome:?}");
    }
    applied.outcomes.len()
}

/// One round of what leader and primaries do; the number of changes.
fn step(map: &mut ClusterMap, limits: PlanLimits) -> usize {
    let planned = plan(map, limits);
    let mut changes = propose(map, planned);
    let mut promotions = Vec::new();
    for (partition, assignment) in map.iter().filter(|(_, a)| a.primary.is_some_and(|p| map.is_alive(p))) {
        if let Some(learner) = assignment.learners.first() {
            let op = PartitionOp::Promote(*learner);
            promotions.push(PartitionChange { partition, expected: assignment.epoch, op });
        }
    }
    changes += propose(map, promotions);
    let alive: Vec<NodeId> = map.members.keys().copied().filter(|node| map.is_alive(*node)).collect();
    for me in alive {
        let hand_overs = wanted_hand_overs(map, me);
        let change = |(partition, expected, to)| PartitionChange {
            partition,
            expected,
            op: PartitionOp::HandOver { to },
        };
        changes += propose(map, hand_overs.into_iter().map(change).collect());
    }
    changes
}

fn settle(map: &mut ClusterMap, limits: PlanLimits) -> usize {
    let mut total = 0;
    for _ in 0..ROUNDS_MAX {
        for node in map.members.keys() {
            assert!(map.counts_of(*node).learner <= limits.learners_per_node_max);
        }
        let changes = step(map, limits);
        total += changes;
        if changes == 0 {
            return total;
        }
    }
    panic!("no rest after {ROUNDS_MAX} rounds");
}

fn assert_even(map: &ClusterMap) {
    assert!(is_settled(map));
    let up = || map.members.keys().filter(|node| map.is_up(**node));
    let primaries: Vec<usize> = up().map(|node| map.counts_of(*node).primary).collect();
    let (min, max) = (primaries.iter().min(), primaries.iter().max());
    assert!(max.zip(min).is_some_and(|(max, min)| max - min <= 1), "{primaries:?}");
}

#[test]
fn forms_grows_and_shrinks() {
    let limits = PlanLimits { learners_per_node_max: 8, ..PlanLimits::default() };
    let mut map = cluster(1..=1, 256, 2);
    settle(&mut map, limits);
    assert_even(&map);
    assert_eq!(map.counts_of(NodeId(1)).primary, 256);
    for id in 2..=6 {
        map.apply(&MapCommand::Register { member: member(id, 1) });
        settle(&mut map, limits);
        assert_even(&map);
        assert!(map.assignments.iter().all(|assignment| assignment.in_sync.len() == 2));
    }
    for id in [1, 4] {
        map.apply(&MapCommand::Leave { node: NodeId(id) });
        settle(&mut map, limits);
        assert_even(&map);
        assert!(drained(&map, NodeId(id)));
        assert_eq!(map.apply(&MapCommand::Forget { node: NodeId(id) }).refused, None);
    }
    map.apply(&MapCommand::NodeDown { node: NodeId(2), incarnation: 1 });
    assert_eq!(map.unavailable().count(), 0);
    settle(&mut map, limits);
    assert_even(&map);
}

#[test]
fn a_last_copy_on_a_dead_node_is_left_alone() {
    let mut map = cluster(1..=1, 16, 2);
    settle(&mut map, PlanLimits::default());
    map.apply(&MapCommand::Register { member: member(2, 1) });
    map.apply(&MapCommand::NodeDown { node: NodeId(1), incarnation: 1 });
    assert_eq!(settle(&mut map, PlanLimits::default()), 0);
    assert_eq!(map.unavailable().count(), 16);
    map.apply(&MapCommand::Register { member: member(1, 1) });
    settle(&mut map, PlanLimits::default());
    assert_even(&map);
    assert!(map.assignments.iter().all(|assignment| assignment.born < assignment.epoch));
}

#[test]
fn a_missing_copy_comes_before_a_better_place() {
    let mut map = cluster(1..=3, 64, 2);
    settle(&mut map, PlanLimits::default());
    map.apply(&MapCommand::NodeDown { node: NodeId(3), incarnation: 1 });
    map.apply(&MapCommand::Register { member: member(4, 1) });
    let planned = plan(&map, PlanLimits { learners_per_node_max: 4, changes_max: 8 });
    assert_eq!(planned.len(), 8);
    for change in planned {
        let assignment = map.assignment(change.partition).expect("the plan names real partitions");
        assert_eq!(assignment.in_sync.len(), 1, "{change:?}");
    }
}

#[test]
fn random_histories_converge() {
    for seed in 0..30 {
        let mut random = Random::seeded(seed);
        let limits = PlanLimits { learners_per_node_max: 1 + random.below(16) as usize, changes_max: 64 };
        let mut map = cluster(1..=3, 32, 1 + random.below(3) as u8);
        let mut incarnation = 1;
        for _ in 0..40 {
            let node = NodeId(1 + random.below(7));
            let known = map.member(node).map_or(1, |member| member.incarnation);
            incarnation += 1;
            let command = match random.below(6) {
                0 => MapCommand::NodeDown { node, incarnation: known },
                1 => MapCommand::Leave { node },
                2 => MapCommand::Register { member: member(node.0, incarnation) },
                3 => MapCommand::Forget { node },
                _ => MapCommand::Register { member: member(node.0, known) },
            };
            map.apply(&command);
            map.check().expect("sound");
            for _ in 0..random.below(4) {
                step(&mut map, limits);
            }
        }
        // Everybody that is down returns, somebody is up: then the ring's placement must be reached exactly.
        map.apply(&MapCommand::Register { member: member(8, incarnation) });
        for node in map.members.keys().copied().collect::<Vec<_>>() {
            if !map.is_alive(node) {
                let known = map.members[&node].incarnation;
                map.apply(&MapCommand::Register { member: member(node.0, known) });
            }
        }
        settle(&mut map, limits);
        assert_even(&map);
    }
}
