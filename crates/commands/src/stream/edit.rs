//! XDEL and XSETID: entries that go from the middle, and the last id.

use super::{ROW, change, ids, stream_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::{Items, StreamChange, StreamId};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "xdel",
        arity: -3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "5.0.0",
        complexity: "O(1) for each single item to delete in the stream, regardless of the stream size.",
        summary: "Returns the number of messages after removing them from a stream.",
        run: Run::Write(xdel),
        ..ROW
    },
    Command {
        name: "xsetid",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "An internal command for replicating stream values.",
        run: Run::Write(xsetid),
        ..ROW
    },
];

fn xdel(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, delete(ctx, args));
}

fn delete(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let key = args.at(1);
    let Some(stream) = stream_of(ctx.get(key))? else { return Ok(0) };
    let ids: Outcome<Vec<StreamId>> = args.tail(2).iter().map(|word| ids::exact(word)).collect();
    let mut ids = ids?;
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| stream.get(*id).is_some());
    if !ids.is_empty() {
        change(ctx, key, StreamChange::Delete { ids: Items::new(&ids) });
    }
    Ok(ids.len() as i64)
}

fn xsetid(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = set_id(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn set_id(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    let (key, last) = (args.at(1), ids::exact(args.at(2))?);
    let (mut added, mut deleted) = (None, StreamId::MIN);
    let mut options = args.tail(3).chunks_exact(2);
    for option in &mut options {
        if option[0].eq_ignore_ascii_case(b"entriesadded") {
            let number = u64::try_from(integer(option[1])?);
            added = Some(number.map_err(|_| CommandError::Other("entries_added must be positive"))?);
        } else if option[0].eq_ignore_ascii_case(b"maxdeletedid") {
            deleted = ids::exact(option[1])?;
            if last < deleted {
                return Err(CommandError::Other(
                    "The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if !options.remainder().is_empty() {
        return Err(CommandError::Syntax);
    }
    let stream = stream_of(ctx.get(key))?.ok_or(CommandError::NoSuchKey)?;
    if last < stream.max_deleted_id() {
        return Err(CommandError::Other(
            "The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if stream.newest_id().is_some_and(|newest| last < newest) {
        return Err(CommandError::Other(
            "The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if stream.len() > 0 && added.is_some_and(|added| added < stream.len()) {
        return Err(CommandError::Other(
            "The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    let added = added.unwrap_or(stream.entries_added());
    let deleted = if deleted == StreamId::MIN { stream.max_deleted_id() } else { deleted };
    change(ctx, key, StreamChange::SetId { last, added, deleted });
    Ok(())
}
