//! Requests at a fixed rate, whether the server keeps up or not: each falls due at its time, and its latency counts from then.
//!
//! The thread spins, because `epoll_wait` sleeps for whole milliseconds: it wants a processor for itself.

use super::connection::Connection;
use crate::Result;
use crate::histogram::Histogram;
use mio::{Events, Poll};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const RECEIVE_BYTES: usize = 64 * 1024;
const STALL_MAX: Duration = Duration::from_secs(20);

/// Connections that take turns, and the schedule they follow.
pub(super) struct Paced {
    poll: Poll,
    events: Events,
    connections: Vec<(Connection, VecDeque<Instant>)>,
    buffer: Vec<u8>,
    origin: Instant,
    interval: Duration,
    /// Requests sent since the schedule began.
    sent: u32,
}

impl Paced {
    /// Connects; the schedule begins now.
    ///
    /// # Errors
    /// Those of the sockets.
    pub(super) fn connect(address: SocketAddr, connections: usize, per_second: u32) -> Result<Paced> {
        let poll = Poll::new()?;
        let open =
            |token| Ok((Connection::open(address, poll.registry(), token)?, VecDeque::with_capacity(64)));
        let connections = (0..connections).map(open).collect::<Result<_>>()?;
        Ok(Paced {
            poll,
            events: Events::with_capacity(256),
            connections,
            buffer: vec![0; RECEIVE_BYTES],
            origin: Instant::now(),
            interval: Duration::from_secs(1) / per_second,
            sent: 0,
        })
    }

    /// The schedule begins again now.
    pub(super) fn restart(&mut self) {
        (self.origin, self.sent) = (Instant::now(), 0);
    }

    /// Sends what falls due until so much time has passed since the schedule began, and waits for all replies. `request` adds
    /// the request of a number that falls due at a time.
    ///
    /// # Errors
    /// Those of the sockets, an error reply, and a server that does not answer at all.
    pub(super) fn run_until(
        &mut self,
        end: Duration,
        latencies: &mut Histogram,
        request: &mut dyn FnMut(u32, Instant, &mut Vec<u8>),
    ) -> Result<()> {
        let mut last_progress = Instant::now();
        loop {
            let now = Instant::now();
            let mut due = self.origin + self.interval * self.sent;
            let is_over = due.duration_since(self.origin) >= end;
            while due <= now && due.duration_since(self.origin) < end {
                let index = self.sent as usize % self.connections.len();
                let (connection, waiting) = &mut self.connections[index];
                request(self.sent, due, connection.out());
                connection.flush()?;
                waiting.push_back(due);
                self.sent += 1;
                due = self.origin + self.interval * self.sent;
            }
            let answered = self.receive(latencies)?;
            let is_idle = self.connections.iter().all(|(_, waiting)| waiting.is_empty());
            if is_over && is_idle {
                return Ok(());
            }
            if answered || is_idle {
                last_progress = now;
            } else if now.duration_since(last_progress) > STALL_MAX {
                return Err(format!("no reply for {STALL_MAX:?}").into());
            }
        }
    }

    /// Takes the replies that are there; whether there were any.
    fn receive(&mut self, latencies: &mut Histogram) -> Result<bool> {
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        let mut answered = false;
        for event in &self.events {
            let (connection, waiting) =
                self.connections.get_mut(event.token().0).ok_or("an event of no connection")?;
            if event.is_writable() {
                connection.flush()?;
            }
            let ended = connection.receive(&mut self.buffer)?;
            let now = Instant::now();
            for _ in 0..ended {
                let due = waiting.pop_front().ok_or("a reply to no request")?;
                latencies.record(now.duration_since(due));
                answered = true;
            }
        }
        Ok(answered)
    }
}
