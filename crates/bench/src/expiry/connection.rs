//! A connection that never blocks: it keeps what the socket did not take, and counts replies instead of collecting them.

use crate::Result;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

/// A client connection with requests on their way.
pub(super) struct Connection {
    stream: TcpStream,
    /// Requests; the socket has taken those before `written`.
    out: Vec<u8>,
    written: usize,
    replies: Replies,
}

impl Connection {
    /// Connects to a server; `token` comes back with its events.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn open(address: SocketAddr, registry: &Registry, token: usize) -> Result<Connection> {
        let plain = std::net::TcpStream::connect(address)?;
        plain.set_nodelay(true)?;
        plain.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(plain);
        registry.register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection { stream, out: Vec::new(), written: 0, replies: Replies::default() })
    }

    /// Where requests are added: [`Connection::flush`] sends them.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn flush(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err("the server closed a connection under load".into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads all that is there; how many replies ended.
    ///
    /// # Errors
    /// Those of the socket, and an error reply.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<u64> {
        let mut ended = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection under load".into()),
                Ok(count) => ended += self.replies.count(&buffer[..count])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(ended),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Finds where replies end that are no arrays.
#[derive(Default)]
struct Replies {
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Bytes of a value, and of the line's end behind it, that are still to come.
    rest: usize,
}

impl Replies {
    /// Replies that end within these bytes.
    ///
    /// # Errors
    /// An error reply, and what is none.
    fn count(&mut self, mut bytes: &[u8]) -> Result<u64> {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let (taken, after) = bytes.split_at(self.rest.min(bytes.len()));
                self.rest -= taken.len();
                bytes = after;
                ended += u64::from(self.rest == 0);
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                self.line.extend_from_slice(bytes);
                break;
            };
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            match self.line.first() {
                Some(b'$') if self.line.get(1) != Some(&b'-') => {
                    self.rest = std::str::from_utf8(&self.line[1..])?.trim_end().parse::<usize>()? + 2;
                }
                Some(b'+' | b':' | b'$' | b'_') => ended += 1,
                _ => return Err(format!("answered {:?}", String::from_utf8_lossy(&self.line)).into()),
            }
            self.line.clear();
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_wherever_reads_cut_them() {
        let bytes = b"$3\r\nfoo\r\n+OK\r\n:12\r\n$-1\r\n$0\r\n\r\n$2\r\n\n\n\r\n";
        for cut in 0..bytes.len() {
            let mut replies = Replies::default();
            let (first, second) = bytes.split_at(cut);
            let count = replies.count(first).expect("replies") + replies.count(second).expect("replies");
            assert_eq!((count, replies.rest, replies.line.len()), (6, 0, 0), "{cut}");
        }
        assert!(Replies::default().count(b"-OOM no\r\n").is_err());
    }
}
