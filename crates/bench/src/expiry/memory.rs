//! How far `used_memory` goes beyond `maxmemory` under a mixed load.
//!
//! Fifty connections send batches of one or sixteen commands, chosen at random, as fast as they are answered: half of them GET,
//! the rest SET, SETEX and DEL of keys that would fill the memory three times over, with values of 16 B to 64 KB (each power of
//! two as likely as the next). Another thread looks ten times a second. What counts is what the limit counts: HyperCache's
//! memory beyond that of its start, which `INFO` tells, and all of Redis's.

use super::connection::Connection;
use crate::Result;
use crate::peers::servers::{Running, SERVER_PROCESSOR, Target};
use crate::report::Report;
use crate::resp_client::{Reply, RespClient, encode};
use mio::{Events, Poll};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use stdx::Random;

const LIMIT_BYTES: u64 = 200_000_000;
const POLICIES: [&str; 2] = ["allkeys-lru", "allkeys-adaptive"];
const CONNECTIONS: usize = 50;
const PIPELINES: [u64; 2] = [1, 16];
const KEYS: u64 = 100_000;
/// Values are of 2^4 to 2^16 bytes.
const VALUE_BITS_MIN: u64 = 4;
const VALUE_BITS_MAX: u64 = 16;
/// Percentages of commands; the rest are DEL.
const GETS: u64 = 50;
const SETS: u64 = 30;
const SETEXES: u64 = 10;
const TTL_SECONDS_MAX: u64 = 20;
const LOOK_PERIOD: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(10);
const RECEIVE_BYTES: usize = 256 * 1024;
/// Percent of `maxmemory`.
const EXCESS_MAX: f64 = 1.0;

/// What was seen of one server, in bytes.
struct Found {
    looks: u64,
    /// Looks that saw more than the limit.
    looks_above: u64,
    most: u64,
    resident: u64,
    commands: u64,
    evicted: u64,
}

impl Found {
    fn excess_percent(&self) -> f64 {
        self.most.saturating_sub(LIMIT_BYTES) as f64 / LIMIT_BYTES as f64 * 100.0
    }

    fn describe(&self, name: &str, policy: &str) -> String {
        format!(
            "{name}, {policy}: at most {:.2} MB of {:.0} MB in {} looks, {} of them above; {:.1} MB resident at most; {} commands, {} evictions",
            self.most as f64 / 1e6,
            LIMIT_BYTES as f64 / 1e6,
            self.looks,
            self.looks_above,
            self.resident as f64 / 1e6,
            self.commands,
            self.evicted
        )
    }
}

/// Loads a server with each policy for so long, and Redis with its LRU.
///
/// # Errors
/// When a server does not start or refuses anything.
pub(super) fn run(ours: &Target, redis: Option<&Target>, duration: Duration, seed: u64) -> Result<Report> {
    let mut report = Report::default();
    for policy in POLICIES {
        let found = measure(ours, policy, duration, seed)?;
        report.note(found.describe(ours.name, policy));
        report.require(&format!("{policy} had to evict"), found.evicted > 0, found.evicted);
        let name = format!("used_memory above maxmemory, {policy}");
        report.at_most(&name, found.excess_percent(), EXCESS_MAX, "%");
    }
    match redis {
        None => report.skip("Redis beside it: there is none"),
        Some(redis) => {
            let found = measure(redis, POLICIES[0], duration, seed)?;
            report.note(found.describe(redis.name, POLICIES[0]));
        }
    }
    Ok(report)
}

fn measure(target: &Target, policy: &str, duration: Duration, seed: u64) -> Result<Found> {
    let limit = LIMIT_BYTES.to_string();
    let more = ["--maxmemory", &limit, "--maxmemory-policy", policy].map(str::to_owned);
    let server = Running::start_with(target, SERVER_PROCESSOR, 1, &more)?;
    let is_over = AtomicBool::new(false);
    let mut found = scope(|threads| {
        let looks = threads.spawn(|| look(&server, target.is_hypercache(), &is_over));
        let commands = load(server.address, duration, seed);
        is_over.store(true, Ordering::Relaxed);
        let mut found = looks.join().map_err(|_| "the thread that looks has panicked")??;
        found.commands = commands?;
        Ok::<Found, crate::Error>(found)
    })?;
    let mut client = RespClient::connect(server.address, TIMEOUT)?;
    found.evicted = figure(&mut client, "stats", "evicted_keys")?;
    Ok(found)
}

