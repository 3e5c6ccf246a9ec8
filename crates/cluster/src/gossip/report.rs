//! What the driver tells its owner: events, datagrams to send, refusals and counters.

use super::identity::Identity;
use std::fmt;
use std::net::SocketAddr;
use stdx::NodeId;

/// How a member is seen from here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// Somebody got no answer from it; it still counts as a member and may refute.
    Suspect,
    /// It did not refute in time.
    Down,
    /// It said that it leaves.
    Left,
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemberState::Alive => "alive",
            MemberState::Suspect => "suspect",
            MemberState::Down => "down",
            MemberState::Left => "left",
        })
    }
}

/// Identifies a user event in the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId {
    /// The node that raised it.
    pub node: NodeId,
    /// The incarnation of that node.
    pub incarnation: u64,
    /// Its place among the events of that process, from 1.
    pub counter: u64,
}

/// Something that changed in the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A member appeared, came back, or runs as a new process: an incarnation higher than the one known before means
    /// that its memory is new.
    Up(Identity),
    /// A member failed.
    Down(Identity),
    /// A member left on purpose.
    Left(Identity),
    /// A live member goes on under a new identity: it rejoined, or restarted before anybody noticed (then
    /// [`Event::Up`] with the new incarnation follows).
    Renamed {
        /// What it was known as.
        old: Identity,
        /// What it is known as from now on.
        new: Identity,
    },
    /// Peers had declared this node down; it rejoins by itself under the identity given. A `bump` that keeps growing
    /// means that peers refuse it for good: another process uses this node's id with a higher incarnation.
    SelfDown(Identity),
    /// A user event that another node raised; each arrives once.
    User {
        /// The node that raised it.
        from: NodeId,
        /// What kind of event it is.
        name: String,
        /// What it says.
        payload: Vec<u8>,
        /// Its cluster-wide id.
        id: EventId,
    },
}

/// What a call produced. The owner drains both after every call.
#[derive(Default, Debug)]
pub struct Outputs {
    /// Datagrams to send, each at most [`DATAGRAM_BYTES_MAX`](super::DATAGRAM_BYTES_MAX) bytes.
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Why a datagram was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReceiveError {
    /// Not a datagram of this protocol, or damaged on the way.
    Malformed(&'static str),
    /// Of a protocol version this build does not speak.
    Version(u8),
    /// Plain although a secret is configured here, or sealed although none is.
    Mode {
        /// Whether the datagram is sealed.
        sealed: bool,
    },
    /// Sealed with another secret, or forged.
    Authentication,
    /// The sender's wall clock and ours are further apart than the window allows.
    Skew {
        /// The difference.
        apart_ms: u64,
    },
    /// Seen before, or so late that this can no longer be told.
    Replayed,
    /// Too many senders are known already.
    TooManySenders,
    /// Our own datagram came back.
    FromOurselves,
    /// Authentic, but the engine cannot make sense of what is inside.
    Content(String),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiveError::Malformed(what) => write!(f, "malformed datagram: {what}"),
            ReceiveError::Version(version) => write!(f, "unknown gossip version {version}"),
            ReceiveError::Mode { sealed: true } => {
                f.write_str("the datagram is sealed, but this node has no cluster secret")
            }
            ReceiveError::Mode { sealed: false } => {
                f.write_str("the datagram is not sealed, but this node has a cluster secret")
            }
            ReceiveError::Authentication => f.write_str("the datagram is sealed with another cluster secret"),
            ReceiveError::Skew { apart_ms } => {
                write!(f, "the sender's clock is {apart_ms} ms away from ours")
            }
            ReceiveError::Replayed => f.write_str("the datagram was seen before"),
            ReceiveError::TooManySenders => f.write_str("too many gossip senders"),
            ReceiveError::FromOurselves => f.write_str("our own datagram came back"),
            ReceiveError::Content(what) => write!(f, "unusable gossip message: {what}"),
        }
    }
}

impl std::error::Error for ReceiveError {}

/// Why a user event was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserEventError {
    /// Name and payload together exceed [`EVENT_BYTES_MAX`](super::EVENT_BYTES_MAX), or the name alone its own limit.
    TooLarge,
    /// [`EVENTS_QUEUED_MAX`](super::EVENTS_QUEUED_MAX) events wait to be spread.
    Backlogged,
}

impl fmt::Display for UserEventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UserEventError::TooLarge => "the event is too large for gossip",
            UserEventError::Backlogged => "too many events wait to be spread",
        })
    }
}

impl std::error::Error for UserEventError {}

/// Counters since the start of the process.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Datagrams handed out for sending.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams taken in, good or bad.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Refused: wrong secret, forged, or of the other mode.
    pub rejected_auth: u64,
    /// Refused: seen before.
    pub rejected_replay: u64,
    /// Refused: clocks too far apart.
    pub rejected_skew: u64,
    /// Refused: not of this protocol, damaged, or without sense.
    pub rejected_malformed: u64,
    /// Refused: more senders than the replay table holds.
    pub rejected_senders: u64,
    /// Own datagrams that came back.
    pub from_ourselves: u64,
    /// Probes that nobody answered.
    pub probes_failed: u64,
    /// Answers to probes, direct or through others.
    pub probes_answered: u64,
    /// Suspicions about this node that it refuted.
    pub refutations: u64,
    /// Times this process stood still for longer than a probe period.
    pub stalls: u64,
    /// User events delivered.
    pub user_events: u64,
    /// Faults the engine reported about its own sequence of calls.
    pub engine_faults: u64,
}

impl Stats {
    pub(super) fn count_refusal(&mut self, error: &ReceiveError) {
        *match error {
            ReceiveError::Mode { .. } | ReceiveError::Authentication => &mut self.rejected_auth,
            ReceiveError::Replayed => &mut self.rejected_replay,
            ReceiveError::Skew { .. } => &mut self.rejected_skew,
            ReceiveError::TooManySenders => &mut self.rejected_senders,
            ReceiveError::FromOurselves => &mut self.from_ourselves,
            ReceiveError::Malformed(_) | ReceiveError::Version(_) | ReceiveError::Content(_) => {
                &mut self.rejected_malformed
            }
        } += 1;
    }
}
