//! Rules 5, 6, 9 and 10: what is acknowledged, when, and what a client hears otherwise.

use crate::harness::client::{code, text};
use crate::harness::{Cluster, Setup, id, index_of};
use cluster::map::{MapCommand, PartitionOp};
use std::time::Duration;

const A_WHILE: Duration = Duration::from_millis(200);

/// A settled cluster, a key whose primary is node 0, and the node of its replica.
fn with_key(setup: Setup) -> (Cluster, String, usize) {
    let cluster = Cluster::settled(setup);
    let key = cluster.key_on(0, "k");
    let replica = cluster.replicas_of(&key)[0];
    (cluster, key, replica)
}

fn sever(cluster: &mut Cluster, a: usize, b: usize) {
    let now = cluster.now();
    cluster.net.sever(a, b, now, &mut cluster.random);
}

#[test]
fn rule_5_no_reply_before_the_replica_has_it() {
    for asked in 0..3 {
        let (mut cluster, key, replica) = with_key(Setup { seed: asked as u64, ..Setup::default() });
        let (writer, reader) = (cluster.connect(asked), cluster.connect(asked));
        cluster.check(writer, &format!("SET {key} old"), "OK");
        cluster.net.stall(0, replica, true);
        if asked == replica {
            // Its requests still arrive; only the answers are stalled, and that would prove nothing.
            continue;
        }
        cluster.send(writer, &format!("SET {key} new"));
        cluster.run(A_WHILE);
        // Reads of what is not committed wait for the same gate; so does whatever has seen all keys.
        cluster.send(reader, &format!("GET {key}"));
        cluster.run(A_WHILE);
        assert_eq!((cluster.reply(writer), cluster.reply(reader)), (None, None));
        let counter = cluster.connect(asked);
        cluster.send(counter, "KEYS *");
        cluster.run(A_WHILE);
        assert_eq!(cluster.reply(counter), None);
        cluster.net.stall(0, replica, false);
        assert_eq!(text(&cluster.wait(writer)), "OK");
        assert_eq!(text(&cluster.wait(reader)), "\"new\"");
        assert_eq!(text(&cluster.wait(counter)), format!("[\"{key}\"]"));
    }
}

#[test]
fn rule_5_a_link_that_is_replaced_loses_no_write() {
    let (mut cluster, key, replica) = with_key(Setup::default());
    let writer = cluster.connect(0);
    for number in 1..=40 {
        cluster.send(writer, &format!("INCR {key}"));
        if number % 4 == 0 {
            cluster.run(Duration::from_micros(700));
            let now = cluster.now();
            cluster.net.break_links(0, replica, now, &mut cluster.random);
        }
    }
    for number in 1..=40 {
        assert_eq!(text(&cluster.wait(writer)), format!("({number})"));
    }
}

#[test]
fn a_known_reply_does_not_wait_long_for_those_behind_it() {
    let (mut cluster, key, replica) = with_key(Setup::default());
    let other = (1..3).find(|node| *node != replica).expect("three nodes");
    let elsewhere = cluster.key_on(other, "e");
    let client = cluster.connect(0);
    cluster.net.stall(0, replica, true);
    cluster.send(client, &format!("GET {elsewhere}"));
    cluster.send(client, &format!("SET {key} v"));
    cluster.run(Duration::from_millis(20));
    assert_eq!(cluster.reply(client).as_ref().map(text), Some("nil".into()));
    assert_eq!(cluster.reply(client), None);
    cluster.net.stall(0, replica, false);
    assert_eq!(text(&cluster.wait(client)), "OK");
}

#[test]
fn rule_6_dropping_the_replica_releases_the_reply() {
    let (mut cluster, key, replica) = with_key(Setup::default());
    let writer = cluster.connect(0);
    sever(&mut cluster, 0, replica);
    cluster.send(writer, &format!("SET {key} v"));
    cluster.run(A_WHILE);
    assert_eq!(cluster.reply(writer), None);
    cluster.nodes[0].isolated = true;
    cluster.change(&key, PartitionOp::DropInSync(id(replica)));
    cluster.run(A_WHILE);
    assert_eq!(cluster.reply(writer), None, "committed, but the primary has not seen it");
    cluster.nodes[0].isolated = false;
    assert_eq!(text(&cluster.wait(writer)), "OK");
}

