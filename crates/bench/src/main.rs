//! `acceptance`: every acceptance line of the project as a run against real server processes, with its figures.
//!
//! The runs are black-box on purpose: they start `hypercache` as a user would, speak RESP and HTTP with clients
//! of their own (a codec shared with the server would hide a mistake made on both sides), kill and stop
//! processes by signal, and compare what they see with models that only know what was acknowledged.
//! `main` parses the command line and prints the final table; each line lives in its own file under `lines/`.

#![allow(clippy::print_stdout, reason = "printing figures is what this program is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "measures other processes from outside, by the wall clock; nothing here is simulated"
)]

mod cluster;
mod context;
mod differential;
mod durability;
mod expiry;
mod histogram;
mod hitratio;
mod http_client;
mod lines;
mod load;
mod mixed;
mod peers;
mod placement;
mod ports;
mod registers;
mod report;
mod resp_client;

use context::Context;
use lines::{LINES, Line};
use report::Report;
use std::process::ExitCode;
use std::time::Instant;

/// What every run may fail with: a message for a person, never matched on.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of a step of a run.
pub(crate) type Result<T> = std::result::Result<T, Error>;

const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Comparisons with others have options and tables of their own; they are not lines of the table.
    match arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("peers", rest)) => return peers::main(rest),
        Some(("durability", rest)) => return durability::main(rest),
        Some(("hitratio", rest)) => return hitratio::main(rest),
        Some(("expiry", rest)) => return expiry::main(rest),
        _ => {}
    }
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "--help") {
        println!("{}", usage());
        return if arguments.is_empty() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
    }
    let (names, context) = match Context::parse(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("acceptance: {error}\n\n{}", usage());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match chosen(&names) {
        Ok(lines) => run_all(&lines, &context),
        Err(unknown) => {
            eprintln!("acceptance: there is no run named {unknown:?}\n\n{}", usage());
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn usage() -> String {
    let mut text = String::from(
        "usage: acceptance NAME...|all [--short] [--rounds N] [--operations N] [--seed N] [--binary PATH]\n       acceptance differential [--commands N] [--seed N] [--family NAME]...\n\nruns:\n",
    );
    for line in LINES {
        text.push_str(&format!("  {:<16} {}\n", line.name, line.what));
    }
    text.push_str("\nor: acceptance peers|hitratio|durability|expiry [--help]\n");
    text
}

fn chosen(names: &[String]) -> std::result::Result<Vec<&'static Line>, String> {
    if names.iter().any(|name| name == "all") {
        return Ok(LINES.iter().collect());
    }
    names.iter().map(|name| LINES.iter().find(|line| line.name == name).ok_or_else(|| name.clone())).collect()
}

/// Runs the lines one after another (they share two cores) and prints the table and the closing line.
fn run_all(lines: &[&Line], context: &Context) -> ExitCode {
    let mut reports: Vec<(&Line, Report)> = Vec::new();
    for line in lines {
        println!("== {}: {}", line.name, line.what);
        let started = Instant::now();
        let report = (line.run)(context).unwrap_or_else(|error| Report::broken(&error.to_string()));
        for row in report.rows() {
            println!("   {row}");
        }
        println!("   took {:.1} s", started.elapsed().as_secs_f64());
        reports.push((line, report));
    }
    println!("\n{:<16} {:<44} {:>22} {:>16}  result", "run", "figure", "measured", "limit");
    for (line, report) in &reports {
        for row in report.table_rows(line.name) {
            println!("{row}");
        }
    }
    let failed = reports.iter().filter(|(_, report)| !report.passed()).count();
    let skipped: usize = reports.iter().map(|(_, report)| report.skipped_count()).sum();
    println!("\nacceptance: {} passed, {failed} failed, {skipped} skipped", reports.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
