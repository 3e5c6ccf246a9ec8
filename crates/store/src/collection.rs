//! Collections: what hashes and sets have in common, how they change and how they travel.
//!
//! A small collection is packed into the block of its key, in the form of its kind (`hash`, `set`), and copied when it changes,
//! which its limits make cheap. One that outgrows them becomes a [`Collection`], whose changes take no time that grows with it.

use crate::garbage::Remains;
use crate::hash::{self, HashRef};
use crate::list::{self, List, ListRef};
use crate::members::Members;
use crate::memory::allocation_bytes;
use crate::node::Node;
use crate::set::{self, SetRef};
use crate::sorted_set::{self, SortedSet, SortedSetRef};
use crate::stream::{self, Stream};
use crate::value::ValueRef;
use effect::{Elements, ElementsBuilder, Kind, StreamChange};

/// The large form of a collection.
#[derive(Debug)]
pub(crate) enum Collection {
    Hash(Members),
    List(List),
    Set(Members),
    SortedSet(SortedSet),
    Stream(Box<Stream>),
}

/// How the elements of a collection change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// Of an empty one: all that it has.
    Whole(Elements<'a>),
    Put(Elements<'a>),
    Drop(Elements<'a>),
    Splice(Splice<'a>),
    Stream(StreamChange<'a>),
}

/// A change of a list that has seen so many splices before; of another it changes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Splice<'a> {
    pub(crate) revision: u64,
    pub(crate) index: u64,
    pub(crate) removed: u64,
    pub(crate) elements: Elements<'a>,
}

impl Change<'_> {
    /// Whether it makes a collection of this kind that is missing.
    pub(crate) fn makes(&self, kind: Kind) -> bool {
        match self {
            Change::Whole(_) => true,
            Change::Put(_) => !matches!(kind, Kind::List | Kind::Stream),
            Change::Drop(_) => false,
            Change::Splice(splice) => kind == Kind::List && splice.revision == 0,
            Change::Stream(change) => {
                matches!(change, StreamChange::Append { .. } | StreamChange::PutGroup { .. })
            }
        }
    }
}

/// The packed collection of this kind, to read.
pub(crate) fn packed_ref(kind: Kind, packed: &[u8]) -> ValueRef<'_> {
    match kind {
        Kind::List => ValueRef::List(ListRef::packed(packed)),
        Kind::Set => ValueRef::Set(SetRef::packed(packed)),
        Kind::SortedSet => ValueRef::SortedSet(SortedSetRef::packed(packed)),
        Kind::Stream => ValueRef::Stream(&stream::EMPTY),
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
        (Kind::List, Change::Whole(elements)) => list::put_whole_packed(packed, elements),
        (Kind::List, Change::Splice(splice)) => {
            list::packed_revision(packed) != splice.revision
                || list::splice_packed(packed, place(splice.index), place(splice.removed), splice.elements)
        }
        // There is no packed form.
        (Kind::Stream, _) => false,
        (Kind::List, _) | (_, Change::Splice(_) | Change::Stream(_)) => true,
        (Kind::Set, Change::Whole(members) | Change::Put(members)) => {
            members.iter().all(|member| set::put_packed(packed, member))
        }
        (Kind::Set, Change::Drop(members)) => {
            members.iter().for_each(|member| set::drop_packed(packed, member));
            true
        }
        (Kind::SortedSet, Change::Whole(elements) | Change::Put(elements)) => {
            scored(elements).all(|(score, member)| sorted_set::put_packed(packed, score, member))
        }
        (Kind::SortedSet, Change::Drop(members)) => {
            members.iter().for_each(|member| sorted_set::drop_packed(packed, member));
            true
        }
        (_, Change::Whole(fields) | Change::Put(fields)) => {
            fields.pairs().all(|(field, value)| hash::put_packed(packed, field, value))
        }
        (_, Change::Drop(fields)) => {
            fields.iter().for_each(|field| hash::drop_packed(packed, field));
            true
        }
    }
}

/// An index or a number of elements; more than there is memory is as good as any that is too large.
fn place(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Collection {
    fn from_packed(kind: Kind, packed: &[u8], hash_seed: u64) -> Collection {
        match kind {
            Kind::List => Collection::List(List::from_packed(packed)),
            Kind::Stream => Collection::Stream(Box::new(Stream::new())),
            Kind::Set => Collection::Set(set::unpacked(packed, hash_seed)),
            Kind::SortedSet => Collection::SortedSet(SortedSet::from_packed(packed, hash_seed)),
            _ => Collection::Hash(hash::unpacked(packed, hash_seed)),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Collection::Hash(_) => Kind::Hash,
            Collection::List(_) => Kind::List,
            Collection::Set(_) => Kind::Set,
            Collection::SortedSet(_) => Kind::SortedSet,
            Collection::Stream(_) => Kind::Stream,
        }
    }

    pub(crate) fn value(&self) -> ValueRef<'_> {
        match self {
            Collection::Hash(members) => ValueRef::Hash(HashRef::large(members)),
            Collection::List(list) => ValueRef::List(ListRef::large(list)),
            Collection::Set(members) => ValueRef::Set(SetRef::large(members)),
            Collection::SortedSet(set) => ValueRef::SortedSet(SortedSetRef::large(set)),
            Collection::Stream(stream) => ValueRef::Stream(stream),
        }
    }

    /// What it takes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Collection::Hash(members) | Collection::Set(members) => members.memory_bytes(),
            Collection::List(list) => list.memory_bytes(),
            Collection::SortedSet(set) => set.memory_bytes(),
            Collection::Stream(stream) => allocation_bytes(size_of::<Stream>()) + stream.memory_bytes(),
        }
    }

    fn change(&mut self, change: Change<'_>, remains: &mut Vec<Remains>) {
        match (self, change) {
            (Collection::List(list), Change::Whole(elements)) => list.put_whole(elements),
            (Collection::List(list), Change::Splice(splice)) => {
                if list.revision() == splice.revision {
                    list.splice(place(splice.index), place(splice.removed), splice.elements, remains);
                }
            }
            (Collection::Stream(stream), Change::Whole(elements)) => {
                // What is no stream came from no partition; then it has what could be read.
                let _ = stream.put_whole(elements);
            }
            (Collection::Stream(stream), Change::Stream(change)) => stream.change(change, remains),
            (Collection::List(_) | Collection::Stream(_), _) => {}
            (_, Change::Splice(_) | Change::Stream(_)) => {}
            (Collection::Hash(members), Change::Whole(fields) | Change::Put(fields)) => {
                fields.pairs().for_each(|(field, value)| members.put(field, value, remains));
            }
            (Collection::Set(members), Change::Whole(elements) | Change::Put(elements)) => {
                elements.iter().for_each(|member| members.put(member, b"", remains));
            }
            (Collection::Hash(members) | Collection::Set(members), Change::Drop(elements)) => {
                elements.iter().for_each(|element| members.drop(element, remains));
            }
            (Collection::SortedSet(set), Change::Whole(elements) | Change::Put(elements)) => {
                scored(elements).for_each(|(score, member)| set.put(score, member));
            }
            (Collection::SortedSet(set), Change::Drop(members)) => {
                members.iter().for_each(|member| set.drop(member, remains));
            }
        }
    }
}

