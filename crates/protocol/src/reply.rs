//! The reply writer: appends RESP2 or RESP3 to a connection's write buffer.
//!
//! A handler says what it means (a map, a double, a null) and the writer chooses the form that the client's
//! version has for it. Short lengths and small integers are written as fixed patterns, since they are nearly
//! all there are; a bulk reserves once. Nothing is buffered in between, so a reply can be cut off again with
//! [`Reply::truncate`].

use std::fmt;

use memchr::memchr2;

use crate::append::{SHORT_BYTES_MAX, short_bulk};
use crate::float::DoubleText;

/// `+OK`.
pub const OK: &[u8] = b"+OK\r\n";
/// `+PONG`.
pub const PONG: &[u8] = b"+PONG\r\n";
/// `+QUEUED`.
pub const QUEUED: &[u8] = b"+QUEUED\r\n";
/// The integer 0.
pub const ZERO: &[u8] = b":0\r\n";
/// The integer 1.
pub const ONE: &[u8] = b":1\r\n";
/// An empty array.
pub const EMPTY_ARRAY: &[u8] = b"*0\r\n";
/// RESP2's null in place of a string.
pub const NULL_BULK: &[u8] = b"$-1\r\n";
/// RESP2's null in place of an array.
pub const NULL_ARRAY: &[u8] = b"*-1\r\n";
/// RESP3's null.
pub const NULL: &[u8] = b"_\r\n";

/// What a bulk takes besides its bytes, at most: `$`, twenty digits and two line ends.
const BULK_OVERHEAD_BYTES_MAX: usize = 1 + 20 + 4;
/// What a header takes at most: a type byte, twenty digits and a line end.
const HEADER_BYTES_MAX: usize = 1 + 20 + 2;
/// What stands at a [`Mark`] until the length is known.
const PLACEHOLDER: &[u8; 4] = b"*0\r\n";

/// The protocol version that a client has asked for with HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// What every client starts with.
    #[default]
    Resp2,
    /// Maps, sets, doubles, booleans and pushes.
    Resp3,
}

impl Version {
    /// The version that HELLO calls `number`.
    pub fn from_number(number: i64) -> Option<Version> {
        match number {
            2 => Some(Version::Resp2),
            3 => Some(Version::Resp3),
            _ => None,
        }
    }

    /// How HELLO calls this version.
    pub fn number(self) -> i64 {
        match self {
            Version::Resp2 => 2,
            Version::Resp3 => 3,
        }
    }
}

/// Where an aggregate of yet unknown length begins. Marks close in the reverse order of their opening.
#[derive(Debug)]
#[must_use = "an aggregate without its end is an empty array followed by stray values"]
pub struct Mark {
    position: usize,
}

/// Writes replies to the end of a buffer.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    version: Version,
}

