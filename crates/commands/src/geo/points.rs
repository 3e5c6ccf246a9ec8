//! GEOADD, and what is asked of single members.

use super::area::distance;
use super::{Position, ROW, cell, reply_distance, reply_position, unit};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, answer_integer};
use crate::sorted_set::add::{Conditions, add};
use crate::sorted_set::{Scored, sorted_set_of};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "geoadd",
        arity: -5,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "3.2.0",
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds one or more members to a geospatial index. The key is created if it doesn't exist.",
        run: Run::Write(geoadd),
        ..ROW
    },
    Command {
        name: "geodist",
        arity: -4,
        complexity: "O(1)",
        summary: "Returns the distance between two members of a geospatial index.",
        run: Run::Read(geodist),
        ..READ
    },
    Command {
        name: "geohash",
        arity: -2,
        complexity: "O(1) for each member requested.",
        summary: "Returns members from a geospatial index as geohash strings.",
        run: Run::Read(geohash),
        ..READ
    },
    Command {
        name: "geopos",
        arity: -2,
        complexity: "O(1) for each member requested.",
        summary: "Returns the longitude and latitude of members from a geospatial index.",
        run: Run::Read(geopos),
        ..READ
    },
];

const READ: Command = Command {
    flags: Flags::READONLY,
    keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
    since: "3.2.0",
    ..ROW
};

fn geoadd(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, add_positions(ctx, args));
}

fn add_positions(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (mut conditions, mut with_changed) = (Conditions::default(), false);
    let mut words = args.tail(2);
    while let Some((word, rest)) = words.split_first() {
        if word.eq_ignore_ascii_case(b"nx") {
            conditions.only_new = true;
        } else if word.eq_ignore_ascii_case(b"xx") {
            conditions.only_existing = true;
        } else if word.eq_ignore_ascii_case(b"ch") {
            with_changed = true;
        } else {
            break;
        }
        words = rest;
    }
    let contradicts = conditions.only_new && conditions.only_existing;
    if contradicts || words.is_empty() || !words.len().is_multiple_of(3) {
        return Err(CommandError::Syntax);
    }
    let mut elements: Vec<Scored<'_>> = Vec::with_capacity(words.len() / 3);
    for triple in words.chunks_exact(3) {
        let position = Position::parse(triple[0], triple[1])?;
        elements.push((cell::score_of(position), triple[2]));
    }
    Ok(add(ctx, args.at(1), &elements, conditions)?.count(with_changed))
}

fn geodist(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show_distance(ctx, args, reply);
    answer(reply, outcome);
}

fn show_distance(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let metres = match args.tail(4) {
        [] => 1.0,
        [word] => unit(word)?,
        _ => return Err(CommandError::Syntax),
    };
    let positions = sorted_set_of(ctx.get(args.at(1)))?
        .and_then(|set| Some((Position::of_member(set, args.at(2))?, Position::of_member(set, args.at(3))?)));
    match positions {
        None => reply.null(),
        Some((from, to)) => reply_distance(reply, distance(from, to) / metres),
    }
    Ok(())
}

fn geohash(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show_each(ctx, args, reply, |reply, position| match position {
        Some(position) => reply.bulk(&cell::text_of(position)),
        None => reply.null(),
    });
    answer(reply, outcome);
}

fn geopos(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = show_each(ctx, args, reply, |reply, position| match position {
        Some(position) => reply_position(reply, position),
        None => reply.null_array(),
    });
    answer(reply, outcome);
}

fn show_each(
    ctx: &mut ReadCtx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    show: fn(&mut Reply<'_>, Option<Position>),
) -> Outcome<()> {
    let set = sorted_set_of(ctx.get(args.at(1)))?;
    let members = args.tail(2);
    reply.array(members.len());
    for member in members {
        show(reply, set.and_then(|set| Position::of_member(set, member)));
    }
    Ok(())
}
