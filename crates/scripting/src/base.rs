//! The functions of Lua's base library and of `table` and `math` that a sandbox needs in another form.
//!
//! Those that pass by metatables learn about read-only tables; those that load code refuse bytecode; the garbage collector
//! is not the script's to stop; `math.random` is Redis's.

use crate::arguments::{Arguments, type_name};
use crate::memory;
use crate::number;
use crate::raise;
use crate::run;
use crate::session::session;
use mlua::{Function, Lua, MultiValue, Result, Table, Value};

/// Bytecode begins with this byte; so does nothing that could be compiled.
const BYTECODE_MARK: u8 = 0x1b;
const READ_ONLY: &str = "Attempt to modify a readonly table";

/// Puts our functions among the globals and into `table` and `math`.
pub(crate) fn install(lua: &Lua, globals: &Table, table: &Table, math: &Table) -> Result<()> {
    let next: Function = globals.raw_get("next")?;
    globals.raw_set("pairs", pairs(lua, next)?)?;
    globals.raw_set("rawget", memory::callback(lua, raw_get)?)?;
    globals.raw_set("rawset", memory::callback(lua, raw_set)?)?;
    globals.raw_set("getmetatable", memory::callback(lua, get_metatable)?)?;
    globals.raw_set("setmetatable", memory::callback(lua, set_metatable)?)?;
    globals.raw_set("collectgarbage", memory::callback(lua, collect_garbage)?)?;
    globals.raw_set("gcinfo", memory::callback(lua, |lua, _: MultiValue| Ok(kilobytes(lua).floor()))?)?;
    let load_string: Function = globals.raw_get("loadstring")?;
    globals.raw_set("load", load(lua, load_string.clone())?)?;
    globals.raw_set("loadstring", loadstring(lua, load_string)?)?;
    table.raw_set("insert", memory::callback(lua, insert)?)?;
    math.raw_set("random", memory::callback(lua, random)?)?;
    math.raw_set("randomseed", memory::callback(lua, random_seed)?)
}

/// The real table behind a read-only one.
fn real(lua: &Lua, table: &Table) -> Option<Table> {
    session(lua).guarded.get(&(table.to_pointer() as usize)).map(|guarded| guarded.real.clone())
}

fn is_read_only(lua: &Lua, table: &Table) -> bool {
    session(lua).guarded.contains_key(&(table.to_pointer() as usize))
}

/// Raised by metatables, with the line that wrote.
pub(crate) fn refuse_write(lua: &Lua, _: MultiValue) -> Result<()> {
    Err(raise::error(lua, READ_ONLY))
}

/// Raised for a global that does not exist (`luaProtectedTableError` of Redis).
pub(crate) fn refuse_read(lua: &Lua, values: MultiValue) -> Result<()> {
    let arguments = Arguments::new(lua, values);
    if arguments.len() != 2 {
        return Err(raise::error(lua, "Wrong number of arguments to luaProtectedTableError"));
    }
    match arguments.get(2) {
        Some(Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
            let mut name = arguments.string(2)?.as_bytes().to_vec();
            raise::cut_at_zero(&mut name);
            let text =
                [b"Script attempted to access nonexistent global variable '", &name[..], b"'"].concat();
            Err(raise::error(lua, text))
        }
        _ => Err(raise::error(lua, "Second argument to luaProtectedTableError must be a string or number")),
    }
}

/// `pairs`, which shows what is behind a read-only table, and an iterator that does without showing the table itself.
fn pairs(lua: &Lua, next: Function) -> Result<Function> {
    let plain_next = next.clone();
    let guarded_next = memory::callback(lua, move |lua, (table, key): (Table, Value)| {
        let table = real(lua, &table).unwrap_or(table);
        next.call::<(Value, Value)>((table, key))
    })?;
    memory::callback(lua, move |lua, values: MultiValue| {
        let arguments = Arguments::new(lua, values);
        let table = arguments.table(1)?;
        let next = if is_read_only(lua, table) { &guarded_next } else { &plain_next };
        Ok((next.clone(), table.clone(), Value::Nil))
    })
}

fn raw_get(lua: &Lua, values: MultiValue) -> Result<Value> {
    let arguments = Arguments::new(lua, values);
    let table = arguments.table(1)?;
    let key = arguments.any(2)?.clone();
    real(lua, table).as_ref().unwrap_or(table).raw_get(key)
}

