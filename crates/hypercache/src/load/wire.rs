//! How a thread of load moves bytes: on io_uring where it may, which costs less, or on epoll.

mod epoll;
mod uring;

pub(super) use epoll::Poller;
pub(super) use uring::RingWire;

use super::book::Book;
use std::io;
use std::time::Duration;
use stdx::Clock;

/// Moves the bytes of the connections, which it knows by their number in the books.
pub(super) trait Wire {
    /// Sends what a connection has to send, at the latest with the next wait.
    ///
    /// # Errors
    /// When the connection is broken; for a person.
    fn send(&mut self, index: usize, book: &mut Book<'_>) -> Result<(), String>;

    /// Lets go of what `send` has kept back.
    ///
    /// # Errors
    /// When the kernel refuses; for a person.
    fn push(&mut self) -> Result<(), String>;

    /// Waits for replies, at most `patience`, and books them.
    ///
    /// # Errors
    /// When a connection breaks or answers nonsense; for a person.
    fn wait(&mut self, patience: Duration, book: &mut Book<'_>, clock: &Clock) -> Result<(), String>;
}

fn broken(error: io::Error) -> String {
    format!("a connection broke: {error}")
}

/// What ends a run in which the server hangs up.
const HUNG_UP: &str = "the server closed a connection";
