//! Leaving on purpose: everything is moved away first, the others are told, then the process may end.

use cluster::planner::drained;
use cluster::{MapCommand, Refusal};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use stdx::NodeId;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::core::Core;
use super::rpc::{Answer, Request};
use super::{gossip, hex};

/// Longest wait for a change of membership to be accepted.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for all partitions to be moved away.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Longest wait for the farewell to spread.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Longest wait of a stopping node for the others to take over.
const GOODBYE_MAX: Duration = Duration::from_millis(700);

impl Core {
    /// Begins to leave; the rest happens by itself.
    pub(super) async fn leave(self: &Arc<Self>) -> Result<(), String> {
        let map = self.raft.map();
        if map.is_sole_member(self.me.node) {
            return Err(
                "this is the only member: its data would be lost. Stop the process instead".to_owned()
            );
        }
        if !self.is_registered(&map) {
            return Err("this node is not a member at present".to_owned());
        }
        self.change_members(MapCommand::Leave { node: self.me.node }).await?;
        if !self.leaving.swap(true, Ordering::AcqRel) {
            let core = Arc::clone(self);
            self.tasks.spawn(async move { core.finish_leave().await });
        }
        Ok(())
    }

    /// Removes a member for good, by name or id.
    pub(super) async fn forget(self: &Arc<Self>, node: &str) -> Result<(), String> {
        let map = self.raft.map();
        let by_name = map.members.values().find(|member| member.name == node).map(|member| member.node);
        let by_id = || hex::parse_number(node).map(NodeId).filter(|id| map.member(*id).is_some());
        let id = by_name.or_else(by_id).ok_or_else(|| format!("no member is called {node}"))?;
        if map.is_alive(id) && !drained(&map, id) {
            let name = self.name_of(&map, id);
            return Err(format!(
                "{name} is alive and holds partitions: it can leave, it cannot be forgotten"
            ));
        }
        self.change_members(MapCommand::Forget { node: id }).await
    }

    async fn change_members(self: &Arc<Self>, command: MapCommand) -> Result<(), String> {
        match self.ask_leader(Request::Propose(command), PATIENCE).await? {
            Answer::Applied(applied) => match applied.refused {
                None => Ok(()),
                Some(Refusal::NotServing) => Err("the node is down".to_owned()),
                Some(Refusal::StillHolds) => Err("the node still holds partitions".to_owned()),
                Some(Refusal::UnknownMember) => Err("there is no such member".to_owned()),
                Some(other) => Err(format!("refused: {other:?}")),
            },
            Answer::Refused(reason) => Err(reason),
            other => Err(format!("unexpected answer {other:?}")),
        }
    }

    async fn finish_leave(self: Arc<Self>) {
        let me = self.me.node;
        let mut maps = self.raft.watch();
        let emptied = maps.wait_for(|map| drained(map, me));
        match timeout(DRAIN_MAX, emptied).await {
            Ok(_) => self.events.info("everything has been moved away from this node; it leaves"),
            Err(_elapsed) => {
                let left = self.raft.map().partitions_of(me).count();
                self.events
                    .error(format!("this node leaves although {left} partitions could not be moved away"));
            }
        }
        // The others' maps send nobody here any more; forwarded commands under way find their new primaries.
        self.retire();
        let (done, spread) = oneshot::channel();
        if self.gossip_commands.send(gossip::Command::Leave(done)).await.is_ok()
            && timeout(FAREWELL_MAX, spread).await.is_err()
        {
            tracing::warn!("the farewell could not be spread in time");
        }
        self.exit.notify_one();
    }

    /// Says that this process stops and serves no more, so that the others need not wait for its lease to end.
    pub(super) async fn say_goodbye(self: &Arc<Self>) {
        self.retire();
        let map = self.raft.map();
        if map.is_sole_member(self.me.node)
            || !self.is_registered(&map)
            || self.leaving.load(Ordering::Acquire)
        {
            return;
        }
        let down = MapCommand::NodeDown { node: self.me.node, incarnation: self.me.incarnation };
        if let Err(obstacle) = self.ask_leader(Request::Propose(down), GOODBYE_MAX).await {
            tracing::info!(%obstacle, "the others will notice by themselves that this node has stopped");
        }
    }
}
