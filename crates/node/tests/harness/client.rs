//! Clients: connections that write commands and read replies.

use super::{Cluster, PATIENCE};
use node::{Key, Worker};
use protocol::Value;
use std::collections::VecDeque;
use stdx::Random;

/// A client's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClientId(usize);

/// A connection.
pub(crate) struct Client {
    node: usize,
    worker: usize,
    pub(crate) key: Key,
    /// Written and not yet read by the node.
    outgoing: Vec<u8>,
    /// Received and not yet a whole reply.
    incoming: Vec<u8>,
    replies: VecDeque<Value>,
    pub(crate) is_open: bool,
}

impl Client {
    pub(crate) fn is_at(&self, node: usize, worker: usize) -> bool {
        self.is_open && (self.node, self.worker) == (node, worker)
    }

    /// The process of that node has ended.
    pub(crate) fn lose(&mut self, node: usize) {
        self.is_open &= self.node != node;
    }

    pub(crate) fn write_to(&mut self, worker: &mut Worker, random: &mut Random) {
        if self.outgoing.is_empty() || worker.is_choked(self.key) {
            return;
        }
        let len = self.outgoing.len();
        let cut = if random.chance(0.2) { random.below(len as u64) as usize } else { len };
        if let Some(input) = worker.input(self.key) {
            input.extend(self.outgoing.drain(..cut));
            worker.process(self.key);
        }
    }

    pub(crate) fn read_from(&mut self, worker: &mut Worker) {
        if let Some(output) = worker.output(self.key) {
            self.incoming.append(output);
        }
        while let Some((value, len)) = protocol::decode(&self.incoming).expect("nodes write valid replies") {
            self.incoming.drain(..len);
            self.replies.push_back(value);
        }
        if worker.is_closing(self.key) {
            worker.closed(self.key);
            self.is_open = false;
        }
    }
}

impl Cluster {
    /// Connects a client to a worker of a node.
    pub(crate) fn connect(&mut self, node: usize) -> ClientId {
        let worker = self.random.below(self.setup.workers as u64) as usize;
        let accepted = self.nodes[node].workers[worker].accept("127.0.0.1:9".into(), "127.0.0.1:1".into(), 0);
        self.clients.push(Client {
            node,
            worker,
            key: accepted.expect("fewer clients than the limit"),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            replies: VecDeque::new(),
            is_open: true,
        });
        ClientId(self.clients.len() - 1)
    }

    /// Closes the connection of a client.
    pub(crate) fn close(&mut self, client: ClientId) {
        let client = &mut self.clients[client.0];
        client.is_open = false;
        self.nodes[client.node].workers[client.worker].closed(client.key);
    }

    /// Whether its node wants the connection of a client to be closed.
    pub(crate) fn is_closed(&self, client: ClientId) -> bool {
        let client = &self.clients[client.0];
        self.nodes[client.node].workers[client.worker].is_closing(client.key)
    }

    /// Writes a command: words separated by spaces.
    pub(crate) fn send(&mut self, client: ClientId, command: &str) {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        self.send_words(client, &words);
    }

    /// Writes a command.
    pub(crate) fn send_words(&mut self, client: ClientId, words: &[&[u8]]) {
        protocol::encode_command(&mut self.clients[client.0].outgoing, words);
    }

    /// The next reply, if there is one.
    pub(crate) fn reply(&mut self, client: ClientId) -> Option<Value> {
        self.clients[client.0].replies.pop_front()
    }

    /// The next reply.
    pub(crate) fn wait(&mut self, client: ClientId) -> Value {
        let deadline = self.now() + PATIENCE;
        loop {
            if let Some(value) = self.reply(client) {
                return value;
            }
            assert!(self.now() < deadline, "no reply (seed {})", self.setup.seed);
            self.round();
        }
    }

    /// Writes a command and returns its reply.
    pub(crate) fn call(&mut self, client: ClientId, command: &str) -> Value {
        self.send(client, command);
        self.wait(client)
    }

    /// Writes a command and compares its reply, as text.
    pub(crate) fn check(&mut self, client: ClientId, command: &str, expected: &str) {
        let reply = self.call(client, command);
        assert_eq!(text(&reply), expected, "{command} (seed {})", self.setup.seed);
    }
}

/// A reply as one line: `OK`, `(3)`, `"bytes"`, `nil`, `[a b]`, and errors from their dash on.
pub(crate) fn text(value: &Value) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match value {
        Value::Simple(bytes) => lossy(bytes),
        Value::Error(bytes) => format!("-{}", lossy(bytes)),
        Value::Integer(number) => format!("({number})"),
        Value::Bulk(bytes) => format!("\"{}\"", lossy(bytes)),
        Value::Null | Value::NullArray => "nil".into(),
        Value::Array(items) | Value::Push(items) | Value::Set(items) => {
            format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// The code of an error reply, such as `INDOUBT`; empty for anything else.
pub(crate) fn code(value: &Value) -> String {
    match value {
        Value::Error(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            text.split(' ').next().unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}
