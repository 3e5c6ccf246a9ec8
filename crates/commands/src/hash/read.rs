//! Commands that read fields and their values.

use super::{ROW, hash_of};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{Outcome, answer, answer_integer};
use crate::generic::scan::{parse_cursor, parse_options, reply_scan};
use crate::glob;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "hget",
        arity: 3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Returns the value of a field in a hash.",
        run: Run::Read(hget),
        ..ROW
    },
    Command {
        name: "hmget",
        arity: -3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.0.0",
        complexity: "O(N) where N is the number of fields being requested.",
        summary: "Returns the values of all fields in a hash.",
        run: Run::Read(hmget),
        ..ROW
    },
    Command {
        name: "hgetall",
        arity: 2,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.0.0",
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns all fields and values in a hash.",
        tips: &["nondeterministic_output_order"],
        run: Run::Read(hgetall),
        ..ROW
    },
    Command {
        name: "hkeys",
        arity: 2,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.0.0",
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns all fields in a hash.",
        tips: &["nondeterministic_output_order"],
        run: Run::Read(hkeys),
        ..ROW
    },
    Command {
        name: "hvals",
        arity: 2,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.0.0",
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns all values in a hash.",
        tips: &["nondeterministic_output_order"],
        run: Run::Read(hvals),
        ..ROW
    },
    Command {
        name: "hlen",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Returns the number of fields in a hash.",
        run: Run::Read(hlen),
        ..ROW
    },
    Command {
        name: "hexists",
        arity: 3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Determines whether a field exists in a hash.",
        run: Run::Read(hexists),
        ..ROW
    },
    Command {
        name: "hstrlen",
        arity: 3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "3.2.0",
        complexity: "O(1)",
        summary: "Returns the length of the value of a field.",
        run: Run::Read(hstrlen),
        ..ROW
    },
    Command {
        name: "hscan",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
        summary: "Iterates over fields and values of a hash.",
        tips: &["nondeterministic_output"],
        run: Run::Read(hscan),
        ..ROW
    },
];

fn hget(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = hash_of(ctx.get(args.at(1)));
    let outcome = outcome.map(|hash| reply_value(reply, hash.and_then(|hash| hash.get(args.at(2)))));
    answer(reply, outcome);
}

fn reply_value(reply: &mut Reply<'_>, value: Option<&[u8]>) {
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}

fn hmget(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = hash_of(ctx.get(args.at(1))).map(|hash| {
        let fields = args.tail(2);
        reply.array(fields.len());
        for field in fields {
            reply_value(reply, hash.and_then(|hash| hash.get(field)));
        }
    });
    answer(reply, outcome);
}

fn hgetall(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = hash_of(ctx.get(args.at(1))).map(|hash| {
        reply.map(hash.map_or(0, |hash| hash.len()));
        for (field, value) in hash.into_iter().flat_map(|hash| hash.iter()) {
            reply.bulk(field);
            reply.bulk(value);
        }
    });
    answer(reply, outcome);
}

fn hkeys(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_each(ctx, args, reply, |(field, _)| field);
    answer(reply, outcome);
}

fn hvals(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_each(ctx, args, reply, |(_, value)| value);
    answer(reply, outcome);
}

/// A field and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

fn reply_each(
    ctx: &mut ReadCtx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    part: fn(Pair<'_>) -> &[u8],
) -> Outcome<()> {
    let hash = hash_of(ctx.get(args.at(1)))?;
    reply.array(hash.map_or(0, |hash| hash.len()));
    hash.into_iter().flat_map(|hash| hash.iter()).for_each(|pair| reply.bulk(part(pair)));
    Ok(())
}

fn hlen(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = hash_of(ctx.get(args.at(1))).map(|hash| hash.map_or(0, |hash| hash.len()) as i64);
    answer_integer(reply, outcome);
}

fn hexists(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = hash_of(ctx.get(args.at(1)))
        .map(|hash| i64::from(hash.is_some_and(|hash| hash.get(args.at(2)).is_some())));
    answer_integer(reply, outcome);
}

fn hstrlen(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = hash_of(ctx.get(args.at(1)))
        .map(|hash| hash.and_then(|hash| hash.get(args.at(2))).map_or(0, <[u8]>::len) as i64);
    answer_integer(reply, outcome);
}

fn hscan(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = scan(ctx, args, reply);
    answer(reply, outcome);
}

fn scan(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let cursor = parse_cursor(args.at(2))?;
    let Some(hash) = hash_of(ctx.get(args.at(1)))? else {
        reply_scan(0, &[], reply);
        return Ok(());
    };
    let request = parse_options(cursor, args.tail(3), false)?;
    let mut found = Vec::new();
    let next = hash.scan(cursor, request.count, &mut |field, value| {
        if request.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, field)) {
            found.extend([field.to_vec(), value.to_vec()]);
        }
    });
    reply_scan(next, &found, reply);
    Ok(())
}
