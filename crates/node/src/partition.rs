//! One partition on this node: its store, its role, and who waits for its commits.
//!
//! Everything about a partition lives behind one lock, so that a command, its effect record, its place in the log
//! and the registration of the waiting reply are one step. Methods here assume the lock is held.

use crate::blocked::BlockedClients;
use crate::copy::{Chunks, Copy, apply_all};
use crate::journal::{Copying, Kept};
use crate::target::Target;
use cluster::map::{Assignment, Role as MapRole};
use commands::events::Event;
use effect::RecordBuilder;
use replication::{ChunkSource, Follower, FollowerStage, Log, Message, Primary};
use std::collections::{HashMap, VecDeque};
use stdx::{Epoch, Mono, NodeId, Seq, Wall};
use store::{Garbage, Partition};

/// Watched keys of one partition; above this all are forgotten, which only makes transactions abort.
const WATCHES_MAX: usize = 100_000;

/// What this node is to the partition, with the state that goes with it.
pub(crate) enum Role {
    /// Nothing: the store is empty.
    None,
    /// Executes commands.
    Primary(Primary),
    /// Applies the stream of `primary`.
    Follower { follower: Follower, primary: NodeId },
}

/// The state behind the lock.
pub(crate) struct State {
    pub(crate) store: Partition,
    pub(crate) record: RecordBuilder,
    pub(crate) touched: Vec<(u8, u64)>,
    pub(crate) role: Role,
    /// Epoch of the assignment this state reflects.
    pub(crate) epoch: Epoch,
    /// Reign of that assignment.
    pub(crate) reign: Epoch,
    /// Epoch in which the data held began.
    born: Epoch,
    /// Replies that wait until the counter is committed, oldest first.
    waiters: VecDeque<Waiter>,
    /// Keys written but not committed: counter, database, hash.
    uncommitted: VecDeque<(u64, u8, u64)>,
    /// Watched keys and the counter of their last change since they were first watched.
    watches: HashMap<(u8, u64), u64>,
    /// A hand-over is under way: commands are held.
    pub(crate) handing_over: bool,
    /// Already in its worker's list of partitions to pump.
    pub(crate) pump_queued: bool,
    /// The evictor is told of its keys.
    pub(crate) watched: bool,
    /// Where changes are kept across restarts, if they are.
    pub(crate) kept: Option<Kept>,
    /// Records that were written and are awaited on the disk: the journal's position behind each, and its counter.
    awaited: VecDeque<(u64, u64)>,
    /// Clients whose commands wait for data.
    pub(crate) blocked: BlockedClients,
    /// A copy that is being made.
    pub(crate) copying: Option<Copying>,
    /// The last record of a whole copy that is held without a role: restored at the start, or left when the role ended and
    /// likely to be wanted again.
    unowned: Option<Seq>,
}

/// A reply that waits for a commit.
struct Waiter {
    counter: u64,
    target: Target,
    /// Whether its command changed anything, here or in another partition.
    wrote: bool,
}

/// What a change of role leaves behind, to be dealt with outside the lock.
#[derive(Default)]
pub(crate) struct Aftermath {
    /// Replies that will never be confirmed, and whether their commands wrote.
    pub(crate) unconfirmed: Vec<(Target, bool)>,
    /// Replies whose writes are committed after all.
    pub(crate) released: Vec<Target>,
    /// Clients who wait for data that will come to another node.
    pub(crate) woken: Vec<Target>,
    /// Data to drop.
    pub(crate) garbage: Option<Garbage>,
    /// Whether there is something to send.
    pub(crate) pump: bool,
}

impl State {
    /// An empty partition that has no role yet.
    pub(crate) fn new(hash_seed: u64) -> State {
        State {
            store: Partition::new(hash_seed),
            record: RecordBuilder::new(),
            touched: Vec::new(),
            role: Role::None,
            epoch: Epoch(0),
            reign: Epoch(0),
            born: Epoch(0),
            waiters: VecDeque::new(),
            uncommitted: VecDeque::new(),
            watches: HashMap::new(),
            handing_over: false,
            pump_queued: false,
            watched: false,
            kept: None,
            awaited: VecDeque::new(),
            blocked: BlockedClients::default(),
            copying: None,
            unowned: None,
        }
    }

    /// Epoch in which the data held began.
    pub(crate) fn born(&self) -> Epoch {
        self.born
    }

