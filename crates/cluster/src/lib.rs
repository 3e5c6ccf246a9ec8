//! Membership, Raft group, ring and cluster map: who is there, and who owns what.
//!
//! Gossip only suspects; what the Raft group commits decides. Must not know keys and values; it opens no socket and
//! writes no file: disk, transport and time come in through traits and arguments.
//!
//! - [`gossip`]: membership by probes and rumours.
//! - [`map`]: the cluster map and its transitions, the state of the Raft state machine.
//! - [`ring`]: where partitions should live, a pure function of the members.
//! - [`planner`]: the next steps from where they are to where they should be.
//! - [`lease`]: what lets a primary serve, and tells the others when it must have stopped.
//! - [`raft`]: the group that agrees on the map.

pub mod gossip;
pub mod lease;
pub mod map;
pub mod planner;
pub mod raft;
pub mod ring;

pub use map::{
    Applied, Assignment, ChangeOutcome, ClusterMap, MapCommand, Member, MemberState, PartitionChange,
    PartitionOp, Refusal, Role, RoleCounts, UserTable, UserUpdate,
};
