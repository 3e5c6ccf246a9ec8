//! The functions of `string` that Lua's own library cannot be trusted with: `find`, `match`, `gmatch`, `gsub` and `rep`.
//!
//! Lua's matcher recurses as deep as a pattern is long and may try exponentially many ways, out of reach of the hook that
//! counts instructions. Results and error texts here are Lua 5.1's; new is only "pattern too complex" for patterns that
//! nest deeper than [`crate::limits::MATCH_DEPTH_MAX`], which is Lua 5.2's text.

mod gsub;
mod matcher;

use crate::arguments::Arguments;
use crate::memory;
use crate::raise;
use crate::session::session;
use matcher::{Captured, Fault, Matcher};
use mlua::{Lua, LuaString, MultiValue, Result, Table, Value};

/// Bytes that make a pattern more than a plain text.
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// Puts the functions in place of Lua's. `gmatch` is made of two of them in the prelude, since an iterator must hold its
/// strings where the garbage collector sees them.
pub(crate) fn install(lua: &Lua, string: &Table) -> Result<()> {
    string.raw_set("find", memory::callback(lua, |lua, values| find(lua, values, true))?)?;
    string.raw_set("match", memory::callback(lua, |lua, values| find(lua, values, false))?)?;
    string.raw_set("gsub", memory::callback(lua, gsub::gsub)?)?;
    string.raw_set("rep", memory::callback(lua, rep)?)
}

/// `string.find` and, without `wants_place`, `string.match`.
fn find(lua: &Lua, values: MultiValue, wants_place: bool) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let source = arguments.string(1)?;
    let pattern = arguments.string(2)?;
    let (source, pattern) = (source.as_bytes(), pattern.as_bytes());
    let start = start_of(arguments.optional_integer(3, 1)?, source.len());
    let is_plain =
        matches!(arguments.get(4), Some(value) if !matches!(value, Value::Nil | Value::Boolean(false)));
    if wants_place && (is_plain || is_plain_text(&pattern)) {
        let rest = source.get(start..).unwrap_or_default();
        return Ok(match memchr::memmem::find(rest, &pattern) {
            Some(at) => places(start + at + 1, start + at + pattern.len()),
            None => MultiValue::from_vec(vec![Value::Nil]),
        });
    }
    let pattern = c_string(&pattern);
    let (pattern, is_anchored) = anchor(pattern);
    let mut matcher = Matcher::new(lua, &source, pattern);
    for from in start..=source.len() {
        if let Some(end) = matcher.match_at(from).map_err(|fault| fault_error(lua, fault))? {
            let mut results = if wants_place { places(from + 1, end) } else { MultiValue::new() };
            let whole = (!wants_place).then_some((from, end));
            push_captures(lua, &matcher, whole, &mut results)?;
            return Ok(results);
        }
        if is_anchored {
            break;
        }
    }
    Ok(MultiValue::from_vec(vec![Value::Nil]))
}

/// Lua tells a plain text by what a C string would show of it.
fn is_plain_text(pattern: &[u8]) -> bool {
    !c_string(pattern).iter().any(|byte| SPECIALS.contains(byte))
}

fn places(start: usize, end: usize) -> MultiValue {
    MultiValue::from_vec(vec![Value::Integer(start as i64), Value::Integer(end as i64)])
}

/// The place to start at, from a position that may count from the end.
fn start_of(position: i64, length: usize) -> usize {
    let length = length as i64;
    let position = if position < 0 { position.saturating_add(length + 1).max(0) } else { position };
    (position - 1).clamp(0, length) as usize
}

/// Patterns end at their first zero byte.
fn c_string(pattern: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, pattern).unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or_default()
}

fn anchor(pattern: &[u8]) -> (&[u8], bool) {
    match pattern {
        [b'^', rest @ ..] => (rest, true),
        pattern => (pattern, false),
    }
}

/// Appends the captures of a match, or the whole of it if there are none.
fn push_captures(
    lua: &Lua,
    matcher: &Matcher<'_>,
    whole: Option<(usize, usize)>,
    results: &mut MultiValue,
) -> Result<()> {
    if matcher.captures() == 0
        && let Some((start, end)) = whole
    {
        results.push_back(substring(lua, matcher, start, end)?);
    }
    for index in 0..matcher.captures() {
        results.push_back(capture(lua, matcher, index)?);
    }
    Ok(())
}

fn capture(lua: &Lua, matcher: &Matcher<'_>, index: usize) -> Result<Value> {
    match matcher.capture(index).map_err(|fault| fault_error(lua, fault))? {
        Captured::Position(position) => Ok(Value::Integer(position as i64 + 1)),
        Captured::Range(start, end) => substring(lua, matcher, start, end),
    }
}

fn substring(lua: &Lua, matcher: &Matcher<'_>, start: usize, end: usize) -> Result<Value> {
    let bytes = matcher.source().get(start..end).unwrap_or_default();
    Ok(Value::String(lua.create_string(bytes)?))
}

fn fault_error(lua: &Lua, fault: Fault) -> mlua::Error {
    match fault {
        Fault::Pattern(text) => raise::error(lua, text),
        Fault::Interrupted(error) => error,
    }
}

/// The arguments of `gmatch`, checked.
pub(crate) fn gmatch_arguments(lua: &Lua, values: MultiValue) -> Result<(LuaString, LuaString)> {
    let arguments = Arguments::new(lua, values);
    Ok((arguments.string(1)?, arguments.string(2)?))
}

/// One step of `gmatch` from a place of the source on: the place to go on from and the captures; nothing at the end.
pub(crate) fn gmatch_step(
    lua: &Lua,
    (source, pattern, from): (LuaString, LuaString, usize),
) -> Result<MultiValue> {
    let (source, pattern) = (source.as_bytes(), pattern.as_bytes());
    let mut matcher = Matcher::new(lua, &source, c_string(&pattern));
    let mut results = MultiValue::new();
    for from in from..=source.len() {
        if let Some(end) = matcher.match_at(from).map_err(|fault| fault_error(lua, fault))? {
            // After an empty match go on one byte further.
            results.push_back(Value::Integer((end + usize::from(end == from)) as i64));
            push_captures(lua, &matcher, Some((from, end)), &mut results)?;
            return Ok(results);
        }
    }
    Ok(results)
}

/// `string.rep`, whose result must fit the interpreter's memory.
fn rep(lua: &Lua, values: MultiValue) -> Result<Value> {
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let count = usize::try_from(arguments.int(2)?).unwrap_or(0);
    let text = text.as_bytes();
    let length = text.len().saturating_mul(count);
    if length > session(lua).memory_bytes_max {
        return Err(raise::out_of_memory());
    }
    let repeated = if text.is_empty() { Vec::new() } else { text.repeat(count) };
    Ok(Value::String(lua.create_string(repeated)?))
}
