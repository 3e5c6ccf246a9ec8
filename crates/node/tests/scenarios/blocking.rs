//! Commands that wait for data: on any node, for keys of any nodes, in the order in which clients came, each element once.

use crate::harness::client::{ClientId, text};
use crate::harness::{Cluster, Setup, id};
use cluster::map::PartitionOp;
use std::time::Duration;

fn settled(seed: u64) -> Cluster {
    Cluster::settled(Setup { seed, ..Setup::default() })
}

/// Time for everything that is under way to arrive.
fn rest(cluster: &mut Cluster) {
    cluster.run(Duration::from_millis(20));
}

fn check_waiting(cluster: &mut Cluster, clients: &[ClientId]) {
    rest(cluster);
    for client in clients {
        let reply = cluster.reply(*client);
        assert_eq!(reply, None, "seed {}", cluster.setup.seed);
    }
}

#[test]
fn a_client_of_any_node_gets_what_is_pushed_at_any_node() {
    for seed in 0..4 {
        let mut cluster = settled(seed);
        for owner in 0..3 {
            let key = cluster.key_on(owner, "list");
            for asked in 0..3 {
                let (waiting, pushing) =
                    (cluster.connect(asked), cluster.connect((asked + seed as usize) % 3));
                cluster.send(waiting, &format!("BLPOP none{{{key}}} {key} 0"));
                // Nothing behind it is run before.
                cluster.send(waiting, &format!("SET mark:{key} {asked}"));
                check_waiting(&mut cluster, &[waiting]);
                cluster.check(pushing, &format!("RPUSH {key} one two"), "(2)");
                assert_eq!(text(&cluster.wait(waiting)), format!("[\"{key}\" \"one\"]"), "seed {seed}");
                assert_eq!(text(&cluster.wait(waiting)), "OK");
                cluster.check(pushing, &format!("LPOP {key}"), "\"two\"");
                cluster.check(pushing, &format!("BRPOP {key} 0.01"), "nil");
            }
        }
    }
}

#[test]
fn arguments_that_are_no_keys_are_not_looked_for() {
    let mut cluster = settled(0);
    for node in 0..3 {
        let client = cluster.connect(node);
        for owner in 0..3 {
            let key = cluster.key_on(owner, "key");
            cluster.check(client, &format!("BZPOPMIN {key} 0.011"), "nil");
            cluster.check(client, &format!("BZMPOP 0.011 1 {key} MIN COUNT 7"), "nil");
            cluster.check(client, &format!("BLMPOP 0.011 1 {key} LEFT COUNT 7"), "nil");
        }
        cluster.check(client, "BLMPOP -1 0 none LEFT", "-ERR numkeys should be greater than 0");
        cluster.check(client, "MULTI", "OK");
        cluster.check(client, "BLPOP none -1", "QUEUED");
        cluster.check(client, "EXEC", "[-ERR timeout is negative]");
    }
}

#[test]
fn keys_of_different_primaries_are_waited_for_together() {
    for seed in 0..6 {
        let mut cluster = settled(seed);
        let keys: Vec<String> = (0..3).map(|owner| cluster.key_on(owner, "list")).collect();
        let (waiting, pushing) = (cluster.connect(0), cluster.connect(1));
        for turn in 0..6 {
            cluster.send(waiting, &format!("BLPOP {} 0", keys.join(" ")));
            check_waiting(&mut cluster, &[waiting]);
            let key = &keys[(turn + seed as usize) % 3];
            cluster.check(pushing, &format!("RPUSH {key} {turn}"), "(1)");
            assert_eq!(text(&cluster.wait(waiting)), format!("[\"{key}\" \"{turn}\"]"));
        }
        // The first of the keys that has something counts, wherever it is.
        cluster.check(pushing, &format!("RPUSH {} x", keys[2]), "(1)");
        cluster.check(pushing, &format!("RPUSH {} y", keys[1]), "(1)");
        cluster.check(
            waiting,
            &format!("BLMPOP 0 3 {} LEFT COUNT 9", keys.join(" ")),
            &format!("[\"{}\" [\"y\"]]", keys[1]),
        );
        cluster.check(waiting, &format!("BLPOP {} 0", keys.join(" ")), &format!("[\"{}\" \"x\"]", keys[2]));
        cluster.check(waiting, &format!("BLPOP {} 0.01", keys.join(" ")), "nil");
    }
}

