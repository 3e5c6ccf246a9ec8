//! WAIT and WAITAOF: how far what a connection has written is confirmed, by replicas and by logs on disk.

use super::Worker;
use crate::connection::Connection;
use crate::target::{Delivery, Key, Owner};
use commands::session::ReplyMode;
use commands::{Args, Command, transaction as texts};
use protocol::{Reply, Version};
use std::time::Duration;
use stdx::Mono;

/// A WAIT that has not been answered.
pub(super) struct Wait {
    pub(super) connection: Key,
    slot: u64,
    version: Version,
    wanted: Wanted,
    deadline: Option<Mono>,
}

/// What a WAIT waits for.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// WAIT: so many replicas.
    Replicas(i64),
    /// WAITAOF: this node's log durable up to a position, perhaps, and that of so many replicas.
    Logs { own: bool, position: u64, replicas: i64 },
}

impl Worker {
    pub(super) fn wait(
        &mut self,
        key: Key,
        connection: &mut Connection,
        command: &Command,
        args: Args<'_>,
        mode: ReplyMode,
    ) -> Option<bool> {
        let timeout = match self.wanted(command, args) {
            Ok((_, timeout)) => timeout,
            Err(error) => return self.answer(connection, Err(error), mode),
        };
        // Replies of earlier writes come first; once they are out, those writes are committed.
        if connection.open_replies() > 0 {
            return None;
        }
        // Only now the position of the log is behind all of them.
        let Ok((wanted, _)) = self.wanted(command, args) else { return None };
        let slot = connection.next_slot();
        connection.in_flight_version = self.in_flight_version(connection);
        let discard = connection.discards(mode);
        connection.await_reply(false, discard);
        let deadline = (timeout > 0).then(|| self.now + Duration::from_millis(timeout));
        let version = connection.session.version;
        self.waits.push(Wait { connection: key, slot, version, wanted, deadline });
        self.check_waits();
        Some(false)
    }

    /// What the words of WAIT or WAITAOF ask for, and for how many milliseconds at most.
    pub(super) fn wanted(&self, command: &Command, args: Args<'_>) -> Result<(Wanted, u64), &'static str> {
        let number = |at: usize| args.get(at).and_then(protocol::parse_i64).ok_or(texts::NOT_AN_INTEGER);
        let timeout = |at: usize| match args.get(at).and_then(protocol::parse_i64) {
            None => Err(texts::TIMEOUT_NOT_AN_INTEGER),
            Some(ms) if ms < 0 => Err(texts::TIMEOUT_NEGATIVE),
            Some(ms) => Ok(ms.unsigned_abs()),
        };
        if command.name == "wait" {
            return Ok((Wanted::Replicas(number(1)?), timeout(2)?));
        }
        let own = match number(1)? {
            own @ (0 | 1) => own == 1,
            _ => return Err(texts::NOT_ZERO_OR_ONE),
        };
        let replicas = number(2)?;
        if replicas < 0 {
            return Err(texts::NOT_POSITIVE);
        }
        let timeout = timeout(3)?;
        let position = self.shared.journal.read().as_ref().map(|journal| journal.position());
        if own && position.is_none() {
            return Err(texts::NO_LOG);
        }
        Ok((Wanted::Logs { own, position: position.unwrap_or(u64::MAX), replicas }, timeout))
    }

    pub(super) fn check_waits(&mut self) {
        if self.waits.is_empty() {
            return;
        }
        let now = self.now;
        for wait in std::mem::take(&mut self.waits) {
            let (own, replicas) = self.confirmed(wait.wanted);
            let is_enough = match wait.wanted {
                Wanted::Replicas(wanted) => replicas >= wanted,
                Wanted::Logs { own: wanted, replicas: others, .. } => own >= wanted && replicas >= others,
            };
            if is_enough || wait.deadline.is_some_and(|deadline| deadline <= now) {
                let mut bytes = Vec::new();
                self.reply_wait(wait.wanted, &mut Reply::new(&mut bytes, wait.version));
                let target = self.target(Owner::Connection(wait.connection), wait.slot);
                self.deliveries.push_back((target, Delivery::Bytes(bytes)));
            } else {
                self.waits.push(wait);
            }
        }
    }

    pub(super) fn reply_wait(&self, wanted: Wanted, reply: &mut Reply<'_>) {
        let (own, replicas) = self.confirmed(wanted);
        if matches!(wanted, Wanted::Logs { .. }) {
            reply.array(2);
            reply.integer(i64::from(own));
        }
        reply.integer(replicas);
    }

    /// Whether this node's log is where it is wanted, and how many replicas are.
    fn confirmed(&self, wanted: Wanted) -> (bool, i64) {
        match wanted {
            Wanted::Replicas(_) => (false, self.replicas_in_sync()),
            Wanted::Logs { position, .. } => {
                let durable = self.shared.durable_up_to.load(std::sync::atomic::Ordering::Acquire);
                // Only with `appendfsync always` does a replica's confirmation say that its log is on disk.
                let confirms = self.shared.journal.read().as_ref().is_some_and(|journal| journal.confirms());
                (position <= durable, if confirms { self.replicas_in_sync() } else { 0 })
            }
        }
    }

    /// Replicas that hold every confirmed write: of the partition that has the fewest.
    fn replicas_in_sync(&self) -> i64 {
        if !self.shared.config.wait_for_in_sync {
            // Replies do not wait for replicas: count those that have caught up with this node right now.
            let lags = self.shared.replication_lag();
            return lags.values().filter(|(lag, detached)| *lag == 0 && *detached == 0).count() as i64;
        }
        let counts =
            self.routing.map.assignments.iter().map(|assignment| assignment.in_sync.len() as i64 - 1);
        counts.min().unwrap_or(0).max(0)
    }
}
