//! Reading replies.
//!
//! [`FrameScanner`] finds where a reply ends by counting the values that are still to come: no tree, no
//! recursion, no allocation, and resumable, so that a large reply is scanned once however many reads deliver
//! it. [`decode`] builds a tree, and only once the whole reply is there: an announced length alone never
//! makes it allocate.
//!
//! Unlike the request parser this side is strict about line ends, because a peer that gets them wrong is
//! broken.

use memchr::memchr;

use crate::error::DecodeError;
use crate::float::parse_f64;
use crate::limits::{ELEMENTS_RESERVED_MAX, NESTING_DEPTH_MAX, REPLY_ELEMENTS_MAX, REPLY_LINE_BYTES_MAX};
use crate::number::{parse_i64, short_length};
use crate::value::Value;

/// Longest bulk of a reply: the longest value, with a verbatim string's format.
const REPLY_BULK_BYTES_MAX: usize = stdx::limits::BULK_BYTES_MAX + 4;

/// Decodes the first reply of `buf`: the reply, and the bytes it took. `None` while it is incomplete.
///
/// # Errors
/// When the bytes can never become a reply, or are nested deeper than [`NESTING_DEPTH_MAX`].
pub fn decode(buf: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
    let Some(len) = frame_len(buf)? else { return Ok(None) };
    let mut rest = buf.get(..len).unwrap_or_default();
    let value = build(&mut rest, 0)?;
    Ok(Some((value, len)))
}

/// Length in bytes of the first reply of `buf`; `None` while it is incomplete. Checks how values are framed,
/// not what the text of a number says.
///
/// # Errors
/// When the bytes can never become a reply.
pub fn frame_len(buf: &[u8]) -> Result<Option<usize>, DecodeError> {
    FrameScanner::new().scan(buf)
}

/// Finds the end of a reply that arrives in pieces.
#[derive(Clone, Debug)]
pub struct FrameScanner {
    position: usize,
    /// Values that must still be read before the reply is complete.
    pending: u64,
}

impl FrameScanner {
    /// A scanner at the start of a reply.
    pub fn new() -> FrameScanner {
        FrameScanner { position: 0, pending: 1 }
    }

    /// Goes on scanning `buf`, whose first byte is still the reply's first. `Some(len)` when the reply is
    /// complete; the scanner is then ready for the next one.
    ///
    /// # Errors
    /// When the bytes can never become a reply.
    pub fn scan(&mut self, buf: &[u8]) -> Result<Option<usize>, DecodeError> {
        while self.pending > 0 {
            let rest = buf.get(self.position..).unwrap_or_default();
            let Some((item, len)) = item(rest)? else { return Ok(None) };
            self.position += len;
            // Attributes come in addition to the value that they describe.
            let taken = u64::from(!matches!(item, Item::Aggregate { kind: b'|', .. }));
            let children = match item {
                Item::Aggregate { values, .. } => values as u64,
                Item::Line { .. } | Item::Bulk { .. } | Item::Null | Item::NullArray => 0,
            };
            self.pending = (self.pending - taken).checked_add(children).ok_or(DecodeError::InvalidLength)?;
        }
        let len = self.position;
        *self = FrameScanner::new();
        Ok(Some(len))
    }
}

impl Default for FrameScanner {
    fn default() -> FrameScanner {
        FrameScanner::new()
    }
}

/// One value, or the header of one that others follow.
enum Item<'a> {
    Line {
        kind: u8,
        text: &'a [u8],
    },
    Bulk {
        kind: u8,
        bytes: &'a [u8],
    },
    Null,
    NullArray,
    /// `values` counts keys and values one by one.
    Aggregate {
        kind: u8,
        values: usize,
    },
}

