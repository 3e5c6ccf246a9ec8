//! What the rows of the session, server and cluster families have in common.
//!
//! Rows are written as struct literals over [`EMPTY`], so that a row states what is particular to it; the flag sets
//! that Redis gives whole families are named here once.

use crate::table::{Categories, Command, Flags, Group, Keys, Run};
use protocol::Reply;

/// A row with everything at its least; never in the table itself.
pub(crate) const EMPTY: Command = Command {
    name: "",
    arity: 1,
    flags: Flags::NONE,
    keys: Keys::NONE,
    categories: Categories::NONE,
    group: Group::Server,
    since: "",
    complexity: "O(1)",
    summary: "",
    tips: &[],
    subcommands: &[],
    run: Run::Container,
};

/// Always allowed, also while loading.
pub(crate) const LOADING_STALE: Flags = Flags::LOADING.with(Flags::STALE);
/// The same, and fast.
pub(crate) const LOADING_STALE_FAST: Flags = LOADING_STALE.with(Flags::FAST);
/// Of the connection: not in scripts.
pub(crate) const SESSION: Flags = LOADING_STALE.with(Flags::NOSCRIPT);
/// An operator's.
pub(crate) const ADMIN: Flags = SESSION.with(Flags::ADMIN);
/// Allowed before authentication.
pub(crate) const OPEN: Flags = SESSION.with(Flags::FAST).with(Flags::NO_AUTH).with(Flags::ALLOW_BUSY);

/// The summary of every HELP row.
pub(crate) const HELP_SUMMARY: &str = "Returns helpful text about the different subcommands.";

/// The tip of commands whose reply differs from one call to the next.
pub(crate) const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];
/// The tip of commands whose reply comes in no particular order.
pub(crate) const NONDETERMINISTIC_ORDER: &[&str] = &["nondeterministic_output_order"];
/// Tips of commands that smart clients send to every shard or node.
pub(crate) const ALL_NODES_SUCCEED: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
/// Tips of reports that make sense for each node by itself.
pub(crate) const ALL_NODES_SPECIAL: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
/// The same by shard.
pub(crate) const ALL_SHARDS_SPECIAL: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

/// Error for options that do not parse.
pub(crate) const SYNTAX_ERROR: &str = "ERR syntax error";
/// Error for what should be a number.
pub(crate) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

/// Writes the reply of `container HELP` as Redis's `addReplyHelp`: a heading, the lines, and the entry of HELP.
pub(crate) fn reply_help(reply: &mut Reply<'_>, container: &str, lines: &[&str]) {
    reply.array(lines.len() + 3);
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines.iter().chain(&["HELP", "    Prints this help."]) {
        reply.simple(line);
    }
}

/// The error of a subcommand that has the wrong number or kind of words, as Redis's `addReplySubcommandSyntaxError`.
pub(crate) fn subcommand_syntax_error(container: &str, word: &[u8]) -> String {
    let word = String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned();
    format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP.")
}
