//! A worker: the part of a node that one thread drives, without the thread.
//!
//! A worker owns client connections and its ends of the links to other nodes, and runs their commands to completion
//! on the shared partitions. Whoever drives it (an epoll loop, the simulator) moves bytes between sockets and the
//! buffers here, and calls:
//!
//! ```text
//! turn:  begin_turn(now)  ->  [input(key) + process(key)]*  ->  [link_input + process_link]*  ->  end_turn()
//!        then writes out every buffer named by take_flush(), and closes what is_closing
//! timer: tick(now)
//! mail:  receive_mail() whenever the waker was called
//! ```
//!
//! Nothing here blocks, and nothing waits for another thread except for the short lock of a partition.

mod across;
mod ahead;
mod away;
mod blocking;
pub(crate) mod connections;
mod dispatch;
mod events;
mod expiry;
mod forwards;
mod gather;
mod lane;
mod links;
mod monitor;
mod peer_lane;
mod peer_requests;
mod scripts;
mod serve;
mod transaction;
pub(crate) mod users;
mod wait;

use crate::cells::{Cells, Wandering};
use crate::connection::{Connection, HeldReply};
use crate::frame::{Request, Route};
use crate::host::NodeHost;
use crate::platform::Limits;
use crate::routing::Routing;
use crate::shared::Shared;
use crate::stats::Counter;
use crate::target::{Delivery, Key, Keyed, Mail, Owner, Target};
use commands::events::Event;
use scripting::Engine;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stdx::{Mono, PartitionId, Random, Wall};

pub use links::{LinkPeer, WantedLink};

/// How often peers that have not answered an Attach are asked again.
const ATTACH_PERIOD: Duration = Duration::from_millis(20);
/// How often held commands are tried again when nothing tells us to.
const RETRY_PERIOD: Duration = Duration::from_millis(5);
/// How often timeouts are looked for.
const TIMEOUT_PERIOD: Duration = Duration::from_millis(50);

/// A command held back: not executed, to be tried again.
struct Held {
    request: Request,
    target: Target,
    deadline: Mono,
}

/// A command sent to another node.
struct Forward {
    request: Request,
    routes: SmallVec<[Route; 1]>,
    target: Target,
    link: Key,
    deadline: Mono,
    /// The connection whose command this is a part of.
    part_of: Option<Key>,
}

/// A caller outside the workers.
struct Caller {
    reply: Vec<u8>,
    gates: u32,
    respond: Box<dyn FnOnce(Vec<u8>) + Send>,
}

/// Something a driver has to write out or close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// A client connection.
    Connection(Key),
    /// A link.
    Link(Key),
}

/// One worker.
pub struct Worker {
    index: usize,
    shared: Arc<Shared>,
    cells: Arc<Cells>,
    routing: Arc<Routing>,
    limits: Limits,
    now: Mono,
    wall: Wall,
    random: Random,
    connections: Keyed<Option<Box<Connection>>>,
    links: Keyed<links::Link>,
    peers: away::Peers,
    forwards: Keyed<Forward>,
    gatherings: Keyed<gather::Gathering>,
    callers: Keyed<Caller>,
    /// Clients whose commands wait for data, in what order their time is over, and by their connections.
    blocked: Keyed<blocking::Blocked>,
    blocked_until: BinaryHeap<Reverse<(Mono, u32, u32)>>,
    blocked_connections: HashMap<Key, Key>,
    /// Those that are to try again soon.
    blocked_retries: Vec<Target>,
    held: VecDeque<Held>,
    /// How many parts of split commands are under way to other nodes, by connection.
    parts_sent: HashMap<Key, u32>,
    /// Links whose requests wait in `held`: later ones of the same link queue behind.
    held_links: HashMap<Key, u32>,
    pump: Vec<PartitionId>,
    /// Room for commands parsed ahead, used again for every connection.
    ahead: Option<Box<ahead::Ahead>>,
    /// The replies of a run; its room is used again.
    replies: lane::Replies,
    flush: Vec<Flush>,
    /// Room for whose commits have happened, used again for every link.
    released: Vec<Target>,
    /// Connections whose output waits for the replies behind it, by when it waits no longer.
    corked: VecDeque<(Mono, Key)>,
    /// Connections to process again.
    ready: Vec<Key>,
    deliveries: VecDeque<(Target, Delivery)>,
    outgoing: Vec<crate::pubsub::Outgoing>,
    /// What runs scripts.
    engine: Option<Box<Engine>>,
    /// What has happened to keys in this turn, while anybody wants to know.
    events: Vec<Event>,
    waits: Vec<wait::Wait>,
    expiry: expiry::Expiry,
    /// Generation of the users when connections were looked at last.
    users_seen: u64,
    attach_at: Mono,
    retry_at: Mono,
    timeout_at: Mono,
}

