//! The data plane's threads: each drives one [`node::Worker`] with an event loop of its own.
//!
//! Thread 0 accepts and deals connections out in turn. A connection or link stays with its thread, so commands on
//! local keys never change threads, and a forwarded command leaves and returns on the thread of its client.
//!
//! There are two loops, on io_uring and on epoll, which do the same to the worker; what they share is in `sockets`.
//! io_uring costs less per request, but many containers forbid it, which is found out by trying it at start.

mod epoll;
mod sockets;
mod uring;

// The load generator drives connections on the same ring.
pub(crate) use sockets::Outgoing;
pub(crate) use uring::{Completion, Gather, Haste, Ring, Token, probe as probe_ring};

use crate::config::IoBackend;
use node::{LinkPeer, Shared, WantedLink, Worker};
use parking_lot::Mutex;
use rustix::event::EventfdFlags;
use sockets::Core;
use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// A worker has no link to a member: somebody should open one and hand it over by [`Handle::adopt_link`].
#[derive(Clone, Copy, Debug)]
pub struct LinkRequest {
    /// The worker that wants it.
    pub worker: usize,
    /// To whom.
    pub wanted: WantedLink,
}

/// What arrives at a thread from others.
enum Arrival {
    Client(TcpStream),
    Link { stream: TcpStream, peer: LinkPeer, early: Vec<u8> },
}

/// How a thread is called while it waits.
enum Waker {
    /// Through its epoll instance.
    Poll(mio::Waker),
    /// By an eventfd that its ring watches.
    Event(OwnedFd),
}

impl Waker {
    fn wake(&self) -> io::Result<()> {
        match self {
            Waker::Poll(waker) => waker.wake(),
            Waker::Event(event) => Ok(rustix::io::write(event, &1u64.to_ne_bytes()).map(|_| ())?),
        }
    }
}

struct Inbox {
    arrivals: Mutex<Vec<Arrival>>,
    waker: Waker,
}

impl Inbox {
    fn new(waker: Waker) -> Inbox {
        Inbox { arrivals: Mutex::new(Vec::new()), waker }
    }
}

struct Common {
    inboxes: Vec<Inbox>,
    stopping: AtomicBool,
}

/// Reaches the threads from outside.
#[derive(Clone)]
pub struct Handle {
    common: Arc<Common>,
}

/// What the threads wait with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl Backend {
    /// As INFO and the log call it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Uring => "io_uring",
            Backend::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The threads, to be joined at the end.
pub struct Threads {
    handle: Handle,
    backend: Backend,
    threads: Vec<JoinHandle<()>>,
}

/// How connections are set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Number of threads, as many as the node has workers.
    pub threads: usize,
    /// TCP keepalive of clients; zero is off.
    pub keepalive: Duration,
    /// What they wait with.
    pub backend: IoBackend,
}

impl Handle {
    /// Hands an authenticated link to a thread. `early` are bytes already read behind the handshake.
    pub fn adopt_link(&self, worker: usize, stream: TcpStream, peer: LinkPeer, early: Vec<u8>) {
        self.post(worker % self.common.inboxes.len(), Arrival::Link { stream, peer, early });
    }

    /// Number of threads.
    pub fn workers(&self) -> usize {
        self.common.inboxes.len()
    }

    /// Asks all threads to write out what they have and stop.
    pub fn stop(&self) {
        self.common.stopping.store(true, Ordering::Release);
        self.common.inboxes.iter().for_each(wake);
    }

    fn post(&self, worker: usize, arrival: Arrival) {
        let inbox = &self.common.inboxes[worker];
        inbox.arrivals.lock().push(arrival);
        wake(inbox);
    }
}

fn wake(inbox: &Inbox) {
    if let Err(error) = inbox.waker.wake() {
        // An eventfd write fails only if the descriptor is gone, that is, when the thread has ended.
        tracing::debug!(%error, "waking an io thread");
    }
}

