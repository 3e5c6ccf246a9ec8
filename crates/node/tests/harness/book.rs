//! A journal in memory: what it would give back after a crash, and whether it was told a consistent story.

use node::{Journal, Shared};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use stdx::{Epoch, PartitionId, Seq};

/// What there is of one partition since it was last emptied or copied.
struct Page {
    born: Epoch,
    last: Seq,
    is_whole: bool,
    effects: Vec<Vec<u8>>,
}

/// The journal of one node.
#[derive(Default)]
pub(crate) struct Book {
    pages: Mutex<BTreeMap<PartitionId, Page>>,
    given: Mutex<u64>,
}

impl Book {
    /// Whether a crash now would leave a whole copy of the partition; `None` if nothing of it.
    pub(crate) fn is_whole(&self, partition: PartitionId) -> Option<bool> {
        self.pages.lock().get(&partition).map(|page| page.is_whole)
    }

    /// What a start does with it: the partitions that are whole.
    pub(crate) fn restore(&self, shared: &Shared, partitions: u16) {
        let mut pages = self.pages.lock();
        pages.retain(|_, page| page.is_whole);
        for (partition, page) in &*pages {
            shared.restore_cluster(1, partitions);
            assert!(page.effects.iter().all(|effects| shared.restore(*partition, effects)));
            shared.restored(*partition, page.born, page.last);
        }
    }

    fn begin(&self, partition: PartitionId, born: Epoch, last: Seq, is_whole: bool) {
        self.pages.lock().insert(partition, Page { born, last, is_whole, effects: Vec::new() });
    }

    fn with(&self, partition: PartitionId, change: impl FnOnce(&mut Page)) {
        change(self.pages.lock().get_mut(&partition).expect("it was begun first"));
    }
}

impl Journal for Book {
    fn cluster(&self, _: u64, _: u16) {}

    fn emptied(&self, partition: PartitionId, born: Epoch, at: Seq) {
        self.begin(partition, born, at, true);
    }

    fn copy_begun(&self, partition: PartitionId, born: Epoch, at: Seq) {
        self.begin(partition, born, at, false);
    }

    fn copy_piece(&self, partition: PartitionId, effects: &[u8]) {
        self.with(partition, |page| {
            assert!(!page.is_whole, "a piece of no copy");
            page.effects.push(effects.to_vec());
        });
    }

    fn copy_ended(&self, partition: PartitionId) {
        self.with(partition, |page| {
            assert!(!page.is_whole, "the end of no copy");
            page.is_whole = true;
        });
    }

    fn dropped(&self, partition: PartitionId) {
        self.pages.lock().remove(&partition);
    }

    fn record(&self, partition: PartitionId, seq: Seq, effects: &[u8]) -> u64 {
        self.with(partition, |page| {
            assert_eq!(seq.counter, page.last.counter + 1, "no record is missing or comes twice");
            page.last = seq;
            page.effects.push(effects.to_vec());
        });
        let mut given = self.given.lock();
        *given += 1;
        *given
    }

    fn position(&self) -> u64 {
        *self.given.lock()
    }

    fn confirms(&self) -> bool {
        false
    }
}
