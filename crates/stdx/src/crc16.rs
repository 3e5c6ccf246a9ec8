//! CRC16-CCITT (XMODEM) and the hash-tag rule: exactly Redis Cluster's slot of a key.
//!
//! Every key of every command pays for its slot, so the sum takes eight bytes a step ("slicing by 8": Kounavis and Berry,
//! "A Systematic Approach to Building High Performance Software-Based CRC Generators", 2005): each of the eight
//! bytes is looked up in a table of its own, and only two of the eight look-ups wait for the step before. The sum starts at
//! zero and leading zeros leave it there, so what does not fill a step is put in front, behind zeros, and costs one step
//! more rather than one look-up after another. The braces of a hash tag are searched for a word at a time as well.
//!
//! Source: the Redis Cluster specification, "Key distribution model" and appendix A.

use crate::id::Slot;

/// Slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// Bytes of a step.
const STEP: usize = 8;

/// A byte in every place of a word.
const ONES: u64 = u64::from_ne_bytes([0x01; STEP]);
/// The highest bit of every byte of a word.
const HIGHEST: u64 = u64::from_ne_bytes([0x80; STEP]);

/// `TABLES[n][b]` is the sum of the byte `b` followed by `n` zero bytes.
static TABLES: [[u16; 256]; STEP] = tables();

const fn tables() -> [[u16; 256]; STEP] {
    let mut tables = [[0u16; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < STEP {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
                bit += 1;
            }
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
}

/// CRC16 of `bytes`: polynomial 0x1021, initial value 0, no reflection.
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    let (head, words) = bytes.as_rchunks::<STEP>();
    let start = if head.is_empty() { 0 } else { step(0, head_word(bytes, head)) };
    words.iter().fold(start, |crc, word| step(crc, u64::from_be_bytes(*word)))
}

/// The part of `key` that decides its slot: what stands between the first `{` and the next `}`, if not empty.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = find(b'{', key) else { return key };
    let rest = key.get(open + 1..).unwrap_or_default();
    match find(b'}', rest) {
        Some(close) if close > 0 => rest.get(..close).unwrap_or(key),
        _ => key,
    }
}

/// The slot of `key`.
#[inline]
pub fn slot_of(key: &[u8]) -> Slot {
    Slot(crc16(hash_tag(key)) % SLOTS)
}

/// The one to seven bytes of `head`, with which `bytes` begins, as the low end of a word.
#[inline]
fn head_word(bytes: &[u8], head: &[u8]) -> u64 {
    if let Some(first) = bytes.first_chunk::<STEP>() {
        return u64::from_be_bytes(*first) >> (8 * (STEP - head.len()));
    }
    if let (Some(first), Some(last)) = (head.first_chunk::<4>(), head.last_chunk::<4>()) {
        // Where the two halves overlap they agree.
        let shift = 8 * (head.len() - 4);
        return u64::from(u32::from_be_bytes(*first)) << shift | u64::from(u32::from_be_bytes(*last));
    }
    head.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The sum after eight more bytes, given as a big-endian word.
#[inline(always)]
pub(crate) fn step(crc: u16, word: u64) -> u16 {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = (word ^ u64::from(crc) << 48).to_be_bytes().map(usize::from);
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    t7[b0] ^ t6[b1] ^ t5[b2] ^ t4[b3] ^ t3[b4] ^ t2[b5] ^ t1[b6] ^ t0[b7]
}

/// Not zero if and only if `byte` is among the bytes of `word`; then the lowest bit that is set belongs to the lowest such byte.
/// (Mycroft's test for a zero byte.)
#[inline]
fn matches(byte: u8, word: u64) -> u64 {
    let zero_where_equal = word ^ ONES.wrapping_mul(u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & HIGHEST
}

/// Whether an opening brace is among the bytes of a word.
#[inline(always)]
pub(crate) fn may_have_tag(word: u64) -> bool {
    matches(b'{', word) != 0
}

/// Where `byte` is first.
#[inline]
fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<STEP>();
    for (index, word) in words.iter().enumerate() {
        let found = matches(byte, u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * STEP + found.trailing_zeros() as usize / 8);
        }
    }
    let offset = tail.iter().position(|candidate| *candidate == byte)?;
    Some(words.len() * STEP + offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The definition, a byte at a time.
    fn bytewise(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc: u16, byte| (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)])
    }

    /// The specification's rule, a byte at a time.
    fn bytewise_tag(key: &[u8]) -> &[u8] {
        let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
        let rest = &key[open + 1..];
        match rest.iter().position(|byte| *byte == b'}') {
            Some(close) if close > 0 => &rest[..close],
            _ => key,
        }
    }

    #[test]
    fn matches_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo").0, 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
    }

    #[test]
    fn every_length_agrees_with_the_bytewise_form() {
        let mut random = Random::seeded(16);
        for len in 0..=300 {
            for start in 0..STEP {
                let bytes: Vec<u8> = (0..start + len).map(|_| random.next_u64() as u8).collect();
                let bytes = &bytes[start..];
                assert_eq!(crc16(bytes), bytewise(bytes), "{len} bytes from {start}");
            }
        }
    }

    #[test]
    fn tags_are_found_wherever_they_stand() {
        let mut random = Random::seeded(17);
        // Few different bytes, and those near the braces in value, make tags of every shape and place common.
        let alphabet = b"{{}}az\x7a\x7c\x7e\xfb\xfd\x00";
        for len in 0..=40 {
            for _ in 0..500 {
                let pick = |random: &mut Random| alphabet[random.next_u64() as usize % alphabet.len()];
                let sparse = random.next_u64().is_multiple_of(2);
                let key: Vec<u8> = (0..len)
                    .map(|_| {
                        if sparse && !random.next_u64().is_multiple_of(8) { b'x' } else { pick(&mut random) }
                    })
                    .collect();
                assert_eq!(hash_tag(&key), bytewise_tag(&key), "{}", key.escape_ascii());
                assert_eq!(slot_of(&key).0, bytewise(bytewise_tag(&key)) % SLOTS, "{}", key.escape_ascii());
            }
        }
    }
}
