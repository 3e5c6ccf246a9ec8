//! What the operations of partitions cost, at a million keys over 256 partitions: no cache holds them.
//!
//! Keys are drawn in random order and their hashes are known, as in the server. `ahead` asks for the places of a batch
//! of 64 keys, then for their entries, then uses them, as the server does with pipelined commands; `alone` does not.
//! The allocator is the server's.
#![allow(missing_docs, reason = "the function that criterion makes has none")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use effect::{Cause, Effect, RecordBuilder};
use std::hint::black_box;
use std::time::Duration;
use stdx::{Random, Wall};
use store::{Locator, PLACE_END, Partition, ValueRef};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: usize = 256;
const KEYS: u64 = 1_000_000;
/// Keys of the benches that begin with nothing.
const KEYS_FEW: u64 = 200_000;
const BATCH: usize = 64;
const SEED: u64 = 11;
const NOW: Wall = Wall(1_700_000_000_000);
const VALUE: [u8; 32] = [b'v'; 32];

struct Key {
    bytes: [u8; 16],
    partition: u32,
    hash: u64,
}

/// Keys of these numbers in random order.
fn keys(numbers: std::ops::Range<u64>) -> Vec<Key> {
    let hasher = Partition::new(SEED);
    let mut random = Random::seeded(1);
    let mut keys: Vec<Key> = numbers
        .map(|number| {
            let bytes = *format!("key:{number:012}").as_bytes().first_chunk().expect("16 bytes");
            Key { bytes, partition: (number % PARTITIONS as u64) as u32, hash: hasher.hash(&bytes) }
        })
        .collect();
    for last in (1..keys.len()).rev() {
        keys.swap(last, random.below(last as u64 + 1) as usize);
    }
    keys
}

fn empty() -> Vec<Partition> {
    (0..PARTITIONS).map(|_| Partition::new(SEED)).collect()
}

fn set(partitions: &mut [Partition], key: &Key, at: impl Into<Locator>, expire_at: Option<Wall>) {
    let effect = Effect::SetString { db: 0, key: &key.bytes, value: &VALUE, expire_at };
    partitions[key.partition as usize].apply(&effect, at, NOW);
}

fn get(partitions: &mut [Partition], key: &Key, at: impl Into<Locator>) -> usize {
    let entry = partitions[key.partition as usize].get(0, &key.bytes, at, NOW);
    match entry.map(|entry| entry.value()) {
        Some(ValueRef::String(string)) => usize::from(string.as_bytes(&mut [0; 20])[0]),
        _ => 0,
    }
}

fn ask_ahead(partitions: &[Partition], batch: &[Key]) -> Vec<Locator> {
    let of = |key: &Key| &partitions[key.partition as usize];
    let places: Vec<Locator> = batch.iter().map(|key| of(key).prefetch_place(0, key.hash)).collect();
    batch.iter().zip(places).map(|(key, place)| of(key).prefetch_entry(0, place)).collect()
}

/// One batch after the other, from `keys` and round again.
fn batches<'a>(keys: &'a [Key]) -> impl FnMut() -> &'a [Key] {
    let mut batches = keys.chunks_exact(BATCH).cycle();
    move || batches.next().expect("there are many")
}

