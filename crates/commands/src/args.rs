//! The arguments of one command, borrowed from the read buffer.
//!
//! A newtype rather than a bare slice so that the handlers say `args.at(1)` for what the arity check has already
//! proved to be there, `args.get(i)` for what is optional, and compare options without case in one place.

/// The words of one command; word 0 is its name. Never empty.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a>(&'a [&'a [u8]]);

impl<'a> Args<'a> {
    /// Wraps the words of a command.
    ///
    /// # Panics
    /// If there is not even a name: the protocol crate never yields an empty command.
    #[inline]
    pub fn new(words: &'a [&'a [u8]]) -> Args<'a> {
        assert!(!words.is_empty(), "a command has at least its name");
        Args(words)
    }

    /// The word at `index`, if there is one.
    #[inline]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        self.0.get(index).copied()
    }

    /// The word at `index`, which the command's arity has proved to be there.
    ///
    /// # Panics
    /// If the command's row allows fewer words than its handler reads: a bug in the table.
    #[inline]
    pub fn at(self, index: usize) -> &'a [u8] {
        self.0[index]
    }

    /// Number of words, the name included.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// The name of the command as the client wrote it.
    #[inline]
    pub fn name(self) -> &'a [u8] {
        self.0[0]
    }

    /// All words, the name first.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        self.0.iter().copied()
    }

    /// The words from `start` on; empty if there are fewer.
    pub fn tail(self, start: usize) -> &'a [&'a [u8]] {
        self.0.get(start..).unwrap_or_default()
    }

    /// All words as they came.
    pub fn as_slice(self) -> &'a [&'a [u8]] {
        self.0
    }

    /// Whether the word at `index` is `option`, whatever its case.
    #[inline]
    pub fn is(self, index: usize, option: &str) -> bool {
        self.get(index).is_some_and(|word| word.eq_ignore_ascii_case(option.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_by_place() {
        let words: [&[u8]; 3] = [b"Set", b"k", b"nx"];
        let args = Args::new(&words);
        assert_eq!((args.len(), args.name(), args.at(1), args.get(3)), (3, &b"Set"[..], &b"k"[..], None));
        assert!(args.is(2, "NX") && !args.is(2, "XX") && !args.is(9, "NX"));
        assert_eq!(args.tail(2), &words[2..]);
        assert!(args.tail(4).is_empty());
        assert_eq!(args.iter().count(), 3);
    }
}
