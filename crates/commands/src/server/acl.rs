//! The part of ACL that needs no rules: who am I, who is there, what the categories hold, and passwords to use.

use super::rows::{ADMIN, subcommand_syntax_error};
use super::rows::{EMPTY, HELP_SUMMARY, LOADING_STALE, NOT_AN_INTEGER, SESSION, reply_help};
use crate::args::Args;
use crate::flags::Categories;
use crate::session::SessionCtx;
use crate::table::{self, Command, Run};
use protocol::Reply;

/// Bits of a password when none are asked for.
const PASSWORD_BITS: i64 = 256;
/// Most bits of a password, as in Redis.
const PASSWORD_BITS_MAX: i64 = 4_096;

/// The container's row.
pub(super) const ACL: Command = Command {
    name: "acl",
    arity: -2,
    since: "6.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for Access List Control commands.",
    subcommands: SUBCOMMANDS,
    ..EMPTY
};

const BASE: Command = Command { arity: 2, flags: SESSION, since: "6.0.0", ..EMPTY };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "acl|cat",
        arity: -2,
        complexity: "O(1) since the categories and commands are a fixed set.",
        summary: "Lists the ACL categories, or the commands inside a category.",
        run: Run::Session(cat),
        ..BASE
    },
    Command {
        name: "acl|genpass",
        arity: -2,
        summary: "Generates a pseudorandom, secure password that can be used to identify ACL users.",
        run: Run::Session(genpass),
        ..BASE
    },
    Command {
        name: "acl|help",
        flags: LOADING_STALE,
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "ACL", HELP)),
        ..BASE
    },
    Command {
        name: "acl|users",
        flags: ADMIN,
        complexity: "O(N). Where N is the number of configured users.",
        summary: "Lists all ACL users.",
        run: Run::Session(users),
        ..BASE
    },
    Command {
        name: "acl|whoami",
        summary: "Returns the authenticated username of the current connection.",
        run: Run::Session(|ctx, _, reply| reply.bulk(ctx.session.user.as_bytes())),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
];

/// `ACL CAT [category]`.
fn cat(_: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() > 3 {
        return reply.error(&subcommand_syntax_error("ACL", args.at(1)));
    }
    let Some(name) = args.get(2) else {
        reply.array(Categories::ALL.len());
        return Categories::ALL.iter().for_each(|(_, name)| reply.bulk(name.as_bytes()));
    };
    let Some(category) = Categories::from_name(name) else {
        return reply.error(&format!("ERR Unknown category '{}'", String::from_utf8_lossy(name)));
    };
    let within = table::all().iter().filter(|command| command.acl().has(category));
    reply.array(within.clone().count());
    within.for_each(|command| reply.bulk(command.name.as_bytes()));
}

/// `ACL GENPASS [bits]`: hexadecimal digits, rounded up to a whole one.
fn genpass(_: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() > 3 {
        return reply.error(&subcommand_syntax_error("ACL", args.at(1)));
    }
    let bits = match args.get(2).map(protocol::parse_i64) {
        None => PASSWORD_BITS,
        Some(Some(bits)) if (1..=PASSWORD_BITS_MAX).contains(&bits) => bits,
        Some(Some(_)) => {
            return reply.error(
                "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up \
                 to 4096",
            );
        }
        Some(None) => return reply.error(NOT_AN_INTEGER),
    };
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    stdx::random::entropy(&mut bytes);
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    reply.bulk(text.as_bytes());
}

fn users(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let users = ctx.host.users();
    reply.array(users.len());
    for user in &users {
        reply.bulk(user.as_bytes());
    }
}
