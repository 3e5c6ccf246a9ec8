//! Links: connections to other nodes.
//!
//! A worker opens one link to every other member and takes the links that others open to it. On a link it opened it
//! sends requests and, as primary, replication messages; on a link it was given it answers them.

use super::dispatch::{Meta, Outcome, find};
use super::{Flush, Worker};
use crate::execute::Refusal;
use crate::frame::{self, Frame, Request, Route, Status};
use crate::stats::Counter;
use crate::target::{Delivery, Key, Owner, Target};
use crate::{connection::BUFFER_KEEP_BYTES, frame::Scope};
use cluster::map::Member;
use commands::Args;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::net::SocketAddr;
use stdx::{Mono, NodeId, PartitionId};

/// Who is at the other end of a link, as proved in its handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkPeer {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
    /// Whether this side opened the link.
    pub outbound: bool,
}

/// A link that should be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WantedLink {
    /// To which node.
    pub node: NodeId,
    /// In which incarnation.
    pub incarnation: u64,
    /// At which HTTP address.
    pub http: SocketAddr,
}

/// A request of the peer that has not been answered: how it came, while it is held.
#[derive(Default)]
struct HeldRoutes {
    era: u64,
    routes: SmallVec<[Route; 1]>,
}

/// One link.
pub(super) struct Link {
    pub(super) peer: LinkPeer,
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Replies that wait for commits, by request id.
    pub(super) gated: HashMap<u64, (Vec<u8>, u32)>,
    /// Routes of held requests, by request id.
    held_routes: HashMap<u64, HeldRoutes>,
    /// Refusals received on it, sent along with every request; see [`frame`].
    pub(super) era: u64,
    /// Partitions of requests that were refused although a later one on them could be executed, with their era.
    refused: HashMap<PartitionId, u64>,
    pub(super) closing: bool,
    pub(super) flush_queued: bool,
}

impl Worker {
    /// Takes an authenticated link; `None` if the map no longer knows that peer.
    pub fn link_opened(&mut self, peer: LinkPeer) -> Option<Key> {
        self.begin_turn();
        let known = self.routing.map.member(peer.node);
        if peer.outbound && known.is_none_or(|member| member.incarnation != peer.incarnation) {
            return None;
        }
        let key = self.links.insert(Link {
            peer,
            input: Vec::new(),
            output: Vec::new(),
            gated: HashMap::new(),
            held_routes: HashMap::new(),
            era: 0,
            refused: HashMap::new(),
            closing: false,
            flush_queued: false,
        });
        if peer.outbound {
            // Closed while it still is the peer's link, so that what it lost is known to be lost.
            if let Some(old) = self.peers.get(&peer.node).copied() {
                self.link_closed(old);
            }
            self.peers.insert(peer.node, key);
            self.attach_peers();
            self.retry_held();
            self.end_turn();
        }
        Some(key)
    }

    /// Links this worker wants and does not have.
    pub fn wanted_links(&self) -> Vec<WantedLink> {
        let map = &self.routing.map;
        let wanted = |member: &&Member| {
            member.node != self.routing.me && member.is_alive() && !self.peers.contains_key(&member.node)
        };
        map.members
            .values()
            .filter(wanted)
            .map(|m| WantedLink { node: m.node, incarnation: m.incarnation, http: m.http })
            .collect()
    }

    /// Where the bytes received on a link are appended; `process_link` then looks at them.
    pub fn link_input(&mut self, key: Key) -> Option<&mut Vec<u8>> {
        Some(&mut self.links.get_mut(key)?.input)
    }

    /// The bytes to send on a link; the driver removes what it has sent.
    pub fn link_output(&mut self, key: Key) -> Option<&mut Vec<u8>> {
        Some(&mut self.links.get_mut(key)?.output)
    }

    /// Whether a link is to be closed.
    pub fn is_link_closing(&self, key: Key) -> bool {
        self.links.get(key).is_none_or(|link| link.closing)
    }

    /// Counts what the driver has moved on links.
    pub fn count_link_io(&mut self, received: u64, sent: u64) {
        self.stat(Counter::LinkInputBytes, received);
        self.stat(Counter::LinkOutputBytes, sent);
    }

    /// Gives back large buffers of a quiet link.
    pub fn trim_link(&mut self, key: Key) {
        if let Some(link) = self.links.get_mut(key) {
            for buffer in [&mut link.input, &mut link.output] {
                if buffer.is_empty() && buffer.capacity() > 4 * BUFFER_KEEP_BYTES {
                    *buffer = Vec::new();
                }
            }
        }
    }

