//! One database of a partition: its table, its deadlines, and what its nodes take.
//!
//! The three change together, here and nowhere else. What a change leaves behind that is long to free comes back to
//! the caller.

use crate::access::{Access, Moment};
use crate::collection::{self, Change};
use crate::deadlines::Deadlines;
use crate::eviction::Token;
use crate::filter::FilterMut;
use crate::filter_totals::FilterTotals;
use crate::garbage::Remains;
use crate::locator::Locator;
use crate::memory::allocation_bytes;
use crate::node::Node;
use crate::segment::mark_of;
use crate::table::Table;
use crate::value::StringRef;
use effect::Kind;
use stdx::Wall;
use stdx::hash::hash64;

/// Keys, values and deadlines of one database.
#[derive(Debug)]
pub(crate) struct Database {
    table: Table,
    hash_seed: u64,
    node_bytes: usize,
    deadlines: Deadlines,
    filters: FilterTotals,
}

/// The keys as the index of deadlines sees them.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    table: &'a Table,
    hash_seed: u64,
}

impl<'a> Keys<'a> {
    /// The nodes with this mark and a deadline from `start` up to `end`, as tickets are ordered; their deadlines and
    /// hashes. One, unless marks collide.
    pub(crate) fn with_mark(
        self,
        mark: u32,
        start: (Wall, u32),
        end: Option<(Wall, u32)>,
    ) -> impl Iterator<Item = (&'a Node, Wall, u64)> {
        self.table.with_tag_of(mark).filter_map(move |node| {
            let at = node.expire_at()?;
            if (at, mark) < start || end.is_some_and(|end| (at, mark) >= end) {
                return None;
            }
            let hash = hash64(self.hash_seed, node.key());
            (mark_of(hash) == mark).then_some((node, at, hash))
        })
    }

    /// Brings the nodes of these marks closer.
    pub(crate) fn prefetch(self, marks: &[u32]) {
        for &mark in marks {
            self.table.segment(mark).prefetch_home(mark);
        }
        for &mark in marks {
            self.table.segment(mark).prefetch_node(mark);
        }
    }

    /// The tickets that there should be.
    #[cfg(test)]
    pub(crate) fn tickets(self) -> impl Iterator<Item = (Wall, u32)> {
        let mark = move |node: &Node| mark_of(hash64(self.hash_seed, node.key()));
        self.table.iter().filter_map(move |node| Some((node.expire_at()?, mark(node))))
    }
}

impl Database {
    /// An empty one whose keys are hashed under `hash_seed`.
    pub(crate) fn new(hash_seed: u64) -> Database {
        let (deadlines, filters) = (Deadlines::default(), FilterTotals::default());
        Database { table: Table::new(), hash_seed, node_bytes: 0, deadlines, filters }
    }

    #[inline]
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    pub(crate) fn filters(&self) -> FilterTotals {
        self.filters
    }

    /// For the access clock alone.
    #[inline(always)]
    pub(crate) fn find_mut(&mut self, at: Locator, key: &[u8]) -> Option<&mut Node> {
        self.table.find_mut(at, key)
    }

    /// The node that a token leads to, and the hash of its key.
    pub(crate) fn find_token(&self, token: Token) -> Option<(&Node, u64)> {
        let mut nodes = self.table.with_tag_of(token.mark());
        nodes.find_map(|node| {
            let hash = hash64(self.hash_seed, node.key());
            token.is_of(hash).then_some((node, hash))
        })
    }

    /// The same, for the access clock alone.
    pub(crate) fn find_token_mut(&mut self, token: Token) -> Option<&mut Node> {
        let hash_seed = self.hash_seed;
        self.table.find_where(token.mark(), |node| token.is_of(hash64(hash_seed, node.key())))
    }

    /// Everything it takes, itself included.
    pub(crate) fn bytes(&self) -> usize {
        allocation_bytes(size_of::<Database>())
            + self.table.bytes()
            + self.deadlines.bytes()
            + self.node_bytes
    }

