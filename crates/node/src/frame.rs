//! Frames on a link between two nodes: `length u32 | kind u8 | body`, little-endian.
//!
//! A link is one TCP connection, opened by HTTP Upgrade and authenticated before the first frame. The node that
//! opened it sends requests and, for partitions it is primary of, replication messages; the other side answers both
//! on the same link. Requests are multiplexed by id and answered in any order.
//!
//! A request carries, for every partition it touches, the reign under which the sender routed it. The receiver
//! executes only under exactly that reign: a lower one is answered `Stale` (not executed, safe to route anew), a
//! higher one waits until the receiver's map has caught up.
//!
//! Requests of one connection on one key must never overtake each other. While its reign is up to date they are executed
//! in the order of the link; once it is not, all of them are refused. What is left are requests on several partitions,
//! refused because of one, and requests given back because they waited too long: a later request on their other
//! partitions could still be executed. So every request carries the *era* of its link, which the sender raises with
//! every refusal it receives. The receiver remembers the partitions and the era of such a refusal, and refuses whatever
//! touches them in the same era too, until the sender has shown, by a higher era, that it knows.

use crate::words::WordIter;
pub(crate) use crate::words::Words;
use protocol::Version;
use smallvec::SmallVec;
use stdx::{Epoch, PartitionId};

/// Largest frame a node accepts: a whole value of the largest size, with room for its command.
pub(crate) const FRAME_BYTES_MAX: usize = stdx::limits::BULK_BYTES_MAX + 64 * 1024 * 1024;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const REPLICATION: u8 = 3;

/// The scope of commands on keys, in a request frame.
const KEYS: u8 = 0;
/// Bytes of a request frame of one route before its words.
const BRIEF_HEADER_BYTES: usize = 4 + 1 + 8 + 8 + 3 + 4 + 10 + 4;
/// Bytes of a response frame before its reply.
const RESPONSE_HEADER_BYTES: usize = 4 + 1 + 8 + 1;

/// How a request is to be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// A command on keys of the routed partitions.
    Keys,
    /// A command over partitions, on exactly the routed ones.
    Partitions,
    /// This node's part of a command over all nodes.
    Node,
    /// A transaction: the arguments are its encoded form.
    Transaction,
    /// Registration of watched keys.
    Watch,
    /// One attempt of a command that may wait for data: its reply is empty if there is none.
    Attempt,
    /// What a word that stands for the present means: see [`commands::table::Blocking::by_now`].
    ByNow,
    /// Answered with nothing as soon as an attempt of this command may find something. Its last word is not the command's,
    /// but when the client began to wait.
    Await,
    /// The value of one key, as an effect: see [`commands::across::fetch`].
    Fetch,
    /// Messages of keyspace events: channels and messages in turns.
    Event,
    /// Which keyspace events are wanted, as letters.
    Wanted,
    /// Effects on one key that another node has made: see [`commands::across::apply`].
    Apply,
    /// The request with this id, an `Await`, waits no longer. Never answered otherwise than with nothing.
    Cancel,
    /// Answered as soon as the node follows the version of the cluster's users that the only word names.
    Users,
}

impl Scope {
    /// Whether a request of this scope is not made again when its link breaks: who waits for it finds out by itself, or nobody does.
    pub(crate) fn is_fleeting(self) -> bool {
        matches!(self, Scope::Await | Scope::Cancel | Scope::Event | Scope::Wanted | Scope::Users)
    }

    /// Whether it is for a node, whatever it owns.
    pub(crate) fn is_for_node(self) -> bool {
        matches!(self, Scope::Node | Scope::Event | Scope::Wanted | Scope::Users)
    }
}

/// One partition a request touches, and the reign under which it was routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    /// The partition.
    pub partition: PartitionId,
    /// Reign of its primary as the sender knew it.
    pub reign: Epoch,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// Executed; the body is the reply.
    Done,
    /// Not executed: the routes are out of date.
    Stale,
}

