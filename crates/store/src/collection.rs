//! Collections: what hashes and sets have in common, how they change and how they travel.
//!
//! A small collection is packed into the block of its key, in the form of its kind (`hash`, `set`), and copied when it changes,
//! which its limits make cheap. One that outgrows them becomes a [`Collection`], whose changes take no time that grows with it.

use crate::garbage::Remains;
use crate::hash::{self, HashRef};
use crate::members::Members;
use crate::node::Node;
use crate::set::{self, SetRef};
use crate::value::ValueRef;
use effect::{Elements, ElementsBuilder, Kind};

/// The large form of a collection.
#[derive(Debug)]
pub(crate) enum Collection {
    Hash(Members),
    Set(Members),
}

/// How the elements of a collection change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    Put(Elements<'a>),
    Drop(Elements<'a>),
}

/// The packed collection of this kind, to read.
pub(crate) fn packed_ref(kind: Kind, packed: &[u8]) -> ValueRef<'_> {
    match kind {
        Kind::Set => ValueRef::Set(SetRef::packed(packed)),
        _ => ValueRef::Hash(HashRef::packed(packed)),
    }
}

/// Changes the collection of a node; one of another kind stays as it is.
pub(crate) fn change(
    node: &mut Node,
    kind: Kind,
    change: Change<'_>,
    hash_seed: u64,
    remains: &mut Vec<Remains>,
) {
    if node.collection_kind() != Some(kind) {
        return;
    }
    if let Some(collection) = node.collection_mut() {
        return collection.change(change, remains);
    }
    let mut packed = node.stored().to_vec();
    if change_packed(kind, &mut packed, change) {
        return node.set_packed(packed);
    }
    // What has been put already is put once more, which changes nothing.
    let mut collection = Collection::from_packed(kind, &packed, hash_seed);
    collection.change(change, remains);
    node.set_collection(collection);
}

/// Changes a packed collection; false if not all of it fits.
fn change_packed(kind: Kind, packed: &mut Vec<u8>, change: Change<'_>) -> bool {
    match (kind, change) {
        (Kind::Set, Change::Put(members)) => members.iter().all(|member| set::put_packed(packed, member)),
        (Kind::Set, Change::Drop(members)) => {
            members.iter().for_each(|member| set::drop_packed(packed, member));
            true
        }
        (_, Change::Put(fields)) => {
            fields.pairs().all(|(field, value)| hash::put_packed(packed, field, value))
        }
        (_, Change::Drop(fields)) => {
            fields.iter().for_each(|field| hash::drop_packed(packed, field));
            true
        }
    }
}

impl Collection {
    fn from_packed(kind: Kind, packed: &[u8], hash_seed: u64) -> Collection {
        match kind {
            Kind::Set => Collection::Set(set::unpacked(packed, hash_seed)),
            _ => Collection::Hash(hash::unpacked(packed, hash_seed)),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Collection::Hash(_) => Kind::Hash,
            Collection::Set(_) => Kind::Set,
        }
    }

    pub(crate) fn value(&self) -> ValueRef<'_> {
        match self {
            Collection::Hash(members) => ValueRef::Hash(HashRef::large(members)),
            Collection::Set(members) => ValueRef::Set(SetRef::large(members)),
        }
    }

    /// What it takes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Collection::Hash(members) | Collection::Set(members) => members.memory_bytes(),
        }
    }

    fn change(&mut self, change: Change<'_>, remains: &mut Vec<Remains>) {
        match (self, change) {
            (Collection::Hash(members), Change::Put(fields)) => {
                fields.pairs().for_each(|(field, value)| members.put(field, value, remains));
            }
            (Collection::Set(members), Change::Put(elements)) => {
                elements.iter().for_each(|member| members.put(member, b"", remains));
            }
            (Collection::Hash(members) | Collection::Set(members), Change::Drop(elements)) => {
                elements.iter().for_each(|element| members.drop(element, remains));
            }
        }
    }
}

impl ValueRef<'_> {
    /// How many elements it has; `None` if it is no collection.
    pub fn elements_len(&self) -> Option<usize> {
        match self {
            ValueRef::String(_) | ValueRef::Filter(_) => None,
            ValueRef::Hash(hash) => Some(hash.len()),
            ValueRef::Set(set) => Some(set.len()),
        }
    }

    /// Its kind with all that is in it, as [`effect::Effect::SetCollection`] has it; `None` if it is no collection.
    pub fn elements(&self) -> Option<(Kind, ElementsBuilder)> {
        let mut elements = ElementsBuilder::new();
        let kind = match self {
            ValueRef::String(_) | ValueRef::Filter(_) => return None,
            ValueRef::Hash(hash) => {
                for (field, value) in hash.iter() {
                    elements.push(field);
                    elements.push(value);
                }
                Kind::Hash
            }
            ValueRef::Set(set) => {
                set.for_each(&mut |member| elements.push(member));
                Kind::Set
            }
        };
        Some((kind, elements))
    }
}
