//! The dense encoding: every register in six bits, one after another, the lowest bit first.

use super::{REGISTERS, RUN_BITS};

/// Bits of a register.
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;
/// All registers.
pub(super) const BYTES: usize = REGISTERS * REGISTER_BITS / 8;
/// Bytes that hold whole registers.
const GROUP_BYTES: usize = 3;
const GROUP_REGISTERS: usize = GROUP_BYTES * 8 / REGISTER_BITS;

const _: () = assert!(RUN_BITS < REGISTER_MAX as u32, "a register holds the longest run, plus one");

/// The group that a register belongs to, and the bit at which it begins there.
fn place(index: usize) -> (usize, usize) {
    (index / GROUP_REGISTERS, index % GROUP_REGISTERS * REGISTER_BITS)
}

fn word(group: [u8; GROUP_BYTES]) -> u32 {
    let [low, middle, high] = group;
    u32::from_le_bytes([low, middle, high, 0])
}

/// A register; 0 where there is none.
pub(super) fn get(registers: &[u8], index: usize) -> u8 {
    let (group, shift) = place(index);
    let (groups, _) = registers.as_chunks();
    groups.get(group).map_or(0, |group| (word(*group) >> shift) as u8 & REGISTER_MAX)
}

/// Sets a register.
pub(super) fn set(registers: &mut [u8], index: usize, value: u8) {
    debug_assert!(value <= REGISTER_MAX, "a register has six bits");
    let (group, shift) = place(index);
    let (groups, _) = registers.as_chunks_mut();
    if let Some(group) = groups.get_mut(group) {
        let others = word(*group) & !(u32::from(REGISTER_MAX) << shift);
        let [low, middle, high, _] = (others | u32::from(value) << shift).to_le_bytes();
        *group = [low, middle, high];
    }
}

/// Raises a register to `value`; false if it is as high already.
pub(super) fn raise(registers: &mut [u8], index: usize, value: u8) -> bool {
    let raises = value > get(registers, index);
    if raises {
        set(registers, index, value);
    }
    raises
}

/// Calls `each` with every register in turn.
#[inline]
pub(super) fn for_each(registers: &[u8], mut each: impl FnMut(u8)) {
    for group in registers.as_chunks().0 {
        let word = word(*group);
        for place in 0..GROUP_REGISTERS {
            each((word >> (place * REGISTER_BITS)) as u8 & REGISTER_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    #[test]
    fn bits_are_where_redis_has_them() {
        let mut registers = [0; BYTES];
        set(&mut registers, 0, 0b11_0001);
        set(&mut registers, 1, 0b10_0110);
        set(&mut registers, 2, 0b01_1001);
        set(&mut registers, 3, 0b11_1110);
        assert_eq!(registers[..3], [0b1011_0001, 0b1001_1001, 0b1111_1001]);
        set(&mut registers, REGISTERS - 1, 63);
        assert_eq!(registers[BYTES - 1], 0b1111_1100);
    }

    #[test]
    fn registers_against_an_array() {
        let mut random = Random::seeded(2);
        let (mut registers, mut model) = ([0; BYTES], [0; REGISTERS]);
        for _ in 0..40_000 {
            let index = random.below(REGISTERS as u64) as usize;
            let value = random.below(u64::from(REGISTER_MAX) + 1) as u8;
            if random.chance(0.5) {
                set(&mut registers, index, value);
                model[index] = value;
            } else {
                assert_eq!(raise(&mut registers, index, value), value > model[index]);
                model[index] = model[index].max(value);
            }
        }
        let mut all = Vec::new();
        for_each(&registers, |value| all.push(value));
        assert_eq!(all, model);
        assert!((0..REGISTERS).all(|index| get(&registers, index) == model[index]));
        assert_eq!(get(&registers, REGISTERS), 0);
    }
}
