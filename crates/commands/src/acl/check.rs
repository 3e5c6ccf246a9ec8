//! Whether a user may run a command: the one place that decides it, for whoever runs commands for users.
//!
//! What a command touches is taken from its row once, and each selector is asked for the whole command. If none allows
//! it, the error is about what got furthest: a channel before a key before the command, as in Redis's
//! `ACLCheckAllUserCommandPerm`.

use super::selector::{Access, ChannelUse, KeyUse, Reason};
use super::user::User;
use crate::args::Args;
use crate::flags::KeyFlags;
use crate::session::{ChannelKind, Subscriptions};
use crate::table::Command;

/// A command that is not allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// What it is about: the command's name, a key or a channel.
    pub object: Vec<u8>,
    /// The command's full name.
    command: &'static str,
}

/// Whether a user may run a command, whose words are complete.
#[inline]
pub fn check_command(user: &User, command: &Command, args: Args<'_>) -> Result<(), Denial> {
    if user.is_unrestricted() { Ok(()) } else { check(user, command, args) }
}

#[cold]
fn check(user: &User, command: &Command, args: Args<'_>) -> Result<(), Denial> {
    let (keys, channels) = (keys_of(command, args), channels_of(command, args));
    let mut worst = (Reason::Command, 0);
    for selector in user.all_selectors() {
        match selector.check(command, args, &keys, &channels) {
            Ok(()) => return Ok(()),
            Err(found) => worst = worst.max(found),
        }
    }
    let (reason, at) = worst;
    let object = match reason {
        Reason::Command | Reason::Auth => command.name.as_bytes().to_vec(),
        Reason::Key | Reason::Channel => args.get(at).unwrap_or_default().to_vec(),
    };
    Err(Denial { reason, object, command: command.name })
}

fn keys_of(command: &Command, args: Args<'_>) -> Vec<KeyUse> {
    command.keys_with_flags(args).map(|(index, flags)| (index, access_of(command, args, flags))).collect()
}

/// What is done with a key; for some commands that depends on their words.
fn access_of(command: &Command, args: Args<'_>, flags: KeyFlags) -> Access {
    let mut access = Access::of(flags);
    if flags.has(KeyFlags::VARIABLE_FLAGS) {
        match command.name {
            "set" => access.read = (3..args.len()).any(|at| args.is(at, "get")),
            "bitfield" => access.write = !only_reads(args),
            _ => {}
        }
    }
    access
}

/// Whether a BITFIELD has nothing but GET and OVERFLOW.
fn only_reads(args: Args<'_>) -> bool {
    let mut at = 2;
    while at < args.len() {
        let more = args.len() - at - 1;
        at += match () {
            () if args.is(at, "get") && more >= 2 => 3,
            () if args.is(at, "overflow") && more >= 1 => 2,
            () => return false,
        };
    }
    true
}

/// The channels that a command publishes on or subscribes to. To end a subscription nothing is needed.
fn channels_of(command: &Command, args: Args<'_>) -> Vec<ChannelUse> {
    match command.name {
        "publish" | "spublish" => vec![(1, false)],
        "subscribe" | "ssubscribe" => (1..args.len()).map(|index| (index, false)).collect(),
        "psubscribe" => (1..args.len()).map(|index| (index, true)).collect(),
        _ => Vec::new(),
    }
}

/// Whether a connection must end because its user, now `user`, may no longer listen to what it has subscribed to.
pub fn outlives_subscriptions(user: &User, subscriptions: &Subscriptions) -> bool {
    let allows = |name: &[u8], is_pattern| user.all_selectors().any(|it| it.allows_channel(name, is_pattern));
    [ChannelKind::Channel, ChannelKind::Pattern, ChannelKind::Shard]
        .into_iter()
        .all(|kind| subscriptions.names(kind).iter().all(|name| allows(name, kind == ChannelKind::Pattern)))
}

/// Whether a word of a command is, or may be, a secret that must not be logged.
pub fn is_secret(command: &Command, args: Args<'_>, index: usize) -> bool {
    match command.name {
        "auth" => index >= 1,
        "acl|setuser" => index >= 2,
        "hello" => (2..args.len()).any(|at| args.is(at, "auth") && (at + 1..=at + 2).contains(&index)),
        "config|set" => index >= 3 && args.is(index - 1, "requirepass"),
        _ => false,
    }
}

