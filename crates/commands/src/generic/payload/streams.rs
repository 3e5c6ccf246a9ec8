//! Streams in payloads: written as Redis 7.2 does, read as it and its elder versions write them.
//!
//! ```text
//! stream (15, 19, 21):  blocks | (id, listpack) ... | length | last id |
//!                       from 19 on: first id | greatest deleted id | entries added |
//!                       groups | group ...
//! group:    name | last id | from 19 on: entries read | pending | (id, u64 ms, times) ... | consumers | consumer ...
//! consumer: name | u64 ms seen | from 21 on: u64 ms active | pending | id ...
//!
//! listpack: entries, deleted, fields, field ..., 0 | entry ...
//! entry:    flags, milliseconds, sequence less those of the block, (fields, field, value ... | value ...), length
//! ```
//! An id before a listpack and of a pending entry is sixteen bytes, big-endian; elsewhere it is two lengths. Source: Redis's
//! `rdb.c` and `t_stream.c`.

use super::listpack::listpack;
use super::listpack_writer::Writer;
use super::{Reader, encode_length, finish};
use effect::{Delivery, Effect, Elements, ElementsBuilder, Items, Kind, StreamChange, StreamId};
use std::collections::BTreeMap;
use stdx::Wall;
use store::{Group, Partition, Stream, StreamEntry};

const STREAM: u8 = 15;
const STREAM_2: u8 = 19;
const STREAM_3: u8 = 21;

/// Most entries of a block, and bytes of one, unless it is of one entry.
const BLOCK_ENTRIES_MAX: usize = 100;
const BLOCK_BYTES_MAX: usize = 4096;
/// The entry was deleted.
const DELETED: i64 = 1;
/// The entry has the fields of the block.
const SAME_FIELDS: i64 = 2;
/// What is not known, or never was.
const NONE: u64 = u64::MAX;
/// The key of the stream while it is put together.
const SCRATCH_KEY: &[u8] = b"stream";

/// Whether this type byte is that of a stream.
pub(super) fn is_stream(code: u8) -> bool {
    matches!(code, STREAM | STREAM_2 | STREAM_3)
}

/// The payload of a stream.
pub fn dump_stream(stream: &Stream) -> Vec<u8> {
    let (mut blocks, mut count) = (Vec::new(), 0);
    let mut entries = stream.range(StreamId::MIN, StreamId::MAX).peekable();
    while entries.peek().is_some() {
        let (mut block, mut bytes) = (Vec::new(), 0);
        while block.len() < BLOCK_ENTRIES_MAX
            && let Some(entry) =
                entries.next_if(|entry| bytes == 0 || bytes + bytes_of(entry) < BLOCK_BYTES_MAX)
        {
            bytes += bytes_of(&entry);
            block.push(entry);
        }
        write_block(&block, &mut blocks);
        count += 1;
    }
    let mut out = vec![STREAM_3];
    encode_length(count, &mut out);
    out.append(&mut blocks);
    number(stream.len(), &mut out);
    for id in [stream.last_id(), stream.oldest_id().unwrap_or_default(), stream.max_deleted_id()] {
        number(id.ms, &mut out);
        number(id.seq, &mut out);
    }
    number(stream.entries_added(), &mut out);
    encode_length(stream.groups().len(), &mut out);
    stream.groups().for_each(|(name, group)| write_group(name, group, &mut out));
    finish(out)
}

/// The payload of a stream, as [`Effect::SetCollection`] has it.
pub(super) fn dump_elements(elements: Elements<'_>) -> Option<Vec<u8>> {
    Scratch::of(elements).stream().map(dump_stream)
}

/// About what an entry takes in a listpack.
fn bytes_of(entry: &StreamEntry<'_>) -> usize {
    entry.fields().map(|(field, value)| field.len() + value.len() + 4).sum::<usize>() + 8
}

