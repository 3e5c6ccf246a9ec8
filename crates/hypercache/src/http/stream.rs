//! `GET /api/events/stream`: what the dashboard shows, as server-sent events (WHATWG HTML, section 9.2).
//!
//! Three kinds: `status` each second (`{"status": ..., "nodes": ...}`), `ring` at first and whenever it has changed,
//! and `log` for every event of the cluster, the recent ones first as one array. Streams share a snapshot of the
//! cluster, so that many open dashboards cost little more than one.

use super::connection::Activity;
use super::failure::Failure;
use super::respond::Body;
use super::{STREAMS_MAX, Server};
use bytes::Bytes;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, Mono};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time between two `status` events.
const STATUS_PERIOD: Duration = Duration::from_secs(1);
/// Snapshots are shared for so long.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_millis(500);
/// Events that wait for a client's connection.
const BACKLOG_MAX: usize = 8;
/// A client that takes nothing for so long is given up.
const STALL_MAX: Duration = Duration::from_secs(10);

/// The cluster at one moment.
struct Snapshot {
    status: Bytes,
    ring: String,
}

/// The latest snapshot.
#[derive(Default)]
pub(crate) struct Snapshots {
    latest: Mutex<Option<(Mono, Arc<Snapshot>)>>,
}

impl Snapshots {
    fn get(&self, clock: &Clock, take: impl FnOnce() -> Snapshot) -> Arc<Snapshot> {
        let now = clock.mono();
        let mut latest = self.latest.lock();
        if let Some((taken, snapshot)) = &*latest
            && now.since(*taken) < SNAPSHOT_AGE_MAX
        {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(take());
        *latest = Some((now, Arc::clone(&snapshot)));
        snapshot
    }
}

/// Opens a stream.
pub(crate) fn open(server: &Arc<Server>, activity: &Arc<Activity>) -> Result<Response<Body>, Failure> {
    let permit = Arc::clone(&server.streams).try_acquire_owned();
    let permit =
        permit.map_err(|_| Failure::unavailable(format!("there are {STREAMS_MAX} event streams already")))?;
    let (sender, events) = mpsc::channel(BACKLOG_MAX);
    tokio::spawn(feed(Arc::clone(server), sender, permit));
    let mut response = Response::new(Body::Stream { events, _busy: activity.begin() });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer (nginx does) would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Feeds a stream until the client is gone or the server stops.
async fn feed(server: Arc<Server>, sender: mpsc::Sender<Bytes>, permit: OwnedSemaphorePermit) {
    let mut events = server.admin.events();
    let mut stop = server.stop.clone();
    let mut ticks = interval(STATUS_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<Arc<Snapshot>> = None;
    let mut next = Bytes::from(event("log", &server.admin.recent_events_json()));
    while matches!(timeout(STALL_MAX, sender.send(next)).await, Ok(Ok(()))) {
        next = tokio::select! {
            biased;
            () = sender.closed() => break,
            _ = stop.wait_for(|stopped| *stopped) => break,
            happened = events.next() => match happened {
                Some(happened) => Bytes::from(event("log", &happened)),
                None => break,
            },
            _ = ticks.tick() => {
                let snapshot = server.snapshots.get(&server.clock, || take(&server));
                let text = tell(told.as_deref(), &snapshot);
                told = Some(snapshot);
                text
            }
        };
    }
    drop(permit);
}

fn take(server: &Server) -> Snapshot {
    let (status, nodes) = (server.admin.status_json(), server.admin.nodes_json());
    let status = event("status", &format!("{{\"status\":{status},\"nodes\":{nodes}}}"));
    Snapshot { status: Bytes::from(status), ring: server.admin.ring_json() }
}

/// What a client that was told `before` has to be told now.
fn tell(before: Option<&Snapshot>, now: &Snapshot) -> Bytes {
    if before.is_some_and(|before| before.ring == now.ring) {
        return now.status.clone();
    }
    let mut both = now.status.to_vec();
    both.extend_from_slice(event("ring", &now.ring).as_bytes());
    Bytes::from(both)
}

fn event(kind: &str, data: &str) -> String {
    debug_assert!(!data.contains(['\n', '\r']), "JSON for a stream is one line");
    format!("event: {kind}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Wall;

    #[test]
    fn snapshots_are_shared_for_a_while_and_the_ring_told_when_it_changed() {
        let clock = Clock::manual(Wall(1));
        let snapshots = Snapshots::default();
        let take = |ring: &str| Snapshot { status: Bytes::from_static(b"s"), ring: ring.to_owned() };
        let first = snapshots.get(&clock, || take("[1]"));
        assert!(Arc::ptr_eq(&first, &snapshots.get(&clock, || take("[2]"))));
        clock.advance(SNAPSHOT_AGE_MAX);
        let second = snapshots.get(&clock, || take("[2]"));
        assert_eq!(tell(None, &first), "sevent: ring\ndata: [1]\n\n");
        assert_eq!(tell(Some(&first), &second), "sevent: ring\ndata: [2]\n\n");
        assert_eq!(tell(Some(&second), &second), "s");
    }
}
