//! The seven steps: write, read, delete, overwrite and expire across nodes, then lose a primary and get it back.
//!
//! Every step states what must hold and fails with what was seen instead. A step that failed does not keep the
//! later ones from being tried, so that a report shows all that is wrong.

use std::time::Duration;

use serde_json::{Value, json};

use super::Watch;
use super::nodes::{Node, Nodes};
use super::resp::{Reply, ask};
use super::screen::{Progress, Screen};

/// How many steps there are.
pub(super) const STEPS: usize = TITLES.len();

const TITLES: [&str; 7] = [
    "Write on each node",
    "Read every key through the other nodes",
    "Delete through another node",
    "Overwrite from node to node",
    "A key with a TTL expires everywhere",
    "kill -9 a key's primary, read a survivor",
    "Restart it and see it rejoin",
];

/// How long survivors may take to serve the keys of a killed primary.
const FAILOVER_LIMIT: Duration = Duration::from_secs(10);
/// How long the killed node may take to be back with all replicas in sync.
const REJOIN_LIMIT: Duration = Duration::from_secs(20);
/// The TTL of the fifth step, and how much later than that the key may still be seen.
const TTL: Duration = Duration::from_secs(1);
const TTL_SLACK: Duration = Duration::from_millis(1_500);
/// Clocks tick in milliseconds and the TTL counts from the write's arrival: how much earlier the key may be gone.
const TTL_EARLY: Duration = Duration::from_millis(20);

const ORDERS_KEY: &str = "demo:orders";

/// The steps, and what one leaves for the next.
pub(super) struct Scenario<'a> {
    nodes: &'a mut Nodes,
    watch: &'a Watch,
    killed: Option<usize>,
}

type Outcome = Result<String, String>;

