//! Checks the recovery of crash images, many of them: of random work, at every operation of the disk, in every way a crash
//! may leave it; of the recovery itself; and of work that goes on behind a recovery. And of work on a disk that fails.
//!
//! An image is right if nothing in it counts as damage and what is recovered is what had been appended at one moment, not
//! before the last acknowledgement and not after the crash. That is all of it at once: nothing acknowledged is lost, nothing is made
//! up, each partition is a prefix, nothing void comes back.

use super::model::Model;
use super::work::Work;
use super::{Fault, Image, Replay, SimDisk};
use crate::recovery::{Plan, Progress};
use std::io::ErrorKind;
use std::sync::Arc;
use stdx::Random;

/// Steps of a piece of work, and of one that goes on behind a recovery.
const STEPS: usize = 120;
const STEPS_BEHIND: usize = 80;
/// Of so many images one is worked on further.
const BEHIND_ONE_OF: u64 = 800;
/// Images at every operation: how many of each kind.
const IMAGES_AT: [(Image, usize); 4] =
    [(Image::Synced, 1), (Image::Everything, 1), (Image::Prefix, 2), (Image::Sectors, 3)];

/// What a campaign did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Images recovered.
    pub images: usize,
    /// Those of them taken while a recovery, or work behind one, was under way.
    pub images_behind: usize,
    /// Those of them with a torn tail.
    pub torn: usize,
    /// Those of them with a snapshot.
    pub with_snapshot: usize,
    /// Operations of disks.
    pub operations: usize,
    /// Appends acknowledged at the time of the crash, over all images.
    pub acknowledged: usize,
    /// Faults injected, and those that failed the log.
    pub faults: (usize, usize),
}

/// Recovers `images` crash images of work that `seed` decides.
///
/// # Panics
/// When one of them is not right; the message repeats it.
pub fn crash_images(seed: u64, images: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut random = Random::seeded(seed);
    while outcome.images < images {
        let seed = random.next_u64();
        let disk = SimDisk::default();
        let mut work = Work::start(&disk, seed).expect("a disk that works");
        work.run(STEPS).expect("a disk that works");
        let replay = Replay::of(&disk);
        check_images(replay, &work, (seed, 0), &[], images, &mut outcome);
    }
    outcome
}

/// Goes through all that was done and checks images at each operation. Until the log was open, a crash may still go back to
/// what `before` stands for.
fn check_images(
    mut replay: Replay,
    work: &Work,
    (seed, depth): (u64, usize),
    before: &[u64],
    images: usize,
    outcome: &mut Outcome,
) {
    let mut random = Random::seeded(seed ^ 0xc4a5);
    while replay.step() && outcome.images < images {
        outcome.operations += 1;
        let (acknowledged, done) = work.at(replay.done());
        let mut allowed = work.digests.get(acknowledged..=done).unwrap_or_default().to_vec();
        if replay.done() < work.began {
            allowed.extend(before);
        }
        for (image, count) in IMAGES_AT {
            for _ in 0..count {
                let disk = replay.image(image, &mut random);
                let place = || format!("seed {seed}, operation {}, {image:?}, depth {depth}", replay.done());
                check_image(&disk, &allowed, &place, outcome);
                outcome.acknowledged += acknowledged;
                outcome.images_behind += usize::from(depth > 0);
                if depth < 2 && random.below(BEHIND_ONE_OF) == 0 {
                    go_on(&disk, (random.next_u64(), depth + 1), &allowed, images, outcome);
                }
            }
        }
    }
}

fn check_image(disk: &SimDisk, allowed: &[u64], place: &dyn Fn() -> String, outcome: &mut Outcome) {
    outcome.images += 1;
    let plan = Plan::read(Arc::new(disk.clone()), Arc::new(Progress::default()));
    let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", place()));
    assert!(plan.damage().is_empty(), "{}: {:?}", place(), plan.damage());
    let threads = 1 + (outcome.images % 3) as u16;
    let (model, damaged) =
        Model::recover(&plan, threads).unwrap_or_else(|error| panic!("{}: {error}", place()));
    assert!(damaged.is_empty(), "{}: {damaged:?}", place());
    assert!(
        allowed.contains(&model.digest()),
        "{}: what is recovered was never there between the last acknowledgement and the crash ({} moments): {model:?}",
        place(),
        allowed.len()
    );
    outcome.torn += usize::from(plan.tail().is_some());
    outcome.with_snapshot += usize::from(plan.snapshots().next().is_some());
}

