//! INFO, CONFIG, COMMAND, SLOWLOG, LATENCY, MEMORY, ACL and the small commands of the server.

use crate::double::{Client, NOW};
use commands::host::{LatencyEvent, SaveError, ShutdownMode, SlowlogEntry};
use commands::info::{CommandStats, KeyspaceInfo, LoadingInfo, LogInfo, ReplicaInfo};
use stdx::Wall;

fn lines(text: &str) -> Vec<&str> {
    text.split("\r\n").collect()
}

#[test]
fn info_has_what_clients_read() {
    let mut client = Client::new();
    let data = &mut client.host.data;
    data.server.run_id = "f".repeat(40);
    data.server.tcp_port = 6379;
    data.memory.used = 1_536;
    data.memory.maxmemory_policy = "allkeys-lru".into();
    data.keyspace = vec![KeyspaceInfo { db: 2, keys: 10, expires: 3, avg_ttl_ms: 77 }];
    data.hypercache.node_name = "node-1".into();
    let text = client.text("INFO");
    let found = lines(&text);
    for line in [
        "redis_version:7.2.4",
        "redis_mode:standalone",
        "tcp_port:6379",
        "uptime_in_seconds:3",
        "uptime_in_days:0",
        "connected_clients:0",
        "used_memory:1536",
        "used_memory_human:1.50K",
        "used_memory_peak_human:1.50K",
        "maxmemory_human:0B",
        "maxmemory_policy:allkeys-lru",
        "loading:0",
        "rdb_last_bgsave_status:ok",
        "role:master",
        "connected_slaves:0",
        "cluster_enabled:0",
        "db2:keys=10,expires=3,avg_ttl=77",
        "node_name:node-1",
        "lease:none",
    ] {
        assert!(found.contains(&line), "{line} is missing");
    }
    assert!(found.iter().any(|line| line.starts_with("hypercache_version:")));
    assert!(found.contains(&&*format!("run_id:{}", "f".repeat(40))));
    assert!(text.starts_with("# Server\r\n") && text.ends_with("\r\n"));
    assert!(!found.contains(&"# Commandstats"));
}

#[test]
fn info_sections() {
    let mut client = Client::resp3();
    client.check("INFO cluster", "=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n");
    client.check("INFO nosuch", "=4\r\ntxt:\r\n");
    let headings = |text: String| -> Vec<String> {
        text.split("\r\n").filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
    };
    assert_eq!(headings(client.text("INFO keyspace CLIENTS")), ["Clients", "Keyspace"]);
    assert_eq!(headings(client.text("INFO default commandstats")).len(), 13);
    let all = headings(client.text("INFO all"));
    assert_eq!(all, headings(client.text("INFO everything")));
    assert_eq!(
        all,
        [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Modules",
            "Commandstats",
            "Errorstats",
            "Latencystats",
            "Cluster",
            "Keyspace",
            "HyperCache"
        ]
    );
    assert_eq!(client.text("INFO modules keyspace"), "# Modules\r\n\r\n# Keyspace\r\n");
}

#[test]
fn no_field_of_info_comes_twice() {
    let mut client = Client::new();
    client.host.data.persistence.loading =
        Some(LoadingInfo { started: Wall(NOW.0 - 3_000), total_bytes: 400, loaded_bytes: 100 });
    let text = client.text("INFO everything");
    let mut names: Vec<&str> = lines(&text).iter().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), all), (all, all));
    assert!(names.contains(&"loading_eta_seconds"));
}

