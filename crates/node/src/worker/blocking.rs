//! Commands that wait for data (BLPOP and its like).
//!
//! ```text
//!  (first, for XREAD: what `$` stands for)
//!  attempt: the keys of one primary after the other  -- found something -->  the reply
//!     ^                    | nothing at all
//!     |                    v
//!     +---- woken ---- await: at every primary of the keys, until one of them is ready
//! ```
//! Only attempts change anything, and at most one of a client is under way, so a client gets one element at most, wherever
//! its keys are. Whoever is woken has nothing yet: it may find that somebody else was faster, and awaits again, at its old place in
//! line. So nothing is lost with whatever is lost on the way: an await that ends for any reason (a link breaks, a primary resigns, its
//! time is over) is merely another attempt. While a client is blocked, nothing that comes after it on its connection is run.

use super::dispatch::{Meta, Outcome, Routes};
use super::{Worker, unconfirmed};
use crate::blocked::Client;
use crate::execute::Refusal;
use crate::frame::{Request, Route, Scope, Words};
use crate::routing::Destination;
use crate::target::{Delivery, Key, Owner, Target, wakes};
use commands::across::across;
use commands::host::Unblock;
use commands::table::{BY_NOW, Blocking, Wait};
use commands::{Args, Command};
use protocol::{Reply, Value, Version};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::sync::atomic::Ordering;
use std::time::Duration;
use stdx::{Mono, PartitionId};

/// Longest that an await is under way at another node before it is made anew.
const AWAIT_MAX: Duration = Duration::from_secs(30);
/// The error of a client that CLIENT UNBLOCK ends with one.
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// A client whose command waits for data.
pub(super) struct Blocked {
    command: &'static Command,
    blocking: &'static Blocking,
    request: Request,
    /// Who gets the reply.
    target: Target,
    /// When it has waited long enough, if ever.
    until: Option<Mono>,
    /// Its place in every line.
    since: u64,
    /// Which attempt is under way, or has been made: what belongs to another is out of date.
    round: u64,
    /// The same command on the keys of one primary each, in the order of the keys.
    parts: Vec<Words>,
    state: State,
    /// Set once the waiting is to end, when no attempt is under way.
    end: Option<End>,
}

enum State {
    /// What the present is, for the keys at these positions, is being asked, one after the other.
    FindingOut(Vec<usize>),
    /// An attempt at the part of this number is under way.
    Attempting(usize),
    /// An attempt found something; the reply waits for so many commits. So does what a question of
    /// [`State::FindingOut`] found: then its positions are here.
    Gated { reply: Vec<u8>, gates: u32, asked: Option<Vec<usize>> },
    /// Waiting for data: requests to other nodes, and parts here.
    Awaiting { forwards: Vec<Key>, here: Vec<usize> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Nothing,
    Error,
}

impl Worker {
    /// Runs a command that may wait for data. `None` if it cannot run now.
    pub(super) fn attempt_blocking(
        &mut self,
        command: &'static Command,
        blocking: &'static Blocking,
        args: Args<'_>,
        meta: &Meta<'_>,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        let until = match (blocking.wait)(args) {
            Err(text) => {
                Reply::new(out, meta.version).error(&text);
                return Some(Outcome::Ready);
            }
            Ok(Wait::No) => return self.attempt_routed(command, args, meta, target, out),
            Ok(Wait::For(time)) => Some(self.now + time),
            Ok(Wait::Forever) => None,
        };
        let partitions = self.partitions_of(command, args, meta)?;
        match self.routing.destination(&partitions) {
            Destination::Nowhere => return None,
            Destination::Split if blocking.on_some.is_none() && across(command).is_none() => {
                Reply::new(out, meta.version).error(super::dispatch::CROSS_SLOT);
                return Some(Outcome::Ready);
            }
            Destination::Here if !names_present(blocking, args) => {
                let mark = out.len();
                let routes: Routes = partitions.iter().map(|id| self.routing.route(*id)).collect();
                let meta = Meta { scope: Scope::Attempt, ..*meta };
                let outcome = self.run_here(command, args, &meta, &routes, target, out).ok()?;
                if out.len() > mark {
                    return Some(outcome);
                }
            }
            Destination::Here | Destination::There(_) | Destination::Split => {}
        }
        let blocked = Blocked {
            command,
            blocking,
            request: Request { scope: Scope::Attempt, ..meta.request(args) },
            target,
            until,
            since: self.wall.0 * 1_000_000 + self.now.0 % 1_000_000,
            round: 0,
            parts: Vec::new(),
            state: State::Attempting(0),
            end: None,
        };
        let key = self.blocked.insert(blocked);
        if let Some(until) = until {
            self.blocked_until.push(Reverse((until, key.index, key.generation)));
        }
        if let Owner::Connection(connection) = target.owner {
            self.blocked_connections.insert(connection, key);
        }
        self.note_blocked(target, true);
        let positions: Vec<usize> =
            if names_present(blocking, args) { command.key_positions(args).collect() } else { Vec::new() };
        self.find_out(key, positions);
        Some(Outcome::Held)
    }

