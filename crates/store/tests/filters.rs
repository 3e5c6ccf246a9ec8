//! Filters as values: random programs over strings and filters leave the same content on whoever repeats their effects,
//! be it from the start, after a snapshot, or twice; and every byte is accounted for.

use effect::{Cause, Effect, Hashes, RecordBuilder, decode};
use stdx::{Random, Wall};
use store::bloom::BloomConfig;
use store::cuckoo::CuckooConfig;
use store::{Added, Filter, FilterFigures, FilterKind, FilterTotals, Partition, ValueRef};

const NOW: Wall = Wall(50_000);

fn apply(partition: &mut Partition, effect: &Effect<'_>) -> bool {
    let hash = effect.key().map_or(0, |key| partition.hash(key));
    partition.apply(effect, hash, NOW)
}

fn replay(partition: &mut Partition, effects: &[u8]) {
    for effect in decode(effects) {
        assert!(apply(partition, &effect.expect("just encoded")));
    }
}

/// A partition that writes down what it does, as a primary.
struct Primary {
    store: Partition,
    log: RecordBuilder,
}

impl Primary {
    fn new() -> Primary {
        Primary { store: Partition::new(7), log: RecordBuilder::new() }
    }

    fn emit(&mut self, effect: &Effect<'_>) {
        assert!(apply(&mut self.store, effect));
        self.log.push(effect);
    }

    /// Adds items one by one; the effect has those that were added.
    fn add(&mut self, key: &[u8], items: &[[u8; 8]], only_absent: bool) -> Vec<Added> {
        let (hash, mut outcomes, mut hashes) = (self.store.hash(key), Vec::new(), Vec::new());
        let revision = self.store.change_filter(0, key, hash, NOW, |filter| {
            let revision = filter.filter().revision();
            for item in items {
                let hash = filter.filter().kind().hash(item);
                let added = filter.add(hash, only_absent);
                outcomes.push(added);
                if added == Added::New {
                    hashes.push(hash.to_le_bytes());
                }
            }
            assert_eq!(filter.filter().revision(), revision + hashes.len() as u64);
            revision
        });
        if let Some(revision) = revision
            && !hashes.is_empty()
        {
            self.log.push(&Effect::AddToFilter { db: 0, key, revision, hashes: Hashes::new(&hashes) });
        }
        outcomes
    }

    fn delete(&mut self, key: &[u8], item: &[u8]) -> bool {
        let hash = self.store.hash(key);
        let deleted = self.store.change_filter(0, key, hash, NOW, |filter| {
            let (revision, hash) = (filter.filter().revision(), filter.filter().kind().hash(item));
            filter.delete(hash).then_some((revision, [hash.to_le_bytes()]))
        });
        let Some(Some((revision, hashes))) = deleted else { return false };
        self.log.push(&Effect::DeleteFromFilter { db: 0, key, revision, hashes: Hashes::new(&hashes) });
        true
    }

    fn encoded(&self, key: &[u8]) -> Option<Vec<u8>> {
        let entry = self.store.peek(0, key, self.store.hash(key), NOW)?;
        let ValueRef::Filter(filter) = entry.value() else { return None };
        let mut encoded = Vec::new();
        filter.encode(&mut encoded);
        Some(encoded)
    }

