//! CLUSTER, over a map in which a node is primary of some slots and replica of others.

use crate::double::Client;
use commands::host::{ClusterNode, NodeHealth, SlotRange};
use stdx::{Slot, Wall};

fn id(letter: char) -> String {
    letter.to_string().repeat(40)
}

fn node(letter: char, host: &str, health: NodeHealth) -> ClusterNode {
    ClusterNode {
        id: id(letter),
        name: format!("node-{letter}"),
        host: host.to_owned(),
        port: 6379,
        bus_port: 7946,
        http_port: 8080,
        health,
        epoch: 5,
        replication_offset: 12,
        ping_sent: Wall(0),
        pong_received: Wall(1_700_000_000_000),
    }
}

fn range(first: u16, last: u16, primary: usize, replicas: &[usize]) -> SlotRange {
    SlotRange { first: Slot(first), last: Slot(last), primary, replicas: replicas.to_vec() }
}

/// Three members, the last of which is dead and still a replica; partitions of 4,096 slots.
fn client(resp3: bool) -> Client {
    let mut client = if resp3 { Client::resp3() } else { Client::new() };
    let view = &mut client.host.view;
    view.nodes = vec![
        node('a', "10.0.0.1", NodeHealth::Up),
        node('b', "cache-b.example", NodeHealth::Up),
        node('c', "10.0.0.3", NodeHealth::Down),
    ];
    view.ranges = vec![
        range(0, 4_095, 0, &[1]),
        range(4_096, 8_191, 0, &[1]),
        range(8_192, 12_287, 1, &[0, 2]),
        range(12_288, 16_383, 0, &[1]),
    ];
    view.epoch = 9;
    view.ok = true;
    view.messages_sent = 3;
    view.messages_received = 4;
    client
}

#[test]
fn slots_in_both_versions() {
    let a = format!("*4\r\n$8\r\n10.0.0.1\r\n:6379\r\n$40\r\n{}\r\n*0\r\n", id('a'));
    let b = format!("*4\r\n$15\r\ncache-b.example\r\n:6379\r\n$40\r\n{}\r\n*0\r\n", id('b'));
    let expected = format!(
        "*3\r\n*4\r\n:0\r\n:8191\r\n{a}{b}*4\r\n:8192\r\n:12287\r\n{b}{a}*4\r\n:12288\r\n:16383\r\n{a}{b}"
    );
    client(false).check("CLUSTER SLOTS", &expected);
    client(true).check("CLUSTER SLOTS", &expected.replace("*0", "%0"));
}

#[test]
fn shards_by_set_of_owners() {
    let of = |letter: char, host: &str, hostname: &str, role: &str, health: &str| {
        let fields = if hostname.is_empty() { 7 } else { 8 };
        let hostname = match hostname {
            "" => String::new(),
            name => format!("$8\r\nhostname\r\n${}\r\n{name}\r\n", name.len()),
        };
        format!(
            "%{fields}\r\n$2\r\nid\r\n$40\r\n{}\r\n$4\r\nport\r\n:6379\r\n$2\r\nip\r\n${len}\r\n{host}\r\n$8\r\nendpoint\r\n\
             ${len}\r\n{host}\r\n{hostname}$4\r\nrole\r\n${}\r\n{role}\r\n$18\r\nreplication-offset\r\n:12\r\n\
             $6\r\nhealth\r\n${}\r\n{health}\r\n",
            id(letter),
            role.len(),
            health.len(),
            len = host.len(),
        )
    };
    let b = "cache-b.example";
    let expected = format!(
        "*2\r\n%2\r\n$5\r\nslots\r\n*4\r\n:0\r\n:8191\r\n:12288\r\n:16383\r\n$5\r\nnodes\r\n*2\r\n{}{}\
         %2\r\n$5\r\nslots\r\n*2\r\n:8192\r\n:12287\r\n$5\r\nnodes\r\n*3\r\n{}{}{}",
        of('a', "10.0.0.1", "", "master", "online"),
        of('b', b, b, "replica", "online"),
        of('b', b, b, "master", "online"),
        of('a', "10.0.0.1", "", "replica", "online"),
        of('c', "10.0.0.3", "", "replica", "fail"),
    );
    client(true).check("CLUSTER SHARDS", &expected);
    let resp2 =
        expected.replace("%2\r\n", "*4\r\n").replace("%7\r\n", "*14\r\n").replace("%8\r\n", "*16\r\n");
    client(false).check("CLUSTER SHARDS", &resp2);
}

#[test]
fn nodes_are_masters_with_their_slots() {
    let text = format!(
        "{} 10.0.0.1:6379@7946 myself,master - 0 1700000000000 5 connected 0-8191 12288-16383\n\
         {} cache-b.example:6379@7946,cache-b.example master - 0 1700000000000 5 connected 8192-12287\n\
         {} 10.0.0.3:6379@7946 master,fail - 0 1700000000000 5 disconnected\n",
        id('a'),
        id('b'),
        id('c')
    );
    client(false).check("CLUSTER NODES", &format!("${}\r\n{text}\r\n", text.len()));
    client(true).check("CLUSTER NODES", &format!("={}\r\ntxt:{text}\r\n", text.len() + 4));
}

