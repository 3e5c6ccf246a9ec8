//! The payload of DUMP and RESTORE: one value in Redis's RDB encoding, a version and a checksum.
//!
//! ```text
//! | type: u8 (0 = string) | string, or as the type says | RDB version: u16 LE | CRC64 of all before: u64 LE |
//!
//! string:  00LLLLLL                      length 0-63, bytes
//!          01LLLLLL LLLLLLLL             length 0-16383, bytes
//!          10000000 u32 BE               length, bytes
//!          10000001 u64 BE               length, bytes
//!          11000000 i8 / 11000001 i16 LE / 11000010 i32 LE      an integer, as text
//!          11000011 length length bytes  LZF: compressed length, length, compressed bytes
//! ```
//! Source: Redis's `rdb.c`, `crc64.c` and `lzf_d.c`. What we write is never compressed; what we read may be. A filter has a
//! type of its own (224, which Redis has not) and its encoding as a string: RedisBloom's have another layout.

mod collections;
mod listpack;
mod listpack_writer;
mod streams;

pub use collections::dump_collection;
pub use streams::dump_stream;

use effect::{ElementsBuilder, Kind};
use stdx::limits::BULK_BYTES_MAX;
use store::Filter;

/// RDB version of Redis 7.2.
const VERSION: u16 = 11;
/// Type byte of a string.
const TYPE_STRING: u8 = 0;
/// Type byte of a filter: above all types of Redis and below the codes that are none (`RDB_OPCODE_FUNCTION2`, 245).
const TYPE_FILTER: u8 = 224;
/// Bytes of version and checksum.
const FOOTER_BYTES: usize = 10;
/// Longest text that may be stored as an integer, as in Redis.
const INTEGER_TEXT_BYTES_MAX: usize = 11;

/// Why a payload is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadError {
    /// Cut short, damaged, or written by a newer version.
    VersionOrChecksum,
    /// The checksum is right, the content is not.
    Format,
}

/// The payload of a string.
pub fn dump_string(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + FOOTER_BYTES + 10);
    out.push(TYPE_STRING);
    if !encode_integer(value, &mut out) {
        encode_length(value.len(), &mut out);
        out.extend_from_slice(value);
    }
    finish(out)
}

/// The payload of a filter.
pub fn dump_filter(filter: &Filter) -> Vec<u8> {
    let length = filter.encoded_len();
    let mut out = Vec::with_capacity(length + FOOTER_BYTES + 10);
    out.push(TYPE_FILTER);
    encode_length(length, &mut out);
    filter.encode(&mut out);
    finish(out)
}

/// Appends version and checksum.
fn finish(mut out: Vec<u8>) -> Vec<u8> {
    out.extend_from_slice(&VERSION.to_le_bytes());
    let crc = crc64(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// What a payload holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Restored {
    /// A string.
    String(Vec<u8>),
    /// An encoded filter that is whole.
    Filter(Vec<u8>),
    /// A collection.
    Collection(Kind, ElementsBuilder),
}

/// The value in a payload.
pub fn restore(payload: &[u8]) -> Result<Restored, PayloadError> {
    let split = payload.len().checked_sub(8).ok_or(PayloadError::VersionOrChecksum)?;
    let (covered, crc) = payload.split_at(split);
    let (body, version) = covered.split_last_chunk::<2>().ok_or(PayloadError::VersionOrChecksum)?;
    if u16::from_le_bytes(*version) > VERSION || crc64(covered).to_le_bytes() != *crc {
        return Err(PayloadError::VersionOrChecksum);
    }
    let mut reader = Reader(body);
    let value = match reader.byte() {
        Some(TYPE_STRING) => reader.string().map(Restored::String),
        Some(TYPE_FILTER) => reader.string().filter(|bytes| is_whole(bytes)).map(Restored::Filter),
        Some(code) if streams::is_stream(code) => {
            streams::restore(code, &mut reader).map(|elements| Restored::Collection(Kind::Stream, elements))
        }
        Some(code) => collections::restore(code, &mut reader)
            .map(|(kind, elements)| Restored::Collection(kind, elements)),
        None => None,
    };
    value.filter(|_| reader.0.is_empty()).ok_or(PayloadError::Format)
}

/// Whether these bytes are a filter that is not being loaded.
fn is_whole(bytes: &[u8]) -> bool {
    matches!(Filter::decode(bytes), Ok(filter) if !matches!(filter, Filter::Loading(_)))
}

/// Writes a small integer as one; false if `value` is none.
fn encode_integer(value: &[u8], out: &mut Vec<u8>) -> bool {
    let number = if value.len() <= INTEGER_TEXT_BYTES_MAX { protocol::parse_i64(value) } else { None };
    let Some(number) = number.and_then(|number| i32::try_from(number).ok()) else { return false };
    if let Ok(number) = i8::try_from(number) {
        out.push(0xc0);
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xc1);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        out.push(0xc2);
        out.extend_from_slice(&number.to_le_bytes());
    }
    true
}

