//! Replies of commands as values of Lua, and values of Lua as replies to clients.

use crate::limits::REPLY_DEPTH_MAX;
use crate::number;
use crate::raise::{self, Reply};
use mlua::{BString, Lua, LuaString, Result, Table, Value as LuaValue};
use protocol::Value;

/// The value that a script sees of a reply. Errors become tables with a field `err`.
///
/// Without `is_resp3` a reply is shown in the form of RESP2, whatever form it has.
pub(crate) fn to_lua(lua: &Lua, reply: Value, is_resp3: bool) -> Result<LuaValue> {
    match reply {
        Value::Simple(text) => field(lua, "ok", BString::from(text)),
        Value::Error(text) => Ok(LuaValue::Table(Reply::from_text(&text, true).into_table(lua)?)),
        Value::Integer(value) => Ok(LuaValue::Number(value as f64)),
        Value::Bulk(bytes) => string(lua, &bytes),
        Value::Null | Value::NullArray if is_resp3 => Ok(LuaValue::Nil),
        Value::Null | Value::NullArray => Ok(LuaValue::Boolean(false)),
        Value::Array(values) | Value::Push(values) => array(lua, values, is_resp3),
        Value::Attribute { value, .. } => to_lua(lua, *value, is_resp3),
        other if is_resp3 => to_lua_resp3(lua, other),
        Value::Map(pairs) => {
            let flat = pairs.into_iter().flat_map(|(key, value)| [key, value]).collect();
            array(lua, flat, is_resp3)
        }
        Value::Set(values) => array(lua, values, is_resp3),
        Value::Double(value) => {
            let mut text = Vec::new();
            protocol::format_double(value, &mut text);
            string(lua, &text)
        }
        Value::Boolean(value) => Ok(LuaValue::Number(if value { 1.0 } else { 0.0 })),
        Value::BigNumber(text) | Value::Verbatim { text, .. } => string(lua, &text),
    }
}

/// The types that only RESP3 has.
fn to_lua_resp3(lua: &Lua, reply: Value) -> Result<LuaValue> {
    match reply {
        Value::Map(pairs) => {
            let map = lua.create_table()?;
            for (key, value) in pairs {
                set(&map, to_lua(lua, key, true)?, to_lua(lua, value, true)?)?;
            }
            field(lua, "map", map)
        }
        Value::Set(values) => {
            let set_table = lua.create_table()?;
            for value in values {
                set(&set_table, to_lua(lua, value, true)?, LuaValue::Boolean(true))?;
            }
            field(lua, "set", set_table)
        }
        Value::Double(value) => field(lua, "double", value),
        Value::Boolean(value) => Ok(LuaValue::Boolean(value)),
        Value::BigNumber(text) => field(lua, "big_number", BString::from(text)),
        Value::Verbatim { format, text } => {
            let verbatim = lua.create_table()?;
            verbatim.raw_set("string", BString::from(text))?;
            verbatim.raw_set("format", BString::from(format.as_slice()))?;
            field(lua, "verbatim_string", verbatim)
        }
        other => to_lua(lua, other, false),
    }
}

/// Sets a field; keys that Lua's tables cannot have are left out, where Redis would end the script with an error.
fn set(table: &Table, key: LuaValue, value: LuaValue) -> Result<()> {
    match key {
        LuaValue::Nil => Ok(()),
        LuaValue::Number(number) if number.is_nan() => Ok(()),
        key => table.raw_set(key, value),
    }
}

fn field(lua: &Lua, name: &str, value: impl mlua::IntoLua) -> Result<LuaValue> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(LuaValue::Table(table))
}

fn string(lua: &Lua, bytes: &[u8]) -> Result<LuaValue> {
    Ok(LuaValue::String(lua.create_string(bytes)?))
}

fn array(lua: &Lua, values: Vec<Value>, is_resp3: bool) -> Result<LuaValue> {
    let table = lua.create_table_with_capacity(values.len(), 0)?;
    for (index, value) in values.into_iter().enumerate() {
        match value {
            Value::Bulk(bytes) => table.raw_seti(index + 1, BString::from(bytes))?,
            other => table.raw_seti(index + 1, to_lua(lua, other, is_resp3)?)?,
        }
    }
    Ok(LuaValue::Table(table))
}

/// The names of fields that give a table another meaning than an array, made once per interpreter.
pub(crate) struct Names {
    err: LuaString,
    ok: LuaString,
    double: LuaString,
    big_number: LuaString,
    verbatim_string: LuaString,
    format: LuaString,
    string: LuaString,
    map: LuaString,
    set: LuaString,
}

