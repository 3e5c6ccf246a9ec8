//! What scripts find in their globals, and what they cannot do to it.
//!
//! Redis marks tables as read-only inside of Lua. Here scripts see an empty table instead, whose metatable reads from the
//! real one and refuses to write. That leaves the functions which pass by metatables: `rawset`, `setmetatable` and
//! `table.insert` refuse such a table, `rawget` and `pairs` look behind it, `getmetatable` hides how it is done. What
//! remains different is `next` called with one by name, which finds it empty.
//!
//! The globals are those that Redis 7.2 leaves: neither `print`, `dofile`, `loadfile`, `require`, `io`, `os`, `package` and
//! `debug`, nor, since its security releases of 2025, `getfenv`, `setfenv` and `newproxy`.

use crate::arguments;
use crate::base;
use crate::bits;
use crate::cjson;
use crate::cmsgpack;
use crate::engine::Settings;
use crate::functions;
use crate::memory;
use crate::raise;
use crate::redis;
use crate::run;
use crate::session::{Guarded, session};
use crate::stack::PRELUDE_NAME;
use crate::strings;
use crate::structs;
use mlua::{Function, Lua, LuaString, Result, Table, Value};

const PRELUDE: &str = include_str!("prelude.lua");

/// Globals that are Lua's own, or ours in their place.
const GLOBALS: &[&str] = &[
    "_VERSION",
    "assert",
    "collectgarbage",
    "error",
    "gcinfo",
    "getmetatable",
    "ipairs",
    "load",
    "loadstring",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawset",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
];

/// Which scripts an interpreter is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// EVAL: `KEYS` and `ARGV` are globals.
    Eval,
    /// FCALL: they are arguments; libraries register functions.
    Functions,
}

/// What the engine needs of a sandbox afterwards.
pub(crate) struct Sandbox {
    /// The globals that scripts read.
    pub(crate) globals: Table,
    /// The metatable that makes them read those.
    metatable: Table,
    /// The globals that a library has instead while it loads.
    loading_globals: Option<Table>,
    /// The settings of the global `cjson`.
    pub(crate) json: cjson::Settings,
}

impl Sandbox {
    /// Makes the globals of `lua`, which has the libraries `string`, `table` and `math`.
    pub(crate) fn new(lua: &Lua, settings: &Settings, kind: Kind) -> Result<Sandbox> {
        let natives = lua.globals();
        let string: Table = natives.raw_get("string")?;
        let table: Table = natives.raw_get("table")?;
        let math: Table = natives.raw_get("math")?;
        let coroutine: Table = natives.raw_get("coroutine")?;
        run::keep_compiler(lua, natives.raw_get("loadstring")?);
        install_prelude(lua, &natives, &string, &coroutine)?;
        base::install(lua, &natives, &table, &math)?;
        strings::install(lua, &string)?;

        let globals = lua.create_table()?;
        for name in GLOBALS {
            globals.raw_set(*name, natives.raw_get::<Value>(*name)?)?;
        }
        let json = cjson::Settings::default();
        for (name, library) in [
            ("string", string),
            ("table", table),
            ("math", math),
            ("coroutine", coroutine),
            ("bit", bits::table(lua)?),
            ("struct", structs::table(lua)?),
            ("cjson", cjson::table(lua, &json)?),
            ("cmsgpack", cmsgpack::table(lua)?),
            ("redis", redis::table(lua, settings, kind == Kind::Eval)?),
        ] {
            globals.raw_set(name, guard(lua, library, None)?.0)?;
        }
        if kind == Kind::Eval {
            globals.raw_set("__redis__err__handler", lua.create_function(run::describe_failure)?)?;
        }
        guard_strings(lua, globals.raw_get("string")?)?;
        let loading_globals = match kind {
            Kind::Eval => None,
            Kind::Functions => Some(loading_globals(lua, settings)?),
        };
        let metatable = seal(lua, &globals)?;
        Ok(Sandbox { globals, metatable, loading_globals, json })
    }

    /// Gives scripts the globals of a library that loads, or the usual ones.
    pub(crate) fn set_loading(&self, is_loading: bool) -> Result<()> {
        let shown = match &self.loading_globals {
            Some(loading) if is_loading => loading,
            _ => &self.globals,
        };
        self.metatable.raw_set("__index", shown)
    }
}

