//! What can be wrong with bytes: one enum per operation family.
//!
//! A [`ProtocolError`] is a client's mistake and is told to it, in Redis's words, before the connection
//! closes. A [`DecodeError`] is a peer's mistake and is never shown to a client. A [`FloatError`] is an
//! ordinary outcome.

use std::borrow::Cow;
use std::fmt;

/// Why a request cannot be read. The connection cannot go on: nothing says where the next command starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// The number after `*` is not a number, or too large.
    InvalidMultibulkLength,
    /// The number after `*` is more than a client may send before it authenticates.
    UnauthenticatedMultibulkLength,
    /// The number after `$` is not a number, negative, or too large.
    InvalidBulkLength,
    /// The number after `$` is more than a client may send before it authenticates.
    UnauthenticatedBulkLength,
    /// An argument does not start with `$`.
    ExpectedBulk {
        /// The byte found instead.
        got: u8,
    },
    /// The line of a `*` has no end within the limit.
    MultibulkCountTooBig,
    /// The line of a `$` has no end within the limit.
    BulkCountTooBig,
    /// An inline command has no end within the limit.
    InlineTooBig,
    /// A quote of an inline command is not closed, or is closed in the middle of a word.
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text that Redis 7.2 sends after `-ERR `.
    ///
    /// An unexpected byte above 127 is shown as the Latin-1 character of that number, since a text is UTF-8.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            ProtocolError::InvalidMultibulkLength => "Protocol error: invalid multibulk length",
            ProtocolError::UnauthenticatedMultibulkLength => {
                "Protocol error: unauthenticated multibulk length"
            }
            ProtocolError::InvalidBulkLength => "Protocol error: invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "Protocol error: unauthenticated bulk length",
            ProtocolError::ExpectedBulk { got } => {
                let got = match got {
                    // A line break would end the reply early; Redis shows it as a space too.
                    b'\r' | b'\n' => ' ',
                    other => char::from(*other),
                };
                return Cow::Owned(format!("Protocol error: expected '$', got '{got}'"));
            }
            ProtocolError::MultibulkCountTooBig => "Protocol error: too big mbulk count string",
            ProtocolError::BulkCountTooBig => "Protocol error: too big bulk count string",
            ProtocolError::InlineTooBig => "Protocol error: too big inline request",
            ProtocolError::UnbalancedQuotes => "Protocol error: unbalanced quotes in request",
        })
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for ProtocolError {}

/// Why a reply cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// No type of RESP starts with this byte.
    UnknownType {
        /// The byte found.
        byte: u8,
    },
    /// A length is not a number, is negative without meaning null, or is above its named maximum.
    InvalidLength,
    /// A line or a bulk does not end where it must.
    MissingTerminator,
    /// A line is longer than [`crate::limits::REPLY_LINE_BYTES_MAX`].
    LineTooLong,
    /// The text of a number, boolean, null or verbatim string does not follow its type's rules.
    InvalidText,
    /// Aggregates are nested deeper than [`crate::limits::NESTING_DEPTH_MAX`].
    TooDeep,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::UnknownType { byte } => write!(f, "no reply type starts with byte {byte:#04x}"),
            DecodeError::InvalidLength => f.write_str("reply with an invalid length"),
            DecodeError::MissingTerminator => f.write_str("reply without its terminator"),
            DecodeError::LineTooLong => f.write_str("reply line too long"),
            DecodeError::InvalidText => f.write_str("reply text that does not fit its type"),
            DecodeError::TooDeep => f.write_str("reply nested too deeply"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why two numbers cannot be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloatError {
    /// One of the texts is not a number.
    NotFloat,
    /// The sum is infinite or not a number.
    NotFinite,
}

impl FloatError {
    /// The text that Redis 7.2 sends after `-ERR `.
    pub fn message(&self) -> &'static str {
        match self {
            FloatError::NotFloat => "value is not a valid float",
            FloatError::NotFinite => "increment would produce NaN or Infinity",
        }
    }
}

impl fmt::Display for FloatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for FloatError {}
