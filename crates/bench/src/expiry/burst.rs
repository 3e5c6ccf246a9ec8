//! What a client notices when a million keys of others expire within a second.
//!
//! A round fills the server, looks at the latency of GETs of keys without a deadline for as long as nothing is due, and then from
//! the first deadline until the last dead key is gone. Both are measured in slices, so that a stretch of the quiet time can be
//! compared that is as long as the expiry took. The machine holds processes up for milliseconds now and then, so a figure is
//! the median of several rounds.

use super::dead_keys::keys_held;
use super::paced::Paced;
use super::wall_ms;
use crate::Result;
use crate::histogram::Histogram;
use crate::peers::servers::{Running, SERVER_PROCESSOR, Target};
use crate::report::Report;
use crate::resp_client::{RespClient, encode};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};
use stdx::Random;

const GETS_PER_SECOND: u32 = 20_000;
const CONNECTIONS: usize = 32;
/// Keys that are asked for, and never expire.
const LASTING_KEYS: u64 = 100_000;
const TIMEOUT: Duration = Duration::from_secs(10);
const SLICE: Duration = Duration::from_millis(100);
/// What filling may take at first, twice as much after every attempt that took longer; and the quiet time behind it.
const FILL: Duration = Duration::from_secs(4);
const FILL_ATTEMPTS: u32 = 5;
const QUIET: Duration = Duration::from_secs(3);
/// Nothing is due in the quiet time: it ends so long before the first deadline.
const MARGIN: Duration = Duration::from_millis(200);
/// A server that holds dead keys for longer has failed.
const EXPIRY_MAX: Duration = Duration::from_secs(60);
const SETS_PER_BATCH: u64 = 1_000;
const QUANTILE: f64 = 0.999;
const RATIO_MAX: f64 = 2.0;

/// How the deadlines lie in their second.
const SHAPES: [(&str, u64); 2] = [("spread over a second", 1_000), ("all at one moment", 1)];

/// What one round saw, latencies in microseconds.
struct Round {
    quiet_us: f64,
    expiring_us: f64,
    /// From the first deadline until no dead key was left.
    took: Duration,
}

/// Runs all rounds, one server after the other.
///
/// # Errors
/// When a server does not start or refuses anything.
pub(super) fn run(
    ours: &Target,
    redis: Option<&Target>,
    (keys, rounds): (u64, u64),
    seed: u64,
) -> Result<Report> {
    let mut report = Report::default();
    for (shape, span_ms) in SHAPES {
        let (quiet, expiring) = measure(ours, shape, (keys, span_ms, rounds), seed, &mut report)?;
        report.at_most(&format!("p99.9 over the quiet one, {shape}"), expiring / quiet, RATIO_MAX, "x");
        match redis {
            Some(redis) => {
                measure(redis, shape, (keys, span_ms, rounds), seed, &mut report)?;
            }
            None => report.skip("Redis beside it: there is none"),
        }
    }
    Ok(report)
}

/// Medians of the quiet p99.9 and of that while keys expire, in microseconds.
fn measure(
    target: &Target,
    shape: &str,
    (keys, span_ms, rounds): (u64, u64, u64),
    seed: u64,
    report: &mut Report,
) -> Result<(f64, f64)> {
    let server = Running::start(target, SERVER_PROCESSOR, 1)?;
    fill(server.address, LASTING_KEYS, "lasting", &mut |_| None)?;
    let mut found = Vec::new();
    for at in 0..rounds {
        let round = round(server.address, keys, span_ms, seed ^ at)?;
        println!(
            "  {} {shape}: quiet p99.9 {:.0} us, expiring {:.0} us, gone after {:.2} s",
            target.name,
            round.quiet_us,
            round.expiring_us,
            round.took.as_secs_f64()
        );
        found.push(round);
    }
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut all: Vec<f64> = found.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (quiet, expiring) = (median(&|round| round.quiet_us), median(&|round| round.expiring_us));
    let took = median(&|round| round.took.as_secs_f64());
    report.note(format!(
        "{}, {shape}: p99.9 {quiet:.0} us in quiet, {expiring:.0} us while keys expire, all gone {took:.2} s after the first deadline",
        target.name
    ));
    Ok((quiet, expiring))
}

