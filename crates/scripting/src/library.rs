//! Libraries of functions, as a node knows them: their code and what they registered. Plain data, to be shared among
//! threads; each thread's engine loads what it calls.

use crate::engine::Engine;
use crate::error::ScriptError;
use crate::flags::Flags;
use crate::host::Host;
use crate::script::{Sha, sha1_hex};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One function of a library.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FunctionInfo {
    /// Its name, as it was registered; FCALL finds it in any case.
    pub name: Vec<u8>,
    /// What FUNCTION LIST says about it.
    pub description: Option<Vec<u8>>,
    /// What it declares about itself.
    pub flags: Flags,
}

/// A library that has been loaded. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Library {
    name: Vec<u8>,
    source: Arc<[u8]>,
    sha: Sha,
    /// Where the code begins: at the end of the `#!` line.
    code_at: usize,
    functions: Arc<[FunctionInfo]>,
}

impl Library {
    /// Reads the `#!` line (`functionExtractLibMetaData` of Redis); no functions are known yet.
    fn from_source(source: &[u8]) -> Result<Library, ScriptError> {
        let (name, engine, code_at) = read_first_line(source)?;
        if !is_valid_name(&name) {
            return Err(ScriptError::new(
                "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character \
                 long",
            ));
        }
        if !engine.eq_ignore_ascii_case(b"lua") {
            return Err(ScriptError::new([b"ERR Engine '", engine.as_slice(), b"' not found"].concat()));
        }
        let sha = sha1_hex(source);
        Ok(Library { name, source: source.into(), sha, code_at, functions: Arc::default() })
    }

    /// The name of the library.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The whole text, with its `#!` line, as FUNCTION LIST WITHCODE shows it and FUNCTION LOAD takes it.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Its functions in the order in which they were registered.
    pub fn functions(&self) -> &[FunctionInfo] {
        &self.functions
    }

    pub(crate) fn code(&self) -> &[u8] {
        self.source.get(self.code_at..).unwrap_or_default()
    }

    pub(crate) fn sha(&self) -> &Sha {
        &self.sha
    }

    pub(crate) fn set_functions(&mut self, functions: Vec<FunctionInfo>) {
        self.functions = functions.into();
    }
}

/// Name, engine and end of the `#!` line.
fn read_first_line(source: &[u8]) -> Result<(Vec<u8>, Vec<u8>, usize), ScriptError> {
    let invalid = || ScriptError::new("ERR Invalid library metadata");
    if !source.starts_with(b"#!") {
        return Err(ScriptError::new("ERR Missing library metadata"));
    }
    let end = memchr::memchr(b'\n', source).ok_or_else(invalid)?;
    let words = protocol::split_words(source.get(..end).unwrap_or_default()).map_err(|_| invalid())?;
    let (first, options) = words.split_first().ok_or_else(invalid)?;
    let engine = first.get(2..).unwrap_or_default().to_vec();
    let mut name = None;
    for option in options {
        let value = option.split_at_checked(5).filter(|(key, _)| key.eq_ignore_ascii_case(b"name="));
        match value {
            Some((_, value)) if name.is_none() => name = Some(value.to_vec()),
            Some(_) => {
                let text = "ERR Invalid metadata value, name argument was given multiple times";
                return Err(ScriptError::new(text));
            }
            None => {
                return Err(ScriptError::new(
                    [b"ERR Invalid metadata value given: ", option.as_slice()].concat(),
                ));
            }
        }
    }
    let name = name.ok_or_else(|| ScriptError::new("ERR Library name was not given"))?;
    Ok((name, engine, end))
}

/// Letters, digits and underscores, at least one.
pub(crate) fn is_valid_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The libraries of a node.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    by_name: BTreeMap<Vec<u8>, Arc<Library>>,
    /// The library of each function, by the function's name in lower case.
    by_function: HashMap<Vec<u8>, Arc<Library>>,
}

impl Libraries {
    /// No libraries.
    pub fn new() -> Libraries {
        Libraries::default()
    }

