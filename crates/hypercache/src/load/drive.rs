//! The event loop of one thread of load.
//!
//! One turn: wait for sockets, read each once and scan what came, count and time the replies, put the next batch into the
//! connection's buffer, write it. Sockets are edge-triggered, and a read that did not fill the buffer has taken all there was,
//! so an operation without pipeline costs one read, one write and its share of one wait.
//!
//! In the open loop (a rate is given) the thread never sleeps when a request is due within the wait's resolution of a
//! millisecond: it would be late by that much, and its own lateness would be measured as the server's.

use super::request::{Keys, Kind, Templates};
use super::scan::{Counts, Scanner};
use super::{Command, Distribution, Options};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use stdx::{Clock, Mono};

/// Bytes read with one call.
const READ_BYTES: usize = 256 * 1024;
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1_024;
/// Longest wait, so that the end of the run is noticed.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// The open loop waits only for what is further off than this.
const WAIT_RESOLUTION: Duration = Duration::from_millis(2);
/// Silence after which a server counts as stuck.
const STALL_MAX: Duration = Duration::from_secs(30);
/// The longest latency that is told apart from longer ones.
const LATENCY_NS_MAX: u64 = 300_000_000_000;
/// Three digits: 0.1% of the value.
const LATENCY_DIGITS: u8 = 3;

/// When a stretch ends.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// After this time, the warm-up not included.
    Duration(Duration),
    /// After this many requests over all threads, the warm-up's not included.
    Requests(u64),
}

/// What one stretch of load does.
pub(super) struct Plan<'a> {
    pub(super) command: Command,
    pub(super) distribution: Distribution,
    pub(super) pipeline: usize,
    pub(super) rate: Option<f64>,
    pub(super) warmup: Duration,
    pub(super) limit: Limit,
    /// WAIT for so many replicas after every batch of the closed loop.
    pub(super) wait: Option<u64>,
    pub(super) options: &'a Options,
    pub(super) templates: &'a Templates,
}

/// What a thread counted.
pub(super) struct Tally {
    /// Requests answered within the measured time.
    pub(super) measured: u64,
    /// Requests answered at all.
    pub(super) total: u64,
    /// Error replies, warm-up included.
    pub(super) errors: u64,
    /// Keys not found, warm-up included.
    pub(super) misses: u64,
    /// Requests that fell due but were not sent before the end (open loop).
    pub(super) unsent: u64,
    /// The measured time.
    pub(super) elapsed: Duration,
    /// From the first request to the last reply.
    pub(super) whole: Duration,
    /// Processor time of the load threads over `whole`; `None` where the system does not tell.
    pub(super) cpu: Option<Duration>,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    /// Nanoseconds.
    pub(super) latencies: Histogram<u64>,
    error: Option<String>,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Tally {
        let latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS);
        Tally {
            measured: 0,
            total: 0,
            errors: 0,
            misses: 0,
            unsent: 0,
            elapsed: Duration::ZERO,
            whole: Duration::ZERO,
            cpu: Some(Duration::ZERO),
            bytes_sent: 0,
            bytes_received: 0,
            latencies: latencies.expect("the bounds are constants that the histogram accepts"),
            error: None,
        }
    }

    /// Adds what another thread counted at the same time.
    pub(super) fn add(&mut self, other: &Tally) {
        self.measured += other.measured;
        self.total += other.total;
        self.errors += other.errors;
        self.misses += other.misses;
        self.unsent += other.unsent;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.whole = self.whole.max(other.whole);
        self.cpu = self.cpu.zip(other.cpu).map(|(mine, theirs)| mine + theirs);
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.latencies.add(&other.latencies).expect("all histograms have the same bounds");
        self.error = self.error.take().or_else(|| other.error.clone());
    }

    /// `: ` and the text of the first error reply, or nothing.
    pub(super) fn first_error(&self) -> String {
        self.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
    }
}

/// Requests sent, or due, at the same time.
struct Sent {
    at: Mono,
    count: u64,
}

struct Connection {
    stream: TcpStream,
    scanner: Scanner,
    out: Vec<u8>,
    written: usize,
    sent: VecDeque<Sent>,
    in_flight: usize,
}

/// One thread of load, with its connections.
pub(super) struct Driver<'a> {
    plan: &'a Plan<'a>,
    clock: Clock,
    poll: Poll,
    connections: Vec<Connection>,
    keys: Keys,
    tally: Tally,
    buffer: Vec<u8>,
    measure_from: Mono,
    stop_at: Option<Mono>,
    /// Requests still to be sent after the warm-up, when their number is the limit.
    remaining: u64,
    in_flight: usize,
    /// Time of the last reply.
    last_reply: Mono,
    /// Open loop: nanoseconds between two requests, how many were released, and whose turn it is.
    interval_ns: Option<f64>,
    released: u64,
    turn: usize,
}

