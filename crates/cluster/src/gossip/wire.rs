//! The engine's messages as bytes: a bounds-checked reader and the codec that the engine calls.
//!
//! Nothing here trusts its input, and nothing allocates more than a name. An announcement may be addressed to
//! [`NODE_UNKNOWN`], because a joining node knows only an address; the codec puts the own node in its place, so that
//! the engine, which accepts only what is addressed to it, answers. Everywhere else that id is refused.

use super::identity::{IDENTITY_BYTES_MAX, Identity, NODE_UNKNOWN};
use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use stdx::NodeId;

/// Most bytes of a header: three identities, an incarnation, a tag and a probe number.
pub(super) const HEADER_BYTES_MAX: usize = 3 * IDENTITY_BYTES_MAX + 2 + 1 + 1;

/// Why bytes could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DecodeError {
    /// The bytes end too early.
    Truncated,
    /// A value that no version we speak writes.
    Unknown(&'static str),
    /// The message does not fit the room left in its datagram.
    NoRoom,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("the message ends too early"),
            DecodeError::Unknown(what) => write!(f, "unknown {what}"),
            DecodeError::NoRoom => f.write_str("the message does not fit its datagram"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reads big-endian values off the front of a slice.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn ip(&mut self, v6: bool) -> Result<IpAddr, DecodeError> {
        if v6 {
            self.array::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
        } else {
            self.array::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
        }
    }

    /// A length byte and that many bytes of UTF-8.
    pub(super) fn text(&mut self, bytes_max: usize) -> Result<String, DecodeError> {
        let length = usize::from(self.u8()?);
        if length > bytes_max {
            return Err(DecodeError::Unknown("length of a text"));
        }
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::Unknown("text encoding"))
    }
}

/// Encodes and decodes what the engine sends.
#[derive(Debug)]
pub(super) struct Codec {
    own: NodeId,
    scratch: Vec<u8>,
}

impl Codec {
    pub(super) fn new(own: NodeId) -> Codec {
        Codec { own, scratch: Vec::with_capacity(HEADER_BYTES_MAX) }
    }

    /// Copies the scratch buffer if it fits, so that a buffer without room is left as it was.
    fn flush(&self, mut buf: impl BufMut) -> Result<(), DecodeError> {
        if buf.remaining_mut() < self.scratch.len() {
            return Err(DecodeError::NoRoom);
        }
        buf.put_slice(&self.scratch);
        Ok(())
    }
}

