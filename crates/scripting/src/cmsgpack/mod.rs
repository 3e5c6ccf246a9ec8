//! The library `cmsgpack`: lua-cmsgpack 0.4.0, MessagePack as Redis's scripts know it.

mod pack;
mod unpack;

use crate::memory;
use mlua::{Lua, Result, Table};

pub(crate) fn table(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", memory::callback(lua, pack::pack)?)?;
    table.raw_set("unpack", memory::callback(lua, unpack::unpack)?)?;
    table.raw_set("unpack_one", memory::callback(lua, unpack::unpack_one)?)?;
    table.raw_set("unpack_limit", memory::callback(lua, unpack::unpack_limit)?)?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}
