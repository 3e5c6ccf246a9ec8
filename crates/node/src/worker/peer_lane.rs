//! The fast lane of links: frames of one kind that follow one another share what each would otherwise pay for alone.
//!
//! What other nodes send comes in runs: the requests of many clients, then the records of many partitions; on the way back
//! acknowledgements, then responses. Requests on one key in constant time run under one lock, clock and look at the lease, by
//! the rules of the clients' lane (see `lane`): the reign of each is checked under the lock, and no reply leaves before
//! the lease was looked at again. Records and acknowledgements are taken in under one lock.
//!
//! The lane refuses nothing and holds nothing back by itself. What is unusual takes the ordinary way: a request that is held,
//! stale or overtakes another (see `peer_requests`), and every other message of replication.

use super::lane::{BRIEF_BYTES_MAX, Closed, Closing, Lane, Tally};
use super::links::LinkPeer;
use super::peer_requests::{HeldRoutes, SCRATCH_KEEP_BYTES};
use super::{IN_DOUBT, TRY_AGAIN, Worker};
use crate::cells::Wandering;
use crate::connection::{HeldReply, RepliesToCome};
use crate::frame::{self, Brief, Status};
use crate::journal::HeldAnswer;
use crate::spot::Spot;
use crate::target::{Delivery, Key, Owner, Target, wakes};
use commands::express::{Client, Express};
use commands::{Args, Command};
use replication::Message;
use smallvec::{SmallVec, smallvec};
use stdx::PartitionId;
use store::Garbage;

/// Most frames of a run.
pub(super) const FRAMES_MAX: usize = 64;
/// Most keys warmed up at once: a few cache lines each have to fit the first cache.
const WARM_KEYS_MAX: usize = 128;

/// Frames that will be handled together: all are requests, or all are messages of replication.
#[derive(Default)]
pub(super) struct FrameRun<'a> {
    // On the heap: much of the stack would be moved otherwise.
    requests: Vec<Brief<'a>>,
    messages: Vec<(PartitionId, Message<'a>)>,
}

/// What was found for the name of the last request, which is often that of the next.
struct Known<'a> {
    name: &'a [u8],
    words: u32,
    command: &'static Command,
    express: Express,
}

impl<'a> FrameRun<'a> {
    /// Takes a request; false if what was taken before has to be handled first.
    #[inline]
    pub(super) fn takes_request(&mut self, request: &Brief<'a>) -> bool {
        if !self.messages.is_empty() || self.requests.len() == FRAMES_MAX {
            return false;
        }
        if self.requests.capacity() == 0 {
            self.requests.reserve_exact(FRAMES_MAX);
        }
        self.requests.push(*request);
        true
    }

    /// Whether there is anything to handle.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.messages.is_empty()
    }

    /// Takes a message of replication; gives it back if what was taken before has to be handled first.
    #[inline]
    pub(super) fn take_message(
        &mut self,
        partition: PartitionId,
        message: Message<'a>,
    ) -> Result<(), Message<'a>> {
        if !self.requests.is_empty() || self.messages.len() == FRAMES_MAX {
            return Err(message);
        }
        if self.messages.capacity() == 0 {
            self.messages.reserve_exact(FRAMES_MAX);
        }
        self.messages.push((partition, message));
        Ok(())
    }
}

impl Worker {
    /// Handles the frames of a run, and leaves it empty.
    pub(super) fn handle_run(
        &mut self,
        key: Key,
        peer: LinkPeer,
        run: &mut FrameRun<'_>,
        released: &mut Vec<Target>,
    ) {
        if !run.requests.is_empty() {
            self.serve_requests(key, &run.requests);
            run.requests.clear();
        }
        if !run.messages.is_empty() {
            if peer.outbound {
                self.hear(peer, run.messages.drain(..), released);
            } else {
                self.warm_up_records(&run.messages);
                self.follow(key, run.messages.drain(..));
            }
        }
    }

    fn serve_requests(&mut self, key: Key, requests: &[Brief<'_>]) {
        let (seed, partitions) = (self.shared.hash_seed(), self.routing.partitions().max(1));
        let place = |request: &Brief<'_>| {
            let (slot, hash) = stdx::key::slot_and_hash(seed, request.key);
            let partition = PartitionId::of_slot(slot, partitions);
            Spot { db: request.db, partition, locator: hash.into(), here: true }
        };
        let mut spots: SmallVec<[Spot; FRAMES_MAX]> = requests.iter().map(place).collect();
        if spots.len() > 1 {
            self.warm(&mut spots);
        }
        let mut next = 0;
        while let (Some(rest), Some(places)) = (requests.get(next..), spots.get(next..)) {
            let ran = self.run_requests(key, rest, places);
            next += ran;
            if ran > 0 {
                continue;
            }
            let Some(request) = rest.first() else { return };
            let routes = HeldRoutes { era: request.era, routes: smallvec![request.route] };
            self.serve_request(key, request.id, routes, request.request());
            next += 1;
        }
    }

