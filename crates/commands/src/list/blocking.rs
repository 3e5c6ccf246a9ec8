//! The forms that wait for an element: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH.

use super::ends::{PopFirst, pop_first, reply_popped};
use super::transfer::move_element;
use super::{End, Found, ROW, list_of};
use crate::args::Args;
use crate::blocking::{keys_then_timeout, null_array, on_some_counted, on_some_keys, timeout};
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{Outcome, answer};
use crate::table::{Blocking, Command, Flags, KeyFlags, KeySpec, Keys, Run, Wait};
use protocol::Reply;
use store::ValueRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "blpop",
        arity: -3,
        flags: Flags::WRITE.with(Flags::NOSCRIPT).with(Flags::BLOCKING),
        keys: Keys(&[KeySpec::range(1, -2, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Removes and returns the first element in a list. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        run: Run::Blocking(&BLPOP),
        ..ROW
    },
    Command {
        name: "brpop",
        arity: -3,
        flags: Flags::WRITE.with(Flags::NOSCRIPT).with(Flags::BLOCKING),
        keys: Keys(&[KeySpec::range(1, -2, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Removes and returns the last element in a list. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        run: Run::Blocking(&BRPOP),
        ..ROW
    },
    Command {
        name: "blmove",
        arity: 6,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::NOSCRIPT).with(Flags::BLOCKING),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE)),
            KeySpec::at(2, KeyFlags::RW.with(KeyFlags::INSERT)),
        ]),
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise. Deletes the list if the last element was moved.",
        run: Run::Blocking(&BLMOVE),
        ..ROW
    },
    Command {
        name: "brpoplpush",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::NOSCRIPT).with(Flags::BLOCKING),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE)),
            KeySpec::at(2, KeyFlags::RW.with(KeyFlags::INSERT)),
        ]),
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        run: Run::Blocking(&BRPOPLPUSH),
        ..ROW
    },
    Command {
        name: "blmpop",
        arity: -5,
        flags: Flags::WRITE.with(Flags::BLOCKING).with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::counted(2, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Pops the first element from one of multiple lists. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        run: Run::Blocking(&BLMPOP),
        ..ROW
    },
];

const BLPOP: Blocking = Blocking {
    attempt: Run::Write(blpop),
    wait: keys_then_timeout,
    ready: any_key_ready,
    nothing: null_array,
    on_some: Some(on_some_keys),
    by_now: None,
    takes: true,
};
const BRPOP: Blocking = Blocking { attempt: Run::Write(brpop), ..BLPOP };
const BLMPOP: Blocking = Blocking {
    attempt: Run::Write(blmpop),
    wait: wait_of_blmpop,
    ready: any_counted_key_ready,
    on_some: Some(on_some_counted),
    ..BLPOP
};
const BLMOVE: Blocking = Blocking {
    attempt: Run::Write(blmove),
    wait: wait_of_blmove,
    ready: source_ready,
    nothing: null_or_null_array,
    on_some: None,
    by_now: None,
    takes: true,
};
const BRPOPLPUSH: Blocking = Blocking { attempt: Run::Write(brpoplpush), wait: keys_then_timeout, ..BLMOVE };

fn blpop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop_one(ctx, args, End::Left, reply);
    answer(reply, outcome);
}

fn brpop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop_one(ctx, args, End::Right, reply);
    answer(reply, outcome);
}

/// Pops one element of the first list that there is.
fn pop_one(ctx: &mut WriteCtx<'_>, args: Args<'_>, end: End, reply: &mut Reply<'_>) -> Outcome<()> {
    for key in args.iter().take(args.len() - 1).skip(1) {
        let Some(list) = list_of(ctx.get(key))? else { continue };
        let mut found = Found::of(&list);
        reply.array(2);
        reply.bulk(key);
        reply_popped(&list, end, 1, reply);
        found.pop(ctx, key, end, 1);
        return Ok(());
    }
    Ok(())
}

fn blmpop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop_first(ctx, args.tail(2), reply).map(|_| ());
    answer(reply, outcome);
}

fn blmove(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let ends = End::parse(args.at(3)).and_then(|from| Ok((from, End::parse(args.at(4))?)));
    let outcome = ends.and_then(|ends| move_element(ctx, (args.at(1), args.at(2)), ends, reply));
    answer(reply, outcome.map(|_| ()));
}

fn brpoplpush(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = move_element(ctx, (args.at(1), args.at(2)), (End::Right, End::Left), reply);
    answer(reply, outcome.map(|_| ()));
}

/// The timeout is looked at last.
fn wait_of_blmpop(args: Args<'_>) -> Result<Wait, String> {
    PopFirst::parse(args.tail(2)).map_err(|error| error.to_string())?;
    timeout(args.at(1))
}

fn wait_of_blmove(args: Args<'_>) -> Result<Wait, String> {
    for at in [3, 4] {
        End::parse(args.at(at)).map_err(|error| error.to_string())?;
    }
    timeout(args.at(5))
}

/// A null outside, and what every command that has waited in vain answers.
fn null_or_null_array(reply: &mut Reply<'_>, has_waited: bool) {
    if has_waited { reply.null_array() } else { reply.null() }
}

fn any_key_ready(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> bool {
    args.iter().take(args.len() - 1).skip(1).any(|key| is_list(ctx, key))
}

fn any_counted_key_ready(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> bool {
    // Other words than keys must not be looked for: their partitions are not locked.
    PopFirst::parse(args.tail(2)).is_ok_and(|pop| pop.keys.iter().any(|key| is_list(ctx, key)))
}

fn source_ready(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> bool {
    is_list(ctx, args.at(1))
}

fn is_list(ctx: &ReadCtx<'_>, key: &[u8]) -> bool {
    ctx.peek(key).is_some_and(|entry| matches!(entry.value(), ValueRef::List(_)))
}
