//! Renewing this node's lease, and taking each new version of the map into force.
//!
//! Both in one place, because a lease counts only together with the map: a grant names the version it needs, and what
//! the data plane is told is how long it may serve by the map it has.

use cluster::ClusterMap;
use cluster::lease::{LeaseHolder, LeaseRefusal};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use stdx::{MapVersion, Mono, NodeId};
use tokio::time::{sleep, timeout};

use super::core::Core;
use super::follow;
use super::rpc::{Answer, Request};

/// Pause after a renewal that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// The lease as it is held.
#[derive(Default)]
struct Held {
    holder: LeaseHolder,
    /// Version of the map in force.
    version: MapVersion,
}

/// Follows the map and renews the lease, for as long as this process is a member.
pub(super) async fn run(core: Arc<Core>) {
    let held = Mutex::new(Held::default());
    tokio::join!(follow_map(&core, &held), renew(&core, &held), watch(&core));
}

async fn follow_map(core: &Arc<Core>, held: &Mutex<Held>) {
    let mut maps = core.raft.watch();
    let mut follower = follow::Follower::default();
    let mut is_admitted = false;
    loop {
        let map: Arc<ClusterMap> = Arc::clone(&maps.borrow_and_update());
        core.links.set_cluster(map.cluster_id);
        // Until this process is registered, the map is an old one that the log is being replayed into: what it says
        // about this node means an earlier process, which may even have been alone and in need of no lease.
        let own = map.member(core.me.node);
        is_admitted = is_admitted || own.is_some_and(|own| own.incarnation == core.me.incarnation);
        if is_admitted {
            core.plane.apply_map(Arc::clone(&map));
            {
                let mut held = held.lock();
                held.version = map.version;
                extend(core, &held);
            }
            core.in_force.send_replace(map.version);
            follower.changed(core, &map);
        }
        if maps.changed().await.is_err() {
            return;
        }
    }
}

/// Tells the data plane how long it may serve.
fn extend(core: &Core, held: &Held) {
    if let Some(until) = held.holder.valid_until(held.version) {
        core.extend_lease(until);
    }
}

async fn renew(core: &Arc<Core>, held: &Mutex<Held>) {
    for id in 0u64.. {
        if core.is_retired() {
            return;
        }
        if !core.is_registered(&core.raft.map()) {
            core.register().await;
        }
        held.lock().holder.sent(id, core.clock.mono());
        let answer = core.ask_leader(Request::Lease, core.settings.lease_renew).await;
        let pause = match answer {
            Ok(Answer::Lease(Ok(grant))) => {
                let mut held = held.lock();
                held.holder.granted(id, grant);
                extend(core, &held);
                core.settings.lease_renew
            }
            Ok(Answer::Lease(Err(LeaseRefusal::NoQuorum))) => RETRY_PAUSE,
            Ok(Answer::Lease(Err(refusal))) => {
                tracing::debug!(?refusal, "lease refused");
                if !core.is_retired() {
                    core.register().await;
                }
                RETRY_PAUSE
            }
            Ok(other) => {
                tracing::warn!(?other, "unexpected answer to a lease request");
                core.settings.lease_renew
            }
            Err(obstacle) => {
                tracing::debug!(%obstacle, "lease not renewed");
                RETRY_PAUSE
            }
        };
        // Only a wish to be quicker: the time-out is the usual way out.
        let _ = timeout(pause, core.renew_now.notified()).await;
    }
}

/// Says when the lease is lost and when it is back, and who leads.
async fn watch(core: &Arc<Core>) {
    let mut was_held: Option<bool> = None;
    let mut lost_at = Mono::default();
    let mut leader: Option<NodeId> = None;
    while !core.is_retired() {
        let now = core.clock.mono();
        // Before this process is a member, what it knows of leaders is what its disk remembers.
        let is_member = *core.in_force.borrow() > MapVersion(0);
        let named = core.raft.leader().filter(|(node, _)| is_member && leader != Some(*node));
        if let Some((node, at)) = named {
            leader = Some(node);
            core.events.info(format!("{} leads the cluster (term {})", at.name, core.raft.term()));
        }
        let is_held = core.plane.may_serve(now);
        match (was_held, is_held) {
            (Some(true), false) => {
                lost_at = now;
                core.events
                    .warn("this node's lease has run out: it serves nothing until a leader grants a new one");
            }
            (Some(false), true) => {
                let gap_ms = now.since(lost_at).as_millis();
                core.events.info(format!("this node holds a lease again after {gap_ms} ms"));
            }
            _ => {}
        }
        if is_held || was_held.is_some() {
            was_held = Some(is_held);
        }
        sleep(RETRY_PAUSE * 2).await;
    }
}
