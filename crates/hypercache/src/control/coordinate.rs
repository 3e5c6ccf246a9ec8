//! Carries what this node wants as primary to the leader: promotions, hand-overs, replicas to be dropped.

use cluster::MapCommand;
use cluster::planner::is_settled;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

use super::core::Core;
use super::rpc::{Answer, Request};

/// Pause between looks while partitions move.
const BUSY_PERIOD: Duration = Duration::from_millis(5);
/// Pause while every partition is where it should be.
const QUIET_PERIOD: Duration = Duration::from_millis(20);
/// Longest wait for one batch. What becomes of it is then left to the map.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest wait for the map in which the changes are.
const MAP_PATIENCE: Duration = Duration::from_millis(200);

/// Runs for as long as the node does.
pub(super) async fn run(core: Arc<Core>) {
    let mut settled = (core.raft.map().version, false);
    loop {
        let changes = core.plane.next_changes(core.clock.mono());
        if changes.is_empty() {
            let map = core.raft.map();
            if map.version != settled.0 {
                settled = (map.version, is_settled(&map));
            }
            sleep(if settled.1 { QUIET_PERIOD } else { BUSY_PERIOD }).await;
            continue;
        }
        let request = Request::Propose(MapCommand::Changes(changes));
        let result = match core.ask_leader(request, PATIENCE).await {
            Ok(Answer::Applied(applied)) => {
                // The answer may overtake the map; judged by the old one, everything would look undecided.
                let mut versions = core.in_force.subscribe();
                let arrived = versions.wait_for(|version| *version >= applied.version);
                if timeout(MAP_PATIENCE, arrived).await.is_err() {
                    tracing::debug!("the map lags behind its changes");
                }
                Ok(applied)
            }
            Ok(other) => {
                tracing::warn!(?other, "changes of partitions were not accepted");
                Err(())
            }
            Err(obstacle) => {
                tracing::debug!(%obstacle, "changes of partitions are in doubt");
                Err(())
            }
        };
        core.plane.resolved(result);
    }
}
