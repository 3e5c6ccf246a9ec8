//! A trace against a server: GET, and SET if there was nothing.
//!
//! A request depends on those before it, so they cannot simply be pipelined: whether a GET finds its key may hang on a SET that hangs
//! on an earlier GET. One connection sends windows: first the SETs of the keys that the last window did not find, then the GETs of the
//! next requests, as long as no key occurs twice among them. So the keys are read exactly in the order of the trace, every
//! repetition is seen after the SET of what it repeats, and a SET comes later by less than a window than it would one by one. A window is
//! at most a fiftieth of the cache, which is as far as this can shift what is evicted. The SETs being first, the server makes
//! room for them before it has replies to keep, so that its buffers do not count for keys.

use super::connection::{Answer, Connection};
use super::limit::Limit;
use super::trace::Request;
use crate::Result;
use std::ops::RangeInclusive;

/// Requests of a window; it is a fiftieth of the cache between these.
const WINDOW: RangeInclusive<u64> = 2..=64;
const WINDOWS_PER_CACHE: u64 = 50;
/// Looks at how many keys are held, while as many requests are served as there are keys; and requests between two at least.
const LOOKS_PER_CACHE: u64 = 8;
const REQUESTS_PER_LOOK_MIN: u64 = 1_000;

/// What a replay found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Percentage of GETs that found their key.
    pub(super) hit_ratio: f64,
    /// Keys held, the mean of all looks since the cache was full.
    pub(super) held: f64,
    /// The fewest and the most of them.
    pub(super) held_range: (u64, u64),
}

/// Replays a trace whose values all have the size `value_bytes`, or those of the trace if there is none.
///
/// # Errors
/// When the server refuses anything.
pub(super) fn replay(
    connection: &mut Connection,
    requests: &[Request],
    value_bytes: Option<usize>,
    window_max: usize,
    limit: &mut Limit,
) -> Result<Found> {
    let size = |request: &Request| value_bytes.unwrap_or(request.bytes as usize);
    let (mut misses, mut served, mut next_look) = (0u64, 0u64, 0u64);
    let mut missed: Vec<Request> = Vec::new();
    let mut held: Vec<u64> = Vec::new();
    let mut rest = requests;
    while !rest.is_empty() || !missed.is_empty() {
        let (window, after) = rest.split_at(window_length(rest, window_max));
        missed.iter().for_each(|request| connection.push_set(request.key, size(request)));
        window.iter().for_each(|request| connection.push("GET", request.key));
        connection.send()?;
        for request in missed.drain(..) {
            expect_done(connection, &request)?;
        }
        for request in window {
            if connection.answer()? == Answer::Missing {
                missed.push(*request);
            }
        }
        misses += missed.len() as u64;
        served += window.len() as u64;
        rest = after;
        if served >= next_look || rest.is_empty() {
            next_look = served + (limit.wanted() / LOOKS_PER_CACHE).max(REQUESTS_PER_LOOK_MIN);
            let keys = connection.keys()?;
            // Every SET but the last was of a key that was not there.
            if limit.correct(connection, keys, misses - missed.len() as u64)? {
                held.push(keys);
            }
        }
    }
    let hits = requests.len() as u64 - misses;
    let mean = held.iter().sum::<u64>() as f64 / held.len().max(1) as f64;
    let range = (held.iter().min().copied().unwrap_or(0), held.iter().max().copied().unwrap_or(0));
    let hit_ratio = hits as f64 / requests.len().max(1) as f64 * 100.0;
    Ok(Found { hit_ratio, held: mean, held_range: range })
}

/// The window for a cache of so many keys.
pub(super) fn window_for(keys: u64) -> usize {
    (keys / WINDOWS_PER_CACHE).clamp(*WINDOW.start(), *WINDOW.end()) as usize
}

/// Requests at the front of `rest` that may be asked together.
fn window_length(rest: &[Request], window_max: usize) -> usize {
    let longest = &rest[..rest.len().min(window_max)];
    let repeats = |at: usize| longest[..at].iter().any(|earlier| earlier.key == longest[at].key);
    (0..longest.len()).find(|at| repeats(*at)).unwrap_or(longest.len())
}

fn expect_done(connection: &mut Connection, request: &Request) -> Result<()> {
    match connection.answer()? {
        Answer::Done => Ok(()),
        other => Err(format!("SET of key {}: {other:?}", request.key).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_before_a_repetition() {
        let requests: Vec<Request> = [1, 2, 3, 2, 4].map(|key| Request { key, bytes: 1 }).to_vec();
        assert_eq!(window_length(&requests, 64), 3);
        assert_eq!(window_length(&requests, 2), 2);
        assert_eq!(window_length(&requests[3..], 64), 2);
        assert_eq!(window_length(&[], 64), 0);
    }

    #[test]
    fn a_window_is_small_beside_the_cache() {
        assert_eq!([50, 187, 1_869, 76_254].map(window_for), [2, 3, 37, 64]);
    }
}
