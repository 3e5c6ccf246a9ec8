//! One thread of load: the loop between the books and a wire.
//!
//! One turn: wait for replies, book all that came, then send what follows on every connection whose batch is answered. Replies
//! come first because a server that is told of several requests at once serves them at less cost than one after another,
//! which is how it meets them from clients on other machines.
//!
//! The clock is read once per wait and once per few sends. All replies of a wait lie in memory when it ends, so its reading is
//! theirs. A request counts as sent when the first of its few is: latencies come out too long by a few microseconds
//! at most, never too short.
//!
//! In the open loop (a rate is given) the thread never sleeps when a request is due within the wait's resolution of a
//! millisecond: it would be late by that much, and its own lateness would be measured as the server's.

use super::book::Book;
use super::tally::{Plan, Tally};
use super::wire::{Poller, RingWire, Wire};
use crate::config::IoBackend;
use std::io;
use std::net::TcpStream;
use std::time::Duration;
use stdx::Clock;

/// Silence after which a server counts as stuck.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Sends that count as sent at the same time, and are begun together.
const SENDS_TOGETHER_MAX: usize = 4;

/// One thread of load, with its connections.
pub(super) struct Driver<'a> {
    book: Book<'a>,
    backend: IoBackend,
    streams: Vec<TcpStream>,
    clock: Clock,
}

impl<'a> Driver<'a> {
    /// A thread that will use `streams` in a copy of its own, so that they outlive this stretch.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub(super) fn new(
        plan: &'a Plan<'a>,
        thread: usize,
        threads: usize,
        streams: &[&TcpStream],
        clock: Clock,
    ) -> io::Result<Driver<'a>> {
        let book = Book::new(plan, thread, threads, streams.len());
        let streams = streams.iter().map(|stream| stream.try_clone()).collect::<io::Result<_>>()?;
        Ok(Driver { book, backend: plan.options.backend, streams, clock })
    }

    /// Sends and receives until the limit, then waits for what is in flight.
    ///
    /// # Errors
    /// When a connection ends, answers nonsense, or the server is silent for too long; for a person.
    pub(super) fn run(self) -> Result<Tally, String> {
        // The ring belongs to the thread that makes it, so it is made here.
        let ring = match self.backend {
            IoBackend::Epoll => None,
            IoBackend::Auto => RingWire::ring().ok(),
            IoBackend::Uring => Some(RingWire::ring().map_err(|error| format!("no io_uring here: {error}"))?),
        };
        let unusable = |error: io::Error| format!("cannot set up connections: {error}");
        match ring {
            Some(ring) => {
                let wire = RingWire::new(ring, self.streams).map_err(unusable)?;
                drive(self.book, wire, &self.clock)
            }
            None => drive(self.book, Poller::new(self.streams).map_err(unusable)?, &self.clock),
        }
    }
}

fn drive<W: Wire>(mut book: Book<'_>, mut wire: W, clock: &Clock) -> Result<Tally, String> {
    let cpu_before = thread_cpu();
    book.begin(clock.mono());
    let mut due = Vec::new();
    loop {
        let now = clock.mono();
        let patience = book.release(now);
        send_due(&mut book, &mut wire, clock, &mut due)?;
        if book.is_over(now) {
            break;
        }
        if book.in_flight() > 0 && book.silence(now) > STALL_MAX {
            return Err(format!("{} requests without a reply for {STALL_MAX:?}", book.in_flight()));
        }
        wire.wait(patience, &mut book, clock)?;
    }
    let cpu = thread_cpu().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    Ok(book.finish(cpu))
}

fn send_due<W: Wire>(
    book: &mut Book<'_>,
    wire: &mut W,
    clock: &Clock,
    due: &mut Vec<usize>,
) -> Result<(), String> {
    book.take_due(due);
    let mut now = clock.mono();
    for (nth, index) in due.drain(..).enumerate() {
        if nth > 0 && nth % SENDS_TOGETHER_MAX == 0 {
            wire.push()?;
            now = clock.mono();
        }
        book.refill(index, now);
        wire.send(index, book)?;
    }
    Ok(())
}

/// Processor time of the calling thread, as Linux tells it in its scheduler statistics.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}
