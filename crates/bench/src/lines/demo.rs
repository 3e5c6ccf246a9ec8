//! `hypercache demo --once`, as a person's first command.

use crate::Result;
use crate::context::Context;
use crate::report::Report;
use std::process::{Command, Stdio};
use std::time::Instant;

const LIMIT_S: f64 = 15.0;
const ALL_PASSED: &str = "7/7";

/// Runs it once and looks at what it prints and how it ends.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let started = Instant::now();
    let output = Command::new(&context.binary)
        .args(["demo", "--once"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", context.binary.display()))?;
    let seconds = started.elapsed().as_secs_f64();
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut report = Report::default();
    let passed = printed.lines().rev().find(|line| line.contains(ALL_PASSED));
    report.require("all seven steps pass", passed.is_some(), passed.map_or("no 7/7", |_| ALL_PASSED));
    report.require("exit code 0", output.status.success(), output.status);
    report.at_most("time", seconds, LIMIT_S, "s");
    if !report.passed() {
        report.note(printed.into_owned());
        report.note(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(report)
}
