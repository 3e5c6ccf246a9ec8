//! The event loops: whatever clients do, both behave the same, and neither loses a connection, a byte or itself.

mod server;

use hypercache::config::IoBackend;
use hypercache::io::Backend;
use node::Limits;
use server::{Server, bulk, encode};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

/// Runs a scenario on every backend that this kernel has.
fn on_each(threads: usize, limits: Limits, scenario: impl Fn(&mut Server)) {
    for (asked, expected) in [(IoBackend::Epoll, Backend::Epoll), (IoBackend::Uring, Backend::Uring)] {
        match Server::start(asked, threads, limits) {
            Ok(mut server) => {
                assert_eq!(server.backend(), expected);
                eprintln!("on {}", server.backend());
                scenario(&mut server);
            }
            Err(error) if asked == IoBackend::Uring => eprintln!("skipped on io_uring: {error}"),
            Err(error) => panic!("{asked:?}: {error}"),
        }
    }
}

/// What every scenario ends with: the server serves somebody new.
fn still_serves(server: &Server) {
    server.client().check(&[b"PING"], b"+PONG\r\n");
}

fn key(index: usize) -> Vec<u8> {
    format!("key:{index}").into_bytes()
}

#[test]
fn auto_takes_what_there_is() {
    let uring = Server::start(IoBackend::Uring, 1, Limits::default());
    let auto = Server::start(IoBackend::Auto, 1, Limits::default()).expect("epoll is always there");
    match uring {
        Ok(_) => assert_eq!(auto.backend(), Backend::Uring),
        Err(error) => {
            assert_eq!(auto.backend(), Backend::Epoll);
            assert!(error.to_string().starts_with("io-backend uring: "), "{error}");
        }
    }
    still_serves(&auto);
}

#[test]
fn pipelines_are_answered_in_order() {
    on_each(2, Limits::default(), |server| {
        for _ in 0..3 {
            let mut client = server.client();
            let (mut requests, mut replies) = (Vec::new(), Vec::new());
            for index in 0..20_000 {
                let value = vec![b'a' + (index % 26) as u8; index % 300];
                encode(&mut requests, &[b"SET", &key(index), &value]);
                encode(&mut requests, &[b"GET", &key(index)]);
                replies.extend_from_slice(b"+OK\r\n");
                replies.extend_from_slice(&bulk(&value));
            }
            let mut writing = client.stream.try_clone().expect("a second handle");
            let writer = std::thread::spawn(move || writing.write_all(&requests));
            client.expect(&replies);
            writer.join().expect("no panic").expect("the server reads");
        }
        still_serves(server);
    });
}

#[test]
fn commands_may_arrive_byte_by_byte() {
    on_each(1, Limits::default(), |server| {
        let mut client = server.client();
        for byte in b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n" {
            client.stream.write_all(&[*byte]).expect("the server reads");
        }
        client.expect(&bulk(b"hello"));
    });
}

