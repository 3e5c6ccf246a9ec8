//! The partition against a plain map under random effects, and the guarantees of scans, expiry and snapshots while the
//! partition changes.

use effect::{Cause, Effect, RecordBuilder, decode};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use stdx::{Random, Wall};
use store::{EntryRef, Partition, ValueRef};

/// Between the deadlines that effects use, so that some are past and some are to come.
const NOW: Wall = Wall(50_000);

/// An effect that owns its bytes. Few keys and databases, so that effects meet.
#[derive(Clone, Debug)]
enum Change {
    Set { db: u8, key: u16, value: Vec<u8>, at: Option<u64> },
    Splice { db: u8, key: u16, offset: u64, bytes: Vec<u8> },
    Remove { db: u8, key: u16 },
    ExpireAt { db: u8, key: u16, at: Option<u64> },
    Flush { db: u8 },
}

impl Change {
    fn key(&self) -> Vec<u8> {
        match self {
            Change::Set { key, .. }
            | Change::Splice { key, .. }
            | Change::Remove { key, .. }
            | Change::ExpireAt { key, .. } => key_of(*key),
            Change::Flush { .. } => Vec::new(),
        }
    }

    fn effect<'a>(&'a self, key: &'a [u8]) -> Effect<'a> {
        match *self {
            Change::Set { db, ref value, at, .. } => {
                Effect::SetString { db, key, value, expire_at: at.map(Wall) }
            }
            Change::Splice { db, offset, ref bytes, .. } => Effect::Splice { db, key, offset, bytes },
            Change::Remove { db, .. } => Effect::Remove { db, key, cause: Cause::Deleted },
            Change::ExpireAt { db, at, .. } => Effect::ExpireAt { db, key, at: at.map(Wall) },
            Change::Flush { db } => Effect::Flush { db },
        }
    }
}

