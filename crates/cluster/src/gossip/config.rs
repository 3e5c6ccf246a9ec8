//! What a node must say to take part, and the timing of the protocol.

use super::identity::{Identity, NAME_BYTES_MAX, NODE_UNKNOWN};
use super::seal::PAYLOAD_BYTES_MAX;
use std::fmt;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// Periods and counts of the protocol.
///
/// The defaults notice a dead process in 1.1 to 1.4 s on a local network and declare nobody dead at 10% loss.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timing {
    /// A random member is probed once per period; without an answer at its end the member is suspected.
    pub probe_period_ms: u64,
    /// Wait for a direct answer before other members are asked to probe; less than half the period.
    pub probe_rtt_ms: u64,
    /// A suspected member that has not refuted by then is declared down.
    pub suspect_ms: u64,
    /// News is passed on once per period, if there is any.
    pub gossip_ms: u64,
    /// Members that hear the news each time.
    pub gossip_fanout: usize,
    /// Members that are asked to probe on our behalf.
    pub indirect_probes: usize,
    /// A random member is asked for its list of members once per period.
    pub announce_ms: u64,
    /// Members believed down are tried again once per period, which heals partitions.
    pub announce_down_ms: u64,
    /// A member that is down is forgotten after this long.
    pub forget_down_ms: u64,
    /// Seeds that have not answered are tried again once per period.
    pub join_retry_ms: u64,
    /// Rounds of gossip, one per `gossip_ms`, in which a leaving node says so.
    pub leave_rounds: u32,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            probe_period_ms: 200,
            probe_rtt_ms: 70,
            suspect_ms: 800,
            gossip_ms: 50,
            gossip_fanout: 3,
            indirect_probes: 3,
            announce_ms: 5_000,
            announce_down_ms: 2_000,
            forget_down_ms: 24 * 60 * 60 * 1_000,
            join_retry_ms: 500,
            leave_rounds: 5,
        }
    }
}

/// Where the nonces of sealed datagrams come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nonces {
    /// The operating system: the only safe choice outside tests.
    Entropy,
    /// The generator seeded by [`Config::seed`], so that a test repeats to the byte.
    Seeded,
}

/// What a [`Gossip`](super::Gossip) is made from.
#[derive(Clone)]
pub struct Config {
    /// This process.
    pub identity: Identity,
    /// The cluster secret; without one, datagrams are neither encrypted nor authenticated.
    pub secret: Option<Vec<u8>>,
    /// Periods of the protocol.
    pub timing: Timing,
    /// Seed of every random choice of the protocol; from the operating system in production.
    pub seed: u64,
    /// Source of nonces.
    pub nonces: Nonces,
}

