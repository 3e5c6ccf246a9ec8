//! Registers with one writer each: the model behind the runs that kill and stop nodes.
//!
//! A lane is a key that only one writer writes, with rising numbers. Every step reads the key and then writes the
//! next number, pipelined on one connection to a random node, so that each acknowledged number is checked by the
//! very next step: the value read must be exactly the last acknowledged one. A write whose outcome is unknown may
//! take effect at any later time without breaking any promise, so its lane is closed: the key is never written
//! again, both values are allowed from then on, and the lane goes on with a fresh key. What remains is exact:
//! a value below the acknowledged one is a lost write, a value that was refused or never sent is a phantom.

use crate::cluster::NodeAddress;
use crate::resp_client::{Outcome, Reply, RespClient, encode, outcome_of};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};
use stdx::Random;

const SAMPLES_MAX: usize = 10;
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);
const READ_TIMEOUT: Duration = Duration::from_secs(20);
const RETRY_PAUSE: Duration = Duration::from_millis(2);
const VERIFY_PATIENCE: Duration = Duration::from_secs(15);

/// The state of a lane's present key.
#[derive(Clone)]
struct Lane {
    key: String,
    acknowledged: u64,
    issued: u64,
}

/// A key whose last write is in doubt: it may hold either number for ever.
struct Closed {
    key: String,
    acknowledged: u64,
    in_doubt: u64,
}

/// All lanes and what was counted over them.
pub(crate) struct Registers {
    prefix: String,
    lanes: Vec<Mutex<Lane>>,
    closed: Mutex<Vec<Closed>>,
    /// Writes that were acknowledged.
    pub(crate) acknowledged: AtomicU64,
    /// Writes that were refused as not executed.
    pub(crate) refused: AtomicU64,
    /// Writes whose outcome is unknown.
    pub(crate) in_doubt: AtomicU64,
    /// Reads that were answered and compared.
    pub(crate) reads: AtomicU64,
    /// Of these, answered to the readers of one node.
    pub(crate) answered: AtomicU64,
    /// Answers to those readers that were older than what was acknowledged when they asked.
    pub(crate) stale: AtomicU64,
    /// Acknowledged writes that a later read did not show.
    pub(crate) lost: AtomicU64,
    /// Values read that were refused or never written.
    pub(crate) phantoms: AtomicU64,
    serial: AtomicU64,
    samples: Mutex<Vec<String>>,
}

impl Registers {
    /// `lanes` empty registers whose keys begin with `prefix`.
    pub(crate) fn new(prefix: &str, lanes: usize) -> Registers {
        let registers = Registers {
            prefix: prefix.to_owned(),
            lanes: Vec::new(),
            closed: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            in_doubt: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            phantoms: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            samples: Mutex::default(),
        };
        let fresh = (0..lanes).map(|_| Mutex::new(registers.fresh_lane())).collect();
        Registers { lanes: fresh, ..registers }
    }

    /// The first few violations, for the report.
    pub(crate) fn samples(&self) -> Vec<String> {
        lock(&self.samples).clone()
    }

    /// Writes to its own share of the lanes through random nodes until told to stop.
    pub(crate) fn write_until(
        &self,
        own: Range<usize>,
        nodes: &[NodeAddress],
        stop: &AtomicBool,
        pace: Duration,
        mut random: Random,
    ) {
        let mut clients = Clients::new(nodes, WRITE_TIMEOUT);
        while !stop.load(Relaxed) {
            let lane = own.start + random.below(own.len() as u64) as usize;
            let node = random.below(nodes.len() as u64) as usize;
            self.step(lane, &mut clients, node);
            sleep(pace);
        }
    }

