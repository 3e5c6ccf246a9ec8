//! Changes of a stream as bytes: which change, the key, then what the change says. Drawn in `docs/formats/effects.md`.

use crate::items::{Item, Items};
use crate::varint::{Reader, write_bytes, write_varint};
use crate::{Corrupt, Elements, StreamChange, StreamId};
use stdx::Wall;

const APPEND: u8 = 0x01;
const DELETE: u8 = 0x02;
const TRIM: u8 = 0x03;
const SET_ID: u8 = 0x04;
const PUT_GROUP: u8 = 0x05;
const REMOVE_GROUP: u8 = 0x06;
const PUT_CONSUMER: u8 = 0x07;
const REMOVE_CONSUMER: u8 = 0x08;
const PUT_PENDING: u8 = 0x09;
const REMOVE_PENDING: u8 = 0x0a;

/// Appends a change and the key that it is of.
pub(crate) fn encode(out: &mut Vec<u8>, key: &[u8], change: &StreamChange<'_>) {
    let mut begin = |change: u8, names: &[&[u8]]| {
        out.push(change);
        write_bytes(out, key);
        names.iter().for_each(|name| write_bytes(out, name));
    };
    match *change {
        StreamChange::Append { id, fields } => {
            begin(APPEND, &[]);
            id.write(out);
            fields.encode(out);
        }
        StreamChange::Delete { ids } => {
            begin(DELETE, &[]);
            ids.encode(out);
        }
        StreamChange::Trim { through } => {
            begin(TRIM, &[]);
            through.write(out);
        }
        StreamChange::SetId { last, added, deleted } => {
            begin(SET_ID, &[]);
            last.write(out);
            write_varint(out, added);
            deleted.write(out);
        }
        StreamChange::PutGroup { group, last, read } => {
            begin(PUT_GROUP, &[group]);
            last.write(out);
            write_option(out, read);
        }
        StreamChange::RemoveGroup { group } => begin(REMOVE_GROUP, &[group]),
        StreamChange::PutConsumer { group, consumer, seen, active } => {
            begin(PUT_CONSUMER, &[group, consumer]);
            write_varint(out, seen.0);
            write_option(out, active.map(|at| at.0));
        }
        StreamChange::RemoveConsumer { group, consumer } => begin(REMOVE_CONSUMER, &[group, consumer]),
        StreamChange::PutPending { group, consumer, deliveries } => {
            begin(PUT_PENDING, &[group, consumer]);
            deliveries.encode(out);
        }
        StreamChange::RemovePending { group, ids } => {
            begin(REMOVE_PENDING, &[group]);
            ids.encode(out);
        }
    }
}

/// Reads the key and the change.
pub(crate) fn decode<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], StreamChange<'a>), Corrupt> {
    let kind = reader.byte()?;
    if !(APPEND..=REMOVE_PENDING).contains(&kind) {
        return Err(reader.corrupt("no such change of a stream"));
    }
    let key = reader.bytes()?;
    let change = match kind {
        APPEND => StreamChange::Append { id: StreamId::read(reader)?, fields: Elements::read(reader)? },
        DELETE => StreamChange::Delete { ids: Items::read(reader)? },
        TRIM => StreamChange::Trim { through: StreamId::read(reader)? },
        SET_ID => StreamChange::SetId {
            last: StreamId::read(reader)?,
            added: reader.varint()?,
            deleted: StreamId::read(reader)?,
        },
        PUT_GROUP => StreamChange::PutGroup {
            group: reader.bytes()?,
            last: StreamId::read(reader)?,
            read: read_option(reader)?,
        },
        REMOVE_GROUP => StreamChange::RemoveGroup { group: reader.bytes()? },
        PUT_CONSUMER => StreamChange::PutConsumer {
            group: reader.bytes()?,
            consumer: reader.bytes()?,
            seen: Wall(reader.varint()?),
            active: read_option(reader)?.map(Wall),
        },
        REMOVE_CONSUMER => StreamChange::RemoveConsumer { group: reader.bytes()?, consumer: reader.bytes()? },
        PUT_PENDING => StreamChange::PutPending {
            group: reader.bytes()?,
            consumer: reader.bytes()?,
            deliveries: Items::read(reader)?,
        },
        _ => StreamChange::RemovePending { group: reader.bytes()?, ids: Items::read(reader)? },
    };
    Ok((key, change))
}

