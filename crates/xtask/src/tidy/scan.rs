//! Blanks out comments, strings and character literals of Rust source, so that rules see code only.
//!
//! Every blanked character becomes a space and every line keeps its number. This is a scanner, not a parser: it
//! knows just enough of the lexical grammar (nested comments, raw strings, lifetimes) to find where code is.

/// The code of `source`, line by line.
pub(crate) fn code_lines(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip_at(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        for &character in &chars[at..end] {
            code.push(if character == '\n' { '\n' } else { ' ' });
        }
        at = end;
    }
    code.lines().map(str::to_owned).collect()
}

/// The end of the comment or literal that begins at `at`, or `at` when none does.
fn skip_at(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied().unwrap_or_default();
    match chars[at] {
        '/' if next == '/' => position(chars, at, |index| chars[index] == '\n'),
        '/' if next == '*' => block_comment_end(chars, at),
        '"' => string_end(chars, at),
        'r' | 'b' | 'c' if !follows_word(chars, at) => prefixed_end(chars, at),
        '\'' => char_end(chars, at),
        _ => at,
    }
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0usize);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// The end of a string whose opening quote is at `quote`.
fn string_end(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// Raw, byte and C strings, and byte characters: `r"`, `r#"`, `b"`, `br#"`, `c"`, `b'`.
fn prefixed_end(chars: &[char], start: usize) -> usize {
    let letters = chars[start..].iter().take(2).take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let raw = chars[start..start + letters].contains(&'r');
    let mut at = start + letters;
    let hashes = if raw { chars[at..].iter().take_while(|c| **c == '#').count() } else { 0 };
    at += hashes;
    match chars.get(at) {
        Some('"') if raw => raw_string_end(chars, at + 1, hashes),
        Some('"') => string_end(chars, at),
        Some('\'') if !raw => char_end(chars, at),
        _ => start,
    }
}

fn raw_string_end(chars: &[char], from: usize, hashes: usize) -> usize {
    let closes = |at: usize| {
        chars[at] == '"'
            && chars.get(at + 1..at + 1 + hashes).is_some_and(|tail| tail.iter().all(|c| *c == '#'))
    };
    let quote = position(chars, from, closes);
    (quote + 1 + hashes).min(chars.len())
}

/// The end of a character literal; a lifetime is code.
fn char_end(chars: &[char], quote: usize) -> usize {
    match (chars.get(quote + 1), chars.get(quote + 2)) {
        (Some('\\'), _) => {
            // The escaped character itself may be a quote, so the search starts behind it.
            (position(chars, quote + 3, |index| chars[index] == '\'') + 1).min(chars.len())
        }
        (Some(_), Some('\'')) => quote + 3,
        _ => quote,
    }
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn position(chars: &[char], from: usize, found: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|index| found(*index)).unwrap_or(chars.len())
}

/// True when `word` stands in `code` as a word of its own.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(start, _)| {
        !is_part(code[..start].chars().next_back()) && !is_part(code[start + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_remains() {
        for (source, code) in [
            ("a // {\nb", "a\nb"),
            ("a /* { /* } */ { */ b", "a                     b"),
            (r#"f("{\"{") }"#, "f(      ) }"),
            (r##"r#"{"#; x"##, "      ; x"),
            ("'{' 'a: '\\'' b'{' x", "    'a:           x"),
            ("br\"{\" bar\"}\"", "      bar"),
        ] {
            // How many spaces a literal leaves does not matter; the number of lines does.
            let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let found = code_lines(source);
            assert_eq!(squeeze(&found.join("\n")), squeeze(code), "{source}");
            assert_eq!(found.len(), source.lines().count(), "{source}");
        }
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("pub fn x()", "fn"));
        assert!(!has_word("unsafe_code", "unsafe"));
        assert!(!has_word("confn", "fn"));
    }
}
