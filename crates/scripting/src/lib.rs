//! Lua scripts and functions as Redis 7.2 runs them: EVAL and FCALL without a server around them.
//!
//! The crate turns a script, its keys and arguments into a reply, and calls a [`Host`] whenever the script calls a
//! command. It must not know connections, the command table, the store or the disk: everything a script may touch
//! outside of Lua goes through the host.
//!
//! An [`Engine`] belongs to one thread. It holds up to two interpreters, one for EVAL and one for functions as in
//! Redis, made when they are first needed, and remembers compiled scripts by their SHA1. What a node shares among its
//! threads is plain data: a [`Script`] (body, digest, flags of its first line) and the [`Libraries`], from which every
//! engine loads by itself what it has not loaded yet.
//!
//! How a run goes: [`Engine::eval`] -> the scoped bridge to the host -> `xpcall(script, handler)` in Lua ->
//! `redis.call` -> bridge -> [`Host::call`] -> the reply as a Lua value -> ... -> the script's value as a
//! [`protocol::Value`], or the text of its error as redis-server words it.
//!
//! ```
//! use protocol::Value;
//! use scripting::{Engine, Host, Level, Script, Settings, Tick};
//!
//! struct Node;
//!
//! impl Host for Node {
//!     fn call(&mut self, words: &[&[u8]], _resp3: bool) -> Value {
//!         Value::bulk(words.concat())
//!     }
//!     fn acl_check(&mut self, _words: &[&[u8]]) -> Option<bool> {
//!         Some(true)
//!     }
//!     fn log(&mut self, _level: Level, _text: &[u8]) {}
//!     fn tick(&mut self) -> Tick {
//!         Tick::Continue
//!     }
//! }
//!
//! let mut engine = Engine::new(Settings::default());
//! let script = Script::new(&b"return redis.call('ECHO', KEYS[1], ARGV[1])"[..])?;
//! let reply = engine.eval(&script, &[b"key"], &[b"word"], &mut Node)?;
//! assert_eq!(reply, Value::bulk("ECHOkeyword"));
//! # Ok::<(), scripting::ScriptError>(())
//! ```
//!
//! Lua is the vendored 5.1.5 of the crate `mlua`, which is what Redis runs, too, but without Redis's changes to it.
//! Those are made up for from outside, with safe code only:
//! - Read-only tables. Scripts see an empty table in place of each library and of the globals; its metatable reads from
//!   the real one and refuses writes, and the few functions of Lua that pass by metatables are our own (`sandbox.rs`).
//! - Errors. A callback can raise only an opaque value of mlua's. `pcall`, `xpcall` and `coroutine.resume` are wrapped
//!   in Lua to turn that into the string or table which Redis would have raised (`raise.rs`).
//! - Patterns. Lua's matcher recurses and backtracks without bound and cannot be interrupted; ours does neither
//!   (`strings/`).
//! - `cjson`, `cmsgpack`, `struct` and `bit` are written here, with the results and error texts of those in Redis.
//!
//! A script that misbehaves costs its caller an error and nobody else anything: instructions are counted and the host
//! asked at intervals whether to go on, memory has a limit inside of Lua's allocator and of our own buffers, nesting of
//! every kind has a named maximum, and bytecode is never loaded.
//!
//! What can be told from redis-server: `next` called by name finds a read-only table empty; settings of `cjson` end with the
//! script that made them; patterns that nest deeper than 400 and replies deeper than 128 are refused; errors raised by
//! `pcall(error, text, 2)`, by a tail call of a `gmatch` iterator, or by the reader of `load` may lack the line.
//!
//! Left out: the debugger (SCRIPT DEBUG), and the choice of `redis.set_repl` what to replicate, which is accepted and
//! changes nothing, because effects are replicated rather than commands.

mod arguments;
mod base;
mod bits;
mod bridge;
mod cjson;
mod cmsgpack;
mod engine;
mod error;
mod flags;
mod functions;
mod host;
mod interpreter;
mod library;
mod limits;
mod loaded;
mod memory;
mod number;
mod raise;
mod random;
mod redis;
mod refusal;
mod reply;
mod run;
mod sandbox;
mod script;
mod scripts;
mod session;
mod stack;
mod strings;
mod structs;

pub use engine::{Engine, Settings};
pub use error::ScriptError;
pub use flags::Flags;
pub use host::{Host, Level, Tick};
pub use library::{FunctionInfo, Libraries, Library};
pub use limits::{COMPILED_SCRIPTS_MAX, MEMORY_BYTES_MAX, REPLY_DEPTH_MAX, TICK_INSTRUCTIONS};
pub use refusal::Refusal;
pub use script::{Script, Sha, sha1_hex};
