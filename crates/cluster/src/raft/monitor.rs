//! Watches this node's leadership: since when it may be acted upon, and when a quorum last confirmed it.
//!
//! Two reports of the Raft library are not what they seem:
//! - Milliseconds since the last acknowledgement are counted up to a report whose own age is unknown. A process that was
//!   stopped (SIGSTOP, a paused virtual machine) would read an old report as fresh, and grant leases while another leader
//!   exists. So a leader asks for a round of confirmations itself (the library's read barrier) and takes the clock
//!   *before* it asks: whatever delays the answer makes the reading older, never newer.
//! - A leader that restarts leads on in its old term at once, although its map may lack what it had committed itself
//!   shortly before. So leadership counts only once everything that was in the log when it was noticed is applied.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::{RaftMetrics, ServerState};
use stdx::{Clock, Mono};

use super::types::{Leadership, RaftNode, TypeConfig};

/// Confirmation rounds are this many heartbeats apart.
const HEARTBEATS_PER_ROUND: u32 = 2;

/// The latest leadership, shared between the watching task and the handle.
#[derive(Clone, Default)]
pub(super) struct LeadershipCell(Arc<Mutex<Option<Watched>>>);

#[derive(Clone, Copy)]
struct Watched {
    term: u64,
    /// Last index of the log when the leadership was noticed: all that may have been committed before.
    barrier: u64,
    /// When that had been applied.
    since: Option<Mono>,
    quorum_acked: Option<Mono>,
}

impl LeadershipCell {
    /// The leadership of `term`, once it may be acted upon.
    pub(super) fn get(&self, term: u64) -> Option<Leadership> {
        let Watched { term, since, quorum_acked, .. } = self.lock().filter(|watched| watched.term == term)?;
        Some(Leadership { term, since: since?, quorum_acked: quorum_acked? })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this node leads now; true once it has applied what it must.
    fn observe(&self, metrics: &RaftMetrics<u64, RaftNode>, now: Mono) -> bool {
        let term = metrics.current_term;
        let mut cell = self.lock();
        let mut watched = cell.filter(|watched| watched.term == term).unwrap_or(Watched {
            term,
            barrier: metrics.last_log_index.unwrap_or(0),
            since: None,
            quorum_acked: None,
        });
        let is_applied = metrics.last_applied.is_some_and(|log_id| {
            let leader = log_id.leader_id;
            log_id.index >= watched.barrier && (leader.term, leader.node_id) == (term, metrics.id)
        });
        if is_applied && watched.since.is_none() {
            watched.since = Some(now);
        }
        *cell = Some(watched);
        watched.since.is_some()
    }

    fn confirm(&self, sent: Mono) {
        if let Some(watched) = self.lock().as_mut() {
            watched.quorum_acked = watched.quorum_acked.max(Some(sent));
        }
    }

    fn clear(&self) {
        *self.lock() = None;
    }
}

/// The term this node leads in, by its own account.
pub(super) fn led_term(metrics: &RaftMetrics<u64, RaftNode>) -> Option<u64> {
    let leads = metrics.running_state.is_ok() && metrics.state == ServerState::Leader;
    leads.then_some(metrics.current_term)
}

/// Runs until the group stops.
pub(super) async fn watch(
    raft: openraft::Raft<TypeConfig>,
    clock: Clock,
    heartbeat: Duration,
    cell: LeadershipCell,
) {
    let mut metrics = raft.metrics();
    loop {
        let now = clock.mono();
        let is_ready = {
            let metrics = metrics.borrow_and_update();
            let leads = led_term(&metrics).is_some();
            if !leads {
                cell.clear();
            }
            leads && cell.observe(&metrics, now)
        };
        if !is_ready {
            if metrics.changed().await.is_err() {
                return;
            }
            continue;
        }
        if raft.get_read_log_id().await.is_ok() {
            cell.confirm(now);
        }
        tokio::time::sleep(heartbeat * HEARTBEATS_PER_ROUND).await;
        if metrics.has_changed().is_err() {
            cell.clear();
            return;
        }
    }
}
