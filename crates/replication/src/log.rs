//! The recent records of a partition, kept until every peer has them.
//!
//! They are kept as the bytes that travel, one behind the other: a write copies its effects once into the log, and
//! whatever is sent to a peer is a slice of it. A record costs no allocation of its own.

use crate::LOG_BYTES_MAX;
use crate::records::{Records, put_record};
use std::collections::VecDeque;
use stdx::{Epoch, Seq};

/// Room that an empty log keeps: there is one log per partition.
const RETAINED_BYTES_MAX: usize = 4 * 1024;

/// A run of consecutive records: `base` is the sequence just before the first one kept.
#[derive(Debug, Default)]
pub struct Log {
    base: Seq,
    /// Encoded records; those before `head` are dropped already.
    bytes: Vec<u8>,
    head: usize,
    /// Bytes that have ever been in front of `bytes[0]`.
    gone: u64,
    /// Of each record kept, whose counters follow each other: its epoch, and where it ends counted from the log's first byte ever.
    entries: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    epoch: Epoch,
    end: u64,
}

impl Log {
    /// An empty log that continues after `base`.
    pub fn starting_after(base: Seq) -> Log {
        Log { base, ..Log::default() }
    }

    /// Sequence of the newest record, kept or not.
    pub fn last(&self) -> Seq {
        match self.entries.back() {
            Some(entry) => Seq { epoch: entry.epoch, counter: self.base.counter + self.entries.len() as u64 },
            None => self.base,
        }
    }

    /// Counter just before the oldest record kept.
    pub fn base_counter(&self) -> u64 {
        self.base.counter
    }

    /// Bytes of records kept.
    pub fn bytes(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Appends the next record; drops the oldest ones above [`LOG_BYTES_MAX`], but never the new one: however large it
    /// is, peers that keep up get it.
    pub fn push(&mut self, seq: Seq, effects: &[u8]) {
        debug_assert_eq!(seq.counter, self.last().counter + 1);
        put_record(&mut self.bytes, seq, effects);
        self.entries.push_back(Entry { epoch: seq.epoch, end: self.gone + self.bytes.len() as u64 });
        while self.bytes() > LOG_BYTES_MAX && self.entries.len() > 1 {
            self.pop();
        }
        self.tidy();
    }

    /// Notes that `seq` was written although nobody will ask for its record.
    pub fn skip_to(&mut self, seq: Seq) {
        if self.entries.is_empty() {
            self.base = seq;
        } else {
            *self = Log::starting_after(seq);
        }
    }

    /// Drops records up to and including `counter`.
    pub fn trim(&mut self, counter: u64) {
        self.trim_above(counter, 0);
    }

    /// The same, as long as more than `bytes` bytes of records are kept.
    pub(crate) fn trim_above(&mut self, counter: u64, bytes: usize) {
        while self.base.counter < counter && !self.entries.is_empty() && (bytes == 0 || self.bytes() > bytes)
        {
            self.pop();
        }
        self.tidy();
    }

    /// Whether a follower whose last record is `seq` holds a prefix of this log that can be continued from it.
    pub fn continues(&self, seq: Seq) -> bool {
        if seq == self.base {
            return true;
        }
        let Some(index) = seq.counter.checked_sub(self.base.counter + 1) else { return false };
        let entry = usize::try_from(index).ok().and_then(|index| self.entries.get(index));
        entry.is_some_and(|entry| entry.epoch == seq.epoch)
    }

    /// Records after `counter`, oldest first; `None` if some of them are no longer kept.
    pub fn after(&self, counter: u64) -> Option<Records<'_>> {
        self.some_after(counter, usize::MAX).map(|(records, _)| records)
    }

