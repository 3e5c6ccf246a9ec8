//! The Raft group that agrees on the cluster map: a thin handle over `openraft`.
//!
//! Every member of the cluster is in the group, one, three or five of them as voters and the rest as learners, so
//! everybody receives the map as it changes. Path of a change: [`RaftHandle::propose`] at the leader → log (durable here,
//! then at a quorum) → applied to the map on every node → [`RaftHandle::watch`].
//!
//! How a cluster begins and grows:
//! - One node, told to, calls [`RaftHandle::bootstrap`]: it makes itself the sole voter and registers itself.
//! - Any other node starts with an empty log and waits. Its request to join reaches the leader by other means, who
//!   calls [`RaftHandle::admit`]: the node becomes a learner and is registered in the map.
//! - The leader calls [`RaftHandle::reconcile_voters`] now and then, which moves voters towards the numbers above,
//!   one change at a time.
//!
//! Vote and log are durable before they are answered for. The node's id is kept beside the log, and an empty directory
//! means a new id: see [`LogDisk`].
//!
//! What a leader may do besides proposing needs more than being called one: see [`RaftHandle::leadership`].
//!
//! Left out: handing leadership over on request. A leader that leaves steps down once the change of voters without it
//! is committed, and the others elect a new one.

mod disk;
mod journal;
mod machine;
mod monitor;
mod network;
#[cfg(test)]
mod tests;
mod types;
mod voters;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError};
use openraft::{ChangeMembers, RaftMetrics, ServerState, SnapshotPolicy};
use stdx::NodeId;
use tokio::sync::watch;

use crate::map::{Applied, ClusterMap, MapCommand, Member};
use journal::Journal;
use machine::Machine;
use monitor::LeadershipCell;
use network::Network;

pub use disk::{LogDisk, MemoryDisk};
pub use network::RaftTransport;
pub use types::{
    Leadership, ProposeError, RaftConfig, RaftNode, RaftState, RaftStatus, StartError, TypeConfig,
};

/// A learner this many entries behind the leader may become a voter.
const CAUGHT_UP_ENTRIES: u64 = 64;
/// Longest time a snapshot may take to travel and be installed.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);
/// Entries kept behind a snapshot, so that a node that was away for a moment needs none.
const ENTRIES_KEPT: u64 = 500;
/// Longest wait for a node that has just created the cluster to lead it.
const FIRST_ELECTION_MAX: Duration = Duration::from_secs(5);

/// What [`RaftHandle::reconcile_voters`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VoterStep {
    /// Nothing: all is as it should be.
    None,
    /// These members receive the log now, or are reached at a new address.
    Nodes(Vec<NodeId>),
    /// These members vote now.
    Voters(Vec<NodeId>),
    /// These nodes are not part of the group any more.
    Removed(Vec<NodeId>),
}

/// This node's part in the Raft group; cheap to clone.
#[derive(Clone)]
pub struct RaftHandle {
    raft: openraft::Raft<TypeConfig>,
    config: Arc<RaftConfig>,
    map: watch::Receiver<Arc<ClusterMap>>,
    leadership: LeadershipCell,
    /// Held over every change of the group's membership, so that a node being admitted is not taken for one forgotten.
    membership: Arc<tokio::sync::Mutex<()>>,
}

type WriteError = RaftError<u64, ClientWriteError<u64, RaftNode>>;

impl RaftHandle {
    /// Starts this node's part: recovers the disk, then follows, or stands for election if it is a voter. Must be
    /// called on a tokio runtime, which it runs on.
    pub async fn start<T: RaftTransport>(
        config: RaftConfig,
        disk: Arc<dyn LogDisk>,
        transport: Arc<T>,
    ) -> Result<RaftHandle, StartError> {
        let library = library_config(&config)?;
        let journal = {
            let node = config.node.0;
            let opening = tokio::task::spawn_blocking(move || Journal::open(disk, node));
            opening.await.map_err(|error| StartError::Disk(std::io::Error::other(error)))??
        };
        let (machine, map) = Machine::new(Arc::clone(&journal));
        let network = Network(transport);
        let raft = openraft::Raft::new(config.node.0, Arc::new(library), network, journal, machine)
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        let leadership = LeadershipCell::default();
        tokio::spawn(monitor::watch(
            raft.clone(),
            config.clock.clone(),
            config.heartbeat,
            leadership.clone(),
        ));
        Ok(RaftHandle { raft, config: Arc::new(config), map, leadership, membership: Arc::default() })
    }

