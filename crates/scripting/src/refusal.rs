//! The texts by which Redis refuses a script, or a command inside of one.
//!
//! Whether to refuse is the host's decision, since only it knows commands, roles and memory; the words are kept here with
//! those of the engine. Redis: `scriptPrepareForRun` and `scriptCall` in `script.c`.

use protocol::Value;

/// A reason not to run a script, or a command that a script calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Call: no command has this name.
    UnknownCommand,
    /// Call: too few or too many words.
    WrongArity,
    /// Call: the command's flags say `noscript`.
    NotFromScript,
    /// Call: a write in a script that may not write (`no-writes`, EVAL_RO, EVALSHA_RO, FCALL_RO).
    ReadOnlyScript,
    /// Call: the command may not run while the replica is stale.
    StaleReplica,
    /// Call: a key of another slot than the keys before, without `allow-cross-slot-keys`.
    CrossSlot,
    /// Call: a key that this node does not serve.
    NotLocal,
    /// Call: the cluster is down.
    ClusterDown,
    /// Call: a write while the cluster is down for writes.
    ClusterReadOnly,
    /// Run: `no-cluster` on a clustered node.
    NoCluster,
    /// Run: no `allow-stale` on a stale replica.
    NotStale,
    /// Run: no `no-writes` on a replica that takes no writes.
    WritesOnReplica,
    /// Run: no `no-writes`, by EVAL_RO, EVALSHA_RO or FCALL_RO.
    WritesByReadOnlyCommand,
    /// Run: neither `allow-oom` nor `no-writes` above `maxmemory`.
    OutOfMemory,
    /// EVALSHA of an unknown digest.
    NoScript,
    /// FCALL of an unknown function.
    NoFunction,
    /// SCRIPT KILL and FUNCTION KILL while nothing runs.
    NotBusy,
    /// SCRIPT KILL and FUNCTION KILL of a script that has written.
    Unkillable,
    /// Other commands while a script is busy.
    BusyScript,
    /// Other commands while a function is busy.
    BusyFunction,
}

impl Refusal {
    /// The text of the error, its code first.
    pub const fn text(self) -> &'static str {
        match self {
            Refusal::UnknownCommand => "ERR Unknown Redis command called from script",
            Refusal::WrongArity => "ERR Wrong number of args calling Redis command from script",
            Refusal::NotFromScript => "ERR This Redis command is not allowed from script",
            Refusal::ReadOnlyScript => "ERR Write commands are not allowed from read-only scripts.",
            Refusal::StaleReplica => "ERR Can not execute the command on a stale replica",
            Refusal::CrossSlot => "ERR Script attempted to access keys that do not hash to the same slot",
            Refusal::NotLocal => "ERR Script attempted to access a non local key in a cluster node",
            Refusal::ClusterDown => "ERR Script attempted to execute a command while the cluster is down",
            Refusal::ClusterReadOnly => {
                "ERR Script attempted to execute a write command while the cluster is down and readonly"
            }
            Refusal::NoCluster => "ERR Can not run script on cluster, 'no-cluster' flag is set.",
            Refusal::NotStale => {
                "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and 'allow-stale' flag is not \
                 set on the script."
            }
            Refusal::WritesOnReplica => "READONLY Can not run script with write flag on readonly replica",
            Refusal::WritesByReadOnlyCommand => {
                "ERR Can not execute a script with write flag using *_ro command."
            }
            Refusal::OutOfMemory => {
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
            }
            Refusal::NoScript => "NOSCRIPT No matching script. Please use EVAL.",
            Refusal::NoFunction => "ERR Function not found",
            Refusal::NotBusy => "NOTBUSY No scripts in execution right now.",
            Refusal::Unkillable => {
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
                 script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
            }
            Refusal::BusyScript => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
            }
            Refusal::BusyFunction => {
                "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
            }
        }
    }
}

impl From<Refusal> for Value {
    fn from(refusal: Refusal) -> Value {
        Value::Error(refusal.text().as_bytes().to_vec())
    }
}
