//! The jobs that continuous integration is made of.

use crate::command::{cargo, output_of, run};
use crate::{Result, accept, tidy, tools};
use std::path::Path;

/// The acceptance lines that a test run includes: all but `latency` and `http`, whose figures are ratios of speeds. Those
/// are benches; on a machine that does something else as well they would fail for no fault of the change.
const TEST_LINES: &[&str] = &[
    "form",
    "demo",
    "cross-node",
    "kill",
    "restart",
    "pause",
    "join-leave",
    "idle-memory",
    "malformed",
    "differential",
    "redis-benchmark",
    "clients",
    "dashboard",
];

/// Crates with `unsafe` that is more than system calls, and which of their tests run under Miri as well: what has nothing to do
/// with `unsafe` would run for hours.
const MIRI_RUNS: &[(&str, &[&str])] = &[
    ("store", &["--skip", "cuckoo", "--skip", "bloom"]),
    ("stdx", &["allocator"]),
    ("protocol", &["append"]),
];

/// Leaves Miri out, where its toolchain cannot be had.
const WITHOUT_MIRI: &str = "--without-miri";

/// All of it, cheapest first, so that a slip is found before the long builds.
///
/// # Errors
/// The first step that fails, or an option that does not exist.
pub(crate) fn ci(root: &Path, arguments: &[String]) -> Result<()> {
    if let Some(unknown) = arguments.iter().find(|argument| *argument != WITHOUT_MIRI) {
        return Err(format!("unknown option {unknown}"));
    }
    cargo(root, &["fmt", "--all", "--check"])?;
    tidy::tidy(root)?;
    cargo(root, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    deny(root)?;
    if arguments.is_empty() {
        miri(root)?;
    } else {
        println!("miri: left out, as asked");
    }
    test(root)
}

/// Unit tests under Miri, which sees undefined behaviour that a passing test does not.
///
/// # Errors
/// When a test fails, or when Miri cannot be installed: an unchecked `unsafe` must not look like a checked one.
pub(crate) fn miri(root: &Path) -> Result<()> {
    let toolchain = tools::miri(root)
        .map_err(|error| format!("{error}; `cargo xtask ci {WITHOUT_MIRI}` checks all the rest"))?;
    for (package, tests) in MIRI_RUNS {
        let mut arguments = vec!["run", toolchain, "cargo", "miri", "test", "--locked", "-p", package, "--"];
        arguments.extend(*tests);
        run(root, "rustup", &arguments)?;
    }
    Ok(())
}

/// Unit and integration tests, each bench once (Criterion does not measure without `cargo bench`), then the short
/// acceptance set, which includes foreign clients and the dashboard.
///
/// # Errors
/// The first step that fails.
pub(crate) fn test(root: &Path) -> Result<()> {
    tools::install_for_tests(root)?;
    cargo(root, &["test", "--workspace", "--locked"])?;
    cargo(root, &["test", "--workspace", "--locked", "--bench", "*"])?;
    let lines = TEST_LINES.iter().chain(&["--short"]).map(|word| (*word).to_owned());
    accept::accept(root, &lines.collect::<Vec<_>>())
}

/// Licences, banned crates and sources; known vulnerabilities where their database can be had.
///
/// # Errors
/// What is not allowed, as cargo-deny words it.
pub(crate) fn deny(root: &Path) -> Result<()> {
    let program = tools::cargo_deny(root)?.display().to_string();
    run(root, &program, &["--log-level", "error", "check", "licenses", "bans", "sources"])?;
    if output_of(root, &program, &["fetch", "db"]).is_none() {
        println!("deny: advisories not checked, their database cannot be fetched from here");
        return Ok(());
    }
    run(root, &program, &["check", "advisories"])
}
