//! Client libraries of other people, through each of three nodes.
//!
//! Scripts in `tests/clients` for libraries of other languages, `redis_rs` for the one in Rust. What a library
//! needs is installed by `cargo xtask setup`.

mod redis_rs;

use crate::Result;
use crate::cluster::{Cluster, NodeAddress, Options};
use crate::context::Context;
use crate::report::Report;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const NODES: usize = 3;
const FAILURE_LINES: usize = 6;

/// Runs every client through every node.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let cluster = Cluster::formed(&context.binary, &Options::nodes(NODES))?;
    let nodes = cluster.addresses();
    let mut report = Report::default();
    for (index, node) in nodes.iter().enumerate() {
        let beside = &nodes[(index + 1) % nodes.len()];
        let tools = context.root.join(".tools");
        let python = tools.join("venv/bin/python");
        script(context, &mut report, ("redis-py", "redis_py.py"), python, node, beside)?;
        script(context, &mut report, ("ioredis", "ioredis.mjs"), PathBuf::from("node"), node, beside)?;
        let seen = redis_rs::check(node, beside);
        let result = seen.as_ref().map_or_else(ToString::to_string, |checks| format!("{checks} checks"));
        report.require(&format!("redis-rs through {}", node.name), seen.is_ok(), result);
    }
    report.skip("go-redis: its module is in none of the package registries that tests may use");
    Ok(report)
}

fn script(
    context: &Context,
    report: &mut Report,
    (client, file): (&str, &str),
    interpreter: PathBuf,
    node: &NodeAddress,
    beside: &NodeAddress,
) -> Result<()> {
    let output = Command::new(&interpreter)
        .arg(context.root.join("tests/clients").join(file))
        .args([node.resp.port().to_string(), beside.resp.port().to_string()])
        .env("CLIENT_MODULES", context.root.join(".tools/node"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error} (cargo xtask setup installs it)", interpreter.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    let checks = printed.lines().filter(|line| line.starts_with("ok ")).count();
    let mut result = format!("{checks} checks");
    if !output.status.success() {
        let failed = printed.lines().find(|line| line.starts_with("FAIL")).unwrap_or("it broke off");
        result = format!("{failed} (after {checks} checks)");
        let last: Vec<&str> = complaints.lines().rev().take(FAILURE_LINES).collect();
        last.iter().rev().for_each(|line| report.note(format!("{client}: {line}")));
    }
    report.require(&format!("{client} through {}", node.name), output.status.success() && checks > 0, result);
    Ok(())
}
