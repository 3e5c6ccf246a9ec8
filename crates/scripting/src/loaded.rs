//! The interpreter of functions and the libraries loaded in it.

use crate::engine::Settings;
use crate::error::ScriptError;
use crate::functions;
use crate::host::Host;
use crate::interpreter::Interpreter;
use crate::library::Library;
use crate::refusal::Refusal;
use crate::sandbox::{self, Kind};
use crate::script::Sha;
use mlua::{Function, Result, Table};
use protocol::Value;
use std::collections::HashMap;

/// Libraries of which this thread can call functions.
pub(crate) struct Loaded {
    interpreter: Interpreter,
    libraries: HashMap<Vec<u8>, LoadedLibrary>,
}

struct LoadedLibrary {
    /// The version that was loaded.
    sha: Sha,
    /// Callbacks by the names of their functions.
    callbacks: Table,
}

impl Loaded {
    pub(crate) fn new(settings: &Settings) -> Result<Loaded> {
        let interpreter = Interpreter::new(settings, Kind::Functions)?;
        Ok(Loaded { interpreter, libraries: HashMap::new() })
    }

    pub(crate) fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    /// True if this very version is loaded.
    pub(crate) fn has(&self, library: &Library) -> bool {
        self.libraries.get(library.name()).is_some_and(|loaded| loaded.sha == *library.sha())
    }

    /// Runs the library's code and gives the functions that it registers to `library`; takes the place of another version.
    pub(crate) fn load(
        &mut self,
        library: &mut Library,
        host: &mut dyn Host,
    ) -> std::result::Result<(), ScriptError> {
        let callbacks = functions::load(&self.interpreter, library, host)?;
        let loaded = LoadedLibrary { sha: *library.sha(), callbacks };
        self.libraries.insert(library.name().to_vec(), loaded);
        Ok(())
    }

    pub(crate) fn call(
        &self,
        library: &Library,
        function: &[u8],
        keys: &[&[u8]],
        arguments: &[&[u8]],
        host: &mut dyn Host,
    ) -> std::result::Result<Value, ScriptError> {
        self.interpreter.begin();
        match self.bind(library, function, keys, arguments) {
            Ok(Some(bound)) => self.interpreter.run(&bound, function, host),
            Ok(None) => Err(ScriptError::new(Refusal::NoFunction.text())),
            Err(error) => Err(self.interpreter.error(function, &error)),
        }
    }

    /// The callback with its two arguments.
    fn bind(
        &self,
        library: &Library,
        function: &[u8],
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<Option<Function>> {
        let lua = &self.interpreter.lua;
        let Some(loaded) = self.libraries.get(library.name()) else { return Ok(None) };
        let callback: Option<Function> = loaded.callbacks.raw_get(lua.create_string(function)?)?;
        let Some(callback) = callback else { return Ok(None) };
        callback.bind((sandbox::words(lua, keys)?, sandbox::words(lua, arguments)?)).map(Some)
    }
}
