//! Whether a filter in front of a local table pays: what a miss and a hit cost with and without asking a cuckoo filter first.
//!
//! `cargo bench -p store --bench front`. 1 M and 10 M keys of 16 bytes over 256 partitions, each with a filter of its own for one
//! false positive in a thousand, as a node would have them under its locks. Keys are drawn at random, so that no cache holds what
//! they meet. `alone` looks up one after the other, `batch` 64 whose places were asked for ahead, as the server does with a
//! pipeline; both are given for 64 keys. Times are the thread's processor time, since on a busy machine others' would count as well.
//! The allocator is the server's.
#![allow(missing_docs, reason = "the function that criterion makes has none")]

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use effect::Effect;
use std::hint::black_box;
use std::time::Duration;
use stdx::{Random, Wall};
use store::cuckoo::{CuckooConfig, CuckooFilter};
use store::{Locator, Partition};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u64 = 256;
const MILLION: u64 = 1_000_000;
const SIZES: [u64; 2] = [MILLION, 10 * MILLION];
const RATE: f64 = 0.001;
const BATCH: usize = 64;
const SEED: u64 = 11;
const NOW: Wall = Wall(1_700_000_000_000);

/// Processor time of the thread, in nanoseconds, as the kernel accounts for it at least at every tick.
struct ProcessorTime;

impl ProcessorTime {
    fn now() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with schedstat");
        let first = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
        first.expect("its first number is nanoseconds on a processor")
    }
}

impl Measurement for ProcessorTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        ProcessorTime::now()
    }

    fn end(&self, started: u64) -> u64 {
        ProcessorTime::now() - started
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:\0\0\0\0\0\0\0\0\0\0\0\0";
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

/// A partition and the filter that knows its keys.
struct Guarded {
    table: Partition,
    filter: CuckooFilter,
}

/// A key that is asked for, its hash and its partition.
struct Asked<'a> {
    key: [u8; 16],
    hash: u64,
    at: &'a Guarded,
}

impl Asked<'_> {
    fn may_be_there(&self) -> bool {
        self.at.filter.contains(&self.key)
    }

    fn is_there(&self, locator: impl Into<Locator>) -> bool {
        self.at.table.peek(0, &self.key, locator, NOW).is_some()
    }
}

/// How many are there.
type Ask = fn(&[Asked<'_>]) -> usize;

fn alone(asked: &[Asked<'_>]) -> usize {
    asked.iter().filter(|asked| asked.is_there(asked.hash)).count()
}

fn alone_behind_filter(asked: &[Asked<'_>]) -> usize {
    asked.iter().filter(|asked| asked.may_be_there() && asked.is_there(asked.hash)).count()
}

fn batch(asked: &[Asked<'_>]) -> usize {
    let mut places: Vec<Locator> =
        asked.iter().map(|asked| asked.at.table.prefetch_place(0, asked.hash)).collect();
    for (asked, place) in asked.iter().zip(&mut places) {
        *place = asked.at.table.prefetch_entry(0, *place);
    }
    asked.iter().zip(places).filter(|(asked, at)| asked.is_there(*at)).count()
}

fn batch_behind_filter(asked: &[Asked<'_>]) -> usize {
    // Look-ups in filters depend on nothing, so the processor has several under way by itself.
    let may_be: Vec<bool> = asked.iter().map(Asked::may_be_there).collect();
    let left = asked.iter().zip(may_be).filter(|(_, may_be)| *may_be);
    let left: Vec<Asked<'_>> = left.map(|(asked, _)| Asked { ..*asked }).collect();
    batch(&left)
}

fn filled(keys: u64) -> Vec<Guarded> {
    let config = CuckooConfig::new(keys.div_ceil(PARTITIONS), RATE).expect("in range");
    let guarded = |_| Guarded { table: Partition::new(SEED), filter: CuckooFilter::new(config) };
    let mut partitions: Vec<Guarded> = (0..PARTITIONS).map(guarded).collect();
    for number in 0..keys {
        let (key, Guarded { table, filter }) = (key(number), &mut partitions[(number % PARTITIONS) as usize]);
        let hash = table.hash(&key);
        table.apply(&Effect::SetString { db: 0, key: &key, value: &[b'v'; 32], expire_at: None }, hash, NOW);
        filter.insert(&key).expect("a filter holds its capacity");
    }
    partitions
}

fn front(criterion: &mut Criterion<ProcessorTime>) {
    for keys in SIZES {
        let partitions = filled(keys);
        let filter_bytes: usize = partitions.iter().map(|guarded| guarded.filter.memory_bytes()).sum();
        eprintln!(
            "{}M keys: filters take {:.2} bytes a key",
            keys / MILLION,
            filter_bytes as f64 / keys as f64
        );
        for (group, from) in [("miss", keys), ("hit", 0)] {
            let mut group = criterion.benchmark_group(group);
            group.measurement_time(Duration::from_secs(3)).sample_size(20);
            group.throughput(Throughput::Elements(BATCH as u64));
            let ways: [(&str, Ask); 4] = [
                ("alone", alone),
                ("alone, behind a filter", alone_behind_filter),
                ("batch", batch),
                ("batch, behind a filter", batch_behind_filter),
            ];
            for (way, ask) in ways {
                let mut random = Random::seeded(keys);
                group.bench_function(BenchmarkId::new(way, format!("{}M", keys / MILLION)), |bench| {
                    bench.iter(|| {
                        let asked: [Asked<'_>; BATCH] = std::array::from_fn(|_| {
                            let number = from + random.below(keys);
                            let (key, at) = (key(number), &partitions[(number % PARTITIONS) as usize]);
                            Asked { key, hash: at.table.hash(&key), at }
                        });
                        ask(black_box(&asked))
                    });
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = front
}
criterion_main!(benches);