impl<'a> Driver<'a> {
    /// A thread that will use `streams` in a copy of its own, so that they outlive this stretch.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub(super) fn new(
        plan: &'a Plan<'a>,
        thread: usize,
        threads: usize,
        streams: &[&std::net::TcpStream],
        clock: Clock,
    ) -> io::Result<Driver<'a>> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(streams.len());
        for (index, stream) in streams.iter().enumerate() {
            let mut stream = TcpStream::from_std(stream.try_clone()?);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            connections.push(Connection {
                stream,
                scanner: Scanner::new(plan.options.protocol),
                out: Vec::new(),
                written: 0,
                sent: VecDeque::with_capacity(plan.pipeline),
                in_flight: 0,
            });
        }
        let remaining = match plan.limit {
            Limit::Requests(requests) => (requests + (threads - 1 - thread) as u64) / threads as u64,
            Limit::Duration(_) => 0,
        };
        Ok(Driver {
            plan,
            clock,
            poll,
            connections,
            keys: Keys::new(plan.distribution, plan.options, thread, threads),
            tally: Tally::new(),
            buffer: vec![0; READ_BYTES],
            measure_from: Mono::default(),
            stop_at: None,
            remaining,
            in_flight: 0,
            last_reply: Mono::default(),
            interval_ns: plan.rate.map(|rate| 1e9 * threads as f64 / rate),
            released: 0,
            turn: 0,
        })
    }

    /// Sends and receives until the limit, then waits for what is in flight.
    ///
    /// # Errors
    /// When a connection ends, answers nonsense, or the server is silent for too long; for a person.
    pub(super) fn run(mut self) -> Result<Tally, String> {
        let cpu_before = thread_cpu();
        let start = self.clock.mono();
        self.measure_from = start + self.plan.warmup;
        self.last_reply = start;
        if let Limit::Duration(duration) = self.plan.limit {
            self.stop_at = Some(self.measure_from + duration);
        }
        if self.interval_ns.is_none() {
            for index in 0..self.connections.len() {
                self.refill(index, start).map_err(broken)?;
            }
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let now = self.clock.mono();
            let wait = match self.interval_ns {
                Some(interval) => self.release_due(start, interval, now).map_err(broken)?,
                None => WAIT_MAX,
            };
            if self.in_flight == 0 && !self.may_send(now) {
                break;
            }
            if self.in_flight > 0 && now.since(self.last_reply) > STALL_MAX {
                return Err(format!("{} requests without a reply for {STALL_MAX:?}", self.in_flight));
            }
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.map_err(broken)?,
            }
            for event in &events {
                self.serve(event.token().0)?;
            }
        }
        self.finish(start, cpu_before);
        Ok(self.tally)
    }

    /// Whether a request may be sent that falls due at `at`.
    fn may_send(&self, at: Mono) -> bool {
        match self.stop_at {
            Some(stop_at) => at < stop_at,
            None => self.remaining > 0,
        }
    }

    /// One socket's turn: take what came, send what follows.
    fn serve(&mut self, index: usize) -> Result<(), String> {
        loop {
            let connection = &mut self.connections[index];
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed a connection".to_owned()),
                Ok(count) => {
                    let now = self.clock.mono();
                    let counts = connection.scanner.feed(&self.buffer[..count])?;
                    self.tally.bytes_received += count as u64;
                    self.count(index, counts, now)?;
                    if self.interval_ns.is_none() && self.connections[index].in_flight == 0 {
                        self.refill(index, now).map_err(broken)?;
                    }
                    if count < READ_BYTES {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
        self.flush(index).map_err(broken)
    }

    /// Books replies against the requests that were sent first.
    fn count(&mut self, index: usize, counts: Counts, now: Mono) -> Result<(), String> {
        let connection = &mut self.connections[index];
        let mut replies = counts.replies;
        if replies == 0 {
            return Ok(());
        }
        while replies > 0 {
            let Some(first) = connection.sent.front_mut() else {
                return Err("the server sent more replies than it was asked for".to_owned());
            };
            let booked = replies.min(first.count);
            // Not by when it was sent: a request that a stall delayed past the warm-up's end has to show.
            if now >= self.measure_from {
                let latency = u64::try_from(now.since(first.at).as_nanos()).unwrap_or(u64::MAX);
                self.tally.latencies.saturating_record_n(latency, booked);
            }
            first.count -= booked;
            replies -= booked;
            if first.count == 0 {
                connection.sent.pop_front();
            }
        }
        // No more than were sent, or the loop above would have said so.
        connection.in_flight -= counts.replies as usize;
        self.in_flight -= counts.replies as usize;
        if counts.errors > 0 && self.tally.error.is_none() {
            self.tally.error = Some(String::from_utf8_lossy(connection.scanner.error()).trim().to_owned());
        }
        self.tally.total += counts.replies;
        self.tally.errors += counts.errors;
        self.tally.misses += counts.misses;
        if now >= self.measure_from && self.stop_at.is_none_or(|stop_at| now < stop_at) {
            self.tally.measured += counts.replies;
        }
        self.last_reply = now;
        Ok(())
    }

    /// Closed loop: sends the next batch.
    fn refill(&mut self, index: usize, now: Mono) -> io::Result<()> {
        if !self.may_send(now) {
            return Ok(());
        }
        let mut count = self.plan.pipeline;
        if self.stop_at.is_none() {
            count = count.min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
            if now >= self.measure_from {
                self.remaining -= count as u64;
            }
        }
        for _ in 0..count {
            self.append(index);
        }
        if let Some(replicas) = self.plan.wait {
            self.append_wait(index, replicas);
            count += 1;
        }
        self.connections[index].sent.push_back(Sent { at: now, count: count as u64 });
        self.flush(index)
    }

    /// Ends a batch with WAIT, without a limit of time; [`Driver::finish`] takes its replies out of the counts.
    fn append_wait(&mut self, index: usize, replicas: u64) {
        let replicas = replicas.to_string();
        let request = format!("*3\r\n$4\r\nWAIT\r\n${}\r\n{replicas}\r\n$1\r\n0\r\n", replicas.len());
        let connection = &mut self.connections[index];
        connection.out.extend_from_slice(request.as_bytes());
        connection.in_flight += 1;
        self.in_flight += 1;
    }

    /// Open loop: sends all that is due on connections with room, and says how long the next can wait.
    fn release_due(&mut self, start: Mono, interval_ns: f64, now: Mono) -> io::Result<Duration> {
        loop {
            let due = start + Duration::from_nanos((self.released as f64 * interval_ns) as u64);
            if !self.may_send(due) {
                return Ok(WAIT_MAX);
            }
            if due > now {
                let ahead = due.since(now);
                return Ok(if ahead < WAIT_RESOLUTION {
                    Duration::ZERO
                } else {
                    (ahead - WAIT_RESOLUTION).min(WAIT_MAX)
                });
            }
            if self.in_flight >= self.connections.len() * self.plan.pipeline
                || self.stop_at.is_some_and(|stop_at| now >= stop_at)
            {
                // Nothing to do until a reply comes; after the end nothing more is sent at all.
                return Ok(WAIT_MAX);
            }
            while self.connections[self.turn].in_flight >= self.plan.pipeline {
                self.turn = (self.turn + 1) % self.connections.len();
            }
            let index = self.turn;
            self.turn = (self.turn + 1) % self.connections.len();
            self.append(index);
            self.connections[index].sent.push_back(Sent { at: due, count: 1 });
            self.released += 1;
            if self.stop_at.is_none() && due >= self.measure_from {
                self.remaining -= 1;
            }
            self.flush(index)?;
        }
    }

    /// Puts one request into a connection's buffer.
    fn append(&mut self, index: usize) {
        let kind = match self.plan.command {
            Command::Get => Kind::Get,
            Command::Set => Kind::Set,
            Command::Mget(_) => Kind::Mget,
            Command::Ping => Kind::Ping,
            Command::Mixed if self.keys.chance(self.plan.options.read_ratio) => Kind::Get,
            Command::Mixed => Kind::Set,
        };
        let connection = &mut self.connections[index];
        self.plan.templates.append(kind, &mut self.keys, &mut connection.out);
        connection.in_flight += 1;
        self.in_flight += 1;
    }

    /// Writes as much as the socket takes; it tells when it takes more.
    fn flush(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        while connection.written < connection.out.len() {
            match connection.stream.write(&connection.out[connection.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    connection.written += count;
                    self.tally.bytes_sent += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        connection.out.clear();
        connection.written = 0;
        Ok(())
    }

    fn finish(&mut self, start: Mono, cpu_before: Option<Duration>) {
        self.tally.elapsed = match self.plan.limit {
            Limit::Duration(duration) => duration,
            Limit::Requests(_) => self.last_reply.since(self.measure_from),
        };
        self.tally.whole = self.last_reply.since(start);
        self.tally.cpu = thread_cpu().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
        if self.plan.wait.is_some() {
            // Every batch of `pipeline` requests has one reply more than requests.
            let batch = self.plan.pipeline as u64;
            self.tally.measured = self.tally.measured * batch / (batch + 1);
            self.tally.total = self.tally.total * batch / (batch + 1);
        }
        if let (Some(interval), Some(stop_at)) = (self.interval_ns, self.stop_at) {
            let due = (stop_at.since(start).as_nanos() as f64 / interval) as u64;
            self.tally.unsent = due.saturating_sub(self.released);
        }
    }
}

fn broken(error: io::Error) -> String {
    format!("a connection broke: {error}")
}

/// Processor time of the calling thread, as Linux tells it in its scheduler statistics.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}
