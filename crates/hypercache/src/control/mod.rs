//! The control plane of one node: membership, the Raft group, leases, links, and what people ask about them.
//!
//! ```text
//!   UDP ---- gossip ----> View ---------+                 +--> leader: leases, fail-over, plan, voters
//!                                       v                 |        (only while this node leads)
//!   HTTP --- link ------> rpc ------> relay <---> RaftHandle --- map ---> lease ---> data plane
//!             |                         ^                                  (apply the map, extend the lease)
//!             +--> data links           +--- coordinate: what this node wants as primary
//! ```
//!
//! Runs on the tokio runtime it is started on; nothing here is on the path of a command. The parts share a `Core` and
//! are small on purpose: decisions are made in plain state machines ([`cluster::gossip`], [`cluster::lease`],
//! [`cluster::planner`], `leader::reign`), the tasks here only carry bytes and time to them.
//!
//! Start: directory, gossip, Raft group; then the node creates a cluster, joins one or comes back (`join`). A node without
//! a lease serves nothing, so every step may take as long as it must.

mod coordinate;
mod core;
pub mod disk;
mod events;
mod follow;
mod gossip;
pub mod hex;
mod join;
mod leader;
mod lease;
mod leave;
mod link;
mod plane;
mod relay;
mod rpc;
mod stats;
mod status;
#[cfg(test)]
mod tests;
mod users;

use bytes::Bytes;
use cluster::gossip::{Config as GossipConfig, Identity, Stats as GossipStats, Timing};
use cluster::raft::{RaftConfig, RaftHandle, RaftNode, RaftStatus, RaftTransport, StartError};
use cluster::{Member, MemberState, UserUpdate};
use commands::host::NodeHealth;
use http_body_util::Full;
use hyper::{Request as HttpRequest, Response};
use node::{LinkPeer, Shared, UsersAnswer, WantedLink};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use stdx::random::entropy_u64;
use stdx::{Clock, Epoch, NodeId, PartitionId};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::{Notify, broadcast};

use crate::config::Config;
use crate::io::LinkRequest;
use core::{Core, Settings, Tasks};
use events::EventBus;
use link::{Greeted, Greeting, Kind, Link, Links, Target};
use plane::NodePlane;
use rpc::{Answer, Peers, Request};

pub use disk::{Disk, DiskError};
pub use events::{ClusterEvent, EVENTS_CHANNEL, EVENTS_RECENT_MAX};
pub use link::LINK_PATH;
pub use plane::{DataLinks, Plane, Sample};
pub use stats::{NodeStats, Percentiles};
pub use status::{MemberStatus, RingEntry, Status};

/// Longest a Raft request may take; the group's own limits are shorter.
const RAFT_PATIENCE: Duration = Duration::from_secs(5);
/// Commands waiting for the gossip task.
const GOSSIP_COMMANDS_MAX: usize = 4;
/// Data links being opened at once.
const DATA_DIALS_MAX: usize = 1_024;

/// Addresses that others are told, after the ports were bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// Where Redis clients connect.
    pub resp: SocketAddr,
    /// Where HTTP clients and other nodes connect.
    pub http: SocketAddr,
    /// Where gossip is exchanged.
    pub gossip: SocketAddr,
}

/// What a control plane is started with.
pub struct StartConfig<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The opened directory; its lock is held as long as the control plane lives.
    pub disk: Disk,
    /// Whole partitions that were recovered from the disk, each with the epoch in which its life began.
    pub recovered: Vec<(PartitionId, Epoch)>,
    /// The gossip socket, bound.
    pub gossip_socket: UdpSocket,
    /// Where this node is reached.
    pub addresses: Addresses,
    /// Who takes established data links.
    pub data: Arc<dyn DataLinks>,
    /// Data links that workers lack.
    pub link_requests: UnboundedReceiver<LinkRequest>,
    /// Told when a graceful leave is done and the process may end.
    pub exit: Arc<Notify>,
}

