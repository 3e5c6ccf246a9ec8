//! Everything at once: links break, nodes stop and are failed over, answers of the Raft group get lost, maps lag.
//!
//! Each key is a register that one client writes, one value after the other. A read must return a value not older than
//! the last one acknowledged before the read began, and not newer than the last one whose write had begun when it
//! ended. After an `INDOUBT` the key is not written again, since that write may take effect whenever it likes.

use crate::harness::client::{ClientId, code, text};
use crate::harness::{Cluster, Setup};
use std::time::Duration;

const NODES: u64 = 3;

/// What is known of a register.
#[derive(Clone, Default)]
struct Register {
    key: String,
    acknowledged: i64,
    started: i64,
}

enum Operation {
    Write { register: usize },
    Read { register: usize, at_least: i64 },
}

struct Session {
    client: ClientId,
    /// Index of the register it writes now; one that only reads is never stuck behind a write of its own.
    register: Option<usize>,
    operation: Option<Operation>,
}

#[derive(Default)]
struct Tally {
    acknowledged: u64,
    read: u64,
    in_doubt: u64,
    refused: u64,
}

struct Chaos {
    cluster: Cluster,
    registers: Vec<Register>,
    sessions: Vec<Session>,
    tally: Tally,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        let copies = 2 + (seed % 2) as u8;
        let timeout = Duration::from_millis(400);
        let workers = 1 + (seed % 2) as usize;
        let setup =
            Setup { seed, copies, workers, partitions: 8, forward_timeout: timeout, ..Setup::default() };
        let mut cluster = Cluster::settled(setup);
        cluster.round_max = Duration::from_micros(800);
        let control = &mut cluster.control;
        (control.plans, control.coordinates, control.fails_over) = (true, true, true);
        control.lost_answers = 0.2;
        control.map_lag_max = Duration::from_millis(20);
        let mut chaos =
            Chaos { cluster, registers: Vec::new(), sessions: Vec::new(), tally: Tally::default() };
        for number in 0..9 {
            let client = chaos.cluster.connect(number % 3);
            let register = (number < 6).then(|| chaos.new_register());
            chaos.sessions.push(Session { client, register, operation: None });
        }
        chaos
    }

    fn new_register(&mut self) -> usize {
        let key = format!("r{}", self.registers.len());
        self.registers.push(Register { key, ..Register::default() });
        self.registers.len() - 1
    }

    fn clients(&mut self) {
        for index in 0..self.sessions.len() {
            if let Some(reply) = self.cluster.reply(self.sessions[index].client) {
                self.answered(index, &reply);
            }
            if self.sessions[index].operation.is_none() && self.cluster.random.chance(0.3) {
                self.start(index);
            }
        }
    }

    fn start(&mut self, index: usize) {
        let client = self.sessions[index].client;
        let writes = self.sessions[index].register.filter(|_| self.cluster.random.chance(0.5));
        let operation = if let Some(register) = writes {
            self.registers[register].started += 1;
            let Register { key, started, .. } = self.registers[register].clone();
            self.cluster.send(client, &format!("SET {key} {started}"));
            Operation::Write { register }
        } else {
            let register = self.cluster.random.below(self.registers.len() as u64) as usize;
            let Register { key, acknowledged, .. } = self.registers[register].clone();
            self.cluster.send(client, &format!("GET {key}"));
            Operation::Read { register, at_least: acknowledged }
        };
        self.sessions[index].operation = Some(operation);
    }

    fn answered(&mut self, index: usize, reply: &protocol::Value) {
        let operation = self.sessions[index].operation.take().expect("one reply per command");
        match (operation, code(reply).as_str()) {
            (Operation::Write { register }, "") => {
                let register = &mut self.registers[register];
                register.acknowledged = register.started;
                self.tally.acknowledged += 1;
            }
            (Operation::Write { .. }, "INDOUBT") => {
                self.sessions[index].register = Some(self.new_register());
                self.tally.in_doubt += 1;
            }
            (Operation::Read { register, at_least }, "") => {
                let Register { key, started, .. } = &self.registers[register];
                let line = text(reply);
                let value: i64 = match line.trim_matches('"') {
                    "nil" => 0,
                    number => number.parse().expect("only numbers are written"),
                };
                let seed = self.cluster.setup.seed;
                assert!(
                    at_least <= value && value <= *started,
                    "{key}: {at_least} <= {value} <= {started} (seed {seed})"
                );
                self.tally.read += 1;
            }
            (_, "CLUSTERDOWN" | "TRYAGAIN") => self.tally.refused += 1,
            (_, other) => panic!("{other} (seed {})", self.cluster.setup.seed),
        }
    }

    fn trouble(&mut self) {
        let Cluster { random, net, nodes, clock, .. } = &mut self.cluster;
        let (a, b, now) = (random.below(NODES) as usize, random.below(NODES) as usize, clock.mono());
        let stopped = nodes.iter().filter(|node| node.paused || node.isolated).count();
        match random.below(12) {
            0..=1 => net.break_links(a, b, now, random),
            2 => net.sever(a, b, now, random),
            3 | 4 => net.mend(a, b),
            5 => net.stall(a, b, true),
            6 | 7 => net.stall(a, b, false),
            8 if stopped == 0 => nodes[a].paused = true,
            9 if stopped == 0 => nodes[a].isolated = true,
            // Long enough, mostly, to be failed over.
            _ if random.chance(0.3) => {
                (nodes[a].paused, nodes[a].isolated) = (false, false);
            }
            _ => {}
        }
    }

    fn heal(&mut self) {
        for a in 0..NODES as usize {
            (self.cluster.nodes[a].paused, self.cluster.nodes[a].isolated) = (false, false);
            for b in 0..NODES as usize {
                self.cluster.net.mend(a, b);
                self.cluster.net.stall(a, b, false);
            }
        }
    }

    fn run(&mut self) {
        let end = self.cluster.now() + Duration::from_secs(10);
        while self.cluster.now() < end {
            if self.cluster.random.chance(0.005) {
                self.trouble();
            }
            self.cluster.round();
            self.clients();
        }
        self.heal();
        self.cluster.until_settled();
        let reader = self.cluster.connect(0);
        for register in self.registers.clone() {
            let line = text(&self.cluster.call(reader, &format!("GET {}", register.key)));
            let value: i64 = line.trim_matches('"').parse().unwrap_or(0);
            let Register { key, acknowledged, started } = register;
            assert!(
                acknowledged <= value && value <= started,
                "{key}: {acknowledged} <= {value} <= {started}"
            );
        }
    }
}

#[test]
fn rules_1_to_9_no_stale_read_and_no_lost_write_whatever_happens() {
    let mut total = Tally::default();
    for seed in 0..4 {
        let mut chaos = Chaos::new(seed);
        chaos.run();
        total.acknowledged += chaos.tally.acknowledged;
        total.read += chaos.tally.read;
        total.in_doubt += chaos.tally.in_doubt;
        total.refused += chaos.tally.refused;
    }
    let Tally { acknowledged, read, in_doubt, refused } = total;
    assert!(
        acknowledged > 1_000 && read > 1_000 && in_doubt > 5 && refused > 5,
        "{acknowledged} {read} {in_doubt} {refused}"
    );
}