    /// FUNCTION LOAD: runs the code of a library in `engine` and adds it. With `replaces` it may take the place of one of
    /// the same name. The answer is the library, whose name is the reply.
    ///
    /// # Errors
    /// What FUNCTION LOAD answers; nothing has changed then.
    pub fn load(
        &mut self,
        engine: &mut Engine,
        source: &[u8],
        replaces: bool,
        host: &mut dyn Host,
    ) -> Result<Arc<Library>, ScriptError> {
        let mut library = Library::from_source(source)?;
        if !replaces && self.by_name.contains_key(library.name()) {
            return Err(ScriptError::new([b"ERR Library '", library.name(), b"' already exists"].concat()));
        }
        engine.load(&mut library, host)?;
        for function in library.functions() {
            let owner = self.by_function.get(&function.name.to_ascii_lowercase());
            if owner.is_some_and(|owner| owner.name() != library.name()) {
                return Err(ScriptError::new(
                    [b"ERR Function ", &function.name[..], b" already exists"].concat(),
                ));
            }
        }
        let library = Arc::new(library);
        self.insert(Arc::clone(&library));
        Ok(library)
    }

    /// Adds a library that has been loaded elsewhere, in place of one of the same name; for libraries that come from
    /// another node, or from a file, and have been checked there.
    pub fn insert(&mut self, library: Arc<Library>) {
        self.delete(library.name());
        for function in library.functions() {
            // Of two functions whose names differ only in case, the first wins, as in Redis.
            self.by_function
                .entry(function.name.to_ascii_lowercase())
                .or_insert_with(|| Arc::clone(&library));
        }
        self.by_name.insert(library.name().to_vec(), library);
    }

    /// FUNCTION DELETE: true if there was such a library.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.by_name.remove(name) else { return false };
        self.by_function.retain(|_, owner| !Arc::ptr_eq(owner, &library));
        true
    }

    /// FUNCTION FLUSH. The engines keep what they have loaded until [`Engine::flush_functions`].
    pub fn flush(&mut self) {
        *self = Libraries::default();
    }

    /// The function that FCALL means, and its library.
    pub fn function(&self, name: &[u8]) -> Option<(&Arc<Library>, &FunctionInfo)> {
        let library = self.by_function.get(&name.to_ascii_lowercase())?;
        let info = library.functions().iter().find(|info| info.name.eq_ignore_ascii_case(name))?;
        Some((library, info))
    }

    /// The libraries by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    /// Libraries and functions, for FUNCTION STATS.
    pub fn counts(&self) -> (usize, usize) {
        (self.by_name.len(), self.by_function.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(source: &str, expect: &str) {
        let got = Library::from_source(source.as_bytes()).map(|_| ());
        assert_eq!(got.map_err(|error| error.to_string()), Err(expect.to_owned()), "{source}");
    }

    #[test]
    fn first_lines() {
        check_refused("", "ERR Missing library metadata");
        check_refused("#!lua", "ERR Invalid library metadata");
        check_refused("#!lua 'name=x\n", "ERR Invalid library metadata");
        check_refused("#!lua\n", "ERR Library name was not given");
        check_refused("#!lua name=a b=c\n", "ERR Invalid metadata value given: b=c");
        check_refused(
            "#!lua name=a NAME=b\n",
            "ERR Invalid metadata value, name argument was given multiple times",
        );
        check_refused("#!js name=a\n", "ERR Engine 'js' not found");
        check_refused("#! name=a\n", "ERR Engine '' not found");
        check_refused(
            "#!lua name=a-b\n",
            "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        );
        let library = Library::from_source(b"#!LUA Name=mylib\nreturn 1").expect("a valid first line");
        assert_eq!(library.name(), b"mylib");
        assert_eq!(library.code(), b"\nreturn 1");
    }

    #[test]
    fn functions_are_found_in_any_case() {
        let mut library = Library::from_source(b"#!lua name=a\n").expect("a valid first line");
        library.set_functions(vec![FunctionInfo {
            name: b"Foo".to_vec(),
            description: None,
            flags: Flags::NO_WRITES,
        }]);
        let mut libraries = Libraries::new();
        libraries.insert(Arc::new(library));
        let (owner, info) = libraries.function(b"fOO").expect("registered");
        assert_eq!((owner.name(), info.name.as_slice()), (&b"a"[..], &b"Foo"[..]));
        assert_eq!(libraries.counts(), (1, 1));
        assert!(libraries.delete(b"a") && !libraries.delete(b"a"));
        assert!(libraries.function(b"foo").is_none());
    }
}
