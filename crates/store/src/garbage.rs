//! What changes leave behind that may take long to free: handed out, to be dropped where no lock is held.

use crate::cuckoo::SubFilter;
use crate::database::Database;
use crate::list::Dropped;
use crate::memory::allocation_bytes;
use crate::node::Node;
use crate::stream::StreamParts;

/// Freeing so many allocations takes some hundred microseconds.
const SLOW_ALLOCATIONS: u64 = 2_000;
/// Least bytes of an allocation of a long list, about.
const LIST_CHUNK_BYTES: usize = 1_024;

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
    /// Parts of a stream that has lost many entries or a large group.
    StreamParts(StreamParts),
}

impl Garbage {
    /// Whether there is nothing to free.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.remains.is_empty()
    }

    /// Whether dropping it takes so long that it is worth another thread: the nodes and elements in it, each an allocation or so.
    pub fn is_slow_to_free(&self) -> bool {
        let databases: u64 = self.databases.iter().map(|database| database.table().len()).sum();
        let remains: usize = self.remains.iter().map(Remains::allocations).sum();
        databases + remains as u64 > SLOW_ALLOCATIONS
    }

    /// Memory that dropping it frees.
    pub fn memory_bytes(&self) -> u64 {
        let databases: usize = self.databases.iter().map(Database::bytes).sum();
        let remains: usize = self.remains.iter().map(Remains::bytes).sum();
        (databases + remains) as u64
    }
}

impl Remains {
    /// Roughly how many allocations there are.
    fn allocations(&self) -> usize {
        match self {
            Remains::Node(node) => node.value().elements_len().unwrap_or(1),
            Remains::Pieces(_) | Remains::SubFilter(_) => 1,
            Remains::ListParts(parts) => parts.memory_bytes() / LIST_CHUNK_BYTES,
            Remains::StreamParts(parts) => parts.allocations(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Remains::Node(node) => node.bytes(),
            Remains::Pieces(bytes) => allocation_bytes(bytes.capacity()),
            Remains::SubFilter(part) => part.memory_bytes(),
            Remains::ListParts(parts) => parts.memory_bytes(),
            Remains::StreamParts(parts) => parts.memory_bytes(),
        }
    }
}
