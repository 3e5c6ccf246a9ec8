//! What a handler may touch: the partitions of its keys, to read or to write.
//!
//! A read context has no way to mutate. A write context has [`WriteCtx::emit`], which applies the effect to the store,
//! encodes it into the partition's record and notes the key for WATCH in one step, so that no handler can forget one of
//! them; and for filters [`WriteCtx::change_filter`], which makes the change first and then does the same with what came
//! of it. Most commands touch one partition; then no slot is computed at all, because
//! whoever routed the command here has done so already.

use crate::filter::FilterChange;
use effect::{Cause, Effect, Elements, Kind, RecordBuilder};
use stdx::{PartitionId, Random, Wall};
use store::eviction::Policy;
use store::{EntryRef, FilterMut, Locator, Partition};

/// In a list of touched keys: every key of the database. A key may hash to the same number; it is then noted as
/// touched once too often, which WATCH allows.
pub const TOUCHED_ALL: u64 = u64::MAX;

/// One locked partition, and where its changes are noted.
pub struct Access<'a> {
    /// Which partition this is.
    pub id: PartitionId,
    /// Its keys and values.
    pub store: &'a mut Partition,
    /// The effects of the command, encoded in the order in which they were applied.
    pub record: &'a mut RecordBuilder,
    /// (database, hash) of every key changed, or [`TOUCHED_ALL`].
    pub touched: &'a mut Vec<(u8, u64)>,
    /// Whether effects are encoded at all; false if nobody replicates, persists or observes them.
    pub log: bool,
}

impl Access<'_> {
    /// Makes a change: applies it, encodes it and notes the key, which is at `at`, as touched; [`TOUCHED_ALL`] is
    /// the hash of what has no key.
    #[inline(always)]
    pub(crate) fn emit(&mut self, effect: &Effect<'_>, at: Locator, now: Wall) {
        self.store.apply(effect, at, now);
        self.note(effect, at);
    }

    /// Encodes a change that has been made and notes the key as touched.
    #[inline(always)]
    fn note(&mut self, effect: &Effect<'_>, at: Locator) {
        if self.log {
            self.record.push(effect);
        }
        self.touched.push((effect.db(), at.hash()));
    }
}

/// What whoever routed a command has found out about one of its keys.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The key: the same bytes in memory as the command's word, not merely equal ones.
    pub key: &'a [u8],
    /// Its hash, see [`Partition::hash`], and where it was seen.
    pub locator: Locator,
    /// Which of the accesses is its partition's.
    pub access: usize,
}

/// What a command that reads may use.
pub struct ReadCtx<'a> {
    /// The database that the client has selected.
    pub db: u8,
    /// The time of the whole command: a key is expired or not, never both.
    pub now: Wall,
    /// Whether looking at a key counts as an access; false for a client in NO-TOUCH mode.
    pub touch: bool,
    /// The policy of eviction in force: it decides which accesses are tracked. None evicts unless whoever runs the command
    /// says otherwise.
    pub policy: Policy,
    set: AccessSet<'a>,
}

/// What a command that writes may use: all that a read may, and [`WriteCtx::emit`].
pub struct WriteCtx<'a> {
    /// The database that the client has selected.
    pub db: u8,
    /// The time of the whole command.
    pub now: Wall,
    /// Whether looking at a key counts as an access; false for a client in NO-TOUCH mode.
    pub touch: bool,
    set: AccessSet<'a>,
}

struct AccessSet<'a> {
    partitions: u16,
    accesses: &'a mut [Access<'a>],
    /// Keys in the order in which the command will most likely ask for them.
    placed: &'a [Placed<'a>],
    /// The one it asked for last.
    at: usize,
    /// Look-ups that found their key, and those that did not: INFO's keyspace_hits and keyspace_misses.
    lookups: (u64, u64),
}

impl<'a> AccessSet<'a> {
    /// Which access is a key's, where to look for the key there, and its place among those that were placed.
    #[inline]
    fn find(&self, key: &[u8]) -> (usize, Locator, usize) {
        // Commands take their keys in order, and some look at one twice.
        for at in [self.at, self.at + 1] {
            if let Some(placed) = self.placed.get(at)
                && std::ptr::eq(placed.key, key)
            {
                return (placed.access, placed.locator, at);
            }
        }
        self.search(key)
    }

