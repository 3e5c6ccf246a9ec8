//! Requests that other nodes forward to this one: run at once, held, refused or waiting for their commits.

use super::dispatch::{Meta, Outcome, find};
use super::{OUT_OF_MEMORY, Worker};
use crate::connection::HeldReply;
use crate::execute::Refusal;
use crate::frame::{self, Request, RequestRef, Route, Status};
use crate::target::{Delivery, Key, Owner, Target};
use commands::{Args, Flags};
use protocol::Reply;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use stdx::Mono;

/// Room for a reply that a link keeps for the next one.
pub(super) const SCRATCH_KEEP_BYTES: usize = 16 * 1024;

/// Replies that wait for so many commits, by request id.
pub(super) type GatedReplies = HashMap<u64, (HeldReply, u32), BuildHasherDefault<IdHasher>>;

/// How a request came that is held.
#[derive(Default)]
pub(super) struct HeldRoutes {
    pub(super) era: u64,
    pub(super) routes: SmallVec<[Route; 1]>,
}

/// Ids of requests are a place and a running number at the sender, a node that has proved to be one: spread well enough
/// by one multiplication.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = stdx::hash::mix64(self.0 ^ value);
    }
}

impl Worker {
    /// A request of the peer: run it here, under exactly the reigns it was routed by.
    pub(super) fn serve_request(&mut self, key: Key, id: u64, routes: HeldRoutes, request: RequestRef<'_>) {
        let target = self.target(Owner::Link(key), id);
        // Behind a request that is held, all of its link queue.
        if !self.held_links.contains_key(&key) && self.try_for_link(key, &routes, request, target) {
            return;
        }
        let request = request.to_request(&routes.routes);
        if let Some(link) = self.links.get_mut(key) {
            link.held_routes.insert(id, routes);
        }
        // Given back well before the sender gives it up, so that it learns that nothing was executed.
        let deadline = self.now + self.shared.config.forward_timeout / 2;
        self.hold(request, target, deadline);
    }

    /// One attempt at a request of a peer; false if it cannot run now.
    fn try_for_link(
        &mut self,
        key: Key,
        routes: &HeldRoutes,
        request: RequestRef<'_>,
        target: Target,
    ) -> bool {
        let words: SmallVec<[&[u8]; 16]> = request.words().collect();
        let args = Args::new(&words);
        let meta = Meta {
            scope: request.scope,
            db: request.db,
            version: request.version,
            touch: request.touch,
            partitions: &[],
            spots: &[],
            deadline: self.now,
        };
        let mut out =
            self.links.get_mut(key).map(|link| std::mem::take(&mut link.scratch)).unwrap_or_default();
        let started = self.now;
        let result = match find(request.scope, args) {
            _ if self.overtakes(key, routes) => Err(Refusal::Stale),
            // The node that was asked has looked at its own memory only.
            Some(command) if command.flags.has(Flags::DENYOOM) && self.is_out_of_memory() => {
                Reply::new(&mut out, request.version).error(OUT_OF_MEMORY);
                Ok(Outcome::Ready)
            }
            Some(command) if request.scope.is_for_node() || !routes.routes.is_empty() => {
                let result = self.run_here(command, args, &meta, &routes.routes, target, &mut out);
                if result.is_ok() {
                    // Running a command on partitions has read the clock at its end, for the lease.
                    if self.now == started {
                        self.now = self.shared.clock.mono();
                    }
                    let (nanos, failed) = (self.now.0 - started.0, out.first() == Some(&b'-'));
                    self.shared.stats.of(self.index).ran(command.index(), 1, nanos, u64::from(failed));
                }
                result
            }
            _ => {
                out.extend_from_slice(b"-ERR a node sent a command that this version does not know\r\n");
                Ok(Outcome::Ready)
            }
        };
        match result {
            Ok(Outcome::Ready) => self.respond(key, target.slot, Status::Done, &out),
            // An attempt that has found nothing: there is nothing to be confirmed.
            Ok(Outcome::Gated(_)) if out.is_empty() => self.respond(key, target.slot, Status::Done, &out),
            Ok(Outcome::Gated(gates)) => {
                if let Some(link) = self.links.get_mut(key) {
                    link.gated.insert(target.slot, (HeldReply::from_slice(&out), gates));
                }
            }
            Ok(Outcome::Elsewhere | Outcome::Held) => {}
            Err(Refusal::Stale) => {
                if routes.routes.len() > 1 {
                    self.remember_refusal(key, routes);
                }
                self.respond(key, target.slot, Status::Stale, &[]);
            }
            Err(Refusal::Behind | Refusal::NotNow) => {}
        }
        self.give_scratch_back(key, out);
        !matches!(result, Err(Refusal::Behind | Refusal::NotNow))
    }

