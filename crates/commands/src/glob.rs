//! Glob patterns of KEYS, SCAN, PSUBSCRIBE and CONFIG GET: what Redis's `stringmatchlen` matches, in bounded time.
//!
//! Every element but `*` matches exactly one byte, so a mismatch never has to reconsider any star but the last:
//! the match needs no recursion and at most |pattern| x |string| steps, where the plain recursive algorithm is
//! exponential in the number of stars. Oddities kept: a class that is never closed ends with the pattern, a lone
//! backslash at the end is itself, and nothing but the empty pattern matches the empty string.

/// Whether `pattern` matches the whole of `string`.
pub fn matches(pattern: &[u8], string: &[u8]) -> bool {
    match_with(pattern, string, false)
}

/// As [`matches`], letters compared without their (ASCII) case.
pub fn matches_ignoring_case(pattern: &[u8], string: &[u8]) -> bool {
    match_with(pattern, string, true)
}

fn match_with(pattern: &[u8], string: &[u8], ignore_case: bool) -> bool {
    if string.is_empty() {
        return pattern.is_empty();
    }
    let (mut rest, mut at) = (pattern, 0);
    // Pattern after the last star, and where in the string it was tried last.
    let mut retry: Option<(&[u8], usize)> = None;
    loop {
        if let [b'*', after @ ..] = rest {
            if after.is_empty() {
                return true;
            }
            (rest, retry) = (after, Some((after, at)));
            continue;
        }
        let next = match string.get(at) {
            Some(&byte) => match_one(rest, byte, ignore_case),
            None if rest.is_empty() => return true,
            None => return false,
        };
        if let Some(after) = next {
            (rest, at) = (after, at + 1);
            continue;
        }
        let Some((after, tried)) = retry else { return false };
        (rest, at, retry) = (after, tried + 1, Some((after, tried + 1)));
    }
}

/// Matches the first element of `pattern`, which is not a star, with one byte; the rest of the pattern if it does.
fn match_one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<&[u8]> {
    let fold = |b: u8| if ignore_case { b.to_ascii_lowercase() } else { b };
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => match_class(class, fold(byte), fold),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (fold(*literal) == fold(byte)).then_some(rest),
    }
}

/// Matches the class that starts after its bracket; the pattern after the class if `byte` is in it.
fn match_class(class: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<&[u8]> {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    let rest = loop {
        class = match class {
            [] => break class,
            [b'\\', literal, rest @ ..] => {
                // An escaped byte is compared as it is, even where case is ignored.
                found |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => break rest,
            [first, b'-', last, rest @ ..] => {
                let (low, high) = (fold(*first.min(last)), fold(*first.max(last)));
                found |= (low..=high).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= fold(*literal) == byte;
                rest
            }
        };
    };
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_redis() {
        let cases: &[(&str, &str, bool)] = &[
            ("*", "anything", true),
            ("*", "", false),
            ("", "", true),
            ("", "a", false),
            ("foo", "foo", true),
            ("foo", "foobar", false),
            ("foobar", "foo", false),
            ("foo*", "foobar", true),
            ("foo*", "foo", true),
            ("foo**", "foo", true),
            ("*bar", "foobar", true),
            ("*o*o*", "foobao", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("[abc", "c", true),
            ("[abc", "d", false),
            ("[", "[", false),
            ("[]", "]", false),
            ("[a-]", "a", true),
            ("[a-]x", "bx", false),
            ("a[]b", "ab", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[\\", "\\", true),
            ("*[0-9]", "key9", true),
            ("*[0-9]", "key9x", false),
            ("*\\*", "a*", true),
            ("a*c?e", "abcdcde", true),
        ];
        for (pattern, string, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), string.as_bytes()), *expected, "{pattern:?} {string:?}");
        }
    }

    #[test]
    fn case_counts_unless_told() {
        assert!(!matches(b"FOO*", b"foobar"));
        assert!(matches_ignoring_case(b"FOO*", b"foobar"));
        assert!(matches_ignoring_case(b"[A-C]x", b"bX"));
        assert!(!matches_ignoring_case(b"[A-C]x", b"dX"));
    }

    #[test]
    fn many_stars_stay_cheap() {
        let string = vec![b'a'; 4_000];
        let mut pattern = b"a*".repeat(500);
        pattern.push(b'b');
        assert!(!matches(&pattern, &string));
        pattern.pop();
        assert!(matches(&pattern, &string));
    }
}
