//! How many tokens of which keys are dead, although they still lie in a queue.
//!
//! A key that is deleted or expires leaves its token where it is; finding it would take a link in every entry. Were the
//! key set again, two tokens would lead to it. So the evictor counts per token how many are to be dropped when they come
//! up; which of two equal ones goes does not matter.

use crate::memory::allocation_bytes;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use stdx::hash::mix64;

/// Parts, so that none is long to grow.
const PARTS: usize = 64;
/// What an entry of a hash map takes about, at the usual loads.
const ENTRY_BYTES: usize = 28;

/// A map by what is a hash already.
pub(crate) type ByHash<V> = HashMap<u64, V, BuildHasherDefault<Mix>>;

/// Mixes one word: keys of an evictor are hashes under a secret seed already.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix64(self.0 ^ word);
    }
}

/// A multiset of tokens, by their identities.
#[derive(Debug)]
pub(crate) struct Removed {
    parts: Box<[ByHash<u32>]>,
    len: u64,
}

impl Default for Removed {
    fn default() -> Removed {
        Removed { parts: (0..PARTS).map(|_| ByHash::default()).collect(), len: 0 }
    }
}

impl Removed {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        let parts: usize = self.parts.iter().map(HashMap::capacity).sum();
        allocation_bytes(PARTS * size_of::<ByHash<u32>>()) + parts * ENTRY_BYTES
    }

    pub(crate) fn add(&mut self, identity: u64) {
        *self.part(identity).entry(identity).or_insert(0) += 1;
        self.len += 1;
    }

    /// Whether a token is to be dropped; then it is, and counts no more.
    pub(crate) fn take(&mut self, identity: u64) -> bool {
        if self.len == 0 {
            return false;
        }
        let part = self.part(identity);
        let Some(count) = part.get_mut(&identity) else { return false };
        *count -= 1;
        if *count == 0 {
            part.remove(&identity);
            if part.len() * 8 < part.capacity() {
                part.shrink_to(part.len() * 2);
            }
        }
        self.len -= 1;
        true
    }

    fn part(&mut self, identity: u64) -> &mut ByHash<u32> {
        &mut self.parts[identity as usize % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore)]
    fn counts_each_token() {
        let mut removed = Removed::default();
        [5, 5, 64 + 5, 7].iter().for_each(|&identity| removed.add(identity));
        assert_eq!(removed.len(), 4);
        assert!(removed.take(5) && removed.take(5) && !removed.take(5));
        assert!(!removed.take(8) && removed.take(69));
        assert_eq!(removed.len(), 1);
        let empty_bytes = Removed::default().bytes();
        (0..50_000).for_each(|identity| removed.add(identity << 20 | identity));
        assert!((0..50_000).all(|identity| removed.take(identity << 20 | identity)));
        assert!(removed.bytes() < empty_bytes + 10_000);
    }
}
