//! The HTTP port: the cache API, health, cluster administration, metrics, the dashboard, and the door to the links
//! between nodes.
//!
//! # Path of a request
//! [`serve`] accepts connections and gives each to a task (`connection`), where hyper speaks HTTP/1.1. Every request
//! goes to `service`: it takes or makes the correlation id, checks the password, and finds the handler by a plain
//! match on the path. There is no router in between: the routes are a dozen, the hot one is the first compared, and
//! wrong methods and unknown paths get the same JSON answers as everything else.
//!
//! `GET /api/cache/{key}` of a key that lives here is answered where it is parsed: the value is read on this thread
//! ([`Backend::read_now`]) and the response is written as bytes, so that no other thread, channel or JSON tree is
//! involved. Everything else of the cache API is a command handed to a worker, whose reply comes back over a channel.
//! Since HTTP/1.1 has one request at a time per connection, connections bound the commands under way.
//!
//! # What it is given
//! Keys and values come from a [`Backend`], the cluster from an [`Admin`], passwords from a [`Gate`]: three traits
//! with nothing in them that this module does not call, so that tests can stand in for a whole node.
//!
//! # Left out
//! HTTP/2, TLS, compression, ranges and conditional requests; CORS, since no page from elsewhere has business here.

mod admin;
mod auth;
mod backend;
mod cache;
mod connection;
mod control_admin;
mod correlation;
mod failure;
mod figures;
mod filters;
mod json;
mod key;
pub(crate) mod loading;
mod metrics;
mod node_backend;
mod page;
mod respond;
mod service;
mod stream;
mod value;

pub use admin::{Admin, EventFeed, Pending};
pub use auth::{Gate, OpenGate};
pub use backend::{Backend, Place, Respond};
pub use figures::{CommandFigures, Figures, FilterFigures, GossipFigures, Lag, RaftFigures};
pub use node_backend::{NodeBackend, UsersGate};
pub use value::{JSON_MARK, TTL_SECONDS_MAX};

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use stdx::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

/// Most connections at a time, those of other nodes that have not become links yet included.
pub const CONNECTIONS_MAX: u32 = 10_000;
/// Most event streams (open dashboards) at a time.
pub const STREAMS_MAX: usize = 64;
/// How long a stop waits for requests under way.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long accepting rests after it failed, as it does when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// What a connection beyond the limit is told.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 89\r\n\r\n\
    {\"success\":false,\"error\":\"Service Unavailable\",\"message\":\"too many HTTP connections now\"}";

/// What the server is built from.
pub struct HttpState {
    /// Keys and values.
    pub backend: Arc<dyn Backend>,
    /// The cluster.
    pub admin: Arc<dyn Admin>,
    /// Passwords.
    pub gate: Arc<dyn Gate>,
    /// Time, for the age of what event streams share and for logs.
    pub clock: Clock,
    /// This node's name, as it stands in every response.
    pub node_name: String,
    /// Most bytes of a request's body.
    pub max_body: usize,
}

/// All that handlers share.
pub(crate) struct Server {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) admin: Arc<dyn Admin>,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) clock: Clock,
    pub(crate) node_name: String,
    pub(crate) max_body: usize,
    pub(crate) correlations: correlation::Source,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) snapshots: stream::Snapshots,
    pub(crate) counts: Counts,
    pub(crate) page: page::Page,
    pub(crate) stop: watch::Receiver<bool>,
}

/// What the HTTP port counts about itself.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) open: AtomicU64,
    /// Responses by hundreds of their status: `[2]` counts 200 to 299.
    pub(crate) responses: [AtomicU64; 6],
}

impl Counts {
    pub(crate) fn responded(&self, status: u16) {
        if let Some(count) = self.responses.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Serves until `stop` says true or its sender is gone; then lets requests under way end, for a while.
///
/// Needs a tokio runtime with time and I/O; one with a single thread is enough.
///
/// # Errors
/// When the listener cannot be used at all. A failure of one connection ends that connection only.
pub async fn serve(
    listener: std::net::TcpListener,
    state: HttpState,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let server = Arc::new(Server {
        backend: state.backend,
        admin: state.admin,
        gate: state.gate,
        clock: state.clock,
        node_name: state.node_name,
        max_body: state.max_body,
        correlations: correlation::Source::new(),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        snapshots: stream::Snapshots::default(),
        counts: Counts::default(),
        page: page::Page::new(),
        stop: stop.clone(),
    });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    loop {
        tokio::select! {
            biased;
            // An error says that the sender is gone: nobody could stop us later, so it is a stop too.
            () = async { drop(stop.wait_for(|stopped| *stopped).await) } => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(&server, &places, stream),
                Err(error) => {
                    warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_MAX, places.acquire_many(CONNECTIONS_MAX)).await.is_err() {
        let left = server.counts.open.load(Ordering::Relaxed);
        info!(left, "HTTP requests still under way were cut off");
    }
    Ok(())
}

fn admit(server: &Arc<Server>, places: &Arc<Semaphore>, stream: TcpStream) {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        server.counts.refused.fetch_add(1, Ordering::Relaxed);
        // Best effort: a connection that takes not even these bytes at once learns it from the close.
        let _ = stream.try_write(REFUSAL);
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "an HTTP connection was gone at once");
        return;
    }
    server.counts.accepted.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(connection::drive(Arc::clone(server), stream, place));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_states_its_length() {
        let text = std::str::from_utf8(REFUSAL).expect("it is ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("it has a head");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
