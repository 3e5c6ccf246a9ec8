//! Files of the first version of the formats, kept for ever: every later version has to read them. How they were written is
//! below; they are never written again, a new format gets new files beside them.

mod common;

use common::{append, flush, open, partition, plan, seq, snapshot, texts};
use persistence::sim::SimDisk;
use persistence::sim::model::{Model, encode_chunk};
use std::path::PathBuf;

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// A log with every kind of frame, and a snapshot with plain and compressed chunks.
fn written() -> SimDisk {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    log.appender.emptied(partition(1), seq(3, 300), b"reign 3").expect("anything may be begun");
    for (counter, text) in (301..).zip(["one", &"two ".repeat(60)]) {
        log.appender.append(partition(1), seq(3, counter), text.as_bytes()).expect("it follows");
    }
    flush(&mut log);
    let model = Model::recover(&plan(&disk), 1).expect("readable").0;
    snapshot(&mut log, &model, &[1]);
    log.appender.append(partition(1), seq(4, 303), b"three").expect("it follows");
    log.appender.state(partition(1), b"reign 4").expect("held");
    log.appender.copy_begun(partition(16_383), seq(4, 7), b"reign 4").expect("anything may be begun");
    let chunk = encode_chunk(&[b"copied".to_vec()]);
    log.appender.copy_chunk(partition(16_383), &chunk).expect("begun");
    log.appender.copy_ended(partition(16_383)).expect("begun");
    log.appender.emptied(partition(5), seq(1, 0), b"").expect("anything may be begun");
    append(&log, 5, 0, &["void"]);
    flush(&mut log);
    log.flusher.rotate().expect("a disk that works");
    log.appender.dropped(partition(5)).expect("held");
    log.appender.append(partition(16_383), seq(4, 8), b"live").expect("it follows");
    log.flusher.close().expect("a disk that works");
    disk
}

fn kept() -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir()).expect("the fixtures are part of the sources");
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("a file").to_str().expect("plain names").to_owned();
            (name, std::fs::read(path).expect("readable"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn files_of_the_first_format_are_read() {
    let disk = SimDisk::with_files(&kept());
    let plan = plan(&disk);
    assert!(plan.damage().is_empty() && plan.tail().is_none(), "{:?}", plan.damage());
    let (model, damaged) = Model::recover(&plan, 1).expect("readable");
    assert!(damaged.is_empty());
    let held: Vec<_> =
        model.partitions.iter().map(|(partition, held)| (partition.0, held.last, held.whole)).collect();
    assert_eq!(held, [(1, seq(4, 303), true), (16_383, seq(4, 8), true)]);
    assert_eq!(texts(&model, 1), ["one", &"two ".repeat(60), "three"]);
    assert_eq!(texts(&model, 16_383), ["copied", "live"]);
    assert_eq!(model.partitions[&partition(1)].state, b"reign 4");
}

/// As long as format 1 is written: a change that nobody meant to make.
#[test]
fn the_same_calls_still_give_the_same_bytes() {
    // How well a chunk is compressed is not part of the format.
    let ours = |files: Vec<(String, Vec<u8>)>| -> Vec<_> {
        files.into_iter().filter(|(name, _)| !name.ends_with(".snap")).collect()
    };
    let same = ours(written().files()) == ours(kept());
    assert!(same, "the format has changed: give it a new number, and fixtures of its own");
}

#[test]
#[ignore = "writes the fixtures, once"]
fn write_fixtures() {
    std::fs::create_dir_all(dir()).expect("room");
    for (name, bytes) in written().files() {
        std::fs::write(dir().join(name), bytes).expect("room");
    }
}
