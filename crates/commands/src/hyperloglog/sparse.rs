//! The sparse encoding: runs of equal registers, for sketches most of whose registers are zero still.
//!
//! ```text
//! 00llllll            l + 1 registers are zero              (ZERO)
//! 01llllll llllllll   l + 1 registers are zero              (XZERO)
//! 1vvvvvll            l + 1 registers are v + 1             (VAL)
//! ```
//! The same registers can be written in many ways. Which one comes out of a change is Redis's: the run that holds the
//! register is split, and equal neighbours near it are joined.

use super::{CORRUPT, REGISTERS, dense};
use crate::error::Outcome;

const ZERO_LEN_MAX: usize = 64;
const XZERO_LEN_MAX: usize = 1 << 14;
const VALUE_LEN_MAX: usize = 4;
/// Highest value that a run can have.
const VALUE_MAX: u8 = 32;
const XZERO: u8 = 0b0100_0000;
const VALUE: u8 = 0b1000_0000;
/// Bytes that a sketch may have, its header included (Redis's `hll-sparse-max-bytes`).
const SKETCH_BYTES_MAX: usize = 3_000;
/// Runs that are looked at to join them, from the one before the change on.
const JOINED_RUNS_MAX: usize = 5;
/// A long run of zeros, split by a value in its midst.
const SPLIT_BYTES_MAX: usize = 5;

/// A run of equal registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    /// 0 for both kinds of zeros.
    pub(super) value: u8,
    /// Registers.
    pub(super) len: usize,
    /// What it takes: two bytes for XZERO, otherwise one.
    pub(super) bytes: usize,
}

impl Run {
    /// The run that the bytes begin with; `None` if they are none or only half of one.
    fn first_of(bytes: &[u8]) -> Option<Run> {
        match *bytes {
            [byte, ..] if byte & VALUE != 0 => {
                Some(Run { value: (byte >> 2 & 31) + 1, len: usize::from(byte & 3) + 1, bytes: 1 })
            }
            [byte, low, ..] if byte & XZERO != 0 => {
                let len = usize::from(byte & !XZERO) << 8 | usize::from(low);
                Some(Run { value: 0, len: len + 1, bytes: 2 })
            }
            [byte, ..] if byte & XZERO == 0 => Some(Run { value: 0, len: usize::from(byte) + 1, bytes: 1 }),
            _ => None,
        }
    }
}

/// The runs of an encoded sketch, without its header.
pub(super) struct Runs<'a>(&'a [u8]);

impl<'a> Runs<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Runs<'a> {
        Runs(bytes)
    }
}

impl Iterator for Runs<'_> {
    type Item = Outcome<Run>;

    fn next(&mut self) -> Option<Outcome<Run>> {
        if self.0.is_empty() {
            return None;
        }
        let run = Run::first_of(self.0);
        self.0 = run.and_then(|run| self.0.get(run.bytes..)).unwrap_or_default();
        Some(run.ok_or(CORRUPT))
    }
}

/// Calls `each` with the place of the first register of every run and the run, all of which together are the registers.
pub(super) fn for_each(bytes: &[u8], mut each: impl FnMut(usize, Run)) -> Outcome<()> {
    let mut first = 0;
    for run in Runs::of(bytes) {
        let run = run?;
        if first + run.len > REGISTERS {
            return Err(CORRUPT);
        }
        each(first, run);
        first += run.len;
    }
    if first == REGISTERS { Ok(()) } else { Err(CORRUPT) }
}

/// The dense registers of a sparse sketch.
pub(super) fn to_dense(bytes: &[u8]) -> Outcome<Vec<u8>> {
    let mut registers = vec![0; dense::BYTES];
    for_each(bytes, |first, run| {
        if run.value > 0 {
            (first..first + run.len).for_each(|index| dense::set(&mut registers, index, run.value));
        }
    })?;
    Ok(registers)
}

/// What came of raising a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Raised {
    /// It is as high already.
    No,
    /// It has the value now.
    Yes,
    /// It has to be raised, and this encoding cannot: nothing has changed.
    TooMuch,
}

/// Raises the register `index` to `value` in `sketch`, whose runs begin at `start`.
pub(super) fn raise(sketch: &mut Vec<u8>, start: usize, index: usize, value: u8) -> Outcome<Raised> {
    if value > VALUE_MAX {
        return Ok(Raised::TooMuch);
    }
    let (mut at, mut before, mut first) = (start, start, 0);
    let run = loop {
        let run = Run::first_of(sketch.get(at..).unwrap_or_default()).ok_or(CORRUPT)?;
        if index < first + run.len {
            break run;
        }
        (before, first) = (at, first + run.len);
        at += run.bytes;
    };
    if run.value >= value {
        return Ok(Raised::No);
    }
    let split = Split::of(run, index - first, value);
    let longer = split.as_bytes().len().saturating_sub(run.bytes);
    if longer > 0 && sketch.len() + longer > SKETCH_BYTES_MAX {
        return Ok(Raised::TooMuch);
    }
    sketch.splice(at..at + run.bytes, split.as_bytes().iter().copied());
    join(sketch, before);
    Ok(Raised::Yes)
}

