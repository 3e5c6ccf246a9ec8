//! `cmsgpack.unpack` and its siblings.
//!
//! Open arrays and maps are kept on a stack of our own, so that nesting takes no more of the thread's stack than a flat
//! text; what a header announces is never allocated before it has come.

use crate::arguments::Arguments;
use crate::limits::{RESULTS_MAX, UNPACK_DEPTH_MAX};
use crate::memory;
use crate::raise;
use mlua::{Lua, MultiValue, Result, Table, Value};

pub(super) fn unpack(lua: &Lua, values: MultiValue) -> Result<MultiValue> {
    unpack_some(&Arguments::new(lua, values), lua, 0, 0)
}

pub(super) fn unpack_one(lua: &Lua, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let offset = arguments.optional_integer(2, 0)?;
    unpack_some(&arguments, lua, 1, offset)
}

pub(super) fn unpack_limit(lua: &Lua, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let limit = arguments.integer(2)?;
    let offset = arguments.optional_integer(3, 0)?;
    unpack_some(&arguments, lua, limit, offset)
}

/// Unpacks up to `limit` values from `offset` on, the place of the rest before them; everything, and no place, if both
/// are zero.
fn unpack_some(arguments: &Arguments<'_>, lua: &Lua, limit: i64, offset: i64) -> Result<MultiValue> {
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let length = text.len();
    if offset < 0 || limit < 0 {
        // The second number is the length, whatever the text says.
        let text = format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32, length as i32
        );
        return Err(raise::error(lua, text));
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let Some(rest) = text.get(start..) else {
        let text = format!("Start offset {} greater than input length {}.", offset as i32, length as i32);
        return Err(raise::error(lua, text));
    };
    let takes_all = limit == 0 && offset == 0;
    let mut unpacker = Unpacker { lua, rest };
    let mut results = MultiValue::new();
    while !unpacker.rest.is_empty() && (takes_all || (results.len() as i64) < limit) {
        if results.len() >= RESULTS_MAX {
            return Err(too_many(lua));
        }
        let value = unpacker.value().map_err(|fault| fault.into_error(lua))?;
        results.push_back(value);
    }
    if !takes_all {
        let place = if unpacker.rest.is_empty() { -1 } else { (length - unpacker.rest.len()) as i64 };
        results.push_front(Value::Integer(place));
    }
    Ok(results)
}

fn too_many(lua: &Lua) -> mlua::Error {
    let text = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
    raise::error(lua, text)
}

enum Fault {
    Missing,
    BadFormat,
    TooDeep,
    Lua(mlua::Error),
}

impl Fault {
    fn into_error(self, lua: &Lua) -> mlua::Error {
        match self {
            Fault::Missing => raise::error(lua, "Missing bytes in input."),
            Fault::BadFormat => raise::error(lua, "Bad data format in input."),
            Fault::TooDeep => too_many(lua),
            Fault::Lua(error) => error,
        }
    }
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Fault {
        Fault::Lua(error)
    }
}

/// A table whose last element has not come yet.
struct Open {
    table: Table,
    /// Elements to come: values of an array, pairs of a map.
    missing: usize,
    filled: usize,
    is_map: bool,
    key: Option<Value>,
}

/// What a head announces.
enum Head {
    Value(Value),
    Open { length: usize, is_map: bool },
}

struct Unpacker<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Unpacker<'a> {
    fn value(&mut self) -> std::result::Result<Value, Fault> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            memory::check(self.lua)?;
            let mut value = match self.head()? {
                Head::Value(value) => value,
                Head::Open { length, is_map } => {
                    let table = self.lua.create_table()?;
                    if length > 0 {
                        if open.len() >= UNPACK_DEPTH_MAX {
                            return Err(Fault::TooDeep);
                        }
                        open.push(Open { table, missing: length, filled: 0, is_map, key: None });
                        continue;
                    }
                    Value::Table(table)
                }
            };
            // A complete value may complete the tables around it.
            loop {
                let Some(last) = open.last_mut() else { return Ok(value) };
                if last.add(value)? {
                    match open.pop() {
                        Some(done) => value = Value::Table(done.table),
                        None => break,
                    }
                } else {
                    break;
                }
            }
        }
    }

    fn head(&mut self) -> std::result::Result<Head, Fault> {
        let [tag] = self.take::<1>()?;
        Ok(Head::Value(match tag {
            0x00..=0x7f => number(f64::from(tag)),
            0xe0..=0xff => number(f64::from(tag as i8)),
            0x80..=0x8f => return Ok(Head::Open { length: usize::from(tag & 0xf), is_map: true }),
            0x90..=0x9f => return Ok(Head::Open { length: usize::from(tag & 0xf), is_map: false }),
            0xa0..=0xbf => self.string(usize::from(tag & 0x1f))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => number(f64::from(f32::from_be_bytes(self.take()?))),
            0xcb => number(f64::from_be_bytes(self.take()?)),
            0xcc => number(f64::from(u8::from_be_bytes(self.take()?))),
            0xcd => number(f64::from(u16::from_be_bytes(self.take()?))),
            0xce => number(f64::from(u32::from_be_bytes(self.take()?))),
            // Unsigned numbers of 64 bits pass through a signed one, as in Redis.
            0xcf | 0xd3 => number(i64::from_be_bytes(self.take()?) as f64),
            0xd0 => number(f64::from(i8::from_be_bytes(self.take()?))),
            0xd1 => number(f64::from(i16::from_be_bytes(self.take()?))),
            0xd2 => number(f64::from(i32::from_be_bytes(self.take()?))),
            0xd9 => {
                let length = u8::from_be_bytes(self.take()?);
                self.string(usize::from(length))?
            }
            0xda => {
                let length = u16::from_be_bytes(self.take()?);
                self.string(usize::from(length))?
            }
            0xdb => {
                let length = u32::from_be_bytes(self.take()?);
                self.string(length as usize)?
            }
            0xdc | 0xde => {
                let length = usize::from(u16::from_be_bytes(self.take()?));
                return Ok(Head::Open { length, is_map: tag == 0xde });
            }
            0xdd | 0xdf => {
                let length = u32::from_be_bytes(self.take()?) as usize;
                return Ok(Head::Open { length, is_map: tag == 0xdf });
            }
            _ => return Err(Fault::BadFormat),
        }))
    }

    fn take<const N: usize>(&mut self) -> std::result::Result<[u8; N], Fault> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Fault::Missing)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn string(&mut self, length: usize) -> std::result::Result<Value, Fault> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Fault::Missing)?;
        self.rest = rest;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }
}

impl Open {
    /// Puts in the next key or value; true if that was the last one.
    fn add(&mut self, value: Value) -> Result<bool> {
        if !self.is_map {
            self.filled += 1;
            self.table.raw_seti(self.filled, value)?;
            self.missing -= 1;
        } else if let Some(key) = self.key.take() {
            match key {
                Value::Nil => return Err(raise::plain_error("table index is nil")),
                Value::Number(number) if number.is_nan() => {
                    return Err(raise::plain_error("table index is NaN"));
                }
                key => self.table.raw_set(key, value)?,
            }
            self.missing -= 1;
        } else {
            self.key = Some(value);
        }
        Ok(self.missing == 0)
    }
}

fn number(value: f64) -> Value {
    Value::Number(value)
}
