//! Client connections of a worker: accept, buffers, close, and what other threads do to them.

use super::{Flush, Worker, unconfirmed};
use crate::connection::{BUFFER_KEEP_BYTES, Connection, HeldReply};
use crate::pubsub::{Outgoing, Subscriber};
use crate::shared::ClientRecord;
use crate::stats::Counter;
use crate::target::{Delivery, Key};
use commands::pubsub;
use commands::session::{Buffers, ChannelKind, Session};
use protocol::Reply;
use std::sync::Arc;
use std::time::Duration;

/// What a client over the limit is told before it is closed.
pub const MAX_CLIENTS_REACHED: &[u8] = b"-ERR max number of clients reached\r\n";

impl Worker {
    /// Takes a new client; `None` if there are too many.
    pub fn accept(&mut self, addr: String, laddr: String, fd: i32) -> Option<Key> {
        let mut clients = self.shared.clients.lock();
        if clients.len() >= self.limits.clients_max {
            drop(clients);
            self.stat(Counter::RejectedConnections, 1);
            return None;
        }
        let id = self.shared.next_client_id();
        let generation = self.shared.users.generation();
        let user = Arc::clone(self.shared.users.users().default_user());
        let mut session = Session::new(id, addr, laddr, self.now, user);
        session.users_seen = generation;
        session.fd = fd;
        let info = session.describe(self.now);
        let connection = self.connections.insert(Some(Box::new(Connection::new(session))));
        let worker = u16::try_from(self.index).expect("workers are few");
        clients.insert(id, ClientRecord { worker, connection, info });
        drop(clients);
        self.stat(Counter::Connections, 1);
        Some(connection)
    }

    /// Where the bytes received from a client are appended; `process` then looks at them.
    pub fn input(&mut self, key: Key) -> Option<&mut Vec<u8>> {
        Some(&mut self.connections.get_mut(key)?.as_mut()?.input)
    }

    /// The bytes to send to a client; the driver removes what it has sent.
    pub fn output(&mut self, key: Key) -> Option<&mut Vec<u8>> {
        Some(&mut self.connections.get_mut(key)?.as_mut()?.output)
    }

    /// Whether the driver should stop reading from this client for now: it has sent far more than can be run.
    pub fn is_choked(&self, key: Key) -> bool {
        let Some(Some(connection)) = self.connections.get(key) else { return false };
        connection.stalled && connection.input.len() > CHOKE_BYTES
    }

    /// Whether the connection is to be closed once its output is sent.
    pub fn is_closing(&self, key: Key) -> bool {
        let Some(Some(connection)) = self.connections.get(key) else { return true };
        // Replies that are still open (a forwarded command, a commit) come before the end of QUIT; a killed client
        // gets none.
        connection.killed || (connection.closing && connection.is_direct())
    }

    /// Whether every complete command of the client has been answered: after its end of file, it may be closed then.
    pub fn is_answered(&self, key: Key) -> bool {
        let Some(Some(connection)) = self.connections.get(key) else { return true };
        // A client that has gone while it was waiting for data gets none.
        self.blocked_connections.contains_key(&key) || (!connection.stalled && connection.is_direct())
    }

    /// Counts what the driver has moved.
    pub fn count_io(&mut self, received: u64, sent: u64) {
        if received > 0 {
            self.stat(Counter::InputBytes, received);
            self.stat(Counter::Reads, 1);
        }
        if sent > 0 {
            self.stat(Counter::OutputBytes, sent);
            self.stat(Counter::Writes, 1);
        }
    }

    /// Gives back large buffers of a connection that is quiet now.
    pub fn trim(&mut self, key: Key) {
        if let Some(Some(connection)) = self.connections.get_mut(key) {
            for buffer in [&mut connection.input, &mut connection.output] {
                if buffer.is_empty() && buffer.capacity() > BUFFER_KEEP_BYTES {
                    *buffer = Vec::new();
                }
            }
        }
    }

    /// The connection is gone: forgets it and all it was subscribed to.
    pub fn closed(&mut self, key: Key) {
        let Some(Some(connection)) = self.connections.remove(key) else { return };
        self.shared.clients.lock().remove(&connection.session.id);
        let who = Subscriber { worker: u16::try_from(self.index).expect("workers are few"), connection: key };
        for kind in [ChannelKind::Channel, ChannelKind::Pattern, ChannelKind::Shard] {
            for name in connection.session.subscriptions.names(kind) {
                self.shared.registry.unsubscribe(kind, name, who);
            }
        }
        self.end_monitoring(key);
        self.waits.retain(|wait| wait.connection != key);
        self.forget_blocked(key);
    }

    pub(super) fn kill(&mut self, key: Key) {
        if let Some(Some(connection)) = self.connections.get_mut(key) {
            connection.closing = true;
            connection.killed = true;
        }
        self.queue_flush(key);
    }

    /// Has a connection written out at the end of the turn; or a little later, if replies of the same pipeline are still
    /// to come: those of several nodes become known one after the other, and each write costs more than the command.
    pub(super) fn queue_flush(&mut self, key: Key) {
        let Some(Some(connection)) = self.connections.get_mut(key) else { return };
        if connection.flush_queued {
            return;
        }
        let waits = !connection.is_direct() && !connection.closing && !connection.killed;
        if waits && connection.output.len() < CORK_BYTES_MAX && !connection.stalled {
            // With nothing to send yet, the next reply comes by here again.
            if connection.corked.is_none() && !connection.output.is_empty() {
                let until = self.now + CORK_MAX;
                connection.corked = Some(until);
                self.corked.push_back((until, key));
            }
            return;
        }
        connection.corked = None;
        connection.flush_queued = true;
        self.flush.push(Flush::Connection(key));
    }