    /// Whether this node is, or has ever been, part of a cluster: its log is not empty.
    pub async fn is_initialized(&self) -> Result<bool, StartError> {
        self.raft.is_initialized().await.map_err(|error| StartError::Raft(error.to_string()))
    }

    /// Creates a cluster with this node as its only member. Never called because of gossip: two nodes that do it make
    /// two clusters. A node that stopped half-way through may do it again; one that is part of a cluster may not.
    pub async fn bootstrap(
        &self,
        cluster_id: u64,
        partitions: u16,
        replication_factor: u8,
        me: Member,
    ) -> Result<Applied, StartError> {
        let id = self.config.node.0;
        let group = BTreeMap::from([(id, RaftNode::from(&me))]);
        match self.raft.initialize(group).await {
            Ok(()) => {}
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                let is_alone = self.voters() == BTreeSet::from([id]);
                if !is_alone || self.map().is_bootstrapped() {
                    return Err(StartError::AlreadyMember);
                }
            }
            Err(error) => return Err(StartError::Raft(error.to_string())),
        }
        let elected = self.raft.wait(Some(FIRST_ELECTION_MAX));
        let leads = |metrics: &RaftMetrics<u64, RaftNode>| monitor::led_term(metrics).is_some();
        elected
            .metrics(leads, "the creator leads")
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        let create = MapCommand::Bootstrap { cluster_id, partitions, replication_factor };
        let created = self.propose(create).await.map_err(StartError::Propose)?;
        match created.refused {
            None => {}
            Some(crate::Refusal::AlreadyBootstrapped) => return Err(StartError::AlreadyMember),
            Some(_) => {
                let reason =
                    format!("{partitions} partitions with {replication_factor} copies are not possible");
                return Err(StartError::Config(reason));
            }
        }
        self.propose(MapCommand::Register { member: me }).await.map_err(StartError::Propose)
    }

    /// Commits `command` and returns what came of it. Only the leader can; waits at most the configured time.
    pub async fn propose(&self, command: MapCommand) -> Result<Applied, ProposeError> {
        let written = self.bounded(self.raft.client_write(command)).await?;
        Ok(written.data)
    }

    /// Admits a node that wants to join or to rejoin, at the leader: it receives the log from now on, and is
    /// registered in the map. The answer is that of [`MapCommand::Register`].
    pub async fn admit(&self, member: Member) -> Result<Applied, ProposeError> {
        let _changing = self.membership.lock().await;
        if !self.is_leader() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        // A stale process must not redirect the log of its successor.
        let known = self.map().member(member.node).map(|known| known.incarnation);
        if known.is_none_or(|incarnation| incarnation <= member.incarnation) {
            self.set_nodes(BTreeMap::from([(member.node.0, RaftNode::from(&member))])).await?;
        }
        self.propose(MapCommand::Register { member }).await
    }

    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<(NodeId, RaftNode)> {
        let metrics = self.metrics();
        let leader = metrics.current_leader?;
        let node = metrics.membership_config.membership().get_node(&leader).cloned().unwrap_or_default();
        Some((NodeId(leader), node))
    }

    /// Whether this node thinks it leads. It may have been replaced without knowing: see [`RaftHandle::leadership`].
    pub fn is_leader(&self) -> bool {
        self.metrics().state == ServerState::Leader
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.metrics().current_term
    }

    /// This node's leadership, if it leads, has applied everything committed before its term, and a quorum has confirmed
    /// it. How long ago that was decides what may still be done: nothing beyond proposing, unless it was recent.
    pub fn leadership(&self) -> Option<Leadership> {
        self.leadership.get(monitor::led_term(&self.metrics())?)
    }

    /// The latest applied map.
    pub fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.map.borrow())
    }

    /// Follows the map. Versions may be skipped.
    pub fn watch(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.map.clone()
    }

    /// A summary for people and metrics.
    pub fn status(&self) -> RaftStatus {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        RaftStatus {
            state: match metrics.state {
                ServerState::Learner => RaftState::Learner,
                ServerState::Follower => RaftState::Follower,
                ServerState::Candidate => RaftState::Candidate,
                ServerState::Leader => RaftState::Leader,
                ServerState::Shutdown => RaftState::Shutdown,
            },
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId),
            last_log: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |log_id| log_id.index),
            voters: ids(&membership.voter_ids().collect()),
            learners: membership.learner_ids().map(NodeId).collect(),
            fault: metrics.running_state.err().map(|fault| fault.to_string()),
        }
    }

    /// Resolves with the reason once the group has stopped on this node, be it a failed disk or a shutdown.
    pub async fn stopped(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fault) = &metrics.borrow_and_update().running_state {
                return fault.to_string();
            }
            if metrics.changed().await.is_err() {
                return "raft has stopped".into();
            }
        }
    }

    /// Answers a request of another node, carried here by its [`RaftTransport`].
    pub async fn serve(&self, request: &[u8]) -> Vec<u8> {
        network::serve(&self.raft, self.config.node.0, request).await
    }

    /// Takes the next step towards the right members and voters of the group, at the leader: at most one change per call.
    /// `down_for` says how long a member has been down.
    ///
    /// Nodes in the map are in the group; those forgotten are removed. A voter that leaves or is forgotten is replaced
    /// at once; one that is down after the configured time, if another member is up. Former voters stay learners as
    /// long as they are members, because they still follow the map. A leader that must not stay steps down.
    pub async fn reconcile_voters(
        &self,
        down_for: impl Fn(NodeId) -> Option<Duration>,
    ) -> Result<VoterStep, ProposeError> {
        let _changing = self.membership.lock().await;
        let map = self.map();
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        if map.members.is_empty() {
            return Ok(VoterStep::None);
        }
        let membership = metrics.membership_config.membership();
        let is_missing = |member: &&Member| {
            membership.get_node(&member.node.0).is_none_or(|node| *node != RaftNode::from(*member))
        };
        let missing: BTreeMap<u64, RaftNode> =
            map.members.values().filter(is_missing).map(|member| (member.node.0, member.into())).collect();
        if !missing.is_empty() {
            let added = missing.keys().copied().map(NodeId).collect();
            self.set_nodes(missing).await?;
            return Ok(VoterStep::Nodes(added));
        }
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let chosen = voters::choose(&voters::Situation {
            map: &map,
            leader: metrics.id,
            voters: &voters,
            caught_up: &caught_up(&metrics),
            down_for,
            replace_after: self.config.voter_replace_after,
        });
        // A change that lost its leader half-way left both the old and the new voters in charge; finish it.
        if chosen != voters || membership.get_joint_config().len() > 1 {
            // Former voters go on as learners, except with the leader itself among them: the library lets a leader that is
            // still a learner lead on. Whoever leads next takes those that are members in again.
            let retain = chosen.contains(&metrics.id);
            let step = VoterStep::Voters(ids(&chosen));
            self.change(ChangeMembers::ReplaceAllVoters(chosen), retain).await?;
            return Ok(step);
        }
        let is_gone = |id: &u64| !map.members.contains_key(&NodeId(*id));
        let gone: BTreeSet<u64> = membership.learner_ids().filter(is_gone).collect();
        if gone.is_empty() {
            return Ok(VoterStep::None);
        }
        let step = VoterStep::Removed(ids(&gone));
        self.change(ChangeMembers::RemoveNodes(gone), true).await?;
        Ok(step)
    }

    /// Stops this node's part; what is on disk stays.
    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the raft group did not stop cleanly");
        }
    }

    /// Adds nodes as learners, or gives known ones a new address; nothing if all is so already.
    async fn set_nodes(&self, nodes: BTreeMap<u64, RaftNode>) -> Result<(), ProposeError> {
        let membership = Arc::clone(&self.metrics().membership_config);
        let is_known = |(id, node): (&u64, &RaftNode)| membership.membership().get_node(id) == Some(node);
        if nodes.iter().all(is_known) {
            return Ok(());
        }
        // An id is never reused for another log, so that a new address cannot make two voters of one.
        self.change(ChangeMembers::SetNodes(nodes), true).await
    }

    async fn change(&self, change: ChangeMembers<u64, RaftNode>, retain: bool) -> Result<(), ProposeError> {
        // Asked of the core itself, which does one thing after the other: a leader that has put itself out leads on until
        // that is committed, and must not be asked for another change meanwhile.
        let me = self.config.node.0;
        let is_part = self.raft.with_raft_state(move |state| {
            state.membership_state.effective().membership().get_node(&me).is_some()
        });
        match tokio::time::timeout(self.config.propose_timeout, is_part).await {
            Err(_elapsed) => return Err(ProposeError::Timeout),
            Ok(Err(fatal)) => return Err(ProposeError::Stopped(fatal.to_string())),
            Ok(Ok(false)) => return Err(ProposeError::NotLeader { leader: None }),
            Ok(Ok(true)) => {}
        }
        self.bounded(self.raft.change_membership(change, retain)).await?;
        Ok(())
    }

    async fn bounded<R>(
        &self,
        write: impl Future<Output = Result<R, WriteError>>,
    ) -> Result<R, ProposeError> {
        match tokio::time::timeout(self.config.propose_timeout, write).await {
            Err(_elapsed) => Err(ProposeError::Timeout),
            Ok(Ok(written)) => Ok(written),
            Ok(Err(RaftError::Fatal(fatal))) => Err(ProposeError::Stopped(fatal.to_string())),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                let leader = to.leader_id.map(|id| (NodeId(id), to.leader_node.unwrap_or_default()));
                Err(ProposeError::NotLeader { leader })
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                // Another change is not committed yet, or a node has vanished meanwhile: the next look will tell.
                if !matches!(error, ChangeMembershipError::InProgress(_)) {
                    tracing::warn!(%error, "membership change refused");
                }
                Err(ProposeError::Busy)
            }
        }
    }

    /// A copy, so that the library's lock on its metrics is never held for long.
    fn metrics(&self) -> RaftMetrics<u64, RaftNode> {
        self.raft.metrics().borrow().clone()
    }

    fn voters(&self) -> BTreeSet<u64> {
        self.metrics().membership_config.membership().voter_ids().collect()
    }
}

