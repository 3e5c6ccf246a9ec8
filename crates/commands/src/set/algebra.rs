//! Intersections, unions and differences, shown or stored.
//!
//! All keys must be at one primary.

use super::{ROW, set_of};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, answer_integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::{ElementsBuilder, Kind};
use protocol::Reply;
use std::collections::HashSet;
use store::{EntryRef, SetRef};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "sinter",
        arity: -2,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::range(1, -1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
        summary: "Returns the intersect of multiple sets.",
        tips: &["nondeterministic_output_order"],
        run: Run::Read(sinter),
        ..ROW
    },
    Command {
        name: "sintercard",
        arity: -3,
        flags: Flags::READONLY.with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::counted(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "7.0.0",
        complexity: "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
        summary: "Returns the number of members of the intersect of multiple sets.",
        run: Run::Read(sintercard),
        ..ROW
    },
    Command {
        name: "sunion",
        arity: -2,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::range(1, -1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        summary: "Returns the union of multiple sets.",
        tips: &["nondeterministic_output_order"],
        run: Run::Read(sunion),
        ..ROW
    },
    Command {
        name: "sdiff",
        arity: -2,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::range(1, -1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        summary: "Returns the difference of multiple sets.",
        tips: &["nondeterministic_output_order"],
        run: Run::Read(sdiff),
        ..ROW
    },
    Command {
        name: "sinterstore",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE)),
            KeySpec::range(2, -1, KeyFlags::RO.with(KeyFlags::ACCESS)),
        ]),
        since: "1.0.0",
        complexity: "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
        summary: "Stores the intersect of multiple sets in a key.",
        run: Run::Write(sinterstore),
        ..ROW
    },
    Command {
        name: "sunionstore",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
            KeySpec::range(2, -1, KeyFlags::RO.with(KeyFlags::ACCESS)),
        ]),
        since: "1.0.0",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        summary: "Stores the union of multiple sets in a key.",
        run: Run::Write(sunionstore),
        ..ROW
    },
    Command {
        name: "sdiffstore",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
            KeySpec::range(2, -1, KeyFlags::RO.with(KeyFlags::ACCESS)),
        ]),
        since: "1.0.0",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        summary: "Stores the difference of multiple sets in a key.",
        run: Run::Write(sdiffstore),
        ..ROW
    },
];

/// What comes of several sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

fn sinter(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show(ctx, args, Operation::Intersection, reply);
    answer(reply, outcome);
}

fn sunion(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show(ctx, args, Operation::Union, reply);
    answer(reply, outcome);
}

fn sdiff(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show(ctx, args, Operation::Difference, reply);
    answer(reply, outcome);
}

fn sinterstore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, store(ctx, args, Operation::Intersection));
}

fn sunionstore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, store(ctx, args, Operation::Union));
}

fn sdiffstore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, store(ctx, args, Operation::Difference));
}

fn show(ctx: &mut ReadCtx<'_>, args: Args<'_>, operation: Operation, reply: &mut Reply<'_>) -> Outcome<()> {
    let keys = args.tail(1);
    for key in keys {
        set_of(ctx.get(key))?;
    }
    let mark = reply.array_begin();
    let mut count = 0;
    combine(keys, |key| ctx.peek(key), operation, &mut |member| {
        reply.bulk(member);
        count += 1;
        true
    });
    reply.set_end(mark, count);
    Ok(())
}

fn store(ctx: &mut WriteCtx<'_>, args: Args<'_>, operation: Operation) -> Outcome<i64> {
    let keys = args.tail(2);
    for key in keys {
        set_of(ctx.get(key))?;
    }
    let (mut elements, mut count) = (ElementsBuilder::new(), 0);
    combine(keys, |key| ctx.peek(key), operation, &mut |member| {
        elements.push(member);
        count += 1;
        true
    });
    ctx.store_collection(args.at(1), Kind::Set, elements.elements());
    Ok(count)
}

fn sintercard(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, count_intersection(ctx, args));
}

fn count_intersection(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let positive = protocol::parse_i64(args.at(1)).and_then(|count| usize::try_from(count).ok());
    let keys_count = positive.filter(|count| *count > 0);
    let keys_count = keys_count.ok_or(CommandError::Other("numkeys should be greater than 0"))?;
    let keys = args.tail(2).get(..keys_count);
    let keys = keys.ok_or(CommandError::Other("Number of keys can't be greater than number of args"))?;
    let mut limit = 0;
    let mut options = args.tail(2 + keys_count).chunks(2);
    for option in &mut options {
        let [name, number] = option else { return Err(CommandError::Syntax) };
        if !name.eq_ignore_ascii_case(b"limit") {
            return Err(CommandError::Syntax);
        }
        let number = protocol::parse_i64(number).and_then(|number| u64::try_from(number).ok());
        limit = number.ok_or(CommandError::Other("LIMIT can't be negative"))?;
    }
    for key in keys {
        set_of(ctx.get(key))?;
    }
    let mut count = 0;
    combine(keys, |key| ctx.peek(key), Operation::Intersection, &mut |_| {
        count += 1;
        count != limit
    });
    Ok(count as i64)
}

/// Visits what comes of the sets of these keys, each member once, until `visit` says that it has enough. The caller has seen that
/// none of the keys holds something else.
fn combine<'c>(
    keys: &[&[u8]],
    look: impl Fn(&[u8]) -> Option<EntryRef<'c>>,
    operation: Operation,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) {
    let sets: Vec<Option<SetRef<'c>>> = keys.iter().map(|key| set_of(look(key)).ok().flatten()).collect();
    match operation {
        Operation::Union => {
            let mut seen: HashSet<Vec<u8>> = HashSet::new();
            for set in sets.into_iter().flatten() {
                let more = set.try_for_each(&mut |member| {
                    seen.contains(member) || (seen.insert(member.to_vec()) && visit(member))
                });
                if !more {
                    return;
                }
            }
        }
        Operation::Intersection => {
            let Some(mut sets) = sets.into_iter().collect::<Option<Vec<SetRef<'_>>>>() else { return };
            sets.sort_by_key(SetRef::len);
            let Some((least, others)) = sets.split_first() else { return };
            least.try_for_each(&mut |member| {
                !others.iter().all(|other| other.contains(member)) || visit(member)
            });
        }
        Operation::Difference => {
            let Some((Some(first), others)) = sets.split_first() else { return };
            first.try_for_each(&mut |member| {
                others.iter().flatten().any(|other| other.contains(member)) || visit(member)
            });
        }
    }
}
