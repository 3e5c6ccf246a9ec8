//! One effect as bytes: a tag, the database, then what the tag says. Drawn in `docs/formats/effects.md`.
//!
//! What is absent or one of few (a deadline, a cause) is in the tag rather than in a byte of its own. An unknown tag
//! is corruption: a node never applies what it does not understand.

use crate::varint::{Reader, write_bytes, write_varint};
use crate::{Cause, Corrupt, Effect, Elements, Hashes, Kind, stream_codec};
use stdx::Wall;
use stdx::limits::{BULK_BYTES_MAX, DATABASES};

const SET_STRING: u8 = 0x01;
const SET_STRING_EXPIRING: u8 = 0x02;
const SPLICE: u8 = 0x03;
const REMOVE_DELETED: u8 = 0x04;
const REMOVE_EXPIRED: u8 = 0x05;
const REMOVE_EVICTED: u8 = 0x06;
const EXPIRE_AT: u8 = 0x07;
const PERSIST: u8 = 0x08;
const FLUSH: u8 = 0x09;
const SET_FILTER: u8 = 0x0a;
const SET_FILTER_EXPIRING: u8 = 0x0b;
const CREATE_FILTER: u8 = 0x0c;
const ADD_TO_FILTER: u8 = 0x0d;
const DELETE_FROM_FILTER: u8 = 0x0e;
const LOAD_FILTER: u8 = 0x0f;
const SET_COLLECTION: u8 = 0x10;
const SET_COLLECTION_EXPIRING: u8 = 0x11;
const PUT_ELEMENTS: u8 = 0x12;
const DROP_ELEMENTS: u8 = 0x13;
const SPLICE_LIST: u8 = 0x14;
const CHANGE_STREAM: u8 = 0x15;
const LAST: u8 = CHANGE_STREAM;

/// Appends `effect` to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, effect: &Effect<'_>) {
    debug_assert!(effect.db() < DATABASES, "an effect names one of {DATABASES} databases");
    match *effect {
        Effect::SetString { db, key, value, expire_at } => {
            out.extend_from_slice(&[if expire_at.is_some() { SET_STRING_EXPIRING } else { SET_STRING }, db]);
            if let Some(at) = expire_at {
                write_varint(out, at.0);
            }
            write_bytes(out, key);
            write_bytes(out, value);
        }
        Effect::Splice { db, key, offset, bytes } => {
            out.extend_from_slice(&[SPLICE, db]);
            write_varint(out, offset);
            write_bytes(out, key);
            write_bytes(out, bytes);
        }
        Effect::Remove { db, key, cause } => {
            let tag = match cause {
                Cause::Deleted => REMOVE_DELETED,
                Cause::Expired => REMOVE_EXPIRED,
                Cause::Evicted => REMOVE_EVICTED,
            };
            out.extend_from_slice(&[tag, db]);
            write_bytes(out, key);
        }
        Effect::ExpireAt { db, key, at } => {
            out.extend_from_slice(&[if at.is_some() { EXPIRE_AT } else { PERSIST }, db]);
            if let Some(at) = at {
                write_varint(out, at.0);
            }
            write_bytes(out, key);
        }
        Effect::Flush { db } => out.extend_from_slice(&[FLUSH, db]),
        Effect::PutElements { db, key, kind, elements } => {
            out.extend_from_slice(&[PUT_ELEMENTS, db, kind as u8]);
            write_bytes(out, key);
            elements.encode(out);
        }
        Effect::DropElements { db, key, kind, elements } => {
            out.extend_from_slice(&[DROP_ELEMENTS, db, kind as u8]);
            write_bytes(out, key);
            elements.encode(out);
        }
        Effect::SpliceList { db, key, revision, index, removed, elements } => {
            out.extend_from_slice(&[SPLICE_LIST, db]);
            for number in [revision, index, removed] {
                write_varint(out, number);
            }
            write_bytes(out, key);
            elements.encode(out);
        }
        Effect::ChangeStream { db, key, ref change } => {
            out.extend_from_slice(&[CHANGE_STREAM, db]);
            stream_codec::encode(out, key, change);
        }
        Effect::SetCollection { db, key, kind, elements, expire_at } => {
            let tag = if expire_at.is_some() { SET_COLLECTION_EXPIRING } else { SET_COLLECTION };
            out.extend_from_slice(&[tag, db, kind as u8]);
            if let Some(at) = expire_at {
                write_varint(out, at.0);
            }
            write_bytes(out, key);
            elements.encode(out);
        }
        _ => encode_of_filter(out, effect),
    }
}

