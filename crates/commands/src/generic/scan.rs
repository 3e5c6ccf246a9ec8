//! SCAN: one walk over all partitions of the cluster, whatever node is asked.
//!
//! The cursor that a client sees is a decimal 64-bit number: the partition in the high 16 bits, the partition's own
//! cursor in the low 48. Zero starts and ends the walk; that is unambiguous, because the walk goes from partition 0
//! upwards and a partition's own cursor is 0 only at its start. The node that is asked splits the cursor, lets the
//! primary of that partition run [`scan_partition`], moves on to the following partitions of the same primary until
//! [`ScanRequest::count`] entries were looked at, and answers with [`reply_scan`].
//!
//! The guarantee is Redis's: a key that is there during the whole walk is reported at least once.

use super::ROW;
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, integer};
use crate::glob;
use crate::table::{Command, Flags, Run};
use protocol::Reply;
use stdx::PartitionId;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "scan",
    arity: -2,
    flags: Flags::READONLY,
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls \
            for the cursor to return back to 0. N is the number of elements inside the collection.",
    summary: "Iterates over the key names in the database.",
    tips: &["nondeterministic_output", "request_policy:special"],
    run: Run::Scan,
    ..ROW
}];

/// Entries looked at by default, as in Redis.
pub const COUNT_DEFAULT: usize = 10;
/// Most entries that one call looks at, so that a client cannot hold a partition's lock for long.
pub const COUNT_MAX: usize = 65_536;
/// Bits of a partition's own cursor.
const INNER_BITS: u32 = 48;

/// The arguments of a SCAN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanRequest {
    /// The cursor as the client sent it.
    pub cursor: u64,
    /// MATCH, unless it is `*`.
    pub pattern: Option<Vec<u8>>,
    /// COUNT, at most [`COUNT_MAX`].
    pub count: usize,
    /// TYPE, in lower case. One that no value has yields no keys.
    pub type_name: Option<Vec<u8>>,
}

/// Reads the arguments; the error is the whole error reply.
pub fn parse_scan(args: Args<'_>) -> Result<ScanRequest, String> {
    parse(args).map_err(|error| error.to_string())
}

fn parse(args: Args<'_>) -> Outcome<ScanRequest> {
    parse_options(parse_cursor(args.at(1))?, args.tail(2), true)
}

/// Reads what follows the cursor; TYPE only where keys are walked over.
pub(crate) fn parse_options(cursor: u64, words: &[&[u8]], over_keys: bool) -> Outcome<ScanRequest> {
    let mut request = ScanRequest { cursor, pattern: None, count: COUNT_DEFAULT, type_name: None };
    let mut options = words.chunks_exact(2);
    for option in &mut options {
        let (name, value) = (option[0], option[1]);
        if name.eq_ignore_ascii_case(b"count") {
            let count = usize::try_from(integer(value)?).unwrap_or(0);
            if count == 0 {
                return Err(CommandError::Syntax);
            }
            request.count = count.min(COUNT_MAX);
        } else if name.eq_ignore_ascii_case(b"match") {
            request.pattern = (value != b"*").then(|| value.to_vec());
        } else if over_keys && name.eq_ignore_ascii_case(b"type") {
            request.type_name = Some(value.to_ascii_lowercase());
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if options.remainder().is_empty() { Ok(request) } else { Err(CommandError::Syntax) }
}

/// A cursor as clients send it. Redis reads it with strtoul(3): a sign is taken, a negative number wraps around, and nothing is 0.
pub(crate) fn parse_cursor(word: &[u8]) -> Outcome<u64> {
    let text = word.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let plain = digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|text| text.parse::<u64>().ok());
    let number = number.ok_or(CommandError::Other("invalid cursor"))?;
    Ok(if negative { number.wrapping_neg() } else { number })
}

/// The partition and the partition's own cursor in a client's cursor. The partition may not exist: then the walk is
/// over.
pub fn split_cursor(cursor: u64) -> (PartitionId, u64) {
    let partition = u16::try_from(cursor >> INNER_BITS).expect("16 bits are left");
    (PartitionId(partition), cursor & ((1 << INNER_BITS) - 1))
}

/// The client's cursor after `partition` was scanned up to its own cursor `next` in a cluster of `partitions`: the
/// same partition, the start of the following one, or 0 after the last.
pub fn cursor_after(partition: PartitionId, next: u64, partitions: u16) -> u64 {
    debug_assert!(next < 1 << INNER_BITS);
    if next != 0 {
        return u64::from(partition.0) << INNER_BITS | next;
    }
    let following = partition.0 + 1;
    if following < partitions { u64::from(following) << INNER_BITS } else { 0 }
}

/// Looks at about `count` entries of the context's only partition from its own `cursor` on and adds the keys that
/// the request asks for; the partition's next cursor, 0 at its end. `looked_at` counts the entries, matching or not.
pub fn scan_partition(
    ctx: &ReadCtx<'_>,
    request: &ScanRequest,
    cursor: u64,
    count: usize,
    looked_at: &mut usize,
    keys: &mut Vec<Vec<u8>>,
) -> u64 {
    ctx.only().scan(ctx.db, cursor, count, ctx.now, &mut |key, entry| {
        *looked_at += 1;
        let matches = request.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key));
        let wanted = request.type_name.as_ref();
        if matches
            && wanted.is_none_or(|wanted| entry.value().type_name().as_bytes().eq_ignore_ascii_case(wanted))
        {
            keys.push(key.to_vec());
        }
    })
}

