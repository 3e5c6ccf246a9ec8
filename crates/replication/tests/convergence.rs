//! A partition's copies on a few nodes under random writes, lost links, fail-overs, promotions and removals.
//!
//! The test plays the map and the links. Maps reach nodes late and one by one. A link keeps order, but one that was
//! replaced may still deliver to the follower what was on its way, after newer bytes of its successor. Checked all the
//! time: what is committed is on every required peer, no committed write is ever missing at the primary of the newest
//! reign, and a copy that calls itself whole is exactly the primary's state at the record it names.
//!
//! That these checks see something is checked too: mistakes are planted in the syncs that compare, and each has to be found.

// long file: one simulator, whose parts are of no use without each other.

use effect::{Cause, Effect, Elements, Hashes, Kind, RecordBuilder};
use replication::{
    Applier, ChunkSource, Follower, FollowerStage, Log, Message, Primary, Span, SpanDigest, Stage, Syncs,
};
use std::collections::{HashMap, VecDeque};
use stdx::{Epoch, Mono, NodeId, Random, Seq, Wall};
use store::bloom::BloomConfig;
use store::{PLACE_END, Partition, ValueRef};

const NODES: usize = 4;
const KEYS: u64 = 40;
const NOW: Wall = Wall(1_000);

/// What may be wrong with a sync that compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mistake {
    None,
    /// What differs is not emptied before it is filled.
    NotEmptied,
    /// A span that differs is taken for equal now and then.
    TakenForEqual,
    /// More is emptied than what was asked about.
    EmptiedTooFar,
    /// An answer claims to have compared one span more than it has.
    ReachedTooFar,
    /// The copies are compared although nothing says that they have one order.
    ForeignOrder,
}

struct Copy<'a>(&'a mut Partition, Mistake);

/// Keys that are walked for one answer.
const ANSWER_KEYS_MAX: usize = 5;

impl Applier for Copy<'_> {
    fn order(&self) -> u64 {
        order(self.0, self.1)
    }

    fn begin(&mut self, _at: Seq, keep: bool) {
        if !keep {
            self.0.clear();
        }
    }

    fn compare(&mut self, from: u64, spans: &[SpanDigest], salt: u64) -> (u64, Vec<Span>) {
        let (mut at, mut keys, mut differing) = (from, 0, Vec::new());
        for SpanDigest { to, digest } in spans {
            let here = self.0.stretch(at, *to, (ANSWER_KEYS_MAX, usize::MAX), salt);
            let equal = here.to == *to && here.digest == *digest;
            let missed = self.1 == Mistake::TakenForEqual && here.keys == 2;
            if !equal && !missed {
                differing.push(Span { from: at, to: here.to });
            }
            (at, keys) = (here.to, keys + here.keys);
            if here.to < *to || keys >= ANSWER_KEYS_MAX {
                break;
            }
        }
        let next = spans.iter().map(|span| span.to).find(|to| *to > at);
        (next.filter(|_| self.1 == Mistake::ReachedTooFar).unwrap_or(at), differing)
    }

    fn chunk(&mut self, replaces: Option<Span>, effects: &[u8], _is_last: bool) -> bool {
        if let Some(Span { from, to }) = replaces.filter(|_| self.1 != Mistake::NotEmptied) {
            let too_far = if self.1 == Mistake::EmptiedTooFar { 1 << 29 } else { 0 };
            self.0.clear_stretch(from.saturating_sub(too_far), to, NOW);
        }
        self.apply_all(effects)
    }

    fn record(&mut self, _seq: Seq, effects: &[u8]) -> bool {
        self.apply_all(effects)
    }
}

impl Copy<'_> {
    fn apply_all(&mut self, effects: &[u8]) -> bool {
        effect::decode(effects).all(|effect| match effect {
            Ok(effect) => {
                apply(self.0, &effect);
                true
            }
            Err(_) => false,
        })
    }
}

fn order(store: &Partition, mistake: Mistake) -> u64 {
    match mistake {
        _ if store.is_empty() => 0,
        Mistake::ForeignOrder => 1,
        _ => store.order(),
    }
}

struct Chunks<'a>(&'a Partition, Mistake);

