//! What is refused, and how the connection fares.

use crate::server::{BODY_MAX, Server};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn bad_bodies_are_refused_with_the_reason() {
    let server = Server::start();
    let mut client = server.client();
    for (body, why) in [
        ("{\"value\": }", "column 11"),
        ("{}", "\"value\" is missing"),
        ("[1]", "JSON object"),
        ("{\"value\":\"x\"", "EOF"),
        ("value=x", "JSON object"),
    ] {
        let answer = client.put("/api/cache/k", body);
        assert_eq!((answer.status, &answer.json()["success"]), (400, &json!(false)));
        assert!(
            answer.json()["message"].as_str().is_some_and(|text| text.contains(why)),
            "{body}: {}",
            answer.text()
        );
    }
    assert_eq!(client.ask("PUT", "/api/cache/k", "", b"").status, 400, "no body at all");
    assert!(server.store.get(b"k").is_none());
}

#[test]
fn bodies_are_limited_in_every_framing() {
    let server = Server::start();
    let mut client = server.client();
    let envelope = "{\"value\":\"\"}".len();
    let fits = format!("{{\"value\":\"{}\"}}", "x".repeat(BODY_MAX - envelope));
    assert_eq!(client.put("/api/cache/k", &fits).status, 200);
    let read = client.get("/api/cache/k").json();
    assert_eq!(read["data"]["value"].as_str().map(str::len), Some(BODY_MAX - envelope));
    let over = format!("{fits} ");
    let refused = client.put("/api/cache/big", &over);
    assert_eq!(refused.status, 413);
    assert!(refused.text().contains("http-max-body"), "{}", refused.text());
    assert_eq!(client.get("/api/cache/k").status, 200, "the connection goes on");

    client.send(b"PUT /api/cache/chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(b"6\r\n{\"valu\r\n9\r\ne\":\"abc\"}\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(server.store.get(b"chunks").as_deref(), Some(&b"abc"[..]));

    let mut client = server.client();
    client.send(b"PUT /api/cache/big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("{:x}\r\n{over}\r\n", over.len()).as_bytes());
    client.send(b"0\r\n\r\n");
    assert_eq!(client.answer().status, 413);
    assert_eq!(client.get("/api/cache/k").status, 200, "the connection goes on");

    // Whoever asks before sending is told at once.
    let mut client = server.client();
    client.send(
        format!(
            "PUT /api/cache/big HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            BODY_MAX + 1
        )
        .as_bytes(),
    );
    let refused = client.answer();
    assert_eq!((refused.status, refused.header("connection")), (413, Some("close")));
    assert!(client.is_closed());
    assert!(server.store.get(b"big").is_none());
}

#[test]
fn unknown_paths_and_methods_are_told_so() {
    let server = Server::start();
    let mut client = server.client();
    for path in ["/nothing", "/api/cache", "/health/", "/api/filter/check"] {
        let answer = client.get(path);
        assert_eq!((answer.status, &answer.json()["error"]), (404, &json!("Not Found")));
    }
    for (method, path, allow) in [
        ("PATCH", "/api/cache/k", "GET, HEAD, PUT, POST, DELETE"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
        ("GET", "/api/cluster/leave", "POST"),
        ("GET", "/api/cluster/forget/x", "POST"),
        ("OPTIONS", "/", "GET, HEAD"),
    ] {
        let answer = client.ask(method, path, "", b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
        assert_eq!(answer.json()["success"], json!(false));
    }
    assert!(!server.cluster.left.load(Ordering::Relaxed));
}

#[test]
fn every_response_carries_a_correlation_id() {
    let server = Server::start();
    let mut client = server.client();
    let given = client.ask("GET", "/api/cache/k", "X-Correlation-ID: order 7/a\r\n", b"");
    assert_eq!(given.header("x-correlation-id"), Some("order 7/a"));
    let mut made = Vec::new();
    for (path, headers) in [
        ("/api/cache/k", ""),
        ("/health", ""),
        ("/nothing", ""),
        ("/metrics", "x-correlation-id: \t \r\n"),
        ("/", ""),
    ] {
        let id = client.ask("GET", path, headers, b"").header("x-correlation-id").expect("an id").to_owned();
        assert!(id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
        assert!(!made.contains(&id), "{id} was made twice");
        made.push(id);
    }
    let long = client.ask("GET", "/health", &format!("X-Correlation-ID: {}\r\n", "x".repeat(129)), b"");
    assert_eq!(long.header("x-correlation-id").map(str::len), Some(16));
}

#[test]
fn passwords_are_asked_for_except_by_probes() {
    let server = Server::start();
    server.store.put(b"k", b"v");
    server.door.closed.store(true, Ordering::Relaxed);
    let mut client = server.client();
    for path in ["/api/cache/k", "/metrics", "/", "/api/cluster/status", "/api/events/stream", "/nothing"] {
        let refused = client.get(path);
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.header("www-authenticate").is_some_and(|asked| asked.starts_with("Basic ")));
        assert_eq!(client.ask("GET", path, "Authorization: Bearer wrong\r\n", b"").status, 401);
    }
    assert_eq!(client.put("/api/cache/k", "{\"value\":1}").status, 401);
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    for header in ["Authorization: Bearer sesame\r\n", "Authorization: Basic ZGVmYXVsdDpzZXNhbWU=\r\n"] {
        assert_eq!(client.ask("GET", "/api/cache/k", header, b"").status, 200);
        assert_eq!(client.ask("GET", "/api/cluster/status", header, b"").status, 200);
    }
    assert_eq!(server.store.get(b"k").as_deref(), Some(&b"v"[..]));
}

#[test]
fn users_may_do_over_http_what_they_may_do() {
    let server = Server::start();
    server.store.put(b"k", b"v");
    server.door.closed.store(true, Ordering::Relaxed);
    let mut client = server.client();
    let header = "Authorization: Bearer reader:sesame\r\n";
    assert_eq!(client.ask("GET", "/api/cache/k", header, b"").status, 200);
    assert_eq!(client.ask("GET", "/api/cache/other", header, b"").status, 403);
    let refused = client.ask("PUT", "/api/cache/k", header, b"{\"value\":1}");
    assert!(refused.status == 403 && refused.text().contains("\"error\":\"NOPERM\""), "{}", refused.text());
    for (method, path) in
        [("DELETE", "/api/cache/k"), ("GET", "/metrics"), ("GET", "/"), ("POST", "/api/cluster/leave")]
    {
        assert_eq!(client.ask(method, path, header, b"").status, 403, "{path}");
    }
    assert_eq!(server.store.get(b"k").as_deref(), Some(&b"v"[..]));
}

#[test]
fn foreign_pages_change_nothing() {
    let server = Server::start();
    server.store.put(b"k", b"v");
    // Each on a connection of its own: a request refused before its body was read may end its connection.
    let post = |path, headers, body| server.client().ask("POST", path, headers, body).status;
    let foreign = "Sec-Fetch-Site: cross-site\r\n";
    assert_eq!(post("/api/cluster/leave", foreign, b""), 403);
    assert_eq!(post("/api/cache/k", foreign, b"{\"value\":1}"), 403);
    assert_eq!(post("/api/cache/k", "Sec-Fetch-Site: same-origin\r\n", b"{\"value\":1}"), 200);
    assert!(!server.cluster.left.load(Ordering::Relaxed));
}

#[test]
fn requests_may_be_pipelined() {
    let server = Server::start();
    server.store.put(b"k", b"v");
    let mut client = server.client();
    let requests =
        ["far:k", "k", "none"].map(|key| format!("GET /api/cache/{key} HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.send(requests.concat().as_bytes());
    let statuses = [client.answer(), client.answer(), client.answer()].map(|answer| answer.status);
    assert_eq!(statuses, [404, 200, 404]);
}

#[test]
fn nonsense_ends_its_connection_only() {
    let server = Server::start();
    for nonsense in [&b"*1\r\n$4\r\nPING\r\n"[..], b"\x16\x03\x01\x02", b"GET\r\n\r\n", &[b'x'; 200_000]] {
        let mut client = server.client();
        // The server may close before everything is written.
        let _ = std::io::Write::write_all(&mut client.raw(), nonsense);
        let _ = client.raw().shutdown(std::net::Shutdown::Write);
        while !client.is_closed() {
            client.skip();
        }
    }
    assert_eq!(server.client().get("/livez").status, 200);
}

#[test]
fn a_stop_lets_requests_under_way_end() {
    let mut server = Server::start();
    let mut idle = server.client();
    assert_eq!(idle.get("/livez").status, 200);
    let mut busy = server.client();
    busy.send(b"PUT /api/cache/k HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{\"value");
    std::thread::sleep(Duration::from_millis(100));
    server.stop();
    std::thread::sleep(Duration::from_millis(100));
    assert!(idle.is_closed());
    assert!(std::net::TcpStream::connect(server.address).is_err(), "nothing new is accepted");
    busy.send(b"\":1}");
    let answer = busy.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    server.join();
    assert!(server.store.get(b"k").is_some());
}
