//! ACL: what real servers answer to random rules, and the commands that show and change users.
//!
//! `acl_vectors.txt` holds sequences of rules (`>`, words apart by tabs) for a new user `u` with what a real server makes of
//! them: its error (`!`), or the line of `ACL LIST` (`=`) in Redis 7.2's form, and answers of `ACL DRYRUN` (`?`).

use crate::double::Client;
use commands::session::Session;

const VECTORS: &str = include_str!("acl_vectors.txt");

#[test]
fn rules_mean_what_they_mean_in_redis() {
    let (mut client, mut count) = (Client::new(), 0);
    let mut rules: Vec<&[u8]> = Vec::new();
    for (number, line) in (1..).zip(VECTORS.lines()) {
        let (kind, rest) = line.split_once(' ').expect("a kind");
        let mut bulk = |words: &[&[u8]]| client.run(words);
        match kind {
            ">" => {
                bulk(&[b"ACL", b"DELUSER", b"u"]);
                rules = rest.split('\t').map(str::as_bytes).collect();
                count += 1;
            }
            "!" => {
                let words = [&[&b"ACL"[..], b"SETUSER", b"u"], &rules[..]].concat();
                assert_eq!(bulk(&words), format!("-{rest}\r\n"), "line {number}");
            }
            "=" => {
                let words = [&[&b"ACL"[..], b"SETUSER", b"u"], &rules[..]].concat();
                assert_eq!(bulk(&words), "+OK\r\n", "line {number}");
                let list = bulk(&[b"ACL", b"LIST"]);
                let expected = format!("user u {rest}\r\n");
                assert!(list.ends_with(&expected), "line {number}: {rest}\n{list}");
            }
            _ => {
                let (command, expected) = rest.split_once('\t').expect("an answer");
                let mut words: Vec<&[u8]> = vec![b"ACL", b"DRYRUN", b"u"];
                words.extend(command.split(' ').map(str::as_bytes));
                let answer = bulk(&words);
                let text = answer.lines().last().unwrap_or_default().trim_start_matches('+');
                assert_eq!(text, expected, "line {number}: {command}");
            }
        }
    }
    assert!(count > 200, "{count} sequences");
}

#[test]
fn users_are_shown() {
    let mut client = Client::new();
    client.check("ACL LIST", "*1\r\n$51\r\nuser default on nopass sanitize-payload ~* &* +@all\r\n");
    client.check("ACL GETUSER nobody", "$-1\r\n");
    client.check("ACL SETUSER u on >pw ~k +get (%R~x &c -@all)", "+OK\r\n");
    client.check("ACL USERS", "*2\r\n$7\r\ndefault\r\n$1\r\nu\r\n");
    let digest = "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4";
    let expected = |map: &str, set: &str, inner: &str| {
        format!(
            "{map}\r\n$5\r\nflags\r\n{set}\r\n$2\r\non\r\n$16\r\nsanitize-payload\r\n$9\r\npasswords\r\n*1\r\n$64\r\n\
             {digest}\r\n$8\r\ncommands\r\n$10\r\n-@all +get\r\n$4\r\nkeys\r\n$2\r\n~k\r\n$8\r\nchannels\r\n$0\r\n\r\n\
             $9\r\nselectors\r\n*1\r\n{inner}\r\n$8\r\ncommands\r\n$5\r\n-@all\r\n$4\r\nkeys\r\n$4\r\n%R~x\r\n\
             $8\r\nchannels\r\n$2\r\n&c\r\n"
        )
    };
    client.check("ACL GETUSER u", &expected("*12", "*2", "*6"));
    client.session.version = protocol::Version::Resp3;
    client.check("ACL GETUSER u", &expected("%6", "~2", "%3"));
    client.check("ACL GETUSER nobody", "_\r\n");
}