/// Reads the item at the start of `rest`, and tells its length in bytes. `None` while it is incomplete.
#[inline]
fn item(rest: &[u8]) -> Result<Option<(Item<'_>, usize)>, DecodeError> {
    let Some(kind) = rest.first().copied() else { return Ok(None) };
    match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {
            let Some((text, next)) = line(rest)? else { return Ok(None) };
            Ok(Some((Item::Line { kind, text }, next)))
        }
        b'$' | b'!' | b'=' => match length(rest, kind)? {
            None => Ok(None),
            Some((None, next)) if kind == b'$' => Ok(Some((Item::Null, next))),
            Some((Some(len), next)) if len <= REPLY_BULK_BYTES_MAX => bulk(rest, kind, next, len),
            Some(_) => Err(DecodeError::InvalidLength),
        },
        b'*' | b'%' | b'~' | b'>' | b'|' => match length(rest, kind)? {
            None => Ok(None),
            Some((None, next)) if kind == b'*' => Ok(Some((Item::NullArray, next))),
            Some((Some(len), next)) if len <= REPLY_ELEMENTS_MAX => {
                let values = if matches!(kind, b'%' | b'|') { len.saturating_mul(2) } else { len };
                Ok(Some((Item::Aggregate { kind, values }, next)))
            }
            Some(_) => Err(DecodeError::InvalidLength),
        },
        byte => Err(DecodeError::UnknownType { byte }),
    }
}

/// The bytes of a bulk that start at `start`.
#[inline]
fn bulk(rest: &[u8], kind: u8, start: usize, len: usize) -> Result<Option<(Item<'_>, usize)>, DecodeError> {
    let end = start + len;
    match (rest.get(start..end), rest.get(end..end + 2)) {
        (Some(bytes), Some(b"\r\n")) => Ok(Some((Item::Bulk { kind, bytes }, end + 2))),
        (Some(_), Some(_)) => Err(DecodeError::MissingTerminator),
        _ => Ok(None),
    }
}

/// The number of a length line (`None` for -1), and where the next line starts.
#[inline]
fn length(rest: &[u8], kind: u8) -> Result<Option<(Option<usize>, usize)>, DecodeError> {
    if let Some((len, next)) = short_length(rest, kind) {
        return match rest.get(next - 1) {
            Some(b'\n') => Ok(Some((Some(len), next))),
            _ => Err(DecodeError::MissingTerminator),
        };
    }
    let Some((text, next)) = line(rest)? else { return Ok(None) };
    match parse_i64(text).ok_or(DecodeError::InvalidLength)? {
        -1 => Ok(Some((None, next))),
        len => Ok(Some((Some(usize::try_from(len).map_err(|_| DecodeError::InvalidLength)?), next))),
    }
}

/// The text between the type byte and the line end, and where the next line starts.
#[inline]
fn line(rest: &[u8]) -> Result<Option<(&[u8], usize)>, DecodeError> {
    let window = rest.get(..=REPLY_LINE_BYTES_MAX).unwrap_or(rest);
    let Some(end) = memchr(b'\r', window) else {
        return if rest.len() > REPLY_LINE_BYTES_MAX { Err(DecodeError::LineTooLong) } else { Ok(None) };
    };
    match (rest.get(1..end), rest.get(end + 1)) {
        (Some(text), Some(b'\n')) => Ok(Some((text, end + 2))),
        (_, None) => Ok(None),
        _ => Err(DecodeError::MissingTerminator),
    }
}

/// Builds the value at the start of `rest`, which holds it completely, and moves `rest` past it.
fn build(rest: &mut &[u8], depth: usize) -> Result<Value, DecodeError> {
    if depth > NESTING_DEPTH_MAX {
        return Err(DecodeError::TooDeep);
    }
    let (item, len) = item(rest)?.ok_or(DecodeError::MissingTerminator)?;
    *rest = rest.get(len..).unwrap_or_default();
    match item {
        Item::Line { kind, text } => build_line(kind, text),
        Item::Bulk { kind: b'!', bytes } => Ok(Value::Error(bytes.to_vec())),
        Item::Bulk { kind: b'=', bytes } => match bytes {
            [a, b, c, b':', text @ ..] => Ok(Value::Verbatim { format: [*a, *b, *c], text: text.to_vec() }),
            _ => Err(DecodeError::InvalidText),
        },
        Item::Bulk { bytes, .. } => Ok(Value::Bulk(bytes.to_vec())),
        Item::Null => Ok(Value::Null),
        Item::NullArray => Ok(Value::NullArray),
        Item::Aggregate { kind: b'%', values } => Ok(Value::Map(build_pairs(rest, values / 2, depth)?)),
        Item::Aggregate { kind: b'~', values } => Ok(Value::Set(build_all(rest, values, depth)?)),
        Item::Aggregate { kind: b'>', values } => Ok(Value::Push(build_all(rest, values, depth)?)),
        Item::Aggregate { kind: b'|', values } => {
            let attributes = build_pairs(rest, values / 2, depth)?;
            Ok(Value::Attribute { attributes, value: Box::new(build(rest, depth + 1)?) })
        }
        Item::Aggregate { values, .. } => Ok(Value::Array(build_all(rest, values, depth)?)),
    }
}

