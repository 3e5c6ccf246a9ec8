//! A connection that pipelines GET and SET and throws values away while they arrive.
//!
//! Replies are most of the traffic of a replay and only their lengths matter, so they are not collected as
//! [`RespClient`](crate::resp_client::RespClient) would.

use crate::Result;
use crate::resp_client::encode;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use stdx::hash::mix64;

const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
const RECEIVE_BYTES: usize = 256 * 1024;

/// A reply without its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// There is no such key.
    Missing,
    /// A value.
    Value,
    /// `+OK`
    Done,
    /// A number.
    Integer(u64),
}

/// A connection with requests that were not sent yet.
pub(super) struct Connection {
    receiving: BufReader<TcpStream>,
    line: Vec<u8>,
    out: Vec<u8>,
    value: Vec<u8>,
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        let receiving = BufReader::with_capacity(RECEIVE_BYTES, stream);
        Ok(Connection { receiving, line: Vec::new(), out: Vec::new(), value: Vec::new() })
    }

    /// Adds a command on the key of a trace.
    pub(super) fn push(&mut self, command: &str, id: u64) {
        encode(&[command.as_bytes(), &key(id)], &mut self.out);
    }

    /// Adds a SET of a value of so many bytes.
    pub(super) fn push_set(&mut self, id: u64, bytes: usize) {
        if self.value.len() < bytes {
            self.value.resize(bytes, b'v');
        }
        encode(&[b"SET", &key(id)[..], &self.value[..bytes]], &mut self.out);
    }

    /// Sends what was added.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn send(&mut self) -> Result<()> {
        self.receiving.get_mut().write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Sends a command at once and waits for its reply.
    ///
    /// # Errors
    /// Those of the socket, and an error reply.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<Answer> {
        encode(words, &mut self.out);
        self.send()?;
        self.answer()
    }

    /// Keys that the server holds.
    ///
    /// # Errors
    /// As for [`Connection::ask`].
    pub(super) fn keys(&mut self) -> Result<u64> {
        match self.ask(&["DBSIZE"])? {
            Answer::Integer(keys) => Ok(keys),
            other => Err(format!("DBSIZE: {other:?}").into()),
        }
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// Those of the socket, and an error reply.
    pub(super) fn answer(&mut self) -> Result<Answer> {
        self.line.clear();
        self.receiving.read_until(b'\n', &mut self.line)?;
        let text = String::from_utf8_lossy(&self.line);
        let text = text.trim_end();
        match text.split_at_checked(1) {
            Some(("+", _)) => Ok(Answer::Done),
            Some((":", number)) => Ok(Answer::Integer(number.parse()?)),
            Some(("_", _) | ("$", "-1")) => Ok(Answer::Missing),
            Some(("$", length)) => {
                let length: usize = length.parse()?;
                self.skip(length + 2)?;
                Ok(Answer::Value)
            }
            _ => Err(format!("the server answered {text:?}").into()),
        }
    }

    fn skip(&mut self, mut bytes: usize) -> Result<()> {
        while bytes > 0 {
            let there = self.receiving.fill_buf()?.len();
            if there == 0 {
                return Err("the server closed the connection within a reply".into());
            }
            let part = there.min(bytes);
            self.receiving.consume(part);
            bytes -= part;
        }
        Ok(())
    }
}

/// The key of a number in a trace, whose numbers are dense and in order: mixed, so that nothing follows from their order.
fn key(id: u64) -> Vec<u8> {
    format!("k:{:016x}", mix64(id)).into_bytes()
}

/// A figure of `INFO memory`.
///
/// # Errors
/// When there is none of this name.
pub(super) fn memory_figure(address: SocketAddr, name: &str) -> Result<u64> {
    let mut client = crate::resp_client::RespClient::connect(address, REPLY_TIMEOUT)?;
    let crate::resp_client::Reply::Bulk(text) = client.command(&["INFO", "memory"])? else {
        return Err("INFO memory is no text".into());
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let figure =
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
    figure.ok_or_else(|| format!("INFO memory has no {name}").into())
}
