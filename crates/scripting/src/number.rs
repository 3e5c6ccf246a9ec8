//! Numbers as C reads, writes and casts them, where that shows in a script's results.

use std::io::Write as _;

/// Appends `value` as C's `%.<precision>g` writes it.
pub(crate) fn format_g(value: f64, precision: usize, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(if value.is_sign_negative() { b"-nan" } else { b"nan" });
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    }
    let precision = precision.max(1);
    // One digit before the point and the rest behind it, correctly rounded: "-1.2345e-7".
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let written = if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
    } else {
        let decimals = usize::try_from(precision as i32 - 1 - exponent).unwrap_or(0);
        write!(out, "{}", without_zeros(&format!("{value:.decimals$}")))
    };
    written.expect("a vector takes any bytes");
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// The number that `text` begins with and how many bytes it takes, as C's `strtod` finds it: decimal, hexadecimal,
/// infinity and NaN, with sign, without blanks before.
pub(crate) fn parse_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let (negative, signed) = match text.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let digits = text.get(signed..).unwrap_or_default();
    let (value, taken) =
        parse_hexadecimal(digits).or_else(|| parse_special(digits)).or_else(|| parse_decimal(digits))?;
    Some((if negative { -value } else { value }, signed + taken))
}

fn parse_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let whole = count(text, 0, u8::is_ascii_digit);
    let mut end = whole;
    let mut digits = whole;
    if text.get(end) == Some(&b'.') {
        let fraction = count(text, end + 1, u8::is_ascii_digit);
        digits += fraction;
        end += 1 + fraction;
    }
    if digits == 0 {
        return None;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = count(text, end + 1 + sign, u8::is_ascii_digit);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(text.get(..end)?).ok()?;
    Some((number.parse().ok()?, end))
}

fn parse_special(text: &[u8]) -> Option<(f64, usize)> {
    let starts_with =
        |word: &[u8]| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    if starts_with(b"infinity") {
        Some((f64::INFINITY, 8))
    } else if starts_with(b"inf") {
        Some((f64::INFINITY, 3))
    } else if starts_with(b"nan") {
        Some((f64::NAN, 3 + nan_payload(text.get(3..).unwrap_or_default())))
    } else {
        None
    }
}

/// The length of a payload in parentheses, which is read and ignored.
fn nan_payload(text: &[u8]) -> usize {
    if text.first() != Some(&b'(') {
        return 0;
    }
    let inside = count(text, 1, |byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if text.get(1 + inside) == Some(&b')') { inside + 2 } else { 0 }
}

fn parse_hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    if !matches!(text, [b'0', b'x' | b'X', ..]) {
        return None;
    }
    let mut mantissa = Hexadecimal::default();
    let whole = count(text, 2, u8::is_ascii_hexdigit);
    mantissa.take(text.get(2..2 + whole)?, false);
    let mut end = 2 + whole;
    let mut digits = whole;
    if text.get(end) == Some(&b'.') {
        let fraction = count(text, end + 1, u8::is_ascii_hexdigit);
        mantissa.take(text.get(end + 1..end + 1 + fraction)?, true);
        digits += fraction;
        if digits > 0 {
            end += 1 + fraction;
        }
    }
    if digits == 0 {
        // Only the zero before the x is a number.
        return Some((0.0, 1));
    }
    let mut power = 0;
    if matches!(text.get(end), Some(b'p' | b'P')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = count(text, end + 1 + sign, u8::is_ascii_digit);
        if exponent > 0 {
            let written = std::str::from_utf8(text.get(end + 1..end + 1 + sign + exponent)?).ok()?;
            let limit = if written.starts_with('-') { -i64::from(i32::MAX) } else { i64::from(i32::MAX) };
            power = written.parse().unwrap_or(limit);
            end += 1 + sign + exponent;
        }
    }
    Some((mantissa.value(power), end))
}

/// The first sixteen significant digits of a hexadecimal mantissa; what follows decides only over halves.
#[derive(Default)]
struct Hexadecimal {
    bits: u64,
    power: i64,
    is_inexact: bool,
}

impl Hexadecimal {
    fn take(&mut self, digits: &[u8], is_fraction: bool) {
        for digit in digits {
            let value = (*digit as char).to_digit(16).unwrap_or(0);
            if self.bits >> 60 == 0 {
                self.bits = self.bits << 4 | u64::from(value);
                self.power -= if is_fraction { 4 } else { 0 };
            } else {
                self.is_inexact |= value != 0;
                self.power += if is_fraction { 0 } else { 4 };
            }
        }
    }

    fn value(&self, power: i64) -> f64 {
        let power = (self.power + power).clamp(-4_000, 4_000) as i32;
        let bits = self.bits | u64::from(self.is_inexact);
        // In two steps, so that a power beyond the range of a double meets a mantissa that brings it back.
        (bits as f64) * 2f64.powi(power / 2) * 2f64.powi(power - power / 2)
    }
}

fn count(text: &[u8], from: usize, is_part: impl Fn(&u8) -> bool) -> usize {
    text.get(from..).unwrap_or_default().iter().take_while(|byte| is_part(byte)).count()
}

/// C's cast of a double to a 64-bit integer as x86-64 carries it out: the smallest integer for what does not fit.
pub(crate) fn truncate(value: f64) -> i64 {
    // Two to the power of 63, the first double that does not fit.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&value) { value as i64 } else { i64::MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_g(value: f64, precision: usize, expect: &str) {
        let mut out = Vec::new();
        format_g(value, precision, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expect, "{value} with {precision}");
    }

    #[test]
    fn as_printf_writes() {
        for (value, expect) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (100_000.0, "100000"),
            (1e14, "1e+14"),
            (99_999_999_999_999.0, "99999999999999"),
            (999_999_999_999_999.0, "1e+15"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.0 / 3.0, "0.33333333333333"),
            (1e300, "1e+300"),
            (-2.5e-310, "-2.5e-310"),
            (f64::INFINITY, "inf"),
        ] {
            check_g(value, 14, expect);
        }
        check_g(2.34567, 3, "2.35");
        check_g(99.99, 3, "100");
        check_g(999.9, 3, "1e+03");
        check_g(5.0, 1, "5");
    }

    #[test]
    fn as_strtod_reads() {
        for (text, value, taken) in [
            ("12", 12.0, 2),
            ("-1.5e3,", -1500.0, 6),
            ("1e", 1.0, 1),
            ("1e+x", 1.0, 1),
            (".5", 0.5, 2),
            ("5.", 5.0, 2),
            ("0x10", 16.0, 4),
            ("-0x1.8p1]", -3.0, 8),
            ("0x", 0.0, 1),
            ("0xp1", 0.0, 1),
            ("0x1p", 1.0, 3),
            ("0x1p-1074", 5e-324, 9),
            ("infinity", f64::INFINITY, 8),
            ("-INF]", f64::NEG_INFINITY, 4),
            ("+7", 7.0, 2),
            ("1e999", f64::INFINITY, 5),
        ] {
            assert_eq!(parse_prefix(text.as_bytes()), Some((value, taken)), "{text}");
        }
        assert!(matches!(parse_prefix(b"nan(abc)x"), Some((value, 8)) if value.is_nan()));
        for text in ["", "-", ".", "e5", "+-1", "x", " 1"] {
            assert_eq!(parse_prefix(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn casts() {
        assert_eq!(truncate(-2.7), -2);
        assert_eq!(truncate(9.2e18), 9_200_000_000_000_000_000);
        for outside in [f64::NAN, f64::INFINITY, 1e19, -1e19] {
            assert_eq!(truncate(outside), i64::MIN);
        }
    }
}
