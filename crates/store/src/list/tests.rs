//! Lists against a deque of byte strings under every shape of splice, and what they promise about memory.

use super::*;
use crate::listpack;
use stdx::Random;

/// A list in either form and what it has to be.
#[derive(Default)]
struct Pair {
    packed: Vec<u8>,
    large: Option<List>,
    model: VecDeque<Vec<u8>>,
    splices: u64,
    remains: Vec<Remains>,
}

impl Pair {
    fn list(&self) -> ListRef<'_> {
        self.large.as_ref().map_or(ListRef::packed(&self.packed), ListRef::large)
    }

    fn splice(&mut self, index: usize, removed: usize, elements: &[&[u8]]) {
        let words = Elements::words(elements);
        if self.large.is_none() {
            let before = self.packed.clone();
            if !splice_packed(&mut self.packed, index, removed, words) {
                assert_eq!(self.packed, before);
                self.large = Some(List::from_packed(&self.packed));
            } else {
                assert!(self.packed.len() <= packed::PACKED_BYTES_MAX);
            }
        }
        if let Some(list) = &mut self.large
            && list.revision() == self.splices
        {
            list.splice(index, removed, words, &mut self.remains);
        }
        let index = index.min(self.model.len());
        let removed = removed.min(self.model.len() - index);
        self.model.drain(index..index + removed);
        for (at, element) in elements.iter().enumerate() {
            self.model.insert(index + at, element.to_vec());
        }
        self.splices += 1;
        assert_eq!((self.list().len(), self.list().revision()), (self.model.len(), self.splices));
        assert_eq!(self.list().is_empty(), self.model.is_empty());
    }

    fn check(&self, random: &mut Random) {
        if let Some(list) = &self.large {
            list.check();
        }
        let list = self.list();
        assert!(list.iter().eq(self.model.iter()));
        assert!(list.iter_back_from(usize::MAX).eq(self.model.iter().rev()));
        let index = random.below(self.model.len() as u64 + 2) as usize;
        assert_eq!(list.get(index), self.model.get(index).map(Vec::as_slice));
        assert!(list.iter_from(index).eq(self.model.iter().skip(index)));
        let passed = self.model.len().saturating_sub(index.saturating_add(1));
        assert!(list.iter_back_from(index).eq(self.model.iter().rev().skip(passed)));
    }
}

impl List {
    /// Holds what is counted against what is there.
    fn check(&self) {
        let mut totals = Totals::default();
        for segment in &self.segments {
            assert!((1..=SEGMENT_CHUNKS_MAX).contains(&segment.chunks().len()));
            let mut own = Totals::default();
            for chunk in segment.chunks() {
                let (mut rest, mut count, mut listpack_bytes) = (chunk.entries(), 0, 0);
                while let Some((element, behind)) = entry::first(rest) {
                    (rest, count) = (behind, count + 1);
                    listpack_bytes += listpack::element_bytes(element);
                }
                assert!(rest.is_empty() && count > 0);
                assert!(chunk.len() <= chunk::CHUNK_BYTES_MAX || count == 1);
                let heap_bytes = chunk.totals().heap_bytes;
                assert_eq!(chunk.totals(), Totals { count, heap_bytes, listpack_bytes });
                own += chunk.totals();
            }
            own.heap_bytes += slice_bytes::<Chunk>(segment.chunks().capacity());
            assert_eq!(segment.totals(), own);
            totals += own;
        }
        assert_eq!(self.totals, totals);
        assert!(self.segments.len() * 4 >= self.segments.capacity());
    }
}

fn element(random: &mut Random, len_max: u64) -> Vec<u8> {
    match random.below(20) {
        0 => Vec::new(),
        1 => vec![b'L'; random.below(len_max * 20) as usize],
        2..6 => (random.next_u64() as i64 >> random.below(64)).to_string().into_bytes(),
        _ => vec![b'a' + random.below(26) as u8; random.below(len_max) as usize],
    }
}

/// Splices of the shapes that commands make, and any other.
fn run(seed: u64, len_max: u64, splices: u64) {
    let mut random = Random::seeded(seed);
    let mut pair = Pair::default();
    for turn in 0..splices {
        let len = pair.model.len() as u64;
        // It swells and shrinks in turns.
        let swelling = (turn * 6 / splices).is_multiple_of(2);
        let many = random.below(if swelling { 8 } else { 2 }) + 1;
        let added: Vec<Vec<u8>> = (0..many).map(|_| element(&mut random, len_max)).collect();
        let added: Vec<&[u8]> = added.iter().map(Vec::as_slice).collect();
        let any = random.below(len + 1) as usize;
        let count = random.below(if swelling { 3 } else { 12 }) as usize;
        match random.below(12) {
            0 | 1 => pair.splice(0, 0, &added),
            2 | 3 => pair.splice(len as usize, 0, &added),
            4 => pair.splice(0, count, &[]),
            5 => pair.splice((len as usize).saturating_sub(count), count, &[]),
            6 => pair.splice(any, 1, &added[..1]),
            7 | 8 => pair.splice(any, 0, &added[..1]),
            9 => pair.splice(any, 1, &[]),
            10 if !swelling && random.chance(0.1) => pair.splice(any, len as usize / 3, &[]),
            _ => pair.splice(random.below(len * 2 + 1) as usize, count, &added),
        }
        if turn % 7 == 0 {
            pair.check(&mut random);
        }
    }
    pair.splice(1, usize::MAX, &[]);
    pair.check(&mut random);
    pair.splice(0, usize::MAX, &[]);
    pair.check(&mut random);
    assert!(pair.model.is_empty());
}