impl std::fmt::Debug for RaftHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftHandle").field("node", &self.config.node).field("status", &self.status()).finish()
    }
}

fn ids(set: &BTreeSet<u64>) -> Vec<NodeId> {
    set.iter().copied().map(NodeId).collect()
}

/// Nodes that have nearly all of the leader's log.
fn caught_up(metrics: &RaftMetrics<u64, RaftNode>) -> BTreeSet<u64> {
    let last = metrics.last_log_index.unwrap_or(0);
    let is_near = |matched: u64| matched + CAUGHT_UP_ENTRIES >= last;
    let progress = metrics.replication.iter().flatten();
    let near = progress.filter(|(_, matched)| matched.is_some_and(|matched| is_near(matched.index)));
    near.map(|(id, _)| *id).collect()
}

fn library_config(config: &RaftConfig) -> Result<openraft::Config, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    openraft::Config {
        cluster_name: "hypercache".into(),
        heartbeat_interval: ms(config.heartbeat),
        election_timeout_min: ms(config.election_min),
        election_timeout_max: ms(config.election_max),
        install_snapshot_timeout: ms(SNAPSHOT_TIMEOUT),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_entries),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT.min(config.snapshot_entries),
        replication_lag_threshold: config.snapshot_entries.saturating_mul(2),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| StartError::Config(error.to_string()))
}
