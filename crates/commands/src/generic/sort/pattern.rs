//! What BY and GET name: a key made of a pattern and an element, or a field of the hash that it holds.

use crate::hash::hash_of;
use crate::string::INTEGER_TEXT_BYTES_MAX;
use stdx::Slot;
use stdx::crc16::slot_of;
use store::{EntryRef, ValueRef};

/// Behind this stands a field.
const ARROW: &[u8] = b"->";

/// A pattern that BY or GET has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without `*`: it names nothing.
    Nothing,
    /// What the element is put between, and perhaps a field.
    Key { prefix: &'a [u8], postfix: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    /// As Redis's `lookupKeyByPattern` reads it.
    pub(super) fn parse(word: &'a [u8]) -> Pattern<'a> {
        if word == b"#" {
            return Pattern::Element;
        }
        let Some(star) = word.iter().position(|byte| *byte == b'*') else { return Pattern::Nothing };
        let (prefix, rest) = (&word[..star], &word[star + 1..]);
        let arrow = rest.windows(ARROW.len()).position(|pair| pair == ARROW);
        // An arrow at the end is a part of the key's name.
        match arrow.filter(|at| at + ARROW.len() < rest.len()) {
            Some(at) => Pattern::Key { prefix, postfix: &rest[..at], field: Some(&rest[at + ARROW.len()..]) },
            None => Pattern::Key { prefix, postfix: rest, field: None },
        }
    }

    /// The key that it makes of an element.
    pub(super) fn key(self, element: &[u8]) -> Option<Vec<u8>> {
        match self {
            Pattern::Element | Pattern::Nothing => None,
            Pattern::Key { prefix, postfix, .. } => Some([prefix, element, postfix].concat()),
        }
    }

    /// The slot of every key that it makes, if the hash tag is whole before the element.
    pub(super) fn slot(self) -> Option<Slot> {
        let Pattern::Key { prefix, .. } = self else { return None };
        let open = prefix.iter().position(|byte| *byte == b'{')?;
        let close = prefix[open..].iter().position(|byte| *byte == b'}')?;
        // Of an empty tag the whole key counts.
        (close > 1).then(|| slot_of(prefix))
    }

    /// Whether it makes keys at all.
    pub(super) fn makes_keys(self) -> bool {
        matches!(self, Pattern::Key { .. })
    }

    /// What the entry of the key has: a string, or the field.
    pub(super) fn value(self, entry: Option<EntryRef<'_>>) -> Option<Vec<u8>> {
        let Pattern::Key { field, .. } = self else { return None };
        match field {
            // Of another type it is as if it were not there.
            Some(field) => hash_of(entry).ok()??.get(field).map(<[u8]>::to_vec),
            None => match entry?.value() {
                ValueRef::String(string) => Some(string.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]).to_vec()),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_star_is_the_element_and_an_arrow_leads_to_a_field() {
        let key = |word| {
            let pattern = Pattern::parse(word);
            let field = match pattern {
                Pattern::Key { field, .. } => field,
                _ => None,
            };
            (pattern.key(b"E"), field)
        };
        let whole = |name: &[u8]| (Some(name.to_vec()), None);
        assert_eq!(key(b"w_*"), whole(b"w_E"));
        assert_eq!(key(b"*"), whole(b"E"));
        assert_eq!(key(b"a*b*"), whole(b"aEb*"));
        assert_eq!(key(b"a*->"), whole(b"aE->"));
        assert_eq!(key(b"a->b*"), whole(b"a->bE"));
        assert_eq!(key(b"a*->f"), (Some(b"aE".to_vec()), Some(&b"f"[..])));
        assert_eq!(key(b"a*b->f->g"), (Some(b"aEb".to_vec()), Some(&b"f->g"[..])));
        assert_eq!(Pattern::parse(b"#"), Pattern::Element);
        assert_eq!(Pattern::parse(b"##"), Pattern::Nothing);
    }

    #[test]
    fn a_tag_before_the_element_decides_the_slot() {
        let slot = |word| Pattern::parse(word).slot();
        assert_eq!(slot(b"{tag}*"), Some(slot_of(b"tag")));
        assert_eq!(slot(b"x{tag}y*z}->f"), Some(slot_of(b"tag")));
        for word in [&b"w_*"[..], b"{*}", b"{tag*}", b"{}*{tag}", b"*{tag}", b"}{*", b"#", b"{tag}"] {
            assert_eq!(slot(word), None, "{}", word.escape_ascii());
        }
    }
}
