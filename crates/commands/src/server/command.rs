//! COMMAND: the table about itself, in the forms that client libraries load at start-up.
//!
//! Everything is derived from the rows. Subcommands are nested in their container here, as Redis prints them, though
//! the table joins them flat. Descriptions of arguments (`arguments` of COMMAND DOCS) are not kept.

use super::rows::{
    EMPTY, HELP_SUMMARY, LOADING_STALE, NONDETERMINISTIC_ORDER, SYNTAX_ERROR, reply_help,
    subcommand_syntax_error,
};
use crate::args::Args;
use crate::flags::{Categories, KeyFlags};
use crate::glob;
use crate::session::SessionCtx;
use crate::table::{self, Command, Find, KeySpec, Keys, Run, lookup, lookup_subcommand};
use protocol::Reply;

const BASE: Command =
    Command { arity: -2, flags: LOADING_STALE, categories: Categories::CONNECTION, ..EMPTY };

/// The row of COMMAND; without a subcommand it lists everything.
pub(super) const COMMAND: Command = Command {
    name: "command",
    arity: -1,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Returns detailed information about all commands.",
    tips: NONDETERMINISTIC_ORDER,
    subcommands: SUBCOMMANDS,
    run: Run::Session(|_, _, reply| every_info(reply)),
    ..BASE
};

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "command|count",
        arity: 2,
        since: "2.8.13",
        summary: "Returns a count of commands.",
        run: Run::Session(|_, _, reply| reply.integer(table::table().count() as i64)),
        ..BASE
    },
    Command {
        name: "command|docs",
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Returns documentary information about one, multiple or all commands.",
        tips: NONDETERMINISTIC_ORDER,
        run: Run::Session(docs),
        ..BASE
    },
    Command {
        name: "command|getkeys",
        arity: -3,
        since: "2.8.13",
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Extracts the key names from an arbitrary command.",
        run: Run::Session(|_, args, reply| keys(args, false, reply)),
        ..BASE
    },
    Command {
        name: "command|getkeysandflags",
        arity: -3,
        since: "7.0.0",
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Extracts the key names and access flags for an arbitrary command.",
        run: Run::Session(|_, args, reply| keys(args, true, reply)),
        ..BASE
    },
    Command {
        name: "command|help",
        arity: 2,
        since: "5.0.0",
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "COMMAND", HELP)),
        ..BASE
    },
    Command {
        name: "command|info",
        since: "2.8.13",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Returns information about one, multiple or all commands.",
        tips: NONDETERMINISTIC_ORDER,
        run: Run::Session(info),
        ..BASE
    },
    Command {
        name: "command|list",
        since: "7.0.0",
        complexity: "O(N) where N is the total number of Redis commands",
        summary: "Returns a list of command names.",
        tips: NONDETERMINISTIC_ORDER,
        run: Run::Session(list),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
];

fn every_info(reply: &mut Reply<'_>) {
    reply.array(table::table().count());
    for command in table::table() {
        write_info(reply, command);
    }
}

/// `COMMAND INFO [name ...]`: null for a name that is none.
fn info(_: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() == 2 {
        return every_info(reply);
    }
    reply.array(args.len() - 2);
    for name in args.tail(2) {
        match lookup(name) {
            Some(command) => write_info(reply, command),
            None => reply.null(),
        }
    }
}

/// The ten fields of a command. Flags and categories are simple strings, as in Redis.
fn write_info(reply: &mut Reply<'_>, command: &Command) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    simple_set(reply, command.flags.names().map(str::to_owned));
    let (first, last, step) = command.keys.legacy();
    for number in [first, last, step] {
        reply.integer(i64::from(number));
    }
    simple_set(reply, command.acl().names().map(|name| format!("@{name}")));
    reply.set(command.tips.len());
    for tip in command.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(command.keys.specs().len());
    for spec in command.keys.specs() {
        write_key_spec(reply, spec);
    }
    reply.set(command.subcommands.len());
    for subcommand in command.subcommands {
        write_info(reply, subcommand);
    }
}

fn simple_set(reply: &mut Reply<'_>, names: impl Iterator<Item = String>) {
    let names: Vec<String> = names.collect();
    reply.set(names.len());
    for name in &names {
        reply.simple(name);
    }
}

fn write_key_spec(reply: &mut Reply<'_>, spec: &KeySpec) {
    reply.map(3 + usize::from(!spec.notes.is_empty()));
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    simple_set(reply, spec.flags.names().map(str::to_owned));
    if matches!(spec.find, Find::Option { .. } | Find::Nowhere) {
        for step in ["begin_search", "find_keys"] {
            write_step(reply, step, "unknown");
            reply.map(0);
        }
        return;
    }
    let first = i64::from(spec.first);
    let (begin, find, numbers) = match spec.find {
        // The last is counted from the first key, or from the end if negative.
        Find::Range { last, step } => {
            let last = i64::from(last);
            let last = if last < 0 { last } else { last - first };
            ("index", "range", [("lastkey", last), ("keystep", i64::from(step)), ("limit", 0)])
        }
        Find::Counted => ("index", "keynum", [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)]),
        Find::Keyword { one: true, .. } => {
            ("keyword", "range", [("lastkey", 0), ("keystep", 1), ("limit", 0)])
        }
        Find::Keyword { one: false, .. } => {
            ("keyword", "range", [("lastkey", -1), ("keystep", 1), ("limit", 2)])
        }
        Find::Option { .. } | Find::Nowhere => return,
    };
    write_step(reply, "begin_search", begin);
    match spec.find {
        Find::Keyword { word, .. } => {
            reply.map(2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
        }
        _ => {
            reply.map(1);
            reply.bulk(b"index");
        }
    }
    reply.integer(first);
    write_step(reply, "find_keys", find);
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(number);
    }
}