#[test]
fn statistics_by_command() {
    let mut client = Client::resp3();
    client.host.stats = vec![
        CommandStats {
            name: "client|list",
            calls: 4,
            usec: 10,
            rejected_calls: 1,
            failed_calls: 2,
            percentiles_us: [1.0, 2.5, 3.0071],
            histogram: vec![(2, 3), (4, 4)],
        },
        CommandStats { name: "get", rejected_calls: 1, ..CommandStats::default() },
    ];
    client.host.errors = vec![("ERR".into(), 2), ("WRONGTYPE".into(), 1)];
    assert_eq!(
        lines(&client.text("INFO commandstats errorstats latencystats")),
        [
            "# Commandstats",
            "cmdstat_client|list:calls=4,usec=10,usec_per_call=2.50,rejected_calls=1,failed_calls=2",
            "cmdstat_get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0",
            "",
            "# Errorstats",
            "errorstat_ERR:count=2",
            "errorstat_WRONGTYPE:count=1",
            "",
            "# Latencystats",
            "latency_percentiles_usec_client|list:p50=1.000,p99=2.500,p99.9=3.007",
            "",
        ]
    );
    let histogram = "%1\r\n$11\r\nclient|list\r\n%2\r\n$5\r\ncalls\r\n:4\r\n$14\r\nhistogram_usec\r\n%2\r\n:2\r\n:3\r\n:4\r\n:4\r\n";
    client.check("LATENCY HISTOGRAM", histogram);
    client.check("LATENCY HISTOGRAM CLIENT nosuch", histogram);
    client.check("LATENCY HISTOGRAM get", "%0\r\n");
    client.check("CONFIG RESETSTAT", "+OK\r\n");
    client.check("LATENCY HISTOGRAM", "%0\r\n");
}

#[test]
fn config() {
    let mut client = Client::new();
    client.check(
        "CONFIG GET MAXMEMORY maxmem* nosuch",
        "*4\r\n$9\r\nMAXMEMORY\r\n$1\r\n0\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n",
    );
    client.check("CONFIG SET maxmemory 1 MaxMemory-Policy allkeys-lru", "+OK\r\n");
    client.session.version = protocol::Version::Resp3;
    client.check(
        "CONFIG GET maxmemory*",
        "%2\r\n$9\r\nmaxmemory\r\n$1\r\n1\r\n$16\r\nmaxmemory-policy\r\n$11\r\nallkeys-lru\r\n",
    );
    client.check("CONFIG GET nosuch", "%0\r\n");
    client.check("CONFIG SET maxmemory 1 x", "-ERR syntax error\r\n");
    client.check("CONFIG SET a", "-ERR wrong number of arguments for 'config|set' command\r\n");
    client.check(
        "CONFIG SET maxmemory 1 maxmemory 2",
        "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate parameter\r\n",
    );
    client.check(
        "CONFIG SET nosuch 1",
        "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\r\n",
    );
    client.check(
        "CONFIG SET maxmemory 5 port 1",
        "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config\r\n",
    );
    client.check("CONFIG GET maxmemory", "%1\r\n$9\r\nmaxmemory\r\n$1\r\n1\r\n");
    client.check("CONFIG REWRITE", "-ERR The server is running without a config file\r\n");
    client.host.config_file = true;
    client.check("CONFIG REWRITE", "+OK\r\n");
    client.check("CONFIG foo", "-ERR unknown subcommand 'foo'. Try CONFIG HELP.\r\n");
}

#[test]
fn command_info() {
    let mut client = Client::resp3();
    client.check(
        "COMMAND INFO get client|id subscribe nosuch",
        "*4\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~3\r\n+@read\r\n+@string\r\n+@fast\r\n~0\r\n\
         ~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n\
         %1\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n$7\r\nlastkey\r\n:0\r\n\
         $7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n~0\r\n\
         *10\r\n$9\r\nclient|id\r\n:2\r\n~3\r\n+noscript\r\n+loading\r\n+stale\r\n:0\r\n:0\r\n:0\r\n~2\r\n+@slow\r\n+@connection\r\n\
         ~0\r\n~0\r\n~0\r\n\
         *10\r\n$9\r\nsubscribe\r\n:-2\r\n~4\r\n+pubsub\r\n+noscript\r\n+loading\r\n+stale\r\n:0\r\n:0\r\n:0\r\n~2\r\n+@pubsub\r\n\
         +@slow\r\n~0\r\n~0\r\n~0\r\n_\r\n",
    );
    client.session.version = protocol::Version::Resp2;
    client.check("COMMAND INFO nosuch", "*1\r\n$-1\r\n");
    client.check(
        "COMMAND INFO ping",
        "*1\r\n*10\r\n$4\r\nping\r\n:-1\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n*2\r\n+@fast\r\n+@connection\r\n*2\r\n\
         $25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succeeded\r\n*0\r\n*0\r\n",
    );
    let all = client.send("COMMAND");
    assert_eq!(all, client.send("COMMAND INFO"));
    let count = client.send("COMMAND COUNT");
    assert_eq!(all.split_once("\r\n").expect("a header").0[1..], count.trim_end()[1..]);
}

