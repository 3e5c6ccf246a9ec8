//! A small blocking HTTP/1.1 client for the command line and the demo: one request per connection, to the admin
//! and cache endpoints of a node.
//!
//! It understands what such an endpoint may answer: bodies by length, chunked, or up to the end of the connection.
//! Left out: keep-alive, redirects, compression, TLS.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest status or header line, in bytes.
const LINE_LEN_MAX: u64 = 16 * 1024;
/// Most header lines.
const HEADERS_MAX: usize = 128;
/// Largest body, in bytes.
const BODY_LEN_MAX: usize = 16 << 20;
/// How long one of a host's addresses may take to accept a connection.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// Talks to one node.
#[derive(Clone, Debug)]
pub struct AdminClient {
    address: String,
    password: Option<String>,
    timeout: Duration,
}

/// What a node answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// Nothing accepted a connection at this address.
    Connect(String, io::Error),
    /// The connection broke or was too slow.
    Io(io::Error),
    /// What came is not HTTP/1.1 as this client understands it.
    Malformed(&'static str),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Connect(address, error) => write!(f, "cannot connect to {address}: {error}"),
            ClientError::Io(error) => write!(f, "no answer: {error}"),
            ClientError::Malformed(what) => write!(f, "the answer is not HTTP/1.1: {what}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> ClientError {
        ClientError::Io(error)
    }
}

impl Response {
    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or(serde_json::Value::Null)
    }

    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What a failed request is told to the user as.
    pub fn complaint(&self) -> String {
        let json = self.json();
        let text = ["message", "error"].iter().find_map(|field| json[*field].as_str()).map(str::to_string);
        let text =
            text.unwrap_or_else(|| String::from_utf8_lossy(&self.body).trim().chars().take(500).collect());
        format!("HTTP {}: {text}", self.status)
    }
}

impl AdminClient {
    /// A client of the node whose HTTP port is at `address`: `HOST:PORT`, with or without `http://`.
    pub fn new(address: &str, timeout: Duration) -> AdminClient {
        let bare = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
        AdminClient { address: bare.to_string(), password: None, timeout }
    }

    /// Sends `password` as a bearer token with every request; an empty one is none.
    pub fn with_password(mut self, password: &str) -> AdminClient {
        self.password = Some(password.to_string()).filter(|password| !password.is_empty());
        self
    }

    /// GET `path`, which must be percent-encoded already.
    pub fn get(&self, path: &str) -> Result<Response, ClientError> {
        self.request("GET", path, None)
    }

    /// POST a JSON `body` to `path`.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> Result<Response, ClientError> {
        self.request("POST", path, Some(body.to_string().as_bytes()))
    }

    /// DELETE `path`.
    pub fn delete(&self, path: &str) -> Result<Response, ClientError> {
        self.request("DELETE", path, None)
    }

    fn request(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Response, ClientError> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        stream.set_nodelay(true)?;
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nConnection: close\r\n",
            self.address
        );
        if let Some(password) = &self.password {
            request += &format!("Authorization: Bearer {password}\r\n");
        }
        if let Some(body) = body {
            request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        stream.write_all(&bytes)?;
        read_response(&mut BufReader::new(stream))
    }

    fn connect(&self) -> Result<TcpStream, ClientError> {
        let failed = |error| ClientError::Connect(self.address.clone(), error);
        let addresses: Vec<SocketAddr> = self.address.to_socket_addrs().map_err(failed)?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.timeout.min(CONNECT_TIMEOUT_MAX)) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }
}

/// How the end of a body is known.
enum Framing {
    Length(usize),
    Chunked,
    ToEnd,
}

fn read_response(reader: &mut impl BufRead) -> Result<Response, ClientError> {
    loop {
        let status = read_status(reader)?;
        let framing = read_headers(reader)?;
        match status {
            // An interim answer; the real one follows.
            100..200 => {}
            204 | 304 => return Ok(Response { status, body: Vec::new() }),
            _ => return Ok(Response { status, body: read_body(reader, &framing)? }),
        }
    }
}

fn read_status(reader: &mut impl BufRead) -> Result<u16, ClientError> {
    let line = read_line(reader)?;
    let code =
        line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    code.filter(|code| (100..600).contains(code)).ok_or(ClientError::Malformed("no status line"))
}

