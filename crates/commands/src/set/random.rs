//! Members by chance: SRANDMEMBER and SPOP.

use super::{ROW, set_of};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, integer};
use crate::sample::{Sample, places};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Kind;
use protocol::Reply;
use std::collections::HashSet;
use stdx::Random;
use store::SetRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "srandmember",
        arity: -2,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.",
        summary: "Gets one or multiple random members from a set.",
        tips: &["nondeterministic_output"],
        run: Run::Read(srandmember),
        ..ROW
    },
    Command {
        name: "spop",
        arity: -2,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "1.0.0",
        complexity: "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
        summary: "Returns one or more random members from a set after removing them. Deletes the set if the last member was popped.",
        tips: &["nondeterministic_output"],
        run: Run::Write(spop),
        ..ROW
    },
];

fn srandmember(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = if args.len() == 2 { show_one(ctx, args, reply) } else { show_several(ctx, args, reply) };
    answer(reply, outcome);
}

fn show_one(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let mut random = ctx.random(args.at(1));
    match set_of(ctx.get(args.at(1)))?.and_then(|set| set.random(&mut random)) {
        Some(member) => reply.bulk(&member),
        None => reply.null(),
    }
    Ok(())
}

fn show_several(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = integer(args.at(2))?;
    if count == i64::MIN {
        return Err(CommandError::Other(
            "value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let mut random = ctx.random(args.at(1));
    let members = match set_of(ctx.get(args.at(1)))? {
        None => Vec::new(),
        Some(set) => sampled(set, count, &mut random),
    };
    reply.array(members.len());
    members.iter().for_each(|member| reply.bulk(member));
    Ok(())
}

fn spop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = if args.len() == 2 { take_one(ctx, args, reply) } else { take_several(ctx, args, reply) };
    answer(reply, outcome);
}

fn take_one(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let key = args.at(1);
    let mut random = ctx.random(key);
    let taken = set_of(ctx.get(key))?.and_then(|set| Some((set.random(&mut random)?, set.len())));
    match taken {
        None => reply.null(),
        Some((member, len)) => {
            ctx.drop_elements(key, Kind::Set, &[&member], len);
            reply.bulk(&member);
        }
    }
    Ok(())
}

fn take_several(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let key = args.at(1);
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = protocol::parse_i64(args.at(2)).filter(|count| *count >= 0);
    let count = count.ok_or(CommandError::Other("value is out of range, must be positive"))?;
    let mut random = ctx.random(key);
    let taken = set_of(ctx.get(key))?.map(|set| (sampled(set, count, &mut random), set.len()));
    let (members, len) = taken.unwrap_or_default();
    if !members.is_empty() {
        let words: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
        ctx.drop_elements(key, Kind::Set, &words, len);
    }
    reply.set(members.len());
    members.iter().for_each(|member| reply.bulk(member));
    Ok(())
}

/// So many members by chance; a negative count may have one of them several times.
fn sampled(set: SetRef<'_>, count: i64, random: &mut Random) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    match Sample::of(count, set.len()) {
        Sample::Repeated(count) => members.extend((0..count).filter_map(|_| set.random(random))),
        Sample::All => set.for_each(&mut |member| members.push(member.to_vec())),
        Sample::Few(count) => {
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                seen.extend(set.random(random));
            }
            members.extend(seen);
        }
        Sample::Many(count) => {
            let mut chosen = places(count, set.len(), random).into_iter();
            set.for_each(&mut |member| {
                if chosen.next() == Some(true) {
                    members.push(member.to_vec());
                }
            });
        }
    }
    members
}
