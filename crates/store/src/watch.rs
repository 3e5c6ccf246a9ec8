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
    /// Takes time in proportion to the keys. Do it when the policy is set and when the partition becomes one whose keys
    /// may be evicted here, or ceases to be.
    pub fn watch(&mut self, pulse: Option<(Arc<Pulse>, PartitionId)>) {
        (0..DATABASES).for_each(|db| self.note_flush(db));
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

    /// The token of the key of any database that expires first. `id` is this partition's.
    pub fn soonest_token(&mut self, id: PartitionId) -> Option<Token> {
        let bound = |db: &u8| self.database(*db).and_then(|database| database.deadlines().bound());
        let db = (0..DATABASES).filter(|db| bound(db).is_some()).min_by_key(bound)?;
        let hash = self.database_mut_if_any(db)?.soonest()?;
        Some(Token::new(id, db, hash))
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
            && matches!(effect, Effect::SetString { .. } | Effect::Splice { .. })
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
        if let Some(watch) = self.watched().filter(|watch| watch.pulse.tracked().is_some()) {
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
