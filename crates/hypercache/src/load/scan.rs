//! Finds where replies end in a stream of bytes, and nothing more.
//!
//! A scanner is fed whatever one read returned and keeps only a few words of state between reads: no reply is ever copied or put
//! together. It tells values from misses and errors, because a benchmark of error replies would be fast and worthless.

use super::Protocol;

/// How much of the first error is kept to be shown.
const ERROR_BYTES_MAX: usize = 120;
/// How much of an HTTP header line is looked at; no header that matters here is longer.
const HEADER_BYTES_MAX: usize = 64;

/// What a piece of the stream completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    /// Whole replies.
    pub(super) replies: u64,
    /// Of these, errors.
    pub(super) errors: u64,
    /// Keys that were not there.
    pub(super) misses: u64,
}

/// The scanner of one connection.
#[derive(Debug)]
pub(super) struct Scanner {
    grammar: Grammar,
    /// Bytes of a value still to be passed over.
    skip: usize,
    /// The text of the first error reply.
    error: Vec<u8>,
}

#[derive(Debug)]
enum Grammar {
    Resp(Resp),
    Memcached(Memcached),
    Http(Http),
}

impl Scanner {
    /// A scanner at the start of a reply.
    pub(super) fn new(protocol: Protocol) -> Scanner {
        let grammar = match protocol {
            Protocol::Resp => Grammar::Resp(Resp::default()),
            Protocol::Memcached => Grammar::Memcached(Memcached::default()),
            Protocol::Http => Grammar::Http(Http::new()),
        };
        Scanner { grammar, skip: 0, error: Vec::new() }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// When they cannot be what was asked for; the stream is useless from there on.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Counts, &'static str> {
        match &mut self.grammar {
            Grammar::Resp(resp) => resp.feed(bytes, &mut self.skip, &mut self.error),
            Grammar::Memcached(memcached) => memcached.feed(bytes, &mut self.skip, &mut self.error),
            Grammar::Http(http) => http.feed(bytes, &mut self.skip, &mut self.error),
        }
    }

    /// The text of the first error reply; empty if there was none.
    pub(super) fn error(&self) -> &[u8] {
        &self.error
    }
}

/// Passes over up to `skip` bytes of a value.
fn pass<'a>(bytes: &'a [u8], skip: &mut usize) -> &'a [u8] {
    let passed = bytes.len().min(*skip);
    *skip -= passed;
    bytes.get(passed..).unwrap_or_default()
}

/// RESP2: one header line at a time; arrays only raise the number of elements that are owed.
#[derive(Debug, Default)]
struct Resp {
    /// The header's first byte; 0 between headers.
    kind: u8,
    number: usize,
    negative: bool,
    /// Elements still owed inside the current reply; 0 between replies.
    owed: usize,
    keep_error: bool,
}

impl Resp {
    fn feed(
        &mut self,
        mut bytes: &[u8],
        skip: &mut usize,
        error: &mut Vec<u8>,
    ) -> Result<Counts, &'static str> {
        let mut counts = Counts::default();
        loop {
            bytes = pass(bytes, skip);
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(counts) };
            bytes = rest;
            match byte {
                b'\n' => self.finish_header(skip, &mut counts),
                _ if self.kind == 0 => self.begin_header(byte, error)?,
                b'0'..=b'9' if self.kind != b'-' => {
                    self.number = self.number.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
                }
                b'-' if self.kind != b'-' => self.negative = true,
                b'\r' => {}
                other if self.keep_error && error.len() < ERROR_BYTES_MAX => error.push(other),
                _ => {}
            }
        }
    }

    fn begin_header(&mut self, byte: u8, error: &[u8]) -> Result<(), &'static str> {
        if !matches!(byte, b'$' | b'+' | b'-' | b':' | b'*') {
            return Err("the answer is not RESP2");
        }
        (self.kind, self.number, self.negative) = (byte, 0, false);
        self.keep_error = byte == b'-' && error.is_empty();
        Ok(())
    }

    fn finish_header(&mut self, skip: &mut usize, counts: &mut Counts) {
        let kind = std::mem::take(&mut self.kind);
        self.owed = self.owed.max(1) - 1;
        match kind {
            b'$' if self.negative => counts.misses += 1,
            b'$' => *skip = self.number.saturating_add(2),
            b'*' if !self.negative => self.owed += self.number,
            b'-' => counts.errors += 1,
            _ => {}
        }
        // The bytes of a last value are still to come, but nothing else of this reply: counting it now is as good.
        if self.owed == 0 {
            counts.replies += 1;
        }
    }
}

/// memcached's text protocol: `VALUE key flags length`, `END`, and one-word answers.
#[derive(Debug, Default)]
struct Memcached {
    /// The line's first two bytes, and how many of them are known.
    start: [u8; 2],
    length: usize,
    /// The number in the line's last word.
    number: usize,
    values: u64,
    keep_error: bool,
}

