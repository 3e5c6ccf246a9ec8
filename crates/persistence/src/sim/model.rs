//! What a log should hold: partitions as lists of opaque items, and a number that stands for all of it.
//!
//! A record is one item; a chunk is several. The same type is the sink of recovery, so what is recovered is compared with
//! what was appended by one number.

use crate::recovery::{Plan, RecoverySink, Share};
use crate::{Recovered, RecoveryError};
use std::collections::BTreeMap;
use stdx::hash::{hash64, mix64};
use stdx::{PartitionId, Seq};

/// A partition that is held.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Newest record.
    pub last: Seq,
    /// Whether its copy is whole.
    pub whole: bool,
    /// The caller's state.
    pub state: Vec<u8>,
    /// All items since it was empty.
    pub items: Vec<Vec<u8>>,
    /// Stands for the items.
    items_hash: u64,
}

impl Held {
    /// An empty partition.
    pub fn new(last: Seq, whole: bool, state: &[u8]) -> Held {
        Held { last, whole, state: state.to_vec(), ..Held::default() }
    }

    /// Adds an item.
    pub fn push(&mut self, item: &[u8]) {
        self.items_hash = mix64(self.items_hash ^ hash64(1, item));
        self.items.push(item.to_vec());
    }

    fn digest(&self, partition: PartitionId) -> u64 {
        let numbers = [u64::from(partition.0), self.last.epoch.0, self.last.counter, u64::from(self.whole)];
        let all = numbers.into_iter().chain([hash64(2, &self.state), self.items_hash]);
        all.fold(3, |digest, number| mix64(digest ^ number))
    }
}

/// Several items in one chunk.
pub fn encode_chunk(items: &[Vec<u8>]) -> Vec<u8> {
    let mut chunk = Vec::new();
    for item in items {
        chunk.extend((item.len() as u32).to_le_bytes());
        chunk.extend(item);
    }
    chunk
}

/// The items of a chunk; `None` if it is not one.
pub fn decode_chunk(mut chunk: &[u8]) -> Option<Vec<&[u8]>> {
    let mut items = Vec::new();
    while !chunk.is_empty() {
        let (length, rest) = chunk.split_first_chunk::<4>()?;
        let (item, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        items.push(item);
        chunk = rest;
    }
    Some(items)
}

/// All partitions that are held.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Model {
    /// By number.
    pub partitions: BTreeMap<PartitionId, Held>,
}

impl Model {
    /// Stands for everything.
    pub fn digest(&self) -> u64 {
        self.partitions.iter().fold(5, |digest, (partition, held)| mix64(digest ^ held.digest(*partition)))
    }

    /// Recovers what `plan` offers, as if `threads` did it one after the other. Partitions with damage are left out and
    /// returned beside.
    ///
    /// # Errors
    /// What [`Plan::replay`] says.
    pub fn recover(plan: &Plan, threads: u16) -> Result<(Model, Vec<Recovered>), RecoveryError> {
        let mut model = Model::default();
        let mut damaged = Vec::new();
        for index in 0..threads {
            for recovered in plan.replay(Share { index, of: threads }, &mut model)? {
                let partition = recovered.partition;
                if recovered.damage.is_some() {
                    model.partitions.remove(&partition.partition);
                    damaged.push(recovered);
                } else if let Some(held) = model.partitions.get_mut(&partition.partition) {
                    assert_eq!(held.last, partition.last, "the plan promised another end");
                    held.whole = partition.whole;
                }
            }
        }
        Ok((model, damaged))
    }
}

impl RecoverySink for Model {
    fn reset(&mut self, partition: PartitionId, seq: Seq, state: &[u8]) {
        self.partitions.insert(partition, Held::new(seq, false, state));
    }

    fn snapshot_chunk(&mut self, partition: PartitionId, _: Seq, effects: &[u8]) -> bool {
        let (Some(held), Some(items)) = (self.partitions.get_mut(&partition), decode_chunk(effects)) else {
            return false;
        };
        items.into_iter().for_each(|item| held.push(item));
        true
    }

    fn record(&mut self, partition: PartitionId, seq: Seq, effects: &[u8]) -> bool {
        let Some(held) = self.partitions.get_mut(&partition) else { return false };
        held.last = seq;
        held.push(effects);
        true
    }

    fn state(&mut self, partition: PartitionId, state: &[u8]) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.state = state.to_vec();
        }
    }
}
