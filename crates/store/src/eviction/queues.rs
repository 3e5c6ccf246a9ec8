//! LRU, S3-FIFO and the choice between them, over one set of queues.
//!
//! ```text
//!   new --> [ ring of ticks ] --used twice or more--> [ main ] --used--> back to its end
//!                 |      ^                               |
//!          not used      '------ while LRU is followed --'
//!                 v                                      v not used
//!            evicted, remembered in the ghost         evicted
//! ```
//! Under S3-FIFO (Yang et al., SOSP 2023) the ring is the small queue, a tenth of the keys, and is emptied in the order of
//! arrival. Under LRU it holds all keys, and what was used since it came moves to its tick ([`Ring`]). So changing from
//! one to the other moves nothing at once: the main queue drains into the ring over the next evictions, or fills from it.
//!
//! A key has one token, of eight bytes. All steps of one eviction are bounded; when the bound is reached, the key of
//! those looked at which was used longest ago goes.

use crate::eviction::chunks::{Chunks, Queue, Region};
use crate::eviction::dead::Dead;
use crate::eviction::entries::Entries;
use crate::eviction::ghost::Ghost;
use crate::eviction::policy::Rule;
use crate::eviction::pulse::Pulse;
use crate::eviction::ring::Ring;
use crate::eviction::shadow::{Shadows, shift_for};
use crate::eviction::token::Token;

/// Keys that one eviction looks at, most.
const LOOKS_MAX: u32 = 32;
/// Dead tokens that it drops on the way, most.
const DROPS_MAX: u32 = 1_024;
/// Tokens that move from the main queue to the ring per eviction, while LRU is followed.
const MOVES: u32 = 4;
/// One in so many keys is in the small queue under S3-FIFO.
const SMALL_SHARE: u64 = 10;
/// Uses in the small queue after which a key moves to the main one: at least.
const PROMOTED_USES: u8 = 2;
/// Keys that the ghost remembers, in tenths of those there are.
const GHOST_TENTHS: u64 = 9;
/// Ticks of the clock, while S3-FIFO is followed, per turn of the cache.
const TICKS_PER_TURN: u64 = 8;

const USES_MASK: u8 = 3;

/// What the rules `Lru`, `S3Fifo` and `Adaptive` need.
#[derive(Debug)]
pub(crate) struct Queues {
    chunks: Chunks,
    ring: Ring,
    main: Queue,
    ghost: Ghost,
    shadows: Option<Shadows>,
    /// Whether LRU is followed, and nothing else ever is: then no ghost is needed.
    is_lru: bool,
    /// Whether LRU is followed.
    by_recency: bool,
    has_evicted: bool,
}

impl Queues {
    pub(crate) fn new(rule: Rule) -> Queues {
        Queues {
            chunks: Chunks::default(),
            ring: Ring::new(),
            main: Queue::new(Region::Main),
            ghost: Ghost::default(),
            shadows: (rule == Rule::Adaptive).then(Shadows::default),
            is_lru: rule == Rule::Lru,
            by_recency: rule == Rule::Lru,
            has_evicted: false,
        }
    }

    /// Tokens, those of removed keys included.
    pub(crate) fn len(&self) -> u64 {
        self.chunks.len(Region::Small) + self.chunks.len(Region::Main)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Queues>()
            + self.chunks.bytes()
            + self.ghost.bytes()
            + self.shadows.as_ref().map_or(0, Shadows::bytes)
    }

    pub(crate) fn is_by_recency(&self) -> bool {
        self.by_recency
    }

    pub(crate) fn insert(&mut self, token: Token, pulse: &Pulse) {
        self.ring.catch_up(pulse, &mut self.chunks);
        if !self.by_recency && self.has_evicted && self.ghost.take(token.key()) {
            self.chunks.push(&mut self.main, token);
        } else {
            self.ring.push(token, &mut self.chunks);
        }
        // Until something is evicted, all but the newest are in the main queue: what does not fit into the cache cannot
        // push out what was there first (a loop would leave nothing that is ever hit).
        if !self.by_recency && !self.has_evicted && self.is_small_full() {
            let oldest = self.ring.pop(&mut self.chunks);
            oldest.into_iter().for_each(|token| self.chunks.push(&mut self.main, token));
        }
        if self.shadows.is_some() && pulse.is_sampled_token(token) {
            self.written(token, pulse);
        }
    }

    /// A sampled key was set.
    pub(crate) fn written(&mut self, token: Token, pulse: &Pulse) {
        self.judge(pulse);
        if let Some(shadows) = self.shadows.as_mut().filter(|_| pulse.is_sampled_token(token)) {
            shadows.write(token.key());
        }
    }

    /// A sampled key was asked for.
    pub(crate) fn read(&mut self, token: Token, exists: bool, pulse: &Pulse) {
        // The sample may have become smaller since this was noted.
        if let Some(shadows) = self.shadows.as_mut().filter(|_| pulse.is_sampled_token(token)) {
            shadows.read(token.key(), exists);
        }
        self.judge(pulse);
    }

    /// A sampled key is gone, and not for want of room.
    pub(crate) fn removed(&mut self, token: Token) {
        if let Some(shadows) = &mut self.shadows {
            shadows.remove(token.key());
        }
    }

    /// Drops the tokens that `dead` knows out of one chunk; how many tokens it had.
    pub(crate) fn sweep(&mut self, dead: &mut Dead) -> usize {
        self.chunks.sweep(&mut |token| dead.drops(token))
    }