#[test]
fn command_docs() {
    let mut client = Client::resp3();
    client.check(
        "COMMAND DOCS nosuch client|id",
        "%1\r\n$9\r\nclient|id\r\n%4\r\n$7\r\nsummary\r\n$47\r\nReturns the unique client ID of the connection.\r\n\
         $5\r\nsince\r\n$5\r\n5.0.0\r\n$5\r\ngroup\r\n$10\r\nconnection\r\n$10\r\ncomplexity\r\n$4\r\nO(1)\r\n",
    );
    let slowlog = client.send("COMMAND DOCS slowlog");
    assert!(slowlog.starts_with("%1\r\n$7\r\nslowlog\r\n%5\r\n"));
    assert!(slowlog.contains("$11\r\nsubcommands\r\n%4\r\n$11\r\nslowlog|get\r\n%4\r\n"));
    client.check("COMMAND DOCS nosuch", "%0\r\n");
}

#[test]
fn command_list_and_keys() {
    let mut client = Client::new();
    client.check(
        "COMMAND LIST FILTERBY ACLCAT transaction",
        "*5\r\n$7\r\ndiscard\r\n$4\r\nexec\r\n$5\r\nmulti\r\n$7\r\nunwatch\r\n$5\r\nwatch\r\n",
    );
    client.check("COMMAND LIST FILTERBY PATTERN CLIENT|GETR*", "*1\r\n$15\r\nclient|getredir\r\n");
    client.check("COMMAND LIST FILTERBY ACLCAT nosuch", "*0\r\n");
    client.check("COMMAND LIST FILTERBY MODULE json", "*0\r\n");
    client.check("COMMAND LIST FILTERBY x y", "-ERR syntax error\r\n");
    client.check("COMMAND LIST foo", "-ERR syntax error\r\n");
    assert!(!client.send("COMMAND LIST").contains('|'));
    client.check("COMMAND GETKEYS MSET a b c d", "*2\r\n$1\r\na\r\n$1\r\nc\r\n");
    client.check("COMMAND GETKEYS memory usage a", "*1\r\n$1\r\na\r\n");
    client.check("COMMAND GETKEYSANDFLAGS MSET a b", "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n");
    client.check("COMMAND GETKEYSANDFLAGS SET a b", "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n");
    client.check(
        "COMMAND GETKEYSANDFLAGS SET a b GET",
        "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n",
    );
    client.check("COMMAND GETKEYS ZUNIONSTORE a 3 b c", "-ERR Invalid arguments specified for command\r\n");
    client.check("COMMAND GETKEYS nosuch a", "-ERR Invalid command specified\r\n");
    client.check("COMMAND GETKEYS set a", "-ERR Invalid number of arguments specified for command\r\n");
    client.check("COMMAND GETKEYS ping a b", "-ERR The command has no key arguments\r\n");
    client.check("COMMAND GETKEYS SPUBLISH a b", "-ERR The command has no key arguments\r\n");
    client.check("COMMAND GETKEYS config get x", "-ERR The command has no key arguments\r\n");
}

#[test]
fn slowlog() {
    let mut client = Client::new();
    for id in 0..12 {
        client.host.slow.push(SlowlogEntry {
            id,
            at: Wall(1_700_000_000_999),
            duration_us: 20,
            arguments: vec![b"GET".to_vec(), b"a".to_vec()],
            addr: "127.0.0.1:5".into(),
            name: b"me".to_vec(),
        });
    }
    client.check(
        "SLOWLOG GET 1",
        "*1\r\n*6\r\n:11\r\n:1700000000\r\n:20\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n$11\r\n127.0.0.1:5\r\n$2\r\nme\r\n",
    );
    assert!(client.send("SLOWLOG GET").starts_with("*10\r\n"));
    assert!(client.send("SLOWLOG GET -1").starts_with("*12\r\n"));
    client.check("SLOWLOG LEN", ":12\r\n");
    client.check("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1\r\n");
    client.check("SLOWLOG GET x", "-ERR count should be greater than or equal to -1\r\n");
    client.check(
        "SLOWLOG GET 1 2",
        "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.\r\n",
    );
    client.check("SLOWLOG RESET", "+OK\r\n");
    client.check("SLOWLOG GET", "*0\r\n");
}

