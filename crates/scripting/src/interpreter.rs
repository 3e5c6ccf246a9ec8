//! One Lua state with its sandbox, and how code is run in it.

use crate::bridge;
use crate::engine::Settings;
use crate::error::ScriptError;
use crate::host::Host;
use crate::memory;
use crate::raise;
use crate::reply::{Names, ToReply};
use crate::run::{self, Natives};
use crate::sandbox::{Kind, Sandbox};
use crate::session::{Failure, Session, session};
use mlua::{Error, Function, Lua, LuaOptions, Result, StdLib, Value as LuaValue};
use protocol::Value;

/// An interpreter. What fails inside of it leaves it usable, or says that it is not ([`Interpreter::is_spent`]).
pub(crate) struct Interpreter {
    pub(crate) lua: Lua,
    pub(crate) sandbox: Sandbox,
    names: Names,
    handler: Function,
    memory_bytes_max: usize,
}

/// What a run was for.
pub(crate) struct Entry<'a> {
    pub(crate) function: Function,
    /// What error texts call it.
    pub(crate) name: &'a [u8],
}

impl Interpreter {
    pub(crate) fn new(settings: &Settings, kind: Kind) -> Result<Interpreter> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::new())?;
        lua.set_app_data(Session::new(settings.memory_bytes_max));
        let sandbox = Sandbox::new(&lua, settings, kind)?;
        let names = Names::new(&lua)?;
        let handler = lua.create_function(run::note_failure)?;
        run::watch(&lua)?;
        Ok(Interpreter { lua, sandbox, names, handler, memory_bytes_max: settings.memory_bytes_max })
    }

    /// Forgets what belonged to the last run.
    pub(crate) fn begin(&self) {
        session(&self.lua).begin();
        self.sandbox.json.reset();
    }

    /// Runs a function and gives its value as a reply.
    pub(crate) fn run(
        &self,
        entry: &Entry<'_>,
        host: &mut dyn Host,
    ) -> std::result::Result<Value, ScriptError> {
        let lua = &self.lua;
        let outcome = bridge::with_host(lua, host, || {
            let (is_ok, value): (bool, LuaValue) = {
                let natives = lua.app_data_ref::<Natives>().expect("every interpreter keeps its natives");
                memory::limited(lua, || natives.xpcall.call((&entry.function, &self.handler)))?
            };
            if !is_ok {
                return Ok(Err(value));
            }
            let is_resp3 = session(lua).is_resp3;
            ToReply::new(&self.names, is_resp3).convert(&value).map(Ok)
        });
        let result = match outcome {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(value)) => Err(self.failure(entry.name, Some(&value))),
            Err(error) => Err(self.failure_of(entry.name, &error)),
        };
        self.end();
        result
    }

    /// The error of a run that the handler has noted; otherwise Lua could not even call the handler, as when memory is
    /// used up, and `value` says why.
    fn failure(&self, name: &[u8], value: Option<&LuaValue>) -> ScriptError {
        let (failure, is_killed) = {
            let mut session = session(&self.lua);
            (session.failure.take(), session.is_killed)
        };
        if let Some(failure) = failure {
            return failure.into_error(name).kill(is_killed);
        }
        let reason = match value {
            Some(LuaValue::String(text)) => text.as_bytes().to_vec(),
            Some(LuaValue::Error(error)) => reason(error),
            _ => b"execution failure".to_vec(),
        };
        ScriptError::new([b"ERR Error running script ", name, b", ", &reason].concat())
    }

    /// The error of a run that ended outside of Lua's own protection.
    pub(crate) fn failure_of(&self, name: &[u8], error: &Error) -> ScriptError {
        let (has_failed, is_killed) = {
            let session = session(&self.lua);
            (session.failure.is_some(), session.is_killed)
        };
        if has_failed && is_killed {
            return self.failure(name, None);
        }
        ScriptError::new([b"ERR Error running script ", name, b", ", &reason(error)].concat())
    }

    /// What the handler has noted.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        session(&self.lua).failure.take()
    }

    /// Puts things back after a run.
    pub(crate) fn end(&self) {
        if session(&self.lua).is_killed {
            // The hook that ends every instruction is still set.
            if let Err(error) = run::watch(&self.lua) {
                debug_assert!(false, "no hook: {error}");
            }
        }
        if self.lua.used_memory() > self.memory_bytes_max / 4 {
            // An error here is that of a finalizer, of which scripts have none.
            let collected = self.lua.gc_collect();
            debug_assert!(collected.is_ok(), "{collected:?}");
        }
    }

    /// More memory is held for good than the next run could do with.
    pub(crate) fn is_spent(&self) -> bool {
        self.lua.used_memory() > self.memory_bytes_max / 2
    }
}

/// The first line of an error of mlua's, without its own words around it.
fn reason(error: &Error) -> Vec<u8> {
    match error {
        Error::MemoryError(_) => raise::OUT_OF_MEMORY.as_bytes().to_vec(),
        Error::CallbackError { cause, .. } => reason(cause),
        other => other.to_string().lines().next().unwrap_or_default().as_bytes().to_vec(),
    }
}
