//! Eviction as a node uses it: partitions, an evictor that they tell of changes, and a limit that is kept.
//!
//! Hit ratios are compared with plain implementations of LRU and S3-FIFO, on requests that bring out what is hard for
//! either; accounting is checked to the last token. Long under Miri, and without `unsafe` of its own.
#![cfg(not(miri))]

mod reference;
mod replay;
mod requests;

use effect::Effect;
use proptest::collection::vec;
use proptest::prelude::*;
use reference::{Lru, Reference, S3Fifo};
use replay::{Cache, Request, START, Unit};
use std::sync::Arc;
use stdx::{PartitionId, Wall};
use store::eviction::{Evictor, Group, Policy, Rule, Scope};

fn policy(name: &str) -> Policy {
    Policy::parse(name).expect("a policy")
}

fn cache(name: &str, objects: u64) -> Cache {
    Cache::new(policy(name), 256, Unit::Objects, objects)
}

/// Percentage of hits of a policy.
fn hits(name: &str, objects: u64, keys: &[u64]) -> f64 {
    let mut cache = cache(name, objects);
    let hits = keys.iter().filter(|&&key| cache.request(&request(key))).count();
    assert!(cache.used <= objects && cache.keys() == cache.used);
    hits as f64 / keys.len() as f64 * 100.0
}

fn reference_hits(reference: &mut impl Reference, keys: &[u64]) -> f64 {
    let hits = keys.iter().filter(|&&key| reference.request(key)).count();
    hits as f64 / keys.len() as f64 * 100.0
}

fn request(key: u64) -> Request {
    Request { time_seconds: 0, key, bytes: 1, ttl_seconds: 0 }
}

/// Tokens held for keys that are there: exact, unless a database was flushed.
fn live_tokens(cache: &mut Cache) -> u64 {
    cache.evictor.digest();
    cache.evictor.len() - cache.evictor.dead_len()
}

#[test]
fn lru_is_as_good_as_exact_lru() {
    for (name, objects, keys) in requests::all() {
        let (ours, exact) =
            (hits("allkeys-lru", objects, &keys), reference_hits(&mut Lru::new(objects), &keys));
        assert!((ours - exact).abs() < 0.5, "{name}: {ours:.2} and {exact:.2}");
    }
}

#[test]
fn s3fifo_is_as_good_as_plain_s3fifo() {
    for (name, objects, keys) in requests::all() {
        let ours = hits("allkeys-s3fifo", objects, &keys);
        let plain = reference_hits(&mut S3Fifo::new(objects), &keys);
        assert!(ours > plain - 0.5, "{name}: {ours:.2} and {plain:.2}");
    }
}

#[test]
fn adaptive_is_as_good_as_the_better_of_both() {
    for (name, objects, keys) in requests::all() {
        let ours = hits("allkeys-adaptive", objects, &keys);
        let lru = reference_hits(&mut Lru::new(objects), &keys);
        let s3fifo = reference_hits(&mut S3Fifo::new(objects), &keys);
        assert!(ours > lru.max(s3fifo) - 1.0, "{name}: {ours:.2}, LRU {lru:.2}, S3-FIFO {s3fifo:.2}");
    }
}

/// Regressions of any policy: these are what it reaches, less half a point.
#[test]
fn hit_ratios_do_not_fall() {
    let floors = [
        ("allkeys-lru", 21.1),
        ("allkeys-s3fifo", 28.3),
        ("allkeys-adaptive", 28.3),
        ("allkeys-gdsf", 24.8),
        ("allkeys-lfu", 27.2),
        ("allkeys-random", 19.0),
    ];
    let keys = requests::skewed_with_scans();
    for (name, floor) in floors {
        let ratio = hits(name, 1_000, &keys);
        assert!(ratio >= floor, "{name}: {ratio:.2}");
    }
}

#[test]
fn gdsf_keeps_small_objects() {
    let keys = requests::skewed_with_scans();
    let ratio = |name: &str| {
        let mut cache = Cache::new(policy(name), 256, Unit::Bytes, 400_000);
        let requests = keys.iter().map(|&key| Request { bytes: requests::bytes_of(key), ..request(key) });
        let count = requests.filter(|request| cache.request(request)).count();
        assert!(cache.used <= 400_000);
        count as f64 / keys.len() as f64 * 100.0
    };
    let (gdsf, lru) = (ratio("allkeys-gdsf"), ratio("allkeys-lru"));
    assert!(gdsf > lru + 5.0, "{gdsf:.2} and {lru:.2}");
}