#[test]
fn large_values_go_in_and_out() {
    on_each(2, Limits::default(), |server| {
        let value: Vec<u8> =
            (0..16 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut client = server.client();
        client.check(&[b"SET", b"large", &value], b"+OK\r\n");
        for _ in 0..2 {
            client.check(&[b"GET", b"large"], &bulk(&value));
        }
        // Half of a command that never comes whole, and the end.
        client
            .stream
            .write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nbegins")
            .expect("the server reads");
        drop(client);
        still_serves(server);
    });
}

#[test]
fn many_connections_at_once() {
    on_each(2, Limits::default(), |server| {
        let mut clients: Vec<_> = (0..500).map(|_| server.client()).collect();
        for round in 0..3 {
            for (index, client) in clients.iter_mut().enumerate() {
                client.send(&[b"SET", &key(index), format!("{round}").as_bytes()]);
                client.send(&[b"GET", &key(index)]);
            }
            for client in &mut clients {
                client.expect(b"+OK\r\n");
                client.expect(&bulk(format!("{round}").as_bytes()));
            }
        }
        still_serves(server);
    });
}

#[test]
fn clients_over_the_limit_are_told() {
    on_each(2, Limits { clients_max: 4, ..Limits::default() }, |server| {
        let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| client.check(&[b"PING"], b"+PONG\r\n"));
        assert_eq!(server.client().rest(), node::MAX_CLIENTS_REACHED);
        drop(clients);
        let mut tries = 0;
        loop {
            let mut client = server.client();
            client.send(&[b"PING"]);
            let mut reply = [0; 7];
            if client.stream.read_exact(&mut reply).is_ok() && &reply == b"+PONG\r\n" {
                return;
            }
            tries += 1;
            assert!(tries < 200, "closed connections count no more");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn abrupt_ends_harm_nobody_else() {
    on_each(2, Limits::default(), |server| {
        let mut steady = server.client();
        steady.check(&[b"SET", b"large", &vec![b'x'; 4 << 20]], b"+OK\r\n");
        for round in 0..100 {
            let mut client = server.client();
            // Unread replies make the kernel send a reset when the socket is closed.
            let reset = socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
            reset.expect("a plain socket");
            for _ in 0..round % 5 {
                client.send(&[b"GET", b"large"]);
            }
            if round % 5 > 0 && round % 3 == 0 {
                client.stream.read_exact(&mut [0; 100]).expect("the reply begins");
            }
            drop(client);
            steady.check(&[b"PING"], b"+PONG\r\n");
        }
        still_serves(server);
    });
}

#[test]
fn a_half_closed_client_gets_every_reply() {
    on_each(2, Limits::default(), |server| {
        let value = vec![b'v'; 3 << 20];
        server.client().check(&[b"SET", b"large", &value], b"+OK\r\n");
        let mut client = server.client();
        client.send(&[b"GET", b"large"]);
        client.send(&[b"GET", b"large"]);
        client.send(&[b"PING"]);
        client.stream.shutdown(Shutdown::Write).expect("a plain socket");
        let expected = [bulk(&value), bulk(&value), b"+PONG\r\n".to_vec()].concat();
        assert!(client.rest() == expected, "all replies, then the end");
        let mut silent = server.client();
        silent.stream.shutdown(Shutdown::Write).expect("a plain socket");
        assert!(silent.rest().is_empty());
    });
}

#[test]
fn quit_is_answered_and_then_the_connection_ends() {
    on_each(1, Limits::default(), |server| {
        let mut client = server.client();
        client.send(&[b"PING"]);
        client.send(&[b"QUIT"]);
        client.send(&[b"PING"]);
        assert_eq!(client.rest(), b"+PONG\r\n+OK\r\n");
    });
}

#[test]
fn a_slow_reader_keeps_nobody_waiting() {
    on_each(1, Limits::default(), |server| {
        let value = vec![b's'; 8 << 20];
        let mut quick = server.client();
        quick.check(&[b"SET", b"large", &value], b"+OK\r\n");
        let mut slow = server.client();
        for _ in 0..4 {
            slow.send(&[b"GET", b"large"]);
        }
        for index in 0..1_000 {
            quick.check(&[b"SET", &key(index), b"v"], b"+OK\r\n");
        }
        slow.send(&[b"PING"]);
        for _ in 0..4 {
            slow.expect(&bulk(&value));
        }
        slow.expect(b"+PONG\r\n");
    });
}

#[test]
fn a_reader_beyond_the_limit_is_cut_off() {
    let limits =
        Limits { output_bytes_max_normal: 8 << 20, output_bytes_max_pubsub: 8 << 20, ..Limits::default() };
    on_each(1, limits, |server| {
        let mut quick = server.client();
        quick.check(&[b"SET", b"large", &vec![b's'; 4 << 20]], b"+OK\r\n");
        let mut slow = server.client();
        slow.check(&[b"PING"], b"+PONG\r\n");
        for _ in 0..20 {
            // Fails once the server has had enough.
            let mut request = Vec::new();
            encode(&mut request, &[b"GET", b"large"]);
            if slow.stream.write_all(&request).is_err() {
                break;
            }
        }
        let mut tries = 0;
        loop {
            quick.send(&[b"CLIENT", b"LIST"]);
            let mut list = vec![0; 64 * 1024];
            let len = quick.stream.read(&mut list).expect("a reply");
            let list = String::from_utf8_lossy(&list[..len]).into_owned();
            if list.matches(" addr=").count() == 1 {
                break;
            }
            tries += 1;
            assert!(tries < 500, "it is still connected: {list}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut left = Vec::new();
        match slow.stream.read_to_end(&mut left) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert!(left.len() < 20 * (4 << 20));
    });
}

#[test]
fn a_stalled_client_is_choked_and_goes_on() {
    on_each(1, Limits::default(), |server| {
        let mut admin = server.client();
        let mut client = server.client();
        client.check(&[b"PING"], b"+PONG\r\n");
        admin.check(&[b"CLIENT", b"PAUSE", b"300", b"ALL"], b"+OK\r\n");
        let value = vec![b'p'; 100_000];
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for index in 0..100 {
            encode(&mut requests, &[b"SET", &key(index), &value]);
            replies.extend_from_slice(b"+OK\r\n");
        }
        let mut writing = client.stream.try_clone().expect("a second handle");
        let writer = std::thread::spawn(move || writing.write_all(&requests));
        client.expect(&replies);
        writer.join().expect("no panic").expect("the server reads");
    });
}

#[test]
fn malformed_input_is_refused() {
    on_each(1, Limits::default(), |server| {
        let mut client = server.client();
        client.stream.write_all(b"*1\r\n$4\r\nPING\r\n*1\r\n!oops\r\n").expect("the server reads");
        let rest = String::from_utf8(client.rest()).expect("text");
        assert!(rest.starts_with("+PONG\r\n-ERR Protocol error"), "{rest}");
        still_serves(server);
    });
}

#[test]
fn messages_cross_threads() {
    on_each(2, Limits::default(), |server| {
        let mut subscribers: Vec<_> = (0..4).map(|_| server.client()).collect();
        for client in &mut subscribers {
            client.check(&[b"SUBSCRIBE", b"news"], b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
        }
        let mut publisher = server.client();
        for _ in 0..200 {
            publisher.check(&[b"PUBLISH", b"news", b"now"], b":4\r\n");
        }
        for client in &mut subscribers {
            client.expect(&b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\nnow\r\n".repeat(200));
        }
    });
}

#[test]
fn stopping_sends_what_is_ready_and_ends_everything() {
    on_each(2, Limits::default(), |server| {
        let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| client.check(&[b"PING"], b"+PONG\r\n"));
        let value = vec![b'e'; 1 << 20];
        let mut reader = server.client();
        reader.check(&[b"SET", b"large", &value], b"+OK\r\n");
        reader.send(&[b"GET", b"large"]);
        let mut first = [0; 1];
        reader.stream.read_exact(&mut first).expect("the reply begins");
        let threads = server.stop();
        let rest = reader.rest();
        assert!([&first[..], &rest[..]].concat() == bulk(&value), "the reply is whole");
        threads.join();
        clients.iter_mut().for_each(|client| assert!(client.rest().is_empty()));
        std::net::TcpListener::bind(server.address).expect("the port is free");
    });
}
