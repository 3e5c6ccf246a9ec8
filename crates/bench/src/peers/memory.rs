//! What keys and connections cost in resident memory, and whether growing ever makes one command wait.

use super::load::{Generator, words};
use super::results::{Direction, Grid, Results};
use super::servers::{Running, SERVER_PROCESSOR, Target, VALKEY, VALKEY_JEMALLOC};
use super::workloads::{GROWTH, IDLE, MEMORY};
use super::{Settings, main_target, progress};
use crate::Result;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

const KEY_BYTES: u64 = 16;
/// Chosen around the moments when tables double.
const KEYS: [u64; 4] = [1_000_000, 1_500_000, 2_000_000, 5_000_000];
const VALUES: [u64; 2] = [32, 100];
/// Long enough for nothing to expire.
const TTL_S: u64 = 100_000;
const AIM: f64 = 32.0;
const AIM_TTL: f64 = 36.0;
/// Gives allocators and incremental rehashing time to come to rest; in a short run just a moment.
const SETTLE: Duration = Duration::from_millis(1_000);
const SETTLE_SHORT: Duration = Duration::from_millis(300);
/// By how much a short run has fewer keys: with fewer still, the fixed costs of an empty server would drown all else.
const SHORT_DIVISOR: u64 = 10;

const GROWTH_KEYS: u64 = 20_000_000;
/// Few enough for a processor's cache.
const UNCHANGED_KEYS: u64 = 1_000;
const GROWTH_LIMIT_MS: f64 = 2.0;
const GROWTH_AIM_MS: f64 = 0.5;

const IDLE_CONNECTIONS: usize = 10_000;
const IDLE_LIMIT: f64 = 6.0 * 1024.0;
const IDLE_AIM: f64 = 2.0 * 1024.0;
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Ours once (the event loop has no part in it), and all peers.
fn one_of_ours(targets: &[Target]) -> Vec<&Target> {
    let main = main_target(targets).map(|target| target.name);
    targets.iter().filter(|target| !target.is_hypercache() || Some(target.name) == main).collect()
}

fn settle(settings: &Settings) -> Duration {
    if settings.short { SETTLE_SHORT } else { SETTLE }
}

/// Resident memory per key beyond the bytes of key and value.
///
/// # Errors
/// When a server does not start or misbehaves.
pub(super) fn per_key(settings: &Settings, targets: &[Target], results: &mut Results) -> Result<()> {
    if !settings.wants(MEMORY) {
        return Ok(());
    }
    let targets = one_of_ours(targets);
    let mut grid = Grid::new(
        "Memory per key beyond 16 B of key and the value, in bytes (growth of resident memory)",
        "keys, value",
        targets.iter().map(|target| target.name),
    );
    for value_bytes in VALUES {
        for ttl_s in [None, Some(TTL_S)] {
            for keys in KEYS.map(|keys| if settings.short { keys / SHORT_DIVISOR } else { keys }) {
                let ttl = if ttl_s.is_some() { ", TTL" } else { "" };
                let title = format!("{}, {value_bytes} B{ttl}", Settings::label(keys));
                let mut row = Vec::new();
                for target in &targets {
                    row.push(overhead(settings, target, keys, value_bytes, ttl_s)?);
                }
                progress(&format!("memory {title:<20} {}", shown(&targets, &row)));
                judge_memory(&targets, &row, &title, ttl_s.is_some(), results);
                grid.push(title, row.iter().map(|bytes| format!("{bytes:.1}")).collect());
            }
        }
    }
    results.grids.push(grid);
    Ok(())
}

fn overhead(
    settings: &Settings,
    target: &Target,
    keys: u64,
    value_bytes: u64,
    ttl_s: Option<u64>,
) -> Result<f64> {
    let server = Running::start(target, SERVER_PROCESSOR, 1)?;
    let generator = Generator::new(&settings.binary, &server);
    generator.touch()?;
    sleep(settle(settings));
    let empty = server.resident()?;
    generator.fill(keys, value_bytes, ttl_s)?;
    server.expect_keys(keys, target.name)?;
    sleep(settle(settings));
    let grown = server.resident()?.saturating_sub(empty);
    Ok(grown as f64 / keys as f64 - (KEY_BYTES + value_bytes) as f64)
}

/// Below the leaner of both Valkeys.
fn judge_memory(targets: &[&Target], row: &[f64], title: &str, ttl: bool, results: &mut Results) {
    let of = |wanted: &dyn Fn(&Target) -> bool| {
        let bytes = targets.iter().zip(row).filter(|(target, _)| wanted(target)).map(|(_, bytes)| *bytes);
        bytes.min_by(f64::total_cmp)
    };
    let ours = of(&|target| target.is_hypercache());
    let theirs = of(&|target| target.name == VALKEY || target.name == VALKEY_JEMALLOC);
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        let aim = if ttl { AIM_TTL } else { AIM };
        results.judge(&format!("memory per key: {title}"), ours, "B", Direction::AtMost, theirs, Some(aim));
    }
}

