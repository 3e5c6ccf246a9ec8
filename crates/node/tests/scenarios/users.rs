//! Users: changed on one node and in force on all of them, checked wherever a command can run.

use crate::harness::client::{code, text};
use crate::harness::{Cluster, Setup};
use std::time::Duration;

fn cluster(seed: u64) -> Cluster {
    Cluster::settled(Setup { seed, ..Setup::default() })
}

#[test]
fn a_user_is_on_every_node_when_it_is_confirmed() {
    let mut cluster = cluster(1);
    let admin = cluster.connect(0);
    cluster.check(admin, "ACL SETUSER alice on >pw ~a* +get +set +ping", "OK");
    for node in 0..3 {
        let client = cluster.connect(node);
        cluster.check(client, "AUTH alice pw", "OK");
        cluster.check(
            client,
            "ACL WHOAMI",
            "-NOPERM User alice has no permissions to run the 'acl|whoami' command",
        );
        cluster.check(client, "SET a1 x", "OK");
        cluster.check(client, "GET a1", "\"x\"");
        cluster.check(client, "GET b1", "-NOPERM No permissions to access a key");
        cluster.check(client, "DEL a1", "-NOPERM User alice has no permissions to run the 'del' command");
    }
}

#[test]
fn a_restricted_user_never_takes_the_fast_lane() {
    let mut cluster = cluster(2);
    let (admin, client) = (cluster.connect(0), cluster.connect(0));
    cluster.check(admin, "ACL SETUSER alice on nopass ~* &* +@all -acl", "OK");
    cluster.check(client, "AUTH alice x", "OK");
    let keys = [cluster.key_on(0, "k"), cluster.key_on(1, "k")];
    for key in &keys {
        cluster.check(client, &format!("SET {key} 1"), "OK");
    }
    cluster.check(admin, "ACL SETUSER alice -get", "OK");
    // All of them have arrived before the first is run.
    for key in keys.iter().cycle().take(8) {
        cluster.send(client, &format!("GET {key}"));
    }
    for _ in 0..8 {
        assert_eq!(code(&cluster.wait(client)), "NOPERM");
    }
}

#[test]
fn whoever_is_deleted_is_disconnected_everywhere() {
    let mut cluster = cluster(3);
    let admin = cluster.connect(0);
    cluster.check(admin, "ACL SETUSER alice on nopass ~* &* +@all", "OK");
    let clients: Vec<_> = (0..3).map(|node| cluster.connect(node)).collect();
    for &client in &clients {
        cluster.check(client, "AUTH alice x", "OK");
    }
    cluster.check(admin, "ACL DELUSER alice nobody", "(1)");
    cluster.run(Duration::from_millis(50));
    for &client in &clients {
        assert!(cluster.is_closed(client), "{client:?}");
    }
    cluster.check(admin, "PING", "PONG");
}

#[test]
fn what_may_no_longer_be_heard_is_not() {
    let mut cluster = cluster(4);
    let admin = cluster.connect(0);
    cluster.check(admin, "ACL SETUSER alice on nopass &news &other +@all", "OK");
    let (news, other) = (cluster.connect(1), cluster.connect(1));
    for (client, channel) in [(news, "news"), (other, "other")] {
        cluster.check(client, "AUTH alice x", "OK");
        cluster.call(client, &format!("SUBSCRIBE {channel}"));
    }
    cluster.check(admin, "ACL SETUSER alice resetchannels &news", "OK");
    cluster.run(Duration::from_millis(50));
    assert!(!cluster.is_closed(news) && cluster.is_closed(other));
}

