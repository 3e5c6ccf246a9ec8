//! The settings of `cjson`, and the functions that read and change them.

use crate::arguments::Arguments;
use mlua::{IntoLua as _, Lua, MultiValue, Result, Value};

/// How numbers are encoded that JSON has no form for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InvalidNumbers {
    /// Not at all: an error.
    Refused,
    /// As C writes them.
    Written,
    /// As `null`.
    Null,
}

/// The settings of one `cjson` table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Encode an excessively sparse array as an object instead of refusing it.
    pub(super) sparse_convert: bool,
    /// An array is too sparse with a maximum index above this many times its elements; zero: never.
    pub(super) sparse_ratio: i32,
    /// Up to this index it is never too sparse.
    pub(super) sparse_safe: i32,
    pub(super) encode_max_depth: i32,
    pub(super) decode_max_depth: i32,
    pub(super) encode_invalid_numbers: InvalidNumbers,
    /// Accept `nan`, `inf`, hexadecimal and the like.
    pub(super) decode_invalid_numbers: bool,
    /// Significant digits.
    pub(super) number_precision: i32,
    /// Without effect here; kept to be told back.
    keep_buffer: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_max_depth: 1_000,
            decode_max_depth: 1_000,
            encode_invalid_numbers: InvalidNumbers::Refused,
            decode_invalid_numbers: true,
            number_precision: 14,
            keep_buffer: true,
        }
    }
}

type Option_ = fn(&Lua, MultiValue, &mut Config) -> Result<MultiValue>;

/// The functions by their names in the library.
pub(super) const OPTIONS: [(&str, Option_); 7] = [
    ("encode_sparse_array", sparse_array),
    ("encode_max_depth", |lua, values, config| {
        integer_only(lua, values, &mut config.encode_max_depth, 1, i32::MAX)
    }),
    ("decode_max_depth", |lua, values, config| {
        integer_only(lua, values, &mut config.decode_max_depth, 1, i32::MAX)
    }),
    ("encode_number_precision", |lua, values, config| {
        integer_only(lua, values, &mut config.number_precision, 1, 14)
    }),
    ("encode_keep_buffer", |lua, values, config| switch_only(lua, values, &mut config.keep_buffer)),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("decode_invalid_numbers", |lua, values, config| {
        switch_only(lua, values, &mut config.decode_invalid_numbers)
    }),
];

fn sparse_array(lua: &Lua, values: MultiValue, config: &mut Config) -> Result<MultiValue> {
    let arguments = limited(lua, values, 3)?;
    let convert = switch(&arguments, 1, &mut config.sparse_convert)?;
    let ratio = integer(&arguments, 2, &mut config.sparse_ratio, 0, i32::MAX)?;
    let safe = integer(&arguments, 3, &mut config.sparse_safe, 0, i32::MAX)?;
    Ok(MultiValue::from_vec(vec![convert, ratio, safe]))
}

fn encode_invalid_numbers(lua: &Lua, values: MultiValue, config: &mut Config) -> Result<MultiValue> {
    let arguments = limited(lua, values, 1)?;
    match arguments.get(1) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(is_on)) => {
            config.encode_invalid_numbers =
                if *is_on { InvalidNumbers::Written } else { InvalidNumbers::Refused };
        }
        Some(_) => {
            config.encode_invalid_numbers = match choice(&arguments, 1, &["off", "on", "null"])? {
                0 => InvalidNumbers::Refused,
                1 => InvalidNumbers::Written,
                _ => InvalidNumbers::Null,
            };
        }
    }
    let told = match config.encode_invalid_numbers {
        InvalidNumbers::Refused => Value::Boolean(false),
        InvalidNumbers::Written => Value::Boolean(true),
        InvalidNumbers::Null => "null".into_lua(lua)?,
    };
    Ok(MultiValue::from_vec(vec![told]))
}

fn integer_only(lua: &Lua, values: MultiValue, setting: &mut i32, min: i32, max: i32) -> Result<MultiValue> {
    let told = integer(&limited(lua, values, 1)?, 1, setting, min, max)?;
    Ok(MultiValue::from_vec(vec![told]))
}

fn switch_only(lua: &Lua, values: MultiValue, setting: &mut bool) -> Result<MultiValue> {
    let told = switch(&limited(lua, values, 1)?, 1, setting)?;
    Ok(MultiValue::from_vec(vec![told]))
}

fn limited(lua: &Lua, values: MultiValue, count_max: usize) -> Result<Arguments<'_>> {
    let arguments = Arguments::new(lua, values);
    if arguments.len() > count_max {
        return Err(arguments.error(count_max + 1, "found too many arguments"));
    }
    Ok(arguments)
}

fn integer(
    arguments: &Arguments<'_>,
    position: usize,
    setting: &mut i32,
    min: i32,
    max: i32,
) -> Result<Value> {
    if !arguments.is_absent_or_nil(position) {
        let value = arguments.int(position)?;
        if value < min || value > max {
            // The library names the first argument whichever it is.
            return Err(arguments.error(1, &format!("expected integer between {min} and {max}")));
        }
        *setting = value;
    }
    Ok(Value::Integer(i64::from(*setting)))
}

fn switch(arguments: &Arguments<'_>, position: usize, setting: &mut bool) -> Result<Value> {
    match arguments.get(position) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(is_on)) => *setting = *is_on,
        Some(_) => *setting = choice(arguments, position, &["off", "on"])? == 1,
    }
    Ok(Value::Boolean(*setting))
}

/// `luaL_checkoption`: the place of a name in a list.
pub(super) fn choice(arguments: &Arguments<'_>, position: usize, names: &[&str]) -> Result<usize> {
    let given = arguments.string(position)?;
    let given = given.as_bytes();
    names.iter().position(|name| name.as_bytes() == &*given).ok_or_else(|| {
        arguments.error(position, &format!("invalid option '{}'", String::from_utf8_lossy(&given)))
    })
}
