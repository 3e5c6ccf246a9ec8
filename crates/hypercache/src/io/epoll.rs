//! The event loop on epoll (through mio), edge-triggered.
//!
//! One turn: wait, read what has arrived into the worker's buffers, run it all, then write every buffer that grew, so
//! that all replies of a turn leave in one write per connection, and all effects of a turn in one write per link. Each
//! of the three is done for all sockets before the next, which keeps its code and data in the processor's caches.
//! Reads are bounded per connection and turn; a connection with more to read is looked at again in the next turn,
//! after the others had theirs.

use super::Arrival;
use super::sockets::{ACCEPT_PAUSE, Core, Place, Places, STOP_MAX, set_nodelay};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use node::Flush;
use slab::Slab;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use stdx::Mono;

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

struct Socket {
    stream: TcpStream,
    place: Place,
    /// The peer will send no more.
    ended: bool,
    /// There may be more to read, but its turn is over or it is choked.
    again: bool,
    /// The last write found no room.
    full: bool,
    /// Bytes received in this turn.
    received: usize,
    /// In the list of those to run.
    ready: bool,
}

/// One thread's loop.
pub(super) struct Loop {
    core: Core,
    poll: Poll,
    listener: Option<TcpListener>,
    sockets: Slab<Socket>,
    places: Places,
    /// Room for what the worker wants written, used again.
    flushing: Vec<Flush>,
    again: VecDeque<usize>,
    /// What has been read from in this turn, to be run.
    ready: Vec<usize>,
    scratch: Vec<u8>,
    accept_at: Option<Mono>,
}

