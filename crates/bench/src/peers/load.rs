//! Runs the load generator on its processor and reads what it found.

use super::servers::{LOAD_PROCESSOR, Running, cpu_of};
use crate::Result;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Requests in flight per connection while a server is filled.
const FILL_PIPELINE: &str = "64";

/// Enough for every buffer of a server to be used once.
const TOUCHES: &str = "100000";

/// What a run of the load generator found, times in microseconds.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Found {
    /// Operations per second.
    pub(crate) rate: f64,
    /// Operations, those of the warm-up included.
    pub(crate) operations_with_warmup: u64,
    /// Fell due and were not sent.
    pub(crate) operations_unsent: u64,
    /// Error replies.
    pub(crate) errors: u64,
    /// Text of the first.
    pub(crate) first_error: String,
    /// Keys not found.
    pub(crate) misses: u64,
    /// Share of its processor that the load generator used.
    pub(crate) load_cpu_share: Option<f64>,
    /// Latencies.
    pub(crate) latency_us: Latency,
}

/// Percentiles in microseconds.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// One measurement: what the load saw and what it cost the server.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) found: Found,
    /// Processor time of the server per operation, in microseconds.
    pub(crate) cpu_us: f64,
}

/// Where load runs and what it talks to.
pub(crate) struct Generator<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) processors: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: &'a str,
}

impl<'a> Generator<'a> {
    /// Load from its own processor.
    pub(crate) fn new(binary: &'a Path, server: &'a Running) -> Generator<'a> {
        Generator { binary, processors: LOAD_PROCESSOR, address: server.address, protocol: server.protocol }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// When the server misbehaves; a run with error replies is no measurement.
    pub(crate) fn run(&self, arguments: &[String]) -> Result<Found> {
        let output = Command::new("taskset")
            .args(["-c", self.processors])
            .arg(self.binary)
            .args(["bench", "--output", "json", "--host", "127.0.0.1"])
            .args(["--port", &self.address.port().to_string(), "--protocol", self.protocol])
            .args(arguments)
            .output()?;
        if output.stdout.is_empty() {
            let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("hypercache bench {}: {complaint}", arguments.join(" ")).into());
        }
        let found: Found = serde_json::from_slice(&output.stdout)?;
        if found.errors > 0 {
            return Err(format!("{} error replies, the first: {}", found.errors, found.first_error).into());
        }
        Ok(found)
    }

    /// Writes every key once; returns what that took.
    ///
    /// # Errors
    /// As for [`Generator::run`].
    pub(crate) fn fill(&self, keys: u64, value_bytes: u64, ttl_s: Option<u64>) -> Result<Found> {
        let mut arguments = words(&["--command", "set", "--distribution", "sequential", "--warmup", "0"]);
        arguments.extend(words(&["--pipeline", FILL_PIPELINE, "--connections", "8"]));
        arguments.extend(["--keys".to_owned(), keys.to_string(), "--requests".to_owned(), keys.to_string()]);
        arguments.extend(["--value-size".to_owned(), value_bytes.to_string()]);
        arguments.extend(ttl_s.iter().flat_map(|ttl| ["--ttl".to_owned(), ttl.to_string()]));
        self.run(&arguments)
    }

    /// Asks for keys that are not there, as often and as deep as [`Generator::fill`] writes: a server that has
    /// touched its buffers already shows as growth what it keeps for keys, and nothing else.
    ///
    /// # Errors
    /// As for [`Generator::run`].
    pub(crate) fn touch(&self) -> Result<Found> {
        let mut arguments = words(&["--command", "get", "--warmup", "0", "--pipeline", FILL_PIPELINE]);
        arguments.extend(words(&["--connections", "8", "--keys", "1000", "--requests", TOUCHES]));
        self.run(&arguments)
    }

    /// Runs it once and divides what it cost the process `pids` by its operations.
    ///
    /// # Errors
    /// As for [`Generator::run`].
    pub(crate) fn sample(&self, pids: &[u32], arguments: &[String]) -> Result<Sample> {
        let total = || pids.iter().map(|pid| cpu_of(*pid)).sum::<Result<Duration>>();
        let before = total()?;
        let found = self.run(arguments)?;
        let cpu = total()?.saturating_sub(before);
        let cpu_us = cpu.as_secs_f64() * 1e6 / found.operations_with_warmup.max(1) as f64;
        Ok(Sample { found, cpu_us })
    }
}

/// Words as owned arguments.
pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
