//! What an effect is. The variants are the whole vocabulary in which state changes travel: a new type of value
//! adds variants here and nothing else in the log, the links or the gate.

use crate::{Elements, Kind, StreamChange};
use stdx::Wall;

/// One change of one key or database. Borrowed from the command that makes it or the record that carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect<'a> {
    /// The key holds this string now; its former value and deadline are gone.
    SetString {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// The whole value.
        value: &'a [u8],
        /// When the key expires, if ever.
        expire_at: Option<Wall>,
    },
    /// Bytes of the string at `offset` are these now; missing bytes before are zero, a missing key is created,
    /// the deadline stays (APPEND, SETRANGE, SETBIT).
    Splice {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// First byte that changes.
        offset: u64,
        /// What stands there now.
        bytes: &'a [u8],
    },
    /// The key holds this filter now; its former value and deadline are gone (RESTORE, COPY, snapshots). Of a filter that
    /// is being loaded, the beginning.
    SetFilter {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// The filter, encoded.
        filter: &'a [u8],
        /// When the key expires, if ever.
        expire_at: Option<Wall>,
    },
    /// The key holds an empty filter now; its former value and deadline are gone.
    CreateFilter {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// What the encoded filter begins with, before its content.
        header: &'a [u8],
    },
    /// The filter has these items more, one after another; the deadline stays. A key without a filter stays as it is.
    AddToFilter {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// How many changes the filter has seen before the first of these.
        revision: u64,
        /// Hashes of the items.
        hashes: Hashes<'a>,
    },
    /// The filter has these items less; otherwise as [`Effect::AddToFilter`].
    DeleteFromFilter {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// How many changes the filter has seen before the first of these.
        revision: u64,
        /// Hashes of the items.
        hashes: Hashes<'a>,
    },
    /// The next piece of a filter that is being loaded (LOADCHUNK); the deadline stays.
    LoadFilter {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// Where it stands in the encoded filter: after all that is there.
        offset: u64,
        /// The piece.
        bytes: &'a [u8],
    },
    /// The key holds this collection now; its former value and deadline are gone (RESTORE, COPY, SUNIONSTORE, snapshots).
    SetCollection {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// What it is.
        kind: Kind,
        /// All that is in it, as the kind has it: what [`Effect::PutElements`] would have, a list's revision before its elements.
        elements: Elements<'a>,
        /// When the key expires, if ever.
        expire_at: Option<Wall>,
    },
    /// The collection has these elements now; a missing key is created, the deadline stays. A key of another kind stays as it is.
    PutElements {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// A hash, a set or a sorted set.
        kind: Kind,
        /// Members of a set; fields of a hash, each with its value behind it; members of a sorted set, each with its score before
        /// it, the eight bytes of a double, lowest first.
        elements: Elements<'a>,
    },
    /// The collection has these elements no longer; the deadline stays, and so does the key: the command that takes the last
    /// element removes the key instead. A key of another kind stays as it is.
    DropElements {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// A hash, a set or a sorted set.
        kind: Kind,
        /// Fields or members.
        elements: Elements<'a>,
    },
    /// In the list, these elements stand where others stood; a missing key is created, the deadline stays. Pushes, pops,
    /// insertions and changes all are splices.
    SpliceList {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// How many splices the list has seen before; on a list that has seen another number it changes nothing.
        revision: u64,
        /// The first that is replaced, counted from the left.
        index: u64,
        /// How many are replaced.
        removed: u64,
        /// What stands there now.
        elements: Elements<'a>,
    },
    /// The stream changes; the deadline stays. A key of another kind stays as it is.
    ChangeStream {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// How.
        change: StreamChange<'a>,
    },
    /// The key is gone.
    Remove {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// Why; decides the keyspace event.
        cause: Cause,
    },
    /// The key's deadline is this now; `None` makes it persistent.
    ExpireAt {
        /// Database, 0 to 15.
        db: u8,
        /// The key.
        key: &'a [u8],
        /// The new deadline.
        at: Option<Wall>,
    },
    /// Every key of the database (in this partition) is gone.
    Flush {
        /// Database, 0 to 15.
        db: u8,
    },
}

/// Hashes of items, each eight bytes, lowest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hashes<'a>(&'a [[u8; 8]]);

impl<'a> Hashes<'a> {
    /// Hashes as [`u64::to_le_bytes`] gives them.
    pub fn new(hashes: &'a [[u8; 8]]) -> Hashes<'a> {
        Hashes(hashes)
    }

    /// The hashes in these bytes; `None` if they are not whole.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Hashes<'a>> {
        let (hashes, rest) = bytes.as_chunks();
        rest.is_empty().then_some(Hashes(hashes))
    }

    /// All of them, one after another.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.as_flattened()
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u64> + use<'a> {
        self.0.iter().map(|hash| u64::from_le_bytes(*hash))
    }
}

/// Why a key was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A command removed it.
    Deleted,
    /// Its deadline passed.
    Expired,
    /// It was evicted to make room.
    Evicted,
}

impl<'a> Effect<'a> {
    /// The database it changes.
    pub fn db(&self) -> u8 {
        match *self {
            Effect::SetString { db, .. }
            | Effect::Splice { db, .. }
            | Effect::SetFilter { db, .. }
            | Effect::CreateFilter { db, .. }
            | Effect::AddToFilter { db, .. }
            | Effect::DeleteFromFilter { db, .. }
            | Effect::LoadFilter { db, .. }
            | Effect::SetCollection { db, .. }
            | Effect::PutElements { db, .. }
            | Effect::DropElements { db, .. }
            | Effect::SpliceList { db, .. }
            | Effect::ChangeStream { db, .. }
            | Effect::Remove { db, .. }
            | Effect::ExpireAt { db, .. }
            | Effect::Flush { db } => db,
        }
    }

    /// The key it changes; `None` if it changes all of the database's.
    pub fn key(&self) -> Option<&'a [u8]> {
        match *self {
            Effect::SetString { key, .. }
            | Effect::Splice { key, .. }
            | Effect::SetFilter { key, .. }
            | Effect::CreateFilter { key, .. }
            | Effect::AddToFilter { key, .. }
            | Effect::DeleteFromFilter { key, .. }
            | Effect::LoadFilter { key, .. }
            | Effect::SetCollection { key, .. }
            | Effect::PutElements { key, .. }
            | Effect::DropElements { key, .. }
            | Effect::SpliceList { key, .. }
            | Effect::ChangeStream { key, .. }
            | Effect::Remove { key, .. }
            | Effect::ExpireAt { key, .. } => Some(key),
            Effect::Flush { .. } => None,
        }
    }
}