    #[cold]
    fn search(&self, key: &[u8]) -> (usize, Locator, usize) {
        let index = match &*self.accesses {
            [_] => 0,
            several => {
                let id = PartitionId::of_key(key, self.partitions);
                several.iter().position(|access| access.id == id).expect(ROUTED)
            }
        };
        (index, self.accesses[index].store.hash(key).into(), self.at)
    }

    #[inline]
    fn of(&mut self, key: &[u8]) -> (&mut Access<'a>, Locator) {
        let (index, locator, at) = self.find(key);
        self.at = at;
        (&mut self.accesses[index], locator)
    }

    #[inline]
    fn of_ref(&self, key: &[u8]) -> (&Access<'a>, Locator) {
        let (index, locator, _) = self.find(key);
        (&self.accesses[index], locator)
    }
}

const ROUTED: &str = "the dispatcher locks the partition of every key that the command's row names";

macro_rules! reads {
    ($context:ident $(, $field:ident: $value:expr)?) => {
        impl<'a> $context<'a> {
            /// A context over the locked partitions of the command's keys.
            ///
            /// `partitions` is the number of partitions of the cluster.
            #[inline]
            pub fn new(db: u8, now: Wall, partitions: u16, accesses: &'a mut [Access<'a>]) -> $context<'a> {
                assert!(!accesses.is_empty(), "a command runs on at least one partition");
                let set = AccessSet { partitions, accesses, placed: &[], at: 0, lookups: (0, 0) };
                $context { db, now, touch: true, $($field: $value,)? set }
            }

            /// Tells what is known of the keys, so that it need not be found out again. Any number of them, right or
            /// none at all.
            #[inline]
            pub fn place(&mut self, placed: &'a [Placed<'a>]) {
                self.set.placed = placed;
            }

            /// The entry of `key`, if there is one that has not expired; counts as an access.
            #[inline]
            pub fn get(&mut self, key: &[u8]) -> Option<EntryRef<'_>> {
                self.get_in(self.db, key)
            }

            /// As `get`, in another database.
            #[inline]
            pub fn get_in(&mut self, db: u8, key: &[u8]) -> Option<EntryRef<'_>> {
                let (now, touch) = (self.now, self.touch);
                let (index, at, place) = self.set.find(key);
                self.set.at = place;
                let AccessSet { accesses, lookups, .. } = &mut self.set;
                let store = &mut *accesses[index].store;
                let entry = if touch { store.get(db, key, at, now) } else { store.peek(db, key, at, now) };
                *(if entry.is_some() { &mut lookups.0 } else { &mut lookups.1 }) += 1;
                entry
            }

            /// Random numbers for a command that takes something of `key` by chance.
            pub(crate) fn random(&mut self, key: &[u8]) -> Random {
                let (access, _) = self.set.of(key);
                Random::seeded(access.store.draw())
            }

            /// Look-ups so far that found their key, and that did not.
            pub fn lookups(&self) -> (u64, u64) {
                self.set.lookups
            }

            /// The entry of `key` without counting as an access.
            pub fn peek(&self, key: &[u8]) -> Option<EntryRef<'_>> {
                self.peek_in(self.db, key)
            }

            /// As `peek`, in another database.
            pub fn peek_in(&self, db: u8, key: &[u8]) -> Option<EntryRef<'_>> {
                let (access, at) = self.set.of_ref(key);
                access.store.peek(db, key, at, self.now)
            }

            /// The store of a partition of this command, to look at.
            ///
            /// # Panics
            /// If the command was not given that partition.
            pub fn access(&self, id: PartitionId) -> &Partition {
                self.set.accesses.iter().find(|access| access.id == id).expect(ROUTED).store
            }

            /// The store of the only partition that a command of `Run::Partitions` or `Run::Scan` is given.
            pub fn only(&self) -> &Partition {
                debug_assert_eq!(self.set.accesses.len(), 1);
                self.set.accesses[0].store
            }
        }
    };
}

