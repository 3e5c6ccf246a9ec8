//! The value of client-output-buffer-limit: a hard limit, a soft limit and its patience, per class of client.

use std::fmt;

use super::value::{Refusal, memory};

/// Limits of one class of client; 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferLimit {
    /// A client whose unsent replies exceed this is disconnected at once.
    pub hard_bytes: u64,
    /// A client whose unsent replies exceed this for `soft_seconds` is disconnected.
    pub soft_bytes: u64,
    /// How long a client may stay above `soft_bytes`.
    pub soft_seconds: u64,
}

/// Limits of every class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferLimits {
    /// Ordinary clients.
    pub normal: BufferLimit,
    /// Redis replicas. Kept for tools: HyperCache's replicas do not connect as clients.
    pub replica: BufferLimit,
    /// Subscribers.
    pub pubsub: BufferLimit,
}

/// The defaults of Redis 7.2.
impl Default for BufferLimits {
    fn default() -> BufferLimits {
        BufferLimits {
            normal: BufferLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 },
            replica: BufferLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 },
            pubsub: BufferLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_seconds: 60 },
        }
    }
}

impl BufferLimits {
    /// These limits with the classes that `text` names replaced: `CLASS HARD SOFT SECONDS`, any number of times.
    pub(super) fn updated(mut self, text: &str) -> Result<BufferLimits, Refusal> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (groups, rest) = words.as_chunks::<4>();
        if !rest.is_empty() || groups.is_empty() {
            return Err(Refusal::same("Wrong number of arguments in buffer limit configuration."));
        }
        for [class, hard, soft, seconds] in groups {
            let limit = match class.to_ascii_lowercase().as_str() {
                "normal" => &mut self.normal,
                "slave" | "replica" => &mut self.replica,
                "pubsub" => &mut self.pubsub,
                _ => {
                    return Err(Refusal::same(
                        "Invalid client class specified in buffer limit configuration.",
                    ));
                }
            };
            match (memory(hard), memory(soft), seconds.parse()) {
                (Some(hard_bytes), Some(soft_bytes), Ok(soft_seconds)) => {
                    *limit = BufferLimit { hard_bytes, soft_bytes, soft_seconds };
                }
                _ => {
                    return Err(Refusal::same(
                        "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
                    ));
                }
            }
        }
        Ok(self)
    }
}

/// Redis's canonical text, which still says `slave`.
impl fmt::Display for BufferLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = [("normal", self.normal), (" slave", self.replica), (" pubsub", self.pubsub)];
        for (class, limit) in classes {
            write!(f, "{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)?;
        }
        Ok(())
    }
}
