//! MONITOR: what is written to whoever listens to the commands of a node. Who listens is the node's business.

use super::rows::{ADMIN, EMPTY};
use crate::args::Args;
use crate::table::{Command, Flags, Run};
use std::io::Write;
use stdx::Wall;

/// MONITOR where nothing may wait: in a transaction.
pub const DENIED: &str = "ERR MONITOR isn't allowed for DENY BLOCKING client";
/// A command on keys from a client that listens, worded as for a replica, which Redis takes it for.
pub const NO_KEYS: &str = "ERR Replica can't interact with the keyspace";

/// What stands for a word that is a secret.
const REDACTED: &[u8] = b"(redacted)";

/// The row.
pub(super) const MONITOR: Command = Command {
    name: "monitor",
    flags: ADMIN,
    since: "1.0.0",
    summary: "Listens for all requests received by the server in real-time.",
    run: Run::Connection,
    ..EMPTY
};

/// Whether commands of this kind are shown.
pub fn shows(command: &Command) -> bool {
    !command.flags.has_any(Flags::ADMIN.with(Flags::SKIP_MONITOR))
}

/// Whether a client that listens may run it.
pub fn allows(command: &Command) -> bool {
    !command.flags.has_any(Flags::WRITE.with(Flags::READONLY).with(Flags::MAY_REPLICATE))
}

/// The line about a command: when, from whom, and its words, secrets left out.
pub fn line(now: Wall, db: u8, addr: &str, args: Args<'_>) -> Vec<u8> {
    let (seconds, micros) = (now.0 / 1_000, now.0 % 1_000 * 1_000);
    let mut line = format!("+{seconds}.{micros:06} [{db} {addr}]").into_bytes();
    for (at, word) in args.iter().enumerate() {
        line.extend_from_slice(b" \"");
        escape(if is_secret(args, at) { REDACTED } else { word }, &mut line);
        line.push(b'"');
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// Passwords, and the names that go with them.
fn is_secret(args: Args<'_>, at: usize) -> bool {
    if args.is(0, "auth") {
        return at > 0;
    }
    let behind = |back: usize| at >= 2 + back && args.is(at - back, "auth");
    args.is(0, "hello") && (behind(1) || behind(2))
}

/// As Redis's `sdscatrepr`.
fn escape(word: &[u8], out: &mut Vec<u8>) {
    for byte in word {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            _ => write!(out, "\\x{byte:02x}").expect("a vector takes everything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&[u8]], expected: &str) {
        let line = line(Wall(1_795_818_497_235), 3, "127.0.0.1:34190", Args::new(words));
        let expected = format!("+1795818497.235000 [3 127.0.0.1:34190] {expected}\r\n");
        assert_eq!(line.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
    }

    #[test]
    fn lines_are_those_of_redis() {
        check(&[b"set", b"k", b"a b"], r#""set" "k" "a b""#);
        check(&[b"a\0\x01\n\r\t\x07\x08\"\\\xff"], r#""a\x00\x01\n\r\t\a\b\"\\\xff""#);
        check(&[b"AUTH", b"user", b"secret"], r#""AUTH" "(redacted)" "(redacted)""#);
        check(
            &[b"HELLO", b"2", b"AUTH", b"user", b"secret", b"SETNAME", b"y"],
            r#""HELLO" "2" "AUTH" "(redacted)" "(redacted)" "SETNAME" "y""#,
        );
        check(&[b"HELLO", b"auth"], r#""HELLO" "auth""#);
        check(&[b"GET", b"auth", b"x"], r#""GET" "auth" "x""#);
    }
}