    /// As [`Log::after`], but no more than `bytes_max` bytes of them, or one record if that is larger; and the counter of
    /// the last of them.
    pub(crate) fn some_after(&self, counter: u64, bytes_max: usize) -> Option<(Records<'_>, u64)> {
        let skip = usize::try_from(counter.checked_sub(self.base.counter)?).ok()?;
        if skip > self.entries.len() {
            return None;
        }
        let start = if skip == 0 { self.gone + self.head as u64 } else { self.entries[skip - 1].end };
        let all = self.entries.len() - skip;
        let fits = |entry: &Entry| entry.end - start <= bytes_max as u64;
        // Nearly always all of them fit.
        let count = match self.entries.back() {
            Some(newest) if !fits(newest) => {
                self.entries.range(skip..).take_while(|entry| fits(entry)).count().max(all.min(1))
            }
            _ => all,
        };
        let end = if count == 0 { start } else { self.entries[skip + count - 1].end };
        let place = |at: u64| usize::try_from(at - self.gone).expect("within what is kept");
        Some((Records::encoded(&self.bytes[place(start)..place(end)]), counter + count as u64))
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.head = usize::try_from(entry.end - self.gone).expect("within what is kept");
            self.base = Seq { epoch: entry.epoch, counter: self.base.counter + 1 };
        }
    }

    /// Takes dropped bytes out, when that moves fewer bytes than it frees.
    fn tidy(&mut self) {
        if self.head == self.bytes.len() {
            self.gone += self.head as u64;
            self.bytes.clear();
            self.bytes.shrink_to(RETAINED_BYTES_MAX);
            self.head = 0;
        } else if self.head > self.bytes.len() / 2 && self.head > RETAINED_BYTES_MAX {
            self.gone += self.head as u64;
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::RECORD_HEADER_BYTES;

    fn seq(epoch: u64, counter: u64) -> Seq {
        Seq { epoch: Epoch(epoch), counter }
    }

    fn counters(records: Option<Records<'_>>) -> Option<Vec<u64>> {
        Some(records?.iter().map(|(seq, _)| seq.counter).collect())
    }

    #[test]
    fn continues_only_from_its_own_history() {
        let mut log = Log::default();
        for counter in 1..=5 {
            log.push(seq(1, counter), b"0123456789");
        }
        log.trim(2);
        assert_eq!((log.base_counter(), log.bytes()), (2, 3 * (10 + RECORD_HEADER_BYTES)));
        assert!(log.continues(seq(1, 2)));
        assert!(log.continues(seq(1, 5)));
        assert!(!log.continues(seq(2, 5)), "another epoch wrote another record 5");
        assert!(!log.continues(seq(1, 6)), "beyond the end");
        assert!(!log.continues(seq(1, 1)), "no longer kept");
        assert_eq!(counters(log.after(3)), Some(vec![4, 5]));
        assert_eq!(counters(log.after(5)), Some(vec![]));
        assert!(log.after(1).is_none() && log.after(6).is_none());
    }

    /// Against a list of records, while bytes are taken out in front at changing moments.
    #[test]
    fn keeps_what_it_should_through_every_compaction() {
        let mut random = stdx::Random::seeded(7);
        let mut log = Log::starting_after(seq(1, 100));
        let mut model: Vec<(Seq, Vec<u8>)> = Vec::new();
        let mut last = seq(1, 100);
        for _ in 0..20_000 {
            if random.chance(0.6) {
                let epoch = last.epoch.0 + u64::from(random.chance(0.05));
                last = seq(epoch, last.counter + 1);
                let effects = vec![last.counter as u8; random.below(300) as usize];
                log.push(last, &effects);
                model.push((last, effects));
            } else {
                let counter = last.counter.saturating_sub(random.below(60));
                log.trim(counter);
                model.retain(|(seq, _)| seq.counter > counter);
            }
            assert_eq!(log.last(), last);
            let from = log.base_counter() + random.below(model.len() as u64 + 1);
            let kept: Vec<_> = log.after(from).expect("kept").iter().map(|(s, e)| (s, e.to_vec())).collect();
            let expected = model.iter().filter(|(seq, _)| seq.counter > from);
            assert!(kept.iter().eq(expected), "after {from}");
            let (some, newest) = log.some_after(from, 1_000).expect("kept");
            assert!(some.len_bytes() <= 1_000 && (kept.is_empty() || newest > from));
            assert_eq!(some.iter().count() as u64, newest - from);
            assert!(log.bytes.capacity() < 200_000, "room is given back");
        }
    }
}
