//! Commands that begin like one seen before.
//!
//! What comes before the second word of a command (`*2\r\n$3\r\nGET\r\n`) is the same bytes for every GET that a client
//! sends. A [`Shape`] is these bytes of a command that was parsed, and finds the words of the next one that begins with
//! them: one comparison in place of two lengths and a name. It only knows short heads, few words and whole commands;
//! whatever is different is left to the parser, which alone says what is wrong with a request.

use crate::args::{Args, Span};
use crate::limits::{COMMAND_BYTES_MAX, Limits};
use crate::number::short_length;

/// Longest head: a name of six letters.
const HEAD_BYTES_MAX: usize = 16;
/// Most words of a command with a shape.
pub const SHAPE_WORDS_MAX: usize = 3;
/// Length of the `\r\n` after a word.
const TERMINATOR_BYTES: usize = 2;

/// The beginning of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// The head as a number; bytes behind it are zero.
    head: u128,
    mask: u128,
    head_len: usize,
    /// Where the name begins, and its length.
    name: (u8, u8),
    words: u8,
}

/// The words of a command with a shape: ranges into the buffer, counted from the command's first byte.
///
/// There is one for every command that waits to be run, so it is small: what is within a head takes a byte.
#[derive(Clone, Copy, Debug)]
pub struct ShapedArgs {
    name: (u8, u8),
    len: u8,
    second: Span,
    /// Empty if there are only two.
    third: Span,
}

const _: () = assert!(HEAD_BYTES_MAX <= u8::MAX as usize, "a place within a head takes a byte");
const _: () = assert!(size_of::<ShapedArgs>() == 20);

impl Shape {
    /// The shape of the command that was parsed from the start of `buf`; `None` if it has none.
    pub fn of(args: &Args, buf: &[u8]) -> Option<Shape> {
        let name = args.first_span()?;
        let (words, head_len) = (args.len(), name.end() + TERMINATOR_BYTES);
        if buf.first() != Some(&b'*') || !(2..=SHAPE_WORDS_MAX).contains(&words) || head_len > HEAD_BYTES_MAX
        {
            return None;
        }
        let mut head = [0; HEAD_BYTES_MAX];
        head.get_mut(..head_len)?.copy_from_slice(buf.get(..head_len)?);
        let mask = u128::MAX >> (8 * (HEAD_BYTES_MAX - head_len));
        let start = name.end() - name.len();
        let name = (u8::try_from(start).ok()?, u8::try_from(name.len()).ok()?);
        let words = u8::try_from(words).ok()?;
        Some(Shape { head: u128::from_le_bytes(head), mask, head_len, name, words })
    }

    /// How many words its commands have, the name included.
    #[inline]
    pub fn words(&self) -> usize {
        usize::from(self.words)
    }

    /// The words of the command at the start of `buf`, and how many bytes it takes; `None` if it begins in another way, is
    /// not there as a whole, or is not as simple.
    #[inline(always)]
    pub fn find(&self, buf: &[u8], limits: &Limits) -> Option<(ShapedArgs, usize)> {
        if u128::from_le_bytes(*buf.first_chunk()?) & self.mask != self.head {
            return None;
        }
        let (second, mut end) = bulk(buf, self.head_len, limits)?;
        let mut third = Span::default();
        if self.words() == SHAPE_WORDS_MAX {
            (third, end) = bulk(buf, end, limits)?;
        }
        Some((ShapedArgs { name: self.name, second, third, len: self.words }, end))
    }
}

/// The bulk at `position`, and where the next one starts.
#[inline(always)]
fn bulk(buf: &[u8], position: usize, limits: &Limits) -> Option<(Span, usize)> {
    let (len, offset) = short_length(buf.get(position..)?, b'$')?;
    let start = position + offset;
    let next = start + len + TERMINATOR_BYTES;
    let fits = len <= limits.bulk_bytes_max && next <= buf.len() && next <= COMMAND_BYTES_MAX;
    fits.then(|| (Span::within_command(start, len), next))
}

