//! Streams against simple models: entries by id, and who has which pending entry.

use super::*;
use effect::{Delivery, ElementsBuilder, Items};
use stdx::{Random, Wall};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

/// A stream and what has to be in it.
struct Pair {
    stream: Stream,
    model: BTreeMap<StreamId, Fields>,
    remains: Vec<Remains>,
}

impl Pair {
    fn new() -> Pair {
        Pair { stream: Stream::new(), model: BTreeMap::new(), remains: Vec::new() }
    }

    fn append(&mut self, id: StreamId, fields: Fields) {
        let words: Vec<&[u8]> = fields.iter().flat_map(|(field, value)| [&field[..], value]).collect();
        let before = self.stream.entries_added();
        let change = StreamChange::Append { id, fields: Elements::words(&words) };
        self.stream.change(change, &mut self.remains);
        self.stream.change(change, &mut self.remains);
        assert_eq!((self.stream.last_id(), self.stream.entries_added()), (id, before + 1));
        self.model.insert(id, fields);
    }

    fn delete(&mut self, ids: &[StreamId]) {
        self.stream.change(StreamChange::Delete { ids: Items::new(ids) }, &mut self.remains);
        ids.iter().for_each(|id| drop(self.model.remove(id)));
    }

    fn trim(&mut self, trim: Trim, is_approximate: bool) {
        let trimmed = self.stream.trimmed(trim, is_approximate, None);
        let left = match trim {
            Trim::Length(len) => (self.model.len() as u64).saturating_sub(len),
            Trim::Before(id) => self.model.range(..id).count() as u64,
        };
        let count = trimmed.map_or(0, |trimmed| trimmed.count);
        assert!(count == left || is_approximate && count < left, "{trim:?}: {count} of {left}");
        if let Some(Trimmed { through, count }) = trimmed {
            assert_eq!(self.model.range(..=through).count() as u64, count);
            assert!(self.model.contains_key(&through));
            self.stream.change(StreamChange::Trim { through }, &mut self.remains);
            self.model.retain(|id, _| *id > through);
        }
    }

    fn check(&self, random: &mut Random) {
        let stream = &self.stream;
        stream.check();
        assert_eq!(stream.len(), self.model.len() as u64);
        let ids = || self.model.keys().copied();
        assert_eq!((stream.oldest_id(), stream.newest_id()), (ids().next(), ids().next_back()));
        let any = |random: &mut Random| {
            let nth = random.below(self.model.len() as u64 + 1) as usize;
            let id = ids().nth(nth).unwrap_or(StreamId::MAX);
            [Some(id), id.next(), id.previous()][random.below(3) as usize].unwrap_or(id)
        };
        for (start, end) in
            [(StreamId::MIN, StreamId::MAX), (any(random), any(random)), (any(random), any(random))]
        {
            let expected: Vec<_> = self.model.iter().filter(|(id, _)| (start..=end).contains(id)).collect();
            let found = |entry: &StreamEntry<'_>, (id, fields): &(&StreamId, &Fields)| {
                assert_eq!((entry.id(), entry.len()), (**id, fields.len()));
                assert!(entry.fields().eq(fields.iter().map(|(field, value)| (&field[..], &value[..]))));
            };
            let forward: Vec<_> = stream.range(start, end).collect();
            let back: Vec<_> = stream.range_back(start, end).collect();
            assert_eq!((forward.len(), back.len()), (expected.len(), expected.len()));
            forward.iter().zip(&expected).for_each(|(entry, expected)| found(entry, expected));
            back.iter().rev().zip(&expected).for_each(|(entry, expected)| found(entry, expected));
        }
        let one = any(random);
        assert_eq!(stream.get(one).map(|entry| entry.id()), self.model.get(&one).map(|_| one));
    }
}

impl Stream {
    /// Holds what is counted against what is there.
    fn check(&self) {
        let mut before = None;
        for (first, block) in &self.blocks {
            let ids: Vec<StreamId> = block.entries(*first).map(|entry| entry.id()).collect();
            assert!(ids.len() == block.count() && !ids.is_empty());
            assert!(ids.is_sorted() && ids[0] >= *first && before < Some(ids[0]));
            before = ids.last().copied();
        }
        assert_eq!(self.newest, before);
        assert_eq!(self.block_bytes, self.blocks.values().map(Block::heap_bytes).sum::<usize>());
        assert_eq!(self.pending, self.groups.values().map(Group::pending_len).sum::<usize>());
        let mut bytes = 0;
        for (name, group) in &self.groups {
            bytes += share_of::<Box<[u8]>, Group>() + name.len();
            let mut pending = 0;
            for (name, consumer) in group.consumers() {
                bytes += bytes_of_consumer(name);
                pending += consumer.pending_len();
                let ids: Vec<_> = consumer.pending_range(StreamId::MIN..=StreamId::MAX).collect();
                assert_eq!(ids.len(), consumer.pending_len());
                assert!(
                    ids.iter().all(|id| group.pending(*id).is_some_and(|pending| pending.consumer() == name))
                );
            }
            assert_eq!(pending, group.pending_len());
        }
        assert_eq!(self.group_bytes, bytes);
    }
}

