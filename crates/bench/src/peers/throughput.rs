//! Closed loop over every workload, then latency at a rate that Valkey sustains.

use super::load::{Generator, Sample, words};
use super::results::{Direction, Results};
use super::servers::{Running, SERVER_PROCESSOR, Target, VALKEY_JEMALLOC};
use super::workloads::{DATASETS, Dataset, LATENCY, Workload};
use super::{Settings, main_target, progress};
use crate::Result;

const CONNECTIONS: &str = "50";
/// Share of Valkey's saturation rate at which latency is compared.
const RATE_SHARE: f64 = 0.7;
/// A reply that takes this long is worth a note: something stood still.
const STALL_US: f64 = 200_000.0;

/// A server that is filled, and stopped while another one is measured.
struct Filled<'a> {
    target: &'a Target,
    server: Running,
    keys: u64,
}

/// All rounds of all closed-loop workloads that were asked for, and of latency at a rate.
///
/// # Errors
/// When a server does not start or misbehaves.
pub(super) fn run(settings: &Settings, targets: &[Target], results: &mut Results) -> Result<()> {
    for (index, dataset) in DATASETS.iter().enumerate() {
        let chosen: Vec<&Workload> =
            dataset.workloads.iter().filter(|workload| settings.wants(workload.name)).collect();
        let at_rate = index == 0 && settings.wants(LATENCY);
        if chosen.is_empty() && !at_rate {
            continue;
        }
        let mut servers = filled(settings, targets, dataset)?;
        for round in 0..settings.rounds {
            for place in 0..servers.len() {
                // Another one goes first in every round.
                let place = (place + round) % servers.len();
                measure(settings, &mut servers[place], dataset, &chosen, round, results)?;
            }
            if at_rate {
                latency_at_rate(settings, &mut servers, dataset, round, results)?;
            }
        }
    }
    judge(targets, results);
    judge_latency(targets, results);
    Ok(())
}

/// Starts and fills the servers one after another. Filling takes longer than measuring, so that each is filled once for all
/// rounds; a server that waits for its turn is stopped by a signal and takes no time from the others.
fn filled<'a>(settings: &Settings, targets: &'a [Target], dataset: &Dataset) -> Result<Vec<Filled<'a>>> {
    let keys = settings.keys(dataset.keys);
    let mut servers = Vec::new();
    for target in targets.iter().filter(|target| !target.is_for_memory_only()) {
        let server = Running::start(target, SERVER_PROCESSOR, 1)?;
        Generator::new(&settings.binary, &server).fill(keys, dataset.value_bytes, None)?;
        server.expect_keys(keys, target.name)?;
        server.pause()?;
        servers.push(Filled { target, server, keys });
    }
    Ok(servers)
}

fn measure(
    settings: &Settings,
    filled: &mut Filled<'_>,
    dataset: &Dataset,
    chosen: &[&Workload],
    round: usize,
    results: &mut Results,
) -> Result<()> {
    let Filled { target, server, keys } = filled;
    server.resume(target.name)?;
    let generator = Generator::new(&settings.binary, server);
    for workload in chosen {
        let mut arguments = shape(settings, *keys, dataset.value_bytes, round);
        arguments.extend(words(workload.arguments));
        let sample = generator
            .sample(&[server.pid()], &arguments)
            .map_err(|error| format!("{} on {}: {error}", workload.name, target.name))?;
        if sample.found.misses > 0 {
            return Err(format!("{} on {}: keys are missing", workload.name, target.name).into());
        }
        progress(&format!(
            "round {} {:<18} {:<12} {:>9.0} op/s {:>6.2} us CPU, p99 {:.0} us, load busy {:.0}%",
            round + 1,
            target.name,
            workload.name,
            sample.found.rate,
            sample.cpu_us,
            sample.found.latency_us.p99,
            sample.found.load_cpu_share.unwrap_or_default() * 100.0,
        ));
        note_stall(&sample, workload.name, target, round, results);
        results.add(workload.name, target.name, sample);
    }
    server.pause()
}

fn note_stall(sample: &Sample, workload: &str, target: &Target, round: usize, results: &mut Results) {
    let max = sample.found.latency_us.max;
    if max > STALL_US {
        let (round, name) = (round + 1, target.name);
        results.notes.push(format!("{workload} on {name}, round {round}: a reply took {:.0} ms", max / 1e3));
    }
}

