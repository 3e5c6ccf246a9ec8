//! The effects of one atomic write, while they are emitted and afterwards.

use crate::{Effect, codec};
use std::sync::Arc;
use stdx::Seq;

/// Room that [`RecordBuilder::clear`] keeps for the next write; a rare giant write does not hold memory for ever.
const RETAINED_BYTES_MAX: usize = 64 * 1024;

/// Effects of one atomic write in one partition, being built: encoded as they are emitted.
#[derive(Clone, Debug, Default)]
pub struct RecordBuilder {
    bytes: Vec<u8>,
    count: usize,
}

impl RecordBuilder {
    /// A builder without effects; allocates nothing yet.
    pub fn new() -> RecordBuilder {
        RecordBuilder::default()
    }

    /// Encodes one more effect.
    pub fn push(&mut self, effect: &Effect<'_>) {
        codec::encode(&mut self.bytes, effect);
        self.count += 1;
    }

    /// Whether nothing was pushed since the last [`clear`](Self::clear) or [`take`](Self::take).
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Effects pushed.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The encoded effects.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets the effects and keeps the room they took, up to 64 KiB.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(RETAINED_BYTES_MAX);
        self.count = 0;
    }

    /// Gives the encoded effects away and starts anew.
    pub fn take(&mut self) -> Vec<u8> {
        self.count = 0;
        std::mem::take(&mut self.bytes)
    }
}

/// One atomic write of a partition in a log or on the wire. A clone shares the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its place in the partition's log.
    pub seq: Seq,
    /// Its effects, encoded; [`crate::decode`] reads them.
    pub effects: Arc<[u8]>,
}

impl Record {
    /// A record at `seq` with a copy of `effects`.
    pub fn new(seq: Seq, effects: &[u8]) -> Record {
        Record { seq, effects: effects.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builder_counts_and_starts_anew() {
        let mut builder = RecordBuilder::new();
        assert!(builder.is_empty());
        builder.push(&Effect::Flush { db: 1 });
        builder.push(&Effect::Flush { db: 2 });
        assert_eq!((builder.count(), builder.bytes()), (2, &b"\x09\x01\x09\x02"[..]));
        builder.clear();
        assert!(builder.is_empty() && builder.bytes().is_empty());
        builder.push(&Effect::Flush { db: 3 });
        assert_eq!(builder.take(), b"\x09\x03");
        assert!(builder.is_empty());
    }

    #[test]
    fn clear_keeps_bounded_room() {
        let mut builder = RecordBuilder::new();
        let value = vec![0; 1 << 20];
        builder.push(&Effect::SetString { db: 0, key: b"k", value: &value, expire_at: None });
        builder.clear();
        assert!((1..=RETAINED_BYTES_MAX).contains(&builder.bytes.capacity()));
    }
}
