//! Unsigned LEB128 numbers, and a reader over borrowed bytes that knows where it stands.
//!
//! Only the shortest form of a number is accepted, so that equal effects have equal bytes.

use crate::Corrupt;

/// Most bytes of a 64-bit number.
const VARINT_BYTES_MAX: usize = 10;

/// Appends `value`.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the length of `bytes` and the bytes.
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads numbers and byte strings from the front of an input.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, offset: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was between this place and that of `later`, which went on from here.
    pub(crate) fn until(&self, later: &Reader<'a>) -> &'a [u8] {
        &self.rest[..self.rest.len() - later.rest.len()]
    }

    /// The error `what` at this place.
    pub(crate) fn corrupt(&self, what: &'static str) -> Corrupt {
        Corrupt { what, offset: self.offset }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Corrupt> {
        let (&first, rest) = self.rest.split_first().ok_or(self.corrupt("cut short"))?;
        self.rest = rest;
        self.offset += 1;
        Ok(first)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0u64;
        for index in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if index == VARINT_BYTES_MAX - 1 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(self.corrupt("number not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.corrupt("number too long"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| self.corrupt("length beyond memory"))?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(self.corrupt("cut short"))?;
        self.rest = rest;
        self.offset += length;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_corrupt(bytes: &[u8], what: &str) {
        assert_eq!(Reader::new(bytes).varint().expect_err("not a number").what, what);
    }

    #[test]
    fn numbers_round_trip() {
        for value in (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1, u64::MAX >> bit]) {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn bad_numbers_are_refused() {
        check_corrupt(&[], "cut short");
        check_corrupt(&[0x80], "cut short");
        check_corrupt(&[0x80, 0x00], "number not in its shortest form");
        check_corrupt(&[0xff; 11], "number too long");
        check_corrupt(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], "number too long");
        assert_eq!(Reader::new(&[5, 1, 2]).bytes().expect_err("cut").what, "cut short");
    }
}
