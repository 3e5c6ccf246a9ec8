//! Greedy-Dual-Size-Frequency (Cherkasova 1998): large and seldom used keys go first.
//!
//! A key's priority is the *inflation* at its last use plus uses per byte; the least goes, and the inflation rises to its
//! priority, which is how old popularity fades. Priorities lie in a heap of twelve bytes a key, in chunks, so that it grows
//! without being copied. A read does not touch the heap: when a key comes up whose uses have risen since, it gets a new
//! priority, counted from the present inflation. Priorities go round; all of them lie within half of the round.

use crate::eviction::dead::Dead;
use crate::eviction::entries::{Entries, Facts};
use crate::eviction::token::{TICKS, Token};

/// Keys that one eviction looks at, most.
const LOOKS_MAX: u32 = 32;
/// Dead tokens that it drops on the way, most.
const DROPS_MAX: u32 = 1_024;
/// Priority of one use of a key of one byte.
const SCALE: u64 = 1 << 27;
/// No key adds more to the inflation.
const WORTH_MAX: u64 = 1 << 30;
/// Entries of a chunk.
const CHUNK: usize = 256;
const ARITY: usize = 4;
/// Tokens of one step of a sweep.
const SWEPT: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Ranked {
    priority: u32,
    token: [u32; 2],
}

/// What the rule `Gdsf` needs.
#[derive(Debug, Default)]
pub(crate) struct Sized {
    chunks: Vec<Box<[Ranked]>>,
    len: usize,
    inflation: u32,
    sweep_at: usize,
}

/// What so many uses of so many bytes are worth.
fn worth(uses: u8, bytes: u64) -> u32 {
    let worth = u64::from(uses.max(1)) * SCALE / bytes.max(1);
    worth.clamp(1, WORTH_MAX) as u32
}

/// A token that remembers how often its key was used.
fn seen(token: Token, uses: u8) -> Token {
    token.with_tick(uses % TICKS as u8)
}

