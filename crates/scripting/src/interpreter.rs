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
use mlua::{Error, Function, Lua, LuaOptions, Nil, Result, StdLib, Value as LuaValue};
use protocol::Value;

/// An interpreter. What fails inside of it leaves it usable, or says that it is not ([`Interpreter::is_spent`]).
pub(crate) struct Interpreter {
    pub(crate) lua: Lua,
    pub(crate) sandbox: Sandbox,
    names: Names,
    handler: Function,
    memory_bytes_max: usize,
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

    /// Runs a function and gives its value as a reply. Error texts call it `name`.
    pub(crate) fn run(
        &self,
        function: &Function,
        name: &[u8],
        host: &mut dyn Host,
    ) -> std::result::Result<Value, ScriptError> {
        let lua = &self.lua;
        let outcome = bridge::with_host(lua, host, || {
            let (is_ok, value): (bool, LuaValue) = {
                let natives = lua.app_data_ref::<Natives>().expect("every interpreter keeps its natives");
                memory::limited(lua, || natives.xpcall.call((function, &self.handler)))?
            };
            if !is_ok {
                return Ok(Err(value));
            }
            let is_resp3 = session(lua).is_resp3;
            ToReply::new(&self.names, is_resp3).convert(&value).map(Ok)
        });
        let result = match outcome {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(LuaValue::String(reason))) => Err(self.noted_error(name, &reason.as_bytes())),
            Ok(Err(_)) => Err(self.noted_error(name, b"execution failure")),
            Err(error) => Err(self.error(name, &error)),
        };
        self.end();
        result
    }

    /// The error that the handler has noted; otherwise Lua could not even call the handler, as when memory is used up, and
    /// gives a reason of its own.
    fn noted_error(&self, name: &[u8], reason: &[u8]) -> ScriptError {
        let (failure, is_killed) = {
            let mut session = session(&self.lua);
            (session.failure.take(), session.is_killed)
        };
        match failure {
            Some(failure) => failure.into_error(name).kill(is_killed),
            None => ScriptError::new([b"ERR Error running script ", name, b", ", reason].concat()),
        }
    }

    /// The error of a run that ended outside of Lua's own protection: what a kill has noted, or what mlua says.
    pub(crate) fn error(&self, name: &[u8], error: &Error) -> ScriptError {
        let mut session = session(&self.lua);
        if !session.is_killed {
            session.failure = None;
        }
        drop(session);
        self.noted_error(name, &reason(error))
    }

    /// What the handler has noted.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        session(&self.lua).failure.take()
    }

    /// Puts things back after a run.
    pub(crate) fn end(&self) {
        let put_back = self.unwatch_killed().and_then(|()| self.give_back_memory());
        debug_assert!(put_back.is_ok(), "without a limit on memory nothing here fails: {put_back:?}");
    }

    /// Takes back the hook that ends every instruction.
    fn unwatch_killed(&self) -> Result<()> {
        let is_killed = session(&self.lua).is_killed;
        if is_killed { run::watch(&self.lua) } else { Ok(()) }
    }

    fn give_back_memory(&self) -> Result<()> {
        if self.lua.used_memory() > self.memory_bytes_max / 4 {
            self.sandbox.globals.raw_set("KEYS", Nil)?;
            self.sandbox.globals.raw_set("ARGV", Nil)?;
            self.lua.gc_collect()?;
        }
        Ok(())
    }

    /// More memory is held for good than the next run could do with.
    pub(crate) fn is_spent(&self) -> bool {
        self.lua.used_memory() > self.memory_bytes_max / 2
    }

    pub(crate) fn used_memory(&self) -> usize {
        self.lua.used_memory()
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
