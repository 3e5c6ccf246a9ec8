//! Queues of tokens in linked chunks.
//!
//! One arena holds the chunks of all queues of an evictor: a queue takes eight bytes a token and grows and shrinks by half
//! a kilobyte, never by copying what is there. A queue can be put behind another in one step. Tokens that are known to be
//! of removed keys are taken out of the middle by a sweep that goes from chunk to chunk, whichever queue they belong to.

use crate::eviction::token::Token;
use crate::memory::{allocation_bytes, slice_bytes};

/// Tokens of a chunk: with the links, a block of the allocator.
const CHUNK_TOKENS: usize = 62;
const NONE: u32 = u32::MAX;

const _: () = assert!(allocation_bytes(size_of::<Chunk>()) == size_of::<Chunk>());

/// Which count a token belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Region {
    Small,
    Main,
}

#[derive(Debug)]
struct Chunk {
    tokens: [Token; CHUNK_TOKENS],
    former: u32,
    next: u32,
    start: u8,
    end: u8,
    region: Region,
}

/// A queue within [`Chunks`].
#[derive(Debug)]
pub(crate) struct Queue {
    region: Region,
    first: u32,
    last: u32,
}

/// The chunks of several queues.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    chunks: Vec<Option<Box<Chunk>>>,
    unused: Vec<u32>,
    lens: [u64; 2],
    sweep_at: usize,
}

impl Queue {
    pub(crate) fn new(region: Region) -> Queue {
        Queue { region, first: NONE, last: NONE }
    }

    /// Whether it has no chunk; one that has may still have no token left.
    pub(crate) fn is_unused(&self) -> bool {
        self.first == NONE
    }
}

impl Chunks {
    /// Tokens in queues of the region.
    pub(crate) fn len(&self, region: Region) -> u64 {
        self.lens[region as usize]
    }

    pub(crate) fn bytes(&self) -> usize {
        (self.chunks.len() - self.unused.len()) * size_of::<Chunk>()
            + slice_bytes::<Option<Box<Chunk>>>(self.chunks.capacity())
            + slice_bytes::<u32>(self.unused.capacity())
    }

    pub(crate) fn push(&mut self, queue: &mut Queue, token: Token) {
        let full = self.chunk(queue.last).is_none_or(|chunk| usize::from(chunk.end) == CHUNK_TOKENS);
        if full {
            let index = self.add(Chunk {
                tokens: [token; CHUNK_TOKENS],
                former: queue.last,
                next: NONE,
                start: 0,
                end: 0,
                region: queue.region,
            });
            match self.chunk_mut(queue.last) {
                Some(last) => last.next = index,
                None => queue.first = index,
            }
            queue.last = index;
        }
        let chunk = self.chunk_mut(queue.last).expect("a queue ends with a chunk, added above if need be");
        chunk.tokens[usize::from(chunk.end)] = token;
        chunk.end += 1;
        self.lens[queue.region as usize] += 1;
    }

    pub(crate) fn pop(&mut self, queue: &mut Queue) -> Option<Token> {
        loop {
            let chunk = self.chunk_mut(queue.first)?;
            if chunk.start < chunk.end {
                let token = chunk.tokens[usize::from(chunk.start)];
                chunk.start += 1;
                self.lens[queue.region as usize] -= 1;
                return Some(token);
            }
            let (index, next) = (queue.first, chunk.next);
            self.unlink(index);
            queue.first = next;
            if next == NONE {
                queue.last = NONE;
            }
        }
    }

    /// Puts `behind` at the end of `queue`; both are of one region.
    pub(crate) fn append(&mut self, queue: &mut Queue, behind: Queue) {
        debug_assert!(queue.region == behind.region);
        if behind.is_unused() {
            return;
        }
        match self.chunk_mut(queue.last) {
            None => *queue = behind,
            Some(last) => {
                last.next = behind.first;
                if let Some(first) = self.chunk_mut(behind.first) {
                    first.former = queue.last;
                }
                queue.last = behind.last;
            }
        }
    }

    /// Takes the tokens that `is_dead` out of the next chunk; how many there were before.
    pub(crate) fn sweep(&mut self, is_dead: &mut dyn FnMut(Token) -> bool) -> usize {
        if self.chunks.is_empty() {
            return 0;
        }
        self.sweep_at = (self.sweep_at + 1) % self.chunks.len();
        let index = self.sweep_at as u32;
        let Some(chunk) = self.chunk_mut(index) else { return 0 };
        let before = chunk.end - chunk.start;
        let mut kept = chunk.start;
        for at in chunk.start..chunk.end {
            let token = chunk.tokens[usize::from(at)];
            if !is_dead(token) {
                chunk.tokens[usize::from(kept)] = token;
                kept += 1;
            }
        }
        let dropped = chunk.end - kept;
        chunk.end = kept;
        let region = chunk.region;
        self.lens[region as usize] -= u64::from(dropped);
        self.join(index);
        usize::from(before)
    }

