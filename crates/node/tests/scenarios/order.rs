//! Rules 8 and 12: the commands of one connection keep their order while partitions move under them.

use crate::harness::client::{ClientId, text};
use crate::harness::{Cluster, Setup, id, member};
use cluster::map::{MapCommand, PartitionOp};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use stdx::Random;

/// Gives every node another share of the partitions, so that the planner and the coordinators move them.
fn reshuffle(cluster: &mut Cluster) {
    for node in 0..cluster.setup.nodes {
        let weight = cluster.random.below(4) as u32 + u32::from(node == 0);
        cluster.commit(&MapCommand::Register { member: cluster::map::Member { weight, ..member(node) } });
    }
}

/// One client's idea of what it will be answered.
#[derive(Default)]
struct Model {
    numbers: BTreeMap<String, i64>,
    texts: BTreeMap<String, String>,
    expected: VecDeque<String>,
}

impl Model {
    fn next(&mut self, owner: usize, random: &mut Random) -> Vec<String> {
        let name = |random: &mut Random| format!("c{owner}:{}", random.below(5));
        let (key, other) = (name(random), name(random));
        match random.below(12) {
            0..=4 => {
                let number = self.numbers.entry(key.clone()).or_default();
                *number += 1;
                self.expected.push_back(format!("({number})"));
                vec![format!("INCR {key}")]
            }
            5..=6 => {
                let text = self.texts.entry(format!("t{key}")).or_default();
                text.push_str("ab");
                self.expected.push_back(format!("({})", text.len()));
                vec![format!("APPEND t{key} ab")]
            }
            7 => {
                let text = self.texts.get(&format!("t{key}"));
                self.expected.push_back(text.map_or("nil".into(), |text| format!("\"{text}\"")));
                vec![format!("GET t{key}")]
            }
            8..=9 => {
                let show = |key: &str| self.numbers.get(key).map_or("nil".into(), |n| format!("\"{n}\""));
                self.expected.push_back(format!("[{} {}]", show(&key), show(&other)));
                vec![format!("MGET {key} {other}")]
            }
            10 => {
                let (first, second) = (random.below(100) as i64, random.below(100) as i64);
                self.numbers.insert(key.clone(), first);
                self.numbers.insert(other.clone(), second);
                self.expected.push_back("OK".into());
                vec![format!("MSET {key} {first} {other} {second}")]
            }
            _ => {
                let number = self.numbers.entry(key.clone()).or_default();
                *number += 2;
                let reply = format!("[({}) ({number})]", *number - 1);
                self.expected.extend(["OK".into(), "QUEUED".into(), "QUEUED".into(), reply]);
                vec!["MULTI".into(), format!("INCR {key}"), format!("INCR {key}"), "EXEC".into()]
            }
        }
    }

    fn check(&mut self, cluster: &mut Cluster, client: ClientId) {
        while let Some(reply) = cluster.reply(client) {
            let expected = self.expected.pop_front().expect("no more replies than commands");
            assert_eq!(text(&reply), expected, "seed {}", cluster.setup.seed);
        }
    }
}

#[test]
fn rules_8_and_12_pipelines_keep_their_order_while_partitions_move() {
    let mut moved = 0;
    for seed in 0..10 {
        let mut cluster = Cluster::settled(Setup {
            seed,
            workers: 1 + (seed % 2) as usize,
            partitions: 8,
            ..Setup::default()
        });
        (cluster.control.plans, cluster.control.coordinates) = (true, true);
        // Nodes learn of maps at very different times.
        cluster.control.map_lag_max = Duration::from_millis(15);
        let clients: Vec<_> = (0..3).map(|node| cluster.connect(node)).collect();
        let mut models: Vec<Model> = clients.iter().map(|_| Model::default()).collect();
        let before = cluster.control.map.version.0;
        for round in 0..400 {
            if round % 50 == 0 {
                reshuffle(&mut cluster);
            }
            for (owner, model) in models.iter_mut().enumerate() {
                for _ in 0..cluster.random.below(4) {
                    for command in model.next(owner, &mut cluster.random) {
                        cluster.send(clients[owner], &command);
                    }
                }
                model.check(&mut cluster, clients[owner]);
            }
            cluster.run(Duration::from_micros(300));
        }
        let done = |models: &[Model]| models.iter().all(|model| model.expected.is_empty());
        cluster.until("all replies", |cluster| {
            models.iter_mut().zip(&clients).for_each(|(model, client)| model.check(cluster, *client));
            done(&models)
        });
        for (model, client) in models.iter().zip(&clients) {
            for (key, number) in &model.numbers {
                cluster.check(*client, &format!("GET {key}"), &format!("\"{number}\""));
            }
        }
        moved += cluster.control.map.version.0 - before;
    }
    assert!(moved > 300, "hardly anything moved: {moved}");
}

