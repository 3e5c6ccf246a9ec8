//! `acceptance durability`: what persistence costs, and how fast data come back, beside Redis.
//!
//! - `set`: throughput of SET with 50 connections. HyperCache with `appendfsync everysec` against itself without a log, and with `always`
//!   against Redis with `always`. Each server has processor 0 with all its threads, its log's included; the load has processor 1.
//!   Snapshots that the growth of the log asks for are part of it.
//! - `recovery`: a restart with ten million keys, from the log alone and from a snapshot, timed from the start of the process to the first
//!   write that it takes.
//! - `snapshot`: memory and latency while 5 GB are saved under writes, beside the same writes without a save.
//!
//! Servers take turns and the rest of them is stopped by a signal meanwhile; what counts is the ratio of medians.

mod recovery;
mod set;
mod snapshot;

use crate::Result;
use crate::peers::servers::Target;
use crate::report::Report;
use crate::resp_client::{Reply, RespClient};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
usage: acceptance durability [set] [recovery] [snapshot] [--short] [--rounds N] [--binary PATH]";

/// The parts, by name.
const PARTS: [(&str, Part); 3] =
    [("set", set::run), ("recovery", recovery::run), ("snapshot", snapshot::run)];

type Part = fn(&Settings, &Servers, &mut Report) -> Result<()>;

const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much is run.
struct Settings {
    binary: PathBuf,
    short: bool,
    rounds: usize,
    parts: Vec<Part>,
}

/// Who takes part.
struct Servers {
    ours: Target,
    redis: Option<Target>,
}

impl Servers {
    /// Ours, and Redis where it is installed.
    fn all(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.ours).chain(&self.redis)
    }
}

impl Settings {
    fn parse(arguments: &[String]) -> Result<Settings> {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_dir.ancestors().nth(2).unwrap_or(crate_dir);
        let (mut binary, mut short, mut rounds) = (root.join("target/release/hypercache"), false, None);
        let mut parts = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--short" => short = true,
                "--rounds" => rounds = Some(value()?.parse::<usize>()?.max(1)),
                "--binary" => binary = PathBuf::from(value()?),
                name => {
                    let known = PARTS.iter().find(|(part, _)| *part == name);
                    parts.push(known.ok_or(format!("what is {name}?"))?.1);
                }
            }
        }
        if parts.is_empty() {
            parts = PARTS.map(|(_, part)| part).to_vec();
        }
        Ok(Settings { binary, short, rounds: rounds.unwrap_or(if short { 1 } else { 5 }), parts })
    }

    /// A number of keys, scaled down in a short run.
    fn keys(&self, full: u64) -> u64 {
        if self.short { full / 100 } else { full }
    }
}

/// Runs the parts and prints their figures.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::parse(arguments) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("acceptance durability: {error}\n\n{USAGE}");
            return ExitCode::from(crate::EXIT_USAGE);
        }
    };
    match measure(&settings) {
        Ok(report) => {
            println!();
            report.rows().iter().for_each(|row| println!("{row}"));
            if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("acceptance durability: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(settings: &Settings) -> Result<Report> {
    let mut report = Report::default();
    let ours = Target::hypercache(&settings.binary)?;
    let redis = Target::redis();
    if let Err(error) = &redis {
        report.skip(format!("Redis is not compared: {error}"));
    }
    let servers = Servers { ours, redis: redis.ok() };
    servers.all().for_each(|target| println!("{:<12} {}", target.name, target.version));
    for part in &settings.parts {
        part(settings, &servers, &mut report)?;
    }
    Ok(report)
}

/// The median of some figures.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// A figure of `INFO persistence`.
fn persistence_figure(address: SocketAddr, name: &str) -> Result<u64> {
    let mut client = RespClient::connect(address, REPLY_TIMEOUT)?;
    let Reply::Bulk(text) = client.command(&["INFO", "persistence"])? else {
        return Err("INFO persistence is no text".into());
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.ok_or_else(|| format!("INFO persistence has no {name}"))?.trim().parse()?)
}

/// Sends a command that has to be accepted.
fn order(address: SocketAddr, words: &[&str]) -> Result<()> {
    let mut client = RespClient::connect(address, REPLY_TIMEOUT)?;
    match client.command(words)? {
        Reply::Error(error) => Err(format!("{words:?}: {error}").into()),
        _ => Ok(()),
    }
}