    /// The last record that is part of the data held.
    pub(crate) fn last(&self) -> Seq {
        match &self.role {
            Role::None => self.unowned.unwrap_or_default(),
            Role::Primary(primary) => primary.last(),
            Role::Follower { follower, .. } => follower.last(),
        }
    }

    /// Whether the data held is a whole copy; `None` if there is none.
    pub(crate) fn is_whole(&self) -> Option<bool> {
        match &self.role {
            Role::None => self.unowned.map(|_| true),
            Role::Primary(_) => Some(true),
            Role::Follower { follower, .. } => Some(follower.stage() == FollowerStage::Usable),
        }
    }

    /// The data was restored at the start, as it was after `at`.
    pub(crate) fn restored(&mut self, born: Epoch, at: Seq) {
        (self.born, self.unowned) = (born, Some(at));
    }

    /// Drops a copy that is held without a role; what is to be freed, if there was one.
    pub(crate) fn drop_unowned(&mut self) -> Option<Garbage> {
        self.unowned.take()?;
        self.copying = None;
        self.store.clear();
        if let Some(Kept { journal, partition, .. }) = &self.kept {
            journal.dropped(*partition);
        }
        Some(self.store.take_garbage())
    }

    /// The primary, if this node is it.
    pub(crate) fn primary(&mut self) -> Option<&mut Primary> {
        match &mut self.role {
            Role::Primary(primary) => Some(primary),
            _ => None,
        }
    }

    /// Whether it may run a command that was routed under `reign`, the lease apart.
    #[inline]
    pub(crate) fn serves(&self, reign: Epoch) -> bool {
        self.reign == reign && !self.handing_over && matches!(self.role, Role::Primary(_))
    }

    /// Whether effects have to be encoded: somebody wants them.
    #[inline]
    pub(crate) fn is_logged(&self) -> bool {
        self.kept.is_some() || self.copying.is_some() || self.has_peers()
    }

    /// Whether there is anybody to send effects to.
    #[inline]
    pub(crate) fn has_peers(&self) -> bool {
        matches!(&self.role, Role::Primary(primary) if primary.has_peers())
    }

    /// Whether a peer can be sent something now.
    pub(crate) fn has_work_for_peers(&self) -> bool {
        let Role::Primary(primary) = &self.role else { return false };
        let last = primary.last().counter;
        primary.peers().iter().any(|peer| match peer.stage {
            replication::Stage::Streaming => peer.sent < last,
            replication::Stage::Syncing { sent_all, .. } => !sent_all || peer.sent < last,
            _ => false,
        })
    }

    /// Moves to what the map says. Called for every partition whose epoch has changed. `keep`: where there is no role any
    /// more, a whole copy is held for when there is one again. A node that `is_alone` in its cluster keeps no backlog: nobody
    /// could come back for it.
    pub(crate) fn assign(
        &mut self,
        me: NodeId,
        assignment: &Assignment,
        (keep, is_alone): (bool, bool),
        now: Mono,
    ) -> Aftermath {
        let mut aftermath = Aftermath::default();
        let role = assignment.role_of(me);
        let new_reign = assignment.reign != self.reign;
        let had_data = self.is_whole().is_some();
        let begins = assignment.born != self.born;
        let void = begins && (self.reign != Epoch(0) || self.unowned.is_some());
        self.epoch = assignment.epoch;
        self.reign = assignment.reign;
        self.born = assignment.born;
        if new_reign || role != self.map_role() {
            self.leave_role(role, void || (role == MapRole::None && !keep), assignment, &mut aftermath);
        } else if role == MapRole::None && !keep {
            aftermath.garbage = self.drop_unowned();
            return aftermath;
        }
        if let Some(Kept { journal, partition, .. }) = &self.kept {
            match self.role {
                Role::None if had_data && self.unowned.is_none() => journal.dropped(*partition),
                Role::None => {}
                _ if begins || !had_data || aftermath.garbage.is_some() => {
                    journal.emptied(*partition, self.born, self.last());
                }
                _ => {}
            }
        }
        if let Role::Primary(primary) = &mut self.role {
            let others: Vec<NodeId> = assignment.in_sync.iter().copied().filter(|node| *node != me).collect();
            let backlog_bytes = self.kept.as_ref().map_or(0, |kept| kept.backlog_bytes);
            primary.keep_backlog(if is_alone { 0 } else { backlog_bytes });
            primary.set_peers(assignment.epoch, &others, &assignment.learners, now);
            aftermath.pump = primary.has_peers();
            self.settle(&mut aftermath.released);
        }
        self.handing_over = false;
        aftermath
    }

