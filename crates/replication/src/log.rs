//! The recent records of a partition, kept until every peer has them.

use crate::LOG_BYTES_MAX;
use effect::Record;
use std::collections::VecDeque;
use stdx::Seq;

/// A run of consecutive records: `base` is the sequence just before the first one kept.
#[derive(Debug, Default)]
pub struct Log {
    base: Seq,
    records: VecDeque<Record>,
    bytes: usize,
}

impl Log {
    /// An empty log that continues after `base`.
    pub fn starting_after(base: Seq) -> Log {
        Log { base, records: VecDeque::new(), bytes: 0 }
    }

    /// Sequence of the newest record, kept or not.
    pub fn last(&self) -> Seq {
        self.records.back().map_or(self.base, |record| record.seq)
    }

    /// Counter just before the oldest record kept.
    pub fn base_counter(&self) -> u64 {
        self.base.counter
    }

    /// Bytes of effects kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the next record; drops the oldest ones above [`LOG_BYTES_MAX`], but never the new one: however large it
    /// is, peers that keep up get it.
    pub fn push(&mut self, record: Record) {
        debug_assert_eq!(record.seq.counter, self.last().counter + 1);
        self.bytes += record.effects.len();
        self.records.push_back(record);
        while self.bytes > LOG_BYTES_MAX && self.records.len() > 1 {
            self.pop();
        }
    }

    /// Notes that `seq` was written although nobody will ask for its record.
    pub fn skip_to(&mut self, seq: Seq) {
        *self = Log::starting_after(seq);
    }

    /// Drops records up to and including `counter`.
    pub fn trim(&mut self, counter: u64) {
        while self.records.front().is_some_and(|record| record.seq.counter <= counter) {
            self.pop();
        }
    }

    /// Whether a follower whose last record is `seq` holds a prefix of this log that can be continued from it.
    pub fn continues(&self, seq: Seq) -> bool {
        if seq == self.base {
            return true;
        }
        let Some(index) = seq.counter.checked_sub(self.base.counter + 1) else { return false };
        usize::try_from(index).ok().and_then(|index| self.records.get(index)).is_some_and(|r| r.seq == seq)
    }

    /// Records after `counter`, oldest first; `None` if some of them are no longer kept.
    pub fn after(&self, counter: u64) -> Option<impl Iterator<Item = &Record>> {
        let skip = usize::try_from(counter.checked_sub(self.base.counter)?).ok()?;
        (skip <= self.records.len()).then(|| self.records.range(skip..))
    }

    fn pop(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= record.effects.len();
            self.base = record.seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Epoch;

    fn record(epoch: u64, counter: u64) -> Record {
        Record { seq: Seq { epoch: Epoch(epoch), counter }, effects: b"0123456789"[..].into() }
    }

    #[test]
    fn continues_only_from_its_own_history() {
        let mut log = Log::default();
        for counter in 1..=5 {
            log.push(record(1, counter));
        }
        log.trim(2);
        assert_eq!((log.base_counter(), log.bytes()), (2, 30));
        assert!(log.continues(Seq { epoch: Epoch(1), counter: 2 }));
        assert!(log.continues(Seq { epoch: Epoch(1), counter: 5 }));
        assert!(!log.continues(Seq { epoch: Epoch(2), counter: 5 }), "another epoch wrote another record 5");
        assert!(!log.continues(Seq { epoch: Epoch(1), counter: 6 }), "beyond the end");
        assert!(!log.continues(Seq { epoch: Epoch(1), counter: 1 }), "no longer kept");
        assert_eq!(log.after(3).map(|records| records.count()), Some(2));
        assert_eq!(log.after(5).map(|records| records.count()), Some(0));
        assert!(log.after(1).is_none() && log.after(6).is_none());
    }
}
