//! The 64-bit hash of a key, computed once per command and used for table look-ups.
//!
//! A folded-multiply hash (the construction of wyhash) with a seed per process: fast on short keys, and a client
//! cannot choose colliding keys without the seed. Every length takes words that overlap rather than a copy of its rest,
//! so that a key of up to sixteen bytes costs two products and no call. Hashes under that seed are never written to disk
//! or sent to another node. A cuckoo filter hashes its items under a seed of its own, fixed for ever, and what it writes
//! depends on every bit: a change of this function needs a new format of filters (docs/formats/cuckoo.md).

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
/// Bytes that one product takes.
const CHUNK: usize = 16;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// Hashes `bytes` under `seed`.
#[inline]
pub fn hash64(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ K0;
    // Secret on both sides of the product: a constant here would let a client choose a chunk that zeroes it.
    let secret = seed.rotate_left(29) ^ K1;
    let (low, high) = match bytes.last_chunk::<CHUNK>() {
        None => short_words(bytes),
        Some(last) => {
            // All whole chunks that something follows; the last sixteen bytes may overlap the one before.
            let before = bytes.len().div_ceil(CHUNK) - 1;
            for chunk in bytes.as_chunks::<CHUNK>().0.iter().take(before) {
                let (low, high) = words(chunk);
                state = fold(low ^ secret, high ^ state);
            }
            words(last)
        }
    };
    finish(secret, state, (low, high), bytes.len())
}

/// The hash of a text of 8 to 16 bytes by its first eight and its last eight, little-endian.
#[inline(always)]
pub(crate) fn hash_words(seed: u64, low: u64, high: u64, len: usize) -> u64 {
    finish(seed.rotate_left(29) ^ K1, seed ^ K0, (low, high), len)
}

#[inline(always)]
fn finish(secret: u64, state: u64, (low, high): (u64, u64), len: usize) -> u64 {
    // The length tells apart what the words alone do not: texts of different lengths.
    fold(fold(low ^ secret, high ^ state) ^ K0, (len as u64) ^ K1)
}

#[inline]
fn words(chunk: &[u8; CHUNK]) -> (u64, u64) {
    let wide = u128::from_le_bytes(*chunk);
    (wide as u64, (wide >> 64) as u64)
}

/// All bytes of a text of less than a chunk in two words, by reads that overlap.
#[inline]
fn short_words(bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)));
    }
    (bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
}

/// Mixes one word (splitmix64's finaliser).
#[inline]
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

    #[test]
    fn every_byte_counts_at_every_length() {
        for len in 0..=80 {
            let mut bytes = vec![0x5a; len];
            let whole = hash64(11, &bytes);
            for index in 0..len {
                for bit in 0..8 {
                    bytes[index] ^= 1 << bit;
                    let differing = (hash64(11, &bytes) ^ whole).count_ones();
                    assert!(
                        (8..=56).contains(&differing),
                        "{len} bytes, bit {bit} of byte {index}: {differing}"
                    );
                    bytes[index] ^= 1 << bit;
                }
            }
            bytes.push(0x5a);
            assert_ne!(hash64(11, &bytes), whole, "{len} bytes and one more");
        }
    }
}
