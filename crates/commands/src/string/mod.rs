//! The string family, one file per concern, and what its files share: the type check and the deadline options.

pub mod get;
pub mod lcs;
pub mod many;
pub mod number;
pub mod range;
pub mod set;

use crate::error::{CommandError, Outcome, integer};
use crate::table::{Categories, Command, Group};
use protocol::Reply;
use stdx::{Wall, limits};
use store::{EntryRef, StringRef, ValueRef};

/// Room for an integer-encoded string as text: a sign and 19 digits.
pub(crate) const INTEGER_TEXT_BYTES_MAX: usize = 20;

/// What every row of the family has in common.
pub(crate) const ROW: Command =
    Command { categories: Categories::STRING, group: Group::String, ..Command::BLANK };

/// The string that an entry holds, or WRONGTYPE.
#[inline]
pub(crate) fn string_of<'e>(entry: &'e EntryRef<'_>) -> Outcome<StringRef<'e>> {
    match entry.value() {
        ValueRef::String(string) => Ok(string),
        _ => Err(CommandError::WrongType),
    }
}

/// Writes the string of an entry, null for none, or the error.
#[inline]
pub(crate) fn reply_string(reply: &mut Reply<'_>, entry: Option<EntryRef<'_>>) -> Outcome<()> {
    match entry {
        None => reply.null(),
        Some(entry) => {
            let string = string_of(&entry)?;
            reply.bulk(string.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]));
        }
    }
    Ok(())
}

/// Whether an entry holds exactly this string, or WRONGTYPE.
pub(crate) fn holds(entry: &EntryRef<'_>, expected: &[u8]) -> Outcome<bool> {
    Ok(string_of(entry)?.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]) == expected)
}

/// Refuses a string that would become longer than a bulk may be.
pub(crate) fn check_length(length: u64, more: usize) -> Outcome<()> {
    let fits = length.checked_add(more as u64).is_some_and(|total| total <= limits::BULK_BYTES_MAX as u64);
    if fits { Ok(()) } else { Err(CommandError::TooLong) }
}

/// How an option gives a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// Seconds from now (EX).
    Seconds,
    /// Milliseconds from now (PX).
    Milliseconds,
    /// Unix time in seconds (EXAT).
    UnixSeconds,
    /// Unix time in milliseconds (PXAT).
    UnixMilliseconds,
}

impl Unit {
    /// The unit that an option of SET or GETEX names.
    pub(crate) fn from_option(word: &[u8]) -> Option<Unit> {
        match word {
            [b'E' | b'e', b'X' | b'x'] => Some(Unit::Seconds),
            [b'P' | b'p', b'X' | b'x'] => Some(Unit::Milliseconds),
            _ if word.eq_ignore_ascii_case(b"exat") => Some(Unit::UnixSeconds),
            _ if word.eq_ignore_ascii_case(b"pxat") => Some(Unit::UnixMilliseconds),
            _ => None,
        }
    }

    /// The deadline that `word` gives in this unit: positive and within 64 bits, as Redis's
    /// `getExpireMillisecondsOrReply` wants it.
    pub(crate) fn deadline(self, word: &[u8], now: Wall, command: &'static str) -> Outcome<Wall> {
        let amount = integer(word)?;
        let milliseconds = match self {
            Unit::Seconds | Unit::UnixSeconds => amount.checked_mul(1_000),
            Unit::Milliseconds | Unit::UnixMilliseconds => Some(amount),
        };
        let deadline = milliseconds.filter(|_| amount > 0).and_then(|milliseconds| match self {
            Unit::Seconds | Unit::Milliseconds => milliseconds.checked_add(signed(now)),
            Unit::UnixSeconds | Unit::UnixMilliseconds => Some(milliseconds),
        });
        let deadline = deadline.and_then(|at| u64::try_from(at).ok());
        deadline.map(Wall).ok_or(CommandError::InvalidExpire(command))
    }
}

/// A reading of the wall clock as Redis computes with it.
pub(crate) fn signed(at: Wall) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}
