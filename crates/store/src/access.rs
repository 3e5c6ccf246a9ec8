//! When and how often a key is used: for OBJECT IDLETIME, OBJECT FREQ and eviction.
//!
//! Both are kept for every key, whatever the policy, in four bytes: 24 bits of seconds and the frequency, Redis's
//! logarithmic counter (`LFULogIncr` and `LFUDecrAndReturn` with the defaults `lfu-log-factor 10`, `lfu-decay-time 1`).
//! As in Redis the clock goes round after 194 days, and a key idle for longer seems younger. Neither is part of the
//! content: replicas keep their own.

use stdx::Wall;

/// Counter of a new key, so that it is not evicted before it had a chance.
const FREQUENCY_NEW: u8 = 5;
const LOG_FACTOR: u32 = 10;
const DECAY_SECONDS: u32 = 60;
const SECONDS_BITS: u32 = 24;
const SECONDS_MASK: u32 = (1 << SECONDS_BITS) - 1;
/// A use seems to be in the future if the clock went back since: so much of the round is taken for that (12 days).
const BACKWARD_SECONDS_MAX: u32 = 1 << 20;

/// Whole seconds of a wall clock reading; enough until the year 2106.
#[inline]
pub(crate) fn seconds_of(now: Wall) -> u32 {
    u32::try_from(now.0 / 1_000).unwrap_or(u32::MAX)
}

/// Last use and frequency of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Access(u32);

impl Access {
    pub(crate) fn new(seconds: u32) -> Access {
        Access::of(seconds, FREQUENCY_NEW)
    }

    /// As it is stored.
    #[inline]
    pub(crate) fn from_bits(bits: u32) -> Access {
        Access(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Seconds since the last use; zero if the clock went back since.
    #[inline]
    pub(crate) fn idle_seconds(self, now: u32) -> u32 {
        let idle = now.wrapping_sub(self.0 >> 8) & SECONDS_MASK;
        if idle > SECONDS_MASK - BACKWARD_SECONDS_MAX { 0 } else { idle }
    }

    /// The counter after one step down for every minute of idleness.
    #[inline]
    pub(crate) fn frequency(self, now: u32) -> u8 {
        let steps = self.idle_seconds(now) / DECAY_SECONDS;
        (self.0 as u8).saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
    }

    /// One more use: the higher the counter, the less likely it rises. `noise` is a random number.
    #[inline]
    pub(crate) fn touched(self, now: u32, noise: u32) -> Access {
        let frequency = self.frequency(now);
        let odds = u32::from(frequency.saturating_sub(FREQUENCY_NEW)) * LOG_FACTOR + 1;
        let rises = (u64::from(noise) * u64::from(odds)) >> 32 == 0;
        Access::of(now, frequency.saturating_add(u8::from(rises)))
    }

    /// A write: it is a use, but not counted.
    #[inline]
    pub(crate) fn at(self, now: u32) -> Access {
        Access::of(now, self.0 as u8)
    }

    #[inline]
    fn of(seconds: u32, frequency: u8) -> Access {
        Access(seconds << 8 | u32::from(frequency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    #[test]
    fn frequency_rises_slowly_and_decays_by_the_minute() {
        let mut random = Random::seeded(1);
        let mut access = Access::new(100);
        let mut after = |uses: u32| {
            (0..uses).for_each(|_| access = access.touched(100, random.next_u64() as u32));
            access.frequency(100)
        };
        // Redis's documentation of the LFU mode: factor 10 gives about 10 after 100 hits, 18 after 1,000, 142 after 100,000.
        assert!((8..=14).contains(&after(100)));
        assert!((14..=24).contains(&after(900)));
        if cfg!(not(miri)) {
            assert!((120..=160).contains(&after(99_000)));
        }
        let saturated = Access::of(100, 255);
        assert_eq!(saturated.touched(100, 0).frequency(100), 255);
        assert_eq!(saturated.frequency(159), 255);
        assert_eq!(saturated.frequency(160), 254);
        assert_eq!(saturated.frequency(100_000), 0);
        assert_eq!(saturated.at(160).frequency(160), 255);
    }

    #[test]
    fn a_clock_that_goes_back_is_not_idleness() {
        assert_eq!(Access::new(100).idle_seconds(90), 0);
        assert_eq!(Access::new(100).idle_seconds(130), 30);
        let wraps = Access::new(SECONDS_MASK);
        assert_eq!((wraps.idle_seconds(SECONDS_MASK + 10), wraps.idle_seconds(SECONDS_MASK - 10)), (10, 0));
        assert_eq!(Access::from_bits(wraps.bits()), wraps);
    }
}