impl foca::Codec<Identity> for Codec {
    type Error = DecodeError;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), DecodeError> {
        self.scratch.clear();
        let out = &mut self.scratch;
        header.src.encode(out);
        out.extend_from_slice(&header.src_incarnation.to_be_bytes());
        header.dst.encode(out);
        let (tag, probe, about) = message_parts(&header.message);
        out.push(tag);
        out.extend(probe);
        if let Some(identity) = about {
            identity.encode(out);
        }
        self.flush(buf)
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, DecodeError> {
        let mut reader = Reader::new(buf.chunk());
        let src = known(Identity::decode(&mut reader)?)?;
        let src_incarnation = reader.u16()?;
        let mut dst = Identity::decode(&mut reader)?;
        let message = decode_message(&mut reader)?;
        if dst.node == NODE_UNKNOWN {
            if message != Message::Announce {
                return Err(DecodeError::Unknown("addressee"));
            }
            dst.node = self.own;
        }
        let left = reader.rest().len();
        buf.advance(buf.remaining() - left);
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Identity>, buf: impl BufMut) -> Result<(), DecodeError> {
        self.scratch.clear();
        member.id().encode(&mut self.scratch);
        self.scratch.extend_from_slice(&member.incarnation().to_be_bytes());
        self.scratch.push(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        self.flush(buf)
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Identity>, DecodeError> {
        let mut reader = Reader::new(buf.chunk());
        let identity = known(Identity::decode(&mut reader)?)?;
        let incarnation = reader.u16()?;
        let state = match reader.u8()? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(DecodeError::Unknown("member state")),
        };
        let left = reader.rest().len();
        buf.advance(buf.remaining() - left);
        Ok(Member::new(identity, incarnation, state))
    }
}

fn known(identity: Identity) -> Result<Identity, DecodeError> {
    if identity.node == NODE_UNKNOWN { Err(DecodeError::Unknown("node")) } else { Ok(identity) }
}

/// Tag, probe number and identity of a message, in the order they are written.
fn message_parts(message: &Message<Identity>) -> (u8, Option<u8>, Option<&Identity>) {
    match message {
        Message::Ping(number) => (1, Some(*number), None),
        Message::Ack(number) => (2, Some(*number), None),
        Message::PingReq { target, probe_number } => (3, Some(*probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (4, Some(*probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (5, Some(*probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (6, Some(*probe_number), Some(origin)),
        Message::Announce => (7, None, None),
        Message::Feed => (8, None, None),
        Message::Gossip => (9, None, None),
        Message::Broadcast => (10, None, None),
        Message::TurnUndead => (11, None, None),
    }
}

fn decode_message(reader: &mut Reader<'_>) -> Result<Message<Identity>, DecodeError> {
    let tag = reader.u8()?;
    let probe_number = if (1..=6).contains(&tag) { reader.u8()? } else { 0 };
    let mut about = || known(Identity::decode(reader)?);
    Ok(match tag {
        1 => Message::Ping(probe_number),
        2 => Message::Ack(probe_number),
        3 => Message::PingReq { target: about()?, probe_number },
        4 => Message::IndirectPing { origin: about()?, probe_number },
        5 => Message::IndirectAck { target: about()?, probe_number },
        6 => Message::ForwardedAck { origin: about()?, probe_number },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        10 => Message::Broadcast,
        11 => Message::TurnUndead,
        _ => return Err(DecodeError::Unknown("message")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Codec as _;

    fn identity(node: u64) -> Identity {
        let address = "127.0.0.1:7946".parse().expect("an address");
        Identity::new(NodeId(node), 1, "n", address, address, address)
    }

    #[test]
    fn every_message_survives_its_encoding() {
        let (target, probe_number) = (identity(3), 200);
        let origin = target.clone();
        for message in [
            Message::Ping(1),
            Message::Ack(2),
            Message::PingReq { target: target.clone(), probe_number },
            Message::IndirectPing { origin: origin.clone(), probe_number },
            Message::IndirectAck { target, probe_number },
            Message::ForwardedAck { origin, probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ] {
            let header = Header { src: identity(1), src_incarnation: 5, dst: identity(2), message };
            let mut bytes = Vec::new();
            Codec::new(NodeId(2)).encode_header(&header, &mut bytes).expect("a vector has room");
            assert_eq!(Codec::new(NodeId(2)).decode_header(&bytes[..]), Ok(header));
        }
    }

    #[test]
    fn only_an_announcement_may_be_addressed_to_whoever_listens() {
        let unknown = Identity::unknown("127.0.0.1:1".parse().expect("an address"));
        for (message, accepted) in [(Message::Announce, true), (Message::Gossip, false)] {
            let header = Header { src: identity(1), src_incarnation: 0, dst: unknown.clone(), message };
            let mut bytes = Vec::new();
            Codec::new(NodeId(9)).encode_header(&header, &mut bytes).expect("a vector has room");
            let decoded = Codec::new(NodeId(9)).decode_header(&bytes[..]);
            assert_eq!(decoded.map(|header| header.dst.node).ok(), accepted.then_some(NodeId(9)));
        }
    }

    #[test]
    fn a_member_that_does_not_fit_leaves_the_buffer_as_it_was() {
        let mut bytes = Vec::new();
        let mut room = (&mut bytes).limit(20);
        let result = Codec::new(NodeId(9)).encode_member(&Member::alive(identity(1)), &mut room);
        assert_eq!(result, Err(DecodeError::NoRoom));
        assert!(bytes.is_empty());
    }
}