/// The effects on filters: apart, so that those on strings stay together.
#[cold]
fn encode_of_filter(out: &mut Vec<u8>, effect: &Effect<'_>) {
    match *effect {
        Effect::SetFilter { db, key, filter, expire_at } => {
            out.extend_from_slice(&[if expire_at.is_some() { SET_FILTER_EXPIRING } else { SET_FILTER }, db]);
            if let Some(at) = expire_at {
                write_varint(out, at.0);
            }
            write_bytes(out, key);
            write_bytes(out, filter);
        }
        Effect::CreateFilter { db, key, header } => {
            out.extend_from_slice(&[CREATE_FILTER, db]);
            write_bytes(out, key);
            write_bytes(out, header);
        }
        Effect::AddToFilter { db, key, revision, hashes } => {
            encode_change(out, ADD_TO_FILTER, (db, key), revision, hashes.as_bytes());
        }
        Effect::DeleteFromFilter { db, key, revision, hashes } => {
            encode_change(out, DELETE_FROM_FILTER, (db, key), revision, hashes.as_bytes());
        }
        Effect::LoadFilter { db, key, offset, bytes } => {
            encode_change(out, LOAD_FILTER, (db, key), offset, bytes);
        }
        _ => debug_assert!(false, "not an effect on a filter: {effect:?}"),
    }
}

fn encode_change(out: &mut Vec<u8>, tag: u8, (db, key): (u8, &[u8]), from: u64, bytes: &[u8]) {
    out.extend_from_slice(&[tag, db]);
    write_varint(out, from);
    write_bytes(out, key);
    write_bytes(out, bytes);
}

/// Reads the effects that a [`crate::RecordBuilder`] encoded, borrowing from `bytes`.
pub fn decode(bytes: &[u8]) -> Decoder<'_> {
    Decoder { reader: Reader::new(bytes), damaged: false }
}

/// Effects being decoded: ends at the end of the bytes or after the first error.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    reader: Reader<'a>,
    damaged: bool,
}

impl<'a> Iterator for Decoder<'a> {
    type Item = Result<Effect<'a>, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.damaged || self.reader.is_empty() {
            return None;
        }
        let effect = decode_one(&mut self.reader);
        self.damaged = effect.is_err();
        Some(effect)
    }
}

impl std::iter::FusedIterator for Decoder<'_> {}

fn decode_one<'a>(reader: &mut Reader<'a>) -> Result<Effect<'a>, Corrupt> {
    let tag = reader.byte()?;
    if !(SET_STRING..=LAST).contains(&tag) {
        return Err(reader.corrupt("unknown tag"));
    }
    let db = reader.byte()?;
    if db >= DATABASES {
        return Err(reader.corrupt("no such database"));
    }
    Ok(match tag {
        SET_STRING => Effect::SetString { db, key: reader.bytes()?, value: reader.bytes()?, expire_at: None },
        SET_STRING_EXPIRING => {
            let expire_at = Some(Wall(reader.varint()?));
            Effect::SetString { db, key: reader.bytes()?, value: reader.bytes()?, expire_at }
        }
        SPLICE => {
            let offset = reader.varint()?;
            let (key, bytes) = (reader.bytes()?, reader.bytes()?);
            // The store fills the gap before `offset`: without a bound, few bytes could ask for all memory.
            if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > BULK_BYTES_MAX as u64) {
                return Err(reader.corrupt("splice beyond the longest string"));
            }
            Effect::Splice { db, key, offset, bytes }
        }
        REMOVE_DELETED => Effect::Remove { db, key: reader.bytes()?, cause: Cause::Deleted },
        REMOVE_EXPIRED => Effect::Remove { db, key: reader.bytes()?, cause: Cause::Expired },
        REMOVE_EVICTED => Effect::Remove { db, key: reader.bytes()?, cause: Cause::Evicted },
        EXPIRE_AT => {
            let at = Some(Wall(reader.varint()?));
            Effect::ExpireAt { db, key: reader.bytes()?, at }
        }
        PERSIST => Effect::ExpireAt { db, key: reader.bytes()?, at: None },
        FLUSH => Effect::Flush { db },
        SET_FILTER..=LOAD_FILTER => decode_of_filter(reader, tag, db)?,
        _ => decode_of_collection(reader, tag, db)?,
    })
}

