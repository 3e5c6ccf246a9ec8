//! A partition as an evictor sees it: what it notes for the evictor, and how a token leads back to a key.

use crate::Partition;
use crate::access::Moment;
use crate::access::seconds_of;
use crate::deadlines::TICKET_BYTES;
use crate::eviction::{Facts, Note, Pulse, Scope, Token};
use crate::locator::Locator;
use crate::node::Node;
use crate::segment::SLOT_BYTES;
use effect::Effect;
use std::sync::Arc;
use stdx::limits::DATABASES;
use stdx::{PartitionId, Random, Wall};

/// The pulse that a partition has to do with.
#[derive(Debug)]
pub(crate) struct Watch {
    pulse: Arc<Pulse>,
    /// The partition's own.
    id: PartitionId,
    /// Uses that were not told yet.
    uses: u32,
}

impl Watch {
    #[inline]
    pub(crate) fn is_sampled(&self, hash: u64) -> bool {
        self.pulse.is_sampled(hash)
    }

    /// What a use notes; counts it.
    #[inline]
    pub(crate) fn use_at(&mut self, seconds: u32) -> Moment {
        self.uses += 1;
        if self.uses >= self.pulse.spill() {
            self.pulse.count(std::mem::take(&mut self.uses));
        }
        self.pulse.moment(seconds)
    }

    fn token(&self, db: u8, hash: u64) -> Token {
        Token::new(self.id, db, hash)
    }
}

impl Partition {
    /// Tells the evictor of this pulse from now on what comes and goes, beginning with the keys that are there; or, with
    /// `None`, that they are gone from its view. `id` is this partition's.
    ///
    /// Under policies that ask for nothing of the kind it is as with `None`: such a partition pays nothing for them.
    ///
    /// Takes time in proportion to the keys. Do it when the policy is set and when the partition becomes one whose keys
    /// may be evicted here, or ceases to be.
    pub fn watch(&mut self, pulse: Option<(Arc<Pulse>, PartitionId)>) {
        (0..DATABASES).for_each(|db| self.note_flush(db));
        let pulse = pulse.filter(|(pulse, _)| pulse.tracked().is_some());
        self.set_watch(pulse.map(|(pulse, id)| Watch { pulse, id, uses: 0 }));
        let Some(watch) = self.watched() else { return };
        let Some(scope) = watch.pulse.tracked() else { return };
        for db in 0..DATABASES {
            let Some(database) = self.database(db) else { continue };
            for node in database.table().iter().filter(|node| is_in(scope, node)) {
                let token = watch.token(db, self.hash(node.key())).with_tick(node.access().uses() >> 2);
                watch.pulse.note(Note::Inserted(token, bytes_of(node)));
            }
        }
    }

    /// The key that a token leads to, and its hash.
    pub fn key_of(&self, token: Token) -> Option<(&[u8], u64)> {
        let (node, hash) = self.database(token.db())?.find_token(token)?;
        Some((node.key(), hash))
    }

    /// What is known of the key that a token leads to; `None` if there is none, or none that the policy may evict.
    pub fn facts(&self, token: Token, now: Wall) -> Option<Facts> {
        let (node, _) = self.database(token.db())?.find_token(token)?;
        let access = node.access();
        Some(Facts {
            bits: access.uses(),
            frequency: access.frequency(seconds_of(now)),
            idle_seconds: access.idle_seconds(seconds_of(now)),
            bytes: u64::from(bytes_of(node)),
            expires: node.expire_at().is_some(),
        })
    }

    /// Sets the byte of uses of the key that a token leads to.
    pub fn set_bits(&mut self, token: Token, bits: u8) {
        let database = self.database_mut_if_any(token.db());
        if let Some(node) = database.and_then(|database| database.find_token_mut(token)) {
            node.set_access(node.access().with_uses(bits));
        }
    }

    /// Keys of all databases.
    pub fn len_all(&self) -> u64 {
        (0..DATABASES).map(|db| self.len(db)).sum()
    }

