//! What a command costs on its way in and its reply on the way out, beside everything else that happens to it.
//!
//! Each iteration parses a pipeline of the same command, as the event loop does with what one read brought, and the
//! throughput is given per command: nothing of the measuring is left in the figure then.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::{Args, Limits, Parsed, Parser, Reply, Version, encode_command};
use std::hint::black_box;

const PIPELINE: usize = 64;
const KEY: &[u8] = b"key:000000123456";
const MGET_KEYS: usize = 32;

fn parse(criterion: &mut Criterion) {
    let value = [b'v'; 64];
    let mut mget: Vec<&[u8]> = vec![b"MGET"];
    mget.extend([KEY; MGET_KEYS]);
    let commands: [(&str, &[&[u8]]); 4] = [
        ("PING", &[b"PING"]),
        ("GET 16 B", &[b"GET", KEY]),
        ("SET 16 B 64 B", &[b"SET", KEY, &value]),
        ("MGET 32", &mget),
    ];
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    for (name, command) in commands {
        let mut input = Vec::new();
        for _ in 0..PIPELINE {
            encode_command(&mut input, command);
        }
        let (mut parser, mut args) = (Parser::new(), Args::new());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut rest = black_box(input.as_slice());
                let mut arguments = 0;
                while let Ok(Parsed::Command { consumed }) = parser.parse(rest, &mut args, &limits) {
                    arguments += black_box(&args).len();
                    rest = rest.get(consumed..).unwrap_or_default();
                }
                arguments
            });
        });
    }
    group.finish();
}

fn reply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    let mut out = Vec::with_capacity(PIPELINE * 2_048);
    for size in [5, 64, 1_024] {
        let value = vec![b'v'; size];
        group.bench_function(format!("bulk {size} B"), |bencher| {
            bencher.iter(|| {
                out.clear();
                let mut reply = Reply::new(&mut out, Version::Resp2);
                for _ in 0..PIPELINE {
                    reply.bulk(black_box(&value));
                }
                reply.len()
            });
        });
    }
    for (name, number) in [("integer 7", 7), ("integer 1234567", 1_234_567)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                let mut reply = Reply::new(&mut out, Version::Resp2);
                for _ in 0..PIPELINE {
                    reply.integer(black_box(number));
                }
                reply.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parse, reply);
criterion_main!(benches);
