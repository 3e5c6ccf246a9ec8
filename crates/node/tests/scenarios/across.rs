//! Commands whose keys have different primaries answer as if there were one server.

use crate::harness::client::{ClientId, text};
use crate::harness::{Cluster, Setup};

/// Keys of three primaries, by what comes before them.
fn keys(cluster: &Cluster) -> [String; 3] {
    [0, 1, 2].map(|node| cluster.key_on(node, "key"))
}

fn check_all(cluster: &mut Cluster, client: ClientId, keys: &[String; 3], lines: &[(&str, &str)]) {
    let with_keys = |line: &str| {
        let [a, b, c] = keys;
        line.replace("$a", a).replace("$b", b).replace("$c", c)
    };
    for (command, expected) in lines {
        cluster.check(client, &with_keys(command), &with_keys(expected));
    }
}

#[test]
fn what_follows_in_a_pipeline_finds_the_change() {
    for seed in 0..4 {
        let mut cluster = Cluster::settled(Setup { seed, ..Setup::default() });
        let [a, b, c] = keys(&cluster);
        for node in 0..3 {
            let client = cluster.connect(node);
            let script = [
                (format!("SADD {a} 1 2"), "(2)"),
                (format!("SUNIONSTORE {b} {a}"), "(2)"),
                (format!("SDIFFSTORE {c} {b} none"), "(2)"),
                (format!("SMOVE {c} {a} 1"), "(1)"),
                (format!("SCARD {c}"), "(1)"),
                (format!("RENAME {c} {b}"), "OK"),
                (format!("SMEMBERS {b}"), "[\"2\"]"),
                (format!("DEL {a} {b} {c}"), "(2)"),
            ];
            script.iter().for_each(|(command, _)| cluster.send(client, command));
            for (command, expected) in &script {
                assert_eq!(text(&cluster.wait(client)), *expected, "seed {seed}: {command}");
            }
        }
    }
}

#[test]
fn where_there_is_nothing_to_take_the_destination_does_not_matter() {
    let mut cluster = Cluster::settled(Setup::default());
    let keys = keys(&cluster);
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    for node in 0..3 {
        let client = cluster.connect(node);
        let lines = [
            ("SET $a string", "OK"),
            ("SMOVE $b $a x", "(0)"),
            ("LMOVE $b $a LEFT LEFT", "nil"),
            ("SADD $b x", "(1)"),
            ("SMOVE $b $a x", wrong),
            ("SMOVE $a $c x", wrong),
            ("RPOPLPUSH $a $b", wrong),
            ("DEL $a $b", "(2)"),
        ];
        check_all(&mut cluster, client, &keys, &lines);
    }
}

