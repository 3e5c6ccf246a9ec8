//! Table tests of single commands and a random walk over all of them.

use super::*;
use stdx::Random;

fn member(id: u64, incarnation: u64) -> Member {
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    Member {
        node: NodeId(id),
        incarnation,
        name: format!("node-{id}"),
        zone: None,
        weight: 1,
        resp: address(6379),
        http: address(8080),
        gossip: address(7946),
        state: MemberState::Up,
        recovered: Vec::new(),
    }
}

/// A cluster of `members` nodes, numbered from 1, in their first incarnation.
fn cluster(members: u64, partitions: u16) -> ClusterMap {
    let mut map = ClusterMap::default();
    map.apply(&MapCommand::Bootstrap { cluster_id: 7, partitions, replication_factor: 2 });
    for id in 1..=members {
        map.apply(&MapCommand::Register { member: member(id, 1) });
    }
    map
}

fn change(map: &mut ClusterMap, partition: u16, op: PartitionOp) -> ChangeOutcome {
    let partition = PartitionId(partition);
    let expected = map.assignment(partition).map_or(Epoch(0), |assignment| assignment.epoch);
    let applied = map.apply(&MapCommand::Changes(vec![PartitionChange { partition, expected, op }]));
    map.check().expect("the invariants hold after every change");
    applied.outcomes[0]
}

fn done(map: &mut ClusterMap, partition: u16, op: PartitionOp) {
    let outcome = change(map, partition, op);
    assert!(matches!(outcome, ChangeOutcome::Applied { .. }), "{op:?}: {outcome:?}");
}

/// Partition 0 with node 1 as primary and the others given in sync.
fn with_in_sync(members: u64, others: &[u64]) -> ClusterMap {
    let mut map = cluster(members, 4);
    done(&mut map, 0, PartitionOp::Assign { primary: NodeId(1) });
    for node in others {
        done(&mut map, 0, PartitionOp::AddLearner(NodeId(*node)));
        done(&mut map, 0, PartitionOp::Promote(NodeId(*node)));
    }
    map
}

fn refused(outcome: ChangeOutcome) -> Option<Refusal> {
    match outcome {
        ChangeOutcome::Refused { reason, .. } => Some(reason),
        ChangeOutcome::Applied { .. } => None,
    }
}

#[test]
fn a_cluster_is_created_once() {
    let mut map = ClusterMap::default();
    let early = map.apply(&MapCommand::Register { member: member(1, 1) });
    assert_eq!((early.refused, early.version), (Some(Refusal::NotBootstrapped), MapVersion(0)));
    for (cluster_id, partitions, copies) in [(0, 4, 2), (1, 0, 2), (1, 3, 2), (1, 32_768, 2), (1, 4, 0)] {
        let command = MapCommand::Bootstrap { cluster_id, partitions, replication_factor: copies };
        assert_eq!(map.apply(&command).refused, Some(Refusal::Invalid));
    }
    let command = MapCommand::Bootstrap { cluster_id: 1, partitions: 4, replication_factor: 2 };
    assert_eq!(map.apply(&command).refused, None);
    let again = map.apply(&command);
    assert_eq!((again.refused, again.version), (Some(Refusal::AlreadyBootstrapped), MapVersion(1)));
    assert_eq!(map.assignments.len(), 4);
    map.check().expect("a new cluster is sound");
}

#[test]
fn roles_change_only_from_the_right_state() {
    let mut map = with_in_sync(3, &[2]);
    let epoch = map.assignments[0].epoch;
    for (op, reason) in [
        (PartitionOp::Assign { primary: NodeId(3) }, Refusal::WrongRole),
        (PartitionOp::AddLearner(NodeId(2)), Refusal::WrongRole),
        (PartitionOp::AddLearner(NodeId(9)), Refusal::UnknownMember),
        (PartitionOp::RemoveLearner(NodeId(3)), Refusal::WrongRole),
        (PartitionOp::Promote(NodeId(3)), Refusal::WrongRole),
        (PartitionOp::DropInSync(NodeId(1)), Refusal::WrongRole),
        (PartitionOp::HandOver { to: NodeId(3) }, Refusal::WrongRole),
        (PartitionOp::HandOver { to: NodeId(1) }, Refusal::WrongRole),
    ] {
        let outcome = change(&mut map, 0, op);
        assert_eq!(outcome, ChangeOutcome::Refused { reason, epoch }, "{op:?}");
    }
    done(&mut map, 0, PartitionOp::HandOver { to: NodeId(2) });
    done(&mut map, 0, PartitionOp::Assert);
    assert_eq!(map.assignments[0].epoch, Epoch(epoch.0 + 2));
    assert_eq!(map.role_of(NodeId(1), PartitionId(0)), Role::InSync);
    assert_eq!(map.role_of(NodeId(2), PartitionId(0)), Role::Primary);
    done(&mut map, 0, PartitionOp::DropInSync(NodeId(1)));
    assert_eq!(map.assignments[0].in_sync, [NodeId(2)]);
    assert_eq!(refused(change(&mut map, 1, PartitionOp::AddLearner(NodeId(2)))), Some(Refusal::WrongRole));
    assert_eq!(refused(change(&mut map, 9, PartitionOp::Assert)), Some(Refusal::UnknownPartition));
}