/// What every run of the load generator is told.
fn shape(settings: &Settings, keys: u64, value_bytes: u64, round: usize) -> Vec<String> {
    let measured = settings.measured.as_secs_f64();
    let pairs = [
        ("--connections", CONNECTIONS.to_owned()),
        ("--keys", keys.to_string()),
        ("--value-size", value_bytes.to_string()),
        ("--warmup", format!("{}", measured / 4.0)),
        ("--duration", format!("{measured}")),
        ("--seed", (round + 1).to_string()),
    ];
    pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

/// Ratios of medians against the limits, ours against every peer.
fn judge(targets: &[Target], results: &mut Results) {
    let Some(main) = main_target(targets) else { return };
    for workload in DATASETS.iter().flat_map(|dataset| dataset.workloads) {
        let Some(baseline) = results.median_rate(workload.name, VALKEY_JEMALLOC) else { continue };
        let rate = |results: &Results, name: &str| results.median_rate(workload.name, name);
        if let Some(ours) = rate(results, main.name) {
            let title = format!("{}: {} over {VALKEY_JEMALLOC}", workload.title, main.name);
            let limit = workload.limit;
            results.judge(&title, ours / baseline, "x", Direction::AtLeast, limit.at_least, Some(limit.aim));
            for peer in
                targets.iter().filter(|target| !target.is_hypercache() && target.name != VALKEY_JEMALLOC)
            {
                if let Some(theirs) = rate(results, peer.name) {
                    let title = format!("{}: {} over {}", workload.title, main.name, peer.name);
                    results.judge(&title, ours / theirs, "x", Direction::AtLeast, 1.0, None);
                }
            }
        }
        let epoll = targets.iter().find(|target| target.is_epoll());
        if let (Some(limit), Some(epoll)) = (workload.epoll, epoll)
            && let Some(ours) = rate(results, epoll.name)
        {
            let title = format!("{}: epoll path over {VALKEY_JEMALLOC}", workload.title);
            results.judge(&title, ours / baseline, "x", Direction::AtLeast, limit.at_least, Some(limit.aim));
        }
    }
}

/// The open loop: all servers at 70% of what Valkey can do without pipeline, found anew in every round.
fn latency_at_rate(
    settings: &Settings,
    servers: &mut [Filled<'_>],
    dataset: &Dataset,
    round: usize,
    results: &mut Results,
) -> Result<()> {
    let Some(baseline) = servers.iter_mut().find(|filled| filled.target.name == VALKEY_JEMALLOC) else {
        return Ok(());
    };
    let saturated = at_rate(settings, baseline, dataset, round, None)?;
    let rate = (saturated.found.rate * RATE_SHARE).round();
    for place in 0..servers.len() {
        let filled = &mut servers[(place + round) % servers.len()];
        let sample = at_rate(settings, filled, dataset, round, Some(rate))?;
        let (latency, target) = (&sample.found.latency_us, filled.target);
        progress(&format!(
            "round {} {:<18} {LATENCY:<12} at {rate} op/s: p50 {:.0}, p99 {:.0}, p99.9 {:.0} us, {} unsent",
            round + 1,
            target.name,
            latency.p50,
            latency.p99,
            latency.p999,
            sample.found.operations_unsent,
        ));
        note_stall(&sample, LATENCY, target, round, results);
        results.add(LATENCY, target.name, sample);
    }
    Ok(())
}

fn judge_latency(targets: &[Target], results: &mut Results) {
    let Some(main) = main_target(targets) else { return };
    let p99 = |name: &str| results.median(LATENCY, name, |sample| sample.found.latency_us.p99);
    if let (Some(ours), Some(theirs)) = (p99(main.name), p99(VALKEY_JEMALLOC)) {
        let title = format!("p99 of GET at 70% of Valkey's saturation: {} over {VALKEY_JEMALLOC}", main.name);
        results.judge(&title, ours / theirs, "x", Direction::AtMost, 1.0, Some(0.5));
    }
}

/// GETs without pipeline, as fast as the server goes or at a rate.
fn at_rate(
    settings: &Settings,
    filled: &mut Filled<'_>,
    dataset: &Dataset,
    round: usize,
    rate: Option<f64>,
) -> Result<Sample> {
    let Filled { target, server, keys } = filled;
    server.resume(target.name)?;
    let mut arguments = shape(settings, *keys, dataset.value_bytes, round);
    arguments.extend(words(&["--command", "get"]));
    arguments.extend(rate.iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]));
    let sample = Generator::new(&settings.binary, server).sample(&[server.pid()], &arguments)?;
    server.pause()?;
    Ok(sample)
}
