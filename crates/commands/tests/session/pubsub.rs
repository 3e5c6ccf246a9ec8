//! Subscribing, publishing and the questions of PUBSUB.

use crate::double::Client;
use commands::pubsub::{message, pmessage, smessage};
use protocol::{Reply, Version};

#[test]
fn confirmations_in_resp2() {
    let mut client = Client::new();
    client.check(
        "SUBSCRIBE a a b",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n\
         *3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
    );
    client.check("PSUBSCRIBE x*", "*3\r\n$10\r\npsubscribe\r\n$2\r\nx*\r\n:3\r\n");
    client.check("SSUBSCRIBE s", "*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n");
    client.check("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    client.check("PING x", "*2\r\n$4\r\npong\r\n$1\r\nx\r\n");
    for (line, name) in [("CLIENT ID", "client|id"), ("echo a", "echo")] {
        client.check(
            line,
            &format!(
                "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                 allowed in this context\r\n"
            ),
        );
    }
    client.check(
        "UNSUBSCRIBE",
        "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n",
    );
    client.check("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:1\r\n");
    client.check("UNSUBSCRIBE nosuch", "*3\r\n$11\r\nunsubscribe\r\n$6\r\nnosuch\r\n:1\r\n");
    client.check("PUNSUBSCRIBE x*", "*3\r\n$12\r\npunsubscribe\r\n$2\r\nx*\r\n:0\r\n");
    client.check("SUNSUBSCRIBE s", "*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n");
    client.check("SUNSUBSCRIBE", "*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n");
    client.check("PING", "+PONG\r\n");
    assert!(client.host.subscriptions.is_empty());
}

#[test]
fn confirmations_in_resp3_leave_the_client_free() {
    let mut client = Client::resp3();
    client.check("SUBSCRIBE a", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    client.check("PING", "+PONG\r\n");
    client.check("CLIENT ID", ":7\r\n");
    client.check("UNSUBSCRIBE", ">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n");
    client.check("PUNSUBSCRIBE", ">3\r\n$12\r\npunsubscribe\r\n_\r\n:0\r\n");
}

#[test]
fn messages() {
    let write = |version, write: &dyn Fn(&mut Reply<'_>)| {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, version));
        String::from_utf8(out).expect("text")
    };
    let plain = |reply: &mut Reply<'_>| message(reply, b"c", b"hi");
    assert_eq!(write(Version::Resp2, &plain), "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
    assert_eq!(write(Version::Resp3, &plain), ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
    let pattern = |reply: &mut Reply<'_>| pmessage(reply, b"c*", b"c", b"hi");
    assert_eq!(
        write(Version::Resp3, &pattern),
        ">4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$1\r\nc\r\n$2\r\nhi\r\n"
    );
    let shard = |reply: &mut Reply<'_>| smessage(reply, b"c", b"hi");
    assert_eq!(write(Version::Resp2, &shard), "*3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
}

#[test]
fn publishing_reaches_this_nodes_subscribers() {
    let mut client = Client::resp3();
    client.check("PUBLISH news hi", ":0\r\n");
    client.send("SUBSCRIBE news");
    client.send("PSUBSCRIBE n* x*");
    client.send("SSUBSCRIBE news");
    client.check("PUBLISH news hi", ":2\r\n");
    client.check("SPUBLISH news yo", ":1\r\n");
    let delivered: Vec<String> =
        client.host.delivered.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
    assert_eq!(
        delivered,
        [
            "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n",
            "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n",
            "*3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$2\r\nyo\r\n",
        ]
    );
}

#[test]
fn questions() {
    let mut client = Client::resp3();
    client.send("SUBSCRIBE ab ac b");
    client.send("PSUBSCRIBE a*");
    client.send("SSUBSCRIBE s1");
    client.check("PUBSUB CHANNELS", "*3\r\n$2\r\nab\r\n$2\r\nac\r\n$1\r\nb\r\n");
    client.check("PUBSUB channels a*", "*2\r\n$2\r\nab\r\n$2\r\nac\r\n");
    client.check("PUBSUB SHARDCHANNELS", "*1\r\n$2\r\ns1\r\n");
    client.check("PUBSUB NUMSUB ab zz", "*4\r\n$2\r\nab\r\n:1\r\n$2\r\nzz\r\n:0\r\n");
    client.check("PUBSUB NUMSUB", "*0\r\n");
    client.check("PUBSUB SHARDNUMSUB s1", "*2\r\n$2\r\ns1\r\n:1\r\n");
    client.check("PUBSUB NUMPAT", ":1\r\n");
    client.check("PUBSUB NUMPAT x", "-ERR wrong number of arguments for 'pubsub|numpat' command\r\n");
    client.check("PUBSUB nosuch", "-ERR unknown subcommand 'nosuch'. Try PUBSUB HELP.\r\n");
    assert!(client.send("PUBSUB HELP").starts_with(
        "*14\r\n+PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+CHANNELS [<pattern>]\r\n"
    ));
}
