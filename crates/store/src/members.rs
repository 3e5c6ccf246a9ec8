//! The large form of sets and hashes: a table of members, each with some bytes of its own.
//!
//! It is the table that keys stand in, so it grows by segments, is walked by positions that survive growth, and a member takes a
//! block of its bytes and a slot.

use crate::garbage::Remains;
use crate::locator::Locator;
use crate::node::Node;
use crate::raw::Alias;
use crate::segment::mark_of;
use crate::table::{POSITIONS, Table};
use stdx::Random;
use stdx::hash::hash64;

/// Homes that one step of a scan looks at per member asked for, as Redis's limit of empty buckets.
const SCAN_HOMES_PER_MEMBER: usize = 10;

/// Members with their bytes.
#[derive(Debug)]
pub(crate) struct Members {
    table: Table,
    hash_seed: u64,
    node_bytes: usize,
}

impl Members {
    pub(crate) fn new(hash_seed: u64) -> Members {
        Members { table: Table::new(), hash_seed, node_bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.table.len()).expect("members are in memory")
    }

    /// The bytes of a member, if it is one.
    pub(crate) fn get(&self, member: &[u8]) -> Option<&[u8]> {
        self.table.find(self.locator(member), member).map(Node::stored)
    }

    /// Adds a member, or replaces its bytes. What that leaves behind and is not small goes to `remains`.
    pub(crate) fn put(&mut self, member: &[u8], bytes: &[u8], remains: &mut Vec<Remains>) {
        let at = self.locator(member);
        let Some(node) = self.table.find_mut(at, member) else {
            self.add_at(at, member, bytes);
            return;
        };
        if node.stored() == bytes {
            return;
        }
        let former_bytes = node.bytes();
        let former = node.set_member_value(bytes);
        self.node_bytes = self.node_bytes - former_bytes + node.bytes();
        remains.extend(former.filter(Node::is_large).map(Remains::Node));
    }

    /// Adds a member that is not here yet. For a sorted set, which keeps a second pointer to it.
    pub(crate) fn add(&mut self, member: &[u8], bytes: &[u8]) -> Alias {
        self.add_at(self.locator(member), member, bytes)
    }

    /// The node of a member, if it is one, to overwrite its bytes by as many.
    pub(crate) fn node_mut(&mut self, member: &[u8]) -> Option<&mut Node> {
        self.table.find_mut(self.locator(member), member)
    }

    /// Removes a member, if it is one.
    pub(crate) fn drop(&mut self, member: &[u8], remains: &mut Vec<Remains>) {
        let mark = self.locator(member).mark();
        if let Some(node) = self.table.remove(mark, member) {
            self.node_bytes -= node.bytes();
            remains.extend(Some(node).filter(Node::is_large).map(Remains::Node));
        }
    }

    /// All members with their bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.table.iter().map(|node| (node.key(), node.stored()))
    }

    /// Visits about `count` members from `cursor` on and gives the next cursor, 0 at the end, as [`crate::Partition::scan`].
    pub(crate) fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], &[u8])) -> u64 {
        let (mut position, mut met, mut homes) = (cursor, 0, 0);
        let count = count.max(1);
        while position < POSITIONS && met < count && homes < count.saturating_mul(SCAN_HOMES_PER_MEMBER) {
            let (nodes, next) = self.table.home_at(position);
            for node in nodes {
                met += 1;
                visit(node.key(), node.stored());
            }
            homes += 1;
            position = next;
        }
        if position < POSITIONS { position } else { 0 }
    }

    /// A member by chance, each about equally likely; `None` if there is none.
    pub(crate) fn random(&self, random: &mut Random) -> Option<(&[u8], &[u8])> {
        let node = self.table.random(random, |_| true).or_else(|| self.table.iter().next());
        node.map(|node| (node.key(), node.stored()))
    }

    /// What it takes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.table.bytes() + self.node_bytes
    }

    fn add_at(&mut self, at: Locator, member: &[u8], bytes: &[u8]) -> Alias {
        let node = Node::of_member(member, bytes);
        let alias = node.alias();
        self.node_bytes += node.bytes();
        let hash_seed = self.hash_seed;
        self.table.insert(at.mark(), node, |key| mark_of(hash64(hash_seed, key)));
        alias
    }

    fn locator(&self, member: &[u8]) -> Locator {
        hash64(self.hash_seed, member).into()
    }
}
