//! Where a key is to be found: worked out once per command, ahead of it.

use stdx::PartitionId;
use store::Locator;

/// A key's database, partition, hash, and, once it was warmed up, where it was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) db: u8,
    pub(crate) partition: PartitionId,
    pub(crate) locator: Locator,
    /// Whether this node is going to look the key up, so that it is worth warming up.
    pub(crate) here: bool,
}
