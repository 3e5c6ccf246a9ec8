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

/// All rounds of all closed-loop workloads that were asked for.
///
/// # Errors
/// When a server does not start or misbehaves.
pub(super) fn run(settings: &Settings, targets: &[Target], results: &mut Results) -> Result<()> {
    for round in 0..settings.rounds {
        for dataset in DATASETS {
            let chosen: Vec<&Workload> =
                dataset.workloads.iter().filter(|workload| settings.wants(workload.name)).collect();
            if chosen.is_empty() {
                continue;
            }
            for place in 0..targets.len() {
                // Another one goes first in every round.
                let target = &targets[(place + round) % targets.len()];
                measure(settings, target, dataset, &chosen, round, results)?;
            }
        }
    }
    judge(targets, results);
    Ok(())
}

fn measure(
    settings: &Settings,
    target: &Target,
    dataset: &Dataset,
    chosen: &[&Workload],
    round: usize,
    results: &mut Results,
) -> Result<()> {
    let keys = settings.keys(dataset.keys);
    let server = Running::start(target, SERVER_PROCESSOR, 1)?;
    let generator = Generator::new(&settings.binary, &server);
    generator.fill(keys, dataset.value_bytes, None)?;
    for workload in chosen {
        let mut arguments = shape(settings, keys, dataset.value_bytes, round);
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
    Ok(())
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
///
/// # Errors
/// As for [`run`].
pub(super) fn latency_at_rate(settings: &Settings, targets: &[Target], results: &mut Results) -> Result<()> {
    let baseline = targets.iter().find(|target| target.name == VALKEY_JEMALLOC);
    let (true, Some(baseline), Some(main)) = (settings.wants(LATENCY), baseline, main_target(targets)) else {
        return Ok(());
    };
    for round in 0..settings.rounds {
        let saturated = at_rate(settings, baseline, round, None)?;
        let rate = (saturated.found.rate * RATE_SHARE).round();
        for place in 0..targets.len() {
            let target = &targets[(place + round) % targets.len()];
            let sample = at_rate(settings, target, round, Some(rate))?;
            let latency = &sample.found.latency_us;
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
    }
    let p99 = |name: &str| results.median(LATENCY, name, |sample| sample.found.latency_us.p99);
    if let (Some(ours), Some(theirs)) = (p99(main.name), p99(VALKEY_JEMALLOC)) {
        let title = format!("p99 of GET at 70% of Valkey's saturation: {} over {VALKEY_JEMALLOC}", main.name);
        results.judge(&title, ours / theirs, "x", Direction::AtMost, 1.0, Some(0.5));
    }
    Ok(())
}

/// GETs without pipeline, as fast as the server goes or at a rate.
fn at_rate(settings: &Settings, target: &Target, round: usize, rate: Option<f64>) -> Result<Sample> {
    let dataset = &DATASETS[0];
    let keys = settings.keys(dataset.keys);
    let server = Running::start(target, SERVER_PROCESSOR, 1)?;
    let generator = Generator::new(&settings.binary, &server);
    generator.fill(keys, dataset.value_bytes, None)?;
    let mut arguments = shape(settings, keys, dataset.value_bytes, round);
    arguments.extend(words(&["--command", "get"]));
    arguments.extend(rate.iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]));
    generator.sample(&[server.pid()], &arguments)
}
