//! Which keys are due when: an ordered index of deadlines, with entries only for keys that have one.
//!
//! A *ticket* is a deadline and the mark of a key (the upper half of its hash), and tickets are ordered. Of a ticket only
//! the mark is kept, four bytes: the deadline is in the key's node, where the mark leads. Tickets lie in *leaves*, each
//! a range of tickets in no order, as the leaves of a B+ tree would, were their keys stored elsewhere. A leaf that
//! overflows is sorted by asking the nodes, and halved; one that hardly holds any joins its neighbour. Deadlines that
//! rise, as those of one TTL do, fill leaf after leaf and ask no node.
//!
//! Tickets are taken back exactly when a deadline moves or a key goes (its former deadline tells the leaf), so the index
//! never holds more than the keys with a deadline do: overwriting one key with a TTL a million times leaves one ticket.
//! No step touches more than two leaves, and nothing cascades. A timing wheel of the same four bytes would have to
//! recognise, count and sweep stale tickets; a tree of whole tickets takes twenty bytes and more of each.
//!
//! The first leaf is sorted when something in it is due, the earliest last: a step of expiry asks for the keys that are
//! due and one more.

use crate::database::Keys;
use crate::memory::{filling_len, slice_bytes};
use std::collections::BTreeMap;
use std::ops::Bound;
use stdx::Wall;

/// What one ticket takes.
pub(crate) const TICKET_BYTES: usize = size_of::<u32>();
/// Tickets of a leaf before it is halved.
const LEAF_TICKETS_MAX: usize = 127;
/// A leaf of so few is joined with a neighbour if both together fill no more than half of one.
const LEAF_TICKETS_FEW: usize = LEAF_TICKETS_MAX / 4;
/// What a leaf takes in the tree besides its tickets: 40 bytes in nodes of at least six of eleven places, and the nodes
/// above.
const LEAF_BYTES: usize = 64;
/// Where the first leaf begins.
const FIRST: Ticket = (Wall(0), 0);

type Ticket = (Wall, u32);

/// Deadlines of one database in order.
#[derive(Debug)]
pub(crate) struct Deadlines {
    /// Marks by the least ticket that a leaf may hold; the first leaf begins at [`FIRST`].
    leaves: BTreeMap<Ticket, Vec<u32>>,
    keys: u64,
    /// What the leaves' allocations take.
    ticket_bytes: usize,
    /// No deadline is earlier.
    earliest: Wall,
    /// No ticket is greater.
    greatest: Ticket,
    /// Whether the first leaf is in descending order of tickets.
    is_first_sorted: bool,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            leaves: BTreeMap::new(),
            keys: 0,
            ticket_bytes: 0,
            earliest: Wall(u64::MAX),
            greatest: FIRST,
            is_first_sorted: false,
        }
    }
}

impl Deadlines {
    /// Keys with a deadline.
    pub(crate) fn len(&self) -> u64 {
        self.keys
    }

    /// No deadline is earlier than this; at most the earliest that there was since the last search for due keys.
    pub(crate) fn bound(&self) -> Option<Wall> {
        (self.keys > 0).then_some(self.earliest)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.ticket_bytes + self.leaves.len() * LEAF_BYTES
    }

    /// A key with `mark` had the deadline `from` and has `to` now, as its node among `keys` says already.
    pub(crate) fn change(&mut self, mark: u32, from: Option<Wall>, to: Option<Wall>, keys: Keys<'_>) {
        if from == to {
            return;
        }
        if let Some(at) = from {
            self.remove((at, mark));
        }
        if let Some(at) = to {
            self.add((at, mark), keys);
        }
    }

