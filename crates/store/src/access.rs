//! When and how often a key is used: for OBJECT IDLETIME, OBJECT FREQ and eviction.
//!
//! Both are kept for every key, whatever the policy, in four bytes: 24 bits of seconds and a byte of uses. That is the
//! frequency, Redis's logarithmic counter (`LFULogIncr` and `LFUDecrAndReturn` with the defaults `lfu-log-factor 10`,
//! `lfu-decay-time 1`), unless an eviction policy counts in another way ([`Counting`]). As in Redis the clock goes round
//! after 194 days, and a key idle for longer seems younger. Neither is part of the content: replicas keep their own.

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

/// Most uses that are counted beside a tick, as in S3-FIFO.
const USES_MAX: u8 = 3;
const USES_BITS: u32 = 2;

/// How the byte of uses is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counting {
    /// Redis's frequency.
    Logarithmic,
    /// Six bits of the tick at the last use, and two for up to three uses since the entry was new.
    Ticks(u8),
    /// One by one, up to 255.
    Linear,
}

/// What a use of a key notes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) seconds: u32,
    pub(crate) counting: Counting,
}

impl Moment {
    /// Where no policy asks for anything else.
    #[inline]
    pub(crate) fn plain(seconds: u32) -> Moment {
        Moment { seconds, counting: Counting::Logarithmic }
    }
}

/// Last use and frequency of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Access(u32);

impl Access {
    #[cfg(test)]
    pub(crate) fn new(seconds: u32) -> Access {
        Access::begun(Moment::plain(seconds))
    }

    /// That of a new key.
    #[inline]
    pub(crate) fn begun(now: Moment) -> Access {
        let uses = match now.counting {
            Counting::Logarithmic => FREQUENCY_NEW,
            Counting::Ticks(tick) => tick << USES_BITS,
            Counting::Linear => 1,
        };
        Access::of(now.seconds, uses)
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

    /// The byte of uses.
    #[inline]
    pub(crate) fn uses(self) -> u8 {
        self.0 as u8
    }

    #[inline]
    pub(crate) fn with_uses(self, uses: u8) -> Access {
        Access(self.0 & !0xff | u32::from(uses))
    }

    /// One more use. `noise` is a random number.
    #[inline(always)]
    pub(crate) fn touched(self, now: Moment, noise: u32) -> Access {
        let uses = match now.counting {
            Counting::Logarithmic => self.raised(now.seconds, noise),
            Counting::Ticks(tick) => tick << USES_BITS | ((self.uses() & USES_MAX) + 1).min(USES_MAX),
            Counting::Linear => self.uses().saturating_add(1),
        };
        Access::of(now.seconds, uses)
    }

    /// A write: it is a use, but not counted.
    #[inline]
    pub(crate) fn at(self, now: Moment) -> Access {
        let uses = match now.counting {
            Counting::Logarithmic | Counting::Linear => self.uses(),
            Counting::Ticks(tick) => tick << USES_BITS | self.uses() & USES_MAX,
        };
        Access::of(now.seconds, uses)
    }

    /// Redis's counter after one more use: the higher it is, the less likely it rises.
    #[inline(always)]
    fn raised(self, now: u32, noise: u32) -> u8 {
        let frequency = self.frequency(now);
        let odds = u32::from(frequency.saturating_sub(FREQUENCY_NEW)) * LOG_FACTOR + 1;
        let rises = (u64::from(noise) * u64::from(odds)) >> 32 == 0;
        frequency.saturating_add(u8::from(rises))
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
            (0..uses).for_each(|_| access = access.touched(Moment::plain(100), random.next_u64() as u32));
            access.frequency(100)
        };
        // Redis's documentation of the LFU mode: factor 10 gives about 10 after 100 hits, 18 after 1,000, 142 after 100,000.
        assert!((8..=14).contains(&after(100)));
        assert!((14..=24).contains(&after(900)));
        if cfg!(not(miri)) {
            assert!((120..=160).contains(&after(99_000)));
        }
        let saturated = Access::of(100, 255);
        assert_eq!(saturated.touched(Moment::plain(100), 0).frequency(100), 255);
        assert_eq!(saturated.frequency(159), 255);
        assert_eq!(saturated.frequency(160), 254);
        assert_eq!(saturated.frequency(100_000), 0);
        assert_eq!(saturated.at(Moment::plain(160)).frequency(160), 255);
    }

    #[test]
    fn policies_count_in_their_own_ways() {
        let at = |tick| Moment { seconds: 7, counting: Counting::Ticks(tick) };
        let mut access = Access::begun(at(63));
        assert_eq!((access.uses() >> 2, access.uses() & 3, access.idle_seconds(9)), (63, 0, 2));
        for (tick, uses) in [(63, 1), (1, 2), (2, 3), (3, 3)] {
            access = access.touched(at(tick), 0);
            assert_eq!((access.uses() >> 2, access.uses() & 3), (tick, uses));
        }
        assert_eq!(access.at(at(9)).uses(), 9 << 2 | 3);
        let linear = Moment { seconds: 7, counting: Counting::Linear };
        assert_eq!(Access::begun(linear).touched(linear, 0).at(linear).uses(), 2);
        assert_eq!(Access::begun(linear).with_uses(255).touched(linear, 0).uses(), 255);
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