impl Memcached {
    fn feed(
        &mut self,
        mut bytes: &[u8],
        skip: &mut usize,
        error: &mut Vec<u8>,
    ) -> Result<Counts, &'static str> {
        let mut counts = Counts::default();
        loop {
            bytes = pass(bytes, skip);
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(counts) };
            bytes = rest;
            if byte == b'\n' {
                self.finish_line(skip, &mut counts)?;
                continue;
            }
            if let Some(place) = self.start.get_mut(self.length) {
                *place = byte;
            }
            self.length += 1;
            match byte {
                b'0'..=b'9' => {
                    self.number = self.number.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
                }
                b' ' => self.number = 0,
                _ => {}
            }
            self.remember_error(byte, error);
        }
    }

    /// Keeps the text of the first line that begins as errors do.
    fn remember_error(&mut self, byte: u8, error: &mut Vec<u8>) {
        if self.length == 2 && error.is_empty() && matches!(&self.start, b"ER" | b"CL" | b"SE" | b"NO") {
            error.push(self.start[0]);
            self.keep_error = true;
        }
        if self.keep_error && byte != b'\r' && error.len() < ERROR_BYTES_MAX {
            error.push(byte);
        }
    }

    fn finish_line(&mut self, skip: &mut usize, counts: &mut Counts) -> Result<(), &'static str> {
        let number = std::mem::take(&mut self.number);
        self.length = 0;
        self.keep_error = false;
        match &self.start {
            b"VA" => {
                *skip = number.saturating_add(2);
                self.values += 1;
                return Ok(());
            }
            b"EN" if std::mem::take(&mut self.values) == 0 => counts.misses += 1,
            b"EN" | b"ST" => {}
            b"ER" | b"CL" | b"SE" | b"NO" => counts.errors += 1,
            _ => return Err("the answer is not memcached's text protocol"),
        }
        counts.replies += 1;
        Ok(())
    }
}

/// HTTP/1.1 with a content length.
#[derive(Debug)]
struct Http {
    line: [u8; HEADER_BYTES_MAX],
    length: usize,
    status: u16,
    body: Option<usize>,
}

impl Http {
    fn new() -> Http {
        Http { line: [0; HEADER_BYTES_MAX], length: 0, status: 0, body: None }
    }

    fn feed(
        &mut self,
        mut bytes: &[u8],
        skip: &mut usize,
        error: &mut Vec<u8>,
    ) -> Result<Counts, &'static str> {
        let mut counts = Counts::default();
        loop {
            bytes = pass(bytes, skip);
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(counts) };
            bytes = rest;
            match byte {
                b'\n' => self.finish_line(skip, &mut counts, error)?,
                b'\r' => {}
                _ => {
                    if let Some(place) = self.line.get_mut(self.length) {
                        *place = byte.to_ascii_lowercase();
                        self.length += 1;
                    }
                }
            }
        }
    }

    fn finish_line(
        &mut self,
        skip: &mut usize,
        counts: &mut Counts,
        error: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let line = self.line.get(..std::mem::take(&mut self.length)).unwrap_or_default();
        if self.status == 0 {
            let status = line.strip_prefix(b"http/1.1 ").and_then(|rest| number(rest.get(..3)?));
            self.status =
                status.and_then(|status| u16::try_from(status).ok()).ok_or("the answer is not HTTP/1.1")?;
            if !matches!(self.status, 200..=299 | 404) && error.is_empty() {
                error.extend_from_slice(line);
            }
        } else if let Some(value) = line.strip_prefix(b"content-length:") {
            self.body = number(value.trim_ascii());
        } else if line.is_empty() {
            // Without a length only the connection's end would tell where the body does.
            *skip = self
                .body
                .take()
                .or((self.status == 204).then_some(0))
                .ok_or("a response without a content length")?;
            match std::mem::take(&mut self.status) {
                200..=299 => {}
                404 => counts.misses += 1,
                _ => counts.errors += 1,
            }
            counts.replies += 1;
        }
        Ok(())
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the stream is cut, the counts are the same.
    #[track_caller]
    fn check(protocol: Protocol, stream: &[u8], expected: Counts, error: &str) {
        for piece in [1, 2, 3, 7, stream.len()] {
            let mut scanner = Scanner::new(protocol);
            let mut sum = Counts::default();
            for bytes in stream.chunks(piece) {
                let counts = scanner.feed(bytes).expect("it is the protocol");
                sum.replies += counts.replies;
                sum.errors += counts.errors;
                sum.misses += counts.misses;
            }
            assert_eq!(sum, expected, "in pieces of {piece}");
            assert_eq!(String::from_utf8_lossy(scanner.error()), error);
            assert_eq!(scanner.skip, 0);
        }
    }

    #[test]
    fn resp_replies_are_counted() {
        let stream = b"+OK\r\n$3\r\n\n-\n\r\n$-1\r\n-ERR no 7-\r\n:-5\r\n*2\r\n$1\r\na\r\n$-1\r\n*0\r\n*-1\r\n-MOVED\r\n";
        check(Protocol::Resp, stream, Counts { replies: 9, errors: 2, misses: 2 }, "ERR no 7-");
        assert!(Scanner::new(Protocol::Resp).feed(b"HTTP/1.1 400\r\n").is_err());
    }

    #[test]
    fn memcached_replies_are_counted() {
        let stream =
            b"STORED\r\nVALUE k1 0 3\r\nEND\r\nEND\r\nEND\r\nVALUE a 0 1\r\nx\r\nVALUE b 0 0\r\n\r\nEND\r\nSERVER_ERROR no memory\r\n";
        check(
            Protocol::Memcached,
            stream,
            Counts { replies: 5, errors: 1, misses: 1 },
            "SERVER_ERROR no memory",
        );
        assert!(Scanner::new(Protocol::Memcached).feed(b"-ERR\r\n").is_err());
    }

    #[test]
    fn http_replies_are_counted() {
        let stream = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nA: b\r\n\r\n{\n\n}HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n\
            HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        check(
            Protocol::Http,
            stream,
            Counts { replies: 4, errors: 1, misses: 1 },
            "http/1.1 401 unauthorized",
        );
        assert!(Scanner::new(Protocol::Http).feed(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
