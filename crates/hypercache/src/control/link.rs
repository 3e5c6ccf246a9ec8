//! Links between nodes: a connection on the HTTP port that both ends have proved their right to, then plain bytes.
//!
//! ```text
//! dialer                                                            acceptor
//!   GET /internal/link, Upgrade: hypercache-link/2
//!     cluster, from, from incarnation, to, to incarnation, kind,
//!     nonce A, proof = MAC("hello", all of these)             ---->  400, 401, 403 or 409 with a reason, or
//!                         <----  101: incarnation, nonce B, MAC("acceptor", all of the above and B)
//!   MAC("dialer", all of the above and B), 32 bytes           ---->  checked before anything else is read
//!   ============= data frames (see the node crate) or control frames (see `rpc`) =============
//! ```
//!
//! MAC is HMAC-SHA256 under the cluster secret. The proof in the request only turns strangers away early and with a
//! reason; it can be replayed. The two MACs over both nonces cannot: they prove that each end knows the secret *now*, and
//! that both mean the same nodes, incarnations and kind. Roles are part of the MAC, so that none can be reflected.
//! Without a secret the same protocol runs under an empty key, where the configuration allows it.
//!
//! Left out: encryption of what follows. Links belong on a network that nobody else can read.

mod accept;
mod dial;
#[cfg(test)]
mod tests;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use stdx::NodeId;
use stdx::random::entropy;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::hex;
pub(super) use accept::{Greeted, Greeting};

/// Where links are asked for.
pub const LINK_PATH: &str = "/internal/link";
const PROTOCOL: &str = "hypercache-link/2";
/// Longest a handshake may take, from the first byte sent.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Handshakes in progress at once as acceptor, and as dialer.
const HANDSHAKES_MAX: usize = 256;
/// Silence after which the system asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);
const NONCE_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// The headers of a handshake. One spelling for both ends.
mod header {
    pub(super) const CLUSTER: &str = "x-hypercache-cluster";
    pub(super) const FROM: &str = "x-hypercache-from";
    pub(super) const FROM_INCARNATION: &str = "x-hypercache-from-incarnation";
    pub(super) const TO: &str = "x-hypercache-to";
    pub(super) const TO_INCARNATION: &str = "x-hypercache-to-incarnation";
    pub(super) const KIND: &str = "x-hypercache-kind";
    pub(super) const NONCE: &str = "x-hypercache-nonce";
    pub(super) const MAC: &str = "x-hypercache-mac";
    pub(super) const REASON: &str = "x-hypercache-reason";
}

/// What a link is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Forwarded commands and replication, for one worker.
    Data {
        /// The worker that asked for it.
        worker: u16,
    },
    /// Requests of the control plane.
    Control,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Data { worker } => write!(f, "data;worker={worker}"),
            Kind::Control => f.write_str("control"),
        }
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Kind> {
        match text.strip_prefix("data;worker=") {
            Some(worker) => worker.parse().ok().map(|worker| Kind::Data { worker }),
            None => (text == "control").then_some(Kind::Control),
        }
    }
}

/// Whom to dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// The node that must answer.
    pub(super) node: NodeId,
    /// The incarnation it must have; 0 for any.
    pub(super) incarnation: u64,
    /// Its HTTP address.
    pub(super) http: SocketAddr,
}

/// An established link.
#[derive(Debug)]
pub(super) struct Link {
    /// The connection, with TCP_NODELAY.
    pub(super) stream: TcpStream,
    /// Who is at the other end.
    pub(super) node: NodeId,
    /// And in which incarnation.
    pub(super) incarnation: u64,
    /// Bytes of what follows that arrived with the handshake.
    pub(super) early: Vec<u8>,
}

/// Why a link was not established.
#[derive(Debug)]
pub(super) enum LinkError {
    /// The connection failed.
    Io(io::Error),
    /// It took too long.
    Timeout,
    /// The other end refused.
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        reason: String,
    },
    /// The other end does not keep to the protocol.
    Protocol(&'static str),
    /// The other end does not know the cluster secret.
    Authentication,
    /// Links are switched off: no secret, and ports open to other machines.
    NoSecret,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Io(error) => error.fmt(f),
            LinkError::Timeout => f.write_str("no answer in time"),
            LinkError::Refused { status, reason } => write!(f, "refused ({status}): {reason}"),
            LinkError::Protocol(what) => write!(f, "not a link: {what}"),
            LinkError::Authentication => f.write_str("the other end does not know the cluster secret"),
            LinkError::NoSecret => f.write_str(NO_SECRET),
        }
    }
}

