//! The library `bit`: Lua BitOp 1.0.2, operations on the low 32 bits of numbers.

use crate::arguments::Arguments;
use crate::memory;
use mlua::{Lua, MultiValue, Result, Table};

/// Added to a number, this leaves the low 32 bits of its nearest integer at the end of the mantissa: 2^52 + 2^51.
const ALIGNING: f64 = 6_755_399_441_055_744.0;
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

pub(crate) fn table(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    for (name, operation) in UNARY {
        let function = memory::callback(lua, move |lua, values: MultiValue| {
            let bits = bits(&Arguments::new(lua, values), 1)?;
            Ok(signed(operation(bits)))
        })?;
        table.raw_set(name, function)?;
    }
    for (name, operation) in FOLDING {
        let function = memory::callback(lua, move |lua, values: MultiValue| {
            let arguments = Arguments::new(lua, values);
            let mut result = bits(&arguments, 1)?;
            for position in (2..=arguments.len()).rev() {
                result = operation(result, bits(&arguments, position)?);
            }
            Ok(signed(result))
        })?;
        table.raw_set(name, function)?;
    }
    for (name, operation) in SHIFTING {
        let function = memory::callback(lua, move |lua, values: MultiValue| {
            let arguments = Arguments::new(lua, values);
            let value = bits(&arguments, 1)?;
            Ok(signed(operation(value, bits(&arguments, 2)? & 31)))
        })?;
        table.raw_set(name, function)?;
    }
    table.raw_set("tohex", memory::callback(lua, to_hex)?)?;
    Ok(table)
}

type Unary = fn(u32) -> u32;
type Binary = fn(u32, u32) -> u32;

const UNARY: [(&str, Unary); 3] = [("tobit", |a| a), ("bnot", |a| !a), ("bswap", u32::swap_bytes)];
const FOLDING: [(&str, Binary); 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
const SHIFTING: [(&str, Binary); 5] = [
    ("lshift", |a, n| a << n),
    ("rshift", |a, n| a >> n),
    ("arshift", |a, n| ((a as i32) >> n) as u32),
    ("rol", u32::rotate_left),
    ("ror", u32::rotate_right),
];

fn bits(arguments: &Arguments<'_>, position: usize) -> Result<u32> {
    Ok((arguments.number(position)? + ALIGNING).to_bits() as u32)
}

fn signed(bits: u32) -> f64 {
    f64::from(bits as i32)
}

fn to_hex(lua: &Lua, values: MultiValue) -> Result<mlua::Value> {
    let arguments = Arguments::new(lua, values);
    let value = bits(&arguments, 1)?;
    let wanted = if arguments.len() < 2 { 8 } else { bits(&arguments, 2)? as i32 };
    let digits = if wanted < 0 { HEX_UPPER } else { HEX_LOWER };
    let count = wanted.unsigned_abs().min(8);
    let text: Vec<u8> = (0..count).rev().map(|place| digits[(value >> (4 * place) & 15) as usize]).collect();
    Ok(mlua::Value::String(lua.create_string(text)?))
}
