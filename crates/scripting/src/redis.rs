//! The table `redis` of scripts and functions.

use crate::arguments::Arguments;
use crate::bridge;
use crate::engine::Settings;
use crate::host::Level;
use crate::memory;
use crate::number;
use crate::raise::Reply;
use crate::reply;
use crate::session::{Answer, Request, Words, session};
use mlua::{Lua, MultiValue, Result, Table, Value as LuaValue};
use protocol::Value;

const REPL_AOF: i64 = 1;
const REPL_REPLICA: i64 = 2;

/// The table as commands and functions see it. Only EVAL has the functions of the debugger.
pub(crate) fn table(lua: &Lua, settings: &Settings, is_eval: bool) -> Result<Table> {
    let table = lua.create_table()?;
    add_log(lua, &table)?;
    add_version(&table, settings)?;
    for (name, flags) in [
        ("REPL_NONE", 0),
        ("REPL_AOF", REPL_AOF),
        ("REPL_SLAVE", REPL_REPLICA),
        ("REPL_REPLICA", REPL_REPLICA),
        ("REPL_ALL", REPL_AOF | REPL_REPLICA),
    ] {
        table.raw_set(name, flags)?;
    }
    table.raw_set("call", memory::callback(lua, |lua, words| call(lua, words, true))?)?;
    table.raw_set("pcall", memory::callback(lua, |lua, words| call(lua, words, false))?)?;
    table.raw_set("acl_check_cmd", memory::callback(lua, acl_check)?)?;
    table.raw_set("setresp", memory::callback(lua, set_resp)?)?;
    table.raw_set("set_repl", memory::callback(lua, set_repl)?)?;
    table.raw_set("sha1hex", memory::callback(lua, sha1hex)?)?;
    table.raw_set("error_reply", memory::callback(lua, error_reply)?)?;
    table.raw_set("status_reply", memory::callback(lua, status_reply)?)?;
    if is_eval {
        table.raw_set("breakpoint", memory::callback(lua, |_, _: MultiValue| Ok(false))?)?;
        table.raw_set("debug", memory::callback(lua, |_, _: MultiValue| Ok(()))?)?;
        table.raw_set("replicate_commands", memory::callback(lua, |_, _: MultiValue| Ok(true))?)?;
    }
    Ok(table)
}

/// `redis.log` and its levels, which a library has while it loads, too.
pub(crate) fn add_log(lua: &Lua, table: &Table) -> Result<()> {
    table.raw_set("log", memory::callback(lua, log)?)?;
    for (name, level) in [
        ("LOG_DEBUG", Level::Debug),
        ("LOG_VERBOSE", Level::Verbose),
        ("LOG_NOTICE", Level::Notice),
        ("LOG_WARNING", Level::Warning),
    ] {
        table.raw_set(name, level as i64)?;
    }
    Ok(())
}

/// The version of Redis that scripts are told.
pub(crate) fn add_version(table: &Table, settings: &Settings) -> Result<()> {
    table.raw_set("REDIS_VERSION", settings.version)?;
    table.raw_set("REDIS_VERSION_NUM", settings.version_number())
}

/// `redis.call` and, without `raises`, `redis.pcall`.
fn call(lua: &Lua, words: MultiValue, raises: bool) -> Result<LuaValue> {
    let is_resp3 = match take_words(lua, words) {
        Ok(is_resp3) => is_resp3,
        Err(refused) if raises => return Err(refused.raise()),
        Err(refused) => return Ok(LuaValue::Table(refused.into_table(lua)?)),
    };
    match bridge::call(lua)? {
        Value::Error(text) if raises => Err(Reply::from_text(&text, true).raise()),
        reply => reply::to_lua(lua, reply, is_resp3),
    }
}

/// Puts the arguments of a call into the session; tells whether the script speaks RESP3.
fn take_words(lua: &Lua, arguments: MultiValue) -> std::result::Result<bool, Reply> {
    if arguments.is_empty() {
        return Err(Reply::new("Please specify at least one argument for this redis lib call"));
    }
    let mut session = session(lua);
    session.words.clear();
    for argument in &arguments {
        if !take_word(&mut session.words, argument) {
            return Err(Reply::new("Lua redis lib command arguments must be strings or integers"));
        }
    }
    Ok(session.is_resp3)
}

