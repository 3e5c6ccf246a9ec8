//! The set family: members, chance, algebra, and what its files share.

pub mod algebra;
pub mod random;
pub mod read;
pub mod write;

use crate::error::{CommandError, Outcome};
use crate::table::{Categories, Command, Group};
use store::{EntryRef, SetRef, ValueRef};

/// What every row of the family has in common.
pub(crate) const ROW: Command = Command { categories: Categories::SET, group: Group::Set, ..Command::BLANK };

/// The set that an entry holds, or WRONGTYPE; `None` for no entry.
pub(crate) fn set_of<'e>(entry: Option<EntryRef<'e>>) -> Outcome<Option<SetRef<'e>>> {
    match entry.map(|entry| entry.value()) {
        None => Ok(None),
        Some(ValueRef::Set(set)) => Ok(Some(set)),
        Some(_) => Err(CommandError::WrongType),
    }
}
