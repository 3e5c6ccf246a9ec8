//! The number of elements that registers stand for: the improved estimator of Otmar Ertl, "New cardinality estimation
//! algorithms for HyperLogLog sketches" (arXiv:1702.01284), algorithm 6, as Redis computes it, step by step, so that
//! both round alike.

use super::{REGISTERS, RUN_BITS};

/// 1 / (2 ln 2).
const ALPHA_INFINITY: f64 = 0.721_347_520_444_481_7;
/// More than any value of a register.
const VALUES: usize = 64;

/// How many registers have each value.
#[derive(Clone, Debug)]
pub(super) struct Histogram([u32; VALUES]);

impl Histogram {
    /// Of no registers.
    pub(super) fn new() -> Histogram {
        Histogram([0; VALUES])
    }

    /// Counts registers that have the same value.
    #[inline]
    pub(super) fn add(&mut self, value: u8, registers: usize) {
        self.0[usize::from(value) % VALUES] += registers as u32;
    }

    /// The number of different elements. Values that no hash gives are ignored.
    pub(super) fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let with = |value: u32| f64::from(self.0[value as usize]);
        let mut z = registers * tau((registers - with(RUN_BITS + 1)) / registers);
        for value in (1..=RUN_BITS).rev() {
            z += with(value);
            z *= 0.5;
        }
        z += registers * sigma(with(0) / registers);
        (ALPHA_INFINITY * registers * registers / z).round() as u64
    }
}

/// The paper's sigma: corrects for registers that have seen nothing.
fn sigma(x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (x, 1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

/// The paper's tau: corrects for registers that have reached the maximum.
fn tau(x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (x, 1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes() {
        let mut empty = Histogram::new();
        empty.add(0, REGISTERS);
        assert_eq!(empty.estimate(), 0);
        let mut one = Histogram::new();
        one.add(0, REGISTERS - 1);
        one.add(1, 1);
        assert_eq!(one.estimate(), 1);
        let mut full = Histogram::new();
        full.add(RUN_BITS as u8 + 1, REGISTERS);
        assert_eq!(full.estimate(), u64::MAX);
        // More registers than there are, as a damaged sketch may have: any number, no panic.
        let mut damaged = Histogram::new();
        damaged.add(63, REGISTERS);
        assert!(damaged.estimate() > 0);
    }
}
