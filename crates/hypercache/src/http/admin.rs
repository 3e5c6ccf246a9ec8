//! Health, and the administration of the cluster.

use super::failure::Failure;
use super::figures::{GossipFigures, RaftFigures};
use super::respond::{self, Body};
use super::{Server, json, key};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use std::pin::Pin;
use tokio::sync::broadcast;

/// A result that takes a while.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The cluster, as the HTTP port needs it. JSON is in one line.
pub trait Admin: Send + Sync + 'static {
    /// The JSON of `/api/cluster/status`.
    fn status_json(&self) -> String;
    /// A JSON array with `partition`, `primary`, `in_sync` and `learners` of every partition, by node names.
    fn ring_json(&self) -> String;
    /// A JSON object: what every node is doing (operations per second, latency, keys, ...), by node name.
    fn nodes_json(&self) -> String;
    /// Whether clients should be sent here: this node belongs to the cluster and every partition has a primary.
    fn is_ready(&self) -> bool;
    /// Whether this node knows a quorum.
    fn is_healthy(&self) -> bool;
    /// Why this node serves no more until it is restarted.
    fn failure(&self) -> Option<&str>;
    /// Members that answer.
    fn cluster_size(&self) -> usize;
    /// Begins to leave; done when that is accepted.
    fn leave(&self) -> Pending<'_, Result<(), String>>;
    /// Removes a member that is gone for good, by name or hexadecimal id.
    fn forget<'a>(&'a self, node: &'a str) -> Pending<'a, Result<(), String>>;
    /// What happens from now on.
    fn events(&self) -> Box<dyn EventFeed>;
    /// A JSON array of what happened lately, oldest first, in the form of [`EventFeed::next`].
    fn recent_events_json(&self) -> String;
    /// State of the Raft group, for `/metrics`.
    fn raft_figures(&self) -> RaftFigures;
    /// State of gossip, for `/metrics`.
    fn gossip_figures(&self) -> GossipFigures;
    /// Answers `GET /internal/link` and, if it is a peer's, takes the connection over after its upgrade.
    fn accept_link(&self, request: Request<Incoming>) -> Pending<'_, Response<Full<Bytes>>>;
}

/// Events of the cluster, as they happen. Receivers of a broadcast channel are feeds.
pub trait EventFeed: Send {
    /// The next one, a JSON object with `time_ms`, `level` and `text`; `None`: there will be no more. A reader that
    /// was too slow misses the oldest. Giving up the wait loses nothing.
    fn next(&mut self) -> Pending<'_, Option<String>>;
}

impl<T: Serialize + Clone + Send + 'static> EventFeed for broadcast::Receiver<T> {
    fn next(&mut self) -> Pending<'_, Option<String>> {
        Box::pin(async {
            loop {
                match self.recv().await {
                    Ok(event) => return Some(serde_json::to_string(&event).expect("an event is plain data")),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
    }
}

/// `GET /health`.
pub(crate) fn health(server: &Server) -> Response<Body> {
    let healthy = server.admin.is_healthy();
    let mut out = b"{\"healthy\":".to_vec();
    json::boolean(&mut out, healthy);
    write_node(&mut out, server);
    if let Some(reason) = server.admin.failure() {
        out.extend_from_slice(b",\"reason\":");
        json::string(&mut out, reason);
    }
    out.extend_from_slice(format!(",\"cluster_size\":{}}}", server.admin.cluster_size()).as_bytes());
    respond::json(if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, out)
}

/// `GET /livez`: whoever can answer is alive.
pub(crate) fn live(server: &Server) -> Response<Body> {
    let mut out = b"{\"alive\":true".to_vec();
    write_node(&mut out, server);
    out.push(b'}');
    respond::json(StatusCode::OK, out)
}

/// `GET /readyz`.
pub(crate) fn ready(server: &Server) -> Response<Body> {
    let reason = if server.admin.is_ready() {
        None
    } else if !server.admin.is_healthy() {
        Some("this node holds no lease: it belongs to no cluster yet, or has lost contact with the quorum")
    } else {
        Some("this node is not yet a full member, or a partition has no live primary")
    };
    let mut out = b"{\"ready\":".to_vec();
    json::boolean(&mut out, reason.is_none());
    write_node(&mut out, server);
    if let Some(reason) = reason {
        out.extend_from_slice(b",\"reason\":");
        json::string(&mut out, reason);
    }
    out.push(b'}');
    respond::json(if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, out)
}

/// `GET /api/cluster/status`.
pub(crate) fn status(server: &Server) -> Response<Body> {
    respond::fresh("application/json", server.admin.status_json())
}

/// `POST /api/cluster/leave`.
pub(crate) async fn leave(server: &Server) -> Result<Response<Body>, Failure> {
    server.admin.leave().await.map_err(refused)?;
    Ok(done(server, "Leaving: this node hands over its partitions and then stops"))
}

/// `POST /api/cluster/forget/{node}`.
pub(crate) async fn forget(server: &Server, encoded: &str) -> Result<Response<Body>, Failure> {
    let node = key::decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes.into_owned()).ok());
    let node =
        node.filter(|node| !node.is_empty()).ok_or_else(|| Failure::bad_request("no node is named"))?;
    server.admin.forget(&node).await.map_err(refused)?;
    Ok(done(server, &format!("Forgot {node}")))
}

/// `GET /internal/link`.
pub(crate) async fn link(server: &Server, request: Request<Incoming>) -> Response<Body> {
    server.admin.accept_link(request).await.map(Body::Whole)
}

fn refused(reason: String) -> Failure {
    Failure::new(StatusCode::CONFLICT, reason)
}

fn done(server: &Server, message: &str) -> Response<Body> {
    let mut out = b"{\"success\":true,\"message\":".to_vec();
    json::string(&mut out, message);
    write_node(&mut out, server);
    out.push(b'}');
    respond::json(StatusCode::OK, out)
}

fn write_node(out: &mut Vec<u8>, server: &Server) {
    out.extend_from_slice(b",\"node\":");
    json::string(out, &server.node_name);
}