fn look_ups(criterion: &mut Criterion) {
    let stored = keys(0..KEYS);
    let missing = keys(KEYS..2 * KEYS);
    let mut partitions = empty();
    stored.iter().for_each(|key| set(&mut partitions, key, key.hash, None));
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, keys) in [("get hit", &stored), ("get miss", &missing)] {
        let mut next = batches(keys);
        group.bench_function(format!("{name}, alone"), |bencher| {
            bencher.iter(|| {
                let batch = next();
                black_box(batch.iter().map(|key| get(&mut partitions, key, key.hash)).sum::<usize>())
            });
        });
        group.bench_function(format!("{name}, ahead"), |bencher| {
            bencher.iter(|| {
                let batch = next();
                let places = ask_ahead(&partitions, batch);
                let found = batch.iter().zip(places).map(|(key, at)| get(&mut partitions, key, at));
                black_box(found.sum::<usize>())
            });
        });
    }
    let mut next = batches(&stored);
    group.bench_function("set existing, alone", |bencher| {
        bencher.iter(|| next().iter().for_each(|key| set(&mut partitions, key, key.hash, None)));
    });
    group.bench_function("set existing, ahead", |bencher| {
        bencher.iter(|| {
            let batch = next();
            let places = ask_ahead(&partitions, batch);
            batch.iter().zip(places).for_each(|(key, at)| set(&mut partitions, key, at, None));
        });
    });
    let mut at = NOW.0 + 3_600_000;
    group.bench_function("set existing with a later deadline, ahead", |bencher| {
        bencher.iter(|| {
            let batch = next();
            at += 1;
            ask_ahead(&partitions, batch);
            batch.iter().for_each(|key| set(&mut partitions, key, key.hash, Some(Wall(at))));
        });
    });
    group.finish();
}

fn from_nothing(criterion: &mut Criterion) {
    let keys = keys(0..KEYS_FEW);
    let mut random = Random::seeded(2);
    let deadlines: Vec<Wall> = keys.iter().map(|_| Wall(NOW.0 + random.below(3_600_000))).collect();
    let filled = || {
        let mut partitions = empty();
        keys.iter().zip(&deadlines).for_each(|(key, at)| set(&mut partitions, key, key.hash, Some(*at)));
        partitions
    };
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(KEYS_FEW)).sample_size(10);
    group.bench_function("set new", |bencher| {
        bencher.iter_batched(
            empty,
            |mut partitions| {
                keys.iter().for_each(|key| set(&mut partitions, key, key.hash, None));
                partitions
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("set new with a deadline", |bencher| {
        bencher.iter_batched(|| (), |()| filled(), BatchSize::PerIteration);
    });
    group.bench_function("expire and remove", |bencher| {
        bencher.iter_batched(filled, expire_all, BatchSize::PerIteration);
    });
    group.finish();
}

/// Removes all keys in steps, as time goes on.
fn expire_all(mut partitions: Vec<Partition>) -> Vec<Partition> {
    let mut due = Vec::new();
    for step in 0..=60 {
        let now = Wall(NOW.0 + step * 60_000);
        for partition in &mut partitions {
            while partition.expired(now, BATCH, &mut |db, key, hash| due.push((db, key.to_vec(), hash))) > 0 {
                for (db, key, hash) in due.drain(..) {
                    let effect = Effect::Remove { db, key: &key, cause: Cause::Expired };
                    partition.apply(&effect, hash, now);
                }
            }
        }
    }
    assert!(partitions.iter().all(Partition::is_empty));
    partitions
}

/// Walking a partition for another copy of it: digests of spans of sixteen keys, or the keys themselves.
fn walks(criterion: &mut Criterion) {
    let mut partitions = empty();
    keys(0..KEYS).iter().for_each(|key| set(&mut partitions, key, key.hash, None));
    let mut turns = partitions.iter().cycle();
    let mut next = || turns.next().expect("there are many");
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(KEYS / PARTITIONS as u64));
    group.bench_function("digest a partition", |bencher| {
        bencher.iter(|| {
            let (partition, mut at, mut sum) = (next(), 0, 0);
            while at < PLACE_END {
                let stretch = partition.stretch(at, PLACE_END, (16, usize::MAX), 1);
                (at, sum) = (stretch.to, sum ^ stretch.digest[0]);
            }
            black_box(sum)
        });
    });
    group.bench_function("encode a partition", |bencher| {
        bencher.iter(|| {
            let mut record = RecordBuilder::new();
            assert_eq!(next().snapshot_chunk(0, 0, usize::MAX, &mut record), None);
            black_box(record.take().len())
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = look_ups, from_nothing, walks
}
criterion_main!(benches);
