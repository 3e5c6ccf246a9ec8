//! Numbers of packed forms: unsigned LEB128, seven bits a byte, lowest first.

/// Most bytes of a number: 64 bits, seven in a byte.
const VARINT_BYTES_MAX: usize = 10;

/// Bytes of the varint `value`.
#[inline]
pub(crate) fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Writes the varint `value` at the start of `out`; says how many bytes it takes.
pub(crate) fn write_varint(out: &mut [u8], mut value: usize) -> usize {
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
pub(crate) fn read_varint<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (index, byte) in bytes.into_iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Appends the varint `value`.
pub(crate) fn push_varint(out: &mut Vec<u8>, value: usize) {
    let start = out.len();
    out.resize(start + varint_len(value), 0);
    write_varint(&mut out[start..], value);
}

/// Appends the length of `bytes` and the bytes.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// The bytes behind their length, and what follows.
#[inline]
pub(crate) fn split_bytes(run: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, length_len) = read_varint(run)?;
    run.get(length_len..)?.split_at_checked(length)
}

/// The number at the front, and what follows.
#[inline]
pub(crate) fn split_varint(run: &[u8]) -> Option<(usize, &[u8])> {
    let (number, number_len) = read_varint(run)?;
    Some((number, run.get(number_len..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_as_many_bytes_as_they_say() {
        for value in (0..64).flat_map(|bit| [1usize << bit, (1 << bit) - 1]) {
            let mut out = [0; VARINT_BYTES_MAX];
            let len = write_varint(&mut out, value);
            assert_eq!((read_varint(&out[..len]), varint_len(value)), (Some((value, len)), len));
        }
        assert_eq!(read_varint(&[0x80; 12]), None);
        assert_eq!(read_varint(&[]), None);
    }
}