impl std::error::Error for LinkError {}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> LinkError {
        LinkError::Io(error)
    }
}

const NO_SECRET: &str = "links need a cluster-secret while the ports are open to other machines";

/// Everything a dialer says about the link it wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Offer {
    /// 0 while the dialer is part of no cluster.
    cluster: u64,
    from: NodeId,
    from_incarnation: u64,
    to: NodeId,
    /// 0 for any.
    to_incarnation: u64,
    kind: Kind,
    nonce: [u8; NONCE_BYTES],
}

/// What the acceptor adds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reply {
    incarnation: u64,
    nonce: [u8; NONCE_BYTES],
}

/// The cluster secret, ready for use.
#[derive(Clone)]
struct Key(Hmac<Sha256>);

impl Key {
    fn new(secret: &[u8]) -> Key {
        Key(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }

    /// All fields have a fixed length, so no two offers have the same text.
    fn over(&self, role: &[u8; 8], offer: &Offer, reply: Option<&Reply>) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(PROTOCOL.as_bytes());
        mac.update(role);
        let (kind, worker) = match offer.kind {
            Kind::Control => (0, 0),
            Kind::Data { worker } => (1, u64::from(worker)),
        };
        let numbers = [
            offer.cluster,
            offer.from.0,
            offer.from_incarnation,
            offer.to.0,
            offer.to_incarnation,
            kind,
            worker,
            reply.map_or(0, |reply| reply.incarnation),
        ];
        numbers.iter().for_each(|number| mac.update(&number.to_be_bytes()));
        mac.update(&offer.nonce);
        mac.update(&reply.map_or([0; NONCE_BYTES], |reply| reply.nonce));
        mac
    }

    fn hello(&self, offer: &Offer) -> Hmac<Sha256> {
        self.over(b"hello   ", offer, None)
    }

    fn acceptor(&self, offer: &Offer, reply: &Reply) -> Hmac<Sha256> {
        self.over(b"acceptor", offer, Some(reply))
    }

    fn dialer(&self, offer: &Offer, reply: &Reply) -> Hmac<Sha256> {
        self.over(b"dialer  ", offer, Some(reply))
    }
}

/// Compares in constant time.
fn is_mac(expected: Hmac<Sha256>, mac: &[u8]) -> bool {
    expected.verify_slice(mac).is_ok()
}

fn mac_bytes(mac: Hmac<Sha256>) -> [u8; MAC_BYTES] {
    mac.finalize().into_bytes().into()
}

/// Makes and takes links in the name of one process.
pub(super) struct Links {
    /// `None` switches links off.
    key: Option<Key>,
    me: NodeId,
    incarnation: u64,
    /// The cluster this node is part of, 0 for none.
    cluster: AtomicU64,
    accepting: Arc<Semaphore>,
    dialing: Semaphore,
}

impl Links {
    /// Links for this process. Without a secret they work only if `open_allowed`.
    pub(super) fn new(me: NodeId, incarnation: u64, secret: &str, open_allowed: bool) -> Links {
        Links {
            key: (!secret.is_empty() || open_allowed).then(|| Key::new(secret.as_bytes())),
            me,
            incarnation,
            cluster: AtomicU64::new(0),
            accepting: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            dialing: Semaphore::new(HANDSHAKES_MAX),
        }
    }

    /// From now on only nodes of this cluster, and those of none, are talked to.
    pub(super) fn set_cluster(&self, cluster: u64) {
        self.cluster.store(cluster, Ordering::Release);
    }

    fn cluster(&self) -> u64 {
        self.cluster.load(Ordering::Acquire)
    }
}

fn nonce() -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    entropy(&mut nonce);
    nonce
}

/// Small messages leave at once, and a vanished peer is noticed.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 2);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