impl Worker {
    /// The worker number `index` of a node.
    pub fn new(index: usize, shared: Arc<Shared>) -> Worker {
        let now = shared.clock.mono();
        Worker {
            index,
            cells: shared.cells(),
            routing: shared.routing(),
            limits: shared.platform.limits(),
            now,
            wall: shared.clock.wall(),
            random: Random::system(),
            connections: Keyed::new(),
            links: Keyed::new(),
            peers: away::Peers::default(),
            forwards: Keyed::new(),
            gatherings: Keyed::new(),
            callers: Keyed::new(),
            blocked: Keyed::new(),
            blocked_until: BinaryHeap::new(),
            blocked_connections: HashMap::new(),
            blocked_retries: Vec::new(),
            held: VecDeque::new(),
            parts_sent: HashMap::new(),
            held_links: HashMap::new(),
            pump: Vec::new(),
            ahead: None,
            replies: lane::Replies::default(),
            flush: Vec::new(),
            released: Vec::new(),
            corked: VecDeque::new(),
            ready: Vec::new(),
            deliveries: VecDeque::new(),
            outgoing: Vec::new(),
            engine: None,
            events: Vec::new(),
            waits: Vec::new(),
            expiry: expiry::Expiry::default(),
            users_seen: 0,
            attach_at: now,
            retry_at: now,
            timeout_at: now,
            shared,
        }
    }

    /// Starts a turn: reads the clocks and takes over a newer map.
    pub fn begin_turn(&mut self) {
        self.now = self.shared.clock.mono();
        self.wall = self.shared.clock.wall();
        self.refresh_routing();
    }

    /// Ends a turn: settles what became known, sends effects to replicas.
    pub fn end_turn(&mut self) {
        self.publish_events();
        self.settle();
        // What was put off by a delivery or a connection that went on.
        self.publish_events();
        self.settle();
        self.replicate(false);
        self.uncork();
    }

    /// Replaces the content of `into` by the buffers that may have something to write and the connections that may have
    /// to be closed; each once.
    pub fn take_flush(&mut self, into: &mut Vec<Flush>) {
        for flush in &self.flush {
            match flush {
                Flush::Connection(key) => {
                    if let Some(Some(connection)) = self.connections.get_mut(*key) {
                        connection.flush_queued = false;
                    }
                }
                Flush::Link(key) => {
                    if let Some(link) = self.links.get_mut(*key) {
                        link.flush_queued = false;
                    }
                }
            }
        }
        into.clear();
        std::mem::swap(&mut self.flush, into);
    }

    /// When `tick` wants to be called next.
    pub fn next_tick(&self) -> Mono {
        if self.expiry.is_under_way() {
            return self.now;
        }
        let mut next = if self.held.is_empty() && self.waits.is_empty() && self.blocked_retries.is_empty() {
            self.timeout_at.min(self.attach_at)
        } else {
            self.retry_at.min(self.timeout_at)
        };
        if let Some(Reverse((until, ..))) = self.blocked_until.peek() {
            next = next.min(*until);
        }
        self.corked.front().map_or(next, |(until, _)| next.min(*until))
    }

