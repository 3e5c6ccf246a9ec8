//! Runs of short byte strings: the packed form of small hashes and sets.
//!
//! ```text
//! | count: u16 | length: u8, bytes | length: u8, bytes | ...
//! ```
//! Entries are at most [`ENTRY_BYTES_MAX`] long, so a byte has their length, and are found by walking. An empty run has no
//! bytes at all. The order is that in which they were added, which is what readers of small collections see in Redis.

/// Longest entry of a packed collection (`hash-max-listpack-value`, `set-max-listpack-value`).
pub(crate) const ENTRY_BYTES_MAX: usize = 64;

/// Bytes before the first entry.
const HEAD_BYTES: usize = 2;

/// Whether an entry is short enough.
#[inline]
pub(crate) fn fits(entry: &[u8]) -> bool {
    entry.len() <= ENTRY_BYTES_MAX
}

/// How many entries there are.
#[inline]
pub(crate) fn count(run: &[u8]) -> usize {
    run.first_chunk::<HEAD_BYTES>().map_or(0, |count| usize::from(u16::from_le_bytes(*count)))
}

fn set_count(run: &mut [u8], count: usize) {
    let count = u16::try_from(count).expect("the limits of every packed form are far below");
    run[..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
}

/// The entries in order.
#[inline]
pub(crate) fn entries(run: &[u8]) -> Entries<'_> {
    Entries { rest: run.get(HEAD_BYTES..).unwrap_or_default(), at: HEAD_BYTES }
}

/// Adds an entry, which [`fits`], at the end.
pub(crate) fn push(run: &mut Vec<u8>, entry: &[u8]) {
    debug_assert!(fits(entry));
    if run.is_empty() {
        run.extend_from_slice(&[0; HEAD_BYTES]);
    }
    let count = count(run) + 1;
    set_count(run, count);
    run.push(entry.len() as u8);
    run.extend_from_slice(entry);
}

/// Replaces what stands from one place up to another, both of them [`Entry::at`] or [`Entry::end`], by one entry.
pub(crate) fn replace(run: &mut Vec<u8>, from: usize, to: usize, entry: &[u8]) {
    debug_assert!(fits(entry));
    run.splice(from..to, std::iter::once(entry.len() as u8).chain(entry.iter().copied()));
}

/// Removes what stands from one place up to another, which are so many entries.
pub(crate) fn remove(run: &mut Vec<u8>, from: usize, to: usize, entries: usize) {
    let left = count(run) - entries;
    run.drain(from..to);
    if left == 0 {
        run.clear();
    } else {
        set_count(run, left);
    }
}

/// One entry and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) bytes: &'a [u8],
    /// Of its length.
    pub(crate) at: usize,
    /// Behind its bytes.
    pub(crate) end: usize,
}

/// Walks over the entries of a run.
#[derive(Clone, Debug)]
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let (&length, rest) = self.rest.split_first()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(length))?;
        let at = self.at;
        self.rest = rest;
        self.at += 1 + bytes.len();
        Some(Entry { bytes, at, end: self.at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(run: &[u8]) -> Vec<&[u8]> {
        entries(run).map(|entry| entry.bytes).collect()
    }

    #[test]
    fn entries_come_and_go() {
        let mut run = Vec::new();
        assert_eq!((count(&run), entries(&run).count()), (0, 0));
        for entry in [&b"one"[..], b"", &[b'x'; ENTRY_BYTES_MAX]] {
            push(&mut run, entry);
        }
        assert_eq!(texts(&run), [&b"one"[..], b"", &[b'x'; ENTRY_BYTES_MAX]]);
        assert_eq!(count(&run), 3);
        let second = entries(&run).nth(1).expect("there are three");
        let (at, end) = (second.at, second.end);
        replace(&mut run, at, end, b"second");
        assert_eq!(texts(&run)[1], b"second");
        let first = entries(&run).next().expect("there are three");
        let (at, end) = (first.at, first.end);
        remove(&mut run, at, end, 1);
        assert_eq!((count(&run), texts(&run)[0]), (2, &b"second"[..]));
        let all = run.len();
        remove(&mut run, HEAD_BYTES, all, 2);
        assert!(run.is_empty());
    }
}
