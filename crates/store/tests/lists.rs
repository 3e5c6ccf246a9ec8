//! Lists through effects: against a deque, and that a replay over a state which has some of the effects already ends where
//! the first run did.

use effect::{Cause, Effect, Elements, Kind, RecordBuilder, decode};
use std::collections::VecDeque;
use stdx::{Random, Wall};
use store::{ListRef, Partition, ValueRef};

const KEYS: [&[u8]; 2] = [b"a", b"another"];
const NOW: Wall = Wall(1_000);

fn apply(partition: &mut Partition, effect: &Effect<'_>) {
    let hash = effect.key().map_or(0, |key| partition.hash(key));
    assert!(partition.apply(effect, hash, NOW));
    drop(partition.take_garbage());
}

fn list<'p>(partition: &'p Partition, key: &[u8]) -> Option<ListRef<'p>> {
    match partition.peek(0, key, partition.hash(key), NOW)?.value() {
        ValueRef::List(list) => Some(list),
        other => panic!("not a list: {other:?}"),
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

/// One change of a list of this length, as a command makes it.
fn change(
    random: &mut Random,
    key: &[u8],
    model: &mut VecDeque<Vec<u8>>,
    revision: u64,
    log: &mut RecordBuilder,
) {
    let len = model.len() as u64;
    if len > 0 && random.chance(0.02) {
        model.clear();
        return log.push(&Effect::Remove { db: 0, key, cause: Cause::Deleted });
    }
    let index = [0, len, random.below(len + 1)][random.below(3) as usize];
    let removed = random.below(4).min(len - index);
    let element_len = [3, 30, 300][random.below(3) as usize];
    let count = random.below(4) + u64::from(removed >= len);
    let added: Vec<Vec<u8>> = (0..count).map(|_| vec![b'a' + random.below(9) as u8; element_len]).collect();
    model.drain(index as usize..(index + removed) as usize);
    for (at, element) in added.iter().enumerate() {
        model.insert(index as usize + at, element.clone());
    }
    let words: Vec<&[u8]> = added.iter().map(Vec::as_slice).collect();
    if random.chance(0.02) {
        let revision = revision.to_le_bytes();
        let whole: Vec<&[u8]> =
            std::iter::once(&revision[..]).chain(model.iter().map(Vec::as_slice)).collect();
        let elements = Elements::words(&whole);
        return log.push(&Effect::SetCollection { db: 0, key, kind: Kind::List, elements, expire_at: None });
    }
    log.push(&Effect::SpliceList { db: 0, key, revision, index, removed, elements: Elements::words(&words) });
}

#[test]
fn replays_end_where_the_first_run_did() {
    for seed in 0..if cfg!(miri) { 1 } else { 60 } {
        let mut random = Random::seeded(seed);
        let (mut partition, mut models) = (Partition::new(1), [VecDeque::new(), VecDeque::new()]);
        let (mut log, mut snapshots) = (Vec::new(), Vec::new());
        for _ in 0..if cfg!(miri) { 40 } else { 400 } {
            let which = random.below(2) as usize;
            let key = KEYS[which];
            let revision = list(&partition, key).map_or(0, |list| list.revision());
            let mut record = RecordBuilder::new();
            change(&mut random, key, &mut models[which], revision, &mut record);
            let bytes = record.take();
            replay(&mut partition, &bytes);
            log.push(bytes);
            if random.chance(0.03) {
                snapshots.push((log.len(), snapshot(&partition)));
            }
        }
        for (key, model) in KEYS.into_iter().zip(&models) {
            let list = list(&partition, key);
            assert_eq!(list.map_or(0, |list| list.len()), model.len());
            assert!(list.is_none_or(|list| list.iter().eq(model.iter())));
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
fn effects_that_do_not_fit_change_nothing() {
    let mut partition = Partition::new(1);
    let (db, key, elements) = (0, KEYS[0], Elements::words(&[b"x"]));
    apply(&mut partition, &Effect::SpliceList { db, key, revision: 1, index: 0, removed: 0, elements });
    apply(&mut partition, &Effect::PutElements { db, key, kind: Kind::List, elements });
    apply(&mut partition, &Effect::DropElements { db, key, kind: Kind::List, elements });
    assert!(partition.is_empty());
    apply(&mut partition, &Effect::PutElements { db, key, kind: Kind::Set, elements });
    let digest = partition.digest();
    apply(&mut partition, &Effect::SpliceList { db, key, revision: 0, index: 0, removed: 0, elements });
    assert_eq!(partition.digest(), digest);
    // Beyond the end is the end, even of what a primary would never send.
    let key = KEYS[1];
    for revision in 0..2 {
        let (index, removed) = (u64::MAX, u64::MAX);
        apply(&mut partition, &Effect::SpliceList { db, key, revision, index, removed, elements });
    }
    let list = list(&partition, key).expect("it was made");
    assert_eq!((list.len(), list.revision(), list.get(1)), (2, 2, Some(&b"x"[..])));
}

#[test]
fn memory_goes_back_to_what_it_was() {
    let mut partition = Partition::new(1);
    let (db, key, elements) = (0, KEYS[0], Elements::words(&[&[b'x'; 50]]));
    let push = |partition: &mut Partition, revision| {
        apply(partition, &Effect::SpliceList { db, key, revision, index: 0, removed: 0, elements });
    };
    push(&mut partition, 0);
    let small = partition.memory_bytes();
    let count = if cfg!(miri) { 30 } else { 3_000 };
    (1..count).for_each(|revision| push(&mut partition, revision));
    let large = partition.memory_bytes();
    assert!(large > small + count * 50 && large < small + count * 60 + 4_000, "{large}");
    apply(&mut partition, &Effect::Remove { db, key, cause: Cause::Deleted });
    push(&mut partition, 0);
    assert_eq!(partition.memory_bytes(), small);
}