impl<'a> Reply<'a> {
    /// A writer that appends to `out` in the client's `version`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, version: Version) -> Reply<'a> {
        Reply { out, version }
    }

    /// The client's version.
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Bytes in the buffer, those from before this writer included.
    #[inline]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// True if the buffer is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes back everything after the first `len` bytes of the buffer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// The buffer itself.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Bytes that are a reply already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(OK);
    }

    /// `+PONG`.
    #[inline]
    pub fn pong(&mut self) {
        self.raw(PONG);
    }

    /// `+QUEUED`.
    #[inline]
    pub fn queued(&mut self) {
        self.raw(QUEUED);
    }

    /// A simple string. Line breaks become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error whose text starts with its code, such as `ERR ...`. Line breaks become spaces.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.as_bytes());
    }

    /// A string of any bytes.
    #[inline(always)]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if bytes.len() <= SHORT_BYTES_MAX { short_bulk(self.out, bytes) } else { self.long_bulk(bytes) }
    }

    fn long_bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + BULK_OVERHEAD_BYTES_MAX);
        self.header(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A text for people; `format` is three characters, `txt` or `mkd`. RESP2: a bulk.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3, "the format of a verbatim string has three characters");
        self.verbatim_bytes(format.as_bytes().first_chunk().copied().unwrap_or(*b"txt"), text);
    }

    /// [`Reply::verbatim`] with a format that need not be text.
    pub(crate) fn verbatim_bytes(&mut self, format: [u8; 3], text: &[u8]) {
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => {
                self.out.reserve(text.len() + format.len() + 1 + BULK_OVERHEAD_BYTES_MAX);
                self.header(b'=', text.len() + format.len() + 1);
                self.raw(&format);
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match usize::try_from(value) {
            Ok(value) => self.header(b':', value),
            Err(_) => {
                self.out.push(b':');
                self.raw(itoa::Buffer::new().format(value).as_bytes());
                self.raw(b"\r\n");
            }
        }
    }

    /// An integer as a string.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Nothing, where a value would stand. RESP2: the null bulk.
    #[inline]
    pub fn null(&mut self) {
        self.raw(match self.version {
            Version::Resp2 => NULL_BULK,
            Version::Resp3 => NULL,
        });
    }

    /// Nothing, where an array would stand. RESP2: the null array.
    #[inline]
    pub fn null_array(&mut self) {
        self.raw(match self.version {
            Version::Resp2 => NULL_ARRAY,
            Version::Resp3 => NULL,
        });
    }

    /// Begins an array; `len` values follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// Begins a map; `pairs` keys follow, each with its value. RESP2: an array of twice the length.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        match self.version {
            Version::Resp2 => self.header(b'*', pairs.saturating_mul(2)),
            Version::Resp3 => self.header(b'%', pairs),
        }
    }

    /// Begins a set; `len` members follow. RESP2: an array.
    #[inline]
    pub fn set(&mut self, len: usize) {
        self.header(self.kind(b'~'), len);
    }

    /// Begins a message that answers no command; `len` values follow. RESP2: an array.
    #[inline]
    pub fn push(&mut self, len: usize) {
        self.header(self.kind(b'>'), len);
    }

    /// Begins attributes of the reply that comes after them; `pairs` keys follow, each with its value.
    ///
    /// RESP2 has no such thing: nothing is written and false returned, and the caller leaves the pairs out.
    #[must_use = "without RESP3 the pairs must not be written"]
    pub fn attribute(&mut self, pairs: usize) -> bool {
        if self.version == Version::Resp3 {
            self.header(b'|', pairs);
        }
        self.version == Version::Resp3
    }

    /// A double. RESP2: its text as a bulk.
    pub fn double(&mut self, value: f64) {
        let text = DoubleText::new(value);
        match self.version {
            Version::Resp2 => self.bulk(text.as_bytes()),
            Version::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// A boolean. RESP2: 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.version, value) {
            (Version::Resp2, false) => ZERO,
            (Version::Resp2, true) => ONE,
            (Version::Resp3, false) => b"#f\r\n",
            (Version::Resp3, true) => b"#t\r\n",
        });
    }

    /// An integer of any size, as decimal text. RESP2: a bulk.
    pub fn big_number(&mut self, text: &str) {
        match self.version {
            Version::Resp2 => self.bulk(text.as_bytes()),
            Version::Resp3 => self.line(b'(', text.as_bytes()),
        }
    }

    /// Begins an array, map, set or push whose length its end will tell.
    pub fn array_begin(&mut self) -> Mark {
        let position = self.out.len();
        self.raw(PLACEHOLDER);
        Mark { position }
    }

    /// Ends an array of `len` values.
    ///
    /// # Panics
    /// Like the other ends, if the buffer was truncated to before the mark.
    pub fn array_end(&mut self, mark: Mark, len: usize) {
        self.close(mark, b'*', len);
    }

    /// Ends a map of `pairs` keys and values.
    pub fn map_end(&mut self, mark: Mark, pairs: usize) {
        match self.version {
            Version::Resp2 => self.close(mark, b'*', pairs.saturating_mul(2)),
            Version::Resp3 => self.close(mark, b'%', pairs),
        }
    }

    /// Ends a set of `len` members.
    pub fn set_end(&mut self, mark: Mark, len: usize) {
        self.close(mark, self.kind(b'~'), len);
    }

    /// Ends a push of `len` values.
    pub fn push_end(&mut self, mark: Mark, len: usize) {
        self.close(mark, self.kind(b'>'), len);
    }

    /// A type byte, a text without line breaks, a line end.
    pub(crate) fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + HEADER_BYTES_MAX);
        self.out.push(kind);
        if memchr2(b'\r', b'\n', text).is_none() {
            self.raw(text);
        } else {
            self.out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        }
        self.raw(b"\r\n");
    }

    /// A type byte, a number, a line end.
    #[inline(always)]
    fn header(&mut self, kind: u8, number: usize) {
        match number {
            0..10 => self.raw(&[kind, b'0' + number as u8, b'\r', b'\n']),
            10..100 => {
                let (tens, ones) = (number as u8 / 10, number as u8 % 10);
                self.raw(&[kind, b'0' + tens, b'0' + ones, b'\r', b'\n']);
            }
            _ => self.long_header(kind, number),
        }
    }

    fn long_header(&mut self, kind: u8, number: usize) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        self.out.reserve(HEADER_BYTES_MAX);
        self.out.push(kind);
        self.raw(digits);
        self.raw(b"\r\n");
    }

    /// The type byte of a RESP3 aggregate that is a plain array in RESP2.
    fn kind(&self, resp3: u8) -> u8 {
        match self.version {
            Version::Resp2 => b'*',
            Version::Resp3 => resp3,
        }
    }

    /// Puts the header in place of the placeholder. Up to nine elements it has the same size; otherwise what
    /// follows moves by a few bytes, once.
    fn close(&mut self, mark: Mark, kind: u8, number: usize) {
        let Mark { position } = mark;
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).bytes();
        let header = std::iter::once(kind).chain(digits).chain(*b"\r\n");
        self.out.splice(position..position + PLACEHOLDER.len(), header);
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("version", &self.version).field("bytes", &self.out.len()).finish()
    }
}