/// A command with everything needed to run it later or elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// How to run it.
    pub scope: Scope,
    /// Database.
    pub db: u8,
    /// Protocol version of the reply.
    pub version: Version,
    /// Whether reads touch access clocks.
    pub touch: bool,
    /// Partitions, when scope is `Partitions` (keys are routed from the arguments).
    pub partitions: Vec<PartitionId>,
    /// The words.
    pub words: Words,
}

/// A request as it stands in its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestRef<'a> {
    /// As in [`Request`].
    pub scope: Scope,
    /// As in [`Request`].
    pub db: u8,
    /// As in [`Request`].
    pub version: Version,
    /// As in [`Request`].
    pub touch: bool,
    count: u32,
    words: &'a [u8],
}

impl<'a> RequestRef<'a> {
    /// The words.
    pub(crate) fn words(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        WordIter { bytes: self.words }
    }

    /// A copy that outlives the frame, which named these routes.
    pub(crate) fn to_request(self, routes: &[Route]) -> Request {
        let partitions = match self.scope {
            Scope::Partitions => routes.iter().map(|route| route.partition).collect(),
            _ => Vec::new(),
        };
        Request {
            scope: self.scope,
            db: self.db,
            version: self.version,
            touch: self.touch,
            partitions,
            words: Words { count: self.count, bytes: SmallVec::from_slice(self.words) },
        }
    }
}

impl Request {
    /// The same, borrowed.
    pub(crate) fn as_ref(&self) -> RequestRef<'_> {
        RequestRef {
            scope: self.scope,
            db: self.db,
            version: self.version,
            touch: self.touch,
            count: self.words.count,
            words: &self.words.bytes,
        }
    }
}

/// The request of a command with one route and a key as its second word, as it stands in its frame: what nearly all of them are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brief<'a> {
    /// Chosen by the sender, echoed in the response.
    pub id: u64,
    /// Refusals that the sender had received on this link.
    pub era: u64,
    /// Partition and reign.
    pub route: Route,
    /// Database.
    pub db: u8,
    /// Protocol version of the reply.
    pub version: Version,
    /// Whether reads touch access clocks.
    pub touch: bool,
    /// Words, at least two.
    pub count: u32,
    /// The first.
    pub name: &'a [u8],
    /// The second.
    pub key: &'a [u8],
    /// The words from the third on, encoded.
    rest: &'a [u8],
    /// All of them.
    words: &'a [u8],
}

impl<'a> Brief<'a> {
    /// The third word, if there is one.
    #[inline]
    pub(crate) fn third(&self) -> Option<&'a [u8]> {
        WordIter { bytes: self.rest }.next()
    }

    /// Bytes of its words.
    pub(crate) fn len_bytes(&self) -> usize {
        self.words.len()
    }

    /// The same as any other request.
    pub(crate) fn request(&self) -> RequestRef<'a> {
        let Brief { db, version, touch, count, words, .. } = *self;
        RequestRef { scope: Scope::Keys, db, version, touch, count, words }
    }
}

/// A frame, decoded.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// Run this.
    Request {
        /// Chosen by the sender, echoed in the response.
        id: u64,
        /// Refusals that the sender had received on this link.
        era: u64,
        /// Partitions and reigns.
        routes: SmallVec<[Route; 1]>,
        /// The command.
        request: RequestRef<'a>,
    },
    /// The answer to a request.
    Response {
        /// Of the request.
        id: u64,
        /// What became of it.
        status: Status,
        /// Encoded reply.
        reply: &'a [u8],
    },
    /// A message of [`replication`].
    Replication {
        /// Which partition.
        partition: PartitionId,
        /// The message.
        message: replication::Message<'a>,
    },
}

