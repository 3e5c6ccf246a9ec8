//! Where a command runs: here, on another node, on several, or later.
//!
//! One attempt either executes the command, sends it on, or finds that it cannot run now. In the last case nothing
//! has happened yet, so it is held and tried again when the map, the lease or a link has changed, until its deadline.
//! That is how clients see neither a fail-over nor a migration unless it takes too long.

use super::{CLUSTER_DOWN, Held, IN_DOUBT, TRY_AGAIN, Worker};
use crate::execute::{Executed, Executor, Refusal};
use crate::frame::{Request, Route, Scope, Words};
use crate::routing::Destination;
use crate::spot::Spot;
use crate::stats::Counter;
use crate::target::{Delivery, Owner, Target, wakes};
use commands::across;
use commands::generic::{scan, sort};
use commands::table::Blocking;
use commands::{Args, Command, Gather, Run};
use protocol::{Reply, Version};
use smallvec::SmallVec;
use std::collections::HashMap;
use stdx::{Mono, PartitionId, Random};

/// Keys of different primaries where one primary is needed.
pub(super) const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
/// Most commands held back by one worker; above it they are refused at once.
const HELD_MAX: usize = 100_000;

/// How a command is to be run, apart from its words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta<'a> {
    pub(super) scope: Scope,
    pub(super) db: u8,
    pub(super) version: Version,
    pub(super) touch: bool,
    pub(super) partitions: &'a [PartitionId],
    /// Where its keys are, in their order, as far as that is known.
    pub(super) spots: &'a [Spot],
    /// When it is given up, wherever it waits: kept when it is held or sent again.
    pub(super) deadline: Mono,
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The reply has been written.
    Ready,
    /// The reply has been written, but must wait for so many commits.
    Gated(u32),
    /// The reply will be delivered to the target.
    Elsewhere,
    /// As `Elsewhere`, but the command, or a part of it, has not been executed or sent yet: nothing that comes after it
    /// may overtake it.
    Held,
}

pub(super) type Routes = SmallVec<[Route; 1]>;

impl Meta<'_> {
    pub(super) fn request(&self, args: Args<'_>) -> Request {
        Request {
            scope: self.scope,
            db: self.db,
            version: self.version,
            touch: self.touch,
            partitions: self.partitions.to_vec(),
            words: Words::copy_of(args.as_slice()),
        }
    }
}

impl Worker {
    /// Runs a command, sends it on, or holds it.
    pub(super) fn submit(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let mark = out.len();
        if let Some(outcome) = self.attempt(command, args, meta, target, out) {
            return outcome;
        }
        out.truncate(mark);
        if self.held.len() >= HELD_MAX {
            out.extend_from_slice(CLUSTER_DOWN);
            return Outcome::Ready;
        }
        self.hold(meta.request(args), target, meta.deadline);
        Outcome::Held
    }

    /// When a command that arrives now is given up.
    pub(super) fn deadline(&self) -> Mono {
        self.now + self.shared.config.forward_timeout
    }

    pub(super) fn hold(&mut self, request: Request, target: Target, deadline: Mono) {
        self.stat(Counter::HeldBack, 1);
        if let Owner::Link(link) = target.owner {
            *self.held_links.entry(link).or_insert(0) += 1;
        }
        self.held.push_back(Held { request, target, deadline });
    }