#[test]
fn a_change_is_a_compare_and_set() {
    let mut map = with_in_sync(3, &[2]);
    let expected = map.assignments[0].epoch;
    let to = NodeId(2);
    let hand_over = PartitionChange { partition: PartitionId(0), expected, op: PartitionOp::HandOver { to } };
    let drop_it = PartitionChange { op: PartitionOp::DropInSync(to), ..hand_over };
    let version = map.version;
    let applied = map.apply(&MapCommand::Changes(vec![hand_over, drop_it]));
    let epoch = Epoch(expected.0 + 1);
    let stale = ChangeOutcome::Refused { reason: Refusal::StaleEpoch, epoch };
    assert_eq!(applied.outcomes, [ChangeOutcome::Applied { epoch }, stale]);
    assert_eq!(map.version, MapVersion(version.0 + 1));
}

#[test]
fn a_dead_node_is_one_change() {
    let mut map = with_in_sync(3, &[2, 3]);
    done(&mut map, 1, PartitionOp::Assign { primary: NodeId(2) });
    done(&mut map, 1, PartitionOp::AddLearner(NodeId(1)));
    done(&mut map, 2, PartitionOp::Assign { primary: NodeId(1) });
    done(&mut map, 2, PartitionOp::AddLearner(NodeId(3)));
    let before = map.clone();
    let stale = map.apply(&MapCommand::NodeDown { node: NodeId(1), incarnation: 2 });
    assert_eq!(stale.refused, Some(Refusal::StaleIncarnation));
    let down = MapCommand::NodeDown { node: NodeId(1), incarnation: 1 };
    assert_eq!(map.apply(&down).version, MapVersion(before.version.0 + 1));
    // Node 2 is primary of partition 1 already, so node 3 takes over; a learner of it just goes.
    assert_eq!(map.primary_of(PartitionId(0)), Some(NodeId(3)));
    assert!(map.role_of(NodeId(1), PartitionId(0)) == Role::None && map.assignments[1].learners.is_empty());
    // The last copy stays where it is, fenced against what its holder proposed before.
    assert_eq!(map.assignments[2].in_sync, [NodeId(1)]);
    assert_eq!(map.assignments[2].learners, [NodeId(3)]);
    assert_eq!(refused(change(&mut map, 2, PartitionOp::Promote(NodeId(3)))), Some(Refusal::NotServing));
    for (after, before) in map.assignments.iter().zip(&before.assignments).take(3) {
        assert_eq!(after.epoch.0, before.epoch.0 + 1);
    }
    assert_eq!(map.unavailable().collect::<Vec<_>>(), [PartitionId(2), PartitionId(3)]);
    assert_eq!(map.apply(&down).version, map.version, "going down twice changes nothing");
    let returned = map.apply(&MapCommand::Register { member: member(1, 1) });
    assert_eq!((returned.refused, returned.data_lost.len()), (None, 0));
    assert_eq!(map.role_of(NodeId(1), PartitionId(2)), Role::Primary);
    assert_eq!(map.role_of(NodeId(1), PartitionId(0)), Role::None);
}

