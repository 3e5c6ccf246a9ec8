//! A node that is alone, without sockets or threads: for tests and benches that look at the worker itself.

use cluster::map::{ClusterMap, MapCommand, Member, MemberState};
use cluster::planner::{PlanLimits, is_settled, plan};
use node::{NodeConfig, Shared, Worker};
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, Epoch, NodeId, PartitionId};

#[path = "../harness/platform.rs"]
pub(crate) mod platform;

const ME: NodeId = NodeId(1);

/// The first worker of a node that is primary of all its partitions and was told to have so many workers.
pub(crate) fn single_node(clock: Clock, workers: usize) -> Worker {
    let config = config(workers);
    let shared = Shared::new(config, clock, Arc::new(platform::TestPlatform::default()), 7);
    shared.apply_map(Arc::new(map()));
    Worker::new(0, shared)
}

/// What such a node is told.
pub(crate) fn config(workers: usize) -> NodeConfig {
    NodeConfig {
        node: ME,
        name: "node-1".to_owned(),
        workers,
        wait_for_in_sync: true,
        forward_timeout: Duration::from_secs(2),
        resp_port: 6379,
    }
}

/// The map of its cluster.
pub(crate) fn map() -> ClusterMap {
    let mut map = ClusterMap::default();
    map.apply(&MapCommand::Bootstrap { cluster_id: 1, partitions: 256, replication_factor: 1 });
    map.apply(&MapCommand::Register { member: member(1, Vec::new()) });
    while !is_settled(&map) {
        map.apply(&MapCommand::Changes(plan(&map, PlanLimits::default())));
    }
    map
}

/// The node as its process of this number registers.
pub(crate) fn member(incarnation: u64, recovered: Vec<(PartitionId, Epoch)>) -> Member {
    let address = |port: u16| ([127, 0, 0, 1], port).into();
    Member {
        node: ME,
        incarnation,
        name: "node-1".to_owned(),
        zone: None,
        weight: 1,
        resp: address(6379),
        http: address(8080),
        gossip: address(7946),
        state: MemberState::Up,
        recovered,
    }
}
