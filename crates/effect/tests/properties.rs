//! Properties of the codec: everything encoded comes back, every flipped bit of a batch is noticed, and no input
//! makes a decoder panic.

use effect::{
    Cause, Effect, Elements, Hashes, Items, Kind, Record, RecordBuilder, StreamChange, StreamId,
    batch_length, decode, decode_batch, encode_batch,
};
use proptest::collection::vec;
use proptest::prelude::*;
use stdx::{Epoch, PartitionId, Seq, Wall};

/// An effect that owns its bytes.
#[derive(Clone, Debug)]
struct Owned {
    kind: u8,
    db: u8,
    key: Vec<u8>,
    bytes: Vec<u8>,
    at: Option<u64>,
    offset: u64,
}

impl Owned {
    fn borrow<'a>(&'a self, words: &'a [&'a [u8]]) -> Effect<'a> {
        let (db, key) = (self.db, &self.key[..]);
        match self.kind {
            0 => Effect::SetString { db, key, value: &self.bytes, expire_at: self.at.map(Wall) },
            1 => Effect::Splice { db, key, offset: self.offset, bytes: &self.bytes },
            2 => Effect::Remove { db, key, cause: Cause::Deleted },
            3 => Effect::Remove { db, key, cause: Cause::Expired },
            4 => Effect::Remove { db, key, cause: Cause::Evicted },
            5 => Effect::ExpireAt { db, key, at: self.at.map(Wall) },
            6 => Effect::SetFilter { db, key, filter: &self.bytes, expire_at: self.at.map(Wall) },
            7 => Effect::CreateFilter { db, key, header: &self.bytes },
            8 => Effect::AddToFilter { db, key, revision: self.offset, hashes: self.hashes() },
            9 => Effect::DeleteFromFilter { db, key, revision: self.offset, hashes: self.hashes() },
            10 => Effect::LoadFilter { db, key, offset: self.offset, bytes: &self.bytes },
            11 => Effect::SetCollection {
                db,
                key,
                kind: self.collection(),
                elements: Elements::words(words),
                expire_at: self.at.map(Wall),
            },
            12 => Effect::PutElements { db, key, kind: self.collection(), elements: Elements::words(words) },
            13 => Effect::DropElements { db, key, kind: self.collection(), elements: Elements::words(words) },
            14 => Effect::SpliceList {
                db,
                key,
                revision: self.offset,
                index: self.at.unwrap_or_default(),
                removed: 7,
                elements: Elements::words(words),
            },
            15 => Effect::ChangeStream { db, key, change: self.change(words) },
            _ => Effect::Flush { db },
        }
    }

    fn change<'a>(&'a self, words: &'a [&'a [u8]]) -> StreamChange<'a> {
        let id = StreamId { ms: self.offset, seq: self.at.unwrap_or_default() };
        let group = &self.bytes[..];
        match self.key.len() % 5 {
            0 => StreamChange::Append { id, fields: Elements::words(words) },
            1 => StreamChange::Trim { through: id },
            2 => StreamChange::PutGroup { group, last: id, read: self.at },
            3 => {
                let active = self.at.map(Wall);
                StreamChange::PutConsumer { group, consumer: &self.key, seen: Wall(self.offset), active }
            }
            _ => StreamChange::Delete { ids: Items::new(&[StreamId::MAX, StreamId::MIN]) },
        }
    }

    fn words(&self) -> Vec<&[u8]> {
        self.bytes.chunks(7).collect()
    }

    fn collection(&self) -> Kind {
        Kind::ALL[usize::from(self.db) % Kind::ALL.len()]
    }

    fn hashes(&self) -> Hashes<'_> {
        Hashes::new(self.bytes.as_chunks().0)
    }
}

fn effects() -> impl Strategy<Value = Vec<Owned>> {
    let one = (
        0..17u8,
        0..16u8,
        vec(any::<u8>(), 0..40),
        vec(any::<u8>(), 0..300),
        any::<Option<u64>>(),
        0..1u64 << 28,
    )
        .prop_map(|(kind, db, key, bytes, at, offset)| Owned { kind, db, key, bytes, at, offset });
    vec(one, 0..8)
}

fn encode(effects: &[Owned]) -> Vec<u8> {
    let mut builder = RecordBuilder::new();
    effects.iter().for_each(|effect| builder.push(&effect.borrow(&effect.words())));
    assert_eq!(builder.count(), effects.len());
    builder.take()
}

fn encode_records(partition: u16, records: &[(u64, u64, Vec<Owned>)]) -> (Vec<Record>, Vec<u8>) {
    let mut seq = Seq::default();
    let records: Vec<Record> = records
        .iter()
        .map(|(epoch, counter, effects)| {
            seq = Seq { epoch: Epoch(seq.epoch.0 + epoch), counter: seq.counter + counter };
            Record::new(seq, &encode(effects))
        })
        .collect();
    let mut bytes = Vec::new();
    encode_batch(&mut bytes, PartitionId(partition), records.iter());
    (records, bytes)
}

/// Walks everything a decoder can reach; the result does not matter, only that it ends without a panic.
fn read_all(bytes: &[u8]) -> usize {
    let effects = decode(bytes).count();
    let records =
        decode_batch(bytes).map_or(0, |batch| batch.records().map(|(_, e)| decode(e).count()).sum());
    effects + records
}

proptest! {
    #[test]
    fn effects_round_trip(effects in effects()) {
        let bytes = encode(&effects);
        let decoded: Result<Vec<_>, _> = decode(&bytes).collect();
        let words: Vec<_> = effects.iter().map(Owned::words).collect();
        let expected: Vec<_> = effects.iter().zip(&words).map(|(effect, words)| effect.borrow(words)).collect();
        prop_assert_eq!(decoded.expect("just encoded"), expected);
    }

    #[test]
    fn batches_round_trip(
        partition in any::<u16>(),
        records in vec((0..3u64, 1..1u64 << 40, effects()), 0..6),
    ) {
        let (records, bytes) = encode_records(partition, &records);
        prop_assert_eq!(batch_length(&bytes), Some(bytes.len() as u64));
        let batch = decode_batch(&bytes).expect("just encoded");
        prop_assert_eq!(batch.partition, PartitionId(partition));
        prop_assert_eq!(batch.len(), records.len());
        let decoded: Vec<_> = batch.records().map(|(seq, effects)| Record::new(seq, effects)).collect();
        prop_assert_eq!(decoded, records);
    }

    #[test]
    fn flipped_bits_and_cuts_are_noticed(
        records in vec((0..3u64, 1..100u64, effects()), 0..4),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let (_, mut bytes) = encode_records(1, &records);
        let at = at.index(bytes.len());
        prop_assert!(decode_batch(&bytes[..at]).is_err());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode_batch(&bytes).is_err());
        read_all(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(read_all(&bytes) <= bytes.len());
    }

    /// Bytes that look like effects reach deeper than random ones.
    #[test]
    fn damaged_effects_never_panic(effects in effects(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode(&effects);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(read_all(&bytes) <= bytes.len());
    }

    /// Equal effects have equal bytes: what decodes is what its decoded form encodes to.
    #[test]
    fn the_encoding_is_canonical(bytes in vec(0..12u8, 0..60)) {
        if let Ok(effects) = decode(&bytes).collect::<Result<Vec<_>, _>>() {
            let mut builder = RecordBuilder::new();
            effects.iter().for_each(|effect| builder.push(effect));
            prop_assert_eq!(builder.bytes(), &bytes[..]);
        }
    }
}