#[test]
fn a_new_incarnation_has_lost_its_memory() {
    let mut map = with_in_sync(3, &[2]);
    done(&mut map, 1, PartitionOp::Assign { primary: NodeId(1) });
    done(&mut map, 1, PartitionOp::AddLearner(NodeId(2)));
    done(&mut map, 2, PartitionOp::Assign { primary: NodeId(2) });
    done(&mut map, 2, PartitionOp::AddLearner(NodeId(1)));
    let version = map.version;
    let applied = map.apply(&MapCommand::Register { member: member(1, 5) });
    map.check().expect("sound");
    assert_eq!(applied.version, MapVersion(version.0 + 1));
    assert_eq!(applied.data_lost, [PartitionId(1)]);
    assert_eq!(
        (map.primary_of(PartitionId(0)), &map.assignments[0].in_sync[..]),
        (Some(NodeId(2)), &[NodeId(2)][..])
    );
    let lost = &map.assignments[1];
    assert_eq!((lost.primary, lost.born, lost.learners.len()), (Some(NodeId(1)), lost.epoch, 0));
    assert!(map.assignments[0].born < map.assignments[0].epoch && map.assignments[2].learners.is_empty());
    let older = map.apply(&MapCommand::Register { member: member(1, 4) });
    assert_eq!(older.refused, Some(Refusal::StaleIncarnation));
    let same = map.apply(&MapCommand::Register { member: member(1, 5) });
    assert_eq!((same.refused, same.version), (None, map.version));
}

#[test]
fn the_last_copy_survives_a_restart_if_it_was_recovered() {
    let mut map = with_in_sync(3, &[2]);
    for partition in 1..4 {
        done(&mut map, partition, PartitionOp::Assign { primary: NodeId(1) });
    }
    done(&mut map, 3, PartitionOp::AddLearner(NodeId(2)));
    let before = map.clone();
    let born = |partition: u16| before.assignments[usize::from(partition)].born;
    // Partition 0 is in sync with another node, 1 was recovered, 2 from before it last began, 3 was recovered too.
    let recovered = vec![
        (PartitionId(0), born(0)),
        (PartitionId(1), born(1)),
        (PartitionId(2), Epoch(born(2).0 - 1)),
        (PartitionId(3), born(3)),
    ];
    let applied = map.apply(&MapCommand::Register { member: Member { recovered, ..member(1, 5) } });
    map.check().expect("sound");
    assert_eq!(applied.data_lost, [PartitionId(2)]);
    assert_eq!(map.primary_of(PartitionId(0)), Some(NodeId(2)));
    for partition in [1, 3] {
        let (old, new) = (&before.assignments[partition], &map.assignments[partition]);
        assert_eq!((new.primary, new.born, &new.learners), (Some(NodeId(1)), old.born, &old.learners));
        assert_eq!((new.reign, new.epoch), (new.epoch, Epoch(old.epoch.0 + 1)));
    }
    assert!(map.members[&NodeId(1)].recovered.is_empty(), "the map does not keep it");
}

#[test]
fn leaving_and_forgetting() {
    let mut map = with_in_sync(2, &[2]);
    map.apply(&MapCommand::Leave { node: NodeId(1) });
    assert_eq!(map.members[&NodeId(1)].state, MemberState::Leaving);
    let early = map.apply(&MapCommand::Forget { node: NodeId(1) });
    assert_eq!(early.refused, Some(Refusal::StillHolds));
    map.apply(&MapCommand::Register { member: member(1, 1) });
    assert_eq!(map.members[&NodeId(1)].state, MemberState::Leaving, "registering again does not end a leave");
    done(&mut map, 0, PartitionOp::HandOver { to: NodeId(2) });
    done(&mut map, 0, PartitionOp::DropInSync(NodeId(1)));
    assert!(crate::planner::drained(&map, NodeId(1)));
    assert_eq!(map.apply(&MapCommand::Forget { node: NodeId(1) }).refused, None);
    assert!(map.is_sole_member(NodeId(2)));
    assert_eq!(map.apply(&MapCommand::Forget { node: NodeId(1) }).refused, Some(Refusal::UnknownMember));
    // Forgetting a member that is down voids the last copies it held.
    map.apply(&MapCommand::Register { member: member(3, 1) });
    map.apply(&MapCommand::NodeDown { node: NodeId(2), incarnation: 1 });
    assert_eq!(map.apply(&MapCommand::Leave { node: NodeId(2) }).refused, Some(Refusal::NotServing));
    let applied = map.apply(&MapCommand::Forget { node: NodeId(2) });
    assert_eq!((applied.refused, &applied.data_lost[..]), (None, &[PartitionId(0)][..]));
    assert_eq!(map.primary_of(PartitionId(0)), Some(NodeId(3)));
    map.check().expect("sound");
}

#[test]
fn survives_encoding() {
    let mut map = with_in_sync(3, &[2]);
    map.apply(&MapCommand::Register { member: Member { zone: Some("a".into()), ..member(u64::MAX, 9) } });
    let text = serde_json::to_vec(&map).expect("a map encodes");
    let back: ClusterMap = serde_json::from_slice(&text).expect("and decodes");
    assert_eq!(map, back);
}

