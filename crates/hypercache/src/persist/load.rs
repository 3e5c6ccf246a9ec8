//! Loading: what the log and the newest snapshot hold goes back into the partitions, by several threads.

use node::Shared;
use persistence::{Damage, Plan, Recovered, RecoverySink, Share};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use stdx::{Epoch, PartitionId, Seq};

use super::advice;
use super::state::PartitionState;

type AnyError = Box<dyn Error + Send + Sync>;

/// What came of it.
pub(super) struct Loaded {
    /// Partitions that are whole, and when their life began.
    pub(super) whole: Vec<(PartitionId, Epoch)>,
    /// Partitions that are not taken over.
    pub(super) lost: Vec<PartitionId>,
    /// Bytes of effects that were read.
    pub(super) effect_bytes: u64,
}

/// Puts effects into partitions.
struct Loader<'s> {
    shared: &'s Shared,
    states: BTreeMap<PartitionId, PartitionState>,
    effect_bytes: u64,
}

impl Loader<'_> {
    fn apply(&mut self, partition: PartitionId, effects: &[u8]) -> bool {
        self.effect_bytes += effects.len() as u64;
        self.shared.restore(partition, effects)
    }
}

impl RecoverySink for Loader<'_> {
    fn reset(&mut self, partition: PartitionId, _seq: Seq, state: &[u8]) {
        match PartitionState::decode(state) {
            Some(state) => {
                self.shared.restore_cluster(state.cluster_id, state.partitions);
                self.states.insert(partition, state);
            }
            None => drop(self.states.remove(&partition)),
        }
        self.shared.restore_nothing(partition);
    }

    fn snapshot_chunk(&mut self, partition: PartitionId, _seq: Seq, effects: &[u8]) -> bool {
        self.apply(partition, effects)
    }

    fn record(&mut self, partition: PartitionId, _seq: Seq, effects: &[u8]) -> bool {
        self.apply(partition, effects)
    }

    fn soon(&mut self, partition: PartitionId, effects: &[u8]) {
        self.shared.restore_soon(partition, effects);
    }

    fn state(&mut self, partition: PartitionId, state: &[u8]) {
        if let Some(state) = PartitionState::decode(state) {
            self.states.insert(partition, state);
        }
    }
}

/// Loads every partition of the plan of `dir` that can be.
///
/// A partition that cannot is dropped, to come back from its replicas.
///
/// # Errors
/// If the disk cannot be read; or, for a node that `is_alone` and so has no replicas, if a partition cannot be loaded.
pub(super) fn load(
    plan: &Plan,
    shared: &Shared,
    dir: &Path,
    (threads, is_alone): (usize, bool),
) -> Result<Loaded, AnyError> {
    if is_alone && let Some(damage) = plan.refused().values().next() {
        return Err(damage_alone(dir, damage));
    }
    let of = u16::try_from(threads.max(1)).unwrap_or(u16::MAX);
    let results = std::thread::scope(|scope| {
        let loaders: Vec<_> = (0..of)
            .map(|index| {
                scope.spawn(move || {
                    let mut loader = Loader { shared, states: BTreeMap::new(), effect_bytes: 0 };
                    let recovered = plan.replay(Share { index, of }, &mut loader);
                    recovered.map(|recovered| (recovered, loader.states, loader.effect_bytes))
                })
            })
            .collect();
        loaders
            .into_iter()
            .map(|loader| loader.join().map_err(|_| AnyError::from("a loader panicked")))
            .collect::<Vec<_>>()
    });
    let mut loaded = Loaded { whole: Vec::new(), lost: Vec::new(), effect_bytes: 0 };
    for result in results {
        let (recovered, states, effect_bytes) = result?.map_err(|error| error.to_string())?;
        loaded.effect_bytes += effect_bytes;
        for partition in &recovered {
            if is_alone && let Some(damage) = &partition.damage {
                return Err(damage_alone(dir, damage));
            }
            loaded.settle(shared, partition, &states);
        }
    }
    loaded.lost.extend(plan.refused().keys());
    Ok(loaded)
}

/// A node that was alone must not start without what it has acknowledged.
fn damage_alone(dir: &Path, damage: &Damage) -> AnyError {
    format!(
        "{}: {damage}. This node has no replicas to get the partition from, so it does not start. {}",
        dir.display(),
        advice(dir)
    )
    .into()
}

impl Loaded {
    /// Takes one partition over, or forgets it.
    fn settle(
        &mut self,
        shared: &Shared,
        recovered: &Recovered,
        states: &BTreeMap<PartitionId, PartitionState>,
    ) {
        let Recovered { partition: found, damage, .. } = recovered;
        let state = states.get(&found.partition).filter(|_| found.whole && damage.is_none());
        match state {
            Some(state) => {
                shared.restored(found.partition, state.born, found.last);
                self.whole.push((found.partition, state.born));
            }
            None => {
                if let Some(damage) = damage {
                    tracing::error!(%damage, "a partition cannot be loaded");
                }
                shared.restore_nothing(found.partition);
                self.lost.push(found.partition);
            }
        }
    }
}
