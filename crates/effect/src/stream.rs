//! What changes of a stream say: ids, and every change so that it may come once more over a state which has it already.
//!
//! An entry is appended unless the stream is past its id; everything else says what is, not what to add.

use crate::Corrupt;
use crate::Elements;
use crate::items::{Item, Items};
use crate::varint::{Reader, write_varint};
use std::fmt;
use stdx::Wall;

/// The id of an entry: milliseconds, and a number among the entries of one millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Milliseconds, of the Unix time unless the client has chosen otherwise.
    pub ms: u64,
    /// Number within the millisecond.
    pub seq: u64,
}

impl StreamId {
    /// The least id, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The greatest id.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// The id that follows; `None` after the greatest.
    pub fn next(self) -> Option<StreamId> {
        match (self.ms, self.seq) {
            (u64::MAX, u64::MAX) => None,
            (ms, u64::MAX) => Some(StreamId { ms: ms + 1, seq: 0 }),
            (ms, seq) => Some(StreamId { ms, seq: seq + 1 }),
        }
    }

    /// The id before; `None` before the least.
    pub fn previous(self) -> Option<StreamId> {
        match (self.ms, self.seq) {
            (0, 0) => None,
            (ms, 0) => Some(StreamId { ms: ms - 1, seq: u64::MAX }),
            (ms, seq) => Some(StreamId { ms, seq: seq - 1 }),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.ms, self.seq)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Item for StreamId {
    fn write(&self, out: &mut Vec<u8>) {
        write_varint(out, self.ms);
        write_varint(out, self.seq);
    }

    fn read(reader: &mut Reader<'_>) -> Result<StreamId, Corrupt> {
        Ok(StreamId { ms: reader.varint()?, seq: reader.varint()? })
    }
}

/// A message that was delivered to a consumer and not acknowledged yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The entry.
    pub id: StreamId,
    /// When it was delivered last.
    pub at: Wall,
    /// How often it was delivered.
    pub count: u64,
}

impl Item for Delivery {
    fn write(&self, out: &mut Vec<u8>) {
        self.id.write(out);
        write_varint(out, self.at.0);
        write_varint(out, self.count);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Delivery, Corrupt> {
        Ok(Delivery { id: StreamId::read(reader)?, at: Wall(reader.varint()?), count: reader.varint()? })
    }
}

/// One change of a stream. Those of a group concern a group that is there, those of a pending entry make their consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamChange<'a> {
    /// The stream, made if it is missing, has this entry at its end; nothing if its last id is not less.
    Append {
        /// Id of the entry, the last id from now on.
        id: StreamId,
        /// Fields, each with its value behind it.
        fields: Elements<'a>,
    },
    /// These entries are gone.
    Delete {
        /// Their ids.
        ids: Items<'a, StreamId>,
    },
    /// All entries up to this one are gone.
    Trim {
        /// The last that is gone.
        through: StreamId,
    },
    /// What XSETID sets.
    SetId {
        /// The last id.
        last: StreamId,
        /// How many entries were ever added.
        added: u64,
        /// Greatest id among the entries that were deleted.
        deleted: StreamId,
    },
    /// The stream, made if it is missing, has this group.
    PutGroup {
        /// Its name.
        group: &'a [u8],
        /// The last id that was delivered.
        last: StreamId,
        /// How many entries were read, if that is known.
        read: Option<u64>,
    },
    /// The group is gone.
    RemoveGroup {
        /// Its name.
        group: &'a [u8],
    },
    /// The group has this consumer.
    PutConsumer {
        /// Name of the group.
        group: &'a [u8],
        /// Name of the consumer.
        consumer: &'a [u8],
        /// When it was seen last.
        seen: Wall,
        /// When something was delivered to it last, if ever.
        active: Option<Wall>,
    },
    /// The consumer is gone with all that is pending for it.
    RemoveConsumer {
        /// Name of the group.
        group: &'a [u8],
        /// Name of the consumer.
        consumer: &'a [u8],
    },
    /// These entries are pending for this consumer.
    PutPending {
        /// Name of the group.
        group: &'a [u8],
        /// Name of the consumer.
        consumer: &'a [u8],
        /// The entries and their deliveries.
        deliveries: Items<'a, Delivery>,
    },
    /// These entries are pending no longer.
    RemovePending {
        /// Name of the group.
        group: &'a [u8],
        /// Their ids.
        ids: Items<'a, StreamId>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_one_another() {
        let id = |ms, seq| StreamId { ms, seq };
        for (before, after) in [
            (id(0, 0), id(0, 1)),
            (id(7, 3), id(7, 4)),
            (id(7, u64::MAX), id(8, 0)),
            (id(u64::MAX, u64::MAX - 1), StreamId::MAX),
        ] {
            assert!(before < after);
            assert_eq!((before.next(), after.previous()), (Some(after), Some(before)));
        }
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        assert_eq!(
            format!("{} {:?}", id(17, 2), StreamId::MAX),
            "17-2 18446744073709551615-18446744073709551615"
        );
    }
}
