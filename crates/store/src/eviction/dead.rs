//! Which tokens in the queues lead nowhere any more.

use crate::eviction::removed::Removed;
use crate::eviction::token::{GENERATIONS, Token};
use stdx::limits::DATABASES;

/// Removed keys, and the generation of every database.
#[derive(Debug, Default)]
pub(crate) struct Dead {
    removed: Removed,
    /// Keys that were given out to be evicted: the news that they are gone is none.
    given_out: Removed,
    /// By partition and database; databases that were never flushed may be beyond the end.
    generations: Vec<u8>,
}

impl Dead {
    /// Keys that were removed and whose tokens are still in a queue.
    pub(crate) fn len(&self) -> u64 {
        self.removed.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.removed.bytes() + self.given_out.bytes() + self.generations.capacity()
    }

    /// A token as it lies in a queue from now on.
    pub(crate) fn current(&self, token: Token) -> Token {
        token.with_generation(self.generation(token))
    }

    /// Whether a token that comes up is to be dropped; it is counted no more then.
    pub(crate) fn drops(&mut self, token: Token) -> bool {
        token.generation() != self.generation(token) || self.removed.take(token.identity())
    }

    /// A key is gone; `false` if that was expected.
    pub(crate) fn remove(&mut self, token: Token) -> bool {
        let identity = self.current(token).identity();
        let is_news = !self.given_out.take(identity);
        if is_news {
            self.removed.add(identity);
        }
        is_news
    }

    /// A key will be gone, and has no token any more.
    pub(crate) fn give_out(&mut self, token: Token) {
        self.given_out.add(token.identity());
    }

    /// It will not, after all; `false` if that is not known of it.
    pub(crate) fn give_back(&mut self, token: Token) -> bool {
        self.given_out.take(self.current(token).identity())
    }

    /// All keys of a database are gone.
    pub(crate) fn flush(&mut self, token: Token) {
        let at = place(token);
        if at >= self.generations.len() {
            self.generations.resize(at + 1, 0);
        }
        self.generations[at] = (self.generations[at] + 1) % GENERATIONS;
    }

    fn generation(&self, token: Token) -> u8 {
        self.generations.get(place(token)).copied().unwrap_or(0)
    }
}

fn place(token: Token) -> usize {
    usize::from(token.partition().0) * usize::from(DATABASES) + usize::from(token.db())
}
