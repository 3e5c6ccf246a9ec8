//! `acceptance peers`: HyperCache beside Valkey, Redis and memcached on the same processor, in the same run.
//!
//! Absolute figures of a virtual machine drift by a third from hour to hour, so nothing is compared across runs: every server is
//! filled once, in every round each is measured in turn while the others are stopped, the order rotates, and what counts is the
//! ratio of medians. The server has processor 0 for itself and the load generator (`hypercache bench`, which costs less per operation than any of the servers)
//! processor 1; persistence is off everywhere and every server has one thread for its data.
//!
//! A whole run writes `docs/performance.md` and its plot; one that is shortened or limited to some workloads leaves both alone
//! and writes into `target/artefacts`.

mod document;
pub(crate) mod load;
mod memory;
mod pairs;
mod plot;
mod results;
pub(crate) mod servers;
mod throughput;
mod workloads;

use crate::Result;
use results::{Results, Verdict};
use servers::Target;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: acceptance peers [--rounds N] [--workload NAME]... [--peers NAME,..] [--short] [--seconds S] [--binary PATH]

Peers are valkey, redis and memcached. Without valkey there are no ratios, and no limits to hold them against.

A NAME is a workload, or the beginning of several:";

/// Names of peers on the command line.
const PEERS: [&str; 3] = ["valkey", "redis", "memcached"];

/// Rounds and measured time of a cell, at least, for figures that are kept.
const ROUNDS: usize = 5;
const MEASURED: Duration = Duration::from_secs(2);
const MEASURED_SHORT: Duration = Duration::from_millis(500);

/// How much is run.
pub(crate) struct Settings {
    /// The HyperCache program, which also is the load generator.
    binary: PathBuf,
    /// The checkout.
    root: PathBuf,
    /// Small sizes, to see whether it runs at all.
    short: bool,
    /// How often every server is measured.
    rounds: usize,
    /// Measured time of one workload on one server in one round.
    measured: Duration,
    /// Peers to compare with, of [`PEERS`].
    peers: Vec<String>,
    /// Beginnings of the names of the workloads to run; all when empty.
    chosen: Vec<String>,
}

impl Settings {
    fn parse(arguments: &[String]) -> Result<Settings> {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_dir.ancestors().nth(2).unwrap_or(crate_dir).to_path_buf();
        let (mut binary, mut short, mut rounds, mut seconds) =
            (root.join("target/release/hypercache"), false, None, None);
        let mut chosen = Vec::new();
        let mut peers: Vec<String> = PEERS.map(str::to_owned).to_vec();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--short" => short = true,
                "--rounds" => rounds = Some(value()?.parse::<usize>()?.max(1)),
                "--seconds" => seconds = Some(value()?.parse::<f64>()?.clamp(0.1, 600.0)),
                "--binary" => binary = PathBuf::from(value()?),
                "--peers" => peers = value()?.split(',').map(|peer| peer.trim().to_lowercase()).collect(),
                "--workload" => chosen.push(value()?.clone()),
                // Several names may follow one --workload.
                name if !name.starts_with('-') && !chosen.is_empty() => chosen.push(name.to_owned()),
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        if let Some(unknown) =
            chosen.iter().find(|chosen| !workloads::names().any(|name| name.starts_with(chosen.as_str())))
        {
            return Err(format!("no workload begins with {unknown:?}").into());
        }
        if let Some(unknown) = peers.iter().find(|peer| !PEERS.contains(&peer.as_str())) {
            return Err(format!("no peer is called {unknown:?}").into());
        }
        Ok(Settings {
            binary,
            root,
            short,
            rounds: rounds.unwrap_or(if short { 2 } else { ROUNDS }),
            measured: seconds.map_or(if short { MEASURED_SHORT } else { MEASURED }, Duration::from_secs_f64),
            peers,
            chosen,
        })
    }

    /// Whether a workload was asked for.
    fn wants(&self, name: &str) -> bool {
        let whole = |chosen: &str| workloads::names().any(|name| name == chosen);
        let means = |chosen: &String| name == chosen || (!whole(chosen) && name.starts_with(chosen.as_str()));
        self.chosen.is_empty() || self.chosen.iter().any(means)
    }

    /// Whether a peer was asked for.
    fn compares(&self, peer: &str) -> bool {
        self.peers.iter().any(|chosen| chosen == peer)
    }

    /// A number of keys, scaled down in a short run.
    fn keys(&self, full: u64) -> u64 {
        if self.short { full / 50 } else { full }
    }

    /// Short for a number of keys, for tables.
    fn label(keys: u64) -> String {
        if keys < 1_000_000 { format!("{} k", keys / 1_000) } else { format!("{:.1} M", keys as f64 / 1e6) }
    }

    /// Whether the figures are worth keeping in the documentation.
    fn whole(&self) -> bool {
        let long = !self.short && self.rounds >= ROUNDS && self.measured >= MEASURED;
        long && self.chosen.is_empty() && PEERS.iter().all(|peer| self.compares(peer))
    }
}

/// Runs the comparison and prints its tables.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let names: Vec<&str> = workloads::names().collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}\n  {}", names.join(" "));
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::parse(arguments) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("acceptance peers: {error}\n\n{USAGE}\n  {}", names.join(" "));
            return ExitCode::from(crate::EXIT_USAGE);
        }
    };
    match compare(&settings) {
        Ok(failed) => {
            println!("\npeers: {failed} limits missed");
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("acceptance peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All that was asked for; the number of limits that were missed.
fn compare(settings: &Settings) -> Result<usize> {
    let started = Instant::now();
    let mut results = Results::default();
    let targets = servers::targets(settings, &mut results)?;
    for target in &targets {
        println!("{:<18} {}", target.name, target.version);
    }
    throughput::run(settings, &targets, &mut results)?;
    memory::per_key(settings, &targets, &mut results)?;
    memory::growth(settings, &targets, &mut results)?;
    memory::idle_connections(settings, &targets, &mut results)?;
    pairs::second_thread(settings, &targets, &mut results)?;
    pairs::replicated(settings, &targets, &mut results)?;
    let tables = results.tables(&targets);
    for table in &tables {
        println!("\n{}\n\n{}", table.title, table.markdown());
    }
    for note in &results.notes {
        println!("note: {note}");
    }
    println!("\ntook {:.0} s", started.elapsed().as_secs_f64());
    document::write(settings, &targets, &results, &tables)?;
    Ok(results.rows.iter().filter(|row| row.verdict == Verdict::Missed).count())
}

/// The HyperCache that the limits are for: io_uring where it runs, or the only one there is.
fn main_target(targets: &[Target]) -> Option<&Target> {
    targets.iter().rfind(|target| target.is_hypercache())
}

/// One line of progress.
fn progress(text: &str) {
    println!("  {text}");
}
