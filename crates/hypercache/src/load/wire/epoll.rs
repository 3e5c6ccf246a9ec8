//! The wire on epoll (through mio), edge-triggered.
//!
//! A read that did not fill the buffer has taken all there was, so an operation without pipeline costs one read, one write and
//! its share of one wait.

use super::super::book::Book;
use super::{HUNG_UP, Wire, broken};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use stdx::Clock;

/// Bytes read with one call.
const READ_BYTES: usize = 256 * 1024;
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1_024;

struct Socket {
    stream: TcpStream,
    /// Bytes of the connection's output that are written.
    written: usize,
}

/// Connections watched by one epoll instance.
pub(in crate::load) struct Poller {
    poll: Poll,
    events: Events,
    sockets: Vec<Socket>,
    buffer: Vec<u8>,
}

impl Poller {
    /// # Errors
    /// When the system has no more descriptors or memory to watch them.
    pub(in crate::load) fn new(streams: Vec<std::net::TcpStream>) -> io::Result<Poller> {
        let poll = Poll::new()?;
        let mut sockets = Vec::with_capacity(streams.len());
        for (index, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            sockets.push(Socket { stream, written: 0 });
        }
        let events = Events::with_capacity(EVENTS_MAX);
        Ok(Poller { poll, events, sockets, buffer: vec![0; READ_BYTES] })
    }

    fn read(&mut self, index: usize, book: &mut Book<'_>, clock: &Clock) -> Result<(), String> {
        loop {
            match self.sockets[index].stream.read(&mut self.buffer) {
                Ok(0) => return Err(HUNG_UP.to_owned()),
                Ok(count) => {
                    book.receive(index, &self.buffer[..count], clock.mono())?;
                    if count < READ_BYTES {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

impl Wire for Poller {
    /// Writes as much as the socket takes; it tells when it takes more.
    fn send(&mut self, index: usize, book: &mut Book<'_>) -> Result<(), String> {
        let socket = &mut self.sockets[index];
        let mut sent = 0;
        let out = book.out(index);
        while socket.written < out.len() {
            match socket.stream.write(&out[socket.written..]) {
                Ok(0) => return Err(broken(ErrorKind::WriteZero.into())),
                Ok(count) => {
                    socket.written += count;
                    sent += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
        if socket.written == out.len() {
            out.clear();
            socket.written = 0;
        }
        book.tally.bytes_sent += sent;
        Ok(())
    }

    fn push(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn wait(&mut self, patience: Duration, book: &mut Book<'_>, clock: &Clock) -> Result<(), String> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(broken)?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let index = event.token().0;
            self.read(index, book, clock)?;
            // What found no room before, if anything: the event may say that there is some now.
            self.send(index, book)?;
        }
        self.events = events;
        Ok(())
    }
}
