//! Commands that change a list in the middle: LSET, LINSERT, LREM and LTRIM.

use super::{Found, ROW, list_of, place, range};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;
use store::ListRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "lset",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "1.0.0",
        complexity: "O(N) where N is the length of the list. Setting either the first or the last element \
            of the list is O(1).",
        summary: "Sets the value of an element in a list by its index.",
        run: Run::Write(lset),
        ..ROW
    },
    Command {
        name: "linsert",
        arity: 5,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::INSERT))]),
        since: "2.2.0",
        complexity: "O(N) where N is the number of elements to traverse before seeing the value pivot. This \
            means that inserting somewhere on the left end on the list (head) can be considered O(1) and \
            inserting somewhere on the right end (tail) is O(N).",
        summary: "Inserts an element before or after another element in a list.",
        run: Run::Write(linsert),
        ..ROW
    },
    Command {
        name: "lrem",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "1.0.0",
        complexity: "O(N+M) where N is the length of the list and M is the number of elements removed.",
        summary: "Removes elements from a list. Deletes the list if the last element was removed.",
        run: Run::Write(lrem),
        ..ROW
    },
    Command {
        name: "ltrim",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "1.0.0",
        complexity: "O(N) where N is the number of elements to be removed by the operation.",
        summary: "Removes elements from both ends a list. Deletes the list if all elements were trimmed.",
        run: Run::Write(ltrim),
        ..ROW
    },
];

fn lset(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = set(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn set(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    let key = args.at(1);
    let list = list_of(ctx.get(key))?.ok_or(CommandError::NoSuchKey)?;
    let index = place(integer(args.at(2))?, list.len()).ok_or(CommandError::Other("index out of range"))?;
    Found::of(&list).splice(ctx, key, (index, 1), &[args.at(3)]);
    Ok(())
}

fn linsert(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, insert(ctx, args));
}

fn insert(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (key, pivot, element) = (args.at(1), args.at(3), args.at(4));
    let behind = match args.at(2) {
        word if word.eq_ignore_ascii_case(b"after") => 1,
        word if word.eq_ignore_ascii_case(b"before") => 0,
        _ => return Err(CommandError::Syntax),
    };
    let Some(list) = list_of(ctx.get(key))? else { return Ok(0) };
    let Some(index) = list.iter().position(|other| other == pivot) else { return Ok(-1) };
    let mut found = Found::of(&list);
    found.splice(ctx, key, (index + behind, 0), &[element]);
    Ok(found.len as i64)
}

fn lrem(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, remove(ctx, args));
}

fn remove(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (count, key) = (integer(args.at(2))?, args.at(1));
    let Some(list) = list_of(ctx.get(key))? else { return Ok(0) };
    let (mut found, runs) = (Found::of(&list), runs_of(&list, count, args.at(3)));
    let removed: usize = runs.iter().map(|(_, len)| len).sum();
    if removed == found.len {
        ctx.remove(key);
        return Ok(removed as i64);
    }
    // The last first: what stands before them keeps its index.
    for run in runs {
        found.splice(ctx, key, run, &[]);
    }
    Ok(removed as i64)
}

/// Where elements that are equal to `element` stand next to each other, and how many: the last run first. As many elements
/// as `count` says, from the right end if it is negative, all if it is zero.
fn runs_of(list: &ListRef<'_>, count: i64, element: &[u8]) -> Vec<(usize, usize)> {
    let wanted = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let len = list.len();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    if count < 0 {
        let places = (0..len).rev().zip(list.iter_back_from(usize::MAX));
        for (place, _) in places.filter(|(_, other)| *other == element).take(wanted) {
            match runs.last_mut() {
                Some((start, len)) if *start == place + 1 => (*start, *len) = (place, *len + 1),
                _ => runs.push((place, 1)),
            }
        }
    } else {
        let places = (0..len).zip(list.iter());
        for (place, _) in places.filter(|(_, other)| *other == element).take(wanted) {
            match runs.last_mut() {
                Some((start, len)) if *start + *len == place => *len += 1,
                _ => runs.push((place, 1)),
            }
        }
        runs.reverse();
    }
    runs
}

fn ltrim(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = trim(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn trim(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    let (start, end, key) = (integer(args.at(2))?, integer(args.at(3))?, args.at(1));
    let Some(list) = list_of(ctx.get(key))? else { return Ok(()) };
    let mut found = Found::of(&list);
    let kept = range(start, end, found.len);
    if kept.is_empty() {
        ctx.remove(key);
        return Ok(());
    }
    let behind = found.len - kept.end;
    for cut in [(kept.end, behind), (0, kept.start)] {
        if cut.1 > 0 {
            found.splice(ctx, key, cut, &[]);
        }
    }
    Ok(())
}