    /// One random step: filters of both kinds come, change, are copied, loaded in pieces, expire and go.
    fn step(&mut self, random: &mut Random) {
        let key = |number: u64| format!("key:{number}").into_bytes();
        let mut some = |below: u64| random.below(below);
        let (name, other) = (key(some(8)), key(some(8)));
        let at = (some(3) == 0).then(|| Wall(60_000 + some(1_000)));
        match some(20) {
            0 => self.emit(&Effect::SetString { db: 0, key: &name, value: b"string", expire_at: at }),
            1 => self.emit(&Effect::Remove { db: 0, key: &name, cause: Cause::Deleted }),
            2 => self.emit(&Effect::ExpireAt { db: 0, key: &name, at }),
            3 | 4 => {
                let config = CuckooConfig::with_bits(1 + some(30), 4 + some(8) as u32).unwrap();
                let header = config.with_expansion(some(3) as u16).header().expect("small");
                self.emit(&Effect::CreateFilter { db: 0, key: &name, header: &header });
            }
            5 | 6 => {
                let config = BloomConfig::new(1 + some(30), 0.02, some(3) as u16).unwrap();
                self.emit(&Effect::CreateFilter { db: 0, key: &name, header: &config.header() });
            }
            7 => {
                if let Some(encoded) = self.encoded(&name) {
                    self.emit(&Effect::SetFilter { db: 0, key: &other, filter: &encoded, expire_at: at });
                }
            }
            8 => {
                // The beginning of a filter, and a piece of the rest.
                if let Some(encoded) = self.encoded(&name).filter(|encoded| encoded.len() > 60) {
                    let (begin, rest) = encoded.split_at(57);
                    self.emit(&Effect::SetFilter { db: 0, key: &other, filter: begin, expire_at: at });
                    let piece = &rest[..some(rest.len() as u64 + 1) as usize];
                    self.emit(&Effect::LoadFilter { db: 0, key: &other, offset: 57, bytes: piece });
                }
            }
            9..=12 => {
                let _ = self.delete(&name, &some(60).to_le_bytes());
            }
            _ => {
                let items: Vec<[u8; 8]> = (0..some(12)).map(|_| some(60).to_le_bytes()).collect();
                let only_absent = some(2) == 0;
                self.add(&name, &items, only_absent);
            }
        }
    }
}

fn sum_of_entries(partition: &Partition) -> u64 {
    let mut bytes = 0;
    let mut cursor = 0;
    loop {
        cursor = partition.scan(0, cursor, 100, NOW, &mut |_, entry| bytes += entry.memory_bytes());
        if cursor == 0 {
            return bytes;
        }
    }
}

/// What the partition says of its filters, by looking at every key.
fn totals_by_walk(partition: &Partition) -> FilterTotals {
    let mut totals = FilterTotals::default();
    partition.scan(0, 0, usize::MAX, NOW, &mut |_, entry| {
        let ValueRef::Filter(filter) = entry.value() else { return };
        let (items, capacity) = match filter {
            Filter::Cuckoo(filter) => (filter.items(), filter.stats().slots),
            Filter::Bloom(filter) => (filter.items(), filter.capacity()),
            Filter::Loading(_) => (0, 0),
        };
        let figures = match filter.kind() {
            FilterKind::Cuckoo => &mut totals.cuckoo,
            FilterKind::Bloom => &mut totals.bloom,
        };
        *figures = FilterFigures {
            filters: figures.filters + 1,
            items: figures.items + items,
            capacity: figures.capacity + capacity,
            memory_bytes: figures.memory_bytes + filter.memory_bytes() as u64,
        };
    });
    totals
}

const PROGRAMS: u64 = if cfg!(miri) { 1 } else { 60 };
const STEPS: u64 = if cfg!(miri) { 60 } else { 400 };

/// Repeating the effects from the start gives the same bytes; so does repeating some of them once more.
#[test]
fn replay_gives_the_same_state_even_if_a_part_comes_twice() {
    let mut filters = 0;
    for seed in 0..PROGRAMS {
        let (mut random, mut primary) = (Random::seeded(seed), Primary::new());
        let mut replica = Partition::new(8);
        let mut whole_log = Vec::new();
        for _ in 0..STEPS {
            let begin = whole_log.len();
            primary.step(&mut random);
            let effects = primary.log.take();
            whole_log.extend_from_slice(&effects);
            replay(&mut replica, &effects);
            if random.chance(0.3) {
                replay(&mut replica, &whole_log[begin..]);
            }
        }
        assert_eq!(replica.digest(), primary.store.digest(), "seed {seed}");
        let mut again = Partition::new(9);
        replay(&mut again, &whole_log);
        assert_eq!(again.digest(), primary.store.digest(), "seed {seed}");
        primary
            .store
            .for_each(&mut |effect| filters += u64::from(matches!(effect, Effect::SetFilter { .. })));
        // A snapshot of the end, and then the whole log: as if nothing was known of where the snapshot was taken.
        let mut snapshot = RecordBuilder::new();
        assert_eq!(primary.store.snapshot_chunk(0, 0, usize::MAX, &mut snapshot), None);
        let mut late = Partition::new(10);
        replay(&mut late, snapshot.bytes());
        assert_eq!(late.digest(), primary.store.digest(), "seed {seed}: snapshot");
        replay(&mut late, &whole_log);
        assert_eq!(
            late.digest(),
            primary.store.digest(),
            "seed {seed}: snapshot, then the log from the start"
        );
    }
    assert!(cfg!(miri) || filters > 150, "{filters}");
}

