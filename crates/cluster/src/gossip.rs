//! Membership by gossip: who is in the cluster, who seems to have failed, who left.
//!
//! The protocol is SWIM with suspicion (Das, Gupta, Motivala 2002), run by the `foca` engine. Each node probes a
//! random member per period, asks others to probe when it gets no answer, then suspects; the suspect has a while
//! to refute before it is declared down. News rides on probes and on small messages of its own. This module is the
//! driver around the engine and has no socket, no clock and no thread: the owner passes in datagrams and the time,
//! and carries out what comes back in [`Outputs`].
//!
//! What the driver adds: sealed datagrams with a replay window (`seal`, `replay`), identities that survive
//! restarts and rejoin by themselves (`identity`), a farewell that tells leaving from failing, user events that
//! reach every node once (`spread`), seeds that are tried until they answer and partitions that heal even between
//! two nodes (`seeds`), a rejoin snapshot (`snapshot`), and local health (`health`).
//!
//! How to drive it: after each call send `out.datagrams` and act on `out.events`; call [`Gossip::tick`] at
//! [`Gossip::next_deadline`]; when both datagrams and a deadline are waiting, receive first, so that answers which are
//! already here count. A process that stood still (stopped, swapped out) for longer than a probe period gives
//! everybody else that time back before it judges them.
//!
//! Gossip only suspects. What a failure means for ownership is decided elsewhere, by a committed map.
//!
//! Left out: queries with answers, changing the secret at run time, and more than one datagram per message: a list of
//! members beyond some thirty reaches a newcomer in several random parts, one per announcement.

mod config;
mod drive;
mod effects;
mod health;
mod identity;
mod replay;
mod report;
mod seal;
mod seeds;
mod snapshot;
mod spread;
mod timers;
mod wire;

#[cfg(test)]
mod hostile_tests;

pub use config::{Config, ConfigError, Nonces, Timing};
pub use health::LOCAL_HEALTH_MAX;
pub use identity::{Identity, NAME_BYTES_MAX};
pub use report::{Event, EventId, MemberState, Outputs, ReceiveError, Stats, UserEventError};
pub use seal::{CLOCK_WINDOW_MS, DATAGRAM_BYTES_MAX};
pub use seeds::SEEDS_MAX;
pub use snapshot::SnapshotError;
pub use spread::{EVENT_BYTES_MAX, EVENT_NAME_BYTES_MAX, EVENTS_QUEUED_MAX, EVENTS_RECENT_MAX};

use effects::{Dice, Effects};
use health::Health;
use replay::Replays;
use seal::Sealer;
use seeds::Seeds;
use spread::{Inbox, Spreader};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use stdx::{Mono, NodeId, Random, Wall, limits};
use timers::{Due, Timers};
use wire::Codec;

/// Timers fired by one tick; the rest waits for the next one, so that a tick always ends.
const TIMERS_PER_TICK_MAX: usize = 1_024;
/// Members known at once, the dead included. Strangers beyond it are refused.
const MEMBERS_MAX: usize = 2 * limits::NODES_MAX;

const _: () = assert!(
    wire::HEADER_BYTES_MAX + EVENT_BYTES_MAX + 32 <= seal::PAYLOAD_BYTES_MAX,
    "the largest user event fits beside the largest header"
);

const fn assert_send<T: Send>() {}
const _: () = assert_send::<Gossip>();

type Engine = foca::Foca<Identity, Codec, Dice, Spreader>;

/// One node's part in the membership protocol.
pub struct Gossip {
    engine: Engine,
    timing: Timing,
    sealer: Sealer,
    replays: Replays,
    timers: Timers,
    seeds: Seeds,
    health: Health,
    inbox: Inbox,
    effects: Effects,
    /// Live members as the owner was told of them.
    announced: BTreeMap<NodeId, Identity>,
    /// Rounds of farewell still to come, once we leave.
    farewells: Option<u32>,
    /// Score and transmissions that the engine's configuration was made for.
    tuned: (u32, u8),
    swim_incarnation: u16,
    user_events_raised: u64,
    knocks_at_down: usize,
    stats: Stats,
}