impl Config {
    /// A configuration with default timing and nonces from the operating system.
    pub fn new(identity: Identity, secret: Option<Vec<u8>>, seed: u64) -> Config {
        Config { identity, secret, timing: Timing::default(), seed, nonces: Nonces::Entropy }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let timing = &self.timing;
        let periods = [
            timing.probe_rtt_ms,
            timing.suspect_ms,
            timing.gossip_ms,
            timing.announce_ms,
            timing.announce_down_ms,
            timing.forget_down_ms,
            timing.join_retry_ms,
        ];
        if self.identity.node == NODE_UNKNOWN {
            Err(ConfigError::NodeZero)
        } else if self.identity.name.len() > NAME_BYTES_MAX {
            Err(ConfigError::NameTooLong)
        } else if self.identity.gossip.ip().is_unspecified() || self.identity.gossip.port() == 0 {
            Err(ConfigError::AddressNotReachable)
        } else if self.secret.as_ref().is_some_and(Vec::is_empty) {
            Err(ConfigError::SecretEmpty)
        } else if periods.contains(&0) || timing.gossip_fanout == 0 || timing.indirect_probes == 0 {
            Err(ConfigError::TimingZero)
        } else if timing.probe_rtt_ms.saturating_mul(2) > timing.probe_period_ms {
            Err(ConfigError::ProbeRttTooLong)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Config {
    /// Leaves the secret out, so that no log can show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("identity", &self.identity)
            .field("sealed", &self.secret.is_some())
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

/// Why a configuration cannot work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// Node id 0 is reserved.
    NodeZero,
    /// The name is longer than [`NAME_BYTES_MAX`].
    NameTooLong,
    /// The gossip address is a wildcard or has port 0: peers could not answer.
    AddressNotReachable,
    /// A secret of no bytes would only look like one.
    SecretEmpty,
    /// A period or count is zero.
    TimingZero,
    /// The probe period leaves no time for indirect probes.
    ProbeRttTooLong,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::NodeZero => f.write_str("node id 0 is reserved"),
            ConfigError::NameTooLong => write!(f, "the node's name is longer than {NAME_BYTES_MAX} bytes"),
            ConfigError::AddressNotReachable => {
                f.write_str("the advertised gossip address needs a real IP and a port that peers can reach")
            }
            ConfigError::SecretEmpty => f.write_str("the cluster secret is empty"),
            ConfigError::TimingZero => f.write_str("no gossip period or count may be zero"),
            ConfigError::ProbeRttTooLong => {
                f.write_str("the probe round trip must be at most half of the probe period")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// The engine's configuration for a cluster of `members` and our own patience `suspect_factor`.
pub(super) fn engine_config(timing: &Timing, members: usize, suspect_factor: u32) -> foca::Config {
    let periodic = |period_ms: u64, count: usize| {
        Some(foca::PeriodicParams {
            frequency: Duration::from_millis(period_ms),
            num_members: count_of(count),
        })
    };
    foca::Config {
        probe_period: Duration::from_millis(timing.probe_period_ms),
        probe_rtt: Duration::from_millis(timing.probe_rtt_ms),
        num_indirect_probes: count_of(timing.indirect_probes),
        max_transmissions: transmissions(members),
        suspect_to_down_after: Duration::from_millis(timing.suspect_ms) * suspect_factor,
        remove_down_after: Some(Duration::from_millis(timing.forget_down_ms)),
        max_packet_size: count_of(PAYLOAD_BYTES_MAX),
        notify_down_members: true,
        periodic_announce: periodic(timing.announce_ms, 1),
        periodic_announce_to_down_members: periodic(timing.announce_down_ms, 2),
        periodic_gossip: periodic(timing.gossip_ms, timing.gossip_fanout),
    }
}

/// How often each node repeats a piece of news: 4 * ceil(log2(members + 2)), enough for everybody to hear it at 10%
/// loss (SWIM, section 4.1: a small multiple of log n).
pub(super) fn transmissions(members: usize) -> NonZeroU8 {
    let log2 = (members + 2).next_power_of_two().trailing_zeros();
    u8::try_from(4 * log2).ok().and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MAX)
}

fn count_of(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::NodeId;

    fn config(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let address = "127.0.0.1:7946".parse().expect("an address");
        let mut config = Config::new(Identity::new(NodeId(1), 1, "n", address, address, address), None, 1);
        change(&mut config);
        config.validate()
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(config(|_| ()), Ok(()));
        assert_eq!(config(|c| c.identity.node = NodeId(0)), Err(ConfigError::NodeZero));
        assert_eq!(config(|c| c.identity.name = "x".repeat(65)), Err(ConfigError::NameTooLong));
        assert_eq!(config(|c| c.identity.gossip.set_port(0)), Err(ConfigError::AddressNotReachable));
        assert_eq!(config(|c| c.secret = Some(Vec::new())), Err(ConfigError::SecretEmpty));
        assert_eq!(config(|c| c.timing.gossip_ms = 0), Err(ConfigError::TimingZero));
        assert_eq!(config(|c| c.timing.probe_rtt_ms = 101), Err(ConfigError::ProbeRttTooLong));
    }

    #[test]
    fn news_is_repeated_more_often_in_a_larger_cluster() {
        assert_eq!([0, 2, 4, 19, 1_000].map(|n| transmissions(n).get()), [4, 8, 12, 20, 40]);
    }

    #[test]
    fn a_printed_config_does_not_show_the_secret() {
        let address = "127.0.0.1:7946".parse().expect("an address");
        let identity = Identity::new(NodeId(1), 1, "n", address, address, address);
        let shown = format!("{:?}", Config::new(identity, Some(b"hush".to_vec()), 1));
        assert!(shown.contains("sealed: true") && !shown.contains("secret"), "{shown}");
    }
}
