//! Sets: members without values.
//!
//! A small one is packed: as sorted integers of equal width as long as all members are integers and Redis would keep them as an
//! intset (`set-max-intset-entries 512`), else one after another, as long as Redis would keep them as a listpack
//! (`set-max-listpack-entries 128`, `set-max-listpack-value 64`). It never goes back.
//!
//! ```text
//! | width: u8 (2, 4 or 8) | integer, lowest byte first | ...      or      | 0 | run of `packed` |
//! ```

use crate::members::Members;
use crate::packed;
use crate::value::{INTEGER_CHARS_MAX, parse_integer, render_integer};
use stdx::Random;

/// Most members of a packed set, as integers and otherwise.
const PACKED_INTEGERS_MAX: usize = 512;
const PACKED_MEMBERS_MAX: usize = 128;
/// Instead of a width: any members.
const MIXED: u8 = 0;
const WIDTHS: [usize; 3] = [2, 4, 8];

/// A set to read.
#[derive(Clone, Copy, Debug)]
pub struct SetRef<'a>(Repr<'a>);

#[derive(Clone, Copy, Debug)]
enum Repr<'a> {
    Integers(Integers<'a>),
    Packed(&'a [u8]),
    Large(&'a Members),
}

impl<'a> SetRef<'a> {
    pub(crate) fn packed(packed: &'a [u8]) -> SetRef<'a> {
        SetRef(match packed.split_first() {
            Some((&MIXED, run)) => Repr::Packed(run),
            _ => Repr::Integers(Integers::of(packed)),
        })
    }

    pub(crate) fn large(members: &'a Members) -> SetRef<'a> {
        SetRef(Repr::Large(members))
    }

    /// How many members there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self.0 {
            Repr::Integers(integers) => integers.len(),
            Repr::Packed(run) => packed::count(run),
            Repr::Large(members) => members.len(),
        }
    }

    /// Whether this is a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.0 {
            Repr::Integers(integers) => {
                parse_integer(member).is_some_and(|number| integers.search(number).is_ok())
            }
            Repr::Packed(run) => packed::entries(run).any(|entry| entry.bytes == member),
            Repr::Large(members) => members.get(member).is_some(),
        }
    }

    /// Visits all members, integers from the least, until `visit` says that it has enough.
    pub fn try_for_each(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        match self.0 {
            Repr::Integers(integers) => {
                let scratch = &mut [0; INTEGER_CHARS_MAX];
                (0..integers.len()).all(|place| visit(render_integer(integers.at(place), scratch)))
            }
            Repr::Packed(run) => packed::entries(run).all(|entry| visit(entry.bytes)),
            Repr::Large(members) => members.iter().all(|(member, _)| visit(member)),
        }
    }

    /// Visits all members, integers from the least.
    pub fn for_each(&self, visit: &mut dyn FnMut(&[u8])) {
        self.try_for_each(&mut |member| {
            visit(member);
            true
        });
    }

    /// Visits about `count` members from `cursor` (0 at the start) on and gives the next cursor, 0 at the end; a packed set is
    /// visited at once.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> u64 {
        match self.0 {
            Repr::Large(members) => members.scan(cursor, count, &mut |member, _| visit(member)),
            _ => {
                self.for_each(visit);
                0
            }
        }
    }

    /// A member by chance, each about equally likely; `None` if there is none.
    pub fn random(&self, random: &mut Random) -> Option<Vec<u8>> {
        let mut place = || random_place(self.len(), random);
        match self.0 {
            Repr::Integers(integers) => {
                Some(render_integer(integers.at(place()?), &mut [0; INTEGER_CHARS_MAX]).to_vec())
            }
            Repr::Packed(run) => packed::entries(run).nth(place()?).map(|entry| entry.bytes.to_vec()),
            Repr::Large(members) => members.random(random).map(|(member, _)| member.to_vec()),
        }
    }

    /// Whether all members are kept as integers.
    pub fn is_integers(&self) -> bool {
        matches!(self.0, Repr::Integers(_))
    }

    /// OBJECT ENCODING as Redis answers it: `intset`, `listpack` or `hashtable`.
    pub fn encoding(&self) -> &'static str {
        match self.0 {
            Repr::Integers(_) => "intset",
            Repr::Packed(_) => "listpack",
            Repr::Large(_) => "hashtable",
        }
    }
}

