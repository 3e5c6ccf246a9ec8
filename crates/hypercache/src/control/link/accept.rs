//! The accepting side of a link's handshake.

use bytes::Bytes;
use cluster::ClusterMap;
use http_body_util::Full;
use hyper::header::{CONNECTION, HeaderMap, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use stdx::NodeId;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{
    HANDSHAKE_TIMEOUT, Key, Kind, Link, LinkError, Links, MAC_BYTES, NO_SECRET, Offer, PROTOCOL, Reply,
    header, hex, is_mac, mac_bytes, nonce, tune,
};

/// A request that was answered with 101: the rest of its handshake.
pub(in super::super) struct Greeting {
    key: Key,
    offer: Offer,
    reply: Reply,
    upgrade: OnUpgrade,
    _permit: OwnedSemaphorePermit,
}

type Refusal = (StatusCode, String);

/// The answer to a request for a link, to be sent in any case.
pub(in super::super) enum Greeted {
    /// Not this one.
    Refused(Response<Full<Bytes>>),
    /// 101, and what to do after it.
    Welcome(Response<Full<Bytes>>, Box<Greeting>),
}

impl Links {
    /// Answers a request for a link.
    pub(in super::super) fn greet<B>(&self, request: &mut Request<B>, map: &ClusterMap) -> Greeted {
        let (key, offer) = match self.examine(request.headers(), map) {
            Ok(examined) => examined,
            Err(refusal) => return Greeted::Refused(refuse(refusal)),
        };
        let Ok(permit) = self.accepting.clone().try_acquire_owned() else {
            let reason = "too many links are being opened".to_owned();
            return Greeted::Refused(refuse((StatusCode::SERVICE_UNAVAILABLE, reason)));
        };
        let reply = Reply { incarnation: self.incarnation, nonce: nonce() };
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, "upgrade".parse().expect("plain text"));
        headers.insert(UPGRADE, PROTOCOL.parse().expect("plain text"));
        let mac = mac_bytes(key.acceptor(&offer, &reply));
        for (name, value) in [
            (header::FROM_INCARNATION, reply.incarnation.to_string()),
            (header::NONCE, hex::encode(&reply.nonce)),
            (header::MAC, hex::encode(&mac)),
        ] {
            headers.insert(name, value.parse().expect("digits are plain text"));
        }
        let upgrade = hyper::upgrade::on(request);
        Greeted::Welcome(response, Box::new(Greeting { key, offer, reply, upgrade, _permit: permit }))
    }

    /// Checks an offer: form, then knowledge of the secret, then whether it fits this node.
    fn examine(&self, headers: &HeaderMap, map: &ClusterMap) -> Result<(Key, Offer), Refusal> {
        let key = self.key.as_ref().ok_or((StatusCode::FORBIDDEN, NO_SECRET.to_owned()))?;
        let (offer, proof) = read_offer(headers).map_err(|what| {
            (StatusCode::BAD_REQUEST, format!("not a request for {PROTOCOL}: {what} is missing or malformed"))
        })?;
        if !is_mac(key.hello(&offer), &proof) {
            return Err((StatusCode::UNAUTHORIZED, "another cluster-secret is used here".to_owned()));
        }
        let conflict = |reason: String| Err((StatusCode::CONFLICT, reason));
        let own_cluster = self.cluster();
        if own_cluster != 0 && offer.cluster != 0 && own_cluster != offer.cluster {
            return conflict(format!("this node is part of another cluster, {}", hex::number(own_cluster)));
        }
        if offer.to != self.me {
            return conflict(format!("this is node {}, not {}", hex::node(self.me), hex::node(offer.to)));
        }
        if offer.to_incarnation != 0 && offer.to_incarnation != self.incarnation {
            return conflict(format!(
                "this is incarnation {}, not {}",
                self.incarnation, offer.to_incarnation
            ));
        }
        if offer.from == self.me {
            return conflict("this node does not link to itself".to_owned());
        }
        let known = map.member(offer.from).map(|member| member.incarnation);
        match (offer.kind, known) {
            (_, Some(known)) if offer.from_incarnation < known => {
                conflict(format!("incarnation {} has been replaced by {known}", offer.from_incarnation))
            }
            (Kind::Data { .. }, known) if known != Some(offer.from_incarnation) => {
                conflict("not registered here yet".to_owned())
            }
            _ => Ok((key.clone(), offer)),
        }
    }
}

impl Greeting {
    /// Who asked, as far as the proof goes.
    pub(in super::super) fn from(&self) -> NodeId {
        self.offer.from
    }

    /// What for.
    pub(in super::super) fn kind(&self) -> Kind {
        self.offer.kind
    }

    /// Waits for the connection and the dialer's MAC.
    pub(in super::super) async fn finish(self) -> Result<Link, LinkError> {
        timeout(HANDSHAKE_TIMEOUT, self.complete()).await.unwrap_or(Err(LinkError::Timeout))
    }

    async fn complete(self) -> Result<Link, LinkError> {
        let upgraded = self.upgrade.await.map_err(|error| LinkError::Io(std::io::Error::other(error)))?;
        let parts = upgraded
            .downcast::<TokioIo<TcpStream>>()
            .map_err(|_| LinkError::Protocol("the connection is not a plain TCP stream"))?;
        let mut stream = parts.io.into_inner();
        let mut mac = [0; MAC_BYTES];
        let given = parts.read_buf.len().min(MAC_BYTES);
        let (head, early) = parts.read_buf.split_at(given);
        mac[..given].copy_from_slice(head);
        stream.read_exact(&mut mac[given..]).await?;
        if !is_mac(self.key.dialer(&self.offer, &self.reply), &mac) {
            return Err(LinkError::Authentication);
        }
        tune(&stream)?;
        // From here on served by the runtime of whoever waits for it, not by that of the HTTP server.
        let stream = TcpStream::from_std(stream.into_std()?)?;
        let (node, incarnation) = (self.offer.from, self.offer.from_incarnation);
        Ok(Link { stream, node, incarnation, early: early.to_vec() })
    }
}

/// The offer and its proof; or the header that is wrong.
fn read_offer(headers: &HeaderMap) -> Result<(Offer, [u8; MAC_BYTES]), &'static str> {
    let text = |name: &'static str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(name);
    let number = |name| text(name).and_then(|text| text.parse::<u64>().map_err(|_| name));
    let id = |name| text(name).and_then(|text| hex::parse_number(text).ok_or(name));
    if !text("upgrade")?.eq_ignore_ascii_case(PROTOCOL) {
        return Err("upgrade");
    }
    let offer = Offer {
        cluster: id(header::CLUSTER)?,
        from: NodeId(id(header::FROM)?),
        from_incarnation: number(header::FROM_INCARNATION)?,
        to: NodeId(id(header::TO)?),
        to_incarnation: number(header::TO_INCARNATION)?,
        kind: Kind::parse(text(header::KIND)?).ok_or(header::KIND)?,
        nonce: hex::decode(text(header::NONCE)?).ok_or(header::NONCE)?,
    };
    let proof = hex::decode(text(header::MAC)?).ok_or(header::MAC)?;
    Ok((offer, proof))
}

fn refuse((status, reason): Refusal) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{reason}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, "close".parse().expect("plain text"));
    headers.insert(header::REASON, reason.parse().expect("reasons are plain text"));
    response
}