    /// Reads the directives that may change while the server runs.
    fn refresh_limits(&mut self) {
        self.limits = self.shared.platform.limits();
        self.shared.set_eviction_policy(self.limits.eviction);
        self.shared.refresh_events();
    }

    /// Timers: retries, timeouts, expiry, attaching of replicas.
    pub fn tick(&mut self) {
        self.begin_turn();
        if self.now >= self.retry_at {
            self.retry_at = self.now + RETRY_PERIOD;
            self.check_waits();
            self.retry_held();
            self.retry_blocked();
        }
        if self.now >= self.timeout_at {
            self.timeout_at = self.now + TIMEOUT_PERIOD;
            self.refresh_limits();
            self.shared.digest_evictions();
            self.time_out_forwards();
            self.sweep_blocked();
            self.expiry.begin(self.now);
            self.refresh_records();
            self.end_pause();
        }
        self.time_out_blocked();
        if self.now >= self.attach_at {
            self.attach_at = self.now + ATTACH_PERIOD;
            self.attach_peers();
        }
        if self.expiry.is_under_way() {
            self.expire_slice();
        }
        self.end_turn();
    }

    /// Takes the mail from other threads.
    pub fn receive_mail(&mut self) {
        self.begin_turn();
        for mail in self.shared.take_mail(self.index) {
            match mail {
                Mail::Deliver(deliveries) => self.deliveries.extend(deliveries),
                Mail::Pump(partition) => self.pump.push(partition),
                Mail::Changed => {
                    self.refresh_routing();
                    self.refresh_users();
                    self.retry_held();
                    self.resume_stalled();
                }
                Mail::Monitor(key, line) => self.show_line(key, &line),
                Mail::Publish(outgoing) => outgoing.iter().for_each(|message| self.show(message)),
                Mail::Kill(key) => self.kill(key),
                Mail::Unblock(key, how) => self.unblock(key, how),
                Mail::WantEvents => self.tell_wanted_events(),
                Mail::Call(call) => self.run_call(call),
                Mail::Users(answered) => self.users_answered(*answered),
                Mail::Forget(node) => self.drop_links_to(node),
                Mail::Answer { link, partition, answer } => self.answer_primary(link, partition, &answer),
            }
        }
        self.end_turn();
    }

    fn refresh_routing(&mut self) {
        if self.shared.routing_version() != self.routing.version().0 {
            self.routing = self.shared.routing();
            self.cells = self.shared.cells();
        }
    }

    fn stat(&self, counter: Counter, by: u64) {
        self.shared.count(self.index, counter, by);
    }