fn decode_of_filter<'a>(reader: &mut Reader<'a>, tag: u8, db: u8) -> Result<Effect<'a>, Corrupt> {
    Ok(match tag {
        SET_FILTER => {
            Effect::SetFilter { db, key: reader.bytes()?, filter: reader.bytes()?, expire_at: None }
        }
        SET_FILTER_EXPIRING => {
            let expire_at = Some(Wall(reader.varint()?));
            Effect::SetFilter { db, key: reader.bytes()?, filter: reader.bytes()?, expire_at }
        }
        CREATE_FILTER => Effect::CreateFilter { db, key: reader.bytes()?, header: reader.bytes()? },
        LOAD_FILTER => {
            let offset = reader.varint()?;
            Effect::LoadFilter { db, key: reader.bytes()?, offset, bytes: reader.bytes()? }
        }
        _ => {
            let revision = reader.varint()?;
            let (key, bytes) = (reader.bytes()?, reader.bytes()?);
            let hashes = Hashes::from_bytes(bytes).ok_or_else(|| reader.corrupt("part of a hash"))?;
            match tag {
                ADD_TO_FILTER => Effect::AddToFilter { db, key, revision, hashes },
                _ => Effect::DeleteFromFilter { db, key, revision, hashes },
            }
        }
    })
}

