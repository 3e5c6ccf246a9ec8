//! The Raft group and its leader: one committed map, delivered to the nodes with delays, leases, fail-overs, plans.
//!
//! The group itself never fails here; what varies is when each node hears of what.

use super::{Cluster, member};
use cluster::lease::{Grant, LEASE_DEFAULT, LEASE_MARGIN, LEASE_RENEWAL_INTERVAL, LeaseGranter, LeaseHolder};
use cluster::map::{Applied, ClusterMap, MapCommand, PartitionChange};
use cluster::planner::{self, PlanLimits};
use node::UsersOutcome;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Mono, NodeId};

/// How often the leader plans.
const PLAN_PERIOD: Duration = Duration::from_millis(10);
/// A member that has not renewed its lease for so long is failed over.
const OVERDUE_AFTER: Duration = Duration::from_millis(1_200);

/// Things that arrive in order, each at its time.
pub(crate) struct Inbox<T>(VecDeque<(Mono, T)>);

impl<T> Default for Inbox<T> {
    fn default() -> Inbox<T> {
        Inbox(VecDeque::new())
    }
}

impl<T> Inbox<T> {
    fn push(&mut self, at: Mono, item: T) {
        let at = self.0.back().map_or(at, |(last, _)| at.max(*last));
        self.0.push_back((at, item));
    }

    fn pop(&mut self, now: Mono) -> Option<T> {
        if self.0.front().is_some_and(|(at, _)| *at <= now) { Some(self.0.pop_front()?.1) } else { None }
    }
}

/// A node's side of the lease.
#[derive(Default)]
pub(crate) struct LeaseState {
    holder: LeaseHolder,
    renewed_at: Mono,
    next_id: u64,
    grants: Inbox<(u64, Grant)>,
    held: bool,
}

/// A proposal on its way to the leader, or its answer on the way back.
enum Flight {
    Proposal(Vec<PartitionChange>),
    Answer(Result<Applied, ()>),
}

pub(crate) struct Control {
    pub(crate) map: ClusterMap,
    /// The leader proposes what the planner says.
    pub(crate) plans: bool,
    /// Nodes run their coordinators.
    pub(crate) coordinates: bool,
    /// The leader fails over members whose lease has run out, and takes them back.
    pub(crate) fails_over: bool,
    /// Share of answers to proposals that are lost.
    pub(crate) lost_answers: f64,
    /// Longest a node lags behind the committed map.
    pub(crate) map_lag_max: Duration,
    granter: LeaseGranter,
    planned_at: Mono,
    flights: Vec<(Mono, usize, Flight)>,
    /// Everything that coordinators have proposed, for tests to look at.
    pub(crate) proposed: Vec<(usize, PartitionChange)>,
}

impl Control {
    pub(crate) fn new(now: Mono) -> Control {
        Control {
            map: ClusterMap::default(),
            plans: false,
            coordinates: false,
            fails_over: false,
            lost_answers: 0.0,
            map_lag_max: Duration::from_millis(3),
            granter: LeaseGranter::new(now, LEASE_DEFAULT, LEASE_MARGIN),
            planned_at: now,
            flights: Vec::new(),
            proposed: Vec::new(),
        }
    }
}

impl Cluster {
    /// Commits a command and sends the new map on its way to every node.
    pub(crate) fn commit(&mut self, command: &MapCommand) -> Applied {
        let before = self.control.map.version;
        let applied = self.control.map.apply(command);
        self.control.map.check().expect("the map is sound");
        if self.control.map.version != before {
            let map = Arc::new(self.control.map.clone());
            let now = self.now();
            for node in &mut self.nodes {
                let lag = self.random.below(self.control.map_lag_max.as_nanos() as u64 + 1);
                node.maps.push(now + Duration::from_nanos(lag), Arc::clone(&map));
            }
        }
        applied
    }

    /// Commits one change of the partition of `key`, which must be applied.
    pub(crate) fn change(&mut self, key: &str, op: cluster::map::PartitionOp) {
        let partition = self.partition_of(key);
        let expected = self.control.map.assignment(partition).expect("exists").epoch;
        let applied = self.commit(&MapCommand::Changes(vec![PartitionChange { partition, expected, op }]));
        let done = matches!(applied.outcomes[..], [cluster::map::ChangeOutcome::Applied { .. }]);
        assert!(done, "{op:?}: {applied:?}");
    }

    /// Sends a node the newest map.
    pub(super) fn send_map(&mut self, node: usize) {
        let lag = self.random.below(self.control.map_lag_max.as_nanos() as u64 + 1);
        let arrives = self.now() + Duration::from_nanos(lag);
        self.nodes[node].maps.push(arrives, Arc::new(self.control.map.clone()));
    }

    /// Gives a node the newest map at once.
    pub(crate) fn deliver_map(&mut self, node: usize) {
        self.nodes[node].maps = Inbox::default();
        self.nodes[node].shared.apply_map(Arc::new(self.control.map.clone()));
        self.refresh_lease(node);
    }

    /// Waits out a node's lease, which it can no longer renew, and commits that it is down.
    pub(crate) fn fail_over(&mut self, node: usize) {
        let id = super::id(node);
        self.control.granter.condemn(id);
        self.until("the lease runs out", |cluster| {
            cluster.control.granter.safe_to_fail_over(id, cluster.clock.mono())
        });
        self.commit(&MapCommand::NodeDown { node: id, incarnation: 1 });
    }