/// A learner that gets chunks and the records in between in the order in which they happened has the same bytes.
#[test]
#[cfg_attr(miri, ignore)]
fn snapshot_and_tail_give_the_same_state() {
    for seed in 0..PROGRAMS {
        let (mut random, mut primary) = (Random::seeded(1_000 + seed), Primary::new());
        (0..STEPS / 2).for_each(|_| primary.step(&mut random));
        primary.log.clear();
        let (mut learner, mut next) = (Partition::new(8), Some((0, 0)));
        while let Some((db, cursor)) = next {
            let mut chunk = RecordBuilder::new();
            next = primary.store.snapshot_chunk(db, cursor, 50, &mut chunk);
            replay(&mut learner, chunk.bytes());
            (0..random.below(20)).for_each(|_| primary.step(&mut random));
            replay(&mut learner, &primary.log.take());
        }
        assert_eq!(learner.digest(), primary.store.digest(), "seed {seed}");
    }
}

#[test]
fn memory_is_accounted_to_the_byte() {
    for seed in 0..PROGRAMS.min(20) {
        let (mut random, mut primary) = (Random::seeded(2_000 + seed), Primary::new());
        let empty = {
            let mut partition = Partition::new(7);
            apply(&mut partition, &Effect::SetString { db: 0, key: b"k", value: b"v", expire_at: None });
            let entry = sum_of_entries(&partition);
            partition.memory_bytes() - entry
        };
        for _ in 0..STEPS / 4 {
            primary.step(&mut random);
            // Slots and tickets that are not used are all that the entries do not count.
            let (whole, entries) = (primary.store.memory_bytes(), sum_of_entries(&primary.store));
            assert!(whole == 0 || whole >= entries, "{whole} < {entries}");
            assert!(whole <= entries + empty + 600, "{whole} > {entries} + {empty}");
            assert_eq!(primary.store.filter_totals(), totals_by_walk(&primary.store));
        }
        primary.emit(&Effect::Flush { db: 0 });
        assert_eq!(primary.store.memory_bytes(), 0);
        assert_eq!(primary.store.filter_totals(), FilterTotals::default());
        drop(primary.store.take_garbage());
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn what_is_large_becomes_garbage() {
    let mut primary = Primary::new();
    let header = CuckooConfig::with_bits(1 << 20, 8).unwrap().header().expect("a megabyte");
    let create = Effect::CreateFilter { db: 0, key: b"k", header: &header };
    primary.emit(&create);
    assert!(!primary.store.has_garbage());
    let encoded = primary.encoded(b"k").expect("created");
    primary.emit(&Effect::SetString { db: 0, key: b"k", value: b"v", expire_at: None });
    assert!(primary.store.take_garbage().memory_bytes() > 1 << 20, "replaced by a string");
    primary.emit(&create);
    primary.emit(&create);
    assert!(primary.store.take_garbage().memory_bytes() > 1 << 20, "replaced by a filter");
    primary.emit(&Effect::Remove { db: 0, key: b"k", cause: Cause::Deleted });
    assert!(primary.store.take_garbage().memory_bytes() > 1 << 20, "removed");
    let (begin, rest) = encoded.split_at(100);
    primary.emit(&Effect::SetFilter { db: 0, key: b"k", filter: begin, expire_at: None });
    primary.emit(&Effect::LoadFilter { db: 0, key: b"k", offset: 100, bytes: rest });
    assert!(primary.store.take_garbage().memory_bytes() > 1 << 20, "pieces");
    assert_eq!(primary.encoded(b"k"), Some(encoded));

    let header = CuckooConfig::with_bits(1, 8).unwrap().with_expansion(u16::MAX).header().expect("small");
    primary.emit(&Effect::CreateFilter { db: 0, key: b"k", header: &header });
    drop(primary.store.take_garbage());
    let items: Vec<[u8; 8]> = (0..12u64).map(u64::to_le_bytes).collect();
    primary.add(b"k", &items, false);
    assert!(primary.store.memory_bytes() > 200_000, "grown");
    assert!(items.iter().rev().all(|item| primary.delete(b"k", item)));
    assert!(primary.store.memory_bytes() < 2_000, "shrunk");
    assert!(primary.store.take_garbage().memory_bytes() > 200_000, "a sub-filter that lost its items");
}

#[test]
fn bytes_that_are_no_filter_change_nothing() {
    let mut partition = Partition::new(1);
    let header = BloomConfig::new(100, 0.01, 2).unwrap().header();
    assert!(apply(&mut partition, &Effect::CreateFilter { db: 0, key: b"k", header: &header }));
    let digest = partition.digest();
    let longer = [header.as_slice(), &[0; 200]].concat();
    for bytes in [&b""[..], b"\x01", b"\x41", b"\x02anything", &header[..24], &longer] {
        for key in [&b"k"[..], b"other"] {
            let set = Effect::SetFilter { db: 0, key, filter: bytes, expire_at: None };
            assert!(!apply(&mut partition, &set), "{bytes:?}");
            assert!(!apply(&mut partition, &Effect::CreateFilter { db: 0, key, header: bytes }), "{bytes:?}");
        }
    }
    // What does not fit what is there is passed over: an effect for a key that the learner does not have yet.
    let hashes = [[1; 8]];
    for key in [&b"k"[..], b"other"] {
        let hashes = Hashes::new(&hashes);
        apply(&mut partition, &Effect::AddToFilter { db: 0, key, revision: 5, hashes });
        apply(&mut partition, &Effect::DeleteFromFilter { db: 0, key, revision: 0, hashes });
        apply(&mut partition, &Effect::LoadFilter { db: 0, key, offset: 0, bytes: b"piece" });
    }
    apply(&mut partition, &Effect::Splice { db: 0, key: b"k", offset: 3, bytes: b"string" });
    assert_eq!(partition.digest(), digest);
}

/// The beginning of a filter of any size costs no more than itself.
#[test]
fn loading_takes_what_has_arrived() {
    let header = BloomConfig::new(200_000_000, 0.01, 0).unwrap().header();
    let mut partition = Partition::new(1);
    assert!(apply(&mut partition, &Effect::SetFilter { db: 0, key: b"k", filter: &header, expire_at: None }));
    assert!(partition.memory_bytes() < 2_000, "{}", partition.memory_bytes());
    let hash = partition.hash(b"k");
    let entry = partition.peek(0, b"k", hash, NOW).expect("set");
    let ValueRef::Filter(filter @ Filter::Loading(loading)) = entry.value() else { panic!("not loading") };
    assert_eq!((filter.kind(), entry.value().type_name()), (FilterKind::Bloom, "MBbloom--"));
    assert_eq!((loading.loaded_len(), loading.header_len()), (header.len(), header.len()));
    assert!(loading.whole_len() > 200_000_000);
    // The last piece of a filter that is none is refused, and may be sent again.
    let filter = CuckooConfig::with_bits(3, 5).unwrap().header().expect("small");
    assert!(apply(&mut partition, &Effect::SetFilter { db: 0, key: b"k", filter: &filter, expire_at: None }));
    let load = |partition: &mut Partition, piece: &[u8]| {
        partition.change_filter(0, b"k", hash, NOW, |change| change.load(filter.len() as u64, piece).is_ok())
    };
    for refused in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\xff", b"\0\0\0\0\0\0\0\0\0"] {
        assert_eq!(load(&mut partition, refused), Some(false), "{refused:?}");
    }
    assert_eq!(load(&mut partition, b"\0\0\0"), Some(true));
    assert_eq!(load(&mut partition, b"\0\0\0"), Some(false), "a filter that is whole takes no piece");
}
