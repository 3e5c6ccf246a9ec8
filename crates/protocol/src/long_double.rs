//! Doubles written as Redis writes them after it has made a `long double` of them: all digits of the binary number count.
//!
//! These are the forms of `ld2string`. [`format_long_double`] is `%.17Lg` (the scores of ZSCAN), [`format_long_double_fixed`]
//! is `%.17Lf` without the zeros at its end (coordinates). A double is exact as a long double, so the texts are exactly
//! those of Redis; what is computed in long doubles is another matter, see [`crate::add_floats`].

use crate::float::format_double;
use std::io::Write as _;

/// Digits that `%.17Lg` shows, and decimals of `%.17Lf`.
const PRECISION: usize = 17;
/// Below this power of ten `%g` turns to an exponent.
const FIXED_EXPONENT_MIN: i32 = -4;
const WRITTEN: &str = "a vector takes any bytes";

/// Appends `value` with 17 significant digits, fewer if the last are zeros: `0.10000000000000001`, `1e+20`, `-inf`.
pub fn format_long_double(value: f64, out: &mut Vec<u8>) {
    if value == 0.0 || !value.is_finite() {
        return format_double(value, out);
    }
    let scientific = format!("{value:.*e}", PRECISION - 1);
    let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    let decimals = PRECISION as i32 - 1 - exponent;
    if exponent >= FIXED_EXPONENT_MIN && decimals >= 0 {
        let text = format!("{value:.*}", decimals as usize);
        out.extend_from_slice(without_zeros(&text).as_bytes());
    } else {
        write!(
            out,
            "{}e{}{:02}",
            without_zeros(digits),
            if exponent < 0 { '-' } else { '+' },
            exponent.abs()
        )
        .expect(WRITTEN);
    }
}

/// Appends `value` with at most 17 decimals and no exponent: `13.36138933897018433`, `5`, `0`.
pub fn format_long_double_fixed(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return format_double(value, out);
    }
    let text = format!("{value:.PRECISION$}");
    let text = without_zeros(&text);
    out.extend_from_slice(if text == "-0" { b"0" } else { text.as_bytes() });
}

/// The number without the zeros at the end of its fraction.
fn without_zeros(number: &str) -> &str {
    if !number.contains('.') {
        return number;
    }
    let number = number.trim_end_matches('0');
    number.strip_suffix('.').unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(format: fn(f64, &mut Vec<u8>), value: f64) -> String {
        let mut out = Vec::new();
        format(value, &mut out);
        String::from_utf8(out).expect("digits")
    }

    /// Expected texts are what `printf` of the GNU C library writes.
    #[test]
    fn significant_digits() {
        for (value, expected) in [
            (0.1, "0.10000000000000001"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (3.3333333333333335, "3.3333333333333335"),
            (99999999999999999.0, "1e+17"),
            (1e300, "1.0000000000000001e+300"),
            (f64::INFINITY, "inf"),
            (-0.0, "-0"),
        ] {
            assert_eq!(text(format_long_double, value), expected);
        }
    }

    #[test]
    fn decimals() {
        for (value, expected) in [
            (13.361389338970184, "13.36138933897018433"),
            (0.1, "0.10000000000000001"),
            (-180.0, "-180"),
            (1e-20, "0"),
            (-1e-20, "0"),
            (0.5, "0.5"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(text(format_long_double_fixed, value), expected);
        }
    }
}
