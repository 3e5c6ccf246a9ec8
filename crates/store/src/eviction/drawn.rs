//! Policies that draw keys at random: any, or the one used least often of a few.
//!
//! Nothing is kept per key when all keys may go: the tables are drawn from. Where only keys with a deadline may, there is
//! a list of them, eight bytes each, because they can be few among many.

use crate::eviction::dead::Dead;
use crate::eviction::entries::{Entries, Facts};
use crate::eviction::policy::Scope;
use crate::eviction::token::Token;
use stdx::Random;

/// Keys drawn per eviction, as Redis's `maxmemory-samples`.
const SAMPLES: usize = 5;
/// The best of former draws that are compared with them, as Redis's eviction pool.
const POOL: usize = 16;
/// Dead tokens that an eviction drops on the way, most.
const DROPS_MAX: u32 = 1_024;
/// Tokens of a chunk of the list.
const CHUNK: usize = 512;

/// What the rules `Lfu` and `Random` need.
#[derive(Debug)]
pub(crate) struct Drawn {
    list: Option<List>,
    /// The best of former draws, the best last.
    pool: Vec<Candidate>,
}

/// A key that was drawn, and what was known of it then: the lower the rank, the better to evict.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    rank: (u8, u32),
    token: Token,
}

impl Candidate {
    fn new(token: Token, facts: Facts) -> Candidate {
        Candidate { rank: (facts.frequency, u32::MAX - facts.idle_seconds), token }
    }
}

/// Tokens in no order, from which one is drawn.
#[derive(Debug, Default)]
struct List {
    chunks: Vec<Box<[Token]>>,
    len: usize,
    sweep_at: usize,
}

impl Drawn {
    pub(crate) fn new(scope: Scope) -> Drawn {
        Drawn { list: (scope == Scope::Volatile).then(List::default), pool: Vec::new() }
    }

    /// Tokens, those of removed keys included.
    pub(crate) fn len(&self) -> u64 {
        self.list.as_ref().map_or(0, |list| list.len as u64)
    }

    pub(crate) fn bytes(&self) -> usize {
        let chunks = self.list.as_ref().map_or(0, |list| list.chunks.len());
        chunks * (CHUNK * size_of::<Token>() + size_of::<Box<[Token]>>())
            + self.pool.capacity() * size_of::<Candidate>()
    }

    pub(crate) fn insert(&mut self, token: Token) {
        if let Some(list) = &mut self.list {
            list.push(token);
        }
    }

    /// Drops the tokens that `dead` knows out of a part of the list; how many tokens that had.
    pub(crate) fn sweep(&mut self, dead: &mut Dead) -> usize {
        self.list.as_mut().map_or(0, |list| list.sweep(dead))
    }

    /// Any key.
    pub(crate) fn any(
        &mut self,
        entries: &mut impl Entries,
        dead: &mut Dead,
        random: &mut Random,
    ) -> Option<Token> {
        let Some(list) = &mut self.list else { return entries.any(random) };
        let at = list.draw(entries, dead, random)?;
        list.take(at)
    }

    /// The key used least often of those drawn now and the best of those drawn before.
    pub(crate) fn least_frequent(
        &mut self,
        entries: &mut impl Entries,
        dead: &mut Dead,
        random: &mut Random,
    ) -> Option<Token> {
        for _ in 0..SAMPLES {
            let drawn = match &mut self.list {
                None => entries.any(random),
                Some(list) => list.draw(entries, dead, random).map(|at| list.at(at)),
            };
            let Some(token) = drawn.filter(|token| self.pool.iter().all(|known| known.token != *token))
            else {
                continue;
            };
            self.pool.extend(entries.facts(token).map(|facts| Candidate::new(token, facts)));
        }
        self.pool.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.rank));
        while let Some(least) = self.pool.pop() {
            // What was drawn before may be gone, or used since, or have lost its deadline.
            let facts = entries.facts(least.token).filter(|facts| facts.expires || self.list.is_none());
            let Some(now) = facts.map(|facts| Candidate::new(least.token, facts)) else { continue };
            if now.rank <= least.rank || self.pool.last().is_none_or(|next| now.rank <= next.rank) {
                let surplus = self.pool.len().saturating_sub(POOL);
                self.pool.drain(..surplus);
                return Some(least.token);
            }
        }
        None
    }

    /// Whether it keeps tokens.
    pub(crate) fn has_list(&self) -> bool {
        self.list.is_some()
    }
}