impl Denial {
    /// The error of a command that was refused (`NOPERM ...`).
    pub fn error(&self, user: &User) -> String {
        match self.reason {
            Reason::Command | Reason::Auth => format!("NOPERM {}", self.explain(user)),
            Reason::Key => "NOPERM No permissions to access a key".to_owned(),
            Reason::Channel => "NOPERM No permissions to access a channel".to_owned(),
        }
    }

    /// What `ACL DRYRUN` answers.
    pub fn explain(&self, user: &User) -> String {
        let (name, object) = (String::from_utf8_lossy(user.name()), String::from_utf8_lossy(&self.object));
        match self.reason {
            Reason::Command | Reason::Auth => {
                format!("User {name} has no permissions to run the '{}' command", self.command)
            }
            Reason::Key => format!("User {name} has no permissions to access the '{object}' key"),
            Reason::Channel => format!("User {name} has no permissions to access the '{object}' channel"),
        }
    }

    /// The error in EXEC of a command that was allowed when it was queued.
    pub fn error_in_exec(&self) -> String {
        let reason = match self.reason {
            Reason::Command => "no permission to execute the command or subcommand",
            Reason::Key => "no permission to touch the specified keys",
            Reason::Channel => "no permission to access one of the channels used as arguments to the command",
            Reason::Auth => "no permission",
        };
        format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: {reason}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, line: &str, expected: &str) {
        let mut user = User::new(b"u", false);
        for rule in rules.split(';') {
            user.apply(rule.as_bytes(), false).expect(rule);
        }
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = crate::table::find(Args::new(&words)).expect(line);
        let outcome = check_command(&user, command, Args::new(&words));
        let text = outcome.map_or_else(|denial| denial.explain(&user), |()| "OK".to_owned());
        assert_eq!(text, expected, "{rules}: {line}");
    }

    #[test]
    fn keys_by_what_is_done_with_them() {
        let denied = |key: &str| format!("User u has no permissions to access the '{key}' key");
        check("+@all;~a*", "get a1", "OK");
        check("+@all;~a*", "mget a1 b1", &denied("b1"));
        check("+@all;%R~a", "get a", "OK");
        check("+@all;%R~a", "set a 1", &denied("a"));
        check("+@all;%W~a", "set a 1", "OK");
        check("+@all;%W~a", "set a 1 get", &denied("a"));
        check("+@all;%R~a;%W~b", "copy a b", "OK");
        check("+@all;%R~a;%W~b", "copy b a", &denied("b"));
        check("+@all;%R~a", "bitfield a get u8 0", "OK");
        check("+@all;%R~a", "bitfield a set u8 0 1", &denied("a"));
        check("+@all", "exists a", &denied("a"));
        check("+@all;%R~a", "exists a", "OK");
        check("+@all", "ping", "OK");
    }

    #[test]
    fn commands_and_channels() {
        let command = |name: &str| format!("User u has no permissions to run the '{name}' command");
        let channel = |name: &str| format!("User u has no permissions to access the '{name}' channel");
        check("~*", "get a", &command("get"));
        check("~*", "config get a", &command("config|get"));
        check("+config|get", "config get a", "OK");
        check("off", "auth x", "OK");
        check("+@all;&news.*", "publish news.a x", "OK");
        check("+@all;&news.*", "subscribe news.a other", &channel("other"));
        check("+@all;&news.*", "psubscribe news.*", "OK");
        check("+@all;&news.*", "psubscribe news.a*", &channel("news.a*"));
        check("+@all;&news.*", "ssubscribe news.a", "OK");
        check("+@all", "unsubscribe other", "OK");
    }

    #[test]
    fn secrets_are_known() {
        let check = |line: &str, secret: &[usize]| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let (args, command) = (Args::new(&words), crate::table::find(Args::new(&words)).expect(line));
            let found: Vec<usize> =
                (0..words.len()).filter(|index| is_secret(command, args, *index)).collect();
            assert_eq!(found, secret, "{line}");
        };
        check("auth u p", &[1, 2]);
        check("acl setuser u >p", &[2, 3]);
        check("hello 3 auth u p setname n", &[3, 4]);
        check("config set maxmemory 1 requirepass p", &[5]);
        check("get auth", &[]);
    }

    #[test]
    fn one_selector_allows_the_whole_command() {
        check("+get;~a;(+set ~b)", "set b 1", "OK");
        check("+get;~a;(+set ~b)", "set a 1", "User u has no permissions to access the 'a' key");
        check("+get;~a;(+set ~b)", "del a", "User u has no permissions to run the 'del' command");
    }
}
