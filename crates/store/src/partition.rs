//! One partition: 16 databases, allocated when first written, and the garbage that changes leave.
//!
//! Callers hold a partition's lock while they use it, so nothing in here waits, and nothing takes long: see the limits
//! in `table` and `segment`. Reads take the time of the command, and hide what is expired by then; only
//! [`Effect::Remove`] makes it gone.

use crate::access::{Moment, seconds_of};
use crate::collection::{self, Change, Splice};
use crate::database::Database;
use crate::entry::{EntryRef, is_expired};
use crate::filter::{Filter, FilterMut};
use crate::filter_totals::FilterTotals;
use crate::garbage::{Garbage, Remains};
use crate::locator::Locator;
use crate::node::Node;
use crate::table::POSITIONS;
use crate::watch::Watch;
use effect::{Effect, Elements, Kind};
use stdx::hash::{hash64, mix64};
use stdx::limits::DATABASES;
use stdx::{Random, Wall};

const DATABASES_LEN: usize = DATABASES as usize;
/// Home slots that one SCAN step looks at per key asked for, as Redis's limit of empty buckets.
const SCAN_HOMES_PER_KEY: usize = 10;

const _: () = assert!(size_of::<Partition>() <= 1024, "a node has hundreds of empty partitions");

/// The data of one partition.
#[derive(Debug)]
pub struct Partition {
    hash_seed: u64,
    /// State of the random numbers that frequencies need.
    noise: u64,
    /// Where the next search for expired keys begins, so that no database starves.
    expiry_turn: u8,
    databases: [Option<Box<Database>>; DATABASES_LEN],
    garbage: Garbage,
    watch: Option<Watch>,
}

impl Partition {
    /// An empty partition whose look-ups hash keys under `hash_seed`.
    pub fn new(hash_seed: u64) -> Partition {
        Partition {
            hash_seed,
            noise: mix64(hash_seed),
            expiry_turn: 0,
            databases: [const { None }; DATABASES_LEN],
            garbage: Garbage::default(),
            watch: None,
        }
    }