fn fields(random: &mut Random, variety: u64, len_max: u64) -> Fields {
    let shape = random.below(variety);
    let text = |random: &mut Random, letter: u8| vec![letter; random.below(len_max) as usize];
    (0..1 + shape % 3)
        .map(|place| (format!("field:{shape}:{place}").into_bytes(), text(random, b'a' + place as u8)))
        .collect()
}

fn run(seed: u64, variety: u64, len_max: u64, turns: u64) {
    let (mut random, mut pair, mut last) = (Random::seeded(seed), Pair::new(), StreamId::MIN);
    for turn in 0..turns {
        let swelling = (turn * 4 / turns).is_multiple_of(2);
        match random.below(if swelling { 24 } else { 6 }) {
            0 => {
                let nth = random.below(pair.model.len() as u64 + 1) as usize;
                let ids: Vec<StreamId> = pair.model.keys().copied().skip(nth).take(3).collect();
                pair.delete(&ids);
            }
            1 => {
                let newest = pair.stream.newest_id().into_iter().collect::<Vec<_>>();
                pair.delete(&newest);
            }
            2 => {
                let len = (pair.model.len() as u64).saturating_sub(random.below(6));
                pair.trim(Trim::Length(len), random.chance(0.3));
            }
            3 => {
                let nth = random.below(8) as usize;
                let id = pair.model.keys().nth(nth).copied().unwrap_or(last);
                pair.trim(Trim::Before(id), random.chance(0.3));
            }
            _ => {
                last = if random.chance(0.5) {
                    id(last.ms, last.seq + 1 + random.below(3))
                } else {
                    id(last.ms + 1 + (random.next_u64() >> (40 + random.below(24))), random.below(200))
                };
                let fields = fields(&mut random, variety, len_max);
                pair.append(last, fields);
            }
        }
        if turn % 11 == 0 {
            pair.check(&mut random);
        }
    }
    pair.check(&mut random);
    check_copy(&pair.stream);
    pair.trim(Trim::Length(3), false);
    pair.check(&mut random);
    pair.trim(Trim::Length(0), false);
    pair.check(&mut random);
    assert!(pair.model.is_empty() && pair.stream.block_bytes == 0);
}

/// A stream that is filled with all that another has is equal to it.
fn check_copy(stream: &Stream) {
    let whole = |stream: &Stream| {
        let mut whole = ElementsBuilder::new();
        stream.push_whole(&mut whole);
        whole
    };
    let (elements, mut copy) = (whole(stream), Stream::new());
    assert_eq!(copy.put_whole(elements.elements()), Some(()));
    copy.check();
    assert_eq!(whole(&copy).elements(), elements.elements());
    // What is cut short ends without a panic.
    let strings: Vec<&[u8]> = elements.elements().iter().collect();
    for len in 0..strings.len().min(50) {
        assert_eq!(Stream::new().put_whole(Elements::words(&strings[..len])), None);
    }
}

