//! What a worker spends on a command, without sockets: from the bytes of a request to the bytes of its reply.
//!
//! `cargo bench -p node`. A node that is alone, with one worker and a million keys of 16 bytes with values of 64; keys are
//! asked for in random order. All figures are per command, those of MGET per key.

use cluster::map::{ClusterMap, MapCommand, Member, MemberState};
use cluster::planner::{PlanLimits, is_settled, plan};
use criterion::{BatchSize, Criterion, Throughput};
use mimalloc::MiMalloc;
use node::{Key, NodeConfig, Shared, Worker};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, NodeId, Random};

#[path = "../tests/harness/platform.rs"]
mod platform;

/// What the server runs on.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const KEYS: u64 = 1_000_000;
const VALUE: [u8; 64] = [b'v'; 64];
const ME: NodeId = NodeId(1);

fn single_node() -> Worker {
    let mut map = ClusterMap::default();
    map.apply(&MapCommand::Bootstrap { cluster_id: 1, partitions: 256, replication_factor: 1 });
    let address = |port: u16| ([127, 0, 0, 1], port).into();
    let member = Member {
        node: ME,
        incarnation: 1,
        name: "bench".to_owned(),
        zone: None,
        weight: 1,
        resp: address(6379),
        http: address(8080),
        gossip: address(7946),
        state: MemberState::Up,
    };
    map.apply(&MapCommand::Register { member });
    while !is_settled(&map) {
        map.apply(&MapCommand::Changes(plan(&map, PlanLimits::default())));
    }
    let config = NodeConfig {
        node: ME,
        name: "bench".to_owned(),
        workers: 1,
        wait_for_in_sync: true,
        forward_timeout: Duration::from_secs(2),
        resp_port: 6379,
    };
    let shared = Shared::new(config, Clock::system(), Arc::new(platform::TestPlatform), 7);
    shared.apply_map(Arc::new(map));
    Worker::new(0, shared)
}

fn append(input: &mut Vec<u8>, words: &[&[u8]]) {
    write!(input, "*{}\r\n", words.len()).expect("a vector takes everything");
    for word in words {
        write!(input, "${}\r\n", word.len()).expect("a vector takes everything");
        input.extend_from_slice(word);
        input.extend_from_slice(b"\r\n");
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

fn command(input: &mut Vec<u8>, name: &str, number: u64) {
    match name {
        "GET" => append(input, &[b"GET", &key(number)]),
        "SET" => append(input, &[b"SET", &key(number), &VALUE]),
        _ => unreachable!("the benches below name no other"),
    }
}

/// Hands one input to each of the connections, runs them all, and throws the replies away.
fn turn(worker: &mut Worker, connections: &[Key], inputs: &[Vec<u8>]) {
    worker.begin_turn();
    for (&connection, input) in connections.iter().zip(inputs) {
        worker.input(connection).expect("open").extend_from_slice(input);
    }
    let mut prepared = 0;
    for (index, &connection) in connections.iter().enumerate() {
        if prepared == 0 && connections.len() > 1 {
            prepared = worker.prepare(&connections[index..]);
        }
        worker.process(connection);
        prepared = prepared.saturating_sub(1);
    }
    worker.end_turn();
    worker.take_flush(&mut Vec::new());
    for &connection in connections {
        let output = worker.output(connection).expect("open");
        assert!(!output.is_empty() && output[0] != b'-');
        output.clear();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut worker = single_node();
    let connections: Vec<Key> =
        (0..50).map(|_| worker.accept(String::new(), String::new(), 0).expect("room")).collect();
    for first in (0..KEYS).step_by(64) {
        let mut input = Vec::new();
        (first..KEYS.min(first + 64)).for_each(|number| command(&mut input, "SET", number));
        turn(&mut worker, &connections[..1], &[input]);
    }
    let mut random = Random::seeded(1);
    for (name, clients, pipeline) in
        [("GET", 1, 64), ("GET", 50, 16), ("GET", 50, 1), ("SET", 1, 64), ("SET", 50, 16), ("SET", 50, 1)]
    {
        let mut group = criterion.benchmark_group("serve");
        group.throughput(Throughput::Elements(clients as u64 * pipeline));
        group.bench_function(format!("{name}, {clients} connections, pipeline {pipeline}"), |bench| {
            let inputs = || -> Vec<Vec<u8>> {
                (0..clients)
                    .map(|_| {
                        let mut input = Vec::new();
                        (0..pipeline).for_each(|_| command(&mut input, name, random.below(KEYS)));
                        input
                    })
                    .collect()
            };
            bench.iter_batched(
                inputs,
                |inputs| turn(&mut worker, &connections[..clients], &inputs),
                BatchSize::SmallInput,
            );
        });
    }
    let mut group = criterion.benchmark_group("serve");
    group.throughput(Throughput::Elements(32));
    group.bench_function("MGET of 32", |bench| {
        let input = || {
            let keys: Vec<Vec<u8>> = (0..32).map(|_| key(random.below(KEYS))).collect();
            let words: Vec<&[u8]> =
                std::iter::once(&b"MGET"[..]).chain(keys.iter().map(Vec::as_slice)).collect();
            let mut input = Vec::new();
            append(&mut input, &words);
            [input]
        };
        bench.iter_batched(
            input,
            |input| turn(&mut worker, &connections[..1], &input),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    criterion.final_summary();
}
