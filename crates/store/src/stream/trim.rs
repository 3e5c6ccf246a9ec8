//! What a trim would remove, as Redis decides it (t_stream.c: `streamTrim`): whole blocks first, and single entries of the next
//! only if the trim is exact.

use super::Stream;
use effect::StreamId;

/// What is to be left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trim {
    /// So many entries at most.
    Length(u64),
    /// No entry before this one.
    Before(StreamId),
}

/// What goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trimmed {
    /// The last entry that goes.
    pub through: StreamId,
    /// How many there are.
    pub count: u64,
}

impl Stream {
    /// What a trim would remove, whole blocks only if it is approximate, and not more than `limit` entries in whole
    /// blocks; `None` if nothing.
    pub fn trimmed(&self, trim: Trim, is_approximate: bool, limit: Option<u64>) -> Option<Trimmed> {
        let (mut count, mut last) = (0, None);
        let kept = |count: u64, trim| match trim {
            Trim::Length(len) => self.len - count <= len,
            Trim::Before(_) => false,
        };
        let mut blocks = self.blocks.iter().peekable();
        while let Some((&first, block)) = blocks.next() {
            let entries = block.count() as u64;
            if kept(count, trim) || limit.is_some_and(|limit| count + entries > limit) {
                break;
            }
            let is_whole = match trim {
                Trim::Length(len) => self.len - count - entries >= len,
                Trim::Before(id) => {
                    blocks.peek().is_some_and(|(next, _)| **next <= id)
                        || block.entries(first).last().is_some_and(|entry| entry.id() < id)
                }
            };
            if is_whole {
                count += entries;
                last = Some((first, block));
                continue;
            }
            if is_approximate {
                break;
            }
            let mut through = None;
            for entry in block.entries(first) {
                if kept(count, trim) || matches!(trim, Trim::Before(id) if entry.id() >= id) {
                    break;
                }
                count += 1;
                through = Some(entry.id());
            }
            if let Some(through) = through {
                return Some(Trimmed { through, count });
            }
            break;
        }
        let (first, block) = last?;
        let through = block.entries(first).last()?.id();
        Some(Trimmed { through, count })
    }
}
