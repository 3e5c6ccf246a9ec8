//! The hash family: writing, counting, reading, and what its files share.

pub mod number;
pub mod random;
pub mod read;
pub mod write;

use crate::error::{CommandError, Outcome};
use crate::table::{Categories, Command, Group};
use store::{EntryRef, HashRef, ValueRef};

/// What every row of the family has in common.
pub(crate) const ROW: Command =
    Command { categories: Categories::HASH, group: Group::Hash, ..Command::BLANK };

/// The hash that an entry holds, or WRONGTYPE; `None` for no entry.
pub(crate) fn hash_of<'e>(entry: Option<EntryRef<'e>>) -> Outcome<Option<HashRef<'e>>> {
    match entry.map(|entry| entry.value()) {
        None => Ok(None),
        Some(ValueRef::Hash(hash)) => Ok(Some(hash)),
        Some(_) => Err(CommandError::WrongType),
    }
}
