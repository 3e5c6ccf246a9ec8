//! The event loop on epoll (through mio), edge-triggered.
//!
//! One turn: wait, read what has arrived into the worker's buffers and run it, then write every buffer that grew, so
//! that all replies of a turn leave in one write per connection, and all effects of a turn in one write per link.
//! Reads are bounded per connection and turn; a connection with more to read is looked at again in the next turn,
//! after the others had theirs.

use super::{Arrival, Handle, LinkRequest, Settings};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use node::{Flush, Key, Worker};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;
use stdx::{Clock, Mono};
use tokio::sync::mpsc::UnboundedSender;

/// Token of the waker.
pub(super) const WAKE: Token = Token(0);
const LISTEN: Token = Token(1);
const FIRST_SOCKET: usize = 2;
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Bytes read with one call.
const READ_BYTES: usize = 64 * 1024;
/// Calls of read per connection and turn.
const READS_PER_TURN_MAX: usize = 16;
/// How often links are asked for while some are missing.
const WANTED_PERIOD: Duration = Duration::from_millis(50);
/// Pause of accepting after the process ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long stopping waits for clients to take their last replies.
const STOP_MAX: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Client(Key),
    Link(Key),
}

struct Socket {
    stream: TcpStream,
    place: Place,
    /// The peer will send no more.
    ended: bool,
    /// There may be more to read, but its turn is over or it is choked.
    again: bool,
}

/// One thread's loop.
pub(super) struct Loop {
    index: usize,
    settings: Settings,
    poll: Poll,
    worker: Worker,
    handle: Handle,
    listener: Option<TcpListener>,
    wanted: UnboundedSender<LinkRequest>,
    clock: Clock,
    sockets: Slab<Socket>,
    tokens: HashMap<Place, usize>,
    again: VecDeque<usize>,
    scratch: Vec<u8>,
    next_worker: usize,
    wanted_at: Mono,
    accept_at: Option<Mono>,
}

