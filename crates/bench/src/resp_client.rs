//! A blocking RESP2 client with a decoder of its own, and the meaning of a write's outcome.
//!
//! The decoder is not the server's: a mistake made on both sides of one codec would cancel out unseen.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const READ_CHUNK: usize = 16 * 1024;
const REPLY_DEPTH_MAX: usize = 8;

/// One reply, RESP2 or the RESP3 forms that mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR ...`
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$3 foo`
    Bulk(Vec<u8>),
    /// A missing value.
    Nil,
    /// An array or a push.
    Array(Vec<Reply>),
}

/// What is known about a write after its reply, or after the lack of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Executed and confirmed.
    Acknowledged,
    /// Certainly not executed: safe to try again.
    Refused(String),
    /// May have been executed.
    InDoubt(String),
}

/// A connection to one node.
pub(crate) struct RespClient {
    stream: TcpStream,
    received: Vec<u8>,
    consumed: usize,
}

impl RespClient {
    /// Connects, with `timeout` for every later read and write.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn connect(address: SocketAddr, timeout: Duration) -> io::Result<RespClient> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(RespClient { stream, received: Vec::new(), consumed: 0 })
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// Those of the socket, and `InvalidData` for bytes that are not RESP; the connection is useless afterwards.
    pub(crate) fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Reply> {
        let mut request = Vec::with_capacity(64);
        encode(arguments, &mut request);
        self.send(&request)?;
        self.receive()
    }

    /// Writes already encoded commands.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn send(&mut self, encoded: &[u8]) -> io::Result<()> {
        self.stream.write_all(encoded)
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// As for [`RespClient::command`].
    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        loop {
            if let Some((reply, length)) = decode(&self.received[self.consumed..])? {
                self.consumed += length;
                if self.consumed == self.received.len() {
                    self.received.clear();
                    self.consumed = 0;
                }
                return Ok(reply);
            }
            let mut chunk = [0u8; READ_CHUNK];
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&chunk[..count]);
        }
    }
}

/// Appends a command in the array-of-bulks form.
pub(crate) fn encode<A: AsRef<[u8]>>(arguments: &[A], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        let bytes = argument.as_ref();
        out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// Takes one reply from the front of `bytes`: `None` when it is not whole yet.
///
/// # Errors
/// `InvalidData` for bytes that no reply can begin with.
pub(crate) fn decode(bytes: &[u8]) -> io::Result<Option<(Reply, usize)>> {
    decode_at(bytes, 0, 0)
}

fn decode_at(bytes: &[u8], start: usize, depth: usize) -> io::Result<Option<(Reply, usize)>> {
    let Some((line, after)) = line_at(bytes, start) else { return Ok(None) };
    let Some((kind, rest)) = line.split_first() else { return Err(invalid("empty reply line")) };
    let text = || String::from_utf8_lossy(rest).into_owned();
    let number = || text().parse::<i64>().map_err(|_| invalid("a length that is no number"));
    let reply = match kind {
        b'+' | b'#' | b',' | b'(' => Reply::Simple(text()),
        b'-' => Reply::Error(text()),
        b':' => Reply::Integer(number()?),
        b'_' => Reply::Nil,
        b'$' | b'=' => {
            let length = number()?;
            let Ok(length) = usize::try_from(length) else { return Ok(Some((Reply::Nil, after))) };
            let end = after + length;
            let Some(body) = bytes.get(after..end) else { return Ok(None) };
            let Some(terminator) = bytes.get(end..end + 2) else { return Ok(None) };
            if terminator != b"\r\n" {
                return Err(invalid("a bulk that does not end where it says"));
            }
            return Ok(Some((Reply::Bulk(body.to_vec()), end + 2)));
        }
        b'*' | b'>' | b'~' | b'%' => {
            let elements = if *kind == b'%' { number()? * 2 } else { number()? };
            let Ok(count) = usize::try_from(elements) else { return Ok(Some((Reply::Nil, after))) };
            return array_at(bytes, after, count, depth);
        }
        _ => return Err(invalid("a reply of no known type")),
    };
    Ok(Some((reply, after)))
}

fn array_at(bytes: &[u8], start: usize, count: usize, depth: usize) -> io::Result<Option<(Reply, usize)>> {
    if depth == REPLY_DEPTH_MAX {
        return Err(invalid("replies nested too deeply"));
    }
    let mut at = start;
    let mut elements = Vec::new();
    for _ in 0..count {
        let Some((element, next)) = decode_at(bytes, at, depth + 1)? else { return Ok(None) };
        elements.push(element);
        at = next;
    }
    Ok(Some((Reply::Array(elements), at)))
}

fn line_at(bytes: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(start..)?;
    let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..length], start + length + 2))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Errors that promise the command was not executed (the design's rule 9).
const NOT_EXECUTED: &[&str] = &["TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS", "LOADING", "MOVED", "FENCED"];

/// Reads a write's reply as what is known afterwards.
pub(crate) fn outcome_of(reply: io::Result<Reply>) -> Outcome {
    match reply {
        Ok(Reply::Error(text)) if NOT_EXECUTED.iter().any(|prefix| text.starts_with(prefix)) => {
            Outcome::Refused(text)
        }
        Ok(Reply::Error(text)) => Outcome::InDoubt(text),
        Ok(_) => Outcome::Acknowledged,
        Err(error) => Outcome::InDoubt(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_decode_whole_or_not_at_all() {
        let bytes = b"*3\r\n$3\r\nfoo\r\n:-7\r\n*2\r\n+OK\r\n$-1\r\n";
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]).expect("a prefix is never invalid"), None, "{cut}");
        }
        let (reply, length) = decode(bytes).expect("valid").expect("whole");
        assert_eq!(length, bytes.len());
        let inner = Reply::Array(vec![Reply::Simple("OK".into()), Reply::Nil]);
        assert_eq!(reply, Reply::Array(vec![Reply::Bulk(b"foo".to_vec()), Reply::Integer(-7), inner]));
        assert!(decode(b"?x\r\n").is_err());
        assert!(decode(b"$1\r\nab\r\n").is_err());
    }

    #[test]
    fn outcomes_follow_the_error_word() {
        let refused = outcome_of(Ok(Reply::Error("TRYAGAIN moving".into())));
        assert!(matches!(refused, Outcome::Refused(_)));
        assert!(matches!(outcome_of(Ok(Reply::Error("INDOUBT".into()))), Outcome::InDoubt(_)));
        assert!(matches!(outcome_of(Err(io::ErrorKind::TimedOut.into())), Outcome::InDoubt(_)));
        assert_eq!(outcome_of(Ok(Reply::Integer(1))), Outcome::Acknowledged);
    }
}
