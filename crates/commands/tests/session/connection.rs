//! HELLO, AUTH, PING, ECHO, SELECT, QUIT, RESET, READONLY, READWRITE, ASKING.

use crate::double::Client;
use protocol::Version;

const HELLO3: &str = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n\
                      $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";

#[test]
fn hello_switches_versions() {
    let mut client = Client::new();
    client.check("HELLO 3", HELLO3);
    assert_eq!(client.session.version, Version::Resp3);
    client.check("HELLO", HELLO3);
    let resp2 = HELLO3.replace("%7", "*14").replace(":3", ":2");
    client.check("hello 2 setname worker", &resp2);
    assert_eq!(client.session.name, b"worker");
}

#[test]
fn hello_refuses() {
    let mut client = Client::new();
    client.check("HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    client.check("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n");
    client.check("HELLO 3 foo", "-ERR Syntax error in HELLO option 'foo'\r\n");
    client.check("HELLO 3 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'\r\n");
    client.check(
        "HELLO 3 SETNAME a\nb",
        "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
    );
    client.check("HELLO 3 AUTH who p", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    assert_eq!(client.session.version, Version::Resp2);
}

#[test]
fn authentication() {
    let mut client = Client::new();
    client.check(
        "AUTH pw",
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
         configuration is correct?\r\n",
    );
    client.check("AUTH default anything", "+OK\r\n");
    client.host.set_password(b"secret");
    client.session.authenticated = false;
    client.check(
        "HELLO 3",
        "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
         <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n",
    );
    client.check("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    assert!(!client.session.authenticated);
    client.check("AUTH a b c", "-ERR syntax error\r\n");
    client.check("HELLO 3 AUTH default secret", HELLO3);
    assert!(client.session.authenticated);
    client.session.authenticated = false;
    client.check("AUTH secret", "+OK\r\n");
    assert!(client.session.authenticated);
}

#[test]
fn ping_echo_select_quit() {
    let mut client = Client::new();
    client.check("PING", "+PONG\r\n");
    client.check("ping hi", "$2\r\nhi\r\n");
    client.check("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n");
    client.check("ECHO \"\"", "$0\r\n\r\n");
    client.check("SELECT 15", "+OK\r\n");
    assert_eq!(client.session.db, 15);
    client.check("SELECT 16", "-ERR DB index is out of range\r\n");
    client.check("SELECT -1", "-ERR DB index is out of range\r\n");
    client.check("SELECT abc", "-ERR value is not an integer or out of range\r\n");
    client.check(
        "SELECT 99999999999",
        "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
    );
    assert_eq!(client.session.db, 15);
    client.check("QUIT", "+OK\r\n");
    assert!(client.session.close_after_reply);
}

#[test]
fn cluster_flags_of_a_connection() {
    let mut client = Client::new();
    client.check("READONLY", "+OK\r\n");
    assert!(client.session.readonly);
    client.check("READWRITE", "+OK\r\n");
    assert!(!client.session.readonly);
    client.check("ASKING", "+OK\r\n");
    assert!(client.session.asking);
}

#[test]
fn reset_forgets_everything_but_the_library() {
    let mut client = Client::new();
    client.send("HELLO 3 SETNAME me");
    for line in ["CLIENT SETINFO lib-name lib", "SELECT 3", "SUBSCRIBE a", "PSUBSCRIBE b*", "SSUBSCRIBE c"] {
        client.send(line);
    }
    client.session.in_multi = true;
    client.session.multi_len = 2;
    client.session.watching = 1;
    client.host.set_password(b"x");
    client.check("RESET", "+RESET\r\n");
    let session = &client.session;
    assert!(session.name.is_empty() && session.db == 0 && session.version == Version::Resp2);
    assert!(!session.in_multi && session.multi_len == 0 && session.watching == 0);
    assert!(!session.authenticated, "a password is wanted again");
    assert_eq!(session.lib_name, b"lib");
    assert_eq!(session.subscriptions.total(), 0);
    assert!(client.host.subscriptions.is_empty());
}
