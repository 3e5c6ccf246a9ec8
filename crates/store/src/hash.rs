//! Hashes: fields with their values.
//!
//! A small one is packed, field and value in turns, as long as Redis would keep it as a listpack
//! (`hash-max-listpack-entries 512`, `hash-max-listpack-value 64`); it never goes back.

use crate::garbage::Remains;
use crate::members::Members;
use crate::packed::{self, Entry};
use stdx::Random;

/// Most fields of a packed hash.
const PACKED_FIELDS_MAX: usize = 512;

/// A hash to read.
#[derive(Clone, Copy, Debug)]
pub struct HashRef<'a>(Repr<'a>);

#[derive(Clone, Copy, Debug)]
enum Repr<'a> {
    Packed(&'a [u8]),
    Large(&'a Members),
}

impl<'a> HashRef<'a> {
    pub(crate) fn packed(packed: &'a [u8]) -> HashRef<'a> {
        HashRef(Repr::Packed(packed))
    }

    pub(crate) fn large(members: &'a Members) -> HashRef<'a> {
        HashRef(Repr::Large(members))
    }

    /// How many fields there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self.0 {
            Repr::Packed(packed) => packed::count(packed) / 2,
            Repr::Large(members) => members.len(),
        }
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&'a [u8]> {
        match self.0 {
            Repr::Packed(packed) => find(packed, field).map(|(_, value)| value.bytes),
            Repr::Large(members) => members.get(field),
        }
    }

    /// All fields with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (packed, large) = match self.0 {
            Repr::Packed(packed) => (Some(pairs(packed)), None),
            Repr::Large(members) => (None, Some(members.iter())),
        };
        let packed = packed.into_iter().flatten().map(|(field, value)| (field.bytes, value.bytes));
        packed.chain(large.into_iter().flatten())
    }

    /// Visits about `count` fields with their values from `cursor` (0 at the start) on and gives the next cursor, 0 at the end; a
    /// packed hash is visited at once.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], &[u8])) -> u64 {
        match self.0 {
            Repr::Packed(_) => {
                self.iter().for_each(|(field, value)| visit(field, value));
                0
            }
            Repr::Large(members) => members.scan(cursor, count, visit),
        }
    }

    /// A field with its value by chance, each about equally likely.
    pub fn random(&self, random: &mut Random) -> Option<(&'a [u8], &'a [u8])> {
        match self.0 {
            Repr::Packed(_) => self.iter().nth(random.below(self.len().max(1) as u64) as usize),
            Repr::Large(members) => members.random(random),
        }
    }

    /// OBJECT ENCODING as Redis answers it: `listpack` or `hashtable`.
    pub fn encoding(&self) -> &'static str {
        match self.0 {
            Repr::Packed(_) => "listpack",
            Repr::Large(_) => "hashtable",
        }
    }
}

/// Sets a field of a packed hash; false, and nothing is changed, if it does not fit.
pub(crate) fn put_packed(packed: &mut Vec<u8>, field: &[u8], value: &[u8]) -> bool {
    if !packed::fits(field) || !packed::fits(value) {
        return false;
    }
    if let Some((_, Entry { at, end, .. })) = find(packed, field) {
        packed::replace(packed, at, end, value);
        return true;
    }
    if packed::count(packed) / 2 >= PACKED_FIELDS_MAX {
        return false;
    }
    packed::push(packed, field);
    packed::push(packed, value);
    true
}

/// Removes a field of a packed hash, if it has it.
pub(crate) fn drop_packed(packed: &mut Vec<u8>, field: &[u8]) {
    if let Some((field, value)) = find(packed, field) {
        let (from, to) = (field.at, value.end);
        packed::remove(packed, from, to, 2);
    }
}

/// The large form of a packed hash.
pub(crate) fn unpacked(packed: &[u8], hash_seed: u64) -> Members {
    let mut members = Members::new(hash_seed);
    let nothing: &mut Vec<Remains> = &mut Vec::new();
    pairs(packed).for_each(|(field, value)| members.put(field.bytes, value.bytes, nothing));
    members
}

fn pairs(packed: &[u8]) -> impl Iterator<Item = (Entry<'_>, Entry<'_>)> {
    let mut entries = packed::entries(packed);
    std::iter::from_fn(move || Some((entries.next()?, entries.next()?)))
}

fn find<'a>(packed: &'a [u8], field: &[u8]) -> Option<(Entry<'a>, Entry<'a>)> {
    pairs(packed).find(|(entry, _)| entry.bytes == field)
}
