//! LMOVE and RPOPLPUSH: an element from an end of one list to an end of another, or of the same.

use super::{End, Found, ROW, list_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{Outcome, answer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;

const KEYS: Keys = Keys(&[
    KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE)),
    KeySpec::at(2, KeyFlags::RW.with(KeyFlags::INSERT)),
]);

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "lmove",
        arity: 5,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: KEYS,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns an element after popping it from one list and pushing it to another. Deletes the \
            list if the last element was moved.",
        run: Run::Write(lmove),
        ..ROW
    },
    Command {
        name: "rpoplpush",
        arity: 3,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: KEYS,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Returns the last element of a list after removing and pushing it to another list. Deletes \
            the list if the last element was popped.",
        run: Run::Write(rpoplpush),
        ..ROW
    },
];

fn lmove(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let ends = End::parse(args.at(3)).and_then(|from| Ok((from, End::parse(args.at(4))?)));
    let outcome = ends.and_then(|ends| move_element(ctx, (args.at(1), args.at(2)), ends, reply));
    answer_null(reply, outcome);
}

fn rpoplpush(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = move_element(ctx, (args.at(1), args.at(2)), (End::Right, End::Left), reply);
    answer_null(reply, outcome);
}

fn answer_null(reply: &mut Reply<'_>, outcome: Outcome<bool>) {
    let outcome = outcome.map(|moved| {
        if !moved {
            reply.null();
        }
    });
    answer(reply, outcome);
}

/// Moves an element and answers with it; false if there is none, and nothing is written.
pub(super) fn move_element(
    ctx: &mut WriteCtx<'_>,
    (source, destination): (&[u8], &[u8]),
    (from, to): (End, End),
    reply: &mut Reply<'_>,
) -> Outcome<bool> {
    let Some(list) = list_of(ctx.get(source))? else { return Ok(false) };
    let element = match from {
        End::Left => list.iter().next(),
        End::Right => list.iter_back_from(usize::MAX).next(),
    };
    let (element, mut taken) = (element.unwrap_or_default().to_vec(), Found::of(&list));
    if source == destination {
        rotate(ctx, source, taken, (from, to), &element);
    } else {
        let mut given = list_of(ctx.get(destination))?.map(|list| Found::of(&list)).unwrap_or_default();
        given.push(ctx, destination, to, &[&element]);
        taken.pop(ctx, source, from, 1);
    }
    reply.bulk(&element);
    Ok(true)
}

/// Within one list. That of a single element is written as it is, so that whoever watches it learns of a change, as in Redis.
fn rotate(ctx: &mut WriteCtx<'_>, key: &[u8], mut found: Found, (from, to): (End, End), element: &[u8]) {
    if found.len == 1 || from == to {
        let index = from.start(1, found.len);
        return found.splice(ctx, key, (index, 1), &[element]);
    }
    found.pop(ctx, key, from, 1);
    found.push(ctx, key, to, &[element]);
}
