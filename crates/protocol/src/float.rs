//! Floating-point numbers as Redis reads and writes them.
//!
//! Redis writes a double in two ways, and both are kept:
//! - [`format_double`] is `d2string` (scores, RESP3 doubles): the shortest digits that read back as the same
//!   number, laid out as the `fpconv` library does, with an exponent for very large and very small numbers.
//! - [`format_long_double_human`] is `ld2string` in its human mode (INCRBYFLOAT, HINCRBYFLOAT): never an
//!   exponent, at most 17 digits after the point, no trailing zeros.
//!
//! The second is meant for an 80-bit long double, which this language does not have. Written with 17 decimals
//! a 64-bit 10.6 would come out as 10.59999999999999964, so the shortest digits that read back are written
//! instead; for numbers that people type, that is what Redis shows. Sums are another matter: 0.1 + 0.2 is 0.3
//! in 80 bits and 0.30000000000000004 in 64. [`add_floats`] therefore adds the two decimal texts exactly
//! whenever they fit 20 digits before and 17 after the point, and falls back to 64-bit addition outside of
//! that.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::error::FloatError;
use crate::limits::FLOAT_BYTES_MAX;

/// Digits after the point of the human form.
const HUMAN_DECIMALS: usize = 17;
/// 10^[`HUMAN_DECIMALS`]: the unit of exact sums.
const HUMAN_UNIT: u128 = 10u128.pow(17);
/// Operands of an exact sum stay below this many units, so that two of them fit `i128` with room to spare.
const EXACT_UNITS_MAX: u128 = 10u128.pow(37);
/// Whole doubles within this bound are written as integers, as Redis's `double2ll` does (2^62).
const WHOLE_MAX: f64 = (1u64 << 62) as f64;
/// Longest text that a double is written as: sign, 17 digits, point, `e-308`, with room to spare.
pub(crate) const DOUBLE_BYTES_MAX: usize = 40;

const _: () = assert!(EXACT_UNITS_MAX < (i128::MAX as u128) / 2);

/// The number that `text` writes: decimal with optional sign, point and exponent, hexadecimal (`0x1.8p3`), or
/// `inf`/`infinity` in any case.
///
/// `None` for anything else, `nan` included, and, as with Redis's use of `strtod`, for a number too large or
/// too small to be told from infinity or zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    if text.len() > FLOAT_BYTES_MAX {
        return None;
    }
    if let Some(value) = parse_hexadecimal(text) {
        return Some(value);
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let spelled = text.iter().any(|byte| matches!(byte, b'i' | b'I'));
    let mantissa = text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    let overflowed = value.is_infinite() && !spelled;
    let underflowed = value == 0.0 && mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    (!value.is_nan() && !overflowed && !underflowed).then_some(value)
}

/// Sign, `0x`, digits with an optional point, and an optional binary exponent, as strtod(3) reads them; up to 15 digits, which a
/// double holds without rounding or nearly so.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let (sign, text) = match text {
        [b'-', rest @ ..] => (-1.0, rest),
        [b'+', rest @ ..] => (1.0, rest),
        rest => (1.0, rest),
    };
    let [b'0', b'x' | b'X', text @ ..] = text else { return None };
    let mut parts = text.splitn(2, |byte| matches!(byte, b'p' | b'P'));
    let mantissa = parts.next()?;
    let mut exponent: i32 = match parts.next() {
        Some(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        None => 0,
    };
    let (mut value, mut digits, mut after_point) = (0_u64, 0, false);
    for byte in mantissa {
        if *byte == b'.' && !after_point {
            after_point = true;
            continue;
        }
        value = value.checked_mul(16)?.checked_add(u64::from(char::from(*byte).to_digit(16)?))?;
        digits += 1;
        exponent = exponent.checked_sub(if after_point { 4 } else { 0 })?;
    }
    let value = value as f64 * 2_f64.powi(exponent);
    (digits > 0 && value.is_finite()).then_some(sign * value)
}

/// Appends `value` as Redis 7.2's `d2string` writes it: `3`, `0.1`, `1e+21`, `inf`, `-inf`, `nan`.
pub fn format_double(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(DoubleText::new(value).as_bytes());
}

/// Appends `value` without exponent and without trailing zeros: `10.6`, `5000`, `3`. See the module's essay.
pub fn format_long_double_human(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return format_double(value, out);
    }
    let start = out.len();
    write!(out, "{value}").expect("a vector takes any bytes");
    let written = out.get(start..).unwrap_or_default();
    let decimals = memchr::memchr(b'.', written).map_or(0, |point| written.len() - point - 1);
    if decimals > HUMAN_DECIMALS {
        out.truncate(start);
        write!(out, "{value:.HUMAN_DECIMALS$}").expect("a vector takes any bytes");
        trim_fraction(out);
    }
    if out.get(start..) == Some(b"-0") {
        out.truncate(start);
        out.push(b'0');
    }
}