#[test]
fn reads_gather_and_stores_write_once() {
    for seed in 0..4 {
        let mut cluster = Cluster::settled(Setup { seed, ..Setup::default() });
        let keys = keys(&cluster);
        for node in 0..3 {
            let client = cluster.connect(node);
            check_all(
                &mut cluster,
                client,
                &keys,
                &[
                    ("SADD $a 1 2 3", "(3)"),
                    ("SADD $b 2 3 4", "(3)"),
                    ("SINTER $a $b", "[\"2\" \"3\"]"),
                    ("SUNION $b $a none", "[\"2\" \"3\" \"4\" \"1\"]"),
                    ("SDIFF $a $b $c", "[\"1\"]"),
                    ("SINTERCARD 2 $a $b LIMIT 1", "(1)"),
                    ("SUNIONSTORE $c $a $b", "(4)"),
                    ("SMEMBERS $c", "[\"1\" \"2\" \"3\" \"4\"]"),
                    ("SDIFFSTORE $c $a $a", "(0)"),
                    ("EXISTS $c", "(0)"),
                    ("SET $c string", "OK"),
                    ("SINTER $a $c", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                    ("SINTERSTORE $c $a $b", "(2)"),
                    ("TYPE $c", "set"),
                    ("SINTERSTORE $c $a", "(3)"),
                    ("DEL $a $b $c", "(3)"),
                    ("SET $a abc", "OK"),
                    ("SET $b ab", "OK"),
                    ("BITOP OR $c $a $b", "(3)"),
                    ("GET $c", "\"abc\""),
                    ("LCS $a $b", "\"ab\""),
                    ("DEL $a $b $c", "(3)"),
                    ("PFADD $a 1 2 3", "(1)"),
                    ("PFADD $b 3 4", "(1)"),
                    ("PFCOUNT $a $b", "(4)"),
                    ("PFMERGE $b $a", "OK"),
                    ("PFCOUNT $b", "(4)"),
                    ("PFMERGE $c $a $b", "OK"),
                    ("PFCOUNT $c", "(4)"),
                    ("DEL $a $b $c", "(3)"),
                ],
            );
        }
    }
}

#[test]
fn values_move_to_other_primaries_with_all_that_belongs_to_them() {
    for seed in 0..4 {
        let mut cluster = Cluster::settled(Setup { seed, ..Setup::default() });
        let keys = keys(&cluster);
        for node in 0..3 {
            let client = cluster.connect(node);
            check_all(
                &mut cluster,
                client,
                &keys,
                &[
                    ("RENAME $a $b", "-ERR no such key"),
                    ("HSET $a f v", "(1)"),
                    ("EXPIRE $a 1000", "(1)"),
                    ("RENAME $a $b", "OK"),
                    ("EXISTS $a", "(0)"),
                    ("HGETALL $b", "[\"f\" \"v\"]"),
                    ("PERSIST $b", "(1)"),
                    ("SET $a string", "OK"),
                    ("RENAMENX $a $b", "(0)"),
                    ("RENAMENX $a $c", "(1)"),
                    ("GET $c", "\"string\""),
                    ("COPY $b $c", "(0)"),
                    ("COPY $b $c REPLACE", "(1)"),
                    ("HGET $c f", "\"v\""),
                    ("COPY $b $a DB 1", "-CROSSSLOT Keys in request don't hash to the same slot"),
                    ("DEL $b $c", "(2)"),
                    ("SADD $a x y", "(2)"),
                    ("SMOVE $a $b x", "(1)"),
                    ("SMOVE $a $b none", "(0)"),
                    ("SMEMBERS $b", "[\"x\"]"),
                    ("SET $c string", "OK"),
                    ("SMOVE $a $c y", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                    ("SMEMBERS $a", "[\"y\"]"),
                    ("DEL $a $b $c", "(3)"),
                    ("RPUSH $a 1 2 3", "(3)"),
                    ("LMOVE $a $b LEFT RIGHT", "\"1\""),
                    ("RPOPLPUSH $a $b", "\"3\""),
                    ("LRANGE $b 0 -1", "[\"3\" \"1\"]"),
                    ("LMOVE $a $b UP RIGHT", "-ERR syntax error"),
                    ("RPOPLPUSH $c $b", "nil"),
                    ("BLMOVE $a $b LEFT LEFT 0", "\"2\""),
                    ("BRPOPLPUSH $a $b 0.01", "nil"),
                    ("LLEN $b", "(3)"),
                    ("DEL $b", "(1)"),
                    ("MSETNX $a 1 $b 2", "-CROSSSLOT Keys in request don't hash to the same slot"),
                ],
            );
        }
    }
}

#[test]
fn an_element_that_is_waited_for_goes_to_another_primary() {
    for seed in 0..4 {
        let mut cluster = Cluster::settled(Setup { seed, ..Setup::default() });
        let [a, b, _] = keys(&cluster);
        let (waiting, pushing) = (cluster.connect(2), cluster.connect(seed as usize % 3));
        for number in 0..5 {
            cluster.send(waiting, &format!("BLMOVE {a} {b} LEFT LEFT 0"));
            cluster.run(std::time::Duration::from_millis(20));
            assert_eq!(cluster.reply(waiting), None);
            cluster.check(pushing, &format!("RPUSH {a} {number}"), "(1)");
            assert_eq!(text(&cluster.wait(waiting)), format!("\"{number}\""));
        }
        cluster.check(pushing, &format!("LRANGE {b} 0 -1"), "[\"4\" \"3\" \"2\" \"1\" \"0\"]");
    }
}

/// Renaming back and forth while others change the values: whatever was acknowledged is somewhere in the end.
#[test]
fn what_is_changed_while_it_moves_is_not_lost() {
    for seed in 0..6 {
        let mut cluster = Cluster::settled(Setup { seed, ..Setup::default() });
        let [a, b, _] = keys(&cluster);
        let (mover, writer) = (cluster.connect(0), cluster.connect(1));
        cluster.check(mover, &format!("SADD {a} first"), "(1)");
        let mut added = 1;
        for number in 0..40 {
            let (from, to) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
            cluster.send(mover, &format!("RENAME {from} {to}"));
            for step in 0..cluster.random.below(4) {
                // Only into a set that is there: a new one would be replaced by the next renaming.
                let reply = cluster.call(writer, &format!("SMOVE {from} {from} first"));
                if text(&reply) == "(1)" {
                    let reply = text(&cluster.call(writer, &format!("SADD {from} {number}:{step}")));
                    added += usize::from(reply == "(1)");
                }
            }
            assert_eq!(text(&cluster.wait(mover)), "OK", "seed {seed}");
            let count = |cluster: &mut Cluster| {
                let reply = text(&cluster.call(writer, &format!("SUNION {a} {b}")));
                reply.split(' ').filter(|member| member.len() > 2).count()
            };
            assert_eq!(count(&mut cluster), added, "seed {seed}, round {number}");
            // An addition may have come after the set had gone: it made a new one, which is put back.
            cluster.call(mover, &format!("SUNIONSTORE {to} {a} {b}"));
            cluster.call(mover, &format!("DEL {from}"));
        }
    }
}

#[test]
fn sort_looks_at_keys_of_other_nodes() {
    let denied = "denied in cluster mode when keys formed by the pattern may be in different slots.";
    for seed in 0..3 {
        let mut cluster = Cluster::settled(Setup { seed, ..Setup::default() });
        let keys = keys(&cluster);
        for node in 0..3 {
            let client = cluster.connect(node);
            check_all(
                &mut cluster,
                client,
                &keys,
                &[
                    ("RPUSH $a 1 2 3 4", "(4)"),
                    ("MSET w_1 30 w_2 10 w_3 20 n_1 one n_2 two n_3 three", "OK"),
                    ("SORT $a DESC", "[\"4\" \"3\" \"2\" \"1\"]"),
                    ("SORT $a BY w_*", "[\"4\" \"2\" \"3\" \"1\"]"),
                    ("SORT_RO $a BY w_* DESC LIMIT 0 2 GET n_*", "[\"one\" \"three\"]"),
                    ("SORT $a BY w_* GET n_* STORE $b", "(4)"),
                    ("LRANGE $b 0 -1", "[\"\" \"two\" \"three\" \"one\"]"),
                    ("SORT $b BY nosort GET # STORE $c", "(4)"),
                    ("LRANGE $c 0 -1", "[\"\" \"two\" \"three\" \"one\"]"),
                    ("SORT $c", "-ERR One or more scores can't be converted into double"),
                    ("SORT none BY w_* STORE $b", "(0)"),
                    ("EXISTS $b", "(0)"),
                    ("SORT w_1 BY w_*", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                    ("SORT $a BY w_* NOSUCH", "-ERR syntax error"),
                    ("MULTI", "OK"),
                    ("SORT $a BY w_* GET #", "QUEUED"),
                    ("SORT $a GET #", "QUEUED"),
                    ("EXEC", &format!("[-ERR BY option of SORT {denied} [\"1\" \"2\" \"3\" \"4\"]]")),
                    ("DEL $a $c", "(2)"),
                ],
            );
        }
    }
}