    /// What the map calls the role held; an in-sync replica and a learner are both followers here.
    fn map_role(&self) -> MapRole {
        match self.role {
            Role::None => MapRole::None,
            Role::Primary(_) => MapRole::Primary,
            Role::Follower { .. } => MapRole::InSync,
        }
    }

    fn leave_role(&mut self, next: MapRole, void: bool, to: &Assignment, aftermath: &mut Aftermath) {
        if let (Role::Follower { follower, primary }, MapRole::InSync | MapRole::Learner) = (&self.role, next)
            && follower.reign() == to.reign
            && Some(*primary) == to.primary
        {
            return;
        }
        let mut had_data = true;
        let (mut log, mut stage) = match std::mem::replace(&mut self.role, Role::None) {
            Role::None => {
                had_data = self.unowned.is_some();
                (self.unowned.take().map(Log::starting_after).unwrap_or_default(), FollowerStage::Usable)
            }
            Role::Primary(primary) => (primary.into_log(), FollowerStage::Usable),
            Role::Follower { follower, .. } => follower.into_parts(),
        };
        aftermath.unconfirmed.extend(self.waiters.drain(..).map(|waiter| (waiter.target, waiter.wrote)));
        self.blocked.wake_all(&mut aftermath.woken);
        self.uncommitted.clear();
        self.awaited.clear();
        self.copying = None;
        self.watches.clear();
        let partial = next == MapRole::Primary && stage == FollowerStage::Syncing;
        if partial && !void {
            // The map never gives a partition to a copy that it does not know to be whole.
            tracing::error!(reign = %to.reign, "became primary with a partial copy, which is dropped");
        }
        if void || partial || (next == MapRole::None && stage == FollowerStage::Syncing) {
            self.store.clear();
            aftermath.garbage = Some(self.store.take_garbage());
            (log, stage) = (Log::default(), FollowerStage::Usable);
        } else if next == MapRole::None && had_data {
            self.unowned = Some(log.last());
        }
        self.role = match next {
            MapRole::None => Role::None,
            MapRole::Primary => {
                let mut primary = Primary::new(to.reign, log);
                if let Some(kept) = &self.kept
                    && kept.journal.confirms()
                {
                    primary.require_disk();
                    kept.awaits();
                    self.awaited.push_back((kept.journal.position(), primary.last().counter));
                }
                note_uncommitted(&primary, &self.store, &mut self.uncommitted);
                Role::Primary(primary)
            }
            MapRole::InSync | MapRole::Learner => Role::Follower {
                follower: Follower::new(to.reign, log, stage),
                primary: to.primary.expect("a partition with followers has a primary"),
            },
        };
    }

    /// Closes a command that has just run: logs its effects, notes what is uncommitted, bumps watches.
    /// Returns the counter of its record, if it wrote anything.
    #[inline]
    pub(crate) fn conclude(&mut self, now: Mono) -> Option<u64> {
        if self.touched.is_empty() { None } else { Some(self.log(now)) }
    }

    fn log(&mut self, now: Mono) -> u64 {
        let record = &mut self.record;
        let Role::Primary(primary) = &mut self.role else {
            unreachable!("only a primary runs commands");
        };
        let counter = primary.append(record.bytes(), now);
        if let Some(kept) = &self.kept {
            let Kept { journal, partition, .. } = kept;
            let confirms = journal.confirms();
            if confirms && self.awaited.is_empty() {
                // Before the record: once it is there it may be durable at any time, and whoever tells so has to come by here.
                kept.awaits();
            }
            let position = journal.record(*partition, primary.last(), record.bytes());
            if confirms {
                self.awaited.push_back((position, counter));
            }
        }
        if let Some(copying) = &mut self.copying {
            copying.written.extend_from_slice(record.bytes());
        }
        record.clear();
        if primary.committed() < counter {
            self.uncommitted.extend(self.touched.iter().map(|&(db, hash)| (counter, db, hash)));
        }
        if !self.watches.is_empty() {
            bump(&mut self.watches, &self.touched, counter);
        }
        if !self.blocked.is_empty() {
            self.blocked.note(&self.touched);
        }
        self.touched.clear();
        counter
    }

