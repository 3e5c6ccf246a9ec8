//! Raft messages between nodes: opaque bytes to whoever carries them.
//!
//! A request names the node it is meant for, so that one that reaches a process which has taken over another's address
//! is refused instead of answered in the wrong name. Snapshots travel whole: the map is small.

use std::future::Future;
use std::io;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed,
    StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot, SnapshotMeta, Vote};
use serde::{Deserialize, Serialize};

use super::types::{RaftNode, TypeConfig};
use crate::map::ClusterMap;

/// Pause before a node that could not be reached is tried again.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(100);

/// Carries requests to other nodes; [`RaftHandle::serve`](super::RaftHandle::serve) answers them there.
pub trait RaftTransport: Send + Sync + 'static {
    /// Sends `request` to node `to` and returns its answer. Dropped when it takes too long.
    fn call(
        &self,
        to: u64,
        node: &RaftNode,
        request: Vec<u8>,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// A request on the wire.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    to: u64,
    call: Call,
}

#[derive(Debug, Serialize, Deserialize)]
enum Call {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<u64>),
    Snapshot(Box<SnapshotCall>),
}

#[derive(Debug, Serialize, Deserialize)]
struct SnapshotCall {
    vote: Vote<u64>,
    meta: SnapshotMeta<u64, RaftNode>,
    map: ClusterMap,
}

/// An answer on the wire.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Append(Result<AppendEntriesResponse<u64>, RaftError<u64>>),
    Vote(Result<VoteResponse<u64>, RaftError<u64>>),
    Snapshot(Result<SnapshotResponse<u64>, Fatal<u64>>),
    /// The request was not understood, or not meant for this node.
    Refused(String),
}

/// Answers one request.
pub(super) async fn serve(raft: &openraft::Raft<TypeConfig>, me: u64, request: &[u8]) -> Vec<u8> {
    let answer = match serde_json::from_slice::<Request>(request) {
        Err(error) => Answer::Refused(format!("malformed raft request: {error}")),
        Ok(Request { to, .. }) if to != me => {
            Answer::Refused(format!("meant for node {to}, this is node {me}"))
        }
        Ok(Request { call: Call::Append(call), .. }) => Answer::Append(raft.append_entries(call).await),
        Ok(Request { call: Call::Vote(call), .. }) => Answer::Vote(raft.vote(call).await),
        Ok(Request { call: Call::Snapshot(call), .. }) => {
            let SnapshotCall { vote, meta, map } = *call;
            let bytes = serde_json::to_vec(&map).expect("the map has integer keys and finite numbers only");
            let snapshot = Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) };
            Answer::Snapshot(raft.install_full_snapshot(vote, snapshot).await)
        }
    };
    serde_json::to_vec(&answer).expect("answers have string keys and finite numbers only")
}

/// Makes clients of other nodes.
pub(super) struct Network<T>(pub(super) Arc<T>);

impl<T: RaftTransport> RaftNetworkFactory<TypeConfig> for Network<T> {
    type Network = Client<T>;

    async fn new_client(&mut self, target: u64, node: &RaftNode) -> Client<T> {
        Client { transport: Arc::clone(&self.0), target, node: node.clone() }
    }
}

/// Sends to one other node.
pub(super) struct Client<T> {
    transport: Arc<T>,
    target: u64,
    node: RaftNode,
}

impl<T: RaftTransport> Client<T> {
    async fn call<E: std::error::Error>(
        &self,
        call: Call,
        timeout: Duration,
    ) -> Result<Answer, RPCError<u64, RaftNode, E>> {
        let request = Request { to: self.target, call };
        let bytes =
            serde_json::to_vec(&request).map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        let answer =
            match tokio::time::timeout(timeout, self.transport.call(self.target, &self.node, bytes)).await {
                Ok(answer) => answer,
                Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
            };
        // Unreachable rather than network errors: those are retried without a pause.
        let answer = answer.map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?;
        serde_json::from_slice(&answer).map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))
    }

    fn unexpected<E: std::error::Error>(answer: Answer) -> RPCError<u64, RaftNode, E> {
        let reason = match answer {
            Answer::Refused(reason) => reason,
            other => format!("unexpected answer: {other:?}"),
        };
        RPCError::Unreachable(Unreachable::new(&io::Error::other(reason)))
    }

    fn remote<E: std::error::Error>(&self, error: E) -> RPCError<u64, RaftNode, E> {
        RPCError::RemoteError(RemoteError::new(self.target, error))
    }
}

impl<T: RaftTransport> RaftNetwork<TypeConfig> for Client<T> {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, RaftNode, RaftError<u64>>> {
        match self.call(Call::Append(rpc), option.hard_ttl()).await? {
            Answer::Append(answer) => answer.map_err(|error| self.remote(error)),
            other => Err(Self::unexpected(other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, RaftNode, RaftError<u64>>> {
        match self.call(Call::Vote(rpc), option.hard_ttl()).await? {
            Answer::Vote(answer) => answer.map_err(|error| self.remote(error)),
            other => Err(Self::unexpected(other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let map = serde_json::from_slice(snapshot.snapshot.get_ref())
            .map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
        let call = Call::Snapshot(Box::new(SnapshotCall { vote, meta: snapshot.meta, map }));
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = self.call::<Fatal<u64>>(call, option.hard_ttl()) => answer,
        };
        match answer {
            Ok(Answer::Snapshot(Ok(answer))) => Ok(answer),
            Ok(Answer::Snapshot(Err(fatal))) => {
                Err(StreamingError::RemoteError(RemoteError::new(self.target, fatal)))
            }
            Ok(other) => {
                Err(StreamingError::Unreachable(Unreachable::new(&Self::unexpected::<Fatal<u64>>(other))))
            }
            Err(error) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }

    /// Never used: `full_snapshot` above replaces the chunked transfer that would call it.
    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, RPCError<u64, RaftNode, RaftError<u64, InstallSnapshotError>>>
    {
        let reason = io::Error::new(io::ErrorKind::Unsupported, "snapshots travel whole");
        Err(RPCError::Unreachable(Unreachable::new(&reason)))
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE))
    }
}
