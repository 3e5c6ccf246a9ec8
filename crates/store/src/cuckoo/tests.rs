//! What a filter promises, against a multiset: no item lost, the configured rate, the same bytes everywhere.

use super::*;
use std::collections::HashMap;
use stdx::Random;

fn item(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

fn encoded(filter: &CuckooFilter) -> Vec<u8> {
    let mut out = Vec::new();
    filter.encode(&mut out);
    assert_eq!(out.len(), filter.encoded_len());
    out
}

/// A filter of exactly so many buckets.
fn config(buckets: u32, bits: u32, expansion: u16) -> CuckooConfig {
    CuckooConfig { buckets, fingerprint_bits: bits, expansion }
}

/// Holds a filter and a multiset against each other under random operations.
fn check_against_multiset(config: CuckooConfig, seed: u64, operations: u64) -> CuckooFilter {
    let (mut random, mut filter) = (Random::seeded(seed), CuckooFilter::new(config));
    let mut model: HashMap<u64, u64> = HashMap::new();
    let (mut live, mut deleted) = (Vec::new(), 0u64);
    for operation in 0..operations {
        // It swells and shrinks in turns, so that sub-filters come and go.
        let swelling = (operation * 5 / operations).is_multiple_of(2);
        let number = random.below(operations / 2);
        if random.chance(if swelling { 0.75 } else { 0.25 }) {
            let added = if random.chance(0.5) {
                filter.insert(&item(number)).is_ok()
            } else {
                let known = filter.contains(&item(number));
                filter.insert_absent(&item(number)).is_ok_and(|added| {
                    assert_eq!(added, !known);
                    added
                })
            };
            if added {
                *model.entry(number).or_default() += 1;
                live.push(number);
            }
        } else if !live.is_empty() {
            let gone = live.swap_remove(random.below(live.len() as u64) as usize);
            assert!(filter.delete(&item(gone)), "an item that is there can be deleted");
            *model.get_mut(&gone).expect("live items are in the model") -= 1;
            deleted += 1;
        }
        if operation % (operations / 20) == 0 {
            for (&number, &copies) in &model {
                assert!(filter.count(&item(number)) >= copies, "{config:?} seed {seed}: {number}");
                assert!(copies == 0 || filter.contains(&item(number)));
            }
        }
        assert_eq!(filter.items(), live.len() as u64);
    }
    assert_eq!(filter.stats().deleted, deleted);
    let full = filter.clone();
    for gone in live {
        assert!(filter.contains(&item(gone)));
        assert!(filter.delete(&item(gone)));
    }
    assert_eq!(filter.items(), 0, "deletes are exact");
    assert_eq!(filter.stats().sub_filters, 1, "empty sub-filters go");
    full
}

#[test]
fn no_item_is_ever_lost() {
    let mut sub_filters_seen = 0;
    for seed in 0..12 {
        // Narrow fingerprints and few buckets, so that items collide all the time.
        for (buckets, bits, expansion) in
            [(1, 4, 1), (7, 4, 2), (30, 5, 3), (64, 8, 1), (100, 4, 0), (333, 9, 2)]
        {
            let filter = check_against_multiset(config(buckets, bits, expansion), seed, 3_000);
            sub_filters_seen = sub_filters_seen.max(filter.stats().sub_filters);
        }
    }
    assert!(sub_filters_seen > 8);
    check_against_multiset(config(2_003, 13, 2), 99, 60_000);
}

/// The acceptance figure: seconds in a release build, minutes without.
#[test]
#[ignore = "100 M operations; run with --release -- --ignored"]
fn no_item_is_lost_in_100_million_operations() {
    const NUMBERS: u64 = 1 << 20;
    let (mut random, mut filter) = (Random::seeded(6), CuckooFilter::new(config(99_991, 9, 2)));
    let mut copies = vec![0u8; NUMBERS as usize];
    for _ in 0..100_000_000u64 {
        let number = random.below(NUMBERS);
        let copies = &mut copies[number as usize];
        if *copies < 2 && random.chance(0.5) {
            filter.insert(&item(number)).unwrap();
            *copies += 1;
        } else if *copies > 0 {
            assert!(filter.delete(&item(number)), "{number}");
            *copies -= 1;
        }
        assert!(filter.count(&item(number)) >= u64::from(*copies), "{number}");
    }
    assert!(filter.stats().sub_filters > 1);
    assert_eq!(filter.items(), copies.iter().map(|&copies| u64::from(copies)).sum::<u64>());
    assert!((0..NUMBERS).all(|number| filter.count(&item(number)) >= u64::from(copies[number as usize])));
}

#[test]
fn the_rate_of_false_positives_is_the_configured_one() {
    // Capacities that give odd, prime and even numbers of buckets.
    for (capacity, rate) in [(38_000, 0.2), (49_999, 0.03), (30_011, 0.01), (100_003, 0.001)] {
        let config = CuckooConfig::new(capacity, rate).unwrap();
        let mut filter = CuckooFilter::new(config);
        for number in 0..capacity {
            filter.insert(&item(number)).unwrap();
        }
        let stats = filter.stats();
        assert!(stats.items as f64 / stats.slots as f64 > 0.949, "{stats:?}");
        let lookups = 1_000_000;
        let wrong = (0..lookups).filter(|number| filter.contains(&item(capacity + number))).count();
        let measured = wrong as f64 / lookups as f64;
        assert!(measured <= rate * 1.2, "{rate}: {measured}");
        let expected = stats.false_positive_rate;
        // 12% is 3.6 standard deviations at the lowest of the rates. The expectation counts lanes and forgets that two
        // may match at once, which shows at high rates only.
        assert!(
            measured <= expected * 1.12 && measured >= expected * 0.88 - expected * expected,
            "{measured}"
        );
    }
}

#[test]
fn a_filter_fills_to_95_percent_and_a_failed_insert_changes_nothing() {
    for bits in [4, 5, 6, 8, 13, 17, 32] {
        for buckets in [97, 1_000, 4_096, 20_011] {
            let mut filter = CuckooFilter::new(config(buckets, bits, 0));
            let mut number = 0;
            while filter.insert(&item(number)).is_ok() {
                number += 1;
            }
            let load = filter.items() as f64 / (f64::from(buckets) * 4.0);
            assert!(load >= 0.95, "{bits} bits, {buckets} buckets: {load}");
            let before = encoded(&filter);
            assert_eq!(filter.insert(&item(number)), Err(CuckooFull));
            assert_eq!(before, encoded(&filter));
            assert!((0..number).all(|number| filter.contains(&item(number))));
        }
    }
}

#[test]
fn equal_operations_give_equal_bytes() {
    let make = || check_against_multiset(config(151, 11, 2), 5, 4_000);
    assert_eq!(encoded(&make()), encoded(&make()));
}

/// Fails if the hash or the placing changes: then filters of an earlier version would lose their items.
#[test]
fn the_bytes_in_the_document_are_what_is_written() {
    let mut filter = CuckooFilter::new(config(3, 13, 1));
    for item in [b"apple".as_slice(), b"pear", b"plum", b"plum", b"fig", b"kiwi"] {
        filter.insert(item).unwrap();
    }
    let hex: String = encoded(&filter).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "010d01010000000000000000000300000045734c8f6900e05f2c3200000058030000000000");

    // Filled until a search finds nothing: the bytes depend on every move of every search.
    let mut filter = CuckooFilter::new(config(1_009, 13, 0));
    let mut number = 0;
    while filter.insert(&item(number)).is_ok() {
        number += 1;
    }
    assert_eq!((number, hash64(1, &encoded(&filter))), (3_933, 6_583_365_746_598_886_630));
}