#[test]
fn latency_events() {
    let mut client = Client::new();
    assert!(client.text("LATENCY DOCTOR").starts_with("I'm sorry, Dave, I can't do that."));
    client.send("CONFIG SET latency-monitor-threshold 100");
    assert!(client.text("LATENCY DOCTOR").starts_with("Dave, no latency spike was observed"));
    let samples = vec![(Wall(1_700_000_000_000), 100), (Wall(1_700_000_010_500), 300)];
    client.host.events = vec![LatencyEvent { name: "command".into(), samples, max_ms: 400 }];
    client.check("LATENCY LATEST", "*1\r\n*4\r\n$7\r\ncommand\r\n:1700000010\r\n:300\r\n:400\r\n");
    client
        .check("LATENCY HISTORY command", "*2\r\n*2\r\n:1700000000\r\n:100\r\n*2\r\n:1700000010\r\n:300\r\n");
    client.check("LATENCY HISTORY x", "*0\r\n");
    assert!(client.text("LATENCY DOCTOR").contains(
        "1. command: 2 latency spikes (average 200ms, mean deviation 100ms, period 5.25 sec). Worst all time event 400ms.\n"
    ));
    assert!(
        client
            .text("LATENCY GRAPH command")
            .starts_with("command - high 300 ms, low 100 ms (all time high 400 ms)\n")
    );
    client.check("LATENCY GRAPH x", "-ERR No samples available for event 'x'\r\n");
    client.check("LATENCY RESET x", ":0\r\n");
    client.check("LATENCY RESET", ":1\r\n");
    client.check("LATENCY LATEST", "*0\r\n");
}

#[test]
fn memory() {
    let mut client = Client::resp3();
    assert!(client.text("MEMORY DOCTOR").starts_with("Hi Sam, this instance is empty"));
    let memory = &mut client.host.data.memory;
    (memory.used, memory.peak, memory.rss) = (10 << 20, 10 << 20, 11 << 20);
    assert!(client.text("MEMORY DOCTOR").starts_with("Hi Sam, I can't find any memory issue"));
    client.host.data.memory.peak = 100 << 20;
    assert!(client.text("MEMORY DOCTOR").contains(" * Peak memory: "));
    let stats = client.send("MEMORY STATS");
    assert!(stats.starts_with(
        "%21\r\n$14\r\npeak.allocated\r\n:104857600\r\n$15\r\ntotal.allocated\r\n:10485760\r\n"
    ));
    assert!(stats.contains("$15\r\npeak.percentage\r\n,10\r\n"));
    client.check("MEMORY MALLOC-STATS", "$45\r\nStats not supported for the current allocator\r\n");
    client.check("MEMORY PURGE", "+OK\r\n");
    assert_eq!(client.host.purged, 1);
}