#[test]
fn rule_12_commands_over_all_partitions_work_while_they_move() {
    for seed in 0..5 {
        let mut cluster =
            Cluster::settled(Setup { seed, workers: 1 + (seed % 2) as usize, ..Setup::default() });
        let clients: Vec<_> = (0..3).map(|node| cluster.connect(node)).collect();
        for number in 0..60 {
            cluster.check(clients[0], &format!("SET key:{number} v"), "OK");
        }
        (cluster.control.plans, cluster.control.coordinates) = (true, true);
        cluster.control.map_lag_max = Duration::from_millis(15);
        for round in 0..30 {
            if round % 5 == 0 {
                reshuffle(&mut cluster);
            }
            let client = clients[round % 3];
            cluster.check(client, "DBSIZE", "(60)");
            let (mut cursor, mut seen) = ("0".to_owned(), std::collections::BTreeSet::new());
            loop {
                let reply = cluster.call(client, &format!("SCAN {cursor} COUNT 9"));
                let protocol::Value::Array(parts) = reply else { panic!("{reply:?} (seed {seed})") };
                let [next, protocol::Value::Array(keys)] = &parts[..] else { panic!("two parts") };
                seen.extend(keys.iter().map(text));
                cursor = text(next).trim_matches('"').to_owned();
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(seen.len(), 60);
        }
        cluster.check(clients[1], "FLUSHALL", "OK");
        cluster.check(clients[2], "DBSIZE", "(0)");
    }
}

#[test]
fn transactions_are_atomic_while_partitions_move() {
    for seed in 0..4 {
        let mut cluster = Cluster::settled(Setup { seed, partitions: 4, ..Setup::default() });
        (cluster.control.plans, cluster.control.coordinates) = (true, true);
        let writers: Vec<_> = (0..3).map(|node| cluster.connect(node)).collect();
        let readers: Vec<_> = (0..3).map(|node| cluster.connect(node)).collect();
        let mut seen = 0;
        for round in 0..300 {
            if round % 40 == 0 {
                reshuffle(&mut cluster);
            }
            for command in ["MULTI", "INCR {t}a", "INCR {t}b", "EXEC"] {
                cluster.send(writers[round % 3], command);
            }
            cluster.send(readers[round % 3], "MGET {t}a {t}b");
            cluster.run(Duration::from_micros(200));
            for &reader in &readers {
                while let Some(reply) = cluster.reply(reader) {
                    let line = text(&reply);
                    let (a, b) = line.trim_matches(['[', ']']).split_once(' ').expect("two values");
                    assert_eq!(a, b, "half of a transaction (seed {seed})");
                    seen += 1;
                }
            }
        }
        assert!(seen > 100, "{seen}");
        cluster.run(Duration::from_millis(500));
        let last = cluster.connect(0);
        cluster.check(last, "GET {t}a", "\"300\"");
    }
}

#[test]
fn a_request_routed_under_an_older_reign_is_refused() {
    let mut cluster = Cluster::settled(Setup::default());
    let mut keys = (0..).map(|number| format!("k{number}"));
    let is_fit = |key: &String| cluster.primary_of(key) == 0 && cluster.replicas_of(key) == [2];
    let key = keys.find(is_fit).expect("some partition is so");
    let client = cluster.connect(1);
    cluster.nodes[1].isolated = true;
    // Node 0 is deposed and comes back while the request is on its way.
    cluster.net.stall(1, 0, true);
    cluster.send(client, &format!("INCR {key}"));
    for to in [2, 0] {
        cluster.change(&key, PartitionOp::HandOver { to: id(to) });
        cluster.run(Duration::from_millis(20));
    }
    cluster.net.stall(1, 0, false);
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.reply(client), None, "executed under a reign it was not routed by");
    cluster.nodes[1].isolated = false;
    assert_eq!(text(&cluster.wait(client)), "(1)");
}
