//! The event loop on io_uring.
//!
//! One turn: tell the kernel what the last turn has queued and wait, in one call; take what has happened; run every
//! connection on which something has arrived, once, with all of it; then queue one send per buffer that grew. Accepting,
//! wake-ups and receiving are multishot: asked for once, they report until they are cancelled.
//!
//! Fairness: the kernel fills at most 32 buffers of one socket before it looks at the next, and all sockets together
//! never more than the ring has; what has arrived is run once per connection and turn.
//!
//! A socket has at most one receive and one send under way. Closing it cancels both; its descriptor is closed when the
//! last completion has come, so that no operation ever meets a descriptor that was given to somebody else.

mod probe;
mod sys;

pub(crate) use probe::probe;
pub(crate) use sys::{Completion, Gather, Haste, Ring, Token};

use super::sockets::{ACCEPT_PAUSE, Core, Outgoing, Place, Places, STOP_MAX, set_nodelay};
use super::{Arrival, Waker};
use node::Flush;
use slab::Slab;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use stdx::Mono;
use sys::{Filled, GENERATION_MASK, SendId};

/// Longer outputs are sent patiently at once: what a socket takes without waiting is a few hundred kilobytes at best.
const PROMPT_BYTES_MAX: usize = 64 * 1024;
/// Input that is run before what it led to is sent, give or take one socket's, while there are other nodes to hand work
/// to: they go on while the next is run. That is some hundred pipelined commands, and far more clients without a pipeline than are ready at once.
const BYTES_PER_TURN_MAX: usize = 40 * 1024;
/// Step of waiting while the loop stops.
const STOP_STEP: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    No,
    Yes,
    /// Cancelled, and not ended yet.
    Ending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    No,
    /// Ends with this turn's submission.
    Prompt,
    /// Ends when the peer has made room. `last`: when it began, the connection was to be closed after it.
    Patient {
        id: SendId,
        last: bool,
    },
}

struct Socket {
    stream: TcpStream,
    place: Place,
    generation: u32,
    receiving: Receiving,
    sending: Sending,
    /// Bytes received in this turn.
    received: usize,
    /// In the list of those to run.
    ready: bool,
    /// The peer will send no more.
    ended: bool,
    /// The worker has forgotten it; it only waits for its operations.
    closed: bool,
}

impl Socket {
    fn token(&self, index: usize) -> Token {
        Token { index: u32::try_from(index).expect("sockets are few"), generation: self.generation }
    }
}

/// One thread's loop.
pub(super) struct Loop {
    core: Core,
    // Before the sockets: dropping the ring ends the operations on them.
    ring: Ring,
    listener: Option<TcpListener>,
    sockets: Slab<Socket>,
    places: Places,
    /// Room for what the worker wants written, used again.
    flushing: Vec<Flush>,
    generation: u32,
    ready: Vec<usize>,
    accepting: bool,
    accept_at: Option<Mono>,
    watching: bool,
    /// A buffer could not be sent because a prompt send was under way: come back at once.
    hurry: bool,
    /// Nothing that arrives is looked at any more.
    stopping: bool,
}

impl Loop {
    pub(super) fn new(core: Core, ring: Ring, listener: Option<TcpListener>) -> Loop {
        Loop {
            core,
            ring,
            listener,
            sockets: Slab::new(),
            places: Places::default(),
            flushing: Vec::new(),
            generation: 0,
            ready: Vec::new(),
            accepting: false,
            accept_at: None,
            watching: false,
            hurry: false,
            stopping: false,
        }
    }

    pub(super) fn run(mut self) {
        let mut happened = Vec::new();
        let ended = self.ring.enable().and_then(|()| self.serve(&mut happened)).and_then(|()| {
            happened.clear();
            self.stop(&mut happened)
        });
        if let Err(error) = ended {
            tracing::error!(%error, "the ring has failed");
        }
    }

    fn serve(&mut self, happened: &mut Vec<Completion>) -> io::Result<()> {
        // What was posted before the waker was in place woke nobody.
        self.receive_arrivals()?;
        while !self.core.is_stopping() {
            self.arm()?;
            let patience =
                if std::mem::take(&mut self.hurry) { Duration::ZERO } else { self.core.patience() };
            self.ring.wait(patience, happened)?;
            self.turn(happened)?;
        }
        Ok(())
    }