    /// Has connections written out that have waited long enough for their next replies.
    pub(super) fn uncork(&mut self) {
        while let Some(&(until, key)) = self.corked.front() {
            let connection = self.connections.get_mut(key).and_then(Option::as_mut);
            match connection.filter(|connection| connection.corked == Some(until)) {
                Some(_) if until > self.now => return,
                Some(connection) => {
                    connection.corked = None;
                    if !std::mem::replace(&mut connection.flush_queued, true) {
                        self.flush.push(Flush::Connection(key));
                    }
                }
                // Written out meanwhile, or gone.
                None => {}
            }
            self.corked.pop_front();
        }
    }

    pub(super) fn deliver_to_connection(&mut self, key: Key, slot: u64, delivery: Delivery) {
        let Some(Some(connection)) = self.connections.get_mut(key) else { return };
        match delivery {
            Delivery::Bytes(bytes) => connection.fill(slot, HeldReply::from_vec(bytes), 0),
            Delivery::Released => connection.release(slot),
            Delivery::Unconfirmed { wrote } => connection.fail(slot, unconfirmed(wrote)),
        }
        if connection.stalled {
            self.ready.push(key);
        }
        self.queue_flush(key);
    }

    /// As a delivery of bytes, for a reply that stands in a link's input.
    pub(super) fn show_reply(&mut self, key: Key, slot: u64, reply: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(key) else { return };
        connection.fill_from(slot, reply);
        if connection.stalled {
            self.ready.push(key);
        }
        self.queue_flush(key);
    }

    /// Writes a published message to its subscriber.
    pub(super) fn show(&mut self, message: &Outgoing) {
        if usize::from(message.to.worker) != self.index {
            let mail = crate::target::Mail::Publish(vec![message.clone()]);
            self.shared.post(usize::from(message.to.worker), mail);
            return;
        }
        let key = message.to.connection;
        let Some(Some(connection)) = self.connections.get_mut(key) else { return };
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, connection.session.version);
        match (message.kind, &message.pattern) {
            (ChannelKind::Pattern, Some(pattern)) => {
                pubsub::pmessage(&mut reply, pattern, &message.channel, &message.message);
            }
            (ChannelKind::Shard, _) => pubsub::smessage(&mut reply, &message.channel, &message.message),
            _ => pubsub::message(&mut reply, &message.channel, &message.message),
        }
        // A push stands between replies, behind those that are already complete; it need not wait for open ones.
        connection.output.extend_from_slice(&bytes);
        let limit = self.limits.output_bytes_max_pubsub;
        if limit > 0 && connection.output.len() > limit {
            connection.closing = true;
            connection.output.clear();
            self.stat(Counter::OutputLimitCloses, 1);
        }
        self.queue_flush(key);
    }

    /// Brings the records for CLIENT LIST up to date and closes clients that were idle too long.
    pub(super) fn refresh_records(&mut self) {
        let (now, idle_max) = (self.now, self.limits.idle_seconds_max);
        let mut idle = Vec::new();
        let mut clients = self.shared.clients.lock();
        for key in self.connections.keys() {
            let Some(Some(connection)) = self.connections.get_mut(key) else { continue };
            let session = &connection.session;
            let quiet = now.since(session.last_interaction).as_secs();
            if idle_max > 0 && quiet > idle_max && session.subscriptions.total() == 0 {
                idle.push(key);
            }
            if std::mem::take(&mut connection.active) || quiet > 0 {
                connection.session.buffers = buffers_of(connection);
                if let Some(record) = clients.get_mut(&connection.session.id) {
                    record.info = connection.session.describe(now);
                }
            }
        }
        drop(clients);
        idle.into_iter().for_each(|key| self.kill(key));
    }

    /// Writes the record of one connection now: it is about to ask for the list, or has changed what the list shows.
    pub(super) fn refresh_record(&self, connection: &mut Connection) {
        connection.session.buffers = buffers_of(connection);
        if let Some(record) = self.shared.clients.lock().get_mut(&connection.session.id) {
            record.info = connection.session.describe(self.now);
        }
    }

    /// Processes every connection that stopped for something that may have changed.
    pub(super) fn resume_stalled(&mut self) {
        for key in self.connections.keys() {
            if matches!(self.connections.get(key), Some(Some(connection)) if connection.stalled) {
                self.ready.push(key);
            }
        }
    }
}

/// Longest that output waits for the next replies of its pipeline.
const CORK_MAX: Duration = Duration::from_millis(1);
/// More output than this does not wait.
const CORK_BYTES_MAX: usize = 16 * 1024;
/// A stalled connection with more unparsed bytes than this is not read from.
const CHOKE_BYTES: usize = 1024 * 1024;

fn buffers_of(connection: &Connection) -> Buffers {
    Buffers {
        query: connection.input.len(),
        query_free: connection.input.capacity() - connection.input.len(),
        reply_capacity: connection.output.capacity(),
        reply: connection.output.len(),
        multi: connection
            .transaction
            .as_ref()
            .map_or(0, |transaction| transaction.queue.iter().map(|queued| queued.words.len_bytes()).sum()),
    }
}
