//! What changes leave behind that may take long to free: handed out, to be dropped where no lock is held.

use crate::cuckoo::SubFilter;
use crate::database::Database;
use crate::list::Dropped;
use crate::memory::allocation_bytes;
use crate::node::Node;

/// What changes left behind that may take long to free. Drop it where no lock is held.
#[derive(Debug, Default)]
#[must_use = "garbage is handed out to be dropped where no lock is held"]
pub struct Garbage {
    pub(crate) databases: Vec<Database>,
    pub(crate) remains: Vec<Remains>,
}

/// One thing that is no longer part of the content.
#[derive(Debug)]
pub(crate) enum Remains {
    /// A large node that was removed or replaced.
    Node(Node),
    /// The pieces that a whole filter was read from.
    Pieces(Vec<u8>),
    /// A part of a cuckoo filter that has lost its last item.
    SubFilter(SubFilter),
    /// Parts of a list that has lost many elements.
    ListParts(Dropped),
}

impl Garbage {
    /// Whether there is nothing to free.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.remains.is_empty()
    }

    /// Memory that dropping it frees.
    pub fn memory_bytes(&self) -> u64 {
        let databases: usize = self.databases.iter().map(Database::bytes).sum();
        let remains: usize = self.remains.iter().map(Remains::bytes).sum();
        (databases + remains) as u64
    }
}

impl Remains {
    fn bytes(&self) -> usize {
        match self {
            Remains::Node(node) => node.bytes(),
            Remains::Pieces(bytes) => allocation_bytes(bytes.capacity()),
            Remains::SubFilter(part) => part.memory_bytes(),
            Remains::ListParts(parts) => parts.memory_bytes(),
        }
    }
}