    /// Runs the first requests that may go together, and says how many.
    fn run_requests(&mut self, key: Key, requests: &[Brief<'_>], spots: &[Spot]) -> usize {
        let may_serve = !self.held_links.contains_key(&key) && self.shared.may_serve(self.now);
        // The ordinary way says so to those that need room.
        let may_serve = may_serve && !self.wanted_events().is_on() && !self.is_out_of_memory();
        let link = self.links.get_mut(key).filter(|link| may_serve && link.refused.is_empty());
        let Some(link) = link else { return 0 };
        let mut out = std::mem::take(&mut link.scratch);
        let mut replies: SmallVec<[(usize, Closed); FRAMES_MAX]> = SmallVec::new();
        self.run_brief_requests(key, requests, spots, &mut out, &mut replies);
        if !replies.is_empty() && !self.shared.may_serve(self.now) {
            self.withhold_from_link(key, requests, &mut out, &mut replies);
        }
        if let Some(link) = self.links.get_mut(key) {
            let mut start = 0;
            for (request, (end, closed)) in requests.iter().zip(&replies) {
                let reply = out.get(start..*end).unwrap_or_default();
                if closed.waits {
                    link.gated.insert(request.id, (HeldReply::from_slice(reply), 1));
                } else {
                    frame::encode_response(&mut link.output, request.id, Status::Done, reply);
                }
                start = *end;
            }
            out.clear();
            out.shrink_to(SCRATCH_KEEP_BYTES);
            link.scratch = out;
        }
        replies.len()
    }

    /// Runs brief commands as long as nothing is unusual, then reads the clock. Of each reply, its end in `out`.
    fn run_brief_requests(
        &mut self,
        key: Key,
        requests: &[Brief<'_>],
        spots: &[Spot],
        out: &mut Vec<u8>,
        replies: &mut SmallVec<[(usize, Closed); FRAMES_MAX]>,
    ) {
        let Some(first) = requests.first() else { return };
        let target = self.target(Owner::Link(key), first.id);
        let stats = self.shared.stats.of(self.index);
        let mut tally = Tally::new(stats);
        let mut lane = Lane {
            cells: &self.cells,
            lock: Wandering::default(),
            client: Client { db: first.db, touch: first.touch, now: self.wall },
            version: first.version,
            lookups: (0, 0),
            closing: Closing {
                target,
                to_come: RepliesToCome::by_id(first.id),
                pump: &mut self.pump,
                now: self.now,
                wait_for_in_sync: self.shared.config.wait_for_in_sync,
                garbage: SmallVec::new(),
                wall: self.wall,
                woken: Vec::new(),
            },
        };
        let mut known = None;
        for (request, spot) in requests.iter().zip(spots) {
            let start = out.len();
            lane.client.db = request.db;
            lane.client.touch = request.touch;
            lane.version = request.version;
            lane.closing.to_come = RepliesToCome::by_id(request.id);
            let Some((command, closed)) = run_brief_request(&mut lane, &mut known, request, spot, out) else {
                break;
            };
            replies.push((out.len(), closed));
            tally.add(Some(command), out.get(start) == Some(&b'-'));
            if request.len_bytes().max(out.len() - start) > BRIEF_BYTES_MAX {
                break;
            }
        }
        let Lane { closing, lookups, lock, .. } = lane;
        drop(lock);
        closing.garbage.into_iter().for_each(|garbage| self.shared.free(garbage));
        self.deliveries.extend(closing.woken.into_iter().map(wakes));
        if !replies.is_empty() {
            let started = std::mem::replace(&mut self.now, self.shared.clock.mono());
            tally.close(self.now.0 - started.0, lookups);
        }
    }

    /// The lease ran out while the requests ran: what was read may be overwritten elsewhere by now, and what was written
    /// may or may not survive.
    fn withhold_from_link(
        &mut self,
        key: Key,
        requests: &[Brief<'_>],
        out: &mut Vec<u8>,
        replies: &mut [(usize, Closed)],
    ) {
        out.clear();
        for (request, (end, closed)) in requests.iter().zip(replies) {
            out.extend_from_slice(if closed.wrote { IN_DOUBT } else { TRY_AGAIN });
            *end = out.len();
            if closed.waits {
                let target = self.target(Owner::Link(key), request.id);
                self.deliveries.push_back((target, Delivery::Unconfirmed { wrote: closed.wrote }));
            }
        }
    }

    /// Takes in the answers of a follower.
    fn hear<'a>(
        &mut self,
        peer: LinkPeer,
        messages: impl Iterator<Item = (PartitionId, Message<'a>)>,
        released: &mut Vec<Target>,
    ) {
        let mut lock = Wandering::default();
        for (partition, message) in messages {
            let Some(state) = lock.go(&self.cells, partition) else { continue };
            state.peer_says(peer.node, message, self.now, released);
            if state.has_work_for_peers() && !std::mem::replace(&mut state.pump_queued, true) {
                self.pump.push(partition);
            }
        }
    }

    /// Takes in the messages of a primary, and answers them.
    fn follow<'a>(&mut self, key: Key, messages: impl Iterator<Item = (PartitionId, Message<'a>)>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let mut garbage: SmallVec<[Garbage; 8]> = SmallVec::new();
        let mut held: SmallVec<[HeldAnswer; 1]> = SmallVec::new();
        let mut lock = Wandering::default();
        for (partition, message) in messages {
            let Some(state) = lock.go(&self.cells, partition) else {
                // No map yet: the primary has to ask again.
                if let Some((_, stream)) = message.sent_by_primary() {
                    let answer = Message::Behind { reign: stdx::Epoch(0), stream };
                    frame::encode_replication(&mut link.output, partition, &answer);
                }
                continue;
            };
            let answer = state.follow(message, self.wall);
            if state.store.has_garbage() {
                garbage.push(state.store.take_garbage());
            }
            let Some(answer) = answer else { continue };
            match state.kept.as_ref().map(|kept| &kept.journal).filter(|journal| journal.confirms()) {
                // What this node confirms has to survive its own restart.
                Some(journal) => {
                    let (position, worker) = (journal.position(), self.index);
                    held.push(HeldAnswer { position, worker, link: key, partition, answer });
                }
                None => frame::encode_replication(&mut link.output, partition, &answer),
            }
        }
        drop(lock);
        garbage.into_iter().for_each(|garbage| self.shared.free(garbage));
        held.into_iter().for_each(|answer| self.shared.hold_answer(answer));
    }

    /// Brings the keys of records closer, as for the commands of a pipeline: nothing but time depends on it.
    fn warm_up_records(&self, messages: &[(PartitionId, Message<'_>)]) {
        let mut places: SmallVec<[Spot; WARM_KEYS_MAX]> = SmallVec::new();
        for (partition, message) in messages {
            let Message::Records { records, .. } = message else { continue };
            for (_, effects) in records.iter() {
                if let Some(Ok(effect)) = effect::decode(effects).next()
                    && let Some(key) = effect.key().filter(|_| places.len() < WARM_KEYS_MAX)
                {
                    let (db, locator) = (effect.db(), self.shared.hash(key).into());
                    places.push(Spot { db, partition: *partition, locator, here: true });
                }
            }
        }
        if places.len() > 1 {
            self.warm(&mut places);
        }
    }
}

/// Runs one request; `None` if it cannot run in the lane now, and nothing has happened.
#[inline(always)]
fn run_brief_request<'a>(
    lane: &mut Lane<'_>,
    known: &mut Option<Known<'a>>,
    request: &Brief<'a>,
    spot: &Spot,
    out: &mut Vec<u8>,
) -> Option<(&'static Command, Closed)> {
    if spot.partition != request.route.partition {
        return None;
    }
    let place = (spot, request.route.reign);
    let same = |known: &&Known<'_>| known.name == request.name && known.words == request.count;
    let (command, express) = match known.as_ref().filter(same) {
        Some(known) => (known.command, known.express),
        None => {
            let words = request.count as usize;
            let command = commands::find_row(request.name, Some(request.key), words);
            let command = command.filter(|command| command.is_brief())?;
            let express = command.express(words);
            *known = Some(Known { name: request.name, words: request.count, command, express });
            (command, express)
        }
    };
    let closed = match express {
        Express::Get | Express::Set => {
            lane.express(express, (request.key, || request.third()), place, out)?
        }
        Express::No | Express::GetMany => {
            let words: SmallVec<[&[u8]; 16]> = request.request().words().collect();
            lane.by_context(command, Args::new(&words), place, out)?
        }
    };
    Some((command, closed))
}
