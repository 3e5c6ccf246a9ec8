//! What the hop to another node costs: GETs of local and of remote keys through one node, in turns.

use crate::Result;
use crate::cluster::{Cluster, Options};
use crate::context::Context;
use crate::load::{self, Load, Measured, Protocol};
use crate::placement::keys_by_primary;
use crate::report::Report;
use crate::resp_client::encode;
use std::time::Duration;

const NODES: usize = 3;
const CONNECTIONS: usize = 50;
const KEYS: usize = 1_000;
const RATIO_LIMIT: f64 = 2.0;

/// Measures both kinds in alternating slices, so that a slow moment of the machine hits both.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let options = Options::nodes(NODES).flag("--io-threads", "1");
    let cluster = Cluster::formed(&context.binary, &options)?;
    let node = &cluster.nodes[0].address;
    let placed = keys_by_primary(node, &node.name, KEYS)?;
    let (local_requests, cross_requests) = (gets(&placed.there), gets(&placed.elsewhere));
    let (mut local, mut cross) = (Measured::new(), Measured::new());
    let (slices, duration) =
        if context.short { (4, Duration::from_millis(750)) } else { (10, Duration::from_secs(2)) };
    // The first slice of each warms connections and caches and is not counted.
    for slice in 0..=slices {
        for (requests, sum) in [(&local_requests, &mut local), (&cross_requests, &mut cross)] {
            let measured = load::run(&Load {
                address: node.resp,
                protocol: Protocol::Resp,
                connections: CONNECTIONS,
                requests,
                duration,
                seed: context.seed ^ slice,
            })?;
            if slice > 0 {
                sum.add(&measured);
            }
        }
    }
    let mut report = Report::default();
    report.note(local.describe("local GET"));
    report.note(cross.describe("cross-node GET"));
    report.exactly("errors", local.errors + cross.errors, 0);
    let p99 = |measured: &Measured| measured.latencies.quantile(0.99).as_secs_f64();
    report.at_most("cross-node p99 over local p99", p99(&cross) / p99(&local), RATIO_LIMIT, "x");
    Ok(report)
}

fn gets(keys: &[String]) -> Vec<Vec<u8>> {
    keys.iter()
        .map(|key| {
            let mut request = Vec::new();
            encode(&["GET", key], &mut request);
            request
        })
        .collect()
}
