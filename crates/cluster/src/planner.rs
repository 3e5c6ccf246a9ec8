//! What to propose next so that the owners of every partition become those that the ring wants.
//!
//! Pure functions of the map. The Raft leader proposes what [`plan`] says whenever the map changes; promotions and
//! hand-overs are proposed by the primary, who alone knows whether a learner has caught up and can hold its clients
//! for the cut-over. Every step is a compare-and-set, so that proposing the same plan twice does no harm.
//!
//! A move is made of these steps: add a learner, promote it, hand the primary over if it moves, drop the member that is
//! not wanted any more. A copy is given up only when every wanted one is in sync.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use stdx::{Epoch, NodeId, PartitionId};

use crate::map::{Assignment, ClusterMap, MemberState, PartitionChange, PartitionOp};
use crate::ring::{self, RingMember};

/// How much may be under way at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlanLimits {
    /// Partitions one node may be catching up with at the same time.
    pub learners_per_node_max: usize,
    /// Changes in one proposal.
    pub changes_max: usize,
}

impl Default for PlanLimits {
    fn default() -> PlanLimits {
        PlanLimits { learners_per_node_max: 16, changes_max: 1_024 }
    }
}

/// The ring's ordered owners of every partition over the members that are up. Prefer [`ClusterMap::desired`], which
/// remembers the answer.
pub fn desired_owners(map: &ClusterMap) -> Vec<Vec<NodeId>> {
    let up = map.members.values().filter(|member| member.state == MemberState::Up);
    let members: Vec<RingMember> = up
        .map(|member| RingMember { node: member.node, zone: member.zone.clone(), weight: member.weight })
        .collect();
    ring::owners(&members, map.partitions, usize::from(map.replication_factor))
}

/// What the Raft leader proposes next: at most one change per partition, those first that restore a missing copy.
/// Empty once the map is settled, or while everything that remains is up to primaries or to members that are down.
pub fn plan(map: &ClusterMap, limits: PlanLimits) -> Vec<PartitionChange> {
    let desired = map.desired();
    let copies_wanted = |wanted: &Vec<NodeId>| wanted.len();
    let mut order: Vec<(usize, PartitionId, &Assignment, &Vec<NodeId>)> = map
        .iter()
        .zip(desired.iter())
        .filter(|(_, wanted)| !wanted.is_empty())
        .map(|((partition, assignment), wanted)| {
            let missing = copies_wanted(wanted).saturating_sub(assignment.in_sync.len());
            (missing, partition, assignment, wanted)
        })
        .collect();
    order.sort_by_key(|(missing, partition, ..)| (std::cmp::Reverse(*missing), *partition));
    let mut learning = learner_counts(map);
    let mut changes = Vec::new();
    for (_, partition, assignment, wanted) in order {
        if changes.len() == limits.changes_max {
            break;
        }
        if let Some(op) = next_step(map, assignment, wanted, limits, &mut learning) {
            changes.push(PartitionChange { partition, expected: assignment.epoch, op });
        }
    }
    changes
}

fn next_step(
    map: &ClusterMap,
    assignment: &Assignment,
    wanted: &[NodeId],
    limits: PlanLimits,
    learning: &mut BTreeMap<NodeId, usize>,
) -> Option<PartitionOp> {
    let first = *wanted.first()?;
    let Some(primary) = assignment.primary else {
        return Some(PartitionOp::Assign { primary: first });
    };
    if !map.is_alive(primary) {
        // The last copy is on a member that is down: only its return, or an operator, can do anything.
        return None;
    }
    if let Some(surplus) = assignment.learners.iter().find(|node| !wanted.contains(node)) {
        return Some(PartitionOp::RemoveLearner(*surplus));
    }
    for node in wanted {
        if assignment.in_sync.contains(node) || assignment.learners.contains(node) {
            continue;
        }
        let count = learning.entry(*node).or_default();
        if *count < limits.learners_per_node_max {
            *count += 1;
            return Some(PartitionOp::AddLearner(*node));
        }
    }
    if !wanted.iter().all(|node| assignment.in_sync.contains(node)) {
        return None;
    }
    let surplus = assignment.replicas().find(|node| !wanted.contains(node))?;
    Some(PartitionOp::DropInSync(surplus))
}

fn learner_counts(map: &ClusterMap) -> BTreeMap<NodeId, usize> {
    let mut counts = BTreeMap::new();
    for node in map.assignments.iter().flat_map(|assignment| &assignment.learners) {
        *counts.entry(*node).or_default() += 1;
    }
    counts
}

/// Partitions that `me` is primary of and should hand over now, with their epoch and the new primary: those whose
/// wanted primary is another member that is up and in sync.
pub fn wanted_hand_overs(map: &ClusterMap, me: NodeId) -> Vec<(PartitionId, Epoch, NodeId)> {
    map.iter()
        .zip(map.desired().iter())
        .filter(|((_, assignment), _)| assignment.primary == Some(me))
        .filter_map(|((partition, assignment), wanted)| {
            let to = *wanted.first()?;
            let can_take = to != me && assignment.in_sync.contains(&to) && map.is_up(to);
            can_take.then_some((partition, assignment.epoch, to))
        })
        .collect()
}

/// Whether every partition is exactly where the ring wants it.
pub fn is_settled(map: &ClusterMap) -> bool {
    map.is_bootstrapped()
        && map.iter().zip(map.desired().iter()).all(|((_, assignment), wanted)| {
            assignment.primary.is_some()
                && assignment.primary == wanted.first().copied()
                && assignment.learners.is_empty()
                && assignment.in_sync.len() == wanted.len()
                && wanted.iter().all(|node| assignment.in_sync.contains(node))
        })
}

/// Whether `node` holds nothing any more, so that it can be forgotten without loss.
pub fn drained(map: &ClusterMap, node: NodeId) -> bool {
    map.partitions_of(node).next().is_none()
}
