//! Handshakes over real sockets: who gets in, who does not, and why.

use super::*;
use bytes::Bytes;
use cluster::{ClusterMap, MapCommand, Member, MemberState};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const ACCEPTOR: NodeId = NodeId(2);
const DIALER: NodeId = NodeId(1);

/// A map that knows node 1 in incarnation 10.
fn map() -> ClusterMap {
    let mut map = ClusterMap::default();
    map.apply(&MapCommand::Bootstrap { cluster_id: 7, partitions: 1, replication_factor: 1 });
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let member = Member {
        node: DIALER,
        incarnation: 10,
        name: "one".into(),
        zone: None,
        weight: 1,
        resp: address,
        http: address,
        gossip: address,
        state: MemberState::Up,
        recovered: Vec::new(),
    };
    map.apply(&MapCommand::Register { member });
    map
}

/// Serves one node's links on a free port; what their handshakes came to is sent to the receiver.
async fn serve(links: Links) -> (SocketAddr, mpsc::UnboundedReceiver<Result<Link, LinkError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (done, results) = mpsc::unbounded_channel();
    let links = Arc::new(links);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (links, done) = (Arc::clone(&links), done.clone());
            let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
                let (links, done) = (Arc::clone(&links), done.clone());
                async move {
                    let response: Response<Full<Bytes>> = match links.greet(&mut request, &map()) {
                        Greeted::Refused(refusal) => refusal,
                        Greeted::Welcome(response, greeting) => {
                            tokio::spawn(async move { done.send(greeting.finish().await) });
                            response
                        }
                    };
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service).with_upgrades());
        }
    });
    (address, results)
}

fn dialer(incarnation: u64, secret: &str, cluster: u64) -> Links {
    let links = Links::new(DIALER, incarnation, secret, false);
    links.set_cluster(cluster);
    links
}

fn acceptor(secret: &str, open_allowed: bool) -> Links {
    let links = Links::new(ACCEPTOR, 20, secret, open_allowed);
    links.set_cluster(7);
    links
}

fn target(http: SocketAddr) -> Target {
    Target { node: ACCEPTOR, incarnation: 20, http }
}

const DATA: Kind = Kind::Data { worker: 3 };

#[tokio::test]
async fn both_ends_know_each_other_and_bytes_flow() {
    let (http, mut results) = serve(acceptor("hush", false)).await;
    let mut near = dialer(10, "hush", 7).dial(target(http), DATA).await.expect("welcome");
    near.stream.write_all(b"first").await.expect("open");
    let mut far = results.recv().await.expect("served").expect("welcome");
    assert_eq!((near.node, near.incarnation, far.node, far.incarnation), (ACCEPTOR, 20, DIALER, 10));
    let mut seen = far.early.clone();
    seen.resize(5, 0);
    far.stream.read_exact(&mut seen[far.early.len()..]).await.expect("open");
    assert_eq!(seen, b"first");
    far.stream.write_all(b"second").await.expect("open");
    let mut seen = [0; 6];
    near.stream.read_exact(&mut seen).await.expect("open");
    assert_eq!(&seen, b"second");
}

#[tokio::test]
async fn strangers_are_refused_with_a_reason() {
    let (http, _results) = serve(acceptor("hush", false)).await;
    let mut cases = vec![
        (dialer(10, "other", 7), target(http), DATA, 401, "another cluster-secret"),
        (dialer(10, "hush", 8), target(http), DATA, 409, "part of another cluster"),
        (dialer(9, "hush", 7), target(http), DATA, 409, "incarnation 9 has been replaced by 10"),
        (dialer(9, "hush", 7), target(http), Kind::Control, 409, "replaced by 10"),
        (dialer(11, "hush", 7), target(http), DATA, 409, "not registered here yet"),
    ];
    let wrong = Target { incarnation: 19, ..target(http) };
    cases.push((dialer(10, "hush", 7), wrong, DATA, 409, "this is incarnation 20, not 19"));
    let wrong = Target { node: NodeId(3), ..target(http) };
    cases.push((dialer(10, "hush", 7), wrong, DATA, 409, "this is node 0000000000000002"));
    for (links, target, kind, status, words) in cases {
        match links.dial(target, kind).await {
            Err(LinkError::Refused { status: seen, reason }) => {
                assert!(seen == status && reason.contains(words), "{seen} {reason}, wanted {status} {words}");
            }
            other => panic!("{other:?}, wanted {status} {words}"),
        }
    }
    let joining = dialer(11, "hush", 0).dial(Target { incarnation: 0, ..target(http) }, Kind::Control).await;
    assert_eq!(joining.expect("a newcomer may ask to join").incarnation, 20);
}

