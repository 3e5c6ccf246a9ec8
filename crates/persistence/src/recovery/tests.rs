//! Segments of sound frames in an order in which nobody writes them: what a checksum cannot see.

use super::{Plan, Progress, Share};
use crate::disk::Disk;
use crate::frame::{Kind, Seed, put_frame};
use crate::manifest::Manifest;
use crate::names;
use crate::segment::{self, Ending};
use crate::sim::SimDisk;
use crate::sim::model::Model;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;
use stdx::{Epoch, PartitionId, Seq};

const LOG_ID: u64 = 0xfeed;

/// Kind, partition, counter and payload; the epoch is 1.
type Frame = (u8, u16, u64, Vec<u8>);

/// A log of one segment per list of frames.
fn disk_of(segments: &[Vec<Frame>]) -> SimDisk {
    let seed = Seed::of_log(LOG_ID);
    let mut files = vec![(names::MANIFEST.to_owned(), Manifest::new(LOG_ID).encode())];
    let mut before = Ending::default();
    for (number, frames) in (1..).zip(segments) {
        let mut bytes = segment::encode(seed, LOG_ID, number, before);
        for (kind, partition, counter, payload) in frames {
            let Some(kind) = Kind::of(*kind) else { continue };
            let seq = Seq { epoch: Epoch(1), counter: *counter };
            assert!(put_frame(&mut bytes, seed, kind, (PartitionId(*partition), seq), payload), "short");
        }
        before = Ending::default().after(&bytes);
        files.push((names::segment(number), bytes));
    }
    SimDisk::with_files(&files)
}

fn plan(disk: &SimDisk) -> Plan {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Plan::read(disk, Arc::new(Progress::default())).expect("readable")
}

#[test]
fn gaps_and_strangers_cost_their_partition() {
    let effects = |partition, counter| (Kind::Effects as u8, partition, counter, b"x".to_vec());
    let emptied = |partition, counter| (Kind::Emptied as u8, partition, counter, Vec::new());
    let disk = disk_of(&[
        vec![emptied(1, 0), effects(1, 1), emptied(2, 0), effects(2, 1), emptied(3, 0), effects(3, 2)],
        vec![effects(1, 2), effects(2, 3), effects(4, 9), emptied(3, 7), effects(3, 8)],
        vec![effects(2, 4), (Kind::Chunk as u8, 5, 0, Vec::new())],
    ]);
    let plan = plan(&disk);
    let refused: Vec<_> =
        plan.refused().iter().map(|(partition, damage)| (partition.0, damage.to_string())).collect();
    let expected = [
        (
            2,
            "aof-0000000002.log",
            "does not follow that of the record before it: Effects 1:3 after 1:1 (partition 2)",
        ),
        (4, "aof-0000000002.log", "not held here: Effects 1:9 after unknown (partition 4)"),
        (5, "aof-0000000003.log", "not held here: Chunk 1:0 after unknown (partition 5)"),
    ];
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for ((partition, text), (number, file, what)) in refused.iter().zip(expected) {
        assert!(*partition == number && text.starts_with(file) && text.ends_with(what), "{text}");
    }
    let mut model = Model::default();
    let recovered = plan.replay(Share::ALL, &mut model).expect("readable");
    let counters: Vec<_> =
        recovered.iter().map(|one| (one.partition.partition.0, one.partition.last.counter)).collect();
    assert_eq!(counters, [(1, 2), (3, 8)], "the third began anew behind its gap");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_sound_frames_makes_recovery_panic(
        segments in vec(
            vec((prop_oneof![1u8..10, 32u8..38], 0u16..3, 0u64..5, vec(any::<u8>(), 0..12)), 0..12), 1..4,
        ),
    ) {
        let disk = disk_of(&segments);
        let found = plan(&disk);
        let mut model = Model::default();
        let recovered = found.replay(Share::ALL, &mut model).expect("readable");
        for one in recovered.iter().filter(|one| one.damage.is_none()) {
            prop_assert!(!found.refused().contains_key(&one.partition.partition));
            prop_assert_eq!(model.partitions[&one.partition.partition].last, one.partition.last);
        }
        let salvaged = found.salvage(&mut model).expect("readable");
        prop_assert!(salvaged.iter().all(|one| found.refused().contains_key(&one.partition.partition)));
        // What was refused is gone with the next start, and the rest is as before.
        let options = super::Options { segment_bytes_max: 100, snapshots_kept: 1, compress: false, new_log_id: 1 };
        let mut log = found.begin(&[], options).expect("a disk that works");
        log.flusher.write().and_then(|_| log.flusher.sync()).expect("a disk that works");
        let again = plan(&disk);
        prop_assert!(again.refused().is_empty(), "{:?}", again.refused());
        prop_assert!(again.partitions().eq(found.partitions()));
    }
}
