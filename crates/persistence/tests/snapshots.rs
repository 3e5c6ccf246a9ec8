//! Snapshots: what they free, what they refuse, and how damage to them is survived.

mod common;

use common::*;
use persistence::sim::model::Model;
use persistence::sim::{Fault, Image, Replay, SimDisk};
use persistence::{Log, Options, Plan, SnapshotError, check, extract};
use std::io::ErrorKind;
use std::sync::Arc;

/// Two partitions with three records each, all durable.
fn begun(options: Options) -> (SimDisk, Log, Model) {
    let disk = SimDisk::default();
    let mut log = open_with(&disk, options);
    for number in [1, 2] {
        log.appender.emptied(partition(number), seq(1, 0), b"state").expect("anything may be begun");
        append(&log, number, 0, &["one", "two", "three"]);
    }
    flush(&mut log);
    let model = recover(&disk).0;
    (disk, log, model)
}

fn flip(disk: &SimDisk, name: &str, at: impl FnOnce(usize) -> usize) -> SimDisk {
    changed(disk, name, |bytes| {
        let at = at(bytes.len());
        bytes[at] ^= 0x10;
    })
}

#[test]
fn a_snapshot_frees_the_log_before_it() {
    let (disk, mut log, model) = begun(OPTIONS);
    log.flusher.rotate().expect("a disk that works");
    let summary = snapshot(&mut log, &model, &[1, 2]);
    assert_eq!((summary.number, summary.partitions, summary.removed), (1, 2, 1));
    assert_eq!(names(&disk), ["aof-0000000002.log", "manifest", "snapshot-0000000001.snap"]);
    append(&log, 2, 3, &["four"]);
    flush(&mut log);
    let (model, _) = recover(&disk);
    assert_eq!((texts(&model, 1).len(), texts(&model, 2).len()), (3, 4));
    log.flusher.rotate().expect("a disk that works");
    assert_eq!(snapshot(&mut log, &model, &[1, 2]).removed, 2);
    assert_eq!(names(&disk), ["aof-0000000003.log", "manifest", "snapshot-0000000002.snap"]);
}

#[test]
fn a_large_snapshot_is_synced_as_it_grows() {
    const CHUNK_BYTES: usize = 1024 * 1024;
    let (disk, mut log, _) = begun(Options { compress: false, ..OPTIONS });
    let mut writer = log.snapshots.begin().expect("a disk that works");
    writer.begin_partition(partition(1), b"").expect("held");
    let before = disk.syncs();
    for _ in 0..40 {
        writer.chunk(&vec![1; CHUNK_BYTES]).expect("room");
    }
    assert_eq!(disk.syncs() - before, 5, "every eight mebibytes");
    disk.fail(Fault { at: disk.operations() + 1, kind: ErrorKind::Other });
    let refused = (0..8).find_map(|_| writer.chunk(&vec![1; 8 * CHUNK_BYTES]).err());
    assert!(matches!(refused, Some(SnapshotError::Failed(_))), "{refused:?}");
    assert!(log.appender.failure().is_some(), "the disk is not to be trusted any more");
}

#[test]
fn records_between_marks_belong_to_the_log() {
    let (disk, mut log, model) = begun(OPTIONS);
    let mut writer = log.snapshots.begin().expect("a disk that works");
    let chunk = persistence::sim::model::encode_chunk(&model.partitions[&partition(1)].items);
    append(&log, 1, 3, &["before the mark"]);
    assert_eq!(writer.begin_partition(partition(1), b"").expect("held"), seq(1, 4));
    append(&log, 1, 4, &["behind the mark"]);
    writer.chunk(&chunk).expect("room");
    writer.end_partition().expect("begun");
    log.appender.dropped(partition(2)).expect("held");
    flush(&mut log);
    log.snapshots.commit(&mut writer).expect("all that is held is there");
    // The caller says what the snapshot holds: here it left the fourth out.
    assert_eq!(texts(&recover(&disk).0, 1), ["one", "two", "three", "behind the mark"]);
}