impl<'a> Scenario<'a> {
    /// The scenario on `nodes`, which form a whole cluster.
    pub(super) fn new(nodes: &'a mut Nodes, watch: &'a Watch) -> Scenario<'a> {
        Scenario { nodes, watch, killed: None }
    }

    /// Plays every step and shows it; returns how many passed.
    pub(super) fn run(&mut self, screen: &mut Screen) -> usize {
        let steps: [fn(&mut Scenario<'a>) -> Outcome; STEPS] = [
            Scenario::write,
            Scenario::read,
            Scenario::delete,
            Scenario::overwrite,
            Scenario::expire,
            Scenario::kill,
            Scenario::rejoin,
        ];
        let mut rows = TITLES.map(|title| (title, Progress::Waiting));
        for (index, step) in steps.iter().enumerate() {
            if self.watch.is_stopped() {
                break;
            }
            rows[index].1 = Progress::Running;
            screen.steps(&rows, index);
            let start = self.watch.clock.mono();
            let outcome = step(self);
            let millis = self.watch.clock.mono().since(start).as_millis();
            rows[index].1 = match outcome {
                Ok(remark) => Progress::Passed(millis, remark),
                Err(why) => Progress::Failed(millis, why),
            };
            screen.steps(&rows, index);
        }
        rows.iter().filter(|(_, progress)| matches!(progress, Progress::Passed(..))).count()
    }

    fn write(&mut self) -> Outcome {
        let mut forwarded = 0;
        for (index, node) in self.nodes.iter().enumerate() {
            let answer = put(node, &http_key(index), &json!({"value": http_value(index)}))?;
            forwarded += usize::from(answer["message"] == "Forwarded to primary node");
            expect(
                ask(&node.resp(), &["SET", &resp_key(index), &resp_value(index)])?,
                Reply::Text("OK".into()),
            )?;
        }
        let count = self.nodes.len();
        Ok(format!("{count} by HTTP ({forwarded} forwarded), {count} by RESP"))
    }

    /// Each key is read through every other node, in the protocol it was written in and in the other one.
    fn read(&mut self) -> Outcome {
        let mut reads = 0;
        for writer in 0..self.nodes.len() {
            for offset in 1..self.nodes.len() {
                let node = self.nodes.at(writer + offset);
                expect(get(node, &http_key(writer))?, Some(json!(http_value(writer))))?;
                expect(get(node, &resp_key(writer))?, Some(json!(resp_value(writer))))?;
                expect(ask(&node.resp(), &["GET", &resp_key(writer)])?, Reply::Text(resp_value(writer)))?;
                expect(ask(&node.resp(), &["GET", &http_key(writer)])?, Reply::Text(http_value(writer)))?;
                reads += 4;
            }
        }
        Ok(format!("{reads} reads, both protocols"))
    }

    fn delete(&mut self) -> Outcome {
        for writer in 0..self.nodes.len() {
            let other = self.nodes.at(writer + 1);
            let path = path(&http_key(writer));
            let answer = other.client().delete(&path).map_err(|error| error.to_string())?;
            if !answer.is_success() || answer.json()["deleted"] != true {
                return Err(format!("DELETE {path} on {}: {}", other.name, answer.complaint()));
            }
            expect(ask(&other.resp(), &["DEL", &resp_key(writer)])?, Reply::Integer(1))?;
            for node in self.nodes.iter() {
                expect(get(node, &http_key(writer))?, None)?;
                expect(ask(&node.resp(), &["GET", &resp_key(writer)])?, Reply::Null)?;
            }
        }
        Ok(format!("{} keys gone on all nodes", 2 * self.nodes.len()))
    }

    fn overwrite(&mut self) -> Outcome {
        let rounds = 2 * self.nodes.len();
        for round in 0..rounds {
            let value = json!({"version": round, "by": self.nodes.at(round).name});
            put(self.nodes.at(round), "demo:profile", &json!({"value": value}))?;
            for node in self.nodes.iter() {
                expect(get(node, "demo:profile")?, Some(value.clone()))?;
            }
        }
        Ok(format!("{rounds} versions, each read on all nodes at once"))
    }

    fn expire(&mut self) -> Outcome {
        let key = "demo:session";
        let start = self.watch.clock.mono();
        put(self.nodes.at(0), key, &json!({"value": "here", "ttl": TTL.as_secs()}))?;
        let written = self.watch.clock.mono();
        for node in self.nodes.iter() {
            expect(get(node, key)?, Some(json!("here")))?;
        }
        for node in self.nodes.iter() {
            self.watch.until(TTL + TTL_SLACK, || {
                let seen = get(node, key)?;
                seen.map_or(Ok(()), |_| Err(format!("{} still has {key}", node.name)))
            })?;
            if self.watch.clock.mono().since(start) + TTL_EARLY < TTL {
                return Err(format!("{} lost {key} before its time", node.name));
            }
        }
        let millis = self.watch.clock.mono().since(written).as_millis();
        Ok(format!("gone on all nodes after {millis} ms, TTL {} ms", TTL.as_millis()))
    }

    fn kill(&mut self) -> Outcome {
        let answer = put(self.nodes.at(0), ORDERS_KEY, &json!({"value": "kept"}))?;
        let primary = answer["primary"].as_str().unwrap_or_default().to_string();
        let victim = self.nodes.position(&primary).ok_or_else(|| format!("no node is called {primary:?}"))?;
        self.nodes.kill(victim)?;
        self.killed = Some(victim);
        let start = self.watch.clock.mono();
        let mut first_read = None;
        for offset in 1..self.nodes.len() {
            let survivor = self.nodes.at(victim + offset);
            self.watch.until(FAILOVER_LIMIT, || expect(get(survivor, ORDERS_KEY)?, Some(json!("kept"))))?;
            first_read.get_or_insert_with(|| self.watch.clock.mono().since(start).as_millis());
        }
        let survivor = self.nodes.at(victim + 1);
        self.watch.until(FAILOVER_LIMIT, || put(survivor, ORDERS_KEY, &json!({"value": "kept on"})))?;
        let (read, write) =
            (first_read.unwrap_or_default(), self.watch.clock.mono().since(start).as_millis());
        Ok(format!("{primary} killed; read again after {read} ms, written after {write} ms"))
    }

    fn rejoin(&mut self) -> Outcome {
        let victim = self.killed.ok_or("no node was killed")?;
        let start = self.watch.clock.mono();
        self.nodes.restart(victim)?;
        self.nodes.wait_until_whole(REJOIN_LIMIT)?;
        let millis = self.watch.clock.mono().since(start).as_millis();
        let node = self.nodes.at(victim);
        expect(get(node, ORDERS_KEY)?, Some(json!("kept on")))?;
        Ok(format!("{} up and all replicas in sync after {millis} ms", node.name))
    }
}

fn http_key(index: usize) -> String {
    format!("demo:http:{}", index + 1)
}

fn http_value(index: usize) -> String {
    format!("written over HTTP on node-{}", index + 1)
}

fn resp_key(index: usize) -> String {
    format!("demo:resp:{}", index + 1)
}

fn resp_value(index: usize) -> String {
    format!("written over RESP on node-{}", index + 1)
}

/// The demo's keys need no percent-encoding.
fn path(key: &str) -> String {
    format!("/api/cache/{key}")
}

fn put(node: &Node, key: &str, body: &Value) -> Result<Value, String> {
    let answer = node.client().post(&path(key), body);
    let answer = answer.map_err(|error| format!("POST {key} on {}: {error}", node.name))?;
    let json = answer.json();
    if answer.is_success() && json["success"] == true {
        return Ok(json);
    }
    Err(format!("POST {key} on {}: {}", node.name, answer.complaint()))
}

/// The value of `key` as `node` tells it; `None` if there is no such key.
fn get(node: &Node, key: &str) -> Result<Option<Value>, String> {
    let answer =
        node.client().get(&path(key)).map_err(|error| format!("GET {key} on {}: {error}", node.name))?;
    match answer.status {
        404 => Ok(None),
        200 if answer.json()["success"] == true => Ok(Some(answer.json()["data"]["value"].clone())),
        _ => Err(format!("GET {key} on {}: {}", node.name, answer.complaint())),
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(seen: T, expected: T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("expected {expected:?}, saw {seen:?}")) }
}
