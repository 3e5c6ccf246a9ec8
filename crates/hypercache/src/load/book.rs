//! The books of one thread of load: which requests are under way on which connection, since when, and what is due next.
//!
//! Nothing here touches a socket. The driver asks what to send and hands over what came; the wire moves the bytes.

use super::Command;
use super::request::{Keys, Kind};
use super::scan::{Counts, Scanner};
use super::tally::{Limit, Plan, Tally};
use std::collections::VecDeque;
use std::time::Duration;
use stdx::Mono;

/// Longest wait, so that the end of the run is noticed.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(20);
/// The open loop waits only for what is further off than this.
const WAIT_RESOLUTION: Duration = Duration::from_millis(2);

/// Requests sent, or due, at the same time.
struct Sent {
    at: Mono,
    count: u64,
}

struct Connection {
    scanner: Scanner,
    out: Vec<u8>,
    sent: VecDeque<Sent>,
    in_flight: usize,
}

/// The books.
pub(super) struct Book<'a> {
    plan: &'a Plan<'a>,
    connections: Vec<Connection>,
    keys: Keys,
    /// What was counted so far.
    pub(super) tally: Tally,
    start: Mono,
    measure_from: Mono,
    stop_at: Option<Mono>,
    /// Requests still to be sent after the warm-up, when their number is the limit.
    remaining: u64,
    in_flight: usize,
    /// Time of the last reply.
    last_reply: Mono,
    /// Connections with something to send, or to be asked for it.
    due: Vec<usize>,
    /// Open loop: nanoseconds between two requests, how many were released, and whose turn it is.
    interval_ns: Option<f64>,
    released: u64,
    turn: usize,
}

impl<'a> Book<'a> {
    /// Empty books of `thread` out of `threads`, with its share of the connections.
    pub(super) fn new(plan: &'a Plan<'a>, thread: usize, threads: usize, connections: usize) -> Book<'a> {
        let connection = || Connection {
            scanner: Scanner::new(plan.options.protocol),
            out: Vec::new(),
            sent: VecDeque::with_capacity(plan.pipeline.min(1_024)),
            in_flight: 0,
        };
        let remaining = match plan.limit {
            Limit::Requests(requests) => (requests + (threads - 1 - thread) as u64) / threads as u64,
            Limit::Duration(_) => 0,
        };
        Book {
            plan,
            connections: (0..connections).map(|_| connection()).collect(),
            keys: Keys::new(plan.distribution, plan.options, thread, threads),
            tally: Tally::new(),
            start: Mono::default(),
            measure_from: Mono::default(),
            stop_at: None,
            remaining,
            in_flight: 0,
            last_reply: Mono::default(),
            due: Vec::new(),
            interval_ns: plan.rate.map(|rate| 1e9 * threads as f64 / rate),
            released: 0,
            turn: 0,
        }
    }

    /// The clock starts.
    pub(super) fn begin(&mut self, start: Mono) {
        self.start = start;
        self.measure_from = start + self.plan.warmup;
        self.last_reply = start;
        if let Limit::Duration(duration) = self.plan.limit {
            self.stop_at = Some(self.measure_from + duration);
        }
        if self.interval_ns.is_none() {
            self.due = (0..self.connections.len()).collect();
        }
    }

    /// Whether everything is sent and answered.
    pub(super) fn is_over(&self, now: Mono) -> bool {
        self.in_flight == 0 && !self.may_send(now)
    }

    /// Requests without a reply.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Time since the last reply.
    pub(super) fn silence(&self, now: Mono) -> Duration {
        now.since(self.last_reply)
    }

    /// In how many reads the replies under way will arrive, about; 1 when none may be kept waiting for others.
    pub(super) fn reads_expected(&self) -> usize {
        if self.interval_ns.is_some() { 1 } else { self.in_flight / self.plan.pipeline.max(1) }
    }

    /// Whether a request may be sent that falls due at `at`.
    fn may_send(&self, at: Mono) -> bool {
        match self.stop_at {
            Some(stop_at) => at < stop_at,
            None => self.remaining > 0,
        }
    }

    /// The connections that have something to send, or that [`Book::refill`] may give something; `into` must be empty.
    pub(super) fn take_due(&mut self, into: &mut Vec<usize>) {
        std::mem::swap(&mut self.due, into);
    }

    /// What a connection has to send. Whoever sends it takes it out and may put an empty buffer back.
    pub(super) fn out(&mut self, index: usize) -> &mut Vec<u8> {
        &mut self.connections[index].out
    }

    /// Takes what came on a connection at `now`.
    ///
    /// # Errors
    /// When that is no answer to what was asked.
    pub(super) fn receive(&mut self, index: usize, bytes: &[u8], now: Mono) -> Result<(), String> {
        let counts = self.connections[index].scanner.feed(bytes)?;
        self.tally.bytes_received += bytes.len() as u64;
        self.count(index, counts, now)?;
        if self.interval_ns.is_none() && counts.replies > 0 && self.connections[index].in_flight == 0 {
            self.due.push(index);
        }
        Ok(())
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

    /// Closed loop: gives a connection its next batch, if all of the last is answered; it counts as sent at `now`.
    pub(super) fn refill(&mut self, index: usize, now: Mono) {
        if self.interval_ns.is_some() || !self.may_send(now) {
            return;
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
    }

    /// Ends a batch with WAIT, without a limit of time; [`Book::finish`] takes its replies out of the counts.
    fn append_wait(&mut self, index: usize, replicas: u64) {
        let replicas = replicas.to_string();
        let request = format!("*3\r\n$4\r\nWAIT\r\n${}\r\n{replicas}\r\n$1\r\n0\r\n", replicas.len());
        let connection = &mut self.connections[index];
        connection.out.extend_from_slice(request.as_bytes());
        connection.in_flight += 1;
        self.in_flight += 1;
    }

    /// Open loop: hands all that is due to connections with room. Either loop: says how long one may wait for replies.
    pub(super) fn release(&mut self, now: Mono) -> Duration {
        let Some(interval_ns) = self.interval_ns else { return WAIT_MAX };
        loop {
            let due = self.start + Duration::from_nanos((self.released as f64 * interval_ns) as u64);
            if !self.may_send(due) {
                return WAIT_MAX;
            }
            if due > now {
                let ahead = due.since(now);
                return ahead.saturating_sub(WAIT_RESOLUTION).min(WAIT_MAX);
            }
            if self.in_flight >= self.connections.len() * self.plan.pipeline
                || self.stop_at.is_some_and(|stop_at| now >= stop_at)
            {
                // Nothing to do until a reply comes; after the end nothing more is sent at all.
                return WAIT_MAX;
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
            self.due.push(index);
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

    /// Completes the tally. `cpu` is the processor time since the beginning.
    pub(super) fn finish(mut self, cpu: Option<Duration>) -> Tally {
        self.tally.elapsed = match self.plan.limit {
            Limit::Duration(duration) => duration,
            Limit::Requests(_) => self.last_reply.since(self.measure_from),
        };
        self.tally.whole = self.last_reply.since(self.start);
        self.tally.cpu = cpu;
        if self.plan.wait.is_some() {
            // Every batch of `pipeline` requests has one reply more than requests.
            let batch = self.plan.pipeline as u64;
            self.tally.measured = self.tally.measured * batch / (batch + 1);
            self.tally.total = self.tally.total * batch / (batch + 1);
        }
        if let (Some(interval), Some(stop_at)) = (self.interval_ns, self.stop_at) {
            let due = (stop_at.since(self.start).as_nanos() as f64 / interval) as u64;
            self.tally.unsent = due.saturating_sub(self.released);
        }
        self.tally
    }
}
