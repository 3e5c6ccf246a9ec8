//! Mixed load over RESP and HTTP with an exact model: every worker owns its keys and knows what they hold.
//!
//! An operation goes through one random node and is followed by a read of the same key through another; because
//! no other worker touches the key, the read has exactly one right answer. After a failed write the key's
//! content is unknown until the next write that succeeds, so that one failure is counted once.

use crate::Result;
use crate::cluster::NodeAddress;
use crate::http_client::{HttpClient, key_path};
use crate::resp_client::{Reply, RespClient};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;
use stdx::Random;

const TIMEOUT: Duration = Duration::from_secs(10);
const SAMPLES_MAX: usize = 10;
const VALUE_LENGTH_MAX: u64 = 200;
/// One key in so many has a name of odd bytes, and one value in so many is binary.
const ODD_KEY_EVERY: usize = 8;
const BINARY_VALUE_SHARE: f64 = 0.25;

/// When the workers stop.
#[derive(Clone, Copy)]
pub(crate) enum Until<'a> {
    /// After so many operations by all workers together.
    Operations(u64),
    /// When the flag is set.
    Flag(&'a AtomicBool),
}

/// The shape of a mixed load.
pub(crate) struct Plan<'a> {
    /// The nodes that clients talk to.
    pub(crate) nodes: &'a [NodeAddress],
    /// Concurrent workers, each with its own connections to every node.
    pub(crate) workers: usize,
    /// How many keys each worker owns.
    pub(crate) keys: usize,
    /// The share of requests that go over HTTP where HTTP can say the same.
    pub(crate) http_share: f64,
    /// When to stop.
    pub(crate) until: Until<'a>,
    /// A pause after every operation, so that what is measured beside the load gets its turn.
    pub(crate) pace: Duration,
    /// Where the random choices start.
    pub(crate) seed: u64,
}

/// What the workers counted.
#[derive(Default)]
pub(crate) struct Totals {
    /// Operations, each followed by a read.
    pub(crate) operations: u64,
    /// Requests over RESP and over HTTP.
    pub(crate) requests: [u64; 2],
    /// Requests that got an error or no reply, over RESP and over HTTP.
    pub(crate) failed: [u64; 2],
    /// Replies that do not follow from what was acknowledged.
    pub(crate) stale: u64,
    /// The first few of both.
    pub(crate) samples: Vec<String>,
}

impl Totals {
    /// Failures of both protocols.
    pub(crate) fn failed_all(&self) -> u64 {
        self.failed.iter().sum()
    }

    fn add(&mut self, other: Totals) {
        self.operations += other.operations;
        for protocol in [RESP, HTTP] {
            self.requests[protocol] += other.requests[protocol];
            self.failed[protocol] += other.failed[protocol];
        }
        self.stale += other.stale;
        self.samples.extend(other.samples);
        self.samples.truncate(SAMPLES_MAX);
    }
}

/// Runs the plan to its end.
pub(crate) fn run(plan: &Plan<'_>) -> Totals {
    let mut totals = Totals::default();
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..plan.workers).map(|index| scope.spawn(move || Worker::new(plan, index).run(plan))).collect();
        for worker in workers {
            totals.add(worker.join().expect("a worker only counts failures, it does not panic"));
        }
    });
    totals
}

const RESP: usize = 0;
const HTTP: usize = 1;

/// What a key holds as far as its worker can know.
#[derive(Clone, PartialEq)]
enum Held {
    Missing,
    Text(String),
    Binary(Vec<u8>),
    Unknown,
}

impl Held {
    /// JSON strings carry text only, so a binary value is read over RESP.
    fn speaks_http(&self) -> bool {
        !matches!(self, Held::Binary(_))
    }
}

struct Worker {
    clients: Vec<(Option<RespClient>, HttpClient)>,
    nodes: Vec<NodeAddress>,
    keys: Vec<Vec<u8>>,
    held: Vec<Held>,
    random: Random,
    totals: Totals,
}

impl Worker {
    fn new(plan: &Plan<'_>, index: usize) -> Worker {
        let random = Random::seeded(plan.seed ^ (index as u64) << 32);
        Worker {
            clients: plan.nodes.iter().map(|node| (None, HttpClient::new(node.http, TIMEOUT))).collect(),
            nodes: plan.nodes.to_vec(),
            keys: (0..plan.keys).map(|key| key_name(plan.seed, index, key)).collect(),
            held: vec![Held::Missing; plan.keys],
            random,
            totals: Totals::default(),
        }
    }

