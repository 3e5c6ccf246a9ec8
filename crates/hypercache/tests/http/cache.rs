//! The cache API: shapes of the responses, keys, values, times to live.

use crate::server::Server;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

#[test]
fn what_is_stored_is_read_and_deleted() {
    let server = Server::start();
    let mut client = server.client();
    let stored = client.put("/api/cache/k", "{\"value\":\"hello\"}");
    assert_eq!(stored.status, 200);
    assert_eq!(
        stored.json(),
        json!({"success": true, "message": "Stored locally", "node": "node-1", "primary": "node-1"})
    );
    let read = client.get("/api/cache/k");
    let expected = json!({
        "success": true, "data": {"key": "k", "value": "hello"},
        "node": "node-1", "primary": "node-1", "local": true, "forwarded": false
    });
    assert_eq!((read.status, read.json()), (200, expected));
    assert_eq!(read.header("content-type"), Some("application/json"));
    let deleted = client.ask("DELETE", "/api/cache/k", "", b"");
    let expected = |deleted: bool| json!({"success": true, "message": "Delete processed", "node": "node-1", "primary": "node-1", "deleted": deleted});
    assert_eq!((deleted.status, deleted.json()), (200, expected(true)));
    assert_eq!(client.ask("DELETE", "/api/cache/k", "", b"").json(), expected(false));
    let missing = client.get("/api/cache/k");
    let expected = json!({
        "success": false, "message": "Key not found", "error": "Key not found",
        "node": "node-1", "primary": "node-1", "local": true, "forwarded": false
    });
    assert_eq!((missing.status, missing.json()), (404, expected));
}

#[test]
fn keys_of_other_nodes_say_where_they_live() {
    let server = Server::start();
    let mut client = server.client();
    let stored = client.ask("POST", "/api/cache/far:1", "", b"{\"value\":1,\"ttl\":null}");
    let expected = json!({"success": true, "message": "Forwarded to primary node", "node": "node-1", "primary": "node-2"});
    assert_eq!(stored.json(), expected);
    let read = client.get("/api/cache/far:1").json();
    assert_eq!(
        (&read["primary"], &read["local"], &read["forwarded"]),
        (&json!("node-2"), &json!(false), &json!(true))
    );
    assert_eq!(read["data"]["value"], json!(1));
    assert_eq!(client.get("/api/cache/far:2").status, 404);
    assert_eq!(client.ask("DELETE", "/api/cache/far:1", "", b"").json()["primary"], json!("node-2"));
}

#[test]
fn local_reads_take_no_detour() {
    let server = Server::start();
    server.store.put(b"k", b"v");
    let mut client = server.client();
    for _ in 0..3 {
        assert_eq!(client.get("/api/cache/k").status, 200);
        assert_eq!(client.get("/api/cache/none").status, 404);
    }
    assert_eq!(server.store.calls.load(Ordering::Relaxed), 0);
    assert_eq!(client.get("/api/cache/far:k").status, 404);
    assert_eq!(server.store.calls.load(Ordering::Relaxed), 1);
}

#[test]
fn keys_are_any_bytes() {
    let server = Server::start();
    let mut client = server.client();
    let every: Vec<u8> = (0..=255).collect();
    for key in [
        &b"plain"[..],
        b"a b/c?d#e%f+g&h=i",
        b"\"quoted\\\"",
        "caf\u{e9} \u{1f600}".as_bytes(),
        b"\xff\x00\n",
        &every,
    ] {
        let path: String = key.iter().map(|byte| format!("%{byte:02x}")).collect();
        let path = format!("/api/cache/{path}");
        assert_eq!(client.put(&path, "{\"value\":\"v\"}").status, 200);
        assert_eq!(server.store.get(key).as_deref(), Some(&b"v"[..]), "{key:?}");
        assert_eq!(client.get(&path).json()["data"]["key"], json!(String::from_utf8_lossy(key)));
    }
    // A slash and a query that are written plainly: the one belongs to the key, the other does not.
    client.put("/api/cache/a/b?ignored=1", "{\"value\":\"v\"}");
    assert!(server.store.get(b"a/b").is_some());
    let wrong = client.get("/api/cache/50%");
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("character 3"), "{}", wrong.text());
    assert_eq!(client.get("/api/cache/").status, 400);
}

