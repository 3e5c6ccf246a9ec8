//! The commands that change the cluster map, and what came of them: the payload of the Raft log.
//!
//! Encoded with serde, because they are control plane: a handful a second at most, and readable in a log dump.

use serde::{Deserialize, Serialize};
use stdx::{Epoch, MapVersion, NodeId, PartitionId};

use super::{Member, UserUpdate};

/// One entry of the Raft log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MapCommand {
    /// Creates the cluster: the first command, refused ever after.
    Bootstrap {
        /// Random, not zero.
        cluster_id: u64,
        /// A power of two, at most 16384.
        partitions: u16,
        /// Copies of every partition, the primary included; at least 1.
        replication_factor: u8,
    },
    /// A node joins or returns. The state in `member` is ignored: it becomes up.
    ///
    /// A higher incarnation means its memory is lost: every role of the earlier one is void. Where it held the last
    /// in-sync copy it stays primary if it has recovered that copy ([`Member::recovered`]); if not, it becomes primary of
    /// an empty partition, reported in [`Applied::data_lost`]. The same incarnation of a member that was down becomes up again and keeps only what it had not lost by going down.
    Register {
        /// The node as it describes itself.
        member: Member,
    },
    /// A member failed and its lease has run out. One command takes it out of every partition in which another
    /// in-sync member is alive; where it holds the last copy it stays, and the partition is unavailable.
    NodeDown {
        /// The failed member.
        node: NodeId,
        /// Its incarnation, so that a node that has returned meanwhile is not hit.
        incarnation: u64,
    },
    /// The member wants to leave: the planner moves everything away from it.
    Leave {
        /// The leaving member.
        node: NodeId,
    },
    /// Removes a member for good. Refused while it is alive and holds anything. A member that is down loses what it
    /// still held; last copies are lost and begin empty on another member.
    Forget {
        /// The member to remove.
        node: NodeId,
    },
    /// Changes users; refused if they have changed since the proposer looked.
    SetUsers(UserUpdate),
    /// Changes of single partitions, each applied or refused by itself.
    Changes(Vec<PartitionChange>),
}

/// A compare-and-set on one partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionChange {
    /// Which partition.
    pub partition: PartitionId,
    /// The epoch the proposer saw; another one refuses the change.
    pub expected: Epoch,
    /// What to do.
    pub op: PartitionOp,
}

/// A change of the owners of a partition; each raises its epoch by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PartitionOp {
    /// A member that is up starts to catch up.
    AddLearner(NodeId),
    /// A learner is no longer needed.
    RemoveLearner(NodeId),
    /// A learner that has caught up must confirm writes from now on; proposed by the primary.
    Promote(NodeId),
    /// An in-sync member other than the primary is taken out.
    DropInSync(NodeId),
    /// Another in-sync member that is up becomes primary; the old one stays in sync.
    HandOver {
        /// The new primary.
        to: NodeId,
    },
    /// Only raises the epoch: a primary makes sure that nothing older can be accepted.
    Assert,
    /// First assignment of an unowned partition, which begins empty.
    Assign {
        /// The first primary.
        primary: NodeId,
    },
}

/// Why a change or a whole command was refused. The map is unchanged by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// The cluster has not been created yet.
    NotBootstrapped,
    /// The cluster exists already.
    AlreadyBootstrapped,
    /// A number is outside its range.
    Invalid,
    /// No such partition.
    UnknownPartition,
    /// No such member.
    UnknownMember,
    /// An incarnation other than the current one (or, when registering, an older one).
    StaleIncarnation,
    /// The partition's epoch is not the expected one.
    StaleEpoch,
    /// The users have changed since the proposer looked.
    StaleUsers,
    /// The node does not have the role that the change starts from, or already has the one it leads to.
    WrongRole,
    /// The node is down or leaving, where one that serves is needed.
    NotServing,
    /// The member still holds partitions.
    StillHolds,
    /// The cluster has as many members as it is built for.
    TooManyMembers,
}

/// The result of one [`PartitionChange`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ChangeOutcome {
    /// Done.
    Applied {
        /// The partition's new epoch.
        epoch: Epoch,
    },
    /// Not done.
    Refused {
        /// Why.
        reason: Refusal,
        /// The partition's epoch, 0 if there is no such partition.
        epoch: Epoch,
    },
}

/// The result of one [`MapCommand`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Applied {
    /// Version of the map after the command; unchanged if the command changed nothing.
    pub version: MapVersion,
    /// Set if the command as a whole was refused.
    pub refused: Option<Refusal>,
    /// One per change of [`MapCommand::Changes`], in order; empty for other commands.
    pub outcomes: Vec<ChangeOutcome>,
    /// Partitions that lost their last copy and begin empty.
    pub data_lost: Vec<PartitionId>,
}