#[test]
fn recency_is_finer_than_a_second() {
    // All within one second, and the cache turns over many times: 50 keys are always in use.
    let mut cache = cache("allkeys-lru", 500);
    let mut misses = 0;
    for round in 0..2_000u64 {
        for key in 0..50 {
            misses += u64::from(!cache.request(&request(key)));
        }
        (0..20).for_each(|new| assert!(!cache.request(&request(1_000 + round * 20 + new))));
    }
    // One-second recency would lose most of them every time.
    assert!(misses < 100, "{misses}");
}

#[test]
fn volatile_policies_leave_other_keys_alone() {
    for policy in Policy::all() {
        let Policy::Evict(Scope::Volatile, rule) = policy else { continue };
        let mut cache = cache(policy.name(), 300);
        let deadline = |key: u64| Some(Wall(START.0 + 10_000 + key));
        (0..100).for_each(|key| cache.set(key, 1, None));
        (100..1_000).for_each(|key| cache.set(key, 1, deadline(key)));
        assert_eq!((cache.used, cache.evicted), (300, 700), "{}", policy.name());
        assert!((0..100).all(|key| cache.get(key)), "{}", policy.name());
        if rule == Rule::Ttl {
            assert!((800..1_000).filter(|&key| cache.get(key)).count() > 150, "late ones stay");
        }
        // A key that gets a deadline may go, and one that loses it may not.
        cache.set(0, 1, deadline(0));
        (100..1_000).for_each(|key| {
            if cache.get(key) {
                cache.set(key, 1, None);
            }
        });
        cache.limit = 299;
        cache.shrink();
        assert!(!cache.get(0) && cache.used == 299, "{}", policy.name());
        cache.limit = 298;
        cache.shrink();
        assert_eq!(cache.used, 299, "{}: nothing is left to evict", policy.name());
    }
}

#[test]
fn nothing_is_evicted_or_kept_without_a_policy() {
    let mut cache = cache("noeviction", 10);
    (0..1_000).for_each(|key| assert!(!cache.request(&request(key))));
    assert_eq!((cache.used, cache.evictor.len(), cache.evicted), (1_000, 0, 0));
}

#[test]
fn one_key_set_and_deleted_for_ever_takes_no_memory() {
    for policy in Policy::all() {
        let mut cache = cache(policy.name(), 1_000);
        let deadline = Some(Wall(START.0 + 1_000_000));
        (1..100).for_each(|key| cache.set(key, 1, deadline));
        for _ in 0..5_000 {
            cache.set(0, 1, deadline);
            cache.evictor.digest();
            cache.remove(0);
        }
        cache.evictor.digest();
        assert!(cache.evictor.len() < 99 + 1_000, "{}: {}", policy.name(), cache.evictor.len());
    }
}

#[test]
fn overwriting_adds_no_tokens() {
    for policy in Policy::all() {
        let mut cache = cache(policy.name(), 1_000);
        for round in 0..100 {
            (0..100).for_each(|key| cache.set(key, 1, Some(Wall(START.0 + 1_000_000 + round))));
        }
        let expected = if live_tokens(&mut cache) > 0 { 100 } else { 0 };
        assert_eq!(cache.evictor.len(), expected, "{}", policy.name());
    }
}

#[test]
fn a_lower_limit_is_reached_step_by_step() {
    for policy in Policy::all().filter(|policy| *policy != Policy::NoEviction) {
        let mut cache = cache(policy.name(), 5_000);
        (0..6_000).for_each(|key| cache.set(key, 1, Some(Wall(START.0 + 1_000_000 + key))));
        for limit in [4_000, 1_000, 999, 10, 0] {
            cache.limit = limit;
            cache.shrink();
            assert_eq!((cache.used, cache.keys()), (limit, limit), "{}", policy.name());
        }
        assert!(cache.evictor.victim(&mut Group::new(&mut cache.partitions, START)).is_none());
        assert_eq!((cache.evictor.len(), cache.evictor.dead_len()), (0, 0), "{}", policy.name());
    }
}

#[test]
fn huge_objects_pass_through() {
    for policy in Policy::all() {
        let Policy::Evict(Scope::All, _) = policy else { continue };
        let mut cache = Cache::new(policy, 16, Unit::Bytes, 1 << 20);
        for key in 0..3_000u64 {
            let bytes = if key % 50 == 0 { 900_000 } else { 100 };
            cache.request(&Request { bytes, ..request(key % 700) });
            assert!(cache.used <= 1 << 20, "{}", policy.name());
        }
        let live = live_tokens(&mut cache);
        assert!(live == 0 || live == cache.keys(), "{}", policy.name());
    }
}

