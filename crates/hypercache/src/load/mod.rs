//! `hypercache bench`: a load generator that costs less per operation than any server it measures.
//!
//! Each thread owns its share of the connections and one event loop, on io_uring where it may or on epoll. What is sent is a copy of an encoded template with
//! the key's digits patched in; what arrives is only scanned for where replies end. Nothing is allocated or locked per
//! operation, and one write carries a whole pipeline.
//!
//! Two ways to load a server. *Closed* (the default): a connection sends its next batch once the last one is answered, so the
//! server sets the pace and latency means little but its order of magnitude. *Open* (`--rate`): requests fall due at fixed times,
//! whether or not the server keeps up, and latency counts from the time a request was due, not from when it could at last
//! be sent. That is the correction for coordinated omission: a stall of the server delays all that fell due during it, and
//! every one of those is counted as late.
//!
//! Left out: TLS, RESP3, replies with attributes, and clients that follow redirects (any node answers any key).

mod book;
pub mod command;
mod drive;
mod report;
mod request;
mod scan;
mod tally;
#[cfg(test)]
mod tests;
mod wire;

pub use report::{Format, Report};

use crate::config::IoBackend;
use drive::Driver;
use request::Templates;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Barrier;
use std::time::Duration;
use stdx::Clock;
use tally::{Limit, Plan, Tally};

/// Most connections of one run: what one loopback address has ports for.
pub const CONNECTIONS_MAX: usize = 28_000;
/// Most requests in flight on one connection.
pub const PIPELINE_MAX: usize = 10_000;
/// Most keys: a key number fits into 32 bits.
pub const KEYS_MAX: u64 = 4_000_000_000;
/// Most keys of one MGET.
pub const MGET_KEYS_MAX: usize = 1_000;
/// Requests in flight per connection while keys are written before the run.
const POPULATE_PIPELINE: usize = 32;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer to AUTH.
const GREETING_BYTES_MAX: usize = 512;

/// What to say on the connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// RESP2, as Redis speaks it.
    Resp,
    /// The HTTP API's `/api/cache/KEY`.
    Http,
    /// memcached's text protocol.
    Memcached,
}

/// Which command to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Read one key.
    Get,
    /// Write one key.
    Set,
    /// Read several keys at once.
    Mget(usize),
    /// Neither reads nor writes.
    Ping,
    /// Reads and writes in the proportion of [`Options::read_ratio`].
    Mixed,
}

/// Which keys are chosen.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Distribution {
    /// Every key with the same probability.
    Uniform,
    /// Key of rank r with a probability proportional to 1 / r^theta.
    Zipf(f64),
    /// One after another, each thread through its own share.
    Sequential,
}

/// Everything a run is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name or address of the server.
    pub host: String,
    /// TCP port of the server.
    pub port: u16,
    /// Sent as AUTH, or as a bearer token.
    pub password: Option<String>,
    /// What to speak.
    pub protocol: Protocol,
    /// What to send.
    pub command: Command,
    /// Threads that generate load.
    pub threads: usize,
    /// Connections, over all threads.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub pipeline: usize,
    /// How keys are chosen.
    pub distribution: Distribution,
    /// Number of different keys.
    pub keys: u64,
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of a value.
    pub value_size: usize,
    /// Share of reads in [`Command::Mixed`].
    pub read_ratio: f64,
    /// Time to live given to written keys, in seconds.
    pub ttl_s: Option<u64>,
    /// Whether every key is written once before the run.
    pub populate: bool,
    /// After every batch of requests, WAIT for so many replicas (RESP, closed loop).
    pub wait: Option<u64>,
    /// Operations per second over all threads: the open loop.
    pub rate: Option<f64>,
    /// Time before anything is counted.
    pub warmup: Duration,
    /// Time that is counted; ignored when `requests` is given.
    pub duration: Duration,
    /// Number of requests that are counted.
    pub requests: Option<u64>,
    /// Start of the random choices.
    pub seed: u64,
    /// What the load threads wait with.
    pub backend: IoBackend,
}

/// Runs one load.
///
/// # Errors
/// When the server cannot be reached, closes a connection, answers in another protocol, or stops answering; for a person.
pub fn run(options: &Options) -> Result<Report, String> {
    let clock = Clock::system();
    let templates = Templates::new(options)?;
    let streams = connect_all(options)?;
    if options.populate {
        let plan = Plan {
            command: Command::Set,
            distribution: Distribution::Sequential,
            pipeline: options.pipeline.max(POPULATE_PIPELINE),
            rate: None,
            warmup: Duration::ZERO,
            limit: Limit::Requests(options.keys),
            wait: None,
            options,
            templates: &templates,
        };
        let tally = stretch(&plan, &streams, &clock)?;
        if tally.errors > 0 {
            return Err(format!(
                "{} of {} keys could not be written{}",
                tally.errors,
                options.keys,
                tally.first_error()
            ));
        }
    }
    let plan = Plan {
        command: options.command,
        distribution: options.distribution,
        pipeline: options.pipeline,
        rate: options.rate,
        warmup: options.warmup,
        limit: options.requests.map_or(Limit::Duration(options.duration), Limit::Requests),
        wait: options.wait,
        options,
        templates: &templates,
    };
    Ok(Report::new(options, stretch(&plan, &streams, &clock)?))
}

/// One stretch of load over all threads; their counts added.
fn stretch(plan: &Plan<'_>, streams: &[TcpStream], clock: &Clock) -> Result<Tally, String> {
    let threads = plan.options.threads.min(streams.len()).max(1);
    let barrier = Barrier::new(threads);
    let mut drivers = Vec::with_capacity(threads);
    for thread in 0..threads {
        let own: Vec<&TcpStream> = streams.iter().skip(thread).step_by(threads).collect();
        let driver = Driver::new(plan, thread, threads, &own, clock.clone());
        drivers.push(driver.map_err(|error| format!("cannot set up connections: {error}"))?);
    }
    let outcomes: Vec<Result<Tally, String>> = std::thread::scope(|scope| {
        let barrier = &barrier;
        let running: Vec<_> = drivers
            .into_iter()
            .map(|driver| {
                scope.spawn(move || {
                    barrier.wait();
                    driver.run()
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("a load thread does not panic")).collect()
    });
    let mut sum = Tally::new();
    for outcome in outcomes {
        sum.add(&outcome?);
    }
    Ok(sum)
}

/// Opens all connections, one after another: a burst would overflow the server's queue of new ones.
fn connect_all(options: &Options) -> Result<Vec<TcpStream>, String> {
    let name = format!("{}:{}", options.host, options.port);
    let refused = |error: io::Error| format!("cannot connect to {name}: {error}");
    let addresses: Vec<SocketAddr> =
        (options.host.as_str(), options.port).to_socket_addrs().map_err(refused)?.collect();
    let mut streams = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        let stream = connect(&addresses).map_err(refused)?;
        if let (Protocol::Resp, Some(password)) = (options.protocol, &options.password) {
            authenticate(&stream, password)
                .map_err(|error| format!("{name} refuses the password: {error}"))?;
        }
        streams.push(stream);
    }
    Ok(streams)
}

fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends AUTH and waits for its one-line answer.
fn authenticate(mut stream: &TcpStream, password: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    stream.write_all(format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len()).as_bytes())?;
    let mut line = Vec::new();
    let mut byte = [0; 1];
    while !line.ends_with(b"\n") && line.len() < GREETING_BYTES_MAX {
        stream.read_exact(&mut byte)?;
        line.extend_from_slice(&byte);
    }
    if line.starts_with(b"+") {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&line).trim().to_owned()))
}