    /// Asks for what the present is of the keys at these positions, then begins to attempt.
    fn find_out(&mut self, key: Key, mut positions: Vec<usize>) {
        let deadline = self.deadline();
        let Some(blocked) = self.blocked.get_mut(key) else { return };
        let (command, request) = (blocked.command, blocked.request.clone());
        let words: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
        let args = Args::new(&words);
        let keys = command.key_positions(args).count();
        let is_asked = |position: &usize| args.get(position + keys) == Some(BY_NOW);
        while positions.last().is_some_and(|position| !is_asked(position)) {
            positions.pop();
        }
        let (Some(position), Some(on_some)) = (positions.last(), blocked.blocking.on_some) else {
            return self.begin_round(key);
        };
        let asked = on_some(args, &[*position]);
        blocked.state = State::FindingOut(positions);
        let round = blocked.round;
        let words = Words::copy_of(&asked.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let request = Request { scope: Scope::ByNow, words, ..request.clone() };
        self.send_part(key, round, &request, deadline);
    }

    /// The answer to the last question of [`Worker::find_out`].
    fn found_out(&mut self, key: Key, reply: Vec<u8>) {
        let Ok(Some((Value::Bulk(id), _))) = protocol::decode(&reply) else {
            return self.answer_blocked(key, reply);
        };
        let Some(blocked) = self.blocked.get_mut(key) else { return };
        let State::FindingOut(positions) = &mut blocked.state else { return };
        let Some(position) = positions.pop() else { return };
        let positions = std::mem::take(positions);
        let mut words: Vec<&[u8]> = blocked.request.words.iter().collect();
        let keys = blocked.command.key_positions(Args::new(&words)).count();
        words[position + keys] = &id;
        blocked.request.words = Words::copy_of(&words);
        self.find_out(key, positions);
    }

    /// Routes the keys anew and attempts the first part.
    fn begin_round(&mut self, key: Key) {
        let Some(blocked) = self.blocked.get_mut(key) else { return };
        blocked.round += 1;
        blocked.parts.clear();
        let (command, blocking, blocked_for) = (blocked.command, blocked.blocking, blocked.target);
        let request = blocked.request.clone();
        let words: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
        let args = Args::new(&words);
        if let Some(error) = self.refusal_of_blocked(blocked_for, command, args) {
            let mut out = Vec::new();
            Reply::new(&mut out, request.version).error(&error);
            return self.answer_blocked(key, out);
        }
        let parts = match blocking.on_some {
            Some(on_some) => self.parts_of(command, args, on_some),
            None => vec![request.words.clone()],
        };
        if let Some(blocked) = self.blocked.get_mut(key) {
            blocked.parts = parts;
        }
        self.attempt_part(key, 0);
    }

    /// The command on the keys of one primary each: neighbours together, so that their order stays.
    fn parts_of(&self, command: &Command, args: Args<'_>, on_some: commands::table::OnSomeFn) -> Vec<Words> {
        let count = self.routing.partitions();
        let mut parts: Vec<(Option<stdx::NodeId>, Vec<usize>)> = Vec::new();
        for position in command.key_positions(args) {
            let primary = match count {
                0 => None,
                count => self.routing.primary(PartitionId::of_key(args.at(position), count)),
            };
            match parts.last_mut() {
                Some((last, positions)) if *last == primary => positions.push(position),
                _ => parts.push((primary, vec![position])),
            }
        }
        let words = parts.iter().map(|(_, positions)| {
            let words = on_some(args, positions);
            Words::copy_of(&words.iter().map(Vec::as_slice).collect::<Vec<_>>())
        });
        words.collect()
    }

    fn attempt_part(&mut self, key: Key, part: usize) {
        let deadline = self.deadline();
        let Some(blocked) = self.blocked.get_mut(key) else { return };
        let Some(words) = blocked.parts.get(part).cloned() else { return self.await_data(key) };
        blocked.state = State::Attempting(part);
        let round = blocked.round;
        let request = Request { words, ..blocked.request.clone() };
        self.send_part(key, round, &request, deadline);
    }

    /// Runs a request of a blocked client here or elsewhere; the answer is delivered to it.
    fn send_part(&mut self, key: Key, round: u64, request: &Request, deadline: Mono) {
        let target = self.target(Owner::Blocked(key), round);
        let list: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
        let meta = meta_of(request, deadline);
        let Some(command) = super::dispatch::find(request.scope, Args::new(&list)) else { return };
        let mut out = Vec::new();
        match self.submit(command, Args::new(&list), &meta, target, &mut out) {
            Outcome::Ready => self.deliveries.push_back((target, Delivery::Bytes(out))),
            Outcome::Gated(gates) => self.gate_blocked(key, out, gates),
            Outcome::Elsewhere | Outcome::Held => {}
        }
    }

    /// All attempts of the round have found nothing.
    fn await_data(&mut self, key: Key) {
        let Some(blocked) = self.blocked.get_mut(key) else { return };
        let is_over = blocked.until.is_some_and(|until| until <= self.now);
        if let Some(end) = blocked.end.or(is_over.then_some(End::Nothing)) {
            return self.answer_nothing(key, end);
        }
        let (command, blocking, round) = (blocked.command, blocked.blocking, blocked.round);
        let (parts, request, since) = (blocked.parts.clone(), blocked.request.clone(), blocked.since);
        blocked.state = State::Awaiting { forwards: Vec::new(), here: Vec::new() };
        let target = self.target(Owner::Blocked(key), round);
        for (part, words) in parts.into_iter().enumerate() {
            let mut request = Request { scope: Scope::Await, words, ..request.clone() };
            let list: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
            let meta = meta_of(&request, self.now);
            let partitions = self.partitions_of(
                &command.awaited(),
                Args::new(&list),
                &Meta { scope: Scope::Keys, ..meta },
            );
            let Some(partitions) = partitions else { return self.wake_later(target) };
            let routes: Routes = partitions.iter().map(|id| self.routing.route(*id)).collect();
            match self.routing.destination(&partitions) {
                Destination::Here => {
                    let client = Client { since, target, takes: blocking.takes };
                    let args = Args::new(&list);
                    let awaited = self.executor(&meta, target, |executor| {
                        executor.await_data(command, blocking, args, &routes, client)
                    });
                    if awaited != Ok(false) {
                        return self.wake_later(target);
                    }
                    if let Some(State::Awaiting { here, .. }) =
                        self.blocked.get_mut(key).map(|it| &mut it.state)
                    {
                        here.push(part);
                    }
                }
                Destination::There(node) => {
                    let Some(link) = self.link_to(node) else { return self.wake_later(target) };
                    drop(list);
                    request.words.push(&since.to_le_bytes());
                    let forward = self.forwards.next_key();
                    self.forward(link, routes, request, target, self.now + AWAIT_MAX);
                    if let Some(State::Awaiting { forwards, .. }) =
                        self.blocked.get_mut(key).map(|it| &mut it.state)
                    {
                        forwards.push(forward);
                    }
                }
                Destination::Nowhere | Destination::Split => return self.wake_later(target),
            }
        }
    }

    /// Attempts again soon: the map, a lease or a link is about to change.
    fn wake_later(&mut self, target: Target) {
        self.blocked_retries.push(target);
    }

    /// Attempts what was put off.
    pub(super) fn retry_blocked(&mut self) {
        for target in std::mem::take(&mut self.blocked_retries) {
            self.deliveries.push_back((target, Delivery::Bytes(Vec::new())));
        }
    }

    pub(super) fn deliver_to_blocked(&mut self, key: Key, round: u64, delivery: Delivery) {
        let Some(blocked) = self.blocked.get_mut(key) else { return };
        if blocked.round != round {
            return;
        }
        match (&mut blocked.state, delivery) {
            (State::Attempting(part), Delivery::Bytes(reply)) if reply.is_empty() => {
                let next = *part + 1;
                self.attempt_part(key, next);
            }
            (State::Attempting(_), Delivery::Bytes(reply)) => self.answer_blocked(key, reply),
            (State::FindingOut(_), Delivery::Bytes(reply)) => self.found_out(key, reply),
            (State::Awaiting { .. }, Delivery::Bytes(_)) => {
                self.cancel_awaits(key);
                self.begin_round(key);
            }
            (State::Gated { reply, gates, asked }, Delivery::Released) => {
                *gates = gates.saturating_sub(1);
                if *gates > 0 {
                    return;
                }
                let (reply, asked) = (std::mem::take(reply), asked.take());
                match asked {
                    Some(positions) => {
                        blocked.state = State::FindingOut(positions);
                        self.found_out(key, reply);
                    }
                    None => self.answer_blocked(key, reply),
                }
            }
            (State::Gated { .. }, Delivery::Unconfirmed { wrote }) => {
                self.answer_blocked(key, unconfirmed(wrote).to_vec());
            }
            // Of an attempt that has found nothing.
            (_, Delivery::Bytes(_) | Delivery::Released | Delivery::Unconfirmed { .. }) => {}
        }
    }

    /// An attempt has found something that waits for commits.
    pub(super) fn gate_blocked(&mut self, key: Key, reply: Vec<u8>, gates: u32) {
        if reply.is_empty() {
            // It has found nothing, and nothing need be confirmed for that.
            let round = self.blocked.get(key).map_or(0, |blocked| blocked.round);
            let target = self.target(Owner::Blocked(key), round);
            return self.deliveries.push_back(wakes(target));
        }
        if let Some(blocked) = self.blocked.get_mut(key) {
            let asked = match &mut blocked.state {
                State::FindingOut(positions) => Some(std::mem::take(positions)),
                _ => None,
            };
            blocked.state = State::Gated { reply, gates, asked };
        }
    }

    fn answer_blocked(&mut self, key: Key, reply: Vec<u8>) {
        let Some(blocked) = self.blocked.remove(key) else { return };
        if let Owner::Connection(connection) = blocked.target.owner {
            self.blocked_connections.remove(&connection);
        }
        self.note_blocked(blocked.target, false);
        self.deliveries.push_back((blocked.target, Delivery::Bytes(reply)));
    }

    /// The waiting is to end: at once, or after the attempt that is under way, which may find something yet.
    fn end_blocked(&mut self, key: Key, end: End) {
        let Some(blocked) = self.blocked.get_mut(key) else { return };
        match blocked.state {
            State::Awaiting { .. } => self.answer_nothing(key, end),
            State::Attempting(_) | State::FindingOut(_) | State::Gated { asked: Some(_), .. } => {
                blocked.end = Some(end);
            }
            State::Gated { asked: None, .. } => {}
        }
    }

    fn answer_nothing(&mut self, key: Key, end: End) {
        self.cancel_awaits(key);
        let Some(blocked) = self.blocked.get_mut(key) else { return };
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, blocked.request.version);
        match end {
            End::Nothing => (blocked.blocking.nothing)(&mut reply, true),
            End::Error => reply.error(UNBLOCKED),
        }
        self.answer_blocked(key, out);
    }