#[test]
fn rule_9_writes_of_a_deposed_primary_are_in_doubt_and_reads_are_not() {
    let (mut cluster, key, replica) = with_key(Setup::default());
    let (writer, reader) = (cluster.connect(0), cluster.connect(0));
    cluster.check(writer, &format!("SET {key} old"), "OK");
    sever(&mut cluster, 0, replica);
    cluster.send(writer, &format!("SET {key} new"));
    cluster.run(Duration::from_millis(20));
    cluster.send(reader, &format!("GET {key}"));
    cluster.run(Duration::from_millis(20));
    cluster.nodes[0].isolated = true;
    cluster.fail_over(0);
    assert_eq!((cluster.reply(writer), cluster.reply(reader)), (None, None));
    cluster.deliver_map(0);
    assert_eq!(code(&cluster.wait(writer)), "INDOUBT");
    assert_eq!(code(&cluster.wait(reader)), "TRYAGAIN");
    // The successor never had the write.
    let other = cluster.connect(replica);
    cluster.check(other, &format!("GET {key}"), "\"old\"");
    cluster.check(other, &format!("SET {key} newer"), "OK");
    // The deposed primary comes back, drops what it held past the agreed sequence, and serves as anyone would (rule 7).
    cluster.nodes[0].isolated = false;
    cluster.net.mend(0, replica);
    cluster.take_back(0);
    (cluster.control.plans, cluster.control.coordinates) = (true, true);
    cluster.until_settled();
    cluster.check(reader, &format!("GET {key}"), "\"newer\"");
}

#[test]
fn rule_9_a_forwarded_write_whose_link_breaks_is_in_doubt_and_a_read_is_repeated() {
    let (mut cluster, key, _) = with_key(Setup::default());
    let (writer, reader) = (cluster.connect(1), cluster.connect(1));
    cluster.check(writer, &format!("SET {key} old"), "OK");
    // The request arrives, the answer does not.
    cluster.net.stall(0, 1, true);
    cluster.send(writer, &format!("APPEND {key} er"));
    cluster.send(reader, &format!("GET {key}"));
    cluster.run(Duration::from_millis(20));
    let now = cluster.now();
    cluster.net.break_links(0, 1, now, &mut cluster.random);
    cluster.net.stall(0, 1, false);
    assert_eq!(code(&cluster.wait(writer)), "INDOUBT");
    assert_eq!(text(&cluster.wait(reader)), "\"older\"");
    cluster.check(writer, &format!("GET {key}"), "\"older\"");
}

#[test]
fn rule_9_half_of_a_write_is_in_doubt() {
    let mut cluster =
        Cluster::settled(Setup { forward_timeout: Duration::from_millis(300), ..Setup::default() });
    let (here, there) = (cluster.key_on(0, "a"), cluster.key_on(1, "b"));
    let client = cluster.connect(0);
    sever(&mut cluster, 0, 1);
    cluster.run(Duration::from_millis(50));
    // Node 1 is not reached at all; whether node 0 can commit its half depends on where the replicas are.
    if cluster.replicas_of(&here) == [1] {
        cluster.change(&here, PartitionOp::DropInSync(id(1)));
    }
    let both = cluster.call(client, &format!("MSET {here} 1 {there} 2"));
    assert_eq!(code(&both), "INDOUBT");
    let alone = cluster.call(client, &format!("SET {there} 2"));
    assert_eq!(code(&alone), "CLUSTERDOWN", "never sent: safe to retry");
}