#[tokio::test]
async fn without_a_secret_links_are_open_only_where_that_is_allowed() {
    let (http, _results) = serve(acceptor("", false)).await;
    let open = || {
        let links = Links::new(DIALER, 10, "", true);
        links.set_cluster(7);
        links
    };
    let refused = open().dial(target(http), DATA).await.expect_err("closed").to_string();
    assert!(refused.contains("403") && refused.contains("cluster-secret"), "{refused}");
    assert!(matches!(dialer(10, "", 7).dial(target(http), DATA).await, Err(LinkError::NoSecret)));
    let (http, mut results) = serve(acceptor("", true)).await;
    open().dial(target(http), DATA).await.expect("open to all");
    results.recv().await.expect("served").expect("open to all");
}

/// A node in the middle that has recorded a good handshake cannot use any of it again.
#[tokio::test]
async fn a_recorded_handshake_is_worth_nothing() {
    let (http, mut results) = serve(acceptor("hush", false)).await;
    let recorder = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let through = recorder.local_addr().expect("bound");
    let dialing = tokio::spawn(async move { dialer(10, "hush", 7).dial(target(through), DATA).await });
    let (mut near, _) = recorder.accept().await.expect("dialed");
    let mut far = TcpStream::connect(http).await.expect("listening");
    let request = relay_head(&mut near, &mut far).await;
    let answer = relay_head(&mut far, &mut near).await;
    let mut mac = [0; MAC_BYTES];
    near.read_exact(&mut mac).await.expect("sent");
    far.write_all(&mac).await.expect("open");
    dialing.await.expect("no panic").expect("the relay is faithful");
    results.recv().await.expect("served").expect("the relay is faithful");

    // The same request and MAC again: the acceptor's nonce is new.
    let mut replay = TcpStream::connect(http).await.expect("listening");
    replay.write_all(&request).await.expect("open");
    let mut sink = Vec::new();
    while !sink.ends_with(b"\r\n\r\n") {
        assert_ne!(replay.read_buf(&mut sink).await.expect("open"), 0);
    }
    assert!(sink.starts_with(b"HTTP/1.1 101"));
    replay.write_all(&mac).await.expect("open");
    assert!(matches!(results.recv().await.expect("served"), Err(LinkError::Authentication)));

    // The recorded answer to a new request: the dialer's nonce is new.
    let dialing = tokio::spawn(async move { dialer(10, "hush", 7).dial(target(through), DATA).await });
    let (mut near, _) = recorder.accept().await.expect("dialed");
    near.write_all(&answer).await.expect("open");
    assert!(matches!(dialing.await.expect("no panic"), Err(LinkError::Authentication)));
}

async fn relay_head(from: &mut TcpStream, to: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_ne!(from.read_buf(&mut bytes).await.expect("open"), 0, "closed early");
    }
    to.write_all(&bytes).await.expect("open");
    bytes
}

#[tokio::test]
async fn what_is_not_a_handshake_is_refused() {
    let (http, mut results) = serve(acceptor("hush", false)).await;
    let mut stream = TcpStream::connect(http).await.expect("listening");
    stream.write_all(b"GET /internal/link HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("open");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("answered");
    assert_eq!(answer, b"HTTP/1.1 400");
    // Nor is that of another version, which is told what is spoken here.
    let mut older = TcpStream::connect(http).await.expect("listening");
    let request = b"GET /internal/link HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: hypercache-link/1\r\n\r\n";
    older.write_all(request).await.expect("open");
    let mut answer = Vec::new();
    older.read_to_end(&mut answer).await.expect("answered and closed");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(PROTOCOL), "{answer}");
    // A dialer that never sends its MAC is let go.
    let links = dialer(10, "hush", 7);
    let offer = Offer {
        cluster: 7,
        from: DIALER,
        from_incarnation: 10,
        to: ACCEPTOR,
        to_incarnation: 20,
        kind: DATA,
        nonce: nonce(),
    };
    let key = links.key.as_ref().expect("a secret was given");
    let proof = hex::encode(&mac_bytes(key.hello(&offer)));
    let request = format!(
        "GET {LINK_PATH} HTTP/1.1\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n{}: 7\r\n{}: 1\r\n{}: 10\r\n\
         {}: 2\r\n{}: 20\r\n{}: {DATA}\r\n{}: {}\r\n{}: {proof}\r\nhost: x\r\n\r\n",
        header::CLUSTER,
        header::FROM,
        header::FROM_INCARNATION,
        header::TO,
        header::TO_INCARNATION,
        header::KIND,
        header::NONCE,
        hex::encode(&offer.nonce),
        header::MAC,
    );
    let mut silent = TcpStream::connect(http).await.expect("listening");
    silent.write_all(request.as_bytes()).await.expect("open");
    assert!(matches!(results.recv().await.expect("served"), Err(LinkError::Timeout)));
}