    /// Sets a whole value; gives back what it replaced if that could not be used again.
    #[inline]
    pub(crate) fn set(
        &mut self,
        at: Locator,
        key: &[u8],
        value: &[u8],
        expire_at: Option<Wall>,
        now: Moment,
    ) -> Option<Node> {
        let value = StringRef::of(value);
        let Some(node) = self.table.find_mut(at, key) else {
            self.insert(at.mark(), Node::new(key, value, expire_at, Access::begun(now)));
            return None;
        };
        let deadline = node.expire_at();
        node.set_access(node.access().at(now));
        let former = node.set(value, expire_at);
        if let Some(former) = &former {
            self.node_bytes = self.node_bytes - former.bytes() + node.bytes();
            self.filters.remove_node(former);
        }
        self.move_deadline(at.mark(), deadline, expire_at);
        former
    }

    /// Changes a part of a value; a missing one is empty before.
    pub(crate) fn splice(&mut self, at: Locator, key: &[u8], offset: usize, part: &[u8], now: Moment) {
        let Some(node) = self.table.find_mut(at, key) else {
            let mut node = Node::new(key, StringRef::raw(b""), None, Access::begun(now));
            node.splice(offset, part);
            self.insert(at.mark(), node);
            return;
        };
        let bytes = node.bytes();
        node.set_access(node.access().at(now));
        node.splice(offset, part);
        self.node_bytes = self.node_bytes - bytes + node.bytes();
    }

    /// Sets a value that is no string, as the node that `make` makes of it for an access clock; gives back what it replaced.
    pub(crate) fn set_node(
        &mut self,
        at: Locator,
        key: &[u8],
        now: Moment,
        make: impl FnOnce(Access) -> Node,
    ) -> Option<Node> {
        let Some(node) = self.table.find_mut(at, key) else {
            let node = make(Access::begun(now));
            self.filters.add_node(&node);
            self.insert(at.mark(), node);
            return None;
        };
        let deadline = node.expire_at();
        let new = make(node.access().at(now));
        let expire_at = new.expire_at();
        self.filters.add_node(&new);
        let former = node.replace(new);
        self.filters.remove_node(&former);
        self.node_bytes = self.node_bytes - former.bytes() + node.bytes();
        self.move_deadline(at.mark(), deadline, expire_at);
        Some(former)
    }

