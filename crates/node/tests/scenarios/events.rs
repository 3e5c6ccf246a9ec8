//! Keyspace events: a subscriber on any node hears of keys on every node.

use crate::harness::client::{ClientId, text};
use crate::harness::{Cluster, Setup};
use std::time::Duration;

/// Messages that a subscriber has got, as `event key` or `channel message`.
fn heard(cluster: &mut Cluster, client: ClientId) -> Vec<String> {
    cluster.run(Duration::from_millis(30));
    let mut messages = Vec::new();
    while let Some(value) = cluster.reply(client) {
        messages.push(text(&value).replace("__keyevent@0__:", ""));
    }
    messages
}

fn message(event: &str, key: &str) -> String {
    format!("[\"pmessage\" \"*\" \"{event}\" \"{key}\"]")
}

#[test]
fn a_subscriber_of_any_node_hears_of_every_key() {
    for seed in 0..4 {
        let mut cluster = Cluster::settled(Setup { seed, ..Setup::default() });
        let admin = cluster.connect(seed as usize % 3);
        cluster.check(admin, "CONFIG SET notify-keyspace-events EA", "OK");
        let listeners: Vec<ClientId> = (0..3).map(|node| cluster.connect(node)).collect();
        for client in &listeners {
            cluster.check(*client, "PSUBSCRIBE *", "[\"psubscribe\" \"*\" (1)]");
        }
        for owner in 0..3 {
            let key = cluster.key_on(owner, "key");
            let client = cluster.connect((owner + 1) % 3);
            let mut expected = Vec::new();
            for (command, events) in [
                (format!("SET {key} v EX 100"), &["set", "expire"][..]),
                (format!("GET {key}"), &[]),
                (format!("SET {key} v NX"), &[]),
                (format!("APPEND {key} more"), &["append"]),
                (format!("PERSIST {key}"), &["persist"]),
                (format!("DEL {key}"), &["del"]),
                (format!("DEL {key}"), &[]),
                (format!("INCR {key}"), &["incrby"]),
                (format!("GETDEL {key}"), &["del"]),
                (format!("RPUSH {key} a b"), &["rpush"]),
                (format!("LPOP {key}"), &["lpop"]),
                (format!("BRPOP {key} 0"), &["rpop", "del"]),
                (format!("HSET {key} f v"), &["hset"]),
                (format!("HDEL {key} f none"), &["hdel", "del"]),
                (format!("SADD {key} a"), &["sadd"]),
                (format!("SPOP {key}"), &["spop", "del"]),
                (format!("ZADD {key} 1 a"), &["zadd"]),
                (format!("ZADD {key} INCR 1 a"), &["zincr"]),
                (format!("ZPOPMIN {key}"), &["zpopmin", "del"]),
                (format!("SETBIT {key} 1 1"), &["setbit"]),
                (format!("PEXPIRE {key} 1"), &["expire"]),
            ] {
                cluster.call(client, &command);
                expected.extend(events.iter().map(|event| message(event, &key)));
            }
            cluster.run(Duration::from_millis(120));
            expected.push(message("expired", &key));
            for client in &listeners {
                assert_eq!(heard(&mut cluster, *client), expected, "seed {seed}");
            }
        }
    }
}

#[test]
fn two_keys_and_transactions_have_their_events() {
    let mut cluster = Cluster::settled(Setup::default());
    let (client, listener) = (cluster.connect(0), cluster.connect(1));
    cluster.check(client, "CONFIG SET notify-keyspace-events KEA", "OK");
    cluster.call(listener, "PSUBSCRIBE __keyevent@0__:*");
    let (a, b) = ("{t}a", "{t}b");
    for command in [
        format!("RPUSH {a} x"),
        format!("LMOVE {a} {b} LEFT RIGHT"),
        format!("RENAME {b} {a}"),
        format!("COPY {a} {b}"),
        "MULTI".to_owned(),
        format!("DEL {a}"),
        format!("SADD {a} 1 2"),
        "EXEC".to_owned(),
        format!("SUNIONSTORE {b} {a}"),
        format!("SDIFFSTORE {b} {a} {a}"),
    ] {
        cluster.call(client, &command);
    }
    let got: Vec<String> = heard(&mut cluster, listener)
        .iter()
        .map(|line| line.replace("[\"pmessage\" \"*\" ", "").replace(['"', ']'], ""))
        .collect();
    assert_eq!(
        got,
        [
            "rpush {t}a",
            "rpush {t}b",
            "lpop {t}a",
            "del {t}a",
            "rename_to {t}a",
            "rename_from {t}b",
            "copy_to {t}b",
            "del {t}a",
            "sadd {t}a",
            "sunionstore {t}b",
            "del {t}b"
        ]
    );
    // Off again: silence.
    cluster.check(client, "CONFIG SET notify-keyspace-events ", "OK");
    cluster.call(client, &format!("SADD {a} 3"));
    assert_eq!(heard(&mut cluster, listener), Vec::<String>::new());
}
