//! The engine of one thread.

use crate::error::ScriptError;
use crate::host::Host;
use crate::interpreter::{Entry, Interpreter};
use crate::library::Library;
use crate::limits::{COMPILED_SCRIPTS_MAX, MEMORY_BYTES_MAX};
use crate::run;
use crate::sandbox::{self, Kind};
use crate::script::{Script, Sha};
use mlua::{Error, Function, Result, Table};
use protocol::Value;
use std::collections::{HashMap, VecDeque};

/// What scripts are told and given.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Memory of each of the engine's two interpreters, in bytes: for what is Lua's, and once more for each buffer that a
    /// library builds.
    pub memory_bytes_max: usize,
    /// `redis.REDIS_VERSION`: three numbers between points.
    pub version: &'static str,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { memory_bytes_max: MEMORY_BYTES_MAX, version: "7.2.4" }
    }
}

impl Settings {
    /// `redis.REDIS_VERSION_NUM`: one byte per part of the version.
    pub(crate) fn version_number(&self) -> u32 {
        self.version.split('.').fold(0, |number, part| number << 8 | part.parse::<u32>().unwrap_or(0) & 0xff)
    }
}

/// Compiled scripts of EVAL, the oldest forgotten first.
struct Scripts {
    interpreter: Interpreter,
    /// Functions by the digest of their scripts, in a table of Lua's.
    compiled: Table,
    order: VecDeque<Sha>,
}

/// Libraries that have been loaded here.
struct Functions {
    interpreter: Interpreter,
    /// By name, with the digest of the code that was loaded and its callbacks by the names of its functions.
    loaded: HashMap<Vec<u8>, (Sha, Table)>,
}

/// Lua for one thread. Interpreters are made when first needed and made anew if a script has left one unusable.
pub struct Engine {
    settings: Settings,
    scripts: Option<Scripts>,
    functions: Option<Functions>,
}

impl Engine {
    /// An engine; allocates nothing yet.
    pub fn new(settings: Settings) -> Engine {
        Engine { settings, scripts: None, functions: None }
    }

    /// Compiles a script without running it, for SCRIPT LOAD.
    ///
    /// # Errors
    /// The compiler's, as EVAL and SCRIPT LOAD word it.
    pub fn check(&mut self, script: &Script) -> std::result::Result<(), ScriptError> {
        self.compiled(script).map(|_| ())
    }

    /// Runs a script for EVAL and EVALSHA.
    ///
    /// Whether it may run at all ([`Script::flags`], number of keys) is decided before by the caller, with the words of
    /// [`crate::Refusal`].
    ///
    /// # Errors
    /// What the client is told: an error of the compiler, or one that the script has not caught, with the script's digest
    /// and the line.
    pub fn eval(
        &mut self,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        host: &mut dyn Host,
    ) -> std::result::Result<Value, ScriptError> {
        let function = self.compiled(script)?;
        let Some(scripts) = &self.scripts else { return Err(no_interpreter(&Error::StackError)) };
        let interpreter = &scripts.interpreter;
        interpreter.begin();
        let entry = Entry { function, name: script.sha() };
        let result = set_globals(interpreter, keys, arguments)
            .map_err(|error| interpreter.failure_of(entry.name, &error))
            .and_then(|()| interpreter.run(&entry, host));
        drop(entry);
        if interpreter.is_spent() {
            self.scripts = None;
        }
        result
    }

    /// Forgets compiled scripts, for SCRIPT FLUSH.
    pub fn flush(&mut self) {
        self.scripts = None;
    }

    /// Memory that Lua holds, in bytes.
    pub fn used_memory(&self) -> usize {
        let scripts = self.scripts.as_ref().map_or(0, |scripts| scripts.interpreter.lua.used_memory());
        scripts + self.functions.as_ref().map_or(0, |functions| functions.interpreter.lua.used_memory())
    }

    fn compiled(&mut self, script: &Script) -> std::result::Result<Function, ScriptError> {
        let scripts = match &mut self.scripts {
            Some(scripts) => scripts,
            none => none.insert(Scripts::new(&self.settings).map_err(|error| no_interpreter(&error))?),
        };
        match scripts.compiled(script) {
            Ok(Ok(function)) => Ok(function),
            Ok(Err(text)) => Err(ScriptError::new(
                [b"ERR Error compiling script (new function): ", text.as_slice()].concat(),
            )),
            Err(error) => Err(scripts.interpreter.failure_of(script.sha(), &error)),
        }
    }