    /// Leaves every line that the client stands in.
    fn cancel_awaits(&mut self, key: Key) {
        let Some(blocked) = self.blocked.get_mut(key) else { return };
        let State::Awaiting { forwards, here } = &mut blocked.state else { return };
        let (forwards, here) = (std::mem::take(forwards), std::mem::take(here));
        let (command, round, parts) = (blocked.command, blocked.round, blocked.parts.clone());
        let request = blocked.request.clone();
        let target = self.target(Owner::Blocked(key), round);
        for words in here.into_iter().filter_map(|part| parts.get(part)) {
            let list: SmallVec<[&[u8]; 16]> = words.iter().collect();
            let args = Args::new(&list);
            let meta = meta_of(&request, self.now);
            let Some(partitions) =
                self.partitions_of(&command.awaited(), args, &Meta { scope: Scope::Keys, ..meta })
            else {
                continue;
            };
            let routes: Routes = partitions.iter().map(|id| self.routing.route(*id)).collect();
            // What is refused has been woken already, by the end of the reign.
            let _: Result<(), Refusal> = self
                .executor(&meta, target, |executor| executor.cancel_await(command, args, &routes, target));
        }
        for id in forwards {
            let Some(forward) = self.take_forward(id) else { continue };
            let mut request = Request { scope: Scope::Cancel, ..forward.request };
            request.words.push(&(u64::from(id.index) << 32 | u64::from(id.generation)).to_le_bytes());
            // Nobody waits for the answer.
            let nobody = self.target(Owner::Blocked(key), 0);
            self.forward(forward.link, forward.routes, request, nobody, self.deadline());
        }
    }

