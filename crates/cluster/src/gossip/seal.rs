//! A datagram's envelope: who sent it and when, sealed under the cluster secret if there is one.
//!
//! ```text
//! version u8 | mode u8 | key id u8 | sender u64 | incarnation u64 | wall ms u64 | counter u64      35 bytes, in the open
//! mode 0, plain:  message | CRC32C of all before it
//! mode 1, sealed: nonce, 12 bytes | message, encrypted | tag, 16 bytes
//! ```
//!
//! Sealing is ChaCha20-Poly1305 (RFC 8439) with the open header as associated data and a random nonce: with one key
//! for the cluster, even 2^36 datagrams, a year of a busy one, meet the same nonce twice with odds of 2^-25. The key is
//! derived from the secret with HKDF-SHA256 (RFC 5869), so the same secret may serve other purposes. A node with a
//! secret takes sealed datagrams only, one without takes plain ones only. The checksum of plain mode finds damage,
//! not malice.
//!
//! Left out: changing the secret while the cluster runs (the key id has room for it).

use super::config::Nonces;
use super::report::ReceiveError;
use super::wire::{DecodeError, Reader};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use stdx::{NodeId, Random, Wall, random};

/// Largest datagram sent or accepted: fits an Ethernet frame with room for a tunnel's headers.
pub const DATAGRAM_BYTES_MAX: usize = 1_400;
/// How far the wall clocks of two nodes may differ, and how long a datagram may be under way.
pub const CLOCK_WINDOW_MS: u64 = 30_000;

const VERSION: u8 = 1;
const MODE_PLAIN: u8 = 0;
const MODE_SEALED: u8 = 1;
const HEADER_BYTES: usize = 3 + 4 * 8;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;
/// Largest message that fits a sealed datagram.
pub(super) const PAYLOAD_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - NONCE_BYTES - TAG_BYTES;

/// What was in an envelope that proved genuine.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Opened {
    pub(super) sender: NodeId,
    pub(super) incarnation: u64,
    pub(super) counter: u64,
    pub(super) payload: Vec<u8>,
}

/// Seals what this process sends and opens what it receives.
pub(super) struct Sealer {
    node: NodeId,
    incarnation: u64,
    lock: Option<Lock>,
    counter: u64,
    nonces: Option<Random>,
}

struct Lock {
    cipher: ChaCha20Poly1305,
    key_id: u8,
}

impl Sealer {
    pub(super) fn new(
        node: NodeId,
        incarnation: u64,
        secret: Option<&[u8]>,
        nonces: Nonces,
        seed: u64,
    ) -> Sealer {
        let nonces = match nonces {
            Nonces::Entropy => None,
            Nonces::Seeded => Some(Random::seeded(seed)),
        };
        Sealer { node, incarnation, lock: secret.map(Lock::new), counter: 0, nonces }
    }

    /// Wraps `payload`, at most [`PAYLOAD_BYTES_MAX`] bytes.
    pub(super) fn seal(&mut self, wall: Wall, payload: &[u8]) -> Vec<u8> {
        debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        self.counter += 1;
        let (mode, key_id) = self.lock.as_ref().map_or((MODE_PLAIN, 0), |lock| (MODE_SEALED, lock.key_id));
        let mut out = Vec::with_capacity(HEADER_BYTES + NONCE_BYTES + payload.len() + TAG_BYTES);
        out.extend_from_slice(&[VERSION, mode, key_id]);
        for word in [self.node.0, self.incarnation, wall.0, self.counter] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        let Some(lock) = &self.lock else {
            out.extend_from_slice(payload);
            out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
            return out;
        };
        let mut nonce = [0; NONCE_BYTES];
        match &mut self.nonces {
            Some(random) => random.fill(&mut nonce),
            None => random::entropy(&mut nonce),
        }
        let sealed = lock
            .cipher
            .encrypt(Nonce::from_slice(&nonce), Payload { msg: payload, aad: &out })
            .expect("a message of a datagram is far below the cipher's limit of 256 GiB");
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens a datagram. Says nothing about replays: that takes memory, which only the genuine may claim.
    pub(super) fn open(&self, datagram: &[u8], wall: Wall) -> Result<Opened, ReceiveError> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(ReceiveError::Malformed("too long"));
        }
        let (header, body) =
            datagram.split_at_checked(HEADER_BYTES).ok_or(ReceiveError::Malformed("too short"))?;
        let mut reader = Reader::new(header);
        let version = reader.u8().map_err(short)?;
        if version != VERSION {
            return Err(ReceiveError::Version(version));
        }
        let mode = reader.u8().map_err(short)?;
        let key_id = reader.u8().map_err(short)?;
        let sender = NodeId(reader.u64().map_err(short)?);
        let incarnation = reader.u64().map_err(short)?;
        let sent_at = Wall(reader.u64().map_err(short)?);
        let counter = reader.u64().map_err(short)?;
        let payload = match (mode, &self.lock) {
            (MODE_PLAIN, None) => open_plain(datagram, body)?,
            (MODE_SEALED, Some(lock)) => lock.open(key_id, header, body)?,
            (MODE_PLAIN, Some(_)) => return Err(ReceiveError::Mode { sealed: false }),
            (MODE_SEALED, None) => return Err(ReceiveError::Mode { sealed: true }),
            _ => return Err(ReceiveError::Malformed("unknown mode")),
        };
        let apart_ms = sent_at.0.abs_diff(wall.0);
        // Plain datagrams can be forged anyway; asking for set clocks there would only get in the way.
        if self.lock.is_some() && apart_ms > CLOCK_WINDOW_MS {
            return Err(ReceiveError::Skew { apart_ms });
        }
        Ok(Opened { sender, incarnation, counter, payload })
    }
}

