//! The words of a command, owned, in the form that they have on a link.

use smallvec::SmallVec;

/// Bytes of words that need no allocation: a SET of a short value and all that is smaller.
const WORDS_INLINE_BYTES: usize = 120;

/// Owned words of a command, together: `length u32, bytes` each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    pub(crate) count: u32,
    pub(crate) bytes: SmallVec<[u8; WORDS_INLINE_BYTES]>,
}

impl Words {
    /// Copies `words`.
    pub fn copy_of(words: &[&[u8]]) -> Words {
        let bytes = SmallVec::with_capacity(words.iter().map(|word| word.len() + 4).sum());
        let mut copy = Words { count: 0, bytes };
        for word in words {
            copy.push(word);
        }
        copy
    }

    /// Appends one word.
    pub fn push(&mut self, word: &[u8]) {
        let len = u32::try_from(word.len()).expect("a word is shorter than 4 GiB");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(word);
        self.count += 1;
    }

    /// The words, borrowed.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        WordIter { bytes: &self.bytes }
    }

    /// Bytes held.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }
}

pub(crate) struct WordIter<'a> {
    pub(crate) bytes: &'a [u8],
}

impl<'a> Iterator for WordIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.bytes.split_first_chunk::<4>()?;
        let (word, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        self.bytes = rest;
        Some(word)
    }
}
