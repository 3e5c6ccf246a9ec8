//! Throughput of SET with a log, against none and against Redis.

use super::{Servers, Settings, median};
use crate::Result;
use crate::peers::load::{Generator, Sample, words};
use crate::peers::servers::{Running, SERVER_PROCESSOR, Target};
use crate::report::Report;

const KEYS: u64 = 1_000_000;
const VALUE_BYTES: u64 = 64;
const CONNECTIONS: &str = "50";
/// Requests in flight per connection: the first is what is judged.
const PIPELINES: [&str; 2] = ["1", "16"];

const NONE: &str = "HyperCache, no log";
const EVERY_SECOND: &str = "HyperCache, everysec";
const ALWAYS: &str = "HyperCache, always";
const REDIS_ALWAYS: &str = "Redis, always";

/// A server with its kind of log, and what was measured of it by pipeline.
struct Contender {
    name: &'static str,
    server: Running,
    samples: [Vec<Sample>; PIPELINES.len()],
}

impl Contender {
    fn start(settings: &Settings, name: &'static str, target: &Target, log: &[&str]) -> Result<Contender> {
        let server = Running::start_with(target, SERVER_PROCESSOR, 1, &words(log))?;
        let keys = settings.keys(KEYS);
        Generator::new(&settings.binary, &server).fill(keys, VALUE_BYTES, None)?;
        server.expect_keys(keys, name)?;
        server.pause()?;
        Ok(Contender { name, server, samples: Default::default() })
    }

    fn measure(&mut self, settings: &Settings, round: usize) -> Result<()> {
        self.server.resume(self.name)?;
        let generator = Generator::new(&settings.binary, &self.server);
        for (pipeline, samples) in PIPELINES.iter().zip(&mut self.samples) {
            let mut arguments = words(&["--command", "set", "--connections", CONNECTIONS]);
            arguments.extend(words(&["--pipeline", pipeline, "--value-size", &VALUE_BYTES.to_string()]));
            arguments.extend(words(&["--keys", &settings.keys(KEYS).to_string()]));
            arguments.extend(words(if settings.short {
                &["--warmup", "0.1", "--duration", "0.5"]
            } else {
                &["--warmup", "1", "--duration", "4"]
            }));
            arguments.extend(words(&["--seed", &(round + 1).to_string()]));
            let sample = generator.sample(&[self.server.pid()], &arguments)?;
            println!(
                "  round {} {:<22} pipeline {pipeline:<3} {:>9.0} op/s {:>6.2} us CPU, p99 {:.0} us",
                round + 1,
                self.name,
                sample.found.rate,
                sample.cpu_us,
                sample.found.latency_us.p99
            );
            samples.push(sample);
        }
        self.server.pause()
    }

    fn rate(&self, pipeline: usize) -> f64 {
        median(&self.samples[pipeline].iter().map(|sample| sample.found.rate).collect::<Vec<_>>())
    }

    fn cpu_us(&self, pipeline: usize) -> f64 {
        median(&self.samples[pipeline].iter().map(|sample| sample.cpu_us).collect::<Vec<_>>())
    }
}

/// Measures all in turns.
///
/// # Errors
/// When a server does not start or misbehaves.
pub(super) fn run(settings: &Settings, servers: &Servers, report: &mut Report) -> Result<()> {
    let start = |name, target, log: &[&str]| Contender::start(settings, name, target, log);
    let mut contenders = vec![
        start(NONE, &servers.ours, &[])?,
        start(EVERY_SECOND, &servers.ours, &["--appendonly", "yes", "--appendfsync", "everysec"])?,
        start(ALWAYS, &servers.ours, &["--appendonly", "yes", "--appendfsync", "always"])?,
    ];
    if let Some(redis) = &servers.redis {
        contenders.push(start(REDIS_ALWAYS, redis, &["--appendonly", "yes", "--appendfsync", "always"])?);
    }
    for round in 0..settings.rounds {
        let count = contenders.len();
        for place in 0..count {
            // Another one goes first in every round.
            contenders[(place + round) % count].measure(settings, round)?;
        }
    }
    for (index, pipeline) in PIPELINES.iter().enumerate() {
        judge(&contenders, (index, pipeline), report);
    }
    Ok(())
}

fn judge(contenders: &[Contender], (index, pipeline): (usize, &str), report: &mut Report) {
    for contender in contenders {
        report.note(format!(
            "SET, pipeline {pipeline}, {:<22} {:>9.0} op/s {:>6.2} us CPU",
            contender.name,
            contender.rate(index),
            contender.cpu_us(index)
        ));
    }
    let find = |name: &str| contenders.iter().find(|contender| contender.name == name);
    for (ours, theirs, limit) in [(EVERY_SECOND, NONE, 0.9), (ALWAYS, REDIS_ALWAYS, 2.0)] {
        let (Some(ours), Some(theirs)) = (find(ours), find(theirs)) else { continue };
        let ratio = ours.rate(index) / theirs.rate(index);
        let figure = format!("SET, pipeline {pipeline}: {} / {}", ours.name, theirs.name);
        if index == 0 {
            report.at_least(&figure, ratio, limit, "x");
        } else {
            report.note(format!("{figure}: {ratio:.3} x"));
        }
    }
}
