//! A script for EVAL: its body, its digest and what its first line says.

use crate::error::ScriptError;
use crate::flags::Flags;
use sha1::{Digest, Sha1};
use std::sync::Arc;

/// A SHA1 digest as lower-case hexadecimal text.
pub type Sha = [u8; 40];

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The digest by which EVALSHA and SCRIPT EXISTS know a script.
pub fn sha1_hex(body: &[u8]) -> Sha {
    let digest = Sha1::digest(body);
    let mut text = [0; 40];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
        pair[1] = HEX_DIGITS[usize::from(byte & 15)];
    }
    text
}

/// A script whose first line has been read. Cheap to clone and to share among threads; that it compiles is known only
/// after [`crate::Engine::check`] or a first run.
#[derive(Clone, Debug)]
pub struct Script {
    body: Arc<[u8]>,
    sha: Sha,
    flags: Option<Flags>,
    /// Where the code begins: at the end of a `#!` line, so that lines keep their numbers.
    code_at: usize,
}

impl Script {
    /// Reads the first line and computes the digest.
    ///
    /// # Errors
    /// What SCRIPT LOAD and EVAL answer to a `#!` line they do not understand.
    pub fn new(body: impl Into<Arc<[u8]>>) -> Result<Script, ScriptError> {
        let body = body.into();
        let (flags, code_at) = read_first_line(&body)?;
        Ok(Script { sha: sha1_hex(&body), body, flags, code_at })
    }

    /// The text as it was given.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The digest of the body.
    pub fn sha(&self) -> &Sha {
        &self.sha
    }

    /// The flags of the `#!` line. `None` without one: such a script runs under the older rules, by which each of its
    /// commands is judged on its own and keys may be of several slots.
    pub fn flags(&self) -> Option<Flags> {
        self.flags
    }

    /// What is compiled.
    pub(crate) fn code(&self) -> &[u8] {
        self.body.get(self.code_at..).unwrap_or_default()
    }
}

/// `evalExtractShebangFlags` of Redis.
fn read_first_line(body: &[u8]) -> Result<(Option<Flags>, usize), ScriptError> {
    if !body.starts_with(b"#!") {
        return Ok((None, 0));
    }
    let Some(end) = memchr::memchr(b'\n', body) else {
        return Err(ScriptError::new("ERR Invalid script shebang"));
    };
    let line = body.get(..end).unwrap_or_default();
    let words = protocol::split_words(line).unwrap_or_default();
    let Some((engine, options)) = words.split_first() else {
        return Err(ScriptError::new("ERR Invalid engine in script shebang"));
    };
    if engine != b"#!lua" {
        return Err(refuse("Unexpected engine in script shebang", engine));
    }
    let mut flags = Flags::default();
    for option in options {
        let Some(names) = option.strip_prefix(b"flags=") else {
            return Err(refuse("Unknown lua shebang option", option));
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|byte| *byte == b',') {
            let flag =
                Flags::by_name(name).ok_or_else(|| refuse("Unexpected flag in script shebang", name))?;
            flags = flags.with(flag);
        }
    }
    Ok((Some(flags), end))
}

fn refuse(reason: &str, what: &[u8]) -> ScriptError {
    ScriptError::new([b"ERR ", reason.as_bytes(), b": ", what].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expect: Result<Option<Flags>, &str>) {
        let got = Script::new(body.as_bytes()).map(|script| script.flags());
        assert_eq!(got.map_err(|error| error.to_string()), expect.map_err(str::to_owned), "{body}");
    }

    #[test]
    fn the_first_line() {
        check("return 1", Ok(None));
        check("#!lua\nreturn 1", Ok(Some(Flags::default())));
        check("#!lua flags=\nreturn 1", Ok(Some(Flags::default())));
        check(
            "#!lua flags=no-writes,allow-oom \"flags=allow-stale\"\n",
            Ok(Some(Flags::NO_WRITES.with(Flags::ALLOW_OOM).with(Flags::ALLOW_STALE))),
        );
        check("#!", Err("ERR Invalid script shebang"));
        check("#!lua 'x\n", Err("ERR Invalid engine in script shebang"));
        check("#! lua\n", Err("ERR Unexpected engine in script shebang: #!"));
        check("#!LUA\n", Err("ERR Unexpected engine in script shebang: #!LUA"));
        check("#!lua name=x\n", Err("ERR Unknown lua shebang option: name=x"));
        check("#!lua flags=no-writes,\n", Err("ERR Unexpected flag in script shebang: "));
    }

    #[test]
    fn lines_keep_their_numbers() {
        let script = Script::new(&b"#!lua\nreturn 1"[..]).expect("a valid first line");
        assert_eq!(script.code(), b"\nreturn 1");
        assert_eq!(script.sha(), &sha1_hex(b"#!lua\nreturn 1"));
        assert_eq!(&sha1_hex(b"abc"), b"a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
