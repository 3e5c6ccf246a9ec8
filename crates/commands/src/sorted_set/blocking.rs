//! The forms that wait for a member: BZPOPMIN, BZPOPMAX, BZMPOP.

use super::remove::{End, PopFirst, pop_from_first, popped, take};
use super::{ROW, sorted_set_of};
use crate::args::Args;
use crate::blocking::{keys_then_timeout, null_array, on_some_counted, on_some_keys, timeout};
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{Outcome, answer};
use crate::table::{Blocking, Command, Flags, KeyFlags, KeySpec, Keys, Run, Wait};
use protocol::Reply;
use store::ValueRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "bzpopmin",
        arity: -3,
        flags: Flags::WRITE.with(Flags::NOSCRIPT).with(Flags::BLOCKING).with(Flags::FAST),
        keys: Keys(&[KeySpec::range(1, -2, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes and returns the member with the lowest score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped.",
        run: Run::Blocking(&BZPOPMIN),
        ..ROW
    },
    Command {
        name: "bzpopmax",
        arity: -3,
        flags: Flags::WRITE.with(Flags::NOSCRIPT).with(Flags::BLOCKING).with(Flags::FAST),
        keys: Keys(&[KeySpec::range(1, -2, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes and returns the member with the highest score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped.",
        run: Run::Blocking(&BZPOPMAX),
        ..ROW
    },
    Command {
        name: "bzmpop",
        arity: -5,
        flags: Flags::WRITE.with(Flags::BLOCKING).with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::counted(2, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))]),
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes and returns a member by score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped.",
        run: Run::Blocking(&BZMPOP),
        ..ROW
    },
];

const BZPOPMIN: Blocking = Blocking {
    attempt: Run::Write(bzpopmin),
    wait: keys_then_timeout,
    // The last word is the timeout. Other words than keys must not be looked for: their partitions are not locked.
    ready: |ctx, args| any_ready(ctx, &args.tail(1)[..args.len() - 2]),
    nothing: null_array,
    on_some: Some(on_some_keys),
    by_now: None,
    takes: true,
};
const BZPOPMAX: Blocking = Blocking { attempt: Run::Write(bzpopmax), ..BZPOPMIN };
const BZMPOP: Blocking = Blocking {
    attempt: Run::Write(bzmpop),
    wait: wait_of_bzmpop,
    ready: |ctx, args| PopFirst::parse(args.tail(2)).is_ok_and(|pop| any_ready(ctx, pop.keys)),
    on_some: Some(on_some_counted),
    ..BZPOPMIN
};

fn bzpopmin(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop_one(ctx, args, End::Lowest, reply);
    answer(reply, outcome);
}

fn bzpopmax(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop_one(ctx, args, End::Highest, reply);
    answer(reply, outcome);
}

/// Pops one member of the first sorted set that there is.
fn pop_one(ctx: &mut WriteCtx<'_>, args: Args<'_>, end: End, reply: &mut Reply<'_>) -> Outcome<()> {
    for key in args.iter().take(args.len() - 1).skip(1) {
        let Some(set) = sorted_set_of(ctx.get(key))? else { continue };
        let (popped, len) = (popped(set, end, 1), set.len());
        reply.array(3);
        reply.bulk(key);
        take(ctx, key, popped, len, false, reply);
        return Ok(());
    }
    Ok(())
}

/// The timeout is looked at last.
fn wait_of_bzmpop(args: Args<'_>) -> Result<Wait, String> {
    PopFirst::parse(args.tail(2)).map_err(|error| error.to_string())?;
    timeout(args.at(1))
}

fn bzmpop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = pop_from_first(ctx, args.tail(2), reply).map(|_| ());
    answer(reply, outcome);
}

fn any_ready(ctx: &ReadCtx<'_>, keys: &[&[u8]]) -> bool {
    keys.iter().any(|key| ctx.peek(key).is_some_and(|entry| matches!(entry.value(), ValueRef::SortedSet(_))))
}