impl Loop {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        index: usize,
        settings: Settings,
        poll: Poll,
        worker: Worker,
        handle: Handle,
        listener: Option<TcpListener>,
        wanted: UnboundedSender<LinkRequest>,
        clock: Clock,
    ) -> io::Result<Loop> {
        let mut new = Loop {
            index,
            settings,
            poll,
            worker,
            handle,
            listener,
            wanted,
            wanted_at: clock.mono(),
            clock,
            sockets: Slab::new(),
            tokens: HashMap::new(),
            again: VecDeque::new(),
            scratch: vec![0; READ_BYTES],
            next_worker: 0,
            accept_at: None,
        };
        if let Some(listener) = &mut new.listener {
            new.poll.registry().register(listener, LISTEN, Interest::READABLE)?;
        }
        Ok(new)
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.handle.common.stopping.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, Some(self.patience()))
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "waiting for events");
                break;
            }
            self.turn(&events);
        }
        self.stop(&mut events);
    }

    /// How long to wait for events.
    fn patience(&self) -> Duration {
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        self.worker.next_tick().since(self.clock.mono()).min(Duration::from_millis(100))
    }

    fn turn(&mut self, events: &Events) {
        self.worker.begin_turn();
        for index in std::mem::take(&mut self.again) {
            self.read(index, false);
        }
        for event in events {
            match event.token() {
                WAKE => self.receive(),
                LISTEN => self.accept(),
                Token(token) => {
                    let index = token - FIRST_SOCKET;
                    let closed = event.is_read_closed() || event.is_error();
                    if event.is_readable() || closed {
                        self.read(index, closed);
                    }
                    if event.is_writable() {
                        self.write(index);
                    }
                }
            }
        }
        self.worker.end_turn();
        if self.clock.mono() >= self.worker.next_tick() {
            self.worker.tick();
        }
        self.flush();
        self.want_links();
        if self.accept_at.is_some_and(|at| at <= self.clock.mono()) {
            self.accept_at = None;
            self.accept();
        }
    }

    fn flush(&mut self) {
        loop {
            let flush = self.worker.take_flush();
            if flush.is_empty() {
                return;
            }
            for flush in flush {
                let place = match flush {
                    Flush::Connection(key) => Place::Client(key),
                    Flush::Link(key) => Place::Link(key),
                };
                if let Some(&index) = self.tokens.get(&place) {
                    self.write(index);
                }
            }
        }
    }

    fn receive(&mut self) {
        let arrivals = std::mem::take(&mut *self.handle.common.inboxes[self.index].arrivals.lock());
        for arrival in arrivals {
            match arrival {
                Arrival::Client(stream) => self.adopt_client(TcpStream::from_std(stream)),
                Arrival::Link { stream, peer, early } => {
                    let Some(key) = self.worker.link_opened(peer) else { continue };
                    if let Some(input) = self.worker.link_input(key) {
                        input.extend_from_slice(&early);
                    }
                    self.adopt(TcpStream::from_std(stream), Place::Link(key));
                    self.worker.process_link(key);
                }
            }
        }
        self.worker.receive_mail();
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let worker = self.next_worker;
                    self.next_worker = (self.next_worker + 1) % self.handle.workers();
                    if worker == self.index {
                        self.adopt_client(stream);
                        return self.accept();
                    }
                    self.handle.post(worker, Arrival::Client(stream.into()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    self.accept_at = Some(self.clock.mono() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn adopt_client(&mut self, mut stream: TcpStream) {
        let name =
            |addr: io::Result<std::net::SocketAddr>| addr.map_or_else(|_| "?:0".into(), |a| a.to_string());
        let (addr, laddr) = (name(stream.peer_addr()), name(stream.local_addr()));
        let fd = std::os::fd::AsRawFd::as_raw_fd(&stream);
        let Some(key) = self.worker.accept(addr, laddr, fd) else {
            // As Redis: tell, if the socket takes it at once, and close.
            if let Err(error) = stream.write(node::MAX_CLIENTS_REACHED) {
                tracing::debug!(%error, "refusing a client");
            }
            return;
        };
        if self.settings.keepalive > Duration::ZERO {
            let keepalive = socket2::TcpKeepalive::new().with_time(self.settings.keepalive);
            if let Err(error) = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
                tracing::debug!(%error, "setting keepalive");
            }
        }
        self.adopt(stream, Place::Client(key));
    }

    fn adopt(&mut self, mut stream: TcpStream, place: Place) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "setting TCP_NODELAY");
        }
        let entry = self.sockets.vacant_entry();
        let index = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(index + FIRST_SOCKET), interest)
        {
            tracing::warn!(%error, "cannot watch a connection");
            self.forget(place);
            return;
        }
        entry.insert(Socket { stream, place, ended: false, again: false });
        self.tokens.insert(place, index);
    }

    /// Reads what has arrived. `closed` says that the end of the stream is near and will not be announced again.
    fn read(&mut self, index: usize, closed: bool) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        let place = socket.place;
        socket.again = false;
        let mut received = 0;
        for round in 0..=READS_PER_TURN_MAX {
            let choked = matches!(place, Place::Client(key) if self.worker.is_choked(key));
            let Some(socket) = self.sockets.get_mut(index) else { return };
            if round == READS_PER_TURN_MAX || choked {
                socket.again = true;
                if !choked {
                    self.again.push_back(index);
                }
                break;
            }
            match socket.stream.read(&mut self.scratch) {
                Ok(0) => {
                    socket.ended = true;
                    break;
                }
                Ok(len) => {
                    received += len;
                    let input = match place {
                        Place::Client(key) => self.worker.input(key),
                        Place::Link(key) => self.worker.link_input(key),
                    };
                    if let (Some(input), Some(bytes)) = (input, self.scratch.get(..len)) {
                        input.extend_from_slice(bytes);
                    }
                    // A short read has emptied the socket: the next event says when there is more.
                    if len < READ_BYTES && !closed {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "reading");
                    socket.ended = true;
                    break;
                }
            }
        }
        self.run_input(index, place, received as u64);
    }

    fn run_input(&mut self, index: usize, place: Place, received: u64) {
        match place {
            Place::Client(key) => {
                if received > 0 {
                    self.worker.count_io(received, 0);
                    self.worker.process(key);
                }
            }
            Place::Link(key) => {
                self.worker.count_link_io(received, 0);
                self.worker.process_link(key);
            }
        }
        if self.sockets.get(index).is_some_and(|socket| socket.ended) {
            self.write(index);
        }
    }

    /// Writes what there is to write, and closes what is done.
    fn write(&mut self, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        let place = socket.place;
        let output = match place {
            Place::Client(key) => self.worker.output(key),
            Place::Link(key) => self.worker.link_output(key),
        };
        let Some(output) = output else { return self.close(index) };
        let mut sent = 0;
        let mut failed = false;
        while sent < output.len() {
            match socket.stream.write(output.get(sent..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "writing");
                    failed = true;
                    break;
                }
            }
        }
        if sent == output.len() {
            output.clear();
        } else {
            output.drain(..sent);
        }
        let empty = output.is_empty();
        let ended = socket.ended;
        let again = socket.again;
        let done = match place {
            Place::Client(key) => {
                self.worker.count_io(0, sent as u64);
                if empty {
                    self.worker.trim(key);
                }
                let quiet = self.worker.is_closing(key) || (ended && self.worker.is_answered(key));
                if again && !self.worker.is_choked(key) && !self.again.contains(&index) {
                    self.again.push_back(index);
                }
                empty && quiet
            }
            Place::Link(key) => {
                self.worker.count_link_io(0, sent as u64);
                self.worker.trim_link(key);
                ended || self.worker.is_link_closing(key)
            }
        };
        if done || failed {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        let Some(mut socket) = self.sockets.try_remove(index) else { return };
        self.tokens.remove(&socket.place);
        if let Err(error) = self.poll.registry().deregister(&mut socket.stream) {
            tracing::debug!(%error, "closing");
        }
        drop(socket.stream);
        self.forget(socket.place);
    }

    fn forget(&mut self, place: Place) {
        match place {
            Place::Client(key) => self.worker.closed(key),
            Place::Link(key) => self.worker.link_closed(key),
        }
    }

    fn want_links(&mut self) {
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

    /// Writes the last replies and closes everything.
    fn stop(&mut self, events: &mut Events) {
        self.listener = None;
        let deadline = self.clock.mono() + STOP_MAX;
        loop {
            self.worker.end_turn();
            self.flush();
            let open: Vec<usize> = self.sockets.iter().map(|(index, _)| index).collect();
            let unsent = open.into_iter().any(|index| self.has_output(index));
            if !unsent || self.clock.mono() >= deadline {
                return;
            }
            if self.poll.poll(events, Some(Duration::from_millis(10))).is_err() {
                return;
            }
            for event in events.iter().filter(|event| event.is_writable() && event.token().0 >= FIRST_SOCKET)
            {
                self.write(event.token().0 - FIRST_SOCKET);
            }
        }
    }

    fn has_output(&mut self, index: usize) -> bool {
        match self.sockets.get(index).map(|socket| socket.place) {
            Some(Place::Client(key)) => self.worker.output(key).is_some_and(|output| !output.is_empty()),
            _ => false,
        }
    }
}
