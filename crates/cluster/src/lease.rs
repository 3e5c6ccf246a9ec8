//! Leases: what lets a primary serve without asking anyone, and lets the others know when it must have stopped.
//!
//! Every node, whether primary of anything or not, renews one lease with the Raft leader. [`LeaseGranter`] runs at the
//! leader, [`LeaseHolder`] at every node. Both are plain state driven by readings of the local monotonic clock; clocks
//! of different nodes are never compared, only assumed to run at the same rate within the margin.
//!
//! Why two nodes never serve the same partition:
//! - The holder counts a grant from the moment it *sent* the request, the granter from a moment after, so the holder
//!   always stops first.
//! - A grant ends no later than `lease` after the send time of the last heartbeat that a quorum has acknowledged. A later
//!   leader can only be elected after that quorum's promise, so it starts its term later than every such send time:
//!   once `lease` has passed since its own start, all grants of earlier leaders have run out, unseen.
//! - Before it proposes [`NodeDown`](crate::MapCommand::NodeDown) a leader condemns the node (no more grants), then waits
//!   until every grant it gave, and every one an earlier leader may have given, is over, plus the margin.
//! - A grant names the version of the map it was given under and counts only once the holder's map has reached it. So a
//!   node that was failed over and has registered again cannot use its new lease with its old map.
//!
//! Left out: clocks that drift by more than `margin / lease` (15 % by default), or that stop during a suspended virtual
//! machine without the guest noticing. The holder must read the clock after the value it serves (design, rule 4).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stdx::{MapVersion, Mono, NodeId};

use crate::map::{ClusterMap, MemberState};

/// How long a lease lasts unless configured otherwise.
pub const LEASE_DEFAULT: Duration = Duration::from_millis(1_000);
/// How often a lease is renewed.
pub const LEASE_RENEWAL_INTERVAL: Duration = Duration::from_millis(250);
/// Allowance for clocks that do not run at quite the same rate.
pub const LEASE_MARGIN: Duration = Duration::from_millis(150);
/// Renewals a holder remembers to have sent without an answer.
const SENT_MAX: usize = 32;
/// Grants a holder keeps because they differ in version.
const GRANTS_MAX: usize = 8;

/// A lease as it travels to its holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// How long the lease lasts from the moment the holder sent its request.
    pub duration: Duration,
    /// The holder's map must have reached this version before the lease counts.
    pub map_version: MapVersion,
}

/// Why a lease was not granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LeaseRefusal {
    /// Not a member: it must register first.
    Unknown,
    /// Failed over, or about to be: it must register again.
    Down,
    /// Another incarnation is registered.
    StaleIncarnation,
    /// The leader has not heard from a quorum for a whole lease; it may have been replaced.
    NoQuorum,
}

/// The granting side, at the Raft leader: one per term of leadership, dropped when leadership is lost.
#[derive(Clone, Debug)]
pub struct LeaseGranter {
    term_start: Mono,
    lease: Duration,
    margin: Duration,
    nodes: BTreeMap<NodeId, Record>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// When it last asked and was granted a lease.
    renewed: Option<Mono>,
    /// No grant of this term lasts beyond this.
    ends: Option<Mono>,
    condemned: bool,
}

impl LeaseGranter {
    /// A granter for a leadership that began at `term_start`, a moment after the leader's election. `lease` and `margin`
    /// must be the same at every node.
    pub fn new(term_start: Mono, lease: Duration, margin: Duration) -> LeaseGranter {
        LeaseGranter { term_start, lease, margin, nodes: BTreeMap::new() }
    }

    /// Answers a request that arrived at `now` or just before. `quorum_acked` is the send time of the last heartbeat
    /// that a quorum has acknowledged; `map` is this leader's latest.
    pub fn renew(
        &mut self,
        node: NodeId,
        incarnation: u64,
        now: Mono,
        quorum_acked: Mono,
        map: &ClusterMap,
    ) -> Result<Grant, LeaseRefusal> {
        let member = map.member(node).ok_or(LeaseRefusal::Unknown)?;
        if member.incarnation != incarnation {
            return Err(LeaseRefusal::StaleIncarnation);
        }
        let record = self.nodes.entry(node).or_default();
        if member.state == MemberState::Down || record.condemned {
            return Err(LeaseRefusal::Down);
        }
        let ends = quorum_acked.min(now) + self.lease;
        let duration = ends.since(now);
        if duration.is_zero() {
            return Err(LeaseRefusal::NoQuorum);
        }
        record.renewed = Some(now);
        record.ends = record.ends.max(Some(ends));
        Ok(Grant { duration, map_version: map.version })
    }

