//! A fourth node joins and leaves again while clients of the other three read and write.

use crate::Result;
use crate::cluster::{Cluster, FORM_TIMEOUT, NodeAddress, Options};
use crate::context::Context;
use crate::http_client::HttpClient;
use crate::mixed::{self, Plan, Totals, Until};
use crate::report::Report;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::Duration;

const NODES: usize = 3;
const PARTITIONS: f64 = 256.0;
const WORKERS: usize = 8;
const KEYS_PER_WORKER: usize = 1_000;
const HTTP_SHARE: f64 = 0.3;
const PACE: Duration = Duration::from_micros(200);
const QUIET_LOAD: Duration = Duration::from_secs(2);
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);
const EVEN_WITHIN: f64 = 1.0;

/// Loads the three old nodes throughout.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let mut cluster = Cluster::formed(&context.binary, &Options::nodes(NODES))?;
    let nodes = cluster.addresses();
    let stop = AtomicBool::new(false);
    let mut report = Report::default();
    let (totals, moved) = thread::scope(|scope| {
        let load = scope.spawn(|| loaded(context, &nodes, &stop));
        let moved = join_and_leave(&mut cluster, &mut report);
        stop.store(true, Relaxed);
        (load.join().expect("the load only counts failures, it does not panic"), moved)
    });
    totals.samples.iter().for_each(|sample| report.note(sample.clone()));
    report.note(format!("{} operations meanwhile", totals.operations));
    let [resp, http] = totals.failed;
    report.exactly("errors seen by RESP clients", resp, 0);
    report.exactly("errors seen by HTTP clients", http, 0);
    report.exactly("stale", totals.stale, 0);
    if let Err(error) = moved {
        report.require("join and leave complete", false, error);
    }
    Ok(report)
}

fn loaded(context: &Context, nodes: &[NodeAddress], stop: &AtomicBool) -> Totals {
    mixed::run(&Plan {
        nodes,
        workers: WORKERS,
        keys: KEYS_PER_WORKER,
        http_share: HTTP_SHARE,
        until: Until::Flag(stop),
        pace: PACE,
        seed: context.seed,
    })
}

fn join_and_leave(cluster: &mut Cluster, report: &mut Report) -> Result<()> {
    sleep(QUIET_LOAD);
    let fourth = cluster.add_node()?;
    let joined = cluster.wait_settled(NODES + 1, FORM_TIMEOUT)?;
    report.note(format!("the fourth node has its share after {:.3} s", joined.as_secs_f64()));
    require_even(cluster, report, "after the join")?;
    sleep(QUIET_LOAD);
    let address = cluster.nodes[fourth].address.http;
    let reply = HttpClient::new(address, EXIT_TIMEOUT).request("POST", "/api/cluster/leave", b"{}")?;
    if !(200..300).contains(&reply.status) {
        return Err(format!("leave was answered {}", reply.status).into());
    }
    let status = cluster.nodes[fourth].wait_exit(EXIT_TIMEOUT)?;
    report.require("the leaving process ends by itself", status.success(), status);
    let left = cluster.wait_settled(NODES, FORM_TIMEOUT)?;
    report.note(format!("whole again {:.3} s after the fourth ended", left.as_secs_f64()));
    require_even(cluster, report, "after the leave")?;
    sleep(QUIET_LOAD);
    Ok(())
}

/// Primaries per node, as each running member says, within one of even.
fn require_even(cluster: &Cluster, report: &mut Report, when: &str) -> Result<()> {
    let status = cluster.nodes[0].status()?;
    let counts: Vec<u64> =
        status.members.iter().filter(|member| member.state == "up").map(|member| member.primaries).collect();
    let even = PARTITIONS / counts.len() as f64;
    let furthest = counts.iter().map(|count| (*count as f64 - even).abs()).fold(0.0, f64::max);
    report.note(format!("primaries {when}: {counts:?}"));
    report.at_most(&format!("primaries off even {when}"), furthest, EVEN_WITHIN, "");
    Ok(())
}
