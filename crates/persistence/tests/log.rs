//! Appending, writing and syncing: positions, group commit, segments, and what is refused.

mod common;

use common::{OPTIONS, append, flush, names, open, open_with, partition, recover, seq, texts};
use persistence::sim::{Fault, SimDisk};
use persistence::{AppendError, Options, Position, SyncPolicy};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stdx::{Clock, Wall};

#[test]
fn positions_go_from_appended_to_written_to_durable() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    let begun = log.appender.emptied(partition(3), seq(1, 0), b"").expect("anything may be begun");
    let appended = log.appender.append(partition(3), seq(1, 1), b"one").expect("it follows");
    assert!(appended > begun && log.appender.appended() == Ok(appended));
    assert_eq!((log.appender.written(), log.appender.durable()), (Position(0), Position(0)));
    assert_eq!(log.flusher.write(), Ok(appended));
    assert_eq!((log.appender.written(), log.appender.durable()), (appended, Position(0)));
    assert_eq!(log.flusher.sync(), Ok(appended));
    assert_eq!(log.appender.durable(), appended);
}

#[test]
fn one_sync_serves_all_that_was_appended_before() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    for number in 0..100 {
        log.appender.emptied(partition(number), seq(1, 0), b"").expect("anything may be begun");
    }
    let before = disk.syncs();
    for counter in 1..=10 {
        for number in 0..100 {
            log.appender.append(partition(number), seq(1, counter), b"record").expect("it follows");
        }
    }
    flush(&mut log);
    assert_eq!(disk.syncs(), before + 1);
    assert_eq!(Ok(log.appender.durable()), log.appender.appended());
    log.flusher.sync().expect("a disk that works");
    assert_eq!(disk.syncs(), before + 1, "nothing to sync");
}

#[test]
fn policies_sync_when_they_say() {
    let clock = Clock::manual(Wall(0));
    for (policy, expected) in [
        (SyncPolicy::Always, [1, 2, 3]),
        (SyncPolicy::EverySecond, [1, 1, 2]),
        (SyncPolicy::Never, [0, 0, 0]),
    ] {
        let disk = SimDisk::default();
        let mut log = open(&disk);
        log.appender.emptied(partition(0), seq(1, 0), b"").expect("anything may be begun");
        let before = disk.syncs();
        let mut syncs = Vec::new();
        clock.advance(Duration::from_secs(5));
        for counter in 0..3 {
            append(&log, 0, counter, &["x"]);
            let turn = log.flusher.turn(policy, clock.mono()).expect("a disk that works");
            if let Some(sync) = turn.sync {
                let durable = log.appender.durable();
                let synced = sync.run().expect("a disk that works");
                assert_eq!(log.appender.durable(), durable, "nobody has said so yet");
                log.flusher.synced(synced).expect("a disk that works");
                assert_eq!(log.appender.durable(), turn.written);
            }
            assert_eq!((turn.idle, Ok(turn.written)), (false, log.appender.appended()));
            syncs.push(disk.syncs() - before);
            clock.advance(Duration::from_millis(600));
        }
        assert_eq!(syncs, expected, "{policy:?}");
    }
}

#[test]
fn an_idle_flusher_leaves_a_mark_and_rests() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    let now = Clock::manual(Wall(0)).mono();
    log.appender.emptied(partition(0), seq(1, 0), b"").expect("anything may be begun");
    assert!(!log.flusher.turn(SyncPolicy::Always, now).expect("a disk that works").idle);
    let (_, before) = log.flusher.segment();
    assert!(log.flusher.turn(SyncPolicy::Always, now).expect("a disk that works").idle);
    let (_, marked) = log.flusher.segment();
    assert_eq!(marked, before + persistence::FRAME_HEADER_BYTES as u64);
    let operations = disk.operations();
    assert!(log.flusher.turn(SyncPolicy::Always, now).expect("a disk that works").idle);
    assert_eq!(disk.operations(), operations, "nothing is left to do");
}

