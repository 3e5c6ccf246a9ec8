//! Loading a library: `redis.register_function` and what surrounds it.

use crate::bridge;
use crate::error::ScriptError;
use crate::flags::Flags;
use crate::host::Host;
use crate::interpreter::Interpreter;
use crate::library::{FunctionInfo, Library, is_valid_name};
use crate::memory;
use crate::raise::{self, Caught, Reply};
use crate::run::{self, Natives};
use crate::session::{Loading, session};
use mlua::{Error, Function, Lua, MultiValue, Result, Table, Value};

/// Runs the code of a library. What it registers becomes the library's functions; returns their callbacks by name.
pub(crate) fn load(
    interpreter: &Interpreter,
    library: &mut Library,
    host: &mut dyn Host,
) -> std::result::Result<Table, ScriptError> {
    let lua = &interpreter.lua;
    interpreter.begin();
    let outcome = run_code(interpreter, library.code(), host);
    let loading = session(lua).loading.take();
    let failed = interpreter.take_failure();
    interpreter.end();
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(text)) => return Err(ScriptError::new([b"ERR ", text.as_slice()].concat())),
        Err(error) => {
            let text = failed.map_or_else(|| text_of(lua, &error), |failure| failure.text);
            return Err(registering(&text));
        }
    }
    let Some(loading) = loading else { return Err(registering(b"ERR not loading")) };
    if loading.functions.is_empty() {
        return Err(ScriptError::new("ERR No functions registered"));
    }
    library.set_functions(loading.functions);
    Ok(loading.callbacks)
}

fn registering(text: &[u8]) -> ScriptError {
    ScriptError::new([b"ERR Error registering functions: ", text].concat())
}

/// Compiles and runs under the globals of a library that loads. Gives the text of what went wrong.
fn run_code(
    interpreter: &Interpreter,
    code: &[u8],
    host: &mut dyn Host,
) -> Result<std::result::Result<(), Vec<u8>>> {
    let lua = &interpreter.lua;
    let function = match run::compile(lua, code, "@user_function")? {
        Ok(function) => function,
        Err(text) => return Ok(Err([b"Error compiling function: ", text.as_slice()].concat())),
    };
    session(lua).loading = Some(Loading { functions: Vec::new(), callbacks: lua.create_table()? });
    interpreter.sandbox.set_loading(true)?;
    let outcome = bridge::with_host(lua, host, || {
        let natives = lua.app_data_ref::<Natives>().expect("every interpreter keeps its natives");
        memory::limited(lua, || natives.pcall.call::<(bool, Value)>(&function))
    });
    interpreter.sandbox.set_loading(false)?;
    let (is_ok, value) = outcome?;
    if is_ok {
        return Ok(Ok(()));
    }
    let text = match raise::look_into(lua, value)?.0 {
        Caught::Kill => return Err(Error::external(raise::Raise::Kill)),
        Caught::Reply(reply) => reply.text,
        Caught::Value(value) => run::text_of(&value).0,
    };
    Ok(Err([b"Error registering functions: ", text.as_slice()].concat()))
}

/// The text of an error that Lua could not catch.
fn text_of(lua: &Lua, error: &Error) -> Vec<u8> {
    match raise::look_into_error(lua, error) {
        Ok((Caught::Value(value), _)) => run::text_of(&value).0,
        Ok((Caught::Reply(reply), _)) => reply.text,
        _ => b"ERR execution failure".to_vec(),
    }
}

/// `redis.register_function`: by name and callback, or by a table of named arguments.
pub(crate) fn register(lua: &Lua, values: MultiValue) -> Result<()> {
    if session(lua).loading.is_none() {
        let text = "redis.register_function can only be called on FUNCTION LOAD command";
        return Err(Reply::new(text).raise());
    }
    let (info, callback) = match values.len() {
        1 => by_table(lua, values.front())?,
        2 => by_position(lua, values)?,
        _ => return Err(refuse("wrong number of arguments to redis.register_function")),
    };
    if !is_valid_name(&info.name) {
        return Err(refuse(
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ));
    }
    let name = lua.create_string(&info.name)?;
    let mut session = session(lua);
    let Some(loading) = &mut session.loading else { return Ok(()) };
    if loading.functions.iter().any(|known| known.name == info.name) {
        return Err(refuse("Function already exists in the library"));
    }
    loading.functions.push(info);
    let callbacks = loading.callbacks.clone();
    drop(session);
    callbacks.raw_set(name, callback)
}

fn refuse(text: &str) -> Error {
    Reply::new(text).raise()
}

/// A string, or a number written as one, as Redis takes names and descriptions.
fn text(lua: &Lua, value: Value) -> Result<Option<Vec<u8>>> {
    match value {
        Value::String(_) | Value::Integer(_) | Value::Number(_) => {
            Ok(lua.coerce_string(value)?.map(|text| text.as_bytes().to_vec()))
        }
        _ => Ok(None),
    }
}

fn by_position(lua: &Lua, mut values: MultiValue) -> Result<(FunctionInfo, Function)> {
    let name = text(lua, values.pop_front().unwrap_or(Value::Nil))?
        .ok_or_else(|| refuse("first argument to redis.register_function must be a string"))?;
    match values.pop_front() {
        Some(Value::Function(callback)) => {
            Ok((FunctionInfo { name, description: None, flags: Flags::default() }, callback))
        }
        _ => Err(refuse("second argument to redis.register_function must be a function")),
    }
}

fn by_table(lua: &Lua, value: Option<&Value>) -> Result<(FunctionInfo, Function)> {
    let Some(Value::Table(table)) = value else {
        return Err(refuse(
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named \
             arguments).",
        ));
    };
    let mut name = None;
    let mut description = None;
    let mut callback = None;
    let mut flags = Flags::default();
    for pair in table.pairs() {
        let (key, value): (Value, Value) = pair?;
        let key = text(lua, key)?
            .ok_or_else(|| refuse("named argument key given to redis.register_function is not a string"))?;
        match key.to_ascii_lowercase().as_slice() {
            b"function_name" => {
                let text = text(lua, value)?;
                name = Some(text.ok_or_else(|| {
                    refuse("function_name argument given to redis.register_function must be a string")
                })?);
            }
            b"description" => {
                let text = text(lua, value)?;
                description = Some(text.ok_or_else(|| {
                    refuse("description argument given to redis.register_function must be a string")
                })?);
            }
            b"callback" => match value {
                Value::Function(function) => callback = Some(function),
                _ => {
                    return Err(refuse(
                        "callback argument given to redis.register_function must be a function",
                    ));
                }
            },
            b"flags" => flags = read_flags(lua, &value)?,
            _ => return Err(refuse("unknown argument given to redis.register_function")),
        }
    }
    let name = name.ok_or_else(|| refuse("redis.register_function must get a function name argument"))?;
    let callback = callback.ok_or_else(|| refuse("redis.register_function must get a callback argument"))?;
    Ok((FunctionInfo { name, description, flags }, callback))
}

fn read_flags(lua: &Lua, value: &Value) -> Result<Flags> {
    let Value::Table(table) = value else {
        return Err(refuse(
            "flags argument to redis.register_function must be a table representing function flags",
        ));
    };
    let mut flags = Flags::default();
    for index in 1.. {
        let value: Value = table.raw_get(index)?;
        if value.is_nil() {
            break;
        }
        let flag = text(lua, value)?.and_then(|name| Flags::by_name_of_any_case(&name));
        flags = flags.with(flag.ok_or_else(|| refuse("unknown flag given"))?);
    }
    Ok(flags)
}
