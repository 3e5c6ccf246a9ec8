//! Filters among nodes: small effects to replicas, whole filters to learners, and the same bytes wherever they are.

use crate::harness::client::{ClientId, text};
use crate::harness::{Cluster, Setup, id};
use cluster::map::{PartitionOp, Role};

/// Everything that can be asked of the two filters.
fn dump(cluster: &mut Cluster, client: ClientId, tag: &str) -> Vec<String> {
    let commands = ["DUMP", "CF.INFO", "TTL"].map(|command| format!("{command} {{{tag}}}cuckoo"));
    let of_bloom = ["DUMP", "BF.INFO", "TTL"].map(|command| format!("{command} {{{tag}}}bloom"));
    commands.iter().chain(&of_bloom).map(|command| text(&cluster.call(client, command))).collect()
}

/// One round of changes to both, which makes them grow and shrink.
fn change(cluster: &mut Cluster, client: ClientId, tag: &str, round: u64) {
    let items = (0..40).map(|number| format!("item:{round}:{number}")).collect::<Vec<_>>().join(" ");
    cluster.call(client, &format!("CF.INSERT {{{tag}}}cuckoo ITEMS {items}"));
    cluster.call(client, &format!("BF.INSERT {{{tag}}}bloom ITEMS {items}"));
    for number in 0..10 {
        cluster.check(client, &format!("CF.DEL {{{tag}}}cuckoo item:{round}:{number}"), "(1)");
        cluster.call(client, &format!("CF.ADDNX {{{tag}}}cuckoo absent:{number}"));
    }
}

#[test]
fn a_replica_that_takes_over_has_the_same_filters() {
    for seed in 0..3 {
        let mut cluster = Cluster::settled(Setup { seed, ..Setup::default() });
        let key = cluster.key_on(0, "k");
        let client = cluster.connect(1);
        cluster.check(client, &format!("CF.RESERVE {{{key}}}cuckoo 50 EXPANSION 2"), "OK");
        cluster.check(client, &format!("BF.RESERVE {{{key}}}bloom 0.01 50 EXPANSION 2"), "OK");
        for round in 0..6 {
            change(&mut cluster, client, &key, round);
        }
        let before = dump(&mut cluster, client, &key);
        assert!(before.iter().any(|line| line.contains("Number of filters")), "{before:?}");
        cluster.nodes[0].paused = true;
        cluster.fail_over(0);
        assert_eq!(dump(&mut cluster, client, &key), before, "seed {seed}");
        change(&mut cluster, client, &key, 7);
    }
}

#[test]
fn a_learner_gets_whole_filters_under_writes() {
    for seed in 0..3 {
        let mut cluster = Cluster::settled(Setup { seed, copies: 1, ..Setup::default() });
        let key = cluster.key_on(0, "k");
        let client = cluster.connect(2);
        // Larger than a chunk, so that others are sent while they change.
        cluster.check(client, &format!("CF.RESERVE {{{key}}}cuckoo 200000"), "OK");
        cluster.check(client, &format!("BF.RESERVE {{{key}}}bloom 0.01 90000"), "OK");
        for number in 0..20 {
            cluster.check(client, &format!("CF.ADD {{{key}}}{number} {}", "x".repeat(100)), "(1)");
            cluster.check(client, &format!("SET {{{key}}}string:{number} {}", "x".repeat(9_000)), "OK");
        }
        cluster.check(client, &format!("EXPIRE {{{key}}}cuckoo 1000"), "(1)");
        cluster.change(&key, PartitionOp::AddLearner(id(1)));
        cluster.control.coordinates = true;
        let partition = cluster.partition_of(&key);
        let mut rounds = 0;
        while cluster.control.map.role_of(id(1), partition) != Role::InSync {
            change(&mut cluster, client, &key, rounds);
            rounds += 1;
            assert!(rounds < 500, "never promoted");
        }
        cluster.control.coordinates = false;
        let before = dump(&mut cluster, client, &key);
        // The learner alone has it all now.
        cluster.nodes[0].paused = true;
        cluster.fail_over(0);
        let after = dump(&mut cluster, client, &key);
        let without_ttl =
            |lines: &[String]| lines.iter().take(2).chain(&lines[3..5]).cloned().collect::<Vec<_>>();
        assert_eq!(without_ttl(&after), without_ttl(&before), "seed {seed}");
        assert!(after[2] != "(-1)", "the deadline came along");
        cluster.check(client, &format!("CF.EXISTS {{{key}}}7 {}", "x".repeat(100)), "(1)");
    }
}
