//! Streams through effects: a replay over a state which has some of the effects already ends where the first run did.

use effect::{Cause, Delivery, Effect, Elements, Items, Kind, RecordBuilder, StreamChange, StreamId, decode};
use stdx::{Random, Wall};
use store::{Partition, Stream, ValueRef};

const KEYS: [&[u8]; 2] = [b"a", b"another"];
const GROUPS: [&[u8]; 2] = [b"g", b"h"];
const CONSUMERS: [&[u8]; 3] = [b"one", b"two", b"three"];
const NOW: Wall = Wall(1_000);

fn apply(partition: &mut Partition, effect: &Effect<'_>) {
    let hash = effect.key().map_or(0, |key| partition.hash(key));
    assert!(partition.apply(effect, hash, NOW));
    drop(partition.take_garbage());
}

fn stream<'p>(partition: &'p Partition, key: &[u8]) -> Option<&'p Stream> {
    match partition.peek(0, key, partition.hash(key), NOW)?.value() {
        ValueRef::Stream(stream) => Some(stream),
        other => panic!("not a stream: {other:?}"),
    }
}

fn snapshot(partition: &Partition) -> Vec<u8> {
    let mut record = RecordBuilder::new();
    assert_eq!(partition.snapshot_chunk(0, 0, usize::MAX, &mut record), None);
    record.take()
}

fn replay(partition: &mut Partition, bytes: &[u8]) {
    decode(bytes).for_each(|effect| apply(partition, &effect.expect("it was just encoded")));
}

/// Runs `then` on a change such as a command makes of this stream, if there is one to make.
fn with_change(random: &mut Random, stream: Option<&Stream>, then: &mut dyn FnMut(StreamChange<'_>)) {
    let pick = |list: &[&'static [u8]], random: &mut Random| list[random.below(list.len() as u64) as usize];
    let (group, consumer) = (pick(&GROUPS, random), pick(&CONSUMERS, random));
    let last = stream.map_or(StreamId::MIN, Stream::last_id);
    let ids: Vec<StreamId> = stream.map_or(Vec::new(), |stream| {
        let ids = stream.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id());
        ids.filter(|_| random.chance(0.05)).collect()
    });
    let at = Wall(random.below(1_000));
    match random.below(16) {
        0..7 => {
            let value = random.next_u64().to_string();
            let id = StreamId { ms: last.ms + random.below(2), seq: last.seq + 1 };
            let fields = [&b"field"[..], value.as_bytes()];
            then(StreamChange::Append { id, fields: Elements::words(&fields) });
        }
        7 => then(StreamChange::PutGroup { group, last, read: Some(at.0).filter(|at| at % 2 == 0) }),
        _ if stream.is_none() => {}
        8 if !ids.is_empty() => then(StreamChange::Delete { ids: Items::new(&ids) }),
        9 if ids.len() > 2 => then(StreamChange::Trim { through: ids[0] }),
        10 => {
            let top = stream.and_then(Stream::newest_id).unwrap_or(StreamId::MIN);
            let last = StreamId { ms: top.ms, seq: top.seq + random.below(3) };
            then(StreamChange::SetId { last, added: at.0 + 5_000, deleted: StreamId::MIN });
        }
        // A command on a group has seen that it is there.
        11..16 if stream.is_none_or(|stream| stream.group(group).is_none()) => {}
        11 => then(StreamChange::RemoveGroup { group }),
        12 => then(StreamChange::PutConsumer { group, consumer, seen: at, active: None }),
        13 => then(StreamChange::RemoveConsumer { group, consumer }),
        14 => {
            let deliveries: Vec<_> = ids.iter().map(|id| Delivery { id: *id, at, count: at.0 }).collect();
            then(StreamChange::PutPending { group, consumer, deliveries: Items::new(&deliveries) });
        }
        _ => then(StreamChange::RemovePending { group, ids: Items::new(&ids) }),
    }
}

#[test]
fn replays_end_where_the_first_run_did() {
    for seed in 0..if cfg!(miri) { 1 } else { 60 } {
        let (mut random, mut partition) = (Random::seeded(seed), Partition::new(1));
        let (mut log, mut snapshots) = (Vec::new(), Vec::new());
        for _ in 0..if cfg!(miri) { 40 } else { 500 } {
            let (mut record, key) = (RecordBuilder::new(), KEYS[random.below(2) as usize]);
            let found = stream(&partition, key);
            if found.is_some() && random.chance(0.01) {
                record.push(&Effect::Remove { db: 0, key, cause: Cause::Deleted });
            } else {
                with_change(&mut random, found, &mut |change| {
                    record.push(&Effect::ChangeStream { db: 0, key, change });
                });
            }
            let bytes = record.take();
            replay(&mut partition, &bytes);
            log.push(bytes);
            if random.chance(0.03) {
                snapshots.push((log.len(), snapshot(&partition)));
            }
        }
        for (until, snapshot) in snapshots {
            let mut copy = Partition::new(2);
            replay(&mut copy, &snapshot);
            let from = random.below(until as u64 + 1) as usize;
            log[from..].iter().for_each(|record| replay(&mut copy, record));
            assert_eq!(copy.digest(), partition.digest(), "seed {seed}: from {from} over {until}");
        }
    }
}

#[test]
fn changes_of_what_is_no_stream_change_nothing() {
    let mut partition = Partition::new(1);
    let (db, key, id) = (0, KEYS[0], StreamId { ms: 1, seq: 0 });
    let elements = Elements::words(&[b"f", b"v"]);
    for change in [
        StreamChange::Trim { through: id },
        StreamChange::SetId { last: id, added: 1, deleted: id },
        StreamChange::RemoveGroup { group: b"g" },
        StreamChange::PutConsumer { group: b"g", consumer: b"c", seen: NOW, active: None },
    ] {
        apply(&mut partition, &Effect::ChangeStream { db, key, change });
        apply(&mut partition, &Effect::PutElements { db, key, kind: Kind::Stream, elements });
        assert!(partition.is_empty());
    }
    apply(&mut partition, &Effect::SetString { db, key, value: b"v", expire_at: None });
    let digest = partition.digest();
    apply(
        &mut partition,
        &Effect::ChangeStream { db, key, change: StreamChange::Append { id, fields: elements } },
    );
    assert_eq!(partition.digest(), digest);
    // A whole stream that is none has what could be read of it.
    let expire_at = Some(Wall(9_000));
    apply(&mut partition, &Effect::SetCollection { db, key, kind: Kind::Stream, elements, expire_at });
    assert_eq!(stream(&partition, key).map(Stream::len), Some(0));
    let whole = partition.memory_bytes();
    apply(
        &mut partition,
        &Effect::ChangeStream { db, key, change: StreamChange::Append { id, fields: elements } },
    );
    assert!(
        stream(&partition, key).is_some_and(|stream| stream.len() == 1) && partition.memory_bytes() > whole
    );
    assert_eq!(partition.next_deadline(), expire_at);
}
