//! Recovery: what comes back, what is refused and how that is said.

mod common;

use common::*;
use persistence::sim::SimDisk;
use persistence::sim::model::Model;
use persistence::{Damage, Options, Plan, Progress, RealDisk, RecoveryError, Share};
use std::sync::Arc;

/// Three segments: partition 1 has `a`, `b`, `c`, one in each; partition 2 has `x` in the first and `z` in the third.
fn three_segments() -> SimDisk {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    log.appender.emptied(partition(1), seq(1, 0), b"state").expect("anything may be begun");
    log.appender.emptied(partition(2), seq(1, 0), b"").expect("anything may be begun");
    append(&log, 1, 0, &["a"]);
    append(&log, 2, 0, &["x"]);
    flush(&mut log);
    log.flusher.rotate().expect("a disk that works");
    append(&log, 1, 1, &["b"]);
    flush(&mut log);
    log.flusher.rotate().expect("a disk that works");
    append(&log, 1, 2, &["c"]);
    append(&log, 2, 1, &["z"]);
    log.flusher.close().expect("a disk that works");
    disk
}

/// The offset of `text` in a file.
fn find(disk: &SimDisk, name: &str, text: &[u8]) -> usize {
    let files = disk.files();
    let (_, bytes) = files.iter().find(|(found, _)| found == name).expect("there is such a file");
    bytes.windows(text.len()).position(|window| window == text).expect("it is there")
}

#[track_caller]
fn check_refused(disk: &SimDisk, refused: &[u16], file: &str, what: &str) {
    let plan = plan(disk);
    let found: Vec<u16> = plan.refused().keys().map(|partition| partition.0).collect();
    assert_eq!(found, refused, "{:?}", plan.damage());
    let first = plan.damage().first().expect("there is damage");
    assert!(first.file == file && first.what.contains(what), "{first}");
    let (model, _) = Model::recover(&plan, 1).expect("readable");
    assert!(refused.iter().all(|number| !model.partitions.contains_key(&partition(*number))));
}

#[test]
fn everything_comes_back_in_order() {
    let (model, damaged) = recover(&three_segments());
    assert!(damaged.is_empty());
    assert_eq!((texts(&model, 1).concat(), texts(&model, 2).concat()), ("abc".into(), "xz".into()));
    let held = model.partitions.get(&partition(1)).expect("held");
    assert_eq!((held.last, held.whole, held.state.as_slice()), (seq(1, 3), true, &b"state"[..]));
}

#[test]
fn damaged_payload_costs_its_partition_only() {
    let disk = three_segments();
    let at = find(&disk, "aof-0000000001.log", b"x");
    let damaged = changed(&disk, "aof-0000000001.log", |bytes| bytes[at] ^= 1);
    check_refused(&damaged, &[2], "aof-0000000001.log", "payload");
    let plan = plan(&damaged);
    let expected = (at - persistence::FRAME_HEADER_BYTES) as u64;
    assert_eq!(
        plan.damage().first().map(|damage| (damage.offset, damage.partition)),
        Some((expected, Some(partition(2))))
    );
    assert_eq!(texts(&Model::recover(&plan, 1).expect("readable").0, 1).concat(), "abc");
    // In the last segment as well: a mark says that it was durable.
    let at = find(&disk, "aof-0000000003.log", b"z");
    let damaged = changed(&disk, "aof-0000000003.log", |bytes| bytes[at] ^= 1);
    check_refused(&damaged, &[2], "aof-0000000003.log", "payload");
}

#[test]
fn what_stands_before_the_damage_can_be_salvaged() {
    let disk = three_segments();
    let salvaged = |disk: &SimDisk| {
        let mut model = Model::default();
        let salvaged = plan(disk).salvage(&mut model).expect("readable");
        let left_out: Vec<_> = salvaged.iter().map(|one| (one.partition.partition.0, one.left_out)).collect();
        (texts(&model, 1).concat(), texts(&model, 2).concat(), left_out)
    };
    assert_eq!(salvaged(&disk), (String::new(), String::new(), vec![]));
    let (first, third) = ("aof-0000000001.log", "aof-0000000003.log");
    let at = find(&disk, first, b"x");
    let payload = changed(&disk, first, |bytes| bytes[at] ^= 1);
    assert_eq!(salvaged(&payload), (String::new(), String::new(), vec![(2, 2)]));
    let at = find(&disk, third, b"z");
    let payload = changed(&disk, third, |bytes| bytes[at] ^= 1);
    assert_eq!(salvaged(&payload), (String::new(), "x".into(), vec![(2, 1)]));
    let header = changed(&disk, third, |bytes| bytes[at - 1] ^= 1);
    assert_eq!(salvaged(&header), ("abc".into(), "x".into(), vec![(1, 0), (2, 0)]));
}