impl ChunkSource for Chunks<'_> {
    fn chunk(&mut self, cursor: Option<(u8, u64)>) -> (Vec<u8>, Option<(u8, u64)>) {
        let (db, at) = cursor.unwrap_or((0, 0));
        let mut record = RecordBuilder::new();
        // Small, so that a sync takes many chunks.
        let next = self.0.snapshot_chunk(db, at, 60, &mut record);
        (record.take(), next)
    }

    fn order(&self) -> u64 {
        order(self.0, self.1)
    }

    fn digests(&mut self, from: u64, salt: u64) -> Vec<(SpanDigest, u64)> {
        let (mut spans, mut at) = (Vec::new(), from);
        while at < PLACE_END && spans.len() < 3 {
            let stretch = self.0.stretch(at, PLACE_END, (2, 100), salt);
            spans.push((SpanDigest { to: stretch.to, digest: stretch.digest }, stretch.bytes as u64));
            at = stretch.to;
        }
        spans
    }

    fn piece_of(&mut self, span: Span) -> (Vec<u8>, u64) {
        let mut record = RecordBuilder::new();
        let to = self.0.snapshot_stretch(span.from, span.to, 30, &mut record);
        (record.take(), to)
    }
}

fn apply(store: &mut Partition, effect: &Effect<'_>) {
    let hash = effect.key().map_or(0, |key| store.hash(key));
    store.apply(effect, hash, NOW);
}

enum Role {
    None,
    Primary(Primary),
    Follower(Follower),
}

struct Node {
    store: Partition,
    role: Role,
    /// Epoch of the map it has seen.
    epoch: u64,
    /// The last record of a whole copy that it keeps without a role.
    unowned: Option<Seq>,
}

/// The agreed owners.
#[derive(Clone, Debug)]
struct Map {
    epoch: u64,
    reign: u64,
    primary: usize,
    in_sync: Vec<usize>,
    learners: Vec<usize>,
}

/// A link of a primary to a peer: messages there, answers back.
#[derive(Default)]
struct Link {
    there: VecDeque<Message<'static>>,
    back: VecDeque<Message<'static>>,
    /// The primary's side is gone; the peer has not noticed.
    cut: bool,
}

struct World {
    random: Random,
    nodes: Vec<Node>,
    map: Map,
    links: HashMap<(usize, usize), Vec<Link>>,
    /// Digest of the primary's copy after each record.
    history: HashMap<Seq, u64>,
    /// Writes that are not committed, in the order of records: place, key and value.
    written: Vec<(Seq, u64, u64)>,
    /// A learner that is required, and what it has to confirm before the map may promote it.
    promotion: Option<(usize, u64)>,
    /// Highest committed value per key.
    committed: HashMap<u64, u64>,
    value: u64,
    now: u64,
    syncs: Syncs,
    fail_overs: u64,
    diverged: u64,
    mistake: Mistake,
}

fn id(index: usize) -> NodeId {
    NodeId(index as u64)
}

impl World {
    fn new(seed: u64, mistake: Mistake) -> World {
        let hash_seed = |index| if mistake == Mistake::ForeignOrder { index as u64 } else { 3 };
        let node = |index| Node {
            store: Partition::new(hash_seed(index)),
            role: Role::None,
            epoch: 0,
            unowned: None,
        };
        let mut world = World {
            random: Random::seeded(seed),
            nodes: (0..NODES).map(node).collect(),
            map: Map { epoch: 1, reign: 1, primary: 0, in_sync: vec![0], learners: vec![] },
            links: HashMap::new(),
            history: HashMap::from([(Seq::default(), Partition::new(3).digest())]),
            written: Vec::new(),
            promotion: None,
            committed: HashMap::new(),
            value: 0,
            now: 0,
            syncs: Syncs::default(),
            fail_overs: 0,
            diverged: 0,
            mistake,
        };
        world.see_map(0);
        world
    }

    fn pick(&mut self, from: &[usize]) -> Option<usize> {
        (!from.is_empty()).then(|| from[self.random.below(from.len() as u64) as usize])
    }

    fn now(&self) -> Mono {
        Mono(self.now)
    }

