//! The request parser against every way of cutting a byte stream, against malformed input, and against noise.

use proptest::prelude::*;
use protocol::{Args, Limits, Parsed, Parser, ProtocolError, encode_command};

/// What a connection makes of a stream: its commands, and the error that ended it.
#[derive(Debug, PartialEq, Default)]
struct Outcome {
    commands: Vec<Vec<Vec<u8>>>,
    error: Option<ProtocolError>,
    rest: Vec<u8>,
}

/// Feeds `chunks` one after another, as a connection does.
fn feed<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Outcome {
    let (mut parser, mut args, mut buf) = (Parser::new(), Args::new(), Vec::new());
    let mut outcome = Outcome::default();
    for chunk in chunks {
        buf.extend_from_slice(chunk);
        loop {
            match parser.parse(&buf, &mut args, limits) {
                Ok(Parsed::Command { consumed }) => {
                    assert!(!args.is_empty());
                    let command =
                        (0..args.len()).map(|index| args.get(&buf, index).expect("an argument").to_vec());
                    let command: Vec<Vec<u8>> = command.collect();
                    {
                        let mut filled = smallvec::SmallVec::new();
                        args.fill(&buf, &mut filled);
                        assert_eq!(command.as_slice(), filled.as_slice());
                    }
                    outcome.commands.push(command);
                    buf.drain(..consumed);
                }
                Ok(Parsed::Empty { consumed }) => {
                    assert!(consumed > 0);
                    buf.drain(..consumed);
                }
                Ok(Parsed::Incomplete { needed }) => {
                    assert!(needed > 0);
                    break;
                }
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
            assert!(args.memory_bytes() <= 64 * 1024 + 16 * buf.capacity(), "memory follows the input");
        }
    }
    outcome.rest = buf;
    outcome
}

fn check_error(input: &[u8], limits: &Limits, expect: &str) {
    let error = feed([input], limits).error;
    let shown: Vec<u8> = input.iter().copied().take(80).collect();
    assert_eq!(
        error.map(|error| error.message().into_owned()).as_deref(),
        Some(expect),
        "{}",
        shown.escape_ascii()
    );
    let bytewise = feed(input.chunks(1), limits).error;
    assert_eq!(bytewise, error, "one byte at a time: {}", shown.escape_ascii());
}

fn check_commands(input: &[u8], expect: &[&[&str]]) {
    let outcome = feed([input], &Limits::default());
    let got: Vec<Vec<String>> = outcome
        .commands
        .iter()
        .map(|args| args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect())
        .collect();
    assert_eq!((got.len(), outcome.error), (expect.len(), None), "{}", input.escape_ascii());
    assert!(got.iter().zip(expect).all(|(got, expect)| got == expect), "{got:?}");
    assert_eq!(feed(input.chunks(1), &Limits::default()), outcome);
}

#[test]
fn well_formed() {
    check_commands(b"*1\r\n$4\r\nPING\r\n", &[&["PING"]]);
    check_commands(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", &[&["GET", ""], &["PING"]]);
    check_commands(b"*0\r\n*-1\r\n*-5\r\n\r\n\n   \r\nPING\n", &[&["PING"]]);
    check_commands(b"SET k 'a b'\r\nget \"k\"\r\n", &[&["SET", "k", "a b"], &["get", "k"]]);
    check_commands(b"*1\r\n$12\r\nabcdefghijkl\r\n", &[&["abcdefghijkl"]]);
    // As in Redis, the bytes where line feeds belong are not looked at.
    check_commands(b"*1\rx$1\rxAxx\r\n", &[&["A"]]);
    let many: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let mut input = Vec::new();
    encode_command(&mut input, &many);
    let expect: Vec<&str> = many.iter().map(String::as_str).collect();
    check_commands(&input, &[&expect]);
}

#[test]
fn malformed() {
    let limits = Limits::default();
    let line_max = limits.inline_bytes_max;
    let long = |prefix: &str, byte: u8| [prefix.as_bytes(), &vec![byte; line_max + 1]].concat();
    for (input, expect) in [
        (b"*x\r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*\r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*01\r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*+1\r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*1 \r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*1048577\r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*1000000000\r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*99999999999999999999999\r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n".to_vec(), "Protocol error: expected '$', got 'f'"),
        (b"*1\r\n:5\r\n".to_vec(), "Protocol error: expected '$', got ':'"),
        (b"*1\r\nx\r\n".to_vec(), "Protocol error: expected '$', got 'x'"),
        (b"*1\r\n\r\n".to_vec(), "Protocol error: expected '$', got ' '"),
        (b"*1\r\n$x\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (b"*1\r\n$\r\n".to_vec(), "Protocol error: invalid bulk length"),
        // What was learnt about one line must not be believed of the next.
        (b"*2\r\n$12\r\nabcdefghijkl\r\n$\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (b"*2\r\n$12\r\nabcdefghijkl\r\nx\r\n".to_vec(), "Protocol error: expected '$', got 'x'"),
        (b"*1\r\n$-1\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (b"*1\r\n$-5\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (b"*1\r\n$536870913\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (b"*1\r\n$2000000000\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (long("*", b'1'), "Protocol error: too big mbulk count string"),
        (long("*1\r\n$", b'1'), "Protocol error: too big bulk count string"),
        (long("*1\r\n", b'x'), "Protocol error: too big bulk count string"),
        (long("GET ", b'x'), "Protocol error: too big inline request"),
        ([long("GET ", b'x'), b"\r\n".to_vec()].concat(), "Protocol error: too big inline request"),
        (b"GET \"x\r\n".to_vec(), "Protocol error: unbalanced quotes in request"),
        (b"GET 'x'y\r\n".to_vec(), "Protocol error: unbalanced quotes in request"),
    ] {
        check_error(&input, &limits, expect);
    }
}

#[test]
fn unauthenticated() {
    let limits = Limits::unauthenticated();
    for (input, expect) in [
        (&b"*11\r\n"[..], "Protocol error: unauthenticated multibulk length"),
        (b"*1000000\r\n", "Protocol error: unauthenticated multibulk length"),
        (b"*1000000000\r\n", "Protocol error: invalid multibulk length"),
        (b"*1\r\n$16385\r\n", "Protocol error: unauthenticated bulk length"),
        (b"*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
    ] {
        check_error(input, &limits, expect);
    }
    let mut input = Vec::new();
    encode_command(&mut input, &vec!["x".repeat(16_384); 10]);
    assert_eq!(feed([input.as_slice()], &limits).commands.len(), 1);
}

#[test]
fn announced_lengths_reserve_nothing() {
    let (mut parser, mut args) = (Parser::new(), Args::new());
    let buf = b"*1048576\r\n$536870912\r\n";
    let parsed = parser.parse(buf, &mut args, &Limits::default());
    assert_eq!(parsed, Ok(Parsed::Incomplete { needed: 536_870_912 + 2 }));
    assert_eq!(args.memory_bytes(), 0);
    parser.reset();
    assert_eq!(parser.parse(b"", &mut args, &Limits::default()), Ok(Parsed::Incomplete { needed: 1 }));
}

#[test]
fn a_line_at_the_limit_is_accepted() {
    let limits = Limits { inline_bytes_max: 8, ..Limits::default() };
    assert_eq!(feed([b"GET abcd\n".as_slice()], &limits).commands.len(), 1);
    check_error(b"GET abcde\n", &limits, "Protocol error: too big inline request");
}

/// Streams that are mostly well-formed, so that cuts fall on interesting places.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let arg = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::collection::vec(prop::sample::select(b"\r\n$*0123".to_vec()), 0..120),
    ];
    let command = prop::collection::vec(arg, 1..20).prop_map(|args| {
        let mut out = Vec::new();
        encode_command(&mut out, &args);
        out
    });
    let fixed = prop::sample::select(vec![
        &b"PING\r\n"[..],
        b"set k \"a\\x41 b\"\n",
        b"\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"get 'it\\'s'\r\n",
        b"  \t\n",
    ]);
    let noise = prop::collection::vec(prop::sample::select(b"*$\r\n-01239aG \"'\\x\0\xff".to_vec()), 0..12);
    let piece = prop_oneof![6 => command, 3 => fixed.prop_map(<[u8]>::to_vec), 1 => noise];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn commands() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let arg = prop::collection::vec(any::<u8>(), 0..50);
    prop::collection::vec(prop::collection::vec(arg, 1..40), 0..8)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..40, 1..8)
}

/// Cuts `bytes` after each of `sizes`, over and over.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (chunk, rest) = bytes.split_at(bytes.len().min(*size));
        chunks.push(chunk);
        bytes = rest;
    }
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_commands(bytes in stream(), sizes in sizes(), small in any::<bool>()) {
        let limits = if small {
            Limits { bulk_bytes_max: 16, arguments_max: 8, inline_bytes_max: 12, authenticated: false }
        } else {
            Limits::default()
        };
        let whole = feed([bytes.as_slice()], &limits);
        prop_assert_eq!(&feed(cut(&bytes, &sizes), &limits), &whole);
        prop_assert_eq!(&feed(bytes.chunks(1), &limits), &whole);
    }

    #[test]
    fn commands_come_back_as_sent(commands in commands()) {
        let mut bytes = Vec::new();
        for command in &commands {
            encode_command(&mut bytes, command);
        }
        let outcome = feed([bytes.as_slice()], &Limits::default());
        prop_assert_eq!(outcome, Outcome { commands, ..Outcome::default() });
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), sizes in sizes()) {
        let whole = feed([bytes.as_slice()], &Limits::default());
        prop_assert_eq!(feed(cut(&bytes, &sizes), &Limits::default()), whole);
    }
}