#[test]
fn a_damaged_header_costs_all_that_does_not_begin_anew_behind_it() {
    let disk = three_segments();
    let at = find(&disk, "aof-0000000002.log", b"b");
    let damaged = changed(&disk, "aof-0000000002.log", |bytes| bytes[at - 1] ^= 1);
    check_refused(&damaged, &[1, 2], "aof-0000000002.log", "no frame begins here");
    let log = plan(&damaged).begin(&[], OPTIONS).expect("a disk that works");
    log.appender.emptied(partition(2), seq(4, 9), b"").expect("anything may be begun");
    log.flusher.close().expect("a disk that works");
    let plan = plan(&damaged);
    assert!(plan.refused().is_empty(), "the one was noted as dropped, the other began anew");
    assert_eq!(plan.damage().len(), 1, "but the damage is told");
    assert_eq!(plan.partitions().map(|found| found.partition.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn segments_cannot_be_missing_cut_or_exchanged() {
    let disk = three_segments();
    let (first, second, third) = ("aof-0000000001.log", "aof-0000000002.log", "aof-0000000003.log");
    check_refused(&without(&disk, first), &[1, 2], first, "missing");
    check_refused(&without(&disk, second), &[1, 2], second, "missing");
    // At the end of a frame, so that no frame is damaged.
    let end = find(&disk, first, b"x") - persistence::FRAME_HEADER_BYTES;
    check_refused(
        &changed(&disk, first, |bytes| bytes.truncate(end)),
        &[1, 2],
        first,
        "the next segment says",
    );
    let other = disk.files().into_iter().find(|(name, _)| name == third).expect("there is such a file").1;
    check_refused(&changed(&disk, second, |bytes| *bytes = other), &[1, 2], second, "another number");
    check_refused(&changed(&disk, second, |bytes| bytes.truncate(20)), &[1, 2], second, "cut short");
    check_refused(&changed(&disk, second, |bytes| bytes[7] += 1), &[1, 2], second, "checksum");
}

#[test]
fn a_torn_tail_is_cut_and_told() {
    let disk = three_segments();
    let name = "aof-0000000003.log";
    let torn = changed(&disk, name, |bytes| {
        // Without the mark that says it is complete, the last bytes may have been torn.
        bytes.truncate(bytes.len() - persistence::FRAME_HEADER_BYTES - 1);
    });
    let plan = plan(&torn);
    let tail = plan.tail().expect("torn").clone();
    assert_eq!((tail.file.as_str(), tail.bytes, tail.frames_behind), (name, 32, 0));
    assert!(plan.damage().is_empty() && plan.refused().is_empty());
    assert_eq!(texts(&Model::recover(&plan, 1).expect("readable").0, 2).concat(), "x");
    let mut log = plan.begin(&[], OPTIONS).expect("a disk that works");
    append(&log, 2, 1, &["new"]);
    flush(&mut log);
    let again = common::plan(&torn);
    assert!(again.tail().is_none() && again.damage().is_empty());
    assert_eq!(texts(&recover(&torn).0, 2), ["x", "new"]);
}

#[test]
fn a_directory_without_its_manifest_is_refused() {
    let disk = three_segments();
    for broken in [without(&disk, "manifest"), changed(&disk, "manifest", |bytes| bytes[30] ^= 1)] {
        match Plan::read(Arc::new(broken), Arc::new(Progress::default())) {
            Err(RecoveryError::Damage(Damage { file, .. })) => assert_eq!(file, "manifest"),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("nothing says which snapshot counts"),
        }
    }
}

#[test]
fn threads_recover_shares_of_a_real_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(RealDisk::open(dir.path()).expect("a directory"));
    let options = Options { segment_bytes_max: 1_500, ..OPTIONS };
    let mut log = plan_of(disk.clone()).begin(&[], options).expect("room");
    let mut model = Model::default();
    for number in 0..20 {
        log.appender.emptied(partition(number), seq(1, 0), b"").expect("anything may be begun");
        append(&log, number, 0, &["one", "two", "three"]);
        flush(&mut log);
    }
    for share in 0..2 {
        let plan = plan_of(disk.clone());
        plan.replay(Share { index: share, of: 2 }, &mut model).expect("readable");
    }
    log.flusher.rotate().expect("room");
    let all: Vec<u16> = (0..20).collect();
    let summary = snapshot(&mut log, &model, &all);
    assert!(summary.partitions == 20 && summary.removed >= 2, "{summary:?}");
    append(&log, 7, 3, &["four"]);
    log.flusher.close().expect("room");
    let progress = Arc::new(Progress::default());
    let plan = Plan::read(disk, Arc::clone(&progress)).expect("readable");
    let mut shares = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|index| {
                let plan = &plan;
                scope.spawn(move || {
                    let mut model = Model::default();
                    let recovered = plan.replay(Share { index, of: 4 }, &mut model).expect("readable");
                    assert!(recovered.iter().all(|one| one.partition.partition.0 % 4 == index));
                    model
                })
            })
            .collect();
        shares.extend(threads.into_iter().map(|thread| thread.join().expect("a thread that ended")));
    });
    assert!(shares.iter().all(|share| share.partitions.len() == 5));
    assert_eq!(texts(&shares[3], 7), ["one", "two", "three", "four"]);
    let (done, total) = progress.bytes();
    assert!(done > 0 && done.abs_diff(total) * 10 < total, "{done} of {total}");
}

