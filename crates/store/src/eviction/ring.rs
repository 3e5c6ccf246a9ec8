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
}

impl Ring {
    pub(crate) fn new() -> Ring {
        Ring { queues: std::array::from_fn(|_| Queue::new(Region::Small)), now: 0, oldest: 0, changed: 0 }
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
                self.changed = self.now;
                pulse.set_uses_per_tick(pulse.uses_per_tick().saturating_mul(2));
            }
        }
        pulse.set_tick_max(self.oldest.wrapping_add(REACH));
    }

    /// Makes the clock faster if that is called for: asked at every eviction by recency.
    pub(crate) fn regulate(&mut self, pulse: &Pulse) {
        if self.span() < SPAN_MIN && self.may_change() && self.now.wrapping_sub(self.changed) >= 2 * PATIENCE
        {
            self.changed = self.now;
            pulse.set_uses_per_tick(pulse.uses_per_tick() / 2);
        }
    }

    /// Puts a token in the queue of its tick.
    pub(crate) fn push(&mut self, token: Token, chunks: &mut Chunks) {
        let age = self.age(token).min(self.span());
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
