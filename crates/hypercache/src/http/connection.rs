//! One HTTP connection: hyper drives it; this module ends it when it is stopped, silent or stuck.
//!
//! hyper's own timeout for request heads sets a timer for every request. Here one timer per connection looks every
//! now and then whether a request was finished since it looked last: between one and two periods without any, the
//! connection is closed. That covers heads that trickle in, clients that do not read their response, and connections
//! that are merely idle, and costs a request one increment. Event streams and requests under way are left alone.

use super::respond::Body;
use super::{Server, service};
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use tracing::debug;

/// How long a new connection may take to send its first request.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(15);
/// A connection without a finished request for one to two of these periods is closed.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// What happens on one connection, as its timer sees it.
#[derive(Default)]
pub(crate) struct Activity {
    finished: AtomicU64,
    under_way: AtomicU32,
}

/// A request or an event stream under way.
pub(crate) struct Busy(Arc<Activity>);

impl Activity {
    /// Marks the connection busy until the mark is dropped.
    pub(crate) fn begin(self: &Arc<Activity>) -> Busy {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Drives a connection to its end.
pub(super) async fn drive(server: Arc<Server>, stream: TcpStream, place: OwnedSemaphorePermit) {
    server.counts.open.fetch_add(1, Ordering::Relaxed);
    if let Err(error) = run(&server, stream).await {
        debug!(%error, "an HTTP connection broke");
    }
    server.counts.open.fetch_sub(1, Ordering::Relaxed);
    drop(place);
}

async fn run(server: &Arc<Server>, stream: TcpStream) -> hyper::Result<()> {
    let activity = Arc::new(Activity::default());
    let service = service_fn(|request| {
        let (server, activity) = (Arc::clone(server), Arc::clone(&activity));
        async move { Ok::<Response<Body>, Infallible>(service::handle(&server, &activity, request).await) }
    });
    // The stream goes in as it is: links take it out again after their upgrade, as `TokioIo<TcpStream>`.
    let connection = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut look = pin!(sleep(FIRST_REQUEST_MAX));
    let mut stop = server.stop.clone();
    let (mut seen, mut stopping) = (0, false);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = look.as_mut() => {
                let finished = activity.finished.load(Ordering::Relaxed);
                if finished == seen && activity.under_way.load(Ordering::Relaxed) == 0 {
                    return Ok(());
                }
                seen = finished;
                look.set(sleep(IDLE_MAX));
            }
            _ = stop.wait_for(|stopped| *stopped), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
