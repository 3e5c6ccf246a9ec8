//! Made-up requests that are hard for one policy or another; the same in every run.

use stdx::Random;
use stdx::hash::mix64;

/// Keys of a power law.
const SKEWED_KEYS: u64 = 20_000;

/// All of them with a size of cache that brings out the difference.
pub(crate) fn all() -> Vec<(&'static str, u64, Vec<u64>)> {
    vec![
        ("skewed", 1_000, skewed(1, 20_000)),
        ("skewed with scans", 1_000, skewed_with_scans()),
        ("loop", 200, (0..10_000).map(|at| at % 1_000).collect()),
        ("each key twice, soon", 100, each_twice()),
        ("changing", 1_000, changing()),
    ]
}

/// A power law, interrupted by runs of keys that never come again.
pub(crate) fn skewed_with_scans() -> Vec<u64> {
    let mut keys = Vec::new();
    for (round, part) in skewed(2, 24_000).chunks(2_000).enumerate() {
        keys.extend(part);
        keys.extend((0..1_500).map(|at| (round as u64 + 1) << 32 | at));
    }
    keys
}

/// Sizes between 30 and 8,000 bytes, small ones more often.
pub(crate) fn bytes_of(key: u64) -> u32 {
    let share = (mix64(key) >> 11) as f64 / (1u64 << 53) as f64;
    (30.0 / (1.0 - share * 0.996)) as u32
}

fn skewed(seed: u64, count: usize) -> Vec<u64> {
    let mut random = Random::seeded(seed);
    let draw = |_| {
        let share = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        // Ranks by the inverse of a power law near to Zipf's of exponent 0.9.
        let rank = ((SKEWED_KEYS as f64).powf(0.1) * share + (1.0 - share)).powf(10.0);
        mix64(rank as u64) >> 16
    };
    (0..count).map(draw).collect()
}

/// Every key twice, fifty requests apart.
fn each_twice() -> Vec<u64> {
    (0..10_000u64).flat_map(|at| [at + 50, at]).skip(100).collect()
}

/// First what LRU is better at, then what S3-FIFO is.
fn changing() -> Vec<u64> {
    let window = |at: u64| at / 4 + mix64(at) % 900;
    let moving = (0..30_000).map(|at| window(at) | 1 << 40);
    moving.chain(skewed_with_scans()).collect()
}
