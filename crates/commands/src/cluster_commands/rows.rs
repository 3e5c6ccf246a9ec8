//! The rows of CLUSTER. What changes a map by hand in Redis is refused, with what changes it here: members do.

use crate::server::rows::{EMPTY, HELP_SUMMARY, LOADING_STALE, NONDETERMINISTIC, reply_help};
use crate::table::{Command, Flags, Group, Run};
use stdx::crc16::slot_of;

const NO_SLOTS: &str = "ERR slots are not assigned by hand: they follow from the members of the cluster, see \
    'hypercache cluster status'.";
const NO_MEET: &str =
    "ERR CLUSTER MEET is not supported: nodes find each other by gossip, see the directive 'join'.";
const NO_FORGET: &str = "ERR CLUSTER FORGET is not supported: see 'hypercache cluster leave' for a node that runs and \
    'hypercache cluster forget' for one that is lost.";
const NO_FAILOVER: &str = "ERR CLUSTER FAILOVER is not supported: when a node is lost its replicas take over by \
    themselves, and 'hypercache cluster leave' hands over what a node has.";
const NO_REPLICATE: &str = "ERR CLUSTER REPLICATE is not supported: every node holds copies for others, see the \
    directive 'replication-factor'.";
const NO_RESET: &str = "ERR CLUSTER RESET is not supported: see 'hypercache cluster leave'.";
const NO_EPOCH: &str =
    "ERR epochs are not set by hand: they rise with every change of owners that the cluster agrees on.";
const NO_SAVE: &str =
    "ERR CLUSTER SAVECONFIG is not supported: what the cluster agrees on is on disk already.";

const CHANGES: Flags = Flags::ADMIN.with(Flags::STALE).with(Flags::NO_ASYNC_LOADING);
const ASKS: Flags = Flags::ADMIN.with(Flags::STALE);