    /// The token of any key of any database, each about equally likely. `id` is this partition's.
    pub fn any_token(&self, id: PartitionId, random: &mut Random) -> Option<Token> {
        let mut at = random.below(self.len_all());
        let db = (0..DATABASES).find(|&db| {
            let len = self.len(db);
            let is_here = at < len;
            at -= at.min(len);
            is_here
        })?;
        let node = self.database(db)?.table().random(random, |_| true)?;
        Some(Token::new(id, db, self.hash(node.key())))
    }

    /// The earliest deadline of any database, and the token of the key that has it. `id` is this partition's.
    pub fn soonest_token(&mut self, id: PartitionId) -> Option<(Wall, Token)> {
        let soonest = (0..DATABASES).filter_map(|db| {
            let (at, hash) = self.database_mut_if_any(db)?.soonest()?;
            Some((at, Token::new(id, db, hash)))
        });
        soonest.min_by_key(|(at, _)| *at)
    }

    /// Keys of a database that the evictor has tokens of: by a change of it, one was added or taken away.
    #[inline]
    pub(crate) fn watched_len(&self, db: u8) -> u64 {
        match self.watched().and_then(|watch| watch.pulse.tracked()) {
            None => 0,
            Some(Scope::All) => self.len(db),
            Some(Scope::Volatile) => self.expires_len(db),
        }
    }

    /// Tells what an effect has changed, of which there were `before` keys.
    #[inline(never)]
    pub(crate) fn note_change(&self, effect: &Effect<'_>, at: Locator, before: u64) {
        let Some(watch) = self.watched() else { return };
        let db = effect.db();
        let Some(key) = effect.key() else { return self.note_flush(db) };
        let after = self.watched_len(db);
        let token = watch.token(db, at.hash());
        if after < before {
            watch.pulse.note(Note::Removed(token));
        } else if after > before {
            let node = self.database(db).and_then(|database| database.table().find(at, key));
            let Some(node) = node else { return };
            let token = token.with_tick(node.access().uses() >> 2);
            watch.pulse.note(Note::Inserted(token, bytes_of(node)));
        } else if watch.is_sampled(at.hash())
            && !matches!(effect, Effect::ExpireAt { .. } | Effect::Remove { .. })
        {
            watch.pulse.note(Note::Written(token));
        }
    }

    /// Tells that a sampled key was asked for.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_read(&self, db: u8, key: &[u8], at: Locator, now: Wall) {
        if let Some(watch) = self.watched() {
            let exists = self.peek(db, key, at, now).is_some();
            watch.pulse.note(Note::Read(watch.token(db, at.hash()), exists));
        }
    }

    /// Tells that a database is empty.
    pub(crate) fn note_flush(&self, db: u8) {
        if let Some(watch) = self.watched() {
            watch.pulse.note(Note::Flushed(watch.token(db, 0)));
        }
    }
}

fn is_in(scope: Scope, node: &Node) -> bool {
    scope == Scope::All || node.expire_at().is_some()
}

