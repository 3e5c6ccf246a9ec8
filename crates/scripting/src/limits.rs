//! The named maxima of this crate.

/// Memory of one interpreter unless [`crate::Settings`] says otherwise.
pub const MEMORY_BYTES_MAX: usize = 512 << 20;
/// Instructions of Lua between two questions to the host, as in Redis.
pub const TICK_INSTRUCTIONS: u32 = 100_000;
/// Steps of the pattern matcher between two questions to the host: about the time of as many instructions.
pub(crate) const TICK_STEPS: u32 = 100_000;
/// Compiled scripts that an engine remembers; the oldest is forgotten first.
pub const COMPILED_SCRIPTS_MAX: usize = 500;
/// Deepest nesting of tables in the value that a script returns. Redis stops at the end of Lua's stack, about 8,000.
pub const REPLY_DEPTH_MAX: usize = 128;
/// Nested repetitions and captures of one pattern, all of which recurse.
pub(crate) const MATCH_DEPTH_MAX: usize = 400;
/// Captures of one pattern, as in Lua.
pub(crate) const CAPTURES_MAX: usize = 32;
/// Deepest nesting that cjson encodes and decodes whatever a script asks for; cjson's own default.
pub(crate) const JSON_DEPTH_MAX: usize = 1_000;
/// Deepest nesting that cmsgpack packs, as in Redis; deeper tables become nil.
pub(crate) const PACK_DEPTH_MAX: usize = 16;
/// Deepest nesting that cmsgpack unpacks. Redis stops at the end of Lua's stack, about 4,000.
pub(crate) const UNPACK_DEPTH_MAX: usize = 2_000;
/// Values that one call of a library returns: Lua's stack for a call has 8,000 slots.
pub(crate) const RESULTS_MAX: usize = 7_900;
/// Widest integer of `struct`, as in Redis.
pub(crate) const STRUCT_INTEGER_BYTES_MAX: usize = 32;

const _: () = assert!(RESULTS_MAX < 8_000);
