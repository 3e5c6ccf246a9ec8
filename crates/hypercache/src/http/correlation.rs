//! Correlation ids: one per request, from the client's `X-Correlation-ID` or made here, echoed and logged.
//!
//! Made ones are not secret, only unlikely to meet again: a counter mixed with a seed from the operating system.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::atomic::{AtomicU64, Ordering};
use stdx::hash::mix64;

/// The header, in requests and responses.
pub(crate) static HEADER: HeaderName = HeaderName::from_static("x-correlation-id");
/// Longest id taken from a client.
const LEN_MAX: usize = 128;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Makes ids.
pub(crate) struct Source {
    seed: u64,
    made: AtomicU64,
}

impl Source {
    pub(crate) fn new() -> Source {
        Source { seed: stdx::random::entropy_u64(), made: AtomicU64::new(0) }
    }

    /// The client's id if it is fit to be echoed and logged, else a new one of 16 hex digits.
    pub(crate) fn id_of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(&HEADER) {
            Some(given) if is_fit(given.as_bytes()) => given.clone(),
            _ => self.make(),
        }
    }

    fn make(&self) -> HeaderValue {
        let number = mix64(self.seed.wrapping_add(self.made.fetch_add(1, Ordering::Relaxed)));
        let digits: [u8; 16] = std::array::from_fn(|at| HEX[(number >> (60 - 4 * at)) as usize & 15]);
        HeaderValue::from_bytes(&digits).expect("hex digits are legal in a header")
    }
}

/// Printable ASCII, not empty, not long: nothing that could disturb a log.
fn is_fit(id: &[u8]) -> bool {
    (1..=LEN_MAX).contains(&id.len()) && id.iter().all(|byte| (0x20..0x7f).contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fit_ids_are_kept_and_others_replaced() {
        let source = Source::new();
        let with = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(&HEADER, HeaderValue::from_bytes(id).expect("a legal header"));
            source.id_of(&headers)
        };
        assert_eq!(with(b"order 17/a"), "order 17/a");
        assert_eq!(with(&[b'x'; 128]).len(), 128);
        for unfit in [&b""[..], &[b'x'; 129], b"tab\there", b"caf\xc3\xa9"] {
            let made = with(unfit);
            assert!(made.len() == 16 && made.as_bytes().iter().all(u8::is_ascii_hexdigit), "{made:?}");
        }
        assert_ne!(source.id_of(&HeaderMap::new()), source.id_of(&HeaderMap::new()));
    }
}
