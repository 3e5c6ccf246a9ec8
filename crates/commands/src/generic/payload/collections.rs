//! Collections in payloads: written in the plain forms, which every version of Redis reads; read in all that Redis 7.2 reads.
//!
//! ```text
//! list (1), set (2):  count | string ...                  hash (4): count | string string ...
//! zset (5):           count | string, f64 ...             zset (3): count | string, length u8, text ...
//! set (11) intset, (20) listpack;  hash (13) ziplist, (16) listpack;  zset (12) ziplist, (17) listpack: a string
//! list (10): a string, a ziplist;  (14): count | ziplist ...;  (18): count | (1 plain or 2 packed), string ...
//! ```

use super::listpack::{intset, listpack, ziplist};
use super::{Reader, encode_length, finish};
use effect::{Elements, ElementsBuilder, Kind};
use std::collections::HashSet;

const LIST: u8 = 1;
const SET: u8 = 2;
const ZSET: u8 = 3;
const HASH: u8 = 4;
const ZSET_2: u8 = 5;
const LIST_ZIPLIST: u8 = 10;
const SET_INTSET: u8 = 11;
const ZSET_ZIPLIST: u8 = 12;
const HASH_ZIPLIST: u8 = 13;
const LIST_QUICKLIST: u8 = 14;
const HASH_LISTPACK: u8 = 16;
const ZSET_LISTPACK: u8 = 17;
const LIST_QUICKLIST_2: u8 = 18;
const SET_LISTPACK: u8 = 20;

/// A node of a quicklist that is one element, and one that is a listpack.
const NODE_PLAIN: usize = 1;
const NODE_PACKED: usize = 2;

/// Lengths of the text of a score that stand for what is no number.
const SCORE_NAN: u8 = 253;
const SCORE_INFINITY: u8 = 254;
const SCORE_MINUS_INFINITY: u8 = 255;

/// The payload of a collection, as [`effect::Effect::SetCollection`] has it; `None` if it is none.
pub fn dump_collection(kind: Kind, elements: Elements<'_>) -> Option<Vec<u8>> {
    let (code, count) = match kind {
        Kind::List => (LIST, elements.len().saturating_sub(1)),
        Kind::Set => (SET, elements.len()),
        Kind::Hash => (HASH, elements.len() / 2),
        Kind::SortedSet => (ZSET_2, elements.len() / 2),
        Kind::Stream => return super::streams::dump_elements(elements),
    };
    let mut out = vec![code];
    encode_length(count, &mut out);
    if kind == Kind::SortedSet {
        for (score, member) in elements.pairs() {
            string(member, &mut out);
            out.extend_from_slice(score);
        }
    } else {
        // What is before the elements of a list is its revision.
        let strings = elements.iter().skip(usize::from(kind == Kind::List));
        strings.for_each(|element| string(element, &mut out));
    }
    Some(finish(out))
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    encode_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// The collection behind a type byte; `None` if it is none, damaged or empty.
pub(super) fn restore(code: u8, reader: &mut Reader<'_>) -> Option<(Kind, ElementsBuilder)> {
    let (kind, strings) = match code {
        LIST => (Kind::List, strings(reader, 1)?),
        SET => (Kind::Set, strings(reader, 1)?),
        HASH => (Kind::Hash, strings(reader, 2)?),
        ZSET | ZSET_2 => (Kind::SortedSet, scored(code, reader)?),
        SET_INTSET => (Kind::Set, intset(&reader.string()?)?),
        SET_LISTPACK => (Kind::Set, listpack(&reader.string()?)?),
        HASH_LISTPACK => (Kind::Hash, listpack(&reader.string()?)?),
        HASH_ZIPLIST => (Kind::Hash, ziplist(&reader.string()?)?),
        ZSET_LISTPACK => (Kind::SortedSet, swapped(listpack(&reader.string()?)?)?),
        ZSET_ZIPLIST => (Kind::SortedSet, swapped(ziplist(&reader.string()?)?)?),
        LIST_ZIPLIST => (Kind::List, ziplist(&reader.string()?)?),
        LIST_QUICKLIST | LIST_QUICKLIST_2 => (Kind::List, quicklist(code, reader)?),
        _ => return None,
    };
    let sound = !strings.is_empty()
        && match kind {
            Kind::Hash => strings.len().is_multiple_of(2) && differ(strings.iter().step_by(2)),
            Kind::SortedSet => differ(strings.iter().skip(1).step_by(2)),
            Kind::Set => differ(strings.iter()),
            Kind::List | Kind::Stream => true,
        };
    let mut elements = ElementsBuilder::new();
    if kind == Kind::List {
        elements.push(&0u64.to_le_bytes());
    }
    strings.iter().for_each(|string| elements.push(string));
    sound.then_some((kind, elements))
}

fn differ<'a>(mut strings: impl Iterator<Item = &'a Vec<u8>>) -> bool {
    let mut seen = HashSet::new();
    strings.all(|string| seen.insert(string))
}

