//! Becoming a member: creating a cluster, joining one, or coming back.
//!
//! Only a node without seeds and without a past creates a cluster. Every other one asks the leader to be registered, as
//! often as it takes; whom to ask it learns from gossip, or from the Raft group it was part of.

use cluster::Refusal;
use cluster::raft::StartError;
use std::sync::Arc;
use std::time::Duration;
use stdx::random::entropy_u64;
use tokio::time::{sleep, timeout};

use super::core::Core;
use super::hex;
use super::rpc::{Answer, Request};

/// Longest one attempt to register may take.
const REGISTER_PATIENCE: Duration = Duration::from_secs(3);
/// Longest wait for the own map to show a registration that was answered.
const MAP_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Attempts, each with its own pauses, after which a failure is worth a warning; then again after twice as many.
const WARN_AFTER_ATTEMPTS: u32 = 2;

impl Core {
    /// Creates a cluster if this node is to: `knows_others` says whether a snapshot named members.
    pub(super) async fn bootstrap_if_due(self: &Arc<Self>, knows_others: bool) -> Result<(), StartError> {
        let is_initialized = self.raft.is_initialized().await?;
        // A log with this node as the only voter: either its own cluster, or one it had begun to create.
        let is_alone = self.raft.status().voters == [self.me.node];
        let is_due = !self.settings.joins && !knows_others && !is_initialized;
        if !is_due && !is_alone {
            return Ok(());
        }
        let cluster_id = entropy_u64().max(1);
        let (partitions, copies) = (self.settings.partitions, self.settings.replication_factor);
        match self.raft.bootstrap(cluster_id, partitions, copies, self.me.clone()).await {
            Ok(_) => {
                self.links.set_cluster(cluster_id);
                self.events.info(format!(
                    "cluster {} created with {partitions} partitions and replication factor {copies}",
                    hex::number(cluster_id)
                ));
                Ok(())
            }
            Err(StartError::AlreadyMember) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks to be registered until the map has this process as a serving member.
    pub(super) async fn register(self: &Arc<Self>) {
        let mut warn_at = WARN_AFTER_ATTEMPTS;
        for attempt in 1u32.. {
            if self.is_retired() {
                return;
            }
            let request = Request::Register(Box::new(self.me.clone()));
            let obstacle = match self.ask_leader(request, REGISTER_PATIENCE).await {
                Ok(Answer::Applied(applied)) => match applied.refused {
                    None if self.sees_itself().await => return,
                    None => "the map has not arrived".to_owned(),
                    Some(Refusal::StaleIncarnation) => {
                        "another process runs under this node's id, and was started later".to_owned()
                    }
                    Some(refusal) => format!("refused: {refusal:?}"),
                },
                Ok(Answer::Refused(reason)) => reason,
                Ok(other) => format!("unexpected answer {other:?}"),
                Err(obstacle) => obstacle,
            };
            if attempt >= warn_at {
                warn_at = attempt.saturating_mul(2);
                self.events.warn(format!("this node is not registered in a cluster yet: {obstacle}"));
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn sees_itself(&self) -> bool {
        let mut versions = self.in_force.subscribe();
        let seen = versions.wait_for(|_| self.is_registered(&self.raft.map()));
        matches!(timeout(MAP_PATIENCE, seen).await, Ok(Ok(_)))
    }
}
