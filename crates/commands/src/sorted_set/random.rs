//! ZRANDMEMBER.

use super::{ROW, Scored, reply_scored, sorted_set_of};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer, integer};
use crate::sample::{Sample, places};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;
use std::collections::HashSet;
use stdx::Random;
use store::SortedSetRef;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "zrandmember",
    arity: -2,
    flags: Flags::READONLY,
    keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
    since: "6.2.0",
    complexity: "O(N) where N is the number of members returned",
    summary: "Returns one or more random members from a sorted set.",
    tips: &["nondeterministic_output"],
    run: Run::Read(zrandmember),
    ..ROW
}];

fn zrandmember(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = if args.len() == 2 { one(ctx, args, reply) } else { several(ctx, args, reply) };
    answer(reply, outcome);
}

fn one(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let mut random = ctx.random(args.at(1));
    match sorted_set_of(ctx.get(args.at(1)))?.and_then(|set| set.random(&mut random)) {
        Some((_, member)) => reply.bulk(member),
        None => reply.null(),
    }
    Ok(())
}

fn several(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let count = integer(args.at(2))?;
    if count == i64::MIN {
        return Err(CommandError::Other(
            "value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let with_scores = args.is(3, "WITHSCORES");
    if args.len() > 4 || (args.len() == 4 && !with_scores) {
        return Err(CommandError::Syntax);
    }
    if with_scores && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(CommandError::Other("value is out of range"));
    }
    let mut random = ctx.random(args.at(1));
    let elements = match sorted_set_of(ctx.get(args.at(1)))? {
        None => Vec::new(),
        Some(set) => sampled(set, count, &mut random),
    };
    reply_scored(reply, elements.into_iter(), with_scores);
    Ok(())
}

/// So many elements by chance; a negative count may have one of them several times.
fn sampled<'s>(set: SortedSetRef<'s>, count: i64, random: &mut Random) -> Vec<Scored<'s>> {
    match Sample::of(count, set.len()) {
        Sample::Repeated(count) => (0..count).filter_map(|_| set.random(random)).collect(),
        Sample::All => set.iter().collect(),
        Sample::Few(count) => {
            let mut seen = HashSet::with_capacity(count);
            let mut elements = Vec::with_capacity(count);
            while elements.len() < count {
                elements.extend(set.random(random).filter(|(_, member)| seen.insert(*member)));
            }
            elements
        }
        Sample::Many(count) => {
            let chosen = places(count, set.len(), random);
            set.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(element, _)| element).collect()
        }
    }
}