fn bytes_of(node: &Node) -> u32 {
    let ticket_bytes = if node.expire_at().is_some() { TICKET_BYTES } else { 0 };
    u32::try_from(node.bytes() + SLOT_BYTES + ticket_bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::{Entries, Evictor, Group, Partitions, Policy};
    use effect::Cause;

    const NOW: Wall = Wall(1_000_000);

    struct Several(Vec<Partition>);

    impl Partitions for Several {
        fn len(&self) -> u16 {
            self.0.len() as u16
        }

        fn with<R>(&mut self, id: PartitionId, f: impl FnOnce(&mut Partition) -> R) -> Option<R> {
            self.0.get_mut(usize::from(id.0)).map(f)
        }
    }

    fn set(partition: &mut Partition, db: u8, key: &[u8], expire_at: Option<Wall>) -> u64 {
        let hash = partition.hash(key);
        partition.apply(&Effect::SetString { db, key, value: b"v", expire_at }, hash, NOW);
        hash
    }

    #[test]
    fn tokens_lead_to_keys_and_back() {
        let mut partition = Partition::new(3);
        let evictor = Evictor::new(Policy::parse("allkeys-lru").expect("a policy"), 1);
        partition.watch(Some((Arc::clone(evictor.pulse()), PartitionId(5))));
        let keys: Vec<String> = (0..500).map(|i| format!("key:{i}")).collect();
        for (db, key) in keys.iter().enumerate().map(|(i, key)| ((i % 3) as u8, key.as_bytes())) {
            let hash = set(&mut partition, db, key, None);
            let token = Token::new(PartitionId(5), db, hash);
            assert_eq!(partition.key_of(token), Some((key, hash)));
            let facts = partition.facts(token, NOW).expect("it is there");
            assert_eq!((facts.bits & 3, facts.idle_seconds, facts.expires), (0, 0, false));
            assert!((16..100).contains(&facts.bytes));
            assert!(partition.get(db, key, hash, NOW).is_some());
            assert_eq!(partition.facts(token, NOW).map(|facts| facts.bits & 3), Some(1));
            partition.set_bits(token, 3);
            assert_eq!(partition.facts(token, NOW).map(|facts| facts.bits), Some(3));
            assert!(partition.facts(Token::new(PartitionId(5), 3, hash), NOW).is_none());
            partition.set_bits(Token::new(PartitionId(5), 3, hash), 1);
            partition.apply(&Effect::Remove { db, key, cause: Cause::Deleted }, hash, NOW);
            assert_eq!(partition.key_of(token), None);
        }
        assert_eq!(
            (partition.len_all(), partition.any_token(PartitionId(5), &mut Random::seeded(1))),
            (0, None)
        );
    }

    #[test]
    fn frequencies_are_untouched_without_a_policy() {
        let mut partition = Partition::new(3);
        let evictor = Evictor::new(Policy::default(), 1);
        partition.watch(Some((Arc::clone(evictor.pulse()), PartitionId(0))));
        let hash = set(&mut partition, 0, b"a", None);
        assert_eq!(partition.get(0, b"a", hash, NOW).map(|entry| entry.frequency()), Some(6));
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn any_key_is_drawn_alike_from_large_and_small_partitions() {
        let mut several = Several((0..16).map(|_| Partition::new(3)).collect());
        // A thousand keys in one, ten in another, of two databases.
        for i in 0..1_000u32 {
            set(&mut several.0[3], (i % 2) as u8, &i.to_le_bytes(), None);
        }
        for i in 0..10u32 {
            set(&mut several.0[9], 0, &i.to_le_bytes(), None);
        }
        let mut group = Group::new(&mut several, NOW);
        let mut random = Random::seeded(8);
        let mut met = [0; 16];
        for _ in 0..10_000 {
            let token = group.any(&mut random).expect("there are keys");
            met[usize::from(token.partition().0)] += 1;
        }
        assert_eq!(met[3] + met[9], 10_000);
        assert!((30..400).contains(&met[9]), "{}", met[9]);
        assert_eq!(Group::new(&mut Several(Vec::new()), NOW).any(&mut random), None);
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn the_soonest_key_is_found_over_partitions_and_databases() {
        let mut several = Several((0..8).map(|_| Partition::new(3)).collect());
        let mut random = Random::seeded(8);
        assert_eq!(Group::new(&mut several, NOW).soonest(&mut random), None);
        set(&mut several.0[1], 0, b"never", None);
        for i in 0..200u64 {
            let at = Some(Wall(NOW.0 + 1_000 + (i * 37) % 200));
            set(&mut several.0[(i % 8) as usize], (i % 5) as u8, &i.to_le_bytes(), at);
        }
        for expected in 0..200 {
            let token = Group::new(&mut several, NOW).soonest(&mut random).expect("some are left");
            let partition = &mut several.0[usize::from(token.partition().0)];
            let (key, hash) = partition.key_of(token).expect("it is there");
            let key = key.to_vec();
            let at = partition.peek(token.db(), &key, hash, NOW).and_then(|entry| entry.expire_at());
            assert_eq!(at, Some(Wall(NOW.0 + 1_000 + expected)));
            partition.apply(&Effect::Remove { db: token.db(), key: &key, cause: Cause::Evicted }, hash, NOW);
        }
        assert_eq!(Group::new(&mut several, NOW).soonest(&mut random), None);
    }
}
