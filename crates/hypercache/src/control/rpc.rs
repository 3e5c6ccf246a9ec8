//! Requests between the control planes of two nodes, over a control link.
//!
//! ```text
//! frame = length u32 of what follows | id u64 | kind u8 | payload          (big endian)
//! kind  = 1 Raft request | 2 other request | 3 Raft answer | 4 other answer
//! ```
//!
//! Raft's payloads are its own bytes; the others are JSON: a handful a second, and readable in a capture. Requests flow
//! from the node that dialed; many may be under way, answers come in any order. Each node keeps one link to every other
//! it talks to ([`Peers`]); the two directions are separate links, so that neither end waits for the other to dial.

mod client;
mod server;
#[cfg(test)]
mod tests;

use cluster::lease::{Grant, LeaseRefusal};
use cluster::{Applied, MapCommand, Member};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use stdx::NodeId;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::stats::NodeStats;
pub(super) use client::Peers;
pub(super) use server::serve_link;

/// Longest frame: a snapshot of the largest map is a few megabytes.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Id and kind.
const FRAME_HEAD_BYTES: usize = 9;
/// Frames waiting to be written to one link; more callers wait, or give up.
const OUTBOX_FRAMES_MAX: usize = 256;
/// Requests of one link that wait for answers, at either end.
const REQUESTS_MAX: usize = 1_024;

/// What one node asks of another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// For the Raft group there.
    #[serde(skip)]
    Raft(Vec<u8>),
    /// To the leader: admit the asking node, which describes itself so.
    Register(Box<Member>),
    /// To the leader: renew the asking node's lease.
    Lease,
    /// To the leader: commit this command.
    Propose(MapCommand),
    /// Whether the node is there.
    Probe,
    /// The node's present numbers.
    Stats,
}

/// What it is answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The Raft group's answer.
    #[serde(skip)]
    Raft(Vec<u8>),
    /// The command was committed, or the node admitted, with this outcome.
    Applied(Applied),
    /// The lease.
    Lease(Result<Grant, LeaseRefusal>),
    /// Ask the leader instead.
    NotLeader {
        /// Who that is, as far as known.
        leader: Option<Whereabouts>,
    },
    /// Not done; worth another try.
    Busy,
    /// No quorum in time; it may still happen.
    InDoubt,
    /// Not done, and no use to try again.
    Refused(String),
    /// Yes.
    Here,
    /// The numbers.
    Stats(NodeStats),
}

/// A node and its HTTP address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Whereabouts {
    pub(super) node: NodeId,
    pub(super) http: SocketAddr,
}

/// Who asks, as proved by the handshake of its link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asker {
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum FrameKind {
    RaftRequest = 1,
    Request = 2,
    RaftAnswer = 3,
    Answer = 4,
}

impl FrameKind {
    fn of(byte: u8) -> Option<FrameKind> {
        use FrameKind::{Answer, RaftAnswer, RaftRequest, Request};
        [RaftRequest, Request, RaftAnswer, Answer].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A frame as it arrived.
struct Frame {
    id: u64,
    kind: FrameKind,
    payload: Vec<u8>,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads one frame; `None` at the end of the stream.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let length = match stream.read_u32().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        length => length? as usize,
    };
    if !(FRAME_HEAD_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        return Err(malformed("a control frame of impossible length"));
    }
    let id = stream.read_u64().await?;
    let kind =
        FrameKind::of(stream.read_u8().await?).ok_or_else(|| malformed("a control frame of unknown kind"))?;
    let payload_len = length - FRAME_HEAD_BYTES;
    let mut payload = Vec::new();
    // Grows with what arrives, not with what is announced.
    stream.take(payload_len as u64).read_to_end(&mut payload).await?;
    if payload.len() < payload_len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Frame { id, kind, payload }))
}

fn encode_frame(id: u64, kind: FrameKind, payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = FRAME_HEAD_BYTES + payload.len();
    if length > FRAME_BYTES_MAX {
        return Err(malformed("too long for a control frame"));
    }
    let length = u32::try_from(length).expect("the maximum fits 32 bits");
    let mut bytes = Vec::with_capacity(4 + FRAME_HEAD_BYTES + payload.len());
    bytes.extend(length.to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.push(kind as u8);
    bytes.extend(payload);
    Ok(bytes)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("requests and answers have string keys and finite numbers")
}

impl Request {
    fn encode(&self, id: u64) -> io::Result<Vec<u8>> {
        match self {
            Request::Raft(bytes) => encode_frame(id, FrameKind::RaftRequest, bytes),
            other => encode_frame(id, FrameKind::Request, &json(other)),
        }
    }

    fn decode(frame: Frame) -> io::Result<Request> {
        match frame.kind {
            FrameKind::RaftRequest => Ok(Request::Raft(frame.payload)),
            FrameKind::Request => Ok(serde_json::from_slice(&frame.payload)?),
            FrameKind::RaftAnswer | FrameKind::Answer => {
                Err(malformed("an answer where requests are expected"))
            }
        }
    }
}

impl Answer {
    fn encode(&self, id: u64) -> io::Result<Vec<u8>> {
        match self {
            Answer::Raft(bytes) => encode_frame(id, FrameKind::RaftAnswer, bytes),
            other => encode_frame(id, FrameKind::Answer, &json(other)),
        }
    }

    fn decode(frame: Frame) -> io::Result<Answer> {
        match frame.kind {
            FrameKind::RaftAnswer => Ok(Answer::Raft(frame.payload)),
            FrameKind::Answer => Ok(serde_json::from_slice(&frame.payload)?),
            FrameKind::RaftRequest | FrameKind::Request => {
                Err(malformed("a request where answers are expected"))
            }
        }
    }
}