#[test]
fn a_victim_that_is_given_back_comes_up_again() {
    for name in ["allkeys-lru", "allkeys-s3fifo", "allkeys-gdsf", "volatile-random", "volatile-lfu"] {
        let mut cache = cache(name, 100);
        (0..100).for_each(|key| cache.set(key, 1, Some(Wall(START.0 + 1_000_000))));
        for _ in 0..1_000 {
            let victim =
                cache.evictor.victim(&mut Group::new(&mut cache.partitions, START)).expect("a hundred");
            cache.evictor.give_back(victim);
        }
        assert_eq!((live_tokens(&mut cache), cache.evictor.len()), (100, 100), "{name}");
        cache.limit = 0;
        cache.shrink();
        assert!(cache.evictor.victim(&mut Group::new(&mut cache.partitions, START)).is_none());
        assert_eq!((cache.keys(), cache.evictor.len()), (0, 0), "{name}");
    }
}

#[test]
fn a_partition_that_is_watched_late_is_known_whole() {
    let mut cache = cache("noeviction", 0);
    (0..1_000).for_each(|key| cache.set(key, 1, None));
    let other = Evictor::new(policy("allkeys-lru"), 1);
    for (id, partition) in cache.partitions.0.iter_mut().enumerate() {
        partition.watch(Some((Arc::clone(other.pulse()), PartitionId(id as u16))));
    }
    cache.evictor = other;
    assert_eq!(live_tokens(&mut cache), 1_000);
    // It is not to be evicted from any more.
    let gone = cache.partitions.0[3].len_all();
    cache.partitions.0[3].watch(None);
    cache.shrink();
    assert_eq!((cache.keys(), cache.used), (gone, gone));
}

#[test]
fn flushed_tokens_are_swept() {
    for name in ["allkeys-adaptive", "allkeys-gdsf", "volatile-lfu", "volatile-lru"] {
        let mut cache = cache(name, 20_000);
        for round in 0..6 {
            (0..10_000).for_each(|key| cache.set(key, 1, Some(Wall(START.0 + 1_000_000))));
            assert!(cache.evictor.len() < 25_000, "{name}, round {round}: {}", cache.evictor.len());
            for partition in &mut cache.partitions.0 {
                partition.apply(&Effect::Flush { db: 0 }, 0, START);
            }
            cache.used = 0;
        }
        cache.limit = 0;
        (0..100).for_each(|key| cache.set(key, 1, Some(Wall(START.0 + 1_000_000))));
        assert_eq!((cache.keys(), cache.used), (0, 0), "{name}");
    }
}

/// What may happen to a cache.
#[derive(Clone, Debug)]
enum Step {
    Get(u64),
    Set(u64, Option<u64>),
    Remove(u64),
    Limit(u64),
    Later(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..300u64;
    let step = prop_oneof![
        6 => key.clone().prop_map(Step::Get),
        6 => (key.clone(), proptest::option::of(1..50u64)).prop_map(|(key, ttl)| Step::Set(key, ttl)),
        3 => key.prop_map(Step::Remove),
        1 => (0..250u64).prop_map(Step::Limit),
        1 => (1..20u32).prop_map(Step::Later),
    ];
    vec(step, 1..1_500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Every policy keeps the limit and holds exactly one token for each key that it may evict, whatever happens.
    #[test]
    fn accounting_is_exact(steps in steps()) {
        for policy in Policy::all() {
            let mut cache = cache(policy.name(), 200);
            let mut seconds = 0;
            for step in &steps {
                match *step {
                    Step::Get(key) => drop(cache.get(key)),
                    Step::Set(key, ttl) => {
                        let at = ttl.map(|ttl| Wall(START.0 + (u64::from(seconds) + ttl) * 1_000));
                        cache.set(key, 1, at);
                    }
                    Step::Remove(key) => cache.remove(key),
                    Step::Limit(limit) => {
                        cache.limit = limit;
                        cache.shrink();
                    }
                    Step::Later(by) => {
                        seconds += by;
                        cache.request(&Request { time_seconds: seconds, ..request(0) });
                    }
                }
                if let Policy::Evict(Scope::All, _) = policy {
                    prop_assert!(cache.used <= cache.limit, "{}", policy.name());
                }
            }
            let expiring: u64 = cache.partitions.0.iter().map(|partition| partition.expires_len(0)).sum();
            let live = live_tokens(&mut cache);
            let tracked = if let Policy::Evict(Scope::All, _) = policy { cache.keys() } else { expiring };
            prop_assert!(live == tracked || cache.evictor.is_empty(), "{}: {live}, {tracked}", policy.name());
            cache.limit = 0;
            cache.shrink();
            match policy {
                Policy::Evict(Scope::All, _) => prop_assert_eq!(cache.keys(), 0),
                Policy::Evict(Scope::Volatile, _) => prop_assert_eq!(cache.keys(), tracked_rest(&cache)),
                Policy::NoEviction => {}
            }
        }
    }
}

/// Keys without a deadline.
fn tracked_rest(cache: &Cache) -> u64 {
    cache.keys() - cache.partitions.0.iter().map(|partition| partition.expires_len(0)).sum::<u64>()
}
