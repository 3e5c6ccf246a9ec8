//! The command line of `hypercache bench`.

use super::{
    CONNECTIONS_MAX, Command, Distribution, Format, KEYS_MAX, MGET_KEYS_MAX, Options, PIPELINE_MAX, Protocol,
};
use crate::config::IoBackend;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use std::time::Duration;

/// Largest value, as the server's.
const VALUE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Longest key that every protocol takes (memcached's limit).
const KEY_BYTES_MAX: u64 = 250;
const THREADS_MAX: u64 = 256;
const DEFAULT_THETA: f64 = 0.99;

const EXAMPLES: &str = "\
Latency counts from when a request was sent or, with --rate, from when it fell due: what a stalled server delays is counted as late.

Examples:
  hypercache bench --populate                                  GET of 100,000 keys, 50 connections
  hypercache bench --command set --pipeline 16 --value-size 1024
  hypercache bench --command mixed --read-ratio 0.8 --distribution zipf:0.99 --keys 5000000 --populate
  hypercache bench --rate 50000 --duration 60 --output json     latency at a fixed rate
  hypercache bench --protocol http --port 8080 --populate
  hypercache bench --protocol memcached --port 11211 --populate another server, for comparison";

/// The subcommand.
pub fn command() -> clap::Command {
    let text = |name: &'static str, value: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).default_value(default).help(help)
    };
    let number = |name: &'static str, default: &'static str, min: u64, max: u64, help: &'static str| {
        text(name, "N", default, help).value_parser(value_parser!(u64).range(min..=max))
    };
    let optional = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    clap::Command::new("bench")
        .about("Load a server and measure it: HyperCache, or any that speaks RESP, its HTTP API or memcached's protocol")
        .after_help(EXAMPLES)
        .arg(text("host", "HOST", "127.0.0.1", "Server to load"))
        .arg(
            optional("port", "PORT", "TCP port [default: 6379, 8080 for http, 11211 for memcached]")
                .value_parser(value_parser!(u16).range(1..)),
        )
        .arg(optional("requirepass", "PASSWORD", "Password of the server"))
        .arg(text("protocol", "WORD", "resp", "What to speak").value_parser(["resp", "http", "memcached"]))
        .arg(text("command", "WORD", "get", "get, set, mget:N, ping or mixed").value_parser(parse_command))
        .arg(text("read-ratio", "SHARE", "0.8", "Share of reads in mixed").value_parser(parse_share))
        .arg(number("threads", "1", 1, THREADS_MAX, "Threads that generate load"))
        .arg(number("connections", "50", 1, CONNECTIONS_MAX as u64, "Connections over all threads"))
        .arg(number("pipeline", "1", 1, PIPELINE_MAX as u64, "Requests in flight on each connection"))
        .arg(
            text("distribution", "WORD", "uniform", "How keys are chosen: uniform, zipf, zipf:THETA or sequential")
                .value_parser(parse_distribution),
        )
        .arg(number("keys", "100000", 1, KEYS_MAX, "Number of different keys"))
        .arg(number("key-size", "16", 1, KEY_BYTES_MAX, "Bytes of a key"))
        .arg(number("value-size", "64", 0, VALUE_BYTES_MAX, "Bytes of a value"))
        .arg(optional("ttl", "SECONDS", "Time to live of written keys").value_parser(value_parser!(u64).range(1..)))
        .arg(
            optional("wait", "REPLICAS", "End every pipeline of requests with WAIT for so many replicas")
                .value_parser(value_parser!(u64))
                .conflicts_with("rate"),
        )
        .arg(Arg::new("populate").long("populate").action(ArgAction::SetTrue).help("Write every key once before the run"))
        .arg(
            optional("rate", "N", "Operations per second, sent on time whether or not the server keeps up")
                .value_parser(parse_rate),
        )
        .arg(text("warmup", "SECONDS", "1", "Time before anything is counted").value_parser(parse_seconds))
        .arg(text("duration", "SECONDS", "10", "Time that is counted").value_parser(parse_seconds))
        .arg(
            optional("requests", "N", "Number of requests that are counted, instead of a duration")
                .value_parser(value_parser!(u64).range(1..)),
        )
        .arg(text("seed", "N", "1", "Start of the random choices").value_parser(value_parser!(u64)))
        .arg(text("io-backend", "WORD", "auto", "What the load threads wait with").value_parser(["auto", "uring", "epoll"]))
        .arg(text("output", "WORD", "text", "How the result is printed").value_parser(["text", "json"]))
}