impl Gossip {
    /// A node that knows nobody yet.
    ///
    /// # Errors
    /// If the configuration cannot work.
    pub fn new(config: Config, now: Mono) -> Result<Gossip, ConfigError> {
        config.validate()?;
        let Config { identity, secret, timing, seed, nonces } = config;
        let identity = Identity {
            bump: identity.bump,
            ..Identity::new(
                identity.node,
                identity.incarnation,
                identity.name,
                identity.gossip,
                identity.http,
                identity.resp,
            )
        };
        let mut random = Random::seeded(seed);
        let sealer =
            Sealer::new(identity.node, identity.incarnation, secret.as_deref(), nonces, random.next_u64());
        let (spreader, inbox) = spread::pair();
        let codec = Codec::new(identity.node);
        let tuned = (0, config::transmissions(0).get());
        let engine = Engine::with_custom_broadcast(
            identity,
            config::engine_config(&timing, 0, 1),
            Dice(random),
            codec,
            spreader,
        );
        let mut timers = Timers::default();
        timers.set_join(now + Duration::from_millis(timing.join_retry_ms));
        Ok(Gossip {
            engine,
            timing,
            sealer,
            replays: Replays::default(),
            timers,
            seeds: Seeds::default(),
            health: Health::default(),
            inbox,
            effects: Effects::default(),
            announced: BTreeMap::new(),
            farewells: None,
            tuned,
            swim_incarnation: 0,
            user_events_raised: 0,
            knocks_at_down: 0,
            stats: Stats::default(),
        })
    }

    /// Joins the cluster of whoever listens at `seed`; the next tick, due at once, knocks there. May be called with any
    /// number of seeds up to [`SEEDS_MAX`], with the own address among them. False if the seed is one too many.
    pub fn join(&mut self, seed: SocketAddr, now: Mono) -> bool {
        if self.farewells.is_some() {
            return false;
        }
        let own = seed == self.identity().gossip;
        if !own {
            self.timers.set_join(now);
        }
        own || self.seeds.add(seed)
    }

    /// Takes in a datagram. A refused one changes nothing but the counters. After [`Gossip::leave`], datagrams are
    /// ignored.
    ///
    /// # Errors
    /// Why the datagram was refused; worth a log line at a low level, never a reason to stop.
    pub fn receive(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Mono,
        wall: Wall,
        out: &mut Outputs,
    ) -> Result<(), ReceiveError> {
        self.stats.received += 1;
        self.stats.received_bytes += datagram.len() as u64;
        if self.farewells.is_some() {
            return Ok(());
        }
        let result = self.admit(datagram, now, wall).and_then(|message| {
            self.seeds.answered(from);
            let handled = self.engine.handle_data(&message, &mut self.effects);
            self.carry_out(now, wall, out);
            handled.map_err(|error| ReceiveError::Content(error.to_string()))
        });
        if let Err(error) = &result {
            self.stats.count_refusal(error);
        }
        result
    }

    /// Fires what is due, in order of deadline.
    pub fn tick(&mut self, now: Mono, wall: Wall, out: &mut Outputs) {
        let late = self.timers.lateness(now);
        if late > Duration::from_millis(self.timing.probe_period_ms) {
            self.stats.stalls += 1;
            self.health.stood_still();
            self.timers.postpone(late);
        }
        for _ in 0..TIMERS_PER_TICK_MAX {
            let Some(due) = self.timers.pop_due(now) else { break };
            match due {
                Due::Engine(timer) if self.is_refuted(&timer) => {}
                Due::Engine(timer) => {
                    if let Err(error) = self.engine.handle_timer(timer, &mut self.effects) {
                        self.stats.engine_faults += 1;
                        tracing::warn!(%error, "the membership engine reports a fault and recovers");
                    }
                }
                Due::Join => self.knock(now),
                Due::Farewell => self.say_farewell(now),
            }
            self.carry_out(now, wall, out);
        }
    }

