//! What an effect is. The variants are the whole vocabulary in which state changes travel: a new type of value
//! adds variants here and nothing else in the log, the links or the gate.

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
            | Effect::Remove { key, .. }
            | Effect::ExpireAt { key, .. } => Some(key),
            Effect::Flush { .. } => None,
        }
    }
}