impl Loop {
    pub(super) fn new(core: Core, poll: Poll, mut listener: Option<TcpListener>) -> io::Result<Loop> {
        if let Some(listener) = &mut listener {
            poll.registry().register(listener, LISTEN, Interest::READABLE)?;
        }
        Ok(Loop {
            core,
            poll,
            listener,
            sockets: Slab::new(),
            places: Places::default(),
            flushing: Vec::new(),
            again: VecDeque::new(),
            ready: Vec::new(),
            scratch: vec![0; READ_BYTES],
            accept_at: None,
        })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        // What was posted before the waker was in place woke nobody.
        self.receive();
        while !self.core.is_stopping() {
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
        if self.again.is_empty() { self.core.patience() } else { Duration::ZERO }
    }

    fn turn(&mut self, events: &Events) {
        self.core.worker.begin_turn();
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
                    // Almost every event says that there is room too; the replies of a turn leave together at its end.
                    if event.is_writable() && self.sockets.get(index).is_some_and(|socket| socket.full) {
                        self.write(index);
                    }
                }
            }
        }
        let mut ready = std::mem::take(&mut self.ready);
        let sockets = ready.iter().filter_map(|index| self.sockets.get(*index));
        let arrived = sockets.filter(|socket| socket.ready && socket.received > 0);
        self.core.expect(arrived.map(|socket| socket.place));
        for index in ready.drain(..) {
            self.run_input(index);
        }
        self.ready = ready;
        self.core.worker.end_turn();
        self.core.tick();
        self.flush();
        self.core.want_links();
        if self.accept_at.is_some_and(|at| at <= self.core.clock.mono()) {
            self.accept_at = None;
            self.accept();
        }
    }

    fn flush(&mut self) {
        loop {
            let mut flush = std::mem::take(&mut self.flushing);
            self.core.worker.take_flush(&mut flush);
            if flush.is_empty() {
                self.flushing = flush;
                return;
            }
            for flush in flush.drain(..) {
                let place = match flush {
                    Flush::Connection(key) => Place::Client(key),
                    Flush::Link(key) => Place::Link(key),
                };
                if let Some(index) = self.places.get(place) {
                    self.write(index);
                }
            }
            self.flushing = flush;
        }
    }

    fn receive(&mut self) {
        for arrival in self.core.take_arrivals() {
            match arrival {
                Arrival::Client(stream) => self.adopt_client(TcpStream::from_std(stream)),
                Arrival::Link { stream, peer, early } => {
                    let Some(key) = self.core.worker.link_opened(peer) else { continue };
                    if let Some(input) = self.core.worker.link_input(key) {
                        input.extend_from_slice(&early);
                    }
                    self.adopt(TcpStream::from_std(stream), Place::Link(key));
                    self.core.worker.process_link(key);
                }
            }
        }
        self.core.worker.receive_mail();
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Some(stream) = self.core.deal(stream) {
                        self.adopt_client(stream);
                        return self.accept();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    self.accept_at = Some(self.core.clock.mono() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn adopt_client(&mut self, stream: TcpStream) {
        if let Some(place) = self.core.admit(&stream) {
            self.adopt(stream, place);
        }
    }

    fn adopt(&mut self, mut stream: TcpStream, place: Place) {
        set_nodelay(&stream);
        let entry = self.sockets.vacant_entry();
        let index = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(index + FIRST_SOCKET), interest)
        {
            tracing::warn!(%error, "cannot watch a connection");
            self.core.forget(place);
            return;
        }
        entry.insert(Socket {
            stream,
            place,
            ended: false,
            again: false,
            full: false,
            received: 0,
            ready: false,
        });
        self.places.insert(place, index);
    }

    /// Reads what has arrived. `closed` says that the end of the stream is near and will not be announced again.
    fn read(&mut self, index: usize, closed: bool) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        let place = socket.place;
        socket.again = false;
        let mut received = 0;
        for round in 0..=READS_PER_TURN_MAX {
            let choked = self.core.is_choked(place);
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
                    if let (Some(input), Some(bytes)) = (self.core.input(place), self.scratch.get(..len)) {
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
        let Some(socket) = self.sockets.get_mut(index) else { return };
        socket.received += received;
        if !std::mem::replace(&mut socket.ready, true) {
            self.ready.push(index);
        }
    }

    /// Runs what has arrived on one socket.
    fn run_input(&mut self, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        // The place of a socket that was closed in this turn may have been taken by a new one, which is not ready.
        if !std::mem::take(&mut socket.ready) {
            return;
        }
        let (place, received, ended) = (socket.place, std::mem::take(&mut socket.received), socket.ended);
        self.core.run(place, received);
        if ended {
            self.write(index);
        }
    }

    /// Writes what there is to write, and closes what is done.
    fn write(&mut self, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        let place = socket.place;
        let Some(output) = self.core.output(place) else { return self.close(index) };
        let mut sent = 0;
        let mut failed = false;
        socket.full = false;
        while sent < output.len() {
            match socket.stream.write(output.get(sent..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    socket.full = true;
                    break;
                }
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
        let (ended, again) = (socket.ended, socket.again);
        let done = self.core.sent(place, sent, empty, ended);
        if again && !self.core.is_choked(place) && !self.again.contains(&index) {
            self.again.push_back(index);
        }
        if done || failed {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        let Some(mut socket) = self.sockets.try_remove(index) else { return };
        self.places.remove(socket.place);
        if let Err(error) = self.poll.registry().deregister(&mut socket.stream) {
            tracing::debug!(%error, "closing");
        }
        drop(socket.stream);
        self.core.forget(socket.place);
    }

    /// Writes the last replies and closes everything.
    fn stop(&mut self, events: &mut Events) {
        self.listener = None;
        let deadline = self.core.clock.mono() + STOP_MAX;
        loop {
            self.core.worker.end_turn();
            self.flush();
            let open: Vec<usize> = self.sockets.iter().map(|(index, _)| index).collect();
            let unsent = open.into_iter().any(|index| self.has_output(index));
            if !unsent || self.core.clock.mono() >= deadline {
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
            Some(Place::Client(key)) => self.core.worker.output(key).is_some_and(|output| !output.is_empty()),
            _ => false,
        }
    }
}