#[test]
fn values_come_back_as_they_were() {
    let server = Server::start();
    let mut client = server.client();
    let values = [
        json!("text"),
        json!(""),
        json!("42"),
        json!("{\"a\":1}"),
        json!("\u{1}x\u{0}\"\\\u{1f600}"),
        json!(42),
        json!(-1.5),
        json!(true),
        json!(null),
        json!([1, "two", [3]]),
        json!({"a": {"b": [null, "x y"]}}),
    ];
    for value in values {
        for key in ["k", "far:k"] {
            let path = format!("/api/cache/{key}");
            assert_eq!(client.put(&path, &json!({"value": value, "extra": 1}).to_string()).status, 200);
            assert_eq!(client.get(&path).json()["data"]["value"], value);
            if let Value::String(text) = &value {
                assert_eq!(
                    server.store.get(key.as_bytes()).as_deref(),
                    Some(text.as_bytes()),
                    "the same over RESP"
                );
            }
        }
    }
    server.store.put(b"k", b"set over RESP \xc3\xa9");
    assert_eq!(
        client.get("/api/cache/k").json()["data"],
        json!({"key": "k", "value": "set over RESP \u{e9}"})
    );
    server.store.put(b"k", b"\xff\xfe");
    assert_eq!(
        client.get("/api/cache/k").json()["data"],
        json!({"key": "k", "value": "//4=", "encoding": "base64"})
    );
}

#[test]
fn times_to_live_reach_the_store() {
    let server = Server::start();
    let mut client = server.client();
    for (ttl, expected) in [("60", Some(60_000)), ("1.5", Some(1_500)), ("0", None), ("null", None)] {
        assert_eq!(client.put("/api/cache/k", &format!("{{\"value\":1,\"ttl\":{ttl}}}")).status, 200);
        assert_eq!(server.store.values.lock()[&b"k"[..]].1, expected, "{ttl}");
    }
    for ttl in ["-1", "\"60\"", "1e99", "true"] {
        let refused = client.put("/api/cache/k", &format!("{{\"value\":2,\"ttl\":{ttl}}}"));
        assert_eq!(refused.status, 400);
        assert!(
            refused.json()["message"].as_str().is_some_and(|why| why.contains("ttl")),
            "{}",
            refused.text()
        );
    }
    assert!(
        server.store.get(b"k").is_some_and(|value| value.starts_with(b"1")),
        "a refused request changes nothing"
    );
}

#[test]
fn error_replies_become_statuses() {
    let server = Server::start();
    let mut client = server.client();
    for (error, status) in [
        ("OOM command not allowed when used memory > 'maxmemory'.", 507),
        ("CLUSTERDOWN The cluster is down", 503),
        ("TRYAGAIN Being moved", 503),
        ("NOREPLICAS Not enough good replicas to write.", 503),
        ("INDOUBT The write was executed but not confirmed", 504),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", 409),
        ("ERR other", 500),
    ] {
        *server.store.error.lock() = Some(error);
        let (code, message) = error.split_once(' ').expect("two words");
        for answer in [
            client.get("/api/cache/k"),
            client.put("/api/cache/k", "{\"value\":1}"),
            client.ask("DELETE", "/api/cache/k", "", b""),
        ] {
            assert_eq!(answer.status, status, "{error}");
            let expected = json!({"success": false, "error": code, "message": message, "node": "node-1"});
            assert_eq!(answer.json(), expected);
            assert_eq!(answer.header("retry-after"), (status == 503).then_some("1"));
        }
    }
}

#[test]
fn a_stopping_node_says_that_it_did_not_run_the_command() {
    let server = Server::start();
    server.store.is_mute.store(true, Ordering::Relaxed);
    let mut client = server.client();
    let answer = client.get("/api/cache/far:k");
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!("Service Unavailable")));
    assert_eq!(client.put("/api/cache/k", "{\"value\":1}").status, 503);
}

#[test]
fn heads_are_reads_without_a_body() {
    let server = Server::start();
    server.store.put(b"k", b"v");
    let mut client = server.client();
    let (body, head) = (client.get("/api/cache/k"), client.ask("HEAD", "/api/cache/k", "", b""));
    assert_eq!((head.status, head.header("content-length")), (200, body.header("content-length")));
    assert_eq!(client.ask("HEAD", "/api/cache/none", "", b"").status, 404);
    assert_eq!(client.ask("HEAD", "/health", "", b"").status, 200);
    assert_eq!(client.get("/api/cache/k").status, 200, "nothing of a body is left in the stream");
}
