//! The one error of decoding: these bytes were not written by an encoder of this format.

use std::fmt;

/// Encoded effects or a batch are damaged or of an unknown format; nothing after that place can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt {
    /// What is wrong.
    pub what: &'static str,
    /// Bytes into the input at which it was noticed.
    pub offset: usize,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corrupt effects: {} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for Corrupt {}
