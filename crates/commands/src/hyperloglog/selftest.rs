//! PFSELFTEST: whether registers keep their values, the encodings agree and estimates are as good as they should be.
//! Smaller than Redis's, which takes a server some tenths of a second.

use super::sketch::{Sketch, count_registers};
use super::{REGISTERS, dense};
use stdx::Random;

const CYCLES: u32 = 10;
const ELEMENTS: u64 = 100_000;
/// Elements up to which a sketch has to be sparse.
const SPARSE_ELEMENTS: u64 = 1_000;
/// Standard errors that an estimate may be off.
const ERRORS_MAX: f64 = 6.0;

/// Runs all tests; an error is what went wrong.
pub(super) fn run(seed: u64) -> Result<(), String> {
    let mut random = Random::seeded(seed);
    (0..CYCLES).try_for_each(|_| registers_keep_values(&mut random))?;
    estimates_are_close(random.next_u64())
}

fn registers_keep_values(random: &mut Random) -> Result<(), String> {
    let mut registers = vec![0; dense::BYTES];
    let values: Vec<u8> = (0..REGISTERS).map(|_| random.below(64) as u8).collect();
    values.iter().enumerate().for_each(|(index, value)| dense::set(&mut registers, index, *value));
    for (index, value) in values.iter().enumerate() {
        let found = dense::get(&registers, index);
        if found != *value {
            return Err(format!("TESTFAILED Register {index} should be {value} but is {found}"));
        }
    }
    Ok(())
}

fn estimates_are_close(seed: u64) -> Result<(), String> {
    let failed = |_| "TESTFAILED sketch corrupted".to_owned();
    let (mut sketch, mut dense) = (Sketch::new(), Sketch::new());
    dense.make_dense().map_err(failed)?;
    let mut checkpoint = 1;
    for number in 1..=ELEMENTS {
        let element = (number ^ seed).to_le_bytes();
        dense.add(&element).map_err(failed)?;
        sketch.add(&element).map_err(failed)?;
        if number != checkpoint {
            continue;
        }
        if number <= SPARSE_ELEMENTS && sketch.is_dense() {
            return Err("TESTFAILED sparse encoding not used".to_owned());
        }
        let count = count_registers(dense.as_bytes()).map_err(failed)?;
        if count_registers(sketch.as_bytes()).map_err(failed)? != count {
            return Err("TESTFAILED dense/sparse disagree".to_owned());
        }
        let error = count.abs_diff(number);
        if error as f64 > error_max(number) {
            return Err(format!("TESTFAILED Too big error. card:{number} abserr:{error}"));
        }
        checkpoint *= 10;
    }
    Ok(())
}

/// The standard error is 1.04 by the root of the number of registers. Among ten elements one collision is rare, and more
/// than what the rule allows.
fn error_max(elements: u64) -> f64 {
    (1.04 / (REGISTERS as f64).sqrt() * ERRORS_MAX * elements as f64).ceil().max(1.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_passes() {
        for seed in 0..3 {
            assert_eq!(super::run(seed), Ok(()), "seed {seed}");
        }
    }
}
