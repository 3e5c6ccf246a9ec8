//! The 64-bit hash of a key, computed once per command and used for table look-ups.
//!
//! A folded-multiply hash (the construction of wyhash) with a seed per process: fast on short keys, and a client
//! cannot choose colliding keys without the seed. Hashes under that seed are never written to disk or sent to another
//! node. A cuckoo filter hashes its items under a seed of its own, fixed for ever, and what it writes depends on every
//! bit: a change of this function needs a new format of filters (docs/formats/cuckoo.md).

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    let mut buffer = [0u8; 8];
    buffer[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(buffer)
}

/// Hashes `bytes` under `seed`.
#[inline]
pub fn hash64(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ K0;
    // Secret on both sides of the product: a constant here would let a client choose a chunk that zeroes it.
    let secret = seed.rotate_left(29) ^ K1;
    let mut chunks = bytes.chunks_exact(16);
    for chunk in &mut chunks {
        let (low, high) = chunk.split_at(8);
        state = fold(word(low) ^ secret, word(high) ^ state);
    }
    let rest = chunks.remainder();
    let (low, high) = if rest.len() > 8 { rest.split_at(8) } else { (rest, &[][..]) };
    state = fold(word(low) ^ secret, word(high) ^ state);
    fold(state ^ K0, (bytes.len() as u64) ^ K1)
}

/// Mixes one word (splitmix64's finaliser).
pub fn mix64(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn spreads_similar_keys() {
        let mut seen = HashSet::new();
        let mut top_bits = [0u32; 16];
        for i in 0..100_000u32 {
            let hash = hash64(7, format!("key:{i}").as_bytes());
            assert!(seen.insert(hash));
            top_bits[(hash >> 60) as usize] += 1;
        }
        assert!(top_bits.iter().all(|&n| (5_500..7_000).contains(&n)), "{top_bits:?}");
        assert_ne!(hash64(1, b"a"), hash64(2, b"a"));
        let chosen = |tail: u64| [K1.to_le_bytes(), tail.to_le_bytes()].concat();
        assert_ne!(hash64(7, &chosen(1)), hash64(7, &chosen(2)), "no chunk makes the rest of the key vanish");
        assert_ne!(hash64(1, b""), hash64(1, b"\0"));
    }
}