    /// Whether everything written is committed.
    pub(crate) fn is_settled(&self) -> bool {
        self.uncommitted.is_empty()
    }

    /// The counter that a reply which saw the key of this hash has to wait for; 0 if nothing uncommitted touches it.
    #[inline]
    pub(crate) fn dirty_counter(&self, db: u8, hash: u64) -> u64 {
        if self.uncommitted.is_empty() {
            return 0;
        }
        self.newest_write(db, hash)
    }

    fn newest_write(&self, db: u8, hash: u64) -> u64 {
        let touches =
            |&&(_, d, h): &&(u64, u8, u64)| d == db && (h == hash || h == commands::context::TOUCHED_ALL);
        self.uncommitted.iter().rev().find(touches).map_or(0, |&(counter, ..)| counter)
    }

    /// The counter that a reply which saw all keys of a database has to wait for; 0 if all of them are committed.
    pub(crate) fn dirty_counter_of_all(&self, db: u8) -> u64 {
        self.uncommitted.iter().rev().find(|&&(_, d, _)| d == db).map_or(0, |&(counter, ..)| counter)
    }

    /// Registers `target` for `counter`; false if that is committed already.
    pub(crate) fn wait_for(&mut self, counter: u64, target: Target, wrote: bool) -> bool {
        let Role::Primary(primary) = &self.role else { return false };
        if counter <= primary.committed() {
            return false;
        }
        let waiter = Waiter { counter, target, wrote };
        if self.waiters.back().is_none_or(|newest| newest.counter <= counter) {
            self.waiters.push_back(waiter);
        } else {
            // A read of an older write.
            let at = self.waiters.partition_point(|other| other.counter <= counter);
            self.waiters.insert(at, waiter);
        }
        true
    }

    /// Takes an answer of a peer; the replies it releases go to `released`.
    pub(crate) fn peer_says(
        &mut self,
        from: NodeId,
        message: Message<'_>,
        now: Mono,
        released: &mut Vec<Target>,
    ) {
        if let Role::Primary(primary) = &mut self.role {
            primary.step(from, message, now);
            self.settle(released);
        }
    }

    /// Stops requiring a learner whose promotion was given up; the replies that releases go to `released`.
    pub(crate) fn unrequire(&mut self, node: NodeId, released: &mut Vec<Target>) {
        if let Role::Primary(primary) = &mut self.role {
            primary.unrequire(node);
            self.settle(released);
        }
    }

    /// The journal is durable up to `position`; the replies that releases go to `released`.
    pub(crate) fn durable(&mut self, position: u64, released: &mut Vec<Target>) {
        let mut reached = None;
        while let Some((_, counter)) = self.awaited.front().filter(|(awaited, _)| *awaited <= position) {
            reached = Some(*counter);
            self.awaited.pop_front();
        }
        if let (Some(kept), false) = (&self.kept, self.awaited.is_empty()) {
            kept.awaits();
        }
        if let (Some(counter), Role::Primary(primary)) = (reached, &mut self.role) {
            primary.durable(counter);
            self.settle(released);
        }
    }

    /// Gives up every reply that waits for a commit: whose it is, and whether its command wrote.
    pub(crate) fn give_up_replies(&mut self) -> impl Iterator<Item = (Target, bool)> {
        self.waiters.drain(..).map(|waiter| (waiter.target, waiter.wrote))
    }

    /// Releases what has been committed.
    pub(crate) fn settle(&mut self, released: &mut Vec<Target>) {
        let Role::Primary(primary) = &self.role else { return };
        let committed = primary.committed();
        while self.waiters.front().is_some_and(|waiter| waiter.counter <= committed) {
            released.extend(self.waiters.pop_front().map(|waiter| waiter.target));
        }
        while self.uncommitted.front().is_some_and(|(counter, ..)| *counter <= committed) {
            self.uncommitted.pop_front();
        }
    }

