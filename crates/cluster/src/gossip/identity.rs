//! Who a member is: the record that travels in every gossip message.
//!
//! The engine keeps one entry per [`foca::Identity::addr`], which is the node's stable id here, not its address: a
//! node that comes back on another address replaces its old entry instead of standing beside it. Among identities
//! of one node the greater one wins, in the order incarnation, bump, leaving: a restarted process beats its former
//! self, a renewed identity beats the one that was declared down, and a farewell beats both.
//!
//! Encoding, big endian: `node u64 | incarnation u64 | bump u32 | flags u8 | name length u8 | name | gossip address |
//! http | resp`. An address is 4 or 16 bytes of IP and a port; http and resp leave out an IP equal to gossip's.

use super::wire::{DecodeError, Reader};
use std::net::{IpAddr, SocketAddr};
use stdx::NodeId;

/// Longest name of a node in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Most bytes an encoded identity takes: fixed part, name, three IPv6 addresses.
pub(super) const IDENTITY_BYTES_MAX: usize = 8 + 8 + 4 + 1 + 1 + NAME_BYTES_MAX + 3 * 18;
/// The id that stands for "whoever listens there"; no node may carry it.
pub(super) const NODE_UNKNOWN: NodeId = NodeId(0);

const FLAG_LEAVING: u8 = 1;
const FLAG_GOSSIP_V6: u8 = 1 << 1;
const FLAG_HTTP_V6: u8 = 1 << 2;
const FLAG_HTTP_OWN_IP: u8 = 1 << 3;
const FLAG_RESP_V6: u8 = 1 << 4;
const FLAG_RESP_OWN_IP: u8 = 1 << 5;
const FLAGS_KNOWN: u8 = 0x3f;

/// A member of the cluster as gossip knows it.
///
/// The order of the fields is the order in which two identities of one node are compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Identity {
    /// The node's stable id; never 0.
    pub node: NodeId,
    /// The start of this process. Must be greater at every start of the same node (keep the last one in the node's
    /// directory and take the maximum with the wall clock): peers refuse an incarnation lower than one they know.
    pub incarnation: u64,
    /// Raised by one whenever peers declared this process down and it rejoins.
    pub bump: u32,
    /// Set in a node's last identity: it leaves on purpose.
    pub leaving: bool,
    /// Human-readable name, at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Where peers send gossip.
    pub gossip: SocketAddr,
    /// Where the HTTP interface, and with it the links between nodes, listens.
    pub http: SocketAddr,
    /// Where Redis clients connect.
    pub resp: SocketAddr,
}

impl Identity {
    /// An identity of a process that has just started.
    pub fn new(
        node: NodeId,
        incarnation: u64,
        name: impl Into<String>,
        gossip: SocketAddr,
        http: SocketAddr,
        resp: SocketAddr,
    ) -> Identity {
        // IPv6 flow labels and scopes do not travel; dropping them keeps an identity equal to its decoded self.
        let [gossip, http, resp] = [gossip, http, resp].map(|a| SocketAddr::new(a.ip(), a.port()));
        Identity { node, incarnation, bump: 0, leaving: false, name: name.into(), gossip, http, resp }
    }

    /// The addressee of an announcement to a seed whose identity is not known yet.
    pub(super) fn unknown(gossip: SocketAddr) -> Identity {
        Identity::new(NODE_UNKNOWN, 0, "", gossip, gossip, gossip)
    }

