//! The integers of BITFIELD: how wide they are, what happens when they leave their range, where their bits stand.

use crate::error::{CommandError, Outcome};

const BAD_TYPE: CommandError = CommandError::Other(
    "Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);

/// Bytes that a field may touch: 64 bits that begin within a byte.
const FIELD_BYTES_MAX: usize = 9;

/// What happens to a result that is out of range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Overflow {
    /// Its upper bits are dropped.
    #[default]
    Wrap,
    /// It becomes the end of the range.
    Saturate,
    /// It is not stored.
    Fail,
}

/// The type of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IntegerType {
    /// 1 to 64, and at most 63 without a sign.
    bits: u32,
    signed: bool,
}

impl IntegerType {
    /// `i` or `u` and the number of bits.
    pub(super) fn parse(word: &[u8]) -> Outcome<IntegerType> {
        let (signed, bits, bits_max) = match word.split_first() {
            Some((b'i', bits)) => (true, bits, 64),
            Some((b'u', bits)) => (false, bits, 63),
            _ => return Err(BAD_TYPE),
        };
        let bits = protocol::parse_i64(bits).and_then(|bits| u32::try_from(bits).ok());
        let bits = bits.filter(|bits| (1..=bits_max).contains(bits)).ok_or(BAD_TYPE)?;
        Ok(IntegerType { bits, signed })
    }

    /// Its width.
    pub(super) fn bits(self) -> u32 {
        self.bits
    }

    /// The value whose lowest bits these are.
    fn truncate(self, value: i64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed { value << unused >> unused } else { ((value as u64) << unused >> unused) as i64 }
    }

    /// What a field holds after it is set to `value`, which may be out of range; `None`: what it held before.
    pub(super) fn set(self, value: i64, overflow: Overflow) -> Option<i64> {
        self.add(value, 0, overflow)
    }

    /// What a field that holds `value` holds after it is raised by `increment`; `None`: the same as before.
    ///
    /// The order of the comparisons, and that differences wrap, is that of Redis's `checkSignedBitfieldOverflow`: a
    /// value that is set far below the range saturates at the upper end.
    pub(super) fn add(self, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        let (above, below) = if self.signed {
            self.leaves_signed(value, increment)
        } else {
            self.leaves_unsigned(value, increment)
        };
        let (min, max) = self.range();
        match overflow {
            _ if !above && !below => Some(value.wrapping_add(increment)),
            Overflow::Wrap => Some(self.truncate(value.wrapping_add(increment))),
            Overflow::Saturate => Some(if above { max } else { min }),
            Overflow::Fail => None,
        }
    }

    fn range(self) -> (i64, i64) {
        match self.signed {
            true => (i64::MIN >> (64 - self.bits), i64::MAX >> (64 - self.bits)),
            false => (0, i64::MAX >> (63 - self.bits)),
        }
    }

    fn leaves_signed(self, value: i64, increment: i64) -> (bool, bool) {
        let (min, max) = self.range();
        let (up, down) = (max.wrapping_sub(value), min.wrapping_sub(value));
        let above = value > max || (increment > up && (self.bits != 64 || (value >= 0 && increment > 0)));
        let below = value < min || (increment < down && (self.bits != 64 || (value < 0 && increment < 0)));
        (above, below)
    }

    /// A negative value counts as the large one that has its bits.
    fn leaves_unsigned(self, value: i64, increment: i64) -> (bool, bool) {
        let (_, max) = self.range();
        let too_large = !(0..=max).contains(&value);
        let above = too_large || (increment > 0 && increment > max - value);
        (above, !above && increment < 0 && increment < -value)
    }

    /// The value of the field that begins `shift` bits into the window.
    pub(super) fn read(self, window: Window, shift: u32) -> i64 {
        let bits = (window.0 << shift) >> (u128::BITS - self.bits);
        self.truncate(bits as i64)
    }

    /// The window with this value in the field.
    pub(super) fn write(self, window: Window, shift: u32, value: i64) -> Window {
        let unused = u128::BITS - self.bits;
        let mask = (u128::MAX << unused) >> shift;
        let bits = (u128::from(value as u64) << unused) >> shift;
        Window((window.0 & !mask) | bits)
    }

    /// Bytes of which a field that begins `shift` bits into the first has some.
    pub(super) fn span_bytes(self, shift: u32) -> usize {
        (shift + self.bits).div_ceil(8) as usize
    }
}

/// The bytes around a field, the first one highest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window(u128);

