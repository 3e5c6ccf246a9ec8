//! What three nodes spend together on a write that two of them confirm, without sockets.
//!
//! `cargo bench -p node --bench replicated`. SET of keys of 16 bytes and values of 64, in random order, over the connections of
//! one node of three that keep two copies: two thirds are forwarded. All figures are per command, of all nodes together.

use criterion::{BatchSize, Criterion, Throughput};
use linked::Linked;
use mimalloc::MiMalloc;
use node::Key;
use protocol::encode_command;
use stdx::{Clock, Random};

#[path = "../tests/linked/mod.rs"]
mod linked;
#[path = "../tests/harness/platform.rs"]
mod platform;

/// What the server runs on.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const KEYS: u64 = 200_000;
const CONNECTIONS: usize = 12;
const VALUE: [u8; 64] = [b'v'; 64];

fn sets(random: &mut Random, pipeline: usize) -> Vec<Vec<u8>> {
    let one = |_| {
        let mut input = Vec::new();
        for _ in 0..pipeline {
            let key = format!("key:{:012}", random.below(KEYS));
            encode_command(&mut input, &[&b"SET"[..], key.as_bytes(), &VALUE]);
        }
        input
    };
    (0..CONNECTIONS).map(one).collect()
}

/// Hands one input to each of the connections and runs all nodes until every reply is there.
fn run(nodes: &mut Linked, connections: &[Key], inputs: &[Vec<u8>], pipeline: usize) {
    nodes.turn(0, |worker| {
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
    });
    nodes.until_quiet();
    for &connection in connections {
        let output = nodes.workers[0].output(connection).expect("open");
        assert_eq!(output.len(), pipeline * b"+OK\r\n".len());
        output.clear();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut nodes = Linked::new(Clock::system(), 3, 2);
    let accept = |_| nodes.workers[0].accept(String::new(), String::new(), 0).expect("room");
    let connections: Vec<Key> = (0..CONNECTIONS).map(accept).collect();
    let mut random = Random::seeded(1);
    for pipeline in [1, 16] {
        let mut group = criterion.benchmark_group("replicated");
        group.throughput(Throughput::Elements((CONNECTIONS * pipeline) as u64));
        group.bench_function(format!("SET, {CONNECTIONS} connections, pipeline {pipeline}"), |bench| {
            bench.iter_batched(
                || sets(&mut random, pipeline),
                |inputs| run(&mut nodes, &connections, &inputs, pipeline),
                BatchSize::SmallInput,
            );
        });
    }
    criterion.final_summary();
}
