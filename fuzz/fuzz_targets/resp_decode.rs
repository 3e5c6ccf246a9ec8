//! The reply decoder: no panic on any bytes, the scanner and the decoder agree on where a reply ends, and a
//! reply that was read and written in RESP3 reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{FrameScanner, Reply, Version, decode, frame_len};

fuzz_target!(|input: &[u8]| {
    let len = frame_len(input);
    let mut scanner = FrameScanner::new();
    let half = scanner.scan(&input[..input.len() / 2]);
    if half == Ok(None) {
        assert_eq!(scanner.scan(input), len);
    } else {
        assert_eq!(half, len);
    }

    let Ok(Some((value, consumed))) = decode(input) else { return };
    assert_eq!(len, Ok(Some(consumed)));
    let mut once = Vec::new();
    value.encode(&mut Reply::new(&mut once, Version::Resp3));
    let (again, consumed) = decode(&once).expect("what was written is valid").expect("and complete");
    assert_eq!(consumed, once.len());
    // Compared as bytes, since a NaN is not equal to itself.
    let mut twice = Vec::new();
    again.encode(&mut Reply::new(&mut twice, Version::Resp3));
    assert_eq!(once, twice);
});
