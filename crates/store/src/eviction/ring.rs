//! Tokens in the order of ticks: a queue for each tick that an entry can tell apart.
//!
//! A token lies in the queue of the tick at which its key was last used *as far as the evictor knows*. Reads only note the
//! tick in the entry; when a token comes up and its entry has another tick, it was used since, and moves. So the key
//! that was not used for longest is found without anything being moved on reads, to the precision of a tick.
//!
//! The clock is made faster or slower so that the tokens span a few dozen ticks. Where that does not suffice, the two
//! oldest queues become one, and a tick of that age may pass for one that is [`TICKS`] younger.

use crate::eviction::chunks::{Chunks, Queue, Region};
use crate::eviction::pulse::Pulse;
use crate::eviction::token::{TICKS, Token};

/// Ticks that the tokens may span before the clock is made slower, and below which it is made faster.
const SPAN_MAX: u32 = 48;
const SPAN_MIN: u32 = 20;
/// Ticks between two changes of the clock: it takes as long to see what one has done.
const PATIENCE: u32 = 8;
/// The clock stands still so many ticks after the oldest token.
const REACH: u32 = TICKS - 2;

/// The queues, one for each tick.
#[derive(Debug)]
pub(crate) struct Ring {
    queues: [Queue; TICKS as usize],
    /// The present tick, as far as it was seen.
    now: u32,
    /// No token lies in the queue of an earlier tick.
    oldest: u32,
    /// When the clock was last changed.
    changed: u32,
    /// Evictions since.
    evictions: u64,
}

impl Ring {
    pub(crate) fn new() -> Ring {
        Ring {
            queues: std::array::from_fn(|_| Queue::new(Region::Small)),
            now: 0,
            oldest: 0,
            changed: 0,
            evictions: 0,
        }
    }

    /// Follows the clock; makes room for the ticks to come.
    pub(crate) fn catch_up(&mut self, pulse: &Pulse, chunks: &mut Chunks) {
        let tick = pulse.tick();
        if tick == self.now {
            return;
        }
        self.now = tick;
        self.skip_unused();
        while self.span() > SPAN_MAX {
            let oldest = std::mem::replace(&mut self.queues[slot(self.oldest)], Queue::new(Region::Small));
            self.oldest = self.oldest.wrapping_add(1);
            let next = std::mem::replace(&mut self.queues[slot(self.oldest)], oldest);
            chunks.append(&mut self.queues[slot(self.oldest)], next);
            if self.may_change() {
                (self.changed, self.evictions) = (self.now, 0);
                pulse.set_uses_per_tick(pulse.uses_per_tick().saturating_mul(2));
            }
        }
        pulse.set_tick_max(self.oldest.wrapping_add(REACH));
    }

    /// Makes the clock faster if that is called for. To be called at every eviction by recency, from so many keys.
    pub(crate) fn regulate(&mut self, pulse: &Pulse, keys: u64) {
        self.evictions += 1;
        let is_settled = self.now.wrapping_sub(self.changed) >= 2 * PATIENCE || self.evictions > keys;
        if self.span() < SPAN_MIN && is_settled {
            (self.changed, self.evictions) = (self.now, 0);
            pulse.set_uses_per_tick(pulse.uses_per_tick() / 2);
        }
    }

    /// Puts a token in the queue of its tick; what is too old for that, in that of the oldest.
    pub(crate) fn push(&mut self, token: Token, chunks: &mut Chunks) {
        let age = self.age(token).min(self.span().max(SPAN_MAX));
        if age > self.span() {
            self.oldest = self.now.wrapping_sub(age);
        }
        chunks.push(&mut self.queues[slot(self.now.wrapping_sub(age))], token);
    }

    /// Takes the token that was used longest ago, as far as is known.
    pub(crate) fn pop(&mut self, chunks: &mut Chunks) -> Option<Token> {
        loop {
            if let Some(token) = chunks.pop(&mut self.queues[slot(self.oldest)]) {
                return Some(token);
            }
            if self.oldest == self.now {
                return None;
            }
            self.skip_unused();
        }
    }

    /// How many ticks ago a token's tick was.
    pub(crate) fn age(&self, token: Token) -> u32 {
        self.now.wrapping_sub(u32::from(token.tick())) % TICKS
    }

    fn skip_unused(&mut self) {
        while self.oldest != self.now && self.queues[slot(self.oldest)].is_unused() {
            self.oldest = self.oldest.wrapping_add(1);
        }
    }

    fn span(&self) -> u32 {
        self.now.wrapping_sub(self.oldest)
    }

    fn may_change(&self) -> bool {
        self.now.wrapping_sub(self.changed) >= PATIENCE
    }
}

fn slot(tick: u32) -> usize {
    (tick % TICKS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::policy::{Policy, Rule, Scope};
    use stdx::PartitionId;

    fn token(number: u64) -> Token {
        Token::new(PartitionId(0), 0, number << 32)
    }

    #[test]
    fn tokens_come_in_the_order_of_their_ticks() {
        let pulse = Pulse::new(Policy::Evict(Scope::All, Rule::Lru));
        let (mut ring, mut chunks) = (Ring::new(), Chunks::default());
        pulse.set_uses_per_tick(10);
        pulse.count(300);
        ring.catch_up(&pulse, &mut chunks);
        let ages = [3, 30, 0, 17, 3];
        for (number, age) in ages.into_iter().enumerate() {
            ring.push(token(number as u64).with_tick((pulse.tick() - age) as u8), &mut chunks);
        }
        // What is older than the ring may span is taken for as old as that.
        ring.push(token(9).with_tick((pulse.tick().wrapping_sub(60)) as u8), &mut chunks);
        ring.push(token(8).with_tick((pulse.tick().wrapping_sub(48)) as u8), &mut chunks);
        let order: Vec<u64> =
            std::iter::from_fn(|| ring.pop(&mut chunks)).map(|token| u64::from(token.mark())).collect();
        assert_eq!(order, [9, 8, 1, 3, 0, 4, 2]);
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn the_clock_slows_down_while_tokens_become_more() {
        let pulse = Pulse::new(Policy::Evict(Scope::All, Rule::Lru));
        let (mut ring, mut chunks) = (Ring::new(), Chunks::default());
        for number in 0..100_000 {
            pulse.count(1);
            ring.catch_up(&pulse, &mut chunks);
            ring.push(token(number).with_tick((pulse.tick() % TICKS) as u8), &mut chunks);
            assert!(ring.span() <= REACH);
        }
        assert!((1_000..20_000).contains(&pulse.uses_per_tick()), "{}", pulse.uses_per_tick());
        // First in, first out, whatever was put together on the way.
        (0..100_000).for_each(|number| assert_eq!(ring.pop(&mut chunks).map(Token::mark), Some(number)));
        assert!(ring.pop(&mut chunks).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn the_clock_becomes_faster_when_few_are_left() {
        let pulse = Pulse::new(Policy::Evict(Scope::All, Rule::Lru));
        let (mut ring, mut chunks) = (Ring::new(), Chunks::default());
        pulse.set_uses_per_tick(1 << 16);
        for number in 0..2_000_000u64 {
            pulse.count(1);
            ring.catch_up(&pulse, &mut chunks);
            ring.push(token(number % 1_000).with_tick((pulse.tick() % TICKS) as u8), &mut chunks);
            if number >= 1_000 {
                ring.regulate(&pulse, 1_000);
                assert!(ring.pop(&mut chunks).is_some());
            }
        }
        assert!((16..128).contains(&pulse.uses_per_tick()), "{}", pulse.uses_per_tick());
    }
}
