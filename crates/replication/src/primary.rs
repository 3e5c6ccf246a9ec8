//! A primary: appends records, feeds its peers, and knows what is committed.

use crate::difference::{Difference, Next, Span, SpanDigest, salt};
use crate::log::Log;
use crate::message::Message;
use crate::records::Records;
use crate::{CHUNKS_IN_FLIGHT_MAX, RECORDS_BYTES_MAX};
use stdx::{Epoch, Mono, NodeId, Seq};

/// The store behind a primary, read in pieces.
pub trait ChunkSource {
    /// Encodes a piece that starts at `cursor` (`None` at first) and returns it with where the next one starts,
    /// `None` after the last.
    fn chunk(&mut self, cursor: Option<(u8, u64)>) -> (Vec<u8>, Option<(u8, u64)>);
    /// As [`crate::Applier::order`].
    fn order(&self) -> u64;
    /// A few spans that follow each other from `from` on, and the bytes of what is in each. At least one; the last of all
    /// ends at `u64::MAX`.
    fn digests(&mut self, from: u64, salt: u64) -> Vec<(SpanDigest, u64)>;
    /// Encodes a piece of what is in `span`, from its beginning on, and returns it with where it ends: within the span.
    fn piece_of(&mut self, span: Span) -> (Vec<u8>, u64);
}

/// How peers came to be up to date since [`Primary::take_syncs`] was called last.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Syncs {
    /// Peers that lagged behind and got only the records they lacked.
    pub by_backlog: u64,
    /// Peers with which copies are compared.
    pub by_difference: u64,
    /// Peers that get a whole copy.
    pub whole: u64,
    /// Bytes sent for comparing and copying, live records apart.
    pub bytes_sent: u64,
    /// Bytes of keys and values that were found to be equal and not sent.
    pub bytes_spared: u64,
}

impl std::ops::AddAssign for Syncs {
    fn add_assign(&mut self, other: Syncs) {
        self.by_backlog += other.by_backlog;
        self.by_difference += other.by_difference;
        self.whole += other.whole;
        self.bytes_sent += other.bytes_sent;
        self.bytes_spared += other.bytes_spared;
    }
}

/// Where a peer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nothing known: an Attach has to be sent.
    Detached,
    /// Attach sent, position awaited.
    Attaching,
    /// Receives chunks, next from `cursor`, and live records.
    Syncing {
        /// Whether SyncBegin has been sent.
        begun: bool,
        /// Where the next chunk starts.
        cursor: Option<(u8, u64)>,
        /// Chunks not yet acknowledged.
        in_flight: u32,
        /// Whether the last chunk has been sent.
        sent_all: bool,
    },
    /// Receives live records.
    Streaming,
    /// Required but not continuable: has to leave the in-sync set, or not to join it, before it may be synced anew.
    Diverged,
}

/// A follower as its primary sees it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Which node.
    pub node: NodeId,
    /// Whether a record is committed only with this peer's acknowledgement.
    pub required: bool,
    /// Whether the map counts it as in sync.
    pub in_sync: bool,
    /// Where it stands.
    pub stage: Stage,
    /// Counter of the last record sent.
    pub sent: u64,
    /// Counter of the last record acknowledged.
    pub acked: u64,
    /// When it last made progress, or last had nothing to do.
    pub progress_at: Mono,
    /// The stream attached last.
    stream: u64,
    /// The next Attach waits for the retry timer.
    awaits_retry: bool,
    /// As the peer said when it was attached.
    order: u64,
    /// While it syncs by comparing.
    difference: Option<Box<Difference>>,
}

/// One partition's primary.
#[derive(Debug)]
pub struct Primary {
    reign: Epoch,
    /// Of the map that the peers are from.
    epoch: Epoch,
    log: Log,
    committed: u64,
    /// Counter up to which records are on this node's own disk, if nothing is committed before it is there.
    durable: Option<u64>,
    /// Bytes of records that are kept for whoever comes back soon.
    backlog_bytes: usize,
    peers: Vec<Peer>,
    /// Streams attached so far, to whatever peer.
    streams: u64,
    fenced: bool,
    syncs: Syncs,
}

impl Primary {
    /// Takes over in `reign` with a whole copy that ends with `log`. Records that the log still keeps are not known to
    /// be committed: [`Primary::set_peers`] says who else must have them, and has to be called next.
    pub fn new(reign: Epoch, log: Log) -> Primary {
        let committed = log.base_counter();
        Primary {
            reign,
            epoch: reign,
            log,
            committed,
            durable: None,
            backlog_bytes: 0,
            peers: Vec::new(),
            streams: 0,
            fenced: false,
            syncs: Syncs::default(),
        }
    }