impl ShapedArgs {
    /// The words of the command at the start of `buf`, the rest of `room` being empty, and how many they are.
    #[inline]
    pub fn fill<'a>(&self, buf: &'a [u8]) -> Option<([&'a [u8]; SHAPE_WORDS_MAX], usize)> {
        let (start, len) = (usize::from(self.name.0), usize::from(self.name.1));
        let name = buf.get(start..start + len)?;
        Some(([name, self.second.of(buf)?, self.third.of(buf)?], usize::from(self.len)))
    }

    /// The second word of the command at the start of `buf`.
    #[inline]
    pub fn second<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        self.second.of(buf)
    }

    /// The third word of the command at the start of `buf`; empty if there is none.
    #[inline]
    pub fn third<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        self.third.of(buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parsed, Parser};

    fn parsed(buf: &[u8]) -> (Args, usize) {
        let mut args = Args::new();
        match Parser::new().parse(buf, &mut args, &Limits::default()) {
            Ok(Parsed::Command { consumed }) => (args, consumed),
            other => panic!("{other:?}"),
        }
    }

    fn shape(buf: &[u8]) -> Option<Shape> {
        Shape::of(&parsed(buf).0, buf)
    }

    /// The shape finds what the parser finds, or nothing.
    #[track_caller]
    fn check(shape: &Shape, buf: &[u8], finds: bool) {
        let found = shape.find(buf, &Limits::default());
        assert_eq!(found.is_some(), finds, "{:?}", String::from_utf8_lossy(buf));
        let Some((words, consumed)) = found else { return };
        let (args, expected) = parsed(buf);
        assert_eq!((consumed, usize::from(words.len)), (expected, args.len()));
        let (all, len) = words.fill(buf).expect("it was found here");
        (0..len).for_each(|index| assert_eq!(Some(all[index]), args.get(buf, index)));
        assert!(all[len..].iter().all(|word| word.is_empty()));
        assert_eq!(words.second(buf), args.get(buf, 1));
        assert_eq!(words.third(buf).filter(|_| len == 3), args.get(buf, 2));
    }

    #[test]
    fn finds_what_begins_alike_and_nothing_else() {
        let get = shape(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").expect("it is short");
        check(&get, b"*2\r\n$3\r\nGET\r\n$16\r\n0123456789abcdef\r\n", true);
        check(&get, b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*2\r\n$3\r\nGET\r\n", true);
        check(&get, b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n", false);
        check(&get, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", false);
        let set = shape(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n").expect("it is short");
        let long = [&b"*3\r\n$3\r\nSET\r\n$2\r\nkk\r\n$1000\r\n"[..], &[b'v'; 1_000], b"\r\n"].concat();
        check(&set, &long, true);
        (0..long.len()).for_each(|len| assert!(set.find(&long[..len], &Limits::default()).is_none()));
        let incr = shape(b"*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n").expect("it is short");
        check(&incr, b"*2\r\n$4\r\nINCR\r\n$3\r\nkey\r\n", true);
    }

    #[test]
    fn only_short_heads_and_few_words_have_a_shape() {
        assert_eq!(shape(b"*1\r\n$4\r\nPING\r\n"), None);
        assert_eq!(shape(b"*2\r\n$10\r\nHYPERCACHE\r\n$1\r\nk\r\n"), None);
        assert_eq!(shape(b"*4\r\n$5\r\nSETEX\r\n$1\r\nk\r\n$1\r\n1\r\n$1\r\nv\r\n"), None);
        assert_eq!(shape(b"GET k\r\n"), None);
        assert_eq!(shape(b"GET \"k\"\r\n"), None);
    }

    #[test]
    fn what_is_not_simple_is_the_parsers() {
        let get = shape(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").expect("it is short");
        for tail in ["$-1\r\n", "$01\r\nk\r\n", "$x\r\nk\r\n", ":1\r\n", "$99999999999\r\n"] {
            assert!(get.find(format!("*2\r\n$3\r\nGET\r\n{tail}").as_bytes(), &Limits::default()).is_none());
        }
        let small = Limits { bulk_bytes_max: 3, ..Limits::default() };
        assert!(get.find(b"*2\r\n$3\r\nGET\r\n$4\r\nkkkk\r\n", &small).is_none());
        assert!(get.find(b"*2\r\n$3\r\nGET\r\n$3\r\nkkk\r\n", &small).is_some());
    }
}