impl Lock {
    fn new(secret: &[u8]) -> Lock {
        let mut okm = [0; 33];
        let extracted = hmac(b"hypercache", &[secret]);
        let first = hmac(&extracted, &[b"gossip v1", &[1]]);
        let second = hmac(&extracted, &[&first, b"gossip v1", &[2]]);
        okm[..32].copy_from_slice(&first);
        okm[32] = second[0];
        Lock { cipher: ChaCha20Poly1305::new(Key::from_slice(&okm[..32])), key_id: okm[32] }
    }

    fn open(&self, key_id: u8, header: &[u8], body: &[u8]) -> Result<Vec<u8>, ReceiveError> {
        let (nonce, sealed) =
            body.split_at_checked(NONCE_BYTES).ok_or(ReceiveError::Malformed("too short"))?;
        if key_id != self.key_id {
            return Err(ReceiveError::Authentication);
        }
        self.cipher
            .decrypt(Nonce::from_slice(nonce), Payload { msg: sealed, aad: header })
            .map_err(|_| ReceiveError::Authentication)
    }
}

fn open_plain(datagram: &[u8], body: &[u8]) -> Result<Vec<u8>, ReceiveError> {
    let (payload, checksum) =
        body.split_last_chunk::<CHECKSUM_BYTES>().ok_or(ReceiveError::Malformed("too short"))?;
    let covered = datagram.get(..datagram.len() - CHECKSUM_BYTES).unwrap_or_default();
    if crc32c::crc32c(covered) != u32::from_be_bytes(*checksum) {
        return Err(ReceiveError::Malformed("checksum"));
    }
    Ok(payload.to_vec())
}

fn short(_: DecodeError) -> ReceiveError {
    ReceiveError::Malformed("too short")
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(node: u64, secret: Option<&[u8]>) -> Sealer {
        Sealer::new(NodeId(node), 5, secret, Nonces::Seeded, node)
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        for secret in [None, Some(&b"secret"[..])] {
            let good = sealer(1, secret).seal(Wall(1_000), b"message");
            let receiver = sealer(2, secret);
            let opened = receiver.open(&good, Wall(1_500)).expect("a genuine datagram opens");
            let expected =
                Opened { sender: NodeId(1), incarnation: 5, counter: 1, payload: b"message".to_vec() };
            assert_eq!(opened, expected);
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 0x10;
                assert!(receiver.open(&bad, Wall(1_500)).is_err(), "byte {at}");
                assert!(receiver.open(&good[..at], Wall(1_500)).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn modes_and_secrets_do_not_mix() {
        let plain = sealer(1, None).seal(Wall(0), b"m");
        let sealed = sealer(1, Some(b"one")).seal(Wall(0), b"m");
        let open = |secret, datagram: &[u8]| sealer(2, secret).open(datagram, Wall(0)).err();
        assert_eq!(open(Some(&b"one"[..]), &plain), Some(ReceiveError::Mode { sealed: false }));
        assert_eq!(open(None, &sealed), Some(ReceiveError::Mode { sealed: true }));
        assert_eq!(open(Some(&b"two"[..]), &sealed), Some(ReceiveError::Authentication));
        assert!(!sealed.windows(1).all(|w| w == b"m"));
    }

    #[test]
    fn clocks_may_differ_by_the_window_and_no_more() {
        let sealed = sealer(1, Some(b"s")).seal(Wall(100_000), b"m");
        let receiver = sealer(2, Some(b"s"));
        for (wall, accepted) in [(70_000, true), (130_000, true), (69_999, false), (130_001, false)] {
            assert_eq!(receiver.open(&sealed, Wall(wall)).is_ok(), accepted, "{wall}");
        }
        let plain = sealer(1, None).seal(Wall(100_000), b"m");
        assert!(sealer(2, None).open(&plain, Wall(0)).is_ok());
    }

    #[test]
    fn nonces_from_the_system_differ() {
        let mut sender = Sealer::new(NodeId(1), 1, Some(b"s"), Nonces::Entropy, 0);
        let nonce = |datagram: Vec<u8>| datagram[HEADER_BYTES..HEADER_BYTES + NONCE_BYTES].to_vec();
        assert_ne!(nonce(sender.seal(Wall(0), b"m")), nonce(sender.seal(Wall(0), b"m")));
    }

    #[test]
    fn the_largest_message_fits_a_datagram() {
        let payload = vec![7; PAYLOAD_BYTES_MAX];
        assert_eq!(sealer(1, Some(b"s")).seal(Wall(0), &payload).len(), DATAGRAM_BYTES_MAX);
        assert!(sealer(1, None).seal(Wall(0), &payload).len() <= DATAGRAM_BYTES_MAX);
    }
}
