//! A reply with all that the protocol says of it: which null, array or set, number or text.
//!
//! The other client of this program ([`crate::resp_client`]) takes RESP3 for RESP2 where both mean the same. Here that
//! would hide what is looked for, so this decoder keeps every type apart.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read};

const DEPTH_MAX: usize = 32;
const LINE_BYTES_MAX: u64 = 1 << 20;
const SHOWN_BYTES_MAX: usize = 160;
const SHOWN_ELEMENTS_MAX: usize = 24;

/// One reply of RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    /// `+OK`
    Simple(Vec<u8>),
    /// `-ERR ...`
    Error(Vec<u8>),
    /// `:1`
    Integer(i64),
    /// `$3 foo`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `*2 ...`
    Array(Vec<Value>),
    /// `~2 ...`
    Set(Vec<Value>),
    /// `>2 ...`
    Push(Vec<Value>),
    /// `%1 ...`, keys and values one after the other.
    Map(Vec<Value>),
    /// `,1.5`, as it was written.
    Double(Vec<u8>),
    /// `#t`
    Boolean(bool),
    /// `(123`, as it was written.
    BigNumber(Vec<u8>),
    /// `=7 txt:foo`, with the format.
    Verbatim(Vec<u8>),
}

impl Value {
    /// Reads one whole reply.
    ///
    /// # Errors
    /// Those of the socket, and `InvalidData` for what is no RESP.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Value> {
        read_at(from, 0)
    }

    /// The name of its type, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Simple(_) => "simple string",
            Value::Error(_) => "error",
            Value::Integer(_) => "integer",
            Value::Bulk(_) => "bulk string",
            Value::NullBulk => "null bulk string",
            Value::NullArray => "null array",
            Value::Null => "null",
            Value::Array(_) => "array",
            Value::Set(_) => "set",
            Value::Push(_) => "push",
            Value::Map(_) => "map",
            Value::Double(_) => "double",
            Value::Boolean(_) => "boolean",
            Value::BigNumber(_) => "big number",
            Value::Verbatim(_) => "verbatim string",
        }
    }

    /// The text of an error.
    pub(super) fn error(&self) -> Option<&[u8]> {
        if let Value::Error(text) = self { Some(text) } else { None }
    }

    /// Whether it says that there is nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Value::NullBulk | Value::NullArray | Value::Null)
    }

    /// The elements of what has some.
    pub(super) fn elements(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) | Value::Map(elements) => {
                Some(elements)
            }
            _ => None,
        }
    }

    /// The bytes of a string of any kind.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bulk(bytes) | Value::Simple(bytes) | Value::Double(bytes) => Some(bytes),
            _ => None,
        }
    }
}

fn read_at(from: &mut impl BufRead, depth: usize) -> io::Result<Value> {
    if depth > DEPTH_MAX {
        return Err(invalid("replies nested too deeply"));
    }
    let line = read_line(from)?;
    let (kind, rest) = line.split_first().ok_or_else(|| invalid("an empty reply line"))?;
    let nested = |from: &mut _, each: usize| read_elements(from, number(rest)?, each, depth + 1);
    Ok(match kind {
        b'+' => Value::Simple(rest.to_vec()),
        b'-' => Value::Error(rest.to_vec()),
        b':' => Value::Integer(number(rest)?),
        b'_' => Value::Null,
        b',' => Value::Double(rest.to_vec()),
        b'#' => Value::Boolean(rest == b"t"),
        b'(' => Value::BigNumber(rest.to_vec()),
        b'$' if rest == b"-1" => Value::NullBulk,
        b'$' => Value::Bulk(read_body(from, number(rest)?)?),
        b'=' => Value::Verbatim(read_body(from, number(rest)?)?),
        b'*' if rest == b"-1" => Value::NullArray,
        b'*' => Value::Array(nested(from, 1)?),
        b'~' => Value::Set(nested(from, 1)?),
        b'>' => Value::Push(nested(from, 1)?),
        b'%' => Value::Map(nested(from, 2)?),
        _ => return Err(invalid("a reply of no known type")),
    })
}

fn read_elements(from: &mut impl BufRead, count: i64, each: usize, depth: usize) -> io::Result<Vec<Value>> {
    let count = usize::try_from(count).map_err(|_| invalid("a negative length"))?;
    (0..count * each).map(|_| read_at(from, depth)).collect()
}

fn read_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(invalid("a line that does not end"));
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn read_body(from: &mut impl BufRead, length: i64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| invalid("a negative length"))?;
    let mut body = vec![0; length + 2];
    from.read_exact(&mut body)?;
    if !body.ends_with(b"\r\n") {
        return Err(invalid("a string that does not end where it says"));
    }
    body.truncate(length);
    Ok(body)
}

fn number(text: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(text).map_err(|_| invalid("a number that is none"))?;
    text.parse().map_err(|_| invalid("a number that is none"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// Bytes as a person reads them, long ones cut short.
pub(super) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let more = if cut.len() < bytes.len() { format!("..({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{}\"{more}", cut.escape_ascii())
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(f, "+{}", text.escape_ascii()),
            Value::Error(text) => write!(f, "(error) {}", text.escape_ascii()),
            Value::Integer(number) => write!(f, "(integer) {number}"),
            Value::Bulk(bytes) => f.write_str(&shown(bytes)),
            Value::Verbatim(bytes) => write!(f, "={}", shown(bytes)),
            Value::Double(text) => write!(f, "(double) {}", text.escape_ascii()),
            Value::BigNumber(text) => write!(f, "(big number) {}", text.escape_ascii()),
            Value::Boolean(truth) => write!(f, "({truth})"),
            Value::NullBulk | Value::NullArray | Value::Null => write!(f, "({})", self.kind()),
            Value::Array(elements) => list(f, "[", elements, "]"),
            Value::Set(elements) => list(f, "~[", elements, "]"),
            Value::Push(elements) => list(f, ">[", elements, "]"),
            Value::Map(elements) => list(f, "{", elements, "}"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, open: &str, elements: &[Value], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (index, element) in elements.iter().take(SHOWN_ELEMENTS_MAX).enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        write!(f, "{comma}{element}")?;
    }
    if elements.len() > SHOWN_ELEMENTS_MAX {
        write!(f, ", ..({} elements)", elements.len())?;
    }
    f.write_str(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Value> {
        Value::read(&mut io::BufReader::with_capacity(3, bytes))
    }

    #[test]
    fn types_are_kept_apart() {
        let bytes =
            b"*8\r\n$-1\r\n*-1\r\n_\r\n~1\r\n:1\r\n%1\r\n+a\r\n,1.5\r\n#t\r\n$2\r\n\r\n\r\n=5\r\ntxt:x\r\n";
        let value = read(bytes).expect("valid");
        let map = Value::Map(vec![Value::Simple(b"a".to_vec()), Value::Double(b"1.5".to_vec())]);
        let expected = vec![
            Value::NullBulk,
            Value::NullArray,
            Value::Null,
            Value::Set(vec![Value::Integer(1)]),
            map,
            Value::Boolean(true),
            Value::Bulk(b"\r\n".to_vec()),
            Value::Verbatim(b"txt:x".to_vec()),
        ];
        assert_eq!(value, Value::Array(expected));
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(read(b"?1\r\n").is_err());
        assert!(read(b"$1\r\nab\r\n").is_err());
    }
}
