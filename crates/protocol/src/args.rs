//! The argument vector of one command: ranges into the buffer it was parsed from, so that nothing is copied.
//!
//! One vector serves a connection for its whole life. Inline commands with quotes are the exception to
//! "nothing is copied": their arguments do not exist in the input as such, so they are unescaped into a
//! buffer of the vector, and [`Args::get`] looks there instead.

use smallvec::SmallVec;

use crate::limits::{ARGUMENTS_INLINE, ARGUMENTS_KEPT_MAX, INLINE_BYTES_KEPT_MAX};

/// Arguments of the command parsed last. Refers to the buffer given to the parser, which must not have moved
/// its bytes when the arguments are read.
#[derive(Debug, Default)]
pub struct Args {
    spans: SmallVec<[Span; ARGUMENTS_INLINE]>,
    unescaped: Vec<u8>,
    /// The spans point into `unescaped` rather than into the parsed buffer.
    is_unescaped: bool,
}

/// Where one argument is. Half the size of a slice, which is what bounds the memory that a command of a
/// million empty arguments takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

impl Args {
    /// An empty vector; allocates nothing.
    pub fn new() -> Args {
        Args::default()
    }

    /// Forgets the arguments, and gives back the space of an unusually large command.
    #[inline]
    pub fn clear(&mut self) {
        self.spans.clear();
        if self.spans.capacity() > ARGUMENTS_KEPT_MAX {
            self.spans = SmallVec::new();
        }
        if self.is_unescaped {
            self.clear_unescaped();
        }
    }

    #[cold]
    fn clear_unescaped(&mut self) {
        self.unescaped.clear();
        self.is_unescaped = false;
        if self.unescaped.capacity() > INLINE_BYTES_KEPT_MAX {
            self.unescaped = Vec::new();
        }
    }

    /// How many arguments there are, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True before the first command and after [`Args::clear`].
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument `index` of the command that was parsed from `buf`; `None` past the last one.
    #[inline]
    pub fn get<'a>(&'a self, buf: &'a [u8], index: usize) -> Option<&'a [u8]> {
        self.spans.get(index)?.of(self.source(buf))
    }

    /// Replaces the content of `out` by all arguments of the command that was parsed from `buf`.
    #[inline]
    pub fn fill<'a>(&'a self, buf: &'a [u8], out: &mut SmallVec<[&'a [u8]; ARGUMENTS_INLINE]>) {
        let source = self.source(buf);
        out.clear();
        out.extend(self.spans.iter().map_while(|span| span.of(source)));
        debug_assert_eq!(
            out.len(),
            self.len(),
            "arguments read from another buffer than they were parsed from"
        );
    }

    /// Where the first argument is in the parsed buffer; `None` if it is not there as it is.
    #[inline]
    pub(crate) fn first_span(&self) -> Option<Span> {
        if self.is_unescaped { None } else { self.spans.first().copied() }
    }

    /// Memory held beyond the vector itself, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let spans = if self.spans.spilled() { self.spans.capacity() * size_of::<Span>() } else { 0 };
        spans + self.unescaped.capacity()
    }

    /// Appends a range of the parsed buffer, or of the unescaped bytes after [`Args::start_unescaped`].
    /// False, and nothing appended, when it lies beyond what 32 bits address.
    #[inline]
    pub(crate) fn push(&mut self, start: usize, len: usize) -> bool {
        let (Ok(start), Ok(len)) = (u32::try_from(start), u32::try_from(len)) else { return false };
        self.spans.push(Span { start, len });
        true
    }

    /// Appends ranges of the parsed buffer until there are no more.
    #[inline]
    pub(crate) fn extend(&mut self, spans: impl Iterator<Item = Span>) {
        self.spans.extend(spans);
    }

    /// Makes the ranges that follow refer to the returned buffer.
    pub(crate) fn start_unescaped(&mut self) {
        self.is_unescaped = true;
    }

    /// Where unescaped arguments are collected.
    pub(crate) fn unescaped(&mut self) -> &mut Vec<u8> {
        &mut self.unescaped
    }

    #[inline]
    fn source<'a>(&'a self, buf: &'a [u8]) -> &'a [u8] {
        if self.is_unescaped { &self.unescaped } else { buf }
    }
}

impl Span {
    /// A range that ends within [`COMMAND_BYTES_MAX`](crate::limits::COMMAND_BYTES_MAX), as the caller has checked.
    #[inline]
    pub(crate) fn within_command(start: usize, len: usize) -> Span {
        debug_assert!(start.saturating_add(len) <= crate::limits::COMMAND_BYTES_MAX);
        Span { start: start as u32, len: len as u32 }
    }

    /// Its length.
    #[inline]
    pub(crate) fn len(self) -> usize {
        self.len as usize
    }

    /// The place behind it.
    #[inline]
    pub(crate) fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    #[inline]
    pub(crate) fn of(self, source: &[u8]) -> Option<&[u8]> {
        let start = self.start as usize;
        source.get(start..start + self.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_and_gives_large_space_back() {
        let mut args = Args::new();
        let buf = b"hello world";
        assert!(args.push(0, 5) && args.push(6, 5) && args.push(11, 0));
        {
            let mut out = SmallVec::new();
            args.fill(buf, &mut out);
            assert_eq!(out.as_slice(), [b"hello".as_slice(), b"world", b""]);
        }
        assert_eq!(args.get(buf, 3), None);
        assert_eq!(args.memory_bytes(), 0, "few arguments live inline");

        for _ in 0..ARGUMENTS_KEPT_MAX * 2 {
            assert!(args.push(0, 1));
        }
        assert!(args.memory_bytes() > 0);
        args.clear();
        assert!(args.is_empty());
        assert_eq!(args.memory_bytes(), 0);
        assert!(!args.push(usize::MAX, 1));
    }
}
