//! What every key of every command pays before anything is looked up: its slot and its hash.
//!
//! 16 bytes is a usual key, 40 bytes a long one, 21 bytes one that is no multiple of a word, and the tagged one takes
//! the way of keys with a `{hash tag}`.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use stdx::PartitionId;
use stdx::crc16::slot_of;
use stdx::hash::hash64;

const KEYS: [(&str, &[u8]); 4] = [
    ("16B", b"key:000000123456"),
    ("21B", b"key:00000000012345678"),
    ("40B", b"tenant:00000042:session:0000000123456789"),
    ("tagged", b"{user:1234567}:followers"),
];
const PARTITIONS: u16 = 256;

fn keys(criterion: &mut Criterion) {
    for (name, key) in KEYS {
        criterion.bench_with_input(BenchmarkId::new("slot_of", name), &key, |bencher, key| {
            bencher.iter(|| slot_of(black_box(key)));
        });
    }
    for (name, key) in KEYS {
        criterion.bench_with_input(BenchmarkId::new("of_key", name), &key, |bencher, key| {
            bencher.iter(|| PartitionId::of_key(black_box(key), black_box(PARTITIONS)));
        });
    }
    for (name, key) in KEYS {
        criterion.bench_with_input(BenchmarkId::new("hash64", name), &key, |bencher, key| {
            bencher.iter(|| hash64(black_box(7), black_box(key)));
        });
    }
}

criterion_group!(benches, keys);
criterion_main!(benches);
