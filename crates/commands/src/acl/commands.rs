//! The rows of ACL.

use super::{plan, show};
use crate::server::rows::{
    ADMIN, EMPTY, HELP_SUMMARY, LOADING_STALE, SESSION, reply_help, subcommand_syntax_error,
};
use crate::table::{Command, Run};

/// The container's row.
pub(crate) const ACL: Command = Command {
    name: "acl",
    arity: -2,
    since: "6.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for Access List Control commands.",
    subcommands: SUBCOMMANDS,
    ..EMPTY
};

const BASE: Command = Command { arity: 2, flags: SESSION, since: "6.0.0", ..EMPTY };
const OPERATOR: Command = Command { flags: ADMIN, ..BASE };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "acl|cat",
        arity: -2,
        complexity: "O(1) since the categories and commands are a fixed set.",
        summary: "Lists the ACL categories, or the commands inside a category.",
        run: Run::Session(show::cat),
        ..BASE
    },
    Command {
        name: "acl|deluser",
        arity: -3,
        complexity: "O(1) amortized time considering the typical user.",
        summary: "Deletes ACL users, and terminates their connections.",
        run: Run::Users(plan::delete_users),
        ..OPERATOR
    },
    Command {
        name: "acl|dryrun",
        arity: -4,
        since: "7.0.0",
        complexity: "O(1).",
        summary: "Simulates the execution of a command by a user, without executing the command.",
        run: Run::Session(show::dry_run),
        ..OPERATOR
    },
    Command {
        name: "acl|genpass",
        arity: -2,
        summary: "Generates a pseudorandom, secure password that can be used to identify ACL users.",
        run: Run::Session(show::genpass),
        ..BASE
    },
    Command {
        name: "acl|getuser",
        arity: 3,
        complexity: "O(N). Where N is the number of password, command and pattern rules that the user has.",
        summary: "Lists the ACL rules of a user.",
        run: Run::Session(show::get_user),
        ..OPERATOR
    },
    Command {
        name: "acl|help",
        flags: LOADING_STALE,
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "ACL", HELP)),
        ..BASE
    },
    Command {
        name: "acl|list",
        complexity: "O(N). Where N is the number of configured users.",
        summary: "Dumps the effective rules in ACL file format.",
        run: Run::Session(show::list),
        ..OPERATOR
    },
    Command {
        name: "acl|load",
        complexity: "O(N). Where N is the number of configured users.",
        summary: "Reloads the rules from the configured ACL file.",
        run: Run::Users(plan::load),
        ..OPERATOR
    },
    Command {
        name: "acl|log",
        arity: -2,
        complexity: "O(N) with N being the number of entries shown.",
        summary: "Lists recent security events generated due to ACL rules.",
        run: Run::Session(|ctx, args, reply| match args.len() {
            2 | 3 => show::log(ctx, args, reply),
            _ => reply.error(&subcommand_syntax_error("ACL", args.at(1))),
        }),
        ..OPERATOR
    },
    Command {
        name: "acl|save",
        complexity: "O(N). Where N is the number of configured users.",
        summary: "Saves the effective ACL rules in the configured ACL file.",
        run: Run::Session(|ctx, _, reply| match plan::save(ctx.host) {
            Ok(()) => reply.ok(),
            Err(text) => reply.error(&text),
        }),
        ..OPERATOR
    },
    Command {
        name: "acl|setuser",
        arity: -3,
        complexity: "O(N). Where N is the number of rules provided.",
        summary: "Creates and modifies an ACL user and its rules.",
        run: Run::Users(plan::set_user),
        ..OPERATOR
    },
    Command {
        name: "acl|users",
        complexity: "O(N). Where N is the number of configured users.",
        summary: "Lists all ACL users.",
        run: Run::Session(show::names),
        ..OPERATOR
    },
    Command {
        name: "acl|whoami",
        summary: "Returns the authenticated username of the current connection.",
        run: Run::Session(|ctx, _, reply| reply.bulk(ctx.session.user.name())),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOAD",
    "    Reload users from the ACL file.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "SAVE",
    "    Save the current config to the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
];