fn encode_length(length: usize, out: &mut Vec<u8>) {
    match length {
        0..=0x3f => out.push(length as u8),
        0x40..=0x3fff => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        _ => {
            if let Ok(length) = u32::try_from(length) {
                out.push(0x80);
                out.extend_from_slice(&length.to_be_bytes());
            } else {
                out.push(0x81);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

/// The first bytes of a string: its length, or how it is encoded.
enum Head {
    Length(usize),
    Encoded(u8),
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn head(&mut self) -> Option<Head> {
        let first = self.byte()?;
        let length = match first >> 6 {
            0 => usize::from(first),
            1 => usize::from(first & 0x3f) << 8 | usize::from(self.byte()?),
            2 => match first {
                0x80 => u32::from_be_bytes(self.array()?) as usize,
                0x81 => usize::try_from(u64::from_be_bytes(self.array()?)).ok()?,
                _ => return None,
            },
            _ => return Some(Head::Encoded(first & 0x3f)),
        };
        Some(Head::Length(length))
    }

    fn length(&mut self) -> Option<usize> {
        match self.head()? {
            Head::Length(length) => Some(length),
            Head::Encoded(_) => None,
        }
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        let number = match self.head()? {
            Head::Length(length) => return self.take(length).map(<[u8]>::to_vec),
            Head::Encoded(0) => i32::from(i8::from_le_bytes(self.array()?)),
            Head::Encoded(1) => i32::from(i16::from_le_bytes(self.array()?)),
            Head::Encoded(2) => i32::from_le_bytes(self.array()?),
            Head::Encoded(3) => {
                let (compressed, length) = (self.length()?, self.length()?);
                return decompress(self.take(compressed)?, length);
            }
            Head::Encoded(_) => return None,
        };
        Some(number.to_string().into_bytes())
    }
}

/// Undoes LZF: literal runs of 1-32 bytes, and references of at least 3 bytes up to 8 KiB back.
fn decompress(compressed: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > BULK_BYTES_MAX {
        return None;
    }
    let mut reader = Reader(compressed);
    // The announced length is a stranger's claim: what arrives decides what is allocated.
    let mut out = Vec::with_capacity(length.min(compressed.len().saturating_mul(4)));
    while let Some(control) = reader.byte() {
        let control = usize::from(control);
        if control < 32 {
            out.extend_from_slice(reader.take(control + 1)?);
        } else {
            let mut run = (control >> 5) + 2;
            if run == 9 {
                run += usize::from(reader.byte()?);
            }
            let back = ((control & 0x1f) << 8 | usize::from(reader.byte()?)) + 1;
            let start = out.len().checked_sub(back)?;
            // The reference may reach into what it writes itself: byte by byte.
            for at in start..start + run {
                let byte = *out.get(at)?;
                out.push(byte);
            }
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}

/// Jones's CRC64, reflected, without inversion: polynomial 0xad93d23594c935a9.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, &byte| CRC64_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

static CRC64_TABLE: [u64; 256] = {
    let polynomial = 0xad93_d235_94c9_35a9u64.reverse_bits();
    let mut table = [0u64; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { (crc >> 1) ^ polynomial } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;
    use store::bloom::BloomConfig;
    use store::cuckoo::CuckooConfig;

    fn restore_string(payload: &[u8]) -> Result<Vec<u8>, PayloadError> {
        match restore(payload)? {
            Restored::String(value) => Ok(value),
            other => panic!("not a string: {other:?}"),
        }
    }

    #[test]
    fn crc_of_the_reference() {
        // The check value in Redis's crc64.c.
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn round_trips() {
        let long = vec![b'x'; 70_000];
        let medium = vec![b'y'; 300];
        for value in [
            &b""[..],
            b"hello",
            b"0",
            b"-128",
            b"127",
            b"128",
            b"-32769",
            b"2147483647",
            b"2147483648",
            b"007",
            &medium,
            &long,
        ] {
            assert_eq!(restore_string(&dump_string(value)).as_deref(), Ok(value));
        }
    }

    #[test]
    fn reads_what_redis_wrote() {
        // Redis 7.0: SET k (97 times "a"), DUMP k: LZF, RDB version 10.
        let dump = b"\x00\xc3\t@c\x01aa\xe0V\x00\x01aa\n\x00\xa9/\xc2z\x8f\xcd\x14a";
        let value = restore_string(dump).expect("a payload of Redis");
        assert!(value.iter().all(|byte| *byte == b'a'));
        assert_eq!(value.len(), 99);
    }

    #[test]
    fn refuses_what_is_damaged() {
        let payload = dump_string(b"some value");
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert!(restore_string(&damaged).is_err(), "byte {at}");
            assert!(restore_string(&payload[..at]).is_err(), "cut at {at}");
        }
        let mut newer = payload[..payload.len() - FOOTER_BYTES].to_vec();
        newer.extend_from_slice(&(VERSION + 1).to_le_bytes());
        let crc = crc64(&newer);
        newer.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(restore_string(&newer), Err(PayloadError::VersionOrChecksum));
    }

    #[test]
    fn refuses_lying_lengths() {
        for body in [
            &b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\x00\xc3\x05\x80\xff\xff\xff\xff\x00a",
            b"\x00\xc3\x03\x05\x20\x05\x00",
            b"\x00\xc4",
            b"\x00\x05abc",
            b"\x01\x00",
            b"",
        ] {
            let mut payload = body.to_vec();
            payload.extend_from_slice(&VERSION.to_le_bytes());
            let crc = crc64(&payload);
            payload.extend_from_slice(&crc.to_le_bytes());
            assert_eq!(restore_string(&payload), Err(PayloadError::Format), "{body:?}");
        }
    }

    /// A payload of these bytes as a filter, with a right checksum.
    fn payload_of_filter(bytes: &[u8]) -> Vec<u8> {
        let mut payload = vec![TYPE_FILTER];
        encode_length(bytes.len(), &mut payload);
        payload.extend_from_slice(bytes);
        finish(payload)
    }

    #[test]
    fn filters_are_restored_whole_or_not_at_all() {
        let cuckoo = CuckooConfig::with_bits(100, 8).unwrap().with_expansion(2).header().unwrap();
        let bloom = BloomConfig::new(100, 0.01, 2).unwrap().header();
        for header in [cuckoo, bloom] {
            let filter = Filter::decode_empty(&header).unwrap();
            let mut encoded = Vec::new();
            filter.encode(&mut encoded);
            let payload = dump_filter(&filter);
            assert_eq!(payload, payload_of_filter(&encoded));
            assert_eq!(restore(&payload), Ok(Restored::Filter(encoded.clone())));
            for len in 0..encoded.len() {
                let cut = payload_of_filter(&encoded[..len]);
                assert_eq!(restore(&cut), Err(PayloadError::Format), "cut at {len}");
            }
            let longer = [encoded.as_slice(), &[0]].concat();
            assert_eq!(restore(&payload_of_filter(&longer)), Err(PayloadError::Format));
            // Whatever is damaged and has a right checksum is refused, or is a filter of the same length.
            let mut random = Random::seeded(3);
            for _ in 0..5_000 {
                let mut damaged = encoded.clone();
                let at = random.below(damaged.len().min(40) as u64) as usize;
                damaged[at] ^= 1 << random.below(8);
                match restore(&payload_of_filter(&damaged)) {
                    Ok(restored) => assert_eq!(restored, Restored::Filter(damaged)),
                    Err(error) => assert_eq!(error, PayloadError::Format),
                }
            }
        }
    }
}
