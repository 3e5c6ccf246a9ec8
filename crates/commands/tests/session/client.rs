//! CLIENT.

use crate::double::Client;
use commands::host::{Pause, Unblock};
use commands::session::ReplyMode;
use std::time::Duration;

const SYNTAX: &str = "-ERR syntax error\r\n";

#[test]
fn names() {
    let mut client = Client::new();
    client.check("CLIENT ID", ":7\r\n");
    client.check("CLIENT GETNAME", "$-1\r\n");
    client.check("CLIENT SETNAME foo", "+OK\r\n");
    client.check("CLIENT GETNAME", "$3\r\nfoo\r\n");
    assert_eq!(
        client.run(&[b"CLIENT", b"SETNAME", b"a b"]),
        "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
    );
    client.check("CLIENT SETNAME \"\"", "+OK\r\n");
    client.check("CLIENT GETNAME", "$-1\r\n");
    client.check("CLIENT SETINFO LIB-NAME redis-py(x)", "+OK\r\n");
    client.check("CLIENT SETINFO lib-ver 5.0", "+OK\r\n");
    client.check("CLIENT SETINFO foo 5.0", "-ERR Unrecognized option 'foo'\r\n");
    assert_eq!(
        client.run(&[b"CLIENT", b"SETINFO", b"lib-ver", b"a b"]),
        "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n"
    );
    assert_eq!(
        (&client.session.lib_name[..], &client.session.lib_ver[..]),
        (&b"redis-py(x)"[..], &b"5.0"[..])
    );
}

#[test]
fn a_line_has_every_field() {
    let mut client = Client::resp3();
    client.host.clock.advance(Duration::from_secs(61));
    client.send("CLIENT SETNAME me");
    client.send("CLIENT SETINFO LIB-NAME lib");
    let line = "id=7 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=-1 name=me age=61 idle=0 flags=N db=0 sub=0 psub=0 \
                ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 \
                events=r cmd=client|info user=default redir=-1 resp=3 lib-name=lib lib-ver=\n";
    client.check("CLIENT INFO", &format!("={}\r\ntxt:{line}\r\n", line.len() + 4));
    client.session.version = protocol::Version::Resp2;
    let line = line.replace("resp=3", "resp=2");
    client.check("CLIENT INFO", &format!("${}\r\n{line}\r\n", line.len()));
}

