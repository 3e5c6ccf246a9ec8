//! Scripts: EVAL and its forms, and SCRIPT.
//!
//! A script runs at the primary of its keys, on the node's engine ([`Run::Script`]), as one atomic step whose effects are one
//! record. EVALSHA is known by the node that is asked, which sends the script itself to the primary; SCRIPT LOAD and SCRIPT FLUSH run on every
//! node.

pub mod cache;

use crate::args::Args;
use crate::error::{CommandError, Outcome};
use crate::table::{Categories, Command, Flags, Group, KeyFlags, KeySpec, Keys, Run, Scripted};

/// What every row of the family has in common.
pub(crate) const ROW: Command =
    Command { categories: Categories::SCRIPTING, group: Group::Scripting, ..Command::BLANK };

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "eval",
        arity: -3,
        flags: Flags::NOSCRIPT
            .with(Flags::STALE)
            .with(Flags::SKIP_MONITOR)
            .with(Flags::NO_MANDATORY_KEYS)
            .with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::counted(2, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))
            .noted("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE")]),
        since: "2.6.0",
        complexity: "Depends on the script that is executed.",
        summary: "Executes a server-side Lua script.",
        run: Run::Script(Scripted::Eval),
        ..ROW
    },
    Command {
        name: "evalsha",
        arity: -3,
        flags: Flags::NOSCRIPT
            .with(Flags::STALE)
            .with(Flags::SKIP_MONITOR)
            .with(Flags::NO_MANDATORY_KEYS)
            .with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::counted(2, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "2.6.0",
        complexity: "Depends on the script that is executed.",
        summary: "Executes a server-side Lua script by SHA1 digest.",
        run: Run::Script(Scripted::EvalSha),
        ..ROW
    },
    Command {
        name: "eval_ro",
        arity: -3,
        flags: Flags::READONLY
            .with(Flags::NOSCRIPT)
            .with(Flags::STALE)
            .with(Flags::SKIP_MONITOR)
            .with(Flags::NO_MANDATORY_KEYS)
            .with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::counted(2, KeyFlags::RO.with(KeyFlags::ACCESS))
            .noted("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS")]),
        since: "7.0.0",
        complexity: "Depends on the script that is executed.",
        summary: "Executes a read-only server-side Lua script.",
        run: Run::Script(Scripted::EvalReadOnly),
        ..ROW
    },
    Command {
        name: "evalsha_ro",
        arity: -3,
        flags: Flags::READONLY
            .with(Flags::NOSCRIPT)
            .with(Flags::STALE)
            .with(Flags::SKIP_MONITOR)
            .with(Flags::NO_MANDATORY_KEYS)
            .with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::counted(2, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "7.0.0",
        complexity: "Depends on the script that is executed.",
        summary: "Executes a read-only server-side Lua script by SHA1 digest.",
        run: Run::Script(Scripted::EvalShaReadOnly),
        ..ROW
    },
];

impl Scripted {
    /// Whether the script is named by its digest instead of being there.
    pub fn is_by_digest(self) -> bool {
        matches!(self, Scripted::EvalSha | Scripted::EvalShaReadOnly)
    }

    /// Whether it must not write.
    pub fn is_read_only(self) -> bool {
        matches!(self, Scripted::EvalReadOnly | Scripted::EvalShaReadOnly)
    }
}

/// Several words of a command.
type Words<'a> = &'a [&'a [u8]];

/// The keys and the other arguments of EVAL and its forms (`evalGenericCommand` of Redis).
///
/// # Errors
/// When the number of keys is none, or there are not so many.
pub fn keys_and_arguments<'a>(args: Args<'a>) -> Outcome<(Words<'a>, Words<'a>)> {
    let count = crate::error::integer(args.at(2))?;
    let words = args.tail(3);
    if count < 0 {
        return Err(CommandError::Other("Number of keys can't be negative"));
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= words.len());
    let count = count.ok_or(CommandError::Other("Number of keys can't be greater than number of args"))?;
    Ok(words.split_at(count))
}