fn build_line(kind: u8, text: &[u8]) -> Result<Value, DecodeError> {
    match (kind, text) {
        (b'+', text) => Ok(Value::Simple(text.to_vec())),
        (b'-', text) => Ok(Value::Error(text.to_vec())),
        (b':', text) => {
            // The specification allows a plus sign here.
            let text = text.strip_prefix(b"+").unwrap_or(text);
            parse_i64(text).map(Value::Integer).ok_or(DecodeError::InvalidText)
        }
        (b'_', b"") => Ok(Value::Null),
        (b'#', b"t") => Ok(Value::Boolean(true)),
        (b'#', b"f") => Ok(Value::Boolean(false)),
        (b',', text) if text.eq_ignore_ascii_case(b"nan") => Ok(Value::Double(f64::NAN)),
        (b',', text) => parse_f64(text).map(Value::Double).ok_or(DecodeError::InvalidText),
        (b'(', text) => {
            let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
            let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            if valid { Ok(Value::BigNumber(text.to_vec())) } else { Err(DecodeError::InvalidText) }
        }
        _ => Err(DecodeError::InvalidText),
    }
}

fn build_all(rest: &mut &[u8], len: usize, depth: usize) -> Result<Vec<Value>, DecodeError> {
    let mut values = Vec::with_capacity(len.min(ELEMENTS_RESERVED_MAX));
    for _ in 0..len {
        values.push(build(rest, depth + 1)?);
    }
    Ok(values)
}

