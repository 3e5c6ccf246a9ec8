//! The interpreter of EVAL and the scripts compiled in it.

use crate::engine::Settings;
use crate::error::ScriptError;
use crate::host::Host;
use crate::interpreter::Interpreter;
use crate::limits::COMPILED_SCRIPTS_MAX;
use crate::run;
use crate::sandbox::{self, Kind};
use crate::script::{Script, Sha};
use mlua::{Function, Nil, Result, Table};
use protocol::Value;
use std::collections::VecDeque;

/// Compiled scripts, the oldest forgotten first.
pub(crate) struct Scripts {
    interpreter: Interpreter,
    /// Functions by the digest of their scripts, in a table of Lua's.
    compiled: Table,
    order: VecDeque<Sha>,
}

impl Scripts {
    pub(crate) fn new(settings: &Settings) -> Result<Scripts> {
        let interpreter = Interpreter::new(settings, Kind::Eval)?;
        let compiled = interpreter.lua.create_table()?;
        Ok(Scripts { interpreter, compiled, order: VecDeque::new() })
    }

    pub(crate) fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    /// The function of a script, compiled now or before.
    pub(crate) fn compile(&mut self, script: &Script) -> std::result::Result<Function, ScriptError> {
        match self.find_or_compile(script) {
            Ok(Ok(function)) => Ok(function),
            Ok(Err(text)) => Err(ScriptError::new(
                [b"ERR Error compiling script (new function): ", text.as_slice()].concat(),
            )),
            Err(error) => Err(self.interpreter.error(script.sha(), &error)),
        }
    }

    /// The function, or the compiler's words.
    fn find_or_compile(&mut self, script: &Script) -> Result<std::result::Result<Function, Vec<u8>>> {
        let lua = &self.interpreter.lua;
        let sha = lua.create_string(script.sha())?;
        if let Some(function) = self.compiled.raw_get(&sha)? {
            return Ok(Ok(function));
        }
        let function = match run::compile(lua, script.code(), "@user_script")? {
            Ok(function) => function,
            Err(text) => return Ok(Err(text)),
        };
        if self.order.len() >= COMPILED_SCRIPTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.compiled.raw_set(lua.create_string(oldest)?, Nil)?;
        }
        self.compiled.raw_set(sha, &function)?;
        self.order.push_back(*script.sha());
        Ok(Ok(function))
    }

    pub(crate) fn run(
        &mut self,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        host: &mut dyn Host,
    ) -> std::result::Result<Value, ScriptError> {
        let function = self.compile(script)?;
        self.interpreter.begin();
        match self.set_words(keys, arguments) {
            Ok(()) => self.interpreter.run(&function, script.sha(), host),
            Err(error) => Err(self.interpreter.error(script.sha(), &error)),
        }
    }

    fn set_words(&self, keys: &[&[u8]], arguments: &[&[u8]]) -> Result<()> {
        let globals = &self.interpreter.sandbox.globals;
        globals.raw_set("KEYS", sandbox::words(&self.interpreter.lua, keys)?)?;
        globals.raw_set("ARGV", sandbox::words(&self.interpreter.lua, arguments)?)
    }
}
