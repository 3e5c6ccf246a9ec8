//! The reply writer: the exact bytes of every kind of reply in both versions.

use protocol::reply::ONE;
use protocol::{Reply, Version};

/// What `write` appends, in RESP2 and in RESP3.
fn check(write: impl Fn(&mut Reply<'_>), resp2: &str, resp3: &str) {
    for (version, expect) in [(Version::Resp2, resp2), (Version::Resp3, resp3)] {
        let mut out = b"before".to_vec();
        write(&mut Reply::new(&mut out, version));
        assert_eq!(String::from_utf8_lossy(&out), format!("before{expect}"), "{version:?}");
    }
}

fn check_same(write: impl Fn(&mut Reply<'_>), expect: &str) {
    check(write, expect, expect);
}

#[test]
fn same_in_both_versions() {
    check_same(|reply| reply.ok(), "+OK\r\n");
    check_same(|reply| reply.pong(), "+PONG\r\n");
    check_same(|reply| reply.queued(), "+QUEUED\r\n");
    check_same(|reply| reply.simple("a\r\nb"), "+a  b\r\n");
    check_same(|reply| reply.error("ERR bad\nline"), "-ERR bad line\r\n");
    check_same(|reply| reply.bulk(b""), "$0\r\n\r\n");
    check_same(|reply| reply.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n");
    check_same(|reply| reply.bulk_integer(-42), "$3\r\n-42\r\n");
    check_same(|reply| reply.array(12), "*12\r\n");
    for value in [0, 7, 10, 99, 100, 999, 1_000, 1_234, 9_999, 10_000, 12_345, -1, i64::MAX, i64::MIN] {
        check_same(|reply| reply.integer(value), &format!(":{value}\r\n"));
    }
    for len in [9, 10, 99, 100, 999, 1_000, 1_024, 9_999, 10_000, 70_000] {
        let text = "x".repeat(len);
        check_same(|reply| reply.bulk(text.as_bytes()), &format!("${len}\r\n{text}\r\n"));
    }
}

#[test]
fn by_version() {
    check(|reply| reply.null(), "$-1\r\n", "_\r\n");
    check(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
    check(|reply| reply.map(6), "*12\r\n", "%6\r\n");
    check(|reply| reply.set(3), "*3\r\n", "~3\r\n");
    check(|reply| reply.push(2), "*2\r\n", ">2\r\n");
    check(|reply| reply.double(10.5), "$4\r\n10.5\r\n", ",10.5\r\n");
    check(|reply| reply.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    check(|reply| reply.boolean(true), ":1\r\n", "#t\r\n");
    check(|reply| reply.boolean(false), ":0\r\n", "#f\r\n");
    check(|reply| reply.big_number("-123"), "$4\r\n-123\r\n", "(-123\r\n");
    check(|reply| reply.verbatim("txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
    check(
        |reply| {
            if reply.attribute(1) {
                reply.bulk(b"k");
                reply.integer(1);
            }
            reply.ok();
        },
        "+OK\r\n",
        "|1\r\n$1\r\nk\r\n:1\r\n+OK\r\n",
    );
}

#[test]
fn deferred_lengths_nest() {
    let write = |reply: &mut Reply<'_>| {
        let outer = reply.array_begin();
        let inner = reply.array_begin();
        (0..12).for_each(|value| reply.integer(value));
        reply.map_end(inner, 6);
        let empty = reply.array_begin();
        reply.set_end(empty, 0);
        let message = reply.array_begin();
        (0..120).for_each(|_| reply.null());
        reply.push_end(message, 120);
        reply.array_end(outer, 3);
    };
    let integers: String = (0..12).map(|value| format!(":{value}\r\n")).collect();
    check(
        write,
        &format!("*3\r\n*12\r\n{integers}*0\r\n*120\r\n{}", "$-1\r\n".repeat(120)),
        &format!("*3\r\n%6\r\n{integers}~0\r\n>120\r\n{}", "_\r\n".repeat(120)),
    );
}

#[test]
fn truncate_takes_back() {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, Version::Resp2);
    assert!(reply.is_empty());
    reply.ok();
    let len = reply.len();
    reply.bulk(b"partial");
    reply.truncate(len);
    reply.buffer().extend_from_slice(ONE);
    assert_eq!(out, b"+OK\r\n:1\r\n");
    assert_eq!(Version::from_number(Version::Resp3.number()), Some(Version::Resp3));
    assert_eq!(Version::from_number(4), None);
}