    /// Plays while `writers` threads write through random `nodes`, each its own even share of the lanes.
    pub(crate) fn under_writes<T>(
        &self,
        nodes: &[NodeAddress],
        writers: usize,
        pace: Duration,
        random: &mut Random,
        play: impl FnOnce(&mut Random) -> T,
    ) -> T {
        let (stop, share) = (AtomicBool::new(false), self.lanes.len() / writers);
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let own = writer * share..(writer + 1) * share;
                let (random, stop) = (Random::seeded(random.next_u64()), &stop);
                scope.spawn(move || self.write_until(own, nodes, stop, pace, random));
            }
            let played = play(random);
            stop.store(true, Relaxed);
            played
        })
    }

    /// Reads random lanes through one node until told to stop.
    ///
    /// What a read may return is fixed before it is sent: nothing older than what was acknowledged by then.
    pub(crate) fn read_until(
        &self,
        node: &NodeAddress,
        stop: &AtomicBool,
        pace: Duration,
        mut random: Random,
    ) {
        let nodes = [node.clone()];
        let mut clients = Clients::new(&nodes, READ_TIMEOUT);
        while !stop.load(Relaxed) {
            let index = random.below(self.lanes.len() as u64) as usize;
            let lane = lock(&self.lanes[index]).clone();
            let reply = clients.command(0, &["GET", &lane.key]);
            if let Some(value) = number(&reply) {
                self.reads.fetch_add(1, Relaxed);
                self.answered.fetch_add(1, Relaxed);
                if value < lane.acknowledged {
                    self.violation(&self.stale, &lane.key, value, lane.acknowledged, &node.name);
                }
            }
            sleep(pace);
        }
    }

    /// Reads every key ever used through every one of `nodes`. No writer may run meanwhile.
    pub(crate) fn verify_all(&self, nodes: &[NodeAddress]) {
        let active: Vec<(String, u64, u64)> = self
            .lanes
            .iter()
            .map(|lane| lock(lane).clone())
            .map(|lane| (lane.key, lane.acknowledged, lane.acknowledged))
            .collect();
        self.verify(nodes, &active);
        self.verify_closed(nodes);
    }

    /// Reads every closed key through every one of `nodes`; writers may go on with the open lanes.
    pub(crate) fn verify_closed(&self, nodes: &[NodeAddress]) {
        let closed: Vec<(String, u64, u64)> = lock(&self.closed)
            .iter()
            .map(|lane| (lane.key.clone(), lane.acknowledged, lane.in_doubt))
            .collect();
        self.verify(nodes, &closed);
    }

    fn verify(&self, nodes: &[NodeAddress], keys: &[(String, u64, u64)]) {
        let mut clients = Clients::new(nodes, READ_TIMEOUT);
        for (key, acknowledged, other) in keys {
            for (index, node) in nodes.iter().enumerate() {
                match clients.read_patiently(index, key) {
                    Some(value) => {
                        self.reads.fetch_add(1, Relaxed);
                        self.compare(key, value, &[*acknowledged, *other], &node.name);
                    }
                    // A key that cannot be read at all is as good as lost.
                    None => self.violation(&self.lost, key, 0, *acknowledged, &node.name),
                }
            }
        }
    }

    /// One read and one write of a lane, pipelined; the lane stays locked, so a writer is alone on it.
    fn step(&self, index: usize, clients: &mut Clients<'_>, node: usize) {
        let name = &clients.nodes[node].name;
        let lane = lock(&self.lanes[index]).clone();
        let next = lane.issued + 1;
        let Some(client) = clients.connected(node) else {
            sleep(RETRY_PAUSE);
            return;
        };
        lock(&self.lanes[index]).issued = next;
        let mut request = Vec::new();
        encode(&["GET", &lane.key], &mut request);
        encode(&["SET", &lane.key, &next.to_string()], &mut request);
        let read = client.send(&request).and_then(|()| client.receive());
        let broken = read.is_err();
        if let Some(value) = number(&read) {
            self.reads.fetch_add(1, Relaxed);
            self.compare(&lane.key, value, &[lane.acknowledged], name);
        }
        let outcome = match read {
            Ok(_) => outcome_of(client.receive()),
            Err(error) => Outcome::InDoubt(error.to_string()),
        };
        self.settle(index, &lane, next, &outcome);
        if broken || matches!(outcome, Outcome::InDoubt(_)) {
            clients.forget(node);
        }
        if outcome != Outcome::Acknowledged {
            sleep(RETRY_PAUSE);
        }
    }

    fn settle(&self, index: usize, lane: &Lane, value: u64, outcome: &Outcome) {
        match outcome {
            Outcome::Acknowledged => {
                lock(&self.lanes[index]).acknowledged = value;
                self.acknowledged.fetch_add(1, Relaxed);
            }
            Outcome::Refused(_) => {
                self.refused.fetch_add(1, Relaxed);
            }
            Outcome::InDoubt(_) => {
                self.in_doubt.fetch_add(1, Relaxed);
                *lock(&self.lanes[index]) = self.fresh_lane();
                let Lane { key, acknowledged, .. } = lane.clone();
                lock(&self.closed).push(Closed { key, acknowledged, in_doubt: value });
            }
        }
    }

    fn compare(&self, key: &str, value: u64, allowed: &[u64], node: &str) {
        if allowed.contains(&value) {
            return;
        }
        let expected = allowed.first().copied().unwrap_or_default();
        let counter = if value < expected { &self.lost } else { &self.phantoms };
        self.violation(counter, key, value, expected, node);
    }

    fn violation(&self, counter: &AtomicU64, key: &str, value: u64, expected: u64, node: &str) {
        counter.fetch_add(1, Relaxed);
        let mut samples = lock(&self.samples);
        if samples.len() < SAMPLES_MAX {
            samples.push(format!("{key} read through {node}: {value}, acknowledged was {expected}"));
        }
    }

    fn fresh_lane(&self) -> Lane {
        let serial = self.serial.fetch_add(1, Relaxed);
        Lane { key: format!("{}:{serial}", self.prefix), acknowledged: 0, issued: 0 }
    }
}

