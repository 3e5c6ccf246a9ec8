//! What a filter is made from: a capacity, a rate of false positives, and how it grows.

use super::buckets::{Buckets, SLOTS};
use std::fmt;

/// Narrowest fingerprint: 51% false positives.
pub const FINGERPRINT_BITS_MIN: u32 = 4;
/// Widest fingerprint: 2 in 10^9 false positives.
pub const FINGERPRINT_BITS_MAX: u32 = 32;
/// Buckets of one filter, all its sub-filters together: 2^30 slots, at most 4 GiB.
pub const BUCKETS_MAX: u32 = 1 << 28;

/// The share of slots that `capacity` items fill. Two buckets of four hold 98% before an insert fails (Fan et al.,
/// "Cuckoo Filter: Practically Better Than Bloom", 2014); what is between is the margin of chance.
pub(super) const LOAD: f64 = 0.95;

/// Fingerprints that one look-up compares.
pub(super) const LANES_COMPARED: f64 = 2.0 * SLOTS as f64;

/// How a filter is made; the same on every node that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CuckooConfig {
    pub(super) buckets: u32,
    pub(super) fingerprint_bits: u32,
    pub(super) expansion: u16,
}

/// Why a filter cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CuckooConfigError {
    /// The capacity is 0 or wants more than [`BUCKETS_MAX`] buckets.
    Capacity,
    /// The rate is not between what [`FINGERPRINT_BITS_MAX`] bits give and 1.
    FalsePositiveRate,
    /// The fingerprint is narrower than [`FINGERPRINT_BITS_MIN`] or wider than [`FINGERPRINT_BITS_MAX`].
    FingerprintBits,
}

impl fmt::Display for CuckooConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            CuckooConfigError::Capacity => "capacity out of range",
            CuckooConfigError::FalsePositiveRate => "false positive rate out of range",
            CuckooConfigError::FingerprintBits => "fingerprint bits out of range",
        })
    }
}

impl std::error::Error for CuckooConfigError {}

impl CuckooConfig {
    /// A filter that holds `capacity` items and then answers at most `false_positive_rate` (0.0 to 1.0) of look-ups of
    /// absent items wrongly. It does not grow unless [`CuckooConfig::with_expansion`] says so.
    ///
    /// # Errors
    /// When the capacity or the rate is out of range.
    pub fn new(capacity: u64, false_positive_rate: f64) -> Result<CuckooConfig, CuckooConfigError> {
        if !(false_positive_rate > 0.0 && false_positive_rate < 1.0) {
            return Err(CuckooConfigError::FalsePositiveRate);
        }
        let bits = (FINGERPRINT_BITS_MIN..=FINGERPRINT_BITS_MAX)
            .find(|&bits| rate(bits, LOAD) <= false_positive_rate)
            .ok_or(CuckooConfigError::FalsePositiveRate)?;
        CuckooConfig::with_bits(capacity, bits)
    }

    /// A filter that holds `capacity` items with fingerprints of so many bits.
    ///
    /// # Errors
    /// When the capacity or the width is out of range.
    pub fn with_bits(capacity: u64, fingerprint_bits: u32) -> Result<CuckooConfig, CuckooConfigError> {
        if !(FINGERPRINT_BITS_MIN..=FINGERPRINT_BITS_MAX).contains(&fingerprint_bits) {
            return Err(CuckooConfigError::FingerprintBits);
        }
        let slots_max = u64::from(BUCKETS_MAX) * SLOTS as u64;
        if capacity == 0 || capacity > slots_max {
            return Err(CuckooConfigError::Capacity);
        }
        let buckets = (capacity as f64 / (LOAD * SLOTS as f64)).ceil() as u64;
        match u32::try_from(buckets) {
            Ok(buckets) if buckets <= BUCKETS_MAX => {
                Ok(CuckooConfig { buckets, fingerprint_bits, expansion: 0 })
            }
            _ => Err(CuckooConfigError::Capacity),
        }
    }

    /// The same with growth: a full filter gets another sub-filter, `expansion` times as large as the one before.
    /// With 0 a full filter refuses inserts.
    #[must_use]
    pub fn with_expansion(self, expansion: u16) -> CuckooConfig {
        CuckooConfig { expansion, ..self }
    }

    /// Bytes that the first sub-filter will take: what to hold against a limit before the filter is made.
    pub fn memory_bytes(&self) -> usize {
        Buckets::data_bytes(self.buckets, self.fingerprint_bits)
    }

    /// Bits of a fingerprint in the first sub-filter.
    pub fn fingerprint_bits(&self) -> u32 {
        self.fingerprint_bits
    }

    /// Buckets of the first sub-filter.
    pub fn buckets(&self) -> u32 {
        self.buckets
    }

    /// How many times larger each further sub-filter is; 0 for none.
    pub fn expansion(&self) -> u16 {
        self.expansion
    }
}

/// The rate of false positives of one sub-filter with fingerprints of `bits` bits and this share of its slots in use.
///
/// One value of a fingerprint means an empty slot.
pub(super) fn rate(bits: u32, load: f64) -> f64 {
    LANES_COMPARED * load / ((1u64 << bits) - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_chooses_the_least_width_that_meets_it() {
        for (wanted, bits) in
            [(0.6, 4), (0.5, 5), (0.03, 8), (0.02, 9), (0.01, 10), (0.001, 13), (1e-6, 23), (2e-9, 32)]
        {
            let config = CuckooConfig::new(1_000, wanted).unwrap();
            assert_eq!(config.fingerprint_bits(), bits, "{wanted}");
            assert!(bits == FINGERPRINT_BITS_MIN || rate(bits - 1, LOAD) > wanted);
        }
        let config = CuckooConfig::new(10_000_000, 0.001).unwrap();
        let bits_per_key = config.memory_bytes() as f64 * 8.0 / 1e7;
        assert!(bits_per_key <= 13.7, "{bits_per_key}");
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for bad_rate in [0.0, 1.0, -1.0, 1e-10, f64::NAN, f64::INFINITY] {
            assert_eq!(CuckooConfig::new(10, bad_rate), Err(CuckooConfigError::FalsePositiveRate));
        }
        for capacity in [0, u64::from(BUCKETS_MAX) * 4, u64::MAX] {
            assert_eq!(CuckooConfig::new(capacity, 0.01), Err(CuckooConfigError::Capacity));
        }
        for bits in [0, 3, 33] {
            assert_eq!(CuckooConfig::with_bits(10, bits), Err(CuckooConfigError::FingerprintBits));
        }
        assert_eq!(CuckooConfig::new(1, 0.01).unwrap().buckets(), 1);
    }
}