#[test]
fn info_counts_slots_by_health() {
    let mut client = client(false);
    client.host.view.nodes[1].health = NodeHealth::Suspect;
    let text = client.text("CLUSTER INFO");
    assert_eq!(
        text.split("\r\n").collect::<Vec<_>>(),
        [
            "cluster_state:ok",
            "cluster_slots_assigned:16384",
            "cluster_slots_ok:12288",
            "cluster_slots_pfail:4096",
            "cluster_slots_fail:0",
            "cluster_known_nodes:3",
            "cluster_size:2",
            "cluster_current_epoch:9",
            "cluster_my_epoch:5",
            "cluster_stats_messages_sent:3",
            "cluster_stats_messages_received:4",
            "total_cluster_links_buffer_limit_exceeded:0",
            "",
        ]
    );
    client.host.view.ok = false;
    assert!(client.text("CLUSTER INFO").starts_with("cluster_state:fail\r\n"));
}

#[test]
fn slots_of_keys_and_keys_of_slots() {
    let mut client = client(false);
    client.check("CLUSTER KEYSLOT foo", ":12182\r\n");
    client.check("CLUSTER KEYSLOT {foo}bar", ":12182\r\n");
    client.check("CLUSTER MYID", &format!("$40\r\n{}\r\n", id('a')));
    client.check("CLUSTER MYSHARDID", &format!("$40\r\n{}\r\n", id('a')));
    client.host.keys.insert(5, vec![b"k1".to_vec(), b"k2".to_vec()]);
    client.check("CLUSTER COUNTKEYSINSLOT 5", ":2\r\n");
    client.check("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot\r\n");
    client.check("CLUSTER COUNTKEYSINSLOT a", "-ERR value is not an integer or out of range\r\n");
    client.check("CLUSTER GETKEYSINSLOT 5 1", "*1\r\n$2\r\nk1\r\n");
    client.check("CLUSTER GETKEYSINSLOT 6 10", "*0\r\n");
    client.check("CLUSTER GETKEYSINSLOT 5 -1", "-ERR Invalid slot or number of keys\r\n");
    client.check("CLUSTER GETKEYSINSLOT 16384 1", "-ERR Invalid slot or number of keys\r\n");
    client.check("CLUSTER GETKEYSINSLOT 5 x", "-ERR value is not an integer or out of range\r\n");
    client.check("CLUSTER nosuch", "-ERR unknown subcommand 'nosuch'. Try CLUSTER HELP.\r\n");
}

#[test]
fn a_node_outside_any_cluster() {
    let mut client = Client::new();
    client.check("CLUSTER SLOTS", "*0\r\n");
    client.check("CLUSTER SHARDS", "*0\r\n");
    client.check("CLUSTER NODES", "$0\r\n\r\n");
    client.check("CLUSTER MYID", "-CLUSTERDOWN this node is not a member of the cluster yet\r\n");
    client.host.view.nodes = vec![node('a', "10.0.0.1", NodeHealth::Joining)];
    assert!(client.send("CLUSTER SHARDS").starts_with("*1\r\n*4\r\n$5\r\nslots\r\n*0\r\n"));
    assert!(client.text("CLUSTER NODES").contains(" myself,master,handshake - "));
}

#[test]
fn replicas_and_failures_of_a_member() {
    let mut cluster = client(false);
    let b = format!(
        "{} cache-b.example:6379@7946,cache-b.example slave {} 0 1700000000000 5 connected",
        id('b'),
        id('a')
    );
    for command in ["REPLICAS", "SLAVES"] {
        let expected = format!("*1\r\n${}\r\n{b}\r\n", b.len());
        cluster.check(&format!("CLUSTER {command} {}", id('a')), &expected);
        cluster.check(&format!("CLUSTER {command} {}", id('c')), "*0\r\n");
        cluster.check(&format!("CLUSTER {command} nosuch"), "-ERR Unknown node nosuch\r\n");
    }
    cluster.check(&format!("CLUSTER COUNT-FAILURE-REPORTS {}", id('a')), ":0\r\n");
    cluster.check(&format!("CLUSTER COUNT-FAILURE-REPORTS {}", id('c')), ":1\r\n");
    cluster.check("CLUSTER COUNT-FAILURE-REPORTS nosuch", "-ERR Unknown node nosuch\r\n");
    cluster.check("CLUSTER LINKS", "*0\r\n");
}

#[test]
fn what_members_decide_is_not_done_by_hand() {
    let mut client = client(false);
    for (command, says) in [
        ("ADDSLOTS 1 2", "hypercache cluster status"),
        ("ADDSLOTSRANGE 1 2", "hypercache cluster status"),
        ("DELSLOTS 1", "hypercache cluster status"),
        ("DELSLOTSRANGE 1 2", "hypercache cluster status"),
        ("SETSLOT 1 STABLE", "hypercache cluster status"),
        ("FLUSHSLOTS", "hypercache cluster status"),
        ("MEET 10.0.0.1 6379", "'join'"),
        ("FORGET nosuch", "hypercache cluster forget"),
        ("FAILOVER FORCE", "hypercache cluster leave"),
        ("REPLICATE nosuch", "'replication-factor'"),
        ("RESET HARD", "hypercache cluster leave"),
        ("BUMPEPOCH", "epochs"),
        ("SET-CONFIG-EPOCH 1", "epochs"),
        ("SAVECONFIG", "on disk already"),
    ] {
        let reply = client.send(&format!("CLUSTER {command}"));
        assert!(reply.starts_with("-ERR ") && reply.contains(says), "{command}: {reply}");
    }
    client.check("CLUSTER MEET 10.0.0.1", "-ERR wrong number of arguments for 'cluster|meet' command\r\n");
}