#[test]
fn transactions_are_checked_twice() {
    let mut cluster = cluster(5);
    let (admin, client) = (cluster.connect(0), cluster.connect(1));
    cluster.check(admin, "ACL SETUSER alice on nopass ~* &* +@all", "OK");
    cluster.check(client, "AUTH alice x", "OK");
    cluster.check(client, "MULTI", "OK");
    cluster.check(client, "SET k 1", "QUEUED");
    cluster.check(client, "INCR k", "QUEUED");
    cluster.check(client, "PING", "QUEUED");
    cluster.check(admin, "ACL SETUSER alice -incr -ping", "OK");
    let reply = text(&cluster.call(client, "EXEC"));
    let gone =
        "no longer allowed for the following reason: no permission to execute the command or subcommand";
    assert_eq!(reply.matches(gone).count(), 2, "{reply}");
    cluster.check(client, "GET k", "\"1\"");
    cluster.check(client, "MULTI", "OK");
    assert_eq!(code(&cluster.call(client, "INCR k")), "NOPERM");
    assert_eq!(code(&cluster.call(client, "EXEC")), "EXECABORT");
    let log = text(&cluster.call(admin, "ACL LOG"));
    assert_eq!(log, "[]", "the log is the node's own");
}

#[test]
fn who_waits_for_data_is_checked_when_it_comes() {
    let mut cluster = cluster(10);
    let (admin, client) = (cluster.connect(0), cluster.connect(1));
    cluster.check(admin, "ACL SETUSER alice on nopass ~* &* +@all", "OK");
    cluster.check(client, "AUTH alice x", "OK");
    cluster.send(client, "BLPOP list 0");
    cluster.run(Duration::from_millis(20));
    cluster.check(admin, "ACL SETUSER alice -blpop", "OK");
    cluster.check(admin, "RPUSH list a", "(1)");
    assert_eq!(
        text(&cluster.wait(client)),
        "-NOPERM User alice has no permissions to run the 'blpop' command"
    );
    cluster.check(client, "LLEN list", "(1)");
}

#[test]
fn a_transaction_can_change_users() {
    let mut cluster = cluster(6);
    let client = cluster.connect(1);
    cluster.check(client, "MULTI", "OK");
    cluster.check(client, "ACL SETUSER alice on >pw +@all", "QUEUED");
    cluster.check(client, "ACL SETUSER bob on >pw +@all", "QUEUED");
    cluster.send(client, "EXEC");
    cluster.send(client, "AUTH bob pw");
    assert_eq!(text(&cluster.wait(client)), "[OK OK]");
    assert_eq!(text(&cluster.wait(client)), "OK");
}

#[test]
fn users_changed_at_the_same_time_are_all_kept() {
    let mut cluster = cluster(7);
    let clients: Vec<_> = (0..6).map(|client| cluster.connect(client % 3)).collect();
    for (number, &client) in clients.iter().enumerate() {
        cluster.send(client, &format!("ACL SETUSER alice +@all ~{number}"));
    }
    for &client in &clients {
        assert_eq!(text(&cluster.wait(client)), "OK");
    }
    let list = text(&cluster.call(clients[0], "ACL LIST"));
    assert!((0..6).all(|number| list.contains(&format!("~{number} "))), "{list}");
}

#[test]
fn a_node_that_comes_back_has_the_users() {
    let mut cluster = cluster(8);
    let admin = cluster.connect(0);
    cluster.nodes[2].isolated = true;
    cluster.check(admin, "ACL SETUSER alice on >pw +@all", "OK");
    cluster.nodes[2].isolated = false;
    cluster.run(Duration::from_millis(100));
    let client = cluster.connect(2);
    cluster.check(client, "AUTH alice pw", "OK");
    cluster.restart(2);
    cluster.run(Duration::from_millis(100));
    let client = cluster.connect(2);
    cluster.check(client, "AUTH alice pw", "OK");
}

#[test]
fn without_a_quorum_nothing_changes() {
    let mut cluster = cluster(9);
    let client = cluster.connect(0);
    cluster.nodes[0].isolated = true;
    let reply = text(&cluster.call(client, "ACL SETUSER alice on"));
    assert!(reply.contains("the users could not be changed: no quorum answers"), "{reply}");
    cluster.check(client, "ACL USERS", "[\"default\"]");
}
