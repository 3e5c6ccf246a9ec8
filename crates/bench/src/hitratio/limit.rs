//! `maxmemory` for a number of keys.
//!
//! What a server takes for a key is measured: one with the same policy is filled with as many keys as the cache is to hold, of the same
//! value size, and asked. That leaves out what only evictions bring about (remembered hashes), so the number of keys really held is looked
//! at during the replay, and the limit corrected whenever it is off by more than half a hundredth.

use super::connection::{Answer, Connection, memory_figure};
use crate::Result;
use crate::peers::servers::{Running, Target};
use std::thread::sleep;
use std::time::Duration;

/// A deviation of the number of keys that is left alone: half of what would be too much.
const TOLERANCE: f64 = 0.005;
/// Threads of HyperCache look at directives twenty times a second.
const EFFECT_AFTER: Duration = Duration::from_millis(100);
/// The share of the cache, as a divisor, that has to be stored anew before it is called too full once more.
const STORED_PER_CORRECTION: u64 = 50;
/// Values are so large that a cache of few keys outweighs the server's own coming and going, within bounds: of their size, and of
/// what a replay may have to send and receive.
const CACHE_BYTES: u64 = 8 << 20;
const REPLAY_BYTES: u64 = 32 << 30;
const VALUE_BYTES_MIN: u64 = 256;
const VALUE_BYTES_MAX: u64 = 64 << 10;
/// Keys of a fill: numbers that no trace has.
const FILL_FROM: u64 = 1 << 40;
const FILL_WINDOW: u64 = 64;

/// A server's limit, and what it is to amount to.
pub(super) struct Limit {
    wanted: u64,
    bytes_per_key: f64,
    bytes: u64,
    /// Keys stored and evicted until the last correction.
    stored_before: u64,
    evicted_before: u64,
}

impl Limit {
    /// A limit by bytes that is never corrected.
    pub(super) fn fixed(bytes: u64) -> Limit {
        Limit { wanted: u64::MAX, bytes_per_key: 0.0, bytes, stored_before: 0, evicted_before: 0 }
    }

    /// Measures what `wanted` keys with values of a size take in a server without a limit, which is of no more use afterwards.
    ///
    /// # Errors
    /// When the server refuses anything.
    pub(super) fn measured(
        server: &Running,
        target: &Target,
        connection: &mut Connection,
        wanted: u64,
        value_bytes: usize,
    ) -> Result<Limit> {
        let used = || counted(server, target);
        let empty = used()?;
        for first in (0..wanted).step_by(FILL_WINDOW as usize) {
            let ids = first..wanted.min(first + FILL_WINDOW);
            ids.clone().for_each(|id| connection.push_set(FILL_FROM + id, value_bytes));
            connection.send()?;
            for _ in ids {
                connection.answer()?;
            }
        }
        let full = used()?;
        let bytes_per_key = full.saturating_sub(empty) as f64 / wanted.max(1) as f64;
        Ok(Limit { wanted, bytes_per_key, bytes: full, stored_before: 0, evicted_before: 0 })
    }

    /// Keys that the cache is to hold.
    pub(super) fn wanted(&self) -> u64 {
        if self.wanted == u64::MAX { 0 } else { self.wanted }
    }

    /// Tells the server, and waits until it acts accordingly.
    ///
    /// # Errors
    /// When it refuses.
    pub(super) fn apply(&self, connection: &mut Connection) -> Result<()> {
        match connection.ask(&["CONFIG", "SET", "maxmemory", &self.bytes.to_string()])? {
            Answer::Done => {
                sleep(EFFECT_AFTER);
                Ok(())
            }
            other => Err(format!("CONFIG SET maxmemory: {other:?}").into()),
        }
    }

    /// Looks at how many keys are `held` after as many were `stored`, and corrects the limit. Whether the cache is full.
    ///
    /// # Errors
    /// When the server refuses the limit.
    pub(super) fn correct(&mut self, connection: &mut Connection, held: u64, stored: u64) -> Result<bool> {
        let evicted = stored.saturating_sub(held);
        if evicted == 0 && held < self.wanted {
            return Ok(false);
        }
        if self.wanted == u64::MAX {
            return Ok(true);
        }
        let missing = self.wanted as f64 - held as f64;
        // Keys go when others are stored, and come when there is room: without either the last correction still has to show.
        let is_news = if missing < 0.0 {
            stored - self.stored_before >= self.wanted / STORED_PER_CORRECTION
        } else {
            evicted > self.evicted_before
        };
        if missing.abs() > TOLERANCE * self.wanted as f64 && is_news {
            self.bytes = (self.bytes as f64 + missing * self.bytes_per_key).max(1.0) as u64;
            self.apply(connection)?;
            (self.stored_before, self.evicted_before) = (stored, evicted);
        }
        Ok(true)
    }
}

/// The size of the values in a cache of so many keys, for so many requests.
pub(super) fn value_bytes(keys: u64, requests: usize) -> usize {
    let affordable = (REPLAY_BYTES / (requests as u64).max(1)).clamp(VALUE_BYTES_MIN, VALUE_BYTES_MAX);
    (CACHE_BYTES / keys.max(1)).clamp(VALUE_BYTES_MIN, affordable) as usize
}

/// Memory that a server counts against its limit: Redis all of it, HyperCache what came after its start.
///
/// # Errors
/// When the server does not tell.
pub(super) fn counted(server: &Running, target: &Target) -> Result<u64> {
    let used = memory_figure(server.address, "used_memory")?;
    let startup =
        if target.is_hypercache() { memory_figure(server.address, "used_memory_startup")? } else { 0 };
    Ok(used.saturating_sub(startup))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_small_caches_are_large() {
        let sizes = [(90, 135_702), (76, 5_000_000), (1_869, 914_145), (76_254, 3_912_296)];
        assert_eq!(sizes.map(|(keys, requests)| value_bytes(keys, requests)), [65_536, 6_871, 4_488, 256]);
    }
}
