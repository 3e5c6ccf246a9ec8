//! Expiry: keys whose deadline has passed are removed, as effects, in the partitions that this node is primary of.
//!
//! Twenty times a second a *round* begins, which goes through the worker's partitions until nothing is due. It does so in
//! slices, one for every turn of the event loop, so that no client waits for more than one of them, however many keys have
//! their deadline at the same moment. While a round is under way the loop does not sleep.
//!
//! A slice is measured in keys and not in time, so that the same run removes the same keys in a simulation. It grows with the
//! time that the rest of the turn has taken: a loop whose turns are long has few of them, and must not fall behind. A round that
//! has lasted for long is given most of the time.

use super::Worker;
use crate::cells::Cell;
use crate::stats::Counter;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Mono, PartitionId};

/// Keys of a slice, at least: some 50 us.
const KEYS_MIN: usize = 128;
/// And at most.
const KEYS_MAX: usize = 4_096;
/// Keys removed under one lock of a partition.
const KEYS_PER_LOCK_MAX: usize = 128;
/// Keys for each microsecond of other work: about a quarter of the thread's time.
const KEYS_PER_US: u64 = 1;
/// The same in a round that has lasted for [`LONG_ROUND`]: more than half of the time, and more than what writes can add.
const KEYS_PER_US_LATE: u64 = 4;
const LONG_ROUND: Duration = Duration::from_secs(1);

/// Where a worker's expiry is.
#[derive(Default)]
pub(super) struct Expiry {
    /// When the round under way has begun.
    round_at: Option<Mono>,
    /// When the last slice ended.
    slice_end: Mono,
    /// The partition of this worker, counted from its first, where the next slice begins.
    next: usize,
    /// Partitions in a row in which nothing more is due.
    clean: usize,
}

impl Expiry {
    pub(super) fn is_under_way(&self) -> bool {
        self.round_at.is_some()
    }

    /// A round begins with the next slice, unless one is under way.
    pub(super) fn begin(&mut self, now: Mono) {
        if self.round_at.is_none() {
            (self.round_at, self.slice_end, self.clean) = (Some(now), now, 0);
        }
    }

    fn end(&mut self) {
        self.round_at = None;
    }

    /// Keys that the slice which begins now may remove.
    fn budget(&self, now: Mono) -> usize {
        let is_late = self.round_at.is_some_and(|at| now.since(at) >= LONG_ROUND);
        let rate = if is_late { KEYS_PER_US_LATE } else { KEYS_PER_US };
        let others_us = now.as_micros().saturating_sub(self.slice_end.as_micros());
        usize::try_from(others_us.saturating_mul(rate)).unwrap_or(KEYS_MAX).clamp(KEYS_MIN, KEYS_MAX)
    }
}

impl Worker {
    /// One slice of the round under way; ends the round if nothing more is due.
    pub(super) fn expire_slice(&mut self) {
        let (me, workers) = (self.index, self.shared.config.workers);
        let cells = Arc::clone(&self.cells);
        let mine = usize::from(cells.len()).saturating_sub(me).div_ceil(workers);
        let mut budget = self.expiry.budget(self.now);
        while budget > 0 {
            if self.expiry.clean >= mine || !self.shared.may_serve(self.now) {
                return self.expiry.end();
            }
            let index = self.expiry.next % mine;
            self.expiry.next = index + 1;
            let wanted = budget.min(KEYS_PER_LOCK_MAX);
            let id = u16::try_from(me + index * workers).expect("partitions are numbered by sixteen bits");
            let removed = cells.get(PartitionId(id)).map_or(0, |cell| self.expire_in(cell, wanted));
            budget -= removed;
            self.expiry.clean = if removed < wanted { self.expiry.clean + 1 } else { 0 };
        }
        self.expiry.slice_end = self.shared.clock.mono();
    }

    /// Removes keys of one partition that are due, at most so many; how many it were.
    fn expire_in(&mut self, cell: Cell<'_>, keys_max: usize) -> usize {
        let mut state = cell.state.lock();
        if state.primary().is_none() || state.handing_over {
            return 0;
        }
        let notes = self.shared.events().is_on().then_some(&mut self.events);
        let removed = state.expire(self.wall, self.now, keys_max, notes);
        if removed == 0 {
            return 0;
        }
        let pump = state.has_peers() && !std::mem::replace(&mut state.pump_queued, true);
        let garbage = state.store.take_garbage();
        drop(state);
        self.shared.free(garbage);
        self.stat(Counter::Expired, removed as u64);
        if pump {
            self.pump.push(cell.id);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_with_other_work_and_in_long_rounds() {
        let at = |us: u64| Mono(1_000_000_000 + us * 1_000);
        let mut expiry = Expiry::default();
        assert!(!expiry.is_under_way());
        expiry.begin(at(0));
        assert!(expiry.is_under_way());
        assert_eq!(expiry.budget(at(0)), KEYS_MIN);
        assert_eq!(expiry.budget(at(1_000)), 1_000);
        assert_eq!(expiry.budget(at(50_000)), KEYS_MAX);
        expiry.slice_end = at(1_000_000);
        expiry.begin(at(1_000_100));
        assert_eq!(expiry.budget(at(1_000_250)), 1_000, "the round has lasted for a second");
        expiry.end();
        assert!(!expiry.is_under_way());
        expiry.begin(at(2_000_000));
        assert_eq!(expiry.budget(at(2_000_200)), 200);
    }
}