#[test]
fn a_filter_grows_and_keeps_its_rate() {
    let mut filter = CuckooFilter::new(config(251, 10, 2));
    let items = 251 * 4 * 15 * 95 / 100;
    for number in 0..items {
        filter.insert(&item(number)).unwrap();
    }
    let stats = filter.stats();
    assert_eq!((stats.sub_filters, stats.items), (4, items), "{stats:?}");
    assert_eq!(stats.buckets, 251 * 15);
    assert!((0..items).all(|number| filter.contains(&item(number))));
    let wrong = (0..500_000).filter(|number| filter.contains(&item(items + number))).count();
    let base_rate = config::rate(10, config::LOAD);
    assert!((wrong as f64) < 500_000.0 * 2.0 * base_rate, "{wrong}");
}

#[test]
fn copies_of_one_item_grow_the_filter_evenly_until_it_refuses() {
    let mut filter = CuckooFilter::new(config(100, 8, 4));
    let mut copies = 0;
    while filter.insert(b"again").is_ok() {
        copies += 1;
        assert_eq!(filter.count(b"again"), copies);
    }
    let stats = filter.stats();
    assert_eq!((stats.sub_filters, copies), (SUB_FILTERS_MAX, 8 * SUB_FILTERS_MAX as u64));
    assert_eq!(stats.buckets, 100 * SUB_FILTERS_MAX as u64, "a larger one would hold no more copies");
    let before = encoded(&filter);
    assert_eq!(filter.insert(b"again"), Err(CuckooFull));
    assert_eq!(before, encoded(&filter));
    assert!((0..copies).all(|_| filter.delete(b"again")));
    assert!(!filter.contains(b"again"));
    assert!(!filter.delete(b"again"));
}