    /// Visits keys that are due with their hashes, roughly the earliest first, at most `budget`; how many.
    pub(crate) fn due(
        &mut self,
        now: Wall,
        budget: usize,
        keys: Keys<'_>,
        visit: &mut dyn FnMut(&[u8], u64),
    ) -> usize {
        if self.keys == 0 || self.earliest > now {
            return 0;
        }
        self.sort_first(keys);
        let mut visited = 0;
        let mut earliest = Wall(u64::MAX);
        let mut leaves = self.leaves.iter().peekable();
        'leaves: while let Some((&start, leaf)) = leaves.next() {
            if start.0 > now {
                earliest = earliest.min(start.0);
                break;
            }
            let end = leaves.peek().map(|&(&end, _)| end);
            for (index, &mark) in leaf.iter().enumerate().rev() {
                if visited >= budget {
                    return visited;
                }
                // Two keys share a mark: the ticket that was met first has stood for both.
                let several = keys.with_mark(mark, start, end).count() > 1;
                if several && leaf[index + 1..].contains(&mark) {
                    continue;
                }
                let visited_before = visited;
                for (node, at, hash) in keys.with_mark(mark, start, end) {
                    earliest = earliest.min(at);
                    if at <= now && visited < budget {
                        visit(node.key(), hash);
                        visited += 1;
                    }
                }
                if visited == visited_before && start == FIRST {
                    break 'leaves;
                }
            }
        }
        self.earliest = earliest;
        visited
    }

    fn add(&mut self, ticket: Ticket, keys: Keys<'_>) {
        self.keys += 1;
        self.earliest = self.earliest.min(ticket.0);
        let rises = ticket > self.greatest;
        self.greatest = self.greatest.max(ticket);
        let start = match self.leaves.last_key_value() {
            None => {
                self.is_first_sorted = true;
                self.insert_leaf(FIRST, vec_of(1));
                FIRST
            }
            Some((_, last)) if rises && last.len() >= LEAF_TICKETS_MAX => {
                self.insert_leaf(ticket, vec_of(1));
                ticket
            }
            Some(_) => {
                let leaf = self.leaves.range(..=ticket).next_back();
                let (&start, _) = leaf.expect("the first leaf begins before all tickets");
                self.is_first_sorted &= start != FIRST;
                start
            }
        };
        let leaf = self.leaves.get_mut(&start).expect("found or inserted above");
        let former_bytes = leaf_bytes(leaf);
        if leaf.len() == leaf.capacity() {
            leaf.reserve_exact(capacity_for(leaf.len() + 1) - leaf.len());
        }
        leaf.push(ticket.1);
        self.ticket_bytes = self.ticket_bytes - former_bytes + leaf_bytes(leaf);
        if leaf.len() > LEAF_TICKETS_MAX {
            self.split(start, keys);
        }
    }

    fn remove(&mut self, ticket: Ticket) {
        let leaf = self.leaves.range_mut(..=ticket).next_back();
        let (&start, leaf) = leaf.expect("the first leaf begins before all tickets");
        let mark = ticket.1;
        let index =
            leaf.iter().rposition(|&here| here == mark).expect("every key with a deadline has a ticket");
        if start == FIRST && self.is_first_sorted {
            // Of two equal marks it may be the other's place.
            self.is_first_sorted = !leaf[..index].contains(&mark);
            leaf.remove(index);
        } else {
            leaf.swap_remove(index);
        }
        self.keys -= 1;
        if leaf.len() <= LEAF_TICKETS_FEW {
            self.tidy(start);
        }
    }

    /// Gives up what a leaf of few tickets does not need: its room, or the leaf itself.
    fn tidy(&mut self, start: Ticket) {
        let Some(leaf) = self.leaves.get_mut(&start) else { return };
        let len = leaf.len();
        if len == 0 {
            self.take_leaf(start);
            if start == FIRST
                && let Some((&next, _)) = self.leaves.first_key_value()
            {
                let leaf = self.take_leaf(next);
                self.is_first_sorted = false;
                self.insert_leaf(FIRST, leaf);
            }
            if self.keys == 0 {
                *self = Deadlines::default();
            }
            return;
        }
        if capacity_for(len) * 2 <= leaf.capacity() {
            let former_bytes = leaf_bytes(leaf);
            leaf.shrink_to(capacity_for(len));
            self.ticket_bytes = self.ticket_bytes - former_bytes + leaf_bytes(leaf);
        }
        // The second of two neighbours joins the first.
        let neighbours = if start == FIRST {
            let next = self.leaves.range((Bound::Excluded(start), Bound::Unbounded)).next();
            next.map(|(&next, leaf)| (start, next, leaf.len()))
        } else {
            self.leaves.range(..start).next_back().map(|(&former, leaf)| (former, start, leaf.len()))
        };
        if let Some((first, second, neighbour_len)) = neighbours
            && neighbour_len + len <= LEAF_TICKETS_MAX / 2
        {
            let (mut joined, rest) = (self.take_leaf(first), self.take_leaf(second));
            joined.reserve_exact(capacity_for(joined.len() + rest.len()).saturating_sub(joined.len()));
            joined.extend(rest);
            self.is_first_sorted &= first != FIRST;
            self.insert_leaf(first, joined);
        }
    }

    /// Halves a leaf, unless all its tickets are the same.
    fn split(&mut self, start: Ticket, keys: Keys<'_>) {
        let tickets = self.tickets_of(start, keys);
        let Some(&middle) = tickets.get(tickets.len() / 2) else { return };
        let mut lower_len = tickets.partition_point(|&ticket| ticket < middle);
        if lower_len == 0 {
            lower_len = tickets.partition_point(|&ticket| ticket == middle);
        }
        let Some(&upper_start) = tickets.get(lower_len) else { return };
        let (lower, upper) = tickets.split_at(lower_len);
        self.take_leaf(start);
        self.insert_leaf(start, marks_of(lower));
        self.insert_leaf(upper_start, marks_of(upper));
        self.is_first_sorted |= start == FIRST;
    }

    fn sort_first(&mut self, keys: Keys<'_>) {
        if !self.is_first_sorted {
            let tickets = self.tickets_of(FIRST, keys);
            self.take_leaf(FIRST);
            self.insert_leaf(FIRST, marks_of(&tickets));
            self.is_first_sorted = true;
        }
    }

    /// The tickets of a leaf in order, their deadlines from the nodes.
    fn tickets_of(&self, start: Ticket, keys: Keys<'_>) -> Vec<Ticket> {
        let mut marks = self.leaves.get(&start).cloned().unwrap_or_default();
        let end = self.leaves.range((Bound::Excluded(start), Bound::Unbounded)).next().map(|(&end, _)| end);
        let count = marks.len();
        marks.sort_unstable();
        marks.dedup();
        keys.prefetch(&marks);
        let mut tickets = Vec::with_capacity(count);
        for &mark in &marks {
            tickets.extend(keys.with_mark(mark, start, end).map(|(_, at, _)| (at, mark)));
        }
        debug_assert_eq!(tickets.len(), count, "every ticket has its node");
        tickets.sort_unstable();
        tickets
    }

    fn insert_leaf(&mut self, start: Ticket, leaf: Vec<u32>) {
        self.ticket_bytes += leaf_bytes(&leaf);
        self.leaves.insert(start, leaf);
    }

    fn take_leaf(&mut self, start: Ticket) -> Vec<u32> {
        let leaf = self.leaves.remove(&start).unwrap_or_default();
        self.ticket_bytes -= leaf_bytes(&leaf);
        leaf
    }

    /// What the tickets must agree with, by asking all nodes.
    #[cfg(test)]
    pub(crate) fn check(&self, keys: Keys<'_>) {
        let tickets: usize = self.leaves.values().map(Vec::len).sum();
        assert_eq!(tickets as u64, self.keys);
        assert_eq!(self.ticket_bytes, self.leaves.values().map(leaf_bytes).sum::<usize>());
        let mut expected: Vec<Ticket> = keys.tickets().collect();
        expected.sort_unstable();
        let met: Vec<Ticket> = self.leaves.keys().flat_map(|&start| self.tickets_of(start, keys)).collect();
        assert_eq!(met, expected);
        assert!(expected.first().is_none_or(|first| self.earliest <= first.0));
        assert!(expected.last().is_none_or(|last| self.greatest >= *last));
        if let Some(first) = self.leaves.get(&FIRST)
            && self.is_first_sorted
        {
            assert_eq!(*first, marks_of(&self.tickets_of(FIRST, keys)));
        }
    }
}

/// Marks of sorted tickets, the earliest last.
fn marks_of(tickets: &[Ticket]) -> Vec<u32> {
    let mut marks = vec_of(tickets.len());
    marks.extend(tickets.iter().rev().map(|&(_, mark)| mark));
    marks
}

fn vec_of(len: usize) -> Vec<u32> {
    Vec::with_capacity(capacity_for(len))
}

/// Room for `len` tickets that fills a block of the allocator.
fn capacity_for(len: usize) -> usize {
    filling_len::<u32>(len.max(3))
}

fn leaf_bytes(leaf: &Vec<u32>) -> usize {
    slice_bytes::<u32>(leaf.capacity())
}
