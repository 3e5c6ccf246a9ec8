//! What the workers of a node share: partitions, routing, lease, subscriptions, statistics, mailboxes.

use crate::cells::{Cell, Cells};
use crate::eviction::Eviction;
use crate::journal::{Awaiting, HeldAnswer, Journal, Kept};
use crate::lease::Lease;
use crate::partition::{Aftermath, Role};
use crate::platform::Platform;
use crate::pubsub::{Registry, Subscriber};
use crate::routing::Routing;
use crate::script::Scripts;
use crate::stats::{AllStats, Counter};
use crate::target::{Delivery, Key, Mail, Target};
use crate::users::UserState;
use cluster::map::{ClusterMap, MemberState};
use commands::acl::Users;
use commands::events::{Event, Events};
use commands::host::{ClientInfo, LatencyEvent, Pause, SlowlogEntry};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use stdx::{Clock, Mono, NodeId, PartitionId};
use store::{FilterTotals, Garbage};

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Number of workers, at least 1.
    pub workers: usize,
    /// Whether a reply waits for every in-sync replica (`acks insync`).
    pub wait_for_in_sync: bool,
    /// Longest a forwarded or held command may take.
    pub forward_timeout: Duration,
    /// RESP port, for INFO.
    pub resp_port: u16,
}

/// Wakes a worker that waits for events.
pub type Waker = Box<dyn Fn() + Send + Sync>;

struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    waker: RwLock<Option<Waker>>,
    awake: AtomicBool,
}

/// A connection as other workers may see it.
pub(crate) struct ClientRecord {
    pub(crate) worker: u16,
    pub(crate) connection: Key,
    pub(crate) info: ClientInfo,
}

/// A `CLIENT PAUSE` in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paused {
    pub(crate) until: Mono,
    pub(crate) what: Pause,
}

/// The node's shared state; workers and the control plane hold it in an `Arc`.
pub struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) clock: Clock,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) lease: Lease,
    pub(crate) registry: Registry,
    pub(crate) users: UserState,
    pub(crate) stats: AllStats,
    pub(crate) clients: Mutex<BTreeMap<u64, ClientRecord>>,
    pub(crate) slowlog: Mutex<Slowlog>,
    pub(crate) latency_events: Mutex<BTreeMap<String, LatencyEvent>>,
    pub(crate) paused: Mutex<Option<Paused>>,
    pub(crate) is_paused: AtomicBool,
    /// Clients that listen to commands (MONITOR), and whether there are any.
    pub(crate) monitors: Mutex<Vec<Subscriber>>,
    pub(crate) is_monitored: AtomicBool,
    pub(crate) is_loading: AtomicBool,
    /// Which keyspace events are published, and those of evictions that are not published yet.
    pub(crate) events: AtomicU32,
    pub(crate) evicted_events: Mutex<Vec<Event>>,
    /// The scripts that are remembered; how many run now, and whether one is to end.
    pub(crate) scripts: Mutex<Scripts>,
    pub(crate) script_runs: AtomicU32,
    pub(crate) script_is_killed: AtomicBool,
    /// Whether any partition may have clients who wait for data.
    pub(crate) has_blocked: AtomicBool,
    /// Connections whose commands wait for data, by worker.
    pub(crate) blocked: Mutex<HashSet<(u16, Key)>>,
    is_fenced: AtomicBool,
    pub(crate) started: Mono,
    pub(crate) replies_waiting: AtomicU64,
    hash_key: u64,
    hash_seed: AtomicU64,
    partitions: RwLock<Arc<Cells>>,
    /// The cluster that the partitions are of.
    cells_of: AtomicU64,
    routing: RwLock<Arc<Routing>>,
    routing_version: AtomicU64,
    /// The map has no other member: nobody could take over, so no lease is needed.
    is_sole_member: AtomicBool,
    next_client: AtomicU64,
    mailboxes: Vec<Mailbox>,
    pub(crate) eviction: Eviction,
    pub(crate) journal: RwLock<Option<Arc<dyn Journal>>>,
    /// Answers to primaries that wait for the disk, in the order of their positions.
    pub(crate) held_answers: Mutex<VecDeque<HeldAnswer>>,
    pub(crate) awaiting: Arc<Awaiting>,
    /// The journal's position up to which it is durable.
    pub(crate) durable_up_to: AtomicU64,
}