    fn give_scratch_back(&mut self, key: Key, mut out: Vec<u8>) {
        if let Some(link) = self.links.get_mut(key) {
            out.clear();
            out.shrink_to(SCRATCH_KEEP_BYTES);
            link.scratch = out;
        }
    }

    /// Tries a held request of a peer again.
    pub(super) fn retry_for_link(
        &mut self,
        key: Key,
        request: Request,
        target: Target,
        deadline: Mono,
    ) -> Option<super::Held> {
        let routes = self.links.get_mut(key).and_then(|link| link.held_routes.remove(&target.slot));
        let Some(routes) = routes else {
            self.unhold_link(key);
            return None;
        };
        if self.now >= deadline {
            self.unhold_link(key);
            self.remember_refusal(key, &routes);
            self.respond(key, target.slot, Status::Stale, &[]);
            return None;
        }
        if self.try_for_link(key, &routes, request.as_ref(), target) {
            self.unhold_link(key);
            return None;
        }
        if let Some(link) = self.links.get_mut(key) {
            link.held_routes.insert(target.slot, routes);
        }
        Some(super::Held { request, target, deadline })
    }

    /// Whether a request would overtake one that was refused and whose sender does not know it yet.
    fn overtakes(&mut self, key: Key, routes: &HeldRoutes) -> bool {
        let Some(link) = self.links.get_mut(key) else { return false };
        if !link.refused.is_empty() {
            link.refused.retain(|_, era| *era >= routes.era);
        }
        routes.routes.iter().any(|route| link.refused.contains_key(&route.partition))
    }

    fn remember_refusal(&mut self, key: Key, routes: &HeldRoutes) {
        if let Some(link) = self.links.get_mut(key) {
            link.refused.extend(routes.routes.iter().map(|route| (route.partition, routes.era)));
        }
    }

    fn unhold_link(&mut self, key: Key) {
        if let Some(count) = self.held_links.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.held_links.remove(&key);
            }
        }
    }

    fn respond(&mut self, key: Key, id: u64, status: Status, reply: &[u8]) {
        if let Some(link) = self.links.get_mut(key) {
            frame::encode_response(&mut link.output, id, status, reply);
        }
        self.queue_link_flush(key);
    }

    pub(super) fn deliver_to_link(&mut self, key: Key, id: u64, delivery: Delivery) {
        let reply = match delivery {
            Delivery::Bytes(bytes) => HeldReply::from_vec(bytes),
            Delivery::Unconfirmed { wrote } => {
                if let Some(link) = self.links.get_mut(key) {
                    link.gated.remove(&id);
                }
                HeldReply::from_slice(super::unconfirmed(wrote))
            }
            Delivery::Released => {
                let Some(link) = self.links.get_mut(key) else { return };
                let Entry::Occupied(mut gated) = link.gated.entry(id) else { return };
                gated.get_mut().1 -= 1;
                if gated.get().1 > 0 {
                    return;
                }
                let (reply, _) = gated.remove();
                frame::encode_response(&mut link.output, id, Status::Done, &reply);
                return self.queue_link_flush(key);
            }
        };
        self.respond(key, id, Status::Done, &reply);
    }
}
