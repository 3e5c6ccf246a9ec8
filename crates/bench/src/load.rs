//! A closed loop over many connections from one thread: each connection has one request in flight.
//!
//! Requests are encoded before the clock starts and replies are only measured for their length and their first
//! bytes, so that the loop itself stays cheap beside the server it loads.

use crate::Result;
use crate::histogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::thread::{CpuSet, Pid, sched_setaffinity};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use stdx::Random;

const READ_BUFFER: usize = 64 * 1024;
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
const STALL_MAX: Duration = Duration::from_secs(10);

/// What is spoken on the connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// RESP2 bulk replies.
    Resp,
    /// HTTP/1.1 keep-alive with a content length.
    Http,
}

/// One stretch of load.
pub(crate) struct Load<'a> {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// What to speak.
    pub(crate) protocol: Protocol,
    /// How many connections.
    pub(crate) connections: usize,
    /// The encoded requests to choose from at random.
    pub(crate) requests: &'a [Vec<u8>],
    /// How long new requests are sent.
    pub(crate) duration: Duration,
    /// Where the random choices start.
    pub(crate) seed: u64,
}

/// What a stretch of load measured.
pub(crate) struct Measured {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Of these, answered by anything but the value.
    pub(crate) errors: u64,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// The time from each request to its whole reply.
    pub(crate) latencies: Histogram,
}

impl Measured {
    /// Nothing yet.
    pub(crate) fn new() -> Measured {
        Measured { requests: 0, errors: 0, elapsed: Duration::ZERO, latencies: Histogram::new() }
    }

    /// Adds another stretch.
    pub(crate) fn add(&mut self, other: &Measured) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.elapsed += other.elapsed;
        self.latencies.merge(&other.latencies);
    }

    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// One line for a person.
    pub(crate) fn describe(&self, name: &str) -> String {
        let micros = |share| self.latencies.quantile(share).as_secs_f64() * 1e6;
        let (p50, p99) = (micros(0.5), micros(0.99));
        format!(
            "{name}: {:.0} per second, p50 {p50:.0} us, p99 {p99:.0} us, {} errors",
            self.rate(),
            self.errors
        )
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    sent_at: Instant,
}

/// Runs one stretch of load.
///
/// # Errors
/// When a connection cannot be made, ends, or stalls.
pub(crate) fn run(load: &Load<'_>) -> Result<Measured> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(load.connections);
    let mut random = Random::seeded(load.seed);
    let started = Instant::now();
    let mut connections = Vec::with_capacity(load.connections);
    for index in 0..load.connections {
        let plain = std::net::TcpStream::connect(load.address)?;
        plain.set_nodelay(true)?;
        plain.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(plain);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        connections.push(Connection { stream, received: Vec::new(), sent_at: started });
    }
    let mut measured = Measured::new();
    let begun = Instant::now();
    for connection in &mut connections {
        connection.send(pick(load.requests, &mut random)?)?;
    }
    let mut in_flight = connections.len();
    let mut last_progress = begun;
    let mut buffer = vec![0; READ_BUFFER];
    while in_flight > 0 {
        poll.poll(&mut events, Some(POLL_TIMEOUT))?;
        for event in &events {
            let connection = connections.get_mut(event.token().0).ok_or("an event of no connection")?;
            let Some(good) = connection.receive(load.protocol, &mut buffer)? else { continue };
            let now = Instant::now();
            measured.latencies.record(now - connection.sent_at);
            measured.requests += 1;
            measured.errors += u64::from(!good);
            last_progress = now;
            if now - begun < load.duration {
                connection.send(pick(load.requests, &mut random)?)?;
            } else {
                in_flight -= 1;
            }
        }
        if last_progress.elapsed() > STALL_MAX {
            return Err(format!("{in_flight} requests without a reply for {STALL_MAX:?}").into());
        }
    }
    measured.elapsed = begun.elapsed();
    Ok(measured)
}

fn pick<'a>(requests: &'a [Vec<u8>], random: &mut Random) -> Result<&'a [u8]> {
    let index = random.below(requests.len() as u64) as usize;
    Ok(requests.get(index).ok_or("no requests to send")?)
}

impl Connection {
    /// A request is far smaller than an empty socket buffer, so it is written at once or something is wrong.
    fn send(&mut self, request: &[u8]) -> Result<()> {
        self.sent_at = Instant::now();
        let written = self.stream.write(request)?;
        if written < request.len() {
            return Err(format!("only {written} of {} bytes were taken", request.len()).into());
        }
        Ok(())
    }

    /// Reads what is there: `Some(good)` when the reply is whole.
    fn receive(&mut self, protocol: Protocol, buffer: &mut [u8]) -> Result<Option<bool>> {
        // Readiness is edge-triggered: read until nothing is left.
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    return Err(format!(
                        "the server closed a connection under load, {} bytes into a reply",
                        self.received.len()
                    )
                    .into());
                }
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let whole = match protocol {
            Protocol::Resp => resp_length(&self.received),
            Protocol::Http => http_length(&self.received)?,
        };
        if whole != Some(self.received.len()) {
            return Ok(None);
        }
        let good = match protocol {
            Protocol::Resp => self.received.starts_with(b"$") && !self.received.starts_with(b"$-"),
            Protocol::Http => self.received.starts_with(b"HTTP/1.1 200"),
        };
        self.received.clear();
        Ok(Some(good))
    }
}

/// The length of the one reply at the front, when its head is there.
fn resp_length(bytes: &[u8]) -> Option<usize> {
    let line_end = find(bytes, b"\r\n")?;
    let line = bytes.get(..line_end)?;
    let body = match line.first()? {
        b'$' => std::str::from_utf8(&line[1..]).ok()?.parse::<usize>().map_or(0, |length| length + 2),
        _ => 0,
    };
    Some(line_end + 2 + body)
}

/// The length of the one response at the front, when its head is there.
///
/// # Errors
/// For a head that does not say how long the body is: only its end could tell, and there is none on keep-alive.
fn http_length(bytes: &[u8]) -> Result<Option<usize>> {
    const NAME: &[u8] = b"content-length:";
    let Some(head_end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..head_end];
    let name = head.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME));
    let value = &head[name.ok_or("a reply without a content length")? + NAME.len()..];
    let digits = value.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let body: usize = std::str::from_utf8(digits)?.trim().parse()?;
    Ok(Some(head_end + 4 + body))
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

/// Keeps the calling thread on one processor.
///
/// # Errors
/// When there is no such processor.
pub(crate) fn pin_to(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None::<Pid>, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_measured_whole() {
        assert_eq!(resp_length(b"$3\r\nfoo\r\n"), Some(9));
        assert_eq!(resp_length(b"$3\r\nf"), Some(9));
        assert_eq!(resp_length(b"$-1\r\n"), Some(5));
        assert_eq!(resp_length(b"+OK\r"), None);
        let http = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n\r\n{}";
        assert_eq!(http_length(http).expect("valid"), Some(http.len()));
        assert_eq!(http_length(b"HTTP/1.1 200 OK\r\n").expect("valid"), None);
        assert!(http_length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