fn decode_of_collection<'a>(reader: &mut Reader<'a>, tag: u8, db: u8) -> Result<Effect<'a>, Corrupt> {
    if tag == SPLICE_LIST {
        let (revision, index, removed) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let (key, elements) = (reader.bytes()?, Elements::read(reader)?);
        return Ok(Effect::SpliceList { db, key, revision, index, removed, elements });
    }
    if tag == CHANGE_STREAM {
        let (key, change) = stream_codec::decode(reader)?;
        return Ok(Effect::ChangeStream { db, key, change });
    }
    let kind = Kind::from_number(reader.byte()?).ok_or_else(|| reader.corrupt("no such kind"))?;
    let expire_at = if tag == SET_COLLECTION_EXPIRING { Some(Wall(reader.varint()?)) } else { None };
    let (key, elements) = (reader.bytes()?, Elements::read(reader)?);
    Ok(match tag {
        PUT_ELEMENTS => Effect::PutElements { db, key, kind, elements },
        DROP_ELEMENTS => Effect::DropElements { db, key, kind, elements },
        _ => Effect::SetCollection { db, key, kind, elements, expire_at },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(effect: Effect<'_>, bytes: &[u8]) {
        let mut out = Vec::new();
        encode(&mut out, &effect);
        assert_eq!(out, bytes, "{effect:?}");
        assert_eq!(decode(bytes).collect::<Vec<_>>(), [Ok(effect)]);
    }

    /// The examples of `docs/formats/effects.md`: a change here is a change of the format.
    #[test]
    fn bytes_are_as_documented() {
        check(Effect::SetString { db: 0, key: b"k", value: b"hi", expire_at: None }, b"\x01\0\x01k\x02hi");
        check(
            Effect::SetString { db: 1, key: b"k", value: b"", expire_at: Some(Wall(300)) },
            b"\x02\x01\xac\x02\x01k\0",
        );
        check(Effect::Splice { db: 0, key: b"k", offset: 5, bytes: b"x" }, b"\x03\0\x05\x01k\x01x");
        check(Effect::Remove { db: 0, key: b"k", cause: Cause::Deleted }, b"\x04\0\x01k");
        check(Effect::Remove { db: 0, key: b"k", cause: Cause::Expired }, b"\x05\0\x01k");
        check(Effect::Remove { db: 0, key: b"k", cause: Cause::Evicted }, b"\x06\0\x01k");
        check(Effect::ExpireAt { db: 0, key: b"k", at: Some(Wall(1)) }, b"\x07\0\x01\x01k");
        check(Effect::ExpireAt { db: 0, key: b"k", at: None }, b"\x08\0\x01k");
        check(Effect::Flush { db: 15 }, b"\x09\x0f");
        check(Effect::SetFilter { db: 0, key: b"k", filter: b"hi", expire_at: None }, b"\x0a\0\x01k\x02hi");
        check(
            Effect::SetFilter { db: 1, key: b"k", filter: b"hi", expire_at: Some(Wall(300)) },
            b"\x0b\x01\xac\x02\x01k\x02hi",
        );
        check(Effect::CreateFilter { db: 0, key: b"k", header: b"hi" }, b"\x0c\0\x01k\x02hi");
        let hashes = [7u64.to_le_bytes(), 8u64.to_le_bytes()];
        let hashes = Hashes::new(&hashes);
        assert_eq!(hashes.iter().collect::<Vec<_>>(), [7, 8]);
        check(
            Effect::AddToFilter { db: 0, key: b"k", revision: 300, hashes },
            b"\x0d\0\xac\x02\x01k\x10\x07\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0",
        );
        check(
            Effect::DeleteFromFilter { db: 0, key: b"k", revision: 0, hashes: Hashes::new(&[]) },
            b"\x0e\0\0\x01k\0",
        );
        check(Effect::LoadFilter { db: 0, key: b"k", offset: 17, bytes: b"hi" }, b"\x0f\0\x11\x01k\x02hi");
    }

    #[test]
    fn bytes_of_collections_are_as_documented() {
        let elements = Elements::words(&[b"f", b"hi"]);
        let (db, key, kind) = (0, &b"k"[..], Kind::Hash);
        check(
            Effect::SetCollection { db, key, kind, elements, expire_at: None },
            b"\x10\0\x01\x01k\x02\x01f\x02hi",
        );
        check(
            Effect::SetCollection { db: 1, key, kind: Kind::Set, elements, expire_at: Some(Wall(300)) },
            b"\x11\x01\x03\xac\x02\x01k\x02\x01f\x02hi",
        );
        check(Effect::PutElements { db, key, kind, elements }, b"\x12\0\x01\x01k\x02\x01f\x02hi");
        let elements = Elements::words(&[b"f"]);
        check(Effect::DropElements { db, key, kind: Kind::Set, elements }, b"\x13\0\x03\x01k\x01\x01f");
        check(
            Effect::SpliceList { db, key, revision: 300, index: 2, removed: 1, elements },
            b"\x14\0\xac\x02\x02\x01\x01k\x01\x01f",
        );
    }

    #[track_caller]
    fn check_corrupt(bytes: &[u8], what: &str) {
        let mut decoder = decode(bytes);
        assert_eq!(decoder.next().expect("not empty").expect_err("corrupt").what, what);
        assert_eq!(decoder.next(), None, "nothing is read after damage");
    }

    #[test]
    fn damage_is_refused() {
        check_corrupt(b"\x00\0", "unknown tag");
        check_corrupt(b"\x16\0", "unknown tag");
        check_corrupt(b"\x12\0\x06\x01k\0", "no such kind");
        check_corrupt(b"\x12\0\x01\x01k\x02\x01f", "cut short");
        check_corrupt(b"\x0d\0\0\x01k\x04\0\0\0\0", "part of a hash");
        check_corrupt(b"\x0f\0\0\x01k\x02h", "cut short");
        check_corrupt(b"\x09\x10", "no such database");
        check_corrupt(b"\x04\0\x02k", "cut short");
        check_corrupt(b"\x03\0\x80\x80\x80\x80\x02\x01k\x01x", "splice beyond the longest string");
    }
}
