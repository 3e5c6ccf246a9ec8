//! Words without those that were there before.

use std::collections::HashSet;

/// Up to so many words are compared with each other; more are looked up by their hash.
const COMPARED_MAX: usize = 16;

/// Each word once, where it came first.
pub(crate) fn distinct<'a>(words: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let mut first: Vec<&[u8]> = Vec::new();
    let mut seen: HashSet<&[u8]> = HashSet::new();
    for word in words {
        let is_new = if first.len() < COMPARED_MAX {
            !first.contains(&word)
        } else {
            if seen.is_empty() {
                seen.extend(&first);
            }
            seen.insert(word)
        };
        if is_new {
            first.push(word);
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_comes_once() {
        for count in [0, 3, 15, 16, 17, 40] {
            let texts: Vec<String> = (0..count * 2).map(|number| (number % count).to_string()).collect();
            let words: Vec<&[u8]> = distinct(texts.iter().map(|text| text.as_bytes()));
            let expected: Vec<&[u8]> = texts[..count].iter().map(|text| text.as_bytes()).collect();
            assert_eq!(words, expected);
        }
    }
}