    fn run(mut self, plan: &Plan<'_>) -> Totals {
        let share = |total: u64| total.div_ceil(plan.workers as u64);
        loop {
            let done = match plan.until {
                Until::Operations(total) => self.totals.operations >= share(total),
                Until::Flag(stop) => stop.load(Relaxed),
            };
            if done {
                return self.totals;
            }
            self.operation(plan.http_share);
            if !plan.pace.is_zero() {
                thread::sleep(plan.pace);
            }
        }
    }

    /// One GET, SET or DEL through one node and the read that must agree through another.
    fn operation(&mut self, http_share: f64) {
        self.totals.operations += 1;
        let key = self.random.below(self.keys.len() as u64) as usize;
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let other = (node + 1 + self.random.below(self.nodes.len() as u64 - 1) as usize) % self.nodes.len();
        let http = self.random.chance(http_share);
        match self.random.below(100) {
            0..40 => self.read(key, node, http),
            40..85 => self.write(key, node, http),
            _ => self.delete(key, node, http),
        }
        let http = self.random.chance(http_share);
        self.read(key, other, http);
    }

    fn read(&mut self, key: usize, node: usize, http: bool) {
        let http = http && self.held[key].speaks_http() && self.held[key] != Held::Unknown;
        let seen = if http { self.http_get(key, node) } else { self.resp_get(key, node) };
        match seen {
            Ok(seen) => self.compare(key, node, http, &seen),
            Err(error) => self.failure("GET", key, node, http, &error.to_string()),
        }
    }

    fn write(&mut self, key: usize, node: usize, http: bool) {
        let binary = !http && self.random.chance(BINARY_VALUE_SHARE);
        let value = self.value(binary);
        let done = match (&value, http) {
            (Held::Text(text), true) => {
                let body = json!({ "value": text }).to_string();
                self.http("PUT", key, node, body.as_bytes()).and_then(|(status, reply)| {
                    if status == 200 && reply["success"] == true {
                        Ok(())
                    } else {
                        Err(unexpected(status, &reply))
                    }
                })
            }
            (Held::Text(text), false) => self.resp_set(key, node, text.as_bytes()),
            (Held::Binary(bytes), _) => self.resp_set(key, node, bytes),
            (Held::Missing | Held::Unknown, _) => Err("only values are written".into()),
        };
        match done {
            Ok(()) => self.held[key] = value,
            Err(error) => {
                self.held[key] = Held::Unknown;
                self.failure("SET", key, node, http, &error.to_string());
            }
        }
    }

    fn delete(&mut self, key: usize, node: usize, http: bool) {
        let deleted = if http {
            self.http("DELETE", key, node, b"").and_then(|(status, reply)| {
                reply["deleted"].as_bool().filter(|_| status == 200).ok_or_else(|| unexpected(status, &reply))
            })
        } else {
            let name = self.keys[key].clone();
            self.resp(node, &[b"DEL", &name]).and_then(|reply| match reply {
                Reply::Integer(count) => Ok(count == 1),
                other => Err(format!("{other:?}").into()),
            })
        };
        match deleted {
            Ok(deleted) => {
                let existed = self.held[key] != Held::Missing;
                if self.held[key] != Held::Unknown && deleted != existed {
                    self.stale_reply(key, node, &format!("DEL said {deleted}, the key existed: {existed}"));
                }
                self.held[key] = Held::Missing;
            }
            Err(error) => {
                self.held[key] = Held::Unknown;
                self.failure("DEL", key, node, http, &error.to_string());
            }
        }
    }

    fn resp_get(&mut self, key: usize, node: usize) -> Result<Held> {
        let name = self.keys[key].clone();
        match self.resp(node, &[b"GET", &name])? {
            Reply::Nil => Ok(Held::Missing),
            Reply::Bulk(bytes) => Ok(Held::Binary(bytes)),
            other => Err(format!("{other:?}").into()),
        }
    }

