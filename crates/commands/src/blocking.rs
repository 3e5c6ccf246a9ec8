//! What commands that wait for data have in common: how long, on which keys, and what they answer in the end.

use crate::args::Args;
use crate::table::Wait;
use protocol::Reply;
use std::time::Duration;

/// A timeout in seconds, as Redis's `getTimeoutFromObjectOrReply` reads it; 0 is for ever.
pub(crate) fn timeout(word: &[u8]) -> Result<Wait, String> {
    // Redis reads 80 bits: what is infinite in 64 is a number that is out of range.
    let is_huge = word.iter().any(|byte| matches!(byte, b'e' | b'E'));
    let huge = || {
        std::str::from_utf8(word).ok()?.parse::<f64>().ok().filter(|seconds| is_huge && seconds.is_infinite())
    };
    let seconds =
        protocol::parse_f64(word).or_else(huge).ok_or("ERR timeout is not a float or out of range")?;
    let milliseconds = (seconds * 1_000.0).ceil();
    if milliseconds >= i64::MAX as f64 {
        return Err("ERR timeout is out of range".to_owned());
    }
    if milliseconds < 0.0 {
        return Err("ERR timeout is negative".to_owned());
    }
    Ok(wait(milliseconds as u64))
}

/// So many milliseconds; 0 is for ever.
pub(crate) fn wait(milliseconds: u64) -> Wait {
    match milliseconds {
        0 => Wait::Forever,
        milliseconds => Wait::For(Duration::from_millis(milliseconds)),
    }
}

/// The timeout of a command whose last word it is.
pub(crate) fn keys_then_timeout(args: Args<'_>) -> Result<Wait, String> {
    timeout(args.at(args.len() - 1))
}

/// What most of them answer when there was nothing.
pub(crate) fn null_array(reply: &mut Reply<'_>, _has_waited: bool) {
    reply.null_array();
}

/// `NAME key ... timeout` on some of its keys.
pub(crate) fn on_some_keys(args: Args<'_>, positions: &[usize]) -> Vec<Vec<u8>> {
    let keys = positions.iter().map(|position| args.at(*position));
    let words = [args.name()].into_iter().chain(keys).chain([args.at(args.len() - 1)]);
    words.map(<[u8]>::to_vec).collect()
}

/// `NAME timeout numkeys key ... options` on some of its keys.
pub(crate) fn on_some_counted(args: Args<'_>, positions: &[usize]) -> Vec<Vec<u8>> {
    let count = protocol::parse_i64(args.at(2)).and_then(|count| usize::try_from(count).ok());
    let options = args.tail(count.and_then(|count| count.checked_add(3)).unwrap_or(usize::MAX));
    let number = positions.len().to_string();
    let head = [args.name(), args.at(1), number.as_bytes()];
    let keys = positions.iter().map(|position| args.at(*position));
    head.into_iter().chain(keys).chain(options.iter().copied()).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_as_redis_reads_them() {
        assert_eq!(timeout(b"0"), Ok(Wait::Forever));
        assert_eq!(timeout(b"-0.0"), Ok(Wait::Forever));
        assert_eq!(timeout(b"0.0001"), Ok(Wait::For(Duration::from_millis(1))));
        assert_eq!(timeout(b"1.5"), Ok(Wait::For(Duration::from_millis(1_500))));
        for (word, error) in [
            (&b"x"[..], "ERR timeout is not a float or out of range"),
            (b"-1", "ERR timeout is negative"),
            (b"-inf", "ERR timeout is negative"),
            (b"1e300", "ERR timeout is out of range"),
            (b"inf", "ERR timeout is out of range"),
            (b"1e400", "ERR timeout is out of range"),
            (b"-1e400", "ERR timeout is negative"),
        ] {
            assert_eq!(timeout(word), Err(error.to_owned()));
        }
    }

    #[test]
    fn commands_on_some_keys() {
        let words: [&[u8]; 5] = [b"BLPOP", b"a", b"b", b"c", b"7"];
        assert_eq!(on_some_keys(Args::new(&words), &[1, 3]), [&b"BLPOP"[..], b"a", b"c", b"7"]);
        let words: [&[u8]; 7] = [b"BLMPOP", b"7", b"2", b"a", b"b", b"LEFT", b"COUNT"];
        let expected: [&[u8]; 6] = [b"BLMPOP", b"7", b"1", b"b", b"LEFT", b"COUNT"];
        assert_eq!(on_some_counted(Args::new(&words), &[4]), expected);
    }
}
