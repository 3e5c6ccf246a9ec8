//! A sketch as a whole: the header, and the two encodings behind it.

use super::estimate::Histogram;
use super::hash::register_of;
use super::sparse::{self, Raised};
use super::{NO_SKETCH, REGISTERS, dense};
use crate::error::Outcome;

const MAGIC: &[u8; 4] = b"HYLL";
/// Where the header tells the encoding.
const ENCODING_AT: usize = 4;
/// Where the cached count begins.
const COUNT_AT: usize = 8;
/// The byte of the cached count whose highest bit says that it is out of date.
pub(super) const COUNT_STALE_AT: usize = 15;
const COUNT_STALE: u8 = 128;
const HEADER_BYTES: usize = 16;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// How registers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    Dense,
    Sparse,
}

/// The encoding of a sketch, if its header says that it is one; the rest may be damaged still.
pub(super) fn encoding_of(bytes: &[u8]) -> Outcome<Encoding> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return Err(NO_SKETCH);
    }
    match bytes[ENCODING_AT] {
        DENSE if bytes.len() == HEADER_BYTES + dense::BYTES => Ok(Encoding::Dense),
        SPARSE => Ok(Encoding::Sparse),
        _ => Err(NO_SKETCH),
    }
}

/// The registers of a sketch, encoded.
pub(super) fn body(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER_BYTES..).unwrap_or_default()
}

/// The number of different elements that a sketch has seen.
pub(super) fn count(bytes: &[u8]) -> Outcome<u64> {
    match bytes.get(COUNT_AT..).and_then(|rest| rest.first_chunk()) {
        Some(cached) if cached[7] & COUNT_STALE == 0 => Ok(u64::from_le_bytes(*cached)),
        _ => count_registers(bytes),
    }
}

/// The same, without the count that may be cached.
pub(super) fn count_registers(bytes: &[u8]) -> Outcome<u64> {
    let mut histogram = Histogram::new();
    match encoding_of(bytes)? {
        Encoding::Dense => dense::for_each(body(bytes), |value| histogram.add(value, 1)),
        Encoding::Sparse => sparse::for_each(body(bytes), |_, run| histogram.add(run.value, run.len))?,
    }
    Ok(histogram.estimate())
}

/// Whether adding these elements changes a dense sketch.
pub(super) fn would_change(bytes: &[u8], elements: &[&[u8]]) -> bool {
    let registers = body(bytes);
    elements
        .iter()
        .map(|element| register_of(element))
        .any(|(index, value)| value > dense::get(registers, index))
}

/// The registers of several sketches joined: of each the highest value.
pub(super) struct Union(Box<[u8; REGISTERS]>);

impl Union {
    /// Of no sketches.
    pub(super) fn new() -> Union {
        Union(Box::new([0; REGISTERS]))
    }

    /// Joins a sketch.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Outcome<()> {
        let registers = &mut self.0;
        match encoding_of(bytes)? {
            Encoding::Dense => {
                let mut rest = registers.iter_mut();
                dense::for_each(body(bytes), |value| {
                    if let Some(register) = rest.next() {
                        *register = (*register).max(value);
                    }
                });
                Ok(())
            }
            Encoding::Sparse => sparse::for_each(body(bytes), |first, run| {
                if run.value > 0 {
                    let registers = registers.iter_mut().skip(first).take(run.len);
                    registers.for_each(|register| *register = (*register).max(run.value));
                }
            }),
        }
    }

    /// The number of different elements that they have seen together.
    pub(super) fn count(&self) -> u64 {
        let mut histogram = Histogram::new();
        self.0.iter().for_each(|value| histogram.add(*value, 1));
        histogram.estimate()
    }

    /// The registers that have seen something.
    pub(super) fn registers(&self) -> impl Iterator<Item = (usize, u8)> {
        self.0.iter().copied().enumerate().filter(|(_, value)| *value > 0)
    }
}

/// A sketch that is being changed.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    bytes: Vec<u8>,
}

impl Sketch {
    /// One that has seen nothing: sparse.
    pub(super) fn new() -> Sketch {
        let mut bytes = MAGIC.to_vec();
        bytes.resize(HEADER_BYTES, 0);
        bytes[ENCODING_AT] = SPARSE;
        bytes.extend_from_slice(&sparse::zeros(REGISTERS));
        Sketch { bytes }
    }