    /// Starts what has ended and should go on.
    fn arm(&mut self) -> io::Result<()> {
        if !self.watching
            && let Waker::Event(event) = self.core.waker()
        {
            self.ring.watch(event)?;
            self.watching = true;
        }
        if let (Some(listener), false) = (&self.listener, self.accepting)
            && self.accept_at.is_none_or(|at| at <= self.core.clock.mono())
        {
            self.ring.accept(listener)?;
            (self.accepting, self.accept_at) = (true, None);
        }
        Ok(())
    }

    fn turn(&mut self, happened: &mut Vec<Completion>) -> io::Result<()> {
        self.core.worker.begin_turn();
        for completion in happened.drain(..) {
            self.complete(completion)?;
        }
        let mut ready = std::mem::take(&mut self.ready);
        let sockets = ready.iter().filter_map(|index| self.sockets.get(*index));
        self.core.expect(
            sockets.filter(|socket| !socket.closed && socket.received > 0).map(|socket| socket.place),
        );
        let bytes_max = if self.core.worker.has_links() { BYTES_PER_TURN_MAX } else { usize::MAX };
        let (mut run, mut bytes) = (0, 0);
        while let Some(&index) = ready.get(run).filter(|_| bytes < bytes_max) {
            bytes += self.sockets.get(index).map_or(0, |socket| socket.received);
            run += 1;
            self.run_input(index)?;
        }
        ready.drain(..run);
        // Nothing was pushed meanwhile; the rest has its turn as soon as what these led to is on its way.
        self.hurry |= !ready.is_empty();
        self.ready = ready;
        self.core.worker.end_turn();
        self.core.tick();
        self.flush()?;
        self.core.want_links();
        Ok(())
    }

    fn complete(&mut self, completion: Completion) -> io::Result<()> {
        match completion {
            Completion::Accepted { result, more } => {
                self.accepting = more;
                self.accepted(result)
            }
            Completion::Woken { more } => {
                self.watching = more;
                if self.stopping { Ok(()) } else { self.receive_arrivals() }
            }
            Completion::Received { token, result, more } => self.received(token, result, more),
            Completion::Sent { token, outgoing, error } => self.sent(token, outgoing, error),
        }
    }

    fn accepted(&mut self, result: io::Result<TcpStream>) -> io::Result<()> {
        match result {
            Ok(stream) if !self.stopping => match self.core.deal(stream) {
                Some(stream) => self.adopt_client(stream),
                None => Ok(()),
            },
            Ok(_) => Ok(()),
            Err(error) => {
                let passing = [libc::ECANCELED, libc::EINTR, libc::EAGAIN, libc::ECONNABORTED];
                if !error.raw_os_error().is_some_and(|code| passing.contains(&code)) {
                    tracing::warn!(%error, "cannot accept a client");
                    self.accept_at = Some(self.core.clock.mono() + ACCEPT_PAUSE);
                }
                Ok(())
            }
        }
    }

    fn receive_arrivals(&mut self) -> io::Result<()> {
        for arrival in self.core.take_arrivals() {
            match arrival {
                Arrival::Client(stream) => self.adopt_client(stream)?,
                Arrival::Link { stream, peer, early } => {
                    let Some(key) = self.core.worker.link_opened(peer) else { continue };
                    if let Some(input) = self.core.worker.link_input(key) {
                        input.extend_from_slice(&early);
                    }
                    if let Err(error) = stream.set_nonblocking(false) {
                        tracing::debug!(%error, "preparing a link");
                    }
                    self.adopt(stream, Place::Link(key))?;
                    self.core.worker.process_link(key);
                }
            }
        }
        self.core.worker.receive_mail();
        Ok(())
    }

    fn adopt_client(&mut self, stream: TcpStream) -> io::Result<()> {
        match self.core.admit(&stream) {
            Some(place) => self.adopt(stream, place),
            None => Ok(()),
        }
    }

    fn adopt(&mut self, stream: TcpStream, place: Place) -> io::Result<()> {
        set_nodelay(&stream);
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        let index = self.sockets.insert(Socket {
            stream,
            place,
            generation: self.generation,
            receiving: Receiving::No,
            sending: Sending::No,
            received: 0,
            ready: false,
            ended: false,
            closed: false,
        });
        self.places.insert(place, index);
        self.steer(index)
    }

