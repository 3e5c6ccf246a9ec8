//! What a reader sees of a value, whatever its layout in memory.
//!
//! A string that is the shortest decimal form of a 64-bit integer is kept as that integer (Redis's `string2ll`), and
//! is rendered into the reader's scratch space when its bytes are asked for.

use crate::filter::Filter;
use crate::hash::HashRef;
use crate::list::ListRef;
use crate::set::SetRef;
use crate::sorted_set::SortedSetRef;
use crate::stream::Stream;

/// Longest decimal form of an `i64`: that of the least.
pub(crate) const INTEGER_CHARS_MAX: usize = 20;
/// Longest string that Redis calls `embstr` (`OBJ_ENCODING_EMBSTR_SIZE_LIMIT`).
const EMBSTR_BYTES_MAX: usize = 44;

/// A value of any type.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// A string.
    String(StringRef<'a>),
    /// A filter.
    Filter(&'a Filter),
    /// A hash.
    Hash(HashRef<'a>),
    /// A list.
    List(ListRef<'a>),
    /// A set.
    Set(SetRef<'a>),
    /// A sorted set.
    SortedSet(SortedSetRef<'a>),
    /// A stream.
    Stream(&'a Stream),
}

impl ValueRef<'_> {
    /// The type's name as TYPE answers it.
    pub fn type_name(&self) -> &'static str {
        match self {
            ValueRef::String(_) => "string",
            ValueRef::Filter(filter) => filter.kind().type_name(),
            ValueRef::Hash(_) => "hash",
            ValueRef::List(_) => "list",
            ValueRef::Set(_) => "set",
            ValueRef::SortedSet(_) => "zset",
            ValueRef::Stream(_) => "stream",
        }
    }

    /// OBJECT ENCODING as Redis answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            ValueRef::String(string) => string.encoding(),
            ValueRef::Filter(_) => "raw",
            ValueRef::Hash(hash) => hash.encoding(),
            ValueRef::List(list) => list.encoding(),
            ValueRef::Set(set) => set.encoding(),
            ValueRef::SortedSet(set) => set.encoding(),
            ValueRef::Stream(_) => "stream",
        }
    }
}

/// A string value.
#[derive(Clone, Copy, Debug)]
pub struct StringRef<'a>(pub(crate) Repr<'a>);

/// How a string is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repr<'a> {
    Integer(i64),
    /// `raw`: was changed in place, which Redis's encoding remembers.
    Bytes {
        bytes: &'a [u8],
        raw: bool,
    },
}

impl<'a> StringRef<'a> {
    /// As a value that was set as a whole is kept.
    #[inline]
    pub(crate) fn of(bytes: &'a [u8]) -> StringRef<'a> {
        match parse_integer(bytes) {
            Some(integer) => StringRef(Repr::Integer(integer)),
            None => StringRef(Repr::Bytes { bytes, raw: false }),
        }
    }

    /// As a value that was changed in place is kept.
    #[inline]
    pub(crate) fn raw(bytes: &'a [u8]) -> StringRef<'a> {
        StringRef(Repr::Bytes { bytes, raw: true })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self.0 {
            Repr::Integer(integer) => render_integer(integer, &mut [0; INTEGER_CHARS_MAX]).len(),
            Repr::Bytes { bytes, .. } => bytes.len(),
        }
    }

    /// Whether the string is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes; those of an integer are rendered into `scratch`.
    #[inline]
    pub fn as_bytes<'s>(&self, scratch: &'s mut [u8; 20]) -> &'s [u8]
    where
        'a: 's,
    {
        match self.0 {
            Repr::Integer(integer) => render_integer(integer, scratch),
            Repr::Bytes { bytes, .. } => bytes,
        }
    }

    /// The number, if the string is the shortest decimal form of a 64-bit integer, in whatever encoding.
    pub fn as_integer(&self) -> Option<i64> {
        match self.0 {
            Repr::Integer(integer) => Some(integer),
            Repr::Bytes { bytes, raw: true } => parse_integer(bytes),
            // Had it been a number, it would have been kept as one.
            Repr::Bytes { raw: false, .. } => None,
        }
    }

    /// OBJECT ENCODING as Redis answers it: `int`, `embstr` or `raw`.
    pub fn encoding(&self) -> &'static str {
        match self.0 {
            Repr::Integer(_) => "int",
            Repr::Bytes { bytes, raw: false } if bytes.len() <= EMBSTR_BYTES_MAX => "embstr",
            Repr::Bytes { .. } => "raw",
        }
    }
}

/// The number whose shortest decimal form is `bytes`: no sign `+`, no leading zeros, no `-0`.
#[inline]
pub(crate) fn parse_integer(bytes: &[u8]) -> Option<i64> {
    // Most values are told apart from a number by their first byte or by their length.
    if bytes.len() > INTEGER_CHARS_MAX {
        return None;
    }
    let (negative, digits) = match bytes.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, bytes),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    // Summed as a negative number, because the least integer has no positive counterpart.
    let mut value = 0i64;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

pub(crate) fn render_integer(value: i64, scratch: &mut [u8; INTEGER_CHARS_MAX]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut start = INTEGER_CHARS_MAX;
    loop {
        start -= 1;
        scratch[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        start -= 1;
        scratch[start] = b'-';
    }
    &scratch[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, integer: Option<i64>, encoding: &str) {
        let string = StringRef::of(text.as_bytes());
        assert_eq!(string.as_integer(), integer, "{text}");
        assert_eq!(string.encoding(), encoding, "{text}");
        assert_eq!(string.as_bytes(&mut [0; 20]), text.as_bytes());
        assert_eq!((string.len(), string.is_empty()), (text.len(), text.is_empty()));
        let raw = StringRef::raw(text.as_bytes());
        assert_eq!((raw.as_integer(), raw.encoding()), (integer, "raw"));
    }

    #[test]
    fn strings_are_encoded_as_in_redis() {
        for integer in [0, 7, -7, 10, i64::MAX, i64::MIN, i64::MIN + 1] {
            check(&integer.to_string(), Some(integer), "int");
        }
        for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "1a", "1:", "9223372036854775808"] {
            check(text, None, "embstr");
        }
        check("-9223372036854775809", None, "embstr");
        check("184467440737095516160", None, "embstr");
        check(&"x".repeat(44), None, "embstr");
        check(&"x".repeat(45), None, "raw");
    }
}