    /// One attempt; `None` if the command cannot run now and nothing has happened.
    fn attempt(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        match (meta.scope, command.run) {
            (Scope::Keys, Run::Partitions { merge, validate, .. }) => {
                if let Err(text) = validate(args) {
                    Reply::new(out, meta.version).error(&text);
                    return Some(Outcome::Ready);
                }
                let all: Vec<PartitionId> = (0..self.routing.partitions()).map(PartitionId).collect();
                let meta = Meta { scope: Scope::Partitions, partitions: &all, ..*meta };
                self.scatter_partitions(command, args, &meta, merge, target, out)
            }
            // A share that could not run where it was sent: its partitions may have different primaries by now.
            (Scope::Partitions, Run::Partitions { merge, .. }) => {
                self.scatter_partitions(command, args, meta, merge, target, out)
            }
            (Scope::Keys | Scope::Partitions, Run::Scan) => {
                self.attempt_scan(command, args, meta, target, out)
            }
            (Scope::Keys, Run::Blocking(blocking)) => {
                self.attempt_blocking(command, blocking, args, meta, target, out)
            }
            (Scope::Keys, Run::Script(scripted)) => {
                self.attempt_script(command, scripted, args, meta, target, out)
            }
            (Scope::Keys, Run::Nodes { merge, .. }) => {
                Some(self.scatter_nodes(command, args, meta, merge, target, out))
            }
            (Scope::Keys, Run::Users(plan)) => Some(self.attempt_users(plan, args, meta, target, out)),
            (
                Scope::Keys
                | Scope::Transaction
                | Scope::Watch
                | Scope::Partitions
                | Scope::Attempt
                | Scope::ByNow
                | Scope::Fetch
                | Scope::Apply,
                _,
            ) => self.attempt_routed(command, args, meta, target, out),
            (Scope::Node | Scope::Users, _) => self.run_here(command, args, meta, &[], target, out).ok(),
            // Neither is routed anew: see `come_back`.
            (Scope::Await | Scope::Cancel | Scope::Event | Scope::Wanted, _) => Some(Outcome::Ready),
        }
    }

    pub(super) fn attempt_routed(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        let partitions = self.partitions_of(command, args, meta)?;
        // With one partition all keys are where its own is.
        if meta.scope == Scope::Keys
            && self.routing.partitions() > 1
            && command.derives_keys()
            && sort::derives_keys(args)
        {
            return self.attempt_across(command, args, meta, target, out);
        }
        match self.routing.destination(&partitions) {
            Destination::Here => {
                let routes: Routes = partitions.iter().map(|id| self.routing.route(*id)).collect();
                self.run_here(command, args, meta, &routes, target, out).ok()
            }
            Destination::There(node) => {
                let link = self.link_to(node)?;
                let routes: Routes = partitions.iter().map(|id| self.routing.route(*id)).collect();
                self.forward(link, routes, meta.request(args), target, meta.deadline);
                Some(Outcome::Elsewhere)
            }
            Destination::Nowhere => None,
            Destination::Split => match (meta.scope, command.run) {
                (Scope::Keys, Run::Fanout { group, merge, .. }) => {
                    self.scatter_keys(command, args, meta, (usize::from(group), merge), target)
                }
                (Scope::Keys, Run::Read(_) | Run::Write(_)) | (Scope::Attempt, Run::Blocking(_)) => {
                    self.attempt_across(command, args, meta, target, out)
                }
                _ => {
                    Reply::new(out, meta.version).error(CROSS_SLOT);
                    Some(Outcome::Ready)
                }
            },
        }
    }

    /// The partitions a command touches, ascending, each once; `None` before there is a cluster.
    pub(super) fn partitions_of(
        &self,
        command: &Command,
        args: Args<'_>,
        meta: &Meta<'_>,
    ) -> Option<SmallVec<[PartitionId; 2]>> {
        let count = self.routing.partitions();
        if count == 0 {
            return None;
        }
        if !meta.partitions.is_empty() {
            return Some(SmallVec::from_slice(meta.partitions));
        }
        if let (Scope::Keys, [spot]) = (meta.scope, meta.spots)
            && command.is_brief()
        {
            return Some(SmallVec::from_iter([spot.partition]));
        }
        let mut partitions: SmallVec<[PartitionId; 2]> = match meta.scope {
            Scope::Watch => SmallVec::from_iter([PartitionId::of_key(args.at(1), count)]),
            _ => command
                .key_positions(args)
                .filter_map(|index| args.get(index))
                .map(|key| PartitionId::of_key(key, count))
                .collect(),
        };
        if partitions.len() > 1 {
            partitions.sort_unstable();
            partitions.dedup();
        }
        // A row without keys that is not a fan-out (an empty DEL cannot be: arity) runs wherever it is asked.
        if partitions.is_empty() {
            partitions.push(PartitionId(0));
        }
        Some(partitions)
    }