const BASE: Command =
    Command { arity: 2, flags: Flags::STALE, group: Group::Cluster, since: "3.0.0", ..EMPTY };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "cluster",
    arity: -2,
    flags: Flags::NONE,
    complexity: "Depends on subcommand.",
    summary: "A container for Redis Cluster commands.",
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "cluster|addslots",
        arity: -3,
        flags: CHANGES,
        complexity: "O(N) where N is the total number of hash slot arguments",
        summary: "Assigns new hash slots to a node.",
        run: Run::Session(|_, _, reply| reply.error(NO_SLOTS)),
        ..BASE
    },
    Command {
        name: "cluster|addslotsrange",
        arity: -4,
        flags: CHANGES,
        since: "7.0.0",
        complexity: "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
        summary: "Assigns new hash slot ranges to a node.",
        run: Run::Session(|_, _, reply| reply.error(NO_SLOTS)),
        ..BASE
    },
    Command {
        name: "cluster|bumpepoch",
        arity: 2,
        flags: CHANGES,
        summary: "Advances the cluster config epoch.",
        tips: NONDETERMINISTIC,
        run: Run::Session(|_, _, reply| reply.error(NO_EPOCH)),
        ..BASE
    },
    Command {
        name: "cluster|count-failure-reports",
        arity: 3,
        flags: ASKS,
        complexity: "O(N) where N is the number of failure reports",
        summary: "Returns the number of active failure reports for a node. No new reports are created once the node is marked as failed.",
        tips: NONDETERMINISTIC,
        run: Run::Session(super::count_failure_reports),
        ..BASE
    },
    Command {
        name: "cluster|countkeysinslot",
        arity: 3,
        summary: "Returns the number of keys in a hash slot.",
        run: Run::Session(super::count_keys_in_slot),
        ..BASE
    },
    Command {
        name: "cluster|delslots",
        arity: -3,
        flags: CHANGES,
        complexity: "O(N) where N is the total number of hash slot arguments",
        summary: "Sets hash slots as unbound for a node.",
        run: Run::Session(|_, _, reply| reply.error(NO_SLOTS)),
        ..BASE
    },
    Command {
        name: "cluster|delslotsrange",
        arity: -4,
        flags: CHANGES,
        since: "7.0.0",
        complexity: "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
        summary: "Sets hash slot ranges as unbound for a node.",
        run: Run::Session(|_, _, reply| reply.error(NO_SLOTS)),
        ..BASE
    },
    Command {
        name: "cluster|failover",
        arity: -2,
        flags: CHANGES,
        summary: "Forces a replica to perform a manual failover of its master.",
        run: Run::Session(|_, _, reply| reply.error(NO_FAILOVER)),
        ..BASE
    },
    Command {
        name: "cluster|flushslots",
        arity: 2,
        flags: CHANGES,
        summary: "Deletes all slots information from a node.",
        run: Run::Session(|_, _, reply| reply.error(NO_SLOTS)),
        ..BASE
    },
    Command {
        name: "cluster|forget",
        arity: 3,
        flags: CHANGES,
        summary: "Removes a node from the nodes table.",
        run: Run::Session(|_, _, reply| reply.error(NO_FORGET)),
        ..BASE
    },
    Command {
        name: "cluster|getkeysinslot",
        arity: 4,
        complexity: "O(N) where N is the number of requested keys",
        summary: "Returns the key names in a hash slot.",
        tips: NONDETERMINISTIC,
        run: Run::Session(super::get_keys_in_slot),
        ..BASE
    },
    Command {
        name: "cluster|help",
        flags: LOADING_STALE,
        since: "5.0.0",
        summary: HELP_SUMMARY,
        run: Run::Session(|_, _, reply| reply_help(reply, "CLUSTER", HELP)),
        ..BASE
    },
    Command {
        name: "cluster|info",
        summary: "Returns information about the state of a node.",
        tips: NONDETERMINISTIC,
        run: Run::Session(super::info),
        ..BASE
    },
    Command {
        name: "cluster|keyslot",
        arity: 3,
        complexity: "O(N) where N is the number of bytes in the key",
        summary: "Returns the hash slot for a key.",
        run: Run::Session(|_, args, reply| reply.integer(i64::from(slot_of(args.at(2)).0))),
        ..BASE
    },
    Command {
        name: "cluster|links",
        arity: 2,
        since: "7.0.0",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Returns a list of all TCP links to and from peer nodes.",
        tips: NONDETERMINISTIC,
        run: Run::Session(|_, _, reply| reply.array(0)),
        ..BASE
    },
    Command {
        name: "cluster|meet",
        arity: -4,
        flags: CHANGES,
        summary: "Forces a node to handshake with another node.",
        run: Run::Session(|_, _, reply| reply.error(NO_MEET)),
        ..BASE
    },
    Command {
        name: "cluster|myid",
        summary: "Returns the ID of a node.",
        run: Run::Session(super::my_id),
        ..BASE
    },
    Command {
        name: "cluster|myshardid",
        since: "7.2.0",
        summary: "Returns the shard ID of a node.",
        tips: NONDETERMINISTIC,
        // Every node is a master towards clients, so its shard is named after itself.
        run: Run::Session(super::my_id),
        ..BASE
    },
    Command {
        name: "cluster|nodes",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Returns the cluster configuration for a node.",
        tips: NONDETERMINISTIC,
        run: Run::Session(super::nodes),
        ..BASE
    },
    Command {
        name: "cluster|replicas",
        arity: 3,
        flags: ASKS,
        since: "5.0.0",
        complexity: "O(N) where N is the number of replicas.",
        summary: "Lists the replica nodes of a master node.",
        tips: NONDETERMINISTIC,
        run: Run::Session(super::replicas),
        ..BASE
    },
    Command {
        name: "cluster|replicate",
        arity: 3,
        flags: CHANGES,
        summary: "Configures a node as replica of a master node or detaches a replica from its master.",
        run: Run::Session(|_, _, reply| reply.error(NO_REPLICATE)),
        ..BASE
    },
    Command {
        name: "cluster|reset",
        arity: -2,
        flags: Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::STALE),
        complexity: "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
        summary: "Resets a node.",
        run: Run::Session(|_, _, reply| reply.error(NO_RESET)),
        ..BASE
    },
    Command {
        name: "cluster|saveconfig",
        arity: 2,
        flags: CHANGES,
        summary: "Forces a node to save the cluster configuration to disk.",
        run: Run::Session(|_, _, reply| reply.error(NO_SAVE)),
        ..BASE
    },
    Command {
        name: "cluster|set-config-epoch",
        arity: 3,
        flags: CHANGES,
        summary: "Sets the configuration epoch for a new node.",
        run: Run::Session(|_, _, reply| reply.error(NO_EPOCH)),
        ..BASE
    },
    Command {
        name: "cluster|setslot",
        arity: -4,
        flags: CHANGES,
        summary: "Binds a hash slot to a node.",
        run: Run::Session(|_, _, reply| reply.error(NO_SLOTS)),
        ..BASE
    },
    Command {
        name: "cluster|shards",
        since: "7.0.0",
        complexity: "O(N) where N is the total number of cluster nodes",
        summary: "Returns the mapping of cluster slots to shards.",
        tips: NONDETERMINISTIC,
        run: Run::Session(super::shards),
        ..BASE
    },
    Command {
        name: "cluster|slaves",
        arity: 3,
        flags: ASKS,
        complexity: "O(N) where N is the number of replicas.",
        summary: "Lists the replica nodes of a master node.",
        tips: NONDETERMINISTIC,
        run: Run::Session(super::replicas),
        ..BASE
    },
    Command {
        name: "cluster|slots",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Returns the mapping of cluster slots to nodes.",
        tips: NONDETERMINISTIC,
        run: Run::Session(super::slots),
        ..BASE
    },
];

const HELP: &[&str] = &[
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Return number of failure reports for <node-id>.",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "LINKS",
    "    Return information about all network links between this node and its peers.",
    "    Output format is an array where each array element is a map containing attributes of a link",
    "MYID",
    "    Return the node id.",
    "MYSHARDID",
    "    Return the node's shard id.",
    "NODES",
    "    Return cluster configuration seen by node. Output format:",
    "    <id> <ip:port@bus-port[,hostname]> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SLOTS",
    "    Return information about slots range mappings. Each range is made of:",
    "    start, end, master and replicas IP addresses, ports and ids",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
];