/// Writes the reply: the client's next cursor and the keys, or what else was found.
pub fn reply_scan(cursor: u64, keys: &[Vec<u8>], reply: &mut Reply<'_>) {
    reply.array(2);
    reply.bulk(cursor.to_string().as_bytes());
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &[&str]) -> Result<ScanRequest, String> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        parse_scan(Args::new(&words))
    }

    #[test]
    fn arguments() {
        let all = request(&["scan", "0", "MATCH", "a*", "count", "7", "TYPE", "String"]).unwrap();
        let expected = ScanRequest {
            cursor: 0,
            pattern: Some(b"a*".to_vec()),
            count: 7,
            type_name: Some(b"string".to_vec()),
        };
        assert_eq!(all, expected);
        assert_eq!(request(&["scan", "0", "match", "*"]).unwrap().pattern, None);
        assert_eq!(request(&["scan", "x"]).unwrap_err(), "ERR invalid cursor");
        for word in ["18446744073709551616", "-18446744073709551616", " 1", "1 ", "+", "-", "0x1"] {
            assert_eq!(request(&["scan", word]).unwrap_err(), "ERR invalid cursor", "{word}");
        }
        for (word, cursor) in [("", 0), ("+7", 7), ("-1", u64::MAX), ("3\0x", 3), ("007", 7)] {
            assert_eq!(request(&["scan", word]).unwrap().cursor, cursor, "{word}");
        }
        assert_eq!(request(&["scan", "0", "count", "0"]).unwrap_err(), "ERR syntax error");
        assert_eq!(request(&["scan", "0", "count"]).unwrap_err(), "ERR syntax error");
        let error = request(&["scan", "0", "count", "x"]).unwrap_err();
        assert_eq!(error, "ERR value is not an integer or out of range");
    }

    #[test]
    fn cursors_name_partition_and_place() {
        assert_eq!(split_cursor(0), (PartitionId(0), 0));
        let cursor = cursor_after(PartitionId(255), 0xffff_ffff_ffff, 256);
        assert_eq!(split_cursor(cursor), (PartitionId(255), 0xffff_ffff_ffff));
        assert_eq!(split_cursor(cursor_after(PartitionId(0), 0, 256)), (PartitionId(1), 0));
        assert_eq!(cursor_after(PartitionId(255), 0, 256), 0);
        assert_eq!(cursor_after(PartitionId(16_383), 0, 16_384), 0);
    }
}