fn shown(targets: &[&Target], row: &[f64]) -> String {
    let cells = targets.iter().zip(row).map(|(target, bytes)| format!("{} {bytes:.1} B", target.name));
    cells.collect::<Vec<_>>().join(", ")
}

/// The slowest command while keys are added one after another over one connection; and, to tell what of it is the machine's,
/// the slowest of as many commands that change nothing.
///
/// # Errors
/// As for [`per_key`].
pub(super) fn growth(settings: &Settings, targets: &[Target], results: &mut Results) -> Result<()> {
    if !settings.wants(GROWTH) {
        return Ok(());
    }
    let targets = one_of_ours(targets);
    let keys = settings.keys(GROWTH_KEYS);
    let load = |command: &str, key_count: u64| {
        let mut arguments = words(&["--command", command, "--distribution", "sequential", "--warmup", "0"]);
        arguments.extend(words(&["--connections", "1", "--pipeline", "16", "--value-size", "8"]));
        arguments.extend([
            "--keys".to_owned(),
            key_count.to_string(),
            "--requests".to_owned(),
            keys.to_string(),
        ]);
        arguments
    };
    let title = format!(
        "Latency while growing from 0 to {:.1} M keys, one connection, pipeline 16, in ms",
        keys as f64 / 1e6
    );
    let mut grid = Grid::new(&title, "latency", targets.iter().map(|target| target.name));
    let (mut slowest, mut p999, mut unchanged) = (Vec::new(), Vec::new(), Vec::new());
    for target in &targets {
        let server = Running::start(target, SERVER_PROCESSOR, 1)?;
        let generator = Generator::new(&settings.binary, &server);
        let found = generator.run(&load("set", keys))?;
        server.expect_keys(keys, target.name)?;
        let max_ms = found.latency_us.max / 1e3;
        let unchanged_ms = generator.run(&load("get", UNCHANGED_KEYS))?.latency_us.max / 1e3;
        progress(&format!(
            "growth {:<18} slowest {max_ms:.2} ms, p99.9 {:.2} ms; slowest GET thereafter {unchanged_ms:.2} ms",
            target.name,
            found.latency_us.p999 / 1e3
        ));
        if target.is_hypercache() {
            let what = format!("slowest command while growing to {} keys", Settings::label(keys));
            results.judge(&what, max_ms, "ms", Direction::AtMost, GROWTH_LIMIT_MS, Some(GROWTH_AIM_MS));
        }
        slowest.push(format!("{max_ms:.2}"));
        p999.push(format!("{:.3}", found.latency_us.p999 / 1e3));
        unchanged.push(format!("{unchanged_ms:.2}"));
    }
    grid.push("slowest".to_owned(), slowest);
    grid.push("p99.9".to_owned(), p999);
    grid.push("slowest of as many GET thereafter".to_owned(), unchanged);
    results.grids.push(grid);
    Ok(())
}

/// Resident memory per connection that has been used once and does nothing.
///
/// # Errors
/// As for [`per_key`], and when there are not enough file descriptors.
pub(super) fn idle_connections(settings: &Settings, targets: &[Target], results: &mut Results) -> Result<()> {
    if !settings.wants(IDLE) {
        return Ok(());
    }
    let targets = &targets.iter().collect::<Vec<_>>();
    let count = if settings.short { IDLE_CONNECTIONS / 10 } else { IDLE_CONNECTIONS };
    let title = format!("Resident memory per idle connection, {count} of them, in bytes");
    let mut grid = Grid::new(&title, "connections", targets.iter().map(|target| target.name));
    let mut row = Vec::new();
    for target in targets {
        let server = Running::start(target, SERVER_PROCESSOR, 1)?;
        sleep(settle(settings));
        let before = server.resident()?;
        let connections = open(&server, count)?;
        sleep(settle(settings));
        let bytes = server.resident()?.saturating_sub(before) as f64 / connections.len() as f64;
        progress(&format!("idle {:<18} {bytes:.0} B a connection", target.name));
        if target.is_hypercache() {
            let what = format!("{count} idle connections: {}", target.name);
            results.judge(&what, bytes, "B each", Direction::AtMost, IDLE_LIMIT, Some(IDLE_AIM));
        }
        row.push(format!("{bytes:.0}"));
    }
    grid.push(count.to_string(), row);
    results.grids.push(grid);
    Ok(())
}

/// Opens connections and has each answer once.
fn open(server: &Running, count: usize) -> Result<Vec<TcpStream>> {
    let (question, answer): (&[u8], &[u8]) = match server.protocol {
        "memcached" => (b"get idle\r\n", b"END\r\n"),
        _ => (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
    };
    let mut connections = Vec::with_capacity(count);
    let mut reply = vec![0; answer.len()];
    for _ in 0..count {
        let mut stream = TcpStream::connect(server.address)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.write_all(question)?;
        stream.read_exact(&mut reply)?;
        if reply != answer {
            return Err(format!(
                "after {} connections: {}",
                connections.len(),
                String::from_utf8_lossy(&reply)
            )
            .into());
        }
        connections.push(stream);
    }
    Ok(connections)
}