fn read_headers(reader: &mut impl BufRead) -> Result<Framing, ClientError> {
    let mut framing = Framing::ToEnd;
    for _ in 0..HEADERS_MAX {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(framing);
        }
        let (name, value) = line.split_once(':').ok_or(ClientError::Malformed("a header without a colon"))?;
        if name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked") {
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("content-length") && !matches!(framing, Framing::Chunked) {
            // RFC 9112, section 6.3: Transfer-Encoding overrides Content-Length.
            framing =
                Framing::Length(value.trim().parse().map_err(|_| ClientError::Malformed("a wrong length"))?);
        }
    }
    Err(ClientError::Malformed("too many headers"))
}

fn read_body(reader: &mut impl BufRead, framing: &Framing) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => read_exactly(reader, *length, &mut body)?,
        Framing::ToEnd => {
            reader.take(BODY_LEN_MAX as u64 + 1).read_to_end(&mut body)?;
            check_length(body.len())?;
        }
        Framing::Chunked => loop {
            let line = read_line(reader)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length =
                usize::from_str_radix(digits, 16).map_err(|_| ClientError::Malformed("a wrong chunk"))?;
            if length == 0 {
                // Trailers, if any, end with an empty line as headers do.
                read_headers(reader)?;
                break;
            }
            read_exactly(reader, length, &mut body)?;
            if !read_line(reader)?.is_empty() {
                return Err(ClientError::Malformed("a chunk longer than its length"));
            }
        },
    }
    Ok(body)
}

fn read_exactly(reader: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> Result<(), ClientError> {
    check_length(body.len().saturating_add(length))?;
    let before = body.len();
    reader.take(length as u64).read_to_end(body)?;
    if body.len() - before == length { Ok(()) } else { Err(ClientError::Malformed("the body is cut short")) }
}

fn check_length(length: usize) -> Result<(), ClientError> {
    if length <= BODY_LEN_MAX { Ok(()) } else { Err(ClientError::Malformed("the body is too large")) }
}

fn read_line(reader: &mut impl BufRead) -> Result<String, ClientError> {
    let mut line = Vec::new();
    reader.take(LINE_LEN_MAX).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(ClientError::Malformed(if line.is_empty() {
            "it is empty"
        } else {
            "a line is cut short"
        }));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| ClientError::Malformed("a header is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: Result<(u16, &str), &str>) {
        let response = read_response(&mut bytes.as_bytes());
        let response = response.map(|it| (it.status, String::from_utf8_lossy(&it.body).into_owned()));
        let expected = expected.map(|(status, body)| (status, body.to_string()));
        assert_eq!(
            response.map_err(|error| error.to_string()),
            expected.map_err(str::to_string),
            "{bytes:?}"
        );
    }

    #[test]
    fn bodies_of_every_framing() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokextra", Ok((200, "ok")));
        check("HTTP/1.0 404 Not Found\r\n\r\nto the end", Ok((404, "to the end")));
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n",
            Ok((200, "abcde")),
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "")));
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok((200, "")));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        let refused = |what: &str| format!("the answer is not HTTP/1.1: {what}");
        check("", Err(&refused("it is empty")));
        check("-ERR unknown command\r\n", Err(&refused("no status line")));
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", Err(&refused("the body is cut short")));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            Err(&refused("the body is too large")),
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Err(&refused("a wrong chunk")));
        check("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", Err(&refused("a header without a colon")));
        check("HTTP/1.1 200 OK\r\n", Err(&refused("it is empty")));
    }

    #[test]
    fn a_request_is_answered_over_a_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}/", listener.local_addr().expect("it is bound"));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client connects");
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).expect("the client writes");
            stream
                .write_all(b"HTTP/1.1 409 Conflict\r\nContent-Length: 17\r\n\r\n{\"message\":\"no!\"}")
                .expect("it reads");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let client = AdminClient::new(&address, Duration::from_secs(5)).with_password("pw");
        let response = client.post("/x", &serde_json::json!({"a": 1})).expect("it answers");
        assert_eq!(response.complaint(), "HTTP 409: no!");
        let request = server.join().expect("the server thread ends");
        assert!(
            request.starts_with("POST /x HTTP/1.1\r\n") && request.ends_with("\r\n\r\n{\"a\":1}"),
            "{request}"
        );
        assert!(request.contains("Authorization: Bearer pw\r\n"), "{request}");
    }
}
