//! Cuckoo filter: time of an insert and of a look-up, and bits per key, at 1 M and 10 M items and three rates.
//!
//! `cargo bench -p store --bench cuckoo`. Each filter is filled to its capacity, which is 95% of its slots. Items are
//! 16 bytes and are looked up in an order that has nothing to do with the order of insertion.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use stdx::Random;
use store::cuckoo::{CuckooConfig, CuckooFilter};

const MILLION: u64 = 1_000_000;
const SIZES: [u64; 2] = [MILLION, 10 * MILLION];
const RATES: [f64; 3] = [0.02, 0.01, 0.001];

/// Items that one call of [`CuckooFilter::contains_each`] is asked for: a pipeline of commands.
const BATCH_ITEMS: usize = 64;

fn item(number: u64) -> [u8; 16] {
    let mut item = *b"item:\0\0\0\0\0\0\0\0\0\0\0";
    item[8..].copy_from_slice(&number.to_le_bytes());
    item
}

fn filled(items: u64, rate: f64) -> CuckooFilter {
    let config = CuckooConfig::new(items, rate).expect("rates and capacities of this bench are in range");
    let mut filter = CuckooFilter::new(config);
    for number in 0..items {
        filter.insert(&item(number)).expect("a filter holds its capacity");
    }
    filter
}

fn name(items: u64, rate: f64) -> String {
    format!("{}M/{rate}", items / MILLION)
}

fn lookups(criterion: &mut Criterion) {
    for items in SIZES {
        for rate in RATES {
            let filter = filled(items, rate);
            let wrong = (items..items + 2 * MILLION).filter(|&number| filter.contains(&item(number))).count();
            eprintln!(
                "{}: {:.2} bits per key, {:.4}% false positives",
                name(items, rate),
                filter.memory_bytes() as f64 * 8.0 / items as f64,
                wrong as f64 / (2 * MILLION) as f64 * 100.0
            );
            for (group, from) in [("contains_hit", 0), ("contains_miss", items)] {
                let mut random = Random::seeded(items);
                criterion.benchmark_group(group).bench_function(
                    BenchmarkId::from_parameter(name(items, rate)),
                    |bench| {
                        bench.iter(|| filter.contains(black_box(&item(from + random.below(items)))));
                    },
                );
            }
            let mut random = Random::seeded(items);
            let mut group = criterion.benchmark_group("contains_batch");
            group.throughput(Throughput::Elements(BATCH_ITEMS as u64));
            let mut found = Vec::with_capacity(BATCH_ITEMS);
            let mut batch =
                move || -> [[u8; 16]; BATCH_ITEMS] { std::array::from_fn(|_| item(random.below(2 * items))) };
            group.bench_function(BenchmarkId::new("together", name(items, rate)), |bench| {
                bench.iter(|| {
                    found.clear();
                    filter.contains_each(batch().iter().map(<[u8; 16]>::as_slice), &mut found);
                    black_box(found.len())
                });
            });
            group.bench_function(BenchmarkId::new("one_by_one", name(items, rate)), |bench| {
                bench.iter(|| {
                    found.clear();
                    found.extend(batch().iter().map(|item| filter.contains(item)));
                    black_box(found.len())
                });
            });
        }
    }
}

fn inserts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fill_to_capacity");
    group.sample_size(10);
    for items in SIZES {
        group.throughput(Throughput::Elements(items));
        let config = CuckooConfig::new(items, 0.001).expect("in range");
        group.bench_function(BenchmarkId::from_parameter(name(items, 0.001)), |bench| {
            bench.iter_batched_ref(
                || CuckooFilter::new(config),
                |filter| {
                    for number in 0..items {
                        filter.insert(&item(number)).expect("a filter holds its capacity");
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lookups(&mut criterion);
    inserts(&mut criterion);
    criterion.final_summary();
}
