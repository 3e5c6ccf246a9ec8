//! Three processes started together: how long until every one is ready and counts three members.

use crate::Result;
use crate::cluster::{Cluster, FORM_TIMEOUT, Options};
use crate::context::Context;
use crate::histogram::middle_and_max;
use crate::report::Report;
use std::time::Instant;

const NODES: usize = 3;
const FORM_LIMIT_S: f64 = 2.0;

/// Forms a fresh cluster again and again.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let rounds = context.rounds(10, 3);
    let (mut ready, mut settled) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let started = Instant::now();
        let mut cluster = Cluster::start(&context.binary, &Options::nodes(NODES))?;
        cluster.wait_ready(NODES, FORM_TIMEOUT)?;
        ready.push(started.elapsed());
        cluster.wait_settled(NODES, FORM_TIMEOUT)?;
        settled.push(started.elapsed());
        for node in &mut cluster.nodes {
            let status = node.terminate()?;
            if !status.success() {
                return Err(format!("{} ended with {status} on SIGTERM", node.address.name).into());
            }
        }
    }
    let mut report = Report::default();
    let (settled_p50, settled_max) = middle_and_max(&settled);
    report.note(format!(
        "{rounds} clusters; fully replicated after p50 {settled_p50:.3} s, max {settled_max:.3} s"
    ));
    let (p50, max) = middle_and_max(&ready);
    report.at_most("ready with three members, p50", p50, FORM_LIMIT_S, "s");
    report.at_most("ready with three members, max", max, FORM_LIMIT_S, "s");
    Ok(report)
}
