//! What the tests of this crate share: a log on a simulated disk in a few words.

#![allow(dead_code, reason = "each test file uses some of it")]

use persistence::sim::SimDisk;
use persistence::sim::model::{Model, encode_chunk};
use persistence::{Disk, Log, Options, Plan, Progress, Recovered};
use std::sync::Arc;
use stdx::{Epoch, PartitionId, Seq};

pub(crate) const OPTIONS: Options =
    Options { segment_bytes_max: 1 << 20, snapshots_kept: 1, compress: true, new_log_id: 0xfeed };

pub(crate) fn partition(number: u16) -> PartitionId {
    PartitionId(number)
}

pub(crate) fn seq(epoch: u64, counter: u64) -> Seq {
    Seq { epoch: Epoch(epoch), counter }
}

pub(crate) fn plan(disk: &SimDisk) -> Plan {
    plan_of(Arc::new(disk.clone()))
}

pub(crate) fn plan_of(disk: Arc<dyn Disk>) -> Plan {
    Plan::read(disk, Arc::new(Progress::default())).expect("a readable directory")
}

pub(crate) fn open(disk: &SimDisk) -> Log {
    open_with(disk, OPTIONS)
}

pub(crate) fn open_with(disk: &SimDisk, options: Options) -> Log {
    plan(disk).begin(&[], options).expect("a disk that works")
}

pub(crate) fn recover(disk: &SimDisk) -> (Model, Vec<Recovered>) {
    Model::recover(&plan(disk), 1).expect("a readable directory")
}

/// Appends `texts` to `number`, which stands at `after`; epoch 1.
pub(crate) fn append(log: &Log, number: u16, after: u64, texts: &[&str]) {
    for (counter, text) in (after + 1..).zip(texts) {
        log.appender.append(partition(number), seq(1, counter), text.as_bytes()).expect("it follows");
    }
}

/// Writes and syncs.
pub(crate) fn flush(log: &mut Log) {
    log.flusher.write().and_then(|_| log.flusher.sync()).expect("a disk that works");
}

/// Takes a snapshot of `partitions`, with all their items in chunks of two.
pub(crate) fn snapshot(log: &mut Log, model: &Model, partitions: &[u16]) -> persistence::SnapshotSummary {
    let mut writer = log.snapshots.begin().expect("a disk that works");
    for number in partitions {
        let held = model.partitions.get(&partition(*number)).expect("it is held");
        writer.begin_partition(partition(*number), &held.state).expect("it is held");
        for items in held.items.chunks(2) {
            writer.chunk(&encode_chunk(items)).expect("room");
        }
        writer.end_partition().expect("it was begun");
    }
    flush(log);
    log.snapshots.commit(&mut writer).expect("all is durable")
}

/// The items of a partition as texts.
pub(crate) fn texts(model: &Model, number: u16) -> Vec<String> {
    let held = model.partitions.get(&partition(number));
    let items = held.map(|held| held.items.as_slice()).unwrap_or_default();
    items.iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect()
}

/// The same files, one of them changed.
pub(crate) fn changed(disk: &SimDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
    let mut files = disk.files();
    let (_, bytes) = files.iter_mut().find(|(found, _)| found == name).expect("there is such a file");
    change(bytes);
    SimDisk::with_files(&files)
}

/// The same files without one of them.
pub(crate) fn without(disk: &SimDisk, name: &str) -> SimDisk {
    let files: Vec<_> = disk.files().into_iter().filter(|(found, _)| found != name).collect();
    SimDisk::with_files(&files)
}

pub(crate) fn names(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().map(|(name, _)| name).collect()
}