    /// Handles the frames that have arrived on a link.
    pub fn process_link(&mut self, key: Key) {
        let Some(link) = self.links.get_mut(key) else { return };
        let peer = link.peer;
        let input = std::mem::take(&mut link.input);
        let mut at = 0;
        loop {
            match frame::decode(input.get(at..).unwrap_or_default()) {
                Ok(Some((frame, len))) => {
                    self.handle_frame(key, peer, frame);
                    at += len;
                }
                Ok(None) => break,
                Err(frame::Malformed) => {
                    tracing::error!(peer = %peer.node, "malformed frame, closing the link");
                    if let Some(link) = self.links.get_mut(key) {
                        link.closing = true;
                    }
                    break;
                }
            }
        }
        if let Some(link) = self.links.get_mut(key) {
            link.input = input;
            link.input.drain(..at);
        }
        self.queue_link_flush(key);
    }

    /// A link is gone: what was sent on it and not answered is lost or comes back.
    pub fn link_closed(&mut self, key: Key) {
        self.now = self.shared.clock.mono();
        let Some(link) = self.links.remove(key) else { return };
        self.held_links.remove(&key);
        if link.peer.outbound && self.peers.get(&link.peer.node) == Some(&key) {
            self.peers.remove(&link.peer.node);
            let (me, workers) = (self.index, self.shared.config.workers);
            for cell in self.cells.iter().skip(me).step_by(workers) {
                if let Some(primary) = cell.state.lock().primary() {
                    primary.detach(link.peer.node);
                }
            }
        }
        for forward in self.forwards.keys() {
            if self.forwards.get(forward).is_some_and(|forward| forward.link == key)
                && let Some(forward) = self.take_forward(forward)
            {
                self.lost(forward);
            }
        }
        self.settle();
    }

    pub(super) fn drop_links_to(&mut self, node: NodeId) {
        for key in self.links.keys() {
            if self.links.get(key).is_some_and(|link| link.peer.node == node) {
                if let Some(link) = self.links.get_mut(key) {
                    link.closing = true;
                }
                self.queue_link_flush(key);
            }
        }
    }

    /// The link to a node, if it is up.
    pub(super) fn link_to(&self, node: NodeId) -> Option<Key> {
        let key = *self.peers.get(&node)?;
        self.links.get(key).filter(|link| !link.closing).map(|_| key)
    }

    pub(super) fn queue_link_flush(&mut self, key: Key) {
        if let Some(link) = self.links.get_mut(key)
            && !std::mem::replace(&mut link.flush_queued, true)
        {
            self.flush.push(Flush::Link(key));
        }
    }

    /// Sends what the peers of one partition can take.
    pub(super) fn pump_partition(&mut self, partition: PartitionId, attach: bool) {
        let Some(cell) = self.cells.get(partition) else { return };
        let mut state = cell.state.lock();
        state.pump_queued = false;
        let (links, peers) = (&mut self.links, &self.peers);
        let (mut used, mut syncs): (SmallVec<[Key; 4]>, u64) = (SmallVec::new(), 0);
        let mut unreachable: SmallVec<[NodeId; 4]> = SmallVec::new();
        state.pump(attach, &mut |node, message| {
            let link = peers.get(&node).and_then(|key| Some((*key, links.get_mut(*key)?)));
            match link {
                Some((key, link)) => {
                    syncs += u64::from(matches!(message, replication::Message::SyncBegin { .. }));
                    frame::encode_replication(&mut link.output, partition, &message);
                    used.push(key);
                }
                None => unreachable.push(node),
            }
        });
        if let Some(primary) = state.primary() {
            unreachable.iter().for_each(|node| primary.detach(*node));
        }
        drop(state);
        used.into_iter().for_each(|key| self.queue_link_flush(key));
        if syncs > 0 {
            self.stat(Counter::FullSyncs, syncs);
        }
    }

    fn handle_frame(&mut self, key: Key, peer: LinkPeer, frame: Frame<'_>) {
        match frame {
            Frame::Request { id, era, routes, request } => {
                let routes = HeldRoutes { era, routes: SmallVec::from_vec(routes) };
                self.serve_request(key, id, routes, request);
            }
            Frame::Response { id, status, reply } => self.forwarded(id, status, reply),
            Frame::Replication { partition, message } => match replication::decode(message) {
                Ok(message) => self.replication_message(key, peer, partition, message),
                Err(error) => {
                    tracing::error!(peer = %peer.node, %partition, %error, "closing the link");
                    if let Some(link) = self.links.get_mut(key) {
                        link.closing = true;
                    }
                }
            },
        }
    }

