//! The request parser: one pass over the read buffer, resumable at any byte.
//!
//! A command is `*<count>\r\n` followed by `count` times `$<length>\r\n<bytes>\r\n`, or else an inline line.
//! When the buffer ends inside a command the parser remembers the last argument boundary (and how far it
//! looked for a line end), so that the bytes of a command are examined once however many reads deliver it.
//!
//! Memory: an announced count allocates nothing; a span is stored per argument that has arrived. How much to
//! reserve for an announced bulk is the reader's decision, see [`Parsed::Incomplete`].
//!
//! As in Redis, the byte after a `\r` and the two bytes after a bulk are skipped without being looked at.

use memchr::memchr;

use crate::args::{Args, Span};
use crate::error::ProtocolError;
use crate::inline;
use crate::limits::{COMMAND_BYTES_MAX, Limits};
use crate::number::{parse_i64, short_length};

/// Length of the `\r\n` that ends a line or a bulk.
const TERMINATOR_BYTES: usize = 2;

const _: () = assert!(usize::BITS >= 64, "positions plus a length from the wire must not overflow");

/// What a buffer starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A command; its arguments are in the [`Args`] that was passed.
    Command {
        /// Bytes it took.
        consumed: usize,
    },
    /// An empty line or a count of zero or less: to be skipped without a reply.
    Empty {
        /// Bytes it took.
        consumed: usize,
    },
    /// The beginning of a command.
    Incomplete {
        /// At least this many more bytes are wanted (1 or more). A client controls this number, up to
        /// [`Limits::bulk_bytes_max`], by sending a dozen bytes: a reader must cap what it reserves on its
        /// word.
        needed: usize,
    },
}

/// Where parsing of an incomplete command goes on. The caller keeps the command's first byte at the start of
/// the buffer, and the same [`Args`], until the command is consumed.
#[derive(Debug, Default)]
pub struct Parser {
    /// First byte that no argument has taken yet.
    position: usize,
    /// Arguments still to come; zero between commands.
    remaining: usize,
    /// Bytes of the current line known to hold no line end.
    searched: usize,
}

impl Parser {
    /// A parser at the start of a command.
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Whether it stands at the start of a command.
    #[inline]
    pub fn is_at_start(&self) -> bool {
        self.remaining == 0 && self.searched == 0
    }

    /// Forgets a partial command.
    #[inline]
    pub fn reset(&mut self) {
        *self = Parser::default();
    }

    /// Parses the command at the start of `buf`, or goes on with it after [`Parsed::Incomplete`].
    ///
    /// # Errors
    /// [`ProtocolError`] when the bytes can never become a command. Nothing says where the next one starts,
    /// so the connection has to end; the parser is of no use until it is [reset](Parser::reset).
    #[inline]
    pub fn parse(&mut self, buf: &[u8], args: &mut Args, limits: &Limits) -> Result<Parsed, ProtocolError> {
        if self.remaining == 0 {
            args.clear();
            match buf.first() {
                None => return Ok(Parsed::Incomplete { needed: 1 }),
                Some(b'*') => {
                    if let Some(parsed) = self.parse_count(buf, limits)? {
                        return Ok(parsed);
                    }
                }
                Some(_) => return self.parse_inline(buf, args, limits),
            }
        }
        self.parse_bulks(buf, args, limits)
    }

