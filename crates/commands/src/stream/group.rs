//! XGROUP: consumer groups and their consumers.

use super::{ROW, change, ids, stream_of, subcommand_syntax};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::session::SessionCtx;
use crate::table::{Categories, Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::{StreamChange, StreamId};
use protocol::Reply;
use store::{Group, Stream};

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "xgroup",
    arity: -2,
    categories: Categories::NONE,
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for consumer groups commands.",
    subcommands: SUBCOMMANDS,
    run: Run::Container,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "xgroup|create",
        arity: -5,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(2, KeyFlags::RW.with(KeyFlags::INSERT))]),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Creates a consumer group.",
        run: Run::Write(create),
        ..ROW
    },
    Command {
        name: "xgroup|createconsumer",
        arity: 5,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(2, KeyFlags::RW.with(KeyFlags::INSERT))]),
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Creates a consumer in a consumer group.",
        run: Run::Write(create_consumer),
        ..ROW
    },
    Command {
        name: "xgroup|delconsumer",
        arity: 5,
        flags: Flags::WRITE,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Deletes a consumer from a consumer group.",
        run: Run::Write(delete_consumer),
        ..ROW
    },
    Command {
        name: "xgroup|destroy",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "5.0.0",
        complexity: "O(N) where N is the number of entries in the group's pending entries list (PEL).",
        summary: "Destroys a consumer group.",
        run: Run::Write(destroy),
        ..ROW
    },
    Command {
        name: "xgroup|help",
        arity: 2,
        flags: Flags::LOADING.with(Flags::STALE),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns helpful text about the different subcommands.",
        run: Run::Session(help),
        ..ROW
    },
    Command {
        name: "xgroup|setid",
        arity: -5,
        flags: Flags::WRITE,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Sets the last-delivered ID of a consumer group.",
        run: Run::Write(set_id),
        ..ROW
    },
];

/// The options of CREATE and SETID.
#[derive(Default)]
struct Options {
    makes: bool,
    read: Option<u64>,
}

impl Options {
    fn parse(args: Args<'_>, creates: bool) -> Outcome<Options> {
        let mut options = Options::default();
        let mut words = args.tail(5).iter().peekable();
        while let Some(word) = words.next() {
            if creates && word.eq_ignore_ascii_case(b"mkstream") {
                options.makes = true;
            } else if word.eq_ignore_ascii_case(b"entriesread") && words.peek().is_some() {
                let number = integer(words.next().copied().unwrap_or_default())?;
                if number < -1 {
                    return Err(CommandError::Other("value for ENTRIESREAD must be positive or -1"));
                }
                options.read = u64::try_from(number).ok();
            } else {
                return Err(syntax(args));
            }
        }
        Ok(options)
    }
}

fn syntax(args: Args<'_>) -> CommandError {
    subcommand_syntax("XGROUP", args.at(1))
}

const MISSING: CommandError = CommandError::Other(
    "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
    option to create an empty stream automatically.",
);

/// The group that the words name, which has to be there.
fn group_of<'s>(stream: Option<&'s Stream>, args: Args<'_>) -> Outcome<&'s Group> {
    stream.ok_or(MISSING)?.group(args.at(3)).ok_or_else(|| no_such_group(args.at(2), args.at(3)))
}

/// The error of commands that look at a group of a stream which is there.
pub(super) fn no_such_group(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    CommandError::NoGroup(format!("No such consumer group '{group}' for key name '{key}'"))
}

fn create(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = create_group(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn create_group(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    let (key, group) = (args.at(2), args.at(3));
    let options = Options::parse(args, true)?;
    let stream = stream_of(ctx.get(key))?;
    if stream.is_none() && !options.makes {
        return Err(MISSING);
    }
    if args.len() > 8 {
        return Err(syntax(args));
    }
    let last = match args.at(4) {
        b"$" => stream.map_or(StreamId::MIN, Stream::last_id),
        word => ids::exact(word)?,
    };
    match stream {
        Some(stream) if stream.group(group).is_some() => {
            return Err(CommandError::Bare("BUSYGROUP Consumer Group name already exists"));
        }
        Some(_) => {}
        None => ctx.bury_expired(key),
    }
    change(ctx, key, StreamChange::PutGroup { group, last, read: options.read });
    Ok(())
}

fn set_id(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = set_group_id(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn set_group_id(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    let (key, group) = (args.at(2), args.at(3));
    let options = Options::parse(args, false)?;
    let stream = stream_of(ctx.get(key))?;
    group_of(stream, args)?;
    if args.len() > 7 {
        return Err(syntax(args));
    }
    let last = match args.at(4) {
        b"$" => stream.map_or(StreamId::MIN, Stream::last_id),
        word => ids::bound(word, 0)?,
    };
    change(ctx, key, StreamChange::PutGroup { group, last, read: options.read });
    Ok(())
}

fn destroy(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, destroy_group(ctx, args));
}

fn destroy_group(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (key, group) = (args.at(2), args.at(3));
    let is_there = stream_of(ctx.get(key))?.ok_or(MISSING)?.group(group).is_some();
    if is_there {
        change(ctx, key, StreamChange::RemoveGroup { group });
    }
    Ok(i64::from(is_there))
}

fn create_consumer(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, add_consumer(ctx, args));
}

fn add_consumer(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (now, key, group, consumer) = (ctx.now, args.at(2), args.at(3), args.at(4));
    let stream = stream_of(ctx.get(key))?;
    let is_new = group_of(stream, args)?.consumer(consumer).is_none();
    if is_new {
        change(ctx, key, StreamChange::PutConsumer { group, consumer, seen: now, active: None });
    }
    Ok(i64::from(is_new))
}

fn delete_consumer(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, remove_consumer(ctx, args));
}

fn remove_consumer(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (key, group, consumer) = (args.at(2), args.at(3), args.at(4));
    let stream = stream_of(ctx.get(key))?;
    let Some(found) = group_of(stream, args)?.consumer(consumer) else { return Ok(0) };
    let pending = found.pending_len();
    change(ctx, key, StreamChange::RemoveConsumer { group, consumer });
    Ok(pending as i64)
}

const HELP: &[&str] = &[
    "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
    "HELP",
    "    Print this help.",
];

fn help(_ctx: &mut SessionCtx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) {
    reply.array(HELP.len());
    HELP.iter().for_each(|line| reply.simple(line));
}
