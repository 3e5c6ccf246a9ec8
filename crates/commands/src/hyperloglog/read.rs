//! PFCOUNT: how many different elements one sketch has seen, or several together.

use super::sketch::{self, Union};
use super::{ROW, sketch_of};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{Outcome, answer_integer};
use crate::string::INTEGER_TEXT_BYTES_MAX;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "pfcount",
    arity: -2,
    flags: Flags::READONLY,
    keys: Keys(&[KeySpec::from(1, 1, KeyFlags::RW.with(KeyFlags::ACCESS)).noted(
        "RW because it may change the internal representation of the key, and propagate to replicas",
    )]),
    complexity: "O(1) with a very small average constant time when called with a single key. O(N) with N \
        being the number of keys, and much bigger constant times, when called with multiple keys.",
    summary: "Returns the approximated cardinality of the set(s) observed by the HyperLogLog key(s).",
    run: Run::Read(pfcount),
    ..ROW
}];

fn pfcount(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = if args.len() == 2 { count_one(ctx, args.at(1)) } else { count_union(ctx, args) };
    answer_integer(reply, outcome.map(|count| count as i64));
}

fn count_one(ctx: &mut ReadCtx<'_>, key: &[u8]) -> Outcome<u64> {
    let Some(entry) = ctx.get(key) else { return Ok(0) };
    sketch::count(sketch_of(&entry, &mut [0; INTEGER_TEXT_BYTES_MAX])?)
}

fn count_union(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> Outcome<u64> {
    let mut union = Union::new();
    for key in args.tail(1) {
        if let Some(entry) = ctx.get(key) {
            union.add(sketch_of(&entry, &mut [0; INTEGER_TEXT_BYTES_MAX])?)?;
        }
    }
    Ok(union.count())
}
