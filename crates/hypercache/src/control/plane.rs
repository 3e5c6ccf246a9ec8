//! What the control plane needs of the data plane, and the node crate's way of giving it.
//!
//! Behind a trait, so that a whole cluster of control planes can be tested in one process without keys and workers.

use cluster::map::PartitionChange;
use cluster::{Applied, ClusterMap};
use node::stats::BUCKETS;
use node::{Coordinator, LinkPeer, Shared};
use parking_lot::Mutex;
use std::net::TcpStream;
use std::sync::Arc;
use stdx::{Clock, Mono};

/// The data plane of this node.
pub trait Plane: Send + Sync + 'static {
    /// The clock that leases are measured by.
    fn clock(&self) -> Clock;
    /// Takes a newer map; when this returns, nothing is served by an older one.
    fn apply_map(&self, map: Arc<ClusterMap>);
    /// The lease holds until `until`.
    fn extend_lease(&self, until: Mono);
    /// There is no lease any more.
    fn revoke_lease(&self);
    /// Whether what this node owns may be served at `now`.
    fn may_serve(&self, now: Mono) -> bool;
    /// Publishes a message to subscribers on this node.
    fn announce(&self, channel: &[u8], message: &[u8]);
    /// Changes that this node wants as primary; at most one batch is outstanding.
    fn next_changes(&self, now: Mono) -> Vec<PartitionChange>;
    /// The outcome of that batch; `Err` if it is not known.
    fn resolved(&self, result: Result<Applied, ()>);
    /// Counters for the statistics.
    fn sample(&self) -> Sample;
}

/// Who takes established data links.
pub trait DataLinks: Send + Sync + 'static {
    /// Number of workers.
    fn workers(&self) -> usize;
    /// Takes a link in non-blocking mode for a worker. `early` was read behind the handshake.
    fn adopt(&self, worker: usize, stream: TcpStream, peer: LinkPeer, early: Vec<u8>);
}

impl DataLinks for crate::io::Handle {
    fn workers(&self) -> usize {
        crate::io::Handle::workers(self)
    }

    fn adopt(&self, worker: usize, stream: TcpStream, peer: LinkPeer, early: Vec<u8>) {
        self.adopt_link(worker, stream, peer, early);
    }
}

/// Counters at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// Commands executed so far.
    pub commands: u64,
    /// Reads that found their key, so far.
    pub hits: u64,
    /// Reads that did not, so far.
    pub misses: u64,
    /// Keys this node is primary of.
    pub keys: u64,
    /// Bytes of data held.
    pub memory_bytes: u64,
    /// Clients connected.
    pub connections: u64,
    /// Latencies of all commands so far, by bucket.
    pub latency: Vec<u64>,
}

/// The data plane made of a node's shared state.
pub(super) struct NodePlane {
    shared: Arc<Shared>,
    coordinator: Mutex<Coordinator>,
}

impl NodePlane {
    pub(super) fn new(shared: Arc<Shared>) -> NodePlane {
        let coordinator = Mutex::new(Coordinator::new(Arc::clone(&shared)));
        NodePlane { shared, coordinator }
    }
}

impl Plane for NodePlane {
    fn clock(&self) -> Clock {
        self.shared.clock().clone()
    }

    fn apply_map(&self, map: Arc<ClusterMap>) {
        self.shared.apply_map(map);
    }

    fn extend_lease(&self, until: Mono) {
        let lease = self.shared.lease();
        let was_held = lease.holds(self.shared.clock().mono());
        if until > lease.until() {
            lease.extend(until);
        }
        if !was_held {
            self.shared.changed();
        }
    }

    fn revoke_lease(&self) {
        self.shared.lease().revoke();
        self.shared.changed();
    }

    fn may_serve(&self, now: Mono) -> bool {
        self.shared.may_serve(now)
    }

    fn announce(&self, channel: &[u8], message: &[u8]) {
        self.shared.announce(channel, message);
    }

    fn next_changes(&self, now: Mono) -> Vec<PartitionChange> {
        self.coordinator.lock().next(now)
    }

    fn resolved(&self, result: Result<Applied, ()>) {
        self.coordinator.lock().resolved(result);
    }

    fn sample(&self) -> Sample {
        let stats = self.shared.stats();
        let mut latency = vec![0; BUCKETS];
        for command in 0..commands::table::count() {
            let (buckets, ..) = stats.buckets(command);
            latency.iter_mut().zip(buckets).for_each(|(sum, count)| *sum += count);
        }
        let info = self.shared.info();
        Sample {
            commands: info.stats.commands_processed,
            hits: info.stats.keyspace_hits,
            misses: info.stats.keyspace_misses,
            keys: info.keyspace.iter().map(|db| db.keys).sum(),
            memory_bytes: info.memory.dataset,
            connections: info.clients.connected,
            latency,
        }
    }
}