    /// Moves what a sparse chunk has into the one before it. Not the last of a queue: who owns that is not known here.
    fn join(&mut self, index: u32) {
        let Some(chunk) = self.chunk(index) else { return };
        let (former, len) = (chunk.former, usize::from(chunk.end - chunk.start));
        let Some(before) = self.chunk(former) else { return };
        if chunk.next == NONE || usize::from(before.end) + len > CHUNK_TOKENS {
            return;
        }
        let (tokens, start) = (chunk.tokens, usize::from(chunk.start));
        let before = self.chunk_mut(former).expect("looked at above");
        let end = usize::from(before.end);
        before.tokens[end..end + len].copy_from_slice(&tokens[start..start + len]);
        before.end += len as u8;
        self.unlink(index);
    }

    fn unlink(&mut self, index: u32) {
        let Some(chunk) = self.chunks[index as usize].take() else { return };
        if let Some(former) = self.chunk_mut(chunk.former) {
            former.next = chunk.next;
        }
        if let Some(next) = self.chunk_mut(chunk.next) {
            next.former = chunk.former;
        }
        self.unused.push(index);
    }

    fn add(&mut self, chunk: Chunk) -> u32 {
        match self.unused.pop() {
            Some(index) => {
                self.chunks[index as usize] = Some(Box::new(chunk));
                index
            }
            None => {
                self.chunks.push(Some(Box::new(chunk)));
                u32::try_from(self.chunks.len() - 1).expect("far fewer chunks than keys in 32 bits")
            }
        }
    }

    fn chunk(&self, index: u32) -> Option<&Chunk> {
        self.chunks.get(index as usize)?.as_deref()
    }

    fn chunk_mut(&mut self, index: u32) -> Option<&mut Chunk> {
        self.chunks.get_mut(index as usize)?.as_deref_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, VecDeque};
    use stdx::{PartitionId, Random};

    fn token(number: u64) -> Token {
        Token::new(PartitionId(1), 0, number << 26)
    }

    fn drain(chunks: &mut Chunks, queue: &mut Queue) -> Vec<Token> {
        std::iter::from_fn(|| chunks.pop(queue)).collect()
    }

    #[test]
    fn queues_are_first_in_first_out_whatever_is_swept_and_appended() {
        let mut random = Random::seeded(4);
        let steps = if cfg!(miri) { 2_000 } else { 60_000 };
        let mut chunks = Chunks::default();
        let mut queues = [Queue::new(Region::Small), Queue::new(Region::Small), Queue::new(Region::Main)];
        let mut models: [VecDeque<Token>; 3] = Default::default();
        for step in 0..steps {
            let which = random.below(3) as usize;
            match random.below(100) {
                0..50 => {
                    chunks.push(&mut queues[which], token(step));
                    models[which].push_back(token(step));
                }
                50..90 => assert_eq!(chunks.pop(&mut queues[which]), models[which].pop_front()),
                90..98 => {
                    let mut dead = BTreeSet::new();
                    chunks.sweep(&mut |token| token.key() % 3 == 0 && dead.insert(token.key()));
                    models.iter_mut().for_each(|model| model.retain(|token| !dead.contains(&token.key())));
                }
                _ => {
                    let behind = std::mem::replace(&mut queues[1], Queue::new(Region::Small));
                    chunks.append(&mut queues[0], behind);
                    let behind = std::mem::take(&mut models[1]);
                    models[0].extend(behind);
                }
            }
            let small = models[0].len() + models[1].len();
            assert_eq!(
                (chunks.len(Region::Small), chunks.len(Region::Main)),
                (small as u64, models[2].len() as u64)
            );
        }
        for (queue, model) in queues.iter_mut().zip(&models) {
            assert_eq!(drain(&mut chunks, queue), Vec::from_iter(model.iter().copied()));
        }
        assert_eq!(chunks.chunks.len(), chunks.unused.len());
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn a_token_takes_little_more_than_eight_bytes() {
        let mut chunks = Chunks::default();
        let mut queue = Queue::new(Region::Main);
        (0..10_000).for_each(|number| chunks.push(&mut queue, token(number)));
        assert!(chunks.bytes() < 88_000, "{}", chunks.bytes());
        for _ in 0..4 * chunks.chunks.len() {
            chunks.sweep(&mut |token| token.key() % 8 != 0);
        }
        assert_eq!(chunks.len(Region::Main), 1_250);
        assert!(chunks.bytes() < 25_000, "{}", chunks.bytes());
        assert_eq!(drain(&mut chunks, &mut queue).len(), 1_250);
    }
}