/// Up to the specification of one step in finding keys.
fn write_step(reply: &mut Reply<'_>, step: &str, how: &str) {
    reply.bulk(step.as_bytes());
    reply.map(2);
    for word in ["type", how, "spec"] {
        reply.bulk(word.as_bytes());
    }
}

/// `COMMAND DOCS [name ...]`: names that are none are left out.
fn docs(_: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let commands: Vec<&Command> = match args.len() {
        2 => table::table().collect(),
        _ => args.tail(2).iter().filter_map(|name| lookup(name)).collect(),
    };
    reply.map(commands.len());
    for command in commands {
        write_docs(reply, command);
    }
}

fn write_docs(reply: &mut Reply<'_>, command: &Command) {
    reply.bulk(command.name.as_bytes());
    let fields = [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ];
    reply.map(fields.len() + usize::from(!command.subcommands.is_empty()));
    for (name, text) in fields {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        for subcommand in command.subcommands {
            write_docs(reply, subcommand);
        }
    }
}

/// `COMMAND LIST [FILTERBY MODULE name|ACLCAT category|PATTERN pattern]`; with a filter, subcommands are listed too.
fn list(_: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let names: Vec<&str> = if args.len() == 2 {
        table::table().map(|command| command.name).collect()
    } else if args.len() == 5 && args.is(2, "filterby") {
        let value = args.at(4);
        let rows = table::all().iter();
        if args.is(3, "module") {
            // There are no modules.
            Vec::new()
        } else if args.is(3, "aclcat") {
            let category = Categories::from_name(value);
            let within = |command: &&Command| category.is_some_and(|category| command.acl().has(category));
            rows.filter(within).map(|command| command.name).collect()
        } else if args.is(3, "pattern") {
            rows.map(|command| command.name)
                .filter(|name| glob::matches_ignoring_case(value, name.as_bytes()))
                .collect()
        } else {
            return reply.error(SYNTAX_ERROR);
        }
    } else if args.is(2, "filterby") && args.len() > 5 {
        return reply.error(&subcommand_syntax_error("COMMAND", args.at(1)));
    } else {
        return reply.error(SYNTAX_ERROR);
    };
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
}

/// `COMMAND GETKEYS command [arg ...]` and `COMMAND GETKEYSANDFLAGS command [arg ...]`.
fn keys(args: Args<'_>, with_flags: bool, reply: &mut Reply<'_>) {
    let words = Args::new(args.tail(2));
    let Some(command) = find_leaf(words) else { return reply.error("ERR Invalid command specified") };
    let specs: Vec<&'static KeySpec> =
        command.keys.specs().iter().filter(|spec| !spec.flags.has(KeyFlags::NOT_KEY)).collect();
    if specs.is_empty() {
        return reply.error("ERR The command has no key arguments");
    }
    if !command.accepts(words.len()) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    let found: Vec<(usize, &KeySpec)> = specs
        .into_iter()
        .flat_map(|spec| {
            let only = Command { keys: Keys(std::slice::from_ref(spec)), ..*command };
            only.key_positions(words).map(move |at| (at, spec)).collect::<Vec<_>>()
        })
        .collect();
    let is_complete = |spec: &KeySpec| found.iter().any(|(_, other)| std::ptr::eq(*other, spec));
    // A number of keys that is none, or more than there are words.
    let counted = command.keys.specs().iter().filter(|spec| matches!(spec.find, Find::Counted));
    if found.is_empty() || !counted.into_iter().all(is_complete) {
        return reply.error("ERR Invalid arguments specified for command");
    }
    reply.array(found.len());
    for (at, spec) in found {
        if with_flags {
            reply.array(2);
        }
        reply.bulk(words.at(at));
        if with_flags {
            simple_set(reply, flags_of(command, words, spec).names().map(str::to_owned));
        }
    }
}

/// What a command does to a key where that depends on its options.
fn flags_of(command: &Command, words: Args<'_>, spec: &KeySpec) -> KeyFlags {
    let has = |names: &[&str]| (2..words.len()).any(|at| names.iter().any(|name| words.is(at, name)));
    match command.name {
        "set" if !has(&["GET"]) => KeyFlags::OW.with(KeyFlags::UPDATE),
        "set" => KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE),
        "bitfield" if only_gets(words.tail(2)) => KeyFlags::RO.with(KeyFlags::ACCESS),
        "bitfield" => KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE),
        _ => spec.flags,
    }
}

/// Whether the subcommands of BITFIELD only read, as far as they are well formed (db.c: `bitfieldGetKeys`).
fn only_gets(mut words: &[&[u8]]) -> bool {
    while let Some((name, rest)) = words.split_first() {
        let arguments = match () {
            () if name.eq_ignore_ascii_case(b"get") => 2,
            () if name.eq_ignore_ascii_case(b"overflow") => 1,
            () => return false,
        };
        let Some(after) = rest.get(arguments..) else { return false };
        words = after;
    }
    true
}

/// The row for the words of a command, whatever their number.
fn find_leaf(words: Args<'_>) -> Option<&'static Command> {
    let command = lookup(words.name())?;
    match words.get(1) {
        Some(word) if !command.subcommands.is_empty() => lookup_subcommand(command, word),
        _ => Some(command),
    }
}
