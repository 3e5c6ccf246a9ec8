//! What a worker spends on a command, without sockets: from the bytes of a request to the bytes of its reply.
//!
//! `cargo bench -p node`. A node that is alone, with one worker and a million keys of 16 bytes with values of 64; keys are
//! asked for in random order. All figures are per command, those of MGET per key, those of expiry per key removed: by one
//! slice, which is what a client may have to wait for.

use criterion::{BatchSize, Criterion, Throughput};
use mimalloc::MiMalloc;
use node::{Key, Worker};
use protocol::encode_command;
use std::cell::RefCell;
use std::time::Duration;
use stdx::{Clock, Random, Wall};

#[path = "../tests/single/mod.rs"]
mod single;

/// What the server runs on.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const KEYS: u64 = 1_000_000;
const VALUE: [u8; 64] = [b'v'; 64];

fn key(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

fn command(input: &mut Vec<u8>, name: &str, number: u64) {
    match name {
        "GET" => encode_command(input, &[&b"GET"[..], &key(number)]),
        "SET" => encode_command(input, &[&b"SET"[..], &key(number), &VALUE]),
        _ => unreachable!("the benches below name no other"),
    }
}

fn mget(random: &mut Random) -> Vec<u8> {
    let keys = (0..32).map(|_| key(random.below(KEYS)));
    let words: Vec<Vec<u8>> = std::iter::once(b"MGET".to_vec()).chain(keys).collect();
    let mut input = Vec::new();
    encode_command(&mut input, &words);
    input
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
    let mut worker = single::single_node(Clock::system(), 1);
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
    for clients in [1, 50] {
        let mut group = criterion.benchmark_group("serve");
        group.throughput(Throughput::Elements(clients as u64 * 32));
        group.bench_function(format!("MGET of 32, {clients} connections"), |bench| {
            let inputs = || -> Vec<Vec<u8>> { (0..clients).map(|_| mget(&mut random)).collect() };
            bench.iter_batched(
                inputs,
                |inputs| turn(&mut worker, &connections[..clients], &inputs),
                BatchSize::SmallInput,
            );
        });
    }
    expiry(&mut criterion);
    criterion.final_summary();
}

/// Slices of a round in which a million keys are due.
fn expiry(criterion: &mut Criterion) {
    let clock = Clock::manual(Wall(1_700_000_000_000));
    let mut worker = single::single_node(clock.clone(), 1);
    let connection = worker.accept(String::new(), String::new(), 0).expect("room");
    let worker = RefCell::new(worker);
    let fill = || {
        let worker = &mut *worker.borrow_mut();
        if worker.next_tick() <= clock.mono() {
            return;
        }
        let deadline = (clock.wall().0 + 1_000).to_string();
        for first in (0..KEYS).step_by(64) {
            let mut input = Vec::new();
            for number in first..first + 64 {
                let words = [&b"SET"[..], &key(number), &VALUE[..16], b"PXAT", deadline.as_bytes()];
                encode_command(&mut input, &words);
            }
            turn(worker, &[connection], &[input]);
        }
        clock.advance(Duration::from_secs(2));
        worker.tick();
    };
    let mut group = criterion.benchmark_group("expiry");
    group.throughput(Throughput::Elements(128));
    group.bench_function("a slice of 128 keys", |bench| {
        bench.iter_batched(fill, |()| worker.borrow_mut().tick(), BatchSize::PerIteration);
    });
    group.finish();
}
