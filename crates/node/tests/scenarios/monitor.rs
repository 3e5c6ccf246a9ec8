//! MONITOR: a client sees what other clients of its node send, whichever worker serves them.

use crate::harness::client::{ClientId, text};
use crate::harness::{Cluster, Setup};
use std::time::Duration;

/// What a listener has seen, without the times.
fn seen(cluster: &mut Cluster, client: ClientId) -> Vec<String> {
    cluster.run(Duration::from_millis(30));
    let mut lines = Vec::new();
    while let Some(value) = cluster.reply(client) {
        let line = text(&value);
        lines.push(line.split_once('[').map_or(line.clone(), |(_, rest)| format!("[{rest}")));
    }
    lines
}

#[test]
fn commands_of_one_node_are_shown() {
    for workers in [1, 2] {
        let mut cluster = Cluster::settled(Setup { workers, ..Setup::default() });
        let keys = [0, 1, 2].map(|node| cluster.key_on(node, "key"));
        let (listener, client, other) = (cluster.connect(0), cluster.connect(0), cluster.connect(1));
        cluster.check(listener, "MONITOR", "OK");
        for key in &keys {
            cluster.check(client, &format!("SET {key} v"), "OK");
            cluster.check(other, &format!("GET {key}"), "\"v\"");
        }
        cluster.check(client, "SELECT 3", "OK");
        cluster.check(client, "CONFIG GET nosuch", "[]");
        cluster.check(client, "GET", "-ERR wrong number of arguments for 'get' command");
        cluster.check(client, "MULTI", "OK");
        cluster.check(client, "INCR n", "QUEUED");
        cluster.check(client, "MONITOR", "QUEUED");
        cluster.check(client, "EXEC", "[(1) -ERR MONITOR isn't allowed for DENY BLOCKING client]");
        let lines: Vec<String> = seen(&mut cluster, listener)
            .into_iter()
            .map(|line| {
                let (from, words) = line.split_once("] ").expect("from whom, and what");
                format!("{} {words}", &from[1..2])
            })
            .collect();
        let mut expected: Vec<String> = keys.iter().map(|key| format!("0 \"SET\" \"{key}\" \"v\"")).collect();
        expected.extend(
            ["3 \"SELECT\" \"3\"", "3 \"MULTI\"", "3 \"INCR\" \"n\"", "3 \"EXEC\""].map(String::from),
        );
        assert_eq!(lines, expected);
        let refused = "-ERR Replica can't interact with the keyspace";
        cluster.check(listener, &format!("GET {}", keys[0]), refused);
        cluster.check(listener, "RESET", "RESET");
        cluster.check(client, "PING", "PONG");
        assert!(seen(&mut cluster, listener).is_empty(), "it listens no longer");
        cluster.check(listener, &format!("GET {}", keys[0]), "\"v\"");
    }
}