    /// A node takes over the newest map.
    fn see_map(&mut self, index: usize) {
        let (map, now, keeps_copy) = (self.map.clone(), self.now(), self.random.chance(0.5));
        let node = &mut self.nodes[index];
        if std::mem::replace(&mut node.epoch, map.epoch) == map.epoch {
            return;
        }
        let reign = Epoch(map.reign);
        let is_primary = map.primary == index;
        let follows = map.in_sync.contains(&index) || map.learners.contains(&index);
        let keeps = match &node.role {
            Role::None => !follows,
            Role::Primary(primary) => is_primary && primary.reign() == reign,
            Role::Follower(follower) => !is_primary && follows && follower.reign() == reign,
        };
        if !keeps {
            let (log, stage) = match std::mem::replace(&mut node.role, Role::None) {
                Role::None => {
                    (node.unowned.take().map(Log::starting_after).unwrap_or_default(), FollowerStage::Usable)
                }
                Role::Primary(primary) => (primary.into_log(), FollowerStage::Usable),
                Role::Follower(follower) => follower.into_parts(),
            };
            if is_primary {
                assert_eq!(stage, FollowerStage::Usable, "the map chose a copy that is not whole");
                node.role = Role::Primary(Primary::new(reign, log));
            } else if follows {
                node.role = Role::Follower(Follower::new(reign, log, stage));
            } else if keeps_copy && stage == FollowerStage::Usable {
                node.unowned = Some(log.last());
            } else {
                node.store.clear();
            }
        }
        if let Role::Primary(primary) = &mut node.role {
            let others: Vec<NodeId> = map.in_sync.iter().filter(|n| **n != index).map(|n| id(*n)).collect();
            let learners: Vec<NodeId> = map.learners.iter().map(|n| id(*n)).collect();
            primary.set_peers(Epoch(map.epoch), &others, &learners, now);
        }
    }

    /// The primary of the newest reign, once it knows that it is.
    fn ruler(&mut self) -> Option<(usize, &mut Primary, &mut Partition)> {
        let (index, reign) = (self.map.primary, Epoch(self.map.reign));
        let node = &mut self.nodes[index];
        match &mut node.role {
            Role::Primary(primary) if primary.reign() == reign => Some((index, primary, &mut node.store)),
            _ => None,
        }
    }

    fn write(&mut self, index: usize) {
        let (key, kind, now) = (self.random.below(KEYS), self.random.below(30), self.now());
        self.value += 1;
        let value = self.value;
        let node = &mut self.nodes[index];
        let Role::Primary(primary) = &mut node.role else { return };
        let (name, noise) = (format!("k{key}"), format!("n{}", key % 5));
        let text = value.to_string();
        let mut record = RecordBuilder::new();
        let string =
            Effect::SetString { db: 0, key: name.as_bytes(), value: text.as_bytes(), expire_at: None };
        let filter = format!("f{}", key % 3);
        let header = BloomConfig::new(20 + value % 3, 0.1, 2).expect("in range").header();
        let hashes = [value.to_le_bytes()];
        let other = match kind {
            0 => Effect::Flush { db: 1 },
            11 => Effect::ExpireAt { db: 1, key: noise.as_bytes(), at: Some(Wall(NOW.0 + value)) },
            12 => Effect::CreateFilter { db: 1, key: filter.as_bytes(), header: &header },
            13 | 14 => {
                let hash = node.store.hash(filter.as_bytes());
                let revision =
                    match node.store.peek(1, filter.as_bytes(), hash, NOW).map(|entry| entry.value()) {
                        Some(ValueRef::Filter(filter)) => filter.revision(),
                        _ => 0,
                    };
                let hashes = Hashes::new(&hashes);
                Effect::AddToFilter { db: 1, key: filter.as_bytes(), revision, hashes }
            }
            20..=29 => return self.write_collection(index, &name, &text),
            1..=3 => Effect::Remove { db: 1, key: noise.as_bytes(), cause: Cause::Deleted },
            4..=10 => {
                Effect::Splice { db: 1, key: noise.as_bytes(), offset: value % 30, bytes: text.as_bytes() }
            }
            _ => string,
        };
        for effect in [string, other] {
            apply(&mut node.store, &effect);
            record.push(&effect);
        }
        primary.append(record.bytes(), now);
        let seq = primary.last();
        self.history.insert(seq, node.store.digest());
        self.written.push((seq, key, value));
    }

