//! Elements of collections: byte strings in order, as a command has them or as a record carries them.
//!
//! ```text
//! varint count | varint length, bytes | varint length, bytes | ...
//! ```

use crate::Corrupt;
use crate::varint::{Reader, write_bytes, write_varint};
use std::fmt;

/// What kind of collection a key holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Fields with their values.
    Hash = 1,
    /// Elements in order.
    List = 2,
    /// Members.
    Set = 3,
    /// Members with their scores.
    SortedSet = 4,
    /// Entries by id.
    Stream = 5,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [Kind::Hash, Kind::List, Kind::Set, Kind::SortedSet, Kind::Stream];

    /// The kind with this number, which formats have.
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Byte strings in order. Borrowed from the words of a command, or from a record.
#[derive(Clone, Copy)]
pub struct Elements<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Words(&'a [&'a [u8]]),
    /// Each behind its length; that there are so many was seen when they were read or written.
    Encoded {
        bytes: &'a [u8],
        count: usize,
    },
}

impl<'a> Elements<'a> {
    /// These words.
    pub fn words(words: &'a [&'a [u8]]) -> Elements<'a> {
        Elements(Form::Words(words))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self.0 {
            Form::Words(words) => words.len(),
            Form::Encoded { count, .. } => count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each of them.
    #[inline]
    pub fn iter(&self) -> ElementIter<'a> {
        match self.0 {
            Form::Words(words) => ElementIter(IterForm::Words(words.iter())),
            Form::Encoded { bytes, .. } => ElementIter(IterForm::Encoded(Reader::new(bytes))),
        }
    }

    /// Two by two: fields with their values, scores with their members. A last one without another is left out.
    #[inline]
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut elements = self.iter();
        std::iter::from_fn(move || Some((elements.next()?, elements.next()?)))
    }

    /// Bytes of all of them together.
    pub fn content_bytes(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        write_varint(out, self.len() as u64);
        match self.0 {
            Form::Words(words) => words.iter().for_each(|word| write_bytes(out, word)),
            Form::Encoded { bytes, .. } => out.extend_from_slice(bytes),
        }
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Elements<'a>, Corrupt> {
        let count = reader.varint()?;
        let from = reader.clone();
        for _ in 0..count {
            reader.bytes()?;
        }
        let count = usize::try_from(count).map_err(|_| reader.corrupt("length beyond memory"))?;
        Ok(Elements(Form::Encoded { bytes: from.until(reader), count }))
    }
}

impl PartialEq for Elements<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Elements<'_> {}

impl fmt::Debug for Elements<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|element| element.escape_ascii().to_string());
        out.debug_list().entries(shown).finish()
    }
}

/// Iterates over [`Elements`].
#[derive(Clone, Debug)]
pub struct ElementIter<'a>(IterForm<'a>);

#[derive(Clone, Debug)]
enum IterForm<'a> {
    Words(std::slice::Iter<'a, &'a [u8]>),
    Encoded(Reader<'a>),
}

impl<'a> Iterator for ElementIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            IterForm::Words(words) => words.next().copied(),
            IterForm::Encoded(reader) if reader.is_empty() => None,
            IterForm::Encoded(reader) => reader.bytes().ok(),
        }
    }
}

/// Elements that are put together one by one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ElementsBuilder {
    bytes: Vec<u8>,
    count: usize,
}

impl ElementsBuilder {
    /// None yet.
    pub fn new() -> ElementsBuilder {
        ElementsBuilder::default()
    }

    /// One more.
    pub fn push(&mut self, element: &[u8]) {
        write_bytes(&mut self.bytes, element);
        self.count += 1;
    }

    /// Those that were pushed.
    pub fn elements(&self) -> Elements<'_> {
        Elements(Form::Encoded { bytes: &self.bytes, count: self.count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_what_was_read_are_alike() {
        let words: [&[u8]; 3] = [b"a", b"", b"long enough"];
        let elements = Elements::words(&words);
        let mut out = Vec::new();
        elements.encode(&mut out);
        assert_eq!(out, b"\x03\x01a\0\x0blong enough");
        let mut reader = Reader::new(&out);
        let read = Elements::read(&mut reader).expect("it was just written");
        assert!(reader.is_empty());
        assert_eq!((read, read.len(), read.content_bytes()), (elements, 3, 12));
        let mut builder = ElementsBuilder::new();
        words.iter().for_each(|word| builder.push(word));
        assert_eq!(builder.elements(), elements);
        assert_eq!(read.pairs().collect::<Vec<_>>(), [(&b"a"[..], &b""[..])]);
        assert_ne!(Elements::words(&words[..2]), elements);
        assert_eq!(format!("{read:?}"), r#"["a", "", "long enough"]"#);
    }

    #[test]
    fn kinds_have_their_numbers() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind as u8), Some(kind));
        }
        assert_eq!((Kind::from_number(0), Kind::from_number(6)), (None, None));
    }
}
