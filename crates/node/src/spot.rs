//! Where a key is to be found: worked out once per command, ahead of it.

use stdx::PartitionId;

/// A key's database, partition and hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) db: u8,
    pub(crate) partition: PartitionId,
    pub(crate) hash: u64,
}
