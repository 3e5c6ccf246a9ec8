//! Counting and finding bits in a string: words of 64 bits in the middle, masked bytes at both ends.

use std::ops::Range;

const BYTE_BITS: u64 = 8;
const WORD_BYTES: usize = 8;

/// How many of the bits in `range` are one. The range lies within `bytes`.
pub(super) fn count(bytes: &[u8], range: Range<u64>) -> u64 {
    let Some(pieces) = Pieces::of(bytes, range) else { return 0 };
    let ends = pieces.first & pieces.first_mask;
    let last = pieces.last & pieces.last_mask;
    u64::from(ends.count_ones() + last.count_ones()) + count_all(pieces.middle)
}

/// The first bit in `range` that is `bit`. The range lies within `bytes`.
pub(super) fn find(bytes: &[u8], bit: bool, range: Range<u64>) -> Option<u64> {
    let start = range.start / BYTE_BITS * BYTE_BITS;
    let pieces = Pieces::of(bytes, range)?;
    // A search for zeros is one for ones in the complement.
    let flip = if bit { 0 } else { u8::MAX };
    let leading = |byte: u8| u64::from(byte.leading_zeros());
    let first = (pieces.first ^ flip) & pieces.first_mask;
    if first != 0 {
        return Some(start + leading(first));
    }
    let start = start + BYTE_BITS;
    if let Some((index, byte)) = find_byte(pieces.middle, flip) {
        return Some(start + index as u64 * BYTE_BITS + leading(byte ^ flip));
    }
    let last = (pieces.last ^ flip) & pieces.last_mask;
    (last != 0).then(|| start + pieces.middle.len() as u64 * BYTE_BITS + leading(last))
}

/// A range of bits as whole bytes between two of which only some bits count.
struct Pieces<'a> {
    first: u8,
    first_mask: u8,
    middle: &'a [u8],
    last: u8,
    /// Nothing if the range ends in its first byte.
    last_mask: u8,
}

impl<'a> Pieces<'a> {
    /// `None` if the range is empty or does not lie within `bytes`.
    fn of(bytes: &'a [u8], range: Range<u64>) -> Option<Pieces<'a>> {
        let end = range.end.checked_sub(1).filter(|end| range.start <= *end)?;
        let at = |bit: u64| usize::try_from(bit / BYTE_BITS).ok();
        let whole = bytes.get(at(range.start)?..=at(end)?)?;
        let from = u8::MAX >> (range.start % BYTE_BITS);
        let until = u8::MAX << (BYTE_BITS - 1 - end % BYTE_BITS);
        match *whole {
            [only] => {
                Some(Pieces { first: only, first_mask: from & until, middle: &[], last: 0, last_mask: 0 })
            }
            [first, ref middle @ .., last] => {
                Some(Pieces { first, first_mask: from, middle, last, last_mask: until })
            }
            [] => None,
        }
    }
}

/// Ones among all bits. A plain sum over words: compilers turn it into vector code that keeps up with memory.
fn count_all(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
    let words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let rest: u64 = rest.iter().map(|byte| u64::from(byte.count_ones())).sum();
    words + rest
}

/// The first byte that is not `fill`, and where it stands.
fn find_byte(bytes: &[u8], fill: u8) -> Option<(usize, u8)> {
    let (words, _) = bytes.as_chunks::<WORD_BYTES>();
    let skipped = words.iter().position(|word| *word != [fill; WORD_BYTES]).unwrap_or(words.len());
    let from = skipped * WORD_BYTES;
    let rest = bytes.get(from..).unwrap_or_default();
    let (index, byte) = rest.iter().enumerate().find(|(_, byte)| **byte != fill)?;
    Some((from + index, *byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    fn is_one(bytes: &[u8], bit: u64) -> bool {
        bytes[(bit / 8) as usize] & (128 >> (bit % 8)) != 0
    }

    /// Strings in which runs of equal bytes are as frequent as they are in bitmaps.
    fn random_bytes(random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        while random.chance(0.9) {
            let byte = [0, u8::MAX, random.next_u64() as u8][random.below(3) as usize];
            bytes.extend(std::iter::repeat_n(byte, random.below(40) as usize));
        }
        bytes
    }

    #[test]
    fn counts_and_finds_what_a_look_at_every_bit_does() {
        let mut random = Random::seeded(1);
        for _ in 0..3_000 {
            let bytes = random_bytes(&mut random);
            let bits = bytes.len() as u64 * 8;
            let start = random.below(bits + 1);
            let range = start..start + random.below(bits - start + 1);
            let expected = range.clone().filter(|bit| is_one(&bytes, *bit)).count() as u64;
            assert_eq!(count(&bytes, range.clone()), expected, "{range:?} of {bytes:?}");
            for wanted in [false, true] {
                let expected = range.clone().find(|bit| is_one(&bytes, *bit) == wanted);
                assert_eq!(find(&bytes, wanted, range.clone()), expected, "{wanted} {range:?} of {bytes:?}");
            }
        }
    }

    #[test]
    fn ranges_beyond_the_string_are_empty() {
        assert_eq!(count(b"", 0..0), 0);
        assert_eq!(count(b"\xff", 0..9), 0);
        assert_eq!(find(b"\xff", true, 8..9), None);
    }
}
