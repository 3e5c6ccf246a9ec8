//! Why a rule of `ACL SETUSER` is refused, and how rules are split into words.

use std::fmt;

/// Why a rule is refused. `to_string` is Redis's text (`ACLSetUserStringError`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// No such command or category.
    Unknown,
    /// Not a rule, or a pattern with blanks.
    Syntax,
    /// A pattern of keys where all keys are allowed already.
    AllKeys,
    /// A pattern of channels where all channels are allowed already.
    AllChannels,
    /// A password to remove that the user does not have.
    NoSuchPassword,
    /// Not a digest.
    BadHash,
    /// A first argument of a subcommand.
    OfSubcommand,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::AllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::OfSubcommand => "Allowing first-arg of a subcommand is not supported",
        })
    }
}

impl std::error::Error for RuleError {}

/// Whether a name or pattern has a character that the format of rules cannot hold.
pub(super) fn has_blanks(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}

/// Joins a selector that stands in several words; the error is the word in which it begins and never ends.
pub(super) fn merge_selectors<'a>(words: &[&'a [u8]]) -> Result<Vec<std::borrow::Cow<'a, [u8]>>, &'a [u8]> {
    let mut rules = Vec::with_capacity(words.len());
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for &word in words {
        match &mut open {
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
            }
            None if word.first() == Some(&b'(') && word.last() != Some(&b')') => {
                open = Some((word, word.to_vec()));
                continue;
            }
            None => {
                rules.push(word.into());
                continue;
            }
        }
        if word.last() == Some(&b')')
            && let Some((_, selector)) = open.take()
        {
            rules.push(selector.into());
        }
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(rules),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_joined() {
        let merged = |text: &str| {
            let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            merge_selectors(&words)
                .map(|rules| {
                    rules.iter().map(|rule| String::from_utf8_lossy(rule).into_owned()).collect::<Vec<_>>()
                })
                .map_err(|word| String::from_utf8_lossy(word).into_owned())
        };
        assert_eq!(merged("on (+get ~a) off"), Ok(vec!["on".into(), "(+get ~a)".into(), "off".into()]));
        assert_eq!(merged("(+get) ( ~b )"), Ok(vec!["(+get)".into(), "( ~b )".into()]));
        assert_eq!(merged("on (+get (~b"), Err("(+get".into()));
        assert!(has_blanks(b"a b") && has_blanks(b"a\0") && !has_blanks(b"a|b"));
    }
}
