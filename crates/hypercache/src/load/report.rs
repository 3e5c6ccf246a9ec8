//! What a run found, as text for people or as JSON for programs.

use super::tally::Tally;
use super::{Command, Distribution, Options, Protocol};
use serde_json::{Value, json};
use std::time::Duration;

/// Above this share of its processors the load generator may be what limits the figures.
const BUSY_SHARE: f64 = 0.95;

/// How a report is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one object.
    Json,
}

/// The outcome of a run.
pub struct Report {
    options: Options,
    tally: Tally,
}

/// The latencies that are shown.
const QUANTILES: &[(&str, f64)] =
    &[("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

impl Report {
    pub(super) fn new(options: &Options, tally: Tally) -> Report {
        Report { options: options.clone(), tally }
    }

    /// True when every reply was the one wanted.
    pub fn clean(&self) -> bool {
        self.tally.errors == 0
    }

    /// Operations per second over the measured time.
    pub fn rate(&self) -> f64 {
        self.tally.measured as f64 / self.tally.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// The report in `format`.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => format!("{:#}\n", self.json()),
        }
    }

    /// Processor time of the load threads as a share of what they could have used.
    fn busy(&self) -> Option<f64> {
        let threads = self.options.threads.min(self.options.connections).max(1) as f64;
        Some(self.tally.cpu?.as_secs_f64() / (self.tally.whole.as_secs_f64() * threads).max(f64::EPSILON))
    }

    fn micros(&self, share: f64) -> f64 {
        self.tally.latencies.value_at_quantile(share) as f64 / 1e3
    }

    fn text(&self) -> String {
        let (options, tally) = (&self.options, &self.tally);
        let mut text = format!("{}\n\n", describe(options));
        let whole = tally.whole.as_secs_f64().max(f64::EPSILON);
        let megabytes = |bytes: u64| bytes as f64 / 1e6 / whole;
        text += &format!(
            "throughput    {:>14} op/s    {:.1} MB/s sent, {:.1} MB/s received\n",
            grouped(self.rate() as u64),
            megabytes(tally.bytes_sent),
            megabytes(tally.bytes_received)
        );
        text += &format!(
            "operations    {:>14}         {} errors{}, {} keys not found\n",
            grouped(tally.measured),
            grouped(tally.errors),
            tally.first_error(),
            grouped(tally.misses)
        );
        if let Some(rate) = options.rate {
            let unsent = grouped(tally.unsent);
            text += &format!(
                "asked for     {:>14} op/s    {unsent} fell due but were never sent\n",
                grouped(rate as u64)
            );
        }
        if let Some(cpu) = tally.cpu {
            let per_operation = cpu.as_secs_f64() * 1e6 / tally.total.max(1) as f64;
            text += &format!("load's own CPU {per_operation:>13.2} us/op\n");
        }
        text += &format!("\n{:<10}", "latency us");
        let names =
            std::iter::once("min").chain(QUANTILES.iter().map(|(name, _)| *name)).chain(["max", "mean"]);
        names.for_each(|name| text += &format!("{name:>11}"));
        text += &format!("\n{:<10}{:>11.1}", "", tally.latencies.min() as f64 / 1e3);
        QUANTILES.iter().for_each(|(_, share)| text += &format!("{:>11.1}", self.micros(*share)));
        text +=
            &format!("{:>11.1}{:>11.1}\n", tally.latencies.max() as f64 / 1e3, tally.latencies.mean() / 1e3);
        if options.rate.is_none() && self.busy().is_some_and(|busy| busy > BUSY_SHARE) {
            text += "\nThe load generator used all of its processors: with more --threads the server may do more.\n";
        }
        text
    }

    fn json(&self) -> Value {
        let (options, tally) = (&self.options, &self.tally);
        let mut latency = json!({
            "min": tally.latencies.min() as f64 / 1e3,
            "mean": tally.latencies.mean() / 1e3,
            "max": tally.latencies.max() as f64 / 1e3,
        });
        for (name, share) in QUANTILES {
            latency[*name] = json!(self.micros(*share));
        }
        json!({
            "server": format!("{}:{}", options.host, options.port),
            "protocol": protocol_name(options.protocol),
            "command": command_name(options.command),
            "distribution": distribution_name(options.distribution),
            "threads": options.threads,
            "connections": options.connections,
            "pipeline": options.pipeline,
            "keys": options.keys,
            "key_bytes": options.key_size,
            "value_bytes": options.value_size,
            "read_ratio": options.read_ratio,
            "ttl_s": options.ttl_s,
            "wait_replicas": options.wait,
            "seed": options.seed,
            "rate_asked": options.rate,
            "seconds": tally.elapsed.as_secs_f64(),
            "operations": tally.measured,
            "operations_with_warmup": tally.total,
            "operations_unsent": tally.unsent,
            "rate": self.rate(),
            "errors": tally.errors,
            "first_error": tally.first_error().trim_start_matches(": "),
            "misses": tally.misses,
            "bytes_sent": tally.bytes_sent,
            "bytes_received": tally.bytes_received,
            "load_cpu_seconds": tally.cpu.map(|cpu| cpu.as_secs_f64()),
            "load_cpu_share": self.busy(),
            "latency_us": latency,
        })
    }
}

fn describe(options: &Options) -> String {
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let ttl = options.ttl_s.map(|ttl| format!(", written to live {ttl} s")).unwrap_or_default();
    let length = match options.requests {
        Some(requests) => format!("{} requests", grouped(requests)),
        None => seconds(options.duration),
    };
    format!(
        "{} over {} to {}:{}: {}, pipeline {}, {}\n{} keys of {} B ({}), values of {} B{ttl}; {} after {} of warm-up",
        command_name(options.command),
        protocol_name(options.protocol),
        options.host,
        options.port,
        plural(options.connections, "connection"),
        options.pipeline,
        plural(options.threads, "thread"),
        grouped(options.keys),
        options.key_size,
        distribution_name(options.distribution),
        options.value_size,
        length,
        seconds(options.warmup),
    )
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Resp => "resp",
        Protocol::Http => "http",
        Protocol::Memcached => "memcached",
    }
}

fn command_name(command: Command) -> String {
    match command {
        Command::Get => "get".to_owned(),
        Command::Set => "set".to_owned(),
        Command::Mget(keys) => format!("mget:{keys}"),
        Command::Ping => "ping".to_owned(),
        Command::Mixed => "mixed".to_owned(),
    }
}

fn distribution_name(distribution: Distribution) -> String {
    match distribution {
        Distribution::Uniform => "uniform".to_owned(),
        Distribution::Zipf(theta) => format!("zipf:{theta}"),
        Distribution::Sequential => "sequential".to_owned(),
    }
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 12, 123, 1_234, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }
}