    /// Takes a node back that is down.
    pub(crate) fn take_back(&mut self, node: usize) {
        self.commit(&MapCommand::Register { member: member(node) });
        self.control.granter.pardon(super::id(node));
    }

    /// What the control plane does in one round.
    pub(super) fn control_round(&mut self) {
        let now = self.now();
        self.fly(now);
        for node in 0..self.nodes.len() {
            if self.nodes[node].paused {
                continue;
            }
            if !self.nodes[node].isolated {
                self.renew_lease(node, now);
                while let Some(map) = self.nodes[node].maps.pop(now) {
                    self.nodes[node].shared.apply_map(map);
                }
            }
            self.refresh_lease(node);
            self.decide_on_users(node);
            if self.control.coordinates && self.random.chance(0.2) {
                self.coordinate(node, now);
            }
        }
        if self.control.plans && now.since(self.control.planned_at) >= PLAN_PERIOD {
            self.control.planned_at = now;
            let changes = planner::plan(&self.control.map, PlanLimits::default());
            if !changes.is_empty() {
                self.commit(&MapCommand::Changes(changes));
            }
        }
        if self.control.fails_over {
            self.watch_members(now);
        }
    }

    fn renew_lease(&mut self, node: usize, now: Mono) {
        let lease = &mut self.nodes[node].lease;
        if now.since(lease.renewed_at) >= LEASE_RENEWAL_INTERVAL {
            lease.renewed_at = now;
            lease.next_id += 1;
            lease.holder.sent(lease.next_id, now);
            let granted = self.control.granter.renew(super::id(node), 1, now, now, &self.control.map);
            if let Ok(grant) = granted {
                let arrives = now + Duration::from_micros(self.random.below(3_000));
                lease.grants.push(arrives, (lease.next_id, grant));
            }
        }
        while let Some((id, grant)) = lease.grants.pop(now) {
            lease.holder.granted(id, grant);
        }
    }

    /// Tells the data plane until when it may serve by the map it has.
    fn refresh_lease(&mut self, node: usize) {
        let now = self.now();
        let node = &mut self.nodes[node];
        match node.lease.holder.valid_until(node.shared.map().version) {
            Some(until) => node.shared.lease().extend(until),
            None => node.shared.lease().revoke(),
        }
        let held = node.shared.lease().holds(now);
        if held && !std::mem::replace(&mut node.lease.held, held) {
            node.shared.changed();
        }
        node.lease.held = held;
    }

    /// Commits the changes of users that a node has proposed; from one that is cut off they get nowhere.
    fn decide_on_users(&mut self, node: usize) {
        let proposals = std::mem::take(&mut *self.nodes[node].proposals.lock().expect("one thread"));
        for (update, answer) in proposals {
            if self.nodes[node].isolated {
                answer(UsersOutcome::Failed("no quorum answers".to_owned()));
                continue;
            }
            let version = update.expected + 1;
            let refused = self.commit(&MapCommand::SetUsers(update)).refused;
            answer(if refused.is_some() { UsersOutcome::Stale } else { UsersOutcome::Agreed(version) });
        }
    }

    fn coordinate(&mut self, node: usize, now: Mono) {
        let changes = self.nodes[node].coordinator.next(now);
        if changes.is_empty() {
            return;
        }
        self.control.proposed.extend(changes.iter().map(|change| (node, change.clone())));
        let arrives = now + Duration::from_micros(self.random.below(2_000));
        let flight =
            if self.nodes[node].isolated { Flight::Answer(Err(())) } else { Flight::Proposal(changes) };
        self.control.flights.push((arrives, node, flight));
    }

    fn fly(&mut self, now: Mono) {
        let (due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.control.flights).into_iter().partition(|(at, ..)| *at <= now);
        self.control.flights = waiting;
        for (_, node, flight) in due {
            match flight {
                Flight::Proposal(changes) => {
                    let is_lost = self.random.chance(self.control.lost_answers);
                    // A lost answer says nothing about the proposal: half of them never got there.
                    let answer = if is_lost && self.random.chance(0.5) {
                        Err(())
                    } else {
                        let applied = self.commit(&MapCommand::Changes(changes));
                        if is_lost { Err(()) } else { Ok(applied) }
                    };
                    let arrives = now + Duration::from_micros(self.random.below(2_000));
                    self.control.flights.push((arrives, node, Flight::Answer(answer)));
                }
                Flight::Answer(answer) => self.nodes[node].coordinator.resolved(answer),
            }
        }
    }

    fn watch_members(&mut self, now: Mono) {
        for id in self.control.granter.overdue(&self.control.map, now, OVERDUE_AFTER) {
            self.control.granter.condemn(id);
        }
        let members: Vec<NodeId> = self.control.map.members.keys().copied().collect();
        for id in members {
            let node = super::index_of(id);
            let is_down = !self.control.map.is_alive(id);
            if !is_down && self.control.granter.safe_to_fail_over(id, now) {
                self.commit(&MapCommand::NodeDown { node: id, incarnation: 1 });
            } else if is_down && !self.nodes[node].paused && !self.nodes[node].isolated {
                self.take_back(node);
            }
        }
    }
}
