//! The transitions of the cluster map: deterministic, total, and never in need of anything outside the map.
//!
//! Replicas of different versions of this program may apply the same log during a rolling upgrade, so nothing here
//! depends on the ring: a fail-over takes the least loaded in-sync member that is alive, and the planner tidies up
//! afterwards by ordinary proposals.

use std::collections::BTreeMap;

use stdx::limits::{NODES_MAX, PARTITIONS_MAX};
use stdx::{Epoch, MapVersion, NodeId, PartitionId};

use super::command::{Applied, ChangeOutcome, MapCommand, PartitionChange, PartitionOp, Refusal};
use super::{Assignment, ClusterMap, DesiredCache, Member, MemberState};

/// What a command has done so far.
#[derive(Default)]
struct Effects {
    changed: bool,
    outcomes: Vec<ChangeOutcome>,
    data_lost: Vec<PartitionId>,
}

impl ClusterMap {
    /// Applies one committed command.
    pub fn apply(&mut self, command: &MapCommand) -> Applied {
        let mut effects = Effects::default();
        let before: Vec<_> = self.assignments.iter().map(|a| (a.primary, a.born)).collect();
        let refused = self.dispatch(command, &mut effects).err();
        if effects.changed {
            self.version = MapVersion(self.version.0 + 1);
            self.begin_reigns(&before);
        }
        Applied { version: self.version, refused, outcomes: effects.outcomes, data_lost: effects.data_lost }
    }

    /// A partition whose primary changed, or that began anew, has a new reign.
    fn begin_reigns(&mut self, before: &[(Option<NodeId>, Epoch)]) {
        for (assignment, (primary, born)) in self.assignments.iter_mut().zip(before) {
            if assignment.primary != *primary || assignment.born != *born {
                assignment.reign = assignment.epoch;
            }
        }
    }

    fn dispatch(&mut self, command: &MapCommand, effects: &mut Effects) -> Result<(), Refusal> {
        if let MapCommand::Bootstrap { cluster_id, partitions, replication_factor } = *command {
            return self.bootstrap(cluster_id, partitions, replication_factor, effects);
        }
        if !self.is_bootstrapped() {
            return Err(Refusal::NotBootstrapped);
        }
        match command {
            MapCommand::Bootstrap { .. } => Err(Refusal::AlreadyBootstrapped),
            MapCommand::Register { member } => self.register(member, effects),
            MapCommand::NodeDown { node, incarnation } => self.node_down(*node, *incarnation, effects),
            MapCommand::Leave { node } => self.leave(*node, effects),
            MapCommand::Forget { node } => self.forget(*node, effects),
            MapCommand::SetUsers(update) => {
                effects.changed |= self.set_users(update)?;
                Ok(())
            }
            MapCommand::Changes(changes) => {
                for change in changes {
                    let outcome = self.change(change);
                    effects.changed |= matches!(outcome, ChangeOutcome::Applied { .. });
                    effects.outcomes.push(outcome);
                }
                Ok(())
            }
        }
    }

    fn bootstrap(
        &mut self,
        id: u64,
        partitions: u16,
        copies: u8,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if self.is_bootstrapped() {
            return Err(Refusal::AlreadyBootstrapped);
        }
        if id == 0 || copies == 0 || !partitions.is_power_of_two() || partitions > PARTITIONS_MAX {
            return Err(Refusal::Invalid);
        }
        self.cluster_id = id;
        self.partitions = partitions;
        self.replication_factor = copies;
        self.assignments = vec![Assignment::unowned(); usize::from(partitions)];
        self.desired = DesiredCache::default();
        effects.changed = true;
        Ok(())
    }

    fn register(&mut self, member: &Member, effects: &mut Effects) -> Result<(), Refusal> {
        let node = member.node;
        let mut next = Member { state: MemberState::Up, ..member.clone() };
        let recovered = std::mem::take(&mut next.recovered);
        match self.members.get(&node) {
            None if self.members.len() >= NODES_MAX => return Err(Refusal::TooManyMembers),
            None => {}
            Some(known) if member.incarnation < known.incarnation => return Err(Refusal::StaleIncarnation),
            Some(known) if member.incarnation == known.incarnation => {
                // Only a decision of the map ends a leave; describing itself again does not.
                if known.state == MemberState::Leaving {
                    next.state = MemberState::Leaving;
                }
                if *known == next {
                    return Ok(());
                }
            }
            Some(_) => self.begin_incarnation(node, &recovered, effects),
        }
        self.members.insert(node, next);
        self.desired = DesiredCache::default();
        effects.changed = true;
        Ok(())
    }