    /// Keeps so many bytes of records for followers that come back after a while, with or without peers now.
    pub fn keep_backlog(&mut self, bytes: usize) {
        self.backlog_bytes = bytes;
    }

    /// From now on, nothing is committed before [`Primary::durable`] has said that it is on this node's own disk.
    pub fn require_disk(&mut self) {
        self.durable.get_or_insert(self.committed);
    }

    /// Everything up to `counter` is on this node's own disk.
    pub fn durable(&mut self, counter: u64) {
        if let Some(durable) = &mut self.durable {
            *durable = counter.max(*durable);
            self.advance();
        }
    }

    /// Records written or taken over that are not known to be committed, oldest first.
    pub fn unconfirmed(&self) -> Records<'_> {
        self.log.after(self.committed.max(self.log.base_counter())).unwrap_or_default()
    }

    /// The reign of this primary.
    pub fn reign(&self) -> Epoch {
        self.reign
    }

    /// Last record written.
    pub fn last(&self) -> Seq {
        self.log.last()
    }

    /// Counter up to which every required peer has acknowledged.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// The peers.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// What has come since the last call.
    pub fn take_syncs(&mut self) -> Syncs {
        std::mem::take(&mut self.syncs)
    }

    /// Whether a peer told us that our reign is over.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Whether there is anybody to send records to.
    pub fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    /// Gives up the role; the log is what the next role starts from: of what is committed it keeps nothing.
    pub fn into_log(mut self) -> Log {
        self.log.trim(self.committed);
        self.log
    }

    /// Sets the peers to what the map of `epoch` says: `in_sync` and `learners`, both without this node.
    ///
    /// Maps may be skipped. A peer that only learns now may then have been removed and added again, and have dropped
    /// its copy: what it acknowledged before counts for nothing. One in sync cannot, since promotions are ours.
    pub fn set_peers(&mut self, epoch: Epoch, in_sync: &[NodeId], learners: &[NodeId], now: Mono) {
        let skipped = epoch.0 > self.epoch.0 + 1;
        self.epoch = epoch;
        self.peers.retain(|peer| in_sync.contains(&peer.node) || learners.contains(&peer.node));
        for (&node, is_in_sync) in
            in_sync.iter().map(|node| (node, true)).chain(learners.iter().map(|node| (node, false)))
        {
            match self.peers.iter_mut().find(|peer| peer.node == node) {
                Some(peer) => {
                    if !is_in_sync && (skipped || peer.in_sync || peer.stage == Stage::Diverged) {
                        (peer.stage, peer.awaits_retry, peer.acked) = (Stage::Detached, false, 0);
                    }
                    peer.in_sync = is_in_sync;
                    peer.required = is_in_sync;
                    peer.progress_at = now;
                }
                None => self.peers.push(Peer {
                    node,
                    required: is_in_sync,
                    in_sync: is_in_sync,
                    stage: Stage::Detached,
                    sent: 0,
                    acked: 0,
                    progress_at: now,
                    stream: 0,
                    awaits_retry: false,
                    order: 0,
                    difference: None,
                }),
            }
        }
        self.advance();
    }

    /// Requires a learner's acknowledgements from now on, since its promotion is about to be proposed. Returns what
    /// [`Primary::has_confirmed`] has to be true of first: from then on the learner has whatever has been acknowledged
    /// to a client, and may be chosen to succeed. `None` if it is not a learner that has caught up.
    pub fn require(&mut self, node: NodeId) -> Option<u64> {
        let last = self.log.last().counter;
        let peer = self.peers.iter_mut().find(|peer| peer.node == node)?;
        let caught_up = peer.stage == Stage::Streaming && peer.acked + PROMOTION_LAG_MAX >= last;
        caught_up.then(|| {
            peer.required = true;
            last
        })
    }

    /// Whether everything up to `counter` is committed, and `node` has it.
    pub fn has_confirmed(&self, node: NodeId, counter: u64) -> bool {
        self.committed >= counter && self.peers.iter().any(|peer| peer.node == node && peer.acked >= counter)
    }

    /// Learners that have caught up and are not required yet.
    pub fn promotable(&self) -> impl Iterator<Item = NodeId> {
        let last = self.log.last().counter;
        self.peers
            .iter()
            .filter(move |p| {
                !p.required && p.stage == Stage::Streaming && p.acked + PROMOTION_LAG_MAX >= last
            })
            .map(|p| p.node)
    }

    /// Undoes [`Primary::require`] once the promotion can no longer be committed.
    pub fn unrequire(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == node) {
            peer.required = peer.in_sync;
            if peer.stage == Stage::Diverged && !peer.required {
                (peer.stage, peer.awaits_retry) = (Stage::Detached, false);
            }
        }
        self.advance();
    }

    /// Appends a record and returns its counter. `effects` are not looked at when there is neither a peer nor a backlog.
    pub fn append(&mut self, effects: &[u8], now: Mono) -> u64 {
        let last = self.log.last();
        let seq = Seq { epoch: self.reign, counter: last.counter + 1 };
        if self.peers.is_empty() && self.backlog_bytes == 0 {
            self.log.skip_to(seq);
            if self.durable.is_none() {
                self.committed = seq.counter;
            }
            return seq.counter;
        }
        let mut awaited = self.durable.is_some();
        for peer in &mut self.peers {
            if peer.acked >= last.counter {
                peer.progress_at = now;
            }
            awaited |= peer.required;
        }
        self.log.push(seq, effects);
        // Where somebody has to confirm it, a new record commits nothing.
        if !awaited {
            self.advance();
        }
        seq.counter
    }

    /// The link to `node` was lost or came up anew: whatever was in flight is gone.
    pub fn detach(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == node) {
            peer.retry_later();
        }
    }

    /// Takes one answer of a peer.
    pub fn step(&mut self, from: NodeId, message: Message<'_>, now: Mono) {
        let reign = self.reign;
        let Some(index) = self.peers.iter().position(|peer| peer.node == from) else { return };
        let current = self.peers[index].stream;
        match message {
            Message::Position { reign: theirs, stream, last, usable, order }
                if theirs == reign && stream == current =>
            {
                self.peers[index].order = order;
                self.position(index, last, usable, now);
            }
            Message::Differing { reign: theirs, stream, reached, spans }
                if theirs == reign && stream == current =>
            {
                self.differing(index, reached, &spans, now);
            }
            Message::Ack { reign: theirs, stream, counter, chunks }
                if theirs == reign && stream == current =>
            {
                self.ack(index, counter, chunks, now);
            }
            Message::Fenced { reign: theirs } if theirs > reign => self.fenced = true,
            // The peer's map lags behind: ask again at the next retry.
            Message::Behind { reign: theirs, stream } if theirs <= reign && stream == current => {
                self.peers[index].retry_later();
            }
            _ => {}
        }
    }

    /// Sends what can be sent. `attach` allows to attach peers again that could not be attached or were lost; new ones
    /// are attached at once. An Attach is sent once: its answer comes, or the link is lost and [`Primary::detach`] called.
    pub fn pump(
        &mut self,
        source: &mut dyn ChunkSource,
        attach: bool,
        send: &mut dyn FnMut(NodeId, Message<'_>),
    ) {
        let (reign, committed, last) = (self.reign, self.committed, self.log.last());
        let syncs = &mut self.syncs;
        for peer in &mut self.peers {
            match peer.stage {
                Stage::Detached if attach || !peer.awaits_retry => {
                    self.streams += 1;
                    (peer.stage, peer.stream) = (Stage::Attaching, self.streams);
                    send(peer.node, Message::Attach { reign, stream: peer.stream, last });
                }
                Stage::Detached | Stage::Attaching | Stage::Diverged => {}
                Stage::Streaming => send_records(&self.log, peer, reign, committed, send),
                Stage::Syncing { begun: true, .. } => {
                    send_records(&self.log, peer, reign, committed, send);
                    send_copy(peer, reign, source, syncs, send);
                }
                Stage::Syncing { begun: false, .. } => {
                    peer.stage = Stage::Syncing { begun: true, cursor: None, in_flight: 0, sent_all: false };
                    peer.sent = last.counter;
                    // Whatever it holds, as long as it is in the same order: only what is equal will be left as it is.
                    let keep = peer.order != 0 && peer.order == source.order();
                    peer.difference = keep.then(Box::default);
                    *(if keep { &mut syncs.by_difference } else { &mut syncs.whole }) += 1;
                    send(peer.node, Message::SyncBegin { reign, stream: peer.stream, at: last, keep });
                    send_copy(peer, reign, source, syncs, send);
                }
            }
        }
    }

    fn position(&mut self, index: usize, last: Seq, usable: bool, now: Mono) {
        let mine = self.log.last();
        let continuable = usable && self.log.continues(last);
        let peer = &mut self.peers[index];
        if peer.stage != Stage::Attaching {
            // Unasked: the follower cannot make sense of the stream. Where it really stands decides what comes next.
            peer.retry_later();
            return;
        }
        peer.progress_at = now;
        if continuable {
            self.syncs.by_backlog += u64::from(last.counter < mine.counter);
            peer.stage = Stage::Streaming;
            peer.sent = last.counter;
            peer.acked = last.counter;
            self.advance();
        } else if peer.required {
            peer.stage = Stage::Diverged;
        } else {
            peer.stage = Stage::Syncing { begun: false, cursor: None, in_flight: 0, sent_all: false };
            peer.sent = mine.counter;
            peer.acked = 0;
        }
    }

    /// The answer to a question about spans.
    fn differing(&mut self, index: usize, reached: u64, spans: &[Span], now: Mono) {
        let peer = &mut self.peers[index];
        if !matches!(peer.stage, Stage::Syncing { begun: true, .. }) {
            return;
        }
        let spared = peer.difference.as_mut().and_then(|difference| difference.answered(reached, spans));
        match spared {
            Some(bytes) => {
                peer.progress_at = now;
                self.syncs.bytes_spared += bytes;
            }
            // No answer to what was asked: begin anew.
            None => peer.retry_later(),
        }
    }

    fn ack(&mut self, index: usize, counter: u64, chunks: u32, now: Mono) {
        let last = self.log.last().counter;
        let peer = &mut self.peers[index];
        if counter > last {
            return;
        }
        match &mut peer.stage {
            Stage::Streaming => {}
            Stage::Syncing { in_flight, sent_all, .. } => {
                *in_flight = in_flight.saturating_sub(chunks);
                if *sent_all && *in_flight == 0 {
                    peer.stage = Stage::Streaming;
                }
            }
            Stage::Detached | Stage::Attaching | Stage::Diverged => return,
        }
        peer.acked = peer.acked.max(counter);
        peer.progress_at = now;
        self.advance();
    }

    fn advance(&mut self) {
        let last = self.log.last().counter;
        let required = self.peers.iter().filter(|peer| peer.required);
        let floor = required.map(|peer| peer.acked).chain(self.durable).min().unwrap_or(last);
        self.committed = self.committed.max(floor.min(last));
        let wanted = self
            .peers
            .iter()
            .filter(|p| p.in_sync || matches!(p.stage, Stage::Streaming | Stage::Syncing { .. }))
            .map(|p| if matches!(p.stage, Stage::Syncing { .. }) { p.sent } else { p.acked })
            .min();
        let unwanted = wanted.map_or(self.committed, |counter| counter.min(self.committed));
        self.log.trim_above(unwanted, self.backlog_bytes);
    }
}

