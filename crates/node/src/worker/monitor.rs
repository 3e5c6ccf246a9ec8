//! MONITOR: clients that listen to the commands which other clients send to this node.
//!
//! As in Redis a command is shown when it has run, before its reply needs to be known. While anybody listens, no command
//! takes the fast lane. Commands that other nodes send here are not shown: they are shown where their client is.

use super::Worker;
use crate::connection::Connection;
use crate::pubsub::Subscriber;
use crate::stats::Counter;
use crate::target::{Key, Mail};
use commands::server::monitor;
use commands::session::Session;
use commands::{Args, Command};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Worker {
    fn subscriber(&self, connection: Key) -> Subscriber {
        Subscriber { worker: u16::try_from(self.index).expect("workers are few"), connection }
    }

    /// The connection listens from now on.
    pub(super) fn begin_monitoring(&mut self, key: Key, connection: &mut Connection) {
        if std::mem::replace(&mut connection.session.monitoring, true) {
            return;
        }
        let mut monitors = self.shared.monitors.lock();
        monitors.push(self.subscriber(key));
        self.shared.is_monitored.store(true, Ordering::Release);
    }

    /// The connection is gone, or listens no longer.
    pub(super) fn end_monitoring(&self, key: Key) {
        if !self.shared.is_monitored.load(Ordering::Acquire) {
            return;
        }
        let who = self.subscriber(key);
        let mut monitors = self.shared.monitors.lock();
        monitors.retain(|other| *other != who);
        self.shared.is_monitored.store(!monitors.is_empty(), Ordering::Release);
    }

    /// Shows a command of this session to everybody who listens.
    #[inline]
    pub(super) fn show_command(&mut self, session: &Session, db: u8, command: &Command, args: Args<'_>) {
        if self.shared.is_monitored.load(Ordering::Acquire) && monitor::shows(command) {
            self.show_to_all(monitor::line(self.wall, db, &session.addr, args));
        }
    }

    #[cold]
    fn show_to_all(&mut self, line: Vec<u8>) {
        let (line, monitors): (Arc<[u8]>, Vec<Subscriber>) =
            (line.into(), self.shared.monitors.lock().clone());
        for Subscriber { worker, connection } in monitors {
            // By mail even to this worker, whose connection may be in use now.
            self.shared.post(usize::from(worker), Mail::Monitor(connection, Arc::clone(&line)));
        }
    }

    /// Writes the line about a command to a connection that listens.
    pub(super) fn show_line(&mut self, key: Key, line: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(key) else { return };
        if !connection.session.monitoring {
            return;
        }
        connection.output.extend_from_slice(line);
        let limit = self.limits.output_bytes_max_pubsub;
        if limit > 0 && connection.output.len() > limit {
            connection.closing = true;
            connection.output.clear();
            self.stat(Counter::OutputLimitCloses, 1);
        }
        self.queue_flush(key);
    }
}