/// The bytes are not a frame of this version: the link is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// Appends a request frame.
pub(crate) fn encode_request(out: &mut Vec<u8>, id: u64, era: u64, routes: &[Route], request: &Request) {
    let start = begin(out, REQUEST);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&era.to_le_bytes());
    out.push(match request.scope {
        Scope::Keys => KEYS,
        Scope::Partitions => 1,
        Scope::Node => 2,
        Scope::Transaction => 3,
        Scope::Watch => 4,
        Scope::Attempt => 5,
        Scope::Await => 6,
        Scope::Cancel => 7,
        Scope::Fetch => 8,
        Scope::Apply => 9,
        Scope::Event => 10,
        Scope::Wanted => 11,
        Scope::ByNow => 12,
        Scope::Users => 13,
    });
    out.push(request.db);
    out.push(bits_of(request.version, request.touch));
    put_u32(out, routes.len());
    for route in routes {
        out.extend_from_slice(&route.partition.0.to_le_bytes());
        out.extend_from_slice(&route.reign.0.to_le_bytes());
    }
    out.extend_from_slice(&request.words.count.to_le_bytes());
    out.extend_from_slice(&request.words.bytes);
    end(out, start);
}

/// Appends the request frame of a command on one key, and returns it as a request that outlives the frame.
#[inline]
pub(crate) fn encode_brief(
    out: &mut Vec<u8>,
    (id, era): (u64, u64),
    route: Route,
    (db, version, touch): (u8, Version, bool),
    words: &[&[u8]],
) -> Request {
    let words_len: usize = words.iter().map(|word| word.len() + 4).sum();
    let count = u32::try_from(words.len()).expect("words are few");
    let len = u32::try_from(BRIEF_HEADER_BYTES - 4 + words_len).expect("a frame is shorter than 4 GiB");
    let mut header = [0; BRIEF_HEADER_BYTES];
    header[0..4].copy_from_slice(&len.to_le_bytes());
    header[4] = REQUEST;
    header[5..13].copy_from_slice(&id.to_le_bytes());
    header[13..21].copy_from_slice(&era.to_le_bytes());
    (header[21], header[22], header[23]) = (KEYS, db, bits_of(version, touch));
    header[24..28].copy_from_slice(&1u32.to_le_bytes());
    header[28..30].copy_from_slice(&route.partition.0.to_le_bytes());
    header[30..38].copy_from_slice(&route.reign.0.to_le_bytes());
    header[38..42].copy_from_slice(&count.to_le_bytes());
    out.reserve(header.len() + words_len);
    out.extend_from_slice(&header);
    let start = out.len();
    for word in words {
        let len = u32::try_from(word.len()).expect("a word is shorter than 4 GiB");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(word);
    }
    let words = Words { count, bytes: SmallVec::from_slice(&out[start..]) };
    Request { scope: Scope::Keys, db, version, touch, partitions: Vec::new(), words }
}

fn bits_of(version: Version, touch: bool) -> u8 {
    u8::from(version == Version::Resp3) | (u8::from(touch) << 1)
}

fn versions_of(bits: u8) -> (Version, bool) {
    (if bits & 1 == 1 { Version::Resp3 } else { Version::Resp2 }, bits & 2 != 0)
}

