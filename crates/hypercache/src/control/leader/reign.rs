//! The decisions of a leader during one term: who has failed, what to plan, whom to forget. No I/O.
//!
//! A member is failed over only on this leader's own evidence: it has not renewed its lease for a while, and does not
//! answer this leader either. Then it gets no more leases, all it may still have are waited out, and only then its
//! failure is proposed. One that asks for a lease before that is pardoned.

use cluster::lease::LeaseGranter;
use cluster::planner::{PlanLimits, drained, plan};
use cluster::{ClusterMap, Member, MemberState, PartitionChange};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use stdx::{MapVersion, Mono, NodeId};

/// Silence after which a member is probed.
const PROBE_AFTER: Duration = Duration::from_millis(400);
/// Silence after which a member that does not answer probes either is given up. Well before its lease ends, so that
/// the wait for that end is all that a fail-over takes.
const CONDEMN_AFTER: Duration = Duration::from_millis(600);
/// A member that answers probes but renews nothing for so long is given up all the same.
const STUBBORN_AFTER: Duration = Duration::from_secs(2);
/// Time between probes of one member.
const PROBE_PERIOD: Duration = Duration::from_millis(100);
/// A step that comes this much after the one before: this process stood still, and what it has not heard proves nothing.
const STALL: Duration = Duration::from_millis(300);
/// How long a drained member stays, so that it hears that it is drained.
const FORGET_AFTER: Duration = Duration::from_millis(300);
/// Time between looks at the voters.
const RECONCILE_PERIOD: Duration = Duration::from_millis(200);

/// What a leader has to do now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Ask whether the member is there.
    Probe {
        node: NodeId,
        http: SocketAddr,
        /// To be given back with the answer.
        asked: Mono,
    },
    /// Tell people that the member is given up.
    Condemned(NodeId),
    /// Propose its failure until the outcome is known.
    NodeDown { node: NodeId, incarnation: u64 },
    /// Propose these changes.
    Plan(Vec<PartitionChange>),
    /// Propose to remove a member that has left.
    Forget(NodeId),
    /// Look at the voters; these members have been down for so long.
    Reconcile(BTreeMap<NodeId, Duration>),
}

/// What this leader has learnt about a silent member.
#[derive(Clone, Copy, Debug)]
struct Probe {
    since: Mono,
    asked: Mono,
    is_open: bool,
    has_failed: bool,
}

/// One term of leadership; dropped with it.
pub(in super::super) struct Reign {
    pub(super) term: u64,
    pub(super) granter: LeaseGranter,
    stepped_at: Mono,
    /// Since when each living member is there in its present incarnation, as far as this reign has seen.
    alive_since: BTreeMap<NodeId, (u64, Mono)>,
    probes: BTreeMap<NodeId, Probe>,
    /// Failures that are proposed and whose outcome is not known.
    failing: BTreeSet<NodeId>,
    down_since: BTreeMap<NodeId, Mono>,
    drained_since: BTreeMap<NodeId, Mono>,
    /// The map for which there was nothing to plan.
    planned: Option<MapVersion>,
    planning: bool,
    forgetting: bool,
    reconciling: bool,
    reconcile_at: Mono,
}

impl Reign {
    /// A term that began at `since`; `lease` and `margin` as at every node.
    pub(super) fn new(term: u64, since: Mono, lease: Duration, margin: Duration) -> Reign {
        Reign {
            term,
            granter: LeaseGranter::new(since, lease, margin),
            stepped_at: since,
            alive_since: BTreeMap::new(),
            probes: BTreeMap::new(),
            failing: BTreeSet::new(),
            down_since: BTreeMap::new(),
            drained_since: BTreeMap::new(),
            planned: None,
            planning: false,
            forgetting: false,
            reconciling: false,
            reconcile_at: since,
        }
    }

