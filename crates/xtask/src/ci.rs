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
    "pause",
    "join-leave",
    "idle-memory",
    "malformed",
    "redis-benchmark",
    "clients",
    "dashboard",
];

/// All of it, cheapest first, so that a slip is found before the long builds.
///
/// # Errors
/// The first step that fails.
pub(crate) fn ci(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--all", "--check"])?;
    tidy::tidy(root)?;
    cargo(root, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    deny(root)?;
    test(root)
}

/// Unit and integration tests, then the short acceptance set, which includes foreign clients and the dashboard.
///
/// # Errors
/// The first step that fails.
pub(crate) fn test(root: &Path) -> Result<()> {
    tools::install_for_tests(root)?;
    cargo(root, &["test", "--workspace", "--locked"])?;
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
