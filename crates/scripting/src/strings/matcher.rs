//! The matcher of Lua's patterns, bounded in depth and open to interruption.

use crate::limits::{CAPTURES_MAX, MATCH_DEPTH_MAX, TICK_STEPS};
use crate::run;
use mlua::Lua;

const ESCAPE: u8 = b'%';

/// Why a match cannot be told.
pub(super) enum Fault {
    /// The pattern is not one, in Lua's words.
    Pattern(&'static str),
    /// The host ends the script.
    Interrupted(mlua::Error),
}

type Outcome<T> = Result<T, Fault>;

#[derive(Clone, Copy)]
enum Extent {
    /// Its closing parenthesis has not come yet.
    Open,
    /// `()`: the place alone.
    Place,
    Length(usize),
}

#[derive(Clone, Copy)]
struct Capture {
    start: usize,
    extent: Extent,
}

/// What a capture holds.
pub(super) enum Captured {
    /// A place in the source, from zero.
    Position(usize),
    /// Start and end of a part of the source.
    Range(usize, usize),
}

/// One pattern on one source. Places are offsets; behind its end the pattern reads as zero bytes, as a C string does.
pub(super) struct Matcher<'a> {
    lua: &'a Lua,
    source: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    depth: usize,
    steps: u32,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(lua: &'a Lua, source: &'a [u8], pattern: &'a [u8]) -> Matcher<'a> {
        Matcher { lua, source, pattern, captures: Vec::new(), depth: 0, steps: 0 }
    }

    pub(super) fn source(&self) -> &'a [u8] {
        self.source
    }

    /// Captures of the last match.
    pub(super) fn captures(&self) -> usize {
        self.captures.len()
    }

    pub(super) fn capture(&self, index: usize) -> Outcome<Captured> {
        let Some(capture) = self.captures.get(index) else {
            return Err(Fault::Pattern("invalid capture index"));
        };
        match capture.extent {
            Extent::Open => Err(Fault::Pattern("unfinished capture")),
            Extent::Place => Ok(Captured::Position(capture.start)),
            Extent::Length(length) => Ok(Captured::Range(capture.start, capture.start + length)),
        }
    }

    /// The end of a match that begins exactly at `from`.
    pub(super) fn match_at(&mut self, from: usize) -> Outcome<Option<usize>> {
        self.captures.clear();
        self.depth = 0;
        self.matches(from, 0)
    }

    fn at(&self, place: usize) -> u8 {
        self.pattern.get(place).copied().unwrap_or(0)
    }

    fn step(&mut self) -> Outcome<()> {
        self.steps += 1;
        if self.steps >= TICK_STEPS {
            self.steps = 0;
            run::pause(self.lua).map_err(Fault::Interrupted)?;
        }
        Ok(())
    }

    /// Matches the pattern from `p` on at `s`, one level deeper.
    fn matches(&mut self, s: usize, p: usize) -> Outcome<Option<usize>> {
        if self.depth >= MATCH_DEPTH_MAX {
            return Err(Fault::Pattern("pattern too complex"));
        }
        self.depth += 1;
        let result = self.matches_here(s, p);
        self.depth -= 1;
        result
    }