impl Peer {
    /// Whatever is in flight is gone or of no use; to be attached again at the next retry.
    fn retry_later(&mut self) {
        if self.stage != Stage::Diverged {
            (self.stage, self.awaits_retry) = (Stage::Detached, true);
        }
    }
}

/// How far a learner may lag behind when its promotion is proposed: its acknowledgements are required from then on.
const PROMOTION_LAG_MAX: u64 = 64;

fn send_records(
    log: &Log,
    peer: &mut Peer,
    reign: Epoch,
    committed: u64,
    send: &mut dyn FnMut(NodeId, Message<'_>),
) {
    let last = log.last().counter;
    while peer.sent < last {
        let Some((records, newest)) = log.some_after(peer.sent, RECORDS_BYTES_MAX) else {
            // Further behind than the log is kept.
            peer.stage = if peer.required { Stage::Diverged } else { Stage::Detached };
            peer.awaits_retry = true;
            return;
        };
        peer.sent = newest;
        send(peer.node, Message::Records { reign, stream: peer.stream, committed, records });
    }
}

/// Sends what the peer can take of a copy: pieces of everything, or questions and pieces of what differs.
fn send_copy(
    peer: &mut Peer,
    reign: Epoch,
    source: &mut dyn ChunkSource,
    syncs: &mut Syncs,
    send: &mut dyn FnMut(NodeId, Message<'_>),
) {
    let Peer { node, stream, .. } = *peer;
    let Stage::Syncing { cursor, in_flight, sent_all, .. } = &mut peer.stage else { return };
    while !*sent_all && *in_flight < CHUNKS_IN_FLIGHT_MAX {
        let (replaces, effects, done) = match &mut peer.difference {
            None => {
                let (effects, next) = source.chunk(*cursor);
                *cursor = next;
                (None, effects, next.is_none())
            }
            Some(difference) => match difference.next(source, salt(reign, stream)) {
                Next::Wait => return,
                Next::Ask { from, spans } => {
                    syncs.bytes_sent += size_of_val(spans.as_slice()) as u64;
                    send(node, Message::Compare { reign, stream, from, spans });
                    continue;
                }
                Next::Replace { span, effects } => (Some(span), effects, false),
                Next::End => (None, Vec::new(), true),
            },
        };
        *in_flight += 1;
        *sent_all = done;
        syncs.bytes_sent += effects.len() as u64;
        send(node, Message::Chunk { reign, stream, replaces, effects: effects.into(), done });
    }
}
