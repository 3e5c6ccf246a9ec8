//! The wire on io_uring: receives are asked for once per connection, and the sends of a turn go with the next wait.
//!
//! A wait in the closed loop lets a few replies gather, a few microseconds at most: with fifty connections under way the
//! server has others to serve meanwhile, and waking this thread for every single reply would cost the server more than the
//! reply. A single connection waits for nothing but its reply, and so does the open loop.

use super::super::book::Book;
use super::{HUNG_UP, Wire, broken};
use crate::io::{Completion, Gather, Haste, Outgoing, Ring, Token, probe_ring};
use std::io;
use std::net::TcpStream;
use std::time::Duration;
use stdx::{Clock, Mono};

/// Longer outputs are sent patiently at once.
const PROMPT_BYTES_MAX: usize = 64 * 1024;
/// The share of the replies under way that may gather, and the most of them.
const GATHER_SHARE: usize = 6;
const GATHER_MAX: usize = 16;
/// Longest time that a reply waits for others, in microseconds.
const GATHER_US_MAX: u32 = 20;

struct Socket {
    stream: TcpStream,
    sending: bool,
}

/// Connections on one ring.
pub(in crate::load) struct RingWire {
    // Before the sockets: dropping the ring ends the operations on them.
    ring: Ring,
    sockets: Vec<Socket>,
    happened: Vec<Completion>,
    /// Connections to send on again: their outputs grew during a send.
    again: Vec<usize>,
}

impl RingWire {
    /// A ring for the calling thread.
    ///
    /// # Errors
    /// When the kernel, as this process may use it, lacks something.
    pub(in crate::load) fn ring() -> io::Result<Ring> {
        probe_ring()?;
        let mut ring = Ring::new()?;
        ring.enable()?;
        Ok(ring)
    }

    /// # Errors
    /// When the kernel refuses to receive.
    pub(in crate::load) fn new(ring: Ring, streams: Vec<TcpStream>) -> io::Result<RingWire> {
        let sockets = streams.into_iter().map(|stream| Socket { stream, sending: false }).collect();
        let mut wire = RingWire { ring, sockets, happened: Vec::new(), again: Vec::new() };
        for index in 0..wire.sockets.len() {
            // What must not block fails instead of waiting in the ring.
            wire.sockets[index].stream.set_nonblocking(false)?;
            wire.receive(index)?;
        }
        Ok(wire)
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        self.ring.receive(&self.sockets[index].stream, token(index))
    }

    fn complete(&mut self, completion: Completion, book: &mut Book<'_>, now: Mono) -> Result<(), String> {
        match completion {
            Completion::Received { token, result, more } => {
                let index = token.index as usize;
                if !more {
                    self.receive(index).map_err(broken)?;
                }
                match result {
                    Ok(Some(filled)) => self.ring.take(filled, |bytes| book.receive(index, bytes, now)),
                    Ok(None) => Err(HUNG_UP.to_owned()),
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
                    Err(error) => Err(broken(error)),
                }
            }
            Completion::Sent { error: Some(error), .. } => Err(broken(error)),
            Completion::Sent { token, outgoing, error: None } => self.sent(token, outgoing, book),
            // Asked for by nobody here.
            Completion::Accepted { .. } | Completion::Woken { .. } => Ok(()),
        }
    }

    fn sent(&mut self, token: Token, outgoing: Outgoing, book: &mut Book<'_>) -> Result<(), String> {
        let index = token.index as usize;
        let socket = &mut self.sockets[index];
        if !outgoing.unsent().is_empty() {
            return self
                .ring
                .send(&socket.stream, token, outgoing, Haste::Patient)
                .map(|_| ())
                .map_err(broken);
        }
        socket.sending = false;
        book.tally.bytes_sent += outgoing.len_sent() as u64;
        let out = book.out(index);
        if out.is_empty() {
            *out = outgoing.into_buffer();
        } else {
            self.again.push(index);
        }
        Ok(())
    }
}

impl Wire for RingWire {
    fn send(&mut self, index: usize, book: &mut Book<'_>) -> Result<(), String> {
        let socket = &mut self.sockets[index];
        let out = book.out(index);
        // What a send under way cannot take is sent when it has ended.
        if socket.sending || out.is_empty() {
            return Ok(());
        }
        let haste = if out.len() <= PROMPT_BYTES_MAX { Haste::Prompt } else { Haste::Patient };
        let outgoing = Outgoing::new(std::mem::take(out));
        self.ring.send(&socket.stream, token(index), outgoing, haste).map_err(broken)?;
        socket.sending = true;
        Ok(())
    }

    fn push(&mut self) -> Result<(), String> {
        self.ring.submit().map_err(broken)
    }

    fn wait(&mut self, patience: Duration, book: &mut Book<'_>, clock: &Clock) -> Result<(), String> {
        let count = (book.reads_expected() / GATHER_SHARE).clamp(1, GATHER_MAX);
        let gather = Gather { count: count as u32, longest_us: GATHER_US_MAX };
        self.ring.wait_for(gather, patience, &mut self.happened).map_err(broken)?;
        let now = clock.mono();
        let mut happened = std::mem::take(&mut self.happened);
        for completion in happened.drain(..) {
            self.complete(completion, book, now)?;
        }
        self.happened = happened;
        let mut again = std::mem::take(&mut self.again);
        for index in again.drain(..) {
            self.send(index, book)?;
        }
        self.again = again;
        Ok(())
    }
}

fn token(index: usize) -> Token {
    // At most CONNECTIONS_MAX.
    Token { index: index as u32, generation: 0 }
}
