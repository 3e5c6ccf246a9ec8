//! The resident memory of each node of a formed cluster that nobody uses.

use crate::Result;
use crate::cluster::{Cluster, Options};
use crate::context::Context;
use crate::report::Report;
use std::thread::sleep;
use std::time::Duration;

const NODES: usize = 3;
const LIMIT_MB: f64 = 30.0;

/// Waits in quiet and reads what the kernel counts.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let cluster = Cluster::formed(&context.binary, &Options::nodes(NODES))?;
    sleep(Duration::from_secs(if context.short { 5 } else { 20 }));
    let mut report = Report::default();
    for node in &cluster.nodes {
        let megabytes = node.resident_bytes()? as f64 / 1e6;
        report.at_most(&format!("resident memory of {}", node.address.name), megabytes, LIMIT_MB, "MB");
    }
    Ok(report)
}
