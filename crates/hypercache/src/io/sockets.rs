//! What the event loops have in common: everything about connections and links that does not depend on how the kernel
//! tells of them.

use super::{Arrival, Handle, LinkRequest, Settings, Waker};
use node::{Key, Worker};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;
use stdx::{Clock, Mono};
use tokio::sync::mpsc::UnboundedSender;

/// How often links are asked for while some are missing.
const WANTED_PERIOD: Duration = Duration::from_millis(50);
/// Pause of accepting after the process ran out of file descriptors.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long stopping waits for clients to take their last replies.
pub(super) const STOP_MAX: Duration = Duration::from_millis(500);
/// Longest wait for events.
const PATIENCE_MAX: Duration = Duration::from_millis(100);

/// What a socket is to the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Client(Key),
    Link(Key),
}

/// Bytes on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    pub(crate) fn new(bytes: Vec<u8>) -> Outgoing {
        Outgoing { bytes, sent: 0 }
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// So many more bytes have gone.
    pub(super) fn sent(&mut self, len: usize) {
        self.sent = (self.sent + len).min(self.bytes.len());
    }

    pub(crate) fn len_sent(&self) -> usize {
        self.sent
    }

    /// The allocation, emptied.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        bytes.clear();
        bytes
    }
}

/// From places to the loop's own numbers of sockets.
#[derive(Debug, Default)]
pub(super) struct Places {
    clients: Vec<Option<(Key, usize)>>,
    links: Vec<Option<(Key, usize)>>,
}

impl Places {
    pub(super) fn get(&self, place: Place) -> Option<usize> {
        let (table, key) = match place {
            Place::Client(key) => (&self.clients, key),
            Place::Link(key) => (&self.links, key),
        };
        let (found, socket) = (*table.get(key.index as usize)?)?;
        (found == key).then_some(socket)
    }

    pub(super) fn insert(&mut self, place: Place, socket: usize) {
        let (table, key) = self.table(place);
        let index = key.index as usize;
        if table.len() <= index {
            table.resize(index + 1, None);
        }
        if let Some(entry) = table.get_mut(index) {
            *entry = Some((key, socket));
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        let (table, key) = self.table(place);
        if let Some(entry) = table.get_mut(key.index as usize) {
            // Its successor may have the place already.
            if entry.is_some_and(|(found, _)| found == key) {
                *entry = None;
            }
        }
    }

    fn table(&mut self, place: Place) -> (&mut Vec<Option<(Key, usize)>>, Key) {
        match place {
            Place::Client(key) => (&mut self.clients, key),
            Place::Link(key) => (&mut self.links, key),
        }
    }
}

/// A loop's worker and how it is reached.
pub(super) struct Core {
    pub(super) worker: Worker,
    pub(super) clock: Clock,
    index: usize,
    settings: Settings,
    handle: Handle,
    wanted: UnboundedSender<LinkRequest>,
    wanted_at: Mono,
    next_worker: usize,
    /// Clients that are run next, in this order.
    coming: VecDeque<Key>,
    /// How many of them, from the first on, the worker has looked at.
    prepared: usize,
}

impl Core {
    pub(super) fn new(
        index: usize,
        settings: Settings,
        worker: Worker,
        handle: Handle,
        wanted: UnboundedSender<LinkRequest>,
        clock: Clock,
    ) -> Core {
        let wanted_at = clock.mono();
        Core {
            worker,
            clock,
            index,
            settings,
            handle,
            wanted,
            wanted_at,
            next_worker: 0,
            coming: VecDeque::new(),
            prepared: 0,
        }
    }

    /// How other threads call this one.
    pub(super) fn waker(&self) -> &Waker {
        &self.handle.common.inboxes[self.index].waker
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.handle.common.stopping.load(Ordering::Acquire)
    }

    /// How long to wait for events.
    pub(super) fn patience(&self) -> Duration {
        self.worker.next_tick().since(self.clock.mono()).min(PATIENCE_MAX)
    }

    pub(super) fn tick(&mut self) {
        if self.clock.mono() >= self.worker.next_tick() {
            self.worker.tick();
        }
    }

