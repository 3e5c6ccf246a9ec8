//! The name of a key in an evictor's queues: eight bytes that lead back to the key.

use stdx::PartitionId;

const HASH_BITS: u32 = 38;
const DB_BITS: u32 = 4;
const TICK_BITS: u32 = 6;
const GENERATION_BITS: u32 = 2;
const DB_SHIFT: u32 = HASH_BITS;
const TICK_SHIFT: u32 = DB_SHIFT + DB_BITS;
const GENERATION_SHIFT: u32 = TICK_SHIFT + TICK_BITS;
const PARTITION_SHIFT: u32 = GENERATION_SHIFT + GENERATION_BITS;
const MARK_SHIFT: u32 = HASH_BITS - 32;

const _: () = assert!(stdx::limits::PARTITIONS_MAX as u64 <= 1 << (64 - PARTITION_SHIFT));
const _: () = assert!(stdx::limits::DATABASES as u64 <= 1 << DB_BITS);

/// Ticks that a token and an entry can tell apart.
pub(crate) const TICKS: u32 = 1 << TICK_BITS;
/// Generations of a database that a token can tell apart.
pub(crate) const GENERATIONS: u8 = 1 << GENERATION_BITS;

/// Partition, database and the upper bits of a key's hash.
///
/// ```text
/// | partition (14) | generation (2) | tick (6) | database (4) | hash (38) |
/// ```
/// Two keys of one database share a token about once in 2^38 / keys; the store then finds either of them, which an
/// eviction policy can live with. Generation and tick are notes of the queue that a token lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token(u64);

impl Token {
    /// The token of the key with this hash.
    #[inline]
    pub fn new(partition: PartitionId, db: u8, hash: u64) -> Token {
        Token(
            u64::from(partition.0) << PARTITION_SHIFT
                | u64::from(db) << DB_SHIFT
                | hash >> (u64::BITS - HASH_BITS),
        )
    }

    /// The partition of the key.
    #[inline]
    pub fn partition(self) -> PartitionId {
        PartitionId((self.0 >> PARTITION_SHIFT) as u16)
    }

    /// The database of the key.
    #[inline]
    pub fn db(self) -> u8 {
        (self.0 >> DB_SHIFT) as u8 & ((1 << DB_BITS) - 1)
    }

    /// Whether a key with this hash may be the one.
    #[inline]
    pub fn is_of(self, hash: u64) -> bool {
        self.hash_bits() == hash >> (u64::BITS - HASH_BITS)
    }

    /// The upper half of the hash.
    #[inline]
    pub(crate) fn mark(self) -> u32 {
        (self.0 >> MARK_SHIFT) as u32
    }

    /// Database and hash: names the key within a node, for a key is in one partition only.
    #[inline]
    pub(crate) fn key(self) -> u64 {
        self.0 & ((1 << TICK_SHIFT) - 1)
    }

    /// The bits of the hash.
    #[inline]
    pub(crate) fn hash_bits(self) -> u64 {
        self.0 & ((1 << HASH_BITS) - 1)
    }

    /// All but the tick.
    #[inline]
    pub(crate) fn identity(self) -> u64 {
        self.with_tick(0).0
    }

    #[inline]
    pub(crate) fn tick(self) -> u8 {
        (self.0 >> TICK_SHIFT) as u8 & (TICKS - 1) as u8
    }

    #[inline]
    pub(crate) fn with_tick(self, tick: u8) -> Token {
        let mask = u64::from(TICKS - 1) << TICK_SHIFT;
        Token(self.0 & !mask | u64::from(tick) << TICK_SHIFT & mask)
    }

    #[inline]
    pub(crate) fn generation(self) -> u8 {
        (self.0 >> GENERATION_SHIFT) as u8 & (GENERATIONS - 1)
    }

    #[inline]
    pub(crate) fn with_generation(self, generation: u8) -> Token {
        let mask = u64::from(GENERATIONS - 1) << GENERATION_SHIFT;
        Token(self.0 & !mask | u64::from(generation) << GENERATION_SHIFT & mask)
    }

    /// As two words, for what keeps it beside a third.
    #[inline]
    pub(crate) fn to_words(self) -> [u32; 2] {
        [(self.0 >> 32) as u32, self.0 as u32]
    }

    #[inline]
    pub(crate) fn from_words([high, low]: [u32; 2]) -> Token {
        Token(u64::from(high) << 32 | u64::from(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_touch_each_other() {
        let hash = 0xfedc_ba98_7654_3210;
        for (partition, db, tick, generation) in [(0, 0, 63, 3), (16_383, 15, 0, 0), (300, 7, 33, 2)] {
            let plain = Token::new(PartitionId(partition), db, hash);
            let token = plain.with_tick(tick).with_generation(generation);
            assert_eq!((token.partition().0, token.db()), (partition, db));
            assert_eq!((token.tick(), token.generation()), (tick, generation));
            assert_eq!(token.mark(), 0xfedc_ba98);
            assert!(token.is_of(hash) && !token.is_of(hash ^ 1 << 26) && token.is_of(hash ^ 1 << 25));
            assert_eq!((token.key(), token.with_tick(0).with_generation(0)), (plain.key(), plain));
            assert_eq!(Token::from_words(token.to_words()), token);
        }
    }
}