    /// As [`Sim::write`], with a change of a collection beside the string: any kind under any of three keys, so that many meet
    /// another kind, or one that is gone.
    fn write_collection(&mut self, index: usize, name: &str, text: &str) {
        let (now, value) = (self.now(), self.value);
        let key = format!("c{}", value % 3);
        let (db, key, choice) = (1, key.as_bytes(), self.random.below(9));
        let member = format!("m{}", self.random.below(40));
        let kind = [Kind::Hash, Kind::Set, Kind::SortedSet][self.random.below(3) as usize];
        let score = (value as f64).to_le_bytes();
        let node = &mut self.nodes[index];
        let Role::Primary(primary) = &mut node.role else { return };
        let revision = match node.store.peek(db, key, node.store.hash(key), NOW).map(|entry| entry.value()) {
            Some(ValueRef::List(list)) => list.revision(),
            _ => 0,
        };
        let words: &[&[u8]] = match kind {
            Kind::Hash => &[member.as_bytes(), text.as_bytes()],
            Kind::SortedSet => &[&score, member.as_bytes()],
            _ => &[member.as_bytes()],
        };
        let (elements, dropped, whole) =
            (Elements::words(words), [member.as_bytes()], [member.as_bytes(), text.as_bytes()]);
        let change = match choice {
            0..=3 => Effect::PutElements { db, key, kind, elements },
            4 => Effect::DropElements { db, key, kind, elements: Elements::words(&dropped) },
            5 => Effect::Remove { db, key, cause: Cause::Deleted },
            6 => Effect::SetCollection {
                db,
                key,
                kind: Kind::Hash,
                elements: Elements::words(&whole),
                expire_at: None,
            },
            _ => Effect::SpliceList {
                db,
                key,
                revision,
                index: value % 4,
                removed: value % 2,
                elements: Elements::words(&dropped),
            },
        };
        let mut record = RecordBuilder::new();
        let string =
            Effect::SetString { db: 0, key: name.as_bytes(), value: text.as_bytes(), expire_at: None };
        for effect in [string, change] {
            apply(&mut node.store, &effect);
            record.push(&effect);
        }
        primary.append(record.bytes(), now);
        let seq = primary.last();
        self.history.insert(seq, node.store.digest());
        let number: u64 = name.trim_start_matches('k').parse().expect("the number of the key");
        self.written.push((seq, number, value));
    }

    fn pump(&mut self, index: usize, attach: bool) {
        let node = &mut self.nodes[index];
        let Role::Primary(primary) = &mut node.role else { return };
        let links = &mut self.links;
        primary.pump(&mut Chunks(&node.store, self.mistake), attach, &mut |to, message| {
            let of_pair = links.entry((index, to.0 as usize)).or_default();
            if of_pair.last().is_none_or(|link| link.cut) {
                of_pair.push(Link::default());
            }
            of_pair.last_mut().expect("just made sure").there.push_back(message.into_owned());
        });
        self.syncs += primary.take_syncs();
    }

    /// Delivers one message of one link, possibly of a link that was cut.
    fn deliver(&mut self, from: usize, to: usize) {
        let count = self.links.get(&(from, to)).map_or(0, Vec::len) as u64;
        let (which, answers, now) = (self.random.below(count) as usize, self.random.chance(0.5), self.now());
        let Some(link) = self.links.get_mut(&(from, to)).and_then(|links| links.get_mut(which)) else {
            return;
        };
        if answers && !link.cut {
            let Some(answer) = link.back.pop_front() else { return };
            if let Role::Primary(primary) = &mut self.nodes[from].role {
                let is_diverged = |p: &Primary| p.peers().iter().any(|peer| peer.stage == Stage::Diverged);
                let before = is_diverged(primary);
                primary.step(id(to), answer, now);
                self.diverged += u64::from(!before && is_diverged(primary));
            }
        } else if let Some(message) = link.there.pop_front() {
            let node = &mut self.nodes[to];
            let (theirs, stream) = message.sent_by_primary().expect("sent by a primary");
            let answer = match &mut node.role {
                Role::Follower(follower) => {
                    let (reign, last) = (follower.reign(), follower.last());
                    let answer = follower.step(message, &mut Copy(&mut node.store, self.mistake));
                    // Rule 2: another reign changes nothing, and is told so.
                    if theirs != reign {
                        assert_eq!(follower.last(), last);
                        let refused = match answer {
                            Some(Message::Fenced { .. }) => theirs < reign,
                            Some(Message::Behind { .. }) => theirs > reign,
                            _ => false,
                        };
                        assert!(refused, "{answer:?}");
                    }
                    answer
                }
                Role::Primary(primary) if theirs < primary.reign() => {
                    Some(Message::Fenced { reign: primary.reign() })
                }
                _ => Some(Message::Behind { reign: Epoch(0), stream }),
            };
            link.back.extend(answer);
        } else if link.cut {
            self.links.get_mut(&(from, to)).expect("looked up").remove(which);
        }
    }

