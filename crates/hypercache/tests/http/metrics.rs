//! `/metrics`, checked against the rules of the text format.

use crate::server::Server;
use std::collections::{BTreeMap, BTreeSet};

/// Samples by name and labels as written.
type Samples = BTreeMap<String, f64>;

fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    text.bytes().all(legal) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Splits `{a="x",b="y"}` into pairs, undoing the escapes.
fn labels_of(text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no value in {rest}"));
        assert!(is_name(name), "{name}");
        let (mut value, mut characters) = (String::new(), after.char_indices());
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("an open quote in {rest}")) {
                (at, '"') => break at,
                (_, '\\') => match characters.next().map(|(_, escape)| escape) {
                    Some('n') => value.push('\n'),
                    Some(escape @ ('"' | '\\')) => value.push(escape),
                    other => panic!("an unknown escape {other:?}"),
                },
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
        rest = after[end + 1..].strip_prefix(',').unwrap_or(&after[end + 1..]);
    }
    labels
}

/// Reads the text format and panics where it breaks a rule.
fn check(text: &str) -> Samples {
    let (mut samples, mut seen) = (Samples::new(), BTreeSet::new());
    let (mut help, mut family) = (String::new(), (String::new(), String::new()));
    assert!(text.ends_with('\n'), "the last line ends too");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').expect("a help text");
            assert!(is_name(name) && words.ends_with('.'), "{line}");
            help = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, help, "help and type belong together");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(seen.insert(name.to_owned()), "{name} comes twice");
            family = (name.to_owned(), kind.to_owned());
        } else {
            let (name, rest) = line.split_once('{').expect("labels");
            let (labels, value) = rest.rsplit_once("} ").expect("a value");
            let suffixes: &[&str] =
                if family.1 == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(
                suffixes.iter().any(|suffix| name == format!("{}{suffix}", family.0)),
                "{line} in {family:?}"
            );
            let pairs = labels_of(labels);
            assert_eq!(pairs[0], ("node".to_owned(), "node-1".to_owned()));
            assert_eq!(name.ends_with("_bucket"), pairs.iter().any(|(label, _)| label == "le"), "{line}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number in {line}"));
            assert!(samples.insert(format!("{name}{{{labels}}}"), value).is_none(), "{line} comes twice");
        }
    }
    samples
}

#[test]
fn the_text_is_well_formed_and_tells_the_numbers() {
    let server = Server::start();
    server.store.put(b"k", b"v");
    let mut client = server.client();
    client.get("/nothing");
    let answer = client.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let samples = check(answer.text());
    let expect = |name: &str, labels: &str, value: f64| {
        let key = format!("{name}{{node=\"node-1\"{labels}}}");
        assert_eq!(samples.get(&key), Some(&value), "{key}");
    };
    for (name, value) in [
        ("items_total", 1.0),
        ("memory_bytes", 1_000.0),
        ("hits_total", 3.0),
        ("misses_total", 1.0),
        ("evictions_total", 0.0),
        ("errors_total", 0.0),
        ("hit_rate", 0.75),
        ("memory_pressure", 0.25),
        ("cluster_healthy", 1.0),
        ("cluster_size", 3.0),
        ("up", 1.0),
        ("operations_total_get", 6.0),
        ("operations_total_set", 0.0),
        ("operations_total_del", 0.0),
        ("raft_term", 2.0),
        ("raft_is_leader", 1.0),
        ("raft_last_log_index", 10.0),
        ("raft_applied_index", 9.0),
        ("raft_voters", 3.0),
        ("held_back_total", 4.0),
        ("indoubt_total", 5.0),
        ("http_connections", 1.0),
        ("partition_sync_sent_bytes_total", 0.0),
        ("partition_sync_spared_bytes_total", 9_000.0),
        ("operation_duration_seconds_del_count", 0.0),
    ] {
        expect(&format!("hypercache_{name}"), "", value);
    }
    expect("hypercache_partitions", ",role=\"primary\"", 86.0);
    expect("hypercache_partition_syncs_total", ",by=\"difference\"", 8.0);
    expect("hypercache_gossip_members", ",state=\"suspect\"", 1.0);
    expect("hypercache_commands_total", ",cmd=\"get\"", 6.0);
    expect("hypercache_commands_failed_total", ",cmd=\"get\"", 1.0);
    expect("hypercache_http_responses_total", ",code=\"4xx\"", 1.0);
    expect("hypercache_replication_lag_records", ",peer=\"a \\\"node\\\"\\\\\"", 7.0);
    for (le, value) in [("0.000001024", 3.0), ("0.000002048", 5.0), ("1.073741824", 5.0), ("+Inf", 6.0)] {
        expect("hypercache_operation_duration_seconds_get_bucket", &format!(",le=\"{le}\""), value);
        expect("hypercache_command_duration_seconds_bucket", &format!(",cmd=\"get\",le=\"{le}\""), value);
    }
    expect("hypercache_operation_duration_seconds_get_sum", "", 9e-6);
    expect("hypercache_operation_duration_seconds_get_count", "", 6.0);
}
