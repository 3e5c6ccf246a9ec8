//! What a filter is made from: a capacity, a rate of false positives and how it grows; and the sizes that follow.

use super::{ENCODED_BYTES_MAX, codec};
use std::f64::consts::LN_2;
use std::fmt;

/// Items that the first sub-filter may be made for (RedisBloom's limit).
pub const CAPACITY_MAX: u64 = 1 << 30;
/// How many times larger a further sub-filter may be (RedisBloom's limit).
pub const EXPANSION_MAX: u16 = 32_768;

/// Bits of the fraction of a number of bits an item.
const FRACTION_BITS: u32 = 16;
/// More than the 1,550 bits an item of the least positive rate, which is that of a double.
pub(super) const BITS_PER_ITEM_MAX: u32 = 2_048 << FRACTION_BITS;
/// Half the rate of false positives takes 1 / ln 2 bits more an item, rounded up.
const HALVING: u32 = 94_549;
/// ln 2: a filter is best with so many places an item for each bit an item.
const PLACES_PER_BIT: u64 = 45_426;
/// What is added before a number of places is cut to a whole one: it is rounded up unless it exceeds a whole one by less
/// than a thousandth, which is rounding.
const PLACES_ROUNDING: u64 = (1 << (2 * FRACTION_BITS)) - (1 << 22);
/// Arrays are whole words, as RedisBloom's.
const WORD_BITS: u128 = 64;

/// How a filter is made; the same on every node that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BloomConfig {
    pub(super) capacity: u64,
    /// Of the first sub-filter, with [`FRACTION_BITS`] bits of fraction.
    pub(super) bits_per_item: u32,
    pub(super) expansion: u16,
}

/// Sizes of one sub-filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Items that it takes.
    pub(super) capacity: u64,
    bits_per_item: u32,
    /// Bits that an item sets.
    pub(super) hashes: u32,
    /// Bytes of the array.
    pub(super) bytes: usize,
}

/// Why a filter cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BloomConfigError {
    /// The capacity is 0 or above [`CAPACITY_MAX`].
    Capacity,
    /// The rate is not between 0 and 1.
    FalsePositiveRate,
    /// The expansion is above [`EXPANSION_MAX`].
    Expansion,
    /// The filter would take more than [`ENCODED_BYTES_MAX`].
    TooLarge,
}

impl fmt::Display for BloomConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            BloomConfigError::Capacity => "capacity out of range",
            BloomConfigError::FalsePositiveRate => "false positive rate out of range",
            BloomConfigError::Expansion => "expansion out of range",
            BloomConfigError::TooLarge => "the filter would be too large",
        })
    }
}

impl std::error::Error for BloomConfigError {}

impl BloomConfig {
    /// A filter that takes `capacity` items before it grows to `expansion` times that, and answers at most
    /// `false_positive_rate` (0.0 to 1.0) of look-ups of absent items wrongly, however often it grows. With an expansion
    /// of 0 a full filter refuses items.
    ///
    /// # Errors
    /// When one of them is out of range, or all together ask for too much.
    pub fn new(
        capacity: u64,
        false_positive_rate: f64,
        expansion: u16,
    ) -> Result<BloomConfig, BloomConfigError> {
        if !(1..=CAPACITY_MAX).contains(&capacity) {
            return Err(BloomConfigError::Capacity);
        }
        if expansion > EXPANSION_MAX {
            return Err(BloomConfigError::Expansion);
        }
        if !(false_positive_rate > 0.0 && false_positive_rate < 1.0) {
            return Err(BloomConfigError::FalsePositiveRate);
        }
        // A filter that may grow begins with half the rate: all that come later have the other half.
        let ln_rate = false_positive_rate.ln() - if expansion > 0 { LN_2 } else { 0.0 };
        let bits_per_item = bits_for(ln_rate);
        BloomConfig::from_parts(capacity, bits_per_item, expansion).ok_or(BloomConfigError::TooLarge)
    }

    /// `None` if a part is out of range or all together ask for too much.
    pub(super) fn from_parts(capacity: u64, bits_per_item: u32, expansion: u16) -> Option<BloomConfig> {
        let in_range = (1..=CAPACITY_MAX).contains(&capacity)
            && (1..=BITS_PER_ITEM_MAX).contains(&bits_per_item)
            && expansion <= EXPANSION_MAX;
        let config = BloomConfig { capacity, bits_per_item, expansion };
        let fits = in_range
            && Shape::new(capacity, bits_per_item)
                .is_some_and(|shape| codec::HEADER_BYTES + shape.bytes <= ENCODED_BYTES_MAX);
        fits.then_some(config)
    }

