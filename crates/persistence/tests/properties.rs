//! Properties: what goes in comes out, through any restarts; and no bytes whatever make recovery panic.

mod common;

use common::{OPTIONS, open_with, partition, plan, recover, seq};
use persistence::sim::SimDisk;
use persistence::sim::model::{Held, Model, encode_chunk};
use persistence::{Disk, Options, Plan, Progress, check};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

/// What happens to a log.
#[derive(Clone, Debug)]
enum Step {
    Record(u16, Vec<u8>),
    Begin(u16, u64, u64, Vec<u8>),
    Copy(u16, u64, Vec<Vec<u8>>),
    State(u16, Vec<u8>),
    Drop(u16),
    Flush,
    Snapshot,
    Restart,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..40), vec(Just(7), 0..3_000)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0u16..4, bytes()).prop_map(|(number, bytes)| Step::Record(number, bytes)),
        2 => (0u16..4, 0u64..9, 0u64..99, bytes()).prop_map(|(n, epoch, counter, b)| Step::Begin(n, epoch, counter, b)),
        2 => (0u16..4, 0u64..9, vec(bytes(), 0..4)).prop_map(|(n, epoch, items)| Step::Copy(n, epoch, items)),
        2 => (0u16..4, bytes()).prop_map(|(number, bytes)| Step::State(number, bytes)),
        1 => (0u16..4).prop_map(Step::Drop),
        3 => Just(Step::Flush),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
    ]
}

/// Does one step to the log and to the model.
fn take(step: &Step, log: &mut persistence::Log, model: &mut Model) {
    let appender = &log.appender;
    match step {
        Step::Record(number, bytes) => {
            let Some(held) = model.partitions.get_mut(&partition(*number)) else { return };
            held.last.counter += 1;
            held.push(bytes);
            appender.append(partition(*number), held.last, bytes).expect("it follows");
        }
        Step::Begin(number, epoch, counter, state) => {
            let at = seq(*epoch, *counter);
            model.partitions.insert(partition(*number), Held::new(at, true, state));
            appender.emptied(partition(*number), at, state).expect("anything may be begun");
        }
        Step::Copy(number, epoch, items) => {
            let mut held = Held::new(seq(*epoch, 5), true, b"copied");
            appender.copy_begun(partition(*number), held.last, b"copied").expect("anything may be begun");
            appender.copy_chunk(partition(*number), &encode_chunk(items)).expect("it has begun");
            appender.copy_ended(partition(*number)).expect("it has begun");
            items.iter().for_each(|item| held.push(item));
            model.partitions.insert(partition(*number), held);
        }
        Step::State(number, state) => {
            let Some(held) = model.partitions.get_mut(&partition(*number)) else { return };
            held.state.clone_from(state);
            appender.state(partition(*number), state).expect("it is held");
        }
        Step::Drop(number) => {
            if model.partitions.remove(&partition(*number)).is_some() {
                appender.dropped(partition(*number)).expect("it is held");
            }
        }
        Step::Flush => common::flush(log),
        Step::Snapshot => {
            let all: Vec<u16> = model.partitions.keys().map(|partition| partition.0).collect();
            common::snapshot(log, model, &all);
        }
        Step::Restart => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(
        steps in vec(step(), 1..60), segment_bytes_max in 50u64..5_000, kept in 1usize..4, compress: bool,
    ) {
        let options = Options { segment_bytes_max, snapshots_kept: kept, compress, ..OPTIONS };
        let disk = SimDisk::default();
        let (mut log, mut model) = (open_with(&disk, options), Model::default());
        for step in &steps {
            take(step, &mut log, &mut model);
            if matches!(step, Step::Restart) {
                log.flusher.close().expect("a disk that works");
                prop_assert_eq!(&recover(&disk).0, &model);
                log = open_with(&disk, options);
            }
        }
        log.flusher.close().expect("a disk that works");
        let plan = plan(&disk);
        prop_assert!(plan.damage().is_empty() && plan.tail().is_none());
        let (found, damaged) = Model::recover(&plan, 2).expect("readable");
        prop_assert!(damaged.is_empty());
        prop_assert_eq!(found, model);
        let disk: Arc<dyn Disk> = Arc::new(disk);
        prop_assert!(check(&disk).expect("readable").is_sound());
    }

    #[test]
    fn no_bytes_make_recovery_panic(
        files in vec((0usize..5, vec(any::<u8>(), 0..300), any::<bool>()), 0..4), cut in 0usize..2_000,
    ) {
        let disk = SimDisk::default();
        let mut log = open_with(&disk, Options { segment_bytes_max: 100, ..OPTIONS });
        log.appender.emptied(partition(1), seq(1, 0), b"").expect("anything may be begun");
        common::append(&log, 1, 0, &["one", "two"]);
        let model = Model { partitions: [(partition(1), Held::new(seq(1, 2), true, b""))].into() };
        common::snapshot(&mut log, &model, &[1]);
        log.flusher.close().expect("a disk that works");
        let mut all = disk.files();
        for (index, bytes, keep) in files {
            let count = all.len();
            if let Some((_, found)) = all.get_mut(index % count) {
                found.truncate(if keep { cut } else { 0 });
                found.extend(bytes);
            }
        }
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::with_files(&all));
        if let Ok(plan) = Plan::read(Arc::clone(&disk), Arc::new(Progress::default())) {
            Model::recover(&plan, 1).expect("readable");
            plan.begin(&[], OPTIONS).expect("a disk that works");
        }
        check(&disk).expect("readable");
    }
}