    fn received(&mut self, token: Token, result: io::Result<Option<Filled>>, more: bool) -> io::Result<()> {
        let index = token.index as usize;
        let socket = self.sockets.get_mut(index).filter(|socket| socket.generation == token.generation);
        let Some(socket) = socket else {
            if let Ok(Some(filled)) = result {
                self.ring.take(filled, |_| ());
            }
            return Ok(());
        };
        if !more {
            socket.receiving = Receiving::No;
        }
        let deaf = socket.closed || self.stopping;
        match result {
            Ok(Some(filled)) => {
                let input = if deaf { None } else { self.core.input(socket.place) };
                socket.received += self.ring.take(filled, |bytes| {
                    if let Some(input) = input {
                        input.extend_from_slice(bytes);
                    }
                    bytes.len()
                });
            }
            Ok(None) => socket.ended = true,
            Err(error) => {
                let passing = [libc::ENOBUFS, libc::ECANCELED, libc::EINTR, libc::EAGAIN];
                if !error.raw_os_error().is_some_and(|code| passing.contains(&code)) {
                    tracing::debug!(%error, "receiving");
                    socket.ended = true;
                }
            }
        }
        if deaf {
            self.reap(index);
        } else if !std::mem::replace(&mut socket.ready, true) {
            self.ready.push(index);
        }
        Ok(())
    }

    /// Runs what has arrived on one socket.
    fn run_input(&mut self, index: usize) -> io::Result<()> {
        let Some(socket) = self.sockets.get_mut(index) else { return Ok(()) };
        socket.ready = false;
        let received = std::mem::take(&mut socket.received);
        if socket.closed {
            self.reap(index);
            return Ok(());
        }
        let (place, ended) = (socket.place, socket.ended);
        self.core.run(place, received);
        if ended { self.write(index) } else { self.steer(index) }
    }