    fn cut(&mut self, from: usize, to: usize) {
        if let Some(link) = self.links.get_mut(&(from, to)).and_then(|links| links.last_mut()) {
            link.cut = true;
            let kept = self.random.below(link.there.len() as u64 + 1) as usize;
            link.there.truncate(kept);
            if let Role::Primary(primary) = &mut self.nodes[from].role {
                primary.detach(id(to));
            }
        }
    }

    /// One random change of the owners, as the map would permit it.
    fn change_map(&mut self) {
        let others: Vec<usize> = (0..NODES).filter(|n| *n != self.map.primary).collect();
        let Some(node) = self.pick(&others) else { return };
        let (in_sync, learns) = (self.map.in_sync.contains(&node), self.map.learners.contains(&node));
        let knows_all = self.nodes[self.map.primary].epoch == self.map.epoch;
        match self.random.below(10) {
            0..=3 if !in_sync && !learns => self.map.learners.push(node),
            4..=6 if learns && knows_all && self.promotion.is_none() => {
                // What a coordinator does: require, wait until it is confirmed, propose.
                let Some((_, primary, _)) = self.ruler() else { return };
                self.promotion = primary.require(id(node)).map(|barrier| (node, barrier));
                return;
            }
            7 => return self.give_up_promotion(),
            8 if in_sync && knows_all && self.random.chance(0.3) => self.map.in_sync.retain(|n| *n != node),
            9 if in_sync => {
                // Fail-over. The old primary is out, or comes back to learn.
                let old = self.map.primary;
                self.map.primary = node;
                self.map.in_sync.retain(|n| *n != old);
                if self.random.chance(0.5) {
                    self.map.learners.push(old);
                }
                self.map.reign = self.map.epoch + 1;
                self.fail_overs += 1;
            }
            _ => return,
        }
        self.map.epoch += 1;
        self.promotion = None;
    }

    /// Nothing was proposed: the learner is no longer required, or it could hold up everything for good.
    fn give_up_promotion(&mut self) {
        if let (Some((node, _)), Some((_, primary, _))) = (self.promotion.take(), self.ruler()) {
            primary.unrequire(id(node));
        }
    }

    /// Proposes the promotion under way once it is safe.
    fn promote(&mut self) {
        let Some((node, barrier)) = self.promotion else { return };
        let Some((_, primary, _)) = self.ruler() else { return };
        if primary.has_confirmed(id(node), barrier) {
            self.map.learners.retain(|n| *n != node);
            self.map.in_sync.push(node);
            self.map.epoch += 1;
            self.promotion = None;
        }
    }

    fn step(&mut self) {
        self.now += 1;
        let (any, to) = (self.random.below(NODES as u64) as usize, self.random.below(NODES as u64) as usize);
        // Mostly the newest primary acts; now and then one that does not know that it is deposed.
        let primary = if self.random.chance(0.8) { self.map.primary } else { any };
        match self.random.below(100) {
            0..=9 => self.write(primary),
            10..=29 => {
                let attach = self.random.chance(0.3);
                self.pump(primary, attach);
            }
            30..=88 => self.deliver(primary, to),
            89..=92 => self.see_map(any),
            93..=95 => self.change_map(),
            96..=98 => self.promote(),
            _ if self.random.chance(0.5) => self.cut(primary, to),
            _ => {}
        }
        self.check();
    }

