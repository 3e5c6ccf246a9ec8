//! The generator behind `math.random`: Redis's `redisLrand48`, which is `lrand48`, so that a seed gives a script the
//! same numbers as there.

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const STATE_BITS: u32 = 48;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;
/// What a seed is extended by, and what an engine that was never seeded begins with.
const LOW_BITS: u64 = 0x330E;
const UNSEEDED: u64 = 0x1234_ABCD_330E;
/// One more than the largest number.
pub(crate) const RANDOM_RANGE: i32 = i32::MAX;

/// The state of one interpreter's generator.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The generator of an interpreter that has run nothing.
    pub(crate) fn new() -> Random {
        Random(UNSEEDED)
    }

    /// Starts the sequence of `seed`.
    pub(crate) fn seed(&mut self, seed: i32) {
        self.0 = u64::from(seed as u32) << 16 | LOW_BITS;
    }

    /// The next number below two to the power of 31.
    pub(crate) fn next(&mut self) -> i32 {
        self.0 = (self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT)) & STATE_MASK;
        (self.0 >> (STATE_BITS - 31)) as i32
    }

    /// The next number from zero to below one.
    pub(crate) fn next_fraction(&mut self) -> f64 {
        f64::from(self.next() % RANDOM_RANGE) / f64::from(RANDOM_RANGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of a redis-server.
    #[test]
    fn the_sequence_is_redis() {
        let mut random = Random::new();
        assert_eq!((random.next_fraction() * 1e14) as u64, 39_646_477_363_839);
        assert_eq!((random.next_fraction() * 1e14) as u64, 84_048_536_971_234);
        random.seed(42);
        let scaled = [random.next_fraction(), random.next_fraction()].map(|r| (r * 1e6).floor() as u64 + 1);
        assert_eq!(scaled, [744_526, 342_702]);
        random.seed(-5);
        assert_eq!((random.next_fraction() * 1e6).floor() as u64 + 1, 816_817);
    }
}
