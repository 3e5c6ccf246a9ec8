//! One connection: commands go out in pipelines, replies come back with their types.

use super::value::Value;
use crate::Result;
use crate::resp_client::encode;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
const READ_BUFFER: usize = 64 * 1024;

/// A command as it is sent.
pub(super) type Words = Vec<Vec<u8>>;

/// A connection to one server.
pub(super) struct Link {
    reader: BufReader<TcpStream>,
    out: Vec<u8>,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn connect(address: SocketAddr) -> Result<Link> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Link { reader: BufReader::with_capacity(READ_BUFFER, stream), out: Vec::new() })
    }

    /// Adds a command to the pipeline.
    pub(super) fn push<A: AsRef<[u8]>>(&mut self, words: &[A]) {
        encode(words, &mut self.out);
    }

    /// Sends the pipeline.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn flush(&mut self) -> Result<()> {
        let sent = self.reader.get_mut().write_all(&self.out);
        self.out.clear();
        Ok(sent?)
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// Those of the socket, and for what is no reply; the connection is useless afterwards.
    pub(super) fn receive(&mut self) -> Result<Value> {
        Ok(Value::read(&mut self.reader)?)
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// As for [`Link::receive`].
    pub(super) fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Value> {
        self.push(words);
        self.flush()?;
        self.receive()
    }

    /// Sends several commands together and waits for all their replies.
    ///
    /// # Errors
    /// As for [`Link::receive`].
    pub(super) fn ask_all(&mut self, commands: &[Words]) -> Result<Vec<Value>> {
        commands.iter().for_each(|words| self.push(words));
        self.flush()?;
        commands.iter().map(|_| self.receive()).collect()
    }
}
