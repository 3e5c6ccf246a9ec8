//! Builds the server and the acceptance program in release and runs the latter.

use crate::command::{cargo, run};
use crate::{Result, tools};
use std::path::Path;

/// Benches by their short names, with the acceptance run that measures each.
const BENCHES: &[(&str, &str)] = &[("latency", "latency"), ("http", "http"), ("memory", "idle-memory")];

/// The runs that look for faults and reward patience.
const CAMPAIGNS: &[&str] = &["kill", "pause", "cross-node", "malformed"];

/// Runs acceptance lines; `all` when none is named.
///
/// # Errors
/// When the build or a figure fails.
pub(crate) fn accept(root: &Path, arguments: &[String]) -> Result<()> {
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments.first().is_none_or(|first| first.starts_with('-')) {
        arguments.insert(0, "all");
    }
    tools::install_for_tests(root)?;
    cargo(root, &["build", "--release", "--locked", "-p", "hypercache", "-p", "bench"])?;
    let program = root.join("target/release/acceptance").display().to_string();
    run(root, &program, &arguments)
}

/// Runs one of the benches.
///
/// # Errors
/// As for [`accept`], and for a name that is none.
pub(crate) fn bench(root: &Path, arguments: &[String]) -> Result<()> {
    let (name, rest) = arguments.split_first().ok_or("which bench: latency, http or memory?")?;
    let (_, line) =
        BENCHES.iter().find(|(bench, _)| bench == name).ok_or_else(|| format!("no bench named {name:?}"))?;
    accept(root, &with_name(line, rest))
}

/// Runs the long form of one of the campaigns.
///
/// # Errors
/// As for [`accept`], and for a name that is none.
pub(crate) fn campaign(root: &Path, arguments: &[String]) -> Result<()> {
    let (name, rest) =
        arguments.split_first().ok_or_else(|| format!("which campaign: {}?", CAMPAIGNS.join(", ")))?;
    if !CAMPAIGNS.contains(&name.as_str()) {
        return Err(format!("no campaign named {name:?}"));
    }
    accept(root, &with_name(name, rest))
}

fn with_name(name: &str, rest: &[String]) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(rest.iter().cloned()).collect()
}