fn write_block(entries: &[StreamEntry<'_>], out: &mut Vec<u8>) {
    let Some(first) = entries.first() else { return };
    let mut writer = Writer::new();
    for number in [entries.len(), 0, first.len()] {
        writer.integer(number as i64);
    }
    first.fields().for_each(|(field, _)| writer.string(field));
    writer.integer(0);
    for entry in entries {
        let names =
            |entry: &StreamEntry<'_>| entry.fields().map(|(field, _)| field.to_vec()).collect::<Vec<_>>();
        let is_alike = names(entry) == names(first);
        writer.integer(if is_alike { SAME_FIELDS } else { 0 });
        writer.integer(entry.id().ms.wrapping_sub(first.id().ms).cast_signed());
        writer.integer(entry.id().seq.wrapping_sub(first.id().seq).cast_signed());
        if !is_alike {
            writer.integer(entry.len() as i64);
        }
        for (field, value) in entry.fields() {
            if !is_alike {
                writer.string(field);
            }
            writer.string(value);
        }
        let pieces = if is_alike { 3 + entry.len() } else { 4 + 2 * entry.len() };
        writer.integer(pieces as i64);
    }
    string(&raw(first.id()), out);
    string(&writer.finish(), out);
}

fn write_group(name: &[u8], group: &Group, out: &mut Vec<u8>) {
    string(name, out);
    number(group.last_id().ms, out);
    number(group.last_id().seq, out);
    number(group.entries_read().unwrap_or(NONE), out);
    encode_length(group.pending_len(), out);
    for (id, pending) in group.pending_range(StreamId::MIN..=StreamId::MAX) {
        out.extend_from_slice(&raw(id));
        out.extend_from_slice(&pending.at().0.to_le_bytes());
        number(pending.count(), out);
    }
    encode_length(group.consumers_len(), out);
    for (name, consumer) in group.consumers() {
        string(name, out);
        out.extend_from_slice(&consumer.seen().0.to_le_bytes());
        out.extend_from_slice(&consumer.active().map_or(NONE, |at| at.0).to_le_bytes());
        encode_length(consumer.pending_len(), out);
        consumer.pending_range(StreamId::MIN..=StreamId::MAX).for_each(|id| out.extend_from_slice(&raw(id)));
    }
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    encode_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn number(number: u64, out: &mut Vec<u8>) {
    encode_length(number as usize, out);
}

fn raw(id: StreamId) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

/// The stream behind a type byte, as [`Effect::SetCollection`] has it; `None` if it is none or damaged.
pub(super) fn restore(code: u8, reader: &mut Reader<'_>) -> Option<ElementsBuilder> {
    let mut scratch = Scratch::new();
    let mut entries = 0;
    for _ in 0..reader.length()? {
        let first = id_of(reader.string()?.as_slice())?;
        entries += read_block(first, &listpack(&reader.string()?)?, &mut scratch)?;
    }
    let (len, last) = (reader.length()? as u64, read_id(reader)?);
    let (mut added, mut deleted) = (len, StreamId::MIN);
    if code != STREAM {
        read_id(reader)?;
        (deleted, added) = (read_id(reader)?, reader.length()? as u64);
    }
    let newest = scratch.stream()?.newest_id();
    if entries != len || scratch.stream()?.len() != len || newest.is_some_and(|newest| newest > last) {
        return None;
    }
    scratch.change(StreamChange::SetId { last, added, deleted });
    for _ in 0..reader.length()? {
        read_group(code, reader, &mut scratch)?;
    }
    scratch.elements()
}

/// Reads the entries of a block; how many there were.
fn read_block(first: StreamId, pieces: &[Vec<u8>], scratch: &mut Scratch) -> Option<u64> {
    let mut pieces = pieces.iter().map(Vec::as_slice);
    let integer = |pieces: &mut dyn Iterator<Item = &[u8]>| pieces.next().and_then(protocol::parse_i64);
    let (count, deleted) = (integer(&mut pieces)?, integer(&mut pieces)?);
    let mut names: Vec<&[u8]> = Vec::new();
    for _ in 0..integer(&mut pieces)? {
        names.push(pieces.next()?);
    }
    integer(&mut pieces)?;
    let mut read = 0;
    for _ in 0..count.checked_add(deleted)? {
        let flags = integer(&mut pieces)?;
        let ms = first.ms.wrapping_add(integer(&mut pieces)?.cast_unsigned());
        let seq = first.seq.wrapping_add(integer(&mut pieces)?.cast_unsigned());
        let mut fields: Vec<&[u8]> = Vec::new();
        if flags & SAME_FIELDS != 0 {
            for name in &names {
                fields.extend([*name, pieces.next()?]);
            }
        } else {
            for _ in 0..integer(&mut pieces)? {
                fields.extend([pieces.next()?, pieces.next()?]);
            }
        }
        integer(&mut pieces)?;
        if flags & DELETED == 0 {
            read += 1;
            scratch
                .change(StreamChange::Append { id: StreamId { ms, seq }, fields: Elements::words(&fields) });
        }
    }
    (pieces.next().is_none() && read == count.cast_unsigned()).then_some(read)
}

fn read_group(code: u8, reader: &mut Reader<'_>, scratch: &mut Scratch) -> Option<()> {
    let (group, last) = (reader.string()?, read_id(reader)?);
    let read = if code == STREAM { NONE } else { reader.length()? as u64 };
    let read = Some(read).filter(|read| *read != NONE);
    scratch.change(StreamChange::PutGroup { group: &group, last, read });
    let mut pending = BTreeMap::new();
    for _ in 0..reader.length()? {
        let id = id_of(reader.take(16)?)?;
        let (at, count) = (Wall(u64::from_le_bytes(reader.array()?)), reader.length()? as u64);
        pending.insert(id, Delivery { id, at, count });
    }
    for _ in 0..reader.length()? {
        let (consumer, seen) = (reader.string()?, u64::from_le_bytes(reader.array()?));
        let active = if code == STREAM_3 { u64::from_le_bytes(reader.array()?) } else { seen };
        let active = Some(Wall(active)).filter(|at| at.0 != NONE);
        let (group, consumer) = (&group[..], &consumer[..]);
        scratch.change(StreamChange::PutConsumer { group, consumer, seen: Wall(seen), active });
        let mut deliveries = Vec::new();
        for _ in 0..reader.length()? {
            // Each is pending in the group, and for one consumer.
            deliveries.push(pending.remove(&id_of(reader.take(16)?)?)?);
        }
        scratch.change(StreamChange::PutPending { group, consumer, deliveries: Items::new(&deliveries) });
    }
    pending.is_empty().then_some(())
}

fn read_id(reader: &mut Reader<'_>) -> Option<StreamId> {
    Some(StreamId { ms: reader.length()? as u64, seq: reader.length()? as u64 })
}

fn id_of(bytes: &[u8]) -> Option<StreamId> {
    let id = u128::from_be_bytes(bytes.try_into().ok()?);
    Some(StreamId { ms: (id >> 64) as u64, seq: id as u64 })
}

/// A stream that is put together.
struct Scratch(Partition);

impl Scratch {
    /// An empty stream.
    fn new() -> Scratch {
        Scratch::of(Elements::words(&[]))
    }

    /// The stream that these elements are.
    fn of(elements: Elements<'_>) -> Scratch {
        let (mut partition, key, kind) = (Partition::new(0), SCRATCH_KEY, Kind::Stream);
        let made = Effect::SetCollection { db: 0, key, kind, elements, expire_at: None };
        partition.apply(&made, partition.hash(key), Wall(0));
        Scratch(partition)
    }

    fn change(&mut self, change: StreamChange<'_>) {
        let hash = self.0.hash(SCRATCH_KEY);
        self.0.apply(&Effect::ChangeStream { db: 0, key: SCRATCH_KEY, change }, hash, Wall(0));
    }

    fn stream(&self) -> Option<&Stream> {
        match self.0.peek(0, SCRATCH_KEY, self.0.hash(SCRATCH_KEY), Wall(0))?.value() {
            store::ValueRef::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn elements(&self) -> Option<ElementsBuilder> {
        let entry = self.0.peek(0, SCRATCH_KEY, self.0.hash(SCRATCH_KEY), Wall(0))?;
        Some(entry.value().elements()?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PayloadError, Restored, VERSION, crc64};
    use super::*;
    use stdx::Random;

    /// Made by Redis 7.0 (DUMP): three entries, one of them of other fields, a fourth was deleted; two groups, of one of which two
    /// entries are pending for the first of two consumers.
    const STREAM_OF_REDIS: &[u8] = b"\x13\x01\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\xc3@E@L\x07L\x00\x00\x00\x1d\x00\x03\x01@\x00\x07\x81a\x02\x00\x01\x02\x01\x00 \x01\x03\x01\x01\x04\x01@\x14\x08\xdf\xff\x02\x83xyz\x04\x04`\x13@\x1d\x0d\x81b\x02\x05\x01\x81c\x02\xf2\x90\xee\xfe\x04\x08 .\x00\x03@$ /\x01\x01\xff\x03\x04\x00\x01\x01\x02\x00\x04\x02\x01g\x02\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x9f\x8f\x0d\x1f\xa2\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\x9f\x8f\x0d\x1f\xa2\x01\x00\x00\x01\x02\x03one\x9f\x8f\x0d\x1f\xa2\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\x03two\xb2\x8f\x0d\x1f\xa2\x01\x00\x00\x00\x01h\x04\x00\x03\x00\x00\x0a\x00\xfa\xdf\xfc\x15\x1c\x18^\xf6";
    /// One of a group alone.
    const EMPTY_STREAM_OF_REDIS: &[u8] = b"\x13\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01g\x00\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x0a\x00\xa0\x1a\x95=\xfb\x9c\xdd\xde";

    fn restored(payload: &[u8]) -> Result<Scratch, PayloadError> {
        match super::super::restore(payload)? {
            Restored::Collection(Kind::Stream, elements) => Ok(Scratch::of(elements.elements())),
            other => panic!("not a stream: {other:?}"),
        }
    }

    fn with_footer(body: &[u8]) -> Vec<u8> {
        let mut payload = body.to_vec();
        payload.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc64(&payload);
        payload.extend_from_slice(&crc.to_le_bytes());
        payload
    }

    #[test]
    fn reads_what_redis_wrote() {
        let scratch = restored(STREAM_OF_REDIS).expect("a payload of Redis");
        let stream = scratch.stream().expect("a stream");
        let id = |ms, seq| StreamId { ms, seq };
        let entries: Vec<String> = stream
            .range(StreamId::MIN, StreamId::MAX)
            .map(|entry| {
                let fields = entry
                    .fields()
                    .map(|(field, value)| format!("{}={}", field.escape_ascii(), value.escape_ascii()));
                format!("{} {}", entry.id(), fields.collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(entries, ["1-1 a=1", "2-1 b=5 c=-70000", "4-0 a=1"]);
        assert_eq!((stream.last_id(), stream.max_deleted_id()), (id(4, 0), id(2, 0)));
        assert_eq!(stream.entries_added(), 4);
        let group = stream.group(b"g").expect("it was there");
        assert_eq!((group.last_id(), group.entries_read(), group.pending_len()), (id(2, 1), None, 2));
        let pending = group.pending(id(2, 1)).expect("it is pending");
        assert_eq!(
            (pending.consumer(), pending.at(), pending.count()),
            (&b"one"[..], Wall(1_795_817_312_159), 1)
        );
        let pending = group.consumers().map(|(_, consumer)| consumer.pending_len());
        assert_eq!(pending.collect::<Vec<_>>(), [2, 0]);
        assert_eq!(stream.group(b"h").and_then(Group::entries_read), Some(3));
        let empty = restored(EMPTY_STREAM_OF_REDIS).expect("a payload of Redis");
        assert_eq!(empty.stream().map(|stream| (stream.len(), stream.groups().len())), Some((0, 1)));
    }

    #[test]
    fn what_is_written_is_read() {
        let (mut random, mut scratch) = (Random::seeded(3), Scratch::new());
        for seq in 1..=400 {
            let (value, text) = (random.next_u64().to_string(), vec![b'x'; random.below(300) as usize]);
            let words: [&[u8]; 4] =
                [if random.chance(0.9) { b"f" } else { b"g" }, value.as_bytes(), b"h", &text];
            let fields = Elements::words(&words[..if random.chance(0.8) { 4 } else { 2 }]);
            let id = StreamId { ms: seq / 7 * 1_000, seq };
            scratch.change(StreamChange::Append { id, fields });
        }
        let (group, consumer, last) = (&b"g"[..], &b"c"[..], StreamId::MAX);
        scratch.change(StreamChange::PutGroup { group, last, read: None });
        let (seen, active) = (Wall(7), Some(Wall(5)));
        scratch.change(StreamChange::PutConsumer { group, consumer, seen, active });
        scratch.change(StreamChange::PutConsumer { group, consumer: b"d", seen, active: None });
        let deliveries = [Delivery { id: StreamId::MAX, at: seen, count: 900 }];
        scratch.change(StreamChange::PutPending { group, consumer, deliveries: Items::new(&deliveries) });
        scratch.change(StreamChange::SetId { last, added: 12_345, deleted: StreamId { ms: 0, seq: 1 } });
        let payload = dump_stream(scratch.stream().expect("a stream"));
        let copy = restored(&payload).expect("it was just written");
        assert_eq!(copy.0.digest(), scratch.0.digest());
        let nothing = Scratch::new();
        let copy = restored(&dump_stream(nothing.stream().expect("a stream"))).expect("it was just written");
        assert_eq!(copy.0.digest(), nothing.0.digest());
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let body = &STREAM_OF_REDIS[..STREAM_OF_REDIS.len() - 10];
        for at in 0..body.len() {
            assert_eq!(restored(&with_footer(&body[..at])).err(), Some(PayloadError::Format), "cut at {at}");
            for bit in 0..8 {
                let mut damaged = body.to_vec();
                damaged[at] ^= 1 << bit;
                // Some damage makes another value; none makes a panic.
                let _ = super::super::restore(&with_footer(&damaged));
            }
        }
    }
}
