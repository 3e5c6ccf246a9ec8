//! A log-linear histogram of durations: 64 buckets per power of two, so a percentile is right to 1.6%.

use std::time::Duration;

const SUB_BITS: u32 = 6;
const SUB_COUNT: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB_COUNT;

/// Counts durations in nanoseconds.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// An empty histogram.
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }

    /// Counts one duration.
    pub(crate) fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Adds all of another histogram's counts.
    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The duration that `share` (0.0 to 1.0) of all counted ones do not exceed; zero when empty.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper_end(bucket).min(self.max));
            }
        }
        Duration::from_nanos(self.max)
    }
}

fn bucket_of(nanos: u64) -> usize {
    let power = 64 - nanos.leading_zeros();
    if power <= SUB_BITS {
        return nanos as usize;
    }
    let shift = power - SUB_BITS - 1;
    // The top bit is implied by `shift`: the next SUB_BITS bits choose the bucket within the power of two.
    (shift as usize + 1) * SUB_COUNT + ((nanos >> shift) as usize - SUB_COUNT)
}

fn upper_end(bucket: usize) -> u64 {
    if bucket < SUB_COUNT {
        return bucket as u64;
    }
    let shift = (bucket / SUB_COUNT - 1) as u32;
    let low = ((SUB_COUNT + bucket % SUB_COUNT) as u64) << shift;
    low + ((1u64 << shift) - 1)
}

/// The middle and the largest of a few durations, in seconds; zero when there are none.
pub(crate) fn middle_and_max(samples: &[Duration]) -> (f64, f64) {
    let mut sorted: Vec<f64> = samples.iter().map(Duration::as_secs_f64).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    (middle, sorted.last().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        for nanos in (0..5_000).chain((0..63).map(|power| (1u64 << power) + 3)).chain([u64::MAX]) {
            let bucket = bucket_of(nanos);
            assert!(upper_end(bucket) >= nanos, "{nanos}");
            assert!(bucket == 0 || upper_end(bucket - 1) < nanos, "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_close() {
        let mut histogram = Histogram::new();
        (1..=1_000u64).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        let p99 = histogram.quantile(0.99).as_secs_f64();
        assert!((0.000_990..0.001_006).contains(&p99), "{p99}");
        assert_eq!(histogram.quantile(1.0), Duration::from_micros(1_000));
    }
}