    /// Changes a collection; one of another kind stays as it is, and a missing one is made if something is put into it. What that
    /// leaves behind goes to `remains`.
    pub(crate) fn change_collection(
        &mut self,
        at: Locator,
        key: &[u8],
        (kind, change): (Kind, Change<'_>),
        now: Moment,
        remains: &mut Vec<Remains>,
    ) {
        let Some(node) = self.table.find_mut(at, key) else {
            if change.makes(kind) {
                let mut node = Node::of_packed(key, kind, &[], None, Access::begun(now));
                collection::change(&mut node, kind, change, self.hash_seed, remains);
                self.insert(at.mark(), node);
            }
            return;
        };
        let bytes = node.bytes();
        node.set_access(node.access().at(now));
        collection::change(node, kind, change, self.hash_seed, remains);
        self.node_bytes = self.node_bytes - bytes + node.bytes();
    }

    /// Changes a filter; `None` if the key holds none. What that leaves behind goes to `remains`.
    pub(crate) fn change_filter<T>(
        &mut self,
        at: Locator,
        key: &[u8],
        now: Moment,
        remains: &mut Vec<Remains>,
        change: impl FnOnce(&mut FilterMut<'_>) -> T,
    ) -> Option<T> {
        let node = self.table.find_mut(at, key)?;
        let bytes = node.bytes();
        let filter = node.filter_mut()?;
        self.filters.remove(filter);
        let changed = change(&mut FilterMut { filter, remains });
        self.filters.add(filter);
        node.set_access(node.access().at(now));
        self.node_bytes = self.node_bytes - bytes + node.bytes();
        Some(changed)
    }

    /// Moves a deadline; a missing key stays missing.
    pub(crate) fn expire_at(&mut self, at: Locator, key: &[u8], to: Option<Wall>) {
        let Some(node) = self.table.find_mut(at, key) else { return };
        let (bytes, deadline) = (node.bytes(), node.expire_at());
        node.set_expire_at(to);
        self.node_bytes = self.node_bytes - bytes + node.bytes();
        self.move_deadline(at.mark(), deadline, to);
    }

    pub(crate) fn remove(&mut self, mark: u32, key: &[u8]) -> Option<Node> {
        let node = self.table.remove(mark, key)?;
        self.node_bytes -= node.bytes();
        self.filters.remove_node(&node);
        self.move_deadline(mark, node.expire_at(), None);
        Some(node)
    }

    /// The earliest deadline, and the hash of the key that has it.
    pub(crate) fn soonest(&mut self) -> Option<(Wall, u64)> {
        let mut soonest = None;
        let keys = Keys { table: &self.table, hash_seed: self.hash_seed };
        self.deadlines.due(Wall(u64::MAX), 1, keys, &mut |key, hash| {
            let node = self.table.find(Locator::from(hash), key);
            soonest = node.and_then(Node::expire_at).map(|at| (at, hash));
        });
        soonest
    }

    /// Visits keys whose deadline has passed with their hashes, roughly the earliest first, at most `budget`; how many.
    pub(crate) fn due(&mut self, now: Wall, budget: usize, visit: &mut dyn FnMut(&[u8], u64)) -> usize {
        let keys = Keys { table: &self.table, hash_seed: self.hash_seed };
        self.deadlines.due(now, budget, keys, visit)
    }

    fn insert(&mut self, mark: u32, node: Node) {
        let hash_seed = self.hash_seed;
        let expire_at = node.expire_at();
        self.node_bytes += node.bytes();
        self.table.insert(mark, node, |key| mark_of(hash64(hash_seed, key)));
        self.move_deadline(mark, None, expire_at);
    }

    #[inline]
    fn move_deadline(&mut self, mark: u32, from: Option<Wall>, to: Option<Wall>) {
        if from != to {
            let keys = Keys { table: &self.table, hash_seed: self.hash_seed };
            self.deadlines.change(mark, from, to, keys);
        }
    }

    /// What [`bytes`](Self::bytes) and the index of deadlines must agree with, by counting anew.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert_eq!(self.node_bytes, self.table.iter().map(Node::bytes).sum::<usize>());
        assert_eq!(self.table.len(), self.table.iter().count() as u64);
        let expiring = self.table.iter().filter(|node| node.expire_at().is_some()).count();
        assert_eq!(self.deadlines.len(), expiring as u64);
        self.deadlines.check(Keys { table: &self.table, hash_seed: self.hash_seed });
        let mut filters = FilterTotals::default();
        for node in self.table.iter() {
            if let crate::ValueRef::Filter(filter) = node.value() {
                filters.add(filter);
            }
        }
        assert_eq!(self.filters, filters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashMap};
    use stdx::Random;

    const SEED: u64 = 5;

    fn locator(key: &[u8]) -> Locator {
        Locator::from(hash64(SEED, key))
    }

    fn mark(key: &[u8]) -> u32 {
        mark_of(hash64(SEED, key))
    }

    fn set(database: &mut Database, key: &[u8], at: Option<u64>) {
        assert!(
            !database
                .set(locator(key), key, b"v", at.map(Wall), Moment::plain(0))
                .is_some_and(|former| former.is_large())
        );
    }

    fn due(database: &mut Database, now: u64) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let count = database.due(Wall(now), usize::MAX, &mut |key, hash| {
            assert_eq!(hash, hash64(SEED, key));
            keys.push(key.to_vec());
        });
        assert_eq!(count, keys.len());
        keys.sort_unstable();
        keys
    }

    /// Two keys with one mark: among a few hundred thousand there is a pair.
    fn colliding() -> (Vec<u8>, Vec<u8>) {
        let mut met = HashMap::new();
        (0..1 << 20)
            .find_map(|i: u32| {
                let key = i.to_le_bytes().to_vec();
                met.insert(mark(&key), key.clone()).map(|other| (other, key))
            })
            .expect("a million keys have more than a hundred pairs")
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn colliding_marks_expire_each_at_its_own_time() {
        let (a, b) = colliding();
        let mut database = Database::new(SEED);
        for (key, at) in [(&a[..], Some(10)), (&b, Some(10)), (b"c", Some(30)), (b"d", None)] {
            set(&mut database, key, at);
            database.check();
        }
        assert!(due(&mut database, 9).is_empty());
        assert_eq!(due(&mut database, 29).len(), 2);
        assert_eq!(due(&mut database, 30).len(), 3);
        set(&mut database, &a, Some(25));
        database.check();
        assert_eq!(due(&mut database, 24), std::slice::from_ref(&b));
        assert_eq!(due(&mut database, 25).len(), 2);
        // The ticket of the one may stand where that of the other should.
        database.expire_at(locator(&a), &a, None);
        database.check();
        assert_eq!(due(&mut database, 24), std::slice::from_ref(&b));
        database.expire_at(locator(b"missing"), b"missing", Some(Wall(1)));
        assert_eq!(database.remove(mark(&b), &b).expect("set").key(), b);
        assert!(database.remove(mark(&b), &b).is_none());
        database.check();
        assert_eq!(due(&mut database, 30), [b"c"]);
    }

    /// Rising, falling, equal and random deadlines, set, moved and removed, until the last is gone.
    #[test]
    fn due_keys_are_found_in_every_order_of_deadlines() {
        let (keys, steps) = if cfg!(miri) { (220, 220) } else { (2_000, 12_000) };
        let patterns = if cfg!(miri) { 3..4 } else { 0..4 };
        for pattern in patterns {
            let mut random = Random::seeded(pattern);
            let mut database = Database::new(SEED);
            let mut model: HashMap<Vec<u8>, u64> = HashMap::new();
            for step in 0..steps {
                let key = (random.below(keys) as u32).to_le_bytes().to_vec();
                let at = match pattern {
                    0 => 1_000 + step,
                    1 => 100_000 - step,
                    2 => 7_000,
                    _ => random.below(20_000),
                };
                match random.below(6) {
                    0 => {
                        let _ = database.remove(mark(&key), &key);
                        model.remove(&key);
                    }
                    1 => {
                        database.expire_at(locator(&key), &key, None);
                        model.remove(&key);
                    }
                    _ => {
                        set(&mut database, &key, Some(at));
                        model.insert(key, at);
                    }
                }
                if step % (steps / 4) == 0 && cfg!(not(miri)) {
                    database.check();
                }
            }
            database.check();
            let mut times: Vec<u64> = model.values().copied().collect();
            times.sort_unstable();
            for now in [times[0], times[times.len() / 3], times[times.len() - 2], times[times.len() - 1]] {
                let expected: BTreeSet<_> =
                    model.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
                assert_eq!(due(&mut database, now), expected.iter().cloned().collect::<Vec<_>>());
                for key in &expected {
                    assert!(database.remove(mark(key), key).is_some());
                    model.remove(key);
                }
                database.check();
            }
            assert_eq!((database.deadlines().len(), database.deadlines().bytes()), (0, 0));
            assert_eq!(database.deadlines().bound(), None);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn a_ticket_takes_few_bytes() {
        let mut random = Random::seeded(1);
        for rising in [true, false] {
            let mut database = Database::new(SEED);
            for i in 0..20_000u32 {
                let at = if rising { u64::from(i / 3) } else { random.below(3_600_000) };
                set(&mut database, &i.to_le_bytes(), Some(at + 1));
            }
            database.check();
            let bytes = database.deadlines().bytes() as f64 / 20_000.0;
            assert!(bytes < 6.0, "{bytes} bytes a key");
            for i in 0..19_000u32 {
                assert!(database.remove(mark(&i.to_le_bytes()), &i.to_le_bytes()).is_some());
            }
            database.check();
            let bytes = database.deadlines().bytes() as f64 / 1_000.0;
            assert!(bytes < 12.0, "{bytes} bytes a key after most are gone");
        }
    }
}
