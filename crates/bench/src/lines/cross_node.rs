//! Random GET, SET and DEL through random nodes, each followed by a read through another node.

use crate::Result;
use crate::cluster::{Cluster, Options};
use crate::context::Context;
use crate::mixed::{self, Plan, Until};
use crate::report::Report;
use std::time::{Duration, Instant};

const NODES: usize = 3;
const WORKERS: usize = 16;
const KEYS_PER_WORKER: usize = 1_000;
const HTTP_SHARE: f64 = 0.1;

/// Runs the whole count on one cluster.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let cluster = Cluster::formed(&context.binary, &Options::nodes(NODES))?;
    let nodes = cluster.addresses();
    let plan = Plan {
        nodes: &nodes,
        workers: WORKERS,
        keys: KEYS_PER_WORKER,
        http_share: HTTP_SHARE,
        until: Until::Operations(context.operations(1_000_000, 60_000)),
        pace: Duration::ZERO,
        seed: context.seed,
    };
    let started = Instant::now();
    let totals = mixed::run(&plan);
    let seconds = started.elapsed().as_secs_f64();
    let mut report = Report::default();
    let [resp, http] = totals.requests;
    let rate = (resp + http) as f64 / seconds;
    report.note(format!(
        "seed {}; {resp} requests over RESP, {http} over HTTP, {rate:.0} per second",
        context.seed
    ));
    report.note(format!("operations: {}", totals.operations));
    totals.samples.iter().for_each(|sample| report.note(sample.clone()));
    report.exactly("failed", totals.failed_all(), 0);
    report.exactly("stale", totals.stale, 0);
    Ok(report)
}