    fn attempt_scan(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        let request = match scan::parse_scan(args) {
            Ok(request) => request,
            Err(text) => {
                Reply::new(out, meta.version).error(&text);
                return Some(Outcome::Ready);
            }
        };
        let count = self.routing.partitions();
        if count == 0 {
            return None;
        }
        let (first, _) = scan::split_cursor(request.cursor);
        if first.0 >= count {
            scan::reply_scan(0, &[], &mut Reply::new(out, meta.version));
            return Some(Outcome::Ready);
        }
        let primary = self.routing.primary(first)?;
        let same = |id: &PartitionId| self.routing.primary(*id) == Some(primary);
        let partitions: Vec<PartitionId> = (first.0..count).map(PartitionId).take_while(same).collect();
        let meta = Meta { scope: Scope::Partitions, partitions: &partitions, ..*meta };
        self.attempt_routed(command, args, &meta, target, out)
    }

    /// Runs a command on partitions of this node. `Err` if it was not run.
    pub(super) fn run_here(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        routes: &[Route],
        target: Target,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Refusal> {
        let mark = out.len();
        let executed = match (meta.scope, command.run) {
            (Scope::Node, Run::Nodes { local, .. }) => {
                let mut host = self.host(None);
                local(&mut host, args, &mut Reply::new(out, meta.version));
                return Ok(Outcome::Ready);
            }
            (Scope::Users, _) if self.follows(args) => {
                Reply::new(out, meta.version).ok();
                return Ok(Outcome::Ready);
            }
            (Scope::Users, _) => return Err(Refusal::Behind),
            (Scope::Event, _) => {
                self.take_events(args);
                return Ok(Outcome::Ready);
            }
            (Scope::Wanted, _) => {
                self.take_wanted_events(args);
                return Ok(Outcome::Ready);
            }
            (Scope::Partitions, Run::Partitions { local, merge, .. }) => {
                self.executor(meta, target, |executor| executor.check(routes))?;
                let mut gather = Gather::new(Random::seeded(self.random.next_u64()));
                let mut total = Executed::default();
                for route in routes {
                    let done = match self.executor(meta, target, |executor| {
                        executor.partition(local, args, *route, &mut gather)
                    }) {
                        Ok(done) => done,
                        Err(refusal) if !total.wrote && total.gates == 0 => return Err(refusal),
                        Err(_) => {
                            // Part of it is done and cannot be undone: the client has to know.
                            total.lease_lost = true;
                            break;
                        }
                    };
                    total.lease_lost |= done.lease_lost;
                    total.wrote |= done.wrote;
                    total.gates += done.gates;
                }
                gather.finish(merge, &mut Reply::new(out, meta.version));
                total
            }
            (Scope::Partitions, Run::Scan) => self.run_scan(args, meta, routes, target, out)?,
            (Scope::Transaction, _) => self.run_transaction(args, meta, routes, target, out)?,
            (Scope::Watch, _) => self.run_watch(args, meta, routes, out)?,
            (Scope::Await, Run::Blocking(blocking)) => {
                return self.run_await(command, blocking, args, meta, routes, target);
            }
            (Scope::Cancel, _) => {
                return self.run_cancel(command, args, meta, routes, target);
            }
            (Scope::ByNow, Run::Blocking(Blocking { by_now: Some(by_now), .. })) => {
                self.executor(meta, target, |executor| {
                    let mut reply = Reply::new(out, meta.version);
                    executor.keys(command, &Run::Read(*by_now), (args, &[]), routes, &mut reply)
                })?
            }
            (_, Run::Script(_)) => self.run_script(command, args, meta, routes, target, out)?,
            (Scope::Fetch, _) => self.executor(meta, target, |executor| {
                let mut reply = Reply::new(out, meta.version);
                executor.keys(command, &Run::Read(across::fetch), (args, &[]), routes, &mut reply)
            })?,
            (Scope::Apply, _) => self.executor(meta, target, |executor| {
                let mut reply = Reply::new(out, meta.version);
                executor.keys(command, &Run::Write(across::apply), (args, &[]), routes, &mut reply)
            })?,
            (_, Run::Read(_) | Run::Write(_) | Run::Fanout { .. } | Run::Blocking(_)) => {
                let mut reply = Reply::new(out, meta.version);
                self.executor(meta, target, |executor| {
                    executor.keys(command, &command.run, (args, meta.spots), routes, &mut reply)
                })?
            }
            _ => {
                Reply::new(out, meta.version).error("ERR this command cannot be sent to another node");
                return Ok(Outcome::Ready);
            }
        };
        Ok(self.judge(executed, target, mark, out))
    }

    /// Turns the result of an execution into what happens to its reply.
    fn judge(&mut self, executed: Executed, target: Target, mark: usize, out: &mut Vec<u8>) -> Outcome {
        if executed.lease_lost {
            // Read the value, then the clock, then the lease: what was read may be overwritten elsewhere by now.
            out.truncate(mark);
            out.extend_from_slice(if executed.wrote { IN_DOUBT } else { TRY_AGAIN });
            if executed.gates > 0 {
                self.deliveries.push_back((target, Delivery::Unconfirmed { wrote: executed.wrote }));
            }
        }
        match executed.gates {
            0 => Outcome::Ready,
            gates => Outcome::Gated(gates),
        }
    }

    /// Calls `run` with an executor and books what it leaves behind.
    pub(super) fn executor<T>(
        &mut self,
        meta: &Meta<'_>,
        target: Target,
        run: impl FnOnce(&mut Executor<'_>) -> T,
    ) -> T {
        let (mut lookups, mut woken) = ((0, 0), Vec::new());
        let mut executor = Executor {
            shared: &self.shared,
            cells: &self.cells,
            db: meta.db,
            touch: meta.touch,
            policy: self.limits.eviction,
            answers_nothing: meta.scope != Scope::Attempt,
            now: self.now,
            wall: self.wall,
            target,
            pump: &mut self.pump,
            notes_events: self.shared.events().is_on(),
            events: &mut self.events,
            engine: &mut self.engine,
            outgoing: &mut self.outgoing,
            woken: &mut woken,
            lookups: &mut lookups,
        };
        let result = run(&mut executor);
        let now = executor.now;
        self.now = now;
        self.deliveries.extend(woken.into_iter().map(wakes));
        if lookups.0 > 0 {
            self.stat(Counter::Hits, lookups.0);
        }
        if lookups.1 > 0 {
            self.stat(Counter::Misses, lookups.1);
        }
        result
    }

    fn run_scan(
        &mut self,
        args: Args<'_>,
        meta: &Meta<'_>,
        routes: &[Route],
        target: Target,
        out: &mut Vec<u8>,
    ) -> Result<Executed, Refusal> {
        let partitions = self.routing.partitions();
        let request = match scan::parse_scan(args) {
            Ok(request) => request,
            Err(text) => {
                Reply::new(out, meta.version).error(&text);
                return Ok(Executed::default());
            }
        };
        let (_, mut inner) = scan::split_cursor(request.cursor);
        let (mut keys, mut looked_at, mut cursor) = (Vec::new(), 0, 0);
        let mut total = Executed::default();
        for route in routes {
            let budget = request.count.saturating_sub(looked_at).max(1);
            let done = match self.executor(meta, target, |executor| {
                executor.read_partition(*route, &mut |context| {
                    inner = scan::scan_partition(context, &request, inner, budget, &mut looked_at, &mut keys);
                })
            }) {
                Ok(done) => done,
                Err(refusal) if total.gates == 0 => return Err(refusal),
                // What has been found waits for commits already; the client comes back for the rest.
                Err(_) => break,
            };
            total.lease_lost |= done.lease_lost;
            total.gates += done.gates;
            cursor = scan::cursor_after(route.partition, inner, partitions);
            if inner != 0 || looked_at >= request.count {
                break;
            }
        }
        scan::reply_scan(cursor, &keys, &mut Reply::new(out, meta.version));
        Ok(total)
    }

    /// Tries held commands again, in order. Later ones of the same connection or link wait behind one that is still held.
    pub(super) fn retry_held(&mut self) {
        // By who waits: whether its commands may go on in this pass.
        let mut may_go: HashMap<Owner, bool> = HashMap::new();
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop_front() else { break };
            let owner = self.root(held.target).owner;
            let goes = *may_go.entry(owner).or_insert_with(|| self.is_quiet(owner));
            if !goes && held.deadline > self.now {
                self.held.push_back(held);
                continue;
            }
            let count = self.held.len();
            if let Some(held) = self.retry(held) {
                self.held.push_back(held);
            }
            if self.held.len() > count {
                // It, or a part that it was split into, is held: nothing may overtake it.
                may_go.insert(owner, false);
            }
        }
    }

    /// Who waits in the end for what is delivered to `target`, which may be a part of a command.
    pub(super) fn root(&self, target: Target) -> Target {
        let mut root = target;
        while let Owner::Gathering(key) = root.owner {
            match self.gatherings.get(key) {
                Some(gathering) => root = gathering.target,
                None => break,
            }
        }
        root
    }

    /// Whether nothing of a connection is under way. A command that came back waits for later ones that were sent
    /// after it: they come back too, and then all go on in their order.
    fn is_quiet(&self, owner: Owner) -> bool {
        let Owner::Connection(key) = owner else { return true };
        let in_flight =
            matches!(self.connections.get(key), Some(Some(connection)) if connection.in_flight > 0);
        !in_flight && !self.parts_sent.contains_key(&key)
    }

    fn retry(&mut self, held: Held) -> Option<Held> {
        let Held { request, target, deadline } = held;
        if let Owner::Link(link) = target.owner {
            return self.retry_for_link(link, request, target, deadline);
        }
        let words: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
        let args = Args::new(&words);
        let meta = Meta {
            scope: request.scope,
            db: request.db,
            version: request.version,
            touch: request.touch,
            partitions: &request.partitions,
            spots: &[],
            deadline,
        };
        let mut out = Vec::new();
        let outcome = if self.now >= deadline {
            out.extend_from_slice(CLUSTER_DOWN);
            Some(Outcome::Ready)
        } else {
            match find(request.scope, args) {
                Some(command) => self.attempt(command, args, &meta, target, &mut out),
                None => Some(Outcome::Ready),
            }
        };
        match outcome {
            None => {
                drop(words);
                return Some(Held { request, target, deadline });
            }
            Some(Outcome::Ready) => self.deliveries.push_back((target, Delivery::Bytes(out))),
            Some(Outcome::Gated(gates)) => {
                self.deliver_gated(target, out, gates);
                self.wake_connection(target);
            }
            // Split by now, and a part of it waits: its place in the connection stays held until all parts are done.
            Some(Outcome::Held) => {}
            Some(Outcome::Elsewhere) => {
                let version = self.routing.version().0;
                if let Owner::Connection(key) = target.owner
                    && let Some(Some(connection)) = self.connections.get_mut(key)
                {
                    connection.set_held(target.slot, false);
                    connection.in_flight_version = version;
                }
                self.wake_connection(target);
            }
        }
        None
    }

    fn wake_connection(&mut self, target: Target) {
        if let Owner::Connection(key) = target.owner
            && matches!(self.connections.get(key), Some(Some(connection)) if connection.stalled)
        {
            self.ready.push(key);
        }
    }
}

/// The row that runs a request of this scope.
pub(super) fn find(scope: Scope, args: Args<'_>) -> Option<&'static Command> {
    match scope {
        Scope::Transaction => commands::table::lookup(b"exec"),
        Scope::Watch => commands::table::lookup(b"watch"),
        Scope::Users => commands::table::lookup(b"acl|setuser"),
        Scope::Keys | Scope::Partitions | Scope::Node | Scope::Attempt | Scope::ByNow => {
            commands::find(args).ok()
        }
        // Their key is where those have theirs.
        Scope::Fetch => commands::table::lookup(b"dump"),
        Scope::Apply => commands::table::lookup(b"restore"),
        Scope::Event | Scope::Wanted => commands::table::lookup(b"publish"),
        // With one word or two more than the command has.
        Scope::Await | Scope::Cancel => {
            let more = if scope == Scope::Await { 1 } else { 2 };
            let words = args.as_slice();
            let own = words.get(..words.len().checked_sub(more)?).filter(|own| !own.is_empty())?;
            commands::find(Args::new(own)).ok()
        }
    }
}