    /// When [`Gossip::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.next_deadline()
    }

    /// Starts to leave on purpose. Keep ticking until [`Gossip::left_spread`], so that the others hear of it.
    pub fn leave(&mut self, now: Mono, wall: Wall, out: &mut Outputs) {
        if self.farewells.is_some() {
            return;
        }
        let rounds = if self.live_count() == 0 { 0 } else { self.timing.leave_rounds };
        self.farewells = Some(rounds);
        let farewell = self.identity().farewell();
        // Under its new name first, then down under that name: whoever hears either knows that we leave on purpose.
        let renamed = self.engine.change_identity(farewell, &mut self.effects);
        let left = self.engine.leave_cluster(&mut self.effects);
        for error in [renamed.err(), left.err()].into_iter().flatten() {
            self.stats.engine_faults += 1;
            tracing::warn!(%error, "the membership engine could not announce the leave");
        }
        self.timers.clear();
        self.carry_out(now, wall, out);
        if rounds > 0 {
            self.timers.add(now + Duration::from_millis(self.timing.gossip_ms), Due::Farewell);
        }
    }

    /// Whether the leave was said often enough for the process to exit.
    pub fn left_spread(&self) -> bool {
        self.farewells == Some(0)
    }

    /// All other members that are remembered, dead ones included, in no particular order.
    pub fn members(&self) -> impl Iterator<Item = (&Identity, MemberState)> {
        let own = self.identity().node;
        self.engine.iter_membership_state().filter(move |member| member.id().node != own).map(|member| {
            let state = match member.state() {
                foca::State::Alive => MemberState::Alive,
                foca::State::Suspect => MemberState::Suspect,
                foca::State::Down if member.id().leaving => MemberState::Left,
                foca::State::Down => MemberState::Down,
            };
            (member.id(), state)
        })
    }

    /// Other members that are alive or suspected.
    pub fn live_count(&self) -> usize {
        self.engine.num_members()
    }

    /// This process as others know it; its `bump` grows with each rejoin.
    pub fn identity(&self) -> &Identity {
        self.engine.identity()
    }

    /// Spreads an event to all other members; each gets it once, usually within a few gossip periods.
    ///
    /// # Errors
    /// If it is too large, or too many wait already.
    pub fn user_event(&mut self, name: &str, payload: &[u8]) -> Result<EventId, UserEventError> {
        if name.len() > EVENT_NAME_BYTES_MAX || name.len() + payload.len() > EVENT_BYTES_MAX {
            return Err(UserEventError::TooLarge);
        }
        if self.engine.custom_broadcast_backlog() >= EVENTS_QUEUED_MAX {
            return Err(UserEventError::Backlogged);
        }
        let (node, incarnation) = (self.identity().node, self.identity().incarnation);
        let id = EventId { node, incarnation, counter: self.user_events_raised + 1 };
        self.engine
            .add_broadcast(&spread::encode(id, name, payload))
            .map_err(|_| UserEventError::TooLarge)?;
        self.user_events_raised += 1;
        Ok(id)
    }

    /// The addresses of live members, to be kept for a restart that finds its seeds gone.
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::encode(self.announced.values().map(|identity| identity.gossip))
    }

    /// Reads what [`Gossip::snapshot`] wrote: addresses to [`Gossip::join`].
    ///
    /// # Errors
    /// If the bytes are damaged or of an unknown version.
    pub fn parse_snapshot(bytes: &[u8]) -> Result<Vec<SocketAddr>, SnapshotError> {
        snapshot::parse(bytes)
    }

    /// Seeds that have not answered yet, and how often they were tried since the last start of trying.
    pub fn seeds_pending(&self) -> impl Iterator<Item = (SocketAddr, u32)> {
        let rounds = self.seeds.rounds();
        self.seeds.pending().filter(|&seed| !self.is_live_address(seed)).map(move |seed| (seed, rounds))
    }

    /// How far this node trusts its own judgement: 0 is healthy, [`LOCAL_HEALTH_MAX`] the worst.
    pub fn local_health(&self) -> u32 {
        self.health.score()
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Opens a datagram and checks that it is new and from somebody we have room for.
    fn admit(&mut self, datagram: &[u8], now: Mono, wall: Wall) -> Result<Vec<u8>, ReceiveError> {
        let opened = self.sealer.open(datagram, wall)?;
        if opened.sender == self.identity().node && opened.incarnation == self.identity().incarnation {
            return Err(ReceiveError::FromOurselves);
        }
        let full = self.engine.iter_membership_state().len() >= MEMBERS_MAX;
        if full && !self.members().any(|(identity, _)| identity.node == opened.sender) {
            return Err(ReceiveError::TooManySenders);
        }
        self.replays.accept(opened.sender, opened.incarnation, opened.counter, now)?;
        self.health.heard_from(opened.sender, now);
        Ok(opened.payload)
    }

    fn is_live_address(&self, address: SocketAddr) -> bool {
        self.announced.values().any(|identity| identity.gossip == address)
    }
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip")
            .field("identity", self.identity())
            .field("live", &self.live_count())
            .field("local_health", &self.local_health())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
