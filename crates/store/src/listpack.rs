//! What elements would take in a listpack of Redis: some of its answers depend on that, though nothing here is one.
//!
//! Source: listpack.c, `lpEncodeGetType` and `lpEncodeBacklen`.

use crate::value::parse_integer;

/// Header and end of a listpack.
pub(crate) const FRAME_BYTES: usize = 7;

/// Bytes that an element takes: numbers are kept as numbers.
pub(crate) fn element_bytes(element: &[u8]) -> usize {
    match parse_integer(element) {
        Some(integer) => integer_bytes(integer),
        None => match element.len() {
            len @ 0..64 => framed(1 + len),
            len @ 64..4096 => framed(2 + len),
            len => framed(5 + len),
        },
    }
}

/// Bytes that a number takes.
pub(crate) fn integer_bytes(integer: i64) -> usize {
    framed(match integer {
        0..=127 => 1,
        -4096..=4095 => 2,
        -0x8000..=0x7fff => 3,
        -0x80_0000..=0x7f_ffff => 4,
        -0x8000_0000..=0x7fff_ffff => 5,
        _ => 9,
    })
}

/// With the length behind it.
fn framed(encoded: usize) -> usize {
    let back_len = match encoded {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    encoded + back_len
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `lpBytes` of redis-server grows.
    #[test]
    fn listpacks_are_measured() {
        for (element, len) in [
            ("0", 2),
            ("127", 2),
            ("128", 3),
            ("-4096", 3),
            ("4096", 4),
            ("-32769", 5),
            ("8388608", 6),
            ("2147483648", 10),
            ("01", 4),
            ("", 2),
        ] {
            assert_eq!(element_bytes(element.as_bytes()), len, "{element}");
        }
        for (len, bytes) in [(63, 65), (64, 67), (125, 128), (126, 130), (4_095, 4_099), (4_096, 4_103)] {
            assert_eq!(element_bytes(&vec![b'x'; len]), bytes, "{len}");
        }
    }
}
