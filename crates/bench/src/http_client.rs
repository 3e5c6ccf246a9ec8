//! A blocking keep-alive HTTP/1.1 client for the cache API, small enough to see all of what it sends.

use crate::Result;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HEADERS_MAX: usize = 100;
const BODY_MAX: usize = 16 * 1024 * 1024;

/// RFC 3986 unreserved characters stay; every other byte of a key is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A response: its status and its whole body.
pub(crate) struct HttpReply {
    /// The status code.
    pub(crate) status: u16,
    /// The body, unchunked.
    pub(crate) body: Vec<u8>,
}

impl HttpReply {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("{error} in {:?}", String::from_utf8_lossy(&self.body)).into())
    }
}

/// A client of one node; connects when first used and again after an error.
pub(crate) struct HttpClient {
    address: SocketAddr,
    timeout: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl HttpClient {
    /// A client that is not connected yet.
    pub(crate) fn new(address: SocketAddr, timeout: Duration) -> HttpClient {
        HttpClient { address, timeout, stream: None }
    }

    /// Sends one request and reads the whole response. Never retried here.
    ///
    /// # Errors
    /// Those of the socket, and `InvalidData` for what is not HTTP/1.1. The next request connects anew.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<HttpReply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let request = encode_request(method, path, body);
        stream.get_mut().write_all(&request)?;
        let (reply, keep) = read_reply(&mut stream)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(reply)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(BufReader::new(stream))
    }
}

/// The path of a key in the cache API, every odd byte percent-encoded.
pub(crate) fn key_path(key: &[u8]) -> String {
    format!("/api/cache/{}", percent_encode(key, ESCAPED))
}

/// The bytes of one keep-alive request.
pub(crate) fn encode_request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    if !body.is_empty() {
        request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn read_reply(stream: &mut BufReader<TcpStream>) -> io::Result<(HttpReply, bool)> {
    let status_line = read_line(stream)?;
    let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status: u16 = status.ok_or_else(|| invalid("no status line"))?;
    let (mut length, mut chunked, mut keep) = (0usize, false, true);
    for _ in 0..HEADERS_MAX {
        let line = read_line(stream)?.to_ascii_lowercase();
        let Some((name, value)) = line.split_once(':') else {
            let body = if chunked { read_chunks(stream)? } else { read_exact(stream, length)? };
            return Ok((HttpReply { status, body }, keep));
        };
        match (name, value.trim()) {
            ("content-length", value) => length = value.parse().map_err(|_| invalid("bad content-length"))?,
            ("transfer-encoding", value) => chunked = value == "chunked",
            ("connection", "close") => keep = false,
            _ => {}
        }
    }
    Err(invalid("too many headers"))
}

fn read_chunks(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length =
            usize::from_str_radix(read_line(stream)?.trim(), 16).map_err(|_| invalid("bad chunk"))?;
        body.extend(read_exact(stream, length)?);
        read_line(stream)?;
        if length == 0 {
            return Ok(body);
        }
        if body.len() > BODY_MAX {
            return Err(invalid("body too large"));
        }
    }
}

fn read_exact(stream: &mut BufReader<TcpStream>, length: usize) -> io::Result<Vec<u8>> {
    if length > BODY_MAX {
        return Err(invalid("body too large"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_byte_by_byte() {
        assert_eq!(key_path(b"a b/\xff%.~"), "/api/cache/a%20b%2F%FF%25.~");
    }
}
