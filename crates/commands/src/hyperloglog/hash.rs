//! Elements as registers: MurmurHash64A under Redis's seed, of which the lowest bits choose a register and the others
//! its value.

use super::{INDEX_BITS, REGISTERS, RUN_BITS};

/// Redis's seed: another one would make sketches that cannot be merged with Redis's.
const SEED: u64 = 0xadc8_3b19;
const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// The register that an element belongs to, and the least value that it holds when it has seen the element.
pub(super) fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element);
    let index = hash as usize & (REGISTERS - 1);
    // The bit behind the last ends the longest run.
    let run = (hash >> INDEX_BITS) | 1 << RUN_BITS;
    (index, run.trailing_zeros() as u8 + 1)
}

/// Austin Appleby's MurmurHash2 for 64-bit words, which are little-endian on every machine.
fn murmur64a(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        hash ^= (word ^ (word >> SHIFT)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> SHIFT)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PFDEBUG DECODE of a Redis server after PFADD of the element alone.
    #[test]
    fn registers_are_those_of_redis() {
        let cases: &[(&str, (usize, u8))] = &[
            ("a", (12_711, 2)),
            ("b", (15_780, 1)),
            ("c", (8_436, 1)),
            ("", (5_938, 2)),
            ("foobar1", (12_029, 1)),
            ("12345678", (10_579, 3)),
            ("abcdefgh12345678", (12_285, 4)),
            ("hello world, this is long", (796, 1)),
        ];
        for (element, register) in cases {
            assert_eq!(register_of(element.as_bytes()), *register, "{element}");
        }
    }
}
