//! What a primary asks of the map: promotions of learners that caught up, hand-overs to the ring's choice, and the
//! removal of in-sync replicas that stopped confirming.
//!
//! Sans-I/O: the control plane calls [`Coordinator::next`], proposes the changes through Raft and reports with
//! [`Coordinator::resolved`]. Every change is a compare-and-set on its partition's epoch, so the only question after a
//! lost answer is whether it can still be applied: no longer, once the map shows a higher epoch. Until then the
//! precautions taken for it stay in force (a promoted learner is required, a partition handed over is held), and an
//! `Assert` is proposed to force the epoch on.

use crate::shared::Shared;
use cluster::map::{Applied, ClusterMap, PartitionChange, PartitionOp};
use cluster::planner;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Epoch, MapVersion, Mono, NodeId, PartitionId};

/// Partitions handed over in one batch: held for one Raft commit.
const HAND_OVERS_PER_BATCH: usize = 16;
/// Pause between batches of hand-overs, so that clients are never held twice in a row for long.
const HAND_OVER_PERIOD: Duration = Duration::from_millis(20);
/// Longest a partition is held before its hand-over is given up, if it has not been proposed yet.
const DRAIN_MAX: Duration = Duration::from_millis(50);
/// Pause after a hand-over that was given up: its clients were held for nothing, and soon would be again.
const GIVEN_UP_PERIOD: Duration = Duration::from_millis(500);
/// An in-sync replica that confirms nothing for so long while something is unconfirmed leaves the set.
const LAG_MAX: Duration = Duration::from_millis(1_500);
/// How often the map is looked through for promotions and lagging replicas.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// A change that has been prepared and whose fate is not known.
#[derive(Clone, Copy, Debug)]
struct Pending {
    expected: Epoch,
    op: PartitionOp,
    /// What a learner has to have confirmed before its promotion is proposed.
    barrier: u64,
    proposed: bool,
    since: Mono,
}

/// The proposals of one node for the partitions it is primary of.
pub struct Coordinator {
    shared: Arc<Shared>,
    pending: BTreeMap<PartitionId, Pending>,
    outstanding: bool,
    /// The answer to the last batch was given under this version of the map: nothing is decided before it is seen.
    answered_at: MapVersion,
    looked_at: Mono,
    /// No hand-overs are begun before.
    hand_over_from: Mono,
}

impl Coordinator {
    /// A coordinator with nothing to do.
    pub fn new(shared: Arc<Shared>) -> Coordinator {
        let now = shared.clock.mono();
        Coordinator {
            shared,
            pending: BTreeMap::new(),
            outstanding: false,
            answered_at: MapVersion(0),
            looked_at: now,
            hand_over_from: now + HAND_OVER_PERIOD,
        }
    }

    /// Changes to propose now; empty if there is nothing, or a batch is still outstanding.
    pub fn next(&mut self, now: Mono) -> Vec<PartitionChange> {
        let map = self.shared.map();
        self.forget_decided(&map);
        if self.outstanding || !map.is_bootstrapped() || map.version < self.answered_at {
            return Vec::new();
        }
        if now.since(self.looked_at) >= LOOK_PERIOD {
            self.looked_at = now;
            self.look(&map, now);
            self.prepare_hand_overs(&map, now);
        }
        let mut changes = Vec::new();
        let ids: Vec<PartitionId> = self.pending.keys().copied().collect();
        for partition in ids {
            let Some(mut pending) = self.pending.get(&partition).copied() else { continue };
            if pending.proposed {
                // Its answer was lost. Raising the epoch settles whether it was applied.
                changes.push(PartitionChange {
                    partition,
                    expected: pending.expected,
                    op: PartitionOp::Assert,
                });
            } else if self.is_prepared(partition, &pending) {
                pending.proposed = true;
                changes.push(PartitionChange { partition, expected: pending.expected, op: pending.op });
                self.pending.insert(partition, pending);
            } else if now.since(pending.since) > DRAIN_MAX {
                self.pending.remove(&partition);
                self.undo(partition, &pending, now);
            }
        }
        self.outstanding = !changes.is_empty();
        changes
    }

    /// The batch was answered, or its answer was lost (`Err`).
    pub fn resolved(&mut self, result: Result<Applied, ()>) {
        self.outstanding = false;
        // Each change is settled by the map itself, see `forget_decided`; a refusal means the map has moved on.
        if let Ok(applied) = result {
            self.answered_at = self.answered_at.max(applied.version);
        }
    }

