//! `string.gsub`.

use super::{anchor, c_string, capture, fault_error, substring};
use crate::arguments::{Arguments, type_name};
use crate::number;
use crate::raise;
use crate::run;
use crate::session::session;
use crate::strings::matcher::Matcher;
use mlua::{Function, Lua, MultiValue, Result, Table, Value};

/// What takes the place of a match.
enum Replacement {
    Text(Vec<u8>),
    Table(Table),
    Function(Function),
}

pub(super) fn gsub(lua: &Lua, values: MultiValue) -> Result<(Value, f64)> {
    let arguments = Arguments::new(lua, values);
    let source = arguments.string(1)?;
    let pattern = arguments.string(2)?;
    let (source, pattern) = (source.as_bytes(), pattern.as_bytes());
    let matches_max =
        if arguments.is_absent_or_nil(4) { source.len() as i64 + 1 } else { i64::from(arguments.int(4)?) };
    let replacement = match arguments.get(3) {
        Some(Value::Table(table)) => Replacement::Table(table.clone()),
        Some(Value::Function(function)) => Replacement::Function(function.clone()),
        Some(Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
            Replacement::Text(arguments.string(3)?.as_bytes().to_vec())
        }
        _ => return Err(arguments.error(3, "string/function/table expected")),
    };
    let (pattern, is_anchored) = anchor(c_string(&pattern));
    let bytes_max = session(lua).memory_bytes_max;
    let mut matcher = Matcher::new(lua, &source, pattern);
    let mut out = Vec::new();
    let mut at = 0;
    let mut count = 0i64;
    while count < matches_max {
        let end = matcher.match_at(at).map_err(|fault| fault_error(lua, fault))?;
        if let Some(end) = end {
            count += 1;
            replace(lua, &matcher, &replacement, (at, end), &mut out)?;
        }
        match (end, source.get(at)) {
            (Some(end), _) if end > at => at = end,
            (_, Some(byte)) => {
                out.push(*byte);
                at += 1;
            }
            (_, None) => break,
        }
        if is_anchored {
            break;
        }
        if out.len() > bytes_max {
            return Err(raise::out_of_memory());
        }
    }
    out.extend_from_slice(source.get(at..).unwrap_or_default());
    Ok((Value::String(lua.create_string(out)?), count as f64))
}

/// Appends what takes the place of the match from `start` to `end`: the match itself for nil and false.
fn replace(
    lua: &Lua,
    matcher: &Matcher<'_>,
    replacement: &Replacement,
    (start, end): (usize, usize),
    out: &mut Vec<u8>,
) -> Result<()> {
    let value = match replacement {
        Replacement::Text(text) => return expand(lua, matcher, text, (start, end), out),
        Replacement::Table(table) => {
            let key = first_capture(lua, matcher, (start, end))?;
            if table.has_metatable() { run::index(lua, table, key)? } else { table.raw_get(key)? }
        }
        Replacement::Function(function) => {
            let mut captures = MultiValue::new();
            super::push_captures(lua, matcher, Some((start, end)), &mut captures)?;
            run::invoke(lua, function, captures)?
        }
    };
    match value {
        Value::Nil | Value::Boolean(false) => {
            out.extend_from_slice(matcher.source().get(start..end).unwrap_or_default());
        }
        Value::String(text) => out.extend_from_slice(&text.as_bytes()),
        Value::Integer(_) | Value::Number(_) => write_number(&value, out),
        other => {
            return Err(raise::error(lua, format!("invalid replacement value (a {})", type_name(&other))));
        }
    }
    Ok(())
}

/// A number as Lua writes it.
fn write_number(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Integer(whole) => number::format_g(*whole as f64, 14, out),
        Value::Number(number) => number::format_g(*number, 14, out),
        _ => {}
    }
}

fn first_capture(lua: &Lua, matcher: &Matcher<'_>, (start, end): (usize, usize)) -> Result<Value> {
    if matcher.captures() == 0 { substring(lua, matcher, start, end) } else { capture(lua, matcher, 0) }
}

/// Appends a replacement text with its `%1` filled in.
fn expand(
    lua: &Lua,
    matcher: &Matcher<'_>,
    text: &[u8],
    (start, end): (usize, usize),
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        // At the end of the text Lua reads the zero byte behind it.
        let (escaped, tail) = rest.split_first().unwrap_or((&0, &[]));
        rest = tail;
        match escaped {
            b'0' => out.extend_from_slice(matcher.source().get(start..end).unwrap_or_default()),
            b'1' if matcher.captures() == 0 => {
                out.extend_from_slice(matcher.source().get(start..end).unwrap_or_default());
            }
            digit @ b'1'..=b'9' => match capture(lua, matcher, usize::from(digit - b'1'))? {
                Value::String(text) => out.extend_from_slice(&text.as_bytes()),
                other => write_number(&other, out),
            },
            literal => out.push(*literal),
        }
    }
    Ok(())
}
