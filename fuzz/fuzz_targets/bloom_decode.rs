//! The Bloom filter's decoder: no panic on any bytes, memory follows the input, and what was read is written as the same
//! bytes and works.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::bloom::{BloomFilter, SUB_FILTERS_MAX};

/// What a sub-filter takes besides its bits, which the allocator may give up to a quarter more.
const SUB_FILTER_BYTES_MAX: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Ok(mut filter) = BloomFilter::decode(input) else { return };
    assert!(filter.memory_bytes() <= input.len() * 5 / 4 + SUB_FILTERS_MAX * SUB_FILTER_BYTES_MAX);
    let mut again = Vec::new();
    filter.encode(&mut again);
    assert_eq!(again, input);

    let items = filter.items();
    // A large expansion of what the input says is the filter's right, but not this target's subject.
    if filter.config().expansion() <= 2
        && let Ok(added) = filter.insert(b"item")
    {
        assert!(filter.contains(b"item"));
        assert_eq!(filter.items(), items + u64::from(added));
        assert_eq!(filter.insert(b"item"), Ok(false));
    }
});