#[test]
fn list_chooses() {
    let mut client = Client::resp3();
    client.host.connect(2);
    client.host.connect(9).blocked = true;
    let ids = |text: String| -> Vec<String> {
        text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(ids(client.text("CLIENT LIST")), ["id=2", "id=7", "id=9"]);
    assert_eq!(ids(client.text("CLIENT LIST ID 9 2 33")), ["id=2", "id=9"]);
    client.send("SUBSCRIBE a");
    assert_eq!(ids(client.text("CLIENT LIST TYPE PUBSUB")), ["id=7"]);
    assert_eq!(ids(client.text("client list type normal")), ["id=2", "id=9"]);
    client.check("CLIENT LIST TYPE replica", "=4\r\ntxt:\r\n");
    assert!(client.text("CLIENT LIST ID 9").contains(" flags=b "));
    client.check("CLIENT LIST TYPE x", "-ERR Unknown client type 'x'\r\n");
    client.check("CLIENT LIST ID x", "-ERR Invalid client ID\r\n");
    client.check("CLIENT LIST foo", SYNTAX);
}

#[test]
fn kill_in_both_forms() {
    let mut client = Client::new();
    for id in [1, 2, 3, 4] {
        client.host.connect(id);
    }
    client.check("CLIENT KILL 1.1.1.1:1", "-ERR No such client\r\n");
    client.check("CLIENT KILL 10.0.0.1:1000", "+OK\r\n");
    client.check("CLIENT KILL ID 2", ":1\r\n");
    client.check("CLIENT KILL ID 2", ":0\r\n");
    client.check("CLIENT KILL TYPE pubsub", ":0\r\n");
    client.check("CLIENT KILL ADDR 10.0.0.3:1000 USER default", ":1\r\n");
    client.check("CLIENT KILL MAXAGE 60", ":0\r\n");
    client.host.clock.advance(Duration::from_secs(60));
    client.host.connect(5);
    client.check("CLIENT KILL MAXAGE 60 SKIPME yes", ":1\r\n");
    assert_eq!(client.host.others.keys().collect::<Vec<_>>(), [&5]);
    assert!(!client.session.close_after_reply);
    client.check("CLIENT KILL LADDR 127.0.0.1:6379 SKIPME no", ":2\r\n");
    assert!(client.session.close_after_reply);
}

#[test]
fn kill_refuses() {
    let mut client = Client::new();
    client.check("CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n");
    client.check("CLIENT KILL ID x", "-ERR client-id should be greater than 0\r\n");
    client.check("CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'\r\n");
    client.check("CLIENT KILL USER foo", "-ERR No such user 'foo'\r\n");
    client.check("CLIENT KILL foo bar", SYNTAX);
    client.check("CLIENT KILL ID 1 SKIPME foo", SYNTAX);
    client.check("CLIENT KILL ID 1 USER", SYNTAX);
    client.check("CLIENT KILL MAXAGE x", "-ERR maxage is not an integer or out of range\r\n");
    client.check("CLIENT KILL ID", "-ERR No such client\r\n");
}

#[test]
fn killing_oneself_in_the_old_form() {
    let mut client = Client::new();
    client.check("CLIENT KILL 127.0.0.1:50000", "+OK\r\n");
    assert!(client.session.close_after_reply);
}

#[test]
fn pause_and_unblock() {
    let mut client = Client::new();
    client.check("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range\r\n");
    client.check("CLIENT PAUSE -1", "-ERR timeout is negative\r\n");
    client.check("CLIENT PAUSE 1 foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n");
    client.check("CLIENT PAUSE 100 WRITE", "+OK\r\n");
    let until = client.host.clock.mono() + Duration::from_millis(100);
    assert_eq!(client.host.paused, Some((until, Pause::Write)));
    client.check("CLIENT PAUSE 50", "+OK\r\n");
    assert_eq!(client.host.paused, Some((until, Pause::All)));
    client.check("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!(client.host.paused, None);
    client.host.connect(9).blocked = true;
    client.check("CLIENT UNBLOCK 8", ":0\r\n");
    client.check("CLIENT UNBLOCK 9 ERROR", ":1\r\n");
    client.check("CLIENT UNBLOCK 9", ":0\r\n");
    assert_eq!(client.host.unblocked, [(9, Unblock::Error)]);
    client.check("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range\r\n");
    client.check("CLIENT UNBLOCK 1 foo", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n");
    client.check(
        "CLIENT UNBLOCK 1 timeout x",
        "-ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.\r\n",
    );
}

#[test]
fn switches() {
    let mut client = Client::new();
    client.check("CLIENT NO-EVICT ON", "+OK\r\n");
    client.check("CLIENT NO-TOUCH on", "+OK\r\n");
    assert!(client.session.no_evict && client.session.no_touch);
    assert!(client.text("CLIENT INFO").contains(" flags=eT "));
    client.check("CLIENT NO-EVICT x", SYNTAX);
    client.check("CLIENT NO-TOUCH x", SYNTAX);
    client.check("CLIENT NO-TOUCH OFF", "+OK\r\n");
    assert!(!client.session.no_touch);
    client.check("CLIENT REPLY SKIP", "");
    assert_eq!(client.session.reply_mode, ReplyMode::SkipNext);
    client.check("CLIENT REPLY OFF", "");
    client.check("CLIENT REPLY SKIP", "");
    assert_eq!(client.session.reply_mode, ReplyMode::Off);
    client.check("CLIENT REPLY ON", "+OK\r\n");
    client.check("CLIENT REPLY x", SYNTAX);
    client.check("CLIENT nosuch", "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n");
    client.check("CLIENT", "-ERR wrong number of arguments for 'client' command\r\n");
}

#[test]
fn tracking_is_off() {
    let mut client = Client::new();
    client.check(
        "CLIENT TRACKINGINFO",
        "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n",
    );
    client.session.version = protocol::Version::Resp3;
    client.check(
        "CLIENT TRACKINGINFO",
        "%3\r\n$5\r\nflags\r\n~1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n",
    );
    client.check("CLIENT TRACKING OFF", "+OK\r\n");
    client.check("CLIENT TRACKING ON", "-ERR CLIENT TRACKING ON is not supported by this server\r\n");
    client.check("CLIENT TRACKING foo", SYNTAX);
    client.check("CLIENT GETREDIR", ":-1\r\n");
    client.check(
        "CLIENT CACHING yes",
        "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
         enabled\r\n",
    );
}