    /// The identity under which this node says that it leaves.
    pub(super) fn farewell(&self) -> Identity {
        Identity { bump: self.bump.saturating_add(1), leaving: true, ..self.clone() }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(self.name.len() <= NAME_BYTES_MAX);
        let mut flags = if self.leaving { FLAG_LEAVING } else { 0 };
        flags |= if self.gossip.is_ipv6() { FLAG_GOSSIP_V6 } else { 0 };
        flags |= ip_flags(self.http, self.gossip, FLAG_HTTP_V6, FLAG_HTTP_OWN_IP);
        flags |= ip_flags(self.resp, self.gossip, FLAG_RESP_V6, FLAG_RESP_OWN_IP);
        out.extend_from_slice(&self.node.0.to_be_bytes());
        out.extend_from_slice(&self.incarnation.to_be_bytes());
        out.extend_from_slice(&self.bump.to_be_bytes());
        out.push(flags);
        out.push(
            u8::try_from(self.name.len()).expect("the length of a name is checked where identities are made"),
        );
        out.extend_from_slice(self.name.as_bytes());
        put_address(out, self.gossip, true);
        put_address(out, self.http, flags & FLAG_HTTP_OWN_IP != 0);
        put_address(out, self.resp, flags & FLAG_RESP_OWN_IP != 0);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Identity, DecodeError> {
        let node = NodeId(reader.u64()?);
        let incarnation = reader.u64()?;
        let bump = reader.u32()?;
        let flags = reader.u8()?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(DecodeError::Unknown("identity flags"));
        }
        let name = reader.text(NAME_BYTES_MAX)?;
        let gossip = SocketAddr::new(reader.ip(flags & FLAG_GOSSIP_V6 != 0)?, reader.u16()?);
        let http =
            take_address(reader, gossip.ip(), flags & FLAG_HTTP_V6 != 0, flags & FLAG_HTTP_OWN_IP != 0)?;
        let resp =
            take_address(reader, gossip.ip(), flags & FLAG_RESP_V6 != 0, flags & FLAG_RESP_OWN_IP != 0)?;
        Ok(Identity { node, incarnation, bump, leaving: flags & FLAG_LEAVING != 0, name, gossip, http, resp })
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Identity> {
        // A node that leaves on purpose must not be talked into rejoining.
        let bump = self.bump.checked_add(1).filter(|_| !self.leaving)?;
        Some(Identity { bump, ..self.clone() })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Identity) -> bool {
        self > adversary
    }
}

fn ip_flags(address: SocketAddr, gossip: SocketAddr, v6: u8, own_ip: u8) -> u8 {
    match address {
        _ if address.ip() == gossip.ip() => 0,
        SocketAddr::V6(_) => v6 | own_ip,
        SocketAddr::V4(_) => own_ip,
    }
}

fn put_address(out: &mut Vec<u8>, address: SocketAddr, with_ip: bool) {
    if with_ip {
        match address.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

fn take_address(
    reader: &mut Reader<'_>,
    gossip: IpAddr,
    v6: bool,
    own_ip: bool,
) -> Result<SocketAddr, DecodeError> {
    let ip = if own_ip { reader.ip(v6)? } else { gossip };
    Ok(SocketAddr::new(ip, reader.u16()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Identity as _;

    fn identity(gossip: &str, http: &str, resp: &str) -> Identity {
        let parse = |text: &str| text.parse().expect("an address");
        Identity::new(NodeId(7), 9, "node-7", parse(gossip), parse(http), parse(resp))
    }

    #[test]
    fn survives_its_encoding() {
        for (gossip, http, resp) in [
            ("127.0.0.1:7946", "127.0.0.1:8080", "127.0.0.1:6379"),
            ("10.0.0.1:1", "10.0.0.2:2", "[::1]:3"),
            ("[2001:db8::1]:1", "[2001:db8::1]:2", "[2001:db8::2]:3"),
        ] {
            let mut before = identity(gossip, http, resp);
            before.bump = 3;
            before.leaving = true;
            let mut bytes = Vec::new();
            before.encode(&mut bytes);
            assert!(bytes.len() <= IDENTITY_BYTES_MAX);
            let mut reader = Reader::new(&bytes);
            assert_eq!(Identity::decode(&mut reader), Ok(before));
            assert_eq!(reader.rest().len(), 0);
            for length in 0..bytes.len() {
                assert_eq!(Identity::decode(&mut Reader::new(&bytes[..length])), Err(DecodeError::Truncated));
            }
        }
    }

    #[test]
    fn later_selves_win() {
        let first = identity("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3");
        let renewed = first.renew().expect("a live identity renews");
        let farewell = renewed.farewell();
        let restarted = Identity { incarnation: first.incarnation + 1, ..first.clone() };
        for pair in [&first, &renewed, &farewell, &restarted].windows(2) {
            assert!(pair[1].win_addr_conflict(pair[0]), "{pair:?}");
            assert!(!pair[0].win_addr_conflict(pair[1]), "{pair:?}");
        }
        assert_eq!(farewell.renew(), None);
    }
}
