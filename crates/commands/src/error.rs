//! What a data command may answer instead of its result: Redis's errors, word for word.
//!
//! Handlers decide everything that can go wrong before they write or emit anything, as functions that return
//! `Result<_, CommandError>`; the row's function turns the outcome into a reply in one place.

use protocol::Reply;
use std::fmt;

/// An error reply of a data command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// The key holds another type.
    WrongType,
    /// Options that do not exist or contradict each other.
    Syntax,
    /// An argument or a value is no 64-bit integer.
    NotInteger,
    /// An argument or a value is no floating-point number.
    NotFloat,
    /// A number of seconds or milliseconds that cannot be a deadline; holds the command's name.
    InvalidExpire(&'static str),
    /// The wrong number of arguments, found out by the handler; holds the command's name.
    Arity(&'static str),
    /// A string would grow beyond the limit.
    TooLong,
    /// The key does not exist.
    NoSuchKey,
    /// Source and destination are the same key.
    SameObject,
    /// The database does not exist.
    DatabaseRange,
    /// The key exists already.
    BusyKey,
    /// Another error with a text of its own, without its code `ERR`.
    Other(&'static str),
    /// Another error with a text of its own that has no code, as many of RedisBloom's.
    Bare(&'static str),
    /// A stream or a group of it that does not exist, without the code `NOGROUP`.
    NoGroup(String),
    /// An error whose text repeats an argument, without its code `ERR`.
    Echo(String),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CommandError::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            CommandError::Syntax => "ERR syntax error",
            CommandError::NotInteger => "ERR value is not an integer or out of range",
            CommandError::NotFloat => "ERR value is not a valid float",
            CommandError::InvalidExpire(name) => {
                return write!(f, "ERR invalid expire time in '{name}' command");
            }
            CommandError::Arity(name) => {
                return write!(f, "ERR wrong number of arguments for '{name}' command");
            }
            CommandError::TooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            CommandError::NoSuchKey => "ERR no such key",
            CommandError::SameObject => "ERR source and destination objects are the same",
            CommandError::DatabaseRange => "ERR DB index is out of range",
            CommandError::BusyKey => "BUSYKEY Target key name already exists.",
            CommandError::Other(text) => return write!(f, "ERR {text}"),
            CommandError::Bare(text) => text,
            CommandError::NoGroup(text) => return write!(f, "NOGROUP {text}"),
            CommandError::Echo(text) => return write!(f, "ERR {text}"),
        })
    }
}

impl std::error::Error for CommandError {}

/// Outcome of a command that may answer with an error.
pub(crate) type Outcome<T> = Result<T, CommandError>;

/// Writes the error reply, if there is one; the handler has written the rest.
#[inline]
pub(crate) fn answer(reply: &mut Reply<'_>, outcome: Outcome<()>) {
    if let Err(error) = outcome {
        reply.error(&error.to_string());
    }
}

/// Writes an integer or the error.
#[inline]
pub(crate) fn answer_integer(reply: &mut Reply<'_>, outcome: Outcome<i64>) {
    match outcome {
        Ok(number) => reply.integer(number),
        Err(error) => reply.error(&error.to_string()),
    }
}

/// The word as a 64-bit integer, written as Redis's `string2ll` wants it.
#[inline]
pub(crate) fn integer(word: &[u8]) -> Outcome<i64> {
    protocol::parse_i64(word).ok_or(CommandError::NotInteger)
}