/// Appends a response frame.
#[inline]
pub(crate) fn encode_response(out: &mut Vec<u8>, id: u64, status: Status, reply: &[u8]) {
    let len = u32::try_from(RESPONSE_HEADER_BYTES - 4 + reply.len()).expect("a frame is shorter than 4 GiB");
    let mut header = [0; RESPONSE_HEADER_BYTES];
    header[0..4].copy_from_slice(&len.to_le_bytes());
    header[4] = RESPONSE;
    header[5..13].copy_from_slice(&id.to_le_bytes());
    header[13] = u8::from(status == Status::Stale);
    out.reserve(header.len() + reply.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(reply);
}

/// Appends a replication frame.
pub(crate) fn encode_replication(
    out: &mut Vec<u8>,
    partition: PartitionId,
    message: &replication::Message<'_>,
) {
    let start = begin(out, REPLICATION);
    out.extend_from_slice(&partition.0.to_le_bytes());
    replication::encode(out, message);
    end(out, start);
}

/// Decodes the first frame of `bytes` if it is the whole request of a command with one route and two words or more. Also
/// returns its length. Of everything else, [`decode`] says what it is.
#[inline]
pub(crate) fn decode_brief(bytes: &[u8]) -> Option<(Brief<'_>, usize)> {
    let header: &[u8; BRIEF_HEADER_BYTES] = bytes.first_chunk()?;
    let len = u32::from_le_bytes(*header.first_chunk()?) as usize;
    if header[4] != REQUEST || header[21] != KEYS || header[24..28] != [1, 0, 0, 0] || len > FRAME_BYTES_MAX {
        return None;
    }
    let words = bytes.get(BRIEF_HEADER_BYTES..len + 4)?;
    let mut reader = Reader { bytes: header.get(5..)? };
    let (id, era, _scope) = (reader.u64().ok()?, reader.u64().ok()?, reader.u8().ok()?);
    let (db, bits, _routes) = (reader.u8().ok()?, reader.u8().ok()?, reader.u32().ok()?);
    let route = Route { partition: PartitionId(reader.u16().ok()?), reign: Epoch(reader.u64().ok()?) };
    let count = reader.u32().ok()?;
    let mut iter = WordIter { bytes: words };
    let (name, key) = (iter.next()?, iter.next()?);
    let rest = iter.bytes;
    let (mut left, mut seen) = (2u32, 0usize);
    for word in iter {
        left += 1;
        seen += word.len() + 4;
    }
    if left != count || seen != rest.len() || db >= stdx::limits::DATABASES {
        return None;
    }
    let (version, touch) = versions_of(bits);
    Some((Brief { id, era, route, db, version, touch, count, name, key, rest, words }, len + 4))
}

/// Decodes the first frame of `bytes`; `None` while it is incomplete. Also returns its length.
#[inline(always)]
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let Some((len, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*len) as usize;
    if len == 0 || len > FRAME_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(body) = rest.get(..len) else { return Ok(None) };
    let mut reader = Reader { bytes: body };
    let frame = match reader.u8()? {
        REQUEST => decode_request(&mut reader)?,
        RESPONSE => {
            let id = reader.u64()?;
            let status = if reader.u8()? == 0 { Status::Done } else { Status::Stale };
            Frame::Response { id, status, reply: reader.bytes }
        }
        REPLICATION => {
            let partition = PartitionId(reader.u16()?);
            let message = replication::decode(reader.bytes).map_err(|_| Malformed)?;
            Frame::Replication { partition, message }
        }
        _ => return Err(Malformed),
    };
    Ok(Some((frame, len + 4)))
}

#[inline(always)]
fn decode_request<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let id = reader.u64()?;
    let era = reader.u64()?;
    let scope = match reader.u8()? {
        KEYS => Scope::Keys,
        1 => Scope::Partitions,
        2 => Scope::Node,
        3 => Scope::Transaction,
        4 => Scope::Watch,
        5 => Scope::Attempt,
        6 => Scope::Await,
        7 => Scope::Cancel,
        8 => Scope::Fetch,
        9 => Scope::Apply,
        10 => Scope::Event,
        11 => Scope::Wanted,
        12 => Scope::ByNow,
        13 => Scope::Users,
        _ => return Err(Malformed),
    };
    let db = reader.u8()?;
    let bits = reader.u8()?;
    if db >= stdx::limits::DATABASES {
        return Err(Malformed);
    }
    let (version, touch) = versions_of(bits);
    let count = reader.u32()? as usize;
    let mut routes: SmallVec<[Route; 1]> = SmallVec::with_capacity(count.min(reader.bytes.len() / 10));
    for _ in 0..count {
        let route = Route { partition: PartitionId(reader.u16()?), reign: Epoch(reader.u64()?) };
        // Partitions are locked in this order, each once.
        if routes.last().is_some_and(|last| last.partition >= route.partition) {
            return Err(Malformed);
        }
        routes.push(route);
    }
    let count = reader.u32()?;
    let words = reader.bytes;
    let (mut left, mut seen) = (0u32, 0usize);
    for word in (WordIter { bytes: words }) {
        left += 1;
        seen += word.len() + 4;
    }
    if left != count || seen != words.len() || count == 0 {
        return Err(Malformed);
    }
    let request = RequestRef { scope, db, version, touch, count, words };
    Ok(Frame::Request { id, era, routes, request })
}

fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    start
}

fn end(out: &mut [u8], start: usize) {
    let len = u32::try_from(out.len() - start - 4).expect("a frame is shorter than 4 GiB");
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&u32::try_from(value).expect("counts fit 32 bits").to_le_bytes());
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(Malformed)?;
        self.bytes = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_survives_the_wire_and_truncation_is_incomplete_or_malformed() {
        let request = Request {
            scope: Scope::Keys,
            db: 3,
            version: Version::Resp3,
            touch: true,
            partitions: Vec::new(),
            words: Words::copy_of(&[b"SET", b"", b"\0\r\n"]),
        };
        let routes = [Route { partition: PartitionId(7), reign: Epoch(9) }];
        let mut bytes = Vec::new();
        encode_request(&mut bytes, 42, 5, &routes, &request);
        let Ok(Some((Frame::Request { id, era: 5, routes: decoded, request: got }, len))) = decode(&bytes)
        else {
            panic!("a whole frame decodes")
        };
        assert_eq!((id, len, &decoded[..]), (42, bytes.len(), &routes[..]));
        assert_eq!(got.words().collect::<Vec<_>>(), [&b"SET"[..], b"", b"\0\r\n"]);
        assert_eq!((got.db, got.version, got.touch), (3, Version::Resp3, true));
        for cut in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..cut]), Ok(None)), "cut at {cut}");
        }
        for flip in 4..bytes.len() {
            let mut bad = bytes.clone();
            bad[flip] ^= 0xff;
            // Never a panic; most flips are refused, some change only a number.
            drop(decode(&bad));
        }
        assert!(decode(&[0, 0, 0, 0, 0]).is_err());
        assert!(decode(&[255, 255, 255, 255, 1]).is_err());
    }

    #[test]
    fn a_brief_request_is_what_decode_says_it_is() {
        let words: [&[u8]; 3] = [b"SET", b"key", b"\0\r\n"];
        let route = Route { partition: PartitionId(7), reign: Epoch(9) };
        let mut bytes = Vec::new();
        let request = encode_brief(&mut bytes, (42, 5), route, (3, Version::Resp3, true), &words);
        let mut same = Vec::new();
        encode_request(&mut same, 42, 5, &[route], &request);
        assert_eq!(bytes, same, "one format");
        let check = |bytes: &[u8]| {
            let Some((brief, len)) = decode_brief(bytes) else { return false };
            let Ok(Some((Frame::Request { id, era, routes, request }, whole))) = decode(bytes) else {
                panic!("a brief request is a request")
            };
            assert_eq!((brief.id, brief.era, &[brief.route][..], len), (id, era, &routes[..], whole));
            assert_eq!((brief.db, brief.version, brief.touch), (request.db, request.version, request.touch));
            assert_eq!((request.scope, brief.count), (Scope::Keys, request.count));
            let words: Vec<&[u8]> = request.words().collect();
            assert_eq!((brief.name, brief.key, brief.third()), (words[0], words[1], words.get(2).copied()));
            true
        };
        assert!(check(&bytes));
        for cut in 0..bytes.len() {
            assert!(!check(&bytes[..cut]), "cut at {cut}");
        }
        for flip in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[flip] ^= 1 << bit;
                check(&bad);
            }
        }
        let mut one_word = Vec::new();
        encode_brief(&mut one_word, (42, 5), route, (3, Version::Resp3, true), &words[..1]);
        assert!(!check(&one_word) && matches!(decode(&one_word), Ok(Some(_))));
    }
}