    /// Takes every role from a node that has lost its memory, but for partitions that nobody else is in sync with and that it
    /// has `recovered` from its disk: those go on there, in a new reign.
    fn begin_incarnation(&mut self, node: NodeId, recovered: &[(PartitionId, Epoch)], effects: &mut Effects) {
        let mut primaries = self.primaries();
        for index in 0..self.assignments.len() {
            if !self.assignments[index].holds(node) {
                continue;
            }
            let is_recovered = recovered.contains(&(partition_id(index), self.assignments[index].born));
            if self.assignments[index].in_sync == [node] && is_recovered {
                self.assignments[index].raise();
                self.assignments[index].reign = self.assignments[index].epoch;
            } else if self.assignments[index].in_sync == [node] {
                // Nobody else has the data. The returning node takes the partition up again, empty; learners are let
                // go because what they copied so far is void too.
                self.assignments[index].begin_empty(Some(node));
                effects.data_lost.push(partition_id(index));
            } else {
                self.remove_from(index, node, &mut primaries);
            }
        }
    }

    fn node_down(&mut self, node: NodeId, incarnation: u64, effects: &mut Effects) -> Result<(), Refusal> {
        let member = self.members.get_mut(&node).ok_or(Refusal::UnknownMember)?;
        if member.incarnation != incarnation {
            return Err(Refusal::StaleIncarnation);
        }
        if member.state == MemberState::Down {
            return Ok(());
        }
        member.state = MemberState::Down;
        self.desired = DesiredCache::default();
        effects.changed = true;
        let mut primaries = self.primaries();
        for index in 0..self.assignments.len() {
            let assignment = &self.assignments[index];
            if !assignment.holds(node) {
                continue;
            }
            let is_in_sync = assignment.in_sync.contains(&node);
            let survives = assignment.in_sync.iter().any(|other| self.is_alive(*other));
            if !is_in_sync || survives {
                self.remove_from(index, node, &mut primaries);
            } else {
                // The last copy is never void. The epoch still rises, so that a promotion or hand-over this node
                // proposed before it went down cannot be applied after it.
                self.assignments[index].raise();
            }
        }
        Ok(())
    }

    fn leave(&mut self, node: NodeId, effects: &mut Effects) -> Result<(), Refusal> {
        let member = self.members.get_mut(&node).ok_or(Refusal::UnknownMember)?;
        match member.state {
            MemberState::Down => return Err(Refusal::NotServing),
            MemberState::Leaving => return Ok(()),
            MemberState::Up => member.state = MemberState::Leaving,
        }
        self.desired = DesiredCache::default();
        effects.changed = true;
        Ok(())
    }

    fn forget(&mut self, node: NodeId, effects: &mut Effects) -> Result<(), Refusal> {
        let member = self.members.get(&node).ok_or(Refusal::UnknownMember)?;
        if member.is_alive() && self.assignments.iter().any(|assignment| assignment.holds(node)) {
            return Err(Refusal::StillHolds);
        }
        self.members.remove(&node);
        self.desired = DesiredCache::default();
        effects.changed = true;
        let mut primaries = self.primaries();
        for index in 0..self.assignments.len() {
            if !self.assignments[index].holds(node) {
                continue;
            }
            if self.assignments[index].in_sync == [node] {
                let up: Vec<NodeId> = self.members.keys().copied().filter(|node| self.is_up(*node)).collect();
                let heir = least_loaded(self, &up, &primaries);
                self.assignments[index].begin_empty(heir);
                if let Some(heir) = heir {
                    *primaries.entry(heir).or_default() += 1;
                }
                effects.data_lost.push(partition_id(index));
            } else {
                self.remove_from(index, node, &mut primaries);
            }
        }
        Ok(())
    }

    /// Removes `node` from one partition in which another in-sync member remains, or in which it only learns.
    fn remove_from(&mut self, index: usize, node: NodeId, primaries: &mut BTreeMap<NodeId, usize>) {
        let others: Vec<NodeId> =
            self.assignments[index].in_sync.iter().copied().filter(|other| *other != node).collect();
        let heir = least_loaded(self, &others, primaries);
        let assignment = &mut self.assignments[index];
        assignment.in_sync = others;
        assignment.learners.retain(|other| *other != node);
        if assignment.primary == Some(node) {
            assignment.primary = heir;
            if let Some(heir) = heir {
                *primaries.entry(heir).or_default() += 1;
            }
        }
        assignment.raise();
    }

    fn change(&mut self, change: &PartitionChange) -> ChangeOutcome {
        let index = usize::from(change.partition.0);
        let Some(assignment) = self.assignments.get(index) else {
            return ChangeOutcome::Refused { reason: Refusal::UnknownPartition, epoch: Epoch(0) };
        };
        let epoch = assignment.epoch;
        if epoch != change.expected {
            return ChangeOutcome::Refused { reason: Refusal::StaleEpoch, epoch };
        }
        if let Err(reason) = self.permits(assignment, change.op) {
            return ChangeOutcome::Refused { reason, epoch };
        }
        let assignment = &mut self.assignments[index];
        assignment.perform(change.op);
        ChangeOutcome::Applied { epoch: assignment.epoch }
    }