    /// What to do at `now`, by the leader `me`'s latest map.
    pub(super) fn step(&mut self, map: &ClusterMap, me: NodeId, now: Mono) -> Vec<Action> {
        if now.since(self.stepped_at) > STALL {
            self.probes.clear();
        }
        self.stepped_at = now;
        self.note_members(map, now);
        let mut actions = Vec::new();
        self.judge(map, me, now, &mut actions);
        self.fail_over(map, now, &mut actions);
        if !self.planning && self.planned != Some(map.version) {
            let changes = plan(map, PlanLimits::default());
            self.planning = !changes.is_empty();
            if changes.is_empty() {
                self.planned = Some(map.version);
            } else {
                actions.push(Action::Plan(changes));
            }
        }
        if !self.forgetting {
            // The leader itself goes once another leads: its voters are changed first.
            let gone =
                self.drained_since.iter().find(|(node, at)| **node != me && now.since(**at) >= FORGET_AFTER);
            if let Some((node, _)) = gone {
                self.forgetting = true;
                actions.push(Action::Forget(*node));
            }
        }
        if !self.reconciling && now >= self.reconcile_at {
            self.reconciling = true;
            let down = self.down_since.iter().map(|(node, at)| (*node, now.since(*at)));
            actions.push(Action::Reconcile(down.collect()));
        }
        actions
    }

    /// A member asks for a lease: it is alive after all, unless its failure is on its way already. True if it had been
    /// given up.
    pub(super) fn pardon(&mut self, member: &Member) -> bool {
        let pardoned = member.is_alive()
            && self.granter.is_condemned(member.node)
            && !self.failing.contains(&member.node);
        if pardoned {
            self.granter.pardon(member.node);
        }
        pardoned
    }

    /// The probe sent at `asked` was answered, or was not in time.
    pub(super) fn probed(&mut self, node: NodeId, asked: Mono, answered: bool) {
        if let Some(probe) = self.probes.get_mut(&node).filter(|probe| probe.asked == asked) {
            probe.is_open = false;
            probe.has_failed = !answered;
        }
    }

    /// The outcome of a proposed failure is known.
    pub(super) fn failure_decided(&mut self, node: NodeId) {
        self.failing.remove(&node);
    }

    /// The proposed plan was answered, or its answer was lost.
    pub(super) fn plan_resolved(&mut self) {
        self.planning = false;
    }

    /// The proposal to forget was answered, or its answer was lost.
    pub(super) fn forget_resolved(&mut self) {
        self.forgetting = false;
    }

    /// The voters were looked at; at once again if something was changed.
    pub(super) fn reconciled(&mut self, changed: bool, now: Mono) {
        self.reconciling = false;
        self.reconcile_at = if changed { now } else { now + RECONCILE_PERIOD };
    }

    fn note_members(&mut self, map: &ClusterMap, now: Mono) {
        self.granter.retain_members(map);
        let state = |node: &NodeId| map.member(*node).map(|member| member.state);
        self.down_since.retain(|node, _| state(node) == Some(MemberState::Down));
        self.drained_since.retain(|node, _| state(node) == Some(MemberState::Leaving));
        self.alive_since.retain(|node, (incarnation, _)| {
            map.member(*node).is_some_and(|member| member.is_alive() && member.incarnation == *incarnation)
        });
        for member in map.members.values().filter(|member| member.is_alive()) {
            self.alive_since.entry(member.node).or_insert((member.incarnation, now));
        }
        for (node, member) in &map.members {
            match member.state {
                MemberState::Down => {
                    self.down_since.entry(*node).or_insert(now);
                    if !self.failing.contains(node) {
                        // Its state refuses it leases until it registers again, and then it deserves them.
                        self.granter.pardon(*node);
                    }
                }
                MemberState::Leaving if drained(map, *node) => {
                    self.drained_since.entry(*node).or_insert(now);
                }
                MemberState::Leaving | MemberState::Up => {}
            }
        }
    }

