//! The filter families, CF and BF: cuckoo and Bloom filters with the commands, replies and error texts of RedisBloom 2.6.
//!
//! A filter is created by what its encoding begins with, and changed by hashes of items. What comes of a change (is the
//! item new, is there room) depends on the changes before it, so it is found out by making it; the effect then has what
//! was really changed. That happens in [`WriteCtx::change_filter`], the second and last way to change anything.
//!
//! What differs from RedisBloom: buckets of a cuckoo filter have four places each, BUCKETSIZE only decides the rate of
//! false positives, and MAXITERATIONS is checked and has no effect; the pieces of a dump are our own format and have to be
//! loaded in their order.

pub mod bloom_read;
pub mod bloom_write;
pub mod cuckoo_read;
pub mod cuckoo_write;
pub mod pieces;

use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome};
use crate::table::{Categories, Command, Flags, Group, KeyFlags, KeySpec, Keys};
use effect::{Effect, Hashes};
use store::{Added, EntryRef, Filter, FilterKind, ValueRef};

/// What every row of the CF family has in common.
pub(crate) const CUCKOO_ROW: Command = Command {
    categories: Categories::CUCKOO,
    group: Group::Cuckoo,
    since: "1.0.0",
    keys: READS,
    ..Command::BLANK
};
/// What every row of the BF family has in common.
pub(crate) const BLOOM_ROW: Command =
    Command { categories: Categories::BLOOM, group: Group::Bloom, ..CUCKOO_ROW };
/// Key and flags of a command that only reads.
pub(crate) const READS: Keys = Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]);
/// Key of a command that adds items or makes a filter.
pub(crate) const ADDS: Keys = Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::INSERT))]);
/// Flags of a command that adds items or makes a filter.
pub(crate) const ADDING: Flags = Flags::WRITE.with(Flags::DENYOOM);
/// Flags of a command that only reads.
pub(crate) const READING: Flags = Flags::READONLY.with(Flags::FAST);

/// Text of an error: there is no such filter.
pub(crate) const NOT_FOUND: CommandError = CommandError::Other("not found");
/// Text of an error: the name is taken by a filter.
pub(crate) const ITEM_EXISTS: CommandError = CommandError::Other("item exists");
/// Text of an error that only we have: RedisBloom answers from a filter of which pieces are missing.
pub(crate) const LOADING: CommandError = CommandError::Other("filter is being loaded");

/// The filter of this kind that an entry holds, whole or not, or WRONGTYPE.
pub(crate) fn filter_of<'e>(entry: &EntryRef<'e>, kind: FilterKind) -> Outcome<&'e Filter> {
    match entry.value() {
        ValueRef::Filter(filter) if filter.kind() == kind => Ok(filter),
        _ => Err(CommandError::WrongType),
    }
}

/// The whole filter of this kind that `key` holds; an error if it holds anything else, or nothing.
pub(crate) fn existing<'c>(ctx: &'c mut ReadCtx<'_>, key: &[u8], kind: FilterKind) -> Outcome<&'c Filter> {
    let entry = ctx.get(key).ok_or(NOT_FOUND)?;
    match filter_of(&entry, kind)? {
        Filter::Loading(_) => Err(LOADING),
        whole => Ok(whole),
    }
}

/// The filter of this kind that `key` holds. Whatever else it holds is no filter and has no items, as in RedisBloom, whose
/// look-ups know no error.
pub(crate) fn any<'c>(ctx: &'c mut ReadCtx<'_>, key: &[u8], kind: FilterKind) -> Option<&'c Filter> {
    filter_of(&ctx.get(key)?, kind).ok()
}

/// Whether `key` holds a whole filter of this kind; false if it holds nothing.
pub(crate) fn is_there(ctx: &mut WriteCtx<'_>, key: &[u8], kind: FilterKind) -> Outcome<bool> {
    let Some(entry) = ctx.get(key) else { return Ok(false) };
    match filter_of(&entry, kind)? {
        Filter::Loading(_) => Err(LOADING),
        _ => Ok(true),
    }
}

/// Refuses to make a filter where there is something already.
pub(crate) fn check_free(ctx: &mut WriteCtx<'_>, key: &[u8], kind: FilterKind) -> Outcome<()> {
    match ctx.get(key) {
        None => Ok(()),
        Some(entry) => filter_of(&entry, kind).and(Err(ITEM_EXISTS)),
    }
}

/// Makes an empty filter.
pub(crate) fn create(ctx: &mut WriteCtx<'_>, key: &[u8], header: &[u8]) {
    ctx.emit(Effect::CreateFilter { db: ctx.db, key, header });
}

/// How items are added.
#[derive(Clone, Copy)]
pub(crate) struct Adding {
    pub(crate) kind: FilterKind,
    /// Not a second copy of an item.
    pub(crate) only_absent: bool,
    /// Nothing more after an item for which there is no room.
    pub(crate) stop_when_full: bool,
}

/// Adds items to the filter at `key`, which is there; what came of each.
pub(crate) fn add(ctx: &mut WriteCtx<'_>, key: &[u8], items: &[&[u8]], how: Adding) -> Vec<Added> {
    let outcomes = ctx.change_filter(key, |filter| {
        let mut outcomes = Vec::with_capacity(items.len());
        let (revision, mut hashes) = (filter.filter().revision(), Vec::new());
        for item in items {
            let hash = how.kind.hash(item);
            let added = filter.add(hash, how.only_absent);
            outcomes.push(added);
            match added {
                Added::New => hashes.push(hash.to_le_bytes()),
                Added::Full if how.stop_when_full => break,
                Added::Present | Added::Full => {}
            }
        }
        (outcomes, FilterChange::Added { revision, hashes })
    });
    outcomes.unwrap_or_default()
}

/// What was changed in a filter.
pub(crate) enum FilterChange<'a> {
    /// Items with these hashes were added.
    Added { revision: u64, hashes: Vec<[u8; 8]> },
    /// An item with this hash was deleted.
    Deleted { revision: u64, hash: [u8; 8] },
    /// A piece was loaded.
    Loaded { offset: u64, bytes: &'a [u8] },
    /// Nothing.
    Nothing,
}

impl FilterChange<'_> {
    /// Calls `emit` with the effect that repeats the change, if there is one.
    pub(crate) fn with_effect(&self, db: u8, key: &[u8], emit: impl FnOnce(&Effect<'_>)) {
        match *self {
            FilterChange::Added { revision, ref hashes } if !hashes.is_empty() => {
                emit(&Effect::AddToFilter { db, key, revision, hashes: Hashes::new(hashes) });
            }
            FilterChange::Deleted { revision, hash } => {
                emit(&Effect::DeleteFromFilter { db, key, revision, hashes: Hashes::new(&[hash]) });
            }
            FilterChange::Loaded { offset, bytes } => emit(&Effect::LoadFilter { db, key, offset, bytes }),
            FilterChange::Added { .. } | FilterChange::Nothing => {}
        }
    }
}