impl Names {
    pub(crate) fn new(lua: &Lua) -> Result<Names> {
        Ok(Names {
            err: lua.create_string("err")?,
            ok: lua.create_string("ok")?,
            double: lua.create_string("double")?,
            big_number: lua.create_string("big_number")?,
            verbatim_string: lua.create_string("verbatim_string")?,
            format: lua.create_string("format")?,
            string: lua.create_string("string")?,
            map: lua.create_string("map")?,
            set: lua.create_string("set")?,
        })
    }
}

/// Turns the value of a script into a reply (`luaReplyToRedisReply` of Redis).
pub(crate) struct ToReply<'a> {
    names: &'a Names,
    is_resp3: bool,
}

impl<'a> ToReply<'a> {
    /// With `is_resp3` the script has asked for RESP3: its booleans are booleans.
    pub(crate) fn new(names: &'a Names, is_resp3: bool) -> ToReply<'a> {
        ToReply { names, is_resp3 }
    }

    /// The reply for `value`.
    pub(crate) fn convert(&self, value: &LuaValue) -> Result<Value> {
        self.at_depth(value, 0)
    }

    fn at_depth(&self, value: &LuaValue, depth: usize) -> Result<Value> {
        if depth > REPLY_DEPTH_MAX {
            return Ok(Value::Error(b"ERR reached lua stack limit".to_vec()));
        }
        match value {
            LuaValue::String(text) => Ok(Value::Bulk(text.as_bytes().to_vec())),
            LuaValue::Integer(value) => Ok(Value::Integer(*value)),
            LuaValue::Number(value) => Ok(Value::Integer(number::truncate(*value))),
            LuaValue::Boolean(value) if self.is_resp3 => Ok(Value::Boolean(*value)),
            LuaValue::Boolean(true) => Ok(Value::Integer(1)),
            LuaValue::Table(table) => self.table(table, depth),
            _ => Ok(Value::Null),
        }
    }

    /// A table is what its first telling field says, in Redis's order, or else an array up to its first nil.
    fn table(&self, table: &Table, depth: usize) -> Result<Value> {
        if let LuaValue::String(text) = table.raw_get(&self.names.err)? {
            return Ok(Value::Error(one_line(raise::trim_line_ends(&c_string(&text)))));
        }
        if let LuaValue::String(text) = table.raw_get(&self.names.ok)? {
            return Ok(Value::Simple(one_line(&c_string(&text))));
        }
        match table.raw_get(&self.names.double)? {
            LuaValue::Integer(value) => return Ok(Value::Double(value as f64)),
            LuaValue::Number(value) => return Ok(Value::Double(value)),
            _ => {}
        }
        if let LuaValue::String(text) = table.raw_get(&self.names.big_number)? {
            return Ok(Value::BigNumber(one_line(&text.as_bytes())));
        }
        if let LuaValue::Table(verbatim) = table.raw_get(&self.names.verbatim_string)?
            && let LuaValue::String(format) = verbatim.raw_get(&self.names.format)?
            && let LuaValue::String(text) = verbatim.raw_get(&self.names.string)?
        {
            return Ok(Value::Verbatim { format: verbatim_format(&format), text: text.as_bytes().to_vec() });
        }
        if let LuaValue::Table(map) = table.raw_get(&self.names.map)? {
            return self.map(&map, depth);
        }
        if let LuaValue::Table(set) = table.raw_get(&self.names.set)? {
            return self.set(&set, depth);
        }
        self.array(table, depth)
    }

    fn map(&self, map: &Table, depth: usize) -> Result<Value> {
        let mut pairs = Vec::new();
        for pair in map.pairs() {
            let (key, value): (LuaValue, LuaValue) = pair?;
            pairs.push((self.at_depth(&key, depth + 1)?, self.at_depth(&value, depth + 1)?));
        }
        Ok(Value::Map(pairs))
    }

    fn set(&self, set: &Table, depth: usize) -> Result<Value> {
        let mut members = Vec::new();
        for pair in set.pairs() {
            let (member, _): (LuaValue, LuaValue) = pair?;
            members.push(self.at_depth(&member, depth + 1)?);
        }
        Ok(Value::Set(members))
    }

    fn array(&self, table: &Table, depth: usize) -> Result<Value> {
        let mut values = Vec::new();
        for index in 1.. {
            match table.raw_get(index)? {
                LuaValue::Nil => break,
                value => values.push(self.at_depth(&value, depth + 1)?),
            }
        }
        Ok(Value::Array(values))
    }
}

fn c_string(text: &LuaString) -> Vec<u8> {
    let mut text = text.as_bytes().to_vec();
    raise::cut_at_zero(&mut text);
    text
}

fn one_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}

/// The first three bytes, filled up with blanks.
fn verbatim_format(format: &LuaString) -> [u8; 3] {
    let mut three = [b' '; 3];
    for (slot, byte) in three.iter_mut().zip(c_string(format)) {
        *slot = byte;
    }
    three
}