/// What replaces a run of which one register gets another value.
struct Split {
    bytes: [u8; SPLIT_BYTES_MAX],
    len: usize,
}

impl Split {
    fn of(run: Run, place: usize, value: u8) -> Split {
        let mut split = Split { bytes: [0; SPLIT_BYTES_MAX], len: 0 };
        split.push_run(run.value, place);
        split.push(value_byte(value, 1));
        split.push_run(run.value, run.len - place - 1);
        split
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// `len` registers of this value, perhaps none; no more than one run can have.
    fn push_run(&mut self, value: u8, len: usize) {
        match (value, len) {
            (_, 0) => {}
            (0, 1..=ZERO_LEN_MAX) => self.push((len - 1) as u8),
            (0, _) => zeros(len).into_iter().for_each(|byte| self.push(byte)),
            (value, _) => self.push(value_byte(value, len)),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn value_byte(value: u8, len: usize) -> u8 {
    debug_assert!((1..=VALUE_MAX).contains(&value) && (1..=VALUE_LEN_MAX).contains(&len));
    VALUE | (value - 1) << 2 | (len - 1) as u8
}

/// XZERO of so many registers.
pub(super) fn zeros(len: usize) -> [u8; 2] {
    debug_assert!((1..=XZERO_LEN_MAX).contains(&len));
    let [high, low] = ((len - 1) as u16).to_be_bytes();
    [XZERO | high, low]
}

/// Joins neighbours of the same value among the runs from the byte `at` on.
fn join(sketch: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED_RUNS_MAX {
        let Some(run) = Run::first_of(sketch.get(at..).unwrap_or_default()) else { return };
        let next = sketch.get(at + run.bytes..).and_then(Run::first_of);
        match next {
            // The joined run is looked at again, for what follows it.
            Some(next) if run.value > 0 && next.value == run.value && run.len + next.len <= VALUE_LEN_MAX => {
                sketch[at + 1] = value_byte(run.value, run.len + next.len);
                sketch.remove(at);
            }
            _ => at += run.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    fn registers_of(bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        for_each(bytes, |_, run| all.extend(std::iter::repeat_n(run.value, run.len))).expect("sound");
        all
    }

    #[test]
    fn registers_against_an_array() {
        let mut random = Random::seeded(6);
        for _ in 0..20 {
            let (mut sketch, mut model) = (zeros(REGISTERS).to_vec(), vec![0; REGISTERS]);
            let spread = 1 + random.below(REGISTERS as u64);
            for _ in 0..4_000 {
                let (index, value) = (random.below(spread) as usize, 1 + random.below(6) as u8);
                match raise(&mut sketch, 0, index, value).expect("sound") {
                    Raised::TooMuch => break,
                    raised => assert_eq!(raised == Raised::Yes, value > model[index]),
                }
                model[index] = model[index].max(value);
                assert!(sketch.len() <= SKETCH_BYTES_MAX);
            }
            assert_eq!(registers_of(&sketch), model);
            let dense = to_dense(&sketch).expect("sound");
            assert!((0..REGISTERS).all(|index| dense::get(&dense, index) == model[index]));
        }
    }

    #[test]
    fn high_values_need_the_dense_encoding() {
        let mut sketch = zeros(REGISTERS).to_vec();
        assert_eq!(raise(&mut sketch, 0, 5, VALUE_MAX), Ok(Raised::Yes));
        assert_eq!(raise(&mut sketch, 0, 5, VALUE_MAX), Ok(Raised::No));
        assert_eq!(raise(&mut sketch, 0, 5, VALUE_MAX + 1), Ok(Raised::TooMuch));
    }

    #[test]
    fn damage_is_noticed() {
        let many = zeros(REGISTERS).repeat(2);
        for bytes in [&b""[..], b"\x40", b"\x00", &many] {
            assert_eq!(for_each(bytes, |_, _| {}), Err(CORRUPT), "{bytes:?}");
            assert_eq!(to_dense(bytes), Err(CORRUPT), "{bytes:?}");
        }
        assert_eq!(raise(&mut b"\x00".to_vec(), 0, 1, 1), Err(CORRUPT));
        assert_eq!(raise(&mut b"\x00\x7f".to_vec(), 0, 1, 1), Err(CORRUPT));
        // Runs that claim too much: whatever comes of it, it is no panic.
        let mut random = Random::seeded(7);
        for _ in 0..20_000 {
            let mut bytes = vec![0; random.below(12) as usize];
            random.fill(&mut bytes);
            let index = random.below(200) as usize;
            let raised = raise(&mut bytes, 0, index, 1 + random.below(32) as u8);
            assert!(raised.is_err() || raised.is_ok_and(|raised| raised != Raised::TooMuch));
        }
    }
}
