//! Commands that read members.

use super::{ROW, set_of};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{Outcome, answer, answer_integer};
use crate::generic::scan::{parse_cursor, parse_options, reply_scan};
use crate::glob;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "smembers",
        arity: 2,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(N) where N is the set cardinality.",
        summary: "Returns all members of a set.",
        tips: &["nondeterministic_output_order"],
        run: Run::Read(smembers),
        ..ROW
    },
    Command {
        name: "sismember",
        arity: 3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Determines whether a member belongs to a set.",
        run: Run::Read(sismember),
        ..ROW
    },
    Command {
        name: "smismember",
        arity: -3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "6.2.0",
        complexity: "O(N) where N is the number of elements being checked for membership",
        summary: "Determines whether multiple members belong to a set.",
        run: Run::Read(smismember),
        ..ROW
    },
    Command {
        name: "scard",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the number of members in a set.",
        run: Run::Read(scard),
        ..ROW
    },
    Command {
        name: "sscan",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
        summary: "Iterates over members of a set.",
        tips: &["nondeterministic_output"],
        run: Run::Read(sscan),
        ..ROW
    },
];

fn smembers(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = set_of(ctx.get(args.at(1))).map(|set| {
        reply.set(set.map_or(0, |set| set.len()));
        if let Some(set) = set {
            set.for_each(&mut |member| reply.bulk(member));
        }
    });
    answer(reply, outcome);
}

fn sismember(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome =
        set_of(ctx.get(args.at(1))).map(|set| i64::from(set.is_some_and(|set| set.contains(args.at(2)))));
    answer_integer(reply, outcome);
}

fn smismember(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = set_of(ctx.get(args.at(1))).map(|set| {
        let members = args.tail(2);
        reply.array(members.len());
        for member in members {
            reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
        }
    });
    answer(reply, outcome);
}

fn scard(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = set_of(ctx.get(args.at(1))).map(|set| set.map_or(0, |set| set.len()) as i64);
    answer_integer(reply, outcome);
}

fn sscan(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = scan(ctx, args, reply);
    answer(reply, outcome);
}

fn scan(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let cursor = parse_cursor(args.at(2))?;
    let Some(set) = set_of(ctx.get(args.at(1)))? else {
        reply_scan(0, &[], reply);
        return Ok(());
    };
    let request = parse_options(cursor, args.tail(3), false)?;
    let mut found = Vec::new();
    let next = set.scan(cursor, request.count, &mut |member| {
        if request.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, member)) {
            found.push(member.to_vec());
        }
    });
    reply_scan(next, &found, reply);
    Ok(())
}
