//! How fast ten million keys come back after a restart.

use super::{Servers, Settings, median, order, persistence_figure};
use crate::Result;
use crate::peers::load::{Generator, words};
use crate::peers::servers::{BOTH_PROCESSORS, Running, SERVER_PROCESSOR, Target};
use crate::report::Report;
use std::thread::sleep;
use std::time::{Duration, Instant};

const KEYS: u64 = 10_000_000;
const VALUE_BYTES: u64 = 100;
/// Restarts of each server, and how long one may take.
const RESTARTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(50);
const LIMIT: f64 = 2.0;

/// What is loaded from.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Log,
    Snapshot,
}

/// Restarts every server from either form, with one processor and with two.
///
/// # Errors
/// When a server does not come back, or without all its keys.
pub(super) fn run(settings: &Settings, servers: &Servers, report: &mut Report) -> Result<()> {
    for (processors, threads) in [(SERVER_PROCESSOR, 1), (BOTH_PROCESSORS, 2)] {
        for (form, name) in [(Form::Log, "the log"), (Form::Snapshot, "a snapshot")] {
            let mut rates = Vec::new();
            for target in servers.all() {
                let rate = keys_per_second(settings, target, (processors, threads), form)?;
                let label = format!("recovery from {name}, {threads} processor(s), {}", target.name);
                report.note(format!("{label:<60} {rate:>10.0} keys/s"));
                rates.push(rate);
            }
            if let [ours, redis] = rates[..] {
                let figure = format!("recovery from {name}, {threads} processor(s) / Redis");
                report.at_least(&figure, ours / redis, LIMIT, "x");
            }
        }
    }
    Ok(())
}

fn keys_per_second(
    settings: &Settings,
    target: &Target,
    (processors, threads): (&str, usize),
    form: Form,
) -> Result<f64> {
    let keys = settings.keys(KEYS);
    // A log that nothing shortens but an order.
    let log = ["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
    let mut server = Running::start_with(target, processors, threads, &words(&log))?;
    Generator::new(&settings.binary, &server).fill(keys, VALUE_BYTES, None)?;
    if form == Form::Snapshot {
        order(server.address, &["BGREWRITEAOF"])?;
        let asked = Instant::now();
        sleep(POLL);
        while persistence_figure(server.address, "aof_rewrite_in_progress")? != 0 {
            if asked.elapsed() > PATIENCE {
                return Err(format!("{} does not end its rewrite", target.name).into());
            }
            sleep(POLL);
        }
    }
    let mut seconds = Vec::new();
    for _ in 0..RESTARTS {
        let took = server.restart(target.name, PATIENCE)?;
        server.expect_keys(keys, target.name)?;
        println!("  {:<12} {processors:<4} restart in {:.2} s", target.name, took.as_secs_f64());
        seconds.push(took.as_secs_f64());
    }
    Ok(keys as f64 / median(&seconds))
}
