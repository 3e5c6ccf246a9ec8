//! Flips bits and looks whether recovery notices.
//!
//! A flip may cost a partition, which is refused then and copied from elsewhere. It must never change what is recovered.

use super::SimDisk;
use super::model::Model;
use super::work::Work;
use crate::error::RecoveryError;
use crate::recovery::{Plan, Progress};
use std::sync::Arc;
use stdx::Random;

/// Steps of a piece of work.
const STEPS: usize = 150;
/// Flips in the files of one piece of work.
const FLIPS_EACH: usize = 200;

/// What became of the flips.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flips {
    /// Bits flipped, each by itself.
    pub flips: usize,
    /// Noticed as damage, and nothing can be recovered.
    pub all_refused: usize,
    /// Noticed as damage; partitions were refused.
    pub some_refused: usize,
    /// Noticed as damage that harms no partition: they begin anew behind it, or an older snapshot was there.
    pub survived: usize,
    /// Taken for a torn tail behind the last mark; no more than that was lost.
    pub cut: usize,
    /// Not noticed, because nothing was lost or changed.
    pub harmless: usize,
}

/// Flips `flips` bits, one at a time, in what work that `seed` decides has left. With `closed` the log was closed in order, so
/// that its last mark protects all of it.
///
/// # Panics
/// When a flip changes what is recovered; the message repeats it.
pub fn flips(seed: u64, flips: usize, closed: bool) -> Flips {
    let mut outcome = Flips::default();
    let mut random = Random::seeded(seed);
    while outcome.flips < flips {
        let seed = random.next_u64();
        let disk = SimDisk::default();
        let mut work = Work::start(&disk, seed).expect("a disk that works");
        work.run(STEPS).expect("a disk that works");
        let ended = if closed { work.close() } else { work.flush() };
        ended.expect("a disk that works");
        let files = disk.files();
        for _ in 0..FLIPS_EACH.min(flips - outcome.flips) {
            let mut files = files.clone();
            let index = random.below(files.len() as u64) as usize;
            let Some((name, bytes)) = files.get_mut(index).filter(|(_, bytes)| !bytes.is_empty()) else {
                continue;
            };
            let bit = random.below(bytes.len() as u64 * 8) as usize;
            let place = format!("seed {seed}, {name}, bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
            check(&SimDisk::with_files(&files), &work, &place, &mut outcome);
        }
    }
    outcome
}

fn check(disk: &SimDisk, work: &Work, place: &str, outcome: &mut Flips) {
    outcome.flips += 1;
    let plan = match Plan::read(Arc::new(disk.clone()), Arc::new(Progress::default())) {
        Ok(plan) => plan,
        Err(RecoveryError::Damage(_)) => {
            outcome.all_refused += 1;
            return;
        }
        Err(error) => panic!("{place}: {error}"),
    };
    let (model, damaged) = Model::recover(&plan, 1).unwrap_or_else(|error| panic!("{place}: {error}"));
    if plan.damage().is_empty() && damaged.is_empty() {
        let allowed = work.digests.get(work.marked..).unwrap_or_default();
        assert!(allowed.contains(&model.digest()), "{place}: {:?}, {model:?}", plan.tail());
        if work.digests.last() == Some(&model.digest()) {
            outcome.harmless += 1;
        } else {
            assert!(plan.tail().is_some(), "{place}: something was lost and nobody says so");
            outcome.cut += 1;
        }
        return;
    }
    // What is recovered beside the damage is exactly what was there, unless a tail was cut as well.
    let any = plan.damage().iter().any(|damage| damage.partition.is_none());
    for (partition, held) in &work.model.partitions {
        match model.partitions.get(partition) {
            Some(found) if plan.tail().is_none() => {
                assert!(found == held, "{place}: {partition} has changed");
            }
            Some(_) => {}
            None => {
                let refused = plan.refused().contains_key(partition);
                let found_later = damaged.iter().any(|found| found.partition.partition == *partition);
                let unseen = any || plan.tail().is_some();
                assert!(refused || found_later || unseen, "{place}: {partition} vanished");
            }
        }
    }
    let extra = model.partitions.keys().find(|partition| !work.model.partitions.contains_key(partition));
    assert!(extra.is_none() || plan.tail().is_some(), "{place}: {extra:?} came back");
    if plan.refused().is_empty() && damaged.is_empty() {
        outcome.survived += 1;
    } else {
        outcome.some_refused += 1;
    }
}
