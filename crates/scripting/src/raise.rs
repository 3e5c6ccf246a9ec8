//! Errors that callbacks raise, and what scripts catch.
//!
//! mlua lets a callback raise only an error of its own, which reaches Lua as an opaque value. [`Raise`] travels inside
//! of it; whoever catches errors in the sandbox (the wrappers of `pcall`, `xpcall` and `coroutine.resume` in the
//! prelude, the handler around a run) turns it into the string or table that Redis would have raised. A script never
//! sees the opaque value.

use crate::stack::{self, Position};
use mlua::{Error, Lua, Result, Table, Value};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// An error on its way through Lua.
pub(crate) enum Raise {
    /// A string, as `luaL_error` raises.
    Text(Vec<u8>),
    /// A table with a field `err`, as `redis.call` raises.
    Reply(Reply),
    /// A value that a function of the script raised inside of a callback, and where it did. Taken out by whoever
    /// translates it first, so that no reference stays behind in a value that waits for the garbage collector.
    Passed(Mutex<Option<Value>>, Option<Position>),
    /// The script is killed.
    Kill,
}

/// An error in the form of a reply: its code first, without a minus sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    pub(crate) text: Vec<u8>,
    /// The error of a command, which statistics have seen already.
    pub(crate) is_counted: bool,
}

impl Reply {
    /// An error of the engine itself.
    pub(crate) fn new(text: &str) -> Reply {
        Reply { text: format!("ERR {text}").into_bytes(), is_counted: false }
    }

    /// `luaPushErrorBuff` of Redis: the text of an error reply without its minus sign; a text of one word gets a code.
    pub(crate) fn from_text(text: &[u8], is_counted: bool) -> Reply {
        let mut text = text.to_vec();
        cut_at_zero(&mut text);
        let (code, message) = match memchr::memchr(b' ', &text) {
            Some(blank) => (text.get(..blank).unwrap_or_default(), text.get(blank + 1..).unwrap_or_default()),
            None => (&b"ERR"[..], text.as_slice()),
        };
        Reply { text: [code, b" ", trim_line_ends(message)].concat(), is_counted }
    }

    /// The table that scripts see.
    pub(crate) fn into_table(self, lua: &Lua) -> Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("err", lua.create_string(self.text)?)?;
        if self.is_counted {
            table.raw_set("ignore_error_stats_update", true)?;
        }
        Ok(table)
    }

    /// The error to return from a callback.
    pub(crate) fn raise(self) -> Error {
        Error::external(Raise::Reply(self))
    }
}

impl fmt::Debug for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raise::Text(text) => write!(f, "Text({})", text.escape_ascii()),
            Raise::Reply(reply) => write!(f, "{reply:?}"),
            Raise::Passed(_, position) => write!(f, "Passed({position:?})"),
            Raise::Kill => f.write_str("Kill"),
        }
    }
}

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Raise {}

/// `luaL_error`: a string with the caller's line before it.
pub(crate) fn error(lua: &Lua, text: impl AsRef<[u8]>) -> Error {
    let mut whole = stack::caller(lua);
    whole.extend_from_slice(text.as_ref());
    Error::external(Raise::Text(whole))
}

/// A string as it is, as errors inside of Lua's own native functions are.
pub(crate) fn plain_error(text: &str) -> Error {
    Error::external(Raise::Text(text.as_bytes().to_vec()))
}

/// An error that a function of the script raised while a callback ran it.
pub(crate) fn pass_on(value: Value, position: Option<Position>) -> Error {
    Error::external(Raise::Passed(Mutex::new(Some(value)), position))
}

/// The text with which memory ends, in Lua and here.
pub(crate) const OUT_OF_MEMORY: &str = "not enough memory";

/// The error of a buffer of ours that would outgrow the interpreter's memory.
pub(crate) fn out_of_memory() -> Error {
    Error::MemoryError(OUT_OF_MEMORY.to_owned())
}