#[test]
fn time_role_lastsave_lolwut() {
    let mut client = Client::new();
    client.check("TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n123000\r\n");
    client.check("LASTSAVE", ":1699999997\r\n");
    client.check("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    let replica =
        ReplicaInfo { host: "10.0.0.2".into(), port: 6380, online: true, offset: 9, lag_seconds: 1 };
    client.host.data.replication.offset = 12;
    client.host.data.replication.replicas = vec![replica];
    client.check(
        "ROLE",
        "*3\r\n$6\r\nmaster\r\n:12\r\n*1\r\n*3\r\n$8\r\n10.0.0.2\r\n$4\r\n6380\r\n$1\r\n9\r\n",
    );
    assert!(
        client
            .text("INFO replication")
            .contains("slave0:ip=10.0.0.2,port=6380,state=online,offset=9,lag=1\r\n")
    );
    assert!(client.text("LOLWUT").ends_with("\nRedis ver. 7.2.4\n"));
    client.check("PFSELFTEST", "+OK\r\n");
    client.check("LOLWUT VERSION x", "-ERR value is not an integer or out of range\r\n");
}

#[test]
fn saving() {
    let mut client = Client::new();
    client.check("SAVE", "+OK\r\n");
    client.check("BGSAVE", "+Background saving started\r\n");
    client.check("BGREWRITEAOF", "+Background append only file rewriting started\r\n");
    assert_eq!(client.host.saves, [true, false, false]);
    client.check("BGSAVE now", "-ERR syntax error\r\n");
    client.host.save_outcome = Err(SaveError::InProgress);
    client.check("SAVE", "-ERR Background save already in progress\r\n");
    client.check("BGSAVE", "-ERR Background save already in progress\r\n");
    client.check("BGSAVE SCHEDULE", "+Background saving scheduled\r\n");
    client.check("BGREWRITEAOF", "-ERR Background append only file rewriting already in progress\r\n");
    client.host.save_outcome = Err(SaveError::Failed("no space".into()));
    client.check("SAVE", "-ERR no space\r\n");
    client.host.data.persistence.last_save = Some(Wall(1_650_000_000_999));
    client.check("LASTSAVE", ":1650000000\r\n");
    client.host.data.persistence.log =
        Some(LogInfo { bytes: 10, failure: Some("disk full".into()), ..LogInfo::default() });
    let text = client.text("INFO persistence");
    for line in ["aof_enabled:1", "aof_current_size:10", "aof_last_write_status:err", "aof_failure:disk full"]
    {
        assert!(text.contains(&format!("{line}\r\n")), "{text}");
    }
}

#[test]
fn shutdown() {
    let mut client = Client::new();
    for line in ["SHUTDOWN foo", "SHUTDOWN save nosave", "SHUTDOWN NOW ABORT"] {
        client.check(line, "-ERR syntax error\r\n");
    }
    client.check("SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n");
    client.check("SHUTDOWN NOSAVE NOW", "");
    let mode = ShutdownMode { now: true, force: false, save: Some(false) };
    assert_eq!(client.host.stopping, Some(mode));
    client.check("SHUTDOWN ABORT", "+OK\r\n");
    client.host.refuse_shutdown = true;
    client.check("SHUTDOWN", "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
}

#[test]
fn acl() {
    let mut client = Client::new();
    client.check("ACL WHOAMI", "$7\r\ndefault\r\n");
    client.check("ACL USERS", "*1\r\n$7\r\ndefault\r\n");
    assert!(client.send("ACL CAT").starts_with("*23\r\n$8\r\nkeyspace\r\n$4\r\nread\r\n"));
    assert!(client.send("ACL CAT connection").contains("$11\r\nclient|list\r\n"));
    client.check("ACL CAT foo", "-ERR Unknown category 'foo'\r\n");
    assert_eq!(client.text("ACL GENPASS").len(), 64);
    assert_eq!(client.text("ACL GENPASS 5").len(), 2);
    assert_eq!(client.text("ACL GENPASS 4").len(), 1);
    assert_ne!(client.text("ACL GENPASS"), client.text("ACL GENPASS"));
    let range = "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096\r\n";
    client.check("ACL GENPASS 0", range);
    client.check("ACL GENPASS 4097", range);
    client.check("ACL GENPASS x", "-ERR value is not an integer or out of range\r\n");
}

#[test]
fn what_is_done_in_another_way_says_so() {
    let mut client = Client::new();
    for (command, says) in [
        ("REPLICAOF NO ONE", "'replication-factor'"),
        ("SLAVEOF 10.0.0.1 6379", "'replication-factor'"),
        ("PSYNC ? -1", "replication protocol"),
        ("SYNC", "replication protocol"),
        ("REPLCONF listening-port 1", "replication protocol"),
        ("FAILOVER", "hypercache cluster leave"),
        ("DEBUG SLEEP 1", "DEBUG command not allowed"),
        ("MODULE LOAD /tmp/module.so", "MODULE command not allowed"),
        ("MODULE LOADEX /tmp/module.so", "MODULE command not allowed"),
        ("MODULE UNLOAD module", "MODULE command not allowed"),
    ] {
        let reply = client.send(command);
        assert!(reply.starts_with("-ERR ") && reply.contains(says), "{command}: {reply}");
    }
    client.check("MODULE LIST", "*0\r\n");
    client.check("MODULE nosuch", "-ERR unknown subcommand 'nosuch'. Try MODULE HELP.\r\n");
    assert!(
        client.send("MODULE HELP").starts_with(
            "*11\r\n+MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+LIST\r\n"
        )
    );
}
