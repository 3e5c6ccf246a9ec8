//! What the callbacks of one interpreter share, kept as mlua's application data.

use crate::error::ScriptError;
use crate::host::{Level, Tick};
use crate::library::FunctionInfo;
use crate::random::Random;
use crate::stack::Position;
use mlua::{AppDataRefMut, Function, Lua, Table};
use protocol::Value;
use smallvec::SmallVec;
use std::collections::HashMap;

/// Words of a command that are passed on without allocating.
const WORDS_INLINE: usize = 8;
/// Bytes of words whose room an idle session keeps.
const WORDS_BYTES_KEPT_MAX: usize = 64 * 1024;

/// The words of the command that is being called, one after another in one buffer that is used again.
#[derive(Default)]
pub(crate) struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Words {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(WORDS_BYTES_KEPT_MAX);
        self.ends.clear();
    }

    /// Appends a word that `write` writes.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn slices(&self) -> SmallVec<[&[u8]; WORDS_INLINE]> {
        let mut start = 0;
        self.ends
            .iter()
            .map(|end| {
                let word = self.bytes.get(start..*end).unwrap_or_default();
                start = *end;
                word
            })
            .collect()
    }
}

/// What a callback asks of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// Run the command in the session's words.
    Call,
    /// May the user run it?
    AclCheck,
    /// Log the first of the words.
    Log(Level),
    /// May the script go on?
    Tick,
}

/// What the host answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(Value),
    Allowed(Option<bool>),
    Done,
    Tick(Tick),
}

/// A library that is being loaded: what it has registered so far.
pub(crate) struct Loading {
    pub(crate) functions: Vec<FunctionInfo>,
    /// The callbacks by their functions' names.
    pub(crate) callbacks: Table,
}

/// Why a run failed, noted where the error was raised.
pub(crate) struct Failure {
    pub(crate) text: Vec<u8>,
    pub(crate) position: Option<Position>,
    pub(crate) is_counted: bool,
}

impl Failure {
    /// The error as a client sees it: `name` is the digest of the script or the name of the function.
    pub(crate) fn into_error(self, name: &[u8]) -> ScriptError {
        let mut text = self.text;
        crate::raise::cut_at_zero(&mut text);
        if let Some(position) = self.position {
            let line = position.line.map_or_else(|| "-1".to_owned(), |line| line.to_string());
            for part in [&b" script: "[..], name, b", on ", &position.source, b":", line.as_bytes(), b"."] {
                text.extend_from_slice(part);
            }
        }
        ScriptError::new(text).counted(self.is_counted)
    }
}

/// The state of one interpreter that is not Lua's own.
pub(crate) struct Session {
    pub(crate) words: Words,
    pub(crate) request: Request,
    pub(crate) answer: Answer,
    /// The script has asked for RESP3.
    pub(crate) is_resp3: bool,
    pub(crate) random: Random,
    /// The host has said so; every instruction of Lua fails from now on.
    pub(crate) is_killed: bool,
    pub(crate) failure: Option<Failure>,
    /// Where the function that a callback ran raised its error.
    pub(crate) raised_at: Option<Position>,
    pub(crate) loading: Option<Loading>,
    /// The real table behind each read-only one, by the address of what scripts see. Those live as long as the globals.
    pub(crate) guarded: HashMap<usize, Guarded>,
    /// What `getmetatable("")` shows.
    pub(crate) string_metatable: Option<Table>,
    /// What `collectgarbage` was told last; kept to be told back.
    pub(crate) collector: Collector,
    pub(crate) memory_bytes_max: usize,
    /// Memory in use after the last collection that was made because memory ran short.
    pub(crate) collected_at_bytes: usize,
}

/// The numbers of `collectgarbage("setpause")` and `collectgarbage("setstepmul")`, in per cent.
#[derive(Clone, Copy)]
pub(crate) struct Collector {
    pub(crate) pause: i64,
    pub(crate) step_multiplier: i64,
}

impl Default for Collector {
    fn default() -> Collector {
        Collector { pause: 200, step_multiplier: 200 }
    }
}

/// A table that scripts may read and not write.
#[derive(Clone)]
pub(crate) struct Guarded {
    pub(crate) real: Table,
    /// What `getmetatable` shows, itself read-only.
    pub(crate) metatable: Option<Table>,
}

impl Session {
    pub(crate) fn new(memory_bytes_max: usize) -> Session {
        Session {
            words: Words::default(),
            request: Request::Tick,
            answer: Answer::Done,
            is_resp3: false,
            random: Random::new(),
            is_killed: false,
            failure: None,
            raised_at: None,
            loading: None,
            guarded: HashMap::new(),
            string_metatable: None,
            collector: Collector::default(),
            memory_bytes_max,
            collected_at_bytes: 0,
        }
    }

    /// Forgets what belonged to the last run.
    pub(crate) fn begin(&mut self) {
        self.is_resp3 = false;
        self.is_killed = false;
        self.failure = None;
        self.raised_at = None;
        self.loading = None;
        self.collector = Collector::default();
        self.collected_at_bytes = 0;
    }
}

/// The function through which callbacks reach the host while a script runs. Apart from the session, because it is held
/// while the session changes.
pub(crate) struct Bridge(pub(crate) Option<Function>);

/// The session of an interpreter. Never held while Lua runs.
pub(crate) fn session(lua: &Lua) -> AppDataRefMut<'_, Session> {
    lua.app_data_mut().expect("every interpreter is made with a session")
}