#[test]
fn who_came_first_is_served_first_and_each_element_once() {
    for seed in 0..6 {
        let mut cluster = settled(seed);
        let key = cluster.key_on(seed as usize % 3, "list");
        let waiting: Vec<ClientId> = (0..9)
            .map(|number| {
                let client = cluster.connect(number % 3);
                cluster.send(client, &format!("BLPOP {key} 0"));
                rest(&mut cluster);
                client
            })
            .collect();
        let pushing = cluster.connect(1);
        for number in 0..5 {
            cluster.check(pushing, &format!("RPUSH {key} {number}"), "(1)");
            let reply = cluster.wait(waiting[number]);
            assert_eq!(text(&reply), format!("[\"{key}\" \"{number}\"]"), "seed {seed}");
            check_waiting(&mut cluster, &waiting[number + 1..]);
        }
        // Four at once for the four that are left: each gets one.
        cluster.check(pushing, &format!("RPUSH {key} a b c d"), "(4)");
        let mut got: Vec<String> = waiting[5..].iter().map(|client| text(&cluster.wait(*client))).collect();
        got.sort();
        let expected = ["a", "b", "c", "d"].map(|element| format!("[\"{key}\" \"{element}\"]"));
        assert_eq!(got, expected, "seed {seed}");
        cluster.check(pushing, &format!("EXISTS {key}"), "(0)");
    }
}

