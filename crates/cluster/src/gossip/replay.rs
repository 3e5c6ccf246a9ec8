//! Refuses datagrams that were seen before: a sliding window of counters per sending process.
//!
//! The construction of RFC 4303 (IPsec ESP, section 3.4.3): the highest counter seen and a bit for each of the 128
//! below it. A datagram below the window is refused, because nothing tells it from a replay. A sender's window may be
//! forgotten once nothing that it covered would pass the clock window any more.

use super::report::ReceiveError;
use super::seal::CLOCK_WINDOW_MS;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;
use stdx::{Mono, NodeId, limits};

/// Most sending processes remembered at once: every node of the largest cluster, restarted three times in a minute.
pub(super) const SENDERS_MAX: usize = 4 * limits::NODES_MAX;

const WINDOW: u64 = 128;
/// A datagram is acceptable from `CLOCK_WINDOW_MS` before to as long after its own time.
const FORGET_AFTER: Duration = Duration::from_millis(2 * CLOCK_WINDOW_MS);

#[derive(Debug)]
struct Window {
    highest: u64,
    /// Bit n: the counter `highest - n` was seen.
    seen: u128,
    heard_at: Mono,
}

/// The windows of all senders.
#[derive(Default, Debug)]
pub(super) struct Replays {
    windows: BTreeMap<(NodeId, u64), Window>,
}

impl Replays {
    /// Accepts `counter` of a process once. Call it for authenticated datagrams only.
    pub(super) fn accept(
        &mut self,
        sender: NodeId,
        incarnation: u64,
        counter: u64,
        now: Mono,
    ) -> Result<(), ReceiveError> {
        let key = (sender, incarnation);
        if self.windows.len() >= SENDERS_MAX && !self.windows.contains_key(&key) {
            self.windows.retain(|_, window| now.since(window.heard_at) <= FORGET_AFTER);
            if self.windows.len() >= SENDERS_MAX {
                return Err(ReceiveError::TooManySenders);
            }
        }
        match self.windows.entry(key) {
            Entry::Vacant(slot) => {
                slot.insert(Window { highest: counter, seen: 1, heard_at: now });
                Ok(())
            }
            Entry::Occupied(mut slot) => slot.get_mut().accept(counter, now),
        }
    }
}

impl Window {
    fn accept(&mut self, counter: u64, now: Mono) -> Result<(), ReceiveError> {
        if counter > self.highest {
            let ahead = counter - self.highest;
            self.seen = if ahead >= WINDOW { 1 } else { (self.seen << ahead) | 1 };
            self.highest = counter;
        } else {
            let behind = self.highest - counter;
            if behind >= WINDOW || self.seen & (1 << behind) != 0 {
                return Err(ReceiveError::Replayed);
            }
            self.seen |= 1 << behind;
        }
        self.heard_at = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_passes_once_in_any_order() {
        let mut replays = Replays::default();
        let mut accept = |counter| replays.accept(NodeId(1), 1, counter, Mono(0)).is_ok();
        for (counter, accepted) in [
            (10, true),
            (10, false),
            (8, true),
            (9, true),
            (8, false),
            (138, true),
            (11, true),
            (11, false),
            (10, false),
            (u64::MAX, true),
            (138, false),
            (u64::MAX, false),
            (u64::MAX - 127, true),
            (u64::MAX - 128, false),
        ] {
            assert_eq!(accept(counter), accepted, "{counter}");
        }
    }

    #[test]
    fn processes_have_their_own_windows() {
        let mut replays = Replays::default();
        for (node, incarnation) in [(1, 1), (1, 2), (2, 1)] {
            assert_eq!(replays.accept(NodeId(node), incarnation, 1, Mono(0)), Ok(()));
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_silent() {
        let mut replays = Replays::default();
        for node in 0..SENDERS_MAX as u64 {
            assert_eq!(replays.accept(NodeId(node), 1, 1, Mono(0)), Ok(()));
        }
        let newcomer = NodeId(u64::MAX);
        assert_eq!(replays.accept(newcomer, 1, 1, Mono(0)), Err(ReceiveError::TooManySenders));
        assert_eq!(replays.accept(NodeId(3), 1, 2, Mono(0)), Ok(()));
        let later = Mono(0) + FORGET_AFTER + Duration::from_nanos(1);
        assert_eq!(replays.accept(newcomer, 1, 1, later), Ok(()));
        assert_eq!(replays.windows.len(), 1);
    }
}
