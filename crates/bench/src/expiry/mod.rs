//! `acceptance expiry`: what deadlines and a limit of memory cost, and how well both are kept, beside Redis.
//!
//! | part | what it shows |
//! |---|---|
//! | [`dead_keys`] | keys held past their deadline under a stream of short-lived ones, and the processor time for it |
//! | [`burst`] | the latency of other keys' GETs while a million expire within a second |
//! | [`memory`] | `used_memory` above `maxmemory` under a mixed load |
//!
//! Every server in its turn has one processor for itself and the load the other, so the machine should have nothing else to do.
//! Servers keep one copy of the data and no log.

mod burst;
mod connection;
mod dead_keys;
mod memory;
mod paced;

use crate::Result;
use crate::load::pin_to;
use crate::peers::servers::{LOAD_PROCESSOR, Target};
use crate::report::Report;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use stdx::Random;

const USAGE: &str = "\
usage: acceptance expiry [dead-keys|burst|memory]... [--short] [--rounds N] [--seconds N] [--seed N] [--binary PATH]

All three parts without a name. --seconds is the length of dead-keys (60) and of memory with each policy (600), --rounds that of burst (7).";

const PARTS: [&str; 3] = ["dead-keys", "burst", "memory"];

struct Settings {
    binary: PathBuf,
    parts: Vec<String>,
    short: bool,
    rounds: Option<u64>,
    seconds: Option<u32>,
    seed: u64,
}

impl Settings {
    fn parse(arguments: &[String]) -> Result<Settings> {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_dir.ancestors().nth(2).unwrap_or(crate_dir);
        let mut settings = Settings {
            binary: root.join("target/release/hypercache"),
            parts: Vec::new(),
            short: false,
            rounds: None,
            seconds: None,
            seed: Random::system().next_u64() >> 32,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--short" => settings.short = true,
                "--rounds" => settings.rounds = Some(value()?.parse()?),
                "--seconds" => settings.seconds = Some(value()?.parse()?),
                "--seed" => settings.seed = value()?.parse()?,
                "--binary" => settings.binary = value()?.into(),
                name if PARTS.contains(&name) => settings.parts.push(name.to_owned()),
                other => return Err(format!("what is {other}?").into()),
            }
        }
        Ok(settings)
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|it| it == part)
    }

    fn seconds(&self, full: u32, short: u32) -> u32 {
        self.seconds.unwrap_or(if self.short { short } else { full })
    }

    fn run(&self, part: &str, ours: &Target, redis: Option<&Target>) -> Result<Report> {
        match part {
            "dead-keys" => dead_keys::run(ours, redis, self.seconds(60, 12), self.seed),
            "burst" => {
                let keys = if self.short { 200_000 } else { 1_000_000 };
                let rounds = self.rounds.unwrap_or(if self.short { 1 } else { 7 });
                burst::run(ours, redis, (keys, rounds), self.seed)
            }
            _ => memory::run(ours, redis, Duration::from_secs(self.seconds(600, 10).into()), self.seed),
        }
    }
}

/// Runs the parts asked for and prints what they found.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::parse(arguments) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("acceptance expiry: {error}\n\n{USAGE}");
            return ExitCode::from(crate::EXIT_USAGE);
        }
    };
    match run_all(&settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("acceptance expiry: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(settings: &Settings) -> Result<bool> {
    pin_to(LOAD_PROCESSOR.parse()?)?;
    let ours = Target::hypercache(&settings.binary)?;
    let redis = Target::redis();
    println!("{}: {}; seed {}", ours.name, ours.version, settings.seed);
    match &redis {
        Ok(redis) => println!("{}: {}", redis.name, redis.version),
        Err(error) => println!("skipped: Redis is not compared: {error}"),
    }
    let (mut failed, mut skipped) = (0, 0);
    for part in PARTS.iter().filter(|part| settings.wants(part)) {
        println!("\n== {part}");
        let began = Instant::now();
        let report = settings
            .run(part, &ours, redis.as_ref().ok())
            .unwrap_or_else(|error| Report::broken(&error.to_string()));
        report.rows().iter().for_each(|row| println!("   {row}"));
        println!("   took {:.0} s", began.elapsed().as_secs_f64());
        failed += usize::from(!report.passed());
        skipped += report.skipped_count();
    }
    println!("\nexpiry: {failed} parts failed, {skipped} skipped");
    Ok(failed == 0)
}

/// Milliseconds since the epoch, as deadlines count them.
fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
