//! Glob patterns of CONFIG GET: `*`, `?`, `[a-z]`, `[^a]` and `\` escapes, ignoring ASCII case, as Redis matches them.
//!
//! The matcher remembers only the last `*`, so that a hostile pattern costs pattern times name and no recursion.

/// Whether `name` matches `pattern`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to resume after the last star: the pattern behind it, and the first byte it has not swallowed yet.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, n));
            continue;
        }
        if let Some(next) = step(pattern, p, name[n]) {
            p = next;
            n += 1;
            continue;
        }
        let Some((after_star, swallowed)) = star else { return false };
        star = Some((after_star, swallowed + 1));
        p = after_star;
        n = swallowed + 1;
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Matches one byte against the pattern element at `p`; gives the position behind that element.
fn step(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => pattern[p + 1].eq_ignore_ascii_case(&byte).then_some(p + 2),
        literal => literal.eq_ignore_ascii_case(&byte).then_some(p + 1),
    }
}

fn class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let byte = byte.to_ascii_lowercase();
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut found = false;
    while let Some(first) = pattern.get(p).copied() {
        match first {
            b']' => return (found != negated).then_some(p + 1),
            b'\\' if p + 1 < pattern.len() => {
                found |= pattern[p + 1].to_ascii_lowercase() == byte;
                p += 2;
            }
            _ if pattern.get(p + 1) == Some(&b'-') && p + 2 < pattern.len() => {
                let (from, to) = (first.to_ascii_lowercase(), pattern[p + 2].to_ascii_lowercase());
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                p += 3;
            }
            _ => {
                found |= first.to_ascii_lowercase() == byte;
                p += 1;
            }
        }
    }
    // A class that is never closed ends with the pattern, as in Redis.
    (found != negated).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        let yes = [
            ("*", "port"),
            ("*", ""),
            ("max*", "maxmemory"),
            ("*mem*pol*", "maxmemory-policy"),
            ("PORT", "port"),
            ("p?rt", "port"),
            ("[a-p]ort", "port"),
            ("[^a]ort", "port"),
            ("p\\ort", "port"),
            ("**t", "port"),
            ("por[t", "port"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern, name), "{pattern} should match {name}");
        }
        let no = [
            ("", "port"),
            ("por", "port"),
            ("ports", "port"),
            ("[^p]ort", "port"),
            ("\\*", "port"),
            ("*x", "port"),
        ];
        for (pattern, name) in no {
            assert!(!matches(pattern, name), "{pattern} should not match {name}");
        }
    }

    #[test]
    fn many_stars_end_quickly() {
        let pattern = "*a".repeat(1_000) + "b";
        assert!(!matches(&pattern, &"a".repeat(2_000)));
    }
}