    fn replication_message(
        &mut self,
        key: Key,
        peer: LinkPeer,
        partition: PartitionId,
        message: replication::Message,
    ) {
        let cells = std::sync::Arc::clone(&self.cells);
        let Some(cell) = cells.get(partition) else {
            // No map yet: the primary has to ask again.
            if let (Some((_, stream)), Some(link)) = (message.sent_by_primary(), self.links.get_mut(key)) {
                let answer = replication::Message::Behind { reign: stdx::Epoch(0), stream };
                frame::encode_replication(&mut link.output, partition, &answer);
            }
            return;
        };
        let mut state = cell.state.lock();
        if peer.outbound {
            let mut released = Vec::new();
            state.peer_says(peer.node, message, self.now, &mut released);
            let pump = state.has_work_for_peers() && !std::mem::replace(&mut state.pump_queued, true);
            drop(state);
            if pump {
                self.pump.push(partition);
            }
            self.deliveries.extend(released.into_iter().map(|target| (target, Delivery::Released)));
            return;
        }
        let answer = state.follow(message, self.wall);
        let garbage = state.store.take_garbage();
        drop(state);
        drop(garbage);
        if let (Some(answer), Some(link)) = (answer, self.links.get_mut(key)) {
            frame::encode_replication(&mut link.output, partition, &answer);
        }
    }

    /// A request of the peer: run it here, under exactly the reigns it was routed by.
    fn serve_request(&mut self, key: Key, id: u64, routes: HeldRoutes, request: Request) {
        let target = self.target(Owner::Link(key), id);
        if self.held_links.contains_key(&key) {
            self.hold_for_link(key, id, routes, request, target);
            return;
        }
        if let Some((routes, request)) = self.try_for_link(key, routes, request, target) {
            self.hold_for_link(key, id, routes, request, target);
        }
    }

    fn hold_for_link(&mut self, key: Key, id: u64, routes: HeldRoutes, request: Request, target: Target) {
        if let Some(link) = self.links.get_mut(key) {
            link.held_routes.insert(id, routes);
        }
        // Given back well before the sender gives it up, so that it learns that nothing was executed.
        let deadline = self.now + self.shared.config.forward_timeout / 2;
        self.hold(request, target, deadline);
    }

    /// One attempt at a request of a peer; gives it back if it cannot run now.
    fn try_for_link(
        &mut self,
        key: Key,
        routes: HeldRoutes,
        request: Request,
        target: Target,
    ) -> Option<(HeldRoutes, Request)> {
        let words: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
        let args = Args::new(&words);
        let meta = Meta {
            scope: request.scope,
            db: request.db,
            version: request.version,
            touch: request.touch,
            partitions: &request.partitions,
            spots: &[],
            deadline: self.now,
        };
        let mut out = Vec::new();
        let started = self.now;
        let result = match find(request.scope, args) {
            _ if self.overtakes(key, &routes) => Err(Refusal::Stale),
            Some(command) if request.scope == Scope::Node || !routes.routes.is_empty() => {
                let result = self.run_here(command, args, &meta, &routes.routes, target, &mut out);
                if result.is_ok() {
                    self.now = self.shared.clock.mono();
                    let failed = out.first() == Some(&b'-');
                    self.shared.stats.of(self.index).ran(command.index(), 1, self.now.0 - started.0, u64::from(failed));
                }
                result
            }
            _ => {
                out.extend_from_slice(b"-ERR a node sent a command that this version does not know\r\n");
                Ok(Outcome::Ready)
            }
        };
        drop(words);
        match result {
            Ok(Outcome::Ready) => self.respond(key, target.slot, Status::Done, &out),
            Ok(Outcome::Gated(gates)) => self.deliver_gated(target, out, gates),
            Ok(Outcome::Elsewhere | Outcome::Held) => {}
            Err(Refusal::Stale) => {
                if routes.routes.len() > 1 {
                    self.remember_refusal(key, &routes);
                }
                self.respond(key, target.slot, Status::Stale, &[]);
            }
            Err(Refusal::Behind | Refusal::NotNow) => return Some((routes, request)),
        }
        None
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
        match self.try_for_link(key, routes, request, target) {
            None => {
                self.unhold_link(key);
                None
            }
            Some((routes, request)) => {
                if let Some(link) = self.links.get_mut(key) {
                    link.held_routes.insert(target.slot, routes);
                }
                Some(super::Held { request, target, deadline })
            }
        }
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
            Delivery::Bytes(bytes) => bytes,
            Delivery::Unconfirmed { wrote } => {
                if let Some(link) = self.links.get_mut(key) {
                    link.gated.remove(&id);
                }
                super::unconfirmed(wrote).to_vec()
            }
            Delivery::Released => {
                let Some(link) = self.links.get_mut(key) else { return };
                let Some((reply, gates)) = link.gated.get_mut(&id) else { return };
                *gates -= 1;
                if *gates > 0 {
                    return;
                }
                let reply = std::mem::take(reply);
                link.gated.remove(&id);
                reply
            }
        };
        self.respond(key, id, Status::Done, &reply);
    }
}