/// Where a key lives, as this node's map says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its partition.
    pub partition: PartitionId,
    /// The partition's primary, if one is alive.
    pub primary: Option<NodeId>,
    /// Its name; empty without one.
    pub primary_name: String,
    /// Whether it is this node.
    pub local: bool,
}

/// The slow log.
#[derive(Debug, Default)]
pub(crate) struct Slowlog {
    pub(crate) next_id: u64,
    pub(crate) entries: VecDeque<SlowlogEntry>,
}

impl Shared {
    /// A node that knows no cluster yet.
    ///
    /// Keys are hashed under a seed made of `hash_key` and the cluster's id. All nodes of a cluster need the same: a SCAN
    /// walks in the order of hashes, from one node's copy of a partition to another's when it moves.
    pub fn new(config: NodeConfig, clock: Clock, platform: Arc<dyn Platform>, hash_key: u64) -> Arc<Shared> {
        let mailbox = || Mailbox {
            mail: Mutex::new(Vec::new()),
            waker: RwLock::new(None),
            awake: AtomicBool::new(false),
        };
        let started = clock.mono();
        Arc::new(Shared {
            stats: AllStats::new(config.workers),
            mailboxes: (0..config.workers).map(|_| mailbox()).collect(),
            routing: RwLock::new(Arc::new(Routing::new(Arc::new(ClusterMap::default()), config.node))),
            routing_version: AtomicU64::new(0),
            partitions: RwLock::new(Arc::new(Cells::new(0, 0, config.workers))),
            cells_of: AtomicU64::new(0),
            is_sole_member: AtomicBool::new(false),
            lease: Lease::default(),
            registry: Registry::default(),
            users: UserState::new(platform.first_users()),
            clients: Mutex::new(BTreeMap::new()),
            slowlog: Mutex::new(Slowlog::default()),
            latency_events: Mutex::new(BTreeMap::new()),
            paused: Mutex::new(None),
            is_paused: AtomicBool::new(false),
            monitors: Mutex::new(Vec::new()),
            is_monitored: AtomicBool::new(false),
            is_loading: AtomicBool::new(false),
            events: AtomicU32::new(0),
            evicted_events: Mutex::default(),
            scripts: Mutex::default(),
            script_runs: AtomicU32::new(0),
            script_is_killed: AtomicBool::new(false),
            has_blocked: AtomicBool::new(false),
            blocked: Mutex::default(),
            is_fenced: AtomicBool::new(false),
            next_client: AtomicU64::new(1),
            replies_waiting: AtomicU64::new(0),
            eviction: Eviction::new(),
            journal: RwLock::new(None),
            held_answers: Mutex::new(VecDeque::new()),
            awaiting: Arc::default(),
            durable_up_to: AtomicU64::new(0),
            started,
            hash_key,
            hash_seed: AtomicU64::new(0),
            config,
            clock,
            platform,
        })
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.config.node
    }

    /// The users as they are now.
    pub fn users(&self) -> Arc<Users> {
        self.users.users()
    }

    /// The node's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The lease, for the control plane to extend.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Statistics of all workers.
    pub fn stats(&self) -> &AllStats {
        &self.stats
    }