/// Looks at the memory in use until it is over.
fn look(server: &Running, is_beyond_start: bool, is_over: &AtomicBool) -> Result<Found> {
    let mut client = RespClient::connect(server.address, TIMEOUT)?;
    let startup = if is_beyond_start { figure(&mut client, "memory", "used_memory_startup")? } else { 0 };
    let mut found = Found { looks: 0, looks_above: 0, most: 0, resident: 0, commands: 0, evicted: 0 };
    while !is_over.load(Ordering::Relaxed) {
        let used = figure(&mut client, "memory", "used_memory")?.saturating_sub(startup);
        found.looks += 1;
        found.looks_above += u64::from(used > LIMIT_BYTES);
        found.most = found.most.max(used);
        found.resident = found.resident.max(server.resident()?);
        sleep(LOOK_PERIOD);
    }
    Ok(found)
}

/// A number of a section of INFO.
fn figure(client: &mut RespClient, section: &str, name: &str) -> Result<u64> {
    let Reply::Bulk(text) = client.command(&["INFO", section])? else {
        return Err(format!("INFO {section} is no text").into());
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let number =
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
    number.ok_or_else(|| format!("INFO {section} has no {name}").into())
}

/// Sends commands for so long; how many were answered.
fn load(address: SocketAddr, duration: Duration, seed: u64) -> Result<u64> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(CONNECTIONS);
    let mut connections = (0..CONNECTIONS)
        .map(|token| Ok((Connection::open(address, poll.registry(), token)?, 0)))
        .collect::<Result<Vec<(Connection, u64)>>>()?;
    let mut commands = Commands { random: Random::seeded(seed), value: vec![b'v'; 1 << VALUE_BITS_MAX] };
    let (began, mut answered) = (Instant::now(), 0);
    let mut buffer = vec![0; RECEIVE_BYTES];
    for (connection, waiting) in &mut connections {
        *waiting = commands.push_batch(connection.out());
        connection.flush()?;
    }
    while connections.iter().any(|(_, waiting)| *waiting > 0) {
        poll.poll(&mut events, Some(TIMEOUT))?;
        if events.is_empty() {
            return Err(format!("no reply for {TIMEOUT:?}").into());
        }
        for event in &events {
            let (connection, waiting) =
                connections.get_mut(event.token().0).ok_or("an event of no connection")?;
            if event.is_writable() {
                connection.flush()?;
            }
            let ended = connection.receive(&mut buffer)?;
            *waiting = waiting.checked_sub(ended).ok_or("a reply to no request")?;
            answered += ended;
            if *waiting == 0 && began.elapsed() < duration {
                *waiting = commands.push_batch(connection.out());
                connection.flush()?;
            }
        }
    }
    Ok(answered)
}

/// Chooses commands at random.
struct Commands {
    random: Random,
    value: Vec<u8>,
}

impl Commands {
    /// Adds a batch; its length.
    fn push_batch(&mut self, out: &mut Vec<u8>) -> u64 {
        let length = PIPELINES[self.random.below(PIPELINES.len() as u64) as usize];
        (0..length).for_each(|_| self.push(out));
        length
    }

    fn push(&mut self, out: &mut Vec<u8>) {
        let key = format!("mixed:{}", self.random.below(KEYS)).into_bytes();
        let lot = self.random.below(100);
        if lot < GETS {
            return encode(&[b"GET", &key[..]], out);
        }
        if lot >= GETS + SETS + SETEXES {
            return encode(&[b"DEL", &key[..]], out);
        }
        let bits = self.random.below(VALUE_BITS_MAX - VALUE_BITS_MIN) + VALUE_BITS_MIN;
        let bytes = (1 << bits) + self.random.below((1 << bits) + 1);
        let value = self.value.get(..bytes as usize).unwrap_or(&self.value);
        if lot < GETS + SETS {
            return encode(&[b"SET", &key[..], value], out);
        }
        let ttl = (1 + self.random.below(TTL_SECONDS_MAX)).to_string();
        encode(&[b"SETEX", &key[..], ttl.as_bytes(), value], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_of_all_kinds_and_sizes() {
        let mut commands = Commands { random: Random::seeded(7), value: vec![b'v'; 1 << VALUE_BITS_MAX] };
        let mut out = Vec::new();
        let lengths: Vec<u64> = (0..200).map(|_| commands.push_batch(&mut out)).collect();
        assert!(PIPELINES.iter().all(|length| lengths.contains(length)));
        let text = String::from_utf8_lossy(&out);
        let count = |name: &str| text.matches(&format!("\r\n{name}\r\n")).count() as u64;
        let all: u64 = lengths.iter().sum();
        assert_eq!(count("GET") + count("SET") + count("SETEX") + count("DEL"), all);
        assert!(["GET", "SET", "SETEX", "DEL"].into_iter().all(|name| count(name) > all / 20));
    }
}
