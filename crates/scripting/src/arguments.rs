//! The arguments of a callback, checked as Lua's auxiliary library does (`luaL_checknumber` and its siblings), with the
//! same error texts.

use crate::number;
use crate::raise;
use crate::stack;
use mlua::{Error, Lua, LuaString, MultiValue, Result, Table, Value};

/// The arguments of one call; positions count from one, as in error texts.
pub(crate) struct Arguments<'a> {
    lua: &'a Lua,
    values: MultiValue,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(lua: &'a Lua, values: MultiValue) -> Arguments<'a> {
        Arguments { lua, values }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The argument if there is one, nil included.
    pub(crate) fn get(&self, position: usize) -> Option<&Value> {
        self.values.get(position.wrapping_sub(1))
    }

    pub(crate) fn is_absent_or_nil(&self, position: usize) -> bool {
        matches!(self.get(position), None | Some(Value::Nil))
    }

    /// The values themselves.
    pub(crate) fn into_values(self) -> MultiValue {
        self.values
    }

    /// A number, or a string that reads as one.
    pub(crate) fn number(&self, position: usize) -> Result<f64> {
        match self.get(position) {
            Some(Value::Integer(value)) => Ok(*value as f64),
            Some(Value::Number(value)) => Ok(*value),
            Some(value @ Value::String(_)) => {
                self.lua.coerce_number(value.clone())?.ok_or_else(|| self.type_error(position, "number"))
            }
            _ => Err(self.type_error(position, "number")),
        }
    }

    /// `luaL_checkinteger`: a number cut to an integer.
    pub(crate) fn integer(&self, position: usize) -> Result<i64> {
        self.number(position).map(number::truncate)
    }

    /// `luaL_checkint`: the same, and of that the low 32 bits.
    pub(crate) fn int(&self, position: usize) -> Result<i32> {
        self.integer(position).map(|value| value as i32)
    }

    /// `luaL_optinteger`: the default for an absent argument and for nil.
    pub(crate) fn optional_integer(&self, position: usize, default: i64) -> Result<i64> {
        if self.is_absent_or_nil(position) { Ok(default) } else { self.integer(position) }
    }

    /// A string, or a number written as one.
    pub(crate) fn string(&self, position: usize) -> Result<LuaString> {
        match self.get(position) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => {
                self.lua.coerce_string(value.clone())?.ok_or_else(|| self.type_error(position, "string"))
            }
            _ => Err(self.type_error(position, "string")),
        }
    }

    pub(crate) fn table(&self, position: usize) -> Result<&Table> {
        match self.get(position) {
            Some(Value::Table(table)) => Ok(table),
            _ => Err(self.type_error(position, "table")),
        }
    }

    /// Any value, nil included; an error if the argument is absent.
    pub(crate) fn any(&self, position: usize) -> Result<&Value> {
        self.get(position).ok_or_else(|| self.error(position, "value expected"))
    }

    /// `luaL_argerror`.
    pub(crate) fn error(&self, position: usize, text: &str) -> Error {
        error(self.lua, position, text)
    }

    /// `luaL_typerror`.
    pub(crate) fn type_error(&self, position: usize, expected: &str) -> Error {
        let got = self.get(position).map_or("no value", type_name);
        self.error(position, &format!("{expected} expected, got {got}"))
    }
}

/// `luaL_argerror`: names the argument and the function as the caller wrote it.
pub(crate) fn error(lua: &Lua, position: usize, text: &str) -> Error {
    let (name, is_method) = stack::called_as(lua);
    if is_method && position == 1 {
        return raise::error(lua, format!("calling '{name}' on bad self ({text})"));
    }
    let position = position - usize::from(is_method && position > 0);
    raise::error(lua, format!("bad argument #{position} to '{name}' ({text})"))
}

/// The name of a value's type in Lua's words.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}
