//! OBJECT and MEMORY USAGE: what the store knows about one key. None of them counts as an access.

use super::ROW;
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer, integer};
use crate::session::SessionCtx;
use crate::table::{Categories, Command, Flags, Group, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;
use store::ValueRef;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "object",
    arity: -2,
    categories: Categories::NONE,
    since: "2.2.3",
    complexity: "Depends on subcommand.",
    summary: "A container for object introspection commands.",
    subcommands: SUBCOMMANDS,
    run: Run::Container,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "object|encoding",
        arity: 3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RO)]),
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Returns the internal encoding of a Redis object.",
        tips: &["nondeterministic_output"],
        run: Run::Read(encoding),
        ..ROW
    },
    Command {
        name: "object|freq",
        arity: 3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RO)]),
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Returns the logarithmic access frequency counter of a Redis object.",
        tips: &["nondeterministic_output"],
        run: Run::Read(freq),
        ..ROW
    },
    Command {
        name: "object|idletime",
        arity: 3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RO)]),
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Returns the time since the last access to a Redis object.",
        tips: &["nondeterministic_output"],
        run: Run::Read(idletime),
        ..ROW
    },
    Command {
        name: "object|refcount",
        arity: 3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(2, KeyFlags::RO)]),
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Returns the reference count of a value of a key.",
        tips: &["nondeterministic_output"],
        run: Run::Read(refcount),
        ..ROW
    },
    Command {
        name: "object|help",
        arity: 2,
        flags: Flags::LOADING.with(Flags::STALE),
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns helpful text about the different subcommands.",
        run: Run::Session(help),
        ..ROW
    },
];

/// The row of MEMORY USAGE, for the MEMORY container.
pub(crate) const MEMORY_USAGE: Command = Command {
    name: "memory|usage",
    arity: -3,
    flags: Flags::READONLY,
    keys: Keys(&[KeySpec::at(2, KeyFlags::RO)]),
    categories: Categories::NONE,
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(N) where N is the number of samples.",
    summary: "Estimates the memory usage of a key.",
    run: Run::Read(usage),
    ..ROW
};

/// Reference count that Redis reports for the small integers it shares.
const SHARED_REFERENCES: i64 = i32::MAX as i64;
/// Integers below this are shared in Redis.
const SHARED_INTEGERS: i64 = 10_000;

/// Replies of Redis 7.2 to OBJECT FREQ and OBJECT IDLETIME of a key that exists. The seconds of the last use are kept under LFU as well, but a
/// client that looks for the policy in force by the error is to find it.
const FREQUENCY_NOT_TRACKED: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
     Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
const IDLE_TIME_NOT_TRACKED: &str = "ERR An LFU maxmemory policy is selected, idle time not tracked. \
     Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";

fn encoding(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    match ctx.peek(args.at(2)) {
        None => reply.null(),
        Some(entry) => reply.bulk(entry.value().encoding().as_bytes()),
    }
}

fn freq(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    match ctx.peek(args.at(2)) {
        None => reply.null(),
        Some(_) if !ctx.policy.counts_frequency() => reply.error(FREQUENCY_NOT_TRACKED),
        Some(entry) => reply.integer(i64::from(entry.frequency())),
    }
}

fn idletime(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let now = ctx.now;
    match ctx.peek(args.at(2)) {
        None => reply.null(),
        Some(_) if ctx.policy.counts_frequency() => reply.error(IDLE_TIME_NOT_TRACKED),
        Some(entry) => reply.integer(i64::try_from(entry.idle_seconds(now)).unwrap_or(i64::MAX)),
    }
}

fn refcount(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    match ctx.peek(args.at(2)) {
        None => reply.null(),
        Some(entry) => {
            let shared = match entry.value() {
                ValueRef::String(string) => string.as_integer(),
                _ => None,
            };
            let shared = shared.is_some_and(|value| (0..SHARED_INTEGERS).contains(&value));
            reply.integer(if shared { SHARED_REFERENCES } else { 1 });
        }
    }
}

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

fn help(_ctx: &mut SessionCtx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) {
    reply.array(HELP.len());
    for line in HELP {
        reply.simple(line);
    }
}

fn usage(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = check_samples(args).map(|()| match ctx.peek(args.at(2)) {
        None => reply.null(),
        Some(entry) => reply.integer(i64::try_from(entry.memory_bytes()).unwrap_or(i64::MAX)),
    });
    answer(reply, outcome);
}

/// SAMPLES says how many elements of a collection to look at; the size of an entry is known without looking.
fn check_samples(args: Args<'_>) -> Outcome<()> {
    let mut words = args.tail(3).iter();
    while let Some(word) = words.next() {
        if !word.eq_ignore_ascii_case(b"samples") {
            return Err(CommandError::Syntax);
        }
        if integer(words.next().ok_or(CommandError::Syntax)?)? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    Ok(())
}
