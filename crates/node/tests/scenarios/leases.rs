//! Rules 3 and 4: a primary serves only under a lease, and looks at the clock after the value.

use crate::harness::client::{code, text};
use crate::harness::{Cluster, Setup};
use std::time::Duration;

#[test]
fn rule_3_an_isolated_primary_answers_nothing_stale() {
    for asked in 0..3 {
        let mut cluster = Cluster::settled(Setup { seed: asked as u64, ..Setup::default() });
        let key = cluster.key_on(0, "k");
        let client = cluster.connect(asked);
        cluster.check(client, &format!("SET {key} old"), "OK");
        cluster.nodes[0].isolated = true;
        cluster.run(Duration::from_millis(1_100));
        // Nobody serves it now: held back, and given up in time.
        let before = cluster.now();
        cluster.send(client, &format!("GET {key}"));
        cluster.send(client, &format!("SET {key} mine"));
        cluster.run(Duration::from_millis(500));
        assert_eq!(cluster.reply(client), None);
        assert_eq!(code(&cluster.wait(client)), "CLUSTERDOWN");
        let waited = cluster.now().since(before);
        let limit = cluster.setup.forward_timeout;
        assert!(waited >= limit && waited < limit + Duration::from_millis(300), "{waited:?}");
        assert_eq!(code(&cluster.wait(client)), "CLUSTERDOWN", "not executed, whoever was asked");
        // Failed over, it still answers nothing that is stale.
        cluster.fail_over(0);
        let other = cluster.connect(1);
        cluster.check(other, &format!("GET {key}"), "\"old\"");
        let written = cluster.call(other, &format!("SET {key} new"));
        assert_eq!(text(&written), "OK");
        let late = cluster.connect(0);
        cluster.send(late, &format!("GET {key}"));
        cluster.run(Duration::from_millis(100));
        assert_eq!(cluster.reply(late), None);
        // Once it hears of the map, the command goes to the new primary, in the end with a reply.
        cluster.nodes[0].isolated = false;
        cluster.take_back(0);
        assert_eq!(text(&cluster.wait(late)), "\"new\"");
    }
}

#[test]
fn rule_3_held_commands_go_on_when_the_lease_returns() {
    let mut cluster = Cluster::settled(Setup::default());
    let key = cluster.key_on(0, "k");
    let (near, far) = (cluster.connect(0), cluster.connect(1));
    cluster.nodes[0].isolated = true;
    cluster.run(Duration::from_millis(1_100));
    cluster.send(near, &format!("INCR {key}"));
    cluster.send(far, &format!("INCR {key}"));
    cluster.run(Duration::from_millis(300));
    assert_eq!((cluster.reply(near), cluster.reply(far)), (None, None));
    cluster.nodes[0].isolated = false;
    let mut replies = [text(&cluster.wait(near)), text(&cluster.wait(far))];
    replies.sort();
    assert_eq!(replies, ["(1)", "(2)"]);
}

#[test]
fn rule_4_a_pause_between_the_value_and_the_reply_is_noticed() {
    let mut cluster = Cluster::settled(Setup { workers: 1, ..Setup::default() });
    let key = cluster.key_on(0, "k");
    for (command, expected) in [(format!("GET {key}"), "TRYAGAIN"), (format!("SET {key} v"), "INDOUBT")] {
        cluster.until("a lease", |cluster| cluster.nodes[0].shared.lease().holds(cluster.now()));
        let worker = &mut cluster.nodes[0].workers[0];
        let client = worker.accept("127.0.0.1:9".into(), "127.0.0.1:1".into(), 0).expect("accepted");
        let words: Vec<&str> = command.split(' ').collect();
        protocol::encode_command(worker.input(client).expect("open"), &words);
        worker.begin_turn();
        // The process is stopped after it has looked at the clock, for longer than its lease.
        cluster.clock.advance(Duration::from_millis(1_500));
        let worker = &mut cluster.nodes[0].workers[0];
        worker.process(client);
        worker.end_turn();
        let output = worker.output(client).expect("open").clone();
        let (reply, _) = protocol::decode(&output).expect("valid").expect("whole");
        assert_eq!(code(&reply), expected, "{command}");
    }
}

#[test]
fn rule_4_a_pause_is_noticed_by_what_other_nodes_sent() {
    let mut cluster = Cluster::settled(Setup { workers: 1, ..Setup::default() });
    cluster.net.delay_max = Duration::from_nanos(1);
    let key = cluster.key_on(0, "k");
    let client = cluster.connect(1);
    for (command, expected) in [(format!("GET {key}"), "TRYAGAIN"), (format!("SET {key} v"), "INDOUBT")] {
        cluster.until("a lease", |cluster| cluster.nodes[0].shared.lease().holds(cluster.now()));
        (0..3).for_each(|_| cluster.send(client, &command));
        // Until node 1 has read and sent all of it.
        (0..20).for_each(|_| cluster.run_worker(1, 0));
        cluster.nodes[0].workers[0].begin_turn();
        cluster.clock.advance(Duration::from_millis(1_500));
        let now = cluster.now();
        for _ in 0..20 {
            cluster.net.arrive(&mut cluster.nodes[0].workers[0], (0, 0), now, &mut cluster.random);
        }
        cluster.nodes[0].workers[0].end_turn();
        for _ in 0..3 {
            assert_eq!(code(&cluster.wait(client)), expected, "{command}");
        }
    }
}