#[test]
fn a_list_is_a_deque() {
    let (seeds, splices) = if cfg!(miri) { (1, 60) } else { (6, 2_500) };
    for seed in 0..seeds {
        for len_max in [4, 40, 700, 3_000] {
            run(seed, len_max, splices);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_queue_stays_small_and_gives_back_what_it_took() {
    let mut pair = Pair::default();
    for number in 0..50_000u32 {
        let element = format!("element:{number}");
        pair.splice(pair.model.len(), 0, &[element.as_bytes()]);
        if number >= 1_000 {
            pair.splice(0, 1, &[]);
        }
    }
    let list = pair.large.as_ref().expect("long");
    assert!(list.memory_bytes() < 1_000 * 24, "{}", list.memory_bytes());
    pair.check(&mut Random::seeded(1));
    for _ in 0..999 {
        pair.splice(pair.model.len() - 1, 1, &[]);
    }
    let list = pair.large.as_ref().expect("a large list stays large");
    assert!(list.memory_bytes() <= 1_024 + 256, "{}", list.memory_bytes());
}

#[test]
#[cfg_attr(miri, ignore)]
fn elements_cost_little_beyond_their_bytes() {
    for (len, bytes_max) in [(10, 13), (100, 106), (1_000, 1_100), (5_000, 5_700)] {
        for front in [false, true] {
            let (mut list, element) = (List::default(), vec![b'x'; len]);
            for _ in 0..20_000 {
                let index = if front { 0 } else { list.len() };
                list.splice(index, 0, Elements::words(&[&element]), &mut Vec::new());
            }
            list.check();
            let bytes = list.memory_bytes() / list.len();
            assert!(bytes <= bytes_max, "{len}: {bytes}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn what_remains_of_a_large_trim_is_handed_out() {
    let mut pair = Pair::default();
    for _ in 0..200 {
        let len = pair.model.len();
        pair.splice(len, 0, &[&b"0123456789"[..]; 500]);
    }
    pair.splice(10, 0, &[&vec![b'x'; 1 << 20]]);
    assert!(pair.remains.is_empty());
    let memory = pair.large.as_ref().map_or(0, List::memory_bytes);
    pair.splice(10, 1, &[b"y"]);
    pair.splice(20, 50_000, &[]);
    pair.splice(30, 49_000, &[]);
    assert_eq!(pair.remains.len(), 3, "a long element, and a part of the list twice");
    let mut given = 0;
    for remains in &pair.remains {
        let Remains::ListParts(parts) = remains else { panic!("{remains:?}") };
        given += parts.memory_bytes();
    }
    let left = pair.large.as_ref().map_or(0, List::memory_bytes);
    assert!(given > memory * 9 / 10 && left < 40_000, "{memory} = {given} + {left}");
    pair.check(&mut Random::seeded(1));
}

/// Scattered removals leave no trail of nearly empty chunks.
#[test]
#[cfg_attr(miri, ignore)]
fn small_chunks_are_merged() {
    let mut list = List::default();
    for _ in 0..20_000 {
        list.splice(0, 0, Elements::words(&[&[b'x'; 100]]), &mut Vec::new());
    }
    let mut at = 1;
    while at + 30 < list.len() {
        list.splice(at, 30, Elements::words(&[]), &mut Vec::new());
        at += 1;
    }
    list.check();
    assert!(list.memory_bytes() < 3 * 100 * list.len(), "{} {}", list.memory_bytes(), list.len());
}

#[track_caller]
fn check_encoding(list: &List, encoding: &str) {
    assert_eq!(ListRef::large(list).encoding(), encoding);
}

#[test]
fn encodings_change_where_they_do_in_redis() {
    let (mut list, remains) = (List::default(), &mut Vec::new());
    // 81 entries of 101 bytes and 7 of the frame.
    let element = [b'x'; 98];
    for _ in 0..81 {
        list.splice(0, 0, Elements::words(&[&element]), remains);
    }
    check_encoding(&list, "listpack");
    list.splice(0, 0, Elements::words(&[&[]]), remains);
    check_encoding(&list, "listpack");
    list.splice(0, 1, Elements::words(&[]), remains);
    list.splice(0, 0, Elements::words(&[b"12345"]), remains);
    check_encoding(&list, "quicklist");
    list.splice(0, 41, Elements::words(&[]), remains);
    check_encoding(&list, "quicklist");
    list.splice(3, 1, Elements::words(&[]), remains);
    check_encoding(&list, "listpack");
    list.splice(3, 1, Elements::words(&[&[b'x'; 8_192]]), remains);
    check_encoding(&list, "quicklist");
    list.splice(3, 1, Elements::words(&[b"short"]), remains);
    check_encoding(&list, "listpack");
}

#[test]
fn damaged_packed_lists_end_at_the_damage() {
    let mut packed = Vec::new();
    assert!(splice_packed(&mut packed, 0, 0, Elements::words(&[b"one", b"two"])));
    packed.truncate(packed.len() - 1);
    let list = ListRef::packed(&packed);
    assert_eq!((list.len(), list.get(0), list.get(1)), (1, Some(&b"one"[..]), None));
    assert_eq!(list.iter_back_from(5).collect::<Vec<_>>(), [b"one"]);
    assert_eq!(List::from_packed(&packed).len(), 1);
    assert_eq!(ListRef::packed(&packed[..5]).len(), 0);
}