    /// Probes silent members and gives up those that do not answer.
    fn judge(&mut self, map: &ClusterMap, me: NodeId, now: Mono, actions: &mut Vec<Action>) {
        let mut silent = self.silent(map, now, PROBE_AFTER);
        silent.retain(|node| *node != me && !self.granter.is_condemned(*node));
        self.probes.retain(|node, _| silent.contains(node));
        for node in &silent {
            let Some(member) = map.member(*node) else { continue };
            let is_due = match self.probes.get(node) {
                None => true,
                Some(probe) => !probe.is_open && now.since(probe.asked) >= PROBE_PERIOD,
            };
            if is_due {
                let since = self.probes.get(node).map_or(now, |probe| probe.since);
                let has_failed = self.probes.get(node).is_some_and(|probe| probe.has_failed);
                self.probes.insert(*node, Probe { since, asked: now, is_open: true, has_failed });
                actions.push(Action::Probe { node: *node, http: member.http, asked: now });
            }
        }
        for node in self.silent(map, now, CONDEMN_AFTER) {
            let Some(probe) = self.probes.get(&node) else { continue };
            if probe.has_failed || now.since(probe.since) >= STUBBORN_AFTER {
                self.granter.condemn(node);
                self.probes.remove(&node);
                actions.push(Action::Condemned(node));
            }
        }
    }

    /// Living members that have not renewed for `after`. What an earlier incarnation has not done, or one that was
    /// down, is not held against the present one.
    fn silent(&self, map: &ClusterMap, now: Mono, after: Duration) -> Vec<NodeId> {
        let mut silent = self.granter.overdue(map, now, after);
        silent.retain(|node| self.alive_since.get(node).is_some_and(|(_, since)| now.since(*since) >= after));
        silent
    }

