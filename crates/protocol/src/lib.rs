//! RESP2 and RESP3: requests parsed in place, replies written in place.
//!
//! The crate turns bytes into argument vectors and results into bytes. It must not know sockets or commands.
//!
//! A request goes: read buffer -> [`Parser::parse`] -> [`Args`] (ranges into that buffer) -> a command. A
//! reply goes: command -> [`Reply`] -> the connection's write buffer. Neither direction allocates per command
//! once the buffers have grown to their working size: arguments are never copied, a vector of up to sixteen
//! of them lives inline, and lengths are read and written by hand rather than through formatting.
//!
//! The other side of the wire (links, load generator, HTTP gateway, the merging of fan-out replies, tests)
//! uses [`encode_command`], [`frame_len`] and [`decode`], whose [`Value`] owns its bytes.
//!
//! Both decoders read what a stranger sent. They never panic, never recurse deeper than a named maximum, and
//! hold memory in proportion to the bytes that have arrived rather than to the lengths that were announced.
//!
//! Behaviour and error texts are Redis 7.2's (`networking.c`, `sds.c`, `util.c`;
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>), with two deliberate differences. A NUL
//! byte in a length line or an inline command is an ordinary byte, while Redis, which uses `strchr`, waits
//! for more. And a line is measured from its own first byte, so the outcome never depends on how the bytes
//! were split into packets.
//!
//! Left out: the streamed (`?`) types of the RESP3 draft, which no server sends.

pub mod limits;
pub mod number;
pub mod reply;

mod append;
mod args;
mod decode;
mod error;
mod float;
mod inline;
mod long_double;
mod parser;
mod shape;
mod value;

pub use args::Args;
pub use decode::{FrameScanner, decode, frame_len};
pub use error::{DecodeError, FloatError, ProtocolError};
pub use float::{add_floats, format_double, format_long_double_human, parse_f64};
pub use inline::split_words;
pub use limits::Limits;
pub use long_double::{format_long_double, format_long_double_fixed};
pub use number::parse_i64;
pub use parser::{Parsed, Parser};
pub use reply::{Mark, Reply, Version};
pub use shape::{SHAPE_WORDS_MAX, Shape, ShapedArgs};
pub use value::{Value, encode_command};
