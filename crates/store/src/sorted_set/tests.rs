//! Both forms against the simplest model: a map from members to scores, sorted whenever it is asked.

use super::packed::{ENTRIES_MAX, MEMBER_BYTES_MAX};
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use stdx::Random;

const SEED: u64 = 11;

/// A sorted set as the rest of the store keeps one: packed as long as it fits, large from then on.
enum Both {
    Packed(Vec<u8>),
    Large(Box<SortedSet>),
}

impl Both {
    fn put(&mut self, score: f64, member: &[u8]) {
        match self {
            Both::Packed(packed) => {
                let before = packed.clone();
                if !put_packed(packed, score, member) {
                    assert_eq!(*packed, before, "what does not fit changes nothing");
                    let mut set = SortedSet::from_packed(packed, SEED);
                    set.put(score, member);
                    *self = Both::Large(Box::new(set));
                }
            }
            Both::Large(set) => set.put(score, member),
        }
    }

    fn drop(&mut self, member: &[u8]) {
        match self {
            Both::Packed(packed) => drop_packed(packed, member),
            Both::Large(set) => (**set).drop(member, &mut Vec::new()),
        }
    }

    fn get(&self) -> SortedSetRef<'_> {
        match self {
            Both::Packed(packed) => SortedSetRef::packed(packed),
            Both::Large(set) => SortedSetRef::large(set),
        }
    }
}

type Model = BTreeMap<Vec<u8>, f64>;

fn sorted(model: &Model) -> Vec<(f64, Vec<u8>)> {
    let mut sorted: Vec<(f64, Vec<u8>)> =
        model.iter().map(|(member, score)| (*score, member.clone())).collect();
    sorted.sort_by(|a, b| compare((a.0, &a.1), (b.0, &b.1)));
    sorted
}

fn owned((score, member): (f64, &[u8])) -> (u64, Vec<u8>) {
    (score.to_bits(), member.to_vec())
}

