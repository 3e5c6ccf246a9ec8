//! Commands over many strings at once. MGET and MSET span the cluster; MSETNX needs all its keys at one primary,
//! because it writes all of them or none.

use super::{ROW, reply_string};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer_integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Merge, Run};
use protocol::Reply;
use store::EntryRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "mget",
        arity: -2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::from(1, 1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys to retrieve.",
        summary: "Atomically returns the string values of one or more keys.",
        tips: &["request_policy:multi_shard"],
        run: Run::Fanout { local: &Run::Read(mget), group: 1, merge: Merge::PerKey },
        ..ROW
    },
    Command {
        name: "mset",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::from(1, 2, KeyFlags::OW.with(KeyFlags::UPDATE))]),
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Atomically creates or modifies the string values of one or more keys.",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        run: Run::Fanout { local: &Run::Write(mset), group: 2, merge: Merge::Ok },
        ..ROW
    },
    Command {
        name: "msetnx",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::from(1, 2, KeyFlags::OW.with(KeyFlags::INSERT))]),
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Atomically modifies the string values of one or more keys only when all keys don't \
            exist.",
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        run: Run::Write(msetnx),
        ..ROW
    },
];

pub(crate) fn mget(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let keys = args.tail(1);
    reply.array(keys.len());
    for key in keys {
        reply_one_of_many(reply, ctx.get(key));
    }
}

/// One value of the reply of MGET.
#[inline]
pub(crate) fn reply_one_of_many(reply: &mut Reply<'_>, entry: Option<EntryRef<'_>>) {
    // A key of another type reads as null here, not as an error.
    if reply_string(reply, entry).is_err() {
        reply.null();
    }
}

fn mset(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    set_pairs(ctx, args);
    reply.ok();
}

fn msetnx(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, set_pairs_if_free(ctx, args));
}

fn set_pairs_if_free(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let pairs = args.tail(1);
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Arity("msetnx"));
    }
    if pairs.iter().step_by(2).any(|key| ctx.get(key).is_some()) {
        return Ok(0);
    }
    set_pairs(ctx, args);
    Ok(1)
}

fn set_pairs(ctx: &mut WriteCtx<'_>, args: Args<'_>) {
    for pair in args.tail(1).chunks_exact(2) {
        ctx.set_string(pair[0], pair[1], None);
    }
}
