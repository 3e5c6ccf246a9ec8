//! The frame of DUMP's payloads: a version and a checksum, which are replaced so that an older server reads them.

/// The version that Redis 7.0 writes, and the newest it reads.
const VERSION: u16 = 10;
/// Bytes of version and checksum.
const FRAME: usize = 2 + 8;
/// Jones's polynomial, reflected.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// The same payload under the version that Redis 7.0 reads.
pub(super) fn as_version_10(payload: &[u8]) -> Vec<u8> {
    let mut out = payload[..payload.len().saturating_sub(FRAME)].to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    let sum = checksum(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |mut sum, byte| {
        sum ^= u64::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
        }
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_that_of_redis() {
        assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }
}
