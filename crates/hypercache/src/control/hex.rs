//! Ids and nonces as hexadecimal text, for headers, files and people.

use stdx::NodeId;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two digits per byte.
pub(super) fn encode(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Exactly `N` bytes.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0u8; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

/// A node's id as people see it: sixteen digits.
pub fn node(node: NodeId) -> String {
    number(node.0)
}

/// Sixteen digits.
pub(super) fn number(number: u64) -> String {
    format!("{number:016x}")
}

/// Up to sixteen digits.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    let is_plain =
        !text.is_empty() && text.len() <= 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_plain { u64::from_str_radix(text, 16).ok() } else { None }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_each_others_inverse() {
        assert_eq!(encode(&[0, 0xab, 0xff]), "00abff");
        assert_eq!(decode::<3>("00abFF"), Some([0, 0xab, 0xff]));
        assert_eq!((decode::<3>("00abf"), decode::<3>("00abfg"), decode::<1>("é")), (None, None, None));
        assert_eq!(parse_number(&number(u64::MAX - 1)), Some(u64::MAX - 1));
        assert_eq!(
            (parse_number(""), parse_number("+1"), parse_number("12345678901234567")),
            (None, None, None)
        );
    }
}
