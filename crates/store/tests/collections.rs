//! Hashes, sets and sorted sets against simple models: what is put, replaced, dropped, packed and unpacked, walked, counted and replayed.

use effect::{Cause, Effect, Elements, Kind, RecordBuilder};
use std::collections::{BTreeMap, BTreeSet};
use stdx::{Random, Wall};
use store::{HashRef, Partition, SetRef, ValueRef};

const KEY: &[u8] = b"key";
const NOW: Wall = Wall(1_000);

fn apply(partition: &mut Partition, effect: &Effect<'_>) {
    let hash = effect.key().map_or(0, |key| partition.hash(key));
    assert!(partition.apply(effect, hash, NOW));
    drop(partition.take_garbage());
}

fn put(partition: &mut Partition, kind: Kind, elements: &[&[u8]]) {
    apply(partition, &Effect::PutElements { db: 0, key: KEY, kind, elements: Elements::words(elements) });
}

fn drop_elements(partition: &mut Partition, kind: Kind, elements: &[&[u8]]) {
    apply(partition, &Effect::DropElements { db: 0, key: KEY, kind, elements: Elements::words(elements) });
}

fn with_hash<T>(partition: &Partition, then: impl FnOnce(HashRef<'_>) -> T) -> T {
    match partition.peek(0, KEY, partition.hash(KEY), NOW).expect("the key is there").value() {
        ValueRef::Hash(hash) => then(hash),
        other => panic!("not a hash: {other:?}"),
    }
}

fn with_set<T>(partition: &Partition, then: impl FnOnce(SetRef<'_>) -> T) -> T {
    match partition.peek(0, KEY, partition.hash(KEY), NOW).expect("the key is there").value() {
        ValueRef::Set(set) => then(set),
        other => panic!("not a set: {other:?}"),
    }
}

fn members(set: SetRef<'_>) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    set.for_each(&mut |member| members.push(member.to_vec()));
    members
}

/// A copy made of the effects that a snapshot has is equal; so is one to which they come twice.
fn check_copies(partition: &Partition) {
    let mut record = RecordBuilder::new();
    assert_eq!(partition.snapshot_chunk(0, 0, usize::MAX, &mut record), None);
    let mut copy = Partition::new(77);
    for _ in 0..2 {
        for effect in effect::decode(record.bytes()) {
            apply(&mut copy, &effect.expect("it was just encoded"));
        }
        assert_eq!(copy.digest(), partition.digest());
    }
}

#[test]
fn a_hash_is_what_was_put_into_it() {
    for seed in 0..if cfg!(miri) { 1 } else { 30 } {
        let mut random = Random::seeded(seed);
        let mut partition = Partition::new(5);
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let fields = [4, 100, 2_000][random.below(3) as usize];
        for _ in 0..if cfg!(miri) { 60 } else { 3_000 } {
            let field = format!("field:{}", random.below(fields)).into_bytes();
            let length =
                [1, 10, 64, 65, 5_000][if random.chance(0.01) { 4 } else { random.below(3) as usize }];
            let value = vec![b'a' + random.below(26) as u8; length];
            if random.chance(0.6) {
                put(&mut partition, Kind::Hash, &[&field, &value]);
                model.insert(field, value);
            } else {
                drop_elements(&mut partition, Kind::Hash, &[&field]);
                model.remove(&field);
            }
        }
        put(&mut partition, Kind::Hash, &[b"last", b"1"]);
        model.insert(b"last".to_vec(), b"1".to_vec());
        with_hash(&partition, |hash| {
            assert_eq!(hash.len(), model.len());
            let all: BTreeMap<Vec<u8>, Vec<u8>> =
                hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
            assert_eq!(all, model);
            assert!(model.iter().all(|(field, value)| hash.get(field) == Some(&value[..])));
            assert_eq!(hash.get(b"missing"), None);
            let (mut cursor, mut seen) = (0, BTreeSet::new());
            loop {
                cursor = hash.scan(cursor, 10, &mut |field, _| assert!(seen.insert(field.to_vec())));
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(seen.len(), model.len());
            let (field, value) = hash.random(&mut random).expect("it is not empty");
            assert_eq!(model.get(field).map(Vec::as_slice), Some(value));
        });
        check_copies(&partition);
    }
}

#[test]
fn a_set_is_what_was_put_into_it() {
    for seed in 0..if cfg!(miri) { 1 } else { 40 } {
        let mut random = Random::seeded(seed);
        let mut partition = Partition::new(5);
        let mut model: BTreeSet<Vec<u8>> = BTreeSet::new();
        let (numbers, range) = (random.below(3), [9, 300, 100_000, u64::MAX][random.below(4) as usize]);
        for _ in 0..if cfg!(miri) { 60 } else { 2_000 } {
            let number = (random.below(range) as i64).wrapping_sub(range as i64 / 2);
            let member = match numbers {
                0 => number.to_string(),
                1 if random.chance(0.99) => number.to_string(),
                _ => format!("member:{}", number % 700),
            };
            if random.chance(0.7) {
                put(&mut partition, Kind::Set, &[member.as_bytes()]);
                model.insert(member.into_bytes());
            } else {
                drop_elements(&mut partition, Kind::Set, &[member.as_bytes()]);
                model.remove(member.as_bytes());
            }
        }
        put(&mut partition, Kind::Set, &[b"7"]);
        model.insert(b"7".to_vec());
        with_set(&partition, |set| {
            assert_eq!(set.len(), model.len());
            let all = members(set);
            assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), model);
            assert_eq!(all.len(), model.len());
            assert!(model.iter().all(|member| set.contains(member)));
            assert!(!set.contains(b"missing") && !set.contains(b"07"));
            let (mut cursor, mut seen) = (0, BTreeSet::new());
            loop {
                cursor = set.scan(cursor, 10, &mut |member| assert!(seen.insert(member.to_vec())));
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(seen, model);
            assert!(model.contains(&set.random(&mut random).expect("it is not empty")));
        });
        check_copies(&partition);
    }
}

/// What a sorted set answers is for its own tests; here it changes by effects and is copied.
#[test]
fn a_sorted_set_is_what_was_put_into_it() {
    for seed in 0..if cfg!(miri) { 1 } else { 20 } {
        let mut random = Random::seeded(seed);
        let mut partition = Partition::new(5);
        let mut model: BTreeMap<Vec<u8>, i32> = BTreeMap::new();
        let members = [30, 400, 4_000][random.below(3) as usize];
        for _ in 0..if cfg!(miri) { 60 } else { 2_000 } {
            let length = if random.chance(0.001) { 5_000 } else { 1 };
            let member = format!("member:{:length$}", random.below(members)).into_bytes();
            if random.chance(0.7) {
                let score = random.below(200) as i32 - 100;
                put(&mut partition, Kind::SortedSet, &[&f64::from(score).to_le_bytes(), &member]);
                model.insert(member, score);
            } else {
                drop_elements(&mut partition, Kind::SortedSet, &[&member]);
                model.remove(&member);
            }
        }
        put(&mut partition, Kind::SortedSet, &[&1f64.to_le_bytes(), b"last", b"none", b"without a score"]);
        model.insert(b"last".to_vec(), 1);
        let mut expected: Vec<(i32, Vec<u8>)> =
            model.into_iter().map(|(member, score)| (score, member)).collect();
        expected.sort();
        let entry = partition.peek(0, KEY, partition.hash(KEY), NOW).expect("the key is there");
        let ValueRef::SortedSet(set) = entry.value() else { panic!("not a sorted set") };
        assert!(set.iter().map(|(score, member)| (score as i32, member.to_vec())).eq(expected));
        check_copies(&partition);
    }
}

/// The limits are Redis's, and a collection never goes back.
#[test]
#[cfg_attr(miri, ignore)]
fn encodings_change_where_redis_changes_them() {
    let encoding = |partition: &Partition| {
        partition.peek(0, KEY, partition.hash(KEY), NOW).expect("the key is there").value().encoding()
    };
    let mut partition = Partition::new(5);
    for number in 0..512 {
        put(&mut partition, Kind::Hash, &[format!("f{number}").as_bytes(), &[b'v'; 64]]);
    }
    assert_eq!(encoding(&partition), "listpack");
    put(&mut partition, Kind::Hash, &[b"f512", b""]);
    assert_eq!(encoding(&partition), "hashtable");
    drop_elements(&mut partition, Kind::Hash, &[b"f512"]);
    assert_eq!(encoding(&partition), "hashtable");
    let remove = Effect::Remove { db: 0, key: KEY, cause: Cause::Deleted };
    apply(&mut partition, &remove);
    put(&mut partition, Kind::Hash, &[b"f", &[b'v'; 65]]);
    assert_eq!(encoding(&partition), "hashtable");
    apply(&mut partition, &remove);

    for number in 0..512 {
        put(&mut partition, Kind::Set, &[(number * 1_000_000i64).to_string().as_bytes()]);
    }
    assert_eq!(encoding(&partition), "intset");
    put(&mut partition, Kind::Set, &[b"-1"]);
    assert_eq!(encoding(&partition), "hashtable");
    apply(&mut partition, &remove);
    for number in 0..127 {
        put(&mut partition, Kind::Set, &[number.to_string().as_bytes()]);
    }
    put(&mut partition, Kind::Set, &[b"no number"]);
    assert_eq!(encoding(&partition), "listpack");
    put(&mut partition, Kind::Set, &[b"one too many"]);
    assert_eq!(encoding(&partition), "hashtable");
    apply(&mut partition, &remove);
    put(&mut partition, Kind::Set, &[b"1", &[b'x'; 65]]);
    assert_eq!(encoding(&partition), "hashtable");
}

#[test]
fn effects_on_another_kind_or_none_change_nothing() {
    let mut partition = Partition::new(5);
    drop_elements(&mut partition, Kind::Set, &[b"m"]);
    assert!(partition.is_empty());
    put(&mut partition, Kind::Set, &[b"m"]);
    let digest = partition.digest();
    put(&mut partition, Kind::Hash, &[b"f", b"v"]);
    drop_elements(&mut partition, Kind::Hash, &[b"m"]);
    apply(&mut partition, &Effect::Splice { db: 0, key: KEY, offset: 1, bytes: b"x" });
    assert_eq!(partition.digest(), digest);
    // A string in its place, and back.
    apply(&mut partition, &Effect::SetString { db: 0, key: KEY, value: b"m", expire_at: None });
    put(&mut partition, Kind::Set, &[b"m"]);
    assert_ne!(partition.digest(), digest);
    let elements = Elements::words(&[b"m"]);
    apply(
        &mut partition,
        &Effect::SetCollection { db: 0, key: KEY, kind: Kind::Set, elements, expire_at: None },
    );
    assert_eq!(partition.digest(), digest);
    apply(&mut partition, &Effect::ExpireAt { db: 0, key: KEY, at: Some(Wall(9_000)) });
    put(&mut partition, Kind::Set, &[b"n"]);
    drop_elements(&mut partition, Kind::Set, &[b"m", b"n"]);
    assert_eq!(partition.next_deadline(), Some(Wall(9_000)), "an empty one keeps its deadline");
    with_set(&partition, |set| assert_eq!(set.len(), 0));
}

/// What a partition says that it takes goes back to what it was, whatever came and went.
#[test]
fn memory_is_counted_through_every_form() {
    let mut partition = Partition::new(5);
    let score = 1f64.to_le_bytes();
    for number in 0..if cfg!(miri) { 10 } else { 5_000 } {
        put(&mut partition, Kind::SortedSet, &[&score, format!("{number:200}").as_bytes()]);
    }
    apply(&mut partition, &Effect::Remove { db: 0, key: KEY, cause: Cause::Deleted });
    put(&mut partition, Kind::Set, &[b"m"]);
    let small = partition.memory_bytes();
    let count = if cfg!(miri) { 150 } else { 5_000 };
    for number in 0..count {
        put(&mut partition, Kind::Set, &[format!("member:{number}").as_bytes()]);
    }
    assert!(partition.memory_bytes() > small + count * 16);
    let elements = Elements::words(&[b"m"]);
    apply(
        &mut partition,
        &Effect::SetCollection { db: 0, key: KEY, kind: Kind::Set, elements, expire_at: None },
    );
    assert_eq!(partition.memory_bytes(), small);
}