/// Most keys are short; every seventh is too long to be packed, and number 0 is empty.
fn key_of(number: u16) -> Vec<u8> {
    match number {
        0 => Vec::new(),
        n if n % 7 == 0 => format!("{n:>5000}").into_bytes(),
        n => format!("key:{n}").into_bytes(),
    }
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        4 => vec(any::<u8>(), 0..60),
        1 => (any::<u8>(), 3_900..4_300usize).prop_map(|(byte, len)| vec![byte; len]),
        1 => (any::<u8>(), 9_000..20_000usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn changes(keys: u16, flushes: u32, count: usize) -> impl Strategy<Value = Vec<Change>> {
    let at = || prop_oneof![Just(None), (49_990..50_010u64).prop_map(Some), (0..100_000u64).prop_map(Some)];
    let offsets = prop_oneof![8 => 0..70u64, 1 => 0..6_000u64];
    let change = prop_oneof![
        80 => (0..2u8, 0..keys, values(), at()).prop_map(|(db, key, value, at)| Change::Set { db, key, value, at }),
        30 => (0..2u8, 0..keys, offsets, values())
            .prop_map(|(db, key, offset, bytes)| Change::Splice { db, key, offset, bytes }),
        50 => (0..2u8, 0..keys).prop_map(|(db, key)| Change::Remove { db, key }),
        40 => (0..2u8, 0..keys, at()).prop_map(|(db, key, at)| Change::ExpireAt { db, key, at }),
        flushes => (0..2u8).prop_map(|db| Change::Flush { db }),
    ];
    vec(change, 0..count)
}

/// What a partition should hold.
#[derive(Default, PartialEq, Eq, Debug)]
struct Model(BTreeMap<(u8, Vec<u8>), Expiring>);

/// A value and its deadline.
type Expiring = (Vec<u8>, Option<Wall>);

impl Model {
    fn apply(&mut self, effect: &Effect<'_>) {
        match *effect {
            Effect::SetString { db, key, value, expire_at } => {
                self.0.insert((db, key.into()), (value.into(), expire_at));
            }
            Effect::Splice { db, key, offset, bytes } => {
                let (value, _) = self.0.entry((db, key.into())).or_default();
                let offset = offset as usize;
                value.resize(value.len().max(offset + bytes.len()), 0);
                value[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Effect::Remove { db, key, .. } => {
                self.0.remove(&(db, key.into()));
            }
            Effect::ExpireAt { db, key, at } => {
                if let Some((_, expire_at)) = self.0.get_mut(&(db, key.into())) {
                    *expire_at = at;
                }
            }
            Effect::Flush { db } => self.0.retain(|(of, _), _| *of != db),
            other => panic!("strings only: {other:?}"),
        }
    }

    fn of(partition: &Partition) -> Model {
        let mut model = Model::default();
        partition.for_each(&mut |effect| {
            assert!(
                !model.0.contains_key(&(effect.db(), effect.key().unwrap_or_default().to_vec())),
                "visited twice"
            );
            model.apply(&effect);
        });
        model
    }

    fn expired(&self, now: Wall) -> BTreeSet<(u8, Vec<u8>)> {
        let due = self.0.iter().filter(|(_, (_, at))| at.is_some_and(|at| at <= now));
        due.map(|(key, _)| key.clone()).collect()
    }
}

fn apply(partition: &mut Partition, effect: &Effect<'_>) {
    let hash = effect.key().map_or(0, |key| partition.hash(key));
    partition.apply(effect, hash, NOW);
}

fn bytes_of(entry: &EntryRef<'_>) -> Vec<u8> {
    match entry.value() {
        ValueRef::String(string) => string.as_bytes(&mut [0; 20]).to_vec(),
        other => panic!("not a string: {other:?}"),
    }
}

/// Everything a reader can ask must agree with the model.
fn check(partition: &mut Partition, model: &Model) {
    assert_eq!(&Model::of(partition), model);
    let mut entry_bytes = 0;
    for ((db, key), (value, at)) in &model.0 {
        let hash = partition.hash(key);
        let visible = at.is_none_or(|at| at > NOW);
        let peeked = partition.peek(*db, key, hash, NOW).map(|entry| {
            entry_bytes += entry.memory_bytes();
            (bytes_of(&entry), entry.expire_at())
        });
        assert_eq!(peeked, visible.then(|| (value.clone(), *at)));
        let got = partition.get(*db, key, hash, NOW).map(|entry| (bytes_of(&entry), entry.expire_at()));
        assert_eq!(got, peeked);
    }
    for db in 0..2 {
        let nodes = || model.0.iter().filter(|((of, _), _)| *of == db);
        assert_eq!(partition.len(db), nodes().count() as u64);
        assert_eq!(partition.expires_len(db), nodes().filter(|(_, (_, at))| at.is_some()).count() as u64);
        let visible = nodes().any(|(_, (_, at))| at.is_none_or(|at| at > NOW));
        let mut random = Random::seeded(1);
        let random_key = partition.random_key(db, &mut random, NOW).map(<[u8]>::to_vec);
        assert_eq!(random_key.is_some(), visible);
        assert!(random_key.is_none_or(|key| model.0[&(db, key)].1.is_none_or(|at| at > NOW)));
    }
    assert_eq!(partition.is_empty(), model.0.is_empty());
    assert!(partition.memory_bytes() >= entry_bytes);
    let earliest = model.0.values().filter_map(|(_, at)| *at).min();
    assert_eq!(partition.next_deadline().is_some(), earliest.is_some());
    assert!(partition.next_deadline() <= earliest);
}

/// All keys that a scan visits from start to end, `between` running after every step.
fn scan_all(
    partition: &mut Partition,
    db: u8,
    count: usize,
    mut between: impl FnMut(&mut Partition),
) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = partition.scan(db, cursor, count, NOW, &mut |key, _| keys.push(key.to_vec()));
        assert!(cursor < 1 << 48);
        if cursor == 0 {
            return keys;
        }
        between(partition);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore)]
    fn agrees_with_a_map(changes in changes(40, 2, 150)) {
        let mut partition = Partition::new(7);
        let mut model = Model::default();
        for change in &changes {
            let key = change.key();
            apply(&mut partition, &change.effect(&key));
            model.apply(&change.effect(&key));
        }
        check(&mut partition, &model);
        let scanned: BTreeSet<_> = scan_all(&mut partition, 0, 3, |_| ()).into_iter().collect();
        let visible = model.0.iter().filter(|((db, _), (_, at))| *db == 0 && at.is_none_or(|at| at > NOW));
        prop_assert_eq!(scanned, visible.map(|((_, key), _)| key.clone()).collect::<BTreeSet<_>>());
        partition.clear();
        prop_assert_eq!(partition.memory_bytes(), 0);
        check(&mut partition, &Model::default());
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn expired_finds_exactly_what_is_due(changes in changes(60, 1, 150), budget in 1..20usize) {
        let mut partition = Partition::new(7);
        let mut model = Model::default();
        for change in &changes {
            let key = change.key();
            apply(&mut partition, &change.effect(&key));
            model.apply(&change.effect(&key));
        }
        let due = model.expired(NOW);
        let mut found = BTreeSet::new();
        loop {
            let mut batch = Vec::new();
            let visited = partition.expired(NOW, budget, &mut |db, key, hash| batch.push((db, key.to_vec(), hash)));
            prop_assert!(visited == batch.len() && visited <= budget);
            if batch.is_empty() {
                break;
            }
            for (db, key, hash) in batch {
                partition.apply(&Effect::Remove { db, key: &key, cause: Cause::Expired }, hash, NOW);
                prop_assert!(found.insert((db, key)), "visited after it was removed");
            }
        }
        prop_assert_eq!(&found, &due);
        model.0.retain(|key, _| !due.contains(key));
        check(&mut partition, &model);
    }

    /// Replaying the encoded effects elsewhere, under another hash seed, gives the same content.
    #[test]
    #[cfg_attr(miri, ignore)]
    fn replay_gives_the_same_state(changes in changes(40, 2, 120)) {
        let mut partition = Partition::new(7);
        let mut log = RecordBuilder::new();
        for change in &changes {
            let key = change.key();
            apply(&mut partition, &change.effect(&key));
            log.push(&change.effect(&key));
        }
        let mut replayed = Partition::new(8);
        decode(log.bytes()).for_each(|effect| apply(&mut replayed, &effect.expect("just encoded")));
        prop_assert_eq!(replayed.digest(), partition.digest());
        prop_assert_eq!(Model::of(&replayed), Model::of(&partition));
    }

    /// A learner that gets chunks and later records in the order they happened ends with the same content.
    #[test]
    #[cfg_attr(miri, ignore)]
    fn snapshot_and_tail_give_the_same_state(
        before in changes(400, 1, 300),
        during in vec(changes(400, 1, 12), 0..60),
        bytes_max in 0..3_000usize,
    ) {
        let mut primary = Partition::new(7);
        for change in &before {
            let key = change.key();
            apply(&mut primary, &change.effect(&key));
        }
        let mut learner = Partition::new(8);
        let mut wire = RecordBuilder::new();
        let mut tail = during.iter();
        let mut next = Some((0, 0));
        while let Some((db, cursor)) = next {
            wire.clear();
            next = primary.snapshot_chunk(db, cursor, bytes_max, &mut wire);
            prop_assert!(next.is_none_or(|next| next > (db, cursor)));
            for change in tail.next().into_iter().flatten() {
                let key = change.key();
                apply(&mut primary, &change.effect(&key));
                wire.push(&change.effect(&key));
            }
            decode(wire.bytes()).for_each(|effect| apply(&mut learner, &effect.expect("just encoded")));
        }
        prop_assert_eq!(learner.digest(), primary.digest());
        prop_assert_eq!(Model::of(&learner), Model::of(&primary));
    }

    /// Redis's guarantee of SCAN: what is there from start to end is visited, though others come and go in between,
    /// enough of them to split and to shrink segments.
    #[test]
    #[cfg_attr(miri, ignore)]
    fn a_scan_misses_nothing_that_stays(
        seed in any::<u64>(),
        stay in 1..2_000u32,
        transient in 0..6_000u32,
        churn in 0..800u32,
        count in 1..200usize,
    ) {
        let mut partition = Partition::new(seed);
        let key = |kind: &str, n: u32| format!("{kind}:{n}").into_bytes();
        let set = |partition: &mut Partition, key: &[u8]| {
            apply(partition, &Effect::SetString { db: 0, key, value: b"1", expire_at: None });
        };
        (0..stay).for_each(|n| set(&mut partition, &key("stay", n)));
        (0..transient).for_each(|n| set(&mut partition, &key("transient", n)));
        let (mut added, mut removed) = (0, 0);
        let visited: BTreeSet<_> = scan_all(&mut partition, 0, count, |partition| {
            for _ in 0..churn {
                if added < 20_000 && seed % 2 == 0 {
                    set(partition, &key("added", added));
                    added += 1;
                } else if removed < transient {
                    apply(partition, &Effect::Remove { db: 0, key: &key("transient", removed), cause: Cause::Deleted });
                    removed += 1;
                }
            }
        })
        .into_iter()
        .collect();
        prop_assert!((0..stay).all(|n| visited.contains(&key("stay", n))));
    }
}

/// Without changes in between, a scan visits every key once, in steps of about the size asked for.
#[test]
#[cfg_attr(miri, ignore)]
fn a_quiet_scan_visits_every_key_once() {
    let mut partition = Partition::new(3);
    let keys: BTreeSet<_> = (0..30_000).map(|n| format!("key:{n}").into_bytes()).collect();
    for key in &keys {
        apply(&mut partition, &Effect::SetString { db: 0, key, value: b"1", expire_at: None });
    }
    let mut steps = 0;
    let visited = scan_all(&mut partition, 0, 100, |_| steps += 1);
    assert_eq!(visited.len(), keys.len());
    assert_eq!(visited.into_iter().collect::<BTreeSet<_>>(), keys);
    assert!((250..=300).contains(&steps), "{steps} steps");
}

/// The index of deadlines holds keys, not the history of their deadlines.
#[test]
#[cfg_attr(miri, ignore)]
fn moving_deadlines_take_no_memory() {
    let mut partition = Partition::new(3);
    apply(&mut partition, &Effect::SetString { db: 0, key: b"k", value: b"v", expire_at: Some(Wall(1)) });
    let bytes = partition.memory_bytes();
    for at in 0..10_000 {
        apply(
            &mut partition,
            &Effect::SetString { db: 0, key: b"k", value: b"v", expire_at: Some(Wall(at)) },
        );
        apply(&mut partition, &Effect::ExpireAt { db: 0, key: b"k", at: Some(Wall(at * 2)) });
    }
    assert_eq!(partition.memory_bytes(), bytes);
}

/// A few hundred changes of all kinds and forms, small enough for Miri: what the pointers of nodes go through.
#[test]
fn a_short_churn_agrees_with_a_map() {
    let mut random = Random::seeded(4);
    let mut partition = Partition::new(7);
    let mut model = Model::default();
    for step in 0..300u64 {
        let number = random.below(24) as u16;
        let key = key_of(number);
        let len = [0, 5, 30, 40, 100, 5_000][random.below(6) as usize];
        let value = if random.below(4) == 0 { step.to_string().into_bytes() } else { vec![b'v'; len] };
        let at = (random.below(2) == 0).then(|| 49_000 + random.below(2_000));
        let change = match random.below(8) {
            0 => Change::Remove { db: 0, key: number },
            1 => Change::ExpireAt { db: 0, key: number, at },
            2 => Change::Splice { db: 0, key: number, offset: random.below(40), bytes: value },
            _ => Change::Set { db: 0, key: number, value, at },
        };
        apply(&mut partition, &change.effect(&key));
        model.apply(&change.effect(&key));
    }
    check(&mut partition, &model);
    let mut found = BTreeSet::new();
    partition.expired(NOW, usize::MAX, &mut |db, key, _| assert!(found.insert((db, key.to_vec()))));
    assert_eq!(found, model.expired(NOW));
    drop(partition.take_garbage());
}

/// The digest of a partition with these keys: database, key, value, deadline.
fn digest(sets: &[(u8, &str, &str, Option<u64>)]) -> u64 {
    let mut partition = Partition::new(sets.len() as u64);
    for &(db, key, value, at) in sets {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        apply(&mut partition, &Effect::SetString { db, key, value, expire_at: at.map(Wall) });
    }
    partition.digest()
}

/// What makes two partitions differ makes their digests differ.
#[test]
fn digests_tell_contents_apart() {
    let digests = [
        digest(&[]),
        digest(&[(0, "a", "1", None)]),
        digest(&[(1, "a", "1", None)]),
        digest(&[(0, "b", "1", None)]),
        digest(&[(0, "a", "2", None)]),
        digest(&[(0, "a", "1", Some(0))]),
        digest(&[(0, "a", "1", Some(1))]),
        digest(&[(0, "a", "1", None), (0, "b", "1", None)]),
        digest(&[(0, "a", "b", None), (0, "b", "a", None)]),
    ];
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
    assert_eq!(
        digest(&[(0, "a", "1", None), (0, "b", "2", None)]),
        digest(&[(0, "b", "2", None), (0, "a", "1", None)])
    );
}
