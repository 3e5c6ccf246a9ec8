//! Crash images, failing disks and flipped bits. `PERSISTENCE_IMAGES` sets how many, `PERSISTENCE_SEED` where they begin.

use persistence::sim::{campaign, flips};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn seed() -> u64 {
    setting("PERSISTENCE_SEED", 1) as u64
}

#[test]
fn every_crash_image_is_recovered() {
    let outcome = campaign::crash_images(seed(), setting("PERSISTENCE_IMAGES", 6_000));
    eprintln!("{outcome:?}");
    assert!(outcome.images_behind > 0 && outcome.torn > 0 && outcome.with_snapshot > 0, "{outcome:?}");
}

#[test]
#[ignore = "the long form: 100,000 images"]
fn campaign_of_crash_images() {
    let outcome = campaign::crash_images(seed(), setting("PERSISTENCE_IMAGES", 100_000));
    eprintln!("{outcome:?}");
}

#[test]
fn a_start_relies_on_nothing_that_is_not_durable() {
    for seed in seed()..seed() + 3 {
        let outcome = campaign::restarts(seed, 150);
        eprintln!("{outcome:?}");
        assert!(outcome.with_snapshot > 0 || outcome.torn > 0, "{outcome:?}");
    }
}

#[test]
fn a_disk_that_fails_once_fails_the_log_for_ever() {
    for seed in seed()..seed() + 4 {
        let outcome = campaign::faults(seed, 140);
        eprintln!("{outcome:?}");
        assert!(outcome.faults.1 > 0 && outcome.faults.1 < outcome.faults.0, "{outcome:?}");
    }
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    flip_bits(setting("PERSISTENCE_IMAGES", 3_000));
}

#[test]
#[ignore = "the long form: 100,000 bits of logs that were closed, and as many of others"]
fn campaign_of_bit_flips() {
    flip_bits(setting("PERSISTENCE_IMAGES", 100_000));
}

fn flip_bits(count: usize) {
    let closed = flips::flips(seed(), count, true);
    eprintln!("{closed:?}");
    assert_eq!(closed.cut, 0, "a log that was closed in order has no tail that could be torn");
    assert!(closed.some_refused > 0);
    eprintln!("{:?}", flips::flips(seed(), count, false));
}
