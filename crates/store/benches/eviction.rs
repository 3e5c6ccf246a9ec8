//! What eviction costs: time of a read and of a write that evicts, of the choice alone in microseconds, and memory, at a million keys
//! over 256 partitions.
//!
//! The first line is without an evictor: its writes remove the oldest key in place of a chosen one. Keys are drawn at random
//! from more than there are, and looked up without being asked for ahead, so that most steps wait for memory.
#![allow(missing_docs, reason = "a program")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

#[path = "../tests/replay/mod.rs"]
mod replay;

use replay::{Cache, Unit};
use std::hint::black_box;
use stdx::hash::mix64;
use stdx::{Clock, Mono, Random};
use store::eviction::{Group, Policy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 1_000_000;
const KEYS_OF_TEST: u64 = 1_000;
const PARTITIONS: u16 = 256;

struct Cost {
    read_ns: f64,
    write_ns: f64,
    choice_us: [f64; 2],
    bytes_per_key: f64,
}

fn main() {
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let keys = if is_test { KEYS_OF_TEST } else { KEYS };
    println!(
        "{:<18}{:>10}{:>12}{:>12}{:>14}{:>16}",
        "policy", "GET ns", "SET ns", "choice p50", "choice p99", "bytes per key"
    );
    for policy in Policy::all() {
        let cost = measure(policy, keys);
        println!(
            "{:<18}{:>10.0}{:>12.0}{:>12.2}{:>14.2}{:>16.2}",
            policy.name(),
            cost.read_ns,
            cost.write_ns,
            cost.choice_us[0],
            cost.choice_us[1],
            cost.bytes_per_key
        );
    }
}

fn measure(policy: Policy, keys: u64) -> Cost {
    let clock = Clock::system();
    let mut cache = Cache::new(policy, PARTITIONS, Unit::Objects, u64::MAX);
    let deadline = Some(stdx::Wall(replay::START.0 + 1_000_000_000));
    (0..keys).for_each(|key| cache.set(key, 1, deadline));
    cache.evictor.digest();
    let mut random = Random::seeded(1);
    let mut newest = keys;
    // A turn of the cache first, so that queues, ghosts and clocks are as they will be.
    for _ in 0..keys {
        write(&mut cache, (&mut newest, keys), &clock);
        cache.get(skewed(&mut random, newest, keys));
    }
    let read_ns = per_step(&clock, 2 * keys, |_| {
        black_box(cache.get(skewed(&mut random, newest, keys)));
    });
    let mut choices_us = Vec::new();
    let write_ns = per_step(&clock, 2 * keys, |_| {
        choices_us.push(write(&mut cache, (&mut newest, keys), &clock));
    });
    choices_us.sort_unstable_by(f64::total_cmp);
    let choice_us = [choices_us.len() / 2, choices_us.len() * 99 / 100].map(|at| choices_us[at]);
    cache.evictor.digest();
    let bytes_per_key = cache.evictor.memory_bytes() as f64 / keys as f64;
    Cost { read_ns, write_ns, choice_us, bytes_per_key }
}

/// Sets a new key and evicts one; how many microseconds the choice took.
fn write(cache: &mut Cache, (newest, keys): (&mut u64, u64), clock: &Clock) -> f64 {
    let deadline = Some(stdx::Wall(replay::START.0 + 1_000_000_000 + *newest));
    cache.set(*newest, 1, deadline);
    *newest += 1;
    if cache.evictor.policy() == Policy::NoEviction {
        cache.remove(*newest - keys - 1);
        return 0.0;
    }
    let before = clock.mono();
    let victim = cache.evictor.victim(&mut Group::new(&mut cache.partitions, replay::START));
    let took = clock.mono().since(before);
    cache.evict(victim.expect("there are keys"));
    took.as_nanos() as f64 / 1_000.0
}

fn per_step(clock: &Clock, steps: u64, mut step: impl FnMut(u64)) -> f64 {
    let start: Mono = clock.mono();
    (0..steps).for_each(&mut step);
    clock.mono().since(start).as_nanos() as f64 / steps as f64
}

/// A key of the newest twice as many as there are, the same ones more often.
fn skewed(random: &mut Random, newest: u64, keys: u64) -> u64 {
    let share = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let rank = (share * share * share * (2 * keys) as f64) as u64;
    newest.saturating_sub(1 + mix64(rank) % (2 * keys))
}