fn raw_set(lua: &Lua, values: MultiValue) -> Result<Table> {
    let arguments = Arguments::new(lua, values);
    let table = arguments.table(1)?;
    let key = arguments.any(2)?.clone();
    let value = arguments.any(3)?.clone();
    if is_read_only(lua, table) {
        return Err(raise::plain_error(READ_ONLY));
    }
    match key {
        Value::Nil => return Err(raise::plain_error("table index is nil")),
        Value::Number(number) if number.is_nan() => return Err(raise::plain_error("table index is NaN")),
        key => table.raw_set(key, value)?,
    }
    Ok(table.clone())
}

fn get_metatable(lua: &Lua, values: MultiValue) -> Result<Value> {
    let arguments = Arguments::new(lua, values);
    let metatable = match arguments.any(1)? {
        Value::Table(table) => {
            let shown = session(lua)
                .guarded
                .get(&(table.to_pointer() as usize))
                .map(|guarded| guarded.metatable.clone());
            match shown {
                Some(shown) => return Ok(shown.map_or(Value::Nil, Value::Table)),
                None => table.metatable(),
            }
        }
        Value::String(_) => session(lua).string_metatable.clone(),
        _ => None,
    };
    let Some(metatable) = metatable else { return Ok(Value::Nil) };
    match metatable.raw_get("__metatable")? {
        Value::Nil => Ok(Value::Table(metatable)),
        shown => Ok(shown),
    }
}

fn set_metatable(lua: &Lua, values: MultiValue) -> Result<Table> {
    let arguments = Arguments::new(lua, values);
    let table = arguments.table(1)?;
    let metatable = match arguments.get(2) {
        Some(Value::Nil) => None,
        Some(Value::Table(metatable)) => Some(metatable.clone()),
        _ => return Err(arguments.error(2, "nil or table expected")),
    };
    if is_read_only(lua, table) {
        return Err(raise::plain_error(READ_ONLY));
    }
    if let Some(old) = table.metatable()
        && !old.raw_get::<Value>("__metatable")?.is_nil()
    {
        return Err(raise::error(lua, "cannot change a protected metatable"));
    }
    table.set_metatable(metatable)?;
    Ok(table.clone())
}

/// `table.insert`.
fn insert(lua: &Lua, values: MultiValue) -> Result<()> {
    let arguments = Arguments::new(lua, values);
    let table = arguments.table(1)?;
    let end = table.raw_len() as i64 + 1;
    let (place, value) = match arguments.len() {
        2 => (end, arguments.any(2)?),
        3 => (i64::from(arguments.int(2)?), arguments.any(3)?),
        _ => return Err(raise::error(lua, "wrong number of arguments to 'insert'")),
    };
    if is_read_only(lua, table) {
        return Err(raise::plain_error(READ_ONLY));
    }
    if place < end {
        for index in (place + 1..=end).rev() {
            let moved: Value = table.raw_get(index - 1)?;
            table.raw_set(index, moved)?;
        }
    }
    table.raw_set(place, value.clone())
}

/// `loadstring`, for text alone.
fn loadstring(lua: &Lua, compile: Function) -> Result<Function> {
    memory::callback(lua, move |lua, values: MultiValue| {
        let arguments = Arguments::new(lua, values);
        let text = arguments.string(1)?.as_bytes().to_vec();
        let name = match arguments.get(2) {
            None | Some(Value::Nil) => text.clone(),
            Some(_) => arguments.string(2)?.as_bytes().to_vec(),
        };
        compile_text(lua, &compile, text, &name)
    })
}

/// `load`, which takes the text piece by piece from a function.
fn load(lua: &Lua, compile: Function) -> Result<Function> {
    memory::callback(lua, move |lua, values: MultiValue| {
        let arguments = Arguments::new(lua, values);
        let Some(Value::Function(reader)) = arguments.get(1) else {
            return Err(arguments.type_error(1, "function"));
        };
        let name = match arguments.get(2) {
            None | Some(Value::Nil) => b"=(load)".to_vec(),
            Some(_) => arguments.string(2)?.as_bytes().to_vec(),
        };
        let bytes_max = session(lua).memory_bytes_max;
        let mut text = Vec::new();
        loop {
            let piece = match run::try_invoke(lua, reader, MultiValue::new())? {
                Ok(piece) => piece,
                Err(caught) => return Ok(MultiValue::from_vec(vec![Value::Nil, caught])),
            };
            match lua.coerce_string(piece.clone())? {
                Some(piece) if !piece.as_bytes().is_empty() => text.extend_from_slice(&piece.as_bytes()),
                Some(_) => break,
                None if piece.is_nil() => break,
                None => {
                    let text = lua.create_string("reader function must return a string")?;
                    return Ok(MultiValue::from_vec(vec![Value::Nil, Value::String(text)]));
                }
            }
            if text.len() > bytes_max {
                return Err(raise::out_of_memory());
            }
        }
        compile_text(lua, &compile, text, &name)
    })
}

