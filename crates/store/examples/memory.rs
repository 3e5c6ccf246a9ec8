//! Prints what keys of 16 bytes take beyond key and value, resident and as `memory_bytes` counts it: at numbers of keys
//! that meet tables in different moments of their growth, with and without a deadline, over 256 partitions.
//!
//! Every row is a process of its own (this program runs itself), or freed memory would be counted twice.
#![allow(clippy::print_stdout)]

use effect::Effect;
use std::process::Command;
use stdx::{Random, Wall};
use store::Partition;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u64 = 256;
const NOW: u64 = 1_700_000_000_000;
const PAGE_BYTES: u64 = 4096;

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if let [keys, value_bytes, deadlines] = arguments[..] {
        return measure(keys, value_bytes, deadlines);
    }
    println!("keys     value  deadline  resident  memory_bytes   (bytes beyond key and value, per key)");
    let program = std::env::current_exe().expect("a program has a path");
    for value_bytes in [32, 100] {
        for deadlines in [0, 1, 2] {
            for keys in [1_000_000u64, 1_500_000, 2_000_000, 5_000_000] {
                let row = [keys, value_bytes, deadlines].map(|number| number.to_string());
                let status = Command::new(&program).args(row).status().expect("this program runs");
                assert!(status.success());
            }
        }
    }
}

fn measure(keys: u64, value_bytes: u64, deadlines: u64) {
    let mut partitions: Vec<Partition> = (0..PARTITIONS).map(|_| Partition::new(11)).collect();
    let value = vec![b'v'; value_bytes as usize];
    let mut random = Random::seeded(1);
    let before = resident_bytes();
    for number in 0..keys {
        let key = format!("key:{number:012}");
        let partition = &mut partitions[(number % PARTITIONS) as usize];
        let expire_at = match deadlines {
            0 => None,
            1 => Some(Wall(NOW + 3_600_000 + number / 500)),
            _ => Some(Wall(NOW + random.below(3_600_000))),
        };
        let effect = Effect::SetString { db: 0, key: key.as_bytes(), value: &value, expire_at };
        let hash = partition.hash(key.as_bytes());
        partition.apply(&effect, hash, Wall(NOW));
    }
    let beyond = |bytes: u64| bytes as f64 / keys as f64 - (16 + value_bytes) as f64;
    let counted = partitions.iter().map(Partition::memory_bytes).sum();
    println!(
        "{keys:7}  {value_bytes:5}  {:8}  {:8.1}  {:12.1}",
        ["none", "rising", "random"][deadlines as usize],
        beyond(resident_bytes() - before),
        beyond(counted)
    );
}

/// Resident memory of this process (Linux: `/proc/self/statm`, in pages).
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("the second field")
        * PAGE_BYTES
}