#[test]
fn users_are_deleted_but_for_the_default_one() {
    let mut client = Client::new();
    client.check("ACL SETUSER a", "+OK\r\n");
    client.check("ACL SETUSER b", "+OK\r\n");
    client.check("ACL DELUSER a default", "-ERR The 'default' user cannot be removed\r\n");
    client.check("ACL DELUSER a a nobody b", ":2\r\n");
    client.check("ACL USERS", "*1\r\n$7\r\ndefault\r\n");
    client.check("ACL DRYRUN a get x", "-ERR User 'a' not found\r\n");
    client.check("ACL DRYRUN default nosuch x", "-ERR Command 'nosuch' not found\r\n");
    client.check("ACL DRYRUN default get", "-ERR wrong number of arguments for 'get' command\r\n");
    client.check("ACL DRYRUN default get x", "+OK\r\n");
}

#[test]
fn authentication_as_a_user() {
    let mut client = Client::new();
    client.check("ACL SETUSER alice on >secret", "+OK\r\n");
    client.check("ACL SETUSER bob nopass", "+OK\r\n");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    client.check("AUTH alice wrong", wrong);
    client.check("AUTH bob x", wrong);
    client.check("AUTH alice secret", "+OK\r\n");
    client.check("ACL WHOAMI", "$5\r\nalice\r\n");
    client.check("HELLO 2 AUTH nobody x", wrong);
    client.check("RESET", "+RESET\r\n");
    client.check("ACL WHOAMI", "$7\r\ndefault\r\n");
    let log = client.send("ACL LOG");
    assert!(log.starts_with("*3\r\n*20\r\n$5\r\ncount\r\n:1\r\n$6\r\nreason\r\n$4\r\nauth\r\n"), "{log}");
    assert!(log.contains("$7\r\ncontext\r\n$8\r\ntoplevel\r\n$6\r\nobject\r\n$5\r\nHELLO\r\n"), "{log}");
    assert!(
        log.contains("$8\r\nusername\r\n$6\r\nnobody\r\n$11\r\nage-seconds\r\n$1\r\n0\r\n$11\r\nclient-info"),
        "{log}"
    );
    assert!(client.send("ACL LOG 1").starts_with("*1\r\n"));
    client.check("ACL LOG -1", "*0\r\n");
    client.check("ACL LOG x", "-ERR value is not an integer or out of range\r\n");
    client.check("ACL LOG RESET", "+OK\r\n");
    client.check("ACL LOG", "*0\r\n");
}

#[test]
fn users_in_a_file() {
    let mut client = Client::new();
    let no_file = client.send("ACL LOAD");
    assert!(
        no_file.starts_with("-ERR This Redis instance is not configured to use an ACL file."),
        "{no_file}"
    );
    assert_eq!(client.send("ACL SAVE"), no_file);
    client.host.file = Some(b"user alice on >pw ~* +@all\nuser bob off\n".to_vec());
    client.check("ACL SETUSER carol on", "+OK\r\n");
    client.check("ACL LOAD", "+OK\r\n");
    client.check("ACL USERS", "*3\r\n$5\r\nalice\r\n$3\r\nbob\r\n$7\r\ndefault\r\n");
    client.check("ACL DELUSER bob", ":1\r\n");
    client.check("ACL SAVE", "+OK\r\n");
    let saved = String::from_utf8(client.host.file.clone().expect("a file")).expect("text");
    assert_eq!(saved.lines().count(), 2, "{saved}");
    client.host.file = Some(b"user x +nosuch".to_vec());
    client.check(
        "ACL LOAD",
        "-ERR users.acl:1: Error in applying operation '+nosuch': Unknown command or category name in ACL. \
         WARNING: ACL errors detected, no change to the previously active ACL rules was performed\r\n",
    );
}

#[test]
fn a_session_begins_as_the_default_user() {
    let mut client = Client::new();
    client.host.set_password(b"x");
    let user = client.host.users.default_user().clone();
    let session = Session::new(1, String::new(), String::new(), client.host.clock.mono(), user);
    assert!(!session.authenticated);
    client.check("ACL SETUSER default off nopass", "+OK\r\n");
    assert!(!client.host.users.default_user().is_open());
}