#[test]
fn waiting_ends_by_time_by_unblock_and_with_the_connection() {
    let mut cluster = settled(3);
    for owner in 0..3 {
        let key = cluster.key_on(owner, "list");
        let (waiting, other) = (cluster.connect(0), cluster.connect(0));
        let began = cluster.now();
        cluster.check(waiting, &format!("BLPOP {key} 0.2"), "nil");
        let waited = cluster.now().since(began);
        assert!((200..400).contains(&waited.as_millis()), "{waited:?}");
        let id = text(&cluster.call(waiting, "CLIENT ID"));
        let id = id.trim_matches(['(', ')']);
        cluster.check(other, &format!("CLIENT UNBLOCK {id}"), "(0)");
        cluster.send(waiting, &format!("BLMOVE {key} x{{{key}}} LEFT LEFT 0"));
        check_waiting(&mut cluster, &[waiting]);
        cluster.check(other, &format!("CLIENT UNBLOCK {id} TIMEOUT"), "(1)");
        assert_eq!(text(&cluster.wait(waiting)), "nil");
        cluster.send(waiting, &format!("BLPOP {key} 0"));
        check_waiting(&mut cluster, &[waiting]);
        cluster.check(other, &format!("CLIENT UNBLOCK {id} ERROR"), "(1)");
        assert_eq!(text(&cluster.wait(waiting)), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
        // One that is gone takes nothing.
        let gone = cluster.connect(2);
        cluster.send(gone, &format!("BLPOP {key} 0"));
        rest(&mut cluster);
        cluster.close(gone);
        cluster.send(waiting, &format!("BLPOP {key} 0"));
        rest(&mut cluster);
        cluster.check(other, &format!("RPUSH {key} element"), "(1)");
        assert_eq!(text(&cluster.wait(waiting)), format!("[\"{key}\" \"element\"]"));
    }
}

#[test]
fn errors_and_transactions_do_not_wait() {
    let mut cluster = settled(1);
    let key = cluster.key_on(2, "list");
    let client = cluster.connect(0);
    cluster.check(client, &format!("BLPOP {key} never"), "-ERR timeout is not a float or out of range");
    cluster.check(client, "MULTI", "OK");
    cluster.check(client, &format!("BLPOP {key} 0"), "QUEUED");
    cluster.check(client, &format!("RPUSH {key} a"), "QUEUED");
    cluster.check(client, &format!("BLPOP {key} 0"), "QUEUED");
    cluster.check(client, "EXEC", &format!("[nil (1) [\"{key}\" \"a\"]]"));
    cluster.check(client, &format!("SET {key} string"), "OK");
    let reply = text(&cluster.call(client, &format!("BLPOP {key} 0")));
    assert!(reply.starts_with("-WRONGTYPE"), "{reply}");
    // A key that becomes another type keeps its clients waiting.
    cluster.check(client, &format!("DEL {key}"), "(1)");
    let waiting = cluster.connect(1);
    cluster.send(waiting, &format!("BLPOP {key} 0"));
    rest(&mut cluster);
    cluster.check(client, &format!("SET {key} string"), "OK");
    check_waiting(&mut cluster, &[waiting]);
    cluster.check(client, &format!("DEL {key}"), "(1)");
    cluster.check(client, &format!("RPUSH x{{{key}}} a"), "(1)");
    cluster.check(client, &format!("RENAME x{{{key}}} {key}"), "OK");
    assert_eq!(text(&cluster.wait(waiting)), format!("[\"{key}\" \"a\"]"));
}

#[test]
fn waiting_survives_fail_over_and_hand_over() {
    for seed in 0..6 {
        let mut cluster = settled(seed);
        let key = cluster.key_on(0, "list");
        let waiting: Vec<ClientId> = (1..3).map(|node| cluster.connect(node)).collect();
        for client in &waiting {
            cluster.send(*client, &format!("BLPOP {key} 0"));
            rest(&mut cluster);
        }
        let pushing = cluster.connect(1);
        if seed % 2 == 0 {
            cluster.nodes[0].paused = true;
            cluster.fail_over(0);
        } else {
            let to = cluster.replicas_of(&key)[0];
            cluster.change(&key, PartitionOp::HandOver { to: id(to) });
        }
        check_waiting(&mut cluster, &waiting);
        cluster.check(pushing, &format!("RPUSH {key} one"), "(1)");
        assert_eq!(text(&cluster.wait(waiting[0])), format!("[\"{key}\" \"one\"]"), "seed {seed}");
        check_waiting(&mut cluster, &waiting[1..]);
        cluster.check(pushing, &format!("RPUSH {key} two"), "(1)");
        assert_eq!(text(&cluster.wait(waiting[1])), format!("[\"{key}\" \"two\"]"), "seed {seed}");
    }
}

/// Many clients, many pushes, links that break: in the end every element was given to one client, or is still there, or was lost with
/// a reply that said so.
#[test]
fn nothing_is_given_twice_and_nobody_is_forgotten() {
    for seed in 0..16 {
        let mut cluster = settled(seed);
        let keys: Vec<String> = (0..3).map(|owner| cluster.key_on(owner, "list")).collect();
        let clients: Vec<ClientId> = (0..12).map(|number| cluster.connect(number % 3)).collect();
        let pushing = cluster.connect(0);
        for (number, client) in clients.iter().enumerate() {
            let second = if number % 2 == 0 { &keys[(number + 1) % 3] } else { &keys[number % 3] };
            cluster.send(*client, &format!("BLPOP {} {second} 0", keys[number % 3]));
        }
        rest(&mut cluster);
        let (mut given, mut doubtful, mut pushed, mut next) = (Vec::new(), 0, 0, 0);
        for _ in 0..60 {
            let key = keys[cluster.random.below(3) as usize].clone();
            let reply = text(&cluster.call(pushing, &format!("RPUSH {key} e{next}")));
            pushed += usize::from(!reply.starts_with('-'));
            next += 1;
            if cluster.random.chance(0.1) {
                let (now, mut random) = (cluster.now(), cluster.random.clone());
                cluster.net.break_links(0, 1 + random.below(2) as usize, now, &mut random);
            }
            rest(&mut cluster);
            for client in &clients {
                let Some(reply) = cluster.reply(*client) else { continue };
                match text(&reply) {
                    reply if reply.starts_with('[') => given.push(reply),
                    reply => {
                        assert!(reply.starts_with("-INDOUBT"), "{reply} (seed {seed})");
                        doubtful += 1;
                    }
                }
                let first = cluster.random.below(3) as usize;
                cluster.send(*client, &format!("BLPOP {} {} 0", keys[first], keys[(first + 1) % 3]));
            }
        }
        cluster.run(Duration::from_millis(500));
        for client in &clients {
            given.extend(cluster.reply(*client).map(|reply| text(&reply)));
        }
        let left: usize = keys
            .iter()
            .map(|key| {
                let length = text(&cluster.call(pushing, &format!("LLEN {key}")));
                length.trim_matches(['(', ')']).parse::<usize>().expect("a length")
            })
            .sum();
        let count = given.len();
        given.sort();
        given.dedup();
        assert_eq!(given.len(), count, "seed {seed}: an element was given twice");
        assert!(
            count + left + doubtful >= pushed && left == 0,
            "seed {seed}: {count} given, {left} left, {doubtful} in doubt of {pushed} pushed"
        );
    }
}

#[test]
fn readers_of_streams_wait_for_what_comes_after_them() {
    for seed in 0..3 {
        let mut cluster = settled(seed);
        let keys: Vec<String> = (0..3).map(|owner| cluster.key_on(owner, "stream")).collect();
        let pushing = cluster.connect(1);
        cluster.check(pushing, &format!("XADD {} 1-1 old entry", keys[0]), "\"1-1\"");
        for asked in 0..3 {
            let waiting = cluster.connect(asked);
            // The present is found out once, for streams of several nodes.
            cluster.send(waiting, &format!("XREAD BLOCK 0 STREAMS {} {} $ $", keys[0], keys[1]));
            check_waiting(&mut cluster, &[waiting]);
            let (key, id) = (&keys[asked % 2], format!("{}-1", asked + 2));
            cluster.check(pushing, &format!("XADD {key} {id} f v"), &format!("\"{id}\""));
            let expected = format!("[[\"{key}\" [[\"{id}\" [\"f\" \"v\"]]]]]");
            assert_eq!(text(&cluster.wait(waiting)), expected, "seed {seed}");
            cluster.check(waiting, &format!("XREAD BLOCK 10 STREAMS {} $", keys[2]), "nil");
        }
        // The present is found out behind an entry that is not confirmed yet.
        for (asked, key) in [(0, 0), (0, 1), (1, 1)].map(|(asked, key)| (asked, keys[key].clone())) {
            let client = cluster.connect(asked);
            cluster.send(client, &format!("XADD {key} 9-* f v"));
            cluster.send(client, &format!("XREAD BLOCK 10 STREAMS {key} $"));
            cluster.send(client, &format!("XLEN {key}"));
            assert!(text(&cluster.wait(client)).starts_with("\"9-"), "seed {seed}");
            assert_eq!(text(&cluster.wait(client)), "nil", "seed {seed}");
            assert!(text(&cluster.wait(client)).starts_with('('), "seed {seed}");
            cluster.check(
                client,
                &format!("XREAD BLOCK 10 STREAMS {key} {} 0-0 x", keys[2]),
                "-ERR Invalid stream ID specified as stream command argument",
            );
        }
        // Of a group, each entry goes to one of those who wait.
        cluster.check(pushing, &format!("XGROUP CREATE {} group $ MKSTREAM", keys[2]), "OK");
        let waiting: Vec<ClientId> = (0..3).map(|node| cluster.connect(node)).collect();
        for (number, client) in waiting.iter().enumerate() {
            cluster.send(*client, &format!("XREADGROUP GROUP group c{number} BLOCK 0 STREAMS {} >", keys[2]));
            rest(&mut cluster);
        }
        for number in 1..4 {
            cluster.call(pushing, &format!("XADD {} {number}-1 f v", keys[2]));
            rest(&mut cluster);
        }
        let mut got: Vec<String> = waiting.iter().map(|client| text(&cluster.wait(*client))).collect();
        got.sort();
        let expected = [1, 2, 3].map(|n| format!("[[\"{}\" [[\"{n}-1\" [\"f\" \"v\"]]]]]", keys[2]));
        assert_eq!(got, expected, "seed {seed}");
    }
}

/// An attempt that finds nothing may have seen a key that was removed a moment ago: what it waits for then is data.
#[test]
fn an_unconfirmed_removal_is_no_answer() {
    for seed in 0..6 {
        let mut cluster = settled(seed);
        let owner = seed as usize % 3;
        let key = cluster.key_on(owner, "list");
        let (waiting, pushing) = (cluster.connect(owner), cluster.connect((owner + 1) % 3));
        cluster.check(pushing, &format!("RPUSH {key} old"), "(1)");
        for turn in 0..4 {
            cluster.send(waiting, &format!("LPOP {key}"));
            cluster.send(waiting, &format!("BLPOP {key} 0"));
            let popped = text(&cluster.wait(waiting));
            assert!(popped == "\"old\"" || turn > 0, "seed {seed}: {popped}");
            check_waiting(&mut cluster, &[waiting]);
            cluster.check(pushing, &format!("RPUSH {key} {turn} more"), "(2)");
            assert_eq!(text(&cluster.wait(waiting)), format!("[\"{key}\" \"{turn}\"]"), "seed {seed}");
        }
    }
}

#[test]
fn the_end_of_a_group_ends_the_waiting_for_it() {
    for seed in 0..3 {
        let mut cluster = settled(seed);
        let key = cluster.key_on(seed as usize % 3, "stream");
        let (waiting, adding) = (cluster.connect(0), cluster.connect(1));
        cluster.check(adding, &format!("XGROUP CREATE {key} g $ MKSTREAM"), "OK");
        cluster.send(waiting, &format!("XREADGROUP GROUP g c BLOCK 0 STREAMS {key} >"));
        check_waiting(&mut cluster, &[waiting]);
        cluster.check(adding, &format!("XGROUP DESTROY {key} g"), "(1)");
        assert!(text(&cluster.wait(waiting)).contains("NOGROUP"), "seed {seed}");
    }
}