    /// The map applied last.
    pub fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.routing.read().map)
    }

    /// How the workers are called to their mail.
    pub fn set_waker(&self, worker: usize, waker: Waker) {
        *self.mailboxes[worker].waker.write() = Some(waker);
    }

    /// Whether this node may serve what it owns at `now`: it holds a lease, or is alone.
    pub fn may_serve(&self, now: Mono) -> bool {
        self.lease.holds(now) || self.is_sole_member.load(Ordering::Acquire)
    }

    /// While data is being loaded, most commands are refused with LOADING.
    pub fn set_loading(&self, loading: bool) {
        self.is_loading.store(loading, Ordering::Release);
    }

    /// This node serves nothing any more, whatever map and lease say, until it is started again: what it acknowledged would not
    /// be kept.
    pub fn fence(&self) {
        self.is_fenced.store(true, Ordering::SeqCst);
        self.lease.revoke();
        self.is_sole_member.store(false, Ordering::SeqCst);
        // What waits for the disk waits in vain, and its clients have to be told.
        let mut mail: Vec<Vec<(Target, Delivery)>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
        for cell in self.cells().iter() {
            for (target, wrote) in cell.state.lock().give_up_replies() {
                mail[usize::from(target.worker)].push((target, Delivery::Unconfirmed { wrote }));
            }
        }
        for (worker, deliveries) in mail.into_iter().enumerate() {
            self.post(worker, Mail::Deliver(deliveries));
        }
        self.changed();
    }

    /// Whether [`Shared::fence`] was called.
    pub fn is_fenced(&self) -> bool {
        self.is_fenced.load(Ordering::SeqCst)
    }

    /// Keys in one database over the partitions this node is primary of.
    pub fn keys_as_primary(&self, db: u8) -> (u64, u64) {
        self.fold_primaries((0, 0), |(keys, expires), state| {
            (keys + state.store.len(db), expires + state.store.expires_len(db))
        })
    }

    /// Keys on this node in all databases, whatever its role.
    pub fn keys_held(&self) -> u64 {
        let of = |state: &crate::partition::State| -> u64 {
            (0..stdx::limits::DATABASES).map(|db| state.store.len(db)).sum()
        };
        self.cells().iter().map(|cell| of(&cell.state.lock())).sum()
    }

    /// Bytes of keys, values and tables on this node, whatever its role.
    pub fn data_bytes(&self) -> u64 {
        self.cells().iter().map(|cell| cell.state.lock().store.memory_bytes()).sum()
    }

    /// What the filters of the partitions are that this node is primary of. Counted as they change: takes no walk.
    pub fn filters_as_primary(&self) -> FilterTotals {
        self.fold_primaries(FilterTotals::default(), |mut totals, state| {
            totals += state.store.filter_totals();
            totals
        })
    }

    /// GET at once, on the caller's thread: the value, or that there is none. `None` if this node cannot answer by
    /// itself now (not the primary, no lease, an unconfirmed write); then [`Shared::call`] does.
    pub fn read_now(&self, db: u8, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let started = self.clock.mono();
        let (routing, cells) = (self.routing(), self.cells());
        let count = routing.partitions();
        if count == 0 {
            return None;
        }
        let partition = PartitionId::of_key(key, count);
        if routing.primary(partition) != Some(self.me()) {
            return None;
        }
        let cell = cells.get(partition)?;
        let mut state = cell.state.lock();
        let hash = state.store.hash(key);
        if state.primary().is_none()
            || state.reign != routing.route(partition).reign
            || state.handing_over
            || state.dirty_counter(db, hash) > 0
        {
            return None;
        }
        let value = state.store.get(db, key, hash, self.clock.wall()).map(|entry| {
            let mut scratch = [0; 20];
            match entry.value() {
                store::ValueRef::String(string) => Some(string.as_bytes(&mut scratch).to_vec()),
                _ => None,
            }
        });
        drop(state);
        // Read the value, then the clock, then the lease.
        let ended = self.clock.mono();
        if !self.may_serve(ended) || matches!(value, Some(None)) {
            return None;
        }
        let get = commands::table::lookup(b"get").expect("GET is in the table");
        let outside = self.stats.of(self.config.workers);
        outside.ran_outside(get.index(), ended.since(started).as_nanos() as u64, value.is_some());
        match value {
            Some(None) => None,
            Some(Some(bytes)) => Some(Some(bytes)),
            None => Some(None),
        }
    }

    /// Where a key lives.
    pub fn place_of(&self, key: &[u8]) -> Place {
        let routing = self.routing();
        let partition = PartitionId::of_key(key, routing.partitions().max(1));
        let primary = routing.primary(partition);
        let name = primary.and_then(|node| routing.map.member(node)).map(|member| member.name.clone());
        Place {
            partition,
            primary,
            primary_name: name.unwrap_or_default(),
            local: primary == Some(self.me()),
        }
    }

    /// Records written (as primary) or applied (as follower) by this node.
    pub fn replication_offset(&self) -> u64 {
        let offset = |cell: Cell<'_>| match &cell.state.lock().role {
            Role::None => 0,
            Role::Primary(primary) => primary.last().counter,
            Role::Follower { follower, .. } => follower.last().counter,
        };
        self.cells().iter().map(offset).sum()
    }

    /// For every peer: the most records it lags behind in any one partition, and partitions not streaming to it.
    pub fn replication_lag(&self) -> BTreeMap<NodeId, (u64, usize)> {
        let mut lags: BTreeMap<NodeId, (u64, usize)> = BTreeMap::new();
        for cell in self.cells().iter() {
            let mut state = cell.state.lock();
            let Some(primary) = state.primary() else { continue };
            let last = primary.last().counter;
            for peer in primary.peers() {
                let entry = lags.entry(peer.node).or_default();
                entry.0 = entry.0.max(last.saturating_sub(peer.acked));
                entry.1 += usize::from(peer.stage != replication::Stage::Streaming);
            }
        }
        lags
    }

    /// Applies a newer map: every partition whose epoch changed takes its new role, then routing follows.
    pub fn apply_map(&self, map: Arc<ClusterMap>) {
        if map.version.0 <= self.routing_version.load(Ordering::Acquire) {
            return;
        }
        self.users.follow(&map.users);
        self.make_cells(map.cluster_id, map.partitions);
        let now = self.clock.mono();
        let before = self.map();
        let cells = self.cells();
        let mut mail: Vec<Vec<(Target, Delivery)>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
        // From the first moment on in which there is somebody who could take over, a lease is needed.
        let is_sole = map.is_sole_member(self.me());
        if !is_sole {
            self.is_sole_member.store(false, Ordering::Release);
        }
        for (cell, assignment) in cells.iter().zip(&map.assignments) {
            let keep = may_be_wanted(&map, self.me(), cell.id);
            let mut state = cell.state.lock();
            if state.epoch == assignment.epoch {
                let garbage = if keep { None } else { state.drop_unowned() };
                drop(state);
                garbage.into_iter().for_each(|garbage| self.free(garbage));
                continue;
            }
            let aftermath = state.assign(self.me(), assignment, (keep, is_sole), now);
            let pump = aftermath.pump && !std::mem::replace(&mut state.pump_queued, true);
            drop(state);
            self.watch_by_role(cell.id);
            self.settle(aftermath, &mut mail);
            if pump {
                self.post(self.owner_of(cell.id), Mail::Pump(cell.id));
            }
        }
        *self.routing.write() = Arc::new(Routing::new(Arc::clone(&map), self.me()));
        self.is_sole_member.store(is_sole, Ordering::SeqCst);
        if self.is_fenced() {
            // Perhaps since a moment ago.
            self.is_sole_member.store(false, Ordering::SeqCst);
        }
        self.routing_version.store(map.version.0, Ordering::Release);
        // What a new role waits for may be durable already.
        if self.journal.read().is_some() {
            self.journal_is_durable(self.durable_up_to.load(Ordering::Acquire));
        }
        for (worker, deliveries) in mail.into_iter().enumerate() {
            if !deliveries.is_empty() {
                self.post(worker, Mail::Deliver(deliveries));
            }
            for (node, member) in &before.members {
                if map
                    .members
                    .get(node)
                    .is_none_or(|now| now.incarnation != member.incarnation || !now.is_alive())
                {
                    self.post(worker, Mail::Forget(*node));
                }
            }
            self.post(worker, Mail::Changed);
        }
    }

    /// Tells every worker to look again at what it holds back (the lease or a pause has changed).
    pub fn changed(&self) {
        (0..self.mailboxes.len()).for_each(|worker| self.post(worker, Mail::Changed));
    }

    /// Runs a command for somebody outside the workers.
    pub fn call(&self, worker: usize, call: crate::call::Call) {
        self.post(worker % self.mailboxes.len(), Mail::Call(call));
    }

    /// Delivers a message on this node only: for events of the cluster, which every node learns by itself.
    pub fn announce(&self, channel: &[u8], message: &[u8]) {
        let kind = commands::session::ChannelKind::Channel;
        let mut by_worker: BTreeMap<u16, Vec<_>> = BTreeMap::new();
        for outgoing in self.registry.receivers(kind, channel, message) {
            by_worker.entry(outgoing.to.worker).or_default().push(outgoing);
        }
        for (worker, outgoing) in by_worker {
            self.post(usize::from(worker), Mail::Publish(outgoing));
        }
    }

    /// What keys are hashed under.
    #[inline]
    pub(crate) fn hash_seed(&self) -> u64 {
        self.hash_seed.load(Ordering::Relaxed)
    }

    /// The hash of a key as the partitions compute it.
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        stdx::hash::hash64(self.hash_seed.load(Ordering::Relaxed), key)
    }

    pub(crate) fn cells(&self) -> Arc<Cells> {
        Arc::clone(&self.partitions.read())
    }

    pub(crate) fn routing(&self) -> Arc<Routing> {
        Arc::clone(&self.routing.read())
    }

    pub(crate) fn routing_version(&self) -> u64 {
        self.routing_version.load(Ordering::Acquire)
    }

    /// The worker that replicates a partition.
    pub(crate) fn owner_of(&self, partition: PartitionId) -> usize {
        usize::from(partition.0) % self.mailboxes.len()
    }

    pub(crate) fn next_client_id(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn post(&self, worker: usize, mail: Mail) {
        let mailbox = &self.mailboxes[worker];
        mailbox.mail.lock().push(mail);
        if !mailbox.awake.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*mailbox.waker.read()
        {
            waker();
        }
    }

    pub(crate) fn take_mail(&self, worker: usize) -> Vec<Mail> {
        let mailbox = &self.mailboxes[worker];
        mailbox.awake.store(false, Ordering::Release);
        std::mem::take(&mut *mailbox.mail.lock())
    }

    pub(crate) fn fold_primaries<T>(
        &self,
        start: T,
        mut add: impl FnMut(T, &mut crate::partition::State) -> T,
    ) -> T {
        let cells = self.cells();
        cells.iter().fold(start, |total, cell| {
            let mut state = cell.state.lock();
            if matches!(state.role, Role::Primary(_)) { add(total, &mut state) } else { total }
        })
    }

    pub(crate) fn pause(&self, paused: Option<Paused>) {
        *self.paused.lock() = paused;
        self.is_paused.store(paused.is_some(), Ordering::Release);
        self.changed();
    }

    pub(crate) fn cluster_of_cells(&self) -> u64 {
        self.cells_of.load(Ordering::Acquire)
    }

    pub(crate) fn make_cells(&self, cluster_id: u64, partitions: u16) {
        let mut cells = self.partitions.write();
        if self.cells_of.swap(cluster_id, Ordering::AcqRel) == cluster_id && cells.len() == partitions {
            return;
        }
        debug_assert!(
            cells.len() == 0,
            "a node stays with its cluster, whose number of partitions never changes"
        );
        let seed = stdx::hash::mix64(self.hash_key ^ stdx::hash::mix64(cluster_id));
        self.hash_seed.store(seed, Ordering::Release);
        let made = Cells::new(partitions, seed, self.config.workers);
        if let Some(journal) = &*self.journal.read() {
            journal.cluster(cluster_id, partitions);
            for cell in made.iter() {
                cell.state.lock().kept = Some(Kept::new(journal, &self.awaiting, cell.id, partitions));
            }
        }
        *cells = Arc::new(made);
    }

    /// Tells the workers that replies need not wait any longer.
    pub(crate) fn release(&self, released: Vec<Target>) {
        let mut mail: Vec<Vec<(Target, Delivery)>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
        for target in released {
            mail[usize::from(target.worker)].push((target, Delivery::Released));
        }
        for (worker, deliveries) in mail.into_iter().enumerate().filter(|(_, mail)| !mail.is_empty()) {
            self.post(worker, Mail::Deliver(deliveries));
        }
    }

    fn settle(&self, aftermath: Aftermath, mail: &mut [Vec<(Target, Delivery)>]) {
        for (target, wrote) in aftermath.unconfirmed {
            mail[usize::from(target.worker)].push((target, Delivery::Unconfirmed { wrote }));
        }
        for target in aftermath.released {
            mail[usize::from(target.worker)].push((target, Delivery::Released));
        }
        for target in aftermath.woken {
            mail[usize::from(target.worker)].push((target, Delivery::Bytes(Vec::new())));
        }
        aftermath.garbage.into_iter().for_each(|garbage| self.free(garbage));
    }

    pub(crate) fn count(&self, worker: usize, counter: Counter, by: u64) {
        self.stats.of(worker).add(counter, by);
    }
}

/// Whether this node, where it has no role in a partition, is likely to get one, so that what it holds is worth keeping: the ring
/// wants it there, or it is taken for down and will register again.
fn may_be_wanted(map: &ClusterMap, me: NodeId, partition: PartitionId) -> bool {
    match map.member(me).map(|member| member.state) {
        None | Some(MemberState::Down) => true,
        Some(MemberState::Leaving) => false,
        Some(MemberState::Up) => {
            map.desired().get(usize::from(partition.0)).is_some_and(|owners| owners.contains(&me))
        }
    }
}
