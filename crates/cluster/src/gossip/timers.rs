//! The queue of things due, in strict order of deadline.
//!
//! The engine requires its timers in order: the indirect probes of a cycle before the end of that cycle. Timers due
//! at the same instant keep the engine's own order of kinds, then the order in which they were set.

use super::identity::Identity;
use foca::Timer;
use std::collections::BTreeMap;
use std::time::Duration;
use stdx::{Mono, NodeId};

/// Something that has to happen at a time.
#[derive(Debug)]
pub(super) enum Due {
    /// Hand the timer back to the engine.
    Engine(Timer<Identity>),
    /// Announce to seeds that have not answered.
    Join,
    /// Say once more that we leave.
    Farewell,
}

impl Due {
    fn rank(&self) -> u8 {
        match self {
            Due::Engine(Timer::SendIndirectProbe { .. }) => 0,
            Due::Engine(Timer::ProbeRandomMember(_)) => 1,
            Due::Engine(Timer::ChangeSuspectToDown { .. }) => 2,
            Due::Engine(Timer::PeriodicAnnounce(_)) => 3,
            Due::Engine(Timer::PeriodicGossip(_)) => 4,
            Due::Engine(Timer::RemoveDown(_)) => 5,
            Due::Engine(Timer::PeriodicAnnounceDown(_)) => 6,
            Due::Join | Due::Farewell => 7,
        }
    }

    fn forgets(&self) -> Option<NodeId> {
        match self {
            Due::Engine(Timer::RemoveDown(identity)) => Some(identity.node),
            _ => None,
        }
    }
}

/// Timers by deadline.
///
/// Bounded without a limit of its own: forgetting is queued once per node, suspicions number at most one per probe
/// period of the longest patience, and everything else exists once or twice.
#[derive(Default, Debug)]
pub(super) struct Timers {
    queue: BTreeMap<(Mono, u8, u64), Due>,
    set: u64,
}

impl Timers {
    pub(super) fn add(&mut self, deadline: Mono, due: Due) {
        if let Some(node) = due.forgets() {
            // The engine holds one entry per node, so only the latest order to forget it means anything.
            self.queue.retain(|_, queued| queued.forgets() != Some(node));
        }
        self.set += 1;
        self.queue.insert((deadline, due.rank(), self.set), due);
    }

    /// Sets the one join timer.
    pub(super) fn set_join(&mut self, deadline: Mono) {
        self.queue.retain(|_, queued| !matches!(queued, Due::Join));
        self.add(deadline, Due::Join);
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.queue.first_key_value().map(|((deadline, _, _), _)| *deadline)
    }

    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Due> {
        let first = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    /// How late the first timer is that others' lives depend on.
    pub(super) fn lateness(&self, now: Mono) -> Duration {
        let first = self.queue.iter().find(|(_, due)| due.forgets().is_none());
        first.map_or(Duration::ZERO, |((deadline, _, _), _)| now.since(*deadline))
    }

    /// Moves everything but forgetting into the future, in unchanged order.
    pub(super) fn postpone(&mut self, by: Duration) {
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue
            .into_iter()
            .map(|((deadline, rank, set), due)| {
                let deadline = if due.forgets().is_some() { deadline } else { deadline + by };
                ((deadline, rank, set), due)
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forget(node: u64) -> Due {
        let address = "127.0.0.1:1".parse().expect("an address");
        Due::Engine(Timer::RemoveDown(Identity::new(NodeId(node), 1, "n", address, address, address)))
    }

    #[test]
    fn due_in_order_of_deadline_then_kind_then_age() {
        let mut timers = Timers::default();
        timers.add(Mono(20), Due::Engine(Timer::ProbeRandomMember(1)));
        timers.add(Mono(10), Due::Farewell);
        timers.add(Mono(20), Due::Engine(Timer::PeriodicGossip(1)));
        timers.add(Mono(20), Due::Engine(Timer::ProbeRandomMember(2)));
        timers.add(Mono(30), Due::Join);
        assert_eq!(timers.next_deadline(), Some(Mono(10)));
        let mut fired = Vec::new();
        while let Some(due) = timers.pop_due(Mono(20)) {
            fired.push(format!("{due:?}"));
        }
        let expected = [
            "Farewell",
            "Engine(ProbeRandomMember(1))",
            "Engine(ProbeRandomMember(2))",
            "Engine(PeriodicGossip(1))",
        ];
        assert_eq!(fired, expected);
        assert_eq!(timers.next_deadline(), Some(Mono(30)));
    }

    #[test]
    fn standing_still_is_added_to_every_deadline_but_forgetting() {
        let mut timers = Timers::default();
        timers.add(Mono(5), forget(1));
        timers.add(Mono(10), Due::Engine(Timer::ProbeRandomMember(1)));
        timers.add(Mono(15), Due::Farewell);
        let late = timers.lateness(Mono(100));
        assert_eq!(late, Duration::from_nanos(90));
        timers.postpone(late);
        assert!(matches!(timers.pop_due(Mono(100)), Some(Due::Engine(Timer::RemoveDown(_)))));
        assert!(matches!(timers.pop_due(Mono(100)), Some(Due::Engine(Timer::ProbeRandomMember(_)))));
        assert!(timers.pop_due(Mono(104)).is_none());
        assert!(matches!(timers.pop_due(Mono(105)), Some(Due::Farewell)));
    }

    #[test]
    fn a_node_is_forgotten_once_and_joining_has_one_timer() {
        let mut timers = Timers::default();
        for deadline in 0..10 {
            timers.add(Mono(deadline), forget(1));
            timers.set_join(Mono(deadline));
        }
        timers.add(Mono(3), forget(2));
        assert_eq!(timers.queue.len(), 3);
    }
}
