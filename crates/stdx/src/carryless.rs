//! Slots by carry-less multiplication, where the processor has it.
//!
//! The sum of a text of 128 bits is the remainder of a polynomial over two elements, times x^16, by P = x^16 + x^12 + x^5 + 1.
//! The remainder follows from the quotient's lowest 16 bits q alone, since the text times x^16 has none there:
//! q * P = q ^ q << 5 ^ q << 12, as far as 16 bits go. And q is what the text times the series 1/P gives at these places, the text
//! being two words and the series 144 digits ([`SERIES`] and above). Three products that do not wait for each other take
//! the place of sixteen look-ups in tables.
//!
//! The idea is Barrett's, for polynomials: Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
//! Instruction", Intel, 2009. `unsafe`, because a processor without the instruction must not meet it.
#![allow(unsafe_code)]

/// Digits of the quotient of x^n by P, as far as they fit: the highest is the one at x^(n - 16).
const fn quotient(n: u32) -> u128 {
    let (mut rest, mut digits, mut at) = (1u32, 0u128, 0);
    // Long division: `rest` holds the 17 digits that are looked at.
    while at < n {
        rest <<= 1;
        digits <<= 1;
        if rest & 0x1_0000 != 0 {
            rest ^= 0x1_1021;
            digits |= 1;
        }
        at += 1;
    }
    digits
}

/// The series 1/P from its first digit on, which is that of x^-16: for the lower word of a text, whose own digits stand for the
/// first, and the second half of it.
const SERIES: u64 = quotient(80) as u64;
/// The same 64 digits later: for the upper word.
const SERIES_LATER: u64 = quotient(144) as u64;
/// The sixteen digits before those.
const SERIES_BETWEEN: u64 = (quotient(144) >> 64) as u64 & 0xffff;

/// [`crate::crc16::crc16`] of the sixteen bytes that are `high` and `low` as big-endian words; `None` if the processor cannot
/// multiply so.
#[inline(always)]
pub(crate) fn sum(high: u64, low: u64) -> Option<u16> {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if std::arch::is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the processor has just said that it has the instruction.
        return Some(unsafe { multiply(high, low) });
    }
    let _ = (high, low);
    None
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "pclmulqdq")]
fn multiply(high: u64, low: u64) -> u16 {
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_unpackhi_epi64,
        _mm_xor_si128,
    };
    let series = _mm_set_epi64x(SERIES_LATER.cast_signed(), SERIES.cast_signed());
    let between = _mm_cvtsi64_si128(SERIES_BETWEEN.cast_signed());
    let (upper, lower) = (_mm_cvtsi64_si128(high.cast_signed()), _mm_cvtsi64_si128(low.cast_signed()));
    let products = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x00>(lower, series),
        _mm_clmulepi64_si128::<0x10>(upper, series),
    );
    let shifted = _mm_clmulepi64_si128::<0x00>(upper, between);
    let both = _mm_xor_si128(_mm_unpackhi_epi64(products, products), shifted);
    let quotient = _mm_cvtsi128_si64(both) as u16 ^ low as u16;
    quotient ^ quotient << 5 ^ quotient << 12
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crc16::crc16;
    use crate::random::Random;

    #[test]
    fn agrees_with_the_tables() {
        let mut random = Random::seeded(5);
        let edges = [0, 1, 1 << 15, 1 << 16, 1 << 63, u64::MAX];
        let pairs = edges.iter().flat_map(|high| edges.map(|low| (*high, low)));
        let others: Vec<_> = (0..20_000).map(|_| (random.next_u64(), random.next_u64())).collect();
        for (high, low) in pairs.chain(others) {
            let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
            assert!(sum(high, low).is_none_or(|sum| sum == crc16(&bytes)), "{high:x} {low:x}");
        }
    }

    #[test]
    fn the_series_is_the_quotient() {
        assert_eq!(
            (SERIES, SERIES_LATER, SERIES_BETWEEN),
            (0x1130_3471_a041_b343, 0xe569_d503_417c_a4a2, 0xb343)
        );
    }
}