    pub(super) fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.handle.common.inboxes[self.index].arrivals.lock())
    }

    /// Gives an accepted client to the worker whose turn it is; returns it if that is this one.
    pub(super) fn deal<T: Into<std::net::TcpStream>>(&mut self, stream: T) -> Option<T> {
        let worker = self.next_worker;
        self.next_worker = (worker + 1) % self.handle.workers();
        if worker == self.index {
            return Some(stream);
        }
        self.handle.post(worker, Arrival::Client(stream.into()));
        None
    }

    /// Takes a client in; `None` if there are too many, and it has been told.
    pub(super) fn admit(&mut self, stream: &impl AsFd) -> Option<Place> {
        let socket = socket2::SockRef::from(stream);
        let name = |addr: std::io::Result<socket2::SockAddr>| {
            let addr = addr.ok().and_then(|addr| addr.as_socket());
            addr.map_or_else(|| "?:0".into(), |addr: SocketAddr| addr.to_string())
        };
        let (addr, laddr) = (name(socket.peer_addr()), name(socket.local_addr()));
        let Some(key) = self.worker.accept(addr, laddr, stream.as_fd().as_raw_fd()) else {
            // As Redis: tell, if the socket takes it at once, and close.
            if let Err(error) = socket.send_with_flags(node::MAX_CLIENTS_REACHED, libc::MSG_DONTWAIT) {
                tracing::debug!(%error, "refusing a client");
            }
            return None;
        };
        if self.settings.keepalive > Duration::ZERO {
            let keepalive = socket2::TcpKeepalive::new().with_time(self.settings.keepalive);
            if let Err(error) = socket.set_tcp_keepalive(&keepalive) {
                tracing::debug!(%error, "setting keepalive");
            }
        }
        Some(Place::Client(key))
    }

    /// Where received bytes go.
    pub(super) fn input(&mut self, place: Place) -> Option<&mut Vec<u8>> {
        match place {
            Place::Client(key) => self.worker.input(key),
            Place::Link(key) => self.worker.link_input(key),
        }
    }

    /// What is to be sent; `None` if the worker does not know the place any more.
    pub(super) fn output(&mut self, place: Place) -> Option<&mut Vec<u8>> {
        match place {
            Place::Client(key) => self.worker.output(key),
            Place::Link(key) => self.worker.link_output(key),
        }
    }

    /// Whether to stop reading for now.
    pub(super) fn is_choked(&self, place: Place) -> bool {
        matches!(place, Place::Client(key) if self.worker.is_choked(key))
    }

    /// Whether the worker wants it closed once everything is sent.
    pub(super) fn is_closing(&self, place: Place) -> bool {
        match place {
            Place::Client(key) => self.worker.is_closing(key),
            Place::Link(key) => self.worker.is_link_closing(key),
        }
    }

    /// Tells whose input is run next, in this order, so that the worker can look at several at once.
    pub(super) fn expect(&mut self, places: impl Iterator<Item = Place>) {
        self.coming.clear();
        self.coming.extend(places.filter_map(|place| match place {
            Place::Client(key) => Some(key),
            Place::Link(_) => None,
        }));
        self.prepared = 0;
    }

    /// Lets the worker look at the next clients if `key` is the first that it has not seen.
    fn prepare(&mut self, key: Key) {
        if self.coming.front() != Some(&key) {
            return;
        }
        if self.prepared == 0 && self.coming.len() > 1 {
            self.prepared = self.worker.prepare(self.coming.make_contiguous());
        }
        self.coming.pop_front();
        self.prepared = self.prepared.saturating_sub(1);
    }

    /// Runs what has arrived.
    pub(super) fn run(&mut self, place: Place, received: usize) {
        match place {
            Place::Client(key) if received > 0 => {
                self.worker.count_io(received as u64, 0);
                self.prepare(key);
                self.worker.process(key);
            }
            Place::Client(_) => {}
            Place::Link(key) => {
                self.worker.count_link_io(received as u64, 0);
                self.worker.process_link(key);
            }
        }
    }

    /// Counts what was sent, and tells whether the socket is to be closed now. `empty`: nothing is left to send;
    /// `ended`: the peer will send no more.
    pub(super) fn sent(&mut self, place: Place, sent: usize, empty: bool, ended: bool) -> bool {
        match place {
            Place::Client(key) => {
                self.worker.count_io(0, sent as u64);
                if !empty {
                    return false;
                }
                self.worker.trim(key);
                self.worker.is_closing(key) || (ended && self.worker.is_answered(key))
            }
            Place::Link(key) => {
                self.worker.count_link_io(0, sent as u64);
                self.worker.trim_link(key);
                ended || self.worker.is_link_closing(key)
            }
        }
    }

    /// Tells the worker that a socket is gone.
    pub(super) fn forget(&mut self, place: Place) {
        match place {
            Place::Client(key) => self.worker.closed(key),
            Place::Link(key) => self.worker.link_closed(key),
        }
    }

    /// Asks for missing links, from time to time.
    pub(super) fn want_links(&mut self) {
        let now = self.clock.mono();
        if now < self.wanted_at {
            return;
        }
        self.wanted_at = now + WANTED_PERIOD;
        for wanted in self.worker.wanted_links() {
            let request = LinkRequest { worker: self.index, wanted };
            if self.wanted.send(request).is_err() {
                // The control plane has ended: the process is stopping.
                return;
            }
        }
    }
}

/// Replies are written as one, so nothing is gained by the kernel waiting for more.
pub(super) fn set_nodelay(stream: &impl AsFd) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_nodelay(true) {
        tracing::debug!(%error, "setting TCP_NODELAY");
    }
}
