//! Links: connections to other nodes.
//!
//! A worker opens one link to every other member and takes the links that others open to it. On a link it opened it
//! sends requests and, as primary, replication messages; on a link it was given it answers them.

use super::peer_lane::FrameRun;
use super::peer_requests::{GatedReplies, HeldRoutes};
use super::{Flush, Worker};
use crate::cells::{Cells, Wandering};
use crate::connection::BUFFER_KEEP_BYTES;
use crate::frame::{self, Frame, Status};
use crate::stats::Counter;
use crate::target::{Delivery, Key, Mail, Owner, Target};
use cluster::map::Member;
use replication::Message;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::net::SocketAddr;
use stdx::{NodeId, PartitionId};

/// What one worker tells another about waiting replies.
type Letter = Vec<(Target, Delivery)>;

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

/// One link.
pub(super) struct Link {
    pub(super) peer: LinkPeer,
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Replies that wait for commits, by request id.
    pub(super) gated: GatedReplies,
    /// Routes of held requests, by request id.
    pub(super) held_routes: HashMap<u64, HeldRoutes>,
    /// Room for one reply, used again for each.
    pub(super) scratch: Vec<u8>,
    /// Refusals received on it, sent along with every request; see [`frame`].
    pub(super) era: u64,
    /// Partitions of requests that were refused although a later one on them could be executed, with their era.
    pub(super) refused: HashMap<PartitionId, u64>,
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
            gated: GatedReplies::default(),
            held_routes: HashMap::new(),
            scratch: Vec::new(),
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
        let mut released = std::mem::take(&mut self.released);
        let (mut run, mut at) = (FrameRun::default(), 0);
        while let Some(bytes) = input.get(at..) {
            if let Some((request, len)) = frame::decode_brief(bytes) {
                if !run.takes_request(&request) {
                    self.handle_run(key, peer, &mut run, &mut released);
                    run.takes_request(&request);
                }
                at += len;
                continue;
            }
            match frame::decode(bytes) {
                Ok(Some((frame, len))) => {
                    self.handle_frame(key, peer, frame, &mut run, &mut released);
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
        self.handle_run(key, peer, &mut run, &mut released);
        self.release_all(&mut released);
        self.released = released;
        if let Some(link) = self.links.get_mut(key) {
            link.input = input;
            link.input.drain(..at);
        }
        self.queue_link_flush(key);
    }

    /// Whether this worker is linked to other nodes.
    pub fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// Tells everybody whose commit has happened: those of other workers by one letter each.
    fn release_all(&mut self, released: &mut Vec<Target>) {
        let mut elsewhere: SmallVec<[(u16, Letter); 4]> = SmallVec::new();
        for target in released.drain(..) {
            if usize::from(target.worker) == self.index {
                self.deliver(target, Delivery::Released);
                continue;
            }
            let delivery = (target, Delivery::Released);
            match elsewhere.iter_mut().find(|(worker, _)| *worker == target.worker) {
                Some((_, deliveries)) => deliveries.push(delivery),
                None => elsewhere.push((target.worker, vec![delivery])),
            }
        }
        for (worker, deliveries) in elsewhere {
            self.shared.post(usize::from(worker), Mail::Deliver(deliveries));
        }
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

    /// Sends what the peers of one partition can take. `lock` may be that of another.
    pub(super) fn pump_partition<'c>(
        &mut self,
        (cells, lock): (&'c Cells, &mut Wandering<'c>),
        partition: PartitionId,
        attach: bool,
    ) {
        let Some(state) = lock.go(cells, partition) else { return };
        state.pump_queued = false;
        let (links, peers, flush) = (&mut self.links, &self.peers, &mut self.flush);
        let mut unreachable: SmallVec<[NodeId; 4]> = SmallVec::new();
        state.pump(attach, &mut |node, message| {
            let link = peers.get(&node).and_then(|key| Some((*key, links.get_mut(*key)?)));
            match link {
                Some((key, link)) => {
                    frame::encode_replication(&mut link.output, partition, &message);
                    if !std::mem::replace(&mut link.flush_queued, true) {
                        flush.push(Flush::Link(key));
                    }
                }
                None => unreachable.push(node),
            }
        });
        let mut syncs = replication::Syncs::default();
        if let Some(primary) = state.primary() {
            unreachable.iter().for_each(|node| primary.detach(*node));
            syncs = primary.take_syncs();
        }
        self.count_syncs(syncs);
    }

    fn count_syncs(&mut self, syncs: replication::Syncs) {
        if syncs == replication::Syncs::default() {
            return;
        }
        let replication::Syncs { by_backlog, by_difference, whole, bytes_sent, bytes_spared } = syncs;
        for (counter, by) in [
            (Counter::BacklogSyncs, by_backlog),
            (Counter::DifferenceSyncs, by_difference),
            (Counter::FullSyncs, whole),
            (Counter::SyncBytes, bytes_sent),
            (Counter::SyncBytesSpared, bytes_spared),
        ] {
            self.stat(counter, by);
        }
    }

    fn handle_frame<'a>(
        &mut self,
        key: Key,
        peer: LinkPeer,
        frame: Frame<'a>,
        run: &mut FrameRun<'a>,
        released: &mut Vec<Target>,
    ) {
        match frame {
            Frame::Request { id, era, routes, request } => {
                self.handle_run(key, peer, run, released);
                self.serve_request(key, id, HeldRoutes { era, routes }, request);
            }
            Frame::Response { id, status, reply } => {
                if !run.is_empty() {
                    self.handle_run(key, peer, run, released);
                }
                self.response(id, status, reply);
            }
            Frame::Replication { partition, message } => {
                if let Err(message) = run.take_message(partition, message) {
                    self.handle_run(key, peer, run, released);
                    let taken = run.take_message(partition, message);
                    debug_assert!(taken.is_ok(), "an empty run takes anything");
                }
            }
        }
    }

    /// The response to a forwarded command: nearly always the reply of a command of a client of this worker.
    fn response(&mut self, id: u64, status: Status, reply: &[u8]) {
        let forward = Key { index: (id >> 32) as u32, generation: id as u32 };
        match self.forwards.get(forward).map(|forward| forward.target.owner) {
            Some(Owner::Connection(connection)) if status == Status::Done => {
                if let Some(forward) = self.take_forward(forward) {
                    self.show_reply(connection, forward.target.slot, reply);
                }
            }
            _ => self.forwarded(id, status, reply),
        }
    }

    pub(super) fn answer_primary(&mut self, key: Key, partition: PartitionId, answer: &Message<'_>) {
        if let Some(link) = self.links.get_mut(key) {
            frame::encode_replication(&mut link.output, partition, answer);
            self.queue_link_flush(key);
        }
    }
}
