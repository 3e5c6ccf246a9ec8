//! Which keys are due when: an ordered index of deadlines, with entries only for keys that have one.
//!
//! A ticket is a deadline and the mark of a key (the upper half of its hash); the table finds the key by its mark.
//! Tickets are taken back exactly when a deadline moves or a key goes, so the index never holds more than the keys
//! with a deadline do: overwriting one key with a TTL a million times leaves one ticket. A timing wheel would save
//! the logarithm but would have to either collect stale tickets or write its position into every node.

use std::collections::BTreeMap;
use stdx::Wall;

/// What one ticket takes in the tree: 20 bytes in nodes that are about two thirds full, and the nodes above.
pub(crate) const TICKET_BYTES: usize = 32;

/// Deadlines of one database in order.
#[derive(Default, Debug)]
pub(crate) struct Deadlines {
    /// How many keys have this deadline and mark: more than one only if two marks collide.
    tickets: BTreeMap<(Wall, u32), u32>,
    keys: u64,
}

impl Deadlines {
    /// Keys with a deadline.
    pub(crate) fn len(&self) -> u64 {
        self.keys
    }

    /// A key with `mark` had the deadline `from` and has `to` now.
    pub(crate) fn change(&mut self, mark: u32, from: Option<Wall>, to: Option<Wall>) {
        if from == to {
            return;
        }
        if let Some(at) = from {
            self.remove(at, mark);
        }
        if let Some(at) = to {
            *self.tickets.entry((at, mark)).or_default() += 1;
            self.keys += 1;
        }
    }

    /// The earliest deadline.
    pub(crate) fn first(&self) -> Option<Wall> {
        self.tickets.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Deadlines and marks that are due, earliest first.
    pub(crate) fn due(&self, now: Wall) -> impl Iterator<Item = (Wall, u32)> + '_ {
        self.tickets.range(..=(now, u32::MAX)).map(|(&ticket, _)| ticket)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.tickets.len() * TICKET_BYTES
    }

    fn remove(&mut self, at: Wall, mark: u32) {
        let keys = self.tickets.get_mut(&(at, mark)).expect("every key with a deadline has a ticket");
        *keys -= 1;
        if *keys == 0 {
            self.tickets.remove(&(at, mark));
        }
        self.keys -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_follow_their_keys() {
        let mut deadlines = Deadlines::default();
        deadlines.change(1, None, Some(Wall(50)));
        deadlines.change(1, None, Some(Wall(50)));
        deadlines.change(2, None, Some(Wall(20)));
        assert_eq!((deadlines.len(), deadlines.first()), (3, Some(Wall(20))));
        assert_eq!(deadlines.due(Wall(50)).collect::<Vec<_>>(), [(Wall(20), 2), (Wall(50), 1)]);
        assert_eq!(deadlines.due(Wall(49)).count(), 1);
        deadlines.change(2, Some(Wall(20)), Some(Wall(60)));
        deadlines.change(1, Some(Wall(50)), None);
        assert_eq!((deadlines.len(), deadlines.first()), (2, Some(Wall(50))));
        deadlines.change(1, Some(Wall(50)), None);
        deadlines.change(2, Some(Wall(60)), None);
        assert_eq!((deadlines.len(), deadlines.first(), deadlines.bytes()), (0, None, 0));
    }
}
