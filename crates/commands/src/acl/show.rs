//! The commands of ACL that only look: who is there, what they may do, what was refused; and passwords to use.

use super::check::check_command;
use super::selector::{Form, Selector};
use super::users;
use crate::args::Args;
use crate::flags::Categories;
use crate::server::rows::{NOT_AN_INTEGER, subcommand_syntax_error};
use crate::session::SessionCtx;
use crate::table::{self, FindError};
use protocol::Reply;

/// Bits of a password when none are asked for.
const PASSWORD_BITS: i64 = 256;
/// Most bits of a password, as in Redis.
const PASSWORD_BITS_MAX: i64 = 4_096;
/// Entries that `ACL LOG` shows when no number is given.
const LOG_COUNT: i64 = 10;

/// `ACL CAT [category]`.
pub(super) fn cat(_: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
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
pub(super) fn genpass(_: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
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

/// `ACL USERS`.
pub(super) fn names(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let users = ctx.host.users();
    reply.array(users.iter().len());
    users.iter().for_each(|user| reply.bulk(user.name()));
}

/// `ACL LIST`.
pub(super) fn list(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let users = ctx.host.users();
    reply.array(users.iter().len());
    users.iter().for_each(|user| reply.bulk(&users::line(user)));
}

/// `ACL GETUSER name`.
pub(super) fn get_user(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let users = ctx.host.users();
    let Some(user) = users.get(args.at(2)) else { return reply.null() };
    reply.map(6);
    reply.bulk(b"flags");
    reply.set(user.flags().count());
    user.flags().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    user.passwords().iter().for_each(|digest| reply.bulk(digest.to_string().as_bytes()));
    write_selector(user.root(), reply);
    reply.bulk(b"selectors");
    reply.array(user.selectors().len());
    for selector in user.selectors() {
        reply.map(3);
        write_selector(selector, reply);
    }
}

fn write_selector(selector: &Selector, reply: &mut Reply<'_>) {
    reply.bulk(b"commands");
    reply.bulk(&selector.commands.describe());
    reply.bulk(b"keys");
    reply.bulk(&selector.describe_keys(Form::Shown));
    reply.bulk(b"channels");
    reply.bulk(&selector.describe_channels());
}

/// `ACL LOG [count | RESET]`.
pub(super) fn log(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.is(2, "reset") {
        ctx.host.acl_log(&mut super::AclLog::clear);
        return reply.ok();
    }
    let count = match args.get(2).map(protocol::parse_i64) {
        None => LOG_COUNT,
        Some(Some(count)) => count,
        Some(None) => return reply.error(NOT_AN_INTEGER),
    };
    let (count, now) = (usize::try_from(count).unwrap_or(0), ctx.host.wall());
    ctx.host.acl_log(&mut |log| log.write(count, now, reply));
}

/// `ACL DRYRUN name command [argument ...]`.
pub(super) fn dry_run(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let users = ctx.host.users();
    let Some(user) = users.get(args.at(2)) else {
        return reply.error(&format!("ERR User '{}' not found", String::from_utf8_lossy(args.at(2))));
    };
    let words = Args::new(args.tail(3));
    match table::find(words) {
        Err(arity @ FindError::Arity(_)) => reply.error(&arity.to_string()),
        Err(_) => reply.error(&format!("ERR Command '{}' not found", String::from_utf8_lossy(words.name()))),
        Ok(command) => match check_command(user, command, words) {
            Ok(()) => reply.ok(),
            Err(denial) => reply.bulk(denial.explain(user).as_bytes()),
        },
    }
}
