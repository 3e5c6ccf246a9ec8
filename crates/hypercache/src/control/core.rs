//! What the parts of the control plane share: one per running node.

use cluster::raft::RaftHandle;
use cluster::{ClusterMap, Member};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use stdx::{Clock, MapVersion, Mono, NodeId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use super::events::EventBus;
use super::gossip;
use super::leader::Reign;
use super::link::{Links, Target};
use super::plane::{DataLinks, Plane};
use super::rpc::Peers;
use super::stats::Board;
use crate::config::Config;

/// The part of the configuration that the control plane keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) partitions: u16,
    pub(super) replication_factor: u8,
    /// Length of a lease.
    pub(super) lease: Duration,
    /// How often it is renewed.
    pub(super) lease_renew: Duration,
    /// Wait beyond its end.
    pub(super) failover_margin: Duration,
    /// Whether seeds were named: such a node never creates a cluster.
    pub(super) joins: bool,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Settings {
        Settings {
            partitions: config.partitions,
            replication_factor: config.replication_factor,
            lease: config.lease,
            lease_renew: config.lease_renew,
            failover_margin: config.failover_margin,
            joins: !config.join.is_empty(),
        }
    }
}

/// The control plane of this node.
pub(super) struct Core {
    pub(super) settings: Settings,
    /// This node as it registers.
    pub(super) me: Member,
    pub(super) clock: Clock,
    pub(super) plane: Arc<dyn Plane>,
    pub(super) data: Arc<dyn DataLinks>,
    pub(super) raft: RaftHandle,
    pub(super) peers: Peers,
    pub(super) links: Arc<Links>,
    pub(super) gossip: gossip::View,
    pub(super) gossip_commands: mpsc::Sender<gossip::Command>,
    pub(super) events: Arc<EventBus>,
    pub(super) board: Board,
    /// What this node does as leader, while it leads.
    pub(super) reign: Mutex<Option<Reign>>,
    /// Wakes the lease task: the map has changed in a way that asks for a new registration, or a leader was found.
    pub(super) renew_now: Notify,
    /// Version of the map that the data plane serves by.
    pub(super) in_force: watch::Sender<MapVersion>,
    /// A graceful leave was accepted.
    pub(super) leaving: AtomicBool,
    /// The lease is given up and never extended again. A lock, so that no grant on its way can revive it.
    pub(super) retired: Mutex<bool>,
    /// Why, if it is to do with this node's own disk.
    pub(super) failure: std::sync::OnceLock<String>,
    /// Told once a graceful leave is done.
    pub(super) exit: Arc<Notify>,
    pub(super) tasks: Tasks,
}

impl Core {
    /// Where to dial `node`: gossip knows its present address before the map does.
    pub(super) fn target_of(&self, node: NodeId, known: SocketAddr) -> Target {
        Target { node, incarnation: 0, http: self.gossip.http(node).unwrap_or(known) }
    }

    /// A node's name for messages.
    pub(super) fn name_of(&self, map: &ClusterMap, node: NodeId) -> String {
        map.member(node).map_or_else(|| super::hex::node(node), |member| member.name.clone())
    }

    /// Whether the map has this process as a member that serves.
    pub(super) fn is_registered(&self, map: &ClusterMap) -> bool {
        map.member(self.me.node)
            .is_some_and(|member| member.incarnation == self.me.incarnation && member.is_alive())
    }

    /// Stops renewing the lease and gives it up.
    pub(super) fn retire(&self) {
        let mut retired = self.retired.lock();
        *retired = true;
        self.plane.revoke_lease();
    }

    pub(super) fn is_retired(&self) -> bool {
        *self.retired.lock()
    }

    /// The lease holds until `until`, unless it has been given up.
    pub(super) fn extend_lease(&self, until: Mono) {
        let retired = self.retired.lock();
        if !*retired {
            self.plane.extend_lease(until);
        }
    }
}

/// Tasks that end with the control plane. They run on the runtime it was started on, whoever asks for them.
pub(super) struct Tasks {
    runtime: Handle,
    running: Mutex<Vec<AbortHandle>>,
}

impl Tasks {
    /// Tasks on the present runtime.
    pub(super) fn here() -> Tasks {
        Tasks { runtime: Handle::current(), running: Mutex::default() }
    }

    /// Runs `task` until it ends or the control plane stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock();
        running.retain(|task| !task.is_finished());
        running.push(self.runtime.spawn(task).abort_handle());
    }

    /// Stops all of them.
    pub(super) fn abort_all(&self) {
        self.running.lock().drain(..).for_each(|task| task.abort());
    }
}