/// Scores with their members, as an effect has them; what is no score is left out.
fn scored(elements: Elements<'_>) -> impl Iterator<Item = (f64, &[u8])> {
    elements.pairs().filter_map(|(score, member)| Some((f64::from_le_bytes(score.try_into().ok()?), member)))
}

impl ValueRef<'_> {
    /// How many elements it has; `None` if it is no collection.
    pub fn elements_len(&self) -> Option<usize> {
        match self {
            ValueRef::String(_) | ValueRef::Filter(_) => None,
            ValueRef::Hash(hash) => Some(hash.len()),
            ValueRef::Set(set) => Some(set.len()),
            ValueRef::Stream(stream) => usize::try_from(stream.len()).ok(),
            ValueRef::List(list) => Some(list.len()),
            ValueRef::SortedSet(set) => Some(set.len()),
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
            ValueRef::List(list) => {
                elements.push(&list.revision().to_le_bytes());
                list.iter().for_each(|element| elements.push(element));
                Kind::List
            }
            ValueRef::Stream(stream) => {
                stream.push_whole(&mut elements);
                Kind::Stream
            }
            ValueRef::Set(set) => {
                set.for_each(&mut |member| elements.push(member));
                Kind::Set
            }
            ValueRef::SortedSet(set) => {
                for (score, member) in set.iter() {
                    elements.push(&score.to_le_bytes());
                    elements.push(member);
                }
                Kind::SortedSet
            }
        };
        Some((kind, elements))
    }
}