fn strings(reader: &mut Reader<'_>, per_element: usize) -> Option<Vec<Vec<u8>>> {
    let count = reader.length()?.checked_mul(per_element)?;
    // The count is a stranger's claim: what arrives decides what is allocated.
    let mut strings = Vec::new();
    for _ in 0..count {
        strings.push(reader.string()?);
    }
    Some(strings)
}

/// Scores and members of a sorted set in one of its plain forms.
fn scored(code: u8, reader: &mut Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    for _ in 0..reader.length()? {
        let member = reader.string()?;
        let score = if code == ZSET_2 {
            f64::from_le_bytes(reader.array()?)
        } else {
            match reader.byte()? {
                SCORE_NAN => return None,
                SCORE_INFINITY => f64::INFINITY,
                SCORE_MINUS_INFINITY => f64::NEG_INFINITY,
                length => protocol::parse_f64(reader.take(usize::from(length))?)?,
            }
        };
        push_scored(&mut strings, score, member)?;
    }
    Some(strings)
}

/// Scores and members, of a run in which the score comes after its member, as text.
fn swapped(run: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::with_capacity(run.len());
    let mut run = run.into_iter();
    while let Some(member) = run.next() {
        let score = protocol::parse_f64(&run.next()?)?;
        push_scored(&mut strings, score, member)?;
    }
    Some(strings)
}

fn push_scored(strings: &mut Vec<Vec<u8>>, score: f64, member: Vec<u8>) -> Option<()> {
    if score.is_nan() {
        return None;
    }
    strings.push(score.to_le_bytes().to_vec());
    strings.push(member);
    Some(())
}

fn quicklist(code: u8, reader: &mut Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    for _ in 0..reader.length()? {
        if code == LIST_QUICKLIST {
            strings.append(&mut ziplist(&reader.string()?)?);
            continue;
        }
        match reader.length()? {
            NODE_PLAIN => strings.push(reader.string()?),
            NODE_PACKED => strings.append(&mut listpack(&reader.string()?)?),
            _ => return None,
        }
    }
    Some(strings)
}

#[cfg(test)]
mod tests {
    use super::super::{PayloadError, Restored, VERSION, crc64};
    use super::*;