    fn check(&mut self) {
        if let Some((_, primary, _)) = self.ruler() {
            let (counter, reign) = (primary.committed(), primary.reign());
            for node in &self.map.in_sync {
                if let Role::Follower(follower) = &self.nodes[*node].role {
                    assert!(follower.last().counter >= counter, "node {node} lacks what is committed");
                }
            }
            // Records up to the committed counter that this primary wrote itself are acknowledged to clients.
            let committed = &mut self.committed;
            self.written.retain(|(seq, key, value)| {
                if seq.epoch == reign && seq.counter <= counter {
                    let newest = committed.entry(*key).or_default();
                    *newest = (*newest).max(*value);
                }
                seq.epoch == reign && seq.counter > counter
            });
        }
        let committed = std::mem::take(&mut self.committed);
        if let Some((index, _, store)) = self.ruler() {
            for (key, value) in &committed {
                let name = format!("k{key}");
                let hash = store.hash(name.as_bytes());
                let found = store.peek(0, name.as_bytes(), hash, NOW).and_then(|entry| match entry.value() {
                    store::ValueRef::String(string) => string.as_integer(),
                    _ => None,
                });
                assert!(found >= i64::try_from(*value).ok(), "{name} at {index}: {found:?} < {value}");
            }
        }
        self.committed = committed;
        for (index, node) in self.nodes.iter().enumerate() {
            if let Role::Follower(follower) = &node.role
                && follower.stage() == FollowerStage::Usable
            {
                let expected = self.history.get(&follower.last());
                assert_eq!(expected, Some(&node.store.digest()), "node {index} at {:?}", follower.last());
            }
        }
    }

    /// Delivers everything, on links that hold, under a map that stands still.
    fn quiesce(&mut self) {
        self.give_up_promotion();
        for _ in 0..100 {
            self.now += 1;
            for from in 0..NODES {
                self.see_map(from);
                self.pump(from, true);
                for to in (0..NODES).flat_map(|to| [to; 20]) {
                    self.deliver(from, to);
                }
            }
            self.drop_diverged();
        }
        let (reign, owners) = (Epoch(self.map.reign), self.map.clone());
        let Some((_, primary, store)) = self.ruler() else { panic!("a primary rules") };
        let (last, digest) = (primary.last(), store.digest());
        assert_eq!(primary.committed(), last.counter);
        for node in owners.in_sync.iter().chain(&owners.learners).filter(|n| **n != owners.primary) {
            let Role::Follower(follower) = &self.nodes[*node].role else { panic!("node {node} follows") };
            assert_eq!((follower.reign(), follower.stage()), (reign, FollowerStage::Usable));
            assert_eq!((follower.last(), self.nodes[*node].store.digest()), (last, digest), "node {node}");
        }
    }

    /// As a coordinator does: an in-sync peer that cannot be continued has to leave, and may come back to learn.
    fn drop_diverged(&mut self) {
        let Some((_, primary, _)) = self.ruler() else { return };
        let diverged =
            primary.peers().iter().find(|p| p.in_sync && p.stage == Stage::Diverged).map(|p| p.node);
        if let Some(node) = diverged {
            self.map.in_sync.retain(|n| id(*n) != node);
            self.map.learners.push(node.0 as usize);
            self.map.epoch += 1;
        }
    }
}

#[test]
fn rules_2_5_7_copies_converge_and_nothing_committed_is_lost() {
    let (mut fail_overs, mut diverged) = (0, 0);
    let mut syncs = Syncs::default();
    for seed in 0..60 {
        let world = run(seed, Mistake::None);
        syncs += world.syncs;
        fail_overs += world.fail_overs;
        diverged += world.diverged;
    }
    // The walk is worth something only if it reaches the interesting places.
    assert!(fail_overs > 40 && diverged > 3, "{fail_overs} {diverged}");
    let Syncs { by_backlog, by_difference, whole, bytes_spared, .. } = syncs;
    assert!(by_backlog > 100 && by_difference > 100 && whole > 100 && bytes_spared > 1_000, "{syncs:?}");
}

#[test]
fn a_mistake_in_a_sync_that_compares_is_found() {
    let mistakes = [
        Mistake::NotEmptied,
        Mistake::TakenForEqual,
        Mistake::EmptiedTooFar,
        Mistake::ReachedTooFar,
        Mistake::ForeignOrder,
    ];
    for mistake in mistakes {
        let is_found = (0..40).any(|seed| std::panic::catch_unwind(|| drop(run(seed, mistake))).is_err());
        assert!(is_found, "{mistake:?}");
    }
}

/// A whole life of a cluster.
fn run(seed: u64, mistake: Mistake) -> World {
    let mut world = World::new(seed, mistake);
    for _ in 0..3_000 {
        world.step();
    }
    world.quiesce();
    world
}