/// Opens the log of an image and works on; then checks images of that.
fn go_on(image: &SimDisk, place: (u64, usize), before: &[u64], images: usize, outcome: &mut Outcome) {
    let disk = image.copy();
    let mut work = Work::start(&disk, place.0).expect("a disk that works");
    work.run(STEPS_BEHIND).expect("a disk that works");
    check_images(Replay::from(image, &disk), &work, place, before, images, outcome);
}

/// Ends the process at every operation of work that `seed` decides, starts it again, and checks images of the machine's crash at
/// every operation of that start: what a process leaves behind is there and not durable, so that the start must not rely on it.
///
/// # Panics
/// When one of them is not right; the message repeats it.
pub fn restarts(seed: u64, steps: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let disk = SimDisk::default();
    let mut work = Work::start(&disk, seed).expect("a disk that works");
    work.run(steps).expect("a disk that works");
    let mut random = Random::seeded(seed);
    let mut replay = Replay::of(&disk);
    while replay.step() {
        let (acknowledged, done) = work.at(replay.done());
        let before = work.digests.get(acknowledged..=done).unwrap_or_default();
        let image = replay.image(Image::Everything, &mut random);
        let disk = image.copy();
        let started = Work::start(&disk, random.next_u64()).expect("a disk that works");
        let place = (random.next_u64(), 2);
        check_images(Replay::from(&image, &disk), &started, place, before, usize::MAX, &mut outcome);
    }
    outcome
}

/// Lets every operation of work that `seed` decides fail, one at a time, and checks that the log has failed for ever if
/// it should, that nothing is acknowledged that is not there after a crash, and that all images are right.
///
/// # Panics
/// When one of them is not; the message repeats it.
pub fn faults(seed: u64, steps: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let whole = SimDisk::default();
    let mut work = Work::start(&whole, seed).expect("a disk that works");
    work.run(steps).expect("a disk that works");
    for at in 0..whole.operations() {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            let disk = SimDisk::default();
            disk.fail(Fault { at, kind });
            outcome.faults.0 += 1;
            let Ok(mut work) = Work::start(&disk, seed) else { continue };
            let failed = work.run(steps);
            if let Err(failure) = &failed {
                outcome.faults.1 += 1;
                check_failed(&mut work, failure);
            }
            let mut replay = Replay::of(&disk);
            while replay.step() {}
            let mut random = Random::seeded(seed ^ at as u64);
            for image in Image::ALL {
                let place = || format!("seed {seed}, fault {kind:?} at {at}, {image:?}");
                let image = replay.image(image, &mut random);
                let allowed = work.digests.get(work.acknowledged()..).unwrap_or_default();
                check_image(&image, allowed, &place, &mut outcome);
            }
        }
    }
    outcome
}

/// Whatever is tried on a log that has failed gives the first reason, and acknowledges nothing.
fn check_failed(work: &mut Work, failure: &crate::Failure) {
    let acknowledged = work.acknowledged();
    let syncs = work.disk.syncs();
    for _ in 0..10 {
        assert_eq!(work.run(1).err().as_ref(), Some(failure), "for ever, and for the same reason");
    }
    let Some(log) = &mut work.log else { return };
    for result in [log.flusher.write(), log.flusher.sync(), log.appender.appended()] {
        assert_eq!(result.as_ref(), Err(failure));
    }
    assert_eq!(log.flusher.rotate().as_ref(), Err(failure));
    assert_eq!(log.appender.failure().as_ref(), Some(failure));
    assert!(log.snapshots.begin().is_err());
    assert_eq!((work.acknowledged(), work.disk.syncs()), (acknowledged, syncs), "no sync is ever repeated");
}
