//! What one stretch of load is told, and what it counts.

use super::request::Templates;
use super::{Command, Distribution, Options};
use hdrhistogram::Histogram;
use std::time::Duration;

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
    pub(super) error: Option<String>,
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