#[test]
fn a_snapshot_that_would_lose_something_is_refused() {
    let (disk, mut log, _) = begun(OPTIONS);
    let mut writer = log.snapshots.begin().expect("a disk that works");
    assert!(matches!(writer.chunk(b"x"), Err(SnapshotError::Misuse(_))));
    assert!(matches!(writer.begin_partition(partition(9), b""), Err(SnapshotError::Mark(_))));
    writer.begin_partition(partition(1), b"").expect("held");
    assert!(matches!(writer.begin_partition(partition(2), b""), Err(SnapshotError::Misuse(_))));
    writer.end_partition().expect("begun");
    let marked = writer.marked();
    log.appender.dropped(partition(2)).expect("held");
    let early = log.snapshots.commit(&mut writer);
    assert!(
        matches!(early, Err(SnapshotError::NotDurable(at)) if at > marked),
        "the drop must not be lost either"
    );
    log.appender.emptied(partition(2), seq(2, 0), b"state").expect("anything may be begun");
    flush(&mut log);
    log.snapshots.commit(&mut writer).expect("the other has begun anew since");
    assert!(matches!(log.snapshots.commit(&mut writer), Err(SnapshotError::Misuse(_))));
    let model = recover(&disk).0;
    let mut writer = log.snapshots.begin().expect("a disk that works");
    writer.begin_partition(partition(1), b"").expect("held");
    writer.end_partition().expect("begun");
    flush(&mut log);
    let uncovered = log.snapshots.commit(&mut writer);
    assert!(matches!(uncovered, Err(SnapshotError::Uncovered(found)) if found == partition(2)));
    let mut old = log.snapshots.begin().expect("a disk that works");
    let new = log.snapshots.begin().expect("a disk that works");
    assert!(matches!(log.snapshots.commit(&mut old), Err(SnapshotError::Misuse(_))));
    drop(new);
    assert_eq!(recover(&disk).0, model, "none of this has changed anything");
    assert_eq!(snapshot(&mut log, &model, &[1, 2]).number, 5, "no number is used twice");
    assert_eq!(names(&disk).iter().filter(|name| name.starts_with("snapshot")).count(), 1);
}

#[test]
fn a_number_is_not_used_again_after_a_restart() {
    let (disk, mut log, model) = begun(OPTIONS);
    let mut writer = log.snapshots.begin().expect("a disk that works");
    writer.begin_partition(partition(1), b"").expect("held");
    flush(&mut log);
    drop(writer);
    // The file is lost, but its mark is in the log.
    let disk = without(&disk, "snapshot-0000000001.snap");
    let mut log = open(&disk);
    assert_eq!(snapshot(&mut log, &model, &[1, 2]).number, 2);
}

#[test]
fn an_older_snapshot_helps_where_the_newest_is_damaged() {
    let (disk, mut log, model) = begun(Options { snapshots_kept: 2, compress: false, ..OPTIONS });
    log.flusher.rotate().expect("a disk that works");
    snapshot(&mut log, &model, &[1, 2]);
    append(&log, 1, 3, &["four"]);
    flush(&mut log);
    log.flusher.rotate().expect("a disk that works");
    let model = recover(&disk).0;
    snapshot(&mut log, &model, &[1, 2]);
    append(&log, 1, 4, &["five"]);
    log.flusher.close().expect("a disk that works");
    let newest = "snapshot-0000000002.snap";
    // One chunk, then the footer, by which the whole file is found.
    for damaged in
        [flip(&disk, newest, |_| 100), flip(&disk, newest, |length| length - 1), without(&disk, newest)]
    {
        let (model, lost) = recover(&damaged);
        assert!(lost.is_empty(), "{lost:?}");
        assert_eq!(texts(&model, 1), ["one", "two", "three", "four", "five"]);
        assert_eq!(texts(&model, 2), ["one", "two", "three"]);
    }
    let both = flip(&flip(&disk, newest, |_| 100), "snapshot-0000000001.snap", |_| 100);
    let (model, lost) = recover(&both);
    let damage = lost[0].damage.clone().expect("it is why");
    assert_eq!((lost.len(), damage.partition, texts(&model, 2).len()), (1, Some(partition(1)), 3));
}