/// Runs what the command line asks for: the report, and whether every reply was good.
///
/// # Errors
/// As for [`super::run`].
pub fn run(matches: &ArgMatches) -> Result<(String, bool), String> {
    let report = super::run(&options(matches))?;
    let format = if word(matches, "output") == "json" { Format::Json } else { Format::Text };
    Ok((report.render(format), report.clean()))
}

fn options(matches: &ArgMatches) -> Options {
    let count = |name: &str| value::<u64>(matches, name);
    let size = |name: &str| usize::try_from(count(name)).expect("clap checked the range");
    let (protocol, default_port) = match word(matches, "protocol") {
        "http" => (Protocol::Http, 8080),
        "memcached" => (Protocol::Memcached, 11211),
        _ => (Protocol::Resp, 6379),
    };
    Options {
        host: word(matches, "host").to_owned(),
        port: matches.get_one::<u16>("port").copied().unwrap_or(default_port),
        password: matches.get_one::<String>("requirepass").cloned(),
        protocol,
        command: value(matches, "command"),
        threads: size("threads"),
        connections: size("connections"),
        pipeline: size("pipeline"),
        distribution: value(matches, "distribution"),
        keys: count("keys"),
        key_size: size("key-size"),
        value_size: size("value-size"),
        read_ratio: value(matches, "read-ratio"),
        ttl_s: matches.get_one::<u64>("ttl").copied(),
        wait: matches.get_one::<u64>("wait").copied(),
        populate: matches.get_flag("populate"),
        rate: matches.get_one::<f64>("rate").copied(),
        warmup: value(matches, "warmup"),
        duration: value(matches, "duration"),
        requests: matches.get_one::<u64>("requests").copied(),
        seed: count("seed"),
        backend: match word(matches, "io-backend") {
            "uring" => IoBackend::Uring,
            "epoll" => IoBackend::Epoll,
            _ => IoBackend::Auto,
        },
    }
}

fn value<T: Copy + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
    *matches.get_one::<T>(name).expect("it has a default")
}

fn word<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).expect("it has a default")
}

fn parse_command(text: &str) -> Result<Command, String> {
    match text.split_once(':') {
        None if text == "get" => Ok(Command::Get),
        None if text == "set" => Ok(Command::Set),
        None if text == "ping" => Ok(Command::Ping),
        None if text == "mixed" => Ok(Command::Mixed),
        Some(("mget", keys)) => match keys.parse() {
            Ok(keys) if (1..=MGET_KEYS_MAX).contains(&keys) => Ok(Command::Mget(keys)),
            _ => Err(format!("mget takes 1 to {MGET_KEYS_MAX} keys")),
        },
        _ => Err("one of get, set, mget:N, ping, mixed".to_owned()),
    }
}

fn parse_distribution(text: &str) -> Result<Distribution, String> {
    match text.split_once(':') {
        None if text == "uniform" => Ok(Distribution::Uniform),
        None if text == "sequential" => Ok(Distribution::Sequential),
        None if text == "zipf" => Ok(Distribution::Zipf(DEFAULT_THETA)),
        Some(("zipf", theta)) => match theta.parse::<f64>() {
            Ok(theta) if theta > 0.0 && theta <= 10.0 => Ok(Distribution::Zipf(theta)),
            _ => Err("theta is a number above 0, at most 10".to_owned()),
        },
        _ => Err("one of uniform, zipf, zipf:THETA, sequential".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("a number above 0, at most 1e9".to_owned()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e6).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0 to 1e6".to_owned()),
    }
}
