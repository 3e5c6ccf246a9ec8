//! Seeded randomness (xoshiro-like splitmix sequence): repeatable under test, seeded by the system in production.

use crate::hash::mix64;

/// A small generator; not for secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator that repeats exactly for the same seed.
    pub fn seeded(seed: u64) -> Random {
        Random { state: mix64(seed) }
    }

    /// A generator seeded by the operating system.
    pub fn system() -> Random {
        Random::seeded(entropy_u64())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix64(self.state)
    }

    /// A number in `0..bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with probability `share` (0.0 to 1.0).
    pub fn chance(&mut self, share: f64) -> bool {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64 <= share && share > 0.0
    }

    /// Fills `out` with bytes of this sequence.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// Fills `out` from the operating system: for ids, nonces and secrets.
///
/// # Panics
/// If the operating system has no randomness to give; nothing safe can be done then.
pub fn entropy(out: &mut [u8]) {
    getrandom::fill(out).expect("the operating system gives randomness");
}

/// Sixty-four bits from the operating system.
pub fn entropy_u64() -> u64 {
    let mut bytes = [0u8; 8];
    entropy(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_sequence() {
        let (mut a, mut b) = (Random::seeded(1), Random::seeded(1));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
        assert!((0..1_000).all(|_| a.below(10) < 10));
        assert_eq!(a.below(0), 0);
        assert!(!a.chance(0.0));
    }
}
