//! Scripts: at the primary of their keys, from any node, as one step; and what they may not do.

use crate::harness::client::{ClientId, text};
use crate::harness::{Cluster, Setup};

fn eval(cluster: &mut Cluster, client: ClientId, script: &str, rest: &[&str]) -> String {
    let count = rest.iter().position(|word| *word == "|").unwrap_or(rest.len());
    let number = count.to_string();
    let words: Vec<&[u8]> = ["EVAL", script, &number]
        .iter()
        .chain(rest.iter().filter(|word| **word != "|"))
        .map(|word| word.as_bytes())
        .collect();
    cluster.send_words(client, &words);
    text(&cluster.wait(client))
}

const COMPARE_AND_DELETE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

#[test]
fn a_script_runs_through_any_node() {
    for seed in 0..3 {
        let mut cluster = Cluster::settled(Setup { seed, ..Setup::default() });
        for owner in 0..3 {
            let key = cluster.key_on(owner, "lock");
            for node in 0..3 {
                let client = cluster.connect(node);
                cluster.check(client, &format!("SET {key} mine"), "OK");
                assert_eq!(eval(&mut cluster, client, COMPARE_AND_DELETE, &[&key, "|", "yours"]), "(0)");
                assert_eq!(eval(&mut cluster, client, COMPARE_AND_DELETE, &[&key, "|", "mine"]), "(1)");
                cluster.check(client, &format!("EXISTS {key}"), "(0)");
            }
        }
        let (a, b) = (cluster.key_on(0, "a"), cluster.key_on(1, "b"));
        let client = cluster.connect(2);
        assert!(eval(&mut cluster, client, "return 1", &[&a, &b]).starts_with("-CROSSSLOT"));
    }
}

#[test]
fn replicas_have_what_scripts_did() {
    let mut cluster = Cluster::settled(Setup::default());
    let key = cluster.key_on(0, "k");
    let client = cluster.connect(1);
    let script = "for i = 1, 5 do redis.call('rpush', KEYS[1], i) end; redis.call('lpop', KEYS[1]); \
                  return redis.call('lrange', KEYS[1], 0, -1)";
    assert_eq!(eval(&mut cluster, client, script, &[&key]), "[\"2\" \"3\" \"4\" \"5\"]");
    cluster.nodes[0].paused = true;
    cluster.fail_over(0);
    cluster.check(client, &format!("LRANGE {key} 0 -1"), "[\"2\" \"3\" \"4\" \"5\"]");
}

#[test]
fn digests_are_known_by_every_node_that_was_told() {
    let mut cluster = Cluster::settled(Setup::default());
    let clients: Vec<ClientId> = (0..3).map(|node| cluster.connect(node)).collect();
    let key = cluster.key_on(2, "k");
    cluster.send_words(clients[0], &[b"SCRIPT", b"LOAD", b"return redis.call('incr', KEYS[1])"]);
    let digest = text(&cluster.wait(clients[0])).replace('"', "");
    for (number, client) in clients.iter().enumerate() {
        cluster.check(*client, &format!("SCRIPT EXISTS {digest} none"), "[(1) (0)]");
        cluster.check(*client, &format!("EVALSHA {digest} 1 {key}"), &format!("({})", number + 1));
        cluster.check(
            *client,
            "EVALSHA 0000000000000000000000000000000000000000 0",
            "-NOSCRIPT No matching script. Please use EVAL.",
        );
    }
    cluster.check(clients[0], "EVALSHA none many", "-NOSCRIPT No matching script. Please use EVAL.");
    cluster.check(clients[1], "SCRIPT FLUSH", "OK");
    cluster.check(clients[0], &format!("SCRIPT EXISTS {digest}"), "[(0)]");
    cluster.check(clients[2], "SCRIPT KILL", "-NOTBUSY No scripts in execution right now.");
    // In a transaction, beside other commands.
    cluster.check(clients[0], "MULTI", "OK");
    cluster.check(clients[0], &format!("SET {key} 7"), "QUEUED");
    cluster.send_words(clients[0], &[b"EVAL", b"return redis.call('incr', KEYS[1])", b"1", key.as_bytes()]);
    assert_eq!(text(&cluster.wait(clients[0])), "QUEUED");
    cluster.check(clients[0], "EXEC", "[OK (8)]");
}

#[test]
fn keys_that_were_not_declared_work_where_they_are() {
    let mut cluster = Cluster::settled(Setup { nodes: 1, copies: 1, ..Setup::default() });
    let client = cluster.connect(0);
    let script = "redis.call('set', ARGV[1], 'v'); return redis.call('get', ARGV[1])";
    for number in 0..20 {
        assert_eq!(eval(&mut cluster, client, script, &["|", &format!("key{number}")]), "\"v\"");
        let other = format!("other{number}");
        assert_eq!(eval(&mut cluster, client, script, &["declared", "|", &other]), "\"v\"");
    }
    let mut cluster = Cluster::settled(Setup::default());
    let (here, there) = (cluster.key_on(0, "a"), cluster.key_on(1, "b"));
    let client = cluster.connect(0);
    let reply = eval(&mut cluster, client, script, &[&here, "|", &there]);
    assert!(reply.starts_with("-ERR Script attempted to access a non local key"), "{reply}");
}

#[test]
fn what_scripts_may_not_do() {
    let mut cluster = Cluster::settled(Setup { nodes: 1, copies: 1, ..Setup::default() });
    let client = cluster.connect(0);
    for (script, expected) in [
        ("return redis.call('blpop', 'k', 0)", "-ERR This Redis command is not allowed from script"),
        ("return redis.call('nosuch')", "-ERR Unknown Redis command called from script"),
        ("return redis.call('get')", "-ERR Wrong number of args calling Redis command from script"),
        ("return redis.call('subscribe', 'c')", "-ERR This Redis command is not allowed from script"),
        (
            "return nosuch",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'nosuch'",
        ),
        ("return", "nil"),
        ("return {1, 'two', {3}, 4.9, true, false}", "[(1) \"two\" [(3)] (4) (1) nil]"),
        ("return redis.call('ping')", "PONG"),
        ("return redis.pcall('get').err", "\"ERR Wrong number of args calling Redis command from script\""),
        ("redis.call('select', 3); redis.call('set', 'k', 1); return redis.call('get', 'k')", "\"1\""),
        ("return cjson.encode({a = {1, 2}})", "\"{\"a\":[1,2]}\""),
    ] {
        let reply = eval(&mut cluster, client, script, &[]);
        assert!(reply.starts_with(expected), "{script}: {reply}");
    }
    cluster.check(client, "EXISTS k", "(0)");
    cluster.send_words(client, &[b"EVAL_RO", b"return redis.call('set', 'k', 1)", b"0"]);
    let reply = text(&cluster.wait(client));
    assert!(reply.starts_with("-ERR Write commands are not allowed from read-only scripts."), "{reply}");
    for (words, error) in [
        ("EVAL x", "-ERR wrong number of arguments for 'eval' command"),
        ("EVAL return -1", "-ERR Number of keys can't be negative"),
        ("EVAL return 2 k", "-ERR Number of keys can't be greater than number of args"),
        ("EVAL return x", "-ERR value is not an integer or out of range"),
        ("SCRIPT DEBUG yes", "-ERR there is no debugger of scripts here"),
    ] {
        cluster.check(client, words, error);
    }
}