/// Appends the sum of two numbers, given and written as texts, the way INCRBYFLOAT and HINCRBYFLOAT do.
///
/// # Errors
/// If one text is not a number, or the sum is not finite; nothing is appended then.
pub fn add_floats(current: &[u8], increment: &[u8], out: &mut Vec<u8>) -> Result<(), FloatError> {
    let left = parse_f64(current).ok_or(FloatError::NotFloat)?;
    let right = parse_f64(increment).ok_or(FloatError::NotFloat)?;
    let sum = left + right;
    if !sum.is_finite() {
        return Err(FloatError::NotFinite);
    }
    match (exact_units(current), exact_units(increment)) {
        (Some(left), Some(right)) => format_units(left + right, out),
        _ => format_long_double_human(sum, out),
    }
    Ok(())
}

/// A valid decimal text as a number of 10^-17, if it is one exactly and not too large.
fn exact_units(text: &[u8]) -> Option<i128> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut parts = text.splitn(2, |byte| matches!(byte, b'e' | b'E'));
    let mantissa = parts.next()?;
    let exponent: i64 = match parts.next() {
        Some(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        None => 0,
    };
    let mut units: u128 = 0;
    let mut decimals: i64 = 0;
    let mut after_point = false;
    for byte in mantissa {
        match byte {
            b'.' => after_point = true,
            b'0'..=b'9' => {
                units = units.checked_mul(10)?.checked_add(u128::from(byte - b'0'))?;
                decimals += i64::from(after_point);
            }
            _ => return None,
        }
    }
    if units == 0 {
        return Some(0);
    }
    let shift = exponent.checked_add(17)?.checked_sub(decimals)?;
    let factor = 10u128.checked_pow(u32::try_from(shift.unsigned_abs()).ok()?)?;
    let units = if shift >= 0 {
        units.checked_mul(factor)?
    } else if units.is_multiple_of(factor) {
        units / factor
    } else {
        return None;
    };
    let units = i128::try_from(units).ok().filter(|units| units.unsigned_abs() < EXACT_UNITS_MAX)?;
    Some(if negative { -units } else { units })
}

fn format_units(units: i128, out: &mut Vec<u8>) {
    let sign = if units < 0 { "-" } else { "" };
    let (whole, fraction) = (units.unsigned_abs() / HUMAN_UNIT, units.unsigned_abs() % HUMAN_UNIT);
    write!(out, "{sign}{whole}.{fraction:0HUMAN_DECIMALS$}").expect("a vector takes any bytes");
    trim_fraction(out);
}

/// Removes the trailing zeros of a text with a decimal point, and the point when nothing follows it.
fn trim_fraction(out: &mut Vec<u8>) {
    while out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
}

/// The text of a double, on the stack: a RESP2 reply needs its length before its bytes.
pub(crate) struct DoubleText {
    bytes: [u8; DOUBLE_BYTES_MAX],
    len: usize,
}

impl DoubleText {
    /// The text of `value`.
    pub(crate) fn new(value: f64) -> DoubleText {
        let mut text = DoubleText { bytes: [0; DOUBLE_BYTES_MAX], len: 0 };
        text.write(value).expect("the longest double fits the buffer");
        text
    }

    /// The bytes written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn write(&mut self, value: f64) -> std::fmt::Result {
        if value.is_nan() {
            self.write_str("nan")
        } else if value.is_infinite() {
            self.write_str(if value < 0.0 { "-inf" } else { "inf" })
        } else if value == 0.0 {
            self.write_str(if value.is_sign_negative() { "-0" } else { "0" })
        } else if value.abs() <= WHOLE_MAX && value.trunc() == value {
            self.write_str(itoa::Buffer::new().format(value as i64))
        } else {
            self.write_shortest(value)
        }
    }

    /// Lays the shortest digits out as `emit_digits` of fpconv does.
    fn write_shortest(&mut self, value: f64) -> std::fmt::Result {
        // The language writes the shortest digits as "d.ddde-dd"; only the layout differs.
        let mut scientific = DoubleText { bytes: [0; DOUBLE_BYTES_MAX], len: 0 };
        write!(scientific, "{:e}", value.abs())?;
        let text = std::str::from_utf8(scientific.as_bytes()).map_err(|_| std::fmt::Error)?;
        let (mantissa, exponent) = text.split_once('e').ok_or(std::fmt::Error)?;
        let (head, tail) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i32 = exponent.parse().map_err(|_| std::fmt::Error)?;
        let digits = i32::try_from(head.len() + tail.len()).map_err(|_| std::fmt::Error)?;
        // The value is the digits taken as one integer, times ten to this power.
        let power = exponent - digits + 1;

        if value < 0.0 {
            self.write_str("-")?;
        }
        if power >= 0 && exponent.abs() < digits + 7 {
            write!(self, "{head}{tail}{:0<1$}", "", usize::try_from(power).unwrap_or_default())
        } else if power < 0 && exponent < 0 && (power > -7 || exponent.abs() < 4) {
            let zeros = usize::try_from(-exponent - 1).unwrap_or_default();
            write!(self, "0.{:0<zeros$}{head}{tail}", "")
        } else if power < 0 && (power > -7 || exponent.abs() < 4) {
            let (whole, fraction) = tail.split_at(usize::try_from(exponent).unwrap_or_default());
            write!(self, "{head}{whole}.{fraction}")
        } else {
            let point = if tail.is_empty() { "" } else { "." };
            write!(self, "{head}{point}{tail}e{exponent:+}")
        }
    }
}