impl List {
    fn push(&mut self, token: Token) {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(vec![token; CHUNK].into());
        }
        self.chunks[self.len / CHUNK][self.len % CHUNK] = token;
        self.len += 1;
    }

    fn at(&self, at: usize) -> Token {
        self.chunks[at / CHUNK][at % CHUNK]
    }

    /// Takes a token out; the last takes its place.
    fn take(&mut self, at: usize) -> Option<Token> {
        let last = self.len.checked_sub(1)?;
        let (taken, moved) = (self.at(at), self.at(last));
        self.chunks[at / CHUNK][at % CHUNK] = moved;
        self.len = last;
        self.chunks.truncate(self.len / CHUNK + 2);
        Some(taken)
    }

    /// Where the token of some key lies.
    fn draw(&mut self, entries: &mut impl Entries, dead: &mut Dead, random: &mut Random) -> Option<usize> {
        for _ in 0..DROPS_MAX {
            if self.len == 0 {
                return None;
            }
            let at = random.below(self.len as u64) as usize;
            if !dead.drops(self.at(at)) && entries.facts(self.at(at)).is_some() {
                return Some(at);
            }
            self.take(at);
        }
        None
    }

    fn sweep(&mut self, dead: &mut Dead) -> usize {
        let mut looked = 0;
        while looked < 64 && self.len > 0 {
            self.sweep_at =
                if self.sweep_at == 0 || self.sweep_at > self.len { self.len } else { self.sweep_at };
            self.sweep_at -= 1;
            if dead.drops(self.at(self.sweep_at)) {
                self.take(self.sweep_at);
            }
            looked += 1;
        }
        looked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::model::Model;

    #[test]
    #[cfg_attr(miri, ignore)]
    fn seldom_used_keys_go_first() {
        for scope in [Scope::All, Scope::Volatile] {
            let (mut drawn, mut dead) = (Drawn::new(scope), Dead::default());
            let (mut model, mut random) = (Model::default(), Random::seeded(1));
            for key in 0..1_000u64 {
                drawn.insert(model.add(key, (key / 10) as u8, 1));
            }
            let mut evict = || {
                let token = drawn.least_frequent(&mut model, &mut dead, &mut random).expect("there are keys");
                if scope == Scope::Volatile {
                    dead.remove(token);
                }
                model.take(token)
            };
            let frequent = (0..300).filter(|_| evict() >= 600).count();
            assert!(frequent < 5, "{scope:?}: {frequent} of the most used two fifths");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn the_list_draws_every_key_and_forgets_the_dead() {
        let (mut drawn, mut dead) = (Drawn::new(Scope::Volatile), Dead::default());
        let (mut model, mut random) = (Model::default(), Random::seeded(1));
        for key in 0..2_000u64 {
            drawn.insert(model.add(key, 0, 1));
        }
        for key in 0..1_000 {
            dead.remove(model.token(key));
            model.take(model.token(key));
        }
        (0..20).for_each(|_| assert!(drawn.sweep(&mut dead) <= 64));
        let mut met = Vec::new();
        while let Some(token) = drawn.any(&mut model, &mut dead, &mut random) {
            met.push(model.take(token));
        }
        met.sort_unstable();
        assert_eq!(met, Vec::from_iter(1_000..2_000));
        assert_eq!((drawn.len(), dead.len()), (0, 0));
    }
}
