//! `kill -9` of a random node under write load, and its restart, round after round.
//!
//! Two things are timed in every round: from the kill until keys whose primary was the killed node take writes
//! again (through each of the survivors), and from the restart until the cluster says it is whole. What is
//! counted over all rounds is whether any acknowledged write is missing, see `registers`.

use crate::Result;
use crate::cluster::{Cluster, FORM_TIMEOUT, NodeAddress, Options};
use crate::context::Context;
use crate::histogram::middle_and_max;
use crate::placement::keys_by_primary;
use crate::registers::Registers;
use crate::report::Report;
use crate::resp_client::{Outcome, RespClient, outcome_of};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use stdx::Random;

const NODES: usize = 3;
const WRITERS: usize = 4;
const LANES_PER_WRITER: usize = 64;
const PACE: Duration = Duration::from_micros(300);
const PROBE_KEYS: usize = 8;
const PROBE_PAUSE: Duration = Duration::from_millis(5);
const PROBE_GIVE_UP: Duration = Duration::from_secs(20);
/// Load before each kill, so that every round kills in the middle of writes.
const LOAD_BEFORE_KILL: Duration = Duration::from_millis(500);
const FAILOVER_P50_LIMIT_S: f64 = 1.5;
/// Killing the Raft leader costs an election more than killing another node: the median of fewer rounds than this says
/// mostly how often chance chose the leader.
const JUDGED_P50_ROUNDS_MIN: u64 = 20;
const FAILOVER_MAX_LIMIT_S: f64 = 4.0;
const RESYNC_LIMIT_S: f64 = 5.0;

/// Runs all rounds on one cluster, with the writers going on throughout.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let rounds = context.rounds(50, 5);
    let mut cluster = Cluster::formed(&context.binary, &Options::nodes(NODES))?;
    let nodes = cluster.addresses();
    let registers = Registers::new("kill", WRITERS * LANES_PER_WRITER);
    let mut random = Random::seeded(context.seed);
    let mut times = Times::default();
    let played = registers.under_writes(&nodes, WRITERS, PACE, &mut random, |random| {
        (0..rounds).try_for_each(|round| {
            let victim = random.below(NODES as u64) as usize;
            play_round(&mut cluster, victim, &registers, &mut times)
                .map_err(|error| format!("round {round}, victim node-{}: {error}", victim + 1).into())
        })
    });
    registers.verify_all(&nodes);
    Ok(summary(context, &registers, &times, rounds, played))
}

#[derive(Default)]
struct Times {
    first_write: Vec<Duration>,
    resync: Vec<Duration>,
}

fn summary(
    context: &Context,
    registers: &Registers,
    times: &Times,
    rounds: u64,
    played: Result<()>,
) -> Report {
    let mut report = Report::default();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    report.note(format!(
        "seed {}; acknowledged {}, refused {}, in doubt {}, reads compared {}",
        context.seed,
        count(&registers.acknowledged),
        count(&registers.refused),
        count(&registers.in_doubt),
        count(&registers.reads),
    ));
    registers.samples().into_iter().for_each(|sample| report.note(sample));
    report.exactly("rounds played", times.resync.len() as u64, rounds);
    if let Err(error) = played {
        report.require("every round ends whole", false, error);
    }
    report.exactly("acknowledged writes lost", count(&registers.lost), 0);
    report.exactly("refused or unsent writes seen", count(&registers.phantoms), 0);
    let (p50, max) = middle_and_max(&times.first_write);
    if rounds >= JUDGED_P50_ROUNDS_MIN {
        report.at_most("first good write after the kill, p50", p50, FAILOVER_P50_LIMIT_S, "s");
    } else {
        report.note(format!("first good write after the kill: p50 {p50:.3} s, too few rounds to judge it"));
    }
    report.at_most("first good write after the kill, max", max, FAILOVER_MAX_LIMIT_S, "s");
    let (p50, max) = middle_and_max(&times.resync);
    report.note(format!("back in sync after the restart: p50 {p50:.3} s"));
    report.at_most("back in sync after the restart, max", max, RESYNC_LIMIT_S, "s");
    report
}

fn play_round(cluster: &mut Cluster, victim: usize, registers: &Registers, times: &mut Times) -> Result<()> {
    let nodes = cluster.addresses();
    sleep(LOAD_BEFORE_KILL);
    let survivors: Vec<NodeAddress> = nodes
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != victim)
        .map(|(_, node)| node.clone())
        .collect();
    let keys = keys_by_primary(&survivors[0], &nodes[victim].name, PROBE_KEYS)?.there;
    cluster.nodes[victim].kill()?;
    let killed = Instant::now();
    times.first_write.push(first_good_write(&survivors, &keys, killed)?);
    let restarted = Instant::now();
    cluster.nodes[victim].start()?;
    cluster.wait_settled(NODES, FORM_TIMEOUT)?;
    times.resync.push(restarted.elapsed());
    registers.verify_closed(&nodes);
    Ok(())
}

/// The time from `since` until a write of one of `keys` has been acknowledged through every survivor.
fn first_good_write(survivors: &[NodeAddress], keys: &[String], since: Instant) -> Result<Duration> {
    thread::scope(|scope| {
        let probes: Vec<_> =
            survivors.iter().map(|node| scope.spawn(move || poll_writes(node, keys, since))).collect();
        let mut slowest = Duration::ZERO;
        for probe in probes {
            slowest = slowest.max(probe.join().expect("a probe does not panic")?);
        }
        Ok(slowest)
    })
}

fn poll_writes(node: &NodeAddress, keys: &[String], since: Instant) -> Result<Duration> {
    let mut client = None;
    let mut last = String::new();
    for key in keys.iter().cycle() {
        if since.elapsed() > PROBE_GIVE_UP {
            break;
        }
        if client.is_none() {
            client = Some(RespClient::connect(node.resp, PROBE_GIVE_UP)?);
        }
        let Some(connected) = client.as_mut() else { continue };
        match outcome_of(connected.command(&["SET", key, "1"])) {
            Outcome::Acknowledged => return Ok(since.elapsed()),
            Outcome::Refused(error) | Outcome::InDoubt(error) => last = error,
        }
        sleep(PROBE_PAUSE);
    }
    Err(format!("no good write through {} for {PROBE_GIVE_UP:?}, last: {last}", node.name).into())
}