/// Compiles text under a name: the function, or nil and an error.
pub(crate) fn compile_text(
    lua: &Lua,
    compile: &Function,
    mut text: Vec<u8>,
    name: &[u8],
) -> Result<MultiValue> {
    if text.first() == Some(&BYTECODE_MARK) {
        // Behind a blank the compiler takes the mark for the stray byte that it is in a text.
        text.insert(0, b' ');
    }
    let (text, name) = (lua.create_string(text)?, lua.create_string(name)?);
    memory::limited(lua, || compile.call((text, name)))
}

fn kilobytes(lua: &Lua) -> f64 {
    lua.used_memory() as f64 / 1024.0
}

/// `collectgarbage`: collects, but cannot be told to stop.
fn collect_garbage(lua: &Lua, values: MultiValue) -> Result<Value> {
    const OPTIONS: [&str; 7] = ["stop", "restart", "collect", "count", "step", "setpause", "setstepmul"];
    let arguments = Arguments::new(lua, values);
    let option = if arguments.is_absent_or_nil(1) {
        "collect".to_owned()
    } else {
        let given = String::from_utf8_lossy(&arguments.string(1)?.as_bytes()).into_owned();
        if !OPTIONS.contains(&given.as_str()) {
            return Err(arguments.error(1, &format!("invalid option '{given}'")));
        }
        given
    };
    let amount = arguments.optional_integer(2, 0)?;
    Ok(match option.as_str() {
        "collect" => {
            lua.gc_collect()?;
            Value::Integer(0)
        }
        "count" => Value::Number(kilobytes(lua)),
        "step" => Value::Boolean(lua.gc_step()?),
        "setpause" => Value::Integer(std::mem::replace(&mut session(lua).collector.pause, amount)),
        "setstepmul" => {
            Value::Integer(std::mem::replace(&mut session(lua).collector.step_multiplier, amount))
        }
        _ => Value::Integer(0),
    })
}

/// `math.random` on Redis's generator.
fn random(lua: &Lua, values: MultiValue) -> Result<f64> {
    let arguments = Arguments::new(lua, values);
    let fraction = session(lua).random.next_fraction();
    match arguments.len() {
        0 => Ok(fraction),
        1 => {
            let upper = arguments.int(1)?;
            if upper < 1 {
                return Err(arguments.error(1, "interval is empty"));
            }
            Ok((fraction * f64::from(upper)).floor() + 1.0)
        }
        2 => {
            let (lower, upper) = (arguments.int(1)?, arguments.int(2)?);
            if lower > upper {
                return Err(arguments.error(2, "interval is empty"));
            }
            // The width overflows as C's int does.
            let width = upper.wrapping_sub(lower).wrapping_add(1);
            Ok((fraction * f64::from(width)).floor() + f64::from(lower))
        }
        _ => Err(raise::error(lua, "wrong number of arguments")),
    }
}

fn random_seed(lua: &Lua, values: MultiValue) -> Result<()> {
    let seed = Arguments::new(lua, values).int(1)?;
    session(lua).random.seed(seed);
    Ok(())
}

/// The text of a value as `tostring` gives it, for errors that are no strings.
pub(crate) fn describe(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(whole) => {
            let mut text = Vec::new();
            number::format_g(*whole as f64, 14, &mut text);
            text
        }
        Value::Number(number) => {
            let mut text = Vec::new();
            number::format_g(*number, 14, &mut text);
            text
        }
        Value::Nil => b"nil".to_vec(),
        Value::Boolean(true) => b"true".to_vec(),
        Value::Boolean(false) => b"false".to_vec(),
        other => format!("{}: {:p}", type_name(other), other.to_pointer()).into_bytes(),
    }
}
