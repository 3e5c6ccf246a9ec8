//! One database of a partition: its table, its deadlines, and what its nodes take.
//!
//! The three change together, here and nowhere else. What a change leaves behind that is long to free comes back to
//! the caller.

use crate::access::Access;
use crate::deadlines::Deadlines;
use crate::memory::allocation_bytes;
use crate::node::Node;
use crate::table::Table;
use crate::value::StringRef;
use stdx::Wall;

/// Keys, values and deadlines of one database.
#[derive(Debug)]
pub(crate) struct Database {
    table: Table,
    deadlines: Deadlines,
    node_bytes: usize,
}

impl Database {
    pub(crate) fn new() -> Database {
        Database { table: Table::new(), deadlines: Deadlines::default(), node_bytes: 0 }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// For the access clock alone.
    pub(crate) fn find_mut(&mut self, mark: u32, key: &[u8]) -> Option<&mut Node> {
        self.table.find_mut(mark, key)
    }

    /// Everything it takes, itself included.
    pub(crate) fn bytes(&self) -> usize {
        allocation_bytes(size_of::<Database>())
            + self.table.bytes()
            + self.deadlines.bytes()
            + self.node_bytes
    }

    /// Sets a whole value; gives back what it replaced if that could not be used again.
    pub(crate) fn set(
        &mut self,
        mark: u32,
        key: &[u8],
        value: &[u8],
        expire_at: Option<Wall>,
        seconds: u32,
    ) -> Option<Node> {
        let value = StringRef::of(value);
        let Some(node) = self.table.find_mut(mark, key) else {
            self.insert(mark, Node::new(key, value, expire_at, Access::new(seconds)));
            return None;
        };
        let (bytes, deadline) = (node.bytes(), node.expire_at());
        node.set_access(Access { seconds, ..node.access() });
        let former = node.set(value, expire_at);
        self.node_bytes = self.node_bytes - bytes + node.bytes();
        self.deadlines.change(mark, deadline, expire_at);
        former
    }

    /// Changes a part of a value; a missing one is empty before.
    pub(crate) fn splice(&mut self, mark: u32, key: &[u8], offset: usize, part: &[u8], seconds: u32) {
        let Some(node) = self.table.find_mut(mark, key) else {
            let mut node = Node::new(key, StringRef::raw(b""), None, Access::new(seconds));
            node.splice(offset, part);
            self.insert(mark, node);
            return;
        };
        let bytes = node.bytes();
        node.set_access(Access { seconds, ..node.access() });
        node.splice(offset, part);
        self.node_bytes = self.node_bytes - bytes + node.bytes();
    }

    /// Moves a deadline; a missing key stays missing.
    pub(crate) fn expire_at(&mut self, mark: u32, key: &[u8], at: Option<Wall>) {
        let Some(node) = self.table.find_mut(mark, key) else { return };
        let (bytes, deadline) = (node.bytes(), node.expire_at());
        node.set_expire_at(at);
        self.node_bytes = self.node_bytes - bytes + node.bytes();
        self.deadlines.change(mark, deadline, at);
    }

    pub(crate) fn remove(&mut self, mark: u32, key: &[u8]) -> Option<Node> {
        let node = self.table.remove(mark, key)?;
        self.node_bytes -= node.bytes();
        self.deadlines.change(mark, node.expire_at(), None);
        Some(node)
    }

    /// The nodes whose deadline has passed, earliest first.
    pub(crate) fn due(&self, now: Wall) -> impl Iterator<Item = &Node> {
        // Another node's mark may collide; its deadline, if the same, is counted in the same ticket.
        self.deadlines.due(now).flat_map(|(at, mark)| {
            self.table.with_mark(mark).filter(move |node| node.expire_at() == Some(at))
        })
    }

    fn insert(&mut self, mark: u32, node: Node) {
        self.node_bytes += node.bytes();
        self.deadlines.change(mark, None, node.expire_at());
        self.table.insert(mark, node);
    }

    /// What [`bytes`](Self::bytes) and the index of deadlines must agree with, by counting anew.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert_eq!(self.node_bytes, self.table.iter().map(Node::bytes).sum::<usize>());
        assert_eq!(self.table.len(), self.table.iter().count() as u64);
        let expiring = self.table.iter().filter(|node| node.expire_at().is_some()).count();
        assert_eq!(self.deadlines.len(), expiring as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colliding_marks_expire_each_at_its_own_time() {
        let mut database = Database::new();
        for (key, at) in [(b"a", Some(10)), (b"b", Some(10)), (b"c", Some(30)), (b"d", None)] {
            assert!(database.set(5, key, b"v", at.map(Wall), 0).is_none());
        }
        database.check();
        let due =
            |database: &Database, now| database.due(Wall(now)).map(|node| node.key()[0]).collect::<Vec<_>>();
        assert_eq!(due(&database, 9), b"");
        assert_eq!(due(&database, 29).len(), 2);
        assert_eq!(due(&database, 30).len(), 3);
        database.expire_at(5, b"a", None);
        database.expire_at(5, b"missing", Some(Wall(1)));
        database.check();
        assert_eq!(due(&database, 30), b"bc");
        assert_eq!(database.remove(5, b"b").expect("set").key(), b"b");
        assert!(database.remove(5, b"b").is_none());
        database.check();
        assert_eq!(due(&database, 30), b"c");
    }
}
