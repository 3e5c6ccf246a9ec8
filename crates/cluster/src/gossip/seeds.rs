//! The addresses we were told to join, and when to knock again.
//!
//! A seed is knocked at until something authentic came from it or a live member has its address: the first knock
//! may be lost, or the seed may start later than we do. That holds also when other members are known already;
//! otherwise two halves of a cluster that started together could stay apart. After losing every member, all seeds
//! count as unanswered again.

use std::net::SocketAddr;
use std::time::Duration;

/// Most seeds a node remembers.
pub const SEEDS_MAX: usize = 64;

/// Knocks at the short period before the long one begins.
const KNOCKS_SHORT: u32 = 20;
/// The long period in short ones.
const LONG_PERIOD_FACTOR: u32 = 10;

#[derive(Debug)]
struct Seed {
    address: SocketAddr,
    answered: bool,
}

/// The seeds and the pace of knocking.
#[derive(Default, Debug)]
pub(super) struct Seeds {
    seeds: Vec<Seed>,
    rounds: u32,
}

impl Seeds {
    /// Adds a seed, which starts knocking afresh; false if there are too many.
    pub(super) fn add(&mut self, address: SocketAddr) -> bool {
        self.rounds = 0;
        if let Some(seed) = self.seeds.iter_mut().find(|seed| seed.address == address) {
            seed.answered = false;
            return true;
        }
        let room = self.seeds.len() < SEEDS_MAX;
        if room {
            self.seeds.push(Seed { address, answered: false });
        }
        room
    }

    pub(super) fn answered(&mut self, from: SocketAddr) {
        for seed in self.seeds.iter_mut().filter(|seed| seed.address == from) {
            seed.answered = true;
        }
    }

    /// Every member was lost.
    pub(super) fn start_over(&mut self) {
        self.rounds = 0;
        for seed in &mut self.seeds {
            seed.answered = false;
        }
    }

    /// Seeds that have not answered.
    pub(super) fn pending(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.seeds.iter().filter(|seed| !seed.answered).map(|seed| seed.address)
    }

    /// Counts a round of knocking and says when the next one is due.
    pub(super) fn next_round(&mut self, period: Duration) -> Duration {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds < KNOCKS_SHORT { period } else { period * LONG_PERIOD_FACTOR }
    }

    /// Rounds of knocking since the last start.
    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn knocks_until_answered_and_again_after_losing_everybody() {
        let mut seeds = Seeds::default();
        assert!(seeds.add(address(1)) && seeds.add(address(2)) && seeds.add(address(1)));
        seeds.answered(address(1));
        assert_eq!(seeds.pending().collect::<Vec<_>>(), [address(2)]);
        seeds.start_over();
        assert_eq!(seeds.pending().count(), 2);
    }

    #[test]
    fn knocks_slow_down_and_are_bounded() {
        let mut seeds = Seeds::default();
        let period = Duration::from_millis(500);
        let waits: Vec<Duration> = (0..KNOCKS_SHORT).map(|_| seeds.next_round(period)).collect();
        assert_eq!((waits[0], waits[19]), (period, period * 10));
        assert!((0..SEEDS_MAX as u16).all(|port| seeds.add(address(port))));
        assert!(!seeds.add(address(u16::MAX)));
    }
}
