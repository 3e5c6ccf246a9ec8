//! The bitmap family: strings as rows of bits, numbered from the highest bit of the first byte on.
//!
//! [`bits`] counts and searches in whole words, [`integer`] knows the integers of BITFIELD; the other files are the
//! commands. What they write are splices of the few bytes that change, whatever the length of the string; only BITOP
//! makes a new one.

mod bits;
mod integer;

pub mod bit;
pub mod combine;
pub mod count;
pub mod field;

use crate::error::{CommandError, Outcome};
use crate::table::{Categories, Command, Group, KeyFlags, KeySpec, Keys};
use stdx::limits;

/// What every row of the family has in common.
pub(crate) const ROW: Command =
    Command { categories: Categories::BITMAP, group: Group::Bitmap, ..Command::BLANK };
/// Key of a command that only reads.
pub(crate) const READS: Keys = Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]);

/// Bits of the longest string.
const BITS_MAX: u64 = limits::BULK_BYTES_MAX as u64 * 8;
const BAD_OFFSET: CommandError = CommandError::Other("bit offset is not an integer or out of range");

/// The number of a bit that the longest string has.
fn bit_offset(word: &[u8]) -> Outcome<u64> {
    scaled_offset(word, 1)
}

/// The same, in units of `scale` bits.
fn scaled_offset(word: &[u8], scale: u32) -> Outcome<u64> {
    let offset = protocol::parse_i64(word).and_then(|units| u64::try_from(units).ok());
    let offset = offset.and_then(|units| units.checked_mul(u64::from(scale)));
    offset.filter(|offset| *offset < BITS_MAX).ok_or(BAD_OFFSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_end_with_the_longest_string() {
        assert_eq!(bit_offset(b"4294967295"), Ok(u64::from(u32::MAX)));
        assert_eq!(bit_offset(b"4294967296"), Err(BAD_OFFSET));
        assert_eq!(bit_offset(b"-1"), Err(BAD_OFFSET));
        assert_eq!(bit_offset(b"#1"), Err(BAD_OFFSET));
        assert_eq!(scaled_offset(b"67108863", 64), Ok(67_108_863 * 64));
        assert_eq!(scaled_offset(b"67108864", 64), Err(BAD_OFFSET));
        assert_eq!(scaled_offset(b"9223372036854775807", 63), Err(BAD_OFFSET));
    }
}
