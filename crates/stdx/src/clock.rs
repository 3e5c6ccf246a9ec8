//! Two clocks: a monotonic one for leases and timeouts, and the wall clock for deadlines of keys.
//!
//! A `Clock` is either the system's or one that a test or the simulator moves by hand. This module is the only
//! place that may call `Instant::now` and `SystemTime::now`; `clippy.toml` bans them elsewhere.

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A reading of the monotonic clock in nanoseconds since an arbitrary origin of this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

/// A reading of the wall clock in milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Wall(pub u64);

impl Mono {
    /// Time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whole milliseconds of the reading.
    pub fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole microseconds of the reading.
    pub fn as_micros(self) -> u64 {
        self.0 / 1_000
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, by: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;
    fn sub(self, by: Duration) -> Mono {
        Mono(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The source of both readings; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(Instant),
    Manual(Arc<Manual>),
}

#[derive(Debug, Default)]
struct Manual {
    mono_ns: AtomicU64,
    wall_ms: AtomicU64,
}

impl Clock {
    /// The machine's clocks.
    #[allow(clippy::disallowed_methods)]
    pub fn system() -> Clock {
        Clock(Source::System(Instant::now()))
    }

    /// A clock that stands still at `wall` until [`Clock::advance`] moves it.
    pub fn manual(wall: Wall) -> Clock {
        let manual = Manual::default();
        manual.mono_ns.store(1_000_000_000, Ordering::Relaxed);
        manual.wall_ms.store(wall.0, Ordering::Relaxed);
        Clock(Source::Manual(Arc::new(manual)))
    }

    /// Reads the monotonic clock.
    #[allow(clippy::disallowed_methods)]
    pub fn mono(&self) -> Mono {
        match &self.0 {
            Source::System(origin) => {
                // One second of head start, so that subtracting a short interval never meets zero.
                Mono(1_000_000_000 + u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
            }
            Source::Manual(manual) => Mono(manual.mono_ns.load(Ordering::Relaxed)),
        }
    }

    /// Reads the wall clock.
    #[allow(clippy::disallowed_methods)]
    pub fn wall(&self) -> Wall {
        match &self.0 {
            Source::System(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
            Source::Manual(manual) => Wall(manual.wall_ms.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock forward, both readings alike.
    ///
    /// # Panics
    /// On the system's clock: only tests and the simulator own a clock they may move.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::System(_) => panic!("the system clock cannot be moved"),
            Source::Manual(manual) => {
                let ns = u64::try_from(by.as_nanos()).expect("a test moves the clock by less than 584 years");
                let before = manual.mono_ns.fetch_add(ns, Ordering::Relaxed);
                manual.wall_ms.fetch_add((before + ns) / 1_000_000 - before / 1_000_000, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(Wall(1_000));
        let (mono, wall) = (clock.mono(), clock.wall());
        clock.advance(Duration::from_micros(1_500));
        assert_eq!(clock.mono().since(mono), Duration::from_micros(1_500));
        assert_eq!(clock.wall().0, wall.0 + 1);
        clock.advance(Duration::from_micros(500));
        assert_eq!(clock.wall().0, wall.0 + 2);
    }

    #[test]
    fn system_clock_is_monotonic() {
        let clock = Clock::system();
        let first = clock.mono();
        assert!(clock.mono() >= first);
        assert!(clock.wall().0 > 1_700_000_000_000);
    }
}