reads!(ReadCtx, policy: Policy::NoEviction);
reads!(WriteCtx);

impl WriteCtx<'_> {
    /// Makes a change: applies it to the partition of its key, encodes it and notes the key as touched.
    ///
    /// A `Flush` goes to the only partition of the context.
    ///
    /// # Panics
    /// If the partition of the key is not locked: a bug in routing or in the command's row.
    #[inline]
    pub fn emit(&mut self, effect: Effect<'_>) {
        let now = self.now;
        let (access, at) = match effect.key() {
            None => {
                debug_assert_eq!(self.set.accesses.len(), 1);
                (&mut self.set.accesses[0], Locator::from(TOUCHED_ALL))
            }
            Some(key) => self.set.of(key),
        };
        access.emit(&effect, at, now);
    }

    /// Changes the filter of `key`, whose whereabouts the caller has looked up, and encodes what `change` says that it has
    /// changed; `None` if the key holds no filter.
    pub(crate) fn change_filter<'b, T>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut FilterMut<'_>) -> (T, FilterChange<'b>),
    ) -> Option<T> {
        let (db, now) = (self.db, self.now);
        let (access, at) = self.set.of(key);
        let (outcome, changed) = access.store.change_filter(db, key, at, now, change)?;
        changed.with_effect(db, key, |effect| access.note(effect, at));
        Some(outcome)
    }

    /// Runs `body` and visits the effects that it has had in each partition, encoded.
    pub fn noting_effects(&mut self, body: impl FnOnce(&mut Self), mut visit: impl FnMut(&[u8])) {
        let lens: Vec<usize> = self.set.accesses.iter().map(|access| access.record.bytes().len()).collect();
        body(self);
        for (access, before) in self.set.accesses.iter().zip(lens) {
            let effects = access.record.bytes().get(before..).unwrap_or_default();
            if !effects.is_empty() {
                visit(effects);
            }
        }
    }

    /// The key holds this string from now on.
    #[inline]
    pub fn set_string(&mut self, key: &[u8], value: &[u8], expire_at: Option<Wall>) {
        self.emit(Effect::SetString { db: self.db, key, value, expire_at });
    }

    /// The collection of `key`, made if there is none, has these elements from now on. What an expired one has left is buried
    /// first.
    pub(crate) fn put_elements(&mut self, key: &[u8], kind: Kind, elements: &[&[u8]]) {
        self.bury_expired(key);
        self.emit(Effect::PutElements { db: self.db, key, kind, elements: Elements::words(elements) });
    }

    /// The collection of `key` has these elements no longer, out of `len` that it has; without the last one the key is gone.
    pub(crate) fn drop_elements(&mut self, key: &[u8], kind: Kind, elements: &[&[u8]], len: usize) {
        if elements.len() >= len {
            return self.remove(key);
        }
        self.emit(Effect::DropElements { db: self.db, key, kind, elements: Elements::words(elements) });
    }

    /// The key holds this collection from now on, without a deadline; nothing if the collection is empty. Whether it does.
    pub(crate) fn store_collection(&mut self, key: &[u8], kind: Kind, elements: Elements<'_>) -> bool {
        if !elements.is_empty() {
            self.emit(Effect::SetCollection { db: self.db, key, kind, elements, expire_at: None });
            return true;
        }
        self.bury_expired(key);
        if self.peek(key).is_some() {
            self.remove(key);
        }
        false
    }

    /// Removes the key, which the caller has seen to exist.
    pub fn remove(&mut self, key: &[u8]) {
        self.emit(Effect::Remove { db: self.db, key, cause: Cause::Deleted });
    }

    /// Removes what is left of `key` if its deadline has passed: before an effect that builds on the stored value,
    /// because a replica applies effects without looking at a clock.
    pub fn bury_expired(&mut self, key: &[u8]) {
        let db = self.db;
        let (access, at) = self.set.of(key);
        let store = &*access.store;
        let buried =
            store.peek(db, key, at, self.now).is_none() && store.peek(db, key, at, Wall(0)).is_some();
        if buried {
            self.emit(Effect::Remove { db, key, cause: Cause::Expired });
        }
    }
}
