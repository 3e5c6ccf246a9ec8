//! The event stream.

use crate::client::Client;
use crate::server::Server;
use hypercache::http::STREAMS_MAX;
use serde_json::{Value, json};
use std::time::Duration;

fn open(server: &Server) -> Client {
    let mut client = server.client();
    client.send(b"GET /api/events/stream HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.header("cache-control"), Some("no-store"));
    client
}

/// The next event; the lines of the chunked framing in between are passed over.
fn next(client: &mut Client) -> (String, Value) {
    loop {
        let line = client.line();
        if let Some(kind) = line.strip_prefix("event: ") {
            let data = client.line();
            let data = data.strip_prefix("data: ").expect("data follows its event");
            return (kind.to_owned(), serde_json::from_str(data).expect("data is JSON"));
        }
    }
}

fn next_of(client: &mut Client, kind: &str) -> Value {
    loop {
        let (found, data) = next(client);
        if found == kind {
            return data;
        }
    }
}

#[test]
fn status_ring_and_log_arrive() {
    let server = Server::start();
    let mut client = open(&server);
    assert_eq!(next(&mut client), ("log".to_owned(), json!([{"text": "before"}])));
    let status = next_of(&mut client, "status");
    assert_eq!(
        status,
        json!({"status": {"cluster_id": "c1", "members": []}, "nodes": {"node-1": {"keys": 1}}})
    );
    assert_eq!(next(&mut client), ("ring".to_owned(), json!([{"partition": 0}])));
    server.cluster.happened.send(json!({"text": "now"})).expect("the stream listens");
    assert_eq!(next(&mut client), ("log".to_owned(), json!({"text": "now"})));
    assert_eq!(next(&mut client).0, "status");
    assert_eq!(next(&mut client).0, "status", "the ring is not told again while it stays the same");
    *server.cluster.ring.lock() = "[{\"partition\":1}]".to_owned();
    assert_eq!(next_of(&mut client, "ring"), json!([{"partition": 1}]));
}

#[test]
fn streams_are_limited_and_end_with_their_client() {
    let mut server = Server::start();
    let mut streams: Vec<Client> = (0..STREAMS_MAX).map(|_| open(&server)).collect();
    assert_eq!(server.client().get("/api/events/stream").status, 503);
    streams.pop();
    let reopened = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        let mut client = server.client();
        client.send(b"GET /api/events/stream HTTP/1.1\r\nHost: x\r\n\r\n");
        client.head().status == 200
    });
    assert!(reopened, "the place of a client that went is free again");
    server.stop();
    server.join();
    for stream in &mut streams {
        while !stream.is_closed() {
            stream.skip();
        }
    }
}
