//! XLEN, XRANGE and XREVRANGE.

use super::{ROW, ids, reply_entries, stream_of};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "xlen",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Return the number of messages in a stream.",
        run: Run::Read(xlen),
        ..ROW
    },
    Command {
        name: "xrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "5.0.0",
        complexity: "O(N) with N being the number of elements being returned. If N is constant (e.g. always \
            asking for the first 10 elements with COUNT), you can consider it O(1).",
        summary: "Returns the messages from a stream within a range of IDs.",
        run: Run::Read(xrange),
        ..ROW
    },
    Command {
        name: "xrevrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "5.0.0",
        complexity: "O(N) with N being the number of elements returned. If N is constant (e.g. always asking \
            for the first 10 elements with COUNT), you can consider it O(1).",
        summary: "Returns the messages from a stream within a range of IDs in reverse order.",
        run: Run::Read(xrevrange),
        ..ROW
    },
];

fn xlen(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = stream_of(ctx.get(args.at(1))).map(|stream| stream.map_or(0, |stream| stream.len() as i64));
    answer_integer(reply, outcome);
}

fn xrange(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_range(ctx, args, false, reply);
    answer(reply, outcome);
}

fn xrevrange(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_range(ctx, args, true, reply);
    answer(reply, outcome);
}

fn reply_range(ctx: &mut ReadCtx<'_>, args: Args<'_>, is_back: bool, reply: &mut Reply<'_>) -> Outcome<()> {
    let (start_at, end_at) = if is_back { (3, 2) } else { (2, 3) };
    let (start, end) = (ids::interval_start(args.at(start_at))?, ids::interval_end(args.at(end_at))?);
    let mut count = None;
    let mut options = args.tail(4).chunks_exact(2);
    for option in &mut options {
        if !option[0].eq_ignore_ascii_case(b"count") {
            return Err(CommandError::Syntax);
        }
        count = Some(integer(option[1])?);
    }
    if !options.remainder().is_empty() {
        return Err(CommandError::Syntax);
    }
    let Some(stream) = stream_of(ctx.get(args.at(1)))? else {
        reply.array(0);
        return Ok(());
    };
    let count = match count {
        None => usize::MAX,
        Some(count) if count <= 0 => {
            reply.null_array();
            return Ok(());
        }
        Some(count) => count as usize,
    };
    if is_back {
        reply_entries(reply, stream.range_back(start, end), count);
    } else {
        reply_entries(reply, stream.range(start, end), count);
    }
    Ok(())
}
