//! The limit on an interpreter's memory: set while code of Lua runs, lifted while our own does.
//!
//! The limit works inside of Lua's allocator, where no instruction escapes it. But while there is one, mlua has to wrap
//! each of its own operations so that a failing allocation finds its way out, which doubles what a callback costs.
//! Callbacks therefore run without and are held to the limit when they return; those that build much ask in between
//! ([`check`]).

use crate::raise;
use crate::session::session;
use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, Result};

/// Another limit until dropped.
struct Limit<'a> {
    lua: &'a Lua,
    before: usize,
}

impl<'a> Limit<'a> {
    /// Zero is none.
    fn set(lua: &'a Lua, bytes_max: usize) -> Result<Limit<'a>> {
        Ok(Limit { lua, before: lua.set_memory_limit(bytes_max)? })
    }
}

impl Drop for Limit<'_> {
    fn drop(&mut self) {
        let restored = self.lua.set_memory_limit(self.before);
        debug_assert!(restored.is_ok(), "the allocator is mlua's own");
    }
}

/// Runs code of Lua under the interpreter's limit.
pub(crate) fn limited<R>(lua: &Lua, body: impl FnOnce() -> Result<R>) -> Result<R> {
    let bytes_max = session(lua).memory_bytes_max;
    let _limit = Limit::set(lua, bytes_max)?;
    body()
}

/// A function for scripts that runs without limit and is held to it afterwards.
pub(crate) fn callback<A, R>(
    lua: &Lua,
    body: impl Fn(&Lua, A) -> Result<R> + Send + 'static,
) -> Result<Function>
where
    A: FromLuaMulti,
    R: IntoLuaMulti,
{
    lua.create_function(move |lua, arguments: A| {
        let limit = Limit::set(lua, 0)?;
        let result = body(lua, arguments)?;
        if limit.before > 0 && lua.used_memory() > limit.before {
            lua.gc_collect()?;
            check(lua)?;
        }
        Ok(result)
    })
}

/// An error if more memory is in use than the interpreter may have.
pub(crate) fn check(lua: &Lua) -> Result<()> {
    if lua.used_memory() > session(lua).memory_bytes_max { Err(raise::out_of_memory()) } else { Ok(()) }
}
