//! A node's present numbers for people: made from its counters each second, and fetched from the others.
//!
//! Others are only asked while somebody here looks at their numbers, so an unwatched cluster exchanges none.

use node::stats::percentile_ns;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Mono, NodeId};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::core::Core;
use super::plane::Sample;
use super::rpc::{Answer, Request};

/// How often the numbers are made anew.
const PERIOD: Duration = Duration::from_secs(1);
/// Others are asked for so long after somebody last looked.
const INTEREST: Duration = Duration::from_secs(10);
/// Longest wait for another node's numbers.
const PATIENCE: Duration = Duration::from_millis(500);
/// Numbers older than this are not shown.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// A node's present numbers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct NodeStats {
    /// Commands per second.
    pub ops_per_second: f64,
    /// Share of reads in the last second that found their key; of all reads so far if there were none.
    pub hit_ratio: f64,
    /// Keys it is primary of.
    pub keys: u64,
    /// Bytes of data held.
    pub memory_bytes: u64,
    /// Latency of commands in the last second, in microseconds; 0 without commands.
    pub latency_us: Percentiles,
    /// Clients connected.
    pub connections: u64,
}

/// Two points of a distribution.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half lie below.
    pub p50: f64,
    /// Ninety-nine of a hundred lie below.
    pub p99: f64,
}

/// The latest numbers of all nodes.
#[derive(Default)]
pub(super) struct Board(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    own: NodeStats,
    others: BTreeMap<NodeId, (Mono, NodeStats)>,
    looked_at: Option<Mono>,
}

impl Board {
    /// This node's numbers.
    pub(super) fn own(&self) -> NodeStats {
        self.0.lock().own.clone()
    }

    /// Everybody's numbers as far as known; keeps the exchange going.
    pub(super) fn all(&self, me: NodeId, now: Mono) -> BTreeMap<NodeId, NodeStats> {
        let mut inner = self.0.lock();
        inner.looked_at = Some(now);
        inner.others.retain(|_, (at, _)| now.since(*at) < STALE_AFTER);
        let others = inner.others.iter().map(|(node, (_, stats))| (*node, stats.clone()));
        others.chain([(me, inner.own.clone())]).collect()
    }

    fn is_watched(&self, now: Mono) -> bool {
        self.0.lock().looked_at.is_some_and(|at| now.since(at) < INTEREST)
    }
}

/// Keeps the board up to date.
pub(super) async fn run(core: Arc<Core>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut at) = (core.plane.sample(), core.clock.mono());
    loop {
        ticks.tick().await;
        let (now, sample) = (core.clock.mono(), core.plane.sample());
        let elapsed = now.since(at);
        if elapsed >= PERIOD / 2 {
            core.board.0.lock().own = difference(&before, &sample, elapsed);
            (before, at) = (sample, now);
        }
        if core.board.is_watched(now) {
            fetch(&core).await;
        }
    }
}

async fn fetch(core: &Arc<Core>) {
    let map = core.raft.map();
    let mut asked = JoinSet::new();
    for member in map.members.values().filter(|member| member.is_alive() && member.node != core.me.node) {
        let answered = core.peers.ask(core.target_of(member.node, member.http), &Request::Stats, PATIENCE);
        let node = member.node;
        asked.spawn(async move { (node, answered.await) });
    }
    while let Some(answered) = asked.join_next().await {
        if let Ok((node, Ok(Answer::Stats(stats)))) = answered {
            core.board.0.lock().others.insert(node, (core.clock.mono(), stats));
        }
    }
}

fn difference(before: &Sample, now: &Sample, elapsed: Duration) -> NodeStats {
    // Counters go back when somebody resets them.
    let grown = |then: u64, now: u64| now.checked_sub(then).unwrap_or(now);
    let ratio = |hits: u64, misses: u64| hits as f64 / (hits + misses) as f64;
    let (hits, misses) = (grown(before.hits, now.hits), grown(before.misses, now.misses));
    let hit_ratio = match (hits + misses, now.hits + now.misses) {
        (0, 0) => 0.0,
        (0, _) => ratio(now.hits, now.misses),
        _ => ratio(hits, misses),
    };
    let latency: Vec<u64> = if before.latency.len() == now.latency.len() {
        before.latency.iter().zip(&now.latency).map(|(then, now)| grown(*then, *now)).collect()
    } else {
        now.latency.clone()
    };
    let micros = |share| percentile_ns(&latency, share) as f64 / 1_000.0;
    NodeStats {
        ops_per_second: grown(before.commands, now.commands) as f64 / elapsed.as_secs_f64(),
        hit_ratio,
        keys: now.keys,
        memory_bytes: now.memory_bytes,
        latency_us: Percentiles { p50: micros(0.5), p99: micros(0.99) },
        connections: now.connections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_last_interval() {
        let sample = |commands, hits, misses| Sample { commands, hits, misses, keys: 5, ..Sample::default() };
        let (before, now) = (sample(1_000, 10, 10), sample(1_500, 40, 20));
        let stats = difference(&before, &now, Duration::from_millis(500));
        assert_eq!((stats.ops_per_second, stats.hit_ratio, stats.keys), (1_000.0, 0.75, 5));
        let idle = difference(&now, &now, Duration::from_secs(1));
        assert_eq!((idle.ops_per_second, idle.hit_ratio), (0.0, 40.0 / 60.0));
        let reset = difference(&now, &sample(100, 0, 0), Duration::from_secs(1));
        assert_eq!((reset.ops_per_second, reset.hit_ratio), (100.0, 0.0));
    }
}
