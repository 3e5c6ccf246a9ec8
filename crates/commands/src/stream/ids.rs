//! Ids as clients write them (t_stream.c: `streamGenericParseIDOrReply`).

use crate::error::{CommandError, Outcome};
use effect::StreamId;

const INVALID: CommandError = CommandError::Other("Invalid stream ID specified as stream command argument");
/// Longest word that may be an id.
const ID_CHARS_MAX: usize = 127;

/// An id for a new entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NewId {
    /// By the clock.
    Auto,
    /// The next one of this millisecond.
    NextOf(u64),
    /// This very one.
    Exact(StreamId),
}

/// The id for a new entry: `*`, `ms-*`, `ms` or `ms-seq`.
pub(super) fn new_id(word: &[u8]) -> Outcome<NewId> {
    if word == b"*" {
        return Ok(NewId::Auto);
    }
    let (ms, seq) = parts(word)?;
    Ok(match seq {
        Some(b"*") => NewId::NextOf(number(ms)?),
        _ => NewId::Exact(exact(word)?),
    })
}

/// An id; without a sequence, that of the first of its millisecond.
pub(super) fn exact(word: &[u8]) -> Outcome<StreamId> {
    from_parts(parts(word)?, 0)
}

/// An id, or one of the two ends, `-` and `+`; without a sequence it has this one.
pub(super) fn bound(word: &[u8], missing_seq: u64) -> Outcome<StreamId> {
    match word {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => from_parts(parts(word)?, missing_seq),
    }
}

/// The first id of an interval: a bound, or the one behind the id after `(`.
pub(super) fn interval_start(word: &[u8]) -> Outcome<StreamId> {
    match word.strip_prefix(b"(") {
        Some(id) if !id.is_empty() => {
            exact(id)?.next().ok_or(CommandError::Other("invalid start ID for the interval"))
        }
        _ => bound(word, 0),
    }
}

/// The last id of an interval: a bound, or the one before the id after `(`.
pub(super) fn interval_end(word: &[u8]) -> Outcome<StreamId> {
    match word.strip_prefix(b"(") {
        Some(id) if !id.is_empty() => {
            let id = from_parts(parts(id)?, u64::MAX)?;
            id.previous().ok_or(CommandError::Other("invalid end ID for the interval"))
        }
        _ => bound(word, u64::MAX),
    }
}

/// Milliseconds and sequence, as text.
fn parts(word: &[u8]) -> Outcome<(&[u8], Option<&[u8]>)> {
    if word.len() > ID_CHARS_MAX || matches!(word, b"-" | b"+") {
        return Err(INVALID);
    }
    Ok(match word.iter().position(|byte| *byte == b'-') {
        None => (word, None),
        Some(at) => (&word[..at], Some(&word[at + 1..])),
    })
}

fn from_parts((ms, seq): (&[u8], Option<&[u8]>), missing_seq: u64) -> Outcome<StreamId> {
    Ok(StreamId { ms: number(ms)?, seq: seq.map_or(Ok(missing_seq), number)? })
}

/// A number as `string2ull` reads it: what is no 64-bit integer in its shortest form is left to C's `strtoull`, with
/// blanks, signs and zeros.
fn number(text: &[u8]) -> Outcome<u64> {
    if let Some(number) = protocol::parse_i64(text) {
        return u64::try_from(number).map_err(|_| INVALID);
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(INVALID);
    }
    let number = digits
        .iter()
        .try_fold(0u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    number.map(|number| if negative { number.wrapping_neg() } else { number }).ok_or(INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn ids_as_redis_reads_them() {
        for (word, expected) in [
            ("5", id(5, 0)),
            ("5-7", id(5, 7)),
            ("0-0", id(0, 0)),
            ("18446744073709551615-18446744073709551615", StreamId::MAX),
            ("007-+3", id(7, 3)),
            (" 7- 3", id(7, 3)),
        ] {
            assert_eq!(exact(word.as_bytes()), Ok(expected), "{word}");
        }
        for word in
            ["", "-", "+", "-5", "5-", "5--7", "x", "5-x", "5-7-9", "18446744073709551616", "1 ", "5-*"]
        {
            assert_eq!(exact(word.as_bytes()), Err(INVALID), "{word}");
        }
        assert_eq!(exact(&[b'0'; 128]), Err(INVALID));
        assert_eq!(exact(&[b'0'; 127]), Ok(StreamId::MIN));
    }

    #[test]
    fn new_ids() {
        assert_eq!(new_id(b"*"), Ok(NewId::Auto));
        assert_eq!(new_id(b"9-*"), Ok(NewId::NextOf(9)));
        assert_eq!(new_id(b"9"), Ok(NewId::Exact(id(9, 0))));
        for word in ["+", "-", "*-1", "9-**", "-*", "9-*x"] {
            assert_eq!(new_id(word.as_bytes()), Err(INVALID), "{word}");
        }
    }

    #[test]
    fn intervals() {
        assert_eq!((interval_start(b"-"), interval_end(b"+")), (Ok(StreamId::MIN), Ok(StreamId::MAX)));
        assert_eq!((interval_start(b"+"), interval_end(b"-")), (Ok(StreamId::MAX), Ok(StreamId::MIN)));
        assert_eq!((interval_start(b"5"), interval_end(b"5")), (Ok(id(5, 0)), Ok(id(5, u64::MAX))));
        assert_eq!(interval_start(b"(5"), Ok(id(5, 1)));
        assert_eq!(interval_start(b"(5-18446744073709551615"), Ok(id(6, 0)));
        assert_eq!(interval_end(b"(5"), Ok(id(5, u64::MAX - 1)));
        assert_eq!(interval_end(b"(5-0"), Ok(id(4, u64::MAX)));
        for word in ["(", "(-", "(+", "((5", "x"] {
            assert_eq!(interval_start(word.as_bytes()), Err(INVALID), "{word}");
            assert_eq!(interval_end(word.as_bytes()), Err(INVALID), "{word}");
        }
        let greatest = b"(18446744073709551615-18446744073709551615";
        assert_eq!(interval_start(greatest), Err(CommandError::Other("invalid start ID for the interval")));
        assert_eq!(interval_end(b"(0-0"), Err(CommandError::Other("invalid end ID for the interval")));
    }
}