fn build_pairs(rest: &mut &[u8], len: usize, depth: usize) -> Result<Vec<(Value, Value)>, DecodeError> {
    let mut pairs = Vec::with_capacity(len.min(ELEMENTS_RESERVED_MAX));
    for _ in 0..len {
        pairs.push((build(rest, depth + 1)?, build(rest, depth + 1)?));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expect: Result<Option<(Value, usize)>, DecodeError>) {
        assert_eq!(decode(bytes), expect, "{}", bytes.escape_ascii());
    }

    fn check_value(bytes: &[u8], expect: Value) {
        for len in 0..bytes.len() {
            check(bytes.get(..len).unwrap_or_default(), Ok(None));
        }
        let mut longer = bytes.to_vec();
        longer.extend_from_slice(b"+next");
        check(&longer, Ok(Some((expect, bytes.len()))));
    }

    #[test]
    fn every_type() {
        check_value(b"+OK\r\n", Value::Simple(b"OK".to_vec()));
        check_value(b"-ERR x\r\n", Value::Error(b"ERR x".to_vec()));
        check_value(b"!5\r\nERR\r\n\r\n", Value::Error(b"ERR\r\n".to_vec()));
        check_value(b":-12\r\n", Value::Integer(-12));
        check_value(b":+12\r\n", Value::Integer(12));
        check_value(b"$0\r\n\r\n", Value::bulk(""));
        check_value(b"$4\r\na\r\nb\r\n", Value::bulk("a\r\nb"));
        check_value(b"$-1\r\n", Value::Null);
        check_value(b"_\r\n", Value::Null);
        check_value(b"*-1\r\n", Value::NullArray);
        check_value(b"*0\r\n", Value::Array(vec![]));
        check_value(b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n", {
            Value::Array(vec![Value::Array(vec![Value::Integer(1)]), Value::bulk("x")])
        });
        check_value(
            b"%1\r\n+k\r\n#t\r\n",
            Value::Map(vec![(Value::Simple(b"k".to_vec()), Value::Boolean(true))]),
        );
        check_value(b"~1\r\n#f\r\n", Value::Set(vec![Value::Boolean(false)]));
        check_value(b">1\r\n,1.5e3\r\n", Value::Push(vec![Value::Double(1500.0)]));
        check_value(b",-inf\r\n", Value::Double(f64::NEG_INFINITY));
        check_value(b"(-123\r\n", Value::BigNumber(b"-123".to_vec()));
        check_value(b"=6\r\ntxt:hi\r\n", Value::Verbatim { format: *b"txt", text: b"hi".to_vec() });
        check_value(b"|1\r\n+a\r\n:1\r\n*1\r\n:2\r\n", {
            Value::Attribute {
                attributes: vec![(Value::Simple(b"a".to_vec()), Value::Integer(1))],
                value: Box::new(Value::Array(vec![Value::Integer(2)])),
            }
        });
        assert!(matches!(decode(b",nan\r\n"), Ok(Some((Value::Double(value), 6))) if value.is_nan()));
    }

    #[test]
    fn malformed_replies() {
        use DecodeError::*;
        let long = [b"+".as_slice(), &vec![b'x'; REPLY_LINE_BYTES_MAX]].concat();
        for (bytes, expect) in [
            (&b"PING"[..], UnknownType { byte: b'P' }),
            (b"\r\n", UnknownType { byte: b'\r' }),
            (b"$x\r\n", InvalidLength),
            (b"$-2\r\n", InvalidLength),
            (b"!-1\r\n", InvalidLength),
            (b"%-1\r\n", InvalidLength),
            (b"$?\r\n", InvalidLength),
            (b"$01\r\n", InvalidLength),
            (b"$536870917\r\n", InvalidLength),
            (b"*4294967297\r\n", InvalidLength),
            (b"*99999999999999999999\r\n", InvalidLength),
            (b"$1\rx", MissingTerminator),
            (b"+OK\rx", MissingTerminator),
            (b"$1\r\nxyz", MissingTerminator),
            (&long, LineTooLong),
            (b":1x\r\n", InvalidText),
            (b":\r\n", InvalidText),
            (b"_x\r\n", InvalidText),
            (b"#x\r\n", InvalidText),
            (b",x\r\n", InvalidText),
            (b"(-\r\n", InvalidText),
            (b"=2\r\nab\r\n", InvalidText),
        ] {
            check(bytes, Err(expect));
        }
    }

    #[test]
    fn depth_and_announced_lengths_are_bounded() {
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(matches!(decode(&nested(NESTING_DEPTH_MAX)), Ok(Some(_))));
        assert_eq!(decode(&nested(NESTING_DEPTH_MAX + 1)), Err(DecodeError::TooDeep));
        let deep = nested(1_000_000);
        assert_eq!(frame_len(&deep), Ok(Some(deep.len())));
        assert_eq!(decode(&b"|0\r\n".repeat(1_000_000)), Ok(None));
        assert_eq!(decode(b"*4294967296\r\n"), Ok(None));
        assert_eq!(decode(b"$536870912\r\n"), Ok(None));
        assert_eq!(frame_len(&b"%4294967296\r\n".repeat(1_000)), Ok(None));
    }

    #[test]
    fn scanner_resumes() {
        let frame = b"%2\r\n$3\r\nkey\r\n*3\r\n:1\r\n_\r\n|1\r\n+a\r\n:1\r\n#t\r\n+x\r\n$-1\r\n";
        let mut scanner = FrameScanner::default();
        for round in 0..2 {
            for len in 0..frame.len() {
                assert_eq!(scanner.scan(frame.get(..len).unwrap_or_default()), Ok(None), "{round} {len}");
            }
            assert_eq!(scanner.scan(frame), Ok(Some(frame.len())));
        }
    }
}