fn random_place(len: usize, random: &mut Random) -> Option<usize> {
    (len > 0).then(|| random.below(len as u64) as usize)
}

/// Adds a member to a packed set; false, and nothing is changed, if it does not fit.
pub(crate) fn put_packed(packed: &mut Vec<u8>, member: &[u8]) -> bool {
    if packed.first() == Some(&MIXED) {
        return put_mixed(packed, member);
    }
    let integers = Integers::of(packed);
    let Some(number) = parse_integer(member) else {
        if integers.len() >= PACKED_MEMBERS_MAX || !packed::fits(member) {
            return false;
        }
        let mut run = Vec::new();
        SetRef(Repr::Integers(integers)).for_each(&mut |member| packed::push(&mut run, member));
        packed::push(&mut run, member);
        packed.clear();
        packed.push(MIXED);
        packed.append(&mut run);
        return true;
    };
    let Err(place) = integers.search(number) else { return true };
    if integers.len() >= PACKED_INTEGERS_MAX {
        return false;
    }
    let width = integers.width.max(width_of(number));
    if width > integers.width || packed.is_empty() {
        let mut wider = Vec::with_capacity(1 + (integers.len() + 1) * width);
        wider.push(width as u8);
        for place in 0..integers.len() {
            wider.extend_from_slice(&integers.at(place).to_le_bytes()[..width]);
        }
        *packed = wider;
    }
    let at = 1 + place * width;
    packed.splice(at..at, number.to_le_bytes()[..width].iter().copied());
    true
}

fn put_mixed(packed: &mut Vec<u8>, member: &[u8]) -> bool {
    let run = &packed[1..];
    if packed::entries(run).any(|entry| entry.bytes == member) {
        return true;
    }
    if packed::count(run) >= PACKED_MEMBERS_MAX || !packed::fits(member) {
        return false;
    }
    let mut run = packed.split_off(1);
    packed::push(&mut run, member);
    packed.append(&mut run);
    true
}

/// Removes a member of a packed set, if it is one.
pub(crate) fn drop_packed(packed: &mut Vec<u8>, member: &[u8]) {
    if packed.first() == Some(&MIXED) {
        let found = packed::entries(&packed[1..]).find(|entry| entry.bytes == member);
        if let Some(packed::Entry { at, end, .. }) = found {
            let mut run = packed.split_off(1);
            packed::remove(&mut run, at, end, 1);
            packed.append(&mut run);
        }
        return;
    }
    let integers = Integers::of(packed);
    if let Some(Ok(place)) = parse_integer(member).map(|number| integers.search(number)) {
        let (at, width) = (1 + place * integers.width, integers.width);
        packed.drain(at..at + width);
    }
}

/// The large form of a packed set.
pub(crate) fn unpacked(packed: &[u8], hash_seed: u64) -> Members {
    let mut members = Members::new(hash_seed);
    SetRef::packed(packed).for_each(&mut |member| members.put(member, b"", &mut Vec::new()));
    members
}

/// Sorted integers of equal width.
#[derive(Clone, Copy, Debug)]
struct Integers<'a> {
    width: usize,
    bytes: &'a [u8],
}

impl<'a> Integers<'a> {
    fn of(packed: &'a [u8]) -> Integers<'a> {
        match packed.split_first() {
            Some((&width, bytes)) => Integers { width: usize::from(width), bytes },
            None => Integers { width: WIDTHS[0], bytes: &[] },
        }
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    fn at(&self, place: usize) -> i64 {
        let bytes = &self.bytes[place * self.width..(place + 1) * self.width];
        // The sign goes on in the bytes that are not there.
        let mut whole = if bytes[self.width - 1] >= 0x80 { [0xff; 8] } else { [0; 8] };
        whole[..self.width].copy_from_slice(bytes);
        i64::from_le_bytes(whole)
    }

    /// Where the number stands, or where it would.
    fn search(&self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.at(middle).cmp(&number) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

fn width_of(number: i64) -> usize {
    if i16::try_from(number).is_ok() {
        WIDTHS[0]
    } else if i32::try_from(number).is_ok() {
        WIDTHS[1]
    } else {
        WIDTHS[2]
    }
}
