//! How far this node may trust its own judgement (Lifeguard, "Local Health Aware Probe", Dadgar et al. 2017).
//!
//! A slow node takes its own silence for that of others. The score rises when the evidence points at ourselves: a
//! probe failed while nobody else was heard either, peers suspected us, or our process stood still. It falls with
//! each answered probe. Our patience with a suspect is the configured one times `score + 1`. The engine's probe
//! period cannot change while it runs, so suspicion is what is stretched; the nacks of the paper, which the engine does
//! not have, are replaced by "nobody else was heard".

use std::time::Duration;
use stdx::{Mono, NodeId};

/// The worst score.
pub const LOCAL_HEALTH_MAX: u32 = 8;

/// The score and the evidence for the next change.
#[derive(Default, Debug)]
pub(super) struct Health {
    score: u32,
    /// The two most recently heard nodes, the latest first, each once.
    heard: [Option<(NodeId, Mono)>; 2],
}

impl Health {
    /// 0 is healthy, [`LOCAL_HEALTH_MAX`] the worst.
    pub(super) fn score(&self) -> u32 {
        self.score
    }

    pub(super) fn heard_from(&mut self, node: NodeId, now: Mono) {
        match self.heard {
            [Some((latest, _)), _] if latest == node => self.heard[0] = Some((node, now)),
            [latest, _] => self.heard = [Some((node, now)), latest],
        }
    }

    pub(super) fn probe_answered(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// A probe of `target` failed that began `period` ago.
    pub(super) fn probe_failed(&mut self, target: NodeId, period: Duration, now: Mono) {
        let heard_another =
            self.heard.iter().flatten().any(|&(node, at)| node != target && now.since(at) <= period);
        if !heard_another {
            self.worsen(1);
        }
    }

    pub(super) fn refuted(&mut self) {
        self.worsen(1);
    }

    pub(super) fn stood_still(&mut self) {
        self.worsen(2);
    }

    fn worsen(&mut self, by: u32) {
        self.score = (self.score + by).min(LOCAL_HEALTH_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(200);

    #[test]
    fn a_failed_probe_counts_against_us_only_if_nobody_was_heard() {
        let mut health = Health::default();
        let now = Mono(10_000_000_000);
        health.heard_from(NodeId(2), now);
        health.heard_from(NodeId(1), now);
        health.heard_from(NodeId(1), now);
        health.probe_failed(NodeId(1), PERIOD, now);
        assert_eq!(health.score(), 0);
        health.probe_failed(NodeId(1), PERIOD, now + PERIOD + PERIOD);
        assert_eq!(health.score(), 1);
        health.heard_from(NodeId(1), now + PERIOD);
        health.probe_failed(NodeId(1), PERIOD, now + PERIOD + Duration::from_nanos(1));
        assert_eq!(health.score(), 2);
    }

    #[test]
    fn the_score_stays_in_its_range() {
        let mut health = Health::default();
        health.probe_answered();
        assert_eq!(health.score(), 0);
        for _ in 0..20 {
            health.stood_still();
            health.refuted();
        }
        assert_eq!(health.score(), LOCAL_HEALTH_MAX);
        health.probe_answered();
        assert_eq!(health.score(), LOCAL_HEALTH_MAX - 1);
    }
}