impl Window {
    /// The bytes from `at` on; behind the end of the string there are zeros.
    pub(super) fn of(string: &[u8], at: usize) -> Window {
        let here = string.get(at..).unwrap_or_default();
        let here = &here[..here.len().min(FIELD_BYTES_MAX)];
        let mut window = [0; size_of::<u128>()];
        window[..here.len()].copy_from_slice(here);
        Window(u128::from_be_bytes(window))
    }

    /// The bytes again.
    pub(super) fn to_bytes(self) -> [u8; size_of::<u128>()] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    fn of(text: &str) -> IntegerType {
        IntegerType::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn types_as_redis_reads_them() {
        assert_eq!(of("i64"), IntegerType { bits: 64, signed: true });
        assert_eq!(of("u63"), IntegerType { bits: 63, signed: false });
        for text in ["u64", "i65", "i0", "u-1", "U8", "8", "", "i", "i08", "i 8"] {
            assert_eq!(IntegerType::parse(text.as_bytes()), Err(BAD_TYPE), "{text}");
        }
    }

    /// Redis's answers, see the type's documentation for the odd one.
    #[test]
    fn results_out_of_range() {
        use Overflow::{Fail, Saturate, Wrap};
        assert_eq!(of("i8").add(100, 50, Wrap), Some(-106));
        assert_eq!(of("i8").add(100, 50, Saturate), Some(127));
        assert_eq!(of("i8").add(-100, -50, Saturate), Some(-128));
        assert_eq!(of("i8").add(100, 50, Fail), None);
        assert_eq!(of("u8").add(200, 60, Wrap), Some(4));
        assert_eq!(of("u8").add(200, -201, Wrap), Some(255));
        assert_eq!(of("u8").add(200, -201, Saturate), Some(0));
        assert_eq!(of("u8").set(-5, Saturate), Some(255));
        assert_eq!(of("i64").add(i64::MAX, 1, Saturate), Some(i64::MAX));
        assert_eq!(of("i64").add(i64::MIN, -1, Wrap), Some(i64::MAX));
        assert_eq!(of("i64").add(-1, i64::MAX, Fail), Some(i64::MAX - 1));
        assert_eq!(of("u63").add(i64::MAX, 1, Wrap), Some(0));
        assert_eq!(of("i8").set(-1_000, Saturate), Some(-128));
        assert_eq!(of("i8").set(i64::MIN, Saturate), Some(127));
    }

    /// Increments against arithmetic that cannot overflow.
    #[test]
    fn sums_as_in_wider_arithmetic() {
        let mut random = Random::seeded(3);
        for _ in 0..20_000 {
            let signed = random.chance(0.5);
            let bits = 1 + random.below(if signed { 64 } else { 63 }) as u32;
            let kind = IntegerType { bits, signed };
            let value = kind.truncate(random.next_u64() as i64);
            let increment = random.next_u64() as i64 >> random.below(64);
            let sum = i128::from(value) + i128::from(increment);
            let (min, max) = kind.range();
            let clamped = sum.clamp(i128::from(min), i128::from(max));
            let context = format!("{kind:?} {value} {increment}");
            assert_eq!(kind.add(value, increment, Overflow::Saturate), Some(clamped as i64), "{context}");
            assert_eq!(kind.add(value, increment, Overflow::Fail).is_some(), clamped == sum, "{context}");
            let wrapped = kind.add(value, increment, Overflow::Wrap).expect("it wraps");
            assert_eq!((i128::from(wrapped) - sum) & ((1 << bits) - 1), 0, "{context}");
            assert!((min..=max).contains(&wrapped), "{context}");
        }
    }

    #[test]
    fn fields_are_read_as_written_and_leave_the_rest_alone() {
        let mut random = Random::seeded(4);
        for _ in 0..5_000 {
            let signed = random.chance(0.5);
            let bits = 1 + random.below(if signed { 64 } else { 63 }) as u32;
            let kind = IntegerType { bits, signed };
            let mut string = vec![0; random.below(12) as usize];
            random.fill(&mut string);
            let (window, shift) = (Window::of(&string, 1), random.below(8) as u32);
            let value = kind.truncate(random.next_u64() as i64);
            let written = kind.write(window, shift, value);
            assert_eq!(kind.read(written, shift), value);
            assert_eq!(kind.write(written, shift, kind.read(window, shift)), window);
            let span = kind.span_bytes(shift);
            assert_eq!(written.to_bytes()[span..], window.to_bytes()[span..]);
        }
    }
}