fn random_command(map: &ClusterMap, random: &mut Random) -> MapCommand {
    let node = NodeId(1 + random.below(6));
    let known = map.member(node).map_or(1, |member| member.incarnation);
    match random.below(40) {
        0 => MapCommand::Bootstrap { cluster_id: 9, partitions: 8, replication_factor: 2 },
        1..=3 => MapCommand::Register { member: member(node.0, known) },
        4 => MapCommand::Register { member: member(node.0, known + random.below(2)) },
        5..=6 => MapCommand::NodeDown { node, incarnation: known },
        7 => MapCommand::Leave { node },
        8 => MapCommand::Forget { node },
        _ => {
            let mut one = || {
                let partition = PartitionId(random.below(9) as u16);
                let node = NodeId(1 + random.below(6));
                let epoch = map.assignment(partition).map_or(0, |assignment| assignment.epoch.0);
                let op = match random.below(9) {
                    0..=1 => PartitionOp::AddLearner(node),
                    2 => PartitionOp::RemoveLearner(node),
                    3..=4 => PartitionOp::Promote(node),
                    5 => PartitionOp::DropInSync(node),
                    6 => PartitionOp::HandOver { to: node },
                    7 => PartitionOp::Assert,
                    _ => PartitionOp::Assign { primary: node },
                };
                PartitionChange {
                    partition,
                    expected: Epoch(epoch - random.below(20) / 19 * epoch.min(1)),
                    op,
                }
            };
            MapCommand::Changes((0..4).map(|_| one()).collect())
        }
    }
}

/// Whatever happened to one partition in one command was allowed to happen.
fn check_step(before: &ClusterMap, after: &ClusterMap, applied: &Applied, command: &MapCommand) {
    after.check().unwrap_or_else(|broken| panic!("{broken} after {command:?}"));
    let changed = before.members != after.members
        || before.assignments != after.assignments
        || before.partitions != after.partitions;
    assert_eq!(after.version.0, before.version.0 + u64::from(changed), "{command:?}");
    assert!(applied.refused.is_none() || !changed);
    for ((partition, old), new) in before.iter().zip(&after.assignments) {
        let raised = new.epoch.0 - old.epoch.0;
        let is_same =
            (old.primary, &old.in_sync, &old.learners) == (new.primary, &new.in_sync, &new.learners);
        assert!(is_same || raised > 0, "{partition} changed without a new epoch: {command:?}");
        let survivor = new.in_sync.iter().any(|node| old.in_sync.contains(node));
        let begins_empty = new.born != old.born;
        if old.primary.is_some() {
            assert_eq!(begins_empty, applied.data_lost.contains(&partition), "{command:?}");
            assert_eq!(
                survivor && !begins_empty,
                !begins_empty,
                "{partition} lost its last copy: {command:?}"
            );
        }
        if begins_empty && old.primary.is_some() {
            assert!(
                matches!(command, MapCommand::Register { .. } | MapCommand::Forget { .. }),
                "{command:?}"
            );
            let holder_voided = matches!(command, MapCommand::Register { member } if old.in_sync == [member.node])
                || matches!(command, MapCommand::Forget { node } if old.in_sync == [*node]);
            assert!(holder_voided, "{partition}: {old:?} {command:?}");
        }
        // Only members that were in sync may become primary, unless the partition begins empty.
        if let (Some(primary), false) = (new.primary, begins_empty) {
            assert!(old.in_sync.contains(&primary) || raised > 1, "{partition}: {old:?} {new:?} {command:?}");
        }
    }
}

#[test]
fn random_commands_keep_the_invariants() {
    let (mut lost, mut failed_over) = (0, 0);
    for seed in 0..200 {
        let mut random = Random::seeded(seed);
        let mut map = cluster(3, 8);
        for _ in 0..300 {
            let command = random_command(&map, &mut random);
            let before = map.clone();
            let applied = map.apply(&command);
            check_step(&before, &map, &applied, &command);
            lost += applied.data_lost.len();
            if matches!(command, MapCommand::NodeDown { .. }) {
                let moved = |(old, new): &(&Assignment, &Assignment)| old.primary != new.primary;
                failed_over += before.assignments.iter().zip(&map.assignments).filter(moved).count();
            }
        }
    }
    // The walk is worth something only if it reaches the interesting places.
    assert!(lost > 100 && failed_over > 100, "{lost} {failed_over}");
}
