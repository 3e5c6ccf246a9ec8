//! Calls over real control links.

use super::super::link::{Greeted, Links, Target};
use super::*;
use bytes::Bytes;
use cluster::ClusterMap;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use stdx::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(5);

/// Node 2: answers Raft requests with the same bytes, `Stats` never, `Propose` by closing the link.
async fn node_two(listener: TcpListener) {
    let links = Arc::new(Links::new(NodeId(2), 20, "hush", false));
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let links = Arc::clone(&links);
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let links = Arc::clone(&links);
            async move {
                let (response, greeting) = match links.greet(&mut request, &ClusterMap::default()) {
                    Greeted::Refused(refusal) => {
                        return Ok::<hyper::Response<Full<Bytes>>, Infallible>(refusal);
                    }
                    Greeted::Welcome(response, greeting) => (response, greeting),
                };
                tokio::spawn(async move {
                    let link = greeting.finish().await.expect("welcome");
                    let (close, closed) = tokio::sync::mpsc::unbounded_channel::<()>();
                    let mut closed = closed;
                    tokio::select! {
                        ended = serve_link(link, |asker, request| answer(asker, request, close.clone())) => drop(ended),
                        _ = closed.recv() => {}
                    }
                });
                Ok(response)
            }
        });
        let builder = hyper::server::conn::http1::Builder::new();
        connections.spawn(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    }
}

async fn answer(asker: Asker, request: Request, close: tokio::sync::mpsc::UnboundedSender<()>) -> Answer {
    assert_eq!(asker, Asker { node: NodeId(1), incarnation: 10 });
    match request {
        Request::Raft(bytes) => Answer::Raft(bytes),
        Request::Probe => Answer::Here,
        Request::Propose(_) => {
            close.send(()).expect("open");
            std::future::pending().await
        }
        _ => std::future::pending().await,
    }
}

fn node_one() -> Peers {
    Peers::new(Arc::new(Links::new(NodeId(1), 10, "hush", false)), Clock::system())
}

async fn listening() -> (Target, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let http = listener.local_addr().expect("bound");
    (Target { node: NodeId(2), incarnation: 0, http }, listener)
}

#[tokio::test]
async fn many_calls_share_a_link_and_none_waits_for_another() {
    let (target, listener) = listening().await;
    tokio::spawn(node_two(listener));
    let peers = node_one();
    let stuck = tokio::spawn(peers.ask(target, &Request::Stats, PATIENCE));
    let mut calls = JoinSet::new();
    for number in 0..200u32 {
        let bytes = vec![number as u8; number as usize * 1_000];
        let asked = peers.ask(target, &Request::Raft(bytes.clone()), PATIENCE);
        calls.spawn(async move { asked.await.expect("answered") == Answer::Raft(bytes) });
    }
    while let Some(same) = calls.join_next().await {
        assert!(same.expect("no panic"));
    }
    assert!(!stuck.is_finished());
    stuck.abort();
}

#[tokio::test]
async fn a_late_answer_and_a_broken_link_are_errors_and_the_next_call_works() {
    let (target, listener) = listening().await;
    tokio::spawn(node_two(listener));
    let peers = node_one();
    let late = peers.ask(target, &Request::Stats, Duration::from_millis(50)).await;
    assert_eq!(late.expect_err("never answered").kind(), io::ErrorKind::TimedOut);
    let leave = Request::Propose(MapCommand::Leave { node: NodeId(1) });
    let broken = peers.ask(target, &leave, PATIENCE).await.expect_err("the link was closed");
    assert_ne!(broken.kind(), io::ErrorKind::TimedOut);
    assert_eq!(peers.ask(target, &Request::Probe, PATIENCE).await.expect("answered"), Answer::Here);
}

#[tokio::test]
async fn a_peer_that_is_not_there_fails_at_once_and_is_found_when_it_comes() {
    let (target, listener) = listening().await;
    drop(listener);
    let peers = node_one();
    let asked = Clock::system().mono();
    for _ in 0..3 {
        peers.ask(target, &Request::Probe, PATIENCE).await.expect_err("nobody is there");
    }
    assert!(Clock::system().mono().since(asked) < PATIENCE);
    let listener = TcpListener::bind(target.http).await.expect("still free");
    tokio::spawn(node_two(listener));
    for _ in 0..100 {
        if peers.ask(target, &Request::Probe, PATIENCE).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never reached");
}

#[tokio::test]
async fn impossible_frames_end_the_link() {
    for bytes in [&[0, 0, 0, 8][..], &[255; 16], &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 77]] {
        let mut stream = bytes;
        assert!(read_frame(&mut stream).await.is_err(), "{bytes:?}");
    }
    let mut cut = &Request::Probe.encode(1).expect("short")[..12];
    assert!(read_frame(&mut cut).await.is_err());
    let mut swapped = &Answer::Here.encode(1).expect("short")[..];
    let frame = read_frame(&mut swapped).await.expect("whole").expect("a frame");
    assert!(Request::decode(frame).is_err());
}
