//! Rule 12: any node accepts any command and answers as one server would.

use crate::harness::client::text;
use crate::harness::{Cluster, Setup};
use std::collections::BTreeSet;
use std::time::Duration;
use store::eviction::Policy;

/// Runs a script on one node alone and on every node of a cluster, and compares every reply.
fn same_everywhere(script: &[&str]) {
    let mut alone = Cluster::settled(Setup { nodes: 1, copies: 1, workers: 1, ..Setup::default() });
    let client = alone.connect(0);
    let expected: Vec<String> = script.iter().map(|command| text(&alone.call(client, command))).collect();
    for seed in 0..3 {
        let mut cluster =
            Cluster::settled(Setup { seed, workers: 1 + (seed % 2) as usize, ..Setup::default() });
        for node in 0..3 {
            let client = cluster.connect(node);
            for (command, expected) in script.iter().zip(&expected) {
                cluster.check(client, command, expected);
            }
            cluster.check(client, "FLUSHALL", "OK");
        }
    }
}

#[test]
fn rule_12_commands_on_keys_answer_alike() {
    same_everywhere(&[
        "SET a 1",
        "GET a",
        "GET missing",
        "INCR a",
        "INCR b",
        "APPEND text hello",
        "APPEND text world",
        "GET text",
        "INCR text",
        "MSET k1 v1 k2 v2 k3 v3 k4 v4 k5 v5",
        "MGET k1 k2 missing k3 k4 k5 k1",
        "EXISTS k1 k2 k3 k4 k5 k1 missing",
        "DEL k1 k2 missing",
        "MGET k1 k2 k3",
        "SET k1 x NX",
        "SET k1 y NX",
        "STRLEN text",
        "EXPIRE k3 100",
        "PERSIST k3",
        "DBSIZE",
        "SELECT 1",
        "DBSIZE",
        "GET a",
        "SET a other",
        "SELECT 0",
        "GET a",
        "NOSUCH command",
        "GET",
        "SCAN nonsense",
        "SCAN 18446744073709551615",
    ]);
}

#[test]
fn rule_12_filters_answer_alike() {
    same_everywhere(&[
        "CF.ADD cuckoo apple",
        "CF.ADDNX cuckoo apple",
        "CF.INSERT cuckoo ITEMS pear plum pear",
        "CF.MEXISTS cuckoo apple pear fig",
        "CF.COUNT cuckoo pear",
        "CF.DEL cuckoo pear",
        "CF.INFO cuckoo",
        "CF.SCANDUMP cuckoo 0",
        "BF.RESERVE bloom 0.01 3 EXPANSION 2",
        "BF.MADD bloom a b c d e f a",
        "BF.MEXISTS bloom a g",
        "BF.INFO bloom",
        "BF.SCANDUMP bloom 1",
        "BF.ADD cuckoo a",
        "GET bloom",
        "SET bloom string",
        "BF.ADD bloom a",
        "MULTI",
        "CF.ADD {t}f apple",
        "BF.ADD {t}g apple",
        "CF.EXISTS {t}f apple",
        "EXEC",
        "WATCH {t}f",
        "CF.ADDNX {t}f apple",
        "MULTI",
        "PING",
        "EXEC",
        "WATCH {t}f",
        "CF.ADD {t}f apple",
        "MULTI",
        "PING",
        "EXEC",
        "TYPE {t}f",
        "DUMP {t}f",
        "RENAME {t}f {t}h",
        "CF.COUNT {t}h apple",
        "DBSIZE",
    ]);
}

#[test]
fn rule_12_transactions_answer_alike() {
    same_everywhere(&[
        "MULTI",
        "SET {t}a 1",
        "INCR {t}a",
        "GET {t}b",
        "PING",
        "EXEC",
        "MULTI",
        "INCR {t}a",
        "DISCARD",
        "GET {t}a",
        "MULTI",
        "NOSUCH x",
        "EXEC",
        "EXEC",
        "WATCH {t}a",
        "MULTI",
        "INCR {t}a",
        "EXEC",
        "WATCH {t}a",
        "SET {t}a 7",
        "MULTI",
        "INCR {t}a",
        "EXEC",
        "GET {t}a",
        "WATCH {t}a",
        "SET {t}a 8",
        "UNWATCH",
        "MULTI",
        "INCR {t}a",
        "EXEC",
        "MULTI",
        "EXEC",
    ]);
}