impl std::fmt::Write for DoubleText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_double(value: f64, expect: &str) {
        assert_eq!(std::str::from_utf8(DoubleText::new(value).as_bytes()), Ok(expect), "{value:e}");
    }

    fn check_human(value: f64, expect: &str) {
        let mut out = b"x".to_vec();
        format_long_double_human(value, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("x{expect}"), "{value:e}");
    }

    fn check_sum(current: &str, increment: &str, expect: Result<&str, FloatError>) {
        let mut out = b"x".to_vec();
        let result = add_floats(current.as_bytes(), increment.as_bytes(), &mut out);
        let text = String::from_utf8_lossy(out.get(1..).unwrap_or_default()).into_owned();
        assert_eq!(result.map(|()| text.as_str()), expect, "{current} + {increment}");
    }

    #[test]
    fn doubles_are_written_as_redis_writes_them() {
        for (value, expect) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (3.1, "3.1"),
            (-1.5, "-1.5"),
            (1234.5678, "1234.5678"),
            (0.000001, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (0.00012345, "1.2345e-4"),
            (0.0012345678901234, "0.0012345678901234"),
            (123456.789012, "123456.789012"),
            (1706492816.123456, "1706492816.123456"),
            // Seven decimals or more from 10,000 on: an exponent, surprising but Redis's.
            (12345.678901234567, "1.2345678901234567e+4"),
            (1e17, "100000000000000000"),
            (4611686018427387904.0, "4611686018427387904"),
            (9223372036854775808.0, "9223372036854776000"),
            (1e21, "1e+21"),
            (-1.25e100, "-1.25e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-f64::MIN_POSITIVE, "-2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            check_double(value, expect);
        }
    }

    #[test]
    fn human_form_has_no_exponent() {
        for (value, expect) in [
            (10.5 + 0.1, "10.6"),
            (5.0e3, "5000"),
            (3.0, "3"),
            (-0.0, "0"),
            (1e-20, "0"),
            (-1e-20, "0"),
            (1.5e-16, "0.00000000000000015"),
            (1e22, "10000000000000000000000"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            check_human(value, expect);
        }
    }

    #[test]
    fn sums_are_exact_decimals() {
        check_sum("10.5", "0.1", Ok("10.6"));
        check_sum("0.1", "0.2", Ok("0.3"));
        check_sum("5.0e3", "2.0e2", Ok("5200"));
        check_sum("3.0", "0", Ok("3"));
        check_sum("-1.5", "+1.25", Ok("-0.25"));
        check_sum("-.5", "5.e-1", Ok("0"));
        check_sum("1", "1e-17", Ok("1.00000000000000001"));
        check_sum("9007199254740993", "1", Ok("9007199254740994"));
        check_sum("1.000000000000000000000000", "1", Ok("2"));
        check_sum("1e30", "1", Ok("1000000000000000000000000000000"));
        check_sum("1e-30", "0", Ok("0"));
        check_sum("abc", "1", Err(FloatError::NotFloat));
        check_sum("1", " 1", Err(FloatError::NotFloat));
        check_sum("inf", "1", Err(FloatError::NotFinite));
        check_sum("inf", "-inf", Err(FloatError::NotFinite));
        check_sum("1.7e308", "1.7e308", Err(FloatError::NotFinite));
    }

    #[test]
    fn floats_are_read_strictly() {
        for (text, expect) in [
            ("0", 0.0),
            ("-3.5", -3.5),
            ("+2", 2.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-3", 0.001),
            ("0e5", 0.0),
            ("0x10", 16.0),
            ("-0X1.8p3", -12.0),
            ("0x.8", 0.5),
            ("inf", f64::INFINITY),
            ("-INF", f64::NEG_INFINITY),
            ("+Infinity", f64::INFINITY),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(expect), "{text}");
        }
        let long = "1".repeat(FLOAT_BYTES_MAX + 1);
        for text in [
            "", " 1", "1 ", "nan", "-NaN", "1e", "e1", ".", "1.2.3", "1e400", "1e-400", "abc", "1\0", "0x",
            "0x1.2.3", "0xg", &long,
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }
}