    /// A client of another node, or of this one by a link, waits for data: answered as soon as there may be some.
    pub(super) fn run_await(
        &mut self,
        command: &'static Command,
        blocking: &'static Blocking,
        args: Args<'_>,
        meta: &Meta<'_>,
        routes: &[Route],
        target: Target,
    ) -> Result<Outcome, Refusal> {
        let Some((since, own)) = split_last(args) else { return Ok(Outcome::Ready) };
        let client = Client { since, target, takes: blocking.takes };
        let is_ready = self.executor(meta, target, |executor| {
            executor.await_data(command, blocking, Args::new(own), routes, client)
        })?;
        Ok(if is_ready { Outcome::Ready } else { Outcome::Elsewhere })
    }

    /// The end of such a request, named by its id.
    pub(super) fn run_cancel(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        routes: &[Route],
        target: Target,
    ) -> Result<Outcome, Refusal> {
        let Some((id, words)) = split_last(args) else { return Ok(Outcome::Ready) };
        // Behind the command's own words is when the client began to wait.
        let own = &words[..words.len().saturating_sub(1).max(1)];
        let awaits = Target { slot: id, ..target };
        self.executor(meta, target, |executor| {
            executor.cancel_await(command, Args::new(own), routes, awaits)
        })?;
        Ok(Outcome::Ready)
    }

