//! What an evictor sees of the keys.

use crate::Partition;
use crate::eviction::token::Token;
use stdx::{PartitionId, Random, Wall};

/// Partitions that are met in search of one with keys.
const PARTITIONS_TRIED_MAX: u64 = 64;
/// Partitions whose soonest deadlines are compared.
const SOONEST_OF: usize = 8;

/// What is known of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The byte in which uses are counted, as the policy has it.
    pub bits: u8,
    /// Redis's logarithmic counter, decayed until now.
    pub frequency: u8,
    /// Whole seconds since the last use.
    pub idle_seconds: u32,
    /// Memory that the key takes.
    pub bytes: u64,
    /// Whether the key has a deadline.
    pub expires: bool,
}

/// The keys of the partitions that an evictor chooses among.
pub trait Entries {
    /// What is known of a key; `None` if it is not there (any more).
    fn facts(&mut self, token: Token) -> Option<Facts>;

    /// Sets the byte in which uses are counted, of a key that is there.
    fn set_bits(&mut self, token: Token, bits: u8);

    /// Some key, each about equally likely; `None` if there is none.
    fn any(&mut self, random: &mut Random) -> Option<Token>;

    /// A key that expires about as soon as any.
    fn soonest(&mut self, random: &mut Random) -> Option<Token>;
}

/// Partitions behind whatever guards them.
pub trait Partitions {
    /// How many there are, the first being 0.
    fn len(&self) -> u16;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `f` on a partition if keys may be evicted from it here and now.
    fn with<R>(&mut self, id: PartitionId, f: impl FnOnce(&mut Partition) -> R) -> Option<R>;
}

/// The keys of partitions at one time.
#[derive(Debug)]
pub struct Group<'a, P> {
    partitions: &'a mut P,
    now: Wall,
    /// Most keys that a partition was seen to have: small ones are drawn less often in proportion.
    len_max: u64,
}

impl<'a, P: Partitions> Group<'a, P> {
    /// The keys of `partitions`; `now` is what idleness is counted to.
    pub fn new(partitions: &'a mut P, now: Wall) -> Group<'a, P> {
        Group { partitions, now, len_max: 1 }
    }

    fn draw(&self, random: &mut Random) -> PartitionId {
        PartitionId(random.below(u64::from(self.partitions.len())) as u16)
    }
}

impl<P: Partitions> Entries for Group<'_, P> {
    fn facts(&mut self, token: Token) -> Option<Facts> {
        let now = self.now;
        self.partitions.with(token.partition(), |partition| partition.facts(token, now))?
    }

    fn set_bits(&mut self, token: Token, bits: u8) {
        self.partitions.with(token.partition(), |partition| partition.set_bits(token, bits));
    }

    fn any(&mut self, random: &mut Random) -> Option<Token> {
        let mut fallback = None;
        for _ in 0..PARTITIONS_TRIED_MAX {
            let id = self.draw(random);
            let Some(len) = self.partitions.with(id, |partition| partition.len_all()) else { continue };
            self.len_max = self.len_max.max(len);
            if len > 0 {
                fallback = Some(id);
            }
            if random.below(self.len_max) < len {
                break;
            }
        }
        // Few partitions with keys among many without: the first from somewhere on.
        let first = fallback.unwrap_or_else(|| self.draw(random)).0;
        let count = self.partitions.len();
        (0..count).find_map(|step| {
            let id = PartitionId(((u32::from(first) + u32::from(step)) % u32::from(count)) as u16);
            self.partitions.with(id, |partition| partition.any_token(id, random))?
        })
    }

    fn soonest(&mut self, random: &mut Random) -> Option<Token> {
        let count = usize::from(self.partitions.len());
        let first = self.draw(random).0;
        let mut soonest: Option<(Wall, Token)> = None;
        let mut met = 0;
        for step in 0..count {
            let id = PartitionId(((usize::from(first) + step) % count) as u16);
            // No key of a partition is due before this, so most of them need not be asked.
            let bound = self.partitions.with(id, |partition| partition.next_deadline());
            let Some(Some(bound)) = bound else { continue };
            if soonest.is_none_or(|(best, _)| bound < best) {
                let theirs = self.partitions.with(id, |partition| partition.soonest_token(id));
                soonest = soonest.into_iter().chain(theirs.flatten()).min_by_key(|(at, _)| *at);
            }
            met += 1;
            if met >= SOONEST_OF {
                break;
            }
        }
        soonest.map(|(_, token)| token)
    }
}
