//! The cuckoo filter's decoder: no panic on any bytes, memory follows the input, and what was read is written as the
//! same bytes and works.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::cuckoo::{CuckooFilter, SUB_FILTERS_MAX};

/// What a sub-filter takes besides its packed buckets.
const SUB_FILTER_BYTES_MAX: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Ok(mut filter) = CuckooFilter::decode(input) else { return };
    assert!(filter.memory_bytes() <= input.len() + SUB_FILTERS_MAX * SUB_FILTER_BYTES_MAX);
    let mut again = Vec::new();
    filter.encode(&mut again);
    assert_eq!(again, input);

    let copies = filter.count(b"item");
    // A large expansion of what the input says is the filter's right, but not this target's subject.
    if filter.config().expansion() <= 2 && filter.insert(b"item").is_ok() {
        assert_eq!(filter.count(b"item"), copies + 1);
        assert!(filter.contains(b"item"));
        assert!(filter.delete(b"item"));
    }
});
