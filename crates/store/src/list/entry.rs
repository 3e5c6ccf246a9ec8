//! One element's bytes in a chunk, and what the element would take in a listpack.
//!
//! ```text
//! +---------------+=========+-----------------------+
//! | varint length | element | the length, backwards |
//! +---------------+=========+-----------------------+
//! ```
//! The length behind the element is its varint with the bytes in reverse order, so that a reader that comes from the
//! right finds it as one from the left does. Most elements are shorter than 128 bytes: two bytes more than they are.

use crate::value::parse_integer;

/// Most bytes of a length: 64 bits, seven in a byte.
const LENGTH_BYTES_MAX: usize = 10;

/// Bytes of the varint `value`.
#[inline]
pub(super) fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Writes the varint `value` at the start of `out`; says how many bytes it takes.
pub(super) fn write_varint(out: &mut [u8], mut value: usize) -> usize {
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = value as u8 & 0x7f;
        value >>= 7;
        if value == 0 {
            return index + 1;
        }
        *byte |= 0x80;
    }
    out.len()
}

/// The number that these bytes begin with, and how many of them it takes.
#[inline]
pub(super) fn read_varint<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (index, byte) in bytes.into_iter().take(LENGTH_BYTES_MAX).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Bytes of the entry of an element of this length.
#[inline]
pub(super) fn entry_len(element_len: usize) -> usize {
    element_len + 2 * varint_len(element_len)
}

/// Writes the entry of `element`, which takes exactly `out`.
pub(super) fn write(out: &mut [u8], element: &[u8]) {
    debug_assert_eq!(out.len(), entry_len(element.len()));
    let length_len = write_varint(out, element.len());
    let (front, back) = out.split_at_mut(out.len() - length_len);
    front[length_len..].copy_from_slice(element);
    back.copy_from_slice(&front[..length_len]);
    back.reverse();
}

/// The first element of these entries, and the entries behind it.
#[inline]
pub(super) fn first(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, length_len) = read_varint(entries)?;
    let (element, rest) = entries.get(length_len..)?.split_at_checked(length)?;
    Some((element, rest.get(length_len..)?))
}

/// The last element of these entries, and the entries before it.
#[inline]
pub(super) fn last(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, length_len) = read_varint(entries.iter().rev())?;
    let end = entries.len().checked_sub(length_len)?;
    let start = end.checked_sub(length)?;
    Some((entries.get(start..end)?, entries.get(..start.checked_sub(length_len)?)?))
}

/// Bytes that `element` takes in a listpack (listpack.c: `lpEncodeGetType`, `lpEncodeBacklen`).
pub(super) fn listpack_len(element: &[u8]) -> usize {
    let encoded = match parse_integer(element) {
        Some(0..=127) => 1,
        Some(-4096..=4095) => 2,
        Some(-0x8000..=0x7fff) => 3,
        Some(-0x80_0000..=0x7f_ffff) => 4,
        Some(-0x8000_0000..=0x7fff_ffff) => 5,
        Some(_) => 9,
        None => match element.len() {
            len @ 0..64 => 1 + len,
            len @ 64..4096 => 2 + len,
            len => 5 + len,
        },
    };
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

    #[test]
    fn entries_are_read_from_both_ends() {
        let elements: Vec<Vec<u8>> =
            [0, 1, 127, 128, 300, 16_383, 16_384].iter().map(|&len| vec![len as u8; len]).collect();
        let mut entries = Vec::new();
        for element in &elements {
            let start = entries.len();
            entries.resize(start + entry_len(element.len()), 0);
            write(&mut entries[start..], element);
        }
        let mut rest = &entries[..];
        for element in &elements {
            let (found, behind) = first(rest).expect("another entry");
            assert_eq!(found, element);
            rest = behind;
        }
        assert!(rest.is_empty() && first(rest).is_none() && last(rest).is_none());
        rest = &entries;
        for element in elements.iter().rev() {
            let (found, before) = last(rest).expect("another entry");
            assert_eq!(found, element);
            rest = before;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_say() {
        for value in (0..64).flat_map(|bit| [1usize << bit, (1 << bit) - 1]) {
            let mut out = [0; LENGTH_BYTES_MAX];
            let len = write_varint(&mut out, value);
            assert_eq!((read_varint(&out[..len]), varint_len(value)), (Some((value, len)), len));
        }
        assert_eq!(read_varint(&[0x80; 12]), None);
        assert_eq!(read_varint(&[]), None);
    }

    #[test]
    fn cut_entries_are_none() {
        let mut entry = vec![0; entry_len(300)];
        write(&mut entry, &[7; 300]);
        for cut in 0..entry.len() {
            assert_eq!(first(&entry[..cut]), None);
        }
        assert_eq!(last(&[5]), None);
        assert_eq!(last(&[1, 1]), None);
    }

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
            assert_eq!(listpack_len(element.as_bytes()), len, "{element}");
        }
        for (len, bytes) in [(63, 65), (64, 67), (125, 128), (126, 130), (4_095, 4_099), (4_096, 4_103)] {
            assert_eq!(listpack_len(&vec![b'x'; len]), bytes, "{len}");
        }
    }
}
