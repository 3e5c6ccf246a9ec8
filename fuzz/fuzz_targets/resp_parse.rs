//! The request parser: whatever a client sends, and however it is cut, the commands and the error are the
//! same, nothing panics, and memory follows the input.
//!
//! The first byte chooses the limits and the size of the pieces; the others are the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{Args, Limits, Parsed, Parser, ProtocolError};

type Commands = Vec<Vec<Vec<u8>>>;

fuzz_target!(|input: &[u8]| {
    let Some((choice, stream)) = input.split_first() else { return };
    let limits = match choice % 3 {
        0 => Limits::default(),
        1 => Limits::unauthenticated(),
        _ => Limits { bulk_bytes_max: 16, arguments_max: 8, inline_bytes_max: 12, authenticated: false },
    };
    let whole = feed(stream, stream.len().max(1), &limits);
    let pieces = feed(stream, usize::from(choice / 3) + 1, &limits);
    assert_eq!(whole, pieces);
});

fn feed(stream: &[u8], piece_bytes: usize, limits: &Limits) -> (Commands, Option<ProtocolError>) {
    let (mut parser, mut args) = (Parser::new(), Args::new());
    let (mut buf, mut commands) = (Vec::new(), Commands::new());
    for piece in stream.chunks(piece_bytes) {
        buf.extend_from_slice(piece);
        loop {
            let consumed = match parser.parse(&buf, &mut args, limits) {
                Ok(Parsed::Command { consumed }) => {
                    let arg = |index| args.get(&buf, index).expect("a parsed argument is there").to_vec();
                    commands.push((0..args.len()).map(arg).collect());
                    consumed
                }
                Ok(Parsed::Empty { consumed }) => consumed,
                Ok(Parsed::Incomplete { needed }) => {
                    assert!(needed > 0);
                    break;
                }
                Err(error) => {
                    assert!(error.message().starts_with("Protocol error: "));
                    return (commands, Some(error));
                }
            };
            assert!(consumed > 0 && consumed <= buf.len());
            assert!(args.memory_bytes() <= 64 * 1024 + 16 * stream.len());
            buf.drain(..consumed);
        }
    }
    (commands, None)
}