#[test]
fn a_partition_that_the_caller_does_not_take_is_dropped() {
    let disk = three_segments();
    let log = plan(&disk).begin(&[partition(1), partition(9)], OPTIONS).expect("a disk that works");
    log.flusher.close().expect("a disk that works");
    let plan = plan(&disk);
    assert!(plan.refused().is_empty() && plan.damage().is_empty(), "{:?}", plan.damage());
    assert_eq!(plan.partitions().map(|found| found.partition.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn an_unfinished_copy_is_not_whole() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    log.appender.emptied(partition(1), seq(1, 0), b"old").expect("anything may be begun");
    append(&log, 1, 0, &["void"]);
    log.appender.copy_begun(partition(1), seq(3, 40), b"new").expect("anything may be begun");
    let chunk = persistence::sim::model::encode_chunk(&[b"copied".to_vec()]);
    log.appender.copy_chunk(partition(1), &chunk).expect("a copy has begun");
    log.appender.append(partition(1), seq(3, 41), b"live").expect("it follows");
    flush(&mut log);
    let (model, _) = recover(&disk);
    assert_eq!(texts(&model, 1), ["copied", "live"]);
    assert!(!model.partitions[&partition(1)].whole);
    log.appender.copy_ended(partition(1)).expect("a copy has begun");
    flush(&mut log);
    let held = &recover(&disk).0.partitions[&partition(1)];
    assert_eq!((held.whole, held.last, held.state.as_slice()), (true, seq(3, 41), &b"new"[..]));
}

#[test]
fn effects_that_cannot_be_applied_cost_their_partition() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    for number in [1, 2] {
        log.appender.copy_begun(partition(number), seq(1, 0), b"").expect("anything may be begun");
    }
    log.appender
        .copy_chunk(partition(1), b"\xff\xff\xff\xffno chunk of the model")
        .expect("a copy has begun");
    flush(&mut log);
    let (model, damaged) = recover(&disk);
    assert_eq!(model.partitions.keys().map(|found| found.0).collect::<Vec<_>>(), [2]);
    let damage = damaged[0].damage.as_ref().expect("it is why").to_string();
    assert!(damage.contains("cannot be applied (partition 1)"), "{damage}");
}