    fn permits(&self, assignment: &Assignment, op: PartitionOp) -> Result<(), Refusal> {
        let require = |holds: bool, refusal: Refusal| if holds { Ok(()) } else { Err(refusal) };
        let subject = match op {
            PartitionOp::AddLearner(node)
            | PartitionOp::RemoveLearner(node)
            | PartitionOp::Promote(node)
            | PartitionOp::DropInSync(node)
            | PartitionOp::HandOver { to: node }
            | PartitionOp::Assign { primary: node } => Some(node),
            PartitionOp::Assert => None,
        };
        if subject.is_some_and(|node| !self.members.contains_key(&node)) {
            return Err(Refusal::UnknownMember);
        }
        if let PartitionOp::Assign { primary } = op {
            require(assignment.primary.is_none(), Refusal::WrongRole)?;
            return require(self.is_up(primary), Refusal::NotServing);
        }
        // Everything else is about data that a living primary holds.
        let primary = assignment.primary.ok_or(Refusal::WrongRole)?;
        require(self.is_alive(primary), Refusal::NotServing)?;
        match op {
            PartitionOp::AddLearner(node) => {
                require(!assignment.holds(node), Refusal::WrongRole)?;
                require(self.is_up(node), Refusal::NotServing)
            }
            PartitionOp::RemoveLearner(node) => {
                require(assignment.learners.contains(&node), Refusal::WrongRole)
            }
            PartitionOp::Promote(node) => {
                require(assignment.learners.contains(&node), Refusal::WrongRole)?;
                require(self.is_alive(node), Refusal::NotServing)
            }
            PartitionOp::DropInSync(node) => {
                require(primary != node && assignment.in_sync.contains(&node), Refusal::WrongRole)
            }
            PartitionOp::HandOver { to } => {
                require(primary != to && assignment.in_sync.contains(&to), Refusal::WrongRole)?;
                require(self.is_up(to), Refusal::NotServing)
            }
            PartitionOp::Assert | PartitionOp::Assign { .. } => Ok(()),
        }
    }

    fn primaries(&self) -> BTreeMap<NodeId, usize> {
        let mut counts = BTreeMap::new();
        for primary in self.assignments.iter().filter_map(|assignment| assignment.primary) {
            *counts.entry(primary).or_default() += 1;
        }
        counts
    }
}

impl Assignment {
    fn holds(&self, node: NodeId) -> bool {
        self.in_sync.contains(&node) || self.learners.contains(&node)
    }

    fn raise(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
    }

    fn begin_empty(&mut self, primary: Option<NodeId>) {
        self.raise();
        self.born = self.epoch;
        self.primary = primary;
        self.in_sync = primary.into_iter().collect();
        self.learners.clear();
    }

    /// Performs a change that has been found permitted.
    fn perform(&mut self, op: PartitionOp) {
        match op {
            PartitionOp::Assign { primary } => return self.begin_empty(Some(primary)),
            PartitionOp::AddLearner(node) => self.learners.push(node),
            PartitionOp::RemoveLearner(node) => self.learners.retain(|other| *other != node),
            PartitionOp::Promote(node) => {
                self.learners.retain(|other| *other != node);
                self.in_sync.push(node);
            }
            PartitionOp::DropInSync(node) => self.in_sync.retain(|other| *other != node),
            PartitionOp::HandOver { to } => self.primary = Some(to),
            PartitionOp::Assert => {}
        }
        self.raise();
    }
}

/// The best candidate: up before leaving before down, then with the fewest primaries for its weight, then by id.
fn least_loaded(
    map: &ClusterMap,
    candidates: &[NodeId],
    primaries: &BTreeMap<NodeId, usize>,
) -> Option<NodeId> {
    candidates.iter().copied().min_by_key(|node| {
        let member = map.members.get(node);
        let rank = match member.map(|member| member.state) {
            // A weight of 0 asks for no partitions: only if there is no one else.
            Some(MemberState::Up) => u8::from(member.is_some_and(|member| member.weight == 0)),
            Some(MemberState::Leaving) => 2,
            Some(MemberState::Down) | None => 3,
        };
        let weight = u64::from(member.map_or(1, |member| member.weight.max(1)));
        let load = primaries.get(node).copied().unwrap_or(0) as u64 * 1_000_000 / weight;
        (rank, load, *node)
    })
}

fn partition_id(index: usize) -> PartitionId {
    PartitionId(u16::try_from(index).expect("a cluster has at most 16384 partitions"))
}