    /// Reads the `*` line; `None` when arguments follow it.
    #[inline]
    fn parse_count(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<Parsed>, ProtocolError> {
        let (count, next) = match short_length(buf, b'*') {
            Some((count, next)) => (i64::try_from(count).unwrap_or(i64::MAX), next),
            None => match self.length_line(buf, limits) {
                LengthLine::Length { value, next } => (value, next),
                LengthLine::Malformed => return Err(ProtocolError::InvalidMultibulkLength),
                LengthLine::TooLong => return Err(ProtocolError::MultibulkCountTooBig),
                LengthLine::Partial => return Ok(Some(Parsed::Incomplete { needed: 1 })),
            },
        };
        let Ok(count) = usize::try_from(count) else {
            self.reset();
            return Ok(Some(Parsed::Empty { consumed: next }));
        };
        if count == 0 {
            self.reset();
            return Ok(Some(Parsed::Empty { consumed: next }));
        }
        if count > limits.arguments_max {
            return Err(multibulk_refusal(count, limits));
        }
        *self = Parser { position: next, remaining: count, searched: 0 };
        Ok(None)
    }

    /// Reads arguments until the command is complete or the buffer ends.
    ///
    /// The vector draws arguments from an iterator rather than being pushed to: it then keeps its length and its
    /// end in registers, which an argument of a few nanoseconds notices.
    #[inline]
    fn parse_bulks(&mut self, buf: &[u8], args: &mut Args, limits: &Limits) -> Result<Parsed, ProtocolError> {
        // Locals keep the loop's chain of positions in registers; they are stored when the buffer ends.
        let Parser { mut position, mut remaining, .. } = *self;
        let end_max = buf.len().min(COMMAND_BYTES_MAX);
        let mut stopped = None;
        args.extend(std::iter::from_fn(|| {
            if remaining == 0 {
                return None;
            }
            let rest = buf.get(position..).unwrap_or_default();
            let (len, offset) = match short_length(rest, b'$') {
                Some(found) => found,
                None => match self.bulk_line(rest, limits) {
                    Ok(Some(found)) => found,
                    Ok(None) => {
                        stopped = Some(Ok(1));
                        return None;
                    }
                    Err(error) => {
                        stopped = Some(Err(error));
                        return None;
                    }
                },
            };
            let start = position + offset;
            // A length is an `i64` at most, so that the sum cannot overflow.
            let next = start + len + TERMINATOR_BYTES;
            if len > limits.bulk_bytes_max || next > end_max {
                stopped = Some(missing(len, next, buf.len(), limits));
                return None;
            }
            self.searched = 0;
            position = next;
            remaining -= 1;
            Some(Span::within_command(start, len))
        }));
        match stopped {
            None => {
                self.reset();
                Ok(Parsed::Command { consumed: position })
            }
            Some(Ok(needed)) => Ok(self.pause(position, remaining, needed)),
            Some(Err(error)) => Err(error),
        }
    }

    /// Remembers the last argument boundary until more bytes have come.
    fn pause(&mut self, position: usize, remaining: usize, needed: usize) -> Parsed {
        self.position = position;
        self.remaining = remaining;
        Parsed::Incomplete { needed }
    }

    /// The rare forms of a `$` line: partial, long, or wrong. `None` while it is partial.
    #[cold]
    fn bulk_line(&mut self, rest: &[u8], limits: &Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
        match self.length_line(rest, limits) {
            LengthLine::Partial => Ok(None),
            LengthLine::TooLong => Err(ProtocolError::BulkCountTooBig),
            LengthLine::Length { .. } | LengthLine::Malformed
                if rest.first().is_some_and(|first| *first != b'$') =>
            {
                Err(ProtocolError::ExpectedBulk { got: rest.first().copied().unwrap_or_default() })
            }
            LengthLine::Malformed => Err(ProtocolError::InvalidBulkLength),
            LengthLine::Length { value, next } => {
                let len = usize::try_from(value).map_err(|_| ProtocolError::InvalidBulkLength)?;
                Ok(Some((len, next)))
            }
        }
    }

    /// Reads the line that `rest` starts with as a type byte and a number.
    #[cold]
    fn length_line(&mut self, rest: &[u8], limits: &Limits) -> LengthLine {
        let Some(end) = self.find(b'\r', rest, limits.inline_bytes_max) else {
            return if rest.len() > limits.inline_bytes_max {
                LengthLine::TooLong
            } else {
                LengthLine::Partial
            };
        };
        let next = end + TERMINATOR_BYTES;
        if next > rest.len() {
            return LengthLine::Partial;
        }
        match rest.get(1..end).and_then(parse_i64) {
            Some(value) => LengthLine::Length { value, next },
            None => LengthLine::Malformed,
        }
    }

    /// Reads an inline command: everything up to the line break.
    #[cold]
    fn parse_inline(
        &mut self,
        buf: &[u8],
        args: &mut Args,
        limits: &Limits,
    ) -> Result<Parsed, ProtocolError> {
        let Some(end) = self.find(b'\n', buf, limits.inline_bytes_max) else {
            if buf.len() > limits.inline_bytes_max {
                return Err(ProtocolError::InlineTooBig);
            }
            return Ok(Parsed::Incomplete { needed: 1 });
        };
        let line = buf.get(..end).unwrap_or_default();
        inline::split(line.strip_suffix(b"\r").unwrap_or(line), args)?;
        self.reset();
        let consumed = end + 1;
        Ok(if args.is_empty() { Parsed::Empty { consumed } } else { Parsed::Command { consumed } })
    }

    /// Where `byte` is within the first `max + 1` bytes of the current line, without looking at a byte twice.
    fn find(&mut self, byte: u8, line: &[u8], max: usize) -> Option<usize> {
        let window = line.get(..=max).unwrap_or(line);
        let found = memchr(byte, window.get(self.searched..)?);
        match found {
            Some(offset) => Some(self.searched + offset),
            None => {
                self.searched = window.len();
                None
            }
        }
    }
}

/// A `*` or `$` line.
enum LengthLine {
    /// A number, and where the next line starts.
    Length { value: i64, next: usize },
    /// The buffer ends before the line does.
    Partial,
    /// A whole line that is not a number.
    Malformed,
    /// No end within the limit.
    TooLong,
}

/// How many bytes are missing to a bulk that ends at `next`, if it may come at all.
#[cold]
fn missing(len: usize, next: usize, arrived: usize, limits: &Limits) -> Result<usize, ProtocolError> {
    if len > limits.bulk_bytes_max {
        return Err(bulk_refusal(len, limits));
    }
    if next > COMMAND_BYTES_MAX {
        return Err(ProtocolError::InvalidBulkLength);
    }
    Ok(next - arrived)
}

#[cold]
fn multibulk_refusal(count: usize, limits: &Limits) -> ProtocolError {
    if limits.authenticated || count > stdx::limits::ARGUMENTS_MAX {
        ProtocolError::InvalidMultibulkLength
    } else {
        ProtocolError::UnauthenticatedMultibulkLength
    }
}

#[cold]
fn bulk_refusal(len: usize, limits: &Limits) -> ProtocolError {
    if limits.authenticated || len > stdx::limits::BULK_BYTES_MAX {
        ProtocolError::InvalidBulkLength
    } else {
        ProtocolError::UnauthenticatedBulkLength
    }
}