    fn host(&mut self, connection: Option<Key>) -> NodeHost<'_> {
        NodeHost {
            shared: &self.shared,
            worker: u16::try_from(self.index).expect("workers are few"),
            connection,
            outgoing: &mut self.outgoing,
            now: self.now,
        }
    }

    fn target(&self, owner: Owner, slot: u64) -> Target {
        Target { worker: u16::try_from(self.index).expect("workers are few"), owner, slot }
    }

    /// Works through deliveries and connections that may go on, until nothing is left.
    fn settle(&mut self) {
        loop {
            if let Some((target, delivery)) = self.deliveries.pop_front() {
                self.deliver(target, delivery);
            } else if !self.outgoing.is_empty() {
                for message in std::mem::take(&mut self.outgoing) {
                    self.show(&message);
                }
            } else if let Some(key) = self.ready.pop() {
                self.process(key);
            } else {
                return;
            }
        }
    }

    /// Hands a delivery to its owner.
    fn deliver(&mut self, target: Target, delivery: Delivery) {
        if usize::from(target.worker) != self.index {
            self.shared.post(usize::from(target.worker), Mail::Deliver(vec![(target, delivery)]));
            return;
        }
        if matches!(delivery, Delivery::Unconfirmed { wrote: true }) {
            self.stat(Counter::InDoubt, 1);
        }
        match target.owner {
            Owner::Connection(key) => self.deliver_to_connection(key, target.slot, delivery),
            Owner::Link(key) => self.deliver_to_link(key, target.slot, delivery),
            Owner::Gathering(key) => self.deliver_to_gathering(key, target.slot, delivery),
            Owner::Call(key) => self.deliver_to_caller(key, delivery),
            Owner::Blocked(key) => self.deliver_to_blocked(key, target.slot, delivery),
        }
    }

    /// A reply is known but waits for `gates` commits.
    fn deliver_gated(&mut self, target: Target, reply: Vec<u8>, gates: u32) {
        match target.owner {
            Owner::Connection(key) => {
                if let Some(Some(connection)) = self.connections.get_mut(key) {
                    connection.fill(target.slot, HeldReply::from_vec(reply), gates);
                }
            }
            Owner::Link(key) => {
                if let Some(link) = self.links.get_mut(key) {
                    link.gated.insert(target.slot, (HeldReply::from_vec(reply), gates));
                }
            }
            Owner::Gathering(key) => self.gate_part(key, target.slot, reply, gates),
            Owner::Blocked(key) => self.gate_blocked(key, reply, gates),
            Owner::Call(key) => {
                if let Some(caller) = self.callers.get_mut(key) {
                    (caller.reply, caller.gates) = (reply, gates);
                }
            }
        }
    }

    fn deliver_to_caller(&mut self, key: Key, delivery: Delivery) {
        let reply = match delivery {
            Delivery::Bytes(bytes) => bytes,
            Delivery::Unconfirmed { wrote } => unconfirmed(wrote).to_vec(),
            Delivery::Released => {
                let Some(caller) = self.callers.get_mut(key) else { return };
                caller.gates = caller.gates.saturating_sub(1);
                if caller.gates > 0 {
                    return;
                }
                std::mem::take(&mut caller.reply)
            }
        };
        if let Some(caller) = self.callers.remove(key) {
            (caller.respond)(reply);
        }
    }

    /// Sends what the replicas of dirty partitions can take.
    fn replicate(&mut self, attach: bool) {
        if self.pump.is_empty() {
            return;
        }
        let mut dirty = std::mem::take(&mut self.pump);
        let cells = Arc::clone(&self.cells);
        let mut lock = Wandering::default();
        for partition in dirty.drain(..) {
            let owner = self.shared.owner_of(partition);
            if owner == self.index {
                self.pump_partition((&cells, &mut lock), partition, attach);
            } else {
                lock = Wandering::default();
                self.shared.post(owner, Mail::Pump(partition));
            }
        }
        self.pump = dirty;
    }

    fn attach_peers(&mut self) {
        let (me, workers) = (self.index, self.shared.config.workers);
        let cells = Arc::clone(&self.cells);
        for cell in cells.iter().skip(me).step_by(workers) {
            let wants =
                |stage| !matches!(stage, replication::Stage::Streaming | replication::Stage::Diverged);
            let lagging = cell
                .state
                .lock()
                .primary()
                .is_some_and(|primary| primary.peers().iter().any(|peer| wants(peer.stage)));
            if lagging {
                self.pump_partition((&cells, &mut Wandering::default()), cell.id, true);
            }
        }
    }
}

/// The reply to a write that was executed but not confirmed.
pub(crate) const IN_DOUBT: &[u8] =
    b"-INDOUBT the write was executed but not confirmed by all in-sync replicas; it may or may not survive\r\n";
/// The reply to a command whose result was not confirmed.
pub(crate) fn unconfirmed(wrote: bool) -> &'static [u8] {
    if wrote { IN_DOUBT } else { TRY_AGAIN }
}

/// The reply to a command that found no primary in time.
pub(crate) const CLUSTER_DOWN: &[u8] = b"-CLUSTERDOWN The partition has no primary that can serve now\r\n";
/// The error of a command that needs room where there is none.
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
/// The reply to a read that was not answered in time, or that saw what was never confirmed.
pub(crate) const TRY_AGAIN: &[u8] = b"-TRYAGAIN The node that owns the key could not answer in time\r\n";
