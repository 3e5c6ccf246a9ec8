//! The routing table: for every partition who its primary is, flattened from the cluster map for the hot path.

use crate::frame::Route;
use cluster::map::{Assignment, ClusterMap, MemberState};
use std::sync::Arc;
use stdx::{Epoch, MapVersion, NodeId, PartitionId};

/// Where a set of keys has to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Destination {
    /// This node is the primary of all of them.
    Here,
    /// That node is.
    There(NodeId),
    /// At least one has no primary that is alive.
    Nowhere,
    /// They have different primaries.
    Split,
}

/// One version of the map, made quick to look up.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) map: Arc<ClusterMap>,
    pub(crate) me: NodeId,
    primaries: Vec<Option<NodeId>>,
    reigns: Vec<Epoch>,
    /// The reign, where this node is primary.
    own: Vec<Option<Epoch>>,
}

impl Routing {
    pub(crate) fn new(map: Arc<ClusterMap>, me: NodeId) -> Routing {
        let alive =
            |node: &NodeId| map.members.get(node).is_some_and(|member| member.state != MemberState::Down);
        let own = |a: &Assignment| (a.primary.filter(alive) == Some(me)).then_some(a.reign);
        Routing {
            own: map.assignments.iter().map(own).collect(),
            primaries: map.assignments.iter().map(|a| a.primary.filter(alive)).collect(),
            reigns: map.assignments.iter().map(|a| a.reign).collect(),
            map,
            me,
        }
    }

    pub(crate) fn version(&self) -> MapVersion {
        self.map.version
    }

    /// Number of partitions; 0 before the cluster exists.
    pub(crate) fn partitions(&self) -> u16 {
        self.map.partitions
    }

    pub(crate) fn primary(&self, partition: PartitionId) -> Option<NodeId> {
        self.primaries.get(usize::from(partition.0)).copied().flatten()
    }

    pub(crate) fn route(&self, partition: PartitionId) -> Route {
        Route { partition, reign: self.reigns.get(usize::from(partition.0)).copied().unwrap_or_default() }
    }

    /// The reign of a partition that this node is primary of.
    #[inline]
    pub(crate) fn own_reign(&self, partition: PartitionId) -> Option<Epoch> {
        self.own.get(usize::from(partition.0)).copied().flatten()
    }

    /// Where a command on these partitions has to go.
    pub(crate) fn destination(&self, partitions: &[PartitionId]) -> Destination {
        let mut found: Option<NodeId> = None;
        for &partition in partitions {
            let Some(primary) = self.primary(partition) else { return Destination::Nowhere };
            match found {
                None => found = Some(primary),
                Some(other) if other != primary => return Destination::Split,
                Some(_) => {}
            }
        }
        match found {
            None => Destination::Nowhere,
            Some(node) if node == self.me => Destination::Here,
            Some(node) => Destination::There(node),
        }
    }
}
