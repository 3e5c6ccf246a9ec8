//! Load against a server of a few lines, on both wires: nothing is lost, and a stall shows in the open loop.

use super::{Command, Distribution, Format, Options, Protocol, run};
use crate::config::IoBackend;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

const REQUEST: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const CONNECTIONS: usize = 4;

/// A server of PING that stops for `stall` once `stall_at` requests have come on all connections.
fn server(stall_at: usize, stall: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let answered = Arc::new(AtomicUsize::new(0));
    let serve = move |mut stream: TcpStream, answered: &AtomicUsize| {
        let (mut buffer, mut bytes) = (vec![0; 64 * 1024], 0);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            bytes += count;
            let requests = bytes / REQUEST.len();
            bytes %= REQUEST.len();
            let before = answered.fetch_add(requests, Ordering::Relaxed);
            if before + requests >= stall_at {
                // Every connection meets the stall, or the others would take its requests.
                let left = stall_at.saturating_add(CONNECTIONS) > before;
                sleep(if left { stall } else { Duration::ZERO });
            }
            if stream.write_all(&b"+PONG\r\n".repeat(requests)).is_err() {
                return;
            }
        }
    };
    spawn(move || {
        for stream in listener.incoming().take(CONNECTIONS) {
            let answered = Arc::clone(&answered);
            spawn(move || serve(stream.expect("a client"), &answered));
        }
    });
    port
}

fn options(port: u16, backend: IoBackend) -> Options {
    Options {
        host: "127.0.0.1".into(),
        port,
        password: None,
        protocol: Protocol::Resp,
        command: Command::Ping,
        threads: 1,
        connections: CONNECTIONS,
        pipeline: 1,
        distribution: Distribution::Uniform,
        keys: 1,
        key_size: 16,
        value_size: 1,
        read_ratio: 1.0,
        ttl_s: None,
        populate: false,
        wait: None,
        rate: None,
        warmup: Duration::ZERO,
        duration: Duration::ZERO,
        requests: None,
        seed: 1,
        backend,
    }
}

/// Runs what `adapt` makes of the options on every wire that works here.
fn check(stall_at: usize, stall: Duration, adapt: impl Fn(&mut Options), expect: impl Fn(&Value)) {
    for backend in [IoBackend::Epoll, IoBackend::Uring] {
        let mut options = options(server(stall_at, stall), backend);
        adapt(&mut options);
        let report = match run(&options) {
            Err(error) if error.starts_with("no io_uring here") => continue,
            report => report.expect("the server answers everything"),
        };
        expect(&serde_json::from_str(&report.render(Format::Json)).expect("it is JSON"));
    }
}

#[test]
fn every_request_is_answered_and_counted() {
    for pipeline in [1, 7, 10_000] {
        let requests = 60_000;
        let adapt = |options: &mut Options| (options.pipeline, options.requests) = (pipeline, Some(requests));
        check(usize::MAX, Duration::ZERO, adapt, |report| {
            assert_eq!(report["operations"], requests);
            assert_eq!(report["bytes_sent"], requests * REQUEST.len() as u64);
            assert_eq!(report["bytes_received"], requests * 7);
            assert_eq!(report["errors"], 0);
        });
    }
}

#[test]
fn a_stall_delays_all_that_fell_due_during_it() {
    let stall = Duration::from_millis(200);
    let adapt = |options: &mut Options| {
        options.rate = Some(2_000.0);
        options.duration = Duration::from_millis(500);
    };
    check(300, stall, adapt, |report| {
        // 400 of 1,000 requests fall due while nobody answers, and only four are under way: without the correction the
        // tenth slowest of a hundred would know nothing of it.
        let p90 = report["latency_us"]["p90"].as_f64().expect("a number");
        assert!(p90 > 80_000.0, "{report:#}");
        assert_eq!(report["rate_asked"], 2_000.0);
    });
}
