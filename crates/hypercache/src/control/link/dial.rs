//! The dialing side of a link's handshake, by hand on a plain TCP stream: one request, one answer's head.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{
    HANDSHAKE_TIMEOUT, Kind, LINK_PATH, Link, LinkError, Links, Offer, PROTOCOL, Reply, Target, header, hex,
    is_mac, mac_bytes, nonce, tune,
};

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 4 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";

impl Links {
    /// Opens a link.
    pub(in super::super) async fn dial(&self, target: Target, kind: Kind) -> Result<Link, LinkError> {
        let _permit = self.dialing.acquire().await.map_err(|_| LinkError::Timeout)?;
        timeout(HANDSHAKE_TIMEOUT, self.shake(target, kind)).await.unwrap_or(Err(LinkError::Timeout))
    }

    async fn shake(&self, target: Target, kind: Kind) -> Result<Link, LinkError> {
        let key = self.key.as_ref().ok_or(LinkError::NoSecret)?;
        let offer = Offer {
            cluster: self.cluster(),
            from: self.me,
            from_incarnation: self.incarnation,
            to: target.node,
            to_incarnation: target.incarnation,
            kind,
            nonce: nonce(),
        };
        let mut stream = TcpStream::connect(target.http).await?;
        tune(&stream)?;
        let proof = mac_bytes(key.hello(&offer));
        stream.write_all(request(target, &offer, &proof).as_bytes()).await?;
        let (head, early) = read_head(&mut stream).await?;
        let answer = Answer::parse(&head)?;
        let (reply, mac) = answer.reply()?;
        if !is_mac(key.acceptor(&offer, &reply), &mac) {
            return Err(LinkError::Authentication);
        }
        if target.incarnation != 0 && reply.incarnation != target.incarnation {
            return Err(LinkError::Protocol("another incarnation answered"));
        }
        stream.write_all(&mac_bytes(key.dialer(&offer, &reply))).await?;
        Ok(Link { stream, node: target.node, incarnation: reply.incarnation, early })
    }
}

fn request(target: Target, offer: &Offer, proof: &[u8]) -> String {
    let mut text = format!(
        "GET {LINK_PATH} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n",
        target.http
    );
    for (name, value) in [
        (header::CLUSTER, hex::number(offer.cluster)),
        (header::FROM, hex::node(offer.from)),
        (header::FROM_INCARNATION, offer.from_incarnation.to_string()),
        (header::TO, hex::node(offer.to)),
        (header::TO_INCARNATION, offer.to_incarnation.to_string()),
        (header::KIND, offer.kind.to_string()),
        (header::NONCE, hex::encode(&offer.nonce)),
        (header::MAC, hex::encode(proof)),
    ] {
        text.extend([name, ": ", &value, "\r\n"]);
    }
    text + "\r\n"
}

/// The head of the answer, and what came behind it.
async fn read_head(stream: &mut TcpStream) -> Result<(Vec<u8>, Vec<u8>), LinkError> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let end = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END);
        if let Some(end) = end {
            let early = bytes.split_off(end + HEAD_END.len());
            return Ok((bytes, early));
        }
        if bytes.len() >= HEAD_BYTES_MAX {
            return Err(LinkError::Protocol("the answer's head is too long"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(LinkError::Protocol("the connection was closed during the handshake"));
        }
    }
}

/// The head of an HTTP answer.
struct Answer<'a> {
    status: u16,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Answer<'a> {
    fn parse(head: &'a [u8]) -> Result<Answer<'a>, LinkError> {
        let malformed = LinkError::Protocol("the answer is not HTTP/1.1");
        let Ok(text) = std::str::from_utf8(head) else { return Err(malformed) };
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse().ok());
        let Some(status) = status else { return Err(malformed) };
        let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()));
        Ok(Answer { status, headers: headers.collect() })
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The acceptor's half of the handshake and its MAC.
    fn reply(&self) -> Result<(Reply, [u8; 32]), LinkError> {
        if self.status != 101 {
            let reason = self.header(header::REASON).unwrap_or("no reason given").to_owned();
            return Err(LinkError::Refused { status: self.status, reason });
        }
        let incarnation = self.header(header::FROM_INCARNATION).and_then(|text| text.parse().ok());
        let nonce = self.header(header::NONCE).and_then(hex::decode);
        let mac = self.header(header::MAC).and_then(hex::decode);
        match (incarnation, nonce, mac) {
            (Some(incarnation), Some(nonce), Some(mac)) => Ok((Reply { incarnation, nonce }, mac)),
            _ => Err(LinkError::Protocol("a header of the answer is missing or malformed")),
        }
    }
}
