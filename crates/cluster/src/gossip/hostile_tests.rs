//! Whatever arrives, the driver neither panics nor changes its view without reason.
//!
//! Random bytes rarely get past the envelope, so the inner message is attacked as well: random and mutated messages
//! are put into genuine envelopes, as a broken or malicious holder of the secret could do.

use super::*;
use proptest::prelude::*;

const NOW: Mono = Mono(1_000_000_000);
const WALL: Wall = Wall(1_800_000_000_000);

fn address(node: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(7_000 + node).expect("a small node id")))
}

fn node(node: u64, secret: Option<&[u8]>) -> Gossip {
    let identity =
        Identity::new(NodeId(node), 1, format!("n{node}"), address(node), address(node), address(node));
    let mut config = Config::new(identity, secret.map(<[u8]>::to_vec), node);
    config.nonces = Nonces::Seeded;
    Gossip::new(config, NOW).expect("a good configuration")
}

/// Two nodes that know each other, and the datagrams they exchanged.
fn acquainted(secret: Option<&[u8]>) -> (Gossip, Gossip, Vec<Vec<u8>>) {
    let (mut one, mut two) = (node(1, secret), node(2, secret));
    let mut seen = Vec::new();
    assert!(one.join(address(2), NOW));
    let (mut from_one, mut from_two) = (Outputs::default(), Outputs::default());
    for step in 0..40 {
        let now = NOW + Duration::from_millis(50 * step);
        one.tick(now, WALL, &mut from_one);
        two.tick(now, WALL, &mut from_two);
        for (_, datagram) in std::mem::take(&mut from_one.datagrams) {
            seen.push(datagram.clone());
            two.receive(address(1), &datagram, now, WALL, &mut from_two).expect("a genuine datagram");
        }
        for (_, datagram) in std::mem::take(&mut from_two.datagrams) {
            seen.push(datagram.clone());
            one.receive(address(2), &datagram, now, WALL, &mut from_one).expect("a genuine datagram");
        }
    }
    assert_eq!((one.live_count(), two.live_count()), (1, 1));
    (one, two, seen)
}

#[test]
fn a_replayed_datagram_is_refused_and_counted() {
    for secret in [None, Some(&b"secret"[..])] {
        let (mut one, mut two, seen) = acquainted(secret);
        let mut out = Outputs::default();
        for datagram in &seen {
            for receiver in [&mut one, &mut two] {
                let result = receiver.receive(address(9), datagram, NOW, WALL, &mut out);
                assert!(
                    matches!(result, Err(ReceiveError::Replayed | ReceiveError::FromOurselves)),
                    "{result:?}"
                );
            }
        }
        assert!(one.stats().rejected_replay > 0);
        assert_eq!(one.stats().rejected_replay + two.stats().rejected_replay, seen.len() as u64);
        assert_eq!(out.events, []);
        assert_eq!(out.datagrams, []);
    }
}

#[test]
fn refusals_are_counted_by_reason() {
    let (mut one, _, _) = acquainted(Some(b"secret"));
    let mut out = Outputs::default();
    let mut refuse = |datagram: &[u8]| one.receive(address(9), datagram, NOW, WALL, &mut out).is_err();
    let mut other = Sealer::new(NodeId(9), 1, Some(b"other"), Nonces::Seeded, 1);
    let mut plain = Sealer::new(NodeId(9), 1, None, Nonces::Seeded, 1);
    let mut same = Sealer::new(NodeId(9), 1, Some(b"secret"), Nonces::Seeded, 1);
    assert!(refuse(&other.seal(WALL, b"m")));
    assert!(refuse(&plain.seal(WALL, b"m")));
    assert!(refuse(&same.seal(Wall(WALL.0 - CLOCK_WINDOW_MS - 1), b"m")));
    assert!(refuse(&same.seal(WALL, b"not a message")));
    assert!(refuse(b"short"));
    assert!(refuse(&[0; DATAGRAM_BYTES_MAX + 1]));
    let stats = one.stats();
    assert_eq!((stats.rejected_auth, stats.rejected_skew, stats.rejected_malformed), (2, 1, 3));
}

#[test]
fn a_full_table_refuses_strangers_but_not_members() {
    let (mut one, mut two, _) = acquainted(None);
    let mut out = Outputs::default();
    for stranger in 10..10 + 2 * MEMBERS_MAX as u64 {
        let address = SocketAddr::from(([10, 0, (stranger >> 8) as u8, stranger as u8], 1));
        let identity = Identity::new(NodeId(stranger), 1, "s", address, address, address);
        let mut gossip =
            Gossip::new(Config::new(identity, None, stranger), NOW).expect("a good configuration");
        let mut knock = Outputs::default();
        assert!(gossip.join(super::hostile_tests::address(1), NOW));
        gossip.tick(NOW, WALL, &mut knock);
        for (_, datagram) in knock.datagrams {
            let result = one.receive(address, &datagram, NOW, WALL, &mut out);
            let full = stranger - 10 + 1 >= MEMBERS_MAX as u64;
            assert_eq!(result.is_err(), full, "{stranger}: {result:?}");
        }
    }
    assert_eq!(one.members().count(), MEMBERS_MAX);
    let mut known = Outputs::default();
    two.tick(NOW + Duration::from_secs(60), WALL, &mut known);
    assert!(!known.datagrams.is_empty());
    for (_, datagram) in known.datagrams {
        one.receive(address(2), &datagram, NOW, WALL, &mut out).expect("a known member is heard");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_datagrams_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1_500), sealed: bool) {
        let mut gossip = node(1, sealed.then_some(b"secret"));
        let mut out = Outputs::default();
        prop_assert!(gossip.receive(address(9), &bytes, NOW, WALL, &mut out).is_err());
        prop_assert!(out.events.is_empty() && out.datagrams.is_empty());
    }

    #[test]
    fn random_messages_in_genuine_envelopes_do_no_harm(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 1..8),
    ) {
        let mut gossip = node(1, Some(b"secret"));
        let mut sender = Sealer::new(NodeId(9), 1, Some(b"secret"), Nonces::Seeded, 1);
        let mut out = Outputs::default();
        for message in messages {
            let datagram = sender.seal(WALL, &message);
            // Whether it is refused depends on the bytes; that it returns is what is tested.
            let _ = gossip.receive(address(9), &datagram, NOW, WALL, &mut out);
        }
        gossip.tick(NOW + Duration::from_secs(1), WALL, &mut out);
        prop_assert!(gossip.stats().received > 0);
    }

    #[test]
    fn mutated_messages_in_genuine_envelopes_do_no_harm(
        picks in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), any::<u8>()), 1..64),
    ) {
        let (mut one, two, seen) = acquainted(Some(b"secret"));
        let mut forger = Sealer::new(NodeId(2), 77, Some(b"secret"), Nonces::Seeded, 1);
        let mut out = Outputs::default();
        for (number, (which, at, value)) in picks.into_iter().enumerate() {
            let datagram: &Vec<u8> = which.get(&seen);
            let opened = two.sealer.open(datagram, WALL).expect("a genuine datagram opens");
            let mut message = opened.payload;
            let at = at.index(message.len());
            message[at] = value;
            let now = NOW + Duration::from_secs(2) + Duration::from_millis(30 * number as u64);
            // As above: any answer will do, as long as there is one.
            let _ = one.receive(address(2), &forger.seal(WALL, &message), now, WALL, &mut out);
            one.tick(now, WALL, &mut out);
        }
        prop_assert!(out.datagrams.iter().all(|(_, datagram)| datagram.len() <= DATAGRAM_BYTES_MAX));
    }
}