    /// Receives, or stops receiving, as the worker can take it.
    fn steer(&mut self, index: usize) -> io::Result<()> {
        let Some(socket) = self.sockets.get_mut(index) else { return Ok(()) };
        if socket.closed || socket.ended || self.stopping {
            return Ok(());
        }
        let choked = self.core.is_choked(socket.place);
        match (socket.receiving, choked) {
            (Receiving::No, false) => {
                self.ring.receive(&socket.stream, socket.token(index))?;
                socket.receiving = Receiving::Yes;
            }
            (Receiving::Yes, true) => {
                self.ring.cancel_receive(socket.token(index))?;
                socket.receiving = Receiving::Ending;
            }
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        loop {
            let mut flush = std::mem::take(&mut self.flushing);
            self.core.worker.take_flush(&mut flush);
            if flush.is_empty() {
                self.flushing = flush;
                return Ok(());
            }
            for flush in flush.drain(..) {
                let place = match flush {
                    Flush::Connection(key) => Place::Client(key),
                    Flush::Link(key) => Place::Link(key),
                };
                if let Some(index) = self.places.get(place) {
                    self.write(index)?;
                }
            }
            self.flushing = flush;
        }
    }

    /// Sends what there is to send, and closes what is done.
    fn write(&mut self, index: usize) -> io::Result<()> {
        let Some(socket) = self.sockets.get_mut(index) else { return Ok(()) };
        if socket.closed {
            return Ok(());
        }
        let (place, ended) = (socket.place, socket.ended);
        if matches!(place, Place::Link(_)) && (ended || self.core.is_closing(place)) {
            // Nothing that a link still has to say is of use to a peer that is gone.
            return self.close(index);
        }
        let Some(output) = self.core.output(place) else { return self.close(index) };
        match socket.sending {
            Sending::No if output.is_empty() => return self.finish(index, 0),
            Sending::No => {}
            Sending::Prompt => {
                self.hurry = true;
                return Ok(());
            }
            // The worker has thrown the rest away: the client reads too slowly, or was killed.
            Sending::Patient { last: false, .. } if output.is_empty() && self.core.is_closing(place) => {
                return self.close(index);
            }
            Sending::Patient { .. } => return self.steer(index),
        }
        let outgoing = Outgoing::new(std::mem::take(output));
        let last = ended || self.core.is_closing(place);
        let prompt = !last && outgoing.unsent().len() <= PROMPT_BYTES_MAX;
        let haste = if prompt { Haste::Prompt } else { Haste::Patient };
        let id = self.ring.send(&socket.stream, socket.token(index), outgoing, haste)?;
        socket.sending = if prompt { Sending::Prompt } else { Sending::Patient { id, last } };
        self.steer(index)
    }

    fn sent(&mut self, token: Token, outgoing: Outgoing, error: Option<io::Error>) -> io::Result<()> {
        let index = token.index as usize;
        let socket = self.sockets.get_mut(index).filter(|socket| socket.generation == token.generation);
        let Some(socket) = socket else { return Ok(()) };
        let place = socket.place;
        if socket.closed {
            socket.sending = Sending::No;
            self.reap(index);
            return Ok(());
        }
        if let Some(error) = error {
            tracing::debug!(%error, "sending");
            socket.sending = Sending::No;
            return self.close(index);
        }
        if !outgoing.unsent().is_empty() {
            let last = match socket.sending {
                Sending::Patient { last, .. } => last,
                _ => false,
            };
            let id = self.ring.send(&socket.stream, token, outgoing, Haste::Patient)?;
            socket.sending = Sending::Patient { id, last };
            return Ok(());
        }
        socket.sending = Sending::No;
        let sent = outgoing.len_sent();
        let Some(output) = self.core.output(place) else { return self.close(index) };
        let buffer = outgoing.into_buffer();
        if output.is_empty() {
            if output.capacity() < buffer.capacity() {
                *output = buffer;
            }
            return self.finish(index, sent);
        }
        self.core.sent(place, sent, false, false);
        self.write(index)
    }

    /// Everything is sent: closes the socket if that was the last, otherwise goes on receiving.
    fn finish(&mut self, index: usize, sent: usize) -> io::Result<()> {
        let Some(socket) = self.sockets.get(index) else { return Ok(()) };
        let (place, ended) = (socket.place, socket.ended);
        if self.core.sent(place, sent, true, ended) { self.close(index) } else { self.steer(index) }
    }

    fn close(&mut self, index: usize) -> io::Result<()> {
        let Some(socket) = self.sockets.get_mut(index) else { return Ok(()) };
        if std::mem::replace(&mut socket.closed, true) {
            return Ok(());
        }
        let (place, token) = (socket.place, socket.token(index));
        if socket.receiving == Receiving::Yes {
            self.ring.cancel_receive(token)?;
            socket.receiving = Receiving::Ending;
        }
        if let Sending::Patient { id, .. } = socket.sending {
            self.ring.cancel_send(id)?;
        }
        self.places.remove(place);
        self.core.forget(place);
        self.reap(index);
        Ok(())
    }

    /// Lets go of a closed socket once nothing is under way on it.
    fn reap(&mut self, index: usize) {
        let done = |socket: &Socket| {
            socket.closed
                && socket.receiving == Receiving::No
                && socket.sending == Sending::No
                && !socket.ready
        };
        if self.sockets.get(index).is_some_and(done) {
            self.sockets.remove(index);
        }
    }

    /// Sends the last replies and closes everything.
    fn stop(&mut self, happened: &mut Vec<Completion>) -> io::Result<()> {
        self.stopping = true;
        if self.accepting {
            self.ring.cancel_accept()?;
        }
        let deadline = self.core.clock.mono() + STOP_MAX;
        loop {
            self.core.worker.end_turn();
            self.flush()?;
            let open: Vec<usize> = self.sockets.iter().map(|(index, _)| index).collect();
            let unsent = open.into_iter().any(|index| self.has_unsent(index));
            if !unsent || self.core.clock.mono() >= deadline {
                break;
            }
            self.ring.wait(STOP_STEP, happened)?;
            for completion in happened.drain(..) {
                self.complete(completion)?;
            }
        }
        Ok(())
    }

    fn has_unsent(&mut self, index: usize) -> bool {
        match self.sockets.get(index) {
            Some(Socket { closed: false, sending, place: Place::Client(key), .. }) => {
                *sending != Sending::No
                    || self.core.worker.output(*key).is_some_and(|output| !output.is_empty())
            }
            _ => false,
        }
    }
}
