//! What a primary asks of the map, and rule 8: hand-overs.

use crate::harness::client::text;
use crate::harness::{Cluster, Setup, id};
use cluster::map::{PartitionOp, Role};
use std::time::Duration;

fn role(cluster: &Cluster, node: usize, key: &str) -> Role {
    cluster.control.map.role_of(id(node), cluster.partition_of(key))
}

fn proposed(cluster: &Cluster) -> Vec<PartitionOp> {
    cluster.control.proposed.iter().map(|(_, change)| change.op).collect()
}

/// A cluster with a key whose partition is at its replica, while the ring wants it at node 0.
fn displaced() -> (Cluster, String, usize) {
    let mut cluster = Cluster::settled(Setup::default());
    let key = cluster.key_on(0, "k");
    let replica = cluster.replicas_of(&key)[0];
    cluster.change(&key, PartitionOp::HandOver { to: id(replica) });
    cluster.run(Duration::from_millis(100));
    cluster.control.proposed.clear();
    (cluster, key, replica)
}

#[test]
fn learners_are_promoted_under_writes_once_they_have_everything() {
    let mut cluster = Cluster::settled(Setup { copies: 1, ..Setup::default() });
    let key = cluster.key_on(0, "k");
    let client = cluster.connect(2);
    for number in 0..50 {
        cluster.check(client, &format!("SET {{{key}}}{number} {}", "x".repeat(3_000)), "OK");
    }
    cluster.change(&key, PartitionOp::AddLearner(id(1)));
    cluster.control.coordinates = true;
    let mut written = 0;
    while role(&cluster, 1, &key) != Role::InSync {
        written += 1;
        cluster.check(client, &format!("INCR {key}"), &format!("({written})"));
        assert!(written < 5_000, "never promoted");
    }
    // The learner alone has it all now.
    cluster.control.coordinates = false;
    cluster.nodes[0].paused = true;
    cluster.fail_over(0);
    cluster.check(client, &format!("GET {key}"), &format!("\"{written}\""));
    cluster.check(client, &format!("STRLEN {{{key}}}49"), "(3000)");
}

#[test]
fn a_learner_that_lacks_acknowledged_writes_is_not_promoted() {
    let mut cluster = Cluster::settled(Setup { copies: 1, ..Setup::default() });
    let key = cluster.key_on(0, "k");
    let client = cluster.connect(0);
    cluster.change(&key, PartitionOp::AddLearner(id(1)));
    let caught_up = |cluster: &mut Cluster| {
        cluster.nodes[0].shared.replication_lag().get(&id(1)).is_some_and(|lag| *lag == (0, 0))
    };
    cluster.until("the learner streams", caught_up);
    // A few records short, which is near enough to begin with, but not to be proposed.
    cluster.net.stall(0, 1, true);
    cluster.check(client, &format!("SET {key} acknowledged"), "OK");
    cluster.control.coordinates = true;
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let before = cluster.now();
        cluster.check(client, &format!("SET {key} {number}"), "OK");
        slowest = slowest.max(cluster.now().since(before));
        cluster.run(Duration::from_millis(7));
    }
    assert!(!proposed(&cluster).contains(&PartitionOp::Promote(id(1))));
    assert!(slowest < Duration::from_millis(80), "a promotion that stalls is given up: {slowest:?}");
    cluster.net.stall(0, 1, false);
    cluster.until("promoted", |cluster| role(cluster, 1, &key) == Role::InSync);
}

#[test]
fn a_replica_that_confirms_nothing_leaves_the_set() {
    let mut cluster = Cluster::settled(Setup::default());
    let key = cluster.key_on(0, "k");
    let replica = cluster.replicas_of(&key)[0];
    cluster.control.coordinates = true;
    cluster.net.stall(0, replica, true);
    let client = cluster.connect(0);
    cluster.control.proposed.clear();
    let before = cluster.now();
    cluster.check(client, &format!("SET {key} v"), "OK");
    let waited = cluster.now().since(before);
    assert!(waited > Duration::from_millis(1_500) && waited < Duration::from_millis(2_000), "{waited:?}");
    assert_eq!(proposed(&cluster), [PartitionOp::DropInSync(id(replica))]);
    assert_eq!(role(&cluster, replica, &key), Role::None);
}

#[test]
fn rule_8_a_hand_over_holds_clients_and_loses_nothing() {
    let (mut cluster, key, replica) = displaced();
    let clients: Vec<_> = (0..3).map(|node| cluster.connect(node)).collect();
    cluster.control.coordinates = true;
    let (mut written, mut slowest) = (0, Duration::ZERO);
    while role(&cluster, 0, &key) != Role::Primary || written < 50 {
        let before = cluster.now();
        written += 1;
        cluster.check(clients[written % 3], &format!("INCR {key}"), &format!("({written})"));
        slowest = slowest.max(cluster.now().since(before));
    }
    assert!(proposed(&cluster).contains(&PartitionOp::HandOver { to: id(0) }));
    assert_eq!(role(&cluster, replica, &key), Role::InSync, "it stays in sync");
    assert!(slowest < Duration::from_millis(60), "{slowest:?}");
}

#[test]
fn rule_8_a_hand_over_that_cannot_drain_is_given_up() {
    let (mut cluster, key, primary) = displaced();
    let tag = key.clone();
    let (writer, reader) = (cluster.connect(primary), cluster.connect(primary));
    cluster.check(writer, &format!("SET {{{tag}}}other v"), "OK");
    cluster.net.stall(primary, 0, true);
    cluster.send(writer, &format!("SET {key} v"));
    cluster.run(Duration::from_millis(5));
    cluster.control.coordinates = true;
    let (mut slowest, mut held) = (Duration::ZERO, 0);
    for _ in 0..60 {
        let before = cluster.now();
        cluster.check(reader, &format!("GET {{{tag}}}other"), "\"v\"");
        let waited = cluster.now().since(before);
        slowest = slowest.max(waited);
        held += u32::from(waited > Duration::from_millis(15));
        cluster.run(Duration::from_millis(10));
    }
    assert!(!proposed(&cluster).contains(&PartitionOp::HandOver { to: id(0) }));
    assert!((1..=3).contains(&held) && slowest < Duration::from_millis(80), "{held} {slowest:?}");
    cluster.net.stall(primary, 0, false);
    assert_eq!(text(&cluster.wait(writer)), "OK");
    cluster.until("handed over", |cluster| role(cluster, 0, &key) == Role::Primary);
}

#[test]
fn rule_8_after_a_lost_answer_the_epoch_is_forced_on() {
    for seed in 0..6 {
        let (mut cluster, key, primary) = displaced();
        cluster.random = stdx::Random::seeded(seed);
        let client = cluster.connect(primary);
        cluster.control.lost_answers = 1.0;
        // The primary hears nothing of the map for a while: whether its proposal was applied, it cannot know.
        cluster.control.map_lag_max = Duration::from_millis(60);
        cluster.control.coordinates = true;
        cluster.until("a proposal", |cluster| !proposed(cluster).is_empty());
        cluster.check(client, &format!("SET {key} v"), "OK");
        cluster.until("the epoch is forced on", |cluster| {
            let map = cluster.nodes[primary].shared.map();
            map.version == cluster.control.map.version && role(cluster, 0, &key) == Role::Primary
        });
        let ops = proposed(&cluster);
        assert_eq!(ops[0], PartitionOp::HandOver { to: id(0) });
        assert!(ops.contains(&PartitionOp::Assert), "{ops:?}");
        cluster.check(client, &format!("GET {key}"), "\"v\"");
    }
}