#[test]
fn rule_12_an_exec_with_arguments_ends_the_transaction() {
    let mut cluster = Cluster::settled(Setup::default());
    let client = cluster.connect(0);
    cluster.check(client, "MULTI", "OK");
    cluster.check(client, "SET a 1", "QUEUED");
    let refused = "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    cluster.check(client, "EXEC now", refused);
    cluster.check(client, "GET a", "nil");
    cluster.check(client, "EXEC", "-ERR EXEC without MULTI");
}

#[test]
fn rule_12_a_transaction_of_commands_without_keys_is_answered() {
    let mut cluster = Cluster::settled(Setup::default());
    for node in 0..3 {
        let client = cluster.connect(node);
        cluster.check(client, "MULTI", "OK");
        cluster.check(client, "SINTERCARD 0 a", "QUEUED");
        cluster.check(client, "PING", "QUEUED");
        cluster.check(client, "EXEC", "[-ERR numkeys should be greater than 0 PONG]");
    }
}

#[test]
fn rule_12_a_key_that_was_over_when_it_was_watched_may_be_taken_away() {
    let mut cluster = Cluster::settled(Setup::default());
    let client = cluster.connect(0);
    for (pause_ms, expected) in [(0, "nil"), (5, "[PONG]")] {
        cluster.check(client, "SET k v PX 3", "OK");
        cluster.run(Duration::from_millis(pause_ms));
        cluster.check(client, "WATCH k", "OK");
        cluster.run(Duration::from_millis(200));
        cluster.check(client, "MULTI", "OK");
        cluster.check(client, "PING", "QUEUED");
        cluster.check(client, "EXEC", expected);
    }
}

#[test]
fn rule_12_what_follows_a_transaction_finds_the_database_it_chose() {
    let mut cluster = Cluster::settled(Setup::default());
    for node in 0..3 {
        let client = cluster.connect(node);
        let script = ["MULTI", "SELECT 2", "EXEC", "SET k two", "SELECT 1", "SET k one", "SELECT 2", "GET k"];
        script.iter().for_each(|command| cluster.send(client, command));
        let expected = ["OK", "QUEUED", "[OK]", "OK", "OK", "OK", "OK", "\"two\""];
        let mut replies = Vec::new();
        cluster.until("all replies", |cluster| {
            while let Some(reply) = cluster.reply(client) {
                replies.push(text(&reply));
            }
            replies.len() == expected.len()
        });
        assert_eq!(replies, expected);
    }
}

#[test]
fn rule_12_what_follows_a_flush_in_a_transaction_stays() {
    let mut cluster = Cluster::settled(Setup::default());
    for node in 0..3 {
        let client = cluster.connect(node);
        let script = ["MULTI", "FLUSHDB", "EXEC", "SET a 1", "SET b 2", "SET c 3", "DBSIZE"];
        script.iter().for_each(|command| cluster.send(client, command));
        for expected in ["OK", "QUEUED", "[OK]", "OK", "OK", "OK", "(3)"] {
            assert_eq!(text(&cluster.wait(client)), expected);
        }
    }
}

#[test]
fn rule_12_whole_keyspace_from_any_node() {
    let mut cluster = Cluster::settled(Setup::default());
    let clients: Vec<_> = (0..3).map(|node| cluster.connect(node)).collect();
    let keys: BTreeSet<String> = (0..200).map(|number| format!("key:{number}")).collect();
    for (number, key) in keys.iter().enumerate() {
        cluster.check(clients[number % 3], &format!("SET {key} v"), "OK");
    }
    for &client in &clients {
        cluster.check(client, "DBSIZE", "(200)");
        let listed = cluster.call(client, "KEYS *");
        let protocol::Value::Array(items) = listed else { panic!("an array") };
        let listed: BTreeSet<String> = items
            .iter()
            .map(|item| String::from_utf8_lossy(item.as_bytes().expect("a key")).into())
            .collect();
        assert_eq!(listed, keys);
        let random = text(&cluster.call(client, "RANDOMKEY"));
        assert!(keys.contains(random.trim_matches('"')), "{random}");
    }
    // A walk that goes on at another node each time.
    let (mut cursor, mut seen, mut turn) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let reply = cluster.call(clients[turn % 3], &format!("SCAN {cursor} COUNT 7"));
        let protocol::Value::Array(parts) = reply else { panic!("an array: {reply:?}") };
        let [next, protocol::Value::Array(items)] = &parts[..] else { panic!("two parts") };
        seen.extend(items.iter().map(|item| text(item).trim_matches('"').to_owned()));
        cursor = text(next).trim_matches('"').to_owned();
        turn += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen, keys);
    cluster.check(clients[1], "FLUSHALL", "OK");
    cluster.check(clients[2], "DBSIZE", "(0)");
    cluster.check(clients[0], "RANDOMKEY", "nil");
}

