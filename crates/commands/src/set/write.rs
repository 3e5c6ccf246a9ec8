//! Commands that add, remove and move members.

use super::{ROW, set_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::distinct::distinct;
use crate::error::{Outcome, answer_integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Kind;
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "sadd",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::INSERT))]),
        since: "1.0.0",
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        summary: "Adds one or more members to a set. Creates the key if it doesn't exist.",
        run: Run::Write(sadd),
        ..ROW
    },
    Command {
        name: "srem",
        arity: -3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "1.0.0",
        complexity: "O(N) where N is the number of members to be removed.",
        summary: "Removes one or more members from a set. Deletes the set if the last member was removed.",
        run: Run::Write(srem),
        ..ROW
    },
    Command {
        name: "smove",
        arity: 4,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE)),
            KeySpec::at(2, KeyFlags::RW.with(KeyFlags::INSERT)),
        ]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Moves a member from one set to another.",
        run: Run::Write(smove),
        ..ROW
    },
];

fn sadd(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, add(ctx, args));
}

fn add(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let key = args.at(1);
    let set = set_of(ctx.get(key))?;
    let is_new = |member: &&[u8]| set.is_none_or(|set| !set.contains(member));
    let members = distinct(args.tail(2).iter().copied().filter(is_new));
    if !members.is_empty() {
        ctx.put_elements(key, Kind::Set, &members);
    }
    Ok(members.len() as i64)
}

fn srem(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, remove(ctx, args));
}

fn remove(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let key = args.at(1);
    let Some(set) = set_of(ctx.get(key))? else { return Ok(0) };
    let members = distinct(args.tail(2).iter().copied().filter(|member| set.contains(member)));
    let len = set.len();
    if !members.is_empty() {
        ctx.drop_elements(key, Kind::Set, &members, len);
    }
    Ok(members.len() as i64)
}

fn smove(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, move_member(ctx, args).map(i64::from));
}

fn move_member(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<bool> {
    let (from, to, member) = (args.at(1), args.at(2), args.at(3));
    let Some(source) = ctx.get(from) else { return Ok(false) };
    let source = set_of(Some(source))?.map(|set| (set.contains(member), set.len()));
    let is_there = set_of(ctx.get(to))?.is_some_and(|set| set.contains(member));
    match source {
        Some((true, len)) if from != to => {
            ctx.drop_elements(from, Kind::Set, &[member], len);
            if !is_there {
                ctx.put_elements(to, Kind::Set, &[member]);
            }
            Ok(true)
        }
        Some((contains, _)) => Ok(contains),
        None => Ok(false),
    }
}
