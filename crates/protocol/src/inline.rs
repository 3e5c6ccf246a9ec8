//! Inline commands: a line of words, for people at a terminal and for health checks.
//!
//! The rules are those of Redis's `sdssplitargs`. Words are separated by blanks. `"..."` understands `\xHH`,
//! `\n`, `\r`, `\t`, `\b`, `\a` and otherwise takes the escaped byte as it is; `'...'` understands only `\'`.
//! A closing quote must be followed by a blank or the end of the line. A line without quotes, which is nearly
//! all of them, yields ranges of the input like any other command.

use memchr::memchr2;

use crate::args::Args;
use crate::error::ProtocolError;

/// Splits `line`, which starts at the first byte of the parsed buffer and excludes its line break, into
/// `args`.
pub(crate) fn split(line: &[u8], args: &mut Args) -> Result<(), ProtocolError> {
    if memchr2(b'"', b'\'', line).is_none() { split_plain(line, args) } else { split_quoted(line, args) }
}

/// The words of a line on its own, owned: for the first line of a script, which Redis reads by the same rules.
///
/// # Errors
/// When a quote is not closed, or closed in the middle of a word.
pub fn split_words(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let mut args = Args::new();
    split(line, &mut args)?;
    Ok((0..args.len()).filter_map(|index| args.get(line, index)).map(<[u8]>::to_vec).collect())
}

fn split_plain(line: &[u8], args: &mut Args) -> Result<(), ProtocolError> {
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let len = rest.iter().position(|byte| ends_word(*byte)).unwrap_or(rest.len());
        push(args, line.len() - rest.len(), len)?;
        rest = skip_blanks(rest.get(len..).unwrap_or_default());
    }
    Ok(())
}

fn split_quoted(line: &[u8], args: &mut Args) -> Result<(), ProtocolError> {
    args.start_unescaped();
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let start = args.unescaped().len();
        rest = skip_blanks(word(rest, args.unescaped())?);
        let len = args.unescaped().len() - start;
        push(args, start, len)?;
    }
    Ok(())
}

/// Appends the word that `rest` starts with to `out`, and returns what follows it.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    while let [byte, tail @ ..] = rest {
        match byte {
            b'"' => return double_quoted(tail, out),
            b'\'' => return single_quoted(tail, out),
            byte if ends_word(*byte) => return Ok(rest),
            byte => out.push(*byte),
        }
        rest = tail;
    }
    Ok(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex_value(*high) << 4 | hex_value(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                out.push(unescape(*escaped));
                tail
            }
            [b'"', tail @ ..] => return closed(tail),
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                tail
            }
            [b'\'', tail @ ..] => return closed(tail),
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

/// What follows a closing quote, if it may follow one.
fn closed(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !is_blank(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn push(args: &mut Args, start: usize, len: usize) -> Result<(), ProtocolError> {
    if args.push(start, len) { Ok(()) } else { Err(ProtocolError::InlineTooBig) }
}

fn skip_blanks(rest: &[u8]) -> &[u8] {
    let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
    rest.get(blanks..).unwrap_or_default()
}

/// C's `isspace`. It separates words, but vertical tab and form feed do not end one: see [`ends_word`].
fn is_blank(byte: u8) -> bool {
    ends_word(byte) || matches!(byte, 0x0b | 0x0c)
}

fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], expect: &[&[u8]]) {
        let mut args = Args::new();
        assert_eq!(split(line, &mut args), Ok(()), "{}", line.escape_ascii());
        let got: Vec<&[u8]> = (0..args.len()).filter_map(|index| args.get(line, index)).collect();
        assert_eq!(got, expect, "{}", line.escape_ascii());
    }

    fn check_unbalanced(line: &[u8]) {
        assert_eq!(
            split(line, &mut Args::new()),
            Err(ProtocolError::UnbalancedQuotes),
            "{}",
            line.escape_ascii()
        );
    }

    #[test]
    fn plain_words() {
        check(b"", &[]);
        check(b" \t\x0b ", &[]);
        check(b"PING", &[b"PING"]);
        check(b"  set  key\tvalue \r", &[b"set", b"key", b"value"]);
        check(b"a\x0bb \x0c c\0d", &[b"a\x0bb", b"c\0d"]);
        check(br"back\slash \x41", &[br"back\slash", br"\x41"]);
    }

    #[test]
    fn quoted_words() {
        check(br#"set k "a b""#, &[b"set", b"k", b"a b"]);
        check(br#"set k """#, &[b"set", b"k", b""]);
        check(br#""\x41\x0a\xfF\n\r\t\b\a\"\\\q""#, &[b"A\n\xff\n\r\t\x08\x07\"\\q"]);
        check(br#""\xzz\x4""#, &[b"xzzx4"]);
        check(br"'a\'b' 'c\n\\d'", &[b"a'b", br"c\n\\d"]);
        check(br#"foo"bar" 'it'"#, &[b"foobar", b"it"]);
        check(b"\"a\"\x0bb", &[b"a", b"b"]);
        check(br#"'"' "'""#, &[b"\"", b"'"]);
    }

    #[test]
    fn owned_words() {
        let words = split_words(br#"#!lua "name=a b" c"#);
        assert_eq!(words, Ok(vec![b"#!lua".to_vec(), b"name=a b".to_vec(), b"c".to_vec()]));
        assert_eq!(split_words(b"a 'b"), Err(ProtocolError::UnbalancedQuotes));
    }

    #[test]
    fn unbalanced_quotes() {
        for line in [
            &br#"""#[..],
            b"'",
            br#"a "b"#,
            br#""a"b"#,
            b"'a'b",
            br#""a\""#,
            br"'a\'",
            br#""a\"#,
            b"\"a\"\"b\"",
        ] {
            check_unbalanced(line);
        }
    }
}