    /// Takes a message of another node about this partition and returns the answer, if any.
    pub(crate) fn follow(&mut self, message: Message<'_>, now: Wall) -> Option<Message<'static>> {
        let (theirs, stream) = message.sent_by_primary()?;
        let State { store, role, reign, born, kept, copying, .. } = self;
        match role {
            Role::Follower { follower, .. } => {
                follower.step(message, &mut Copy { store, now, born: *born, kept: kept.as_ref(), copying })
            }
            _ if theirs < *reign => Some(Message::Fenced { reign: *reign }),
            // Our map does not know that role yet.
            _ => Some(Message::Behind { reign: *reign, stream }),
        }
    }

    /// Removes at most `budget` keys whose deadline has passed, as one record; how many.
    pub(crate) fn expire(
        &mut self,
        wall: Wall,
        now: Mono,
        budget: usize,
        events: Option<&mut Vec<Event>>,
    ) -> usize {
        let mut due: Vec<(u8, Vec<u8>, u64)> = Vec::new();
        self.store.expired(wall, budget, &mut |db, key, hash| due.push((db, key.to_vec(), hash)));
        let log = self.is_logged();
        for (db, key, hash) in &due {
            let effect = effect::Effect::Remove { db: *db, key, cause: effect::Cause::Expired };
            self.store.apply(&effect, *hash, wall);
            if log {
                self.record.push(&effect);
            }
            self.touched.push((*db, *hash));
        }
        // Whoever watches a key knows of its end by the clock: that it is taken away afterwards changes nothing.
        let watches = std::mem::take(&mut self.watches);
        self.conclude(now);
        self.watches = watches;
        if let Some(events) = events {
            events.extend(due.iter().map(|(db, key, _)| Event::expired(*db, key)));
        }
        due.len()
    }

    /// Applies effects that were kept; false if they are corrupt.
    pub(crate) fn apply_all(&mut self, effects: &[u8], now: Wall) -> bool {
        apply_all(&mut self.store, effects, now)
    }

    /// A piece of a whole copy from `cursor` on, and where the next one starts.
    pub(crate) fn piece(&self, cursor: Option<(u8, u64)>) -> (Vec<u8>, Option<(u8, u64)>) {
        Chunks { store: &self.store }.chunk(cursor)
    }

    /// Sends what the peers can take.
    pub(crate) fn pump(&mut self, attach: bool, send: &mut dyn FnMut(NodeId, Message<'_>)) {
        if let Role::Primary(primary) = &mut self.role {
            primary.pump(&mut Chunks { store: &self.store }, attach, send);
        }
    }

    /// Starts to watch a key and returns the token to check at EXEC.
    pub(crate) fn watch(&mut self, db: u8, key: &[u8], now: Wall) -> WatchToken {
        if self.watches.len() >= WATCHES_MAX {
            self.watches.clear();
        }
        let hash = self.store.hash(key);
        let existed = self.store.peek(db, key, hash, now).is_some();
        let last = self.primary().map_or(0, |primary| primary.last().counter);
        self.watches.entry((db, hash)).or_insert(0);
        WatchToken { reign: self.reign, counter: last, existed }
    }

    /// Whether a watched key is untouched since its token was given.
    pub(crate) fn unchanged(&self, db: u8, key: &[u8], token: &WatchToken, now: Wall) -> bool {
        let hash = self.store.hash(key);
        let exists = self.store.peek(db, key, hash, now).is_some();
        token.reign == self.reign
            && self.watches.get(&(db, hash)).is_some_and(|changed| *changed <= token.counter)
            && (exists || !token.existed)
    }
}

/// What WATCH remembers of a key: the reign and the log position at which it was watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WatchToken {
    /// Reign of the primary that gave the token; a later one aborts the transaction.
    pub reign: Epoch,
    /// Last record written when the key was watched.
    pub counter: u64,
    /// Whether the key existed then: expiring counts as a change.
    pub existed: bool,
}

fn bump(watches: &mut HashMap<(u8, u64), u64>, touched: &[(u8, u64)], counter: u64) {
    for &(db, hash) in touched {
        if hash == commands::context::TOUCHED_ALL {
            watches.iter_mut().filter(|((d, _), _)| *d == db).for_each(|(_, changed)| *changed = counter);
        } else if let Some(changed) = watches.get_mut(&(db, hash)) {
            *changed = counter;
        }
    }
}

/// Notes the keys of records that a new primary has taken over but cannot know to be committed: another in-sync
/// replica may lack them and succeed next, so nobody may see them before it has confirmed them.
fn note_uncommitted(primary: &Primary, store: &Partition, uncommitted: &mut VecDeque<(u64, u8, u64)>) {
    for (seq, effects) in primary.unconfirmed().iter() {
        for effect in effect::decode(effects).flatten() {
            let hash = effect.key().map_or(commands::context::TOUCHED_ALL, |key| store.hash(key));
            uncommitted.push_back((seq.counter, effect.db(), hash));
        }
    }
}