/// What was caught, in terms of this crate.
pub(crate) enum Caught {
    /// Any value, the strings of [`Raise::Text`] among them.
    Value(Value),
    /// An error in the form of a reply.
    Reply(Reply),
    /// A kill; nobody but the engine may catch it.
    Kill,
}

/// Looks into a caught value; with it, where it was raised if that is not where it was caught.
pub(crate) fn look_into(lua: &Lua, value: Value) -> Result<(Caught, Option<Position>)> {
    let Value::Error(error) = value else { return Ok((Caught::Value(value), None)) };
    look_into_error(lua, &error)
}

/// The same for an error that came back to Rust.
pub(crate) fn look_into_error(lua: &Lua, error: &Error) -> Result<(Caught, Option<Position>)> {
    match error {
        Error::CallbackError { cause, .. } => look_into_error(lua, cause),
        Error::WithContext { cause, .. } => look_into_error(lua, cause),
        Error::ExternalError(external) => match external.downcast_ref::<Raise>() {
            Some(Raise::Text(text)) => Ok((Caught::Value(string(lua, text)?), None)),
            Some(Raise::Reply(reply)) => Ok((Caught::Reply(reply.clone()), None)),
            Some(Raise::Passed(value, position)) => {
                let taken = value.lock().unwrap_or_else(PoisonError::into_inner).take();
                let (caught, inner) = look_into(lua, taken.unwrap_or(Value::Nil))?;
                Ok((caught, inner.or_else(|| position.clone())))
            }
            Some(Raise::Kill) => Ok((Caught::Kill, None)),
            None => Ok((Caught::Value(string(lua, external.to_string().as_bytes())?), None)),
        },
        Error::MemoryError(_) => Ok((Caught::Value(string(lua, OUT_OF_MEMORY.as_bytes())?), None)),
        Error::StackError => Ok((Caught::Value(string(lua, b"stack overflow")?), None)),
        Error::RuntimeError(text) => {
            // mlua appends where it caught the error.
            let text = text.split("\nstack traceback:").next().unwrap_or_default();
            Ok((Caught::Value(string(lua, text.as_bytes())?), None))
        }
        other => Ok((Caught::Value(string(lua, other.to_string().as_bytes())?), None)),
    }
}

/// What a script sees of a value that it caught.
pub(crate) fn translate(lua: &Lua, value: Value) -> Result<Value> {
    match peek(lua, value)? {
        (value, false) => Ok(value),
        (_, true) => Err(Error::external(Raise::Kill)),
    }
}

/// The same without raising a kill again; tells whether it is one.
pub(crate) fn peek(lua: &Lua, value: Value) -> Result<(Value, bool)> {
    match look_into(lua, value)?.0 {
        Caught::Value(value) => Ok((value, false)),
        Caught::Reply(reply) => Ok((Value::Table(reply.into_table(lua)?), false)),
        Caught::Kill => Ok((Value::Nil, true)),
    }
}

fn string(lua: &Lua, bytes: &[u8]) -> Result<Value> {
    Ok(Value::String(lua.create_string(bytes)?))
}

/// Cuts a text where a C string would end.
pub(crate) fn cut_at_zero(text: &mut Vec<u8>) {
    if let Some(end) = memchr::memchr(0, text) {
        text.truncate(end);
    }
}

/// The text without line ends at either side.
pub(crate) fn trim_line_ends(mut text: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_error_replies() {
        for (text, expect) in [
            ("My err", "My err"),
            ("single", "ERR single"),
            ("", "ERR "),
            (" ", " "),
            ("A b\r\n", "A b"),
            ("A \nb\r\nc", "A b\r\nc"),
            ("A b\0c", "A b"),
        ] {
            let reply = Reply::from_text(text.as_bytes(), false);
            assert_eq!(String::from_utf8_lossy(&reply.text), expect, "{text:?}");
        }
    }
}
