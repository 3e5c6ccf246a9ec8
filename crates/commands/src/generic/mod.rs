//! The generic family: commands on keys whatever their type, one file per concern.

pub mod dump;
pub mod expire;
pub mod keys;
pub mod keyspace;
pub mod object;
pub mod payload;
pub mod rename;
pub mod scan;
pub mod sort;
pub mod ttl;

pub(crate) use object::MEMORY_USAGE;

use crate::table::{Categories, Command, Group};

/// What every row of the family has in common.
pub(crate) const ROW: Command =
    Command { categories: Categories::KEYSPACE, group: Group::Generic, ..Command::BLANK };
