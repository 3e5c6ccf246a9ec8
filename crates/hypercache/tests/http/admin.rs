//! Health, administration, dashboard, links.

use crate::server::Server;
use serde_json::json;
use std::sync::atomic::Ordering;

#[test]
fn health_liveness_and_readiness() {
    let server = Server::start();
    let mut client = server.client();
    let health = |healthy: bool| json!({"healthy": healthy, "node": "node-1", "cluster_size": 3});
    let answer = client.get("/health");
    assert_eq!((answer.status, answer.json()), (200, health(true)));
    let answer = client.get("/readyz");
    assert_eq!((answer.status, answer.json()), (200, json!({"ready": true, "node": "node-1"})));
    server.cluster.ready.store(false, Ordering::Relaxed);
    let answer = client.get("/readyz");
    assert_eq!(answer.status, 503);
    assert!(
        answer.json()["reason"].as_str().is_some_and(|why| why.contains("partition")),
        "{}",
        answer.text()
    );
    server.cluster.healthy.store(false, Ordering::Relaxed);
    assert!(client.get("/readyz").text().contains("lease"));
    let answer = client.get("/health");
    assert_eq!((answer.status, answer.json()), (503, health(false)));
    server.cluster.failure.set("the disk is \"full\"".to_owned()).expect("once");
    let answer = client.get("/health");
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &json!("the disk is \"full\"")));
    assert_eq!(client.get("/livez").status, 200, "alive, whatever the cluster does");
}

#[test]
fn status_leave_and_forget() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.get("/api/cluster/status").json(), json!({"cluster_id": "c1", "members": []}));
    let answer = client.ask("POST", "/api/cluster/forget/node%202", "", b"{}");
    assert_eq!((answer.status, &answer.json()["success"]), (200, &json!(true)));
    assert_eq!(*server.cluster.forgotten.lock(), ["node 2"]);
    let answer = client.ask("POST", "/api/cluster/forget/nobody", "", b"");
    assert_eq!((answer.status, &answer.json()["message"]), (409, &json!("no member is called nobody")));
    assert_eq!(client.ask("POST", "/api/cluster/forget/", "", b"").status, 400);
    let answer = client.ask("POST", "/api/cluster/leave", "", b"{}");
    assert_eq!((answer.status, &answer.json()["success"]), (200, &json!(true)));
    assert!(server.cluster.left.load(Ordering::Relaxed));
}

#[test]
fn filters_and_what_digests_have_spared() {
    let server = Server::start();
    let answer = server.client().get("/api/filter/stats");
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let expected = json!({
        "node": "node-1",
        "stats": {
            "filters": 3, "size": 40, "capacity": 100, "load_factor": 0.4, "memory_usage": 600,
            "cuckoo": {"filters": 2, "size": 30, "capacity": 80, "load_factor": 0.375, "memory_usage": 500},
            "bloom": {"filters": 1, "size": 10, "capacity": 20, "load_factor": 0.5, "memory_usage": 100},
        },
        "digests": {
            "syncs_by_backlog": 0, "syncs_by_difference": 7, "syncs_whole": 0, "bytes_sent": 70, "bytes_spared": 0,
        },
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(server.client().ask("POST", "/api/filter/stats", "", b"").status, 405);
}

#[test]
fn the_dashboard_comes_with_a_policy() {
    let server = Server::start();
    let answer = server.client().get("/");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(answer.text(), hypercache::dashboard::page());
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
}

#[test]
fn links_get_the_connection_itself() {
    let server = Server::start();
    server.door.closed.store(true, Ordering::Relaxed);
    let mut client = server.client();
    let answer =
        client.ask("GET", "/internal/link", "Connection: Upgrade\r\nUpgrade: hypercache-link\r\n", b"");
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("hypercache-link")));
    assert_eq!(client.read_exact(6), b"linked");
    assert_eq!(server.client().get("/internal/link").status, 426);
}
