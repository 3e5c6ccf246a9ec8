//! The HyperLogLog family: how many different elements were seen, within one per cent, in at most 12 KiB.
//!
//! A sketch is a string in Redis's own format, byte for byte, so that GET, SET and DUMP carry it from one server to the
//! other. What a client may have put there is therefore checked wherever it is read. The files from the bottom up:
//! [`hash`] turns an element into a register and its value, [`dense`] and [`sparse`] are the two encodings, [`estimate`] the
//! number that the registers stand for, [`sketch`] all of it together; the others are the commands.
//!
//! A sketch has 16,384 registers, each of which holds the longest run of zeros that a hash of its elements ended in, plus
//! one. Its bytes are a header and the registers:
//! ```text
//! "HYLL" | encoding: 0 dense, 1 sparse | 3 bytes of zeros | cached count: 8 bytes, lowest first
//! ```
//! The highest bit of the cached count says that it is out of date. What is left out: PFCOUNT does not cache the count,
//! because it is a read; a count that came with a sketch from a Redis server is used while it holds.

mod dense;
mod estimate;
mod hash;
mod selftest;
mod sketch;
mod sparse;

pub mod debug;
pub mod read;
pub mod write;

use crate::error::{CommandError, Outcome};
use crate::string::{INTEGER_TEXT_BYTES_MAX, string_of};
use crate::table::{Categories, Command, Group};
use store::EntryRef;

/// What every row of the family has in common.
pub(crate) const ROW: Command = Command {
    categories: Categories::HYPERLOGLOG,
    group: Group::HyperLogLog,
    since: "2.8.9",
    ..Command::BLANK
};

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
/// Registers of a sketch.
const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that are searched for its run of zeros.
const RUN_BITS: u32 = u64::BITS - INDEX_BITS;

/// The bytes are no sketch.
const NO_SKETCH: CommandError = CommandError::Bare("WRONGTYPE Key is not a valid HyperLogLog string value.");
/// They look like one, and are none.
const CORRUPT: CommandError = CommandError::Bare("INVALIDOBJ Corrupted HLL object detected");

/// The sketch that an entry holds, as far as its header tells; `scratch` is for strings that turn out to be numbers.
fn sketch_of<'e>(
    entry: &'e EntryRef<'_>,
    scratch: &'e mut [u8; INTEGER_TEXT_BYTES_MAX],
) -> Outcome<&'e [u8]> {
    let bytes = string_of(entry)?.as_bytes(scratch);
    sketch::encoding_of(bytes).map(|_| bytes)
}