#[test]
fn rule_5_a_successor_shows_no_write_that_the_next_one_may_lack() {
    for seed in 0..8 {
        let mut cluster = Cluster::settled(Setup { copies: 3, seed, ..Setup::default() });
        let key = cluster.key_on(0, "k");
        let writer = cluster.connect(0);
        cluster.check(writer, &format!("SET {key} old"), "OK");
        let mut next = cluster.control.map.clone();
        next.apply(&MapCommand::NodeDown { node: id(0), incarnation: 1 });
        let heir = index_of(next.primary_of(cluster.partition_of(&key)).expect("somebody succeeds"));
        let third = 3 - heir;
        // The heir gets the write, the third does not.
        sever(&mut cluster, 0, third);
        sever(&mut cluster, heir, third);
        cluster.send(writer, &format!("SET {key} new"));
        cluster.run(Duration::from_millis(20));
        assert_eq!(cluster.reply(writer), None);
        cluster.nodes[0].paused = true;
        cluster.fail_over(0);
        let (reader, other_key) = (cluster.connect(heir), cluster.key_on(heir, "quiet"));
        cluster.until("the heir takes over", |cluster| {
            cluster.nodes[heir].shared.map().version == cluster.control.map.version
        });
        cluster.send(reader, &format!("GET {key}"));
        cluster.run(A_WHILE);
        assert_eq!(cluster.reply(reader), None);
        let second = cluster.connect(heir);
        cluster.check(second, &format!("GET {other_key}"), "nil");
        if seed % 2 == 0 {
            cluster.net.mend(heir, third);
        } else {
            cluster.change(&key, PartitionOp::DropInSync(id(third)));
        }
        assert_eq!(text(&cluster.wait(reader)), "\"new\"");
    }
}

#[test]
fn failing_over_keeps_every_acknowledged_write() {
    for seed in 0..4 {
        let mut cluster =
            Cluster::settled(Setup { seed, workers: 1 + (seed % 2) as usize, ..Setup::default() });
        let client = cluster.connect(1);
        let mut acknowledged = Vec::new();
        for number in 0..300 {
            cluster.send(client, &format!("SET key:{number} {number}"));
        }
        cluster.run(Duration::from_millis(2));
        cluster.nodes[0].paused = true;
        cluster.fail_over(0);
        for number in 0..300 {
            match code(&cluster.wait(client)).as_str() {
                "" => acknowledged.push(number),
                "INDOUBT" | "CLUSTERDOWN" => {}
                other => panic!("{other}"),
            }
        }
        assert!(acknowledged.len() > 100, "{}", acknowledged.len());
        for number in acknowledged {
            cluster.check(client, &format!("GET key:{number}"), &format!("\"{number}\""));
        }
    }
}

#[test]
fn rule_10_only_the_primary_removes_what_has_expired() {
    let (mut cluster, key, replica) = with_key(Setup::default());
    let client = cluster.connect(0);
    let value = "x".repeat(100_000);
    cluster.check(client, &format!("SET {key} {value} PX 100"), "OK");
    let full = cluster.nodes[replica].shared.data_bytes();
    assert!(full > 100_000);
    // The primary's process stands still: nobody may delete.
    cluster.nodes[0].paused = true;
    cluster.run(Duration::from_millis(400));
    assert_eq!(cluster.nodes[replica].shared.data_bytes(), full);
    cluster.nodes[0].paused = false;
    cluster.until("the removal reaches the replica", |cluster| {
        cluster.nodes[replica].shared.data_bytes() < full - 90_000
    });
    cluster.check(client, &format!("GET {key}"), "nil");
}

#[test]
fn rule_10_a_successor_hides_what_has_expired() {
    let (mut cluster, key, replica) = with_key(Setup::default());
    let client = cluster.connect(0);
    cluster.check(client, &format!("SET {key} v PX 100"), "OK");
    cluster.nodes[0].paused = true;
    cluster.fail_over(0);
    let other = cluster.connect(replica);
    cluster.check(other, &format!("GET {key}"), "nil");
    cluster.check(other, &format!("SET {key} w NX"), "OK");
}
