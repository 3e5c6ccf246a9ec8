//! HRANDFIELD.

use super::{ROW, hash_of};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer, integer};
use crate::sample::{Sample, places};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::{Reply, Version};
use stdx::Random;
use store::HashRef;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "hrandfield",
    arity: -2,
    flags: Flags::READONLY,
    keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
    since: "6.2.0",
    complexity: "O(N) where N is the number of fields returned",
    summary: "Returns one or more random fields from a hash.",
    tips: &["nondeterministic_output"],
    run: Run::Read(hrandfield),
    ..ROW
}];

fn hrandfield(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = if args.len() == 2 { one(ctx, args, reply) } else { several(ctx, args, reply) };
    answer(reply, outcome);
}

fn one(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let mut random = ctx.random(args.at(1));
    match hash_of(ctx.get(args.at(1)))?.and_then(|hash| hash.random(&mut random)) {
        Some((field, _)) => reply.bulk(field),
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
    let with_values = args.is(3, "WITHVALUES");
    if args.len() > 4 || (args.len() == 4 && !with_values) {
        return Err(CommandError::Syntax);
    }
    if with_values && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(CommandError::Other("value is out of range"));
    }
    let mut random = ctx.random(args.at(1));
    let Some(hash) = hash_of(ctx.get(args.at(1)))? else {
        reply.array(0);
        return Ok(());
    };
    let nested = with_values && reply.version() == Version::Resp3;
    let fields = sampled(hash, count, &mut random);
    reply.array(if with_values && !nested { fields.len() * 2 } else { fields.len() });
    for (field, value) in fields {
        if nested {
            reply.array(2);
        }
        reply.bulk(field);
        if with_values {
            reply.bulk(value);
        }
    }
    Ok(())
}

/// So many fields with their values by chance; a negative count may have one of them several times.
fn sampled<'h>(hash: HashRef<'h>, count: i64, random: &mut Random) -> Vec<(&'h [u8], &'h [u8])> {
    match Sample::of(count, hash.len()) {
        Sample::Repeated(count) => (0..count).filter_map(|_| hash.random(random)).collect(),
        Sample::All => hash.iter().collect(),
        Sample::Few(count) => {
            let mut fields: Vec<(&[u8], &[u8])> = Vec::with_capacity(count);
            let mut seen = std::collections::HashSet::with_capacity(count);
            while fields.len() < count {
                fields.extend(hash.random(random).filter(|(field, _)| seen.insert(*field)));
            }
            fields
        }
        Sample::Many(count) => {
            let chosen = places(count, hash.len(), random);
            hash.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(pair, _)| pair).collect()
        }
    }
}
