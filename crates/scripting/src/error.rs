//! Why a script gave no value, in redis-server's words.

use protocol::Value;
use std::fmt;

/// A compile error, an error that nothing in the script caught, a kill, or a refusal to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptError {
    text: Vec<u8>,
    is_counted: bool,
    is_kill: bool,
}

impl ScriptError {
    /// An error with this text, its code first. What would break a line of the protocol becomes blanks, and nothing
    /// follows a zero byte, since Redis builds these texts as C strings.
    pub(crate) fn new(text: impl Into<Vec<u8>>) -> ScriptError {
        let mut text = text.into();
        crate::raise::cut_at_zero(&mut text);
        for byte in &mut text {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        ScriptError { text, is_counted: false, is_kill: false }
    }

    /// The same error, known to have been counted already when a command failed.
    pub(crate) fn counted(mut self, is_counted: bool) -> ScriptError {
        self.is_counted = is_counted;
        self
    }

    /// The same error, which ends a killed script.
    pub(crate) fn kill(mut self, is_kill: bool) -> ScriptError {
        self.is_kill = is_kill;
        self
    }

    /// The text, its code first and without the minus sign of the protocol.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The error of a command passed on: statistics of errors have seen it when the command failed.
    pub fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// The script did not end by itself.
    pub fn is_kill(&self) -> bool {
        self.is_kill
    }
}

impl From<ScriptError> for Value {
    fn from(error: ScriptError) -> Value {
        Value::Error(error.text)
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl std::error::Error for ScriptError {}
