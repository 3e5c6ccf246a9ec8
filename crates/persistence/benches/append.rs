//! What appending costs, copy and checksums included, and what recovery takes for each byte.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use persistence::sim::SimDisk;
use persistence::{Log, Options, Plan, Progress, RecoverySink, Share};
use std::sync::Arc;
use stdx::{Epoch, PartitionId, Seq};

/// Appends to one log: what a flusher finds after a moment, within the room that an empty buffer keeps.
const APPENDS: u64 = 2_000;
const PARTITION: PartitionId = PartitionId(7);
const OPTIONS: Options =
    Options { segment_bytes_max: u64::MAX, snapshots_kept: 1, compress: false, new_log_id: 1 };

fn plan(disk: &SimDisk) -> Plan {
    Plan::read(Arc::new(disk.clone()), Arc::new(Progress::default())).expect("readable")
}

/// A log whose buffer has its room already, as it has after the first writes.
fn warm_log(disk: &SimDisk, bytes: usize) -> Log {
    let mut log = plan(disk).begin(&[], OPTIONS).expect("a disk that works");
    for _ in 0..2 {
        log.appender.emptied(PARTITION, Seq::default(), b"").expect("anything may be begun");
        fill(&log, &vec![7; bytes]);
        log.flusher.write().expect("a disk that works");
    }
    log.appender.emptied(PARTITION, Seq::default(), b"").expect("anything may be begun");
    log
}

fn fill(log: &Log, effects: &[u8]) {
    for counter in 1..=APPENDS {
        log.appender.append(PARTITION, Seq { epoch: Epoch(1), counter }, effects).expect("it follows");
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(APPENDS)).sample_size(20);
    for bytes in [32usize, 100, 1_000] {
        let effects = vec![7; bytes];
        group.bench_function(format!("{bytes} bytes"), |b| {
            let setup = || warm_log(&SimDisk::default(), bytes);
            b.iter_batched_ref(setup, |log| fill(log, &effects), BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// Counts bytes, so that a pass over the log is all there is.
struct Count(usize);

impl RecoverySink for Count {
    fn reset(&mut self, _: PartitionId, _: Seq, _: &[u8]) {}

    fn snapshot_chunk(&mut self, _: PartitionId, _: Seq, effects: &[u8]) -> bool {
        self.0 += effects.len();
        true
    }

    fn record(&mut self, _: PartitionId, _: Seq, effects: &[u8]) -> bool {
        self.0 += effects.len();
        true
    }

    fn state(&mut self, _: PartitionId, _: &[u8]) {}
}

fn recover(c: &mut Criterion) {
    let mut group = c.benchmark_group("recover");
    let disk = SimDisk::default();
    let mut log = warm_log(&disk, 100);
    fill(&log, &[7; 100]);
    log.flusher.write().expect("a disk that works");
    let bytes: usize = disk.files().iter().map(|(_, bytes)| bytes.len()).sum();
    group.throughput(Throughput::Bytes(bytes as u64)).sample_size(20);
    group.bench_function("plan", |b| b.iter(|| plan(&disk)));
    let plan = plan(&disk);
    group.bench_function("replay", |b| b.iter(|| plan.replay(Share::ALL, &mut Count(0)).expect("readable")));
    group.finish();
}

criterion_group!(benches, append, recover);
criterion_main!(benches);