    /// Proposes the failure of members that surely serve no more: one command each.
    fn fail_over(&mut self, map: &ClusterMap, now: Mono, actions: &mut Vec<Action>) {
        for member in map.members.values().filter(|member| member.is_alive()) {
            let node = member.node;
            if self.granter.safe_to_fail_over(node, now) && self.failing.insert(node) {
                actions.push(Action::NodeDown { node, incarnation: member.incarnation });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::MapCommand;

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);
    const LEASE: Duration = Duration::from_millis(1_000);
    const MARGIN: Duration = Duration::from_millis(150);
    const START: Mono = Mono(5_000_000_000);

    fn at(ms: u64) -> Mono {
        START + Duration::from_millis(ms)
    }

    /// Two members, one partition each way settled on nobody's behalf: planning stays out of the picture.
    fn map() -> ClusterMap {
        let mut map = ClusterMap::default();
        map.apply(&MapCommand::Bootstrap { cluster_id: 1, partitions: 1, replication_factor: 1 });
        for node in [ME, OTHER] {
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            let member = Member {
                node,
                incarnation: 1,
                name: format!("n{node}"),
                zone: None,
                weight: 1,
                resp: address,
                http: address,
                gossip: address,
                state: MemberState::Up,
                recovered: Vec::new(),
            };
            map.apply(&MapCommand::Register { member });
        }
        while let changes @ [_, ..] = &plan(&map, PlanLimits::default())[..] {
            map.apply(&MapCommand::Changes(changes.to_vec()));
        }
        map
    }

    /// Steps every 25 ms from `from` to `to`; the other member renews its lease and answers probes as told. Returns what
    /// happened when, without probes and looks at voters.
    fn run(
        reign: &mut Reign,
        map: &ClusterMap,
        (from, to): (u64, u64),
        renews: bool,
        answers: bool,
    ) -> Vec<(u64, Action)> {
        let mut seen = Vec::new();
        for ms in (from..=to).step_by(25) {
            if renews {
                let member = map.member(OTHER).expect("registered");
                reign.pardon(member);
                reign.granter.renew(OTHER, 1, at(ms), at(ms), map).expect("alive");
            }
            for action in reign.step(map, ME, at(ms)) {
                match action {
                    Action::Probe { node, asked, .. } => reign.probed(node, asked, answers),
                    Action::Reconcile(_) => reign.reconciled(false, at(ms)),
                    other => seen.push((ms, other)),
                }
            }
        }
        seen
    }

    fn reign() -> Reign {
        Reign::new(3, START, LEASE, MARGIN)
    }

    #[test]
    fn a_dead_member_is_failed_over_as_soon_as_its_lease_is_over() {
        let (mut reign, map) = (reign(), map());
        assert_eq!(run(&mut reign, &map, (0, 1_000), true, true), []);
        // Killed just after a renewal at 1000 ms: its lease ends at 2000, the margin at 2150.
        let seen = run(&mut reign, &map, (1_025, 3_000), false, false);
        let down = Action::NodeDown { node: OTHER, incarnation: 1 };
        assert_eq!(seen, [(1_600, Action::Condemned(OTHER)), (2_150, down)], "and proposed once");
    }

    #[test]
    fn a_member_that_answers_is_given_time_to_renew() {
        let (mut reign, map) = (reign(), map());
        run(&mut reign, &map, (0, 1_000), true, true);
        assert_eq!(run(&mut reign, &map, (1_025, 3_350), false, true), []);
        let seen = run(&mut reign, &map, (3_375, 3_500), false, true);
        assert_eq!(seen[0], (3_400, Action::Condemned(OTHER)), "it answers but renews nothing");
    }

    #[test]
    fn a_member_that_returns_before_its_failure_is_proposed_is_pardoned() {
        let (mut reign, map) = (reign(), map());
        run(&mut reign, &map, (0, 1_000), true, true);
        assert_eq!(run(&mut reign, &map, (1_025, 2_000), false, false), [(1_600, Action::Condemned(OTHER))]);
        assert_eq!(run(&mut reign, &map, (2_025, 5_000), true, true), []);
        // Once proposed it is too late: no lease until the outcome is known and it has registered again.
        run(&mut reign, &map, (5_025, 6_500), false, false);
        let member = map.member(OTHER).expect("registered");
        assert!(!reign.pardon(member) && reign.granter.is_condemned(OTHER));
        let mut after = map.clone();
        after.apply(&MapCommand::NodeDown { node: OTHER, incarnation: 1 });
        reign.step(&after, ME, at(6_525));
        assert!(reign.granter.is_condemned(OTHER), "another proposal may be on its way");
        reign.failure_decided(OTHER);
        reign.step(&after, ME, at(6_550));
        assert!(!reign.granter.is_condemned(OTHER));
        after.apply(&MapCommand::Register { member: member.clone() });
        reign.granter.renew(OTHER, 1, at(6_575), at(6_575), &after).expect("alive again");
    }

    #[test]
    fn a_leader_that_stood_still_does_not_blame_the_others() {
        let (mut reign, map) = (reign(), map());
        run(&mut reign, &map, (0, 1_000), true, true);
        run(&mut reign, &map, (1_025, 1_500), false, false);
        // Stopped for ten seconds with a failed probe in hand; at once after, the other answers and renews.
        assert_eq!(run(&mut reign, &map, (11_500, 11_500), false, true), []);
        assert_eq!(run(&mut reign, &map, (11_525, 12_500), true, true), []);
    }

    #[test]
    fn a_member_that_has_just_come_is_given_time_for_its_first_lease() {
        let (mut reign, mut map) = (reign(), map());
        run(&mut reign, &map, (0, 1_000), true, true);
        run(&mut reign, &map, (1_025, 4_000), false, false);
        reign.failure_decided(OTHER);
        map.apply(&MapCommand::NodeDown { node: OTHER, incarnation: 1 });
        assert_eq!(run(&mut reign, &map, (4_025, 8_000), false, false), []);
        let returned = Member { incarnation: 2, ..map.member(OTHER).expect("remembered").clone() };
        map.apply(&MapCommand::Register { member: returned });
        let seen = run(&mut reign, &map, (8_025, 9_000), false, false);
        let down = Action::NodeDown { node: OTHER, incarnation: 2 };
        assert_eq!(seen, [(8_625, Action::Condemned(OTHER)), (8_625, down)], "it never held a lease");
    }

    #[test]
    fn a_drained_member_is_forgotten_and_the_leader_is_not() {
        let (mut reign, mut map) = (reign(), map());
        let holder = map.assignments[0].primary.expect("assigned");
        let idle = if holder == ME { OTHER } else { ME };
        map.apply(&MapCommand::Leave { node: idle });
        let seen: Vec<_> = (0..40).flat_map(|i| reign.step(&map, holder, at(i * 25))).collect();
        assert!(seen.contains(&Action::Forget(idle)), "{seen:?}");
        let mut own = self::reign();
        let seen: Vec<_> = (0..40).flat_map(|i| own.step(&map, idle, at(i * 25))).collect();
        assert!(!seen.contains(&Action::Forget(idle)), "{seen:?}");
    }
}