#[test]
fn full_segments_are_followed_by_others() {
    let disk = SimDisk::default();
    let mut log = open_with(&disk, Options { segment_bytes_max: 200, ..OPTIONS });
    log.appender.emptied(partition(0), seq(1, 0), b"").expect("anything may be begun");
    for counter in 0..10 {
        append(&log, 0, counter, &["a record of some length, so that few of them fill a segment"]);
        log.flusher.write().expect("a disk that works");
    }
    assert_eq!(log.flusher.segment().0, 5, "two or three records fill one");
    assert_eq!(names(&disk).iter().filter(|name| name.starts_with("aof-")).count(), 5);
    assert_eq!(texts(&recover(&disk).0, 0).len(), 10);
}

#[test]
fn what_recovery_would_refuse_is_refused_at_once() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let refused = |result: Result<Position, AppendError>| {
        assert!(
            matches!(result, Err(AppendError::OutOfOrder { partition: found, .. }) if found == partition(1))
        );
    };
    refused(log.appender.append(partition(1), seq(1, 1), b"not held"));
    refused(log.appender.dropped(partition(1)));
    log.appender.emptied(partition(1), seq(2, 7), b"").expect("anything may be begun");
    refused(log.appender.append(partition(1), seq(2, 9), b"a gap"));
    refused(log.appender.append(partition(1), seq(2, 7), b"again"));
    refused(log.appender.append(partition(1), seq(1, 8), b"an older epoch"));
    refused(log.appender.copy_chunk(partition(1), b"no copy"));
    refused(log.appender.copy_ended(partition(1)));
    log.appender.append(partition(1), seq(5, 8), b"right").expect("it follows");
}

#[test]
fn appending_goes_on_while_another_thread_writes_and_syncs() {
    let disk = SimDisk::default();
    let mut log = open_with(&disk, Options { segment_bytes_max: 20_000, ..OPTIONS });
    let ended = AtomicBool::new(false);
    let appender = log.appender.clone();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3u16)
            .map(|number| {
                let appender = appender.clone();
                scope.spawn(move || {
                    appender.emptied(partition(number), seq(1, 0), b"").expect("anything may be begun");
                    for counter in 1..=2_000 {
                        appender.append(partition(number), seq(1, counter), b"record").expect("it follows");
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                flush(&mut log);
            }
            flush(&mut log);
        });
        workers.into_iter().for_each(|worker| worker.join().expect("a worker that ended"));
        ended.store(true, Ordering::Release);
    });
    assert_eq!(Ok(appender.durable()), appender.appended());
    let (model, _) = recover(&disk);
    assert!((0..3).all(|number| texts(&model, number).len() == 2_000));
}

#[test]
fn a_failed_sync_is_said_by_everyone_for_ever() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    log.appender.emptied(partition(0), seq(1, 0), b"").expect("anything may be begun");
    log.flusher.write().expect("a disk that works");
    disk.fail(Fault { at: disk.operations(), kind: std::io::ErrorKind::Other });
    let failure = log.flusher.sync().expect_err("it was made to fail");
    let text = failure.to_string();
    assert!(text.contains("syncing aof-0000000001.log"), "{text}");
    assert_eq!(log.appender.failure(), Some(failure.clone()));
    assert_eq!(log.flusher.sync(), Err(failure.clone()), "never tried again");
    let refused = log.appender.append(partition(0), seq(1, 1), b"x");
    assert_eq!(refused, Err(AppendError::Failed(failure)));
    assert_eq!(log.appender.durable(), Position(0));
}

/// The parts of a log go to threads of their own, and a plan is shared by those that recover.
#[test]
fn parts_can_be_given_to_threads() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    shared::<persistence::Appender>();
    shared::<persistence::Plan>();
    sent::<persistence::Flusher>();
    sent::<persistence::Snapshots>();
    sent::<persistence::SnapshotWriter>();
}