impl Sized {
    /// Tokens, those of removed keys included.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * size_of::<[Ranked; CHUNK]>() + self.chunks.capacity() * size_of::<Box<[Ranked]>>()
    }

    pub(crate) fn insert(&mut self, token: Token, bytes: u64) {
        self.push(seen(token, 1), worth(1, bytes));
    }

    /// Takes the token of the key to be evicted. `None` if there is none, or only dead ones were met.
    pub(crate) fn victim(&mut self, entries: &mut impl Entries, dead: &mut Dead) -> Option<Token> {
        let (mut looks, mut drops) = (0, 0);
        while drops < DROPS_MAX {
            let least = self.pop()?;
            let token = Token::from_words(least.token);
            let facts = if dead.drops(token) { None } else { entries.facts(token) };
            let Some(Facts { bits: uses, bytes, .. }) = facts else {
                drops += 1;
                continue;
            };
            looks += 1;
            if seen(token, uses) == token || looks >= LOOKS_MAX {
                self.inflation = least.priority;
                return Some(token);
            }
            self.push(seen(token, uses), worth(uses, bytes));
        }
        None
    }

    /// Drops the tokens that `dead` knows out of a part of the heap; how many tokens that had.
    pub(crate) fn sweep(&mut self, dead: &mut Dead) -> usize {
        let looks = SWEPT.min(self.len);
        for _ in 0..looks {
            // Downwards: what takes the place of a dead one comes from the end, where the sweep has been.
            self.sweep_at = if self.sweep_at == 0 { self.len } else { self.sweep_at.min(self.len) } - 1;
            if dead.drops(Token::from_words(self.get(self.sweep_at).token)) {
                self.remove(self.sweep_at);
            }
            if self.len == 0 {
                break;
            }
        }
        looks
    }

    fn push(&mut self, token: Token, worth: u32) {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(vec![Ranked { priority: 0, token: [0; 2] }; CHUNK].into());
        }
        let ranked = Ranked { priority: self.inflation.wrapping_add(worth), token: token.to_words() };
        self.len += 1;
        self.set(self.len - 1, ranked);
        self.rise(self.len - 1);
    }

    fn pop(&mut self) -> Option<Ranked> {
        let least = (self.len > 0).then(|| self.get(0))?;
        self.remove(0);
        Some(least)
    }

    fn remove(&mut self, at: usize) {
        self.len -= 1;
        if at < self.len {
            self.set(at, self.get(self.len));
            self.rise(at);
            self.sink(at);
        }
        // One chunk is kept for the next keys.
        self.chunks.truncate(self.len / CHUNK + 2);
    }

    fn rise(&mut self, mut at: usize) {
        let ranked = self.get(at);
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if self.height(self.get(parent)) <= self.height(ranked) {
                break;
            }
            self.set(at, self.get(parent));
            at = parent;
        }
        self.set(at, ranked);
    }

    fn sink(&mut self, mut at: usize) {
        let ranked = self.get(at);
        loop {
            let children = at * ARITY + 1..(at * ARITY + 1 + ARITY).min(self.len);
            let Some(least) = children.min_by_key(|&child| self.height(self.get(child))) else { break };
            if self.height(self.get(least)) >= self.height(ranked) {
                break;
            }
            self.set(at, self.get(least));
            at = least;
        }
        self.set(at, ranked);
    }

    /// The priority above the inflation.
    fn height(&self, ranked: Ranked) -> u32 {
        ranked.priority.wrapping_sub(self.inflation)
    }

    fn get(&self, at: usize) -> Ranked {
        self.chunks[at / CHUNK][at % CHUNK]
    }

    fn set(&mut self, at: usize, ranked: Ranked) {
        self.chunks[at / CHUNK][at % CHUNK] = ranked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::model::Model;
    use stdx::Random;

    #[test]
    fn the_least_use_per_byte_goes_first_and_fades() {
        let (mut sized, mut dead, mut model) = (Sized::default(), Dead::default(), Model::default());
        for (key, bytes) in [(1, 1_000), (2, 100), (3, 10_000), (4, 500)] {
            sized.insert(model.add(key, 1, bytes), bytes);
        }
        // The largest was used often enough to outlast the next, and the smallest is not used again.
        model.set_uses(3, 15);
        let mut order = Vec::new();
        while let Some(token) = sized.victim(&mut model, &mut dead) {
            order.push(model.take(token));
        }
        assert_eq!(order, [1, 3, 4, 2]);
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn inflation_goes_round() {
        let (mut sized, mut dead, mut model) = (Sized::default(), Dead::default(), Model::default());
        sized.inflation = u32::MAX - 1_000_000;
        let mut random = Random::seeded(3);
        for key in 0..20_000u64 {
            let bytes = 20 + random.below(5_000);
            sized.insert(model.add(key, 1, bytes), bytes);
            if key >= 100 {
                let before = sized.inflation;
                let token = sized.victim(&mut model, &mut dead).expect("a hundred keys");
                model.take(token);
                assert!(sized.inflation.wrapping_sub(before) < 1 << 31);
            }
        }
        assert!(sized.inflation < 1 << 31, "it went round");
        assert!(sized.len() == 100 && sized.chunks.len() <= 2);
        assert!(
            (0..sized.len).all(
                |at| sized.height(sized.get(at)) >= sized.height(sized.get(at.saturating_sub(1) / ARITY))
            )
        );
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn dead_tokens_are_swept_out_of_the_heap() {
        let (mut sized, mut dead, mut model) = (Sized::default(), Dead::default(), Model::default());
        for key in 0..10_000u64 {
            sized.insert(model.add(key, 1, 10 + key % 900), 10 + key % 900);
        }
        for key in (0..10_000).filter(|key| key % 10 > 0) {
            dead.remove(model.token(key));
            model.take(model.token(key));
        }
        (0..400).for_each(|_| assert!(sized.sweep(&mut dead) <= SWEPT));
        assert_eq!((sized.len(), dead.len()), (1_000, 0));
        assert!(sized.bytes() < 30_000);
        let mut gone = 0;
        while let Some(token) = sized.victim(&mut model, &mut dead) {
            model.take(token);
            gone += 1;
        }
        assert_eq!(gone, 1_000);
    }
}