    /// Loads a library for FUNCTION LOAD: runs its code, which registers functions. Replaces what is loaded under the same
    /// name here; [`crate::Libraries::load`] is what a node calls.
    ///
    /// The host is asked [`Host::tick`] as ever; a kill means that loading takes too long (Redis: half a second).
    ///
    /// # Errors
    /// What FUNCTION LOAD answers.
    pub(crate) fn load(
        &mut self,
        library: &mut Library,
        host: &mut dyn Host,
    ) -> std::result::Result<(), ScriptError> {
        let functions = match &mut self.functions {
            Some(functions) => functions,
            none => none.insert(Functions::new(&self.settings).map_err(|error| no_interpreter(&error))?),
        };
        functions.load(library, host)
    }

    /// Runs a function for FCALL. Loads its library first if this engine has not, or has another version of it.
    ///
    /// # Errors
    /// What the client is told: an error that the function has not caught, with its name and the line.
    pub fn call(
        &mut self,
        library: &Library,
        function: &[u8],
        keys: &[&[u8]],
        arguments: &[&[u8]],
        host: &mut dyn Host,
    ) -> std::result::Result<Value, ScriptError> {
        let is_loaded = self.functions.as_ref().is_some_and(|functions| functions.has(library));
        if !is_loaded {
            self.load(&mut library.clone(), host)?;
        }
        let Some(functions) = &self.functions else { return Err(no_interpreter(&Error::StackError)) };
        let result = functions.call(library, function, keys, arguments, host);
        if functions.interpreter.is_spent() {
            self.functions = None;
        }
        result
    }

    /// Forgets loaded libraries, for FUNCTION FLUSH. One that is deleted alone stays until then, or until another of its
    /// name is loaded.
    pub fn flush_functions(&mut self) {
        self.functions = None;
    }
}

impl Scripts {
    fn new(settings: &Settings) -> Result<Scripts> {
        let interpreter = Interpreter::new(settings, Kind::Eval)?;
        let compiled = interpreter.lua.create_table()?;
        Ok(Scripts { interpreter, compiled, order: VecDeque::new() })
    }

    /// The function of a script, or the compiler's words.
    fn compiled(&mut self, script: &Script) -> Result<std::result::Result<Function, Vec<u8>>> {
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
            self.compiled.raw_set(lua.create_string(oldest)?, mlua::Nil)?;
        }
        self.compiled.raw_set(sha, &function)?;
        self.order.push_back(*script.sha());
        Ok(Ok(function))
    }
}

impl Functions {
    fn new(settings: &Settings) -> Result<Functions> {
        let interpreter = Interpreter::new(settings, Kind::Functions)?;
        Ok(Functions { interpreter, loaded: HashMap::new() })
    }

    fn has(&self, library: &Library) -> bool {
        self.loaded.get(library.name()).is_some_and(|(sha, _)| sha == library.sha())
    }

    fn load(&mut self, library: &mut Library, host: &mut dyn Host) -> std::result::Result<(), ScriptError> {
        let callbacks = crate::functions::load(&self.interpreter, library, host)?;
        self.loaded.insert(library.name().to_vec(), (*library.sha(), callbacks));
        Ok(())
    }

    fn call(
        &self,
        library: &Library,
        function: &[u8],
        keys: &[&[u8]],
        arguments: &[&[u8]],
        host: &mut dyn Host,
    ) -> std::result::Result<Value, ScriptError> {
        let lua = &self.interpreter.lua;
        self.interpreter.begin();
        let entry = || -> Result<Option<Function>> {
            let Some((_, callbacks)) = self.loaded.get(library.name()) else { return Ok(None) };
            let callback: Option<Function> = callbacks.raw_get(lua.create_string(function)?)?;
            let Some(callback) = callback else { return Ok(None) };
            callback.bind((sandbox::words(lua, keys)?, sandbox::words(lua, arguments)?)).map(Some)
        };
        match entry() {
            Ok(Some(bound)) => self.interpreter.run(&Entry { function: bound, name: function }, host),
            Ok(None) => Err(ScriptError::new(crate::Refusal::NoFunction.text())),
            Err(error) => Err(self.interpreter.failure_of(function, &error)),
        }
    }
}

fn set_globals(interpreter: &Interpreter, keys: &[&[u8]], arguments: &[&[u8]]) -> Result<()> {
    let globals = &interpreter.sandbox.globals;
    globals.raw_set("KEYS", sandbox::words(&interpreter.lua, keys)?)?;
    globals.raw_set("ARGV", sandbox::words(&interpreter.lua, arguments)?)
}

fn no_interpreter(error: &Error) -> ScriptError {
    ScriptError::new(format!("ERR cannot make an interpreter: {error}"))
}