impl Threads {
    /// The handle.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What they wait with.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Stops the threads and waits for them.
    pub fn join(self) {
        self.handle.stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("an io thread panicked");
            }
        }
    }
}

/// One event loop per thread, before the threads run.
enum Selectors {
    Poll(Vec<mio::Poll>),
    Ring(Vec<uring::Ring>),
}

/// Starts the threads on a bound listener. An error if io_uring is asked for by name and refused.
pub fn start(
    settings: Settings,
    listener: TcpListener,
    shared: &Arc<Shared>,
    wanted: UnboundedSender<LinkRequest>,
) -> io::Result<Threads> {
    let (selectors, inboxes) = choose(settings)?;
    let common = Arc::new(Common { inboxes, stopping: AtomicBool::new(false) });
    for index in 0..settings.threads {
        let common = Arc::clone(&common);
        shared.set_waker(index, Box::new(move || wake(&common.inboxes[index])));
    }
    let core = |index| {
        let worker = Worker::new(index, Arc::clone(shared));
        let handle = Handle { common: Arc::clone(&common) };
        Core::new(index, settings, worker, handle, wanted.clone(), shared.clock().clone())
    };
    let mut threads = Vec::new();
    let backend = match selectors {
        Selectors::Poll(polls) => {
            listener.set_nonblocking(true)?;
            let mut listener = Some(mio::net::TcpListener::from_std(listener));
            for (index, poll) in polls.into_iter().enumerate() {
                let each = epoll::Loop::new(core(index), poll, listener.take())?;
                threads.push(spawn(index, move || each.run())?);
            }
            Backend::Epoll
        }
        Selectors::Ring(rings) => {
            let mut listener = Some(listener);
            for (index, ring) in rings.into_iter().enumerate() {
                let each = uring::Loop::new(core(index), ring, listener.take());
                threads.push(spawn(index, move || each.run())?);
            }
            Backend::Uring
        }
    };
    tracing::info!("{} io threads on {backend}", settings.threads);
    Ok(Threads { handle: Handle { common }, backend, threads })
}

fn spawn(index: usize, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("io-{index}")).spawn(run)
}

/// Makes the event loops of the backend that was asked for, or of the best there is.
fn choose(settings: Settings) -> io::Result<(Selectors, Vec<Inbox>)> {
    match settings.backend {
        IoBackend::Epoll => polls(settings.threads),
        IoBackend::Uring => rings(settings.threads).map_err(|error| {
            let text = format!(
                "io-backend uring: io_uring cannot be used here ({error}); auto and epoll would work"
            );
            io::Error::new(error.kind(), text)
        }),
        IoBackend::Auto => rings(settings.threads).or_else(|error| {
            tracing::warn!(
                "io_uring cannot be used here ({error}); falling back to epoll, which is somewhat slower"
            );
            polls(settings.threads)
        }),
    }
}

fn polls(threads: usize) -> io::Result<(Selectors, Vec<Inbox>)> {
    let (mut polls, mut inboxes) = (Vec::new(), Vec::new());
    for _ in 0..threads {
        let poll = mio::Poll::new()?;
        inboxes.push(Inbox::new(Waker::Poll(mio::Waker::new(poll.registry(), epoll::WAKE)?)));
        polls.push(poll);
    }
    Ok((Selectors::Poll(polls), inboxes))
}

fn rings(threads: usize) -> io::Result<(Selectors, Vec<Inbox>)> {
    // The kernel interrupts whatever the maker of a ring is doing when that ring goes: not our caller, but a thread
    // that has ended by then.
    let maker = std::thread::Builder::new().name("io-rings".into()).spawn(move || {
        uring::probe()?;
        (0..threads).map(|_| uring::Ring::new()).collect::<io::Result<Vec<_>>>()
    })?;
    let rings = maker.join().map_err(|_| io::Error::other("trying io_uring panicked"))??;
    let mut inboxes = Vec::new();
    for _ in 0..threads {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        inboxes.push(Inbox::new(Waker::Event(event)));
    }
    Ok((Selectors::Ring(rings), inboxes))
}
