//! The partitions of a node and their locks.
//!
//! A lock guards a *group* of neighbouring partitions. With several workers a group is one partition, so that they
//! rarely meet. With one worker all partitions are one group: nobody else wants the lock except for moments, and the
//! worker keeps it for a whole batch of commands instead of paying for an atomic exchange per command and stage.

use crate::frame::Route;
use crate::partition::State;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use smallvec::SmallVec;
use stdx::PartitionId;

/// All partitions, in order.
pub(crate) struct Cells {
    groups: Box<[Mutex<Box<[State]>>]>,
    /// Partitions of a group, as a power of two.
    group_bits: u32,
    len: u16,
}

/// One partition.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub(crate) id: PartitionId,
    pub(crate) state: StateLock<'a>,
}

/// The lock of a partition's state.
#[derive(Clone, Copy)]
pub(crate) struct StateLock<'a> {
    group: &'a Mutex<Box<[State]>>,
    index: usize,
}

impl<'a> StateLock<'a> {
    /// Waits for the state. Whoever holds one partition's must not ask for another's: see [`Cells::lock`].
    pub(crate) fn lock(self) -> MappedMutexGuard<'a, State> {
        MutexGuard::map(self.group.lock(), |states| &mut states[self.index])
    }
}

impl Cells {
    /// `len` empty partitions (a power of two, or none) for so many workers.
    pub(crate) fn new(len: u16, hash_seed: u64, workers: usize) -> Cells {
        let group_len = if workers == 1 { usize::from(len).max(1) } else { 1 };
        let groups = (0..usize::from(len) / group_len)
            .map(|_| Mutex::new((0..group_len).map(|_| State::new(hash_seed)).collect()))
            .collect();
        Cells { groups, group_bits: group_len.trailing_zeros(), len }
    }

    pub(crate) fn len(&self) -> u16 {
        self.len
    }

    pub(crate) fn get(&self, id: PartitionId) -> Option<Cell<'_>> {
        let (group, index) = self.place(id);
        Some(Cell { id, state: StateLock { group: self.groups.get(group)?, index } })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..self.len).filter_map(|id| self.get(PartitionId(id)))
    }

    /// Group of a partition, and its place there.
    #[inline]
    fn place(&self, id: PartitionId) -> (usize, usize) {
        let id = usize::from(id.0);
        (id >> self.group_bits, id & ((1 << self.group_bits) - 1))
    }

    /// All states at once, if they are one group and nobody else has its lock.
    pub(crate) fn try_lock_all(&self) -> Option<Group<'_>> {
        match &*self.groups {
            [all] => all.try_lock(),
            _ => None,
        }
    }

    /// Locks the partitions of `routes`, which are sorted by partition: in that order, so that no two workers wait for
    /// each other.
    pub(crate) fn lock<'a>(&'a self, routes: &[Route]) -> Option<Locked<'a>> {
        let mut locked = Locked { groups: SmallVec::new(), cells: self };
        for route in routes {
            let group = self.place(route.partition).0;
            if locked.groups.last().is_none_or(|(last, _)| *last != group) {
                locked.groups.push((group, self.groups.get(group)?.lock()));
            }
        }
        Some(locked)
    }
}

/// A locked group.
pub(crate) type Group<'a> = MutexGuard<'a, Box<[State]>>;

/// The locks of several partitions.
pub(crate) struct Locked<'a> {
    groups: SmallVec<[(usize, Group<'a>); 1]>,
    cells: &'a Cells,
}

/// A locked partition.
pub(crate) type Held<'s> = (PartitionId, &'s mut State);

impl Locked<'_> {
    /// The states of the partitions that were locked, given by the same `routes`.
    pub(crate) fn states<'s>(&'s mut self, routes: &[Route]) -> SmallVec<[Held<'s>; 1]> {
        let mut states = SmallVec::with_capacity(routes.len());
        let mut routes = routes.iter().peekable();
        for (group, guard) in &mut self.groups {
            let (mut rest, mut passed) = (&mut guard[..], 0);
            while let Some(route) = routes.next_if(|route| self.cells.place(route.partition).0 == *group) {
                let index = self.cells.place(route.partition).1;
                // Each route once and in order, so every state lies behind the ones before it.
                let Some((state, behind)) =
                    std::mem::take(&mut rest).get_mut(index - passed..).and_then(<[State]>::split_first_mut)
                else {
                    break;
                };
                states.push((route.partition, state));
                (rest, passed) = (behind, index + 1);
            }
        }
        states
    }
}

/// A lock that stays with whoever goes from partition to partition, as long as the group is the same.
#[derive(Default)]
pub(crate) struct Wandering<'a> {
    held: Option<(usize, Group<'a>)>,
}

impl<'a> Wandering<'a> {
    /// The state of a partition; waits for its lock if that is another than before, which is given up first.
    #[inline]
    pub(crate) fn go(&mut self, cells: &'a Cells, id: PartitionId) -> Option<&mut State> {
        let (group, index) = cells.place(id);
        if self.held.as_ref().is_none_or(|(held, _)| *held != group) {
            self.held = None;
            self.held = Some((group, cells.groups.get(group)?.lock()));
        }
        self.held.as_mut()?.1.get_mut(index)
    }

    /// All states, if they are one group; waits for its lock.
    #[inline]
    pub(crate) fn all(&mut self, cells: &'a Cells) -> Option<&mut [State]> {
        let [all] = &*cells.groups else { return None };
        let held = self.held.get_or_insert_with(|| (0, all.lock()));
        Some(&mut held.1)
    }

    /// As [`Wandering::go`], but does not wait: `None` if somebody else has the lock.
    #[inline]
    pub(crate) fn try_go(&mut self, cells: &'a Cells, id: PartitionId) -> Option<&mut State> {
        let (group, index) = cells.place(id);
        if self.held.as_ref().is_none_or(|(held, _)| *held != group) {
            self.held = None;
            self.held = Some((group, cells.groups.get(group)?.try_lock()?));
        }
        self.held.as_mut()?.1.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Epoch;

    fn routes(ids: &[u16]) -> Vec<Route> {
        ids.iter().map(|&id| Route { partition: PartitionId(id), reign: Epoch(1) }).collect()
    }

    #[test]
    fn the_states_that_were_asked_for_in_their_order() {
        for workers in [1, 2] {
            let cells = Cells::new(16, 7, workers);
            for id in 0..16 {
                cells.get(PartitionId(id)).expect("there").state.lock().epoch = Epoch(u64::from(id));
            }
            for ids in [&[3][..], &[0, 15], &[1, 2, 3, 9], &[]] {
                let routes = routes(ids);
                let mut locked = cells.lock(&routes).expect("all exist");
                let states = locked.states(&routes);
                let found: Vec<_> = states.iter().map(|(id, state)| (id.0, state.epoch.0 as u16)).collect();
                assert_eq!(found, ids.iter().map(|&id| (id, id)).collect::<Vec<_>>());
            }
            assert!(cells.lock(&routes(&[3, 16])).is_none());
            let mut lock = Wandering::default();
            for id in [4, 4, 12, 0] {
                let state = lock.go(&cells, PartitionId(id)).expect("there");
                assert_eq!(state.epoch, Epoch(u64::from(id)));
            }
            assert!(lock.go(&cells, PartitionId(16)).is_none());
        }
    }

    #[test]
    fn no_partitions_before_the_first_map() {
        let cells = Cells::new(0, 7, 1);
        assert_eq!((cells.len(), cells.iter().count()), (0, 0));
        assert!(cells.get(PartitionId(0)).is_none());
    }
}
