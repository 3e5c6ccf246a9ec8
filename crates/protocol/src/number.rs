//! Integers as Redis reads them.
//!
//! Redis's rule (`string2ll`) is that a text is an integer only if writing the integer gives the text back:
//! no plus sign, no leading zeros, no blanks, no negative zero. Length lines, integer-encoded values and
//! integer arguments all follow it.

/// Digits that [`short_length`] reads; longer numbers take the general way.
const SHORT_DIGITS_MAX: usize = 10;
/// Digits of the largest `i64`.
const DIGITS_MAX: usize = 19;

/// The integer that `text` is the one way to write, over the whole range of `i64`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] => return if negative { None } else { Some(0) },
        [b'0', ..] => return None,
        _ if digits.len() > DIGITS_MAX => return None,
        _ => {}
    }
    // Nineteen nines fit u64, so the loop cannot overflow.
    let mut magnitude: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads a complete `<kind><digits>\r\n` line of up to ten digits: the number, and where the next line
/// starts.
///
/// `None` means "not that simple": partial, longer, negative, malformed or of another kind. The byte after
/// the `\r` has arrived but was not looked at.
#[inline]
pub(crate) fn short_length(line: &[u8], kind: u8) -> Option<(usize, usize)> {
    // Nearly all lengths have one to three digits, and nearly all lines are followed by enough bytes to read eight at once.
    if let Some([first, a, b, c, d, ..]) = line.first_chunk::<8>()
        && *first == kind
    {
        let digit = |byte: &u8| usize::from(byte.wrapping_sub(b'0'));
        let (hundreds, tens, ones) = (digit(a), digit(b), digit(c));
        if *b == b'\r' && hundreds <= 9 {
            return Some((hundreds, 4));
        }
        if (1..=9).contains(&hundreds) && tens <= 9 {
            if *c == b'\r' {
                return Some((hundreds * 10 + tens, 5));
            }
            if *d == b'\r' && ones <= 9 {
                return Some((hundreds * 100 + tens * 10 + ones, 6));
            }
        }
    }
    any_short_length(line, kind)
}

/// [`short_length`] of any number of digits, and near the end of the buffer.
fn any_short_length(line: &[u8], kind: u8) -> Option<(usize, usize)> {
    let (first, digits) = line.split_first()?;
    if *first != kind {
        return None;
    }
    if let [digit @ b'0'..=b'9', b'\r', _, ..] = digits {
        return Some((usize::from(digit - b'0'), 4));
    }
    if !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut value = 0;
    for (index, byte) in digits.iter().take(SHORT_DIGITS_MAX + 1).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            // The kind, the digits and the two bytes of the line's end.
            let next = index + 3;
            return (*byte == b'\r' && line.len() >= next).then_some((value, next));
        }
        if index == SHORT_DIGITS_MAX {
            return None;
        }
        value = value * 10 + usize::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_strict() {
        for value in [0, 1, -1, 9, 10, -10, 1_234_567_890_123, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1]
        {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-01",
            "-0",
            "00",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "1a",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "18446744073709551616",
            "1\0",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn short_lengths() {
        assert_eq!(short_length(b"$0\r\n", b'$'), Some((0, 4)));
        assert_eq!(short_length(b"$5\r\nhello", b'$'), Some((5, 4)));
        assert_eq!(short_length(b"*12\r\n", b'*'), Some((12, 5)));
        assert_eq!(short_length(b"$0\r\n\r\n$3\r\n", b'$'), Some((0, 4)));
        assert_eq!(short_length(b"$42\r\nhello", b'$'), Some((42, 5)));
        assert_eq!(short_length(b"$987\r\nhello", b'$'), Some((987, 6)));
        assert_eq!(short_length(b"$1024\r\nhello", b'$'), Some((1_024, 7)));
        assert_eq!(short_length(b"$1234567890\r\n", b'$'), Some((1_234_567_890, 13)));
        for line in [
            "",
            "$",
            "$1",
            "$1\r",
            "$12\r",
            "$\r\n",
            "$-1\r\n",
            "$01\r\n",
            "$00\r\n",
            "$1x\r\n",
            "$12345678901\r\n",
            "*1\r\n",
            "*1\r\nhello",
            "$01\r\nhello",
            "$012\r\nhello",
            "$x\r\nhello",
            "$1x\r\nhello",
            "$12x\r\nhello",
            "$123x\r\nhello",
            "$-1\r\nhello",
        ] {
            assert_eq!(short_length(line.as_bytes(), b'$'), None, "{line:?}");
        }
    }
}