/// Puts the wrappers written in Lua in place of the native functions.
fn install_prelude(lua: &Lua, natives: &Table, string: &Table, coroutine: &Table) -> Result<()> {
    let native = lua.create_table()?;
    for name in ["pcall", "xpcall", "next", "select", "type", "unpack"] {
        native.raw_set(name, natives.raw_get::<Value>(name)?)?;
    }
    native.raw_set("resume", coroutine.raw_get::<Value>("resume")?)?;
    let helper = lua.create_table()?;
    helper.raw_set("translate", lua.create_function(raise::translate)?)?;
    helper.raw_set("peek", lua.create_function(raise::peek)?)?;
    helper.raw_set("catcher", lua.create_function(run::note_place)?)?;
    helper.raw_set("bad_argument", lua.create_function(bad_argument)?)?;
    helper.raw_set("gmatch_arguments", memory::callback(lua, strings::gmatch_arguments)?)?;
    helper.raw_set("gmatch_step", memory::callback(lua, strings::gmatch_step)?)?;
    let wrapped: Table = lua.load(PRELUDE).set_name(PRELUDE_NAME).call((native.clone(), helper))?;
    run::keep_natives(lua, &native, &wrapped)?;
    natives.raw_set("pcall", wrapped.raw_get::<Function>("pcall")?)?;
    natives.raw_set("xpcall", wrapped.raw_get::<Function>("xpcall")?)?;
    coroutine.raw_set("resume", wrapped.raw_get::<Function>("resume")?)?;
    string.raw_set("gmatch", wrapped.raw_get::<Function>("gmatch")?)?;
    string.raw_set("gfind", wrapped.raw_get::<Function>("gmatch")?)
}

fn bad_argument(lua: &Lua, (position, text): (usize, String)) -> Result<()> {
    Err(arguments::error(lua, position, &text))
}

/// A table that reads from `real` and refuses writes, with its metatable; `shown` is what `getmetatable` gives.
fn guard(lua: &Lua, real: Table, shown: Option<Table>) -> Result<(Table, Table)> {
    let visible = lua.create_table()?;
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", &real)?;
    metatable.raw_set("__newindex", lua.create_function(base::refuse_write)?)?;
    visible.set_metatable(Some(metatable.clone()))?;
    let address = visible.to_pointer() as usize;
    session(lua).guarded.insert(address, Guarded { real, metatable: shown });
    Ok((visible, metatable))
}

/// Makes reading a name that is not there an error; returns the metatable that does so.
fn refuse_unknown(lua: &Lua, table: &Table) -> Result<Table> {
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", lua.create_function(base::refuse_read)?)?;
    table.set_metatable(Some(metatable.clone()))?;
    Ok(metatable)
}

/// Makes `globals` what scripts run with, read-only; returns the metatable through which they read.
fn seal(lua: &Lua, globals: &Table) -> Result<Table> {
    let unknown = refuse_unknown(lua, globals)?;
    let (shown, _) = guard(lua, unknown, None)?;
    let (visible, metatable) = guard(lua, globals.clone(), Some(shown))?;
    globals.raw_set("_G", &visible)?;
    lua.set_globals(visible)?;
    Ok(metatable)
}

/// Methods of strings come from the read-only library; the metatable behind them is read-only as well.
fn guard_strings(lua: &Lua, string: Table) -> Result<()> {
    let Some(metatable) = lua.type_metatable::<LuaString>() else { return Ok(()) };
    metatable.raw_set("__index", string)?;
    let (shown, _) = guard(lua, metatable, None)?;
    session(lua).string_metatable = Some(shown);
    Ok(())
}

/// While a library loads it sees nothing but a `redis` that registers functions and logs.
fn loading_globals(lua: &Lua, settings: &Settings) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("register_function", memory::callback(lua, functions::register)?)?;
    redis::add_log(lua, &library)?;
    redis::add_version(&library, settings)?;
    refuse_unknown(lua, &library)?;
    let globals = lua.create_table()?;
    globals.raw_set("redis", guard(lua, library, None)?.0)?;
    refuse_unknown(lua, &globals)?;
    Ok(globals)
}

/// Makes `KEYS` or `ARGV`.
pub(crate) fn words(lua: &Lua, words: &[&[u8]]) -> Result<Table> {
    let table = lua.create_table_with_capacity(words.len(), 0)?;
    for (index, word) in words.iter().enumerate() {
        table.raw_seti(index + 1, lua.create_string(word)?)?;
    }
    Ok(table)
}