fn round(address: SocketAddr, keys: u64, span_ms: u64, seed: u64) -> Result<Round> {
    let mut client = RespClient::connect(address, TIMEOUT)?;
    let first_ms = fill_in_time(address, keys, span_ms)?;
    let held = keys_held(&mut client)?;
    if held != keys + LASTING_KEYS {
        return Err(format!("{held} keys are held, and not {}", keys + LASTING_KEYS).into());
    }
    let mut gets = Gets::start(address, seed)?;
    let mut quiet = Vec::new();
    while wall_ms() + (MARGIN + SLICE).as_millis() as u64 <= first_ms {
        quiet.push(gets.slice()?);
        keys_held(&mut client)?;
    }
    sleep(Duration::from_millis(first_ms.saturating_sub(wall_ms())));
    gets.restart();
    let (mut expiring, mut slices, began) = (Histogram::new(), 0, Instant::now());
    loop {
        expiring.merge(&gets.slice()?);
        slices += 1;
        // Deadlines in the future are not dead keys.
        if keys_held(&mut client)? <= LASTING_KEYS {
            break;
        }
        if began.elapsed() > EXPIRY_MAX {
            return Err(format!("dead keys were left after {EXPIRY_MAX:?}").into());
        }
    }
    let mut as_long = Histogram::new();
    quiet.iter().rev().take(slices).for_each(|slice| as_long.merge(slice));
    let micros = |histogram: &Histogram| histogram.quantile(QUANTILE).as_secs_f64() * 1e6;
    Ok(Round { quiet_us: micros(&as_long), expiring_us: micros(&expiring), took: began.elapsed() })
}

/// Sets the keys that expire, and gives the first deadline in milliseconds since the epoch: the quiet time lies before it.
fn fill_in_time(address: SocketAddr, keys: u64, span_ms: u64) -> Result<u64> {
    for attempt in 0..FILL_ATTEMPTS {
        let first_ms = wall_ms() + (FILL * (1 << attempt) + QUIET + MARGIN).as_millis() as u64;
        fill(address, keys, "dying", &mut |number| Some(first_ms + number * span_ms / keys.max(1)))?;
        if wall_ms() + (QUIET + MARGIN).as_millis() as u64 <= first_ms {
            return Ok(first_ms);
        }
    }
    Err(format!("{keys} keys were not set in time").into())
}

/// GETs of lasting keys at a fixed rate.
struct Gets {
    paced: Paced,
    random: Random,
    until: Duration,
}

impl Gets {
    fn start(address: SocketAddr, seed: u64) -> Result<Gets> {
        let paced = Paced::connect(address, CONNECTIONS, GETS_PER_SECOND)?;
        Ok(Gets { paced, random: Random::seeded(seed), until: Duration::ZERO })
    }

    fn restart(&mut self) {
        self.until = Duration::ZERO;
        self.paced.restart();
    }

    fn slice(&mut self) -> Result<Histogram> {
        let mut latencies = Histogram::new();
        self.until += SLICE;
        let random = &mut self.random;
        self.paced.run_until(self.until, &mut latencies, &mut |_, _, out| {
            encode(&["GET", &format!("lasting:{}", random.below(LASTING_KEYS))], out);
        })?;
        Ok(latencies)
    }
}

/// Sets so many keys, with the deadlines that `deadline` gives in milliseconds since the epoch.
fn fill(
    address: SocketAddr,
    keys: u64,
    prefix: &str,
    deadline: &mut dyn FnMut(u64) -> Option<u64>,
) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut out = Vec::new();
    for first in (0..keys).step_by(SETS_PER_BATCH as usize) {
        let numbers = first..keys.min(first + SETS_PER_BATCH);
        let expected = b"+OK\r\n".repeat(numbers.clone().count());
        for number in numbers {
            let key = format!("{prefix}:{number}");
            match deadline(number) {
                Some(at) => encode(&["SET", &key, "0123456789abcdef", "PXAT", &at.to_string()], &mut out),
                None => encode(&["SET", &key, "0123456789abcdef"], &mut out),
            }
        }
        stream.write_all(&out)?;
        out.clear();
        let mut replies = vec![0; expected.len()];
        stream.read_exact(&mut replies)?;
        if replies != expected {
            return Err(format!("SET: {}", String::from_utf8_lossy(&replies[..80.min(replies.len())])).into());
        }
    }
    Ok(())
}