/// One connection per node, made when first needed.
struct Clients<'a> {
    nodes: &'a [NodeAddress],
    timeout: Duration,
    connections: Vec<Option<RespClient>>,
}

impl<'a> Clients<'a> {
    fn new(nodes: &'a [NodeAddress], timeout: Duration) -> Clients<'a> {
        Clients { nodes, timeout, connections: nodes.iter().map(|_| None).collect() }
    }

    fn connected(&mut self, node: usize) -> Option<&mut RespClient> {
        if self.connections[node].is_none() {
            self.connections[node] = RespClient::connect(self.nodes[node].resp, self.timeout).ok();
        }
        self.connections[node].as_mut()
    }

    fn forget(&mut self, node: usize) {
        self.connections[node] = None;
    }

    fn command(&mut self, node: usize, arguments: &[&str]) -> std::io::Result<Reply> {
        let Some(client) = self.connected(node) else { return Err(std::io::ErrorKind::NotConnected.into()) };
        let reply = client.command(arguments);
        if reply.is_err() {
            self.forget(node);
        }
        reply
    }

    fn read_patiently(&mut self, node: usize, key: &str) -> Option<u64> {
        let started = Instant::now();
        while started.elapsed() < VERIFY_PATIENCE {
            if let Some(value) = number(&self.command(node, &["GET", key])) {
                return Some(value);
            }
            sleep(RETRY_PAUSE);
        }
        None
    }
}

/// The number a read returned: a missing key is 0, an error or a failed read is nothing to compare.
fn number(reply: &std::io::Result<Reply>) -> Option<u64> {
    match reply {
        Ok(Reply::Nil) => Some(0),
        // What is no number was never written: larger than anything issued, so it counts as a phantom.
        Ok(Reply::Bulk(bytes)) => {
            Some(std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX))
        }
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_below_and_above_what_was_acknowledged_are_told_apart() {
        let registers = Registers::new("test", 1);
        registers.compare("k", 5, &[5], "node-1");
        assert_eq!((registers.lost.load(Relaxed), registers.phantoms.load(Relaxed)), (0, 0));
        registers.compare("k", 4, &[5, 7], "node-1");
        registers.compare("k", 6, &[5, 7], "node-1");
        registers.compare("k", 7, &[5, 7], "node-1");
        assert_eq!((registers.lost.load(Relaxed), registers.phantoms.load(Relaxed)), (1, 1));
        assert_eq!(registers.samples().len(), 2);
    }

    #[test]
    fn an_unknown_outcome_closes_the_key() {
        let registers = Registers::new("test", 1);
        let lane = lock(&registers.lanes[0]).clone();
        registers.settle(0, &lane, 1, &Outcome::Acknowledged);
        let lane = lock(&registers.lanes[0]).clone();
        assert_eq!(lane.acknowledged, 1);
        registers.settle(0, &lane, 2, &Outcome::InDoubt("timed out".into()));
        assert_ne!(lock(&registers.lanes[0]).key, lane.key);
        let closed = lock(&registers.closed);
        assert_eq!((closed[0].acknowledged, closed[0].in_doubt), (1, 2));
    }
}
