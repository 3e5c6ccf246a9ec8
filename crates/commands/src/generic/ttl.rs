//! Commands that tell the deadline of a key: relative or absolute, in seconds or milliseconds.

use super::ROW;
use crate::args::Args;
use crate::context::ReadCtx;
use crate::string::signed;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "ttl",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the expiration time in seconds of a key.",
        tips: &["nondeterministic_output"],
        run: Run::Read(ttl),
        ..ROW
    },
    Command {
        name: "pttl",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Returns the expiration time in milliseconds of a key.",
        tips: &["nondeterministic_output"],
        run: Run::Read(pttl),
        ..ROW
    },
    Command {
        name: "expiretime",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns the expiration time of a key as a Unix timestamp.",
        run: Run::Read(expiretime),
        ..ROW
    },
    Command {
        name: "pexpiretime",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns the expiration time of a key as a Unix milliseconds timestamp.",
        run: Run::Read(pexpiretime),
        ..ROW
    },
];

/// Reply for a key that does not exist.
const NO_KEY: i64 = -2;
/// Reply for a key that has no deadline.
const NO_DEADLINE: i64 = -1;

fn ttl(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let now = signed(ctx.now);
    reply.integer(deadline(ctx, args, |at| in_seconds((at - now).max(0))));
}

fn pttl(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let now = signed(ctx.now);
    reply.integer(deadline(ctx, args, |at| (at - now).max(0)));
}

fn expiretime(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.integer(deadline(ctx, args, in_seconds));
}

fn pexpiretime(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.integer(deadline(ctx, args, |at| at));
}

/// Looking at a deadline is not an access.
fn deadline(ctx: &ReadCtx<'_>, args: Args<'_>, render: impl Fn(i64) -> i64) -> i64 {
    match ctx.peek(args.at(1)) {
        None => NO_KEY,
        Some(entry) => entry.expire_at().map_or(NO_DEADLINE, |at| render(signed(at))),
    }
}

/// To the nearest second, as Redis rounds.
fn in_seconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(500) / 1_000
}
