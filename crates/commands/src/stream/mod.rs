//! The stream family, one file per concern, and what its files share: the type check, groups that have to be there, entries
//! in replies, and how a stream is changed.

pub mod claim;
pub mod edit;
pub mod group;
mod ids;
pub mod info;
mod lag;
pub mod pending;
pub mod range;
pub mod read;
pub mod write;

use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome};
use crate::table::{Categories, Command, Group as Family};
use effect::{Effect, StreamChange, StreamId};
use protocol::Reply;
use store::{EntryRef, Group, Stream, StreamEntry, ValueRef};

/// What every row of the family has in common.
pub(crate) const ROW: Command =
    Command { categories: Categories::STREAM, group: Family::Stream, ..Command::BLANK };

/// The stream that an entry holds, or WRONGTYPE; `None` for no entry.
pub(crate) fn stream_of<'e>(entry: Option<EntryRef<'e>>) -> Outcome<Option<&'e Stream>> {
    match entry.map(|entry| entry.value()) {
        None => Ok(None),
        Some(ValueRef::Stream(stream)) => Ok(Some(stream)),
        Some(_) => Err(CommandError::WrongType),
    }
}

/// A stream and a group of it that have to be there, as most commands on groups want them.
fn group_of<'e>(
    entry: Option<EntryRef<'e>>,
    (key, group): (&[u8], &[u8]),
) -> Outcome<(&'e Stream, &'e Group)> {
    let found = stream_of(entry)?.and_then(|stream| Some((stream, stream.group(group)?)));
    found.ok_or_else(|| {
        let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
        CommandError::NoGroup(format!("No such key '{key}' or consumer group '{group}'"))
    })
}

/// Changes the stream of a key.
fn change(ctx: &mut WriteCtx<'_>, key: &[u8], change: StreamChange<'_>) {
    ctx.emit(Effect::ChangeStream { db: ctx.db, key, change });
}

/// Writes an id.
fn reply_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(id.to_string().as_bytes());
}

/// Writes an entry: its id, and its fields with their values.
fn reply_entry(reply: &mut Reply<'_>, entry: &StreamEntry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id());
    reply.array(entry.len() * 2);
    for (field, value) in entry.fields() {
        reply.bulk(field);
        reply.bulk(value);
    }
}

/// Writes an array of so many of these entries; how many there were.
fn reply_entries<'s>(
    reply: &mut Reply<'_>,
    entries: impl Iterator<Item = StreamEntry<'s>>,
    count: usize,
) -> usize {
    let (begin, mut len) = (reply.array_begin(), 0);
    for entry in entries.take(count) {
        reply_entry(reply, &entry);
        len += 1;
    }
    reply.array_end(begin, len);
    len
}

/// The error of a container whose subcommand got words that it does not know.
fn subcommand_syntax(container: &str, subcommand: &[u8]) -> CommandError {
    let subcommand = String::from_utf8_lossy(&subcommand[..subcommand.len().min(128)]);
    CommandError::Echo(format!(
        "unknown subcommand or wrong number of arguments for '{subcommand}'. Try {container} HELP."
    ))
}
