//! What a script reaches outside of Lua.

use protocol::Value;

/// The level of a line that a script logs, numbered as `redis.LOG_DEBUG` and its siblings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// `redis.LOG_DEBUG`, 0.
    Debug,
    /// `redis.LOG_VERBOSE`, 1.
    Verbose,
    /// `redis.LOG_NOTICE`, 2.
    Notice,
    /// `redis.LOG_WARNING`, 3.
    Warning,
}

impl Level {
    /// All levels, each at its number.
    pub(crate) const ALL: [Level; 4] = [Level::Debug, Level::Verbose, Level::Notice, Level::Warning];
}

/// What the host says when it is asked at intervals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tick {
    /// The script may go on.
    Continue,
    /// The script ends now: SCRIPT KILL, FUNCTION KILL, or the time that loading a library may take is over. Nothing
    /// inside of the script can catch it.
    Kill,
}

/// Everything a running script asks of the node. One host serves one run.
pub trait Host {
    /// Runs one command and gives its reply.
    ///
    /// `words` is never empty. Errors are [`Value::Error`], their code first (`WRONGTYPE ...`); refusals specific to
    /// scripts have their texts in [`crate::Refusal`]. With `resp3` the script has asked for RESP3 by `redis.setresp`,
    /// and maps, sets, doubles, booleans and nulls reach it as such. Without, they reach it in the form that RESP2 has for
    /// them, whether the host makes it or leaves that to the engine.
    fn call(&mut self, words: &[&[u8]], resp3: bool) -> Value;

    /// Whether the user may run this command (`redis.acl_check_cmd`); `None` if there is no such command.
    fn acl_check(&mut self, words: &[&[u8]]) -> Option<bool>;

    /// Writes a line to the node's log (`redis.log`); what is below the log's level is the host's to drop.
    fn log(&mut self, level: Level, text: &[u8]);

    /// Asked every [`crate::TICK_INSTRUCTIONS`] instructions of Lua. The place to look at the clock, to serve what may be
    /// served while a script is busy, and to notice that it is to be killed.
    fn tick(&mut self) -> Tick;
}