    /// Bytes that the first sub-filter will take: what to hold against a limit before the filter is made.
    pub fn memory_bytes(&self) -> usize {
        self.first().bytes
    }

    /// Items that the first sub-filter takes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How many times larger each further sub-filter is; 0 for none.
    pub fn expansion(&self) -> u16 {
        self.expansion
    }

    pub(super) fn first(&self) -> Shape {
        Shape::new(self.capacity, self.bits_per_item).expect("a configuration is made only if its shape fits")
    }

    /// The sub-filter after this one; `None` if there is none, or one beyond all limits.
    pub(super) fn after(&self, shape: Shape) -> Option<Shape> {
        if self.expansion == 0 {
            return None;
        }
        let capacity = shape.capacity.checked_mul(u64::from(self.expansion))?;
        Shape::new(capacity, shape.bits_per_item.checked_add(HALVING)?)
    }
}

/// Bits an item that give the rate with this logarithm.
///
/// The best number of places is seldom a whole one; with the next whole one a few bits more are needed, which RedisBloom
/// forgets: its filters for a rate of 0.2 have one of 0.207.
fn bits_for(ln_rate: f64) -> u32 {
    let unit = f64::from(1u32 << FRACTION_BITS);
    let places = f64::from(places_for((-ln_rate / (LN_2 * LN_2) * unit).ceil() as u32));
    // The rate is the share of set bits to the power of places, and a bit is not set with e^(-places / bits per item).
    let set = (ln_rate / places).exp();
    ((-places / (-set).ln_1p() * unit).ceil() as u32).max(1)
}

/// Bits that an item sets: ln 2 for each bit an item, rounded up.
fn places_for(bits_per_item: u32) -> u32 {
    let places = (u64::from(bits_per_item) * PLACES_PER_BIT + PLACES_ROUNDING) >> (2 * FRACTION_BITS);
    (places as u32).max(1)
}

impl Shape {
    /// `None` if it alone is larger than a filter may be.
    fn new(capacity: u64, bits_per_item: u32) -> Option<Shape> {
        let bits = ((u128::from(capacity) * u128::from(bits_per_item)) >> FRACTION_BITS).max(1);
        let bytes = usize::try_from(bits.div_ceil(WORD_BITS) * (WORD_BITS / 8)).ok()?;
        let shape = Shape { capacity, bits_per_item, hashes: places_for(bits_per_item), bytes };
        (bytes <= ENCODED_BYTES_MAX).then_some(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes that RedisBloom's `bloom_init` comes to, but for what it forgets.
    #[test]
    fn sizes_are_close_to_those_of_redisbloom() {
        for (capacity, rate, expansion, bytes, hashes) in [
            (100, 0.01, 2, 144, 8),
            (100, 0.01, 0, 120, 7),
            (1_000, 0.001, 0, 1_800, 10),
            (1_000, 0.001, 1, 1_984, 11),
            (1_000_000, 0.5, 0, 180_344, 1),
            (1_000_000, 0.2, 0, 426_624, 3),
        ] {
            let config = BloomConfig::new(capacity, rate, expansion).unwrap();
            let shape = config.first();
            assert_eq!((shape.bytes, shape.hashes), (bytes, hashes), "{capacity} {rate}");
            assert_eq!((config.capacity(), config.expansion()), (capacity, expansion));
            let next = config.after(shape);
            assert_eq!(next.map(|next| next.hashes), (expansion > 0).then_some(hashes + 1));
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for bad_rate in [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(BloomConfig::new(10, bad_rate, 2), Err(BloomConfigError::FalsePositiveRate));
        }
        for capacity in [0, CAPACITY_MAX + 1, u64::MAX] {
            assert_eq!(BloomConfig::new(capacity, 0.01, 2), Err(BloomConfigError::Capacity));
        }
        assert_eq!(BloomConfig::new(10, 0.01, EXPANSION_MAX + 1), Err(BloomConfigError::Expansion));
        assert_eq!(BloomConfig::new(CAPACITY_MAX, 0.001, 2), Err(BloomConfigError::TooLarge));
        for rate in [f64::MIN_POSITIVE, 5e-324, 1.0 - f64::EPSILON] {
            let config = BloomConfig::new(1, rate, 1).unwrap();
            assert!(config.memory_bytes() <= 200, "{rate}");
        }
    }
}