    /// Ends the waiting of those whose time is over.
    pub(super) fn time_out_blocked(&mut self) {
        while let Some(&Reverse((until, index, generation))) = self.blocked_until.peek() {
            if until > self.now {
                return;
            }
            self.blocked_until.pop();
            self.end_blocked(Key { index, generation }, End::Nothing);
        }
    }

    /// The waiting of a connection's command is to end (CLIENT UNBLOCK).
    pub(super) fn unblock(&mut self, connection: Key, how: Unblock) {
        if let Some(key) = self.blocked_connections.get(&connection).copied() {
            self.end_blocked(
                key,
                match how {
                    Unblock::Timeout => End::Nothing,
                    Unblock::Error => End::Error,
                },
            );
        }
    }

    /// The connection is gone.
    pub(super) fn forget_blocked(&mut self, connection: Key) {
        if let Some(key) = self.blocked_connections.remove(&connection) {
            self.cancel_awaits(key);
            if let Some(blocked) = self.blocked.remove(key) {
                self.note_blocked(blocked.target, false);
            }
        }
    }

    /// Wakes clients for data that is there although whoever was woken for it has not come; another node may be gone.
    pub(super) fn sweep_blocked(&mut self) {
        if !self.shared.has_blocked.load(Ordering::Relaxed) {
            return;
        }
        let (me, workers) = (self.index, self.shared.config.workers);
        let (mut woken, mut any) = (Vec::new(), false);
        for cell in self.cells.iter().skip(me).step_by(workers) {
            let state = &mut *cell.state.lock();
            if !state.blocked.is_empty() {
                state.blocked.sweep(&state.store, self.wall, &mut woken);
                any |= !state.blocked.is_empty();
            }
        }
        if !any && workers == 1 {
            self.shared.has_blocked.store(false, Ordering::Relaxed);
        }
        self.deliveries.extend(woken.into_iter().map(wakes));
    }

    /// Notes for INFO, CLIENT LIST and CLIENT UNBLOCK that a client is blocked, or no longer.
    fn note_blocked(&mut self, target: Target, is_blocked: bool) {
        let Owner::Connection(key) = target.owner else { return };
        let mut all = self.shared.blocked.lock();
        if is_blocked {
            all.insert((target.worker, key));
        } else {
            all.remove(&(target.worker, key));
        }
        drop(all);
        // While its command is being run, the connection is not here; see `run_routed`.
        if let Some(Some(connection)) = self.connections.get_mut(key) {
            connection.session.blocked = is_blocked;
            connection.active = true;
        }
    }
}

/// Whether the words stand for what is there now, which has to be found out before.
fn names_present(blocking: &Blocking, args: Args<'_>) -> bool {
    blocking.by_now.is_some() && args.iter().any(|word| word == BY_NOW)
}

fn meta_of(request: &Request, deadline: Mono) -> Meta<'_> {
    let version: Version = request.version;
    Meta {
        scope: request.scope,
        db: request.db,
        version,
        touch: request.touch,
        partitions: &[],
        spots: &[],
        deadline,
    }
}

/// The number in the last word, and the words before it.
fn split_last<'a>(args: Args<'a>) -> Option<(u64, &'a [&'a [u8]])> {
    let (last, own) = args.as_slice().split_last()?;
    let number = u64::from_le_bytes(<[u8; 8]>::try_from(*last).ok()?);
    (!own.is_empty()).then_some((number, own))
}