/// Numbers are written with the digits they need, and as integers if they are whole (`double2ll`, `fpconv_dtoa`).
fn take_word(words: &mut Words, argument: &LuaValue) -> bool {
    match argument {
        LuaValue::String(text) => words.push(|out| out.extend_from_slice(&text.as_bytes())),
        LuaValue::Integer(value) => words.push(|out| protocol::format_double(*value as f64, out)),
        LuaValue::Number(value) => words.push(|out| {
            if value.is_nan() && value.is_sign_negative() {
                out.push(b'-');
            }
            // Redis's conversion has no negative zero.
            protocol::format_double(if *value == 0.0 { 0.0 } else { *value }, out);
        }),
        _ => return false,
    }
    true
}

fn acl_check(lua: &Lua, words: MultiValue) -> Result<bool> {
    take_words(lua, words).map_err(Reply::raise)?;
    match bridge::ask(lua, Request::AclCheck)? {
        Answer::Allowed(Some(is_allowed)) => Ok(is_allowed),
        _ => Err(Reply::new("Invalid command passed to redis.acl_check_cmd()").raise()),
    }
}

fn log(lua: &Lua, arguments: MultiValue) -> Result<()> {
    if arguments.len() < 2 {
        return Err(Reply::new("redis.log() requires two arguments or more.").raise());
    }
    let mut arguments = arguments.into_iter();
    let level = arguments.next().unwrap_or(LuaValue::Nil);
    let Some(level) = lua.coerce_number(level)? else {
        return Err(Reply::new("First argument must be a number (log level).").raise());
    };
    let level = usize::try_from(number::truncate(level) as i32).ok().and_then(|level| Level::ALL.get(level));
    let Some(level) = level else {
        return Err(Reply::new("Invalid debug level.").raise());
    };
    let mut line = Vec::new();
    for (index, argument) in arguments.enumerate() {
        if let Some(text) = lua.coerce_string(argument)? {
            if index > 0 {
                line.push(b' ');
            }
            line.extend_from_slice(&text.as_bytes());
        }
    }
    let mut session = session(lua);
    session.words.clear();
    session.words.push(|out| *out = line);
    drop(session);
    bridge::ask(lua, Request::Log(*level)).map(|_| ())
}

fn set_resp(lua: &Lua, arguments: MultiValue) -> Result<()> {
    if arguments.len() != 1 {
        return Err(Reply::new("redis.setresp() requires one argument.").raise());
    }
    match first_int(lua, arguments)? {
        2 => session(lua).is_resp3 = false,
        3 => session(lua).is_resp3 = true,
        _ => return Err(Reply::new("RESP version must be 2 or 3.").raise()),
    }
    Ok(())
}

fn set_repl(lua: &Lua, arguments: MultiValue) -> Result<()> {
    if arguments.len() != 1 {
        return Err(Reply::new("redis.set_repl() requires two arguments.").raise());
    }
    if i64::from(first_int(lua, arguments)?) & !(REPL_AOF | REPL_REPLICA) != 0 {
        let text = "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return Err(Reply::new(text).raise());
    }
    Ok(())
}

/// `lua_tonumber` cut to an integer: zero for what is no number.
fn first_int(lua: &Lua, mut arguments: MultiValue) -> Result<i32> {
    let number = lua.coerce_number(arguments.pop_front().unwrap_or(LuaValue::Nil))?;
    Ok(number::truncate(number.unwrap_or(0.0)) as i32)
}

fn sha1hex(lua: &Lua, arguments: MultiValue) -> Result<LuaValue> {
    if arguments.len() != 1 {
        return Err(Reply::new("wrong number of arguments").raise());
    }
    let arguments = Arguments::new(lua, arguments);
    // What is no text counts as the empty one, as in Redis.
    let digest = match arguments.get(1) {
        Some(LuaValue::String(_) | LuaValue::Integer(_) | LuaValue::Number(_)) => {
            crate::script::sha1_hex(&arguments.string(1)?.as_bytes())
        }
        _ => crate::script::sha1_hex(b""),
    };
    Ok(LuaValue::String(lua.create_string(digest)?))
}

fn error_reply(lua: &Lua, arguments: MultiValue) -> Result<Table> {
    match single_string(&arguments) {
        Some(text) => Reply::from_text(text.strip_prefix(b"-").unwrap_or(&text), false),
        None => Reply::new("wrong number or type of arguments"),
    }
    .into_table(lua)
}

fn status_reply(lua: &Lua, arguments: MultiValue) -> Result<Table> {
    match single_string(&arguments) {
        Some(text) => {
            let table = lua.create_table()?;
            table.raw_set("ok", lua.create_string(text)?)?;
            Ok(table)
        }
        None => Reply::new("wrong number or type of arguments").into_table(lua),
    }
}

fn single_string(arguments: &MultiValue) -> Option<Vec<u8>> {
    match arguments.front() {
        Some(LuaValue::String(text)) if arguments.len() == 1 => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}