    /// Made by Redis 7.0 without compression (DUMP).
    const HASH_OF_REDIS: &[u8] = b"\x10::\x00\x00\x00\x0c\x00\x81f\x02\x81v\x02\x81n\x02\xf1x\xec\x03\x83big\x04\xf4\xcb\x04\xfbq\x1f\x01\x00\x00\x09\x83neg\x04\xf2`y\xfe\x04\x81m\x02\xf2\x00\x12z\x04\x81e\x02\x80\x01\xff\x0a\x00\x8a\xd9\xb3a\xa8x\x96\xd7";
    const PLAIN_HASH_OF_REDIS: &[u8] = b"\x04\x01\x01f\x01v\x0a\x00\xad\xf2CV\xb1\x86\x0e\xfc";
    const INTSET_OF_REDIS: &[u8] = b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\xfe\xff\xff\xff\x01\x00\x00\x00p\x11\x01\x00\x0a\x000R}\xf8\xcc1\x1f;";
    const SET_OF_REDIS: &[u8] = b"\x02\x02\x01b\x01a\x0a\x00u\xd9\x9d\x83^\xf8_e";
    const ZSET_OF_REDIS: &[u8] = b"\x11\x1d\x1d\x00\x00\x00\x06\x00\x81b\x02\x84-inf\x05\x81a\x02\x831.5\x04\x81c\x02\x03\x01\xff\x0a\x00)p\xc5\x8f\xcd\xe6\xfc1";
    const PLAIN_ZSET_OF_REDIS: &[u8] = b"\x05\x02\x01b\x00\x00\x00\x00\x00\x00\xf0\x7f\x01a\x00\x00\x00\x00\x00\x00\xf8?\x0a\x00\x13C\xce\x1a\x14\xf0\x07\xa4";
    const LIST_OF_REDIS: &[u8] = b"\x12\x02\x02\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff\x02\x0a\x0a\x00\x00\x00\x01\x00\x81b\x02\xff\x0a\x00\xaaJ\xc1\x80^)=.";

    fn restored(payload: &[u8]) -> (Kind, Vec<String>) {
        match super::super::restore(payload).expect("a payload of Redis") {
            Restored::Collection(kind, elements) => {
                (kind, elements.elements().iter().map(|element| element.escape_ascii().to_string()).collect())
            }
            other => panic!("not a collection: {other:?}"),
        }
    }

    fn with_footer(body: &[u8]) -> Vec<u8> {
        let mut payload = body.to_vec();
        payload.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc64(&payload);
        payload.extend_from_slice(&crc.to_le_bytes());
        payload
    }

    fn score(number: f64) -> String {
        number.to_le_bytes().escape_ascii().to_string()
    }

    #[test]
    fn reads_what_redis_wrote() {
        let (kind, fields) = restored(HASH_OF_REDIS);
        let expected =
            ["f", "v", "n", "-5000", "big", "1234567890123", "neg", "-100000", "m", "8000000", "e", ""];
        assert_eq!((kind, fields), (Kind::Hash, expected.map(str::to_owned).to_vec()));
        assert_eq!(restored(PLAIN_HASH_OF_REDIS), (Kind::Hash, vec!["f".to_owned(), "v".to_owned()]));
        let members = ["-2", "1", "70000"].map(str::to_owned).to_vec();
        assert_eq!(restored(INTSET_OF_REDIS), (Kind::Set, members));
        assert_eq!(restored(SET_OF_REDIS).0, Kind::Set);
        let (kind, scored) = restored(ZSET_OF_REDIS);
        let expected = [score(f64::NEG_INFINITY), "b".into(), score(1.5), "a".into(), score(3.0), "c".into()];
        assert_eq!((kind, scored), (Kind::SortedSet, expected.to_vec()));
        let expected = [score(f64::INFINITY), "b".into(), score(1.5), "a".into()];
        assert_eq!(restored(PLAIN_ZSET_OF_REDIS), (Kind::SortedSet, expected.to_vec()));
        let revision = 0u64.to_le_bytes().escape_ascii().to_string();
        assert_eq!(restored(LIST_OF_REDIS), (Kind::List, vec![revision, "a".into(), "b".into()]));
    }

    #[test]
    fn reads_what_older_versions_wrote() {
        // A ziplist: "f", 12 at once, a number of one byte, of three, a string behind a long length.
        let entries = b"\x00\x01f\x03\xfd\x02\xfe\x85\x03\xf0\x00\x00\x80\xfe\x05\x00\x00\x00\x40\x01x\xff";
        let ziplist: Vec<u8> = [&[0; ZIPLIST_HEAD][..], entries].concat();
        let string = |bytes: &[u8]| [&[bytes.len() as u8][..], bytes].concat();
        let list = with_footer(&[&[LIST_ZIPLIST][..], &string(&ziplist)].concat());
        assert_eq!(restored(&list).1[1..], ["f", "12", "-123", "-8388608", "x"]);
        let list = with_footer(&[&[LIST_QUICKLIST, 2][..], &string(&ziplist), &string(&ziplist)].concat());
        assert_eq!(restored(&list).1.len(), 11);
        let zset = with_footer(b"\x03\x02\x01a\x032.5\x01b\xff");
        assert_eq!(restored(&zset).1, [score(2.5), "a".into(), score(f64::NEG_INFINITY), "b".into()]);
    }

    const ZIPLIST_HEAD: usize = 10;

    #[test]
    fn what_is_written_is_read() {
        let long = vec![b'x'; 300];
        let (first, second) = (1.5f64.to_le_bytes(), f64::INFINITY.to_le_bytes());
        for (kind, words) in [
            (Kind::Hash, &[&b"f"[..], b"v", b"g", &long][..]),
            (Kind::Set, &[&b"1"[..], b"", &long]),
            (Kind::SortedSet, &[&first[..], b"m", &second, &long]),
            (Kind::List, &[&[0; 8][..], b"a", b"a", &long]),
        ] {
            let elements = Elements::words(words);
            let payload = dump_collection(kind, elements).expect("it has a payload");
            let Ok(Restored::Collection(read, restored)) = super::super::restore(&payload) else {
                panic!("not a collection")
            };
            assert_eq!((read, restored.elements()), (kind, elements));
        }
    }

    #[test]
    fn what_is_damaged_or_empty_is_refused() {
        for body in [
            &b"\x02\x00"[..],
            b"\x02\x02\x01a\x01a",
            b"\x04\x01\x01a",
            b"\x04\x02\x01a\x01v\x01a\x01w",
            b"\x02\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xf8\x7f",
            b"\x0b\x09\x02\x00\x00\x00\x01\x00\x00\x00\x01",
            b"\x12\x01\x03\x01a",
            b"\x10\x08\x08\x00\x00\x00\x01\x00\x01\x01",
            b"\x63\x01\x01a",
        ] {
            let refused = super::super::restore(&with_footer(body));
            assert_eq!(refused.err(), Some(PayloadError::Format), "{body:?}");
        }
        // Whatever is cut or damaged behind a right checksum ends without a panic.
        for whole in [HASH_OF_REDIS, INTSET_OF_REDIS, ZSET_OF_REDIS, LIST_OF_REDIS] {
            let body = &whole[..whole.len() - 10];
            for at in 0..body.len() {
                let cut = super::super::restore(&with_footer(&body[..at]));
                assert_eq!(cut.err(), Some(PayloadError::Format), "cut at {at}");
                for bit in 0..8 {
                    let mut damaged = body.to_vec();
                    damaged[at] ^= 1 << bit;
                    let _ = super::super::restore(&with_footer(&damaged));
                }
            }
        }
    }
}
