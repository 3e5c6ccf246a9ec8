//! The driver's reactions: what it does with what the engine asked for and noticed, and on its own timers.
//!
//! Kept apart from the public calls, which decide when; this decides what follows.

use super::config;
use super::effects::{Effects, Note};
use super::report::{Event, MemberState, Outputs};
use super::timers::Due;
use super::{Engine, Gossip, Identity};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use stdx::{Mono, NodeId, Wall};

/// Members believed down that a node without any live member knocks at in one round.
const KNOCKS_DOWN_MAX: usize = 8;

impl Gossip {
    /// Whether the timer would end a suspicion that is over already. The engine leaves such a member alone, but tells
    /// it nevertheless that it is down (foca 2.0.0, `handle_timer`), so that a healthy node would rejoin for nothing.
    pub(super) fn is_refuted(&self, timer: &foca::Timer<Identity>) -> bool {
        let foca::Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer else { return false };
        !self.engine.iter_membership_state().any(|member| {
            member.id() == member_id
                && member.incarnation() == *incarnation
                && member.state() == foca::State::Suspect
        })
    }

    /// Announces to the seeds that have not answered and, when alone, to members believed down: the engine stops
    /// doing that when its last member is gone, and two separated nodes would never find each other again.
    pub(super) fn knock(&mut self, now: Mono) {
        let mut targets: Vec<SocketAddr> = self.seeds_pending().map(|(seed, _)| seed).collect();
        if self.live_count() == 0 {
            let mut down: Vec<&Identity> =
                self.members().filter(|(_, state)| *state == MemberState::Down).map(|(id, _)| id).collect();
            down.sort();
            let start = self.knocks_at_down.checked_rem(down.len()).unwrap_or(0);
            let chosen = down.iter().cycle().skip(start).take(down.len().min(KNOCKS_DOWN_MAX));
            targets.extend(chosen.map(|identity| identity.gossip));
            self.knocks_at_down = start + KNOCKS_DOWN_MAX;
        }
        for target in targets {
            self.note_fault(|engine, effects| engine.announce(Identity::unknown(target), effects));
        }
        let wait = self.seeds.next_round(Duration::from_millis(self.timing.join_retry_ms));
        self.timers.set_join(now + wait);
    }

    pub(super) fn say_farewell(&mut self, now: Mono) {
        let Some(rounds) = self.farewells.as_mut() else { return };
        *rounds = rounds.saturating_sub(1);
        let more = *rounds > 0;
        // Once the news was repeated often enough there is nothing left to say; an empty message would look like life.
        if self.engine.updates_backlog() > 0 {
            self.note_fault(|engine, effects| engine.gossip(effects));
        }
        if more {
            self.timers.add(now + Duration::from_millis(self.timing.gossip_ms), Due::Farewell);
        }
    }

    fn note_fault(&mut self, call: impl FnOnce(&mut Engine, &mut Effects) -> Result<(), foca::Error>) {
        if let Err(error) = call(&mut self.engine, &mut self.effects) {
            self.stats.engine_faults += 1;
            tracing::warn!(%error, "the membership engine could not send");
        }
    }

    /// Carries out what the engine asked for since the last time.
    pub(super) fn carry_out(&mut self, now: Mono, wall: Wall, out: &mut Outputs) {
        for (after, timer) in self.effects.timers.drain(..) {
            self.timers.add(now + after, Due::Engine(timer));
        }
        let own = self.engine.identity().node;
        for (to, message) in self.effects.messages.drain(..) {
            // The engine remembers our former selves as dead members and may try to talk to them.
            if to.node != own {
                let datagram = self.sealer.seal(wall, &message);
                self.stats.sent += 1;
                self.stats.sent_bytes += datagram.len() as u64;
                out.datagrams.push((to.gossip, datagram));
            }
        }
        let mut notes = std::mem::take(&mut self.effects.notes).into_iter().peekable();
        while let Some(note) = notes.next() {
            let down_next = notes.peek().and_then(|next| match next {
                Note::Down(identity) => Some(identity.node),
                _ => None,
            });
            self.react(note, down_next, now, &mut out.events);
        }
        for event in self.inbox.delivered.try_iter() {
            self.stats.user_events += 1;
            out.events.push(event);
        }
        self.inbox.queued.store(self.engine.custom_broadcast_backlog(), Ordering::Relaxed);
        self.tune();
    }

    /// Turns what the engine noticed into events and counters. `down_next` is who the next note says is down.
    fn react(&mut self, note: Note, down_next: Option<NodeId>, now: Mono, events: &mut Vec<Event>) {
        let own = self.engine.identity().node;
        match note {
            Note::Up(identity) if identity.node != own && !identity.leaving => {
                self.announced.insert(identity.node, identity.clone());
                events.push(Event::Up(identity));
            }
            Note::Down(identity) => {
                if self.announced.remove(&identity.node).is_some() {
                    events.push(if identity.leaving { Event::Left(identity) } else { Event::Down(identity) });
                }
            }
            // A farewell is followed by going down, and so may be a late word of a newer self.
            Note::Renamed { new, .. } if new.leaving || down_next == Some(new.node) => {}
            Note::Renamed { old, new } => {
                if let Some(known) = self.announced.get_mut(&new.node) {
                    *known = new.clone();
                    let restarted = old.incarnation != new.incarnation;
                    events.push(Event::Renamed { old, new: new.clone() });
                    if restarted {
                        events.push(Event::Up(new));
                    }
                }
            }
            Note::Rejoined(identity) => {
                self.swim_incarnation = 0;
                events.push(Event::SelfDown(identity));
            }
            Note::Alone if self.farewells.is_none() => {
                self.seeds.start_over();
                self.timers.set_join(now + Duration::from_millis(self.timing.join_retry_ms));
            }
            Note::ProbeAnswered => {
                self.stats.probes_answered += 1;
                self.health.probe_answered();
            }
            Note::ProbeFailed(target) => {
                self.stats.probes_failed += 1;
                self.health.probe_failed(target, Duration::from_millis(self.timing.probe_period_ms), now);
            }
            Note::Incarnation(incarnation) => {
                if incarnation > self.swim_incarnation {
                    self.stats.refutations += 1;
                    self.health.refuted();
                }
                self.swim_incarnation = incarnation;
            }
            Note::Up(_) | Note::Alone => {}
        }
    }

    /// Fits the engine's patience to our health and its persistence to the size of the cluster.
    fn tune(&mut self) {
        let members = self.engine.num_members();
        let wanted = (self.health.score(), config::transmissions(members).get());
        if wanted != self.tuned {
            self.tuned = wanted;
            let config = config::engine_config(&self.timing, members, wanted.0 + 1);
            self.engine.set_config(config).expect("only what the engine lets change at run time differs");
        }
    }
}
