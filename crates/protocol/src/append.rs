//! Appending a short bulk: header, bytes and line end under one look at the buffer's room.
//!
//! Nearly every reply of a cache is a value of some dozen bytes. Taken one after the other, the three parts of its bulk
//! ask the buffer for room three times and the library for a copy of so many bytes; here the room is made once, and copies
//! are of sizes that the compiler knows. `unsafe`, because bytes are written before the buffer is told of them.
#![allow(unsafe_code)]

use std::ptr::copy_nonoverlapping;

/// Most bytes of a short bulk: its length has two digits.
pub(crate) const SHORT_BYTES_MAX: usize = 99;
/// Header of a short bulk with room for one store of a word.
const HEADER_ROOM_BYTES: usize = 8;
const LINE_END: [u8; 2] = *b"\r\n";

/// Appends a bulk of at most [`SHORT_BYTES_MAX`] bytes.
///
/// # Panics
/// If there are more.
#[inline]
pub(crate) fn short_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = bytes.len();
    assert!(len <= SHORT_BYTES_MAX, "a longer bulk has another header");
    let (header, header_len) = header(len);
    out.reserve(HEADER_ROOM_BYTES + len + LINE_END.len());
    // SAFETY: there is room for a header of eight bytes, of which the first four or five count, and for bytes and line end
    // behind those; it is the buffer's own, so that the bytes lie elsewhere. All up to the new length is written.
    unsafe {
        let start = out.as_mut_ptr().add(out.len());
        start.cast::<[u8; HEADER_ROOM_BYTES]>().write_unaligned(header);
        let body = start.add(header_len);
        copy_short(bytes.as_ptr(), body, len);
        body.add(len).cast::<[u8; LINE_END.len()]>().write_unaligned(LINE_END);
        out.set_len(out.len() + header_len + len + LINE_END.len());
    }
}

/// The header of a short bulk and its length; what is behind does not count.
#[inline(always)]
fn header(len: usize) -> ([u8; HEADER_ROOM_BYTES], usize) {
    let (tens, ones) = (len as u8 / 10, len as u8 % 10);
    if tens == 0 {
        return ([b'$', b'0' + ones, b'\r', b'\n', 0, 0, 0, 0], 4);
    }
    ([b'$', b'0' + tens, b'0' + ones, b'\r', b'\n', 0, 0, 0], 5)
}

/// Copies in pieces of fixed sizes that overlap in the middle.
///
/// # Safety
/// As [`copy_nonoverlapping`].
#[inline(always)]
unsafe fn copy_short(from: *const u8, to: *mut u8, len: usize) {
    /// The first and the last `N` bytes.
    ///
    /// # Safety
    /// As [`copy_nonoverlapping`], and `len` is at least `N`.
    #[inline(always)]
    unsafe fn ends<const N: usize>(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: both ends are within the `len` bytes that the caller promises.
        unsafe {
            let last = from.add(len - N).cast::<[u8; N]>().read_unaligned();
            copy_nonoverlapping(from, to, N);
            to.add(len - N).cast::<[u8; N]>().write_unaligned(last);
        }
    }
    // SAFETY: each length is at least that of an end and at most that of two.
    unsafe {
        match len {
            8..=16 => ends::<8>(from, to, len),
            17..=32 => ends::<16>(from, to, len),
            33..=64 => ends::<32>(from, to, len),
            _ => copy_nonoverlapping(from, to, len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_behind_any_beginning() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        for len in 0..=SHORT_BYTES_MAX {
            for (start, room) in [(0, 0), (3, 0), (64, 7), (1, 200)] {
                let body = &bytes[len..2 * len];
                let mut out = Vec::with_capacity(start + room);
                out.extend_from_slice(&bytes[..start]);
                short_bulk(&mut out, body);
                let header = format!("${len}\r\n");
                assert_eq!(out, [&bytes[..start], header.as_bytes(), body, b"\r\n"].concat(), "{len}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a longer bulk has another header")]
    fn a_longer_one_is_refused() {
        short_bulk(&mut Vec::new(), &[0; SHORT_BYTES_MAX + 1]);
    }
}