    /// Stops granting to `node`: the first step of failing it over.
    pub fn condemn(&mut self, node: NodeId) {
        self.nodes.entry(node).or_default().condemned = true;
    }

    /// Allows grants again: after its `NodeDown` was committed and it has registered anew, or after the fail-over was
    /// given up. Never while a `NodeDown` for it is proposed and its outcome unknown.
    pub fn pardon(&mut self, node: NodeId) {
        if let Some(record) = self.nodes.get_mut(&node) {
            record.condemned = false;
        }
    }

    /// Whether `node` gets no more grants.
    pub fn is_condemned(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|record| record.condemned)
    }

    /// Whether `node` is condemned and surely serves no more: its `NodeDown` may be proposed.
    pub fn safe_to_fail_over(&self, node: NodeId, now: Mono) -> bool {
        self.is_condemned(node) && now >= self.quiet_from(node)
    }

    /// From when on `node` surely does not serve, if it gets no more grants.
    pub fn quiet_from(&self, node: NodeId) -> Mono {
        let earlier_leaders = self.term_start + self.lease;
        let granted = self.nodes.get(&node).and_then(|record| record.ends).unwrap_or(earlier_leaders);
        granted.max(earlier_leaders) + self.margin
    }

    /// Members of `map` not down that have not renewed for `after`, counted from the start of the term if they have
    /// not renewed at all.
    pub fn overdue(&self, map: &ClusterMap, now: Mono, after: Duration) -> Vec<NodeId> {
        let last =
            |node: NodeId| self.nodes.get(&node).and_then(|record| record.renewed).unwrap_or(self.term_start);
        let alive = map.members.values().filter(|member| member.is_alive());
        alive.map(|member| member.node).filter(|node| now.since(last(*node)) >= after).collect()
    }

    /// Forgets nodes that are not members any more.
    pub fn retain_members(&mut self, map: &ClusterMap) {
        self.nodes.retain(|node, _| map.members.contains_key(node));
    }
}

/// The holding side, at every node; dropped with the incarnation it belongs to.
#[derive(Clone, Debug, Default)]
pub struct LeaseHolder {
    /// Requests without an answer, oldest first.
    sent: Vec<(u64, Mono)>,
    /// Grants by the map version they need, ascending; each lasts longer than the ones before it.
    grants: Vec<(MapVersion, Mono)>,
}

impl LeaseHolder {
    /// A holder without a lease.
    pub fn new() -> LeaseHolder {
        LeaseHolder::default()
    }

    /// Notes that request `id` is about to be sent. Must be called before the first byte leaves.
    pub fn sent(&mut self, id: u64, at: Mono) {
        if self.sent.len() == SENT_MAX {
            self.sent.remove(0);
        }
        self.sent.push((id, at));
    }

    /// Takes the answer to request `id`; false if that request is unknown or answered, and the grant does not count.
    pub fn granted(&mut self, id: u64, grant: Grant) -> bool {
        let Some(index) = self.sent.iter().position(|(sent, _)| *sent == id) else { return false };
        let (_, at) = self.sent.remove(index);
        let until = at + grant.duration;
        // A grant is useless beside one that needs no newer map and lasts as long.
        if self.grants.iter().any(|(version, other)| *version <= grant.map_version && *other >= until) {
            return true;
        }
        self.grants.retain(|(version, other)| *version < grant.map_version || *other > until);
        let place = self.grants.partition_point(|(version, _)| *version < grant.map_version);
        self.grants.insert(place, (grant.map_version, until));
        if self.grants.len() > GRANTS_MAX {
            self.grants.remove(0);
        }
        true
    }

    /// Until when this node may serve by a map of `version`; `None` if it never got a lease for it.
    pub fn valid_until(&self, version: MapVersion) -> Option<Mono> {
        self.grants.iter().rev().find(|(needed, _)| *needed <= version).map(|(_, until)| *until)
    }

    /// Whether this node may serve at `now` by a map of `version`.
    pub fn is_valid(&self, version: MapVersion, now: Mono) -> bool {
        self.valid_until(version).is_some_and(|until| now < until)
    }

    /// Gives the lease up at once.
    pub fn clear(&mut self) {
        self.sent.clear();
        self.grants.clear();
    }
}