    fn matches_here(&mut self, mut s: usize, mut p: usize) -> Outcome<Option<usize>> {
        loop {
            self.step()?;
            match self.at(p) {
                0 => return Ok(Some(s)),
                b'(' if self.at(p + 1) == b')' => return self.start_capture(s, p + 2, Extent::Place),
                b'(' => return self.start_capture(s, p + 1, Extent::Open),
                b')' => return self.end_capture(s, p + 1),
                b'$' if self.at(p + 1) == 0 => return Ok((s == self.source.len()).then_some(s)),
                ESCAPE if self.at(p + 1) == b'b' => match self.balance(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                ESCAPE if self.at(p + 1) == b'f' => match self.frontier(s, p + 2)? {
                    Some(after) => p = after,
                    None => return Ok(None),
                },
                ESCAPE if self.at(p + 1).is_ascii_digit() => match self.back_reference(s, self.at(p + 1))? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => return Ok(None),
                },
                _ => {
                    let after = self.class_end(p)?;
                    let fits = self.fits(s, p, after);
                    match self.at(after) {
                        b'?' => {
                            if fits && let Some(end) = self.matches(s + 1, after + 1)? {
                                return Ok(Some(end));
                            }
                            p = after + 1;
                        }
                        b'*' => return self.expand_most(s, p, after),
                        b'+' if fits => return self.expand_most(s + 1, p, after),
                        b'-' => return self.expand_least(s, p, after),
                        b'+' => return Ok(None),
                        _ if fits => (s, p) = (s + 1, after),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    /// As many repetitions as possible, then fewer.
    fn expand_most(&mut self, s: usize, p: usize, after: usize) -> Outcome<Option<usize>> {
        let mut count = 0;
        while self.fits(s + count, p, after) {
            count += 1;
            self.step()?;
        }
        loop {
            if let Some(end) = self.matches(s + count, after + 1)? {
                return Ok(Some(end));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    /// As few repetitions as possible, then more.
    fn expand_least(&mut self, mut s: usize, p: usize, after: usize) -> Outcome<Option<usize>> {
        loop {
            if let Some(end) = self.matches(s, after + 1)? {
                return Ok(Some(end));
            }
            if !self.fits(s, p, after) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn start_capture(&mut self, s: usize, p: usize, extent: Extent) -> Outcome<Option<usize>> {
        if self.captures.len() >= CAPTURES_MAX {
            return Err(Fault::Pattern("too many captures"));
        }
        let level = self.captures.len();
        self.captures.push(Capture { start: s, extent });
        let result = self.matches(s, p)?;
        if result.is_none() {
            self.captures.truncate(level);
        }
        Ok(result)
    }

    fn end_capture(&mut self, s: usize, p: usize) -> Outcome<Option<usize>> {
        let open = self.captures.iter().rposition(|capture| matches!(capture.extent, Extent::Open));
        let Some(index) = open else { return Err(Fault::Pattern("invalid pattern capture")) };
        self.close(index, Extent::Length(s - self.captures.get(index).map_or(s, |capture| capture.start)));
        let result = self.matches(s, p)?;
        if result.is_none() {
            self.close(index, Extent::Open);
        }
        Ok(result)
    }

    fn close(&mut self, index: usize, extent: Extent) {
        if let Some(capture) = self.captures.get_mut(index) {
            capture.extent = extent;
        }
    }

    fn balance(&mut self, s: usize, p: usize) -> Outcome<Option<usize>> {
        let (open, close) = (self.at(p), self.at(p + 1));
        if open == 0 || close == 0 {
            return Err(Fault::Pattern("unbalanced pattern"));
        }
        if self.source.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut nesting = 1;
        for place in s + 1..self.source.len() {
            let byte = self.source.get(place).copied();
            if byte == Some(close) {
                nesting -= 1;
                if nesting == 0 {
                    return Ok(Some(place + 1));
                }
            } else if byte == Some(open) {
                nesting += 1;
            }
        }
        Ok(None)
    }

    fn frontier(&mut self, s: usize, p: usize) -> Outcome<Option<usize>> {
        if self.at(p) != b'[' {
            return Err(Fault::Pattern("missing '[' after '%f' in pattern"));
        }
        let after = self.class_end(p)?;
        let previous = s.checked_sub(1).and_then(|place| self.source.get(place)).copied().unwrap_or(0);
        let current = self.source.get(s).copied().unwrap_or(0);
        let is_frontier = !self.in_set(previous, p, after - 1) && self.in_set(current, p, after - 1);
        Ok(is_frontier.then_some(after))
    }

    /// Matches what a capture has matched before.
    fn back_reference(&mut self, s: usize, digit: u8) -> Outcome<Option<usize>> {
        let invalid = Fault::Pattern("invalid capture index");
        let Some(index) = usize::from(digit - b'0').checked_sub(1) else { return Err(invalid) };
        let Some(capture) = self.captures.get(index).copied() else { return Err(invalid) };
        match capture.extent {
            Extent::Open => Err(invalid),
            Extent::Place => Ok(None),
            Extent::Length(length) => {
                let captured = self.source.get(capture.start..capture.start + length);
                let here = self.source.get(s..s + length);
                Ok((captured.is_some() && captured == here).then_some(s + length))
            }
        }
    }

    /// Where the single-byte class that begins at `p` ends.
    fn class_end(&self, p: usize) -> Outcome<usize> {
        match self.at(p) {
            ESCAPE if self.at(p + 1) == 0 => Err(Fault::Pattern("malformed pattern (ends with '%')")),
            ESCAPE => Ok(p + 2),
            b'[' => {
                let mut p = p + 1;
                if self.at(p) == b'^' {
                    p += 1;
                }
                // The first byte is always a member, a closing bracket too.
                loop {
                    match self.at(p) {
                        0 => return Err(Fault::Pattern("malformed pattern (missing ']')")),
                        ESCAPE if self.at(p + 1) != 0 => p += 2,
                        _ => p += 1,
                    }
                    if self.at(p) == b']' {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the byte at `s` belongs to the class from `p` to `after`.
    fn fits(&self, s: usize, p: usize, after: usize) -> bool {
        let Some(byte) = self.source.get(s).copied() else { return false };
        match self.at(p) {
            b'.' => true,
            ESCAPE => in_class(byte, self.at(p + 1)),
            b'[' => self.in_set(byte, p, after - 1),
            literal => literal == byte,
        }
    }

    /// Whether a byte is in the set between the brackets at `p` and `close`.
    fn in_set(&self, byte: u8, mut p: usize, close: usize) -> bool {
        let is_positive = self.at(p + 1) != b'^';
        if !is_positive {
            p += 1;
        }
        p += 1;
        while p < close {
            if self.at(p) == ESCAPE {
                p += 1;
                if in_class(byte, self.at(p)) {
                    return is_positive;
                }
                p += 1;
            } else if self.at(p + 1) == b'-' && p + 2 < close {
                if (self.at(p)..=self.at(p + 2)).contains(&byte) {
                    return is_positive;
                }
                p += 3;
            } else {
                if self.at(p) == byte {
                    return is_positive;
                }
                p += 1;
            }
        }
        !is_positive
    }
}

/// `%a` and its siblings as C's locale "C" has them; an upper-case letter is the complement.
fn in_class(byte: u8, class: u8) -> bool {
    let is_member = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | b'\t'..=b'\r'),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_member != class.is_ascii_uppercase()
}