/// Why a control plane could not be started.
#[derive(Debug)]
pub enum ControlError {
    /// The gossip socket or its configuration.
    Gossip(io::Error),
    /// The Raft group.
    Raft(StartError),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Gossip(error) => write!(f, "gossip: {error}"),
            ControlError::Raft(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ControlError {}

/// The running control plane; cheap to clone.
#[derive(Clone)]
pub struct Control {
    core: Arc<Core>,
    /// Held for its lock.
    _disk: Arc<Disk>,
}

impl Control {
    /// Starts the control plane of a node. Returns once its directory is read and everything runs; the node then becomes
    /// a member by itself.
    pub async fn start(start: StartConfig<'_>, shared: Arc<Shared>) -> Result<Control, ControlError> {
        Control::start_on(start, Arc::new(NodePlane::new(shared))).await
    }

    /// As [`Control::start`], on any data plane.
    pub async fn start_on(start: StartConfig<'_>, plane: Arc<dyn Plane>) -> Result<Control, ControlError> {
        let StartConfig { config, disk, recovered, gossip_socket, addresses, data, link_requests, exit } =
            start;
        let clock = plane.clock();
        let me = member(config, &disk, addresses, recovered);
        let events = Arc::new(EventBus::new(Arc::clone(&plane), clock.clone()));
        let snapshot = disk.gossip_snapshot();
        let knows_others = snapshot.is_some();
        let setup = gossip::Setup {
            config: gossip_config(config, &me),
            socket: gossip_socket,
            clock: clock.clone(),
            events: Arc::clone(&events),
            seeds: config.join.clone(),
            dir: disk.dir().to_owned(),
            snapshot,
        };
        let runner = gossip::Runner::new(setup).map_err(ControlError::Gossip)?;
        let view = runner.view();
        let (gossip_commands, commands) = mpsc::channel(GOSSIP_COMMANDS_MAX);
        let open_allowed = !config.is_exposed() || config.allow_insecure_bind;
        let links =
            Arc::new(Links::new(me.node, me.incarnation, config.cluster_secret.expose(), open_allowed));
        let peers = Peers::new(Arc::clone(&links), clock.clone());
        let transport = Arc::new(Transport { peers: peers.clone(), gossip: view.clone() });
        let log = Arc::new(disk.raft_log());
        let raft = RaftHandle::start(raft_config(config, me.node, &clock), log, transport).await;
        let core = Arc::new(Core {
            settings: Settings::from(config),
            raft: raft.map_err(ControlError::Raft)?,
            me,
            clock,
            plane,
            data,
            peers,
            links,
            gossip: view,
            gossip_commands,
            events,
            board: stats::Board::default(),
            reign: Mutex::new(None),
            renew_now: Notify::new(),
            in_force: tokio::sync::watch::Sender::default(),
            leaving: false.into(),
            retired: false.into(),
            failure: std::sync::OnceLock::new(),
            exit,
            tasks: Tasks::here(),
        });
        core.tasks.spawn(runner.run(commands));
        spawn_tasks(&core, knows_others, link_requests);
        Ok(Control { core, _disk: Arc::new(disk) })
    }

    /// The cluster as `/api/cluster/status` shows it.
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// Who holds each partition.
    pub fn ring(&self) -> Vec<RingEntry> {
        self.core.ring()
    }

    /// Whether this node is a serving member under its present incarnation, holds its lease, and every partition has a
    /// living primary.
    pub fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    /// Whether this node may serve what it owns.
    pub fn is_healthy(&self) -> bool {
        self.failure().is_none()
            && self.core.raft.map().is_bootstrapped()
            && self.core.plane.may_serve(self.core.clock.mono())
    }

    /// Members that are alive.
    pub fn cluster_size(&self) -> usize {
        self.core.raft.map().members.values().filter(|member| member.is_alive()).count()
    }

    /// What is thought of a member.
    pub fn health(&self, node: NodeId) -> NodeHealth {
        self.core.health(&self.core.raft.map(), node)
    }

    /// Leaves the cluster. Returns once that is accepted; then everything is moved away, the farewell is spread, and the
    /// `exit` given at the start is notified.
    pub async fn leave(&self) -> Result<(), String> {
        self.core.leave().await
    }

    /// Removes a member that is down, or drained, for good; by name or hexadecimal id.
    pub async fn forget(&self, node: &str) -> Result<(), String> {
        self.core.forget(node).await
    }

    /// Proposes a change of users; `answer` gets what became of it.
    pub fn change_users(&self, update: UserUpdate, answer: UsersAnswer) {
        let core = Arc::clone(&self.core);
        self.core.tasks.spawn(async move { answer(core.change_users(update).await) });
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<ClusterEvent> {
        self.core.events.subscribe()
    }

    /// The latest events, oldest first, at most [`EVENTS_RECENT_MAX`].
    pub fn recent_events(&self) -> Vec<ClusterEvent> {
        self.core.events.recent()
    }

    /// The present numbers of every node that has told them, by name. Others are asked only while somebody looks, so the
    /// first answer after a while has this node's only.
    pub fn node_stats(&self) -> BTreeMap<String, NodeStats> {
        let map = self.core.raft.map();
        let all = self.core.board.all(self.core.me.node, self.core.clock.mono()).into_iter();
        all.map(|(node, stats)| {
            let is_me = node == self.core.me.node;
            (if is_me { self.core.me.name.clone() } else { self.core.name_of(&map, node) }, stats)
        })
        .collect()
    }

    /// The Raft group as this node sees it.
    pub fn raft_status(&self) -> RaftStatus {
        self.core.raft.status()
    }

    /// Gossip's counters.
    pub fn gossip_stats(&self) -> GossipStats {
        self.core.gossip.stats()
    }

    /// Answers `GET /internal/link`. The connection must be a plain `TokioIo<TcpStream>` served by hyper's HTTP/1
    /// connection with upgrades.
    pub async fn accept_link<B>(&self, mut request: HttpRequest<B>) -> Response<Full<Bytes>> {
        match self.core.links.greet(&mut request, &self.core.raft.map()) {
            Greeted::Refused(refusal) => {
                tracing::debug!(status = %refusal.status(), "link refused");
                refusal
            }
            Greeted::Welcome(response, greeting) => {
                self.core.tasks.spawn(welcome(Arc::clone(&self.core), *greeting));
                response
            }
        }
    }

    /// This node serves no more until it is started again, for a `reason` that its users have to read; the others take over when
    /// its lease has run out.
    pub fn fence(&self, reason: &str) {
        self.core.retire();
        if self.core.failure.set(reason.to_owned()).is_ok() {
            self.core.events.error(format!("this node serves no more: {reason}"));
        }
    }

    /// The reason given to [`Control::fence`], once it was called.
    pub fn failure(&self) -> Option<&str> {
        self.core.failure.get().map(String::as_str)
    }

    /// Stops serving, tells the others, and ends everything. The node stays a member.
    pub async fn shutdown(&self) {
        self.core.say_goodbye().await;
        self.core.tasks.abort_all();
        self.core.raft.shutdown().await;
    }
}

fn spawn_tasks(core: &Arc<Core>, knows_others: bool, link_requests: UnboundedReceiver<LinkRequest>) {
    let member = Arc::clone(core);
    core.tasks.spawn(async move {
        if let Err(error) = member.bootstrap_if_due(knows_others).await {
            member.events.error(format!("the cluster could not be created: {error}"));
        }
        lease::run(member).await;
    });
    core.tasks.spawn(leader::run(Arc::clone(core)));
    core.tasks.spawn(coordinate::run(Arc::clone(core)));
    core.tasks.spawn(stats::run(Arc::clone(core)));
    core.tasks.spawn(dial_data_links(Arc::clone(core), link_requests));
    let guarded = Arc::clone(core);
    core.tasks.spawn(async move {
        let reason = guarded.raft.stopped().await;
        guarded.retire();
        guarded.events.error(format!("this node serves no more: {reason}"));
    });
}

/// This node as it registers.
fn member(
    config: &Config,
    disk: &Disk,
    addresses: Addresses,
    recovered: Vec<(PartitionId, Epoch)>,
) -> Member {
    Member {
        node: disk.node_id,
        incarnation: disk.incarnation,
        name: config.node_id.clone(),
        zone: Some(config.zone.clone()).filter(|zone| !zone.is_empty()),
        weight: config.weight,
        resp: addresses.resp,
        http: addresses.http,
        gossip: addresses.gossip,
        state: MemberState::Up,
        recovered,
    }
}

fn gossip_config(config: &Config, me: &Member) -> GossipConfig {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let secret = Some(config.cluster_secret.expose()).filter(|secret| !secret.is_empty());
    let identity = Identity::new(me.node, me.incarnation, me.name.clone(), me.gossip, me.http, me.resp);
    GossipConfig {
        timing: Timing {
            probe_period_ms: ms(config.gossip_probe_interval),
            probe_rtt_ms: ms(config.gossip_probe_timeout),
            suspect_ms: ms(config.gossip_suspicion),
            gossip_ms: ms(config.gossip_interval),
            ..Timing::default()
        },
        ..GossipConfig::new(identity, secret.map(|secret| secret.as_bytes().to_vec()), entropy_u64())
    }
}

fn raft_config(config: &Config, node: NodeId, clock: &Clock) -> RaftConfig {
    RaftConfig {
        heartbeat: config.raft_heartbeat,
        election_min: config.raft_election_min,
        election_max: config.raft_election_max,
        ..RaftConfig::new(node, clock.clone())
    }
}

/// Carries the Raft group's requests over control links.
struct Transport {
    peers: Peers,
    gossip: gossip::View,
}

impl RaftTransport for Transport {
    fn call(
        &self,
        to: u64,
        node: &RaftNode,
        request: Vec<u8>,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + Send {
        let to = NodeId(to);
        let http = self.gossip.http(to).unwrap_or(node.http);
        let target = Target { node: to, incarnation: 0, http };
        let asked = self.peers.ask(target, &Request::Raft(request), RAFT_PATIENCE);
        async move {
            match asked.await? {
                Answer::Raft(answer) => Ok(answer),
                other => Err(io::Error::other(format!("unexpected answer to a raft request: {other:?}"))),
            }
        }
    }
}

/// Finishes the handshake of a link that was asked for, and puts it to its use.
async fn welcome(core: Arc<Core>, greeting: Greeting) {
    let (from, kind) = (greeting.from(), greeting.kind());
    let link = match greeting.finish().await {
        Ok(link) => link,
        Err(error) => {
            tracing::debug!(node = %hex::node(from), %kind, %error, "link not established");
            return;
        }
    };
    match kind {
        Kind::Data { worker } => adopt(&core, usize::from(worker), link, false),
        Kind::Control => {
            let serving = Arc::clone(&core);
            let served = rpc::serve_link(link, move |asker, request| {
                let core = Arc::clone(&serving);
                async move { core.serve(asker, request).await }
            });
            if let Err(error) = served.await {
                tracing::debug!(node = %hex::node(from), %error, "control link ended");
            }
        }
    }
}

/// Hands an established data link to a worker.
fn adopt(core: &Core, worker: usize, link: Link, outbound: bool) {
    let peer = LinkPeer { node: link.node, incarnation: link.incarnation, outbound };
    match link.stream.into_std() {
        Ok(stream) => core.data.adopt(worker % core.data.workers().max(1), stream, peer, link.early),
        Err(error) => tracing::warn!(%error, "a data link could not be handed over"),
    }
}

/// Opens the data links that workers lack; each only once at a time.
async fn dial_data_links(core: Arc<Core>, mut requests: UnboundedReceiver<LinkRequest>) {
    let dialing: Arc<Mutex<BTreeSet<(usize, NodeId, u64)>>> = Arc::default();
    while let Some(LinkRequest { worker, wanted }) = requests.recv().await {
        let WantedLink { node, incarnation, http } = wanted;
        let key = (worker, node, incarnation);
        {
            let mut dialing = dialing.lock();
            if dialing.len() >= DATA_DIALS_MAX || !dialing.insert(key) {
                continue;
            }
        }
        let (core_of_dial, dialing) = (Arc::clone(&core), Arc::clone(&dialing));
        core.tasks.spawn(async move {
            let core = core_of_dial;
            let target = Target { node, incarnation, http };
            let kind = Kind::Data { worker: u16::try_from(worker).unwrap_or(u16::MAX) };
            match core.links.dial(target, kind).await {
                Ok(link) => adopt(&core, worker, link, true),
                Err(error) => tracing::debug!(node = %hex::node(node), %http, %error, "no data link"),
            }
            dialing.lock().remove(&key);
        });
    }
}