    fn http_get(&mut self, key: usize, node: usize) -> Result<Held> {
        let (status, reply) = self.http("GET", key, node, b"")?;
        match (status, reply["data"]["value"].as_str()) {
            (404, _) if reply["success"] == false => Ok(Held::Missing),
            (200, Some(text)) if reply["success"] == true => Ok(Held::Text(text.to_owned())),
            _ => Err(unexpected(status, &reply)),
        }
    }

    fn resp_set(&mut self, key: usize, node: usize, value: &[u8]) -> Result<()> {
        let name = self.keys[key].clone();
        match self.resp(node, &[b"SET", &name, value])? {
            Reply::Simple(text) if text == "OK" => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    }

    fn resp(&mut self, node: usize, arguments: &[&[u8]]) -> Result<Reply> {
        self.totals.requests[RESP] += 1;
        let slot = &mut self.clients[node].0;
        if slot.is_none() {
            *slot = Some(RespClient::connect(self.nodes[node].resp, TIMEOUT)?);
        }
        let client = slot.as_mut().ok_or("connected above")?;
        let reply = client.command(arguments);
        if reply.is_err() {
            *slot = None;
        }
        Ok(reply?)
    }

    fn http(&mut self, method: &str, key: usize, node: usize, body: &[u8]) -> Result<(u16, Value)> {
        self.totals.requests[HTTP] += 1;
        let path = key_path(&self.keys[key]);
        let reply = self.clients[node].1.request(method, &path, body)?;
        Ok((reply.status, reply.json()?))
    }

    fn compare(&mut self, key: usize, node: usize, http: bool, seen: &Held) {
        let held = &self.held[key];
        let agrees = match (held, seen) {
            (Held::Unknown, _) => true,
            (Held::Text(text), Held::Binary(bytes)) => text.as_bytes() == bytes,
            (held, seen) => held == seen,
        };
        if !agrees {
            let via = if http { "HTTP" } else { "RESP" };
            let text = format!("GET over {via} read {}, expected {}", describe(seen), describe(held));
            self.stale_reply(key, node, &text);
        }
    }

    fn failure(&mut self, what: &str, key: usize, node: usize, http: bool, error: &str) {
        self.totals.failed[if http { HTTP } else { RESP }] += 1;
        self.sample(format!("{what} {} through {}: {error}", self.key_text(key), self.nodes[node].name));
    }

    fn stale_reply(&mut self, key: usize, node: usize, text: &str) {
        self.totals.stale += 1;
        self.sample(format!("{} through {}: {text}", self.key_text(key), self.nodes[node].name));
    }

    fn sample(&mut self, text: String) {
        if self.totals.samples.len() < SAMPLES_MAX {
            self.totals.samples.push(text);
        }
    }

    fn key_text(&self, key: usize) -> String {
        self.keys[key].escape_ascii().to_string()
    }

    fn value(&mut self, binary: bool) -> Held {
        let mut bytes = vec![0u8; self.random.below(VALUE_LENGTH_MAX) as usize];
        self.random.fill(&mut bytes);
        if binary {
            return Held::Binary(bytes);
        }
        // Letters, JSON's own special characters, and one that takes two bytes.
        const ALPHABET: [char; 16] =
            ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', '"', '\\', '\n', '/', ' ', '{', 'é', '7'];
        Held::Text(bytes.iter().map(|byte| ALPHABET[usize::from(byte % 16)]).collect())
    }
}

fn key_name(seed: u64, worker: usize, key: usize) -> Vec<u8> {
    let mut name = format!("mixed:{seed:x}:{worker}:{key}").into_bytes();
    if key.is_multiple_of(ODD_KEY_EVERY) {
        name.extend_from_slice(b" /%41?#\xff\x00&");
    }
    name
}

fn describe(held: &Held) -> String {
    match held {
        Held::Missing => "nothing".to_owned(),
        Held::Unknown => "anything".to_owned(),
        Held::Text(text) => format!("text {:?}", text.chars().take(20).collect::<String>()),
        Held::Binary(bytes) => {
            format!("bytes {} ({})", bytes[..bytes.len().min(20)].escape_ascii(), bytes.len())
        }
    }
}

fn unexpected(status: u16, reply: &Value) -> crate::Error {
    format!("status {status}: {reply}").into()
}