    /// The hash of a key that all other methods ask for: computed once per command.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        hash64(self.hash_seed, key)
    }

    pub(crate) fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    /// Looks a key up and counts the use. An expired key is not there.
    #[inline(always)]
    pub fn get(
        &mut self,
        db: u8,
        key: &[u8],
        locator: impl Into<Locator>,
        now: Wall,
    ) -> Option<EntryRef<'_>> {
        let locator = locator.into();
        let moment = match self.watch {
            None => Moment::plain(seconds_of(now)),
            Some(_) => self.moment_of_read(db, key, locator, now),
        };
        let database = self.databases.get_mut(usize::from(db))?.as_mut()?;
        let node = database.find_mut(locator, key)?;
        if is_expired(node.expire_at(), now) {
            return None;
        }
        // The hash is random enough; the counter makes uses of one key differ (steps of the golden ratio, as a Weyl sequence).
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let noise = ((self.noise ^ locator.hash()).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32;
        node.set_access(node.access().touched(moment, noise));
        Some(EntryRef::new(node, now))
    }

    /// Looks a key up without a trace. An expired key is not there.
    #[inline]
    pub fn peek(&self, db: u8, key: &[u8], locator: impl Into<Locator>, now: Wall) -> Option<EntryRef<'_>> {
        let node = self.database(db)?.table().find(locator.into(), key)?;
        (!is_expired(node.expire_at(), now)).then(|| EntryRef::new(node, now))
    }

    /// First half of warming up for a key that will be looked up soon: brings its place in the table closer, and says
    /// where that is.
    #[inline(always)]
    pub fn prefetch_place(&self, db: u8, hash: u64) -> Locator {
        match self.database(db) {
            Some(database) => database.table().prefetch_home(hash),
            None => hash.into(),
        }
    }

    /// Second half, some time later, with what the first half gave: brings the entry closer, and says where it is.
    #[inline(always)]
    pub fn prefetch_entry(&self, db: u8, place: Locator) -> Locator {
        match self.database(db) {
            Some(database) => database.table().prefetch_node(place),
            None => place,
        }
    }

    /// Applies an effect: the only way in which content changes. `locator` is that of the effect's key and ignored by
    /// [`Effect::Flush`]; `now` only sets the access clock. The same effects in the same order give the same content.
    ///
    /// A splice of an expired key changes the expired value: the command removes the key first.
    ///
    /// False, and nothing is changed, if the effect brings a filter whose bytes are none: it was not made by a partition.
    #[inline]
    pub fn apply(&mut self, effect: &Effect<'_>, locator: impl Into<Locator>, now: Wall) -> bool {
        let at: Locator = locator.into();
        debug_assert!(
            effect.key().is_none_or(|key| at.hash() == self.hash(key)),
            "the hash is that of the key"
        );
        let (moment, before) = match self.watch {
            None => (Moment::plain(seconds_of(now)), 0),
            Some(_) => (self.moment(now), self.watched_len(effect.db())),
        };
        match *effect {
            Effect::SetString { db, key, value, expire_at } => {
                let former = self.database_mut(db).set(at, key, value, expire_at, moment);
                self.discard(former);
            }
            Effect::Splice { db, key, offset, bytes } => {
                let offset =
                    usize::try_from(offset).expect("the decoder and the commands bound the end of a splice");
                self.database_mut(db).splice(at, key, offset, bytes, moment);
            }
            Effect::Remove { db, key, .. } => self.remove(db, key, at.mark()),
            Effect::ExpireAt { db, key, at: deadline } => {
                if let Some(database) = self.databases[usize::from(db)].as_mut() {
                    database.expire_at(at, key, deadline);
                }
            }
            Effect::Flush { db } => self.flush(db),
            Effect::PutElements { db, key, kind, elements } => {
                self.change_collection(db, key, at, (kind, Change::Put(elements)), moment);
            }
            Effect::DropElements { db, key, kind, elements } => {
                self.change_collection(db, key, at, (kind, Change::Drop(elements)), moment);
            }
            Effect::SpliceList { db, key, revision, index, removed, elements } => {
                let splice = Splice { revision, index, removed, elements };
                self.change_collection(db, key, at, (Kind::List, Change::Splice(splice)), moment);
            }
            Effect::ChangeStream { db, key, change } => {
                self.change_collection(db, key, at, (Kind::Stream, Change::Stream(change)), moment);
            }
            Effect::SetCollection { db, key, kind, elements, expire_at } => {
                self.set_collection(db, key, at, (kind, elements), expire_at, moment);
            }
            _ => {
                if !self.apply_to_filter(effect, at, now) {
                    return false;
                }
            }
        }
        if self.watch.is_some() {
            self.note_change(effect, at, before);
        }
        true
    }

    fn change_collection(
        &mut self,
        db: u8,
        key: &[u8],
        at: Locator,
        change: (Kind, Change<'_>),
        moment: Moment,
    ) {
        let mut remains = std::mem::take(&mut self.garbage.remains);
        self.database_mut(db).change_collection(at, key, change, moment, &mut remains);
        self.garbage.remains = remains;
    }

    fn set_collection(
        &mut self,
        db: u8,
        key: &[u8],
        at: Locator,
        (kind, elements): (Kind, Elements<'_>),
        expire_at: Option<Wall>,
        moment: Moment,
    ) {
        let hash_seed = self.hash_seed;
        let former = self.database_mut(db).set_node(at, key, moment, |access| {
            let mut node = Node::of_packed(key, kind, &[], expire_at, access);
            collection::change(&mut node, kind, Change::Whole(elements), hash_seed, &mut Vec::new());
            node
        });
        self.discard(former);
    }

    /// The effects on filters.
    #[cold]
    fn apply_to_filter(&mut self, effect: &Effect<'_>, at: Locator, now: Wall) -> bool {
        let (db, key, filter, expire_at) = match *effect {
            Effect::SetFilter { db, key, filter, expire_at } => (db, key, Filter::decode(filter), expire_at),
            Effect::CreateFilter { db, key, header } => (db, key, Filter::decode_empty(header), None),
            Effect::AddToFilter { db, key, revision, hashes } => {
                self.change_filter(db, key, at, now, |filter| filter.add_from(revision, hashes));
                return true;
            }
            Effect::DeleteFromFilter { db, key, revision, hashes } => {
                self.change_filter(db, key, at, now, |filter| filter.delete_from(revision, hashes));
                return true;
            }
            Effect::LoadFilter { db, key, offset, bytes } => {
                // What does not follow has been loaded already, or will come with the whole.
                self.change_filter(db, key, at, now, |filter| filter.load(offset, bytes).is_ok());
                return true;
            }
            _ => return true,
        };
        let Ok(filter) = filter else { return false };
        let moment = self.moment(now);
        let make = |access| Node::of_filter(key, filter, expire_at, access);
        let former = self.database_mut(db).set_node(at, key, moment, make);
        self.discard(former);
        true
    }

    /// Changes the filter of a key by `change`, whose outcome it gives back; `None` if the key holds no filter.
    ///
    /// Whoever changes a filter this way rather than by [`Partition::apply`], because only trying tells what comes of
    /// it, owes the effect that repeats the change.
    pub fn change_filter<T>(
        &mut self,
        db: u8,
        key: &[u8],
        locator: impl Into<Locator>,
        now: Wall,
        change: impl FnOnce(&mut FilterMut<'_>) -> T,
    ) -> Option<T> {
        let moment = self.moment(now);
        let database = self.databases.get_mut(usize::from(db))?.as_mut()?;
        database.change_filter(locator.into(), key, moment, &mut self.garbage.remains, change)
    }

    /// A random number, from which a command that takes something by chance may begin.
    pub fn draw(&mut self) -> u64 {
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix64(self.noise)
    }

    /// Whether there is something to be freed elsewhere.
    #[inline]
    pub fn has_garbage(&self) -> bool {
        !self.garbage.is_empty()
    }

    /// Takes what is to be freed elsewhere; cheap when there is nothing.
    pub fn take_garbage(&mut self) -> Garbage {
        std::mem::take(&mut self.garbage)
    }

    /// Keys of a database, expired ones that are not removed yet included (as DBSIZE counts).
    pub fn len(&self, db: u8) -> u64 {
        self.database(db).map_or(0, |database| database.table().len())
    }

    /// Keys of a database that have a deadline.
    pub fn expires_len(&self, db: u8) -> u64 {
        self.database(db).map_or(0, |database| database.deadlines().len())
    }

    /// Whether no database has a key.
    pub fn is_empty(&self) -> bool {
        (0..DATABASES).all(|db| self.len(db) == 0)
    }

    /// Memory that keys, values and tables take, as an allocator would count it; garbage is not in it.
    pub fn memory_bytes(&self) -> u64 {
        self.databases.iter().flatten().map(|database| database.bytes() as u64).sum()
    }

    /// What the filters of all databases are.
    pub fn filter_totals(&self) -> FilterTotals {
        self.databases.iter().flatten().fold(FilterTotals::default(), |mut totals, database| {
            totals += database.filters();
            totals
        })
    }

    /// Visits about `count` keys from `cursor` (0 at the start) on and gives the next cursor, 0 at the end. Cursors
    /// take 32 bits. A key that is there from the first call to the last is visited at least once, whatever else
    /// changes in between.
    pub fn scan(
        &self,
        db: u8,
        cursor: u64,
        count: usize,
        now: Wall,
        visit: &mut dyn FnMut(&[u8], EntryRef<'_>),
    ) -> u64 {
        let Some(database) = self.database(db) else { return 0 };
        let count = count.max(1);
        let mut position = cursor;
        let (mut met, mut homes) = (0, 0);
        // Met, not visited: a run of expired keys must not make one step long.
        while position < POSITIONS && met < count && homes < count.saturating_mul(SCAN_HOMES_PER_KEY) {
            let (nodes, next) = database.table().home_at(position);
            for node in nodes {
                met += 1;
                if !is_expired(node.expire_at(), now) {
                    visit(node.key(), EntryRef::new(node, now));
                }
            }
            homes += 1;
            position = next;
        }
        if position < POSITIONS { position } else { 0 }
    }

    /// A key that is not expired, each about equally likely; `None` if there is none, or none was met in bounded time
    /// among many expired ones.
    pub fn random_key(&self, db: u8, random: &mut Random, now: Wall) -> Option<&[u8]> {
        let table = self.database(db)?.table();
        table.random(random, |node| !is_expired(node.expire_at(), now)).map(Node::key)
    }

    /// Visits keys whose deadline has passed (database, key, hash), at most `budget`, and says how many; those of one
    /// database roughly in order, the earliest first. They stay until the caller applies their [`Effect::Remove`].
    /// Costs what is due, not what is stored.
    pub fn expired(&mut self, now: Wall, budget: usize, visit: &mut dyn FnMut(u8, &[u8], u64)) -> usize {
        let first = self.expiry_turn;
        self.expiry_turn = (first + 1) % DATABASES;
        let mut visited = 0;
        for turn in 0..DATABASES {
            let db = (first + turn) % DATABASES;
            let Some(database) = self.databases[usize::from(db)].as_mut() else { continue };
            visited += database.due(now, budget - visited, &mut |key, hash| visit(db, key, hash));
        }
        visited
    }

    /// A time before which no key is due: the earliest deadline, or an earlier one of a key that is gone or has another
    /// deadline since the last [`Partition::expired`]. `None` if no key has one.
    pub fn next_deadline(&self) -> Option<Wall> {
        self.databases.iter().flatten().filter_map(|database| database.deadlines().bound()).min()
    }

    /// Removes everything: what is left is as [`Partition::new`] made it, and garbage.
    pub fn clear(&mut self) {
        for db in 0..DATABASES {
            self.flush(db);
            self.note_flush(db);
        }
    }

    #[inline]
    pub(crate) fn database(&self, db: u8) -> Option<&Database> {
        self.databases.get(usize::from(db))?.as_deref()
    }

    pub(crate) fn watched(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    pub(crate) fn set_watch(&mut self, watch: Option<Watch>) {
        self.watch = watch;
    }

    /// What a read of a key notes now; counts it, and tells of it if the key is sampled.
    #[inline(never)]
    fn moment_of_read(&mut self, db: u8, key: &[u8], at: Locator, now: Wall) -> Moment {
        if self.watch.as_ref().is_some_and(|watch| watch.is_sampled(at.hash())) {
            self.note_read(db, key, at, now);
        }
        self.moment(now)
    }

    /// What a use of a key notes now; counts it.
    fn moment(&mut self, now: Wall) -> Moment {
        let seconds = seconds_of(now);
        self.watch.as_mut().map_or(Moment::plain(seconds), |watch| watch.use_at(seconds))
    }

    #[inline]
    pub(crate) fn database_mut_if_any(&mut self, db: u8) -> Option<&mut Database> {
        self.databases.get_mut(usize::from(db))?.as_deref_mut()
    }

    #[inline]
    fn database_mut(&mut self, db: u8) -> &mut Database {
        let hash_seed = self.hash_seed;
        self.databases[usize::from(db)].get_or_insert_with(|| Box::new(Database::new(hash_seed)))
    }

    fn remove(&mut self, db: u8, key: &[u8], mark: u32) {
        let Some(database) = self.databases[usize::from(db)].as_mut() else { return };
        let removed = database.remove(mark, key);
        // The last key gone, a table that was big gives its segments back as a whole; a small one stays for the next.
        if database.table().len() == 0 && database.table().is_big() {
            self.flush(db);
        }
        self.discard(removed);
    }

    fn flush(&mut self, db: u8) {
        self.garbage.databases.extend(self.databases[usize::from(db)].take().map(|database| *database));
    }

    #[inline]
    fn discard(&mut self, node: Option<Node>) {
        if let Some(node) = node
            && node.is_large()
        {
            self.garbage.remains.push(Remains::Node(node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use effect::Cause;

    const NOW: Wall = Wall(1_000_000);

    fn apply(partition: &mut Partition, effect: Effect<'_>) {
        let hash = effect.key().map_or(0, |key| partition.hash(key));
        partition.apply(&effect, hash, NOW);
        partition.databases.iter().flatten().for_each(|database| {
            if database.table().len() < 100 {
                database.check();
            }
        });
    }

    fn set(partition: &mut Partition, key: &[u8], value: &[u8], expire_at: Option<Wall>) {
        apply(partition, Effect::SetString { db: 0, key, value, expire_at });
    }

    #[test]
    fn a_partition_can_be_sent_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Partition>();
        is_send::<Garbage>();
    }

    #[test]
    fn large_values_and_flushed_tables_become_garbage() {
        let mut partition = Partition::new(1);
        let large = vec![b'x'; 1 << 20];
        set(&mut partition, b"a", b"small", None);
        set(&mut partition, b"a", b"smaller", None);
        assert!(partition.take_garbage().is_empty());
        set(&mut partition, b"a", &large, None);
        set(&mut partition, b"a", &large, None);
        assert!(partition.take_garbage().memory_bytes() >= 1 << 20, "replaced by a large one");
        set(&mut partition, b"a", b"small", None);
        assert!(partition.take_garbage().memory_bytes() >= 1 << 20, "replaced by a small one");
        set(&mut partition, b"a", &large, None);
        apply(&mut partition, Effect::Remove { db: 0, key: b"a", cause: Cause::Deleted });
        assert!(partition.take_garbage().memory_bytes() >= 1 << 20, "removed");
        set(&mut partition, b"a", &large, None);
        let bytes = partition.memory_bytes();
        apply(&mut partition, Effect::Flush { db: 0 });
        assert_eq!(partition.take_garbage().memory_bytes(), bytes, "flushed");
        assert_eq!(partition.memory_bytes(), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn a_big_table_goes_with_its_last_key() {
        let mut partition = Partition::new(1);
        let keys: Vec<_> = (0..2_000).map(|i| format!("key:{i}")).collect();
        keys.iter().for_each(|key| set(&mut partition, key.as_bytes(), b"1", None));
        for key in &keys {
            apply(&mut partition, Effect::Remove { db: 0, key: key.as_bytes(), cause: Cause::Deleted });
        }
        assert_eq!((partition.memory_bytes(), partition.is_empty()), (0, true));
        assert!(!partition.take_garbage().is_empty());
    }

    #[test]
    fn small_partitions_are_small() {
        let mut partition = Partition::new(1);
        assert_eq!(partition.memory_bytes(), 0);
        set(&mut partition, b"a", b"1", None);
        assert!(partition.memory_bytes() <= 1024, "{}", partition.memory_bytes());
    }

    #[test]
    fn uses_are_counted_by_get_alone() {
        let mut partition = Partition::new(1);
        set(&mut partition, b"a", b"1", None);
        let (hash, later) = (partition.hash(b"a"), Wall(NOW.0 + 30_000));
        let peeked = partition.peek(0, b"a", hash, later).expect("set");
        assert_eq!((peeked.idle_seconds(later), peeked.frequency()), (30, 5));
        let got = partition.get(0, b"a", hash, later).expect("set");
        assert_eq!((got.idle_seconds(later), got.frequency()), (0, 6));
        let hour_later = Wall(later.0 + 3_600_000);
        let peeked = partition.peek(0, b"a", hash, hour_later).expect("set");
        assert_eq!((peeked.idle_seconds(hour_later), peeked.frequency()), (3_600, 0));
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn no_database_starves_of_expiry() {
        let mut partition = Partition::new(1);
        for (db, keys) in [(0u8, 100), (7, 1)] {
            for i in 0..keys {
                let key = format!("key:{i}");
                let expire_at = Some(Wall(NOW.0 - 1));
                apply(&mut partition, Effect::SetString { db, key: key.as_bytes(), value: b"1", expire_at });
            }
        }
        let mut met = [0; DATABASES_LEN];
        (0..DATABASES).for_each(|_| {
            let visited = partition.expired(NOW, 5, &mut |db, _, _| met[usize::from(db)] += 1);
            assert_eq!(visited, 5);
        });
        assert!(met[7] > 0 && met[0] > 0);
    }

    #[test]
    fn databases_out_of_range_are_empty() {
        let mut partition = Partition::new(1);
        set(&mut partition, b"a", b"1", None);
        let hash = partition.hash(b"a");
        assert!(partition.get(16, b"a", hash, NOW).is_none());
        assert_eq!((partition.len(16), partition.expires_len(255)), (0, 0));
    }
}
