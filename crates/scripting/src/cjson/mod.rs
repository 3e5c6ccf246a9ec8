//! The library `cjson`: Lua CJSON 2.1.0 as Redis carries it, its settings and error texts included.
//!
//! Every table that `cjson.new` returns has settings of its own. Those of the global table return to their defaults
//! before each run: in Redis they outlive a script, which among several engines would make a script's result depend on
//! the thread that it runs on.

mod config;
mod decode;
mod encode;

use crate::memory;
use config::Config;
use mlua::{Lua, MultiValue, Result, Table, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The settings of one `cjson` table, shared by its functions.
#[derive(Clone, Default)]
pub(crate) struct Settings(Arc<Mutex<Config>>);

impl Settings {
    fn lock(&self) -> MutexGuard<'_, Config> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Back to the defaults.
    pub(crate) fn reset(&self) {
        *self.lock() = Config::default();
    }
}

/// A table of the library's functions, under `settings`.
pub(crate) fn table(lua: &Lua, settings: &Settings) -> Result<Table> {
    let table = lua.create_table()?;
    let held = settings.clone();
    let encode = move |lua: &Lua, values: MultiValue| encode::encode(lua, values, *held.lock());
    table.raw_set("encode", memory::callback(lua, encode)?)?;
    let held = settings.clone();
    let decode = move |lua: &Lua, values: MultiValue| decode::decode(lua, values, *held.lock());
    table.raw_set("decode", memory::callback(lua, decode)?)?;
    for (name, option) in config::OPTIONS {
        let held = settings.clone();
        let function = move |lua: &Lua, values: MultiValue| option(lua, values, &mut held.lock());
        table.raw_set(name, memory::callback(lua, function)?)?;
    }
    table.raw_set(
        "new",
        memory::callback(lua, |lua, _: MultiValue| self::table(lua, &Settings::default()))?,
    )?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}