#[test]
fn a_batch_answers_as_one_by_one() {
    let filter = check_against_multiset(config(64, 6, 2), 8, 2_000);
    for len in [0, 1, 15, 16, 17, 32, 100] {
        let items: Vec<[u8; 8]> = (0..len).map(item).collect();
        let mut found = Vec::new();
        filter.contains_each(items.iter().map(<[u8; 8]>::as_slice), &mut found);
        assert_eq!(found, items.iter().map(|item| filter.contains(item)).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_written_reads_the_same_whole_or_in_pieces() {
    for (buckets, bits, expansion) in [(1, 4, 0), (31, 5, 1), (30, 13, 2), (77, 31, 3), (9, 32, 1)] {
        let filter = check_against_multiset(config(buckets, bits, expansion), 7, 1_500);
        let bytes = encoded(&filter);
        let mut again = CuckooFilter::decode(&bytes).unwrap();
        assert_eq!(encoded(&again), bytes);
        assert_eq!(again.stats().items, filter.items());
        assert_eq!(again.config(), filter.config());
        let mut pieces = Vec::new();
        while pieces.len() < bytes.len() {
            filter.encode_range(pieces.len(), 37, &mut pieces);
        }
        assert_eq!(pieces, bytes);
        filter.encode_range(usize::MAX, 37, &mut pieces);
        assert_eq!(pieces.len(), bytes.len());

        let mut filter = filter;
        for number in 0..500 {
            assert_eq!(again.insert(&item(number)), filter.insert(&item(number)));
        }
        assert_eq!(encoded(&again), encoded(&filter), "what was read goes on as what was written");
    }
}

#[test]
fn bytes_that_are_no_filter_are_refused() {
    let refusal = |bytes: &[u8]| CuckooFilter::decode(bytes).expect_err("no filter");
    let mut filter = CuckooFilter::new(config(3, 5, 2));
    (0..40).for_each(|number| filter.insert(&item(number)).unwrap());
    let bytes = encoded(&filter);
    assert_eq!(filter.stats().sub_filters, 3);
    for len in 0..bytes.len() {
        assert_eq!(refusal(&bytes[..len]), CuckooDecodeError::Truncated);
    }
    assert_eq!(refusal(&[bytes.as_slice(), &[0]].concat()), CuckooDecodeError::Trailing);
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(refusal(&changed(0, 2)), CuckooDecodeError::Format(2));
    for (at, byte, field) in [
        (1, 3, "width of fingerprints"),
        (1, 33, "width of fingerprints"),
        (2, 0, "number of sub-filters"),
        (2, 33, "number of sub-filters"),
        (3, 0, "number of buckets"),
        (13, 0, "number of buckets"),
        (16, 0x20, "number of buckets"),
        (17, 5, "number of buckets"),
    ] {
        assert_eq!(refusal(&changed(at, byte)), CuckooDecodeError::Invalid(field), "byte {at}");
    }
    // The first sub-filter has 15 half bytes: the last is unused.
    assert_eq!(refusal(&changed(13 + 12 + 7, 0xf0)), CuckooDecodeError::Invalid("fingerprint"));
    // The last has 7 bits, two of them appended: 0000001 begins with no fingerprint of five.
    let mut empty_base = bytes.clone();
    let last = empty_base.len() - 1;
    empty_base[last] = 0x02;
    assert_eq!(refusal(&empty_base), CuckooDecodeError::Invalid("fingerprint"));
}

/// Damaged bytes are refused or are another filter that works; they never panic, and never take more memory than
/// themselves.
#[test]
fn damaged_bytes_never_panic() {
    let mut random = Random::seeded(11);
    let mut accepted = 0;
    for round in 0..20_000u64 {
        let mut filter = CuckooFilter::new(config(5, 4 + (round % 29) as u32, 2));
        (0..random.below(60)).for_each(|number| filter.insert(&item(number)).unwrap());
        let mut bytes = encoded(&filter);
        for _ in 0..=random.below(4) {
            let reach = if random.chance(0.5) { 30 } else { bytes.len() as u64 };
            let at = random.below(reach) as usize;
            match random.below(8) {
                0 => bytes.truncate(at),
                1 => bytes.push(random.next_u64() as u8),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << random.below(8);
                    }
                }
            }
        }
        let Ok(mut read) = CuckooFilter::decode(&bytes) else { continue };
        accepted += 1;
        assert_eq!(encoded(&read), bytes, "one filter has one encoding");
        assert!(read.memory_bytes() <= bytes.len() + SUB_FILTERS_MAX * 200);
        for number in 0..20 {
            if read.insert(&item(number)).is_ok() {
                assert!(read.contains(&item(number)));
                assert!(read.delete(&item(number)));
            }
        }
    }
    assert!(accepted > 1_000, "{accepted}");
}
