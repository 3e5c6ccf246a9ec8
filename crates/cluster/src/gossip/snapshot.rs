//! The rejoin snapshot: addresses of live members, for a restart that finds its seeds gone.
//!
//! `"HCGS" | version u8 | count u16 | addresses | CRC32C of all before it`; an address is a family byte (4 or 6), the
//! IP and the port. Small enough to be rewritten whole whenever membership changes.

use super::wire::{DecodeError, Reader};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use stdx::limits;

const MAGIC: &[u8; 4] = b"HCGS";
const VERSION: u8 = 1;

/// Why a snapshot cannot be used. Nothing is lost with it: the node joins through its seeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotError {
    /// Not a snapshot, cut short or damaged.
    Damaged,
    /// Written by a version this build does not know.
    Version(u8),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Damaged => f.write_str("the membership snapshot is damaged"),
            SnapshotError::Version(version) => write!(f, "unknown membership snapshot version {version}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl From<DecodeError> for SnapshotError {
    fn from(_: DecodeError) -> SnapshotError {
        SnapshotError::Damaged
    }
}

/// Encodes at most [`limits::NODES_MAX`] addresses.
pub(super) fn encode(addresses: impl Iterator<Item = SocketAddr>) -> Vec<u8> {
    let addresses: Vec<SocketAddr> = addresses.take(limits::NODES_MAX).collect();
    let count = u16::try_from(addresses.len()).expect("the most nodes of a cluster fit 16 bits");
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    out.extend_from_slice(&count.to_be_bytes());
    for address in addresses {
        match address.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&address.port().to_be_bytes());
    }
    out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
    out
}

pub(super) fn parse(bytes: &[u8]) -> Result<Vec<SocketAddr>, SnapshotError> {
    let (covered, checksum) = bytes.split_last_chunk::<4>().ok_or(SnapshotError::Damaged)?;
    let mut reader = Reader::new(covered);
    if reader.array::<4>()? != *MAGIC || crc32c::crc32c(covered) != u32::from_be_bytes(*checksum) {
        return Err(SnapshotError::Damaged);
    }
    let version = reader.u8()?;
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let count = reader.u16()?;
    let mut addresses = Vec::new();
    for _ in 0..count {
        let v6 = match reader.u8()? {
            4 => false,
            6 => true,
            _ => return Err(SnapshotError::Damaged),
        };
        addresses.push(SocketAddr::new(reader.ip(v6)?, reader.u16()?));
    }
    if reader.rest().is_empty() { Ok(addresses) } else { Err(SnapshotError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_its_encoding_and_refuses_damage() {
        let addresses = ["127.0.0.1:7946", "[2001:db8::1]:1"].map(|text| text.parse().expect("an address"));
        let good = encode(addresses.into_iter());
        assert_eq!(parse(&good), Ok(addresses.to_vec()));
        assert_eq!(parse(&encode([].into_iter())), Ok(Vec::new()));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(parse(&bad), Err(SnapshotError::Damaged), "byte {at}");
            assert_eq!(parse(&good[..at]), Err(SnapshotError::Damaged), "cut at {at}");
        }
    }

    #[test]
    fn says_which_version_it_does_not_know() {
        let mut bytes = encode([].into_iter());
        bytes.truncate(bytes.len() - 4);
        bytes[4] = 9;
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        assert_eq!(parse(&bytes), Err(SnapshotError::Version(9)));
    }
}
