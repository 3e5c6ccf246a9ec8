//! Passwords of users: their SHA-256 digests, as Redis keeps them, so that a `#hash` rule means the same in both.
//!
//! A digest without salt is what the format of ACL files asks for. It protects passwords that nobody can guess, such as
//! those of `ACL GENPASS`; a short password can be found from its digest.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// The digest of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a password.
    pub fn of(password: &[u8]) -> Digest {
        Digest(Sha256::digest(password).into())
    }

    /// From 64 lowercase hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<Digest> {
        let mut bytes = [0; 32];
        if text.len() != bytes.len() * 2 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Digest(bytes))
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub fn matches(&self, other: &Digest) -> bool {
        self.0.iter().zip(other.0).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_sha256() {
        let text = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let digest = Digest::parse(text.as_bytes()).expect("a digest");
        assert!(Digest::of(b"secret").matches(&digest) && !Digest::of(b"Secret").matches(&digest));
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::parse(&text.as_bytes()[1..]), None);
        assert_eq!(Digest::parse(text.to_uppercase().as_bytes()), None);
        assert_eq!(format!("{digest:?}"), "Digest(***)");
    }
}
