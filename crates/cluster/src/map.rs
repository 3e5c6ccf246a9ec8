//! The cluster map: what Raft has agreed about members and the owners of every partition.
//!
//! The map is the state of the Raft state machine and nothing else: it changes only by [`ClusterMap::apply`], which is
//! deterministic, so that every node that has applied the same log holds the same map. Requests are routed by it.
//! The types and look-ups live here; the transitions are in `apply`.
//!
//! Invariants, all checked by [`ClusterMap::check`]:
//! - a partition without a primary has no other role holders either;
//! - the primary is one of the in-sync members, learners are not, and nobody is listed twice;
//! - a member that is down holds at most the last in-sync copy of a partition (which is then unavailable until that
//!   member returns or is forgotten), so any other in-sync member can be trusted with a fail-over;
//! - epochs and the version only rise.

mod apply;
mod command;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use stdx::{Epoch, MapVersion, NodeId, PartitionId, Slot};

pub use users::{USERS_BYTES_MAX, UserTable, UserUpdate};

pub use command::{Applied, ChangeOutcome, MapCommand, PartitionChange, PartitionOp, Refusal};

/// Whether a member can serve, as far as the committed map knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MemberState {
    /// Serves, and may be given partitions.
    Up,
    /// Failed over: its lease has run out and others have taken its roles.
    Down,
    /// Serves what it still holds while the planner moves everything away from it.
    Leaving,
}

/// A node of the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Stable number, kept in the node's directory.
    pub node: NodeId,
    /// Raised by every start of the process: memory of an earlier incarnation is lost.
    pub incarnation: u64,
    /// Name shown to people, such as `node-1`.
    pub name: String,
    /// Failure domain; copies of a partition are spread over zones when there are several.
    pub zone: Option<String>,
    /// Share of partitions relative to other members: 1 is usual, 0 owns nothing.
    pub weight: u32,
    /// Where RESP clients connect.
    pub resp: SocketAddr,
    /// Where HTTP clients and other nodes connect.
    pub http: SocketAddr,
    /// Where gossip is exchanged.
    pub gossip: SocketAddr,
    /// Whether it can serve.
    pub state: MemberState,
    /// Whole copies of partitions that the process found on its disk when it started: each with the epoch in which the partition
    /// had begun empty. Only looked at when it registers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recovered: Vec<(PartitionId, Epoch)>,
}

impl Member {
    /// Whether the member serves: up, or leaving but still there.
    pub fn is_alive(&self) -> bool {
        self.state != MemberState::Down
    }
}

/// Who holds one partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// Raised by one with every change below; replication messages of an older epoch are fenced.
    pub epoch: Epoch,
    /// The epoch in which the partition last began empty. Data of an earlier epoch is void: whoever still holds some
    /// must drop it instead of serving it.
    pub born: Epoch,
    /// The epoch in which the present primary took over. Changes of the in-sync set raise the epoch but not the
    /// reign, so they disturb neither replication streams nor forwarded requests.
    pub reign: Epoch,
    /// Who executes commands; `None` until the first assignment.
    pub primary: Option<NodeId>,
    /// Who holds every acknowledged write, the primary included.
    pub in_sync: Vec<NodeId>,
    /// Who is catching up.
    pub learners: Vec<NodeId>,
}

impl Assignment {
    fn unowned() -> Assignment {
        Assignment {
            epoch: Epoch(1),
            born: Epoch(1),
            reign: Epoch(1),
            primary: None,
            in_sync: Vec::new(),
            learners: Vec::new(),
        }
    }

    /// The role of `node` in this partition.
    pub fn role_of(&self, node: NodeId) -> Role {
        if self.primary == Some(node) {
            Role::Primary
        } else if self.in_sync.contains(&node) {
            Role::InSync
        } else if self.learners.contains(&node) {
            Role::Learner
        } else {
            Role::None
        }
    }

    /// In-sync members other than the primary: whose confirmation a write waits for.
    pub fn replicas(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.in_sync.iter().copied().filter(|&node| self.primary != Some(node))
    }
}

/// What a node is to a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Executes commands.
    Primary,
    /// Confirms every write before it is acknowledged.
    InSync,
    /// Catching up.
    Learner,
    /// Holds nothing.
    None,
}

/// How many partitions a node holds in each role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoleCounts {
    /// Partitions it executes commands for.
    pub primary: usize,
    /// Partitions it is in sync with, those it is primary of included.
    pub in_sync: usize,
    /// Partitions it is catching up with.
    pub learner: usize,
}

/// The agreed state of the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ClusterMap {
    /// Raised by one with every command that changes anything.
    pub version: MapVersion,
    /// Random number chosen when the cluster was created; 0 before that.
    pub cluster_id: u64,
    /// Partitions of the cluster: fixed at its creation; 0 before that.
    pub partitions: u16,
    /// Copies of every partition, the primary included.
    pub replication_factor: u8,
    /// Every registered node.
    pub members: BTreeMap<NodeId, Member>,
    /// Owners, indexed by partition number.
    pub assignments: Vec<Assignment>,
    /// Users that were changed while the cluster ran.
    #[serde(default, skip_serializing_if = "UserTable::is_untouched")]
    pub users: UserTable,
    /// The ring's opinion, computed on demand from the members.
    #[serde(skip)]
    desired: DesiredCache,
}