/// Everything a reader may ask, for a set and its model.
#[track_caller]
fn check(set: &Both, model: &Model, random: &mut Random) {
    let expected = sorted(model);
    let bits: Vec<(u64, Vec<u8>)> = expected.iter().map(|(score, member)| owned((*score, member))).collect();
    let set_ref = set.get();
    assert_eq!((set_ref.len(), set_ref.is_empty()), (expected.len(), expected.is_empty()));
    assert_eq!(set_ref.iter().map(owned).collect::<Vec<_>>(), bits);
    assert!(set_ref.iter().rev().map(owned).eq(bits.iter().rev().cloned()));
    check_ranks(set_ref, &expected, random);
    let (first, last) =
        (random.below(bits.len() as u64 + 2) as usize, random.below(bits.len() as u64 + 2) as usize);
    let slice = bits.get(first..last.min(bits.len())).unwrap_or_default();
    let range = set_ref.range(first..last);
    assert_eq!(range.len(), slice.len());
    assert!(range.clone().rev().map(owned).eq(slice.iter().rev().cloned()));
    assert_eq!(range.map(owned).collect::<Vec<_>>(), slice);
    let mut scanned = BTreeSet::new();
    let mut cursor = 0;
    loop {
        cursor = set_ref.scan(cursor, 3, &mut |score, member| {
            scanned.insert(owned((score, member)));
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned, bits.iter().cloned().collect());
    let drawn = set_ref.random(random).map(owned);
    assert!(drawn.map_or(bits.is_empty(), |drawn| bits.contains(&drawn)));
    if let Both::Large(set) = set {
        set.order.check();
    }
}

#[track_caller]
fn check_ranks(set: SortedSetRef<'_>, expected: &[(f64, Vec<u8>)], random: &mut Random) {
    let below = |bound: u64| random.below(bound) as usize;
    let picks: Vec<usize> = std::iter::repeat_n(expected.len() as u64, 8).map(below).collect();
    for (rank, (score, member)) in picks.iter().filter_map(|&rank| Some((rank, expected.get(rank)?))) {
        assert_eq!(set.score(member).map(f64::to_bits), Some(score.to_bits()));
        assert_eq!(
            set.rank(member).map(|(rank, score)| (rank, score.to_bits())),
            Some((rank, score.to_bits()))
        );
        for score in [*score, score + 0.5, score - 0.5] {
            let least = expected.iter().take_while(|(here, _)| *here < score).count();
            let above = expected.iter().take_while(|(here, _)| *here <= score).count();
            assert_eq!(set.first_by_score(Bound::Included(score)), least);
            assert_eq!(set.first_by_score(Bound::Excluded(score)), above);
        }
    }
    assert_eq!((set.score(b"none"), set.rank(b"none")), (None, None));
    assert_eq!((set.first_by_score(Bound::Unbounded), set.first_by_member(Bound::Unbounded)), (0, 0));
    assert_eq!(set.first_by_score(Bound::Excluded(f64::INFINITY)), expected.len());
    assert_eq!(set.first_by_score(Bound::Included(f64::NEG_INFINITY)), 0);
}

/// Scores of which many are equal, and those that are special.
fn score(random: &mut Random) -> f64 {
    match random.below(20) {
        0 => 0.0,
        1 => -0.0,
        2 => f64::INFINITY,
        3 => f64::NEG_INFINITY,
        4 => f64::from_bits(1),
        5 => f64::MAX,
        6..13 => random.below(10) as f64 - 5.0,
        _ => random.below(1 << 40) as f64 / 1e6 - 5e5,
    }
}

/// Members of few kinds: short, alike at the start, empty, and now and then a long one.
fn member(random: &mut Random, kinds: u64, long: bool) -> Vec<u8> {
    let number = random.below(kinds);
    match random.below(100) {
        0 if long => format!("{number:300}").into_bytes(),
        1 => vec![b'm'; (number % MEMBER_BYTES_MAX as u64) as usize],
        _ => format!("member:{number}").into_bytes(),
    }
}

/// Random puts and drops, the share of drops rising and falling, checked now and then.
fn run(seed: u64, steps: u64, kinds: u64, check_every: u64, long: bool) {
    let mut random = Random::seeded(seed);
    let (mut set, mut model) = (Both::Packed(Vec::new()), Model::new());
    if long {
        // Large from the start.
        set.put(0.5, &[b'm'; 300]);
        model.insert(vec![b'm'; 300], 0.5);
    }
    for step in 0..steps {
        let member = member(&mut random, kinds, long);
        let phase = step * 6 / steps;
        if random.below(10) < if phase.is_multiple_of(2) { 2 } else { 8 } {
            set.drop(&member);
            model.remove(&member);
        } else {
            let score = score(&mut random);
            set.put(score, &member);
            model.insert(member, unsigned_zero(score));
        }
        if step % check_every == 0 {
            check(&set, &model, &mut random);
        }
    }
    check(&set, &model, &mut random);
    for member in model.keys() {
        set.drop(member);
    }
    check(&set, &Model::new(), &mut random);
}

#[test]
fn a_small_set_agrees_with_the_model() {
    let (steps, check_every) = if cfg!(miri) { (100, 30) } else { (4_000, 7) };
    run(1, steps, 40, check_every, false);
}

#[test]
fn a_set_that_grows_and_shrinks_agrees_with_the_model() {
    let (steps, kinds, check_every) = if cfg!(miri) { (240, 60, 80) } else { (30_000, 2_500, 500) };
    run(2, steps, kinds, check_every, true);
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_deep_set_agrees_with_the_model() {
    run(3, 200_000, 50_000, 40_000, true);
}

/// Equal scores: the order is that of the members alone.
#[test]
fn members_of_one_score_are_found_by_their_bytes() {
    let mut random = Random::seeded(4);
    let large = || Both::Large(Box::new(SortedSet::from_packed(&[], SEED)));
    for (mut set, count) in [
        (Both::Packed(Vec::new()), if cfg!(miri) { 20 } else { 100 }),
        (large(), if cfg!(miri) { 50 } else { 5_000 }),
    ] {
        let mut model = BTreeSet::new();
        for _ in 0..count {
            let member = member(&mut random, 100_000, false);
            set.put(if random.chance(0.5) { 0.0 } else { -0.0 }, &member);
            model.insert(member);
        }
        for _ in 0..if cfg!(miri) { 10 } else { 300 } {
            let bound = member(&mut random, 100_000, false);
            let least = model.range::<Vec<u8>, _>(..&bound).count();
            assert_eq!(set.get().first_by_member(Bound::Included(&bound)), least);
            let above = least + usize::from(model.contains(&bound));
            assert_eq!(set.get().first_by_member(Bound::Excluded(&bound)), above);
        }
    }
}

/// Scores that rise and scores that fall, to both ends of the tree.
#[test]
fn ends_grow_with_full_leaves() {
    let count: u32 = if cfg!(miri) { 60 } else { 20_000 };
    let mut set = SortedSet::from_packed(&[], SEED);
    for i in 0..count {
        set.put(f64::from(i), &i.to_le_bytes());
        set.put(-f64::from(i) - 1.0, &(i + count).to_le_bytes());
    }
    set.order.check();
    let set_ref = SortedSetRef::large(&set);
    assert!(
        set_ref.iter().map(|(score, _)| score).eq((0..2 * count).map(|i| f64::from(i) - f64::from(count)))
    );
    if cfg!(not(miri)) {
        let order = set.order.bytes() as f64 / f64::from(2 * count);
        assert!(order < 9.5, "{order}");
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn limits_are_those_of_redis() {
    let mut packed = Vec::new();
    for i in 0..ENTRIES_MAX as u32 {
        assert!(put_packed(&mut packed, 1.0, &i.to_be_bytes()));
    }
    assert!(put_packed(&mut packed, 2.0, &0u32.to_be_bytes()), "no element more");
    assert!(!put_packed(&mut packed, 1.0, b"one too many"));
    drop_packed(&mut packed, &9u32.to_be_bytes());
    assert!(put_packed(&mut packed, 1.0, &[b'm'; MEMBER_BYTES_MAX]));
    assert_eq!(SortedSetRef::packed(&packed).encoding(), "listpack");
    assert!(!put_packed(&mut Vec::new(), 1.0, &[b'm'; MEMBER_BYTES_MAX + 1]));
    let set = SortedSet::from_packed(&packed, SEED);
    assert_eq!(SortedSetRef::large(&set).encoding(), "skiplist");
}

#[test]
fn damaged_bytes_are_read_as_far_as_they_make_sense() {
    let mut packed = Vec::new();
    assert!(put_packed(&mut packed, 1.0, b"a") && put_packed(&mut packed, 2.0, b"b"));
    for len in 0..packed.len() {
        let set = SortedSetRef::packed(&packed[..len]);
        assert_eq!((set.len(), set.iter().count()), (len / 10, len / 10));
    }
}

/// No score of a command is not a number, but whatever comes must not get lost in the order.
#[test]
fn what_is_no_number_has_a_place() {
    let count: u32 = if cfg!(miri) { 50 } else { 500 };
    let mut set = SortedSet::from_packed(&[], SEED);
    for i in 0..count {
        let score = if i % 3 == 0 { f64::NAN } else { f64::from(i) };
        set.put(if i % 2 == 0 { -score } else { score }, &i.to_le_bytes());
    }
    (0..count).step_by(2).for_each(|i| set.put(f64::from(i), &i.to_le_bytes()));
    (0..count).for_each(|i| set.drop(&i.to_le_bytes(), &mut Vec::new()));
    assert_eq!((SortedSetRef::large(&set).len(), SortedSetRef::large(&set).iter().count()), (0, 0));
}

#[test]
#[cfg_attr(miri, ignore)]
fn an_element_costs_what_the_module_says() {
    let mut random = Random::seeded(6);
    let mut set = SortedSet::from_packed(&[], SEED);
    for i in 0..100_000u64 {
        set.put(random.below(1 << 40) as f64, &i.to_le_bytes());
    }
    let per_element = |bytes: usize| bytes as f64 / 100_000.0;
    assert!(set.order.check() == 3);
    let (order, members) = (per_element(set.order.bytes()), per_element(set.members.memory_bytes()));
    // A node of 32 bytes and a slot.
    assert!(order < 10.5 && members < 44.0, "{order} {members}");
    let full = set.memory_bytes();
    (0..99_000u64).for_each(|i| set.drop(&i.to_le_bytes(), &mut Vec::new()));
    set.order.check();
    assert!(per_element(set.order.bytes()) * 100.0 < 13.0);
    assert!(set.memory_bytes() * 20 < full, "{} {full}", set.memory_bytes());
}

#[test]
#[cfg_attr(miri, ignore)]
fn random_elements_are_uniform() {
    let mut random = Random::seeded(7);
    for count in [100u64, 1_000] {
        let mut set = Both::Packed(Vec::new());
        (0..count).for_each(|i| set.put(1.0, &i.to_be_bytes()));
        let mut met = vec![0u32; count as usize];
        for _ in 0..count * 100 {
            let (_, member) = set.get().random(&mut random).expect("the set is not empty");
            met[u64::from_be_bytes(member.try_into().expect("eight bytes")) as usize] += 1;
        }
        assert!(met.iter().all(|n| (50..170).contains(n)), "{:?} {:?}", met.iter().min(), met.iter().max());
    }
}
