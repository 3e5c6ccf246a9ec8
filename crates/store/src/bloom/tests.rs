//! What a filter promises: no item lost, the configured rate however often it grew, the same bytes everywhere.

use super::*;
use stdx::Random;

fn item(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

fn encoded(filter: &BloomFilter) -> Vec<u8> {
    let mut out = Vec::new();
    filter.encode(&mut out);
    assert_eq!(out.len(), filter.encoded_len());
    out
}

fn config(capacity: u64, rate: f64, expansion: u16) -> BloomConfig {
    BloomConfig::new(capacity, rate, expansion).unwrap()
}

/// A filter with so many items added, less those that it took for present; none of them is lost.
fn filled(config: BloomConfig, items: u64) -> BloomFilter {
    let mut filter = BloomFilter::new(config);
    let mut added = 0;
    for number in 0..items {
        let known = filter.contains(&item(number));
        let is_new = filter.insert(&item(number)).unwrap();
        assert_eq!(is_new, !known);
        added += u64::from(is_new);
        assert_eq!(filter.insert(&item(number)), Ok(false));
        assert_eq!((filter.items(), filter.revision()), (added, added));
    }
    assert!((0..items).all(|number| filter.contains(&item(number))), "no item is lost");
    filter
}

fn measured_rate(filter: &BloomFilter, from: u64, lookups: u64) -> f64 {
    let wrong = (from..from + lookups).filter(|number| filter.contains(&item(*number))).count();
    wrong as f64 / lookups as f64
}

#[test]
fn the_rate_of_false_positives_is_the_configured_one() {
    for (capacity, rate) in [(38_000, 0.2), (49_999, 0.03), (30_011, 0.01), (100_003, 0.001), (1_000, 0.05)] {
        for expansion in [0, 2] {
            let filter = filled(config(capacity, rate, expansion), capacity);
            assert_eq!(filter.sub_filters(), 1);
            let lookups = 300_000;
            let measured = measured_rate(&filter, capacity, lookups);
            // What is added for chance is four standard deviations.
            let bound = rate + 4.0 * (rate / lookups as f64).sqrt();
            assert!(measured <= bound, "{capacity} {rate} {expansion}: {measured}");
            assert!(measured >= rate / 4.0, "{capacity} {rate} {expansion}: {measured}");
        }
    }
}

#[test]
fn a_filter_grows_and_keeps_its_rate() {
    for (capacity, rate, expansion, items, sub_filters) in
        [(200, 0.01, 2, 25_000, 7), (500, 0.05, 1, 8_000, 16), (10, 0.02, 4, 13_000, 6)]
    {
        let filter = filled(config(capacity, rate, expansion), items);
        assert_eq!(filter.sub_filters(), sub_filters);
        let measured = measured_rate(&filter, items, 200_000);
        assert!(measured <= rate * 1.1, "{rate}: {measured}");
    }
}

#[test]
fn a_full_filter_that_must_not_grow_refuses_and_is_unchanged() {
    let mut filter = BloomFilter::new(config(100, 0.001, 0));
    let mut number = 0;
    while filter.insert(&item(number)).is_ok() {
        number += 1;
    }
    assert_eq!((filter.items(), filter.capacity()), (100, 100));
    let before = encoded(&filter);
    assert_eq!(filter.insert(&item(number)), Err(BloomFull));
    assert_eq!(filter.insert(&item(0)), Ok(false), "what is there may be added again");
    assert_eq!(encoded(&filter), before);
}

/// With a large expansion the next sub-filter soon exceeds what one value may take.
#[test]
fn growth_ends_at_the_limit_of_bytes_or_of_sub_filters() {
    let mut filter = BloomFilter::new(config(1, 0.01, EXPANSION_MAX));
    let mut number = 0;
    while filter.sub_filters() == 1 {
        let _ = filter.insert(&item(number));
        number += 1;
    }
    assert_eq!(filter.capacity(), 1 + u64::from(EXPANSION_MAX));
    while filter.items() < filter.capacity() {
        filter.insert(&item(number)).unwrap();
        number += 1;
    }
    while filter.contains(&item(number)) {
        number += 1;
    }
    assert_eq!(filter.insert(&item(number)), Err(BloomFull), "2^30 more items take more than 512 MiB");

    let mut filter = BloomFilter::new(config(1, 0.9, 1));
    let outcome = (0..1 << 20).find_map(|number| filter.insert(&item(number)).err());
    assert_eq!((outcome, filter.sub_filters()), (Some(BloomFull), SUB_FILTERS_MAX));
    let again = BloomFilter::decode(&encoded(&filter)).unwrap();
    assert_eq!(encoded(&again), encoded(&filter));
}

#[test]
fn the_bytes_in_the_document_are_what_is_written() {
    let mut filter = BloomFilter::new(config(4, 0.02, 2));
    for item in [b"apple".as_slice(), b"pear", b"plum", b"fig", b"kiwi"] {
        assert_eq!(filter.insert(item), Ok(true));
    }
    let hex: String = encoded(&filter).iter().map(|byte| format!("{byte:02x}")).collect();
    let (header, bits) = hex.split_at(2 * codec::HEADER_BYTES);
    assert_eq!(header, "410200cc970900040000000000000002000500000000000000");
    assert_eq!(bits, "14224305e0d4282900020800108000000104001000008000");
}

#[test]
fn what_was_written_reads_the_same_whole_or_in_pieces() {
    for (capacity, rate, expansion, items) in
        [(1, 0.5, 1, 0), (10, 0.01, 0, 9), (30, 0.001, 2, 400), (7, 0.1, 3, 100)]
    {
        let mut filter = filled(config(capacity, rate, expansion), items);
        let bytes = encoded(&filter);
        let mut again = BloomFilter::decode(&bytes).unwrap();
        assert_eq!(encoded(&again), bytes);
        assert_eq!((again.items(), again.capacity()), (filter.items(), filter.capacity()));
        assert_eq!(again.config(), filter.config());
        let mut pieces = Vec::new();
        while pieces.len() < bytes.len() {
            filter.encode_range(pieces.len(), 37, &mut pieces);
        }
        assert_eq!(pieces, bytes);
        filter.encode_range(usize::MAX, 37, &mut pieces);
        assert_eq!(pieces.len(), bytes.len());
        for number in 0..500 {
            assert_eq!(again.insert(&item(number)), filter.insert(&item(number)));
        }
        assert_eq!(encoded(&again), encoded(&filter), "what was read goes on as what was written");
        assert_eq!(again.memory_bytes(), filter.memory_bytes());
    }
}

#[test]
fn bytes_that_are_no_filter_are_refused() {
    let refusal = |bytes: &[u8]| BloomFilter::decode(bytes).expect_err("no filter");
    let filter = filled(config(10, 0.01, 2), 60);
    let bytes = encoded(&filter);
    assert_eq!(filter.sub_filters(), 3);
    for len in 0..bytes.len() {
        assert_eq!(refusal(&bytes[..len]), BloomDecodeError::Truncated);
    }
    assert_eq!(refusal(&[bytes.as_slice(), &[0]].concat()), BloomDecodeError::Trailing);
    let changed = |at: usize, field: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + field.len()].copy_from_slice(field);
        bytes
    };
    assert_eq!(refusal(&changed(0, &[1])), BloomDecodeError::Format(1));
    for (at, field, what) in [
        (1, &40_000u16.to_le_bytes()[..], "size"),
        (1, &0u16.to_le_bytes(), "number of sub-filters"),
        (3, &0u32.to_le_bytes(), "size"),
        (3, &u32::MAX.to_le_bytes(), "size"),
        (7, &0u64.to_le_bytes(), "size"),
        (7, &u64::MAX.to_le_bytes(), "size"),
        (15, &0u16.to_le_bytes(), "number of sub-filters"),
        (15, &u16::MAX.to_le_bytes(), "number of sub-filters"),
        (17, &30u64.to_le_bytes(), "number of items"),
        (17, &71u64.to_le_bytes(), "number of items"),
        (17, &u64::MAX.to_le_bytes(), "number of items"),
    ] {
        assert_eq!(refusal(&changed(at, field)), BloomDecodeError::Invalid(what), "byte {at}");
    }
}

/// Damaged bytes are refused or are another filter that works; they never panic, and never take more memory than
/// themselves.
#[test]
fn damaged_bytes_never_panic() {
    let mut random = Random::seeded(11);
    let (rounds, mut accepted) = (if cfg!(miri) { 50 } else { 20_000 }, 0);
    for _ in 0..rounds {
        let mut filter = BloomFilter::new(config(1 + random.below(9), 0.1, random.below(3) as u16));
        for number in 0..random.below(60) {
            let _ = filter.insert(&item(number));
        }
        let mut bytes = encoded(&filter);
        for _ in 0..=random.below(4) {
            let reach = if random.chance(0.5) { 25 } else { bytes.len() as u64 };
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
        let Ok(mut read) = BloomFilter::decode(&bytes) else { continue };
        accepted += 1;
        assert_eq!(encoded(&read), bytes, "one filter has one encoding");
        assert!(read.memory_bytes() <= bytes.len() * 2 + SUB_FILTERS_MAX * 100);
        for number in 0..20 {
            if read.insert(&item(number)).is_ok() {
                assert!(read.contains(&item(number)));
            }
        }
    }
    assert!(cfg!(miri) || accepted > 1_000, "{accepted}");
}
