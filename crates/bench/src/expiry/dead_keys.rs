//! Keys that are past their deadline and held all the same, under a steady stream of short-lived ones; and what it costs the server.
//!
//! Deadlines are absolute (`SET ... PXAT`), so it is known of every key when it is due. Once a second, when every SET has been
//! answered, `DBSIZE` less the keys that are not due yet is the number of dead ones.

use super::paced::Paced;
use super::wall_ms;
use crate::Result;
use crate::histogram::Histogram;
use crate::peers::servers::{Running, SERVER_PROCESSOR, Target, cpu_of};
use crate::report::Report;
use crate::resp_client::{Reply, RespClient, encode};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use stdx::Random;

const SETS_PER_SECOND: u32 = 10_000;
const CONNECTIONS: usize = 50;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Times to live in milliseconds, each with the percentage of keys up to and including it.
const TTLS: [(u64, u64); 3] = [(50, 5_000), (80, 20_000), (100, 3_600_000)];
const VALUE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Percent of the keys held.
const MEAN_MAX: f64 = 1.0;
const MOST_MAX: f64 = 2.0;

/// What one server did.
struct Found {
    /// Percentage of dead keys, second by second, since the first was due.
    shares: Vec<f64>,
    /// Keys held at the end.
    held: u64,
    cpu: Duration,
}

impl Found {
    fn mean(&self) -> f64 {
        self.shares.iter().sum::<f64>() / self.shares.len().max(1) as f64
    }

    fn most(&self) -> f64 {
        self.shares.iter().copied().fold(0.0, f64::max)
    }

    fn describe(&self, name: &str) -> String {
        let (mean, most, cpu) = (self.mean(), self.most(), self.cpu.as_secs_f64());
        format!(
            "{name}: {mean:.2}% dead in the mean, {most:.2}% at most, {} keys held at the end, {cpu:.2} s of CPU",
            self.held
        )
    }
}

/// Runs the stream against one server after the other.
///
/// # Errors
/// When a server does not start or refuses anything.
pub(super) fn run(ours: &Target, redis: Option<&Target>, seconds: u32, seed: u64) -> Result<Report> {
    let mut report = Report::default();
    let found = measure(ours, seconds, seed)?;
    report.note(found.describe(ours.name));
    report.at_most("dead keys held, mean of all seconds", found.mean(), MEAN_MAX, "%");
    report.at_most("dead keys held, worst second", found.most(), MOST_MAX, "%");
    match redis {
        None => report.skip("processor time beside Redis: there is none"),
        Some(redis) => {
            let theirs = measure(redis, seconds, seed)?;
            report.note(theirs.describe(redis.name));
            let (ours, theirs) = (found.cpu.as_secs_f64(), theirs.cpu.as_secs_f64());
            report.at_most("processor time of the server, limit: Redis's", ours, theirs, "s");
        }
    }
    Ok(report)
}

fn measure(target: &Target, seconds: u32, seed: u64) -> Result<Found> {
    let server = Running::start(target, SERVER_PROCESSOR, 1)?;
    let mut client = RespClient::connect(server.address, TIMEOUT)?;
    let mut stream = Stream::start(server.address, seed)?;
    let cpu_before = cpu_of(server.pid())?;
    let (mut shares, mut held) = (Vec::new(), 0);
    for second in 1..=seconds {
        stream.run_until(Duration::from_secs(second.into()))?;
        held = keys_held(&mut client)?;
        let (alive, due) = stream.alive_and_due(wall_ms());
        if due > 0 {
            shares.push(held.saturating_sub(alive) as f64 / held.max(1) as f64 * 100.0);
        }
    }
    let cpu = cpu_of(server.pid())?.saturating_sub(cpu_before);
    if shares.is_empty() {
        return Err("no key was due".into());
    }
    Ok(Found { shares, held, cpu })
}

/// Keys that a server holds, dead or alive.
///
/// # Errors
/// When it does not tell.
pub(super) fn keys_held(client: &mut RespClient) -> Result<u64> {
    match client.command(&["DBSIZE"])? {
        Reply::Integer(keys) => Ok(u64::try_from(keys)?),
        other => Err(format!("DBSIZE: {other:?}").into()),
    }
}

/// SETs at a fixed rate, each of another key.
struct Stream {
    paced: Paced,
    random: Random,
    /// Deadlines of all keys that were set, in milliseconds since the epoch.
    deadlines: Vec<u64>,
    origin: (Instant, u64),
}

impl Stream {
    fn start(address: SocketAddr, seed: u64) -> Result<Stream> {
        let paced = Paced::connect(address, CONNECTIONS, SETS_PER_SECOND)?;
        let origin = (Instant::now(), wall_ms());
        Ok(Stream { paced, random: Random::seeded(seed), deadlines: Vec::new(), origin })
    }

    fn run_until(&mut self, end: Duration) -> Result<()> {
        let Stream { paced, random, deadlines, origin: (mono, wall) } = self;
        paced.run_until(end, &mut Histogram::new(), &mut |number, due, out| {
            let lot = random.below(100);
            let ttl_ms = TTLS.iter().find(|(up_to, _)| lot < *up_to).map_or(0, |(_, ttl_ms)| *ttl_ms);
            let at = *wall + due.duration_since(*mono).as_millis() as u64 + ttl_ms;
            deadlines.push(at);
            encode(&["SET", &format!("stream:{number}"), VALUE, "PXAT", &at.to_string()], out);
        })
    }

    /// Keys that are not due at a time, and those that are.
    fn alive_and_due(&self, now_ms: u64) -> (u64, u64) {
        let alive = self.deadlines.iter().filter(|at| **at > now_ms).count();
        (alive as u64, (self.deadlines.len() - alive) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lot_has_a_time_to_live() {
        let of = |lot: u64| TTLS.iter().find(|(up_to, _)| lot < *up_to).map(|(_, ttl_ms)| *ttl_ms);
        let lots: Vec<u64> = (0..100).filter_map(of).collect();
        let count = |ttl_ms| lots.iter().filter(|lot| **lot == ttl_ms).count();
        assert_eq!([5_000, 20_000, 3_600_000].map(count), [50, 30, 20]);
    }

    #[test]
    fn shares_are_of_the_seconds_seen() {
        let found = Found { shares: vec![0.5, 1.5, 1.0], held: 10, cpu: Duration::from_secs(1) };
        assert!((found.mean() - 1.0).abs() < 1e-9 && (found.most() - 1.5).abs() < 1e-9);
    }
}