fn write_option(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(u8::from(number.is_some()));
    if let Some(number) = number {
        write_varint(out, number);
    }
}

fn read_option(reader: &mut Reader<'_>) -> Result<Option<u64>, Corrupt> {
    match reader.byte()? {
        0 => Ok(None),
        1 => Ok(Some(reader.varint()?)),
        _ => Err(reader.corrupt("neither there nor not")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delivery, Effect, RecordBuilder};

    /// The bytes are those of `docs/formats/effects.md`, in both directions.
    #[track_caller]
    fn check(change: StreamChange<'_>, bytes: &[u8]) {
        let effect = Effect::ChangeStream { db: 0, key: b"k", change };
        let mut builder = RecordBuilder::new();
        builder.push(&effect);
        let expected = [b"\x15\0", bytes].concat();
        assert_eq!(builder.bytes(), expected);
        let decoded: Result<Vec<_>, _> = crate::decode(&expected).collect();
        assert_eq!(decoded.expect("it was just encoded"), [effect]);
    }

    const ID: StreamId = StreamId { ms: 300, seq: 1 };

    #[test]
    fn bytes_of_changes_are_as_documented() {
        let (group, consumer) = (&b"g"[..], &b"c1"[..]);
        let fields = Elements::words(&[b"f", b"hi"]);
        check(StreamChange::Append { id: ID, fields }, b"\x01\x01k\xac\x02\x01\x02\x01f\x02hi");
        let ids = Items::new(&[ID, StreamId::MIN]);
        check(StreamChange::Delete { ids }, b"\x02\x01k\x02\xac\x02\x01\0\0");
        check(StreamChange::Trim { through: ID }, b"\x03\x01k\xac\x02\x01");
        check(
            StreamChange::SetId { last: ID, added: 9, deleted: StreamId::MIN },
            b"\x04\x01k\xac\x02\x01\x09\0\0",
        );
        check(
            StreamChange::PutGroup { group, last: ID, read: Some(300) },
            b"\x05\x01k\x01g\xac\x02\x01\x01\xac\x02",
        );
        check(StreamChange::PutGroup { group, last: ID, read: None }, b"\x05\x01k\x01g\xac\x02\x01\0");
        check(StreamChange::RemoveGroup { group }, b"\x06\x01k\x01g");
        check(
            StreamChange::PutConsumer { group, consumer, seen: Wall(5), active: Some(Wall(4)) },
            b"\x07\x01k\x01g\x02c1\x05\x01\x04",
        );
        check(StreamChange::RemoveConsumer { group, consumer }, b"\x08\x01k\x01g\x02c1");
        let deliveries = Items::new(&[Delivery { id: ID, at: Wall(300), count: 2 }]);
        check(
            StreamChange::PutPending { group, consumer, deliveries },
            b"\x09\x01k\x01g\x02c1\x01\xac\x02\x01\xac\x02\x02",
        );
        let ids = Items::new(&[ID]);
        check(StreamChange::RemovePending { group, ids }, b"\x0a\x01k\x01g\x01\xac\x02\x01");
    }

    #[track_caller]
    fn check_corrupt(bytes: &[u8], what: &str) {
        let bytes = [b"\x15\0", bytes].concat();
        assert_eq!(crate::decode(&bytes).next().expect("one").expect_err("corrupt").what, what);
    }

    #[test]
    fn damage_is_refused() {
        check_corrupt(b"\0\x01k", "no such change of a stream");
        check_corrupt(b"\x0b\x01k", "no such change of a stream");
        check_corrupt(b"\x01\x01k\x01", "cut short");
        check_corrupt(b"\x02\x01k\x02\x01\x01\x01", "cut short");
        check_corrupt(b"\x02\x01k\xff\xff\xff\xff\x0f\x01\x01", "cut short");
        check_corrupt(b"\x05\x01k\x01g\x01\x01\x02\x05", "neither there nor not");
    }
}