    /// Takes the token of the key to be evicted. `None` if there is none, or only dead ones were met.
    pub(crate) fn victim(
        &mut self,
        entries: &mut impl Entries,
        dead: &mut Dead,
        pulse: &Pulse,
    ) -> Option<Token> {
        self.has_evicted = true;
        self.ring.catch_up(pulse, &mut self.chunks);
        let keys = self.len();
        if !self.is_lru {
            self.ghost.set_keys_max(keys * GHOST_TENTHS / 10);
        }
        if self.by_recency {
            self.ring.regulate(pulse, keys);
            self.drain_main(entries, dead);
            return self.least_recent(entries, dead, pulse);
        }
        pulse.set_uses_per_tick(u32::try_from(keys / TICKS_PER_TURN).unwrap_or(u32::MAX));
        self.least_used(entries, dead)
    }

    /// LRU.
    fn least_recent(&mut self, entries: &mut impl Entries, dead: &mut Dead, pulse: &Pulse) -> Option<Token> {
        let mut held: Option<Token> = None;
        let (mut looks, mut drops) = (0, 0);
        while looks < LOOKS_MAX && drops < DROPS_MAX {
            let Some(token) = self.ring.pop(&mut self.chunks) else { break };
            let facts = if dead.drops(token) { None } else { entries.facts(token) };
            let Some(facts) = facts else {
                drops += 1;
                continue;
            };
            looks += 1;
            // Another thread may have moved the clock on: ages are counted from what the entry can have seen.
            self.ring.catch_up(pulse, &mut self.chunks);
            let used = token.with_tick(facts.bits >> USES_MASK.count_ones());
            if used == token {
                self.put_back(held.replace(token));
                break;
            }
            match held {
                Some(older) if self.ring.age(older) >= self.ring.age(used) => self.put_back(Some(used)),
                _ => self.put_back(held.replace(used)),
            }
        }
        if let Some(token) = held {
            self.ghost.insert(token.key());
        }
        held
    }

    /// S3-FIFO.
    fn least_used(&mut self, entries: &mut impl Entries, dead: &mut Dead) -> Option<Token> {
        let (mut looks, mut drops) = (0, 0);
        while drops < DROPS_MAX {
            let small = self.is_small_full() || self.chunks.len(Region::Main) == 0;
            let token =
                if small { self.ring.pop(&mut self.chunks) } else { self.chunks.pop(&mut self.main) }?;
            let facts = if dead.drops(token) { None } else { entries.facts(token) };
            let Some(facts) = facts else {
                drops += 1;
                continue;
            };
            looks += 1;
            let uses = facts.bits & USES_MASK;
            let stays = if small { uses >= PROMOTED_USES } else { uses > 0 };
            if stays && looks < LOOKS_MAX {
                let left = if small { 0 } else { uses - 1 };
                entries.set_bits(token, facts.bits & !USES_MASK | left);
                self.chunks.push(&mut self.main, token);
                continue;
            }
            if small {
                self.ghost.insert(token.key());
            }
            return Some(token);
        }
        None
    }

    /// Moves some of the main queue to the ring, each to its tick.
    fn drain_main(&mut self, entries: &mut impl Entries, dead: &mut Dead) {
        for _ in 0..MOVES {
            let Some(token) = self.chunks.pop(&mut self.main) else { return };
            if dead.drops(token) {
                continue;
            }
            if let Some(facts) = entries.facts(token) {
                let used = token.with_tick(facts.bits >> USES_MASK.count_ones());
                self.put_back(Some(used));
            }
        }
    }

    fn put_back(&mut self, token: Option<Token>) {
        token.into_iter().for_each(|token| self.ring.push(token, &mut self.chunks));
    }

    fn is_small_full(&self) -> bool {
        self.chunks.len(Region::Small) * SMALL_SHARE > self.len()
    }

    /// Follows what the shadows find.
    fn judge(&mut self, pulse: &Pulse) {
        let Some(shadows) = &mut self.shadows else { return };
        let keys = self.chunks.len(Region::Small) + self.chunks.len(Region::Main);
        let shift = shift_for(keys);
        pulse.sample(shift);
        // As long as there is room, the shadows have room as well: what they would have to evict nobody has to.
        let keys_max = if self.has_evicted { keys >> shift } else { u64::MAX };
        shadows.set_keys_max(keys_max, (1 << shift) - 1);
        self.by_recency = shadows.prefer_recency();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::policy::{Policy, Scope};
    use stdx::PartitionId;
    use stdx::hash::mix64;

    #[test]
    #[cfg_attr(miri, ignore)]
    fn shadows_follow_the_sample_whenever_notes_are_taken_in() {
        let pulse = Pulse::new(Policy::Evict(Scope::All, Rule::Adaptive));
        let mut queues = Queues::new(Rule::Adaptive);
        let token = |number: u64| Token::new(PartitionId(0), 0, mix64(number));
        // All were noted while every key was sampled, and are taken in one after the other, as after a long pause.
        (0..20_000).for_each(|number| {
            queues.insert(token(number), &pulse);
            queues.read(token(number / 2), true, &pulse);
            queues.written(token(number / 3), &pulse);
        });
        let sampled = (0..20_000).filter(|number| pulse.is_sampled_token(token(*number))).count();
        assert!((1_024..2_048).contains(&sampled), "{sampled}");
        let shadows = queues.shadows.as_ref().expect("adaptive has them");
        assert_eq!(shadows.lens(), (sampled, sampled));
    }
}