#[test]
fn rule_12_publish_reaches_subscribers_on_every_node() {
    let mut cluster = Cluster::settled(Setup::default());
    let subscribers: Vec<_> = (0..3).map(|node| cluster.connect(node)).collect();
    for &client in &subscribers {
        cluster.check(client, "SUBSCRIBE news", "[\"subscribe\" \"news\" (1)]");
    }
    let pattern = cluster.connect(1);
    cluster.check(pattern, "PSUBSCRIBE n*", "[\"psubscribe\" \"n*\" (1)]");
    let publisher = cluster.connect(2);
    for number in 0..10 {
        cluster.check(publisher, &format!("PUBLISH news m{number}"), "(4)");
    }
    for number in 0..10 {
        for &client in &subscribers {
            assert_eq!(text(&cluster.wait(client)), format!("[\"message\" \"news\" \"m{number}\"]"));
        }
        assert_eq!(text(&cluster.wait(pattern)), format!("[\"pmessage\" \"n*\" \"news\" \"m{number}\"]"));
    }
    cluster.check(publisher, "PUBLISH other x", "(0)");
}

#[test]
fn rule_12_transaction_over_two_primaries_is_refused() {
    let mut cluster = Cluster::settled(Setup::default());
    let (first, second) = (cluster.key_on(0, "x"), cluster.key_on(1, "y"));
    for node in 0..3 {
        let client = cluster.connect(node);
        cluster.check(client, "MULTI", "OK");
        cluster.check(client, &format!("SET {first} 1"), "QUEUED");
        cluster.check(client, &format!("SET {second} 1"), "QUEUED");
        cluster.check(client, "EXEC", "-CROSSSLOT Keys in request don't hash to the same slot");
        cluster.check(client, &format!("EXISTS {first} {second}"), "(0)");
    }
}

#[test]
fn rule_12_watch_and_exec_over_a_forwarded_primary() {
    let mut cluster = Cluster::settled(Setup::default());
    let key = cluster.key_on(0, "w");
    let (watcher, writer) = (cluster.connect(1), cluster.connect(2));
    cluster.check(watcher, &format!("WATCH {key}"), "OK");
    cluster.check(writer, &format!("SET {key} theirs"), "OK");
    cluster.check(watcher, "MULTI", "OK");
    cluster.check(watcher, &format!("SET {key} mine"), "QUEUED");
    cluster.check(watcher, "EXEC", "nil");
    cluster.check(watcher, &format!("GET {key}"), "\"theirs\"");
    // All in one pipeline: the token has to be there before EXEC goes out.
    for command in [&format!("WATCH {key}"), "MULTI", &format!("APPEND {key} !"), "EXEC"] {
        cluster.send(watcher, command);
    }
    let replies: Vec<String> = (0..4).map(|_| text(&cluster.wait(watcher))).collect();
    assert_eq!(replies, ["OK", "OK", "QUEUED", "[(7)]"]);
    cluster.check(writer, &format!("GET {key}"), "\"theirs!\"");
}

#[test]
fn a_primary_keeps_to_its_own_maxmemory_whoever_was_asked() {
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    let mut cluster =
        Cluster::settled(Setup { limited: Some((1, 1, Policy::NoEviction)), ..Setup::default() });
    let client = cluster.connect(0);
    let first = cluster.key_on(1, "first");
    cluster.check(client, &format!("SET {first} x"), "OK");
    for command in [format!("SET {first} y"), format!("APPEND {first} y"), format!("SET {first} y EX 10")] {
        let reply = text(&cluster.call(client, &command));
        assert!(reply.contains(oom), "{command}: {reply}");
    }
    cluster.check(client, &format!("GET {first}"), "\"x\"");
    cluster.check(client, &format!("DEL {first}"), "(1)");
}

#[test]
fn a_primary_makes_room_for_what_others_were_asked_for() {
    let policy = Policy::parse("allkeys-lru").expect("one of Redis's");
    let setup = Setup { copies: 1, limited: Some((1, 64 * 1024, policy)), ..Setup::default() };
    let mut cluster = Cluster::settled(setup);
    let client = cluster.connect(0);
    let value = "v".repeat(1_000);
    for number in 0..300 {
        let key = cluster.key_on(1, &format!("key{number}:"));
        cluster.check(client, &format!("SET {key} {value}"), "OK");
    }
    let held = cluster.nodes[1].shared.keys_held();
    assert!((20..70).contains(&held), "{held}");
}
