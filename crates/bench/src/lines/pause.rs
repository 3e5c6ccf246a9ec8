//! SIGSTOP of a node while the others take over its keys, then SIGCONT: an old primary must not serve old values.
//!
//! Readers keep asking the stopped node; their requests wait in its socket buffers and are the first thing it
//! sees when it goes on, before it can have heard that it was deposed. Each read may return nothing older than
//! what had been acknowledged, through the other nodes, when it was sent. Some writers go through the stopped node too.

use crate::Result;
use crate::cluster::{Cluster, FORM_TIMEOUT, NodeAddress, Options};
use crate::context::Context;
use crate::registers::Registers;
use crate::report::Report;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::Duration;
use stdx::Random;

const NODES: usize = 3;
/// Writers that only use the nodes that go on, and writers that also use the stopped one.
const SAFE_WRITERS: usize = 4;
const BOLD_WRITERS: usize = 2;
const READERS: usize = 8;
const LANES_PER_WRITER: usize = 32;
const WRITE_PACE: Duration = Duration::from_micros(500);
const READ_PACE: Duration = Duration::from_micros(500);
const LOAD_BEFORE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(10);
const LOAD_AFTER: Duration = Duration::from_secs(3);

/// Runs all rounds on one cluster.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let rounds = context.rounds(10, 1);
    let cluster = Cluster::formed(&context.binary, &Options::nodes(NODES))?;
    let mut random = Random::seeded(context.seed);
    let mut report = Report::default();
    let (mut lost, mut stale, mut phantoms) = (0, 0, 0);
    let (mut while_paused, mut reads_after) = (u64::MAX, u64::MAX);
    for round in 0..rounds {
        let victim = random.below(NODES as u64) as usize;
        let registers =
            Registers::new(&format!("pause:{round}"), (SAFE_WRITERS + BOLD_WRITERS) * LANES_PER_WRITER);
        let seen = play_round(&cluster, victim, &registers, random.next_u64())?;
        while_paused = while_paused.min(seen.acknowledged_while_paused);
        reads_after = reads_after.min(seen.reads_after);
        registers.verify_all(&cluster.addresses());
        lost += registers.lost.load(Relaxed);
        stale += registers.stale.load(Relaxed);
        phantoms += registers.phantoms.load(Relaxed);
        registers.samples().into_iter().for_each(|sample| report.note(sample));
    }
    report.note(format!("seed {}; {rounds} rounds of {PAUSE:?}", context.seed));
    report.exactly("stale reads through the stopped node", stale, 0);
    report.exactly("acknowledged writes lost", lost, 0);
    report.exactly("refused or unsent writes seen", phantoms, 0);
    // A run in which nothing was written meanwhile, or nothing was read afterwards, would show nothing.
    report.at_least("writes acknowledged during a pause, least", while_paused as f64, 1.0, "");
    report.at_least("reads through the node after a pause, least", reads_after as f64, 1.0, "");
    Ok(report)
}

struct Seen {
    acknowledged_while_paused: u64,
    reads_after: u64,
}

fn play_round(cluster: &Cluster, victim: usize, registers: &Registers, seed: u64) -> Result<Seen> {
    let nodes = cluster.addresses();
    let others: Vec<NodeAddress> = nodes
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != victim)
        .map(|(_, node)| node.clone())
        .collect();
    let stop = AtomicBool::new(false);
    let mut random = Random::seeded(seed);
    let seen = thread::scope(|scope| {
        for writer in 0..SAFE_WRITERS + BOLD_WRITERS {
            let own = writer * LANES_PER_WRITER..(writer + 1) * LANES_PER_WRITER;
            let through = if writer < SAFE_WRITERS { &others } else { &nodes };
            let (random, stop) = (Random::seeded(random.next_u64()), &stop);
            scope.spawn(move || registers.write_until(own, through, stop, WRITE_PACE, random));
        }
        for _ in 0..READERS {
            let (random, stop, node) = (Random::seeded(random.next_u64()), &stop, &nodes[victim]);
            scope.spawn(move || registers.read_until(node, stop, READ_PACE, random));
        }
        let seen = stop_and_go_on(cluster, victim, registers);
        stop.store(true, Relaxed);
        seen
    })?;
    cluster.wait_settled(NODES, FORM_TIMEOUT)?;
    Ok(seen)
}

fn stop_and_go_on(cluster: &Cluster, victim: usize, registers: &Registers) -> Result<Seen> {
    sleep(LOAD_BEFORE);
    cluster.nodes[victim].pause()?;
    let before = registers.acknowledged.load(Relaxed);
    sleep(PAUSE);
    let acknowledged_while_paused = registers.acknowledged.load(Relaxed) - before;
    let answered = registers.answered.load(Relaxed);
    cluster.nodes[victim].resume()?;
    sleep(LOAD_AFTER);
    let reads_after = registers.answered.load(Relaxed) - answered;
    Ok(Seen { acknowledged_while_paused, reads_after })
}
