//! Where to look for a key.

use crate::segment::mark_of;

/// A segment that no table has.
const NOWHERE: u32 = u32::MAX;

/// A key's hash and, once it was warmed up, the slot that it was seen in, or that it is looked for from.
///
/// The slot is a guess: what stands there may be another key, or nothing. A look-up that finds its key there is
/// done; any other begins anew from the hash. So a guess may be kept for as long as one likes.
#[derive(Clone, Copy, Debug)]
pub struct Locator {
    hash: u64,
    segment: u32,
    slot: u32,
}

impl Locator {
    /// The hash.
    #[inline]
    pub fn hash(self) -> u64 {
        self.hash
    }

    #[inline]
    pub(crate) fn mark(self) -> u32 {
        mark_of(self.hash)
    }

    /// The guess: which segment of the table, and which slot there.
    #[inline]
    pub(crate) fn guess(self) -> (usize, usize) {
        (self.segment as usize, self.slot as usize)
    }

    /// The same key in another slot of the segment.
    #[inline]
    pub(crate) fn moved_to(self, slot: usize) -> Locator {
        Locator { slot: u32::try_from(slot).unwrap_or(self.slot), ..self }
    }

    #[inline]
    pub(crate) fn guessed(hash: u64, segment: u32, slot: usize) -> Locator {
        u32::try_from(slot).map_or(Locator::from(hash), |slot| Locator { hash, segment, slot })
    }
}

impl From<u64> for Locator {
    /// By the hash alone.
    #[inline]
    fn from(hash: u64) -> Locator {
        Locator { hash, segment: NOWHERE, slot: 0 }
    }
}
