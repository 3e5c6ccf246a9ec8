//! The engine of one thread.

use crate::error::ScriptError;
use crate::host::Host;
use crate::library::Library;
use crate::limits::MEMORY_BYTES_MAX;
use crate::loaded::Loaded;
use crate::script::Script;
use crate::scripts::Scripts;
use mlua::Error;
use protocol::Value;

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

/// Lua for one thread. Interpreters are made when first needed, and anew after a script that has left one with too little
/// memory to go on.
pub struct Engine {
    settings: Settings,
    scripts: Option<Scripts>,
    loaded: Option<Loaded>,
}

/// Threads are made after what they own.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Engine>();
};

impl Engine {
    /// An engine; allocates nothing yet.
    pub fn new(settings: Settings) -> Engine {
        Engine { settings, scripts: None, loaded: None }
    }

    /// Compiles a script without running it, for SCRIPT LOAD.
    ///
    /// # Errors
    /// The compiler's, as EVAL and SCRIPT LOAD word it.
    pub fn check(&mut self, script: &Script) -> Result<(), ScriptError> {
        self.scripts()?.compile(script).map(|_| ())
    }

    /// Runs a script for EVAL and EVALSHA.
    ///
    /// Whether it may run at all ([`Script::flags`], the number of keys) is decided before by the caller, with the words of
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
    ) -> Result<Value, ScriptError> {
        let scripts = self.scripts()?;
        let result = scripts.run(script, keys, arguments, host);
        if scripts.interpreter().is_spent() {
            self.scripts = None;
        }
        result
    }

    /// Forgets compiled scripts, for SCRIPT FLUSH.
    pub fn flush(&mut self) {
        self.scripts = None;
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
    ) -> Result<Value, ScriptError> {
        let loaded = self.loaded()?;
        if !loaded.has(library) {
            loaded.load(&mut library.clone(), host)?;
        }
        let result = loaded.call(library, function, keys, arguments, host);
        if loaded.interpreter().is_spent() {
            self.loaded = None;
        }
        result
    }

    /// Runs the code of a library, which registers functions, and gives them to it. [`crate::Libraries::load`] is what
    /// FUNCTION LOAD calls.
    pub(crate) fn load(&mut self, library: &mut Library, host: &mut dyn Host) -> Result<(), ScriptError> {
        self.loaded()?.load(library, host)
    }

    /// Forgets loaded libraries, for FUNCTION FLUSH. One that is deleted alone stays until then, or until another of its
    /// name is loaded.
    pub fn flush_functions(&mut self) {
        self.loaded = None;
    }

    /// Memory that Lua holds, in bytes.
    pub fn used_memory(&self) -> usize {
        let scripts = self.scripts.as_ref().map_or(0, |scripts| scripts.interpreter().used_memory());
        scripts + self.loaded.as_ref().map_or(0, |loaded| loaded.interpreter().used_memory())
    }

    fn scripts(&mut self) -> Result<&mut Scripts, ScriptError> {
        match &mut self.scripts {
            Some(scripts) => Ok(scripts),
            none => Ok(none.insert(Scripts::new(&self.settings).map_err(no_interpreter)?)),
        }
    }

    fn loaded(&mut self) -> Result<&mut Loaded, ScriptError> {
        match &mut self.loaded {
            Some(loaded) => Ok(loaded),
            none => Ok(none.insert(Loaded::new(&self.settings).map_err(no_interpreter)?)),
        }
    }
}

fn no_interpreter(error: Error) -> ScriptError {
    ScriptError::new(format!("ERR cannot make an interpreter: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_too() {
        let settings = Settings { version: "7.0.15", ..Settings::default() };
        assert_eq!(settings.version_number(), 458_767);
        assert_eq!(Settings::default().version_number(), 0x07_02_04);
    }
}
