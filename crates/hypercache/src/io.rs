//! The data plane's threads: each drives one [`node::Worker`] with an event loop of its own.
//!
//! Thread 0 accepts and deals connections out in turn. A connection or link stays with its thread, so commands on
//! local keys never change threads, and a forwarded command leaves and returns on the thread of its client.

mod epoll;

use mio::Waker;
use node::{LinkPeer, Shared, WantedLink, Worker};
use parking_lot::Mutex;
use std::io;
use std::net::{TcpListener, TcpStream};
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

struct Inbox {
    arrivals: Mutex<Vec<Arrival>>,
    waker: Waker,
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

/// The threads, to be joined at the end.
pub struct Threads {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

/// How connections are set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Number of threads, as many as the node has workers.
    pub threads: usize,
    /// TCP keepalive of clients; zero is off.
    pub keepalive: Duration,
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

/// Starts the threads on a bound listener.
pub fn start(
    settings: Settings,
    listener: TcpListener,
    shared: &Arc<Shared>,
    wanted: UnboundedSender<LinkRequest>,
) -> io::Result<Threads> {
    let mut polls = Vec::new();
    let mut inboxes = Vec::new();
    for _ in 0..settings.threads {
        let poll = mio::Poll::new()?;
        inboxes.push(Inbox {
            arrivals: Mutex::new(Vec::new()),
            waker: Waker::new(poll.registry(), epoll::WAKE)?,
        });
        polls.push(poll);
    }
    let common = Arc::new(Common { inboxes, stopping: AtomicBool::new(false) });
    for index in 0..settings.threads {
        let common = Arc::clone(&common);
        shared.set_waker(index, Box::new(move || wake(&common.inboxes[index])));
    }
    listener.set_nonblocking(true)?;
    let mut listener = Some(mio::net::TcpListener::from_std(listener));
    let mut threads = Vec::new();
    for (index, poll) in polls.into_iter().enumerate() {
        let worker = Worker::new(index, Arc::clone(shared));
        let handle = Handle { common: Arc::clone(&common) };
        let thread = epoll::Loop::new(
            index,
            settings,
            poll,
            worker,
            handle,
            listener.take(),
            wanted.clone(),
            shared.clock().clone(),
        )?;
        let name = format!("io-{index}");
        threads.push(std::thread::Builder::new().name(name).spawn(move || thread.run())?);
    }
    Ok(Threads { handle: Handle { common }, threads })
}
