//! The packed runs inside payloads: Redis's listpacks and intsets, and the ziplists of its older versions.
//!
//! ```text
//! listpack:  bytes: u32 | count: u16 | (encoding, data, length backwards) ... | ff
//! ziplist:   bytes: u32 | last: u32 | count: u16 | (length of the entry before, encoding, data) ... | ff
//! intset:    width: u32 | count: u32 | integers
//! ```
//! Little-endian, but for the lengths in ziplists. Sources: Redis's `listpack.c`, `ziplist.c`, `intset.c`. Counts and lengths of the
//! whole are not needed and only have to be there: a run ends at its end mark.

use super::Reader;

const END: u8 = 0xff;
/// First byte of a long length of the entry before, in a ziplist.
const LONG_BEFORE: u8 = 0xfe;
pub(super) const LISTPACK_HEAD_BYTES: usize = 6;
const ZIPLIST_HEAD_BYTES: usize = 10;

/// The entries of a listpack; `None` if it is damaged.
pub(super) fn listpack(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader(bytes);
    reader.take(LISTPACK_HEAD_BYTES)?;
    let mut entries = Vec::new();
    loop {
        let before = reader.0.len();
        let first = reader.byte()?;
        if first == END {
            return reader.0.is_empty().then_some(entries);
        }
        entries.push(listpack_entry(first, &mut reader)?);
        let entry_bytes = before - reader.0.len();
        reader.take(backward_bytes(entry_bytes))?;
    }
}

fn listpack_entry(first: u8, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let number = match first {
        0..=0x7f => i64::from(first),
        0x80..=0xbf => return Some(reader.take(usize::from(first & 0x3f))?.to_vec()),
        0xc0..=0xdf => {
            let number = i64::from(first & 0x1f) << 8 | i64::from(reader.byte()?);
            // Thirteen bits with a sign.
            if number >= 1 << 12 { number - (1 << 13) } else { number }
        }
        0xe0..=0xef => {
            let length = usize::from(first & 0x0f) << 8 | usize::from(reader.byte()?);
            return Some(reader.take(length)?.to_vec());
        }
        0xf0 => {
            let length = u32::from_le_bytes(reader.array()?) as usize;
            return Some(reader.take(length)?.to_vec());
        }
        0xf1 => i64::from(i16::from_le_bytes(reader.array()?)),
        0xf2 => three_bytes(reader)?,
        0xf3 => i64::from(i32::from_le_bytes(reader.array()?)),
        0xf4 => i64::from_le_bytes(reader.array()?),
        _ => return None,
    };
    Some(number.to_string().into_bytes())
}

/// Bytes of the length of an entry that is written behind it.
pub(super) fn backward_bytes(entry_bytes: usize) -> usize {
    match entry_bytes {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// The entries of a ziplist; `None` if it is damaged.
pub(super) fn ziplist(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader(bytes);
    reader.take(ZIPLIST_HEAD_BYTES)?;
    let mut entries = Vec::new();
    loop {
        match reader.byte()? {
            END => return reader.0.is_empty().then_some(entries),
            LONG_BEFORE => reader.take(4).map(|_| ())?,
            _ => {}
        }
        let first = reader.byte()?;
        entries.push(ziplist_entry(first, &mut reader)?);
    }
}

fn ziplist_entry(first: u8, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let number = match first {
        0..=0x3f => return Some(reader.take(usize::from(first))?.to_vec()),
        0x40..=0x7f => {
            let length = usize::from(first & 0x3f) << 8 | usize::from(reader.byte()?);
            return Some(reader.take(length)?.to_vec());
        }
        0x80 => {
            let length = u32::from_be_bytes(reader.array()?) as usize;
            return Some(reader.take(length)?.to_vec());
        }
        0xc0 => i64::from(i16::from_le_bytes(reader.array()?)),
        0xd0 => i64::from(i32::from_le_bytes(reader.array()?)),
        0xe0 => i64::from_le_bytes(reader.array()?),
        0xf0 => three_bytes(reader)?,
        0xfe => i64::from(i8::from_le_bytes(reader.array()?)),
        0xf1..=0xfd => i64::from(first & 0x0f) - 1,
        _ => return None,
    };
    Some(number.to_string().into_bytes())
}

fn three_bytes(reader: &mut Reader<'_>) -> Option<i64> {
    let [low, middle, high] = reader.array()?;
    // The sign goes on in the byte that is not there.
    Some(i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8))
}

/// The members of an intset; `None` if it is damaged.
pub(super) fn intset(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader(bytes);
    let width = u32::from_le_bytes(reader.array()?);
    let count = u32::from_le_bytes(reader.array()?) as usize;
    if !matches!(width, 2 | 4 | 8) || reader.0.len() != count.checked_mul(width as usize)? {
        return None;
    }
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        let number = match width {
            2 => i64::from(i16::from_le_bytes(reader.array()?)),
            4 => i64::from(i32::from_le_bytes(reader.array()?)),
            _ => i64::from_le_bytes(reader.array()?),
        };
        members.push(number.to_string().into_bytes());
    }
    Some(members)
}
