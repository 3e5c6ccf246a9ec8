//! Slot and hash of a key together: what every command on a key begins with.
//!
//! Both look at all bytes of the key. Keys of 8 to 16 bytes, which most are, are read as two words that may overlap,
//! once for everything: the search for a hash tag, the sum that makes the slot (by multiplication where the processor
//! can, see `carryless`), and the hash.

use crate::carryless;
use crate::crc16::{self, SLOTS};
use crate::hash;
use crate::id::Slot;

/// Bytes of a word.
const WORD: usize = 8;
/// Longest key that two words cover.
const SHORT_KEY_BYTES_MAX: usize = 2 * WORD;

/// The slot of a key (its CRC16, or that of its hash tag) and its hash under `seed`: what [`crc16::slot_of`] and
/// [`hash::hash64`] give.
#[inline(always)]
pub fn slot_and_hash(seed: u64, key: &[u8]) -> (Slot, u64) {
    if key.len() <= SHORT_KEY_BYTES_MAX
        && let (Some(first), Some(last)) = (key.first_chunk::<WORD>(), key.last_chunk::<WORD>())
    {
        let (low, high) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        if !crc16::may_have_tag(low) && !crc16::may_have_tag(high) {
            // What the last word does not cover, as a number; nothing if it covers all.
            let covered = WORD * 8 * 2 - key.len() * 8;
            let head = u64::from_be_bytes(*first).checked_shr(covered as u32).unwrap_or(0);
            let tail = u64::from_be_bytes(*last);
            let sum = carryless::sum(head, tail).unwrap_or_else(|| crc16::step(crc16::step(0, head), tail));
            return (Slot(sum % SLOTS), hash::hash_words(seed, low, high, key.len()));
        }
    }
    (crc16::slot_of(key), hash::hash64(seed, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn agrees_with_slot_and_hash_at_every_length() {
        let mut random = Random::seeded(3);
        for len in 0..=300 {
            for round in 0..if cfg!(miri) { 2 } else { 200 } {
                let mut key: Vec<u8> = (0..len).map(|_| random.next_u64() as u8).collect();
                if round % 3 == 0 && len > 1 {
                    key[random.below(len) as usize] = b'{';
                    key[random.below(len) as usize] = b'}';
                }
                let expected = (crc16::slot_of(&key), hash::hash64(11, &key));
                assert_eq!(slot_and_hash(11, &key), expected, "{key:?}");
            }
        }
    }
}