#[test]
fn a_stream_is_its_entries_in_order() {
    let (seeds, turns) = if cfg!(miri) { (1, 60) } else { (6, 1_500) };
    for seed in 0..seeds {
        for (variety, len_max) in [(1, 8), (4, 40), (1, 700), (3, 6_000)] {
            run(seed, variety, len_max, turns);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn entries_of_equal_fields_cost_little_and_a_large_trim_is_handed_out() {
    let mut pair = Pair::new();
    for number in 0..20_000 {
        let fields = [("temperature", "21"), ("humidity", "47")];
        let fields = fields.map(|(field, value)| (field.as_bytes().to_vec(), value.as_bytes().to_vec()));
        pair.append(id(1_700_000_000_000 + number * 7, 0), fields.to_vec());
    }
    let bytes = pair.stream.memory_bytes();
    assert!(bytes < 20_000 * 16, "{bytes}");
    assert_eq!(pair.stream.blocks_len(), 200);
    pair.trim(Trim::Length(19_950), true);
    assert_eq!((pair.stream.len(), pair.remains.len()), (20_000, 0));
    pair.trim(Trim::Length(19_850), true);
    assert_eq!((pair.stream.len(), pair.remains.len()), (19_900, 0));
    assert_eq!(pair.stream.trimmed(Trim::Length(0), true, Some(250)).map(|trimmed| trimmed.count), Some(200));
    pair.trim(Trim::Length(50), false);
    assert_eq!((pair.stream.len(), pair.remains.len()), (50, 1));
    let Some(Remains::StreamParts(parts)) = pair.remains.pop() else { panic!("parts of a stream") };
    assert!(parts.memory_bytes() > bytes / 2 && pair.stream.memory_bytes() < bytes / 50);
    pair.check(&mut Random::seeded(1));
}

fn group_change(stream: &mut Stream, change: StreamChange<'_>) {
    stream.change(change, &mut Vec::new());
    stream.change(change, &mut Vec::new());
    stream.check();
}

#[test]
fn pending_entries_move_between_consumers() {
    let mut stream = Stream::new();
    let group = &b"g"[..];
    // A group that is not there, and then is.
    group_change(&mut stream, StreamChange::RemovePending { group, ids: Items::new(&[id(1, 0)]) });
    group_change(&mut stream, StreamChange::PutGroup { group, last: id(1, 0), read: None });
    group_change(&mut stream, StreamChange::PutGroup { group, last: id(2, 0), read: Some(2) });
    let (at, active) = (Wall(5), Some(Wall(6)));
    group_change(&mut stream, StreamChange::PutConsumer { group, consumer: b"one", seen: at, active });
    let deliveries: Vec<Delivery> = (1..=9).map(|seq| Delivery { id: id(1, seq), at, count: 1 }).collect();
    for consumer in [&b"one"[..], b"two"] {
        let deliveries = Items::new(&deliveries[if consumer == b"one" { 0..6 } else { 3..9 }]);
        group_change(&mut stream, StreamChange::PutPending { group, consumer, deliveries });
    }
    group_change(&mut stream, StreamChange::RemovePending { group, ids: Items::new(&[id(1, 1), id(1, 9)]) });
    let found = stream.group(group).expect("it was made");
    assert_eq!((found.last_id(), found.entries_read(), found.pending_len()), (id(2, 0), Some(2), 7));
    let names: Vec<_> = found.consumers().map(|(name, consumer)| (name, consumer.pending_len())).collect();
    assert_eq!(names, [(&b"one"[..], 2), (b"two", 5)]);
    let one = found.consumer(b"one").expect("it was made");
    assert_eq!((one.seen(), one.active()), (at, active));
    assert!(one.pending_range(id(1, 3)..=id(1, 9)).eq([id(1, 3)]));
    assert!(found.pending_range(id(1, 4)..=id(1, 5)).map(|(id, _)| id).eq([id(1, 4), id(1, 5)]));
    check_copy(&stream);
    group_change(&mut stream, StreamChange::RemoveConsumer { group, consumer: b"two" });
    assert_eq!(stream.group(group).map(Group::pending_len), Some(2));
    group_change(&mut stream, StreamChange::RemoveGroup { group });
    assert_eq!(stream.memory_bytes(), 0);
}

#[test]
fn the_last_id_can_be_set_back() {
    let mut pair = Pair::new();
    let field = || vec![(b"f".to_vec(), b"v".to_vec())];
    pair.append(id(5, 0), field());
    pair.append(id(9, 0), field());
    pair.delete(&[id(9, 0), id(5, 0)]);
    assert_eq!((pair.stream.last_id(), pair.stream.max_deleted_id()), (id(9, 0), id(9, 0)));
    let set = StreamChange::SetId { last: id(2, 0), added: 7, deleted: StreamId::MIN };
    pair.stream.change(set, &mut Vec::new());
    pair.append(id(3, 0), field());
    assert_eq!(pair.stream.entries_added(), 8);
    // Once more, over what came of it.
    pair.stream.change(set, &mut Vec::new());
    pair.stream.change(
        StreamChange::Append { id: id(3, 0), fields: Elements::words(&[b"f", b"v"]) },
        &mut Vec::new(),
    );
    assert_eq!((pair.stream.entries_added(), pair.stream.len()), (8, 1));
    pair.check(&mut Random::seeded(1));
}