impl ClusterMap {
    /// Whether the cluster has been created.
    pub fn is_bootstrapped(&self) -> bool {
        self.partitions != 0
    }

    /// The member with this id.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    /// Whether `node` is registered and serves (up or leaving).
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.member(node).is_some_and(Member::is_alive)
    }

    /// Whether `node` is registered and may be given partitions.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.member(node).is_some_and(|member| member.state == MemberState::Up)
    }

    /// Whether `node` is the one and only member: nobody else could take over from it.
    pub fn is_sole_member(&self, node: NodeId) -> bool {
        self.members.len() == 1 && self.members.contains_key(&node)
    }

    /// Owners of `partition`.
    pub fn assignment(&self, partition: PartitionId) -> Option<&Assignment> {
        self.assignments.get(usize::from(partition.0))
    }

    /// The partition of `slot`; `None` before the cluster exists.
    pub fn partition_of_slot(&self, slot: Slot) -> Option<PartitionId> {
        self.is_bootstrapped().then(|| PartitionId::of_slot(slot, self.partitions))
    }

    /// Who executes commands of `partition`, whether or not it is alive.
    pub fn primary_of(&self, partition: PartitionId) -> Option<NodeId> {
        self.assignment(partition)?.primary
    }

    /// What `node` is to `partition`.
    pub fn role_of(&self, node: NodeId, partition: PartitionId) -> Role {
        self.assignment(partition).map_or(Role::None, |assignment| assignment.role_of(node))
    }

    /// Every partition with its owners, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, &Assignment)> {
        (0u16..).map(PartitionId).zip(&self.assignments)
    }

    /// Partitions in which `node` has any role.
    pub fn partitions_of(&self, node: NodeId) -> impl Iterator<Item = (PartitionId, Role)> + '_ {
        self.iter()
            .map(move |(partition, assignment)| (partition, assignment.role_of(node)))
            .filter(|(_, role)| *role != Role::None)
    }

    /// How many partitions `node` holds in each role.
    pub fn counts_of(&self, node: NodeId) -> RoleCounts {
        let mut counts = RoleCounts::default();
        for (_, role) in self.partitions_of(node) {
            match role {
                Role::Primary => {
                    counts.primary += 1;
                    counts.in_sync += 1;
                }
                Role::InSync => counts.in_sync += 1,
                Role::Learner => counts.learner += 1,
                Role::None => {}
            }
        }
        counts
    }

    /// Partitions nobody can serve now: unowned, or the last copy is on a member that is down.
    pub fn unavailable(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.iter()
            .filter(|(_, assignment)| !assignment.primary.is_some_and(|node| self.is_alive(node)))
            .map(|(partition, _)| partition)
    }

    /// The ring's ordered owners of every partition over the members that are up; computed once per membership.
    pub fn desired(&self) -> Arc<Vec<Vec<NodeId>>> {
        Arc::clone(self.desired.0.get_or_init(|| Arc::new(crate::planner::desired_owners(self))))
    }

    /// Checks the invariants of the map; the error names the first one that is broken.
    pub fn check(&self) -> Result<(), String> {
        if self.assignments.len() != usize::from(self.partitions) {
            return Err(format!("{} assignments for {} partitions", self.assignments.len(), self.partitions));
        }
        if let Some((node, member)) = self.members.iter().find(|(node, member)| **node != member.node) {
            return Err(format!("member {} is filed under {node}", member.node));
        }
        self.iter().try_for_each(|(partition, assignment)| {
            self.check_assignment(assignment).map_err(|broken| format!("partition {partition}: {broken}"))
        })
    }

    fn check_assignment(&self, assignment: &Assignment) -> Result<(), String> {
        let Assignment { epoch, born, reign, primary, in_sync, learners } = assignment;
        if epoch.0 == 0 || born.0 == 0 || born > epoch || reign > epoch || born > reign {
            return Err(format!("epoch {epoch}, born {born}, reign {reign}"));
        }
        let mut holders: Vec<NodeId> = in_sync.iter().chain(learners).copied().collect();
        if let Some(node) = holders.iter().find(|node| !self.members.contains_key(node)) {
            return Err(format!("{node} is not a member"));
        }
        holders.sort_unstable();
        if holders.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("a node is listed twice: {holders:?}"));
        }
        match primary {
            None if !holders.is_empty() => return Err("no primary, but other roles are held".into()),
            Some(node) if !in_sync.contains(node) => return Err(format!("primary {node} is not in sync")),
            _ => {}
        }
        if let Some(node) = in_sync.iter().find(|node| !self.is_alive(**node) && in_sync.len() > 1) {
            return Err(format!("{node} is down, and not the last in-sync member"));
        }
        match learners.iter().find(|node| !self.is_alive(**node)) {
            Some(node) => Err(format!("learner {node} is down")),
            None => Ok(()),
        }
    }
}

/// A cached derivation: never compared, never encoded, replaced whenever the members change. Copies of the map share
/// it, so that it is computed once however many versions of the map have the same members.
#[derive(Clone, Default)]
struct DesiredCache(Arc<OnceLock<Arc<Vec<Vec<NodeId>>>>>);

impl PartialEq for DesiredCache {
    fn eq(&self, _: &DesiredCache) -> bool {
        true
    }
}

impl Eq for DesiredCache {}

impl fmt::Debug for DesiredCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "computed" } else { "not computed" })
    }
}
