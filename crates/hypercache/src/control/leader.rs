//! What the Raft leader does for the cluster: grants leases, fails dead members over, plans moves, keeps the voters right.
//!
//! Decisions are made in [`Reign`], one per term; this carries them out. Everything it wants goes through Raft, so a
//! leader that has been replaced without knowing proposes in vain.

mod reign;

use cluster::MapCommand;
use cluster::raft::{Leadership, ProposeError, VoterStep};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Mono, NodeId};
use tokio::time::{sleep, timeout};

use super::core::Core;
use super::rpc::{Answer, Asker, Request};
use reign::Action;
pub(super) use reign::Reign;

/// Time between steps, unless the map changes first.
const STEP_PERIOD: Duration = Duration::from_millis(25);
/// Longest wait for the answer to a probe.
const PROBE_PATIENCE: Duration = Duration::from_millis(150);
/// Pause before a proposal whose outcome is not known is repeated.
const REPEAT_PAUSE: Duration = Duration::from_millis(50);

/// Acts as leader whenever this node leads.
pub(super) async fn run(core: Arc<Core>) {
    let mut maps = core.raft.watch();
    loop {
        if let Ok(Err(_)) = timeout(STEP_PERIOD, maps.changed()).await {
            return;
        }
        step(&core);
    }
}

fn step(core: &Arc<Core>) {
    let Some(leadership) = core.raft.leadership() else {
        *core.reign.lock() = None;
        return;
    };
    let map = core.raft.map();
    if !map.is_bootstrapped() {
        return;
    }
    let actions = with_reign(core, leadership, |reign| reign.step(&map, core.me.node, core.clock.mono()));
    for action in actions {
        match action {
            Action::Condemned(node) => {
                let name = core.name_of(&map, node);
                core.events.warn(format!("{name} neither renews its lease nor answers: it is failed over"));
            }
            other => {
                let (acting, term) = (Arc::clone(core), leadership.term);
                core.tasks.spawn(async move { perform(&acting, term, other).await });
            }
        }
    }
}

/// The present term's reign, begun if need be.
fn with_reign<R>(core: &Core, leadership: Leadership, act: impl FnOnce(&mut Reign) -> R) -> R {
    let mut held = core.reign.lock();
    let is_current = held.as_ref().is_some_and(|reign| reign.term == leadership.term);
    if !is_current {
        let (lease, margin) = (core.settings.lease, core.settings.failover_margin);
        *held = Some(Reign::new(leadership.term, leadership.since, lease, margin));
    }
    act(held.as_mut().expect("set above"))
}

/// Reports to the reign of `term`, if it still lasts.
fn report(core: &Core, term: u64, tell: impl FnOnce(&mut Reign)) {
    if let Some(reign) = core.reign.lock().as_mut().filter(|reign| reign.term == term) {
        tell(reign);
    }
}

async fn perform(core: &Arc<Core>, term: u64, action: Action) {
    match action {
        Action::Condemned(_) => {}
        Action::Probe { node, http, asked } => {
            let target = core.target_of(node, http);
            let answered = core.peers.ask(target, &Request::Probe, PROBE_PATIENCE).await.is_ok();
            report(core, term, |reign| reign.probed(node, asked, answered));
        }
        Action::NodeDown { node, incarnation } => {
            if fail_over(core, term, MapCommand::NodeDown { node, incarnation }).await {
                report(core, term, |reign| reign.failure_decided(node));
            }
        }
        Action::Plan(changes) => {
            if let Err(error) = core.raft.propose(MapCommand::Changes(changes)).await {
                tracing::debug!(%error, "plan not committed");
                sleep(REPEAT_PAUSE).await;
            }
            report(core, term, Reign::plan_resolved);
        }
        Action::Forget(node) => {
            match core.raft.propose(MapCommand::Forget { node }).await {
                Ok(applied) if applied.refused.is_none() => {}
                outcome => tracing::debug!(?outcome, "a drained member could not be forgotten"),
            }
            report(core, term, Reign::forget_resolved);
        }
        Action::Reconcile(down) => reconcile(core, term, &down).await,
    }
}

/// Proposes a failure until its outcome is known: true then. An entry whose answer was lost is decided once a later one
/// of the same term is.
async fn fail_over(core: &Arc<Core>, term: u64, command: MapCommand) -> bool {
    loop {
        match core.raft.propose(command.clone()).await {
            Ok(_) => return true,
            Err(ProposeError::Busy | ProposeError::Timeout) => {}
            Err(error @ (ProposeError::NotLeader { .. } | ProposeError::Stopped(_))) => {
                tracing::debug!(%error, "a failure could not be proposed");
                if core.raft.leadership().is_none_or(|leadership| leadership.term != term) {
                    return false;
                }
            }
        }
        sleep(REPEAT_PAUSE).await;
    }
}

async fn reconcile(core: &Arc<Core>, term: u64, down: &BTreeMap<NodeId, Duration>) {
    let step = core.raft.reconcile_voters(|node| down.get(&node).copied()).await;
    let mut changed = false;
    match step {
        Ok(VoterStep::None) => {}
        Ok(VoterStep::Nodes(_) | VoterStep::Removed(_)) => changed = true,
        Ok(VoterStep::Voters(voters)) => {
            changed = true;
            let map = core.raft.map();
            let names: Vec<String> = voters.iter().map(|node| core.name_of(&map, *node)).collect();
            core.events.info(format!("voters are {}", names.join(", ")));
        }
        Err(error) => tracing::debug!(%error, "voters not reconciled"),
    }
    let now: Mono = core.clock.mono();
    report(core, term, |reign| reign.reconciled(changed, now));
}

impl Core {
    /// Answers a request for a lease.
    pub(super) fn grant(&self, asker: Asker) -> Answer {
        let Some(leadership) = self.raft.leadership() else { return self.not_leader() };
        let (now, map) = (self.clock.mono(), self.raft.map());
        let (granted, pardoned) = with_reign(self, leadership, |reign| {
            let member = map.member(asker.node).filter(|member| member.incarnation == asker.incarnation);
            let pardoned = member.is_some_and(|member| reign.pardon(member));
            let granted =
                reign.granter.renew(asker.node, asker.incarnation, now, leadership.quorum_acked, &map);
            (granted, pardoned)
        });
        if pardoned {
            self.events
                .info(format!("{} is back in time: it is not failed over", self.name_of(&map, asker.node)));
        }
        Answer::Lease(granted)
    }
}
