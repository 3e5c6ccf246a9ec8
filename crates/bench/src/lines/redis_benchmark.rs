//! `redis-benchmark` against one node of three: it must run through without a complaint.

use crate::Result;
use crate::cluster::{Cluster, Options};
use crate::context::Context;
use crate::report::Report;
use std::process::{Command, Stdio};

const NODES: usize = 3;
const TESTS: &str = "ping,set,get,incr,mset";
/// What it prints, in any case, when something is not as with Redis.
const COMPLAINTS: &[&str] = &["error", "warning", "could not"];

/// Runs it and prints its rates.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let cluster = Cluster::formed(&context.binary, &Options::nodes(NODES))?;
    let port = cluster.nodes[0].address.resp.port().to_string();
    let requests = context.operations(100_000, 100_000).to_string();
    let output = Command::new("redis-benchmark")
        .args(["-h", "127.0.0.1", "-p", &port, "-t", TESTS, "-P", "16", "-n", &requests, "-q", "--csv"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("redis-benchmark: {error}"))?;
    let printed =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let mut report = Report::default();
    let mut rates = 0;
    for line in printed.lines().filter(|line| line.starts_with('"') && !line.starts_with("\"test\"")) {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
        report.note(format!(
            "{}: {} per second",
            fields.first().unwrap_or(&""),
            fields.get(1).unwrap_or(&"")
        ));
        rates += 1;
    }
    let complaint = printed.lines().find(|line| {
        let line = line.to_lowercase();
        COMPLAINTS.iter().any(|complaint| line.contains(complaint))
    });
    report.require("exit code 0", output.status.success(), output.status);
    report.require("no complaint", complaint.is_none(), complaint.unwrap_or("none"));
    // Two kinds of PING, and one line for each other test.
    report.exactly("tests with a rate", rates, TESTS.split(',').count() as u64 + 1);
    Ok(report)
}
