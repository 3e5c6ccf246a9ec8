//! What people and tools see of the cluster: computed from the map when asked.

use cluster::gossip::MemberState as Seen;
use cluster::planner::is_settled;
use cluster::{Assignment, ClusterMap, MemberState};
use commands::host::NodeHealth;
use serde::Serialize;
use std::net::SocketAddr;
use stdx::NodeId;

use super::core::Core;
use super::hex;

/// The answer of `/api/cluster/status`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Status {
    /// The cluster's id in hexadecimal; zeros before there is one.
    pub cluster_id: String,
    /// Version of the map.
    pub epoch: u64,
    /// Copies of every partition.
    pub replication_factor: u8,
    /// Number of partitions.
    pub partitions: u16,
    /// Whether every partition is where it should be, with as many copies as there can be.
    pub settled: bool,
    /// Name of the Raft leader, if one is known.
    pub leader: Option<String>,
    /// Name of this node.
    pub node: String,
    /// Everybody.
    pub members: Vec<MemberStatus>,
    /// Partitions with fewer copies than there can be.
    pub under_replicated: usize,
}

/// One member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Its id in hexadecimal.
    pub id: String,
    /// `up`, `suspect` (up, but gossip gets no answer), `down` or `leaving`.
    pub state: &'static str,
    /// Where Redis clients connect.
    pub resp: SocketAddr,
    /// Where HTTP clients connect.
    pub http: SocketAddr,
    /// Where gossip is exchanged.
    pub gossip: SocketAddr,
    /// The start of its process.
    pub incarnation: u64,
    /// Partitions it executes commands for.
    pub primaries: usize,
    /// Partitions it is an in-sync replica of.
    pub replicas: usize,
    /// Partitions it is catching up with.
    pub learners: usize,
    /// Whether it votes in the Raft group.
    pub voter: bool,
}

/// Who holds one partition, by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RingEntry {
    /// Its number.
    pub partition: u16,
    /// Who executes commands.
    pub primary: Option<String>,
    /// Who confirms writes, the primary included.
    pub in_sync: Vec<String>,
    /// Who is catching up.
    pub learners: Vec<String>,
}

impl Core {
    pub(super) fn status(&self) -> Status {
        let (map, raft) = (self.raft.map(), self.raft.status());
        let under_replicated = under_replicated(&map);
        let members = map.members.values().map(|member| {
            let counts = map.counts_of(member.node);
            MemberStatus {
                name: member.name.clone(),
                id: hex::node(member.node),
                state: match (member.state, self.health(&map, member.node)) {
                    (MemberState::Down, _) => "down",
                    (MemberState::Leaving, _) => "leaving",
                    (MemberState::Up, NodeHealth::Up) => "up",
                    (MemberState::Up, _) => "suspect",
                },
                resp: member.resp,
                http: member.http,
                gossip: member.gossip,
                incarnation: member.incarnation,
                primaries: counts.primary,
                replicas: counts.in_sync - counts.primary,
                learners: counts.learner,
                voter: raft.voters.contains(&member.node),
            }
        });
        Status {
            cluster_id: hex::number(map.cluster_id),
            epoch: map.version.0,
            replication_factor: map.replication_factor,
            partitions: map.partitions,
            settled: is_settled(&map) && under_replicated == 0,
            leader: raft.leader.map(|node| self.name_of(&map, node)),
            node: self.me.name.clone(),
            members: members.collect(),
            under_replicated,
        }
    }

    pub(super) fn ring(&self) -> Vec<RingEntry> {
        let map = self.raft.map();
        let names = |nodes: &[NodeId]| nodes.iter().map(|node| self.name_of(&map, *node)).collect();
        let entry = |(partition, assignment): (stdx::PartitionId, &Assignment)| RingEntry {
            partition: partition.0,
            primary: assignment.primary.map(|node| self.name_of(&map, node)),
            in_sync: names(&assignment.in_sync),
            learners: names(&assignment.learners),
        };
        map.iter().map(entry).collect()
    }

    pub(super) fn is_ready(&self) -> bool {
        let map = self.raft.map();
        let own = map.member(self.me.node);
        own.is_some_and(|own| own.incarnation == self.me.incarnation && own.state == MemberState::Up)
            && self.plane.may_serve(self.clock.mono())
            && map.unavailable().next().is_none()
    }

    /// What is thought of a member: by the map if it is down there, else by gossip.
    pub(super) fn health(&self, map: &ClusterMap, node: NodeId) -> NodeHealth {
        let member = map.member(node);
        if member.is_some_and(|member| !member.is_alive()) {
            return NodeHealth::Down;
        }
        match (node == self.me.node, self.gossip.state(node), member) {
            (false, Some(Seen::Suspect | Seen::Down), _) => NodeHealth::Suspect,
            (_, _, None) => NodeHealth::Joining,
            _ => NodeHealth::Up,
        }
    }
}

/// Partitions with fewer in-sync copies on living members than there can be.
fn under_replicated(map: &ClusterMap) -> usize {
    let up = map.members.values().filter(|member| member.state == MemberState::Up).count();
    let wanted = up.min(usize::from(map.replication_factor));
    let copies =
        |assignment: &Assignment| assignment.in_sync.iter().filter(|node| map.is_alive(**node)).count();
    map.assignments.iter().filter(|assignment| copies(assignment) < wanted).count()
}
