//! `acceptance hitratio`: how many requests of recorded traces find their key, in real servers with a limit of memory.
//!
//! Reads `../shared/traces` beside the checkout, or the directory `HYPERCACHE_TRACES`; its README describes what is there. For every
//! cache of its `FIGURES.csv` a server of one node is started, given `maxmemory` for as many keys ([`limit`]), and the trace is
//! replayed ([`replay`]): GET, and SET after a miss. A replay measures the whole way of a request: the sharing of memory between keys,
//! lists and buffers, sampling, and evictions a command at a time. `cargo bench -p store --bench hitratio` measures the
//! policies alone, in a hundredth of the time.
//!
//! Hit ratios do not depend on how fast or how busy the machine is, except those of Redis a little: its LRU and LFU go by the clock.
//! Left out: times to live, which the simulators ignored too.

mod connection;
mod contender;
mod figures;
mod limit;
mod replay;
mod table;
mod trace;

use crate::Result;
use crate::peers::servers::Target;
use contender::Contender;
use figures::{BY_BYTES, JUDGED, Row, Unit};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use table::Measured;

const USAGE: &str = "\
usage: acceptance hitratio [--short] [--trace NAME...] [--share SHARE...] [--policy NAME...] [--binary PATH]

A share is of a trace's keys, such as 0.01. A policy is a value of maxmemory-policy, with redis: before it for that of Redis. Without --policy all rows are measured with
those that are judged, and some with the others.";

/// Policies measured on short traces besides those that are judged.
const OTHERS: [&str; 4] = ["allkeys-lru", "allkeys-s3fifo", "redis:allkeys-lru", "redis:allkeys-lfu"];
/// Traces of few enough requests for that.
const COMPARED: [&str; 7] =
    ["cdn_adaptsize", "corda", "lirs_2_pools", "lirs_loop", "lirs_multi3", "oltp", "web12"];
/// Traces of a short run.
const SHORT: [&str; 3] = ["lirs_2_pools", "lirs_multi3", "web12"];

struct Settings {
    binary: PathBuf,
    traces_dir: PathBuf,
    short: bool,
    traces: Vec<String>,
    shares: Vec<String>,
    policies: Vec<String>,
}

impl Settings {
    fn parse(arguments: &[String]) -> Result<Settings> {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_dir.ancestors().nth(2).unwrap_or(crate_dir);
        let beside = || root.parent().unwrap_or(root).join("shared/traces");
        let mut settings = Settings {
            binary: root.join("target/release/hypercache"),
            traces_dir: std::env::var_os("HYPERCACHE_TRACES").map_or_else(beside, PathBuf::from),
            short: false,
            traces: Vec::new(),
            shares: Vec::new(),
            policies: Vec::new(),
        };
        let mut list: Option<&mut Vec<String>> = None;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--short" => settings.short = true,
                "--binary" => settings.binary = rest.next().ok_or("--binary needs a value")?.into(),
                "--trace" => list = Some(&mut settings.traces),
                "--share" => list = Some(&mut settings.shares),
                "--policy" => list = Some(&mut settings.policies),
                name if !name.starts_with('-') => {
                    list.as_mut().ok_or(format!("what is {name}?"))?.push(name.to_owned());
                }
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        Ok(settings)
    }

    fn wants_row(&self, row: &Row) -> bool {
        let share = row.share.to_string();
        let is_chosen =
            |chosen: &[String], name: &str| chosen.is_empty() || chosen.iter().any(|it| it == name);
        let fits = !self.short || !self.traces.is_empty() || SHORT.contains(&row.trace.as_str());
        fits && is_chosen(&self.traces, &row.trace) && is_chosen(&self.shares, &share)
    }

    /// The columns of the table.
    fn columns(&self) -> Vec<&str> {
        if self.policies.is_empty() {
            return [JUDGED, BY_BYTES].into_iter().chain(OTHERS).collect();
        }
        self.policies.iter().map(String::as_str).collect()
    }

    /// Whether a policy is measured on a row.
    fn wants(&self, row: &Row, policy: &str) -> bool {
        if !self.policies.is_empty() {
            return true;
        }
        match policy {
            BY_BYTES => row.unit == Unit::Bytes,
            JUDGED => row.unit == Unit::Objects,
            _ => row.unit == Unit::Objects && COMPARED.contains(&row.trace.as_str()),
        }
    }

    /// Whether all rows are measured that a mean is asked of.
    fn is_whole(&self) -> bool {
        !self.short && self.traces.is_empty() && self.shares.is_empty()
    }
}

/// Replays the traces and prints the table.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::parse(arguments) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("acceptance hitratio: {error}\n\n{USAGE}");
            return ExitCode::from(crate::EXIT_USAGE);
        }
    };
    let Ok(figures) = std::fs::read_to_string(settings.traces_dir.join("FIGURES.csv")) else {
        println!("skipped: there are no traces at {}", settings.traces_dir.display());
        return ExitCode::SUCCESS;
    };
    match measure_all(&settings, figures::rows(&figures)) {
        Ok(passed) if passed => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("acceptance hitratio: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the rows asked for, trace by trace; whether everything that was judged holds.
fn measure_all(settings: &Settings, rows: Vec<Row>) -> Result<bool> {
    let started = Instant::now();
    let ours = Target::hypercache(&settings.binary)?;
    let redis = Target::redis();
    println!("{}: {}", ours.name, ours.version);
    match &redis {
        Ok(redis) => println!("{}: {}", redis.name, redis.version),
        Err(error) => println!("skipped: Redis is not compared: {error}"),
    }
    let columns = settings.columns();
    let mut measured: Vec<Measured> = Vec::new();
    let mut trace = (String::new(), Vec::new());
    for row in rows.into_iter().filter(|row| settings.wants_row(row)) {
        if trace.0 != row.trace {
            let path = settings.traces_dir.join(format!("{}.trc.zst", row.trace));
            trace = (row.trace.clone(), trace::read(&path)?);
        }
        let mut found = Vec::new();
        for name in &columns {
            let contender = Contender::new(name, &ours, redis.as_ref().ok());
            let Some(contender) = contender.filter(|_| settings.wants(&row, name)) else {
                found.push(None);
                continue;
            };
            let began = Instant::now();
            let result = contender
                .measure(&row, &trace.1)
                .map_err(|error| format!("{} on {}: {error}", contender.name, row.label()))?;
            let rate = trace.1.len() as f64 / began.elapsed().as_secs_f64() / 1e3;
            let (least, most) = result.held_range;
            let cell = table::cell(&result);
            println!("  {:<26} {name:<18} {cell:<16} {least} to {most}, {rate:.0}k req/s", row.label());
            found.push(Some(result));
        }
        measured.push(Measured { row, found });
    }
    println!("\n{}\n", table::markdown(&columns, &measured));
    let report = table::judge(&columns, &measured, settings.is_whole());
    for line in report.rows() {
        println!("{line}");
    }
    println!("\ntook {:.0} s", started.elapsed().as_secs_f64());
    Ok(report.passed())
}
