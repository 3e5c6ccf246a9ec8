//! `kill -9` under write load with an append-only log, and the restart: what was acknowledged must be there again.
//!
//! Three parts. One node alone with `appendfsync always`, round after round: nothing acknowledged may be lost. Three such
//! nodes, all killed at the same moment: nothing either, whichever comes back first. And one node with `everysec`: what a
//! kill loses may be no older than a second.

use crate::Result;
use crate::cluster::{Cluster, FORM_TIMEOUT, NodeAddress, Options};
use crate::context::Context;
use crate::histogram::middle_and_max;
use crate::registers::Registers;
use crate::report::Report;
use crate::resp_client::{Outcome, Reply, RespClient, outcome_of};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};
use stdx::Random;

const WRITERS: usize = 4;
const LANES_PER_WRITER: usize = 32;
const PACE: Duration = Duration::from_micros(100);
/// Load before a kill: between these, so that kills fall on any moment of a sync, a rotation or a snapshot.
const LOAD_MS: (u64, u64) = (20, 300);
const RESTART_LIMIT_S: f64 = 10.0;
const EVERYSEC_LIMIT_S: f64 = 1.0;
const WAIT: Duration = Duration::from_secs(20);

/// Runs the three parts.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let mut report = Report::default();
    let mut random = Random::seeded(context.seed);
    report.note(format!("seed {}", context.seed));
    let always = |nodes| persistent(nodes, "always");
    let alone = context.rounds(200, 8);
    kills(context, &mut report, &mut random, ("one node", always(1), alone))?;
    let together = context.rounds(20, 2);
    kills(context, &mut report, &mut random, ("three nodes at once", always(3), together))?;
    everysec(context, &mut report, &mut random)?;
    Ok(report)
}

fn persistent(nodes: usize, appendfsync: &str) -> Options {
    // A low limit, so that snapshots replace the log while the rounds go on.
    Options::nodes(nodes)
        .flag("--appendonly", "yes")
        .flag("--appendfsync", appendfsync)
        .flag("--auto-aof-rewrite-min-size", "256kb")
}

/// Kills all nodes at once, `rounds` times.
fn kills(
    context: &Context,
    report: &mut Report,
    random: &mut Random,
    (title, options, rounds): (&str, Options, u64),
) -> Result<()> {
    let size = options.nodes;
    let mut cluster = Cluster::formed(&context.binary, &options)?;
    let nodes = cluster.addresses();
    let registers = Registers::new("restart", WRITERS * LANES_PER_WRITER);
    let mut restarts = Vec::new();
    let played = registers.under_writes(&nodes, WRITERS, PACE, random, |random| {
        (0..rounds).try_for_each(|_| {
            sleep(Duration::from_millis(LOAD_MS.0 + random.below(LOAD_MS.1 - LOAD_MS.0)));
            restarts.push(kill_all(&mut cluster, size)?);
            registers.verify_closed(&nodes);
            Ok(())
        })
    });
    if played.is_ok() {
        registers.verify_all(&nodes);
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    report.note(format!(
        "{title}: acknowledged {}, refused {}, in doubt {}, reads compared {}",
        count(&registers.acknowledged),
        count(&registers.refused),
        count(&registers.in_doubt),
        count(&registers.reads),
    ));
    registers.samples().into_iter().for_each(|sample| report.note(sample));
    if let Err::<(), crate::Error>(error) = played {
        report.require(&format!("{title}: every round ends whole"), false, error);
    }
    report.exactly(&format!("{title}: rounds played"), restarts.len() as u64, rounds);
    report.exactly(&format!("{title}: acknowledged writes lost"), count(&registers.lost), 0);
    report.exactly(&format!("{title}: refused or unsent writes seen"), count(&registers.phantoms), 0);
    let (p50, max) = middle_and_max(&restarts);
    report.note(format!("{title}: serving again after p50 {p50:.3} s"));
    report.at_most(&format!("{title}: serving again, max"), max, RESTART_LIMIT_S, "s");
    Ok(())
}

/// Kills every node and starts all again; how long it takes until the cluster is whole.
fn kill_all(cluster: &mut Cluster, size: usize) -> Result<Duration> {
    cluster.nodes.iter_mut().try_for_each(|node| node.kill())?;
    let began = Instant::now();
    cluster.nodes.iter_mut().try_for_each(|node| node.start())?;
    cluster.wait_settled(size, FORM_TIMEOUT)?;
    Ok(began.elapsed())
}

/// One client counts up; after the kill the counter must not be older than a second.
fn everysec(context: &Context, report: &mut Report, random: &mut Random) -> Result<()> {
    let rounds = context.rounds(20, 3);
    let mut cluster = Cluster::formed(&context.binary, &persistent(1, "everysec"))?;
    let node = cluster.addresses().remove(0);
    let mut oldest = Duration::ZERO;
    for round in 0..rounds {
        let key = format!("counter:{round}");
        let load = Duration::from_millis(500 + random.below(1_500));
        let acknowledged = count_up(&node, &key, load)?;
        let killed = Instant::now();
        kill_all(&mut cluster, 1)?;
        let kept = RespClient::connect(node.resp, WAIT)?.command(&["GET", &key])?;
        let kept = match kept {
            Reply::Bulk(text) => String::from_utf8_lossy(&text).parse::<usize>()?,
            _ => 0,
        };
        if let Some(first_lost) = acknowledged.get(kept) {
            oldest = oldest.max(killed - *first_lost);
        }
    }
    let (title, oldest) = ("everysec: age of the oldest write lost", oldest.as_secs_f64());
    if context.short {
        // It depends on how long the disk takes for one sync, which a machine that does something else stretches.
        report.note(format!("{title}: {oldest:.3} s, judged by the long form"));
    } else {
        report.at_most(title, oldest, EVERYSEC_LIMIT_S, "s");
    }
    Ok(())
}

/// Sets `key` to 1, 2, 3... for a while; when each was acknowledged.
fn count_up(node: &NodeAddress, key: &str, load: Duration) -> Result<Vec<Instant>> {
    let mut client = RespClient::connect(node.resp, WAIT)?;
    let (began, mut acknowledged) = (Instant::now(), Vec::new());
    while began.elapsed() < load {
        let next = (acknowledged.len() + 1).to_string();
        match outcome_of(client.command(&["SET", key, &next])) {
            Outcome::Acknowledged => acknowledged.push(Instant::now()),
            Outcome::Refused(error) | Outcome::InDoubt(error) => return Err(error.into()),
        }
    }
    Ok(acknowledged)
}
