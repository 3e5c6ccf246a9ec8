//! The seeds as they were configured: names to be resolved, again and again while nobody answers there.

use cluster::gossip::Gossip;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use stdx::Mono;
use tokio::net::lookup_host;
use tokio::sync::mpsc;

use super::super::events::EventBus;
use super::seconds;
use crate::config::HostPort;

/// Pause between look-ups of a name behind which nobody has answered; doubled each time.
const RESOLVE_MIN: Duration = Duration::from_secs(1);
/// Longest such pause.
const RESOLVE_MAX: Duration = Duration::from_secs(30);
/// Silence of a seed before the first warning, and between the first and the second; doubled each time.
const WARN_MIN: Duration = Duration::from_secs(2);
/// Longest pause between warnings.
const WARN_MAX: Duration = Duration::from_secs(60);
/// Addresses of one name that are used.
const ADDRESSES_MAX: usize = 16;

/// The result of a look-up: which seed, and what was found.
pub(super) type Resolved = (usize, io::Result<Vec<SocketAddr>>);

struct Seed {
    at: HostPort,
    addresses: Vec<SocketAddr>,
    error: Option<String>,
    resolving: bool,
    resolve_at: Mono,
    resolve_pause: Duration,
    /// Since when nobody has answered there; `None` while somebody does.
    silent_since: Option<Mono>,
    warn_at: Mono,
    warn_pause: Duration,
}

/// All seeds.
pub(super) struct SeedBook {
    seeds: Vec<Seed>,
    own: SocketAddr,
    found: mpsc::Sender<Resolved>,
    finds: mpsc::Receiver<Resolved>,
}

impl SeedBook {
    pub(super) fn new(seeds: Vec<HostPort>, own: SocketAddr, now: Mono) -> SeedBook {
        let (found, finds) = mpsc::channel(seeds.len().max(1));
        let seed = |at| Seed {
            at,
            addresses: Vec::new(),
            error: None,
            resolving: false,
            resolve_at: now,
            resolve_pause: RESOLVE_MIN,
            silent_since: Some(now),
            warn_at: now + WARN_MIN,
            warn_pause: WARN_MIN,
        };
        SeedBook { seeds: seeds.into_iter().map(seed).collect(), own, found, finds }
    }

    /// The next finished look-up.
    pub(super) async fn resolved(&mut self) -> Resolved {
        self.finds.recv().await.expect("this book holds a sender")
    }

    /// Knocks at what was found.
    pub(super) fn take(&mut self, (index, found): Resolved, gossip: &mut Gossip, now: Mono) {
        let seed = &mut self.seeds[index];
        seed.resolving = false;
        seed.resolve_at = now + seed.resolve_pause;
        seed.resolve_pause = (seed.resolve_pause * 2).min(RESOLVE_MAX);
        match found {
            Ok(found) => {
                seed.error = found.is_empty().then(|| "the name has no address".to_owned());
                for address in &found {
                    if !seed.addresses.contains(address) && !gossip.join(*address, now) {
                        tracing::warn!(seed = %seed.at, %address, "too many seeds; this one is not used");
                    }
                }
                seed.addresses = found;
            }
            Err(error) => seed.error = Some(error.to_string()),
        }
    }

    /// Looks up what has not answered, and says so when that lasts.
    pub(super) fn look(&mut self, gossip: &Gossip, now: Mono, events: &EventBus) {
        let pending: Vec<SocketAddr> = gossip.seeds_pending().map(|(address, _)| address).collect();
        for (index, seed) in self.seeds.iter_mut().enumerate() {
            let answers = |address: &SocketAddr| *address != self.own && !pending.contains(address);
            // A name may lead to nobody but ourselves until the others are started: look again until we know somebody.
            let only_own =
                !seed.addresses.is_empty() && seed.addresses.iter().all(|address| *address == self.own);
            if seed.addresses.iter().any(answers) || (only_own && gossip.live_count() > 0) {
                seed.silent_since = None;
                continue;
            }
            let since = *seed.silent_since.get_or_insert_with(|| {
                (seed.warn_pause, seed.resolve_pause, seed.resolve_at) = (WARN_MIN, RESOLVE_MIN, now);
                seed.warn_at = now + WARN_MIN;
                now
            });
            if !seed.resolving && now >= seed.resolve_at {
                seed.resolving = true;
                let (found, at) = (self.found.clone(), seed.at.clone());
                tokio::spawn(async move {
                    let addresses = lookup_host((at.host.as_str(), at.port)).await;
                    let addresses = addresses.map(|found| found.take(ADDRESSES_MAX).collect());
                    // Fails only once the book is gone.
                    let _ = found.send((index, addresses)).await;
                });
            }
            if now >= seed.warn_at {
                let nobody = if only_own { "that is this node itself" } else { "nobody answers there" };
                let reason = seed.error.clone().unwrap_or_else(|| nobody.to_owned());
                let silent = seconds(now, since);
                events.warn(format!("seed {} cannot be reached for {silent} s: {reason}", seed.at));
                seed.warn_at = now + seed.warn_pause;
                seed.warn_pause = (seed.warn_pause * 2).min(WARN_MAX);
            }
        }
    }
}
