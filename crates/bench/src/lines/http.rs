//! HTTP beside RESP: the same GETs over both, against one node on one processor, with the load on another.

use crate::Result;
use crate::cluster::{Cluster, NodeAddress, Options};
use crate::context::Context;
use crate::http_client::{encode_request, key_path};
use crate::load::{self, Load, Measured, Protocol};
use crate::report::Report;
use crate::resp_client::{Reply, RespClient, encode};
use std::thread;
use std::time::Duration;

const CONNECTIONS: usize = 50;
const MANY_KEYS: usize = 1_000_000;
const PIPELINE: usize = 1_000;
const REQUESTS: usize = 10_000;
const RATIO_LIMIT: f64 = 0.5;
const SERVER_PROCESSOR: usize = 0;
const LOAD_PROCESSOR: usize = 1;
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Measures with one resident key, then with a million.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let options = Options {
        processor: Some(SERVER_PROCESSOR),
        ..Options::nodes(1).flag("--io-threads", "1").flag("--replication-factor", "1")
    };
    let cluster = Cluster::formed(&context.binary, &options)?;
    let node = cluster.nodes[0].address.clone();
    let mut report = Report::default();
    thread::scope(|scope| {
        // Of its own thread, because the processor it is bound to is not for the runs after this one.
        let measuring = scope.spawn(|| -> Result<()> {
            load::pin_to(LOAD_PROCESSOR)?;
            for keys in [1, MANY_KEYS] {
                fill(&node, keys)?;
                compare(context, &node, keys, &mut report)?;
            }
            Ok(())
        });
        measuring.join().expect("measuring returns its errors")
    })?;
    Ok(report)
}

fn key_name(index: usize) -> String {
    format!("key:{index:07}")
}

fn fill(node: &NodeAddress, keys: usize) -> Result<()> {
    let mut client = RespClient::connect(node.resp, LOAD_TIMEOUT)?;
    for first in (0..keys).step_by(PIPELINE) {
        let batch = first..(first + PIPELINE).min(keys);
        let mut request = Vec::new();
        for index in batch.clone() {
            encode(&["SET", &key_name(index), "sixteen bytes..."], &mut request);
        }
        client.send(&request)?;
        for _ in batch {
            let reply = client.receive()?;
            if reply != Reply::Simple("OK".to_owned()) {
                return Err(format!("SET was answered {reply:?}").into());
            }
        }
    }
    Ok(())
}

fn compare(context: &Context, node: &NodeAddress, keys: usize, report: &mut Report) -> Result<()> {
    let step = (keys / REQUESTS).max(1);
    let names: Vec<String> = (0..keys).step_by(step).map(key_name).collect();
    let resp_requests: Vec<Vec<u8>> = names
        .iter()
        .map(|name| {
            let mut request = Vec::new();
            encode(&["GET", name], &mut request);
            request
        })
        .collect();
    let http_requests: Vec<Vec<u8>> =
        names.iter().map(|name| encode_request("GET", &key_path(name.as_bytes()), b"")).collect();
    let (mut resp, mut http) = (Measured::new(), Measured::new());
    let (slices, duration) =
        if context.short { (4, Duration::from_millis(500)) } else { (8, Duration::from_millis(1_500)) };
    for slice in 0..=slices {
        for (address, protocol, requests, sum) in [
            (node.resp, Protocol::Resp, &resp_requests, &mut resp),
            (node.http, Protocol::Http, &http_requests, &mut http),
        ] {
            let seed = context.seed ^ slice;
            let load = Load { address, protocol, connections: CONNECTIONS, requests, duration, seed };
            let measured = load::run(&load)?;
            // The first slice of each is a warm-up.
            if slice > 0 {
                sum.add(&measured);
            }
        }
    }
    report.note(resp.describe(&format!("RESP GET, {keys} keys")));
    report.note(http.describe(&format!("HTTP GET, {keys} keys")));
    report.exactly(&format!("errors, {keys} keys"), resp.errors + http.errors, 0);
    report.at_least(
        &format!("HTTP over RESP rate, {keys} keys"),
        http.rate() / resp.rate(),
        RATIO_LIMIT,
        "x",
    );
    Ok(())
}
