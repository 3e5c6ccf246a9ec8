//! Commands sent to other nodes: until their responses come, their links break or their time is over.

use super::dispatch::{Routes, find};
use super::{Forward, Held, IN_DOUBT, TRY_AGAIN, Worker};
use crate::frame::{self, Request, Scope};
use crate::stats::Counter;
use crate::target::{Delivery, Key, Owner, Target};
use commands::{Args, Flags};
use smallvec::SmallVec;
use stdx::Mono;

impl Worker {
    /// Sends a request over a link; its response will be delivered to `target`.
    pub(super) fn forward(
        &mut self,
        link: Key,
        routes: Routes,
        request: Request,
        target: Target,
        deadline: Mono,
    ) {
        let part_of = match (target.owner, self.root(target).owner) {
            (Owner::Gathering(_), Owner::Connection(connection)) => Some(connection),
            _ => None,
        };
        if let Some(connection) = part_of {
            *self.parts_sent.entry(connection).or_insert(0) += 1;
        }
        let key = self.forwards.insert(Forward { request, routes, target, link, deadline, part_of });
        let id = u64::from(key.index) << 32 | u64::from(key.generation);
        let Some(forward) = self.forwards.get(key) else { return };
        if let Some(link) = self.links.get_mut(link) {
            frame::encode_request(&mut link.output, id, link.era, &forward.routes, &forward.request);
        }
        self.stat(Counter::Forwarded, 1);
        self.queue_link_flush(link);
    }

    /// The response to a forwarded command.
    pub(super) fn forwarded(&mut self, id: u64, status: frame::Status, reply: &[u8]) {
        let key = Key { index: (id >> 32) as u32, generation: id as u32 };
        let Some(forward) = self.take_forward(key) else { return };
        match status {
            frame::Status::Done => {
                self.deliveries.push_back((forward.target, Delivery::Bytes(reply.to_vec())));
            }
            frame::Status::Stale => {
                if let Some(link) = self.links.get_mut(forward.link) {
                    link.era += 1;
                }
                self.come_back(forward);
            }
        }
    }

    /// A forwarded command is under way no longer.
    pub(super) fn take_forward(&mut self, key: Key) -> Option<Forward> {
        let forward = self.forwards.remove(key)?;
        if let Some(connection) = forward.part_of
            && let Some(count) = self.parts_sent.get_mut(&connection)
        {
            *count -= 1;
            if *count == 0 {
                self.parts_sent.remove(&connection);
            }
        }
        Some(forward)
    }

    /// A forwarded command was not executed: hold it and route it anew.
    pub(super) fn come_back(&mut self, forward: Forward) {
        let Forward { request, target, deadline, .. } = forward;
        if request.scope.is_fleeting() {
            return self.deliveries.push_back((target, Delivery::Bytes(Vec::new())));
        }
        let root = self.root(target);
        if let Owner::Connection(key) = root.owner
            && let Some(Some(connection)) = self.connections.get_mut(key)
        {
            connection.set_held(root.slot, true);
        }
        self.stat(Counter::HeldBack, 1);
        self.held.push_back(Held { request, target, deadline });
    }

    /// The link of a forwarded command broke, or its time is over, and nobody knows whether it was executed.
    pub(super) fn lost(&mut self, forward: Forward) {
        if forward.request.scope.is_fleeting() {
            return self.come_back(forward);
        }
        let words: SmallVec<[&[u8]; 16]> = forward.request.words.iter().collect();
        let command = find(forward.request.scope, Args::new(&words));
        let writes = command.is_none_or(|command| command.flags.has(Flags::WRITE))
            || forward.request.scope == Scope::Transaction;
        let is_node_part = forward.request.scope == Scope::Node;
        drop(words);
        if is_node_part {
            self.deliveries.push_back((forward.target, Delivery::Bytes(TRY_AGAIN.to_vec())));
        } else if writes {
            self.stat(Counter::InDoubt, 1);
            self.deliveries.push_back((forward.target, Delivery::Bytes(IN_DOUBT.to_vec())));
        } else if self.now >= forward.deadline {
            self.deliveries.push_back((forward.target, Delivery::Bytes(TRY_AGAIN.to_vec())));
        } else {
            self.come_back(forward);
        }
    }

    pub(super) fn time_out_forwards(&mut self) {
        for key in self.forwards.keys() {
            if self.forwards.get(key).is_some_and(|forward| forward.deadline <= self.now)
                && let Some(forward) = self.take_forward(key)
            {
                self.lost(forward);
            }
        }
    }
}
