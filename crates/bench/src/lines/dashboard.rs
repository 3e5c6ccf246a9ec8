//! The dashboard as a person sees it: headless Chromium, screenshots kept as artefacts, and the page's text checked.

use crate::Result;
use crate::cluster::{Cluster, Options};
use crate::context::Context;
use crate::mixed::{self, Plan, Until};
use crate::report::Report;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const NODES: usize = 3;

/// Opens the page of one node while there is some load for its graphs to show.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let cluster = Cluster::formed(&context.binary, &Options::nodes(NODES))?;
    let nodes = cluster.addresses();
    let artefacts = context.artefacts();
    fs::create_dir_all(&artefacts)?;
    let mut legible: Vec<String> = Vec::new();
    for member in cluster.nodes[0].status()?.members {
        legible.extend([member.name, member.primaries.to_string()]);
    }
    let stop = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            mixed::run(&Plan {
                nodes: &nodes,
                workers: 2,
                keys: 1_000,
                http_share: 0.2,
                until: Until::Flag(&stop),
                pace: Duration::from_millis(1),
                seed: context.seed,
            })
        });
        let output = Command::new("node")
            .arg(context.root.join("tests/dashboard/check.mjs"))
            .arg(format!("http://{}/", nodes[0].http))
            .arg(&artefacts)
            .args(&legible)
            .env("CLIENT_MODULES", context.root.join(".tools/node"))
            .stdin(Stdio::null())
            .output();
        stop.store(true, Relaxed);
        output
    })?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut report = Report::default();
    printed.lines().for_each(|line| report.note(line));
    String::from_utf8_lossy(&output.stderr).lines().for_each(|line| report.note(line));
    for scheme in ["light", "dark"] {
        let path = artefacts.join(format!("dashboard-{scheme}.png"));
        let length = fs::metadata(&path).map_or(0, |file| file.len());
        report.require(&format!("screenshot, {scheme}"), length > 0, format!("{length} bytes"));
        report.note(format!("kept as {}", path.display()));
    }
    let checks = printed.lines().filter(|line| line.starts_with("ok ")).count();
    report.require(
        "the page shows the cluster",
        output.status.success() && checks > 0,
        format!("{checks} checks"),
    );
    Ok(report)
}