    /// A copy of these bytes, which are a sketch as [`encoding_of`] says.
    pub(super) fn of(bytes: &[u8]) -> Sketch {
        Sketch { bytes: bytes.to_vec() }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_dense(&self) -> bool {
        self.bytes[ENCODING_AT] == DENSE
    }

    /// Adds an element; whether that changed a register.
    pub(super) fn add(&mut self, element: &[u8]) -> Outcome<bool> {
        let (index, value) = register_of(element);
        self.raise(index, value)
    }

    /// Raises a register; false if it is as high already.
    pub(super) fn raise(&mut self, index: usize, value: u8) -> Outcome<bool> {
        if !self.is_dense() {
            match sparse::raise(&mut self.bytes, HEADER_BYTES, index, value)? {
                Raised::No => return Ok(false),
                Raised::Yes => return Ok(true),
                Raised::TooMuch => self.make_dense()?,
            }
        }
        Ok(dense::raise(&mut self.bytes[HEADER_BYTES..], index, value))
    }

    /// Changes the encoding, unless it is dense already.
    pub(super) fn make_dense(&mut self) -> Outcome<()> {
        if !self.is_dense() {
            let registers = sparse::to_dense(body(&self.bytes))?;
            self.bytes.truncate(HEADER_BYTES);
            self.bytes[ENCODING_AT] = DENSE;
            self.bytes.extend_from_slice(&registers);
        }
        Ok(())
    }

    /// The cached count is out of date.
    pub(super) fn forget_count(&mut self) {
        self.bytes[COUNT_STALE_AT] |= COUNT_STALE;
    }
}

#[cfg(test)]
mod tests {
    use super::super::CORRUPT;
    use super::*;

    #[test]
    fn a_new_sketch_has_the_bytes_of_redis() {
        let sketch = Sketch::new();
        assert_eq!(sketch.as_bytes(), b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
        assert_eq!(count(sketch.as_bytes()), Ok(0));
        assert_eq!(count_registers(sketch.as_bytes()), Ok(0));
    }

    #[test]
    fn what_is_a_sketch() {
        let sound = Sketch::new();
        assert_eq!(encoding_of(sound.as_bytes()), Ok(Encoding::Sparse));
        assert_eq!(encoding_of(&sound.as_bytes()[..15]), Err(NO_SKETCH));
        let mut dense = sound.clone();
        dense.make_dense().expect("sound");
        assert_eq!(encoding_of(dense.as_bytes()), Ok(Encoding::Dense));
        assert_eq!(encoding_of(&dense.as_bytes()[..12_303]), Err(NO_SKETCH));
        let mut unknown = sound.clone();
        unknown.bytes[ENCODING_AT] = 2;
        assert_eq!(encoding_of(unknown.as_bytes()), Err(NO_SKETCH));
        let mut damaged = sound;
        damaged.bytes.pop();
        damaged.forget_count();
        assert_eq!(count(damaged.as_bytes()), Err(CORRUPT));
        assert_eq!(damaged.add(b"a"), Err(CORRUPT));
        assert_eq!(Union::new().add(damaged.as_bytes()), Err(CORRUPT));
    }

    #[test]
    fn the_encodings_agree() {
        let mut sketch = Sketch::new();
        let mut dense = Sketch::new();
        dense.make_dense().expect("sound");
        for number in 0..4_000u32 {
            let element = number.to_le_bytes();
            let changes = would_change(dense.as_bytes(), &[&element]);
            assert_eq!(sketch.add(&element), Ok(changes));
            assert_eq!(dense.add(&element), Ok(changes));
            if number % 500 == 0 {
                let counted = count_registers(dense.as_bytes());
                assert_eq!(count_registers(sketch.as_bytes()), counted);
                let mut union = Union::new();
                union.add(sketch.as_bytes()).expect("sound");
                assert_eq!(Ok(union.count()), counted);
            }
        }
        assert!(sketch.is_dense(), "it has grown");
        assert_eq!(sketch.as_bytes(), dense.as_bytes());
    }
}