    /// Drops what the map has decided: its epoch has moved beyond the expected one.
    fn forget_decided(&mut self, map: &ClusterMap) {
        let decided: Vec<PartitionId> = self
            .pending
            .iter()
            .filter(|(id, pending)| {
                map.assignment(**id).is_none_or(|assignment| assignment.epoch > pending.expected)
            })
            .map(|(id, _)| *id)
            .collect();
        // `apply_map` has ended the hold and set the required peers by what the map says now.
        for partition in decided {
            self.pending.remove(&partition);
        }
    }

    /// Looks for learners to promote and replicas to drop.
    fn look(&mut self, map: &ClusterMap, now: Mono) {
        let me = self.shared.me();
        for cell in self.shared.cells().iter() {
            let Some(assignment) = map.assignment(cell.id) else { continue };
            if assignment.primary != Some(me) || self.pending.contains_key(&cell.id) {
                continue;
            }
            let mut state = cell.state.lock();
            if state.epoch != assignment.epoch {
                continue;
            }
            let Some(primary) = state.primary() else { continue };
            let learner = primary.promotable().find(|node| map.is_up(*node));
            let promotion =
                learner.and_then(|node| Some((PartitionOp::Promote(node), primary.require(node)?)));
            let change =
                promotion.or_else(|| lagging(primary, now).map(|node| (PartitionOp::DropInSync(node), 0)));
            if let Some((op, barrier)) = change {
                let expected = assignment.epoch;
                self.pending.insert(cell.id, Pending { expected, op, barrier, proposed: false, since: now });
            }
        }
    }

    fn prepare_hand_overs(&mut self, map: &ClusterMap, now: Mono) {
        let busy = self.pending.values().any(|pending| matches!(pending.op, PartitionOp::HandOver { .. }));
        if busy || now < self.hand_over_from {
            return;
        }
        let cells = self.shared.cells();
        let mut taken = 0;
        for (partition, expected, to) in planner::wanted_hand_overs(map, self.shared.me()) {
            if taken == HAND_OVERS_PER_BATCH {
                break;
            }
            let Some(cell) = cells.get(partition) else { continue };
            if self.pending.contains_key(&partition) {
                continue;
            }
            let mut state = cell.state.lock();
            let is_ready = state.epoch == expected
                && state.primary().is_some_and(|primary| {
                    primary.peers().iter().any(|p| p.node == to && p.stage == replication::Stage::Streaming)
                });
            if is_ready {
                state.handing_over = true;
                let op = PartitionOp::HandOver { to };
                let pending = Pending { expected, op, barrier: 0, proposed: false, since: now };
                self.pending.insert(partition, pending);
                taken += 1;
            }
        }
        if taken > 0 {
            self.hand_over_from = now + HAND_OVER_PERIOD;
        }
    }

    /// A hand-over is proposed once everything written is confirmed by all required replicas; a promotion, once
    /// everything is that was written before the learner was one of them, by the learner too.
    fn is_prepared(&self, partition: PartitionId, pending: &Pending) -> bool {
        let cells = self.shared.cells();
        let Some(cell) = cells.get(partition) else { return false };
        let mut state = cell.state.lock();
        state.primary().is_some_and(|primary| match pending.op {
            PartitionOp::HandOver { .. } => primary.committed() == primary.last().counter,
            PartitionOp::Promote(node) => primary.has_confirmed(node, pending.barrier),
            _ => true,
        })
    }

    fn undo(&mut self, partition: PartitionId, pending: &Pending, now: Mono) {
        let cells = self.shared.cells();
        let Some(cell) = cells.get(partition) else { return };
        let mut released = Vec::new();
        let mut state = cell.state.lock();
        match pending.op {
            PartitionOp::HandOver { .. } => {
                state.handing_over = false;
                self.hand_over_from = now + GIVEN_UP_PERIOD;
            }
            PartitionOp::Promote(node) => state.unrequire(node, &mut released),
            _ => {}
        }
        drop(state);
        self.shared.release(released);
        self.shared.changed();
    }
}

/// An in-sync replica that is to blame for writes that wait too long, or that cannot be continued.
fn lagging(primary: &replication::Primary, now: Mono) -> Option<NodeId> {
    let last = primary.last().counter;
    primary
        .peers()
        .iter()
        .filter(|peer| peer.in_sync)
        .find(|peer| {
            let waits = peer.acked < last && now.since(peer.progress_at) > LAG_MAX;
            peer.stage == replication::Stage::Diverged || waits
        })
        .map(|peer| peer.node)
}
