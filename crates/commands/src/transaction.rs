//! The rows and texts of transactions, and of WAIT.
//!
//! The connection executes these: a queue of commands, the versions of watched keys and waiting for replicas are
//! its business. The words a client reads are kept here, next to the rows.

use crate::server::rows::{EMPTY, SESSION};
use crate::table::{Categories, Command, Flags, Group, KeyFlags, KeySpec, Keys, Run};

/// Reply to a command that waits for EXEC.
pub const QUEUED: &str = "QUEUED";
/// MULTI inside MULTI; the transaction goes on.
pub const MULTI_NESTED: &str = "ERR MULTI calls can not be nested";
/// WATCH inside MULTI; the transaction goes on.
pub const WATCH_INSIDE_MULTI: &str = "ERR WATCH inside MULTI is not allowed";
/// EXEC outside a transaction.
pub const EXEC_WITHOUT_MULTI: &str = "ERR EXEC without MULTI";
/// DISCARD outside a transaction.
pub const DISCARD_WITHOUT_MULTI: &str = "ERR DISCARD without MULTI";
/// EXEC after a command that could not be queued.
pub const EXEC_ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";
/// Begins the reply to an EXEC that is refused for its words: it ends the transaction all the same.
pub const EXEC_REFUSED: &str = "EXECABORT Transaction discarded because of: ";
/// A command with the flag NO_MULTI inside a transaction.
pub const NOT_IN_TRANSACTION: &str = "ERR Command not allowed inside a transaction";
/// WAIT's timeout is not a number.
pub const TIMEOUT_NOT_AN_INTEGER: &str = "ERR timeout is not an integer or out of range";
/// WAIT's timeout is below zero.
pub const TIMEOUT_NEGATIVE: &str = "ERR timeout is negative";

const TRANSACTION: Flags = SESSION.with(Flags::FAST).with(Flags::ALLOW_BUSY);
const BASE: Command = Command {
    group: Group::Transactions,
    categories: Categories::TRANSACTION,
    flags: TRANSACTION,
    run: Run::Connection,
    ..EMPTY
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "discard",
        since: "2.0.0",
        complexity: "O(N), when N is the number of queued commands",
        summary: "Discards a transaction.",
        ..BASE
    },
    Command {
        name: "exec",
        flags: SESSION.with(Flags::SKIP_SLOWLOG),
        since: "1.2.0",
        complexity: "Depends on commands in the transaction",
        summary: "Executes all commands in a transaction.",
        ..BASE
    },
    Command { name: "multi", since: "1.2.0", summary: "Starts a transaction.", ..BASE },
    Command {
        name: "unwatch",
        since: "2.2.0",
        summary: "Forgets about watched keys of a transaction.",
        ..BASE
    },
    Command {
        name: "watch",
        arity: -2,
        keys: Keys(&[KeySpec::from(1, 1, KeyFlags::RO)]),
        since: "2.2.0",
        complexity: "O(1) for every key.",
        summary: "Monitors changes to keys to determine the execution of a transaction.",
        ..BASE
    },
    Command {
        name: "wait",
        arity: 3,
        flags: Flags::BLOCKING,
        group: Group::Generic,
        categories: Categories::CONNECTION,
        since: "3.0.0",
        summary: "Blocks until the asynchronous replication of all preceding write commands sent by the \
                  connection is completed.",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        ..BASE
    },
];