#[test]
fn large_chunks_are_compressed_and_come_back() {
    let (disk, mut log, mut model) = begun(OPTIONS);
    let held = model.partitions.get_mut(&partition(2)).expect("held");
    let mut noise = vec![0; 300_000];
    stdx::Random::seeded(5).fill(&mut noise);
    for item in [vec![b'a'; 1_000_000], noise] {
        held.last.counter += 1;
        log.appender.append(partition(2), held.last, &item).expect("it follows");
        held.push(&item);
    }
    flush(&mut log);
    let summary = snapshot(&mut log, &model, &[1, 2]);
    assert!(summary.effect_bytes > 1_300_000 && summary.file_bytes < 320_000, "{summary:?}");
    assert_eq!(recover(&disk).0, model);
}

#[test]
fn what_a_plan_refuses_a_lenient_one_reads() {
    let (disk, mut log, model) = begun(OPTIONS);
    log.flusher.rotate().expect("a disk that works");
    snapshot(&mut log, &model, &[1, 2]);
    let (manifest, snapshot) = ("manifest", "snapshot-0000000001.snap");
    let without_table = flip(&disk, snapshot, |length| length - 1);
    for broken in [without(&disk, manifest), flip(&disk, manifest, |_| 3), without_table] {
        let disk: Arc<dyn persistence::Disk> = Arc::new(broken);
        let strict = Plan::read(Arc::clone(&disk), Arc::default());
        assert!(strict.is_err() || strict.is_ok_and(|plan| plan.refused().len() == 2));
        let plan = Plan::read_leniently(disk, Arc::default()).expect("readable");
        assert_eq!(Model::recover(&plan, 1).expect("readable").0, model);
    }
    let new = Plan::read_leniently(Arc::new(SimDisk::default()), Arc::default()).expect("readable");
    assert!(new.is_new());
}

#[test]
fn a_check_tells_sound_from_torn_from_damaged() {
    let (disk, mut log, model) = begun(OPTIONS);
    snapshot(&mut log, &model, &[1, 2]);
    let check = |disk: &SimDisk| {
        let disk: Arc<dyn persistence::Disk> = Arc::new(disk.clone());
        check(&disk).expect("readable")
    };
    let sound = check(&disk);
    assert!(sound.is_sound() && sound.partitions.len() == 2, "{sound:?}");
    assert_eq!(sound.files[0].frames.get(&persistence::Kind::Effects), Some(&6));
    assert_eq!(sound.files[1].frames.get(&persistence::Kind::PartitionEnded), Some(&2));
    let torn = check(&flip(&disk, "aof-0000000001.log", |length| length - 1));
    assert!(torn.is_sound() && torn.tail.is_some(), "{torn:?}");
    for (name, at) in [("aof-0000000001.log", 45), ("snapshot-0000000001.snap", 80), ("manifest", 3)] {
        let damaged = check(&flip(&disk, name, |_| at));
        assert!(!damaged.is_sound(), "{name}: {damaged:?}");
    }
    let mut files = disk.files();
    files.push(("snapshot-0000000002.snap".to_owned(), b"begun when the process ended".to_vec()));
    let left = check(&SimDisk::with_files(&files));
    assert!(left.is_sound() && left.files.iter().filter(|file| !file.needed).count() == 1, "{left:?}");
    let mut records = 0;
    let broken = without(&flip(&disk, "aof-0000000001.log", |_| 45), "manifest");
    extract(&broken, &mut |entry| records += usize::from(entry.kind == persistence::Kind::Effects))
        .expect("readable");
    assert_eq!(records, 6, "what is sound can be read out even without a manifest");
}

/// A snapshot of nothing, then a crash at every moment of the next start: the empty segment that it begins with is needed.
#[test]
fn an_empty_first_segment_is_never_missing() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    log.flusher.rotate().expect("a disk that works");
    assert_eq!(snapshot(&mut log, &Model::default(), &[]).removed, 1);
    let restarted = disk.copy();
    open(&restarted).flusher.close().expect("a disk that works");
    let (mut replay, mut random) = (Replay::from(&disk, &restarted), stdx::Random::seeded(1));
    while replay.step() {
        for image in Image::ALL {
            let plan = plan(&replay.image(image, &mut random));
            assert!(plan.damage().is_empty(), "operation {}, {image:?}: {:?}", replay.done(), plan.damage());
        }
    }
}
